"""How much memory a fit takes, and where its factors are kept."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._utils.mapped import FilePool, is_mapped
from .._utils.memory import available_bytes, human_bytes
from .._utils.pool import CACHE_LINE, Pool

if TYPE_CHECKING:
    import numpy as np

    from ..data.csr import CSR

LIBRARY = 100 << 20  # Python, NumPy, SciPy and the code
BLOCKS = 100 << 20  # blocks of rows and of entries that are being solved or sorted
PER_ROW = 64  # lambdas, degrees and their powers, objectives and steps


@dataclass(frozen=True, kw_only=True)
class FitMemory:
    """The resident memory of a fit in bytes, by what takes it."""

    entries: int  # the interactions, if they are in memory
    vectors: int  # numbers of each user and each item
    factors: int  # all factors that may be in files
    fixed: int = 0  # factors that are read in no order, and always in memory
    mapped: int = 0  # of `fixed`, what is part of a file
    moved: int = 0  # of `factors`, what is in memory if it fits, as it would be slow in files
    largest: int = 0  # what the longest row, or the largest round of blocks, needs
    disk: int = 0  # disk space of what is computed from interactions in a store
    values: bool = True  # whether that includes their values, unless all are 1
    streams: bool = False  # whether interactions may be in a store
    files: bool = False  # whether factors may be in files

    @classmethod
    def of_half_sweeps(
        cls, shape: tuple[int, int], entries: int, longest: int, columns: int, dtype: np.dtype[Any], padded: bool
    ) -> FitMemory:
        """Return the memory of a fit by half-sweeps, which fix one side in memory; `entries` take 0 bytes on disk.

        The rows of the fixed side may be `padded` to whole cache lines.
        """
        columns += -columns % (CACHE_LINE // dtype.itemsize) if padded else 0
        users, items = (rows * columns * dtype.itemsize for rows in shape)
        # The users before and after a half-sweep, and those weighted for the items' half-sweep; of the items, also the
        # two sets that the acceleration extrapolates.
        return cls(
            entries=entries, vectors=sum(shape) * PER_ROW, factors=3 * users + 5 * items, fixed=max(users, items),
            largest=longest * (4 + 2 * dtype.itemsize), streams=True, files=True,
        )  # fmt: skip

    @property
    def least(self) -> int:
        """The memory of a fit from a store whose factors are in files: the lowest `memory_limit`."""
        return LIBRARY + (BLOCKS if self.streams else 0) + self.vectors + self.fixed + self.largest

    @property
    def in_memory(self) -> int:
        """The memory of a fit whose factors are in memory; that of the interactions included, if they are."""
        return self.least + self.entries + self.factors


def pool_for(limit: int | None, needed: FitMemory, folder: Path | None) -> Pool:
    """Return the pool that allocates the factors: in memory if they fit into the limit, else in files in `folder`."""
    if limit is None:
        refuse_if_too_large(needed)
        return Pool()
    if needed.in_memory <= limit:
        return Pool()
    least = needed.entries + needed.least if needed.files else needed.in_memory
    if least > limit:
        most = needed.fixed > limit // 2
        side = f", of which factors that can't be in files take {human_bytes(needed.fixed)}" if most else ""
        raise ValueError(
            f"memory_limit is {human_bytes(limit)}, but this fit needs {human_bytes(least, up=True)}{side}: raise "
            "it, or lower factors"
        )
    pool = _files(folder, "factors", "raise memory_limit so that they fit in memory")
    pool.scarce = least + needed.moved > limit
    return pool


def files_of_interactions(folder: Path) -> FilePool:
    """Return the pool of what a fit computes from the interactions of a store."""
    return _files(folder, "interactions by block")


def _files(folder: Path | None, what: str, way: str | None = None) -> FilePool:
    """Return a pool of files in the folder of a store or, if there is none to write to, that of temporary files.

    `way` tells what to do if there is no space for them, wherever they are; by default, it depends on the folder.
    """
    if folder is not None and os.access(folder, os.W_OK):
        return FilePool(folder, what, way or "move the store to a disk with more space")
    elsewhere = "set TMPDIR to a folder of a disk with space, before Python starts"
    return FilePool(tempfile.gettempdir(), what, elsewhere if way is None else f"{elsewhere}, or {way}")


def refuse_copy(rows: CSR, bytes_per_pair: int, what: str) -> None:
    """Raise if these are the interactions of a fit from a store and don't fit in memory, where `what` needs them."""
    if not is_mapped(rows.indices):
        return
    free, needed = available_bytes(), bytes_per_pair * len(rows.indices)
    if free is not None and needed > free:
        raise MemoryError(
            f"{what} needs the interactions of the fit in memory, where they would take {human_bytes(needed)} of "
            f"{human_bytes(free)}: read all events into a new store, and fit on it"
        )


def refuse_if_too_large(needed: FitMemory) -> None:
    """Raise if a fit without a limit would run out of memory; its interactions are in memory already."""
    free, still = available_bytes(), needed.in_memory - LIBRARY - needed.entries
    if free is not None and still > free:
        way = "pass memory_limit, which keeps them in files, or " if needed.files else ""
        raise MemoryError(
            f"the factors of this fit take {human_bytes(still)}, but only {human_bytes(free)} are free: {way}lower "
            "factors"
        )
