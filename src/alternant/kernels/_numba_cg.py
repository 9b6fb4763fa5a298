"""Conjugate gradients for `als_numba`: a row's entries are packed once, and each step is one pass over them."""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from ._numba_cholesky import BLOCK, LANES, add_linear, clear, copy, dot_four, inlined, inner, up

LONGEST_PACKED = 1 << 15  # longer rows are gathered again in every step, to limit each thread's scratch memory

Packed: Any = namedtuple("Packed", "y w t p sums sums_b")  # the entries of a row, and sums over them


@inner
def space(longest, f, dtype):
    """Return scratch for rows with at most `longest` entries."""
    rows, width = up(min(longest, LONGEST_PACKED), 4), up(f, LANES)
    return Packed(np.zeros((rows, width), dtype), np.zeros(rows, dtype), np.zeros(rows, dtype),
                  np.zeros(width, dtype), np.zeros(width, dtype), np.zeros(width, dtype))  # fmt: skip


@inner
def solve_cg(problem, u, limits, packed, vectors):
    """Conjugate gradients preconditioned by ``d`` (Saad, Iterative Methods for Sparse Linear Systems, alg. 9.1).

    als_reference.py documents the stopping rule. Returns the number of steps (-1 if the matrix is not positive
    definite) and the row's objective.
    """
    d, inverse, b, x, r, q = vectors
    y, w, _, p, sums, _ = packed
    f, n = len(d), problem.indptr[u + 1] - problem.indptr[u]
    copy(x, f, p)
    clear(b, f)
    _gather_product(problem, u, packed, q, b)
    add_linear(problem, u, b)
    whole, rz, value = 0.0, 0.0, 0.0
    for i in range(f):
        inverse[i] = 1 / d[i]
        r[i] = b[i] - q[i] - d[i] * x[i]
        p[i] = r[i] * inverse[i]
        whole += b[i] * b[i] * inverse[i]
        rz += r[i] * r[i] * inverse[i]
        value -= x[i] * (b[i] + r[i])
    if whole <= limits.underflow:
        clear(x, f)
        return 0, 0.0
    if value > 0:  # the initial guess is worse than 0
        rz = whole
        for i in range(f):
            x[i], r[i] = 0.0, b[i]
            p[i] = r[i] * inverse[i]
    decrease, left = 0.0, rz
    steps = 0
    while steps < limits.max_steps and left > limits.tol**2 * decrease and rz > limits.rounding**2 * whole:
        if n <= len(w):
            clear(q, f)
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
        decrease += step * previous
        left = min(rz, 2 * step * previous)
        steps += 1
    objective = 0.0
    for i in range(f):  # x^T A x - 2 b^T x, where A x = b - r
        objective -= x[i] * (b[i] + r[i])
    return steps, objective


@inner
def _gather_product(problem, u, packed, q, b):
    """Compute ``q = sum w_j y_j y_j^T p`` while packing the row; add ``sum t_j y_j`` to `b` unless `b` is empty."""
    y, w, t, p, sums, sums_b = packed
    indices, weight, target, Y = problem.indices, problem.weight, problem.target, problem.Y
    first, last = problem.indptr[u], problem.indptr[u + 1]
    clear(q, len(q))
    for start in range(first, last, BLOCK):  # each block is used while it is still in the L1 cache
        at, count = start - first if last - first <= len(w) else 0, min(BLOCK, last - start)
        for j in range(count):
            column = indices[start + j]
            w[at + j], t[at + j] = weight[start + j], target[start + j]
            for i in range(len(q)):
                y[at + j, i] = Y[column, i]
        for j in range(at + count, at + up(count, 4)):
            w[j] = t[j] = 0
        if len(b):
            _add_products(y, w, t, at, at + count, p, sums, sums_b)
            for i in range(len(b)):
                q[i] += sums[i]
                b[i] += sums_b[i]
        else:
            _add_product(y, w, at, at + count, p, sums, q)


@inner
def _add_product(y, w, begin, end, p, sums, q):
    """Add ``sum w_j y_j y_j^T p`` over a packed block to `q`, in one pass that uses each ``y_j`` twice in cache."""
    clear(sums, len(sums))
    if len(sums) == 32:  # constant lengths leave no loop remainders: up to 1.5 times as fast
        _add_rows(y, w, begin, end, p, sums, 32)
    elif len(sums) == 64:
        _add_rows(y, w, begin, end, p, sums, 64)
    else:
        _add_rows(y, w, begin, end, p, sums, len(sums))
    for i in range(len(q)):
        q[i] += sums[i]


@inner
def _add_products(y, w, t, begin, end, p, sums, sums_b):
    """Set `sums` to ``sum w_j y_j y_j^T p`` and `sums_b` to ``sum t_j y_j`` over a packed block, in one pass."""
    clear(sums, len(sums))
    clear(sums_b, len(sums))
    if len(sums) == 32:
        _add_rows_twice(y, w, t, begin, end, p, sums, sums_b, 32)
    elif len(sums) == 64:
        _add_rows_twice(y, w, t, begin, end, p, sums, sums_b, 64)
    else:
        _add_rows_twice(y, w, t, begin, end, p, sums, sums_b, len(sums))


@inlined
def _add_rows(y, w, begin, end, p, sums, f):
    """Process rows in fours, so that `sums` is loaded and stored once per four rows."""
    for j in range(begin, end, 4):
        s0, s1, s2, s3 = dot_four(y, j, p, f)
        a0, a1, a2, a3 = w[j] * s0, w[j + 1] * s1, w[j + 2] * s2, w[j + 3] * s3
        for i in range(f):
            sums[i] += a0 * y[j, i] + a1 * y[j + 1, i] + a2 * y[j + 2, i] + a3 * y[j + 3, i]


@inlined
def _add_rows_twice(y, w, t, begin, end, p, sums, sums_b, f):
    for j in range(begin, end, 4):
        s0, s1, s2, s3 = dot_four(y, j, p, f)
        a0, a1, a2, a3 = w[j] * s0, w[j + 1] * s1, w[j + 2] * s2, w[j + 3] * s3
        t0, t1, t2, t3 = t[j], t[j + 1], t[j + 2], t[j + 3]
        for i in range(f):
            y0, y1, y2, y3 = y[j, i], y[j + 1, i], y[j + 2, i], y[j + 3, i]
            sums[i] += a0 * y0 + a1 * y1 + a2 * y2 + a3 * y3
            sums_b[i] += t0 * y0 + t1 * y1 + t2 * y2 + t3 * y3
