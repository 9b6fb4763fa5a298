"""A row problem of als_cython.pyx, and its exact solution: through the f x f matrix, or a short row's dual.

    (diag(g) + lambda_u I + sum_j w_j y_j y_j^T) x_u = sum_j t_j y_j

Cost of a row of n entries: n f^2 / 2 + f^3 / 6, or n^2 f / 2 + n^3 / 6 through the dual.
"""

from cython cimport floating
from libc.math cimport sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint16_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from ._vector cimport (
    AHEAD, ALTERNANT_PREFETCH, CHUNK, aligned_zeros, cholesky, cholesky_solve, dot, gather, index_t, padded,
    quadratic, real, scale_rows, syrk,
)

cdef extern from *:
    """
    /* A float32 pivot below this against the largest diagonal entry is left to float64. */
    #define ALTERNANT_DOUBTFUL_F32 1e-5
    /* See als_reference.py. */
    #define ALTERNANT_SMALLEST_DUAL_WEIGHT 1e-20
    """
    const double DOUBTFUL_F32 "ALTERNANT_DOUBTFUL_F32"
    const double SMALLEST_DUAL_WEIGHT "ALTERNANT_SMALLEST_DUAL_WEIGHT"

cdef enum:    # of a row
    OK = 0
    SINGULAR = 1
    NO_MEMORY = 2

cdef struct Row:
    ptrdiff_t n, f, fp                       # entries; factors; factors, padded
    ptrdiff_t left                           # entries from the row's first to the last row's last
    double added                             # t = w + added, where there is no array of t
    const void *scale                        # of a column's targets, in the dtype of the call, or NULL
    const uint16_t *narrow                   # Y of float16, or NULL
    double singular, underflow, rounding     # thresholds, see als_reference.py
    int steps                                # OUT
    double objective                         # OUT


cdef inline floating target_of(Row *row, const floating *w, const floating *t, ptrdiff_t j) noexcept nogil:
    """The target of an entry but for the scale of its column."""
    return t[j] if t != NULL else w[j] + <floating> row.added


cdef inline floating scale_of(Row *row, const floating *like, ptrdiff_t column) noexcept nogil:
    """What the targets of a column are multiplied by, where row.scale is there; `like` tells the dtype."""
    return (<const floating *> row.scale)[column]


