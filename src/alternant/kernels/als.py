"""The contract of the row problem of alternating least squares: `solve_rows`, `squared_error`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_integer, check_number
from . import _checks as check
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray


def solve_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    weight: NDArray[Any],
    target: NDArray[Any] | float,
    Y: NDArray[Any],
    diagonal: NDArray[Any],
    regularization: NDArray[Any],
    X: NDArray[Any],
    method: Literal["cg", "cholesky"] = "cg",
    tol: float = 1e-3,
    max_steps: int = 10,
    num_threads: int | None = None,
    row_steps: NDArray[np.int32] | None = None,
    row_objective: NDArray[np.float64] | None = None,
    target_scale: NDArray[Any] | None = None,
) -> int:
    r"""Solve one regularized weighted least-squares problem for every row.

    Row ``u`` becomes the solution of

    .. math:: (\mathrm{diag}(g) + \lambda_u I + \sum_j w_j y_j y_j^T)\, x_u = \sum_j t_j y_j

    with the sums over the entries ``j`` of row ``u``. A row without entries becomes exactly 0.

    Parameters
    ----------
    indptr : int64 array, shape (m + 1,)
        Row ``u`` owns the entries ``indptr[u]:indptr[u + 1]``. It need not start at 0: a slice of a larger `indptr`
        solves a range of rows.
    indices : int32 or int64 array, shape (nnz,)
        Row numbers of `Y`. They need not be sorted; a repeated one counts as often as it stands there.
    weight : array, shape (nnz,)
        ``w`` of every entry, negative only as far as each row's matrix stays positive definite.
    target : array, shape (nnz,), or float
        ``t`` of every entry; or what is added to each ``w`` to get ``t``, as for implicit feedback without dislikes.
    Y : array, shape (n, f)
        The fixed side; for float32 arrays also in float16, as `multiply` writes it. The Cython kernel then reads half
        as much memory, which pays where `Y` is larger than the caches. To solve rows exactly it first converts all of
        `Y` to float32, as the other backends always do.
    diagonal : array, shape (f,)
        ``g``, not negative.
    regularization : array, shape (m,)
        ``lambda_u``, not negative. All of these must be finite.
    X : array, shape (m, f)
        The solved side, overwritten. ``method="cg"`` starts from what it holds.
    method : {"cg", "cholesky"}
        ``"cg"``: conjugate gradients preconditioned by ``diag(g) + lambda_u``; a row whose preconditioner is
        (numerically) singular is solved by Cholesky instead. ``"cholesky"``: exact, through the ``f x f`` system or,
        for a row with fewer than ``f`` entries and positive weights, through its dual.
    tol : float
        A row stops when the distance to its solution, in the norm of its matrix A, is estimated to be at most `tol`
        times the initial distance: when the remaining decrease of ``x^T A x - 2 b^T x`` is at most ``tol^2`` times the
        decrease so far. If no weight is negative, ``r^T M^-1 r`` (residual r, preconditioner M) bounds the remaining
        decrease; with large weights that bound is loose, and twice the last step's decrease is used instead. A row
        whose initial value is worse than 0 starts at 0. A row also stops when its residual is rounding error compared
        with b. With a tolerance of 0.05 or more, the steps (but not the initial residual) may use long float32 rows
        rounded to bfloat16, an error well below `tol`. Not used by ``"cholesky"``.
    max_steps : int
        Maximum number of steps for each row. Not used by ``"cholesky"``.
    num_threads : int, optional
        Number of threads; all that the process may use by default.
    row_steps : int32 array, shape (m,), optional
        Receives the conjugate-gradient steps of each row (0 where the row was solved exactly).
    row_objective : float64 array, shape (m,), optional
        Receives ``x^T diag(g) x + lambda_u |x|^2 + sum_j (w_j s_j^2 - 2 t_j s_j)``, ``s_j = y_j . x``, of each row:
        its share of the objective up to a constant.
    target_scale : array, shape (n,), optional
        Factor of the targets of each row of `Y`: ``t_j`` is multiplied by ``target_scale[indices[j]]``. Normalized
        preferences then need no array of nnz numbers.

    Returns
    -------
    int
        0, or ``1 + u`` for the first row ``u`` whose matrix is singular or not positive definite. Such a row of `X`
        is left as it was; the others are solved.

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
    check.optional_output("row_steps", row_steps, np.int32, m)
    check.optional_output("row_objective", row_objective, np.float64, m)
    check.finite(weight=weight, target=target, Y=Y, diagonal=diagonal, regularization=regularization, X=X)
    check.not_negative("diagonal", diagonal)
    check.not_negative("regularization", regularization)
    check.separate({"X": X, "row_steps": row_steps, "row_objective": row_objective}, {
        "indptr": indptr, "indices": indices, "weight": weight, "target": target, "Y": Y, "diagonal": diagonal,
        "regularization": regularization, "target_scale": target_scale,
    })  # fmt: skip
    if method not in ("cg", "cholesky"):
        raise ValueError(f'method must be "cg" or "cholesky", got {method!r}')
    tol, max_steps = check_number("tol", tol, 0), check_integer("max_steps", max_steps, 1)
    threads = resolve_num_threads(num_threads)
    status: int = active_backend().solve_rows(
        indptr, indices, weight, target, Y, diagonal, regularization, X,
        method, tol, max_steps, threads, row_steps, row_objective, target_scale,
    )  # fmt: skip
    return status


def squared_error(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    weight: NDArray[Any],
    target: NDArray[Any] | float,
    X: NDArray[Any],
    Y: NDArray[Any],
    diagonal: NDArray[Any],
    num_threads: int | None = None,
) -> float:
    r"""Evaluate the data term of the objective, up to the constant that depends on neither factor.

    .. math:: \sum_u \Big( x_u^T \mathrm{diag}(g)\, x_u + \sum_j w_j s_{uj}^2 - 2 t_j s_{uj} \Big),
              \qquad s_{uj} = x_u \cdot y_j

    The constant is ``sum c p^2`` for implicit feedback and ``sum weight * rating^2`` for explicit ratings. Sums are
    accumulated in float64, row by row, whatever the dtype of the arrays.

    Parameters
    ----------
    indptr, indices, weight, target, Y, diagonal
        As for `solve_rows`, and `Y` of the dtype of `X`.
    X : array, shape (m, f)
        The other side; not changed.
    num_threads : int, optional
        Number of threads; all that the process may use by default.

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
