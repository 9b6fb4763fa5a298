"""Small dense Cholesky for `als_numba` and `nnls_numba`: of a row's ``f x f`` system, or of its dual.

Numba's own linear algebra calls LAPACK, which has a high overhead for small systems and whose last bits depend on its
number of threads.
"""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import numba
import numpy as np

BLOCK = 64  # entries summed in the dtype of the arrays before they are added to a float64 sum
LANES = 16  # inner loops run over a multiple of this, so that vectorized loops have no scalar remainder

# The error model avoids a branch per division. Sums may be reordered, so that they vectorize; NaN is preserved.
FAST = {"reassoc", "contract", "nsz"}
inner = numba.njit(nogil=True, error_model="numpy", fastmath=FAST)
# Inlined, so that constant arguments are propagated.
inlined = numba.njit(nogil=True, error_model="numpy", fastmath=FAST, inline="always")


@inner
def up(count, multiple):
    return (count + multiple - 1) // multiple * multiple


@inner
def clear(a, n):
    for i in range(n):  # Numba takes much longer to compile a slice assignment
        a[i] = 0


@inner
def copy(source, n, a):
    for i in range(n):
        a[i] = source[i]


@inner
def dot_four(y, j, p, n):
    """Return the dot products of `p` with four rows: independent sums hide the latency of additions."""
    s0 = s1 = s2 = s3 = y.dtype.type(0)
    for i in range(n):
        s0 += y[j, i] * p[i]
        s1 += y[j + 1, i] * p[i]
        s2 += y[j + 2, i] * p[i]
        s3 += y[j + 3, i] * p[i]
    return s0, s1, s2, s3


@inner
def solve_cholesky(problem, u, limits, loss, regular, dense, A, vectors):
    """Solve exactly, in the precision of `dense`; return False if that is too low or the matrix is singular."""
    first, last = problem.indptr[u], problem.indptr[u + 1]
    dual = regular and last - first < len(vectors.d)
    for j in range(first, last if dual else first):
        dual &= problem.weight[j] >= limits.dual_weight
    if dual:
        return _solve_dual(problem, u, loss, dense, A, vectors)
    return _solve_primal(problem, u, loss, limits.singular, dense, A, vectors)


@inner
def _solve_primal(problem, u, loss, singular, dense, A, vectors):
    """Form and solve the ``f x f`` system."""
    d, _, b, x, _, floor = vectors
    f = len(d)
    for i in range(f):
        b[i] = 0
        clear(A[i], A.shape[1])
    first, last = problem.indptr[u], problem.indptr[u + 1]
    for start in range(first, last, BLOCK):
        add_block(problem, start, min(BLOCK, last - start), dense, A, b)
    add_linear(problem, u, b)
    most = 0.0
    for i in range(f):
        A[i, i] += d[i]
        most = max(most, A[i, i])
    for i in range(f):
        floor[i] = max(singular * most, loss * max(d[i], A[i, i]))
    if not factor(A, f, floor):
        return False
    copy(b, f, x)
    substitute(A, f, x)
    return True


@inner
def add_block(problem, start, count, dense, A, b):
    """Add ``w_j y_j y_j^T`` and ``t_j y_j`` of a block of entries to the upper triangle of `A` and to `b`.

    The block is transposed, so that the innermost loop has the length of the block for any f. (The rows of `columns`
    are padded: with a stride that is a power of two, they would share a few cache sets.)
    """
    _, columns, w, t, p = dense
    indices, weight, target, Y = problem.indices, problem.weight, problem.target, problem.Y
    for j in range(BLOCK):
        w[j] = weight[start + j] if j < count else 0
        t[j] = target[start + j] if j < count else 0
        column = indices[start + min(j, count - 1)]  # past the end, any finite row will do, as its weight is 0
        for i in range(len(b)):
            columns[i, j] = Y[column, i]
    for i in range(len(b)):
        s = t.dtype.type(0)
        for j in range(BLOCK):
            p[j] = w[j] * columns[i, j]
            s += t[j] * columns[i, j]
        b[i] += s
        for k in range(i, len(b), 4):
            s0, s1, s2, s3 = dot_four(columns, k, p, BLOCK)
            A[i, k] += s0
            A[i, k + 1] += s1
            A[i, k + 2] += s2
            A[i, k + 3] += s3


@inner
def add_linear(problem, u, b):
    """Add the row's linear term, if there is one, to its right-hand side."""
    if len(problem.linear):
        for i in range(len(b)):
            b[i] += problem.linear[u, i]


@inner
def _solve_dual(problem, u, loss, dense, A, vectors):
    """Solve ``x = D^-1/2 V^T (I + V V^T)^-1 (t / sqrt(w))``, ``V = diag(sqrt(w)) Y D^-1/2`` (push-through identity).

    With a linear term l, this solves for ``x - D^-1 l``, whose targets are ``t - w Y D^-1 l``.
    """
    d, inverse, a, x, _, floor = vectors
    V, _, _, _, p = dense
    first, f = problem.indptr[u], len(d)
    n = problem.indptr[u + 1] - first
    for i in range(f):
        inverse[i] = 1 / np.sqrt(d[i])
        x[i] = 0
    add_linear(problem, u, x)
    for i in range(f):
        x[i] /= d[i]
    for j in range(n):
        root, column = np.sqrt(np.float64(problem.weight[first + j])), problem.indices[first + j]
        a[j] = problem.target[first + j] / root
        for i in range(f):
            V[j, i] = root * inverse[i] * problem.Y[column, i]
        if len(problem.linear):
            for i in range(f):
                a[j] -= root * problem.Y[column, i] * x[i]
        clear(A[j], A.shape[1])
    for j in range(n, n + 3):  # these end up in columns of A that `factor` multiplies by zero: no stale NaN
        clear(V[j], f)
    for j in range(n):
        copy(V[j], V.shape[1], p)
        for k in range(j, n, 4):
            A[j, k], A[j, k + 1], A[j, k + 2], A[j, k + 3] = dot_four(V, k, p, V.shape[1])
        A[j, j] += 1
        floor[j] = loss * A[j, j]
    if not factor(A, n, floor):
        return False
    substitute(A, n, a)
    for j in range(n):
        for i in range(f):
            x[i] += a[j] * inverse[i] * V[j, i]
    return True


@inner
def factor(A, n, floor):
    """Factor ``A = L L^T``, from the upper into the lower triangle; False if a pivot is not above its floor and 0."""
    p = np.zeros(A.shape[1])  # row j of L, zero-padded so that the innermost loop runs over a multiple of LANES
    for j in range(n):
        copy(A[j], j, p)
        for i in range(j, n, 4):
            s0, s1, s2, s3 = dot_four(A, i, p, up(j, LANES))
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


@inner
def substitute(L, n, x):
    """Solve ``L L^T z = x``, and overwrite `x` with `z`."""
    for j in range(n):
        s = x[j]
        for i in range(j):
            s -= L[j, i] * x[i]
        x[j] = s / L[j, j]
    for j in range(n - 1, -1, -1):
        x[j] /= L[j, j]
        for i in range(j):
            x[i] -= L[j, i] * x[j]
