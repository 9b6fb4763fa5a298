/* Conjugate gradients on packed rows, for one real type. No include guard: see use_float32.h. */

/* q += sum_j w_j (y_j . p) y_j over 4 or 8 packed rows. With constant `rows` and `vectors`, the sums of the
 * rows stay in registers, and eight rows share the loads of p and q. */
ALTERNANT_INLINE void NAME(pass_rows)(const int rows, const ptrdiff_t vectors, const REAL *ALTERNANT_RESTRICT Y,
                                      const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT p,
                                      REAL *ALTERNANT_RESTRICT q)
{
    const ptrdiff_t length = vectors * VL;
    VECTOR s[8] = {{0}};
    REAL c[8] ALTERNANT_ALIGNED;
    ptrdiff_t k;
    int r;
    for (k = 0; k < length; k += VL) {
        const VECTOR pk = CAT(p + k);
        ALTERNANT_UNROLL
        for (r = 0; r < rows; r++) s[r] += CAT(Y + r * length + k) * pk;
    }
    NAME(row_sums)(rows, s, c);
    ALTERNANT_UNROLL
    for (r = 0; r < rows; r++) c[r] *= w[r];
    for (k = 0; k < length; k += VL) {
        VECTOR sum = AT(q + k), other = {0}; /* two independent chains of additions */
        ALTERNANT_UNROLL
        for (r = 0; r < rows; r += 2) {
            sum += CAT(Y + r * length + k) * c[r];
            other += CAT(Y + (r + 1) * length + k) * c[r + 1];
        }
        AT(q + k) = sum + other;
    }
}

/* The same over n rows. */
ALTERNANT_INLINE void NAME(pass_vectors)(const ptrdiff_t vectors, ptrdiff_t n, const REAL *ALTERNANT_RESTRICT Y,
                                         const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT p,
                                         REAL *ALTERNANT_RESTRICT q)
{
    const ptrdiff_t length = vectors * VL;
    ptrdiff_t j = 0, k;
    for (; j + 8 <= n; j += 8) NAME(pass_rows)(8, vectors, Y + j * length, w + j, p, q);
    if (j + 4 <= n) {
        NAME(pass_rows)(4, vectors, Y + j * length, w + j, p, q);
        j += 4;
    }
    for (; j < n; j++) {
        const REAL *y = Y + j * length;
        VECTOR s = {0};
        for (k = 0; k < length; k += VL) s += CAT(y + k) * CAT(p + k);
        const REAL c = w[j] * NAME(lane_sum)(s);
        for (k = 0; k < length; k += VL) AT(q + k) += CAT(y + k) * c;
    }
}

/* total += Y^T (w * (Y p)) over packed rows; q is scratch of fp numbers. */
ALTERNANT_FUNCTION void NAME(pass)(ptrdiff_t n, ptrdiff_t fp, const REAL *ALTERNANT_RESTRICT Y,
                                   const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT p,
                                   REAL *ALTERNANT_RESTRICT q, double *ALTERNANT_RESTRICT total)
{
    const ptrdiff_t chunk = 64; /* rows summed in REAL before they are added to the float64 total */
    ptrdiff_t j, k;
    for (j = 0; j < n; j += chunk) {
        const ptrdiff_t rows = n - j < chunk ? n - j : chunk;
        const REAL *y = Y + j * fp, *v = w + j;
        memset(q, 0, fp * sizeof(REAL));
        /* A constant length lets the compiler unroll the loops, and keep p and q of short rows in registers. */
        if (fp == VL) NAME(pass_vectors)(1, rows, y, v, p, q);
        else if (fp == 2 * VL) NAME(pass_vectors)(2, rows, y, v, p, q);
        else if (fp == 4 * VL) NAME(pass_vectors)(4, rows, y, v, p, q);
        else if (fp == 8 * VL) NAME(pass_vectors)(8, rows, y, v, p, q);
        else NAME(pass_vectors)(fp / VL, rows, y, v, p, q);
        for (k = 0; k < fp; k++) total[k] += q[k];
    }
}

