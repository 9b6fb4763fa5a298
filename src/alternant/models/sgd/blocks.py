"""The interactions of a fit in the blocks of its grid: in memory, or in files that an epoch reads round by round.

In files, the blocks of a diagonal, which are those of a round, follow one another: a round reads contiguous parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import ENTRIES, FilePool, column_counts, entry_ranges, prefetch, release
from ..._utils.threads import map_parallel
from ...data.csr import CSR
from ...kernels import Grid, cut
from ...kernels import _checks as check
from ...kernels._grid import deal, positions

if TYPE_CHECKING:
    from ...kernels._registry import Backend

CUT_ENTRIES = 1 << 21  # sorted into blocks at a time
COUNTING_THREADS = 4  # each of them takes 13 MB

Targets = Callable[[NDArray[Any]], NDArray[Any]]


class Call(NamedTuple):
    """The arguments of one call of a kernel: its entries, the blocks to process, and the values of the entries."""

    grid: Grid
    schedule: NDArray[np.int64]
    values: NDArray[Any]


class Blocks(Protocol):
    """The interactions in blocks; rows and columns are numbered by their place in `row_order` and `column_order`."""

    row_order: NDArray[np.int64]
    column_order: NDArray[np.int64]

    @property
    def number(self) -> int:
        """The number of blocks of a side."""

    def calls(self, order: NDArray[np.int64]) -> Iterator[Call]:
        """Yield the calls of an epoch, whose rounds are the diagonals of the grid in this order."""


class InMemory:
    """All of them in one call."""

    grid: Grid
    row_order: NDArray[np.int64]
    column_order: NDArray[np.int64]

    def __init__(
        self, rows: CSR, blocks: int, rng: np.random.Generator, targets: Targets, num_threads: int, backend: Backend
    ) -> None:
        found = cut(rows.indptr, rows.indices, rows.shape[1], blocks, rng, num_threads, backend)
        self.grid, self.row_order, self.column_order, entries = found
        self.values: NDArray[Any] = targets(rows.data[entries])

    @property
    def number(self) -> int:
        """The number of blocks of a side."""
        return self.grid.blocks

    def calls(self, order: NDArray[np.int64]) -> Iterator[Call]:
        """Yield one call."""
        yield Call(self.grid, self.grid.diagonals(order), self.values)


class InFiles:
    """A call for each round; the next one is prefetched, and the last one released."""

    row_order: NDArray[np.int64]
    column_order: NDArray[np.int64]

    def __init__(
        self, rows: CSR, blocks: int, rng: np.random.Generator, targets: Targets, num_threads: int, backend: Backend,
        dtype: np.dtype[Any], files: FilePool,
    ) -> None:  # fmt: skip
        check.fits_int32(rows=rows.shape[0], columns=rows.shape[1])
        row_block, self.row_order, self._row_edges = deal(np.diff(rows.indptr), blocks, rng)
        counts = column_counts(rows.indices, rows.shape[1])
        column_block, self.column_order, self._column_edges = deal(counts, blocks, rng)
        first = np.arange(blocks)
        self._blocks = first * blocks + (first + first[:, None]) % blocks  # [d, a]: block (a, a + d), in their order
        ranges = entry_ranges(rows.indptr, CUT_ENTRIES)
        sizes = np.array(map_parallel(
            lambda part: _block_sizes(rows, part, row_block, column_block, blocks), ranges,
            min(num_threads, COUNTING_THREADS),
        ))[:, self._blocks.reshape(-1)]  # fmt: skip
        ends = np.cumsum(sizes.sum(axis=0))
        self._starts = np.concatenate([[0], ends])  # of the blocks, diagonal by diagonal
        places = self._starts[:-1] + np.cumsum(sizes, axis=0) - sizes
        nnz = int(ends[-1])
        self._rows, self._columns = (files.array((nnz,), np.dtype(np.int32)) for _ in range(2))
        self._values = files.array((nnz,), dtype) if rows.data.strides != (0,) else None  # else all are the same
        row_position, column_position = positions(self.row_order), positions(self.column_order)
        for (begin, end), at in zip(ranges, places, strict=True):
            entries = slice(rows.indptr[begin], rows.indptr[end])
            indptr = rows.indptr[begin : end + 1] - rows.indptr[begin]
            starts, *parts, order = backend.sort_into_blocks(
                indptr, rows.indices[entries], row_block[begin:end], column_block, row_position[begin:end],
                column_position, blocks, num_threads,
            )  # fmt: skip
            if self._values is not None:
                parts.append(targets(np.asarray(rows.data[entries], dtype)[order]))
            self._write(at, starts, parts)
            release(rows.indices[entries], rows.data[entries])
        if self._values is None:
            largest = int(np.diff(self._starts[:: blocks]).max())
            self._constant = np.full(largest, targets(np.asarray(rows.data[:1], dtype))[0])

    @property
    def number(self) -> int:
        """The number of blocks of a side."""
        return len(self._row_edges) - 1

    def _write(self, at: NDArray[np.int64], starts: NDArray[np.int64], parts: list[NDArray[Any]]) -> None:
        """Copy entries that are sorted by block to their places."""
        files = [self._rows, self._columns] + ([] if self._values is None else [self._values])
        for place, block in zip(at.tolist(), self._blocks.reshape(-1).tolist(), strict=True):
            first, last = starts[block : block + 2].tolist()
            for file, part in zip(files, parts, strict=True):
                file[place : place + last - first] = part[first:last]
        release(*files)

    def calls(self, order: NDArray[np.int64]) -> Iterator[Call]:
        """Yield the rounds."""
        rounds = order.tolist()
        prefetch(*self._parts(rounds[0]))
        for diagonal, following in zip(rounds, [*rounds[1:], None], strict=True):
            rows, columns, values = parts = self._parts(diagonal)
            if following is not None:
                prefetch(*self._parts(following))
            sizes = np.zeros(self.number**2, np.int64)
            at = self._blocks[diagonal]
            sizes[at] = np.diff(self._starts[diagonal * self.number :][: self.number + 1])
            indptr = np.concatenate([[0], np.cumsum(sizes)])
            grid = Grid(self._row_edges, self._column_edges, indptr, rows, columns)
            yield Call(grid, np.stack(np.divmod(at, self.number), axis=1)[None], values)
            release(*parts)

    def _parts(self, diagonal: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
        first, last = self._starts[diagonal * self.number], self._starts[(diagonal + 1) * self.number]
        values = self._constant[: last - first] if self._values is None else self._values[first:last]
        return self._rows[first:last], self._columns[first:last], values


def _block_sizes(
    rows: CSR, part: tuple[int, int], row_block: NDArray[np.uint8], column_block: NDArray[np.uint8], blocks: int
) -> NDArray[np.int64]:
    """Count the entries of each block in a range of rows."""
    begin, end = part
    sizes, lengths = np.zeros(blocks**2, np.int64), np.diff(rows.indptr[begin : end + 1])
    for first, last in entry_ranges(rows.indptr[begin : end + 1], ENTRIES):
        indices = rows.indices[rows.indptr[begin + first] : rows.indptr[begin + last]]
        of_rows = row_block[begin + first : begin + last].astype(np.uint16) * np.uint16(blocks)
        key = np.repeat(of_rows, lengths[first:last])
        key += column_block[indices]
        sizes += np.bincount(key, minlength=blocks**2)
        release(indices)
    return sizes
