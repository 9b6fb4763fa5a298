"""The operations of _vector.h under one name for both real types."""

from cython cimport floating
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint16_t

ctypedef fused index_t:
    int32_t
    int64_t

ctypedef fused real:    # the arithmetic, where it may be wider than the data
    float
    double

cdef enum:
    CHUNK = 64               # rows gathered at a time
    AHEAD = 12               # rows prefetched ahead of the one being copied


cdef extern from "_vector.h" nogil:
    char *aligned_zeros(size_t bytes, void **base)
    const char *compiler_version()
    void ALTERNANT_PREFETCH(const void *address)

    void copy_row_f32(ptrdiff_t, const float *, float *)
    void copy_row_f64(ptrdiff_t, const double *, double *)
    void pass_f32(ptrdiff_t, ptrdiff_t, const float *, const float *, const float *, float *, double *)
    void pass_f64(ptrdiff_t, ptrdiff_t, const double *, const double *, const double *, double *, double *)
    void widen_row_f32(ptrdiff_t, const uint16_t *, float *)
    void narrow_row_f32(ptrdiff_t, const float *, uint16_t *)
    int can_halve_f32(ptrdiff_t)
    int can_halve_f64(ptrdiff_t)
    void half_pass_f32(ptrdiff_t, ptrdiff_t, const float *, const float *, const float *, float *, double *)
    void half_pass_f64(ptrdiff_t, ptrdiff_t, const double *, const double *, const double *, double *, double *)
    ctypedef struct source_f32:
        const float **rows
        const uint16_t **narrow
        float *wide
    ctypedef struct source_f64:
        const double **rows
        const uint16_t **narrow
        double *wide
    void first_pass_f32(ptrdiff_t, ptrdiff_t, int, ptrdiff_t, ptrdiff_t, const source_f32 *, const float *,
                        const float *, const float *, float *, float *, double *, double *, float *)
    void first_pass_f64(ptrdiff_t, ptrdiff_t, int, ptrdiff_t, ptrdiff_t, const source_f64 *, const double *,
                        const double *, const double *, double *, double *, double *, double *, double *)
    void scale_rows_f32(ptrdiff_t, ptrdiff_t, const float *, const float *, const float *, float *, float *)
    void scale_rows_f64(ptrdiff_t, ptrdiff_t, const double *, const double *, const double *, double *, double *)
    double dot_f32(ptrdiff_t, const float *, const float *)
    double dot_f64(ptrdiff_t, const double *, const double *)
    double curvature_f32(ptrdiff_t, const float *, const float *, const double *)
    double curvature_f64(ptrdiff_t, const double *, const double *, const double *)
    void precondition_f32(ptrdiff_t, ptrdiff_t, const float *, float, float *, float *)
    void precondition_f64(ptrdiff_t, ptrdiff_t, const double *, double, double *, double *)
    double begin_f32(ptrdiff_t, const double *, const double *, const float *, const float *, const float *, float *,
                     float *, double *)
    double begin_f64(ptrdiff_t, const double *, const double *, const double *, const double *, const double *,
                     double *, double *, double *)
    double advance_f32(ptrdiff_t, double, const float *, const float *, const float *, const double *, float *, float *)
    double advance_f64(ptrdiff_t, double, const double *, const double *, const double *, const double *, double *,
                       double *)
    double value_f32(ptrdiff_t, const double *, const float *, const float *)
    double value_f64(ptrdiff_t, const double *, const double *, const double *)
    void redirect_f32(ptrdiff_t, float, const float *, const float *, float *)
    void redirect_f64(ptrdiff_t, double, const double *, const double *, double *)
    void syrk_f32(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const float *, const float *, float *)
    void syrk_f64(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const double *, const double *, double *)
    int cholesky_f32(ptrdiff_t, float, float *, float *, float *)
    int cholesky_f64(ptrdiff_t, double, double *, double *, double *)
    void cholesky_solve_f32(ptrdiff_t, const float *, const float *, float *)
    void cholesky_solve_f64(ptrdiff_t, const double *, const double *, double *)
    double quadratic_f32(ptrdiff_t, const float *, const float *, const float *)
    double quadratic_f64(ptrdiff_t, const double *, const double *, const double *)
    void scores_f32(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float *, const float *, const float *, const float *,
                    const float *, float *)
    void scores_f64(ptrdiff_t, ptrdiff_t, ptrdiff_t, const double *, const double *, const double *, const double *,
                    const double *, double *)
    ptrdiff_t next_at_least_f32(ptrdiff_t, ptrdiff_t, const float *, float)
    ptrdiff_t next_at_least_f64(ptrdiff_t, ptrdiff_t, const double *, double)


