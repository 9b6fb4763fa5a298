"""The kernels: every hot loop of the library, on plain arrays.

This module is the contract. Each function below checks its arguments and hands them to one backend (``cython``,
``numba`` or ``numpy``); `_registry` says which. The implementations stand side by side in ``als_*`` and ``topk_*``,
with the same names, arguments and defaults.

Common to all functions: `X` is the side that is solved, `Y` the side that is fixed; ``m`` and ``n`` are their numbers
of rows and ``f`` the number of factors. Sparse input is CSR: `indptr` int64 ``(m + 1,)``, `indices` int32 or int64.
All floating-point arrays of one call are float32, or all are float64, in C order. Inputs may be read-only; outputs are
allocated by the caller. `num_threads` is a number of threads, or None for all that the process may use; it never
changes a bit of the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._threads import resolve_num_threads
from . import _checks as check
from ._registry import active_backend, available_backends, backend_info, get_backend, set_backend, use_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "active_backend",
    "available_backends",
    "backend_info",
    "get_backend",
    "score_pairs",
    "set_backend",
    "solve_rows",
    "squared_error",
    "top_k",
    "use_backend",
]


def solve_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    weight: NDArray[Any],
    target: NDArray[Any],
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
    weight, target : arrays, shape (nnz,)
        ``w`` and ``t`` of every entry. A weight may be negative as long as each row's matrix stays positive definite.
    Y : array, shape (n, f)
        The fixed side.
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
        A row stops when its residual, measured in the norm of the inverse preconditioner M, is at most `tol` times
        that of the start or, if that is less, of the right-hand side b: ``r^T M^-1 r <= tol^2 min(r0^T M^-1 r0,
        b^T M^-1 b)``; in any case when it is rounding against b. (Against b alone, a warm-started row of great
        weights would never move.) Where no weight is negative, half the left side bounds the distance from the row's
        least objective. Not used by ``"cholesky"``.
    max_steps : int
        Steps a row takes at most. Not used by ``"cholesky"``.
    num_threads : int, optional
        Number of threads; all that the process may use by default.
    row_steps : int32 array, shape (m,), optional
        Receives the conjugate-gradient steps of each row (0 where the row was solved exactly).
    row_objective : float64 array, shape (m,), optional
        Receives ``x^T diag(g) x + lambda_u |x|^2 + sum_j (w_j s_j^2 - 2 t_j s_j)``, ``s_j = y_j . x``, of each row:
        its share of the objective up to a constant.

    Returns
    -------
    int
        0, or ``1 + u`` for the first row ``u`` whose matrix is singular or not positive definite. Such a row of `X`
        is left as it was; the others are solved.

    References
    ----------
    Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.
    """
    dtype = check.floating("Y", Y)
    m, f = check.matrix("X", X, dtype, writeable=True).shape
    check.matrix("Y", Y, dtype, columns=f)
    check.csr(indptr, indices, m, len(Y))
    nnz = len(indices)
    check.vector("weight", weight, dtype, nnz)
    check.vector("target", target, dtype, nnz)
    check.vector("diagonal", diagonal, dtype, f)
    check.vector("regularization", regularization, dtype, m)
    check.optional_output("row_steps", row_steps, np.int32, m)
    check.optional_output("row_objective", row_objective, np.float64, m)
    check.finite(weight=weight, target=target, Y=Y, diagonal=diagonal, regularization=regularization, X=X)
    if np.may_share_memory(X, Y):
        raise ValueError("X is overwritten while Y is read, but the two share memory: pass a copy of one of them")
    if method not in ("cg", "cholesky"):
        raise ValueError(f'method must be "cg" or "cholesky", got {method!r}')
    if not tol >= 0:
        raise ValueError(f"tol must be 0 or more, got {tol!r}")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps!r}")
    threads = resolve_num_threads(num_threads)
    return active_backend().solve_rows(
        indptr, indices, weight, target, Y, diagonal, regularization, X,
        method, tol, max_steps, threads, row_steps, row_objective,
    )  # fmt: skip


def squared_error(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    weight: NDArray[Any],
    target: NDArray[Any],
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
        As for `solve_rows`.
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
    check.vector("target", target, dtype, len(indices))
    check.vector("diagonal", diagonal, dtype, f)
    threads = resolve_num_threads(num_threads)
    return active_backend().squared_error(indptr, indices, weight, target, X, Y, diagonal, threads)


def top_k(
    queries: NDArray[Any],
    items: NDArray[Any],
    k: int,
    exclude: tuple[NDArray[np.int64], NDArray[Any]] | None,
    candidates: NDArray[Any] | None,
    out_ids: NDArray[np.int32],
    out_scores: NDArray[Any],
    num_threads: int | None = None,
) -> None:
    """Find the `k` items with the greatest dot product for every query.

    Ties go to the lower id. Places that no item fills (`k` above the number of items left) get id -1 and score -inf;
    a NaN score never ranks.

    Parameters
    ----------
    queries : array, shape (m, f)
        One row per query.
    items : array, shape (n, f)
        One row per item.
    k : int
        Length of the lists.
    exclude : (indptr, indices) or None
        CSR: the items that query ``u`` must not get, sorted within each row.
    candidates : int32 or int64 array or None
        The only items that may be returned, strictly ascending. None allows all.
    out_ids : int32 array, shape (m, k)
        Receives the ids, best first.
    out_scores : array, shape (m, k)
        Receives their scores.
    num_threads : int, optional
        Number of threads; all that the process may use by default.
    """
    dtype = check.floating("items", items)
    m, f = check.matrix("queries", queries, dtype).shape
    n = check.matrix("items", items, dtype, columns=f).shape[0]
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k!r}")
    check.output("out_ids", out_ids, np.int32, (m, k))
    check.output("out_scores", out_scores, dtype, (m, k))
    if exclude is not None:
        check.csr(*exclude, m, n, sorted_within_rows=True)
    if candidates is not None:
        check.ascending("candidates", candidates, n)
    threads = resolve_num_threads(num_threads)
    active_backend().top_k(queries, items, k, exclude, candidates, out_ids, out_scores, threads)


def score_pairs(
    rows: NDArray[Any],
    columns: NDArray[Any],
    X: NDArray[Any],
    Y: NDArray[Any],
    out: NDArray[Any],
    num_threads: int | None = None,
) -> None:
    """Compute ``out[p] = X[rows[p]] . Y[columns[p]]``, accumulated in float64.

    Parameters
    ----------
    rows, columns : int64 arrays, shape (p,)
        Row numbers of `X` and of `Y`.
    X, Y : arrays, shape (m, f) and (n, f)
        The factors.
    out : array, shape (p,)
        Receives the scores.
    num_threads : int, optional
        Number of threads; all that the process may use by default.
    """
    dtype = check.floating("Y", Y)
    m, f = check.matrix("X", X, dtype).shape
    n = check.matrix("Y", Y, dtype, columns=f).shape[0]
    check.ids("rows", rows, m)
    check.ids("columns", columns, n)
    if len(rows) != len(columns):
        raise ValueError(f"rows and columns must be of one length, got {len(rows)} and {len(columns)}")
    check.output("out", out, dtype, (len(rows),))
    active_backend().score_pairs(rows, columns, X, Y, out, resolve_num_threads(num_threads))
