r"""The row problem of alternating least squares, compiled by Numba.

.. math:: (\mathrm{diag}(g) + \lambda_u I + \sum_j w_j y_j y_j^T)\, x_u = \sum_j t_j y_j + l_u

Cost of a row with ``n`` entries: ``2 n f`` per step of conjugate gradients, with the row's ``y_j`` packed once into a
contiguous buffer; ``n f^2 / 2 + f^3 / 6`` for Cholesky, ``n^2 f / 2 + n^3 / 6`` with the dual.

Products with ``y_j`` are computed in the dtype of the arrays and summed in it over blocks of `BLOCK` entries; all other
sums are float64. Each row is solved by one thread in a fixed order, so results are bitwise identical for any number of
threads.
"""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from collections import namedtuple
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from .._utils.threads import map_parallel, resolve_num_threads
from ._numba_cg import solve_cg, space
from ._numba_cholesky import BLOCK, LANES, clear, copy, inner, solve_cholesky, up
from ._thresholds import ALS_ROUNDING, ALS_SINGULAR, ALS_SMALLEST_DUAL_WEIGHT, ALS_UNDERFLOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Cholesky is tried in these precisions, in order. A row is left to the next one if a pivot is smaller than this
# fraction of its diagonal entry: too many digits were lost to cancellation.
PRECISIONS = {
    np.dtype(np.float32): ((np.float32, 1e-3), (np.float64, 0.0)),
    np.dtype(np.float64): ((np.float64, 0.0),),
}

ROW_COST = 8  # fixed cost of a row, in entries
TASK_COST = 8192  # of a task, in entries: less is not worth handing to a thread

LEFT, FAILED = 1, 2  # states of a row; 0 means solved

# Arguments and scratch passed together. The limits are arguments because Numba would cache globals as constants.
Problem: Any = namedtuple("Problem", "indptr indices weight target Y diagonal regularization linear")
Limits: Any = namedtuple("Limits", "tol max_steps singular underflow rounding dual_weight")
Dense: Any = namedtuple("Dense", "rows columns w t p")  # for Cholesky: V of the dual; a block of entries, transposed
Vectors: Any = namedtuple("Vectors", "d inverse b x r q")  # in float64; d = g + lambda, inverse = 1 / d or 1 / sqrt(d)

