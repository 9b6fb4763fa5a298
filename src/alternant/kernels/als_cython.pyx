r"""The row problem of alternating least squares, one row a task, rows spread over OpenMP threads.

    (diag(g) + lambda_u I + sum_j w_j y_j y_j^T) x_u = sum_j t_j y_j

Cost of a row of n entries: gathering its y_j from memory once (n f numbers, what bounds the whole on large data), then
2 n f multiply-adds a step of conjugate gradients; _exact.pxd has the exact solutions. Every row is computed by one
thread in an order of its own, so the number of threads changes no bit.
"""

cimport cython.parallel as parallel
from cython cimport floating
from cython.parallel cimport prange
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from ._exact cimport NO_MEMORY, OK, SINGULAR, Row, exact_bytes, scale_of, solve_exact, target_of
from ._vector cimport (
    CHUNK, advance, aligned_zeros, begin, can_halve, compiler_version, curvature, dot, first_pass, gather,
    gather_narrow, index_t, padded, precondition, redirect, rows_pass, value,
)

import numpy as np

from alternant._utils.threads import openmp_threads, resolve_num_threads

cdef extern from *:
    """
    #ifdef _OPENMP
    #define ALTERNANT_OPENMP_VERSION _OPENMP
    #else
    #define ALTERNANT_OPENMP_VERSION 0
    #endif
    """
    const int ALTERNANT_OPENMP_VERSION

cdef enum:
    AHEAD_BYTES = 3072       # prefetched ahead of the rows of the first pass
    PACK_BYTES = 12582912    # longer rows are gathered again in every step instead of being kept packed
    HALF_BYTES = 524288      # longer rows are kept in 16 bits, where that does not matter: HALF_TOL

# See als_reference.py for their meaning.
cdef double SINGULAR_F32 = 1e-13, SINGULAR_F64 = 1e-14
cdef double UNDERFLOW_F32 = 1e-60, UNDERFLOW_F64 = 1e-300
cdef double ROUNDING_F32 = 1e-6, ROUNDING_F64 = 1e-13
# Steps from an exact residual that only reduce it to this part may take rows that are rounded to 16 bits, 2^-9.
cdef double HALF_TOL = 0.05


def build_info():
    """How this module was compiled."""
    return {"openmp": ALTERNANT_OPENMP_VERSION or None, "compiler": compiler_version().decode()}


