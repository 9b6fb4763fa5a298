r"""The non-negative row problem of alternating least squares, compiled by Numba.

.. math:: \mathrm{argmin}_{x \ge 0}\; x^T A x - 2 b^T x, \qquad
          A = G + \lambda_u I + \sum_j w_j y_j y_j^T, \quad b = \sum_j t_j y_j

Cost of a row with ``n`` entries: ``n f^2 / 2`` to form its matrix, ``f^2`` per sweep of coordinate descent, ``p^3 / 6``
per solve with ``p`` positive unknowns; all in float64. Each row is solved by one thread in a fixed order, so results
are bitwise identical for any number of threads.
"""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.threads import map_parallel, resolve_num_threads
from ._numba_cholesky import BLOCK, LANES, add_block, clear, copy, factor, inner, substitute, up
from ._thresholds import NNLS_ROUNDING, NNLS_SINGULAR, NNLS_SWEEPS
from .als_numba import Dense, constant, entry_point, row_ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Arguments and scratch passed together. The limits are arguments because Numba would cache globals as constants.
Problem: Any = namedtuple("Problem", "indptr indices weight target Y gramian regularization")
Limits: Any = namedtuple("Limits", "tol max_steps singular rounding sweeps")
Vectors: Any = namedtuple("Vectors", "b x g step floor")


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
    num_threads: int | None = None,
    row_steps: NDArray[np.int32] | None = None,
    row_objective: NDArray[np.float64] | None = None,
) -> int:
    """See `alternant.kernels.solve_rows_nonnegative`."""
    threads = resolve_num_threads(num_threads)
    problem = Problem(*constant(indptr, indices, weight, target, Y, gramian, regularization))
    limits = Limits(float(tol), int(max_steps), NNLS_SINGULAR, NNLS_ROUNDING, NNLS_SWEEPS)
    x = X.view(np.ndarray)
    steps = np.empty(len(X), np.int32) if row_steps is None else row_steps.view(np.ndarray)
    objective = np.empty(len(X)) if row_objective is None else row_objective.view(np.ndarray)
    failed = np.zeros(len(X), np.bool_)
    map_parallel(
        lambda rows: _solve_range(*rows, problem, limits, x, failed, steps, objective),
        row_ranges(indptr, threads),
        threads,
    )
    return int(failed.argmax()) + 1 if failed.any() else 0


@entry_point
def _solve_range(begin, end, problem, limits, X, failed, row_steps, row_objective):
    """Solve the rows ``begin:end``."""
    f = X.shape[1]
    width = up(f + 3, LANES)  # three spare rows and columns, as they are processed four at a time
    dense = Dense(np.zeros((0, 0)), np.zeros((f + 3, BLOCK + LANES)), np.zeros(BLOCK), np.zeros(BLOCK),
                  np.zeros(max(width, BLOCK)))  # fmt: skip
    A, C, positive = np.zeros((f + 3, width)), np.zeros((f + 3, width)), np.empty(f, np.int64)
    v = np.zeros((5, f))
    vectors = Vectors(v[0], v[1], v[2], v[3], v[4])
    for u in range(begin, end):
        steps, objective = 0, 0.0
        if problem.indptr[u] == problem.indptr[u + 1]:
            clear(X[u], f)
        elif not _form(problem, u, limits.singular, dense, A, C, positive, vectors):
            failed[u] = True
        else:
            steps, objective = _descend(limits, A, C, positive, vectors, X[u])
            failed[u] = steps < 0
            steps = max(steps, 0)
        row_steps[u], row_objective[u] = steps, objective


@inner
def _form(problem, u, singular, dense, A, C, positive, vectors):
    """Form `b` and both triangles of `A`; return False if the objective has no minimum or overflows."""
    b, f = vectors.b, len(vectors.b)
    first, last = problem.indptr[u], problem.indptr[u + 1]
    for i in range(f):
        b[i] = 0
        for k in range(f):
            A[i, k] = problem.gramian[i, k]
        A[i, i] += problem.regularization[u]
    least = 0.0
    for start in range(first, last, BLOCK):
        add_block(problem, start, min(BLOCK, last - start), dense, A, b)
    for j in range(first, last):
        least = min(least, problem.weight[j])
    total = 0.0
    for i in range(f):
        positive[i] = i
        for k in range(i):
            A[i, k] = A[k, i]
            total += A[i, k]
        total += A[i, i] + b[i]
    if not abs(total) < np.inf:  # Numba's isfinite is x - x == 0, which reassociation turns into True
        return False
    for i in range(f):
        if A[i, i] <= 0 and b[i] > 0:
            return False
    return least >= 0 or _factor_positive(A, C, positive, f, singular, vectors.floor)


