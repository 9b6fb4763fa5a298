r"""Pairwise learning to rank, compiled by Numba: steps for triples of a row u, a positive i and a negative j.

.. math:: d = c_i - c_j + x_u \cdot (y_i - y_j), \qquad w \log(1 + e^{-d}) \quad\text{or}\quad w \max(0, 1 - d)

Cost per triple: ``5 f`` multiply-adds in the dtype of the arrays, plus the nonlinear function of the difference in
float64. Negatives are drawn by hashes and grouped by task with a counting sort. The tasks of a round share no rows and
no columns and are processed in parallel; results are bitwise identical for any number of threads.
"""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import math
from collections import namedtuple
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._utils.splitmix import GOLDEN, MASK, mix
from .._utils.threads import map_parallel, resolve_num_threads
from ._rounds import Adaptive, Popular, Rounds, Sides, Triples
from ._thresholds import PAIRWISE_CANDIDATES
from .als_numba import constant, entry_point
from .sgd_numba import _GOLDEN, PIECES, ROUND_STEPS, _dot, _dots, _inner, _mix, _scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS, ENTRIES_PER_PART = 32, 1 << 14  # of the entries, drawn independently; fewer are not worth a part

Entries: Any = namedtuple("Entries", "indptr indices keys first step state verify")
Sampler: Any = namedtuple("Sampler", "thresholds guide order spread rank_weight rate reach most")
Blocks: Any = namedtuple("Blocks", "row_block column_block task")
Steps: Any = namedtuple("Steps", "learning_rate x positive negative bias")  # lambda of each array


