r"""The row problem of alternating least squares, compiled by Numba.

.. math:: (\mathrm{diag}(g) + \lambda_u I + \sum_j w_j y_j y_j^T)\, x_u = \sum_j t_j y_j

Cost of a row of ``n`` entries: ``2 n f`` a step for conjugate gradients, over the row's ``y_j`` packed once into a
contiguous buffer; ``n f^2 / 2 + f^3 / 6`` for Cholesky, ``n^2 f / 2 + n^3 / 6`` through the dual.

Products with ``y_j`` are formed in the dtype of the arrays and summed in it over `BLOCK` entries at a time; all else
is float64. Each row is solved by one thread, in an order that is its own: the number of threads changes no bit.
"""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from collections import namedtuple
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from .._threads import map_parallel, resolve_num_threads
from .als_reference import SINGULAR, SMALLEST_DUAL_WEIGHT, UNDERFLOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BLOCK = 64  # entries summed in the dtype of the arrays before they are added to a float64 sum
LANES = 16  # inner loops run over a multiple of this, which spares them the slow end of a vectorised loop
LONGEST_PACKED = 1 << 15  # a longer row is gathered anew at every step: bounds the scratch memory of a thread

# Cholesky is tried in these precisions. A row is left to the next one where a pivot is smaller than the given part of
# its diagonal entry: so many digits were lost to cancellation.
PRECISIONS = {
    np.dtype(np.float32): ((np.float32, 1e-3), (np.float64, 0.0)),
    np.dtype(np.float64): ((np.float64, 0.0),),
}

ROW_COST = 8  # what a row costs besides its entries, in entries
TASK_COST = 8192  # fewer entries than this are not worth handing to a thread

LEFT, FAILED = 1, 2  # the state of a row; 0 is solved

# Arguments and scratch that travel together. The limits are arguments since Numba's cache would freeze globals.
Problem = namedtuple("Problem", "indptr indices weight target Y diagonal regularization")
Limits = namedtuple("Limits", "tol max_steps singular underflow dual_weight")
Packed = namedtuple("Packed", "y w t p sums")  # for conjugate gradients: the entries of a row
Dense = namedtuple("Dense", "rows columns w t p")  # for Cholesky: V of the dual; a block of entries, transposed
Vectors = namedtuple("Vectors", "d inverse b x r q")  # in float64; d = g + lambda, inverse = 1 / d or 1 / sqrt(d)

# The error model spares every division a branch. Sums may be reordered, so that they vectorise; NaN stays NaN.
_inner = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


