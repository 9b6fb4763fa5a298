"""Memory-mapped arrays whose pages are given back once they have been used, and factors kept in a file.

A mapped page counts as resident memory of the process from its first use on, although the system could take it back at
any time. Whoever walks over a mapped array releases each part behind itself, so that resident memory stays bounded.
"""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .memory import human_bytes
from .pool import CACHE_LINE, Pool

ENTRIES = 1 << 20  # of interactions, read at a time
BLOCK_BYTES = 1 << 24
# Products of rows with a matrix go in blocks of 256 rows (1024 without Cython), and a shorter block may have other last
# bits: blocks that start at multiples of this have those of the whole.
ALIGNED = 1024
# Scratch files smaller than this are not worth their system calls.
SMALLEST_FILE = 1 << 20
# Linux maps pages around one that is read, up to 2 MiB of them: those before a part, which had been given back, are
# there again.
AROUND = 2 << 20
POPULATE_WRITE = 23 if sys.platform == "linux" else None  # not in module mmap


def release(*arrays: NDArray[Any] | None) -> None:
    """Give back the pages that arrays span in memory maps; arrays elsewhere are left alone.

    Written pages stay in the system's cache until it writes them to the file: nothing is lost.
    """
    for array in arrays:
        _advise(array, getattr(mmap, "MADV_DONTNEED", None), AROUND)


def prefetch(*arrays: NDArray[Any] | None) -> None:
    """Ask the system to start reading arrays that are in memory maps; return at once."""
    for array in arrays:
        _advise(array, getattr(mmap, "MADV_WILLNEED", None), 0)


def populate(*arrays: NDArray[Any] | None) -> None:
    """Map the pages of arrays that are about to be written, in one call instead of a fault for each (Linux 5.14)."""
    for array in arrays:
        _advise(array, POPULATE_WRITE, 0)


def is_mapped(array: NDArray[Any]) -> bool:
    """Whether an array is part of a memory map."""
    return _map_of(array) is not None


def _advise(array: NDArray[Any] | None, advice: int | None, around: int) -> None:
    if array is None or advice is None or not array.size or min(array.strides) < 0:
        return
    mapping = _map_of(array)
    if mapping is None:
        return
    length = array.itemsize + sum((size - 1) * step for size, step in zip(array.shape, array.strides, strict=True))
    start = array.__array_interface__["data"][0] - np.frombuffer(mapping, np.uint8).__array_interface__["data"][0]
    first = max(0, start - start % mmap.PAGESIZE - around)
    with contextlib.suppress(OSError, ValueError):  # advice only
        mapping.madvise(advice, first, start + length - first)


def _map_of(array: Any) -> mmap.mmap | None:
    owner = array
    while owner is not None and not isinstance(owner, mmap.mmap):
        if isinstance(owner, np.memmap) and owner.mode == "c":  # what was written to its pages is nowhere else
            return None
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return owner


class FilePool(Pool):
    """Allocates arrays in files without a name, whose space is freed with the last view of the array.

    Parameters
    ----------
    folder : path
        Where the files are.
    what, way : str
        What the arrays are, and what to do if there is no space for them.

    Attributes
    ----------
    scarce : bool
        Whether there is no memory even for arrays that are slow to use from files, as they are moved again and again.
    """

    scarce = True

    def __init__(
        self, folder: str | os.PathLike[str], what: str = "factors", way: str = "raise memory_limit"
    ) -> None:
        super().__init__()
        self._folder, self._what, self._way = Path(folder), what, way

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of zeros, aligned to a page."""
        size = math.prod(shape) * dtype.itemsize
        if size < SMALLEST_FILE:
            small = super().array(shape, dtype)
            small.fill(0)
            return small
        try:
            with tempfile.TemporaryFile(dir=self._folder, prefix=".alternant-") as file:
                if hasattr(os, "posix_fallocate"):  # else a full disk would kill the process when a page is written
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
                mapping = mmap.mmap(file.fileno(), size)
        except OSError as error:
            full = error.errno == errno.ENOSPC
            reason, way = ("the disk is full", "free some space, or ") if full else (error.strerror, "")
            raise OSError(
                error.errno,
                f"{self._what} of {human_bytes(size)} can't be kept in {str(self._folder)!r} ({reason}): {way}"
                f"{self._way}",
            ) from None
        return np.frombuffer(mapping, dtype).reshape(shape)

    def fixed_side(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array in memory, as it is read in no order; not recycled, or those of all sizes would be kept."""
        size = math.prod(shape) * dtype.itemsize
        memory = np.empty(size + CACHE_LINE, np.uint8)
        start = -memory.ctypes.data % CACHE_LINE
        return memory[start : start + size].view(dtype).reshape(shape)


