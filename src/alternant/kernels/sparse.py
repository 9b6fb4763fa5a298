"""The contract of products of sparse matrices: `top_k_sparse`, `multiply_sparse`, `multiply_sparse_dense`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_number
from . import _checks as check
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._typing import Integers, Reals


def top_k_sparse(
    left: tuple[NDArray[np.int64], Integers, Reals | None],
    right: tuple[NDArray[np.int64], Integers, Reals | None],
    columns: int,
    k: int,
    exclude: tuple[NDArray[np.int64], Integers] | None,
    out_ids: NDArray[np.int32],
    out_values: Reals,
    row_norms: Reals | None = None,
    column_norms: Reals | None = None,
    shrinkage: float = 0.0,
    num_threads: int | None = None,
) -> None:
    r"""Find the `k` greatest entries of each row of a product of sparse matrices, without storing the product.

    .. math:: v_{rj} = \frac{\sum_p L_{rp} R_{pj}}{a_r b_j + h}

    With L the transpose of R, without norms, these are the nearest neighbours by dot product; with the norms of the
    columns as a and b, by cosine, which a shrinkage h lowers where norms are small. Entries whose sum is 0 are not
    ranked, nor is NaN. Ties are broken by the lower column. If fewer than `k` entries are left, the list is padded with
    id -1 and value -inf. Results are bitwise identical for any number of threads.

    Parameters
    ----------
    left : (indptr, indices, values)
        CSR, shape (m, p); values None: ones.
    right : (indptr, indices, values)
        CSR, shape (p, columns); values None: ones.
    columns : int
        Number of columns of `right`.
    k : int
        Length of the lists.
    exclude : (indptr, indices) or None
        CSR: the columns to exclude in row ``r``.
    out_ids : int32 array, shape (m, k)
        Receives the columns, greatest value first.
    out_values : array, shape (m, k)
        Receives their values.
    row_norms : array, shape (m,), or None
        a; None: ones.
    column_norms : array, shape (columns,), or None
        b; None: ones.
    shrinkage : float
        h, 0 or more.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    check.fits_int32(columns=columns)
    dtype = check.floating("out_values", out_values)
    m = _matrices(left, right, columns, dtype)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k!r}")
    if exclude is not None:
        check.csr(*exclude, m, columns)
    for name, norms, length in (("row_norms", row_norms, m), ("column_norms", column_norms, columns)):
        if norms is not None:
            check.vector(name, norms, dtype, length)
    shrinkage = check_number("shrinkage", shrinkage, 0)
    check.output("out_ids", out_ids, np.int32, (m, k))
    check.output("out_values", out_values, dtype, (m, k))
    active_backend().top_k_sparse(
        left, right, columns, k, exclude, out_ids, out_values, row_norms, column_norms, shrinkage,
        resolve_num_threads(num_threads),
    )  # fmt: skip


def multiply_sparse(
    left: tuple[NDArray[np.int64], Integers, Reals | None],
    right: tuple[NDArray[np.int64], Integers, Reals | None],
    out: Reals,
    num_threads: int | None = None,
) -> None:
    r"""Compute a product of sparse matrices as a dense array.

    .. math:: \text{out}_{rj} = \sum_p L_{rp} R_{pj}

    Sums are the same as in `top_k_sparse`, to the last bit, and for any number of threads.

    Parameters
    ----------
    left : (indptr, indices, values)
        CSR, shape (m, p); values None: ones.
    right : (indptr, indices, values)
        CSR, shape (p, n); values None: ones.
    out : array, shape (m, n)
        Receives the product.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    dtype = check.floating("out", out)
    columns = out.shape[-1] if out.ndim else 0
    check.fits_int32(columns=columns)
    m = _matrices(left, right, columns, dtype)
    check.output("out", out, dtype, (m, columns))
    active_backend().multiply_sparse(left, right, out, resolve_num_threads(num_threads))


def multiply_sparse_dense(
    left: tuple[NDArray[np.int64], Integers, Reals | None], right: Reals, out: Reals, num_threads: int | None = None
) -> None:
    r"""Compute the product of a sparse and a dense matrix.

    .. math:: \text{out}_{rj} = \sum_p L_{rp} R_{pj}

    Sums are in the dtype of `out` and in the order of the entries of `left`: bitwise identical for any number of
    threads and, without values, in all backends.

    Parameters
    ----------
    left : (indptr, indices, values)
        CSR, shape (m, p); values None: ones. The first entry of `indptr` need not be 0.
    right : array, shape (p, n)
    out : array, shape (m, n)
        Receives the product.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    dtype = check.floating("out", out)
    indptr, indices, values = left
    m = max(0, check.rows_of(indptr) - 1)
    p, n = check.matrix("right", right, dtype).shape
    check.csr(indptr, indices, m, p)
    if values is not None:
        check.vector("the values of left", values, dtype, len(indices))
    check.output("out", out, dtype, (m, n))
    active_backend().multiply_sparse_dense(left, right, out, resolve_num_threads(num_threads))


def _matrices(left: Any, right: Any, columns: int, dtype: Any) -> int:
    """Check both matrices, and return the number of rows of the product."""
    m, p = (max(0, check.rows_of(indptr) - 1) for indptr in (left[0], right[0]))
    for name, (indptr, indices, values), rows, width in (("left", left, m, p), ("right", right, p, columns)):
        check.csr(indptr, indices, rows, width)
        if values is not None:
            check.vector(f"the values of {name}", values, dtype, len(indices))
    return m
