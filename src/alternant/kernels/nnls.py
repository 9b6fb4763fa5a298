"""The contract of the non-negative row problem of alternating least squares: `solve_rows_nonnegative`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_integer, check_number
from . import _checks as check
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray


def solve_rows_nonnegative(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    weight: NDArray[Any],
    target: NDArray[Any],
    Y: NDArray[Any],
    gramian: NDArray[Any],
    regularization: NDArray[Any],
    X: NDArray[Any],
    tol: float = 1e-6,
    max_steps: int = 1000,
    num_threads: int | None = None,
    row_steps: NDArray[np.int32] | None = None,
    row_objective: NDArray[np.float64] | None = None,
) -> int:
    r"""Solve one regularized weighted least-squares problem without negative unknowns for every row.

    Row ``u`` becomes

    .. math:: \mathrm{argmin}_{x \ge 0}\; x^T A_u x - 2 b_u^T x, \qquad
              A_u = G + \lambda_u I + \sum_j w_j y_j y_j^T, \qquad b_u = \sum_j t_j y_j

    with the sums over the entries ``j`` of row ``u``: coordinate descent from what `X` holds (negative numbers in it
    count as 0), and, as soon as a sweep leaves the set of positive unknowns as it was, a Cholesky solve on that set,
    shortened so that no unknown becomes negative. Neither raises the objective. All arithmetic is in float64. A row
    without entries becomes exactly 0, as does one whose ``b`` has no positive entry.

    Parameters
    ----------
    indptr : int64 array, shape (m + 1,)
        Row ``u`` owns the entries ``indptr[u]:indptr[u + 1]``. It need not start at 0: a slice of a larger `indptr`
        solves a range of rows.
    indices : int32 or int64 array, shape (nnz,)
        Row numbers of `Y`. They need not be sorted; a repeated one counts as often as it stands there.
    weight, target : arrays, shape (nnz,)
        ``w`` and ``t`` of every entry. A weight may be 0 where the target is not (what weighs on all rows alike is
        then in `gramian`), or negative as long as the row's matrix stays positive definite.
    Y : array, shape (n, f)
        The fixed side.
    gramian : array, shape (f, f)
        ``G``, symmetric and positive semidefinite; its upper triangle is read.
    regularization : array, shape (m,)
        ``lambda_u``, not negative. All of these must be finite.
    X : array, shape (m, f)
        The solved side: the start, overwritten.
    tol : float
        A row stops when the largest entry of its projected gradient (``A x - b``, without positive entries where x is
        0) is at most `tol` times the largest entry of ``b``, or when it is mere rounding error.
    max_steps : int
        Sweeps over the unknowns of a row at most.
    num_threads : int, optional
        Number of threads; all that the process may use by default.
    row_steps : int32 array, shape (m,), optional
        Receives the sweeps of each row; `max_steps` where it may not have converged.
    row_objective : float64 array, shape (m,), optional
        Receives ``x^T A x - 2 b^T x`` of each row: its share of the objective up to a constant.

    Returns
    -------
    int
        0, or ``1 + u`` for the first row ``u`` whose objective is unbounded below (an unknown with positive ``b`` and
        no weight), whose matrix is not positive definite though a weight is negative, or whose numbers
        overflow. Such a row of `X` is left as it was; the others are solved.

    Notes
    -----
    An unknown without weight, ``A_kk = 0``, becomes 0 unless its ``b_k`` is positive. Where a row's matrix is singular
    and its solution not unique, the start decides which one is found.

    References
    ----------
    V. Franc, V. Hlaváč, M. Navara, "Sequential Coordinate-Wise Algorithm for the Non-negative Least Squares Problem",
    CAIP 2005.

    C. Lawson, R. Hanson, "Solving Least Squares Problems", chapter 23, SIAM 1995 (the step on the positive unknowns).
    """
    dtype = check.floating("Y", Y)
    m, f = check.matrix("X", X, dtype, writeable=True).shape
    check.matrix("Y", Y, dtype, columns=f)
    check.csr(indptr, indices, m, len(Y))
    nnz = len(indices)
    check.vector("weight", weight, dtype, nnz)
    check.vector("target", target, dtype, nnz)
    check.matrix("gramian", gramian, dtype, columns=f)
    if len(gramian) != f:
        raise ValueError(f"gramian must have shape ({f}, {f}), got {gramian.shape}")
    check.vector("regularization", regularization, dtype, m)
    check.optional_output("row_steps", row_steps, np.int32, m)
    check.optional_output("row_objective", row_objective, np.float64, m)
    check.finite(weight=weight, target=target, Y=Y, gramian=gramian, regularization=regularization, X=X)
    check.not_negative("regularization", regularization)
    check.separate({"X": X, "row_steps": row_steps, "row_objective": row_objective}, {
        "indptr": indptr, "indices": indices, "weight": weight, "target": target, "Y": Y, "gramian": gramian,
        "regularization": regularization,
    })  # fmt: skip
    tol, max_steps = check_number("tol", tol, 0), check_integer("max_steps", max_steps, 1)
    threads = resolve_num_threads(num_threads)
    status: int = active_backend().solve_rows_nonnegative(
        indptr, indices, weight, target, Y, gramian, regularization, X,
        tol, max_steps, threads, row_steps, row_objective,
    )  # fmt: skip
    return status