/* Update one vector of the sums of `first_rows`; the vectors of the rows are returned in `column`. */
ALTERNANT_INLINE void NAME(first_column)(const int rows, const REAL **y, const REAL *c, const REAL *u, REAL *q, REAL *b,
                                         const ptrdiff_t k, VECTOR *column)
{
    VECTOR sum = AT(q + k), sum_b = AT(b + k);
    int r;
    ALTERNANT_UNROLL
    for (r = 0; r < rows; r++) {
        column[r] = LOOSE(y[r] + k);
        sum += column[r] * c[r];
        sum_b += column[r] * u[r];
    }
    AT(q + k) = sum;
    AT(b + k) = sum_b;
}

/* Rows read in the first pass: of REAL, at any address, or of float16. */
typedef struct {
    const REAL **rows;
    const uint16_t **f16; /* of float16, or NULL */
    REAL *wide;              /* scratch for four rows of REAL */
} NAME(source);

/* q += sum_j w_j (y_j . p) y_j and b += sum_j t_j y_j over 1 or 4 rows from `j` on. Each row is loaded only twice for
 * this and for its copy in `packed` (bfloat16 if `bf16`). Meanwhile, rows from `next` on are prefetched. */
ALTERNANT_INLINE void NAME(first_rows)(const int rows, const ptrdiff_t vectors, const int bf16, const int f16,
                                       const NAME(source) *Y, ptrdiff_t j, ptrdiff_t next, const REAL *w,
                                       const REAL *t, const REAL *p, REAL *q, REAL *b, REAL *packed)
{
    const ptrdiff_t length = vectors * VL, step = bf16 ? 2 * VL : VL;
    const ptrdiff_t line = f16 ? 2 * LANES : LANES, width = f16 ? 2 : REAL_BYTES; /* numbers in 64 bytes; itemsize */
    VECTOR s[4] = {{0}}, column[4], right[4];
    REAL c[4] ALTERNANT_ALIGNED, u[4]; /* like y, local: stores to `packed` cannot alias them */
    REAL *const wide = bf16 ? Y->wide : packed;
    const REAL *y[4];
    const uint16_t *half[4]; /* only used for float32 */
    const char *z[4];
    ptrdiff_t k;
    int r;
    (void)half;
    ALTERNANT_UNROLL
    for (r = 0; r < rows; r++) {
        y[r] = f16 ? wide + r * length : Y->rows[j + r];
        z[r] = f16 ? (const char *)Y->f16[next + r] : (const char *)Y->rows[next + r];
        half[r] = f16 ? Y->f16[j + r] : NULL;
    }
    /* Unaligned rows extend into one more cache line. (Longer rows are left to the hardware prefetcher.) */
    if (f16 && ((uintptr_t)z[0] | (uintptr_t)z[rows - 1]) % 64 != 0) {
        ALTERNANT_UNROLL
        for (r = 0; r < rows; r++) ALTERNANT_PREFETCH(z[r] + length * width - 1);
    }
    for (k = 0; k < length; k += VL) {
        const VECTOR pk = CAT(p + k);
        if (k % line == 0) {
            ALTERNANT_UNROLL
            for (r = 0; r < rows; r += 2) ALTERNANT_PREFETCH(z[r] + k * width);
        }
        ALTERNANT_UNROLL
        for (r = 0; r < rows; r++) {
#ifdef REAL_IS_FLOAT32
            if (f16) {
                const VECTOR yk = vector_from_f16(half[r] + k);
                AT(wide + r * length + k) = yk;
                s[r] += yk * pk;
                continue;
            }
#endif
            s[r] += LOOSE(y[r] + k) * pk;
        }
    }
    if (rows == 1) c[0] = NAME(lane_sum)(s[0]);
    else NAME(row_sums)(rows, s, c);
    ALTERNANT_UNROLL
    for (r = 0; r < rows; r++) {
        c[r] *= w[j + r];
        u[r] = t[j + r];
    }
    for (k = 0; k < length; k += step) {
        if (k % line == 0) {
            ALTERNANT_UNROLL
            for (r = 1; r < rows; r += 2) {
                ALTERNANT_PREFETCH(z[r] + k * width);
                if (step > line) ALTERNANT_PREFETCH(z[r] + (k + VL) * width);
            }
        }
        NAME(first_column)(rows, y, c, u, q, b, k, column);
#ifdef REAL_IS_FLOAT32
        if (bf16) {
            NAME(first_column)(rows, y, c, u, q, b, k + VL, right);
            ALTERNANT_UNROLL
            for (r = 0; r < rows; r++)
                *(words_t *)(packed + (r * length + k) / 2) = NAME(pack_bf16)(column[r], right[r]);
            continue;
        }
#else
        (void)right;
#endif
        if (f16) continue; /* already stored */
        ALTERNANT_UNROLL
        for (r = 0; r < rows; r++) AT(packed + r * length + k) = column[r];
    }
}