def entry_point(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on the first call, and cache the machine code on disk if a cache directory is writable."""
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # neither __pycache__ nor the user's cache is writable, as in a read-only container
        return numba.njit(nogil=True, error_model="numpy")(function)


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
    num_threads: int | None = None,
    row_steps: NDArray[np.int32] | None = None,
    row_objective: NDArray[np.float64] | None = None,
    target_scale: NDArray[Any] | None = None,
    linear: NDArray[Any] | None = None,
) -> int:
    """See `alternant.kernels.solve_rows`."""
    Y = Y.astype(X.dtype, copy=False)
    threads = resolve_num_threads(num_threads)
    ranges = row_ranges(indptr, threads)
    entries = _with_target(indptr, indices, weight, target, target_scale)
    linear = Y[:0] if linear is None else linear  # one type, so one compilation
    problem = Problem(*constant(*entries, Y, diagonal, regularization, linear))
    thresholds = (
        ALS_SINGULAR[Y.dtype], ALS_UNDERFLOW[Y.dtype], ALS_ROUNDING[Y.dtype], ALS_SMALLEST_DUAL_WEIGHT,
    )  # fmt: skip
    limits = Limits(float(tol), int(max_steps), *thresholds)
    x = X.view(np.ndarray)
    steps = np.empty(len(X), np.int32) if row_steps is None else row_steps.view(np.ndarray)
    objective = np.empty(len(X)) if row_objective is None else row_objective.view(np.ndarray)
    state = np.full(len(X), LEFT, np.uint8)

    def run(kernel: Callable[..., None], *options: Any) -> None:
        map_parallel(
            lambda rows: kernel(*rows, problem, limits, *options, x, state, steps, objective), ranges, threads
        )

    if method == "cg":
        run(_cg_range)
    for dtype, loss in PRECISIONS[Y.dtype]:
        if (state == LEFT).any():  # compile only what is needed
            run(_cholesky_range, loss, np.empty(0, dtype))
    unsolved = np.flatnonzero(state)
    return int(unsolved[0]) + 1 if len(unsolved) else 0


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
    """See `alternant.kernels.squared_error`."""
    threads = resolve_num_threads(num_threads)
    *arrays, x = constant(*_with_target(indptr, indices, weight, target), Y, diagonal, diagonal[:0], Y[:0], X)
    problem = Problem(*arrays)
    values = np.empty(len(X))
    map_parallel(lambda rows: _value_range(*rows, problem, x, values), row_ranges(indptr, threads), threads)
    return float(values.sum())


def normal_products(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    weight: NDArray[Any],
    Y: NDArray[Any],
    P: NDArray[Any],
    out: NDArray[Any],
    num_threads: int | None = None,
) -> None:
    """See `alternant.kernels.normal_products`."""
    threads = resolve_num_threads(num_threads)
    inputs, sums = constant(indptr, indices, weight, Y, P), out.view(np.ndarray)
    map_parallel(lambda rows: _product_range(*rows, *inputs, sums), row_ranges(indptr, threads), threads)


def _with_target(
    indptr: NDArray[np.int64], indices: NDArray[Any], weight: NDArray[Any], target: NDArray[Any] | float,
    scale: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], ...]:  # fmt: skip
    """Return the entries with their targets as an array."""
    if not isinstance(target, (int, float)) and scale is None:
        return indptr, indices, weight, target
    own = slice(indptr[0], indptr[-1])  # the entries of this call, possibly a small part of all
    t = weight[own] + weight.dtype.type(target) if isinstance(target, (int, float)) else target[own]
    return indptr - indptr[0], indices[own], weight[own], t if scale is None else t * scale[indices[own]]


def constant(*arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """Return read-only views: one type, so one compilation, for arrays, read-only arrays and memory maps alike."""
    views = [array.view(np.ndarray) for array in arrays]
    for view in views:
        view.setflags(write=False)  # faster than view.flags, which matters for updates by single events
    return views


def row_ranges(indptr: NDArray[np.int64], threads: int) -> list[tuple[int, int]]:
    """Split the rows into ranges of similar cost, enough of them to balance the load."""
    cost = indptr - indptr[0] + ROW_COST * np.arange(len(indptr))
    count = max(1, min(8 * threads, int(cost[-1]) // TASK_COST))
    cuts = np.unique(np.searchsorted(cost, cost[-1] * np.arange(count + 1) // count)).tolist()
    return list(pairwise(cuts))


@entry_point
def _cg_range(begin, end, problem, limits, X, state, row_steps, row_objective):
    """Solve the rows ``begin:end``, except those with a singular preconditioner, which are marked LEFT."""
    indptr, f, dtype = problem.indptr, X.shape[1], X.dtype
    longest = 0
    for u in range(begin, end):
        longest = max(longest, indptr[u + 1] - indptr[u])
    packed, vectors = space(longest, f, dtype), _vectors(f)
    d, x = vectors.d, vectors.x
    for u in range(begin, end):
        steps, objective, state[u] = 0, 0.0, 0
        if indptr[u] == indptr[u + 1]:
            clear(X[u], f)
        elif not _start(problem, u, X, limits.singular, d, x):
            state[u] = LEFT
        else:
            steps, objective = solve_cg(problem, u, limits, packed, vectors)
            if steps >= 0:
                copy(x, f, X[u])
            else:
                state[u] = FAILED
                steps, objective = 0, _value(problem, u, d, X)
        row_steps[u], row_objective[u] = steps, objective


@entry_point
def _cholesky_range(begin, end, problem, limits, loss, like, X, state, row_steps, row_objective):
    """Solve those of the rows ``begin:end`` that are marked LEFT, in the precision of `like`."""
    indptr, f, dtype = problem.indptr, X.shape[1], like.dtype
    width = up(f + 3, LANES)  # three spare rows and columns, as they are processed four at a time
    dense = Dense(np.zeros((f + 3, up(f, LANES)), dtype), np.zeros((f + 3, BLOCK + LANES), dtype),
                  np.zeros(BLOCK, dtype), np.zeros(BLOCK, dtype), np.zeros(max(width, BLOCK), dtype))  # fmt: skip
    vectors, A = _vectors(f), np.zeros((f + 3, width))
    d, x = vectors.d, vectors.x
    for u in range(begin, end):
        if state[u] != LEFT:
            continue
        state[u] = 0
        regular = _start(problem, u, X, limits.singular, d, x)
        if indptr[u] == indptr[u + 1]:
            clear(X[u], f)
        elif solve_cholesky(problem, u, limits, loss, regular, dense, A, vectors):
            copy(x, f, X[u])
        else:
            state[u] = LEFT
        row_steps[u], row_objective[u] = 0, _value(problem, u, d, X)


@inner
def _vectors(f):
    v = np.empty((6, f))
    return Vectors(v[0], v[1], v[2], v[3], v[4], v[5])


@inner
def _start(problem, u, X, singular, d, x):
    """Set ``d = g + lambda`` and `x`; return whether `d` is numerically nonsingular."""
    most = -np.inf
    for i in range(len(d)):
        d[i] = np.float64(problem.diagonal[i]) + np.float64(problem.regularization[u])
        x[i] = X[u, i]
        most = max(most, d[i])
    regular = True
    for i in range(len(d)):
        regular &= d[i] > singular * most
    return regular


@inner
def _value(problem, u, d, X):
    """Evaluate ``x^T diag(d) x + sum (w_j s_j - 2 t_j) s_j - 2 l . x``, ``s_j = y_j . x``, for one row."""
    value = 0.0
    for i in range(len(d)):
        x = np.float64(X[u, i])
        value += d[i] * x * x
    if len(problem.linear):
        for i in range(len(d)):
            value -= 2 * np.float64(problem.linear[u, i]) * np.float64(X[u, i])
    for e in range(problem.indptr[u], problem.indptr[u + 1]):
        column = problem.indices[e]
        s = X.dtype.type(0)
        for i in range(len(d)):
            s += problem.Y[column, i] * X[u, i]
        value += (np.float64(problem.weight[e]) * s - 2 * np.float64(problem.target[e])) * s
    return value


@entry_point
def _value_range(begin, end, problem, X, values):
    """Evaluate the data terms of the rows ``begin:end``."""
    d = problem.diagonal.astype(np.float64)
    for u in range(begin, end):
        values[u] = _value(problem, u, d, X)


@entry_point
def _product_range(begin, end, indptr, indices, weight, Y, P, out):
    """Compute the products of the rows ``begin:end``."""
    f = P.shape[1]
    total = np.empty(f)
    for u in range(begin, end):
        total[:] = 0
        first, last = (indptr[u], indptr[u + 1]) if P[u].any() else (0, 0)
        for j in range(first, last):
            y, s = Y[indices[j]], 0.0
            for k in range(f):
                s += np.float64(y[k]) * P[u, k]
            s *= weight[j]
            for k in range(f):
                total[k] += s * y[k]
        out[u] = total