def row_blocks(rows: int, columns: int, itemsize: int) -> Iterator[slice]:
    """Split rows into blocks of about `BLOCK_BYTES` whose starts are multiples of `ALIGNED` rows."""
    size = _block_rows(columns, itemsize)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def blocks_of(array: NDArray[Any]) -> Iterator[slice]:
    """Split the rows of an array as `row_blocks` does."""
    return row_blocks(len(array), array.shape[1], array.itemsize)


def parts_of(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the blocks of the rows of an array, or of a vector; each is released when the next is asked for."""
    for rows in row_blocks(len(array), 1 if array.ndim == 1 else array.shape[1], array.itemsize):
        yield array[rows]
        release(array[rows])


def longest_block(rows: int, columns: int, dtype: np.dtype[Any]) -> int:
    """Return the number of rows of the longest of `row_blocks`."""
    return min(rows, _block_rows(columns, dtype.itemsize))


def _block_rows(columns: int, itemsize: int) -> int:
    return max(1, BLOCK_BYTES // max(1, columns * itemsize * ALIGNED)) * ALIGNED


def scatter_rows(
    source: NDArray[Any], places: NDArray[np.int64], out: NDArray[Any], origins: NDArray[np.int64]
) -> None:
    """Copy each row to its place, ``out[places[i]] = source[i]``; both arrays may be in files.

    `origins` is the inverse of `places`, with -1 for rows of `out` that no row is copied to; -1 among `places` leaves
    a row out. A mapped array that is read or written in no order would be in memory as a whole. So rows go to the block
    of `out` that their place is in, behind those that are there already, and then each block is sorted.
    """
    blocks, size = list(blocks_of(out)), longest_block(len(out), out.shape[1], out.dtype)
    heads = np.array([block.start for block in blocks])
    for rows in blocks_of(source):
        own = np.flatnonzero(places[rows] >= 0)
        numbers = places[rows][own] // size
        order = np.argsort(numbers, kind="stable")
        counts = np.bincount(numbers, minlength=len(blocks))
        part, start = source[rows][own[order]], 0
        for number in np.flatnonzero(counts).tolist():
            count = int(counts[number])
            target = out[heads[number] : heads[number] + count]
            target[:] = part[start : start + count]
            release(target)
            start += count
        heads += counts
        release(source[rows])
    for rows in blocks:
        taken = np.flatnonzero(origins[rows] >= 0)
        arrived = np.array(out[rows.start : rows.start + len(taken)])
        out[rows][taken[np.argsort(origins[rows][taken])]] = arrived
        release(out[rows])


def entry_ranges(indptr: NDArray[np.int64], entries: int) -> list[tuple[int, int]]:
    """Split rows into ranges of at most so many entries, or of one row."""
    rows, cuts = len(indptr) - 1, [0]
    while cuts[-1] < rows:
        end = int(np.searchsorted(indptr, indptr[cuts[-1]] + entries, side="right")) - 1
        cuts.append(min(rows, max(end, cuts[-1] + 1)))
    return list(pairwise(cuts))


def entry_blocks(data: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the data in blocks of `ENTRIES`; those of a memory map are released when the next is asked for."""
    for start in range(0, len(data), ENTRIES):
        part = data[start : start + ENTRIES]
        prefetch(data[start + ENTRIES : start + 2 * ENTRIES])
        yield part
        release(part)


def blocked_sum(blocks: Iterator[NDArray[Any]]) -> float:
    """Return the sum of blocks of numbers, in float64."""
    return math.fsum(float(block.sum(dtype=np.float64)) for block in blocks)


def column_counts(indices: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Count the entries of each column, in blocks: `numpy.bincount` converts all of its input to int64."""
    counts = np.zeros(n, np.int64)
    step = max(ENTRIES, n)  # each block costs as much as there are columns
    for start in range(0, len(indices), step):
        part = indices[start : start + step]
        counts += np.bincount(part, minlength=n)
        release(part)
    return counts
