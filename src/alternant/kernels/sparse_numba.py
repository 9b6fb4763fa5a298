r"""Products of sparse matrices, and their greatest entries, compiled by Numba.

.. math:: v_{rj} = \frac{\sum_p L_{rp} R_{pj}}{a_r b_j + h}

Cost of a row: one multiply-add for each product, and ``log k`` for each value that enters the heap of the best so far.
The columns that products fall into are noted, so that no other is looked at.
"""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.threads import map_parallel, resolve_num_threads
from .als_numba import constant, entry_point
from .topk_numba import _inner, _sift_down, _sift_up, _sort, _worse

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 64  # ranked by one task
SUMMED_ROWS = 4096  # by one task


def top_k_sparse(
    left: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None],
    right: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None],
    columns: int,
    k: int,  # noqa: ARG001 - the outputs have k columns; the signature is the contract's
    exclude: tuple[NDArray[np.int64], NDArray[Any]] | None,
    out_ids: NDArray[np.int32],
    out_values: NDArray[Any],
    row_norms: NDArray[Any] | None = None,
    column_norms: NDArray[Any] | None = None,
    shrinkage: float = 0.0,
    num_threads: int | None = None,
) -> None:
    """See `alternant.kernels.top_k_sparse`."""
    m, dtype = len(out_ids), out_values.dtype
    excluded = (np.zeros(m + 1, np.int64), np.empty(0, np.int32)) if exclude is None else exclude
    a = np.ones(m, dtype) if row_norms is None else row_norms
    b = np.ones(columns, dtype) if column_norms is None else column_norms
    inputs = constant(*_parts(left, dtype, np.int64), *_parts(right, dtype, np.int32), *excluded, a, b)
    ones = left[2] is None, right[2] is None
    outputs = out_ids.view(np.ndarray), out_values.view(np.ndarray)
    with np.errstate(over="ignore"):  # float64 has greater numbers
        h = dtype.type(shrinkage)
    map_parallel(
        lambda start: _rank_rows(start, min(start + ROWS, m), *inputs, *ones, h, *outputs),
        range(0, m, ROWS), resolve_num_threads(num_threads),
    )  # fmt: skip


def multiply_sparse(
    left: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None],
    right: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None],
    out: NDArray[Any],
    num_threads: int | None = None,
) -> None:
    """See `alternant.kernels.multiply_sparse`."""
    inputs = constant(*_parts(left, out.dtype, np.int64), *_parts(right, out.dtype, np.int32))
    ones, sums = (left[2] is None, right[2] is None), out.view(np.ndarray)
    map_parallel(
        lambda start: _multiply_rows(start, min(start + ROWS, len(out)), *inputs, *ones, sums),
        range(0, len(out), ROWS), resolve_num_threads(num_threads),
    )  # fmt: skip


def multiply_sparse_dense(
    left: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None],
    right: NDArray[Any],
    out: NDArray[Any],
    num_threads: int | None = None,
) -> None:
    """See `alternant.kernels.multiply_sparse_dense`."""
    inputs, ones = constant(left[0], left[1], _parts(left, out.dtype, left[1].dtype)[2], right), left[2] is None
    sums = out.view(np.ndarray)
    map_parallel(
        lambda start: _add_rows(start, min(start + SUMMED_ROWS, len(out)), *inputs, ones, sums),
        range(0, len(out), SUMMED_ROWS), resolve_num_threads(num_threads),
    )  # fmt: skip


def _parts(matrix: Any, dtype: Any, index: Any) -> tuple[NDArray[Any], ...]:
    """Return the arrays of a CSR matrix, an empty one for values that are ones.

    The types are always the same, so that there is one compilation. The indices of `right`, which may have far more
    entries than the product needs, are not copied if they are int32, as those of models are.
    """
    indptr, indices, values = matrix
    return indptr, indices.astype(index, copy=False), np.empty(0, dtype) if values is None else values


@entry_point
def _rank_rows(
    begin, end, left_indptr, left, factors, right_indptr, right, weights, excluded_indptr, excluded, a, b,
    factors_are_ones, weights_are_ones, shrinkage, ids, values,
):  # fmt: skip
    """Rank the products of the rows ``begin:end``."""
    sums = np.zeros(len(b), values.dtype)
    noted, row_of = np.empty(len(b), np.int64), np.full(len(b), -1)  # each column is noted once a row
    for r in range(begin, end):
        count = 0
        for e in range(left_indptr[r], left_indptr[r + 1]):
            p = left[e]
            factor = values.dtype.type(1) if factors_are_ones else factors[e]
            for q in range(right_indptr[p], right_indptr[p + 1]):
                j = right[q]
                if row_of[j] != r:
                    row_of[j], noted[count] = r, j
                    count += 1
                sums[j] += factor if weights_are_ones else factor * weights[q]
        for e in range(excluded_indptr[r], excluded_indptr[r + 1]):
            sums[excluded[e]] = 0
        _keep_best(sums, noted[:count], a[r], b, shrinkage, ids[r], values[r])


@entry_point
def _multiply_rows(
    begin, end, left_indptr, left, factors, right_indptr, right, weights, factors_are_ones, weights_are_ones, out
):
    """Compute the rows ``begin:end`` of the product."""
    for r in range(begin, end):
        out[r] = 0
        for e in range(left_indptr[r], left_indptr[r + 1]):
            p = left[e]
            factor = out.dtype.type(1) if factors_are_ones else factors[e]
            for q in range(right_indptr[p], right_indptr[p + 1]):
                out[r, right[q]] += factor if weights_are_ones else factor * weights[q]


@entry_point
def _add_rows(begin, end, indptr, indices, values, right, ones, out):
    """Compute the rows ``begin:end`` of the product with a dense matrix."""
    for r in range(begin, end):
        out[r] = 0
        for e in range(indptr[r], indptr[r + 1]):
            p = indices[e]
            for j in range(right.shape[1]):
                out[r, j] += right[p, j] if ones else values[e] * right[p, j]


@_inner
def _keep_best(sums, noted, a, b, shrinkage, ids, values):
    """Rank the sums in the noted columns, and set them to 0."""
    size = 0
    for j in noted:
        value = sums[j] / (a * b[j] + shrinkage)
        if sums[j] == 0 or value != value:
            sums[j] = 0
            continue
        sums[j] = 0
        if size < len(values):
            _sift_up(values, ids, size, value, j)
            size += 1
        elif _worse(values[0], ids[0], value, j):
            _sift_down(values, ids, size, value, j)
    _sort(values, ids, size)
