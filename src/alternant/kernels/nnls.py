"""The contract of the non-negative row problem of alternating least squares: `solve_rows_nonnegative`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_integer, check_number
from . import _checks as check
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._typing import Integers, Reals


def solve_rows_nonnegative(
    indptr: NDArray[np.int64],
    indices: Integers,
    weight: Reals,
    target: Reals,
    Y: Reals,
    gramian: Reals,
    regularization: Reals,
    X: Reals,
    tol: float = 1e-6,
    max_steps: int = 1000,
    num_threads: int | None = None,
    row_steps: NDArray[np.int32] | None = None,
    row_objective: NDArray[np.float64] | None = None,
) -> int:
    r"""Solve a regularized weighted least-squares problem with non-negative unknowns for each row.

    Row ``u`` of `X` is set to

    .. math:: \mathrm{argmin}_{x \ge 0}\; x^T A_u x - 2 b_u^T x, \qquad
              A_u = G + \lambda_u I + \sum_j w_j y_j y_j^T, \qquad b_u = \sum_j t_j y_j

    where the sums run over the entries ``j`` of row ``u``. Coordinate descent starts from the contents of `X` (negative
    values count as 0). Whenever a sweep leaves the set of positive unknowns unchanged, and after every 8 sweeps, a
    Cholesky solve moves to the minimum over that set, or towards it until an unknown reaches 0. Neither increases the
    objective. All arithmetic is in float64. A row without entries is set to exactly 0, as is one whose ``b`` has no
    positive entry. All floating-point inputs, including the initial `X`, must be finite.

    Parameters
    ----------
    indptr : int64 array, shape (m + 1,)
        Row ``u`` owns entries ``indptr[u]:indptr[u + 1]``. `indptr` need not start at 0: a slice of a larger one solves
        a range of rows.
    indices : int32 or int64 array, shape (nnz,)
        Rows of `Y`, in any order; an index that is repeated counts once per occurrence.
    weight, target : arrays, shape (nnz,)
        ``w`` and ``t`` of each entry. A weight may be 0 where the target is not (if weights common to all rows are in
        `gramian`), or negative as long as the row's matrix is positive definite.
    Y : array, shape (n, f)
        The fixed side.
    gramian : array, shape (f, f)
        ``G``, symmetric and positive semidefinite; only its upper triangle is read.
    regularization : array, shape (m,)
        ``lambda_u``, 0 or more.
    X : array, shape (m, f)
        The solved side: the initial guess, overwritten.
    tol : float
        Relative tolerance: iteration on a row stops when the largest magnitude in its projected gradient (``A x - b``,
        without positive entries where x is 0) is at most `tol` times that in ``b``, or is rounding error.
    max_steps : int
        Maximum number of sweeps over the unknowns of a row.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    row_steps : int32 array, shape (m,), optional
        Receives the number of sweeps of each row; `max_steps` if it may not have converged.
    row_objective : float64 array, shape (m,), optional
        Receives ``x^T A x - 2 b^T x`` for each row: its share of the objective, up to a constant.

    Returns
    -------
    int
        0, or ``1 + u`` for the first row ``u`` whose objective is unbounded below (``A_kk = 0`` with positive ``b_k``),
        which has a negative weight and a matrix that is not positive definite, or whose values overflow. Such rows of
        `X` are left unchanged; all others are solved.

    Notes
    -----
    An unknown with ``A_kk = 0`` is set to 0, unless its ``b_k`` is positive. If a row's matrix is singular and its
    solution is not unique, the initial guess determines which one is found.

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
