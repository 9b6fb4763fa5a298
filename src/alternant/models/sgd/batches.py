"""The positives of a fit in batches of users: in memory, or in files from which a call of the kernel reads its batches.

In files, a batch is one record of numbers in int32: its distinct columns, where the entries of each begin, and its
entries by column, from which the rest of `Batches` follows. The batches of a call, which are far from each other, are
copied one by one, so that their pages can be given back at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import ENTRIES, entry_ranges, is_mapped, prefetch, release
from ...data.csr import CSR
from ...kernels import Batches
from ...kernels import _checks as check

if TYPE_CHECKING:
    from ..._utils.pool import Pool

# Multiply-adds of a call, between two checks for Ctrl-C: some tenths of a second.
CALL_WORK = 1 << 32
CALL_BYTES = 1 << 25  # that a call takes, roughly, if its batches are in files
ENTRY_BYTES = 28  # of an entry, in the arguments of the kernel
SORTED_BYTES = 64  # of an entry, while it is sorted into a batch
NUMBERS = 3  # of a record, at most, for each entry
RECORD_BYTES = 4 * NUMBERS


class Cost(NamedTuple):
    """What rows and batches add to a call, besides their entries."""

    row_work: int  # multiply-adds
    row_bytes: int
    batch_bytes: int


class Call(NamedTuple):
    """The arguments of one call of the kernel."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    batches: Batches
    order: NDArray[np.int64]
    rows: list[slice] | None  # which rows these are, batch by batch; None: all


class Positives(Protocol):
    """The positives of some users, in batches of so many."""

    indptr: NDArray[np.int64]
    row_edges: NDArray[np.int64]  # of the batches

    def calls(self, order: NDArray[np.int64], cost: Cost) -> Iterator[Call]:
        """Yield the calls for these batches, which are the same wherever the positives are."""


class InMemory:
    """Each call has all of them, and the numbers of some batches."""

    indptr: NDArray[np.int64]
    row_edges: NDArray[np.int64]

    def __init__(self, positives: CSR, users: NDArray[np.int64], size: int) -> None:
        taken = _pattern(positives.indptr, positives.indices).take(users)
        self.indptr = np.ascontiguousarray(taken.indptr, np.int64)
        self._indices = np.ascontiguousarray(taken.indices, np.int32)
        self._batches = Batches.of(self.indptr, self._indices, size)
        self.row_edges = self._batches.row_edges

    def calls(self, order: NDArray[np.int64], cost: Cost) -> Iterator[Call]:
        """Yield the calls."""
        for first, last in _ranges_of_calls(self, order, cost):
            yield Call(self.indptr, self._indices, self._batches, order[first:last], None)


