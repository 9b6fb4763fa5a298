r"""Stochastic gradient descent on a grid, compiled by Numba: biased, cosine and logistic matrix factorization.

Each step computes the score of one entry and updates both of its vectors:

.. math:: z = b_u + c_i + x_u \cdot y_i, \qquad x_u \mathrel{-}= \eta (g y_i + \lambda_x x_u), \qquad
          y_i \mathrel{-}= \eta (g x_u + \lambda_y y_i)

Cost per entry: ``3 f`` multiply-adds (``5 f`` for the cosine) in the dtype of the arrays, plus the nonlinear function
of the score in float64.

The blocks of a round share no rows and no columns and are processed in parallel; each stores its loss separately.
Results are bitwise identical for any number of threads.
"""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import math
from collections import namedtuple
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from .._utils.splitmix import FIRST, GOLDEN, MASK, SECOND, mix
from .._utils.threads import map_parallel, resolve_num_threads
from ._grid import Factors, Grid
from .als_numba import constant, entry_point

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROUND_STEPS = 4096  # steps per round; shorter ones are run by one thread, since dispatching takes 0.1 ms
PIECES = 4  # of a round per thread, for load balancing

# Sums of squares within these bounds are safe from float32 overflow and underflow; others are recomputed in float64.
SHORTEST, LONGEST = 1e-24, 1e30

Rates: Any = namedtuple("Rates", "learning_rate x y row_bias column_bias")  # lambda of each array
Score: Any = namedtuple("Score", "offset bounded low span")

_GOLDEN, _FIRST, _SECOND = np.uint64(GOLDEN), np.uint64(FIRST), np.uint64(SECOND)
# Inlined: a call would copy all array descriptors, which takes longer than a step. Dot products may be reordered, so
# that they vectorize; elsewhere the compiler may only fuse multiplications and additions. NaN is preserved.
_dots = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}, forceinline=True)
_inner = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)


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
    num_threads: int | None = None,
) -> NDArray[np.float64]:
    """See `alternant.kernels.biased_epoch`."""
    low, high = map(float, bounds)
    score = Score(float(offset), math.isfinite(low) and math.isfinite(high), low, high - low)
    rates = Rates(float(learning_rate), *map(float, regularization))
    moving = _moving(factors, update_columns)
    return _run(
        _biased_blocks, grid, schedule, len(grid.rows), num_threads,
        constant(target)[0], moving, score, rates, update_columns or None,
    )  # fmt: skip


def cosine_epoch(
    grid: Grid,
    schedule: NDArray[np.int64],
    target: NDArray[Any],
    X: NDArray[Any],
    Y: NDArray[Any],
    learning_rate: float,
    update_columns: bool = True,
    num_threads: int | None = None,
) -> NDArray[np.float64]:
    """See `alternant.kernels.cosine_epoch`."""
    x, y = X.view(np.ndarray), Y.view(np.ndarray) if update_columns else constant(Y)[0]
    return _run(
        _cosine_blocks, grid, schedule, len(grid.rows), num_threads,
        constant(target)[0], x, y, float(learning_rate), update_columns or None,
    )  # fmt: skip


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
    num_threads: int | None = None,
    keys: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """See `alternant.kernels.logistic_epoch`."""
    state = np.uint64(mix(int(seed) + GOLDEN * (int(epoch) + 1) & MASK))
    sampled, numbers = (None if array is None else constant(array)[0] for array in (negatives, keys))
    steps = len(grid.rows) + (len(factors.X) * len(factors.Y) if negatives is None else float(negatives.sum()))
    rates = Rates(float(learning_rate), *map(float, regularization))
    moving = _moving(factors, update_columns)
    moving_squares = None if squares is None else _moving(squares, update_columns)
    return _run(
        _logistic_blocks, grid, schedule, steps, num_threads,
        *constant(weight, target), sampled, numbers, state, moving, moving_squares, rates, update_columns or None,
    )  # fmt: skip


