"""The pairs of a fit by pairwise steps, and the triples of a part of them: in memory, or in files.

From files, triples are drawn for a range of users at a time, and written to other files as they come, grouped by task.
Then the pieces of each task are put together, some rounds at a time: the triples of a task are in the order of the
users, as in one draw for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from ..._utils.mapped import AROUND, ENTRIES, FilePool, entry_ranges, prefetch, release
from ...data.csr import CSR
from ...kernels import Adaptive, Popular, Rounds, Sides, Triples
from ...kernels._grid import positions

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ...kernels._registry import Backend

ORDERED_ENTRIES = 1 << 21  # put in the order of the blocks at a time
# Triples drawn, and put together, at a time. A range has pieces of all tasks, of which a fit of a billion has 8,000.
DRAWN_TRIPLES, READ_TRIPLES = 1 << 20, 1 << 21


class Pairs(Protocol):
    """A matrix in the order of the blocks of its rows and columns."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    def calls(self, drawing: Drawing) -> Iterator[Triples]:
        """Yield triples of a part of the pairs, for as many calls of a kernel."""


class Drawing(NamedTuple):
    """What a kernel needs to draw the triples of a part of the pairs, besides these."""

    backend: Backend
    rounds: Rounds
    sides: Sides
    popular: Popular | None
    adaptive: Adaptive | None
    rank_weight: NDArray[np.float64] | None
    weighted: bool  # else the weights are all 1
    verify: bool
    part: tuple[int, int]
    seed: int
    epoch: int
    num_threads: int

    def rows(self, pairs: Pairs, begin: int, end: int) -> Triples:
        """Return the triples of the rows from `begin` to `end`: those of a draw for all rows."""
        indptr, keys, (part, parts) = pairs.indptr[begin : end + 1], None, self.part
        start = int(indptr[0])
        indices = pairs.indices[start : indptr[-1]]
        if begin:
            indptr, keys = indptr - start, np.arange(begin, end)
        triples = self.backend.draw_triples(
            indptr, indices, self.rounds._replace(row_block=self.rounds.row_block[begin:end]),
            self.sides._replace(X=self.sides.X[begin:end]), self.popular, self.adaptive, self.rank_weight, self.verify,
            ((part - start) % parts, parts), self.seed, self.epoch, self.num_threads, keys,
        )  # fmt: skip
        if begin:
            triples.rows[:] += begin
        drawn: Triples = triples if self.weighted else triples._replace(weight=None)
        return drawn


