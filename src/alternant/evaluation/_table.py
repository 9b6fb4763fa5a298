"""Interactions as a list of entries, which the splits divide."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.guard import snapshot_of
from .._utils.memory import available_bytes, human_bytes
from ..data import internals
from ..data.csr import CSR
from ..data.events import refuse_events
from ..data.interactions import Interactions
from ..data.validation import check_interactions, is_sparse

PAIR = 60  # bytes of a pair while interactions are split


def _check_fits(pairs: int) -> None:
    """Raise if so many pairs of a store do not fit in memory."""
    free = available_bytes()
    if free is not None and PAIR * pairs > free:
        raise MemoryError(
            f"a split of {pairs:,} pairs would take about {human_bytes(PAIR * pairs)} of {human_bytes(free)} memory: "
            "pass random_split the folders of two new stores, stores=(train, test), or split some of the users, "
            "interactions[:100_000]"
        )


class Table:
    """Interactions as a list of entries, to be split into train and test."""

    source: Interactions | None
    times: NDArray[Any]

    def __init__(self, interactions: Any, times: Any = None, *, timed: bool = False, name: str = "interactions"):
        refuse_events(name, interactions, ", or split events with split_kind")
        interactions = snapshot_of(interactions)
        self.source = interactions if isinstance(interactions, Interactions) else None
        if self.source is not None and internals.is_stored(self.source):
            _check_fits(self.source.nnz)
        matrix = interactions.matrix if self.source is not None else interactions
        dtype = np.dtype(getattr(matrix, "dtype", np.float32))  # anything without a dtype is refused below
        # Sums of duplicates may not fit a narrow dtype.
        wide = np.promote_types(dtype, np.int64) if dtype.kind in "bui" else dtype
        self.rows = check_interactions(name, matrix, wide, zeros=True)
        narrow = self.rows.data.astype(dtype)
        if (narrow == self.rows.data).all():
            self.rows = CSR(self.rows.indptr, self.rows.indices, narrow, self.rows.shape)
        self.counts = np.diff(self.rows.indptr)
        self.owner = np.repeat(np.arange(self.rows.shape[0]), self.counts)
        if timed:
            self.times = self._times(matrix, times, name)

    def _times(self, matrix: Any, times: Any, name: str) -> NDArray[Any]:
        if times is None and self.source is not None:
            times = self.source.times
        if times is None:
            raise ValueError(
                f"a split by time needs a time for every entry, got none: pass times=, or {name} made with time="
            )
        if is_sparse(times):
            stored = check_interactions("times", times, np.dtype(np.float64), zeros=True)
            if not (np.array_equal(stored.indptr, self.rows.indptr)
                    and np.array_equal(stored.indices, self.rows.indices)):  # fmt: skip
                raise ValueError(
                    f"times must store the same pairs as {name}, got different ones: build both from one table"
                )
            return stored.data
        times = np.asarray(times)
        if times.shape != (len(self.rows.data),) or times.dtype.kind not in "iufM":
            raise ValueError(
                f"times must be a list of numbers or dates, one for each of the {len(self.rows.data)} entries of "
                f"{name}, sorted by row and column, got shape {times.shape} of {times.dtype}"
            )
        order = matrix.indices[: matrix.nnz] if matrix.format == "csr" else None
        if self.source is None and (order is None or not np.array_equal(order, self.rows.indices)):
            found = "an unsorted one" if order is not None else matrix.format
            raise ValueError(
                f"a list of times needs {name} as a sorted CSR matrix without duplicates, got {found}: pass times as a "
                "sparse matrix of the same pairs"
            )
        missing = np.isnat(times) if times.dtype.kind == "M" else np.isnan(times)
        if missing.any():
            raise ValueError(f"times must be known for every entry, got {int(missing.sum())} missing: leave them out")
        return np.asarray(times)

    def part(self, keep: NDArray[np.bool_]) -> Any:
        """Return the entries where `keep` is True, as the type of the input."""
        if self.source is not None:
            return internals.select(self.source, keep)
        return self.rows.filter(keep).to_scipy()

    def split(self, held_out: NDArray[np.bool_]) -> tuple[Any, Any]:
        """Return train and test."""
        return self.part(~held_out), self.part(held_out)
