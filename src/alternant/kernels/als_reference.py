r"""The row problem of alternating least squares in plain NumPy: the reference for the other backends.

.. math:: (\mathrm{diag}(g) + \lambda_u I + \sum_j w_j y_j y_j^T)\, x_u = \sum_j t_j y_j + l_u

One row at a time, with all arithmetic in float64 whatever the dtype of the arrays. Cost of a row with ``n`` entries:
``2 n f`` per step of conjugate gradients, ``n f^2 / 2 + f^3 / 6`` for Cholesky, ``n^2 f / 2 + n^3 / 6`` with the dual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky

from ._thresholds import ALS_ROUNDING, ALS_SINGULAR, ALS_SMALLEST_DUAL_WEIGHT, ALS_UNDERFLOW

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
    method: str = "cg",
    tol: float = 1e-3,
    max_steps: int = 10,
    num_threads: int | None = None,  # noqa: ARG001 - one thread; the signature is the contract's
    row_steps: NDArray[np.int32] | None = None,
    row_objective: NDArray[np.float64] | None = None,
    target_scale: NDArray[Any] | None = None,
    linear: NDArray[Any] | None = None,
) -> int:
    """See `alternant.kernels.solve_rows`."""
    singular, underflow, rounding = ALS_SINGULAR[X.dtype], ALS_UNDERFLOW[X.dtype], ALS_ROUNDING[X.dtype]
    status = 0
    for u in range(len(X)):
        entries = slice(indptr[u], indptr[u + 1])
        steps, objective = 0, 0.0
        if entries.start == entries.stop:
            X[u] = 0
        else:
            y = Y[indices[entries]].astype(np.float64)
            w = weight[entries].astype(np.float64)
            scale = None if target_scale is None else target_scale[indices[entries]]
            t = _targets(weight, target, entries, scale)
            d = diagonal.astype(np.float64) + float(regularization[u])
            l_u = np.zeros_like(d) if linear is None else linear[u].astype(np.float64)
            try:
                if method == "cg" and d.min() > singular * d.max():
                    start = X[u].astype(np.float64)
                    x, steps = _solve_cg(y, w, t, d, l_u, start, tol, max_steps, underflow, rounding)
                else:
                    x = _solve_cholesky(y, w, t, d, l_u, singular)
            except LinAlgError:
                status = status or u + 1
                x = X[u].astype(np.float64)
            X[u] = x
            s = y @ x
            objective = x @ (d * x - 2 * l_u) + ((w * s - 2 * t) * s).sum()
        if row_steps is not None:
            row_steps[u] = steps
        if row_objective is not None:
            row_objective[u] = objective
    return status


def _targets(
    weight: NDArray[Any], target: NDArray[Any] | float, entries: slice, scale: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    own = weight[entries] + weight.dtype.type(target) if isinstance(target, (int, float)) else target[entries]
    return (own if scale is None else own * scale).astype(np.float64)


def _solve_cg(
    y: NDArray[Any], w: NDArray[Any], t: NDArray[Any], d: NDArray[Any], linear: NDArray[Any], x: NDArray[Any],
    tol: float, max_steps: int, underflow: float, rounding: float,
) -> tuple[NDArray[Any], int]:
    """Conjugate gradients preconditioned by ``d`` (Saad, Iterative Methods for Sparse Linear Systems, alg. 9.1).

    A step lowers the row's objective ``x.Ax - 2 b.x`` by `gain`, known without evaluating it. The decrease `left` is at
    most ``r.r/d``, since A is at least d (unless weights are negative); where d is much smaller than A, recent gains
    are a better estimate: twice the last one if each is two thirds of the one before (Strakos and Tichy, On error
    estimation in the conjugate gradient method, ETNA 13, 2002). Iteration stops when the smaller of the two is small
    relative to the decrease so far. If the initial guess is worse than 0, the row starts from 0.
    """
    b = y.T @ t + linear
    whole = b @ (b / d)
    if whole <= underflow:
        return np.zeros_like(x), 0
    r = b - y.T @ (w * (y @ x)) - d * x
    if -x @ (b + r) > 0:
        x, r = np.zeros_like(x), b
    z = r / d
    p = z.copy()
    rz = r @ z
    decrease, left = 0.0, rz
    steps = 0
    while steps < max_steps and left > tol**2 * decrease and rz > rounding**2 * whole:
        q = y.T @ (w * (y @ p)) + d * p
        curvature = p @ q
        if not curvature > 0:
            raise LinAlgError
        step = rz / curvature
        x = x + step * p
        r = r - step * q
        z = r / d
        previous, rz = rz, r @ z
        p = z + (rz / previous) * p
        gain = step * previous
        decrease += gain
        left = min(rz, 2 * gain)
        steps += 1
    return x, steps


def _solve_cholesky(
    y: NDArray[Any], w: NDArray[Any], t: NDArray[Any], d: NDArray[Any], linear: NDArray[Any], singular: float
) -> NDArray[Any]:
    """Solve exactly: by the dual if the row is short, else by the ``f x f`` system."""
    if len(y) < len(d) and w.min() >= ALS_SMALLEST_DUAL_WEIGHT and d.min() > singular * d.max():
        # x = D^-1/2 V^T (I + V V^T)^-1 (t / sqrt(w)) with V = diag(sqrt(w)) Y D^-1/2 (push-through identity); with a
        # linear term l, x - D^-1 l is solved for, whose targets are t - w Y D^-1 l.
        v = np.sqrt(w)[:, None] * y / np.sqrt(d)
        start = linear / d
        t = t - w * (y @ start)
        a: NDArray[Any] = cho_solve((cholesky(np.eye(len(y)) + v @ v.T), False), t / np.sqrt(w))
        return np.asarray(start + v.T @ a / np.sqrt(d))
    A = np.diag(d) + y.T @ (w[:, None] * y)
    U = cholesky(A)
    if not np.diag(U).min() ** 2 > singular * np.diag(A).max():
        raise LinAlgError
    return cho_solve((U, False), y.T @ t + linear)


def squared_error(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    weight: NDArray[Any],
    target: NDArray[Any] | float,
    X: NDArray[Any],
    Y: NDArray[Any],
    diagonal: NDArray[Any],
    num_threads: int | None = None,  # noqa: ARG001
) -> float:
    """See `alternant.kernels.squared_error`."""
    g = diagonal.astype(np.float64)
    total = 0.0
    for u in range(len(X)):
        entries = slice(indptr[u], indptr[u + 1])
        x = X[u].astype(np.float64)
        s = Y[indices[entries]].astype(np.float64) @ x
        w = weight[entries].astype(np.float64)
        t = _targets(weight, target, entries)
        total += x @ (g * x) + ((w * s - 2 * t) * s).sum()
    return float(total)


def normal_products(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    weight: NDArray[Any],
    Y: NDArray[Any],
    P: NDArray[Any],
    out: NDArray[Any],
    num_threads: int | None = None,  # noqa: ARG001
) -> None:
    """See `alternant.kernels.normal_products`."""
    for u in range(len(P)):
        entries = slice(indptr[u], indptr[u + 1])
        y = Y[indices[entries]].astype(np.float64)
        out[u] = y.T @ (weight[entries] * (y @ P[u].astype(np.float64)))
