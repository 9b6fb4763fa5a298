"""The parameters that an epoch moves, in the order of its blocks: in memory or, those of the larger side, in files.

A round moves all of them. If one side is in files, the blocks of a round are processed only as many at a time as there
are threads, and the pages of their parameters are given back before the next ones are touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import FilePool, is_mapped, populate, release, row_blocks
from ..._utils.pool import Pool
from ...kernels import Factors, Grid
from .blocks import Call

if TYPE_CHECKING:
    from .blocks import Blocks


class Moving:
    """Where the factors of an epoch are, and how much of a round is processed at a time."""

    places: tuple[NDArray[np.int64], NDArray[np.int64]]
    files: FilePool | None  # None: all are in memory
    num_threads: int

    def __init__(self, blocks: Blocks, files: FilePool | None, num_threads: int) -> None:
        self.places = np.argsort(blocks.row_order), np.argsort(blocks.column_order)
        self.files, self.num_threads = files if files is not None and files.scarce else None, num_threads
        self._large = 0 if len(self.places[0]) >= len(self.places[1]) else 1  # of rows and columns

    def in_order(self, factors: Factors) -> Factors:
        """Return the factors of a model in the order of the blocks."""
        rows, columns = self.places
        pools = [self.files if side == self._large else None for side in range(2)]
        return Factors(
            reordered(factors.X, rows, pools[0]), reordered(factors.Y, columns, pools[1]),
            reordered(factors.row_bias, rows), reordered(factors.column_bias, columns),
        )  # fmt: skip

    def kept(self, saved: Factors) -> Factors:
        """Return arrays that a checkpoint has read, in the order of the blocks: in files only if those of a fit are."""
        large = None if self.files is None else saved[self._large]
        return Factors(*(part if part is large or not is_mapped(part) else np.array(part) for part in saved))

    def portions(self, call: Call, *moved: Factors | None) -> Iterator[Iterable[Call]]:
        """Split a call into its rounds, and these into what is processed at a time; `moved` are read and written."""
        if self.files is None:
            yield (call,)
            return
        for tasks in call.schedule:
            yield self._of_round(call, tasks, [part[self._large] for part in moved if part is not None])

    def _of_round(self, call: Call, tasks: NDArray[np.int64], large: list[NDArray[Any]]) -> Iterator[Call]:
        edges = call.grid.row_edges if self._large == 0 else call.grid.column_edges
        for first in range(0, len(tasks), self.num_threads):
            portion = tasks[first : first + self.num_threads]
            for block in portion[:, self._large].tolist():
                populate(*(part[edges[block] : edges[block + 1]] for part in large))
            yield _entries_of(call, portion)
            release(*large)


def _entries_of(call: Call, tasks: NDArray[np.int64]) -> Call:
    """Return the call of some tasks of a round, with their entries only."""
    grid, blocks = call.grid, call.grid.blocks
    numbers = tasks[:, 0] * blocks + tasks[:, 1]  # ascending, as the rows' blocks are
    parts = [slice(grid.block_indptr[number], grid.block_indptr[number + 1]) for number in numbers.tolist()]
    sizes = np.zeros(blocks**2, np.int64)
    sizes[numbers] = [part.stop - part.start for part in parts]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    rows, columns, values = (
        np.concatenate([array[part] for part in parts]) for array in (grid.rows, grid.columns, call.values)
    )
    return Call(Grid(grid.row_edges, grid.column_edges, indptr, rows, columns), tasks[None], values)


def reordered(part: NDArray[Any], places: NDArray[np.int64], pool: Pool | None = None) -> NDArray[Any]:
    """Return an array whose row `i` goes to ``places[i]``; it is read in order, and both may be in files."""
    out = np.empty(len(part), part.dtype) if part.ndim == 1 else (pool or Pool()).array(part.shape, part.dtype)
    for rows in row_blocks(len(part), part.strides[0] // part.itemsize, part.itemsize):  # biases may be a column
        out[places[rows]] = part[rows]
        release(part[rows], out)
    return out