/* The same over the first n of `known` rows, prefetching `ahead` rows ahead. */
ALTERNANT_INLINE void NAME(first_vectors)(const ptrdiff_t vectors, const int bf16, const int f16, ptrdiff_t n,
                                          ptrdiff_t known, ptrdiff_t ahead, const NAME(source) *Y, const REAL *w,
                                          const REAL *t, const REAL *p, REAL *q, REAL *b, REAL *packed)
{
    const ptrdiff_t stride = bf16 ? vectors * VL / 2 : vectors * VL;
    ptrdiff_t j = 0;
    for (; j + 4 <= n; j += 4) {
        const ptrdiff_t next = j + ahead + 4 <= known ? j + ahead : j;
        NAME(first_rows)(4, vectors, bf16, f16, Y, j, next, w, t, p, q, b, packed + j * stride);
    }
    for (; j < n; j++) {
        const ptrdiff_t next = j + ahead < known ? j + ahead : j;
        NAME(first_rows)(1, vectors, bf16, f16, Y, j, next, w, t, p, q, b, packed + j * stride);
    }
}

/* total += Y^T (w * (Y p)) and total_b += Y^T t over few enough rows to sum them in REAL; q, b are scratch. */
ALTERNANT_FUNCTION void NAME(first_pass)(ptrdiff_t n, ptrdiff_t fp, int bf16, ptrdiff_t known, ptrdiff_t ahead,
                                         const NAME(source) *Y, const REAL *w, const REAL *t, const REAL *p, REAL *q,
                                         REAL *b, double *ALTERNANT_RESTRICT total,
                                         double *ALTERNANT_RESTRICT total_b, REAL *packed)
{
    const int f16 = REAL_BYTES == 4 && Y->f16 != NULL;
    ptrdiff_t k;
    memset(q, 0, fp * sizeof(REAL));
    memset(b, 0, fp * sizeof(REAL));
#define FIRST(vectors, bf16, f16)                                                                                  \
    NAME(first_vectors)(vectors, bf16, f16, n, known, ahead, Y, w, t, p, q, b, packed)
    if (bf16 && f16) FIRST(fp / VL, 1, 1);
    else if (f16 && fp == 8 * VL) FIRST(8, 0, 1);
    else if (f16) FIRST(fp / VL, 0, 1);
    else if (bf16 && fp == 8 * VL) FIRST(8, 1, 0);
    else if (bf16) FIRST(fp / VL, 1, 0);
    else if (fp == VL) FIRST(1, 0, 0);
    else if (fp == 2 * VL) FIRST(2, 0, 0);
    else if (fp == 4 * VL) FIRST(4, 0, 0);
    else if (fp == 8 * VL) FIRST(8, 0, 0);
    else FIRST(fp / VL, 0, 0);
#undef FIRST
    for (k = 0; k < fp; k++) {
        total[k] += q[k];
        total_b[k] += b[k];
    }
}

