"""Checks of the tensors of a model file, a part at a time: pages of mapped ones are given back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import release
from .._utils.validation import all_finite
from ..data.csr import CSR
from ..data.ids import PART
from ..data.store.saved_ids import TextIds

PIECE = 1 << 20  # numbers checked at a time


def is_finite(array: NDArray[Any]) -> bool:
    """Whether there is no NaN or infinite value; the rows of a matrix are checked in blocks."""
    step = max(1, PIECE // max(1, array[:1].size))
    return all(map(all_finite, _pieces(array, step)))


def are_distinct(ids: NDArray[np.int64]) -> bool:
    """Whether whole numbers are distinct; if they ascend, nothing is sorted."""
    if _ascend(ids, strictly=True):
        return True
    return len(np.unique(ids)) == len(ids)


def text_ids(offsets: NDArray[Any], text: NDArray[Any], count: int) -> TextIds:
    """Return ids that are strings, checked: distinct and in ascending order."""
    fits = (
        offsets.dtype == np.int64 and text.dtype == np.uint8 and offsets.shape == (count + 1,) and text.ndim == 1
        and offsets[0] == 0 and offsets[-1] == len(text) and _ascend(offsets)
    )  # fmt: skip
    if not fits:
        raise ValueError(f"strings that are not the ids of {count} rows")
    ids, last = TextIds(offsets, text), None
    for start in range(0, count, PART):
        rows = slice(start, min(start + PART, count))
        texts = ids.raw(np.arange(rows.start, rows.stop)).tolist()
        if (last is not None and last >= texts[0]) or not all(one < other for one, other in pairwise(texts)):
            raise ValueError("ids that are not in ascending order")
        last = texts[-1]
        ids.release(rows)
    return ids


def is_canonical(csr: CSR) -> bool:
    """Whether a CSR matrix is what kernels and models rely on."""
    (rows, columns), indptr, indices = csr.shape, csr.indptr, csr.indices
    if not (
        indptr.dtype == np.int64
        and indices.dtype in (np.int32, np.int64)
        and csr.data.dtype in (np.float32, np.float64)
        and indptr.shape == (rows + 1,)
        and indices.shape == csr.data.shape == (indptr[-1],)
        and indptr[0] == 0
        and _ascend(indptr)
        and is_finite(csr.data)
    ):
        return False
    for start in range(0, len(indices), PIECE):
        part = indices[start : start + PIECE]
        if part.min() < 0 or part.max() >= columns:
            return False
        first = max(1, start)
        rises = np.diff(indices[first - 1 : start + len(part)]) > 0
        rises[_row_starts(indptr, first, start + len(part)) - first] = True
        if not rises.all():
            return False
        release(part)
    release(indptr)
    return True


def _row_starts(indptr: NDArray[np.int64], first: int, last: int) -> NDArray[np.int64]:
    """Return the entries from `first` to `last` with which a row begins."""
    rows = slice(*np.searchsorted(indptr, [first, last]).tolist())
    return indptr[rows]


def _ascend(numbers: NDArray[np.int64], strictly: bool = False) -> bool:
    before = None
    for part in _pieces(numbers, PIECE):
        steps = part[1:] > part[:-1] if strictly else part[1:] >= part[:-1]
        follows = before is None or (before < part[0] if strictly else before <= part[0])
        if not (follows and steps.all()):
            return False
        before = part[-1]
    return True


def _pieces(array: NDArray[Any], step: int) -> Iterator[NDArray[Any]]:
    for start in range(0, len(array), step):
        part = array[start : start + step]
        yield part
        release(part)