class InMemory:
    """All triples in one call."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    def __init__(self, rows: CSR, row_order: NDArray[np.int64], column_order: NDArray[np.int64]) -> None:
        self.indptr, self.indices = _reordered(rows.indptr, rows.indices, row_order, positions(column_order))

    def calls(self, drawing: Drawing) -> Iterator[Triples]:
        """Yield one draw."""
        yield drawing.rows(self, 0, len(self.indptr) - 1)


class Written(NamedTuple):
    """Where the triples of a part of the pairs are in their files."""

    offsets: NDArray[np.int64]  # of the ranges of rows
    starts: NDArray[np.int32]  # (ranges, tasks + 1): of each task, in each range
    sizes: NDArray[np.int64]  # of the tasks

    def bounds(self, tasks: tuple[int, int]) -> list[list[int]]:
        """Return where consecutive tasks, from one to another, begin and end: a pair for each range."""
        bounds: list[list[int]] = (self.offsets[:, None] + self.starts[:, list(tasks)]).tolist()
        return bounds


class InFiles:
    """The triples of a round in each call. Their files are written anew for each of so many `parts` of the pairs."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    def __init__(
        self, rows: CSR, row_order: NDArray[np.int64], column_order: NDArray[np.int64], parts: int,
        weight: DTypeLike | None, files: FilePool,
    ) -> None:  # fmt: skip
        nnz, integers = len(rows.indices), np.dtype(np.int32)
        self.indptr = np.concatenate([[0], np.cumsum(np.diff(rows.indptr)[row_order])])
        self.indices = files.array((nnz,), integers)
        places, of_rows = positions(column_order), positions(row_order)
        for begin, end in entry_ranges(rows.indptr, ORDERED_ENTRIES):
            entries = rows.indices[rows.indptr[begin] : rows.indptr[end]]
            order = np.argsort(of_rows[begin:end])
            indptr, indices = _reordered(rows.indptr[begin : end + 1] - rows.indptr[begin], entries, order, places)
            release(entries)
            self._write(of_rows[begin:end][order], indptr, indices)
        kinds = [integers] * 3 + ([] if weight is None else [np.dtype(weight)])
        self._triples = [files.array((-(-nnz // parts),), kind) for kind in kinds]
        self._ranges = entry_ranges(self.indptr, parts * DRAWN_TRIPLES)

    def _write(self, rows: NDArray[np.int32], indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> None:
        """Copy rows, in the order of their new numbers, to their places: those of a block follow one another."""
        cuts = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        for first, last in pairwise(cuts):
            part = indices[indptr[first] : indptr[last]]
            start = self.indptr[rows[first]]
            self.indices[start : start + len(part)] = part
        release(self.indices)

    def calls(self, drawing: Drawing) -> Iterator[Triples]:
        """Yield rounds."""
        written, tasks = self._draw(drawing), drawing.rounds.tasks
        indptr = np.concatenate([[0], np.cumsum(written.sizes)])
        groups = [(first * tasks, last * tasks) for first, last in entry_ranges(indptr[::tasks], READ_TRIPLES)]
        for group, following in zip(groups, [*groups[1:], None], strict=True):
            if following is not None:
                for first, last in written.bounds(following):
                    prefetch(*(file[first:last] for file in self._triples))
            rows, positives, negatives, *weight = self._gathered(written, group)
            own = indptr[group[0] : group[1] + 1] - indptr[group[0]]
            triples = Triples(own, rows, positives, negatives, weight[0] if weight else None)
            for task in range(0, group[1] - group[0], tasks):
                yield triples.of_tasks(task, task + tasks)

    def _draw(self, drawing: Drawing) -> Written:
        """Write the triples of all ranges."""
        ends, starts, sizes = [0], [], np.zeros((), np.int64)
        for (first, last), following in zip(self._ranges, [*self._ranges[1:], None], strict=True):
            if following is not None:
                prefetch(self._entries(*following))
            triples = drawing.rows(self, first, last)
            release(self._entries(first, last), drawing.sides.X[first:last])
            place = slice(ends[-1], ends[-1] + len(triples.rows))
            for file, part in zip(self._triples, triples[1:], strict=False):  # without weights if all are 1
                file[place] = part
                release(file[place])
            ends.append(place.stop)
            starts.append(triples.indptr.astype(np.int32))
            sizes = sizes + np.diff(triples.indptr)
        return Written(np.array(ends[:-1]), np.stack(starts), sizes)

    def _entries(self, first: int, last: int) -> NDArray[np.int32]:
        return self.indices[self.indptr[first] : self.indptr[last]]

    def _gathered(self, written: Written, group: tuple[int, int]) -> list[NDArray[Any]]:
        """Return the triples of consecutive tasks: for each task, those of all ranges."""
        starts = written.starts[:, group[0] : group[1] + 1]
        lengths = np.asarray(starts[:, -1] - starts[:, 0], np.int64)
        inside = starts + (np.cumsum(lengths) - lengths - starts[:, 0])[:, None]  # of what is read
        pieces = list(map(slice, inside[:, :-1].T.reshape(-1).tolist(), inside[:, 1:].T.reshape(-1).tolist()))
        arrays = []
        for file in self._triples:
            read, end = np.empty(int(lengths.sum()), file.dtype), 0
            for first, last in written.bounds(group):
                read[end : end + last - first] = file[first:last]
                release(file[first : last + AROUND // file.itemsize])  # mapped pages around the last one, too
                end += last - first
            arrays.append(np.concatenate([read[piece] for piece in pieces]))
        return arrays


def positive_counts(rows: CSR) -> NDArray[np.int64]:
    """Count the values above 0 of each column; memory-mapped ones are read a part at a time."""
    n = rows.shape[1]
    counts, step = np.zeros(n, np.int64), max(ENTRIES, n)
    for start in range(0, len(rows.indices), step):
        indices, data = rows.indices[start : start + step], rows.data[start : start + step]
        counts += np.bincount(indices[data > 0], minlength=n)
        release(indices, data)
    return counts


def _reordered(
    indptr: NDArray[np.int64], indices: NDArray[Any], rows: NDArray[np.int64], places: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the row pointers and the columns, sorted in each row, of rows in a new order, with new column numbers."""
    ones = np.broadcast_to(np.True_, len(indices))
    taken = CSR(indptr, indices, ones, (len(indptr) - 1, len(places))).take(rows)
    ordered = scipy.sparse.csr_array((taken.data, places[taken.indices], taken.indptr), shape=taken.shape)
    ordered.sort_indices()
    return taken.indptr, np.ascontiguousarray(ordered.indices, np.int32)