cdef inline ptrdiff_t padded(ptrdiff_t f, ptrdiff_t itemsize) noexcept nogil:
    """`f` rounded up to a multiple of 64 bytes."""
    cdef ptrdiff_t lanes = 64 // itemsize
    return (f + lanes - 1) // lanes * lanes


cdef inline void copy_row(ptrdiff_t f, const floating *source, floating *row) noexcept nogil:
    if floating is float:
        copy_row_f32(f, source, row)
    else:
        copy_row_f64(f, source, row)


cdef inline bint can_halve(ptrdiff_t fp, const floating *Y) noexcept nogil:
    """Whether rows can be packed in 16 bits."""
    if floating is float:
        return can_halve_f32(fp)
    else:
        return can_halve_f64(fp)


cdef inline void rows_pass(ptrdiff_t n, ptrdiff_t fp, bint half, const floating *Y, const floating *w,
                           const floating *p, floating *q, double *total) noexcept nogil:
    """total += Y^T (w * (Y p)) over packed rows, in 16 bits if `half`; q is scratch."""
    if floating is float:
        if half:
            half_pass_f32(n, fp, Y, w, p, q, total)
        else:
            pass_f32(n, fp, Y, w, p, q, total)
    else:
        if half:
            half_pass_f64(n, fp, Y, w, p, q, total)
        else:
            pass_f64(n, fp, Y, w, p, q, total)


cdef inline void first_pass(ptrdiff_t n, ptrdiff_t fp, bint half, ptrdiff_t known, ptrdiff_t ahead,
                            const floating **Y, const uint16_t **narrow, floating *wide, const floating *w,
                            const floating *t, const floating *p, floating *q, floating *b,
                            double *total, double *total_b, floating *packed) noexcept nogil:
    """The same, and total_b += Y^T t, over rows wherever they are, or of float16; they are copied to `packed`."""
    cdef source_f32 singles
    cdef source_f64 doubles
    if floating is float:
        singles = source_f32(Y, narrow, wide)
        first_pass_f32(n, fp, half, known, ahead, &singles, w, t, p, q, b, total, total_b, packed)
    else:
        doubles = source_f64(Y, NULL, NULL)
        first_pass_f64(n, fp, half, known, ahead, &doubles, w, t, p, q, b, total, total_b, packed)


cdef inline void scale_rows(ptrdiff_t n, ptrdiff_t fp, const floating *Y, const floating *w, const floating *t,
                            floating *Z, floating *b) noexcept nogil:
    """Z = w * Y; b += Y^T t."""
    if floating is float:
        scale_rows_f32(n, fp, Y, w, t, Z, b)
    else:
        scale_rows_f64(n, fp, Y, w, t, Z, b)


cdef inline double dot(ptrdiff_t f, const floating *x, const floating *y) noexcept nogil:
    if floating is float:
        return dot_f32(f, x, y)
    else:
        return dot_f64(f, x, y)


cdef inline double curvature(ptrdiff_t fp, const floating *p, const floating *d, const double *q) noexcept nogil:
    """p . (q + d p)"""
    if floating is float:
        return curvature_f32(fp, p, d, q)
    else:
        return curvature_f64(fp, p, d, q)


cdef inline void precondition(ptrdiff_t f, ptrdiff_t fp, const floating *g, floating lam, floating *d,
                              floating *inverse) noexcept nogil:
    """d = g + lam and its inverse, padded with ones."""
    if floating is float:
        precondition_f32(f, fp, g, lam, d, inverse)
    else:
        precondition_f64(f, fp, g, lam, d, inverse)


cdef inline double begin(ptrdiff_t fp, const double *b, const double *q, const floating *d, const floating *inverse,
                         const floating *x, floating *r, floating *p, double *whole) noexcept nogil:
    """r = b - q - d x; p = r / d; returns r . r / d, and b . b / d in `whole`."""
    if floating is float:
        return begin_f32(fp, b, q, d, inverse, x, r, p, whole)
    else:
        return begin_f64(fp, b, q, d, inverse, x, r, p, whole)


cdef inline double advance(ptrdiff_t fp, double step, const floating *p, const floating *d, const floating *inverse,
                           const double *q, floating *x, floating *r) noexcept nogil:
    """x += step p; r -= step (q + d p); returns r . r / d."""
    if floating is float:
        return advance_f32(fp, step, p, d, inverse, q, x, r)
    else:
        return advance_f64(fp, step, p, d, inverse, q, x, r)


