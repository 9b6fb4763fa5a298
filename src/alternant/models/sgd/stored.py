"""Interactions in a store, read in parts: the known pairs of a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import ENTRIES, FilePool, entry_blocks, entry_ranges, release
from ...data.csr import CSR

if TYPE_CHECKING:
    from ...data.store import Store
    from .epochs import EpochModel


def stored_rows(model: EpochModel, name: str, store: Store, files: FilePool) -> CSR:
    """Return the pairs of a store that the model learns from, verified and checked as those of a matrix are.

    The arrays are those of the store, with its values, or in `files` if some pairs are left out.
    """
    store.verify()
    rows, dtype = store.users, np.dtype(model.dtype)
    least, greatest, known = dtype.type(np.inf), dtype.type(-np.inf), 0
    others = np.empty(0, dtype)  # the least, another and the greatest value that is left out
    for part in entry_blocks(distinct_values(rows.data)):
        keep = model._are_known(part)
        with np.errstate(over="ignore"):  # reported below
            values = part.astype(dtype)
        if keep is not None and not keep.all():
            others = np.unique(np.concatenate([others, values[~keep]]))
            others = others[np.unique([0, len(others) // 2, len(others) - 1])]
            values = values[keep]
        if len(values):
            least, greatest = min(least, values.min()), max(greatest, values.max())
        known += len(values)
    if known and not (np.isfinite(least) and np.isfinite(greatest)):
        raise ValueError(
            f"{name} must be finite in {dtype}, got values from {store.least:g} to {store.greatest:g}: scale them, or "
            "use dtype='float64'"
        )
    if known:
        model._check_stored(name, least, greatest, others)
    if not len(others):
        return rows
    known = known if len(distinct_values(rows.data)) == store.nnz else known * store.nnz
    return take_entries(rows, lambda part: _mask(model, rows.data[part]), known, dtype, files)


def positive_pairs(rows: CSR, dtype: np.dtype[Any], files: FilePool | None) -> CSR:
    """Return the pairs whose values, in this dtype, are above 0; in `files`, if some of a store are left out."""
    known = distinct_values(rows.data)
    count = sum(int(np.count_nonzero(_are_positive(part, dtype))) for part in entry_blocks(known))
    if count == len(known):
        return rows
    if files is None:
        return rows.filter(_are_positive(rows.data, dtype))
    count *= len(rows.data) // len(known)
    return take_entries(rows, lambda part: _are_positive(rows.data[part], dtype), count, dtype, files)


def distinct_values(data: NDArray[Any]) -> NDArray[Any]:
    """Return the values, or only one of them if the array repeats it without taking space."""
    return data[:1] if data.strides == (0,) else data


def take_entries(
    rows: CSR, keep: Callable[[slice], NDArray[np.bool_]], count: int, dtype: np.dtype[Any], files: FilePool
) -> CSR:
    """Return the `count` entries where `keep`, of a range of entries, is true, in files, with values in `dtype`."""
    constant = rows.data.strides == (0,)
    indices = files.array((count,), rows.indices.dtype)
    data = np.broadcast_to(rows.data[:1].astype(dtype)[0], count) if constant else files.array((count,), dtype)
    indptr = np.zeros(len(rows.indptr), np.int64)
    end = 0
    for first, last in entry_ranges(rows.indptr, ENTRIES):
        entries = slice(rows.indptr[first], rows.indptr[last])
        kept = keep(entries)
        before = np.concatenate([[0], np.cumsum(kept)])
        indptr[first + 1 : last + 1] = end + before[rows.indptr[first + 1 : last + 1] - entries.start]
        part = slice(end, end + int(before[-1]))
        indices[part] = rows.indices[entries][kept]
        if not constant:
            data[part] = rows.data[entries][kept]
        release(rows.indices[entries], rows.data[entries], indices[part], data[part])
        end = part.stop
    return CSR(indptr, indices, data, rows.shape)


def _are_positive(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    return np.asarray(np.asarray(values, dtype) > 0)


def _mask(model: EpochModel, values: NDArray[Any]) -> NDArray[np.bool_]:
    keep = model._are_known(values)
    return np.ones(len(values), np.bool_) if keep is None else keep
