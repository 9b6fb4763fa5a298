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

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np

from .._threads import map_parallel, resolve_num_threads
from .als_reference import SINGULAR, SMALLEST_DUAL_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BLOCK = 64  # entries summed in the dtype of the arrays before they are added to a float64 sum
LONGEST_PACKED = 1 << 15  # a longer row is gathered again at every step: bounds the scratch memory of a thread

# A float32 row that loses this much of a diagonal entry to cancellation is solved again in float64.
CANCELLATION = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 0.0}

ROW_COST = 8  # what a row costs besides its entries, in entries
TASK_COST = 8192  # fewer entries than this are not worth handing to a thread

# The error model spares every division a branch. Sums may be reordered, so that they vectorise; NaN stays NaN.
_inner = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


def entry_point(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, and keep the machine code on disk where there is a directory to keep it in."""
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither __pycache__ nor the user's cache can be written: a read-only container
        return numba.njit(nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]


class Problem(NamedTuple):
    """The arguments that describe the problems of all rows, under the names of the contract."""

    indptr: NDArray[np.int64]
    indices: NDArray[Any]
    weight: NDArray[Any]
    target: NDArray[Any]
    Y: NDArray[Any]
    diagonal: NDArray[Any]
    regularization: NDArray[Any]


class Limits(NamedTuple):
    """When a row stops, fails or is solved in another way (arguments, since the cache would freeze globals)."""

    tol: float
    max_steps: int
    singular: float
    cancellation: float
    dual_weight: float


class Packed(NamedTuple):
    """Scratch for the entries of a row in one dtype, filled up with zeros to a multiple of four."""

    y: NDArray[Any]  # (entries, f)
    w: NDArray[Any]  # (entries,)
    t: NDArray[Any]  # (entries,)
    p: NDArray[Any]  # (f,): what `y` is multiplied with
    sums: NDArray[Any]  # (f, f): sums over one block; a vector uses the first row


class Vectors(NamedTuple):
    """Float64 scratch of length f."""

    d: NDArray[np.float64]  # g + lambda
    inverse: NDArray[np.float64]  # 1 / d
    b: NDArray[np.float64]
    x: NDArray[np.float64]
    r: NDArray[np.float64]
    p: NDArray[np.float64]
    q: NDArray[np.float64]


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
    problem = Problem(*constant(indptr, indices, weight, target, Y, diagonal, regularization))
    limits = Limits(float(tol), int(max_steps), SINGULAR[Y.dtype], CANCELLATION[Y.dtype], SMALLEST_DUAL_WEIGHT)
    x = X.view(np.ndarray)
    steps = np.empty(len(X), np.int32) if row_steps is None else row_steps.view(np.ndarray)
    objective = np.empty(len(X)) if row_objective is None else row_objective.view(np.ndarray)
    exact = np.full(len(X), method == "cholesky")
    ranges = row_ranges(indptr, threads)
    failures: list[int] = []
    if method == "cg":
        failures += map_parallel(
            lambda rows: _cg_range(*rows, problem, limits, x, steps, objective, exact), ranges, threads
        )
    if exact.any():  # apart from the above, so that Cholesky is compiled only where it is needed
        failures += map_parallel(
            lambda rows: _cholesky_range(*rows, problem, limits, x, steps, objective, exact), ranges, threads
        )
    return min((failure for failure in failures if failure), default=0)


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
def _cg_range(begin, end, problem, limits, X, row_steps, row_objective, exact):
    """Solve the rows ``begin:end``, but mark those to be solved exactly; return 0, or 1 + the first row that failed."""
    packed = _scratch(problem.Y, min(_longest(problem.indptr, begin, end), LONGEST_PACKED))
    vectors = _vectors(X.shape[1])
    status = 0
    for u in range(begin, end):
        if problem.indptr[u] == problem.indptr[u + 1]:
            _fill(X[u], 0)
            row_steps[u], row_objective[u] = 0, 0.0
        elif not _start(problem, u, X, limits.singular, vectors.d, vectors.x):
            exact[u] = True
        else:
            steps, objective = _solve_cg(problem, u, limits, packed, vectors)
            if steps >= 0:
                _copy(vectors.x, X[u])
            else:
                status = status or u + 1
                objective = _value(problem, u, vectors.d, X)
            row_steps[u], row_objective[u] = max(steps, 0), objective
    return status


@entry_point
def _cholesky_range(begin, end, problem, limits, X, row_steps, row_objective, exact):
    """Solve the marked rows among ``begin:end`` exactly; return 0, or 1 + the first row that failed."""
    f = X.shape[1]
    packed = _scratch(problem.Y, max(BLOCK, f))
    in_float64 = _scratch(np.empty((0, f)), max(BLOCK, f))
    vectors, A = _vectors(f), np.empty((f + 3, f + 3))
    status = 0
    for u in range(begin, end):
        if not exact[u]:
            continue
        regular = _start(problem, u, X, limits.singular, vectors.d, vectors.x)
        if problem.indptr[u] == problem.indptr[u + 1]:
            _fill(X[u], 0)
        elif _solve_cholesky(problem, u, limits, limits.cancellation, regular, packed, A, vectors) or (
            limits.cancellation > 0 and _solve_cholesky(problem, u, limits, 0.0, regular, in_float64, A, vectors)
        ):
            _copy(vectors.x, X[u])
        else:
            status = status or u + 1
        row_steps[u], row_objective[u] = 0, _value(problem, u, vectors.d, X)
    return status


@_inner
def _longest(indptr, begin, end):
    longest = 0
    for u in range(begin, end):
        longest = max(longest, indptr[u + 1] - indptr[u])
    return longest


@_inner
def _scratch(like, entries):
    rows, f, dtype = (entries + 3) // 4 * 4, like.shape[1], like.dtype
    return Packed(np.empty((rows, f), dtype), np.empty(rows, dtype), np.empty(rows, dtype),
                  np.empty(f, dtype), np.empty((f, f), dtype))  # fmt: skip


@_inner
def _vectors(f):
    v = np.empty((7, f))
    return Vectors(v[0], v[1], v[2], v[3], v[4], v[5], v[6])


@_inner
def _fill(a, value):
    for i in range(len(a)):  # Numba's slice assignment would do, but takes it long to compile
        a[i] = value


@_inner
def _copy(source, a):
    for i in range(len(source)):
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
    d, inverse, b, x, r, p, q = vectors
    _fill(b, 0)
    _product(problem, u, x, packed, q, b, True)
    any_target, enough, rz = False, 0.0, 0.0
    for i in range(len(d)):
        any_target |= b[i] != 0
        inverse[i] = 1 / d[i]
        r[i] = b[i] - q[i] - d[i] * x[i]
        p[i] = r[i] * inverse[i]
        enough += b[i] * b[i] * inverse[i]
        rz += r[i] * p[i]
    if not any_target:
        _fill(x, 0)
        return 0, 0.0
    enough *= limits.tol**2
    steps = 0
    while steps < limits.max_steps and rz > enough:
        _product(problem, u, p, packed, q, b, False)
        curvature = 0.0
        for i in range(len(d)):
            q[i] += d[i] * p[i]
            curvature += p[i] * q[i]
        if not curvature > 0:
            return -1, 0.0
        step, previous, rz = rz / curvature, rz, 0.0
        for i in range(len(d)):
            x[i] += step * p[i]
            r[i] -= step * q[i]
            rz += r[i] * r[i] * inverse[i]
        for i in range(len(d)):
            p[i] = r[i] * inverse[i] + rz / previous * p[i]
        steps += 1
    objective = 0.0
    for i in range(len(d)):  # x^T A x - 2 b^T x, where A x = b - r
        objective -= x[i] * (b[i] + r[i])
    return steps, objective


@_inner
def _product(problem, u, p, packed, q, b, fresh):
    """Form ``q = sum w_j y_j y_j^T p`` in one pass over the packed row, which a fresh row becomes in this pass.

    A fresh row also adds ``sum t_j y_j`` to `b`, while the nearest cache still holds the block just packed.
    """
    _fill(q, 0)
    _copy(p, packed.p)
    first, last = problem.indptr[u], problem.indptr[u + 1]
    fits = last - first <= len(packed.w)
    for start in range(first, last, BLOCK):
        at, count = start - first if fits else 0, min(BLOCK, last - start)
        if fresh or not fits:
            _pack(problem, start, count, packed, at)
        _add_product(packed, at, at + count, q)
        if fresh:
            _add_targets(packed, at, at + count, b)


@_inner
def _solve_cholesky(problem, u, limits, cancellation, regular, packed, A, vectors):
    """Solve exactly, in the precision of `packed`; False where the matrix is singular or has lost that precision."""
    first, last = problem.indptr[u], problem.indptr[u + 1]
    dual = regular and last - first < len(vectors.d)
    for j in range(first, last if dual else first):
        dual &= problem.weight[j] >= limits.dual_weight
    if dual:
        return _solve_dual(problem, u, cancellation, packed, A, vectors)
    return _solve_primal(problem, u, cancellation, limits.singular, packed, A, vectors)


@_inner
def _solve_primal(problem, u, cancellation, singular, packed, A, vectors):
    """Form and solve the ``f x f`` system."""
    d, _, b, x, _, _, floor = vectors
    for i in range(len(d)):
        _fill(A[i], 0)
    _fill(b, 0)
    first, last = problem.indptr[u], problem.indptr[u + 1]
    for start in range(first, last, BLOCK):
        count = min(BLOCK, last - start)
        _pack(problem, start, count, packed, 0)
        _add_gramian(packed, count, A)
        _add_targets(packed, 0, count, b)
    most = 0.0
    for i in range(len(d)):
        A[i, i] += d[i]
        most = max(most, A[i, i])
    for i in range(len(d)):
        floor[i] = max(singular * most, cancellation * max(d[i], A[i, i]))
    if not _factor(A, len(d), floor):
        return False
    _copy(b, x)
    _substitute(A, len(d), x)
    return True


@_inner
def _solve_dual(problem, u, cancellation, packed, A, vectors):
    """Solve ``x = D^-1/2 V^T (I + V V^T)^-1 (t / sqrt(w))``, ``V = diag(sqrt(w)) Y D^-1/2`` (push-through identity)."""
    d, inverse, b, x, _, _, floor = vectors
    first, last = problem.indptr[u], problem.indptr[u + 1]
    n = last - first
    _pack(problem, first, n, packed, 0)
    for i in range(len(d)):
        inverse[i] = 1 / np.sqrt(d[i])
    for j in range(n):
        root = np.sqrt(np.float64(packed.w[j]))
        b[j] = packed.t[j] / root
        for i in range(len(d)):
            packed.y[j, i] *= root * inverse[i]
    for j in range(n):
        _copy(packed.y[j], packed.p)
        for k in range(j // 4 * 4, n, 4):
            A[j, k], A[j, k + 1], A[j, k + 2], A[j, k + 3] = _dot_four(packed.y, k, packed.p)
        A[j, j] += 1
        floor[j] = cancellation * A[j, j]
    if not _factor(A, n, floor):
        return False
    _substitute(A, n, b)
    _copy(b[:n], packed.t)
    _fill(x, 0)
    _add_targets(packed, 0, n, x)
    for i in range(len(d)):
        x[i] *= inverse[i]
    return True


@_inner
def _factor(A, n, floor):
    """Cholesky ``A = U^T U`` in the upper triangle; False as soon as a pivot is not above its floor and 0."""
    for k in range(n):
        quads = k // 4 * 4
        for i in range(0, quads, 4):
            _add_four(A, k, k, n, A, i, -A[i, k], -A[i + 1, k], -A[i + 2, k], -A[i + 3, k])
        for i in range(quads, k):
            a = A[i, k]
            for j in range(k, n):
                A[k, j] -= a * A[i, j]
        if not A[k, k] > max(floor[k], 0.0):
            return False
        scale = 1 / np.sqrt(A[k, k])
        for j in range(k, n):
            A[k, j] *= scale
    return True


@_inner
def _substitute(U, n, x):
    """Overwrite `x` with the solution of ``U^T U x = x``."""
    for k in range(n):
        x[k] /= U[k, k]
        for j in range(k + 1, n):
            x[j] -= U[k, j] * x[k]
    for k in range(n - 1, -1, -1):
        s = x[k]
        for j in range(k + 1, n):
            s -= U[k, j] * x[j]
        x[k] = s / U[k, k]


@_inner
def _add_product(packed, begin, end, q):
    """Add ``sum w_j y_j y_j^T p`` over a block to `q`: one pass, in which each ``y_j`` is read once."""
    y, w, _, p, sums = packed
    _fill(sums[0], 0)
    for j in range(begin, end, 4):
        s0, s1, s2, s3 = _dot_four(y, j, p)
        _add_four(sums, 0, 0, len(p), y, j, w[j] * s0, w[j + 1] * s1, w[j + 2] * s2, w[j + 3] * s3)
    for i in range(len(p)):
        q[i] += sums[0, i]


@_inner
def _add_targets(packed, begin, end, b):
    """Add ``sum t_j y_j`` over the packed rows to `b`."""
    y, _, t, _, sums = packed
    for start in range(begin, end, BLOCK):
        _fill(sums[0], 0)
        for j in range(start, min(start + BLOCK, end), 4):
            _add_four(sums, 0, 0, len(b), y, j, t[j], t[j + 1], t[j + 2], t[j + 3])
        for i in range(len(b)):
            b[i] += sums[0, i]


@_inner
def _add_gramian(packed, end, A):
    """Add ``sum w_j y_j y_j^T`` over a block to the upper triangle of `A`."""
    y, w, _, _, sums = packed
    f = len(sums)
    for i in range(f):
        _fill(sums[i], 0)
    for j in range(0, end, 4):
        for i in range(f):
            _add_four(sums, i, i, f, y, j, w[j] * y[j, i], w[j + 1] * y[j + 1, i],
                      w[j + 2] * y[j + 2, i], w[j + 3] * y[j + 3, i])  # fmt: skip
    for i in range(f):
        for k in range(i, f):
            A[i, k] += sums[i, k]


@_inner
def _dot_four(y, j, p):
    """The products of `p` with four rows at a time: four independent sums hide the latency of one."""
    s0 = s1 = s2 = s3 = y.dtype.type(0)
    for i in range(len(p)):
        s0 += y[j, i] * p[i]
        s1 += y[j + 1, i] * p[i]
        s2 += y[j + 2, i] * p[i]
        s3 += y[j + 3, i] * p[i]
    return s0, s1, s2, s3


@_inner
def _add_four(out, row, begin, end, y, j, a0, a1, a2, a3):
    """Add a combination of four rows of `y` to a row of `out`, which is so loaded and stored once for the four."""
    for i in range(begin, end):
        out[row, i] += a0 * y[j, i] + a1 * y[j + 1, i] + a2 * y[j + 2, i] + a3 * y[j + 3, i]


@_inner
def _pack(problem, start, count, packed, at):
    """Gather `count` entries from `start` on to `at`, filled up with zeros to a multiple of four."""
    for j in range(count):
        column = problem.indices[start + j]
        packed.w[at + j], packed.t[at + j] = problem.weight[start + j], problem.target[start + j]
        for i in range(packed.y.shape[1]):
            packed.y[at + j, i] = problem.Y[column, i]
    for j in range(at + count, at + (count + 3) // 4 * 4):
        packed.w[j] = packed.t[j] = 0
        _fill(packed.y[j], 0)


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