def sort_into_blocks(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    row_block: NDArray[np.uint8],
    column_block: NDArray[np.uint8],
    row_position: NDArray[np.int32],
    column_position: NDArray[np.int32],
    blocks: int,
    num_threads: int | None = None,  # noqa: ARG001 - one thread: it is bound by memory
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """See `alternant.kernels.sort_into_blocks`."""
    nnz = len(indices)
    block_indptr, entries = np.zeros(blocks * blocks + 1, np.int64), np.empty(nnz, np.int64)
    rows, columns = np.empty(nnz, np.int32), np.empty(nnz, np.int32)
    inputs = constant(indptr, indices, row_block, column_block, row_position, column_position)
    _sort(*inputs, blocks, block_indptr, rows, columns, entries)
    return block_indptr, rows, columns, entries


@entry_point
def _sort(indptr, indices, row_block, column_block, row_position, column_position, blocks, starts, rows, columns,
          entries):  # fmt: skip
    """Counting sort; `starts` receives the number of entries before each block."""
    for u in range(len(indptr) - 1):
        for j in range(indptr[u], indptr[u + 1]):
            starts[np.int64(row_block[u]) * blocks + column_block[indices[j]] + 1] += 1
    for block in range(blocks * blocks):
        starts[block + 1] += starts[block]
    places = starts[:-1].copy()
    for u in range(len(indptr) - 1):
        for j in range(indptr[u], indptr[u + 1]):
            block = np.int64(row_block[u]) * blocks + column_block[indices[j]]
            at = places[block]
            places[block] = at + 1
            rows[at], columns[at], entries[at] = row_position[u], column_position[indices[j]], j


def _moving(factors: Factors, update_columns: bool) -> Factors:
    """Return plain views, writeable for the rows' side, and for the columns' side only if it is updated."""
    X, Y, row_bias, column_bias = (array.view(np.ndarray) for array in factors)
    if not update_columns:
        Y, column_bias = constant(Y, column_bias)
    return Factors(X, Y, row_bias, column_bias)


def _run(
    kernel: Callable[..., None],
    grid: Grid,
    schedule: NDArray[np.int64],
    steps: float,
    num_threads: int | None,
    *arguments: Any,
) -> NDArray[np.float64]:
    """Process all tasks, those of a round in parallel if that pays off, and return their losses."""
    (rounds, tasks, _), threads = schedule.shape, resolve_num_threads(num_threads)
    losses = np.zeros((rounds, tasks))
    *views, schedule = constant(*grid, schedule)
    place = Grid(*views)
    if threads == 1 or steps < ROUND_STEPS * rounds:
        kernel(0, rounds, 0, tasks, place, schedule, *arguments, losses)
    else:
        count = min(tasks, PIECES * threads)
        pieces = list(pairwise(tasks * piece // count for piece in range(count + 1)))
        for d in range(rounds):
            parts = [(d, d + 1, *piece) for piece in pieces]
            map_parallel(lambda part: kernel(*part, place, schedule, *arguments, losses), parts, threads)
    return losses


@entry_point
def _biased_blocks(first, last, begin, end, grid, schedule, target, factors, score, rates, update, losses):
    """Process the tasks ``begin:end`` of the rounds ``first:last``."""
    blocks = len(grid.row_edges) - 1
    for d in range(first, last):
        for task in range(begin, end):
            loss, block = 0.0, schedule[d, task, 0] * blocks + schedule[d, task, 1]
            for j in range(grid.block_indptr[block], grid.block_indptr[block + 1]):
                loss += _biased_step(grid.rows[j], grid.columns[j], target[j], factors, score, rates, update)
            losses[d, task] = loss


@_inner
def _biased_step(u, i, target, factors, score, rates, update):
    X, Y, row_bias, column_bias = factors
    b_u, c_i = np.float64(row_bias[u]), np.float64(column_bias[i])
    z = score.offset + b_u + c_i + np.float64(_dot(X, u, Y, i))
    slope = 1.0
    if score.bounded:
        s, _ = _sigmoid(z)
        z, slope = score.low + score.span * s, score.span * s * (1 - s)
    error = np.float64(target) - z
    g, eta = error * slope, rates.learning_rate
    row_bias[u] = b_u + eta * (g - rates.row_bias * b_u)
    if update is not None:
        column_bias[i] = c_i + eta * (g - rates.column_bias * c_i)
    _move(X, u, Y, i, eta * g, eta * rates.x, eta * rates.y, update, X.dtype.type(0))
    return error * error


@entry_point
def _cosine_blocks(first, last, begin, end, grid, schedule, target, X, Y, learning_rate, update, losses):
    """Process the tasks ``begin:end`` of the rounds ``first:last``."""
    blocks = len(grid.row_edges) - 1
    for d in range(first, last):
        for task in range(begin, end):
            loss, block = 0.0, schedule[d, task, 0] * blocks + schedule[d, task, 1]
            for j in range(grid.block_indptr[block], grid.block_indptr[block + 1]):
                u, i, t = grid.rows[j], grid.columns[j], np.float64(target[j])
                one = _cosine_step(u, i, t, X, Y, learning_rate, update, X.dtype.type(0), True)
                if one < 0:
                    one = _cosine_step(u, i, t, X, Y, learning_rate, update, 0.0, False)
                loss += one
            losses[d, task] = loss


@_inner
def _cosine_step(u, i, t, X, Y, learning_rate, update, zero, bounded):
    """Take a step in the precision of `zero` and return its loss, or -1 if `bounded` and its range is too small."""
    xy, x2, y2 = _three_dots(X, u, Y, i, zero)
    if bounded and not (SHORTEST < x2 < LONGEST and SHORTEST < y2 < LONGEST):
        return -1.0
    if x2 == 0 or y2 == 0:
        return t * t
    norms = math.sqrt(x2) * math.sqrt(y2)
    cos = xy / norms
    step = 2 * learning_rate * (cos - t)
    _move(X, u, Y, i, -step / norms, -step * cos / x2, -step * cos / y2, update, zero)
    return (cos - t) ** 2


@_inner
def _move(X, u, Y, i, a, x_decay, y_decay, update, zero):
    """Set ``x += a y - x_decay x`` and ``y += a x - y_decay y`` in one pass, in the precision of `zero`.

    Adding the small difference preserves digits of the decay that ``1 - x_decay`` would round away.
    """
    a, x_decay, y_decay = type(zero)(a), type(zero)(x_decay), type(zero)(y_decay)
    if update is None:
        for k in range(X.shape[1]):
            x, y = X[u, k], Y[i, k]
            X[u, k] = x + (a * y - x_decay * x)
    else:
        for k in range(X.shape[1]):
            x, y = X[u, k], Y[i, k]
            X[u, k] = x + (a * y - x_decay * x)
            Y[i, k] = y + (a * x - y_decay * y)


@entry_point
def _logistic_blocks(
    first, last, begin, end, grid, schedule, weight, target, negatives, keys, state, factors, squares, rates, update,
    losses,
):  # fmt: skip
    """Process the tasks ``begin:end`` of the rounds ``first:last``."""
    blocks = len(grid.row_edges) - 1
    for d in range(first, last):
        for task in range(begin, end):
            a, b = schedule[d, task, 0], schedule[d, task, 1]
            loss, block = 0.0, a * blocks + b
            for j in range(grid.block_indptr[block], grid.block_indptr[block + 1]):
                w, t = np.float64(weight[j]), np.float64(target[j])
                loss += _logistic_step(grid.rows[j], grid.columns[j], w, t, factors, squares, rates, update)
            left, width = grid.column_edges[b], grid.column_edges[b + 1] - grid.column_edges[b]
            for u in range(grid.row_edges[a], grid.row_edges[a + 1]):
                place = (u if keys is None else keys[u]) * blocks + b
                key, count = _draw(negatives, state, u, place, width, grid.column_edges[blocks])
                for k in range(count):
                    i = left + _column(negatives, key, k, width)
                    loss += _logistic_step(u, i, 1.0, 0.0, factors, squares, rates, update)
            losses[d, task] = loss


@_inner
def _logistic_step(u, i, w, t, factors, squares, rates, update):
    X, Y, row_bias, column_bias = factors
    b_u, c_i = np.float64(row_bias[u]), np.float64(column_bias[i])
    z = b_u + c_i + np.float64(_dot(X, u, Y, i))
    s, e = _sigmoid(z)
    g, eta = w * (s - t), rates.learning_rate
    b_gradient, c_gradient = g + rates.row_bias * b_u, g + rates.column_bias * c_i
    if squares is None:
        row_bias[u] = b_u - eta * b_gradient
        if update is not None:
            column_bias[i] = c_i - eta * c_gradient
        _move(X, u, Y, i, -eta * g, eta * rates.x, eta * rates.y, update, X.dtype.type(0))
    else:
        row_bias[u] = b_u - eta * _scaled(b_gradient, squares.row_bias, u)
        if update is not None:
            column_bias[i] = c_i - eta * _scaled(c_gradient, squares.column_bias, i)
        _move_adagrad(X, u, Y, i, squares, g, rates, update)
    return w * (max(z, 0.0) + math.log1p(e) - t * z)


@_inner
def _scaled(gradient, sums, at):
    sums[at] += gradient * gradient
    return gradient / math.sqrt(np.float64(sums[at]))


@_inner
def _move_adagrad(X, u, Y, i, squares, g, rates, update):
    real = X.dtype.type
    slope, eta, lambda_x, lambda_y = real(g), real(rates.learning_rate), real(rates.x), real(rates.y)
    x_sums, y_sums = squares.X, squares.Y
    if update is None:
        for k in range(X.shape[1]):
            gradient = slope * Y[i, k] + lambda_x * X[u, k]
            x_sum = x_sums[u, k] + gradient * gradient
            x_sums[u, k] = x_sum
            X[u, k] -= eta * gradient / math.sqrt(x_sum)
    else:
        for k in range(X.shape[1]):
            x, y = X[u, k], Y[i, k]
            x_gradient, y_gradient = slope * y + lambda_x * x, slope * x + lambda_y * y
            x_sum, y_sum = x_sums[u, k] + x_gradient * x_gradient, y_sums[i, k] + y_gradient * y_gradient
            x_sums[u, k], y_sums[i, k] = x_sum, y_sum
            X[u, k] = x - eta * x_gradient / math.sqrt(x_sum)
            Y[i, k] = y - eta * y_gradient / math.sqrt(y_sum)


@_dots
def _dot(X, u, Y, i):
    s = X.dtype.type(0)
    for k in range(X.shape[1]):
        s += X[u, k] * Y[i, k]
    return s


@_dots
def _three_dots(X, u, Y, i, zero):
    """Form ``x . y``, ``x . x`` and ``y . y`` in the precision of `zero`."""
    xy = xx = yy = zero
    for k in range(X.shape[1]):
        x, y = type(zero)(X[u, k]), type(zero)(Y[i, k])
        xy += x * y
        xx += x * x
        yy += y * y
    return np.float64(xy), np.float64(xx), np.float64(yy)


@_inner
def _sigmoid(z):
    """Return the sigmoid, and the exponential ``e^-|z|``, which cannot overflow."""
    e = math.exp(-abs(z))
    return (1.0 if z >= 0 else e) / (1 + e), e


@_inner
def _draw(negatives, state, u, place, width, n):
    """Return the hash key of row `u` in a block, and the number of columns of the block that it takes."""
    if negatives is None:
        return np.uint64(0), width
    key = _mix(state + _GOLDEN * np.uint64(place + 1))
    if width == 0:
        return key, width
    expected = negatives[u] * width / n
    return key, np.int64(expected + np.float64(key >> np.uint64(40)) * 2.0**-24)


@_inner
def _column(negatives, key, k, width):
    """Return the k-th of these columns, relative to the block."""
    if negatives is None:
        return k
    high = _mix(key + _GOLDEN * np.uint64(k + 1)) >> np.uint64(32)
    return np.int64(high * np.uint64(width) >> np.uint64(32))


@_inner
def _mix(z):
    """Return the same hash as `mix` of the reference."""
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))