cdef inline void gather_any(Row *row, ptrdiff_t rows, const floating *Y, const index_t *indices, ptrdiff_t j,
                            floating *out) noexcept nogil:
    """Copy the rows of entries j to j + rows."""
    if floating is float:
        if row.narrow != NULL:
            gather_narrow(rows, row.f, row.fp, row.narrow, indices + j, row.left - j,
                          min(max(AHEAD_BYTES // (2 * row.fp), 4), <ptrdiff_t> CHUNK), out)
            return
    gather(rows, row.f, row.fp, Y, indices + j, row.left - j, out)


cdef inline void apply_first(Row *row, const floating *Y, const index_t *indices, const floating *w,
                             const floating *t, const floating *p, floating *chunk, floating *pack, bint keep,
                             bint half, floating *q, floating *qb, double *total, double *b) noexcept nogil:
    """total = sum_j w_j (y_j . p) y_j and b = sum_j t_j y_j, packing the rows if they are to be kept."""
    cdef ptrdiff_t size = row.fp * <ptrdiff_t> sizeof(floating), c, j, k, rows, known
    cdef bint ready = row.f == row.fp, coarse = ready and row.narrow != NULL
    cdef ptrdiff_t ahead = min(max(AHEAD_BYTES // (row.fp * 2 if coarse else size), 4), <ptrdiff_t> CHUNK)
    cdef const floating *y[2 * CHUNK + 4]
    cdef const uint16_t *narrow[2 * CHUNK + 4]
    cdef floating chunk_t[CHUNK]
    memset(total, 0, row.fp * sizeof(double))
    memset(b, 0, row.fp * sizeof(double))
    for c in range((row.n + CHUNK - 1) // CHUNK):
        j = c * CHUNK
        rows = min(<ptrdiff_t> CHUNK, row.n - j)
        known = min(rows + ahead + 3, row.left - j) if ready else rows
        if coarse:
            for k in range(known):
                narrow[k] = row.narrow + <ptrdiff_t> indices[j + k] * row.f
        elif ready:
            for k in range(known):
                y[k] = Y + <ptrdiff_t> indices[j + k] * row.f
        else:    # they need their padding
            gather_any(row, rows, Y, indices, j, chunk)
            for k in range(rows):
                y[k] = chunk + k * row.fp
        for k in range(rows):
            chunk_t[k] = target_of(row, w, t, j + k)
        if row.scale != NULL:    # apart, as the loop above is one of vectors
            for k in range(rows):
                chunk_t[k] *= scale_of(row, w, indices[j + k])
        first_pass(rows, row.fp, half, known, ahead, y, narrow if coarse else NULL, chunk, w + j, chunk_t, p, q, qb,
                   total, b, pack)
        if keep:
            pack = pack + (rows * row.fp // 2 if half else rows * row.fp)


cdef inline void apply_again(Row *row, const floating *Y, const index_t *indices, const floating *w,
                             const floating *p, floating *pack, bint kept, bint half, floating *q,
                             double *total) noexcept nogil:
    """total = sum_j w_j (y_j . p) y_j, over the packed rows or, if they were not kept, gathering them again."""
    cdef ptrdiff_t c, j, rows
    memset(total, 0, row.fp * sizeof(double))
    if kept:
        rows_pass(row.n, row.fp, half, pack, w, p, q, total)
        return
    for c in range((row.n + CHUNK - 1) // CHUNK):
        j = c * CHUNK
        rows = min(<ptrdiff_t> CHUNK, row.n - j)
        gather_any(row, rows, Y, indices, j, pack)
        rows_pass(rows, row.fp, False, pack, w + j, p, q, total)


cdef int solve_cg(Row *row, const floating *Y, const index_t *indices, const floating *w, const floating *t,
                  const floating *g, floating lam, double tol, int max_steps, ptrdiff_t pack_rows, char *scratch,
                  floating *out) noexcept nogil:
    """Conjugate gradients preconditioned by d = g + lambda, from and to `out`; als_reference.py says when they stop."""
    cdef ptrdiff_t fp = row.fp, k
    cdef floating *d = <floating *> scratch
    cdef floating *inverse = d + fp
    cdef floating *x = inverse + fp
    cdef floating *r = x + fp
    cdef floating *p = r + fp
    cdef floating *q = p + fp
    cdef floating *qb = q + fp
    cdef double *total = <double *> (qb + fp)
    cdef double *b = total + fp
    cdef floating *chunk = <floating *> (b + fp)
    cdef floating *pack = chunk + CHUNK * fp
    cdef bint half = (tol >= HALF_TOL and can_halve(fp, Y)
                      and row.n * fp * <ptrdiff_t> sizeof(floating) > HALF_BYTES and row.n <= 2 * pack_rows)
    cdef bint keep = half or row.n <= pack_rows
    cdef double whole = 0, start, decrease = 0, left, rz, previous, curve

    precondition(row.f, fp, g, lam, d, inverse)
    memcpy(x, out, row.f * sizeof(floating))
    for k in range(row.f, fp):
        x[k] = 0
    apply_first(row, Y, indices, w, t, x, chunk, pack, keep, half, q, qb, total, b)
    rz = begin(fp, b, total, d, inverse, x, r, p, &whole)
    if whole <= row.underflow:
        memset(out, 0, row.f * sizeof(floating))
        return OK
    start = value(fp, b, r, x)
    if start > 0:    # worse than 0
        start = 0
        memset(x, 0, fp * sizeof(floating))
        memset(total, 0, fp * sizeof(double))
        rz = begin(fp, b, total, d, inverse, x, r, p, &whole)
    left = rz
    while row.steps < max_steps and left > tol * tol * decrease and rz > row.rounding * row.rounding * whole:
        apply_again(row, Y, indices, w, p, pack, keep, half, q, total)
        curve = curvature(fp, p, d, total)
        if not curve > 0:
            return SINGULAR
        previous = rz
        rz = advance(fp, rz / curve, p, d, inverse, total, x, r)
        redirect(fp, rz / previous, r, inverse, p)
        decrease += previous * previous / curve
        left = min(rz, 2 * previous * previous / curve)
        row.steps += 1
    memcpy(out, x, row.f * sizeof(floating))
    # The residual of rounded rows is off by their rounding times x, the decrease by that times what x has moved.
    row.objective = start - decrease if half else value(fp, b, r, x)
    return OK


cdef inline size_t cg_bytes(ptrdiff_t f, ptrdiff_t pack_rows, ptrdiff_t itemsize) noexcept nogil:
    cdef size_t fp = padded(f, itemsize)
    return (7 + CHUNK + max(pack_rows, <ptrdiff_t> CHUNK)) * fp * itemsize + 2 * fp * sizeof(double)


def _solve_rows(
    const int64_t[::1] indptr,            # IN   m + 1
    const index_t[::1] indices,           # IN   nnz
    const floating[::1] weight,           # IN   nnz
    const floating[::1] target,           # IN   nnz, or None
    double added,                         # IN   t = w + added, if target is None
    const floating[::1] target_scale,     # IN   n, or None
    const floating[:, ::1] Y,             # IN   n x f; without rows, if there is the next
    const uint16_t[:, ::1] narrow,        # IN   n x f, the same of float16, or None
    const floating[::1] diagonal,         # IN   f
    const floating[::1] regularization,   # IN   m
    floating[:, ::1] X,                   # IN and OUT, m x f
    bint exact,                           # IN
    double tol,                           # IN
    int max_steps,                        # IN
    int num_threads,                      # IN
    signed char[::1] status,              # OUT  m
    int32_t[::1] row_steps,               # OUT  m, or None
    double[::1] row_objectives,           # OUT  m, or None
):
    """Return whether that was possible: rows are solved exactly only from Y, not from float16."""
    cdef:
        ptrdiff_t m = X.shape[0], f = X.shape[1], u, longest = 0, pack_rows
        ptrdiff_t share = max(1, min(16, m // (8 * num_threads)))
        double g_min = np.min(diagonal), g_max = np.max(diagonal)
        double singular = SINGULAR_F32 if floating is float else SINGULAR_F64
        double underflow = UNDERFLOW_F32 if floating is float else UNDERFLOW_F64
        double rounding = ROUNDING_F32 if floating is float else ROUNDING_F64
        bint any_exact = exact, well_posed
        const floating *t
        const floating *table = NULL if narrow is not None else &Y[0, 0]
        bint want_steps = row_steps is not None, want_objectives = row_objectives is not None
        Row *row
        char *scratch
        char *exact_scratch
        void *base
        void *exact_base

    for u in range(m):
        longest = max(longest, <ptrdiff_t> (indptr[u + 1] - indptr[u]))
        any_exact = any_exact or not g_min + regularization[u] > singular * (g_max + regularization[u])
    if any_exact and narrow is not None:
        return False
    pack_rows = min(longest, PACK_BYTES // (padded(f, sizeof(floating)) * <ptrdiff_t> sizeof(floating)))

    with nogil, parallel.parallel(num_threads=num_threads):
        base = NULL
        exact_base = NULL
        row = <Row *> malloc(sizeof(Row))
        scratch = NULL if exact else aligned_zeros(cg_bytes(f, pack_rows, sizeof(floating)), &base)
        exact_scratch = aligned_zeros(exact_bytes(f, sizeof(floating)), &exact_base) if any_exact else NULL
        for u in prange(m, schedule="dynamic", chunksize=share):
            if row == NULL or (scratch == NULL and not exact) or (exact_scratch == NULL and any_exact):
                status[u] = NO_MEMORY
                continue
            row.n = indptr[u + 1] - indptr[u]
            row.left = indptr[m] - indptr[u]
            row.f = f
            row.fp = padded(f, sizeof(floating))
            row.added = added
            row.scale = NULL if target_scale is None else <const void *> &target_scale[0]
            row.narrow = NULL if narrow is None else &narrow[0, 0]
            row.singular = singular
            row.underflow = underflow
            row.rounding = rounding
            row.steps = 0
            row.objective = 0
            if row.n == 0:
                memset(&X[u, 0], 0, f * sizeof(floating))
            else:
                t = NULL if target is None else &target[indptr[u]]
                well_posed = g_min + regularization[u] > singular * (g_max + regularization[u])
                if exact or not well_posed:
                    status[u] = solve_exact(
                        row, table, &indices[indptr[u]], &weight[indptr[u]], t, &diagonal[0],
                        regularization[u], well_posed, exact_scratch, &X[u, 0])
                else:
                    status[u] = solve_cg(
                        row, table, &indices[indptr[u]], &weight[indptr[u]], t, &diagonal[0],
                        regularization[u], tol, max_steps, pack_rows, scratch, &X[u, 0])
            if want_steps:
                row_steps[u] = row.steps
            if want_objectives:
                row_objectives[u] = row.objective
        free(base)
        free(exact_base)
        free(row)
    return True


def solve_rows(indptr, indices, weight, target, Y, diagonal, regularization, X, method="cg", tol=1e-3, max_steps=10,
               num_threads=None, row_steps=None, row_objective=None, target_scale=None):
    """See `alternant.kernels.solve_rows`."""
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
    added = float(target) if isinstance(target, (int, float)) else None

    def solve(Y, narrow):
        return _solve_rows(indptr, indices, weight, target if added is None else None, added or 0, target_scale, Y,
                           narrow, diagonal, regularization, X, method == "cholesky", tol,
                           min(max_steps, 2**31 - 1), threads, status, row_steps, row_objective)

    if Y.dtype != np.float16:
        solve(Y, None)
    elif not solve(np.empty((0, f), np.float32), Y.view(np.uint16)):
        solve(Y.astype(np.float32), None)
    if (status == NO_MEMORY).any():
        raise MemoryError(f"no memory for the scratch space of {threads} threads; use fewer with num_threads")
    return 1 + int(status.argmax()) if status.any() else 0


def _squared_error(
    const int64_t[::1] indptr,       # IN   m + 1
    const index_t[::1] indices,      # IN   nnz
    const floating[::1] weight,      # IN   nnz
    const floating[::1] target,      # IN   nnz, or None
    double added,                    # IN   t = w + added, if target is None
    const floating[:, ::1] X,        # IN   m x f
    const floating[:, ::1] Y,        # IN   n x f
    const floating[::1] diagonal,    # IN   f
    int num_threads,                 # IN
    double[::1] row_error,           # OUT  m
):
    cdef ptrdiff_t m = X.shape[0], f = X.shape[1], u, j, k
    cdef double total, s, t
    for u in prange(m, schedule="dynamic", chunksize=16, nogil=True, num_threads=num_threads):
        total = 0
        for k in range(f):
            total = total + <double> diagonal[k] * X[u, k] * X[u, k]
        for j in range(indptr[u], indptr[u + 1]):
            s = dot(f, &X[u, 0], &Y[indices[j], 0])
            t = <floating> (weight[j] + <floating> added) if target is None else target[j]
            total = total + (weight[j] * s - 2 * t) * s
        row_error[u] = total


def squared_error(indptr, indices, weight, target, X, Y, diagonal, num_threads=None):
    """See `alternant.kernels.squared_error`."""
    row_error = np.zeros(len(X))
    threads = openmp_threads(min(resolve_num_threads(num_threads), 1 + len(X) // 16))
    added = float(target) if isinstance(target, (int, float)) else None
    _squared_error(indptr, indices, weight, target if added is None else None, added or 0, X, Y, diagonal, threads,
                   row_error)
    return float(row_error.sum())