def entry_point(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, and keep the machine code on disk where there is a directory to keep it in."""
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # neither __pycache__ nor the user's cache can be written: a read-only container
        return numba.njit(nogil=True, error_model="numpy")(function)


def solve_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    weight: NDArray[Any],
    target: NDArray[Any],
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
) -> int:
    """See `alternant.kernels.solve_rows`."""
    threads = resolve_num_threads(num_threads)
    ranges = row_ranges(indptr, threads)
    problem = Problem(*constant(indptr, indices, weight, target, Y, diagonal, regularization))
    limits = Limits(float(tol), int(max_steps), SINGULAR[Y.dtype], UNDERFLOW[Y.dtype], SMALLEST_DUAL_WEIGHT)
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
        if (state == LEFT).any():  # only what is needed is compiled
            run(_cholesky_range, loss, np.empty(0, dtype))
    unsolved = np.flatnonzero(state)
    return int(unsolved[0]) + 1 if len(unsolved) else 0


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
    """See `alternant.kernels.squared_error`."""
    threads = resolve_num_threads(num_threads)
    *arrays, x = constant(indptr, indices, weight, target, Y, diagonal, diagonal[:0], X)
    problem = Problem(*arrays)
    values = np.empty(len(X))
    map_parallel(lambda rows: _value_range(*rows, problem, x, values), row_ranges(indptr, threads), threads)
    return float(values.sum())


def constant(*arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """Read-only views: one type, hence one compilation, for any mix of arrays, read-only arrays and memory maps."""
    views = [array.view(np.ndarray) for array in arrays]
    for view in views:
        view.flags.writeable = False
    return views


def row_ranges(indptr: NDArray[np.int64], threads: int) -> list[tuple[int, int]]:
    """Cut the rows into ranges of like cost, enough of them that the threads end together."""
    cost = indptr - indptr[0] + ROW_COST * np.arange(len(indptr))
    count = max(1, min(8 * threads, int(cost[-1]) // TASK_COST))
    cuts = np.unique(np.searchsorted(cost, cost[-1] * np.arange(count + 1) // count)).tolist()
    return list(pairwise(cuts))


@entry_point
def _cg_range(begin, end, problem, limits, X, state, row_steps, row_objective):
    """Solve the rows ``begin:end``, but leave those with a singular preconditioner."""
    indptr, f, dtype = problem.indptr, X.shape[1], X.dtype
    longest = 0
    for u in range(begin, end):
        longest = max(longest, indptr[u + 1] - indptr[u])
    rows, width = _up(min(longest, LONGEST_PACKED), 4), _up(f, LANES)
    packed = Packed(np.zeros((rows, width), dtype), np.zeros(rows, dtype), np.zeros(rows, dtype),
                    np.zeros(width, dtype), np.zeros(width, dtype))  # fmt: skip
    vectors = _vectors(f)
    d, x = vectors.d, vectors.x
    for u in range(begin, end):
        steps, objective, state[u] = 0, 0.0, 0
        if indptr[u] == indptr[u + 1]:
            _clear(X[u], f)
        elif not _start(problem, u, X, limits.singular, d, x):
            state[u] = LEFT
        else:
            steps, objective = _solve_cg(problem, u, limits, packed, vectors)
            if steps >= 0:
                _copy(x, f, X[u])
            else:
                state[u] = FAILED
                steps, objective = 0, _value(problem, u, d, X)
        row_steps[u], row_objective[u] = steps, objective


@entry_point
def _cholesky_range(begin, end, problem, limits, loss, like, X, state, row_steps, row_objective):
    """Solve those of the rows ``begin:end`` that are left, in the precision of `like`."""
    indptr, f, dtype = problem.indptr, X.shape[1], like.dtype
    width = _up(f + 3, LANES)  # three spare rows and columns, since they are taken four at a time
    dense = Dense(np.zeros((f + 3, _up(f, LANES)), dtype), np.zeros((f + 3, BLOCK + LANES), dtype),
                  np.zeros(BLOCK, dtype), np.zeros(BLOCK, dtype), np.zeros(max(width, BLOCK), dtype))  # fmt: skip
    vectors, A = _vectors(f), np.zeros((f + 3, width))
    d, x = vectors.d, vectors.x
    for u in range(begin, end):
        if state[u] != LEFT:
            continue
        state[u] = 0
        regular = _start(problem, u, X, limits.singular, d, x)
        if indptr[u] == indptr[u + 1]:
            _clear(X[u], f)
        elif _solve_cholesky(problem, u, limits, loss, regular, dense, A, vectors):
            _copy(x, f, X[u])
        else:
            state[u] = LEFT
        row_steps[u], row_objective[u] = 0, _value(problem, u, d, X)


@_inner
def _up(count, multiple):
    return (count + multiple - 1) // multiple * multiple


@_inner
def _vectors(f):
    v = np.empty((6, f))
    return Vectors(v[0], v[1], v[2], v[3], v[4], v[5])


@_inner
def _clear(a, n):
    for i in range(n):  # Numba would take much longer to compile a slice assignment
        a[i] = 0


@_inner
def _copy(source, n, a):
    for i in range(n):
        a[i] = source[i]


@_inner
def _start(problem, u, X, singular, d, x):
    """Set ``d = g + lambda`` and `x`; return whether `d` can be divided by."""
    most = -np.inf
    for i in range(len(d)):
        d[i] = np.float64(problem.diagonal[i]) + np.float64(problem.regularization[u])
        x[i] = X[u, i]
        most = max(most, d[i])
    regular = True
    for i in range(len(d)):
        regular &= d[i] > singular * most
    return regular


@_inner
def _solve_cg(problem, u, limits, packed, vectors):
    """Conjugate gradients preconditioned by ``d`` (Saad, Iterative Methods for Sparse Linear Systems, alg. 9.1).

    Returns the number of steps, -1 where the matrix is not positive definite, and the row's objective.
    """
    d, inverse, b, x, r, q = vectors
    y, w, _, p, sums = packed
    f, n = len(d), problem.indptr[u + 1] - problem.indptr[u]
    _copy(x, f, p)
    _clear(b, f)
    _gather_product(problem, u, packed, q, b)
    enough, rz = 0.0, 0.0
    for i in range(f):
        inverse[i] = 1 / d[i]
        r[i] = b[i] - q[i] - d[i] * x[i]
        p[i] = r[i] * inverse[i]
        enough += b[i] * b[i] * inverse[i]
        rz += r[i] * r[i] * inverse[i]
    if enough <= limits.underflow:
        _clear(x, f)
        return 0, 0.0
    enough *= limits.tol**2
    steps = 0
    while steps < limits.max_steps and rz > enough:
        if n <= len(w):
            _clear(q, f)
            for start in range(0, n, BLOCK):
                _add_product(y, w, start, min(start + BLOCK, n), p, sums, q)
        else:
            _gather_product(problem, u, packed, q, r[:0])
        curvature = 0.0
        for i in range(f):
            q[i] += d[i] * p[i]
            curvature += p[i] * q[i]
        if not curvature > 0:
            return -1, 0.0
        step, previous, rz = rz / curvature, rz, 0.0
        for i in range(f):
            x[i] += step * p[i]
            r[i] -= step * q[i]
            rz += r[i] * r[i] * inverse[i]
        for i in range(f):
            p[i] = r[i] * inverse[i] + rz / previous * p[i]
        steps += 1
    objective = 0.0
    for i in range(f):  # x^T A x - 2 b^T x, where A x = b - r
        objective -= x[i] * (b[i] + r[i])
    return steps, objective


@_inner
def _gather_product(problem, u, packed, q, b):
    """Form ``q = sum w_j y_j y_j^T p`` while packing the row; add ``sum t_j y_j`` to `b`, unless that is empty."""
    y, w, t, p, sums = packed
    indices, weight, target, Y = problem.indices, problem.weight, problem.target, problem.Y
    first, last = problem.indptr[u], problem.indptr[u + 1]
    _clear(q, len(q))
    for start in range(first, last, BLOCK):  # what was just packed is used while the nearest cache holds it
        at, count = start - first if last - first <= len(w) else 0, min(BLOCK, last - start)
        for j in range(count):
            column = indices[start + j]
            w[at + j], t[at + j] = weight[start + j], target[start + j]
            for i in range(len(q)):
                y[at + j, i] = Y[column, i]
        for j in range(at + count, at + _up(count, 4)):
            w[j] = t[j] = 0
            _clear(y[j], len(q))
        _add_product(y, w, at, at + count, p, sums, q)
        if len(b):
            _clear(sums, len(sums))
            for j in range(at, at + count, 4):
                _add_four(y, j, t[j], t[j + 1], t[j + 2], t[j + 3], sums)
            for i in range(len(b)):
                b[i] += sums[i]


@_inner
def _add_product(y, w, begin, end, p, sums, q):
    """Add ``sum w_j y_j y_j^T p`` over a packed block to `q`: one pass, which uses each ``y_j`` twice while near."""
    _clear(sums, len(sums))
    for j in range(begin, end, 4):
        s0, s1, s2, s3 = _dot_four(y, j, p, len(sums))
        _add_four(y, j, w[j] * s0, w[j + 1] * s1, w[j + 2] * s2, w[j + 3] * s3, sums)
    for i in range(len(q)):
        q[i] += sums[i]


@_inner
def _dot_four(y, j, p, n):
    """The products of `p` with four rows at a time: four independent sums hide the latency of one."""
    s0 = s1 = s2 = s3 = y.dtype.type(0)
    for i in range(n):
        s0 += y[j, i] * p[i]
        s1 += y[j + 1, i] * p[i]
        s2 += y[j + 2, i] * p[i]
        s3 += y[j + 3, i] * p[i]
    return s0, s1, s2, s3


@_inner
def _add_four(y, j, a0, a1, a2, a3, sums):
    """Add a combination of four rows to `sums`, which is loaded and stored once for the four."""
    for i in range(len(sums)):
        sums[i] += a0 * y[j, i] + a1 * y[j + 1, i] + a2 * y[j + 2, i] + a3 * y[j + 3, i]


@_inner
def _solve_cholesky(problem, u, limits, loss, regular, dense, A, vectors):
    """Solve exactly, in the precision of `dense`; False where that precision is lost or the matrix is singular."""
    first, last = problem.indptr[u], problem.indptr[u + 1]
    dual = regular and last - first < len(vectors.d)
    for j in range(first, last if dual else first):
        dual &= problem.weight[j] >= limits.dual_weight
    if dual:
        return _solve_dual(problem, u, loss, dense, A, vectors)
    return _solve_primal(problem, u, loss, limits.singular, dense, A, vectors)


@_inner
def _solve_primal(problem, u, loss, singular, dense, A, vectors):
    """Form and solve the ``f x f`` system."""
    d, _, b, x, _, floor = vectors
    f = len(d)
    for i in range(f):
        b[i] = 0
        _clear(A[i], A.shape[1])
    first, last = problem.indptr[u], problem.indptr[u + 1]
    for start in range(first, last, BLOCK):
        _add_block(problem, start, min(BLOCK, last - start), dense, A, b)
    most = 0.0
    for i in range(f):
        A[i, i] += d[i]
        most = max(most, A[i, i])
    for i in range(f):
        floor[i] = max(singular * most, loss * max(d[i], A[i, i]))
    if not _factor(A, f, floor):
        return False
    _copy(b, f, x)
    _substitute(A, f, x)
    return True


@_inner
def _add_block(problem, start, count, dense, A, b):
    """Add ``w_j y_j y_j^T`` and ``t_j y_j`` of a block of entries to the upper triangle of `A` and to `b`.

    The block is transposed, so that the innermost loop is as long as the block for any f. (The rows of `columns` are a
    little longer: a power of two apart, they would fall on the same few lines of a cache.)
    """
    _, columns, w, t, p = dense
    indices, weight, target, Y = problem.indices, problem.weight, problem.target, problem.Y
    for j in range(BLOCK):
        w[j] = weight[start + j] if j < count else 0
        t[j] = target[start + j] if j < count else 0
        column = indices[start + min(j, count - 1)]  # past the end any finite value will do, its weight being 0
        for i in range(len(b)):
            columns[i, j] = Y[column, i]
    for i in range(len(b)):
        s = t.dtype.type(0)
        for j in range(BLOCK):
            p[j] = w[j] * columns[i, j]
            s += t[j] * columns[i, j]
        b[i] += s
        for k in range(i, len(b), 4):
            s0, s1, s2, s3 = _dot_four(columns, k, p, BLOCK)
            A[i, k] += s0
            A[i, k + 1] += s1
            A[i, k + 2] += s2
            A[i, k + 3] += s3


@_inner
def _solve_dual(problem, u, loss, dense, A, vectors):
    """Solve ``x = D^-1/2 V^T (I + V V^T)^-1 (t / sqrt(w))``, ``V = diag(sqrt(w)) Y D^-1/2`` (push-through identity)."""
    d, inverse, a, x, _, floor = vectors
    V, _, _, _, p = dense
    first, f = problem.indptr[u], len(d)
    n = problem.indptr[u + 1] - first
    for i in range(f):
        inverse[i] = 1 / np.sqrt(d[i])
        x[i] = 0
    for j in range(n):
        root, column = np.sqrt(np.float64(problem.weight[first + j])), problem.indices[first + j]
        a[j] = problem.target[first + j] / root
        for i in range(f):
            V[j, i] = root * inverse[i] * problem.Y[column, i]
        _clear(A[j], A.shape[1])
    for j in range(n, n + 3):  # no NaN of an earlier row may reach what the four at a time multiply with zero
        _clear(V[j], f)
    for j in range(n):
        _copy(V[j], V.shape[1], p)
        for k in range(j, n, 4):
            A[j, k], A[j, k + 1], A[j, k + 2], A[j, k + 3] = _dot_four(V, k, p, V.shape[1])
        A[j, j] += 1
        floor[j] = loss * A[j, j]
    if not _factor(A, n, floor):
        return False
    _substitute(A, n, a)
    for j in range(n):
        for i in range(f):
            x[i] += a[j] * inverse[i] * V[j, i]
    return True


@_inner
def _factor(A, n, floor):
    """Turn the upper triangle into `L` of ``A = L L^T``, lower; False once a pivot is not above its floor and 0."""
    p = np.zeros(A.shape[1])  # row j of L, then zeros, which let the innermost loop run over a multiple of LANES
    for j in range(n):
        _copy(A[j], j, p)
        for i in range(j, n, 4):
            s0, s1, s2, s3 = _dot_four(A, i, p, _up(j, LANES))
            A[i, j] = A[j, i] - s0
            A[i + 1, j] = A[j, i + 1] - s1
            A[i + 2, j] = A[j, i + 2] - s2
            A[i + 3, j] = A[j, i + 3] - s3
        if not A[j, j] > max(floor[j], 0.0):
            return False
        scale = 1 / np.sqrt(A[j, j])
        for i in range(j, n):
            A[i, j] *= scale
    return True


@_inner
def _substitute(L, n, x):
    """Overwrite `x` with the solution of ``L L^T x = x``."""
    for j in range(n):
        s = x[j]
        for i in range(j):
            s -= L[j, i] * x[i]
        x[j] = s / L[j, j]
    for j in range(n - 1, -1, -1):
        x[j] /= L[j, j]
        for i in range(j):
            x[i] -= L[j, i] * x[j]


@_inner
def _value(problem, u, d, X):
    """Evaluate ``x^T diag(d) x + sum (w_j s_j - 2 t_j) s_j``, ``s_j = y_j . x``, for one row."""
    value = 0.0
    for i in range(len(d)):
        x = np.float64(X[u, i])
        value += d[i] * x * x
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