/* d = g + lambda and its inverse; ones in the padding. */
ALTERNANT_INLINE void NAME(precondition)(ptrdiff_t f, ptrdiff_t fp, const REAL *ALTERNANT_RESTRICT g, REAL lambda,
                                         REAL *ALTERNANT_RESTRICT d, REAL *ALTERNANT_RESTRICT inverse)
{
    ptrdiff_t k;
    for (k = 0; k < f; k++) d[k] = g[k] + lambda;
    for (k = f; k < fp; k++) d[k] = 1;
    for (k = 0; k < fp; k++) inverse[k] = 1 / d[k];
}

/* Start conjugate gradients from q = A x - d x: r = b - A x, p = r / d; returns r . r / d, and b . b / d in *whole. */
ALTERNANT_INLINE double NAME(begin)(ptrdiff_t fp, const double *ALTERNANT_RESTRICT b,
                                    const double *ALTERNANT_RESTRICT q, const REAL *ALTERNANT_RESTRICT d,
                                    const REAL *ALTERNANT_RESTRICT inverse, const REAL *ALTERNANT_RESTRICT x,
                                    REAL *ALTERNANT_RESTRICT r, REAL *ALTERNANT_RESTRICT p, double *whole)
{
    double sum = 0, sum_b = 0;
    ptrdiff_t k;
    ALTERNANT_SIMD_SUM(sum, sum_b)
    for (k = 0; k < fp; k++) {
        const REAL rk = (REAL)(b[k] - q[k] - (double)d[k] * x[k]);
        r[k] = rk;
        p[k] = rk * inverse[k];
        sum += (double)rk * rk * inverse[k];
        sum_b += b[k] * b[k] * inverse[k];
    }
    *whole = sum_b;
    return sum;
}

/* The curvature p . A p along the direction p, from q = A p - d p. */
ALTERNANT_INLINE double NAME(curvature)(ptrdiff_t fp, const REAL *ALTERNANT_RESTRICT p,
                                        const REAL *ALTERNANT_RESTRICT d, const double *ALTERNANT_RESTRICT q)
{
    double sum = 0;
    ptrdiff_t k;
    ALTERNANT_SIMD_SUM(sum)
    for (k = 0; k < fp; k++) sum += p[k] * (q[k] + (double)d[k] * p[k]);
    return sum;
}

/* x += step p, r -= step A p; returns the new r . r / d. */
ALTERNANT_INLINE double NAME(advance)(ptrdiff_t fp, double step, const REAL *ALTERNANT_RESTRICT p,
                                      const REAL *ALTERNANT_RESTRICT d, const REAL *ALTERNANT_RESTRICT inverse,
                                      const double *ALTERNANT_RESTRICT q, REAL *ALTERNANT_RESTRICT x,
                                      REAL *ALTERNANT_RESTRICT r)
{
    double sum = 0;
    ptrdiff_t k;
    ALTERNANT_SIMD_SUM(sum)
    for (k = 0; k < fp; k++) {
        const REAL rk = (REAL)(r[k] - step * (q[k] + (double)d[k] * p[k]));
        x[k] += (REAL)step * p[k];
        r[k] = rk;
        sum += (double)rk * rk * inverse[k];
    }
    return sum;
}

/* p = r / d + beta p */
ALTERNANT_INLINE void NAME(redirect)(ptrdiff_t fp, REAL beta, const REAL *ALTERNANT_RESTRICT r,
                                     const REAL *ALTERNANT_RESTRICT inverse, REAL *ALTERNANT_RESTRICT p)
{
    ptrdiff_t k;
    for (k = 0; k < fp; k++) p[k] = r[k] * inverse[k] + beta * p[k];
}

/* x . A x - 2 b . x = -x . (b + r), as A x = b - r. */
ALTERNANT_INLINE double NAME(value)(ptrdiff_t fp, const double *ALTERNANT_RESTRICT b,
                                    const REAL *ALTERNANT_RESTRICT r, const REAL *ALTERNANT_RESTRICT x)
{
    double sum = 0;
    ptrdiff_t k;
    ALTERNANT_SIMD_SUM(sum)
    for (k = 0; k < fp; k++) sum += x[k] * (b[k] + r[k]);
    return -sum;
}
