"""Conjugate gradients for the rows of a block of items, whose products are sums over the shards.

Each row has its own step and its own end, by the rule of `alternant.kernels.als_reference`. So this is what the kernel
does for a row on one machine, except that the order of a sum differs. Vectors are kept in float64; what is sent has the
dtype of the factors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels._thresholds import ALS_ROUNDING, ALS_UNDERFLOW


@dataclass(frozen=True)
class Rows:
    """The state of the rows; all arrays are float64, of shape (items, f) or (items,)."""

    x: NDArray[np.float64]
    r: NDArray[np.float64]  # residual
    p: NDArray[np.float64]  # direction, rounded as it is sent
    b: NDArray[np.float64]  # right-hand side
    d: NDArray[np.float64]  # preconditioner: g + lambda
    rz: NDArray[np.float64]
    decrease: NDArray[np.float64]  # of the objective, so far
    left: NDArray[np.float64]  # estimate of the decrease that is left
    steps: NDArray[np.int64]
    active: NDArray[np.bool_]
    singular: NDArray[np.bool_]
    tol: float
    max_steps: int
    dtype: np.dtype[Any]

    def going_on(self, whole: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which rows need another step."""
        rounding = ALS_ROUNDING[self.dtype] ** 2 * whole
        return (self.steps < self.max_steps) & (self.left > self.tol**2 * self.decrease) & (self.rz > rounding)


def start(
    x: NDArray[Any], sums: NDArray[Any], g: NDArray[np.float64], regularization: NDArray[Any], tol: float,
    max_steps: int,
) -> Rows:  # fmt: skip
    """Return the state before the first step.

    Parameters
    ----------
    x : array, shape (items, f)
        The initial guess; a row for which 0 is better starts there.
    sums : array, shape (2, items, f)
        The right-hand sides, and the products of the sparse part of the matrices with `x`.
    g : array, shape (f,)
        The dense part.
    regularization : array, shape (items,)
    tol, max_steps
        As for `alternant.kernels.solve_rows`.
    """
    dtype, x, b = x.dtype, x.astype(np.float64), sums[0].astype(np.float64)
    d = g + regularization.astype(np.float64)[:, None]
    r = b - sums[1].astype(np.float64) - d * x
    worse = -_dots(x, b + r) > 0
    x[worse], r[worse] = 0, b[worse]
    whole = _dots(b, b / d)
    empty = whole <= ALS_UNDERFLOW[dtype]
    x[empty], r[empty], b[empty] = 0, 0, 0
    p, rz = _sent(r / d, dtype), _dots(r, r / d)
    zero = np.zeros(len(x))
    rows = Rows(x, r, p, b, d, rz, zero, rz, np.zeros(len(x), np.int64), ~empty, empty & False, tol, max_steps, dtype)
    return replace(rows, active=~empty & rows.going_on(whole))


def direction(rows: Rows) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the rows that need another step, and the vectors to multiply their matrices with."""
    active = np.flatnonzero(rows.active)
    return active, rows.p[active].astype(rows.dtype)


def count(rows: Rows) -> int:
    """Return how many rows need another step."""
    return int(rows.active.sum())


def step(rows: Rows, products: NDArray[Any]) -> Rows:
    """Take a step of the active rows, given the products of the sparse part of their matrices with the directions."""
    at = np.flatnonzero(rows.active)
    p, d = rows.p[at], rows.d[at]
    q = products.astype(np.float64) + d * p
    curve = _dots(p, q)
    fine = curve > 0
    length = np.where(fine, rows.rz[at] / np.where(fine, curve, 1), 0)
    x, r = rows.x.copy(), rows.r.copy()
    x[at] += length[:, None] * p
    r[at] -= length[:, None] * q
    z = r[at] / d
    before, rz = rows.rz[at], _dots(r[at], z)
    gain = length * before
    p_all, rz_all, steps = rows.p.copy(), rows.rz.copy(), rows.steps.copy()
    decrease, left, singular = rows.decrease.copy(), rows.left.copy(), rows.singular.copy()
    p_all[at] = _sent(z + (rz / before)[:, None] * p, rows.dtype)
    rz_all[at], decrease[at], left[at] = rz, decrease[at] + gain, np.minimum(rz, 2 * gain)
    steps[at] += 1
    singular[at] = ~fine
    new = replace(
        rows, x=x, r=r, p=p_all, rz=rz_all, decrease=decrease, left=left, steps=steps, singular=singular
    )
    return replace(new, active=rows.active & ~singular & new.going_on(_dots(rows.b, rows.b / rows.d)))


def result(rows: Rows) -> tuple[NDArray[Any], NDArray[np.float64], int, int]:
    """Return the solutions, each row's objective ``x.Ax - 2 b.x``, the number of steps, and the first singular row."""
    singular = int(rows.singular.argmax()) if rows.singular.any() else -1
    return rows.x.astype(rows.dtype), -_dots(rows.x, rows.b + rows.r), int(rows.steps.sum()), singular


def _dots(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("if,if->i", left, right))


def _sent(p: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    return p.astype(dtype).astype(np.float64)
