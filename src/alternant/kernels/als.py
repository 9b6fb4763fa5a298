"""The contract of the row problem of alternating least squares: `solve_rows`, `squared_error`, `normal_products`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_integer, check_number
from . import _checks as check
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._typing import Integers, Reals


def solve_rows(
    indptr: NDArray[np.int64],
    indices: Integers,
    weight: Reals,
    target: Reals | float,
    Y: Reals,
    diagonal: Reals,
    regularization: Reals,
    X: Reals,
    method: Literal["cg", "cholesky"] = "cg",
    tol: float = 1e-3,
    max_steps: int = 10,
    num_threads: int | None = None,
    row_steps: NDArray[np.int32] | None = None,
    row_objective: NDArray[np.float64] | None = None,
    target_scale: Reals | None = None,
    linear: Reals | None = None,
) -> int:
    r"""Solve a regularized weighted least-squares problem for each row.

    Row ``u`` of `X` is set to the solution of

    .. math:: (\mathrm{diag}(g) + \lambda_u I + \sum_j w_j y_j y_j^T)\, x_u = \sum_j t_j y_j + l_u

    where the sums run over the entries ``j`` of row ``u``. A row without entries is set to exactly 0, whatever its
    ``l_u``. All floating-point inputs, including the initial `X`, must be finite.

    Parameters
    ----------
    indptr : int64 array, shape (m + 1,)
        Row ``u`` owns entries ``indptr[u]:indptr[u + 1]``. `indptr` need not start at 0: a slice of a larger one solves
        a range of rows.
    indices : int32 or int64 array, shape (nnz,)
        Rows of `Y`, in any order; an index that is repeated counts once per occurrence.
    weight : array, shape (nnz,)
        ``w`` of each entry; may be negative as long as each row's matrix is positive definite.
    target : array, shape (nnz,), or float
        ``t`` of each entry, or a number: then ``t = w + target``, as for implicit feedback without dislikes.
    Y : array, shape (n, f)
        The fixed side. With float32 arrays it may also be float16, as written by `multiply`: the Cython kernel then
        reads half as much memory, which pays off if `Y` is larger than the caches. To solve rows exactly, it first
        converts all of `Y` to float32, as the Numba kernel always does.
    diagonal : array, shape (f,)
        ``g``, 0 or more.
    regularization : array, shape (m,)
        ``lambda_u``, 0 or more.
    X : array, shape (m, f)
        The solved side, overwritten. For ``method="cg"`` it holds the initial guess.
    method : {"cg", "cholesky"}
        ``"cg"``: conjugate gradients preconditioned by ``diag(g) + lambda_u``; a row whose preconditioner is
        (numerically) singular is solved by Cholesky instead. ``"cholesky"``: exact, by the ``f x f`` system or, for a
        row with fewer than ``f`` entries, positive weights and a nonsingular ``diag(g) + lambda_u``, by its dual.
    tol : float
        Relative tolerance: iteration on a row stops when its error, in the norm of its matrix A, is estimated to be at
        most `tol` times the initial error, that is, when the estimated remaining decrease of ``x^T A x - 2 b^T x`` is
        at most ``tol^2`` times the decrease so far. The estimate is the smaller of ``r^T M^-1 r`` (residual r,
        preconditioner M), which is an upper bound unless weights are negative but loose for large weights, and twice
        the decrease in the last step. Iteration also stops when the residual is rounding error compared with b. If the
        initial guess is worse than 0, the row starts from 0. With a tolerance of 0.05 or more, the steps (but not the
        initial residual) may round the ``y_j`` of long float32 rows to bfloat16, an error well below `tol`. Ignored by
        ``"cholesky"``.
    max_steps : int
        Maximum number of steps per row. Ignored by ``"cholesky"``.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    row_steps : int32 array, shape (m,), optional
        Receives the number of conjugate-gradient steps of each row (0 if it was solved exactly).
    row_objective : float64 array, shape (m,), optional
        Receives ``x^T diag(g) x + lambda_u |x|^2 + sum_j (w_j s_j^2 - 2 t_j s_j) - 2 l_u . x``, ``s_j = y_j . x``, for
        each row: its share of the objective, up to a constant.
    target_scale : array, shape (n,), optional
        Scale factor per row of `Y`: ``t_j`` is multiplied by ``target_scale[indices[j]]``, so that normalized
        preferences need no array of length nnz.
    linear : array, shape (m, f), optional
        ``l_u``, added to the right-hand side of each row: ``lambda_u m_u`` regularizes the distance of ``x_u`` from
        ``m_u`` instead of 0.

    Returns
    -------
    int
        0, or ``1 + u`` for the first row ``u`` whose matrix is singular or not positive definite. Such rows of `X` are
        left unchanged; all others are solved.

    References
    ----------
    Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.
    """
    half = isinstance(Y, np.ndarray) and Y.dtype == np.float16
    dtype = np.dtype(np.float32) if half else check.floating("Y", Y)
    m, f = check.matrix("X", X, dtype, writeable=True).shape
    check.matrix("Y", Y, Y.dtype, columns=f)
    check.csr(indptr, indices, m, len(Y))
    nnz = len(indices)
    check.vector("weight", weight, dtype, nnz)
    target = check.vector_or_number("target", target, dtype, nnz)
    check.vector("diagonal", diagonal, dtype, f)
    check.vector("regularization", regularization, dtype, m)
    if target_scale is not None:
        check.vector("target_scale", target_scale, dtype, len(Y))
        check.finite(target_scale=target_scale)
    if linear is not None:
        check.matrix("linear", linear, dtype, columns=f)
        check.finite(linear=linear)
        if len(linear) != m:
            raise ValueError(f"linear must have one row for each of the {m} rows of X, got shape {linear.shape}")
    check.optional_output("row_steps", row_steps, np.int32, m)
    check.optional_output("row_objective", row_objective, np.float64, m)
    check.finite(weight=weight, target=target, Y=Y, diagonal=diagonal, regularization=regularization, X=X)
    check.not_negative("diagonal", diagonal)
    check.not_negative("regularization", regularization)
    check.separate({"X": X, "row_steps": row_steps, "row_objective": row_objective}, {
        "indptr": indptr, "indices": indices, "weight": weight, "target": target, "Y": Y, "diagonal": diagonal,
        "regularization": regularization, "target_scale": target_scale, "linear": linear,
    })  # fmt: skip
    if method not in ("cg", "cholesky"):
        raise ValueError(f'method must be "cg" or "cholesky", got {method!r}')
    tol, max_steps = check_number("tol", tol, 0), check_integer("max_steps", max_steps, 1)
    threads = resolve_num_threads(num_threads)
    status: int = active_backend().solve_rows(
        indptr, indices, weight, target, Y, diagonal, regularization, X,
        method, tol, max_steps, threads, row_steps, row_objective, target_scale, linear,
    )  # fmt: skip
    return status


def squared_error(
    indptr: NDArray[np.int64],
    indices: Integers,
    weight: Reals,
    target: Reals | float,
    X: Reals,
    Y: Reals,
    diagonal: Reals,
    num_threads: int | None = None,
) -> float:
    r"""Evaluate the data term of the objective, up to a constant that depends on neither factor.

    .. math:: \sum_u \Big( x_u^T \mathrm{diag}(g)\, x_u + \sum_j w_j s_{uj}^2 - 2 t_j s_{uj} \Big),
              \qquad s_{uj} = x_u \cdot y_j

    The constant is ``sum c p^2`` for implicit feedback and ``sum weight * rating^2`` for explicit ratings. Sums over
    entries and rows are accumulated in float64, whatever the dtype of the arrays.

    Parameters
    ----------
    indptr, indices, weight, target, Y, diagonal
        As for `solve_rows`, but `Y` must have the dtype of `X`.
    X : array, shape (m, f)
        The other side; only read.
    num_threads : int, optional
        Number of threads; by default, all available to the process.

    Returns
    -------
    float
        The value of the formula above.
    """
    dtype = check.floating("Y", Y)
    m, f = check.matrix("X", X, dtype).shape
    check.matrix("Y", Y, dtype, columns=f)
    check.csr(indptr, indices, m, len(Y))
    check.vector("weight", weight, dtype, len(indices))
    target = check.vector_or_number("target", target, dtype, len(indices))
    check.vector("diagonal", diagonal, dtype, f)
    threads = resolve_num_threads(num_threads)
    error: float = active_backend().squared_error(indptr, indices, weight, target, X, Y, diagonal, threads)
    return error


def normal_products(
    indptr: NDArray[np.int64],
    indices: Integers,
    weight: Reals,
    Y: Reals,
    P: Reals,
    out: Reals,
    num_threads: int | None = None,
) -> None:
    r"""Multiply the sparse part of each row's matrix by a vector.

    .. math:: q_u = \sum_j w_j (y_j \cdot p_u)\, y_j

    This is the product that a step of conjugate gradients needs, for solvers whose rows are divided: the products of
    the parts of a row add up to that of the row. Sums over the entries are accumulated in float64, in a fixed order.

    Parameters
    ----------
    indptr, indices, weight, Y
        As for `solve_rows`, but `Y` must have the dtype of `P`.
    P : array, shape (m, f)
        The vectors; rows of zeros cost nothing.
    out : array, shape (m, f)
        Receives the products.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    dtype = check.floating("P", P)
    m, f = check.matrix("P", P, dtype).shape
    check.matrix("Y", Y, dtype, columns=f)
    check.csr(indptr, indices, m, len(Y))
    check.vector("weight", weight, dtype, len(indices))
    check.output("out", out, dtype, (m, f))
    check.separate({"out": out}, {"indptr": indptr, "indices": indices, "weight": weight, "Y": Y, "P": P})
    active_backend().normal_products(indptr, indices, weight, Y, P, out, resolve_num_threads(num_threads))
