"""New events merged into a matrix of interactions, at the cost of copying it, and parts of the result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .csr import CSR


def merge(known: CSR, events: CSR, add: bool) -> tuple[CSR, NDArray[np.int64], NDArray[np.bool_]]:
    """Return a matrix with events added to (or, without `add`, in place of) the entries of the same pairs.

    The matrix has the shape that holds both. Also returned are the positions of the events in its entries, ascending,
    and which of these entries are new. With `add`, entries that become 0 are dropped.
    """
    shape = max(known.shape[0], events.shape[0]), max(known.shape[1], events.shape[1])
    rows, columns = events.positions()
    place, found = _find(known, rows, columns)
    new = ~found
    inserted = place[new] + np.arange(int(new.sum()))
    fresh = np.zeros(len(known.data) + len(inserted), bool)
    fresh[inserted] = True
    narrow = np.int32 if shape[1] <= np.iinfo(np.int32).max else np.int64
    indices, values = np.empty(len(fresh), narrow), np.empty(len(fresh), known.data.dtype)
    np.logical_not(fresh, out=fresh)
    indices[fresh], values[fresh] = known.indices, known.data
    indices[inserted], values[inserted] = columns[new], 0
    lengths = np.zeros(shape[0], np.int64)
    lengths[: known.shape[0]] = np.diff(known.indptr)
    lengths += np.bincount(rows[new], minlength=shape[0])
    merged = CSR(np.concatenate([[0], np.cumsum(lengths)]), indices, values, shape)
    at = np.empty(len(rows), np.int64)
    at[new], at[found] = inserted, place[found] + np.searchsorted(place[new], place[found], side="right")
    values[at] = values[at] + events.data if add else events.data
    if add and not merged.data[at].all():
        keep = np.ones(len(merged.data), bool)
        keep[at] = merged.data[at] != 0
        merged, at, new = merged.filter(keep), (np.cumsum(keep) - 1)[at[keep[at]]], new[keep[at]]
    return merged, at, new


def _find(
    known: CSR, rows: NDArray[np.int64], columns: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where each pair is or would be inserted, and whether it is there: by bisection in all rows at once."""
    inside = np.minimum(rows, known.shape[0])
    ends = np.append(known.indptr, known.indptr[-1])
    start, stop = ends[inside], ends[inside + 1]
    end = stop.copy()
    last = max(0, len(known.indices) - 1)
    while (left := start < stop).any():
        middle = (start + stop) // 2
        below = left & (known.indices[np.minimum(middle, last)] < columns)
        start = np.where(below, middle + 1, start)
        stop = np.where(below | ~left, stop, middle)
    found = start < end
    found[found] = known.indices[start[found]] == columns[found]
    return start, found


def columns_of(rows: CSR, columns: NDArray[np.int64]) -> CSR:
    """Return some columns of a matrix as rows, without transposing the others."""
    wanted, number = np.zeros(rows.shape[1], np.bool_), np.empty(rows.shape[1], rows.indices.dtype)
    wanted[columns], number[columns] = True, np.arange(len(columns))
    kept = np.flatnonzero(wanted.take(rows.indices))
    indptr = np.searchsorted(kept, rows.indptr)
    return CSR(indptr, number[rows.indices[kept]], rows.data[kept], (rows.shape[0], len(columns))).transpose()
