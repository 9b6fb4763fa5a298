r"""The non-negative row problem of alternating least squares in plain NumPy: the reference for the other backends.

.. math:: \mathrm{argmin}_{x \ge 0}\; x^T A x - 2 b^T x, \qquad
          A = G + \lambda_u I + \sum_j w_j y_j y_j^T, \quad b = \sum_j t_j y_j

One row at a time, with all arithmetic in float64 whatever the dtype of the arrays. Cost of a row with ``n`` entries:
``n f^2 / 2`` to form its matrix, ``f^2`` per sweep, ``p^3 / 6`` per solve with ``p`` positive unknowns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky

from ._thresholds import NNLS_ROUNDING, NNLS_SINGULAR, NNLS_SWEEPS

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
    num_threads: int | None = None,  # noqa: ARG001 - one thread; the signature is the contract's
    row_steps: NDArray[np.int32] | None = None,
    row_objective: NDArray[np.float64] | None = None,
) -> int:
    """See `alternant.kernels.solve_rows_nonnegative`."""
    G = np.triu(gramian.astype(np.float64)) + np.triu(gramian.astype(np.float64), 1).T
    status = 0
    for u in range(len(X)):
        entries = slice(indptr[u], indptr[u + 1])
        steps, objective = 0, 0.0
        if entries.start == entries.stop:
            X[u] = 0
        else:
            y = Y[indices[entries]].astype(np.float64)
            w = weight[entries].astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):  # a row that overflows is reported
                A = G + float(regularization[u]) * np.eye(len(G)) + y.T @ (w[:, None] * y)
                b = y.T @ target[entries].astype(np.float64)
            try:
                _check(A, b, definite=w.min() >= 0)
                x, steps = _descend(A, b, np.maximum(X[u].astype(np.float64), 0), tol, max_steps)
                with np.errstate(over="ignore"):
                    if not np.isfinite(x.astype(X.dtype)).all():
                        raise LinAlgError
                X[u] = x
                objective = float(x @ (A @ x - 2 * b))
            except LinAlgError:
                status = status or u + 1
        if row_steps is not None:
            row_steps[u] = steps
        if row_objective is not None:
            row_objective[u] = objective
    return status


def _check(A: NDArray[Any], b: NDArray[Any], definite: bool) -> None:
    """Raise LinAlgError if the objective has no minimum, or overflows."""
    if not (np.isfinite(A).all() and np.isfinite(b).all()) or (b[np.diag(A) <= 0] > 0).any():
        raise LinAlgError
    if not definite and not np.diag(cholesky(A)).min() ** 2 > NNLS_SINGULAR * np.diag(A).max():
        raise LinAlgError


def _descend(
    A: NDArray[Any], b: NDArray[Any], x: NDArray[Any], tol: float, max_steps: int
) -> tuple[NDArray[Any], int]:
    """Coordinate descent, with a solve on the positive unknowns whenever their set is unchanged."""
    if not (b > 0).any():  # A is positive semidefinite, so no x >= 0 is better than 0
        return np.zeros_like(x), 0
    diagonal = np.diag(A)
    x[diagonal <= 0] = 0
    g = A @ x - b
    steps = 0
    while steps < max_steps:
        enough = max(tol * np.abs(b).max(), NNLS_ROUNDING * (diagonal.max() * x.sum() + np.abs(b).max()))
        if np.abs(np.where(x > 0, g, np.minimum(g, 0))).max() <= enough:
            break
        before = x > 0
        for k in np.flatnonzero(diagonal > 0):
            moved = max(x[k] - g[k] / diagonal[k], 0.0)
            g += (moved - x[k]) * A[k]
            x[k] = moved
        steps += 1
        if steps % NNLS_SWEEPS == 0 or np.array_equal(before, x > 0):
            x = _step_on_positive(A, x, g)
            g = A @ x - b
    return x, steps


def _step_on_positive(A: NDArray[Any], x: NDArray[Any], g: NDArray[Any]) -> NDArray[Any]:
    """Move from x to the minimum over the positive unknowns, or towards it until one of them reaches 0."""
    P = np.flatnonzero(x > 0)
    if not len(P):
        return x
    try:
        U = cholesky(A[np.ix_(P, P)])
    except LinAlgError:
        return x
    if not np.diag(U).min() ** 2 > NNLS_SINGULAR * np.diag(A).max():
        return x
    step = -cho_solve((U, False), g[P])
    towards_zero = step < 0
    ratio = np.full(len(P), np.inf)
    ratio[towards_zero] = -x[P][towards_zero] / step[towards_zero]
    length = min(1.0, ratio.min())
    x = x.copy()
    x[P] = np.where(ratio <= length, 0, np.maximum(x[P] + length * step, 0))
    return x
