"""Stochastic gradient descent on a grid in plain NumPy: one entry at a time, all arithmetic of a step in float64.

Cost per entry: ``3 f`` multiply-adds (``5 f`` for the cosine), plus the nonlinear function of the score.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.splitmix import GOLDEN, mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._grid import Factors, Grid

# Diverging steps end in inf and NaN, which the caller has to detect, as in the other backends.
quiet: np.errstate = np.errstate(over="ignore", invalid="ignore")


@quiet
def biased_epoch(
    grid: Grid,
    schedule: NDArray[np.int64],
    target: NDArray[Any],
    factors: Factors,
    offset: float,
    bounds: tuple[float, float],
    learning_rate: float,
    regularization: tuple[float, float, float, float],
    update_columns: bool = True,
    num_threads: int | None = None,  # noqa: ARG001 - one thread; the signature is the contract's
) -> NDArray[np.float64]:
    """See `alternant.kernels.biased_epoch`."""
    X, Y, row_bias, column_bias = factors
    low, high = bounds
    bounded = np.isfinite(low) and np.isfinite(high)
    lambda_x, lambda_y, lambda_b, lambda_c = regularization
    losses = []
    for a, b in schedule.reshape(-1, 2).tolist():
        loss = 0.0
        for j in _entries(grid, a, b):
            u, i = grid.rows[j], grid.columns[j]
            x, y = X[u].astype(np.float64), Y[i].astype(np.float64)
            b_u, c_i = float(row_bias[u]), float(column_bias[i])
            z = offset + b_u + c_i + x @ y
            slope = 1.0
            if bounded:
                s = sigmoid(z)
                z, slope = low + (high - low) * s, (high - low) * s * (1 - s)
            error = float(target[j]) - z
            loss += error * error
            g = error * slope
            X[u] = x + learning_rate * (g * y - lambda_x * x)
            row_bias[u] = b_u + learning_rate * (g - lambda_b * b_u)
            if update_columns:
                Y[i] = y + learning_rate * (g * x - lambda_y * y)
                column_bias[i] = c_i + learning_rate * (g - lambda_c * c_i)
        losses.append(loss)
    return np.reshape(losses, schedule.shape[:2])


@quiet
def cosine_epoch(
    grid: Grid,
    schedule: NDArray[np.int64],
    target: NDArray[Any],
    X: NDArray[Any],
    Y: NDArray[Any],
    learning_rate: float,
    update_columns: bool = True,
    num_threads: int | None = None,  # noqa: ARG001
) -> NDArray[np.float64]:
    """See `alternant.kernels.cosine_epoch`."""
    losses = []
    for a, b in schedule.reshape(-1, 2).tolist():
        loss = 0.0
        for j in _entries(grid, a, b):
            u, i, t = grid.rows[j], grid.columns[j], float(target[j])
            x, y = X[u].astype(np.float64), Y[i].astype(np.float64)
            xx, yy = x @ x, y @ y
            if xx == 0 or yy == 0:
                loss += t * t
                continue
            norms = np.sqrt(xx) * np.sqrt(yy)  # the product of the squares could underflow
            cos = (x @ y) / norms
            loss += (cos - t) ** 2
            step = 2 * learning_rate * (cos - t)
            X[u] = x - step * (y / norms - cos / xx * x)
            if update_columns:
                Y[i] = y - step * (x / norms - cos / yy * y)
        losses.append(loss)
    return np.reshape(losses, schedule.shape[:2])


@quiet
def logistic_epoch(
    grid: Grid,
    schedule: NDArray[np.int64],
    weight: NDArray[Any],
    target: NDArray[Any],
    negatives: NDArray[np.float64] | None,
    factors: Factors,
    squares: Factors | None,
    learning_rate: float,
    regularization: tuple[float, float, float, float],
    seed: int = 0,
    epoch: int = 0,
    update_columns: bool = True,
    num_threads: int | None = None,  # noqa: ARG001
    keys: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """See `alternant.kernels.logistic_epoch`."""
    X, Y, row_bias, column_bias = factors
    lambda_x, lambda_y, lambda_b, lambda_c = regularization

    def move(side: int, row: int, gradient: Any) -> None:
        if squares is not None:
            squares[side][row] += gradient * gradient
            gradient = gradient / np.sqrt(squares[side][row], dtype=np.float64)
        factors[side][row] -= learning_rate * gradient

    def step(u: int, i: int, w: float, t: float) -> float:
        x, y = X[u].astype(np.float64), Y[i].astype(np.float64)
        b_u, c_i = float(row_bias[u]), float(column_bias[i])
        z = float(b_u + c_i + x @ y)
        g = w * (sigmoid(z) - t)
        move(0, u, g * y + lambda_x * x)
        move(2, u, g + lambda_b * b_u)
        if update_columns:
            move(1, i, g * x + lambda_y * y)
            move(3, i, g + lambda_c * c_i)
        return w * (max(z, 0.0) + float(np.log1p(np.exp(-abs(z)))) - t * z)

    losses = []
    for a, b in schedule.reshape(-1, 2).tolist():
        loss = 0.0
        for j in _entries(grid, a, b):
            loss += step(grid.rows[j], grid.columns[j], float(weight[j]), float(target[j]))
        for u in range(grid.row_edges[a], grid.row_edges[a + 1]):
            for i in _negatives(grid, u, b, negatives, seed, epoch, keys):
                loss += step(u, i, 1.0, 0.0)
        losses.append(loss)
    return np.reshape(losses, schedule.shape[:2])


def sort_into_blocks(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    row_block: NDArray[np.uint8],
    column_block: NDArray[np.uint8],
    row_position: NDArray[np.int32],
    column_position: NDArray[np.int32],
    blocks: int,
    num_threads: int | None = None,  # noqa: ARG001
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """See `alternant.kernels.sort_into_blocks`."""
    lengths = np.diff(indptr)
    narrow = np.uint8 if blocks <= 16 else np.uint16  # radix-sorted, in one or two passes
    key = np.repeat((row_block.astype(np.int64) * blocks).astype(narrow), lengths)
    key += column_block.astype(narrow)[indices]
    entries = np.argsort(key, kind="stable")
    block_indptr = np.concatenate([[0], np.cumsum(np.bincount(key, minlength=blocks**2))])
    return block_indptr, np.repeat(row_position, lengths)[entries], column_position[indices[entries]], entries


def sigmoid(z: float) -> float:
    """Return ``1 / (1 + exp(-z))`` without overflow."""
    e = np.exp(-abs(z))
    return float(1 / (1 + e) if z >= 0 else e / (1 + e))


def _entries(grid: Grid, a: int, b: int) -> range:
    block = a * grid.blocks + b
    return range(grid.block_indptr[block], grid.block_indptr[block + 1])


def _negatives(
    grid: Grid, u: int, b: int, negatives: NDArray[np.float64] | None, seed: int, epoch: int,
    keys: NDArray[np.int64] | None,
) -> Iterator[int]:  # fmt: skip
    """Yield the columns of block b that row u takes as negatives; they are a hash of seed, epoch, row and block."""
    first, width = int(grid.column_edges[b]), int(grid.column_edges[b + 1] - grid.column_edges[b])
    if negatives is None:
        yield from range(first, first + width)
        return
    if width == 0:
        return
    row = u if keys is None else int(keys[u])
    key = mix(mix(seed + GOLDEN * (epoch + 1)) + GOLDEN * (row * grid.blocks + b + 1))
    expected = float(negatives[u]) * width / int(grid.column_edges[-1])
    for k in range(int(expected + (key >> 40) * 2.0**-24)):
        yield first + ((mix(key + GOLDEN * (k + 1)) >> 32) * width >> 32)
