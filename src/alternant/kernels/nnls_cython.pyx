r"""The non-negative row problem of alternating least squares, one row a task, rows spread over OpenMP threads.

    argmin over x >= 0 of x^T A x - 2 b^T x,    A = G + lambda_u I + sum_j w_j y_j y_j^T,    b = sum_j t_j y_j

Cost of a row of n entries: n f^2 / 2 to form its matrix, f^2 a sweep of coordinate descent, p^3 / 6 a solve with p
positive unknowns; all in float64. Every row is computed by one thread in an order of its own, so the number of threads
changes no bit.
"""

cimport cython.parallel as parallel
from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport fabs, isfinite
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from ._vector cimport (
    CHUNK, aligned_zeros, cholesky, cholesky_solve, gather, index_t, padded, scale_rows, syrk,
)

import numpy as np

from alternant._utils.threads import openmp_threads, resolve_num_threads

cdef enum:
    SWEEPS = 8    # see nnls_reference.py
    OK = 0
    FAILED = 1
    NO_MEMORY = 2

# See nnls_reference.py for their meaning.
cdef double SINGULAR = 1e-14, ROUNDING = 1e-15


cdef struct Row:
    ptrdiff_t n, f, fp           # entries; factors; factors, padded
    double largest, largest_b    # of the diagonal, of |b|
    int steps                    # OUT
    double objective             # OUT


cdef struct Scratch:
    double *A           # f x f, whole; rows padded with zeros
    double *C           # p x p, the part of the positive unknowns
    double *panel       # of `cholesky`
    double *pack        # CHUNK rows of Y
    double *Z           # the same, weighted
    double *w           # CHUNK
    double *t           # CHUNK
    double *x
    double *b
    double *g           # A x - b
    double *step
    double *inverse     # of `cholesky`
    ptrdiff_t *positive


cdef inline size_t scratch_bytes(ptrdiff_t f) noexcept nogil:
    cdef size_t fp = padded(f, sizeof(double))
    return (2 * fp * fp + 8 * fp + 2 * CHUNK * fp + 2 * CHUNK + 5 * fp) * sizeof(double) + fp * sizeof(ptrdiff_t)


cdef void lay_out(Scratch *s, char *memory, ptrdiff_t fp) noexcept nogil:
    s.A = <double *> memory
    s.C = s.A + fp * fp
    s.panel = s.C + fp * fp
    s.pack = s.panel + 8 * fp
    s.Z = s.pack + CHUNK * fp
    s.w = s.Z + CHUNK * fp
    s.t = s.w + CHUNK
    s.x = s.t + CHUNK
    s.b = s.x + fp
    s.g = s.b + fp
    s.step = s.g + fp
    s.inverse = s.step + fp
    s.positive = <ptrdiff_t *> (s.inverse + fp)