class InFiles:
    """Each call has copies of its batches, whose records are arrays of the pool; those of the next are prefetched."""

    indptr: NDArray[np.int64]
    row_edges: NDArray[np.int64]

    def __init__(self, positives: CSR, users: NDArray[np.int64], size: int, pool: Pool) -> None:
        check.fits_int32(rows=len(users), columns=positives.shape[1])
        self.indptr = np.zeros(len(users) + 1, np.int64)
        np.cumsum(np.diff(positives.indptr)[users], out=self.indptr[1:])
        self.row_edges = np.append(np.arange(0, len(users), size), len(users)).astype(np.int64)
        edges = self.indptr[self.row_edges]
        self._columns = np.zeros(len(edges) - 1, np.int64)  # how many different ones a batch has
        narrow = np.diff(edges).max(initial=0) <= np.iinfo(np.int32).max
        self._records = pool.array((NUMBERS * int(edges[-1]),), np.dtype(np.int32 if narrow else np.int64))
        ranges = entry_ranges(edges, ENTRIES)
        self._distribute(positives, users, self.row_edges[[first for first, _ in ranges]])
        for first, last in ranges:
            self._sort(users, first, last, size)

    def _distribute(self, positives: CSR, users: NDArray[np.int64], first_rows: NDArray[np.int64]) -> None:
        """Copy the columns of users, in the order of their numbers, to where the records of their batches will be."""
        places = np.full(positives.shape[0], -1)
        places[users] = np.arange(len(users))
        heads = NUMBERS * self.indptr[first_rows]
        for first, last in entry_ranges(positives.indptr, ENTRIES):
            entries = slice(positives.indptr[first], positives.indptr[last])
            own = np.flatnonzero(places[first:last] >= 0)
            target = np.searchsorted(first_rows, places[first:last][own], side="right") - 1
            part = _pattern(positives.indptr[first : last + 1] - entries.start, positives.indices[entries])
            taken = part.take(own[np.argsort(target, kind="stable")])
            counts = np.bincount(target, minlength=len(first_rows))
            edges = np.concatenate([[0], taken.indptr[np.cumsum(counts)]])
            for number in np.flatnonzero(counts).tolist():
                piece = taken.indices[edges[number] : edges[number + 1]]
                copy = self._records[heads[number] : heads[number] + len(piece)]
                copy[:] = piece
                release(copy)
            heads += np.diff(edges)
            release(positives.indices[entries])

    def _sort(self, users: NDArray[np.int64], first: int, last: int, size: int) -> None:
        """Write the records of a range of batches in place of the columns of their users."""
        own = users[self.row_edges[first] : self.row_edges[last]]
        indptr = self.indptr[self.row_edges[first] : self.row_edges[last] + 1]
        start, order = int(indptr[0]), np.argsort(own)
        lengths = np.diff(indptr)[order]
        arrived = np.array(self._records[NUMBERS * start :][: indptr[-1] - start])
        taken = _pattern(np.concatenate([[0], np.cumsum(lengths)]), arrived).take(np.argsort(order))
        batches = Batches.of(taken.indptr, taken.indices, size)
        self._columns[first:last] = np.diff(batches.column_edges)
        for b in range(batches.number):
            columns = slice(*batches.column_edges[b : b + 2])
            entries = slice(*taken.indptr[batches.row_edges[b : b + 2]])
            record, count = self._record(first + b), columns.stop - columns.start
            record[:count] = batches.columns[columns]
            record[count : 2 * count] = batches.starts[columns] - entries.start
            record[2 * count :] = batches.entries[entries] - entries.start
        release(self._records[NUMBERS * start : NUMBERS * indptr[-1]])

    def _record(self, batch: int) -> NDArray[Any]:
        first, last = self.indptr[self.row_edges[batch : batch + 2]].tolist()
        return self._records[NUMBERS * first :][: 2 * self._columns[batch] + last - first]

    def calls(self, order: NDArray[np.int64], cost: Cost) -> Iterator[Call]:
        """Yield the calls."""
        ranges = _ranges_of_calls(self, order, cost)
        for (first, last), following in zip(ranges, [*ranges[1:], (0, 0)], strict=True):
            if is_mapped(self._records):
                prefetch(*(self._record(batch) for batch in order[slice(*following)].tolist()))
            # The kernel adds the losses in the order of the rows.
            batches = np.sort(order[first:last])
            yield self._read(batches, np.searchsorted(batches, order[first:last]))

    def _read(self, numbers: NDArray[np.int64], order: NDArray[np.int64]) -> Call:
        """Return these batches, numbered from 0."""
        rows = [slice(*self.row_edges[b : b + 2]) for b in numbers.tolist()]
        lengths = np.concatenate([np.diff(self.indptr[part.start : part.stop + 1]) for part in rows])
        sizes = lengths, np.diff(self.row_edges)[numbers], self._columns[numbers]
        indptr, row_edges, column_edges = map(_edges, sizes)
        count = int(indptr[-1])
        columns, entries = np.empty(column_edges[-1], np.int32), np.empty(count, np.int64)
        starts = np.full(len(columns) + 1, count)
        for b, number in enumerate(numbers.tolist()):
            record, width, first = self._record(number), self._columns[number], indptr[row_edges[b]]
            place = slice(*column_edges[b : b + 2])
            columns[place] = record[:width]
            np.add(record[width : 2 * width], first, out=starts[place])
            np.add(record[2 * width :], first, out=entries[first : indptr[row_edges[b + 1]]])
            release(record)
        indices = np.empty(count, np.int32)
        indices[entries] = np.repeat(columns, np.diff(starts))
        entry_rows = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)[entries]
        batches = Batches(row_edges, column_edges, columns, starts, entries, entry_rows)
        return Call(indptr, indices, batches, order, rows)


def gather(array: NDArray[Any], rows: list[slice]) -> NDArray[Any]:
    """Return a copy of some ranges of rows; an array in a file is given back range by range."""
    if not is_mapped(array):
        return np.concatenate([array[part] for part in rows])
    edges = _edges(np.array([part.stop - part.start for part in rows]))
    out = np.empty((edges[-1], *array.shape[1:]), array.dtype)
    for part, first, last in zip(rows, edges[:-1], edges[1:], strict=True):
        out[first:last] = array[part]
        release(array[part])
    return out


def put_back(array: NDArray[Any], rows: list[slice], values: NDArray[Any]) -> None:
    """Undo `gather`."""
    first, mapped = 0, is_mapped(array)
    for part in rows:
        last = first + part.stop - part.start
        array[part] = values[first:last]
        if mapped:
            release(array[part])
        first = last


def _ranges_of_calls(positives: Positives, order: NDArray[np.int64], cost: Cost) -> list[tuple[int, int]]:
    """Split batches into ranges of bounded work and size; positives in memory, too, as losses are added up by call."""
    rows = np.diff(positives.row_edges)[order]
    entries = np.diff(positives.indptr[positives.row_edges])[order]
    sizes = rows * cost.row_bytes + entries * ENTRY_BYTES + cost.batch_bytes
    return entry_ranges(_edges(rows * cost.row_work + sizes * (CALL_WORK // CALL_BYTES)), CALL_WORK)


def _edges(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _pattern(indptr: NDArray[np.int64], indices: NDArray[Any]) -> CSR:
    """Return rows without values, which `take` would copy."""
    return CSR(indptr, indices, np.broadcast_to(np.False_, len(indices)), (len(indptr) - 1, 0))