def draw_triples(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    rounds: Rounds,
    sides: Sides,
    popular: Popular | None = None,
    adaptive: Adaptive | None = None,
    rank_weight: NDArray[np.float64] | None = None,
    verify: bool = True,
    part: tuple[int, int] = (0, 1),
    seed: int = 0,
    epoch: int = 0,
    num_threads: int | None = None,
    keys: NDArray[np.int64] | None = None,
) -> Triples:
    """See `alternant.kernels.draw_triples`."""
    nnz, (first, step), threads = len(indices), part, resolve_num_threads(num_threads)
    # Empty arrays stand for None, so that Numba compiles once per dtype.
    row_keys = np.empty(0, np.int64) if keys is None else keys
    weights = np.empty(0) if rank_weight is None else rank_weight
    thresholds, guide = (np.empty(0, np.int64), np.empty(0, np.int32)) if popular is None else popular
    most = PAIRWISE_CANDIDATES if rank_weight is None else len(rank_weight)
    order, spread, likely = np.empty((0, 0), np.int32), np.empty(0), 0.0
    if adaptive is not None:
        order, spread, likely = adaptive.order, adaptive.spread, float(adaptive.rate)
    reach = -math.expm1(-likely * len(sides.Y))
    row_keys, thresholds, guide, order, spread, weights = constant(row_keys, thresholds, guide, order, spread, weights)
    sampler = Sampler(thresholds, guide, order, spread, weights, likely, reach, most)
    state = np.uint64(mix(int(seed) + GOLDEN * (int(epoch) + 1) & MASK))
    starts, columns = constant(indptr, indices)
    entries = Entries(starts, columns, row_keys, int(first), int(step), state, bool(verify))
    blocks, factors = Blocks(*constant(*rounds[:3])), Sides(*constant(*sides))
    count = max(1, min(PARTS, nnz // ENTRIES_PER_PART))
    edges = np.searchsorted(indptr, nnz * np.arange(count + 1) // count)
    edges[0], edges[-1] = 0, len(indptr) - 1
    places = np.zeros((count, rounds.number * rounds.tasks), np.int64)
    drawn = np.empty(-(-max(0, nnz - first) // step), np.int32)
    drawn_weight = np.empty(0 if rank_weight is None else len(drawn), sides.X.dtype)
    bounds = list(enumerate(pairwise(edges.tolist())))
    map_parallel(
        lambda at: _draw(*at[1], entries, blocks, factors, sampler, drawn, drawn_weight, places[at[0]]),
        bounds, threads,
    )  # fmt: skip
    starts = np.concatenate([[0], np.cumsum(places.sum(axis=0))])
    places[:] = starts[:-1] + np.cumsum(places, axis=0) - places
    rows, positives, negatives = (np.empty(starts[-1], np.int32) for _ in range(3))
    weight = np.empty(0 if rank_weight is None else starts[-1], sides.X.dtype)
    map_parallel(
        lambda at: _group(*at[1], entries, blocks, drawn, drawn_weight, places[at[0]], rows, positives, negatives,
                          weight),
        bounds, threads,
    )  # fmt: skip
    return Triples(starts, rows, positives, negatives, None if rank_weight is None else weight)


def pairwise_epoch(
    triples: Triples,
    rounds: Rounds,
    sides: Sides,
    squares: Sides | None,
    loss: Literal["logistic", "hinge"],
    learning_rate: float,
    regularization: tuple[float, float, float, float],
    update_columns: bool = True,
    num_threads: int | None = None,
) -> tuple[NDArray[np.float64], int]:
    """See `alternant.kernels.pairwise_epoch`."""
    count, tasks, threads = len(triples.indptr) - 1, rounds.tasks, resolve_num_threads(num_threads)
    losses, correct = np.zeros(count), np.zeros(count, np.int64)
    weight = np.empty(0, sides.X.dtype) if triples.weight is None else triples.weight  # empty, as above
    given = constant(*triples[:4], weight)
    steps = Steps(float(learning_rate), *map(float, regularization))
    arguments = (
        *given, _moving(sides, update_columns), _moving(sides if squares is None else squares, update_columns),
        squares is not None, loss == "hinge", steps, update_columns or None, losses, correct,
    )  # fmt: skip
    if threads == 1 or len(triples.rows) * tasks < ROUND_STEPS * count:
        _tasks(0, count, *arguments)
    else:
        most = min(tasks, PIECES * threads)
        pieces = list(pairwise(tasks * piece // most for piece in range(most + 1)))
        for first in range(0, count, tasks):
            parts = [(first + begin, first + end) for begin, end in pieces]
            map_parallel(lambda part: _tasks(*part, *arguments), parts, threads)
    return losses, int(correct.sum())


def _moving(sides: Sides, update_columns: bool) -> Sides:
    """Return plain views, writeable for the rows' side, and for the columns' side only if it is updated."""
    X, Y, bias = (array.view(np.ndarray) for array in sides)
    return Sides(X, Y, bias) if update_columns else Sides(X, *constant(Y, bias))


@entry_point
def _draw(begin, end, entries, blocks, sides, sampler, drawn, drawn_weight, counts):
    """Draw the negatives of the rows ``begin:end``, and count their triples in each task."""
    sums = np.zeros(len(sampler.spread))
    for u in range(begin, end):
        start, stop = entries.indptr[u], entries.indptr[u + 1]
        row = entries.indices[start:stop]
        number = entries.keys[u] if len(entries.keys) else u
        row_key = _mix(entries.state + _GOLDEN * np.uint64(number + 1))
        total = 0.0
        for k in range(len(sums)):
            weight = np.float64(sides.X[u, k]) if k < sides.X.shape[1] else 1.0
            total += abs(weight) * sampler.spread[k]
            sums[k] = total
        e = _next_entry(entries, start)
        while e < stop:
            i, key = entries.indices[e], _mix(row_key + _GOLDEN * np.uint64(e - start + 1))
            j, k = _negative(u, i, row, key, entries.verify, sides, sampler, sums)
            at = (e - entries.first) // entries.step
            drawn[at] = j
            if len(drawn_weight):
                drawn_weight[at] = sampler.rank_weight[k]
            if j >= 0:
                counts[blocks.task[blocks.row_block[u], blocks.column_block[i], blocks.column_block[j]]] += 1
            e += entries.step


@_inner
def _negative(u, i, row, key, verify, sides, sampler, sums):
    """Return a negative of column i, or -1, and its place among the candidates."""
    search, bound = len(sampler.rank_weight) > 0, np.float64(0)
    if search:
        bound = np.float64(sides.column_bias[i]) + np.float64(_dot(sides.X, u, sides.Y, i))
    for k in range(sampler.most):
        j = _candidate(u, _mix(key + _GOLDEN * np.uint64(k + 1)), sides, sampler, sums)
        if j == i:
            continue
        if search:
            score = np.float64(sides.column_bias[j]) + np.float64(_dot(sides.X, u, sides.Y, j))
            if not bound < 1 + score:
                continue
        if verify:  # after the score: few candidates come here in a search
            at = np.searchsorted(row, j)
            if at < len(row) and row[at] == j:
                continue
        return np.int64(j), k
    return np.int64(-1), 0


@_inner
def _candidate(u, number, sides, sampler, sums):
    """Return the column of a hash, whose halves are two numbers."""
    n, high = len(sides.Y), number >> np.uint64(32)
    if len(sums) and sums[-1] > 0:
        at = np.float64(high) * 2.0**-32 * sums[-1]
        low = np.float64(number & np.uint64(0xFFFFFFFF)) * 2.0**-32
        rank = int(min(-math.log1p(-low * sampler.reach) / sampler.rate, float(n - 1)))
        k = 0
        while k < len(sums) - 1 and sums[k] <= at:
            k += 1
        return np.int64(sampler.order[k, rank if k == sides.X.shape[1] or sides.X[u, k] > 0 else n - 1 - rank])
    if len(sampler.thresholds):
        place = np.int64(high * np.uint64(len(sampler.guide) - 1) >> np.uint64(32))
        first, last = sampler.guide[place], sampler.guide[place + 1]
        return first + np.searchsorted(sampler.thresholds[first + 1 : last + 1], np.int64(high), side="right")
    return np.int64(high * np.uint64(n) >> np.uint64(32))


@_inner
def _next_entry(entries, at):
    """Return the first entry of those to process that is not before `at`."""
    if at <= entries.first:
        return entries.first
    return at + (entries.first - at) % entries.step


@entry_point
def _group(begin, end, entries, blocks, drawn, drawn_weight, places, rows, positives, negatives, weight):
    """Copy the triples of the rows ``begin:end`` to their tasks."""
    for u in range(begin, end):
        e = _next_entry(entries, entries.indptr[u])
        while e < entries.indptr[u + 1]:
            at = (e - entries.first) // entries.step
            i, j = entries.indices[e], drawn[at]
            e += entries.step
            if j < 0:
                continue
            task = blocks.task[blocks.row_block[u], blocks.column_block[i], blocks.column_block[j]]
            place = places[task]
            places[task] = place + 1
            rows[place], positives[place], negatives[place] = u, i, j
            if len(weight):
                weight[place] = drawn_weight[at]


@entry_point
def _tasks(
    first, last, indptr, rows, positives, negatives, weight, sides, squares, adagrad, hinge, steps, update, losses,
    correct,
):  # fmt: skip
    """Process the tasks ``first:last``."""
    Y, bias = sides.Y, sides.column_bias
    for task in range(first, last):
        loss, right = 0.0, 0
        for t in range(indptr[task], indptr[task + 1]):
            u, i, j = rows[t], positives[t], negatives[t]
            w = np.float64(weight[t]) if len(weight) else 1.0
            d = np.float64(bias[i]) - np.float64(bias[j]) + np.float64(_difference(sides.X, Y, u, i, j))
            if d > 0:
                right += 1
            g = w
            if hinge:
                if d >= 1:
                    continue
                loss += w * (1 - d)
            else:
                e = math.exp(-abs(d))
                loss += w * (max(-d, 0.0) + math.log1p(e))
                g = w * (e if d >= 0 else 1.0) / (1 + e)
            if adagrad:
                _adagrad_step(u, i, j, g, sides, squares, steps, update)
            else:
                _step(u, i, j, g, sides, steps, update)
        losses[task], correct[task] = loss, right


@_dots
def _difference(X, Y, u, i, j):
    s = X.dtype.type(0)
    for k in range(X.shape[1]):
        s += X[u, k] * (Y[i, k] - Y[j, k])
    return s


@_inner
def _step(u, i, j, g, sides, steps, update):
    X, Y, bias = sides
    real, eta = X.dtype.type, steps.learning_rate
    a, dx, dy, dz = real(eta * g), real(eta * steps.x), real(eta * steps.positive), real(eta * steps.negative)
    for k in range(X.shape[1]):
        x, y, z = X[u, k], Y[i, k], Y[j, k]
        X[u, k] = x + (a * (y - z) - dx * x)
        if update is not None:
            Y[i, k] = y + (a * x - dy * y)
            Y[j, k] = z - (a * x + dz * z)
    if update is not None:
        c, other = np.float64(bias[i]), np.float64(bias[j])
        bias[i] = c + eta * (g - steps.bias * c)
        bias[j] = other - eta * (g + steps.bias * other)


@_inner
def _adagrad_step(u, i, j, slope, sides, squares, steps, update):
    X, Y, bias = sides
    XX, YY, bias_squares = squares
    real = X.dtype.type
    g, eta, lambda_x = real(slope), real(steps.learning_rate), real(steps.x)
    lambda_y, lambda_z = real(steps.positive), real(steps.negative)
    for k in range(X.shape[1]):
        x, y, z = X[u, k], Y[i, k], Y[j, k]
        gradient = lambda_x * x - g * (y - z)
        XX[u, k] += gradient * gradient
        X[u, k] = x - eta * gradient / math.sqrt(XX[u, k])
        if update is not None:
            gradient, other = lambda_y * y - g * x, lambda_z * z + g * x
            YY[i, k] += gradient * gradient
            YY[j, k] += other * other
            Y[i, k] = y - eta * gradient / math.sqrt(YY[i, k])
            Y[j, k] = z - eta * other / math.sqrt(YY[j, k])
    if update is not None:
        gradient, other = steps.bias * np.float64(bias[i]) - slope, steps.bias * np.float64(bias[j]) + slope
        bias[i] -= steps.learning_rate * _scaled(gradient, bias_squares, i)
        bias[j] -= steps.learning_rate * _scaled(other, bias_squares, j)