cdef int form(Row *row, Scratch *s, const floating *Y, const index_t *indices, const floating *w, const floating *t,
              const floating *gramian, floating lam) noexcept nogil:
    """Form A, whole, and b; OK unless the row has no least value."""
    cdef ptrdiff_t f = row.f, fp = row.fp, c, i, j, k, rows
    cdef bint weighs, negative = False
    cdef double sum = 0

    memset(s.A, 0, fp * fp * sizeof(double))
    memset(s.b, 0, fp * sizeof(double))
    for i in range(f):
        for k in range(i, f):
            s.A[i * fp + k] = gramian[i * f + k]
        s.A[i * fp + i] += lam
    for c in range((row.n + CHUNK - 1) // CHUNK):
        j = c * CHUNK
        rows = min(<ptrdiff_t> CHUNK, row.n - j)
        gather(rows, f, fp, Y, indices + j, row.n - j, s.pack)
        weighs = False
        for k in range(rows):
            s.w[k] = w[j + k]
            s.t[k] = t[j + k]
            weighs = weighs or w[j + k] != 0
            negative = negative or w[j + k] < 0
        scale_rows(rows, fp, s.pack, s.w, s.t, s.Z, s.b)
        if weighs:    # of a dense table, all of the weight is in the Gramian
            syrk(rows, fp, s.Z, s.pack, s.A)
    row.largest = 0
    row.largest_b = 0
    for i in range(f):
        for k in range(i):
            s.A[i * fp + k] = s.A[k * fp + i]
        for k in range(fp):
            sum += s.A[i * fp + k] if k < f else 0
        for k in range(f, fp):
            s.A[i * fp + k] = 0
        sum += s.b[i]
        row.largest = max(row.largest, s.A[i * fp + i])
        row.largest_b = max(row.largest_b, fabs(s.b[i]))
    if not isfinite(sum):
        return FAILED
    for i in range(f):
        if s.A[i * fp + i] <= 0 and s.b[i] > 0:
            return FAILED
    if negative:
        for i in range(f):
            s.positive[i] = i
        return OK if factor(row, s, f) else FAILED
    return OK


cdef bint factor(Row *row, Scratch *s, ptrdiff_t p) noexcept nogil:
    """Cholesky of the rows and columns of A that the first p of `positive` name, into C."""
    cdef ptrdiff_t size = padded(p, sizeof(double)), i, k
    for i in range(size):
        for k in range(i, size):
            s.C[i * size + k] = s.A[s.positive[i] * row.fp + s.positive[k]] if k < p else 0
        for k in range(i - i % 8, i):
            s.C[i * size + k] = 0    # nothing below the diagonal counts, but it is read: no NaN of an earlier row
        if i >= p:
            s.C[i * size + i] = row.largest
    return cholesky(size, SINGULAR * row.largest, s.C, s.inverse, s.panel)


cdef void gradient(Row *row, Scratch *s) noexcept nogil:
    """g = A x - b"""
    cdef ptrdiff_t fp = row.fp, i, k
    cdef double x
    cdef double *A
    for k in range(fp):
        s.g[k] = -s.b[k]
    for i in range(row.f):
        if s.x[i] != 0:
            x = s.x[i]
            A = s.A + i * fp
            for k in range(fp):
                s.g[k] += x * A[k]


cdef bint at_its_end(Row *row, Scratch *s, double tol) noexcept nogil:
    """Whether the projected gradient is small."""
    cdef ptrdiff_t k
    cdef double most = 0, sum = 0
    for k in range(row.f):
        sum += s.x[k]
        most = max(most, fabs(s.g[k]) if s.x[k] > 0 else -s.g[k])
    return most <= max(tol * row.largest_b, ROUNDING * (row.largest * sum + row.largest_b))


cdef bint sweep(Row *row, Scratch *s) noexcept nogil:
    """Minimise over one unknown after another; whether the set of the positive ones has changed."""
    cdef ptrdiff_t fp = row.fp, i, k
    cdef double moved, delta
    cdef double *A
    cdef bint changed = False
    for i in range(row.f):
        A = s.A + i * fp
        if A[i] <= 0:
            continue
        moved = s.x[i] - s.g[i] / A[i]
        if not moved > 0:
            moved = 0
        delta = moved - s.x[i]
        if delta != 0:
            changed = changed or (moved > 0) != (s.x[i] > 0)
            s.x[i] = moved
            for k in range(fp):
                s.g[k] += delta * A[k]
    return changed


cdef void step_on_positive(Row *row, Scratch *s) noexcept nogil:
    """Go to the minimum over the positive unknowns, or as far towards it as none becomes negative."""
    cdef ptrdiff_t p = 0, k
    cdef double length = 1, ratio
    for k in range(row.f):
        if s.x[k] > 0:
            s.positive[p] = k
            p += 1
    if p == 0 or not factor(row, s, p):
        return
    for k in range(padded(p, sizeof(double))):
        s.step[k] = -s.g[s.positive[k]] if k < p else 0
    cholesky_solve(padded(p, sizeof(double)), s.C, s.inverse, s.step)
    for k in range(p):
        if s.step[k] < 0:
            length = min(length, -s.x[s.positive[k]] / s.step[k])
    for k in range(p):
        ratio = -s.x[s.positive[k]] / s.step[k] if s.step[k] < 0 else 2
        s.x[s.positive[k]] = 0 if ratio <= length else max(s.x[s.positive[k]] + length * s.step[k], 0.0)
    gradient(row, s)


cdef int solve_row(Row *row, Scratch *s, const floating *Y, const index_t *indices, const floating *w,
                   const floating *t, const floating *gramian, floating lam, double tol, int max_steps,
                   floating *out) noexcept nogil:
    """Solve one row, from and to `out`."""
    cdef ptrdiff_t k
    cdef bint gains = False, changed
    if form(row, s, Y, indices, w, t, gramian, lam) != OK:
        return FAILED
    memset(s.x, 0, row.fp * sizeof(double))
    for k in range(row.f):
        gains = gains or s.b[k] > 0
        if out[k] > 0 and s.A[k * row.fp + k] > 0:
            s.x[k] = out[k]
    if not gains:    # A being positive semidefinite, nothing is gained by any x >= 0
        memset(out, 0, row.f * sizeof(floating))
        return OK
    gradient(row, s)
    while row.steps < max_steps and not at_its_end(row, s, tol):
        changed = sweep(row, s)
        row.steps += 1
        if not changed or row.steps % SWEEPS == 0:
            step_on_positive(row, s)
    for k in range(row.f):
        if not isfinite(<floating> s.x[k]):
            return FAILED
    gradient(row, s)
    for k in range(row.f):
        out[k] = <floating> s.x[k]
        row.objective += s.x[k] * (s.g[k] - s.b[k])
    return OK


def _solve_rows_nonnegative(
    const int64_t[::1] indptr,            # IN   m + 1
    const index_t[::1] indices,           # IN   nnz
    const floating[::1] weight,           # IN   nnz
    const floating[::1] target,           # IN   nnz
    const floating[:, ::1] Y,             # IN   n x f
    const floating[:, ::1] gramian,       # IN   f x f
    const floating[::1] regularization,   # IN   m
    floating[:, ::1] X,                   # IN and OUT, m x f
    double tol,                           # IN
    int max_steps,                        # IN
    int num_threads,                      # IN
    signed char[::1] status,              # OUT  m
    int32_t[::1] row_steps,               # OUT  m, or None
    double[::1] row_objectives,           # OUT  m, or None
):
    cdef:
        ptrdiff_t m = X.shape[0], f = X.shape[1], u
        ptrdiff_t share = max(1, min(16, m // (8 * num_threads)))
        bint want_steps = row_steps is not None, want_objectives = row_objectives is not None
        Row *row
        Scratch *scratch
        char *memory
        void *base

    with nogil, parallel.parallel(num_threads=num_threads):
        base = NULL
        row = <Row *> malloc(sizeof(Row))
        scratch = <Scratch *> malloc(sizeof(Scratch))
        memory = aligned_zeros(scratch_bytes(f), &base)
        if scratch != NULL and memory != NULL:
            lay_out(scratch, memory, padded(f, sizeof(double)))
        for u in prange(m, schedule="dynamic", chunksize=share):
            if row == NULL or scratch == NULL or memory == NULL:
                status[u] = NO_MEMORY
                continue
            row.n = indptr[u + 1] - indptr[u]
            row.f = f
            row.fp = padded(f, sizeof(double))
            row.steps = 0
            row.objective = 0
            if row.n == 0:
                memset(&X[u, 0], 0, f * sizeof(floating))
            else:
                status[u] = solve_row(
                    row, scratch, &Y[0, 0], &indices[indptr[u]], &weight[indptr[u]], &target[indptr[u]],
                    &gramian[0, 0], regularization[u], tol, max_steps, &X[u, 0])
            if want_steps:
                row_steps[u] = row.steps
            if want_objectives:
                row_objectives[u] = row.objective
        free(base)
        free(row)
        free(scratch)


def solve_rows_nonnegative(indptr, indices, weight, target, Y, gramian, regularization, X, tol=1e-6, max_steps=1000,
                           num_threads=None, row_steps=None, row_objective=None):
    """See `alternant.kernels.solve_rows_nonnegative`."""
    m, f = X.shape
    if m == 0 or f == 0:
        return 0
    if len(indices) == 0:
        X[:] = 0    # nothing below may take the address of an empty array's first element
        for output in (row_steps, row_objective):
            if output is not None:
                output[:] = 0
        return 0
    status = np.zeros(m, np.int8)
    threads = openmp_threads(min(resolve_num_threads(num_threads), m))
    _solve_rows_nonnegative(indptr, indices, weight, target, Y, gramian, regularization, X, tol,
                            min(max_steps, 2**31 - 1), threads, status, row_steps, row_objective)
    if (status == NO_MEMORY).any():
        raise MemoryError(f"no memory for the scratch space of {threads} threads; use fewer with num_threads")
    return 1 + int(status.argmax()) if status.any() else 0