cdef inline double value(ptrdiff_t fp, const double *b, const floating *r, const floating *x) noexcept nogil:
    """-x . (b + r)"""
    if floating is float:
        return value_f32(fp, b, r, x)
    else:
        return value_f64(fp, b, r, x)


cdef inline void redirect(ptrdiff_t fp, double beta, const floating *r, const floating *inverse,
                          floating *p) noexcept nogil:
    """p = r / d + beta p"""
    if floating is float:
        redirect_f32(fp, <float> beta, r, inverse, p)
    else:
        redirect_f64(fp, beta, r, inverse, p)


cdef inline void syrk(ptrdiff_t n, ptrdiff_t size, const floating *Z, const floating *Y, floating *A) noexcept nogil:
    """A += Z^T Y in the upper triangle; n x size, n x size, size x size."""
    if floating is float:
        syrk_f32(n, size, 0, size, Z, Y, A)
    else:
        syrk_f64(n, size, 0, size, Z, Y, A)


cdef inline bint cholesky(ptrdiff_t size, double least, floating *A, floating *inverse, floating *panel) noexcept nogil:
    """A = U^T U in place; False if a pivot is at most `least`."""
    if floating is float:
        return cholesky_f32(size, <float> least, A, inverse, panel)
    else:
        return cholesky_f64(size, least, A, inverse, panel)


cdef inline void cholesky_solve(ptrdiff_t size, const floating *U, const floating *inverse,
                                floating *x) noexcept nogil:
    """U^T U x = b in place."""
    if floating is float:
        cholesky_solve_f32(size, U, inverse, x)
    else:
        cholesky_solve_f64(size, U, inverse, x)


cdef inline double quadratic(ptrdiff_t size, const floating *A, const floating *b, const floating *x) noexcept nogil:
    """x . A x - 2 b . x from the upper triangle of A."""
    if floating is float:
        return quadratic_f32(size, A, b, x)
    else:
        return quadratic_f64(size, A, b, x)


cdef inline void scores(ptrdiff_t f, ptrdiff_t stride, ptrdiff_t width, const floating *q0, const floating *q1,
                        const floating *q2, const floating *q3, const floating *T, floating *out) noexcept nogil:
    """Scores of 4 queries against `width` packed columns."""
    if floating is float:
        scores_f32(f, stride, width, q0, q1, q2, q3, T, out)
    else:
        scores_f64(f, stride, width, q0, q1, q2, q3, T, out)


cdef inline ptrdiff_t next_at_least(ptrdiff_t start, ptrdiff_t width, const floating *values,
                                    floating threshold) noexcept nogil:
    """First position from `start` on whose value reaches the threshold, else `width`."""
    if floating is float:
        return next_at_least_f32(start, width, values, threshold)
    else:
        return next_at_least_f64(start, width, values, threshold)


cdef inline void gather(ptrdiff_t n, ptrdiff_t f, ptrdiff_t fp, const floating *Y, const index_t *indices,
                        ptrdiff_t left, real *packed) noexcept nogil:
    """Copy n rows of Y, prefetching beyond them as far as there are entries: `left`."""
    cdef ptrdiff_t j, k
    cdef const char *ahead
    cdef const floating *y
    for j in range(n):
        if j + AHEAD < left:
            ahead = <const char *> (Y + <ptrdiff_t> indices[j + AHEAD] * f)
            for k in range(0, f * <ptrdiff_t> sizeof(floating), 64):
                ALTERNANT_PREFETCH(ahead + k)
        y = Y + <ptrdiff_t> indices[j] * f
        if (floating is float and real is float) or (floating is double and real is double):
            copy_row(f, y, packed + j * fp)
        else:
            for k in range(f):
                packed[j * fp + k] = <real> y[k]


cdef inline void gather_narrow(ptrdiff_t n, ptrdiff_t f, ptrdiff_t fp, const uint16_t *Y, const index_t *indices,
                               ptrdiff_t left, ptrdiff_t ahead, float *packed) noexcept nogil:
    """The same from rows of float16."""
    cdef ptrdiff_t j, k
    cdef const char *next
    for j in range(n):
        if j + ahead < left:
            next = <const char *> (Y + <ptrdiff_t> indices[j + ahead] * f)
            for k in range(0, 2 * f, 64):
                ALTERNANT_PREFETCH(next + k)
        widen_row_f32(f, Y + <ptrdiff_t> indices[j] * f, packed + j * fp)