@inner
def _factor_positive(A, C, positive, p, singular, floor):
    """Factor the rows and columns ``positive[:p]`` of `A` into `C`; return whether that succeeds."""
    most = 0.0
    for i in range(len(floor)):
        most = max(most, A[i, i])
    for i in range(p):
        floor[i] = singular * most
        clear(C[i], C.shape[1])
        for k in range(i, p):
            C[i, k] = A[positive[i], positive[k]]
    return factor(C, p, floor)


@inner
def _descend(limits, A, C, positive, vectors, out):
    """Coordinate descent from `out`, with a solve on the positive unknowns whenever their set is unchanged.

    Returns the number of sweeps (-1 if the result overflows) and the row's objective.
    """
    b, x, g, _, _ = vectors
    f = len(b)
    gains = False
    for k in range(f):
        gains |= b[k] > 0
        x[k] = max(np.float64(out[k]), 0.0) if A[k, k] > 0 else 0.0
    if not gains:  # A is positive semidefinite, so no x >= 0 is better than 0
        clear(out, f)
        return 0, 0.0
    _gradient(A, b, x, g)
    steps = 0
    while steps < limits.max_steps and not _converged(limits, A, b, x, g):
        changed = _sweep(A, x, g)
        steps += 1
        if not changed or steps % limits.sweeps == 0:
            _step_on_positive(limits.singular, A, C, positive, vectors)
    _gradient(A, b, x, g)
    objective = 0.0
    for k in range(f):
        if not out.dtype.type(x[k]) < np.inf:
            return -1, 0.0
        objective += x[k] * (g[k] - b[k])
    copy(x, f, out)
    return steps, objective


@inner
def _gradient(A, b, x, g):
    """Set ``g = A x - b``."""
    for k in range(len(b)):
        g[k] = -b[k]
    for i in range(len(b)):
        if x[i] != 0:
            for k in range(len(b)):
                g[k] += x[i] * A[i, k]


@inner
def _converged(limits, A, b, x, g):
    """Return whether the projected gradient is small."""
    most, largest, largest_b, total = 0.0, 0.0, 0.0, 0.0
    for k in range(len(b)):
        total += x[k]
        largest, largest_b = max(largest, A[k, k]), max(largest_b, abs(b[k]))
        most = max(most, abs(g[k]) if x[k] > 0 else -g[k])
    return most <= max(limits.tol * largest_b, limits.rounding * (largest * total + largest_b))


@inner
def _sweep(A, x, g):
    """Minimize over one unknown at a time; return whether the set of positive unknowns has changed."""
    changed = False
    for i in range(len(x)):
        if A[i, i] <= 0:
            continue
        moved = max(x[i] - g[i] / A[i, i], 0.0)
        delta = moved - x[i]
        if delta != 0:
            changed |= (moved > 0) != (x[i] > 0)
            x[i] = moved
            for k in range(len(x)):
                g[k] += delta * A[i, k]
    return changed


@inner
def _step_on_positive(singular, A, C, positive, vectors):
    """Move to the minimum over the positive unknowns, or towards it until one of them reaches 0."""
    b, x, g, step, floor = vectors
    p = 0
    for k in range(len(x)):
        if x[k] > 0:
            positive[p] = k
            step[p] = -g[k]
            p += 1
    if p == 0 or not _factor_positive(A, C, positive, p, singular, floor):
        return
    substitute(C, p, step)
    length = 1.0
    for k in range(p):
        if step[k] < 0:
            length = min(length, -x[positive[k]] / step[k])
    for k in range(p):
        i = positive[k]
        if step[k] < 0 and -x[i] / step[k] <= length:
            x[i] = 0
        else:
            x[i] = max(x[i] + length * step[k], 0.0)
    _gradient(A, b, x, g)