cdef inline int solve_primal(Row *row, const floating *Y, const index_t *indices, const floating *w, const floating *t,
                             const floating *g, floating lam, real *scratch, floating *out) noexcept nogil:
    """Cholesky of the f x f matrix, in the arithmetic of `scratch`."""
    cdef ptrdiff_t fp = padded(row.f, sizeof(real)), c, j, k, rows
    cdef real *b = scratch
    cdef real *chunk_b = b + fp
    cdef real *inverse = chunk_b + fp
    cdef real *chunk_w = inverse + fp
    cdef real *chunk_t = chunk_w + CHUNK
    cdef real *A = chunk_t + CHUNK
    cdef real *kept = A + fp * fp    # A and b before they are overwritten
    cdef real *kept_b = kept + fp * fp
    cdef real *pack = kept_b + fp
    cdef real *Z = pack + CHUNK * fp
    cdef double largest = 0

    if row.f < fp:
        memset(pack, 0, CHUNK * fp * sizeof(real))    # `solve_dual` shares the memory and knows no padding
    memset(A, 0, fp * fp * sizeof(real))
    memset(b, 0, fp * sizeof(real))
    for c in range((row.n + CHUNK - 1) // CHUNK):
        j = c * CHUNK
        rows = min(<ptrdiff_t> CHUNK, row.n - j)
        gather(rows, row.f, fp, Y, indices + j, row.left - j, pack)
        for k in range(rows):
            chunk_w[k] = w[j + k]
            chunk_t[k] = target_of(row, w, t, j + k)
        if row.scale != NULL:
            for k in range(rows):
                chunk_t[k] = <real> (<floating> chunk_t[k] * scale_of(row, w, indices[j + k]))
        memset(chunk_b, 0, fp * sizeof(real))
        scale_rows(rows, fp, pack, chunk_w, chunk_t, Z, chunk_b)
        for k in range(fp):
            b[k] += chunk_b[k]
        syrk(rows, fp, Z, pack, A)
    for k in range(row.f):
        A[k * fp + k] += <real> g[k] + <real> lam
        largest = max(largest, <double> A[k * fp + k])
    for k in range(row.f, fp):
        A[k * fp + k] = <real> largest    # the padding must pass as a pivot whatever the scale of the row
    memcpy(kept, A, fp * fp * sizeof(real))
    memcpy(kept_b, b, fp * sizeof(real))
    if not cholesky(fp, (DOUBTFUL_F32 if real is float else row.singular) * largest, A, inverse, Z):
        return SINGULAR
    cholesky_solve(fp, A, inverse, b)
    row.objective = quadratic(fp, kept, kept_b, b)
    for k in range(row.f):
        out[k] = <floating> b[k]
    return OK


cdef inline int solve_dual(Row *row, const floating *Y, const index_t *indices, const floating *w, const floating *t,
                           const floating *g, floating lam, floating *scratch, floating *out) noexcept nogil:
    """x = D^-1/2 V^T (I + V V^T)^-1 (t / sqrt(w)),  V = diag(sqrt(w)) Y D^-1/2,  D = diag(g) + lambda, V^T kept."""
    cdef ptrdiff_t f = row.f, n = row.n, np_ = padded(n, sizeof(floating)), j, k
    cdef floating *root = scratch             # 1 / sqrt(D)
    cdef floating *a = root + row.fp
    cdef floating *c = a + np_
    cdef floating *s = c + np_
    cdef floating *inverse = s + np_
    cdef floating *V = inverse + np_          # f x n, transposed
    cdef floating *S = V + f * np_
    cdef floating *panel = S + np_ * np_
    cdef const floating *y
    cdef floating scale
    cdef double sum, largest = 0

    memset(scratch, 0, (panel - scratch) * sizeof(floating))
    for k in range(f):
        root[k] = <floating> (1 / sqrt(<double> g[k] + lam))
    for j in range(n):
        if j + AHEAD < n:
            ALTERNANT_PREFETCH(Y + <ptrdiff_t> indices[j + AHEAD] * f)
        y = Y + <ptrdiff_t> indices[j] * f
        scale = <floating> sqrt(<double> w[j])
        c[j] = target_of(row, w, t, j)
        if row.scale != NULL:
            c[j] *= scale_of(row, w, indices[j])
        c[j] /= scale
        a[j] = c[j]
        for k in range(f):
            V[k * np_ + j] = scale * y[k] * root[k]
    syrk(f, np_, V, V, S)
    for j in range(np_):
        S[j * np_ + j] += 1
        largest = max(largest, <double> S[j * np_ + j])
    if not cholesky(np_, DOUBTFUL_F32 * largest if floating is float else 0, S, inverse, panel):
        return SINGULAR
    cholesky_solve(np_, S, inverse, a)
    for k in range(f):
        sum = dot(n, V + k * np_, a)
        out[k] = <floating> (root[k] * sum)
        row.objective += sum * sum
        for j in range(n):
            s[j] += <floating> sum * V[k * np_ + j]    # sqrt(w_j) y_j . x
    for j in range(n):
        row.objective += (<double> s[j] - 2 * <double> c[j]) * s[j]
    return OK


cdef inline size_t exact_bytes(ptrdiff_t f, ptrdiff_t itemsize) noexcept nogil:
    """Scratch of `solve_primal` and `solve_dual`, which share it."""
    cdef size_t fp = padded(f, itemsize)
    return (2 * fp * fp + 2 * CHUNK * fp + 32 * fp + 2 * CHUNK) * itemsize


cdef inline int solve_exact(Row *row, const floating *Y, const index_t *indices, const floating *w, const floating *t,
                            const floating *g, floating lam, bint well_posed, char *scratch,
                            floating *out) noexcept nogil:
    """Through the dual where that is cheaper and possible; in float64 where float32 can't tell small from zero."""
    cdef ptrdiff_t j
    cdef bint dual = row.n < row.f and well_posed
    cdef void *base = NULL
    cdef char *wide
    cdef int status
    for j in range(row.n if dual else 0):
        dual = dual and w[j] >= SMALLEST_DUAL_WEIGHT
    if dual:
        status = solve_dual(row, Y, indices, w, t, g, lam, <floating *> scratch, out)
    else:
        status = solve_primal(row, Y, indices, w, t, g, lam, <floating *> scratch, out)
    if floating is float:
        if status == SINGULAR:
            wide = aligned_zeros(exact_bytes(row.f, sizeof(double)), &base)
            if wide == NULL:
                return NO_MEMORY
            status = solve_primal(row, Y, indices, w, t, g, lam, <double *> wide, out)
            free(base)
    return status
