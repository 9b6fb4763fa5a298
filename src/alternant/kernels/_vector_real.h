/* The operations of _vector.h for one real type: included with REAL and NAME(x) defined. No include guard. */

#define LANES ((ptrdiff_t)(ALTERNANT_ALIGNMENT / sizeof(REAL))) /* row lengths are multiples of this */

#ifdef ALTERNANT_VECTORS
#  define VL ((ptrdiff_t)(ALTERNANT_VECTOR_BYTES / sizeof(REAL)))
typedef REAL NAME(vector) __attribute__((vector_size(ALTERNANT_VECTOR_BYTES), may_alias));
#else
#  define VL ((ptrdiff_t)1)
typedef REAL NAME(vector);
#endif
#define VECTOR NAME(vector)
#define TILE_VECTORS (ALTERNANT_ALIGNMENT / (VL * sizeof(REAL))) /* vectors in 64 bytes */
#define TILE_ROWS (ALTERNANT_TILE_ROWS < LANES ? ALTERNANT_TILE_ROWS : LANES)
#define MAX_TILE_ROWS ALTERNANT_TILE_ROWS
#define AT(pointer) (*(VECTOR *)(pointer))
#define CAT(pointer) (*(const VECTOR *)(pointer))

/* The sum of a vector's lanes, halving: an order fixed at compile time. */
ALTERNANT_INLINE REAL NAME(lane_sum)(VECTOR v)
{
#if defined(ALTERNANT_VECTORS) && defined(ALTERNANT_ROTATE)
    /* In registers; through memory, as below, it takes three times as long. */
#  if ALTERNANT_VECTOR_BYTES == 16 * REAL_BYTES
    v += ALTERNANT_ROTATE(16, v, 8);
    v += ALTERNANT_ROTATE(16, v, 4);
    v += ALTERNANT_ROTATE(16, v, 2);
#  elif ALTERNANT_VECTOR_BYTES == 8 * REAL_BYTES
    v += ALTERNANT_ROTATE(8, v, 4);
    v += ALTERNANT_ROTATE(8, v, 2);
#  elif ALTERNANT_VECTOR_BYTES == 4 * REAL_BYTES
    v += ALTERNANT_ROTATE(4, v, 2);
#  endif
    return v[0] + v[1];
#elif defined(ALTERNANT_VECTORS)
    REAL lanes[ALTERNANT_VECTOR_BYTES / REAL_BYTES];
    ptrdiff_t half, l;
    memcpy(lanes, &v, sizeof v);
    for (half = VL / 2; half > 0; half /= 2)
        for (l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
#else
    return v;
#endif
}

/* Copy a row of f numbers of any alignment into a padded row. The padding, zero since the allocation, is not touched. */
ALTERNANT_INLINE void NAME(copy_row)(ptrdiff_t f, const REAL *ALTERNANT_RESTRICT source, REAL *ALTERNANT_RESTRICT row)
{
    ptrdiff_t k = 0;
    for (; k + LANES <= f; k += LANES) memcpy(row + k, source + k, ALTERNANT_ALIGNMENT);
    for (; k < f; k++) row[k] = source[k];
}

#ifdef ALTERNANT_LOW
/* Lanes h..2h of every 2h lanes are added to lanes 0..h: a's sums go to the lower lanes, b's to the upper. */
#define FOLD(n, h, a, b)                                                                                              \
    (__builtin_shufflevector(a, b, ALTERNANT_LOW(n, h)) + __builtin_shufflevector(a, b, ALTERNANT_HIGH(n, h)))
#endif

/* The sums of the lanes of `rows` vectors, 4 or 8 of them: folding several at once takes half the instructions. */
ALTERNANT_INLINE void NAME(row_sums)(const int rows, const VECTOR *s, REAL *sums)
{
    int r;
#ifdef ALTERNANT_LOW
    for (r = 0; r < rows; r += 4) {
#  if ALTERNANT_VECTOR_BYTES == 2 * REAL_BYTES
        AT(sums + r) = FOLD(2, 1, s[r], s[r + 1]);
        AT(sums + r + 2) = FOLD(2, 1, s[r + 2], s[r + 3]);
#  elif ALTERNANT_VECTOR_BYTES == 4 * REAL_BYTES
        const VECTOR a = FOLD(4, 1, s[r], s[r + 1]), b = FOLD(4, 1, s[r + 2], s[r + 3]);
        AT(sums + r) = FOLD(4, 2, a, b);
#  elif ALTERNANT_VECTOR_BYTES == 8 * REAL_BYTES
        const VECTOR a = FOLD(8, 1, s[r], s[r + 1]), b = FOLD(8, 1, s[r + 2], s[r + 3]);
        const VECTOR c = FOLD(8, 2, a, b);
        const VECTOR d = c + ALTERNANT_ROTATE(8, c, 4);
        memcpy(sums + r, &d, 4 * sizeof(REAL));
#  else
        const VECTOR a = FOLD(16, 1, s[r], s[r + 1]), b = FOLD(16, 1, s[r + 2], s[r + 3]);
        const VECTOR c = FOLD(16, 2, a, b);
        const VECTOR d = c + ALTERNANT_ROTATE(16, c, 8);
        const VECTOR e = d + ALTERNANT_ROTATE(16, d, 4);
        memcpy(sums + r, &e, 4 * sizeof(REAL));
#  endif
    }
#else
    for (r = 0; r < rows; r++) sums[r] = NAME(lane_sum)(s[r]);
#endif
}
#undef FOLD

/* q += sum_j w_j (y_j . p) y_j over 4 or 8 packed rows and, unless t is NULL, b += sum_j t_j y_j. Called with constant
 * numbers of rows and vectors, it keeps the rows' sums in registers: eight rows share the loads of p and q. */
ALTERNANT_INLINE void NAME(pass_rows)(const int rows, const ptrdiff_t vectors, const REAL *ALTERNANT_RESTRICT Y,
                                      const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT t,
                                      const REAL *ALTERNANT_RESTRICT p, REAL *ALTERNANT_RESTRICT q,
                                      REAL *ALTERNANT_RESTRICT b)
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
        VECTOR sum = AT(q + k), other = {0}; /* two chains of additions */
        ALTERNANT_UNROLL
        for (r = 0; r < rows; r += 2) {
            sum += CAT(Y + r * length + k) * c[r];
            other += CAT(Y + (r + 1) * length + k) * c[r + 1];
        }
        AT(q + k) = sum + other;
    }
    if (t == NULL) return;
    for (k = 0; k < length; k += VL) {
        VECTOR sum = AT(b + k), other = {0};
        ALTERNANT_UNROLL
        for (r = 0; r < rows; r += 2) {
            sum += CAT(Y + r * length + k) * t[r];
            other += CAT(Y + (r + 1) * length + k) * t[r + 1];
        }
        AT(b + k) = sum + other;
    }
}

/* The same over n rows. */
ALTERNANT_INLINE void NAME(pass_vectors)(const ptrdiff_t vectors, ptrdiff_t n, const REAL *ALTERNANT_RESTRICT Y,
                                         const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT t,
                                         const REAL *ALTERNANT_RESTRICT p, REAL *ALTERNANT_RESTRICT q,
                                         REAL *ALTERNANT_RESTRICT b)
{
    const ptrdiff_t length = vectors * VL;
    ptrdiff_t j = 0, k;
    for (; j + 8 <= n; j += 8)
        NAME(pass_rows)(8, vectors, Y + j * length, w + j, t == NULL ? NULL : t + j, p, q, b);
    if (j + 4 <= n) {
        NAME(pass_rows)(4, vectors, Y + j * length, w + j, t == NULL ? NULL : t + j, p, q, b);
        j += 4;
    }
    for (; j < n; j++) {
        const REAL *y = Y + j * length;
        VECTOR s = {0};
        for (k = 0; k < length; k += VL) s += CAT(y + k) * CAT(p + k);
        const REAL c = w[j] * NAME(lane_sum)(s);
        for (k = 0; k < length; k += VL) AT(q + k) += CAT(y + k) * c;
        if (t != NULL)
            for (k = 0; k < length; k += VL) AT(b + k) += CAT(y + k) * t[j];
    }
}

ALTERNANT_INLINE void NAME(chunk_pass)(ptrdiff_t n, ptrdiff_t fp, const REAL *ALTERNANT_RESTRICT Y,
                                       const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT t,
                                       const REAL *ALTERNANT_RESTRICT p, REAL *ALTERNANT_RESTRICT q,
                                       REAL *ALTERNANT_RESTRICT b)
{
    /* A constant length lets the compiler unroll, and keep p and q of short rows in registers. */
    if (fp == VL) NAME(pass_vectors)(1, n, Y, w, t, p, q, b);
    else if (fp == 2 * VL) NAME(pass_vectors)(2, n, Y, w, t, p, q, b);
    else if (fp == 4 * VL) NAME(pass_vectors)(4, n, Y, w, t, p, q, b);
    else if (fp == 8 * VL) NAME(pass_vectors)(8, n, Y, w, t, p, q, b);
    else NAME(pass_vectors)(fp / VL, n, Y, w, t, p, q, b);
}

/* total += Y^T (w * (Y p)) over packed rows; with t also total_b += Y^T t. q and b are scratch of fp numbers. */
ALTERNANT_FUNCTION void NAME(pass)(ptrdiff_t n, ptrdiff_t fp, const REAL *ALTERNANT_RESTRICT Y,
                                   const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT t,
                                   const REAL *ALTERNANT_RESTRICT p, REAL *ALTERNANT_RESTRICT q,
                                   REAL *ALTERNANT_RESTRICT b, double *ALTERNANT_RESTRICT total,
                                   double *ALTERNANT_RESTRICT total_b)
{
    const ptrdiff_t chunk = 64; /* rows summed in REAL before the float64 total takes over */
    ptrdiff_t j, k;
    for (j = 0; j < n; j += chunk) {
        const ptrdiff_t rows = n - j < chunk ? n - j : chunk;
        memset(q, 0, fp * sizeof(REAL));
        if (t != NULL) {
            memset(b, 0, fp * sizeof(REAL));
            NAME(chunk_pass)(rows, fp, Y + j * fp, w + j, t + j, p, q, b);
            for (k = 0; k < fp; k++) total_b[k] += b[k];
        } else {
            NAME(chunk_pass)(rows, fp, Y + j * fp, w + j, NULL, p, q, b);
        }
        for (k = 0; k < fp; k++) total[k] += q[k];
    }
}

/* Z_j = w_j y_j and b += sum_j t_j y_j over packed rows. */
ALTERNANT_INLINE void NAME(scale_rows)(ptrdiff_t n, ptrdiff_t fp, const REAL *ALTERNANT_RESTRICT Y,
                                       const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT t,
                                       REAL *ALTERNANT_RESTRICT Z, REAL *ALTERNANT_RESTRICT b)
{
    ptrdiff_t j, k;
    for (j = 0; j < n; j++)
        for (k = 0; k < fp; k += VL) {
            const VECTOR y = CAT(Y + j * fp + k);
            AT(Z + j * fp + k) = y * w[j];
            AT(b + k) += y * t[j];
        }
}

/* x . y in float64 lanes. */
ALTERNANT_INLINE double NAME(dot)(ptrdiff_t f, const REAL *ALTERNANT_RESTRICT x, const REAL *ALTERNANT_RESTRICT y)
{
    double sum = 0;
    ptrdiff_t k;
    ALTERNANT_SIMD_SUM(sum)
    for (k = 0; k < f; k++) sum += (double)x[k] * y[k];
    return sum;
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

/* Begin conjugate gradients, q = A x - d x: r = b - A x, p = r / d; returns r . r / d, and b . b / d. */
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

/* One step of conjugate gradients along p, q = A p - d p: the curvature p . A p. */
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

/* A[i, c] += sum_j Z[j, i] Y[j, c] for the 64-byte column blocks on and right of the diagonal, rows i >= first.
 * Z and Y are n x size, A is size x size, all with rows of `stride` numbers. The accumulators stay in registers. */
ALTERNANT_FUNCTION void NAME(syrk)(ptrdiff_t n, ptrdiff_t stride, ptrdiff_t first, ptrdiff_t size,
                                   const REAL *ALTERNANT_RESTRICT Z, const REAL *ALTERNANT_RESTRICT Y,
                                   REAL *ALTERNANT_RESTRICT A)
{
    ptrdiff_t i, c, j;
    int a, v;
    for (i = first; i < size; i += TILE_ROWS)
        for (c = i - i % LANES; c < size; c += LANES) {
            VECTOR sum[MAX_TILE_ROWS][TILE_VECTORS]; /* from zero: long rows are summed in two levels */
            ALTERNANT_UNROLL
            for (a = 0; a < TILE_ROWS; a++)
                ALTERNANT_UNROLL
                for (v = 0; v < (int)TILE_VECTORS; v++) sum[a][v] = (VECTOR){0};
            for (j = 0; j < n; j++) {
                const REAL *z = Z + j * stride + i, *y = Y + j * stride + c;
                ALTERNANT_UNROLL
                for (v = 0; v < (int)TILE_VECTORS; v++) {
                    const VECTOR yv = CAT(y + v * VL);
                    ALTERNANT_UNROLL
                    for (a = 0; a < TILE_ROWS; a++) sum[a][v] += z[a] * yv;
                }
            }
            ALTERNANT_UNROLL
            for (a = 0; a < TILE_ROWS; a++)
                ALTERNANT_UNROLL
                for (v = 0; v < (int)TILE_VECTORS; v++) AT(A + (i + a) * stride + c + v * VL) += sum[a][v];
        }
}

/* Factor the LANES x LANES diagonal block at `start` as U^T U; below its diagonal it is left undefined. */
ALTERNANT_INLINE int NAME(cholesky_block)(ptrdiff_t size, ptrdiff_t start, REAL least, REAL *ALTERNANT_RESTRICT A,
                                          REAL *ALTERNANT_RESTRICT inverse)
{
    ptrdiff_t k, i, c;
    REAL *block = A + start * size + start;
    for (k = 0; k < LANES; k++) {
        REAL *row = block + k * size;
        const REAL pivot = row[k];
        if (!(pivot > least)) return 0;
        const REAL scale = 1 / (REAL)sqrt(pivot);
        inverse[start + k] = scale;
        for (c = 0; c < LANES; c += VL) AT(row + c) *= scale;
        for (i = k + 1; i < LANES; i++) {
            const REAL factor = row[i];
            for (c = 0; c < LANES; c += VL) AT(block + i * size + c) -= factor * CAT(row + c);
        }
    }
    return 1;
}

/* Rows start to start + LANES of A, right of the factored block, become U^-T A, and their negative goes to the panel.
 * The rows of one column of vectors stay in registers. */
ALTERNANT_INLINE void NAME(cholesky_rows)(ptrdiff_t size, ptrdiff_t start, REAL *ALTERNANT_RESTRICT A,
                                          const REAL *ALTERNANT_RESTRICT inverse, REAL *ALTERNANT_RESTRICT panel)
{
    ptrdiff_t c;
    int k, i;
    for (c = start + LANES; c < size; c += VL) {
        VECTOR row[ALTERNANT_ALIGNMENT / sizeof(REAL)];
        ALTERNANT_UNROLL
        for (k = 0; k < (int)LANES; k++) row[k] = CAT(A + (start + k) * size + c);
        ALTERNANT_UNROLL
        for (k = 0; k < (int)LANES; k++) {
            row[k] *= inverse[start + k];
            ALTERNANT_UNROLL
            for (i = k + 1; i < (int)LANES; i++) row[i] -= A[(start + k) * size + start + i] * row[k];
        }
        ALTERNANT_UNROLL
        for (k = 0; k < (int)LANES; k++) {
            AT(A + (start + k) * size + c) = row[k];
            AT(panel + k * size + c) = -row[k];
        }
    }
}

/* A = U^T U in the upper triangle, in place, by panels of LANES rows; the trailing update is syrk with the panel.
 * inverse[k] = 1 / U[k, k]; panel is scratch of LANES rows. Returns 0 if a pivot is at most `least`. */
ALTERNANT_FUNCTION int NAME(cholesky)(ptrdiff_t size, REAL least, REAL *A, REAL *inverse, REAL *panel)
{
    ptrdiff_t start;
    for (start = 0; start < size; start += LANES) {
        if (!NAME(cholesky_block)(size, start, least, A, inverse)) return 0;
        NAME(cholesky_rows)(size, start, A, inverse, panel);
        NAME(syrk)(LANES, size, start + LANES, size, panel, A + start * size, A);
    }
    return 1;
}

/* Solve U^T U x = b in place, a block of LANES unknowns at a time, which stay in registers. */
ALTERNANT_FUNCTION void NAME(cholesky_solve)(ptrdiff_t size, const REAL *ALTERNANT_RESTRICT U,
                                             const REAL *ALTERNANT_RESTRICT inverse, REAL *ALTERNANT_RESTRICT x)
{
    REAL z[ALTERNANT_ALIGNMENT / sizeof(REAL)];
    ptrdiff_t start, c;
    int k, i;
    for (start = 0; start < size; start += LANES) { /* U^T z = b */
        const REAL *rows = U + start * size;
        ALTERNANT_UNROLL
        for (k = 0; k < (int)LANES; k++) z[k] = x[start + k];
        ALTERNANT_UNROLL
        for (k = 0; k < (int)LANES; k++) {
            z[k] *= inverse[start + k];
            ALTERNANT_UNROLL
            for (i = k + 1; i < (int)LANES; i++) z[i] -= rows[k * size + start + i] * z[k];
        }
        for (c = start + LANES; c < size; c += VL) {
            VECTOR rest = CAT(x + c);
            ALTERNANT_UNROLL
            for (k = 0; k < (int)LANES; k++) rest -= z[k] * CAT(rows + k * size + c);
            AT(x + c) = rest;
        }
        ALTERNANT_UNROLL
        for (k = 0; k < (int)LANES; k++) x[start + k] = z[k];
    }
    for (start = size - LANES; start >= 0; start -= LANES) { /* U x = z */
        const REAL *rows = U + start * size;
        for (k = 0; k < (int)LANES; k++) {
            VECTOR sum = {0};
            for (c = start + LANES; c < size; c += VL) sum += CAT(rows + k * size + c) * CAT(x + c);
            z[k] = x[start + k] - NAME(lane_sum)(sum);
        }
        ALTERNANT_UNROLL
        for (k = (int)LANES - 1; k >= 0; k--) {
            z[k] *= inverse[start + k];
            ALTERNANT_UNROLL
            for (i = 0; i < k; i++) z[i] -= rows[i * size + start + k] * z[k];
        }
        ALTERNANT_UNROLL
        for (k = 0; k < (int)LANES; k++) x[start + k] = z[k];
    }
}

/* x . A x - 2 b . x from the blocks of A on and right of the diagonal; summed up in float64. */
ALTERNANT_FUNCTION double NAME(quadratic)(ptrdiff_t size, const REAL *ALTERNANT_RESTRICT A,
                                          const REAL *ALTERNANT_RESTRICT b, const REAL *ALTERNANT_RESTRICT x)
{
    double total = 0;
    ptrdiff_t i, c;
    for (i = 0; i < size; i++) {
        const REAL *row = A + i * size;
        const ptrdiff_t right = i - i % LANES + LANES;
        VECTOR block = {0}, rest = {0};
        for (c = right - LANES; c < right; c += VL) block += CAT(row + c) * CAT(x + c);
        for (c = right; c < size; c += VL) rest += CAT(row + c) * CAT(x + c);
        total += x[i] * ((double)NAME(lane_sum)(block + rest + rest) - 2 * (double)b[i]);
    }
    return total;
}

/* out[q, c] = sum_k q[k] T[k, c] for 4 queries and `width` packed columns (a multiple of 64): the sum runs over k in
 * order, so that the bits of a score depend on nothing but its query and its item. */
ALTERNANT_FUNCTION void NAME(scores)(ptrdiff_t f, ptrdiff_t stride, ptrdiff_t width,
                                     const REAL *ALTERNANT_RESTRICT q0, const REAL *ALTERNANT_RESTRICT q1,
                                     const REAL *ALTERNANT_RESTRICT q2, const REAL *ALTERNANT_RESTRICT q3,
                                     const REAL *ALTERNANT_RESTRICT T, REAL *ALTERNANT_RESTRICT out)
{
    ptrdiff_t c, k;
    for (c = 0; c < width; c += 2 * VL) {
        VECTOR a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0}, b0 = {0}, b1 = {0}, b2 = {0}, b3 = {0};
        for (k = 0; k < f; k++) {
            const VECTOR a = CAT(T + k * stride + c), b = CAT(T + k * stride + c + VL);
            a0 += q0[k] * a;
            a1 += q1[k] * a;
            a2 += q2[k] * a;
            a3 += q3[k] * a;
            b0 += q0[k] * b;
            b1 += q1[k] * b;
            b2 += q2[k] * b;
            b3 += q3[k] * b;
        }
        AT(out + c) = a0;
        AT(out + c + VL) = b0;
        AT(out + stride + c) = a1;
        AT(out + stride + c + VL) = b1;
        AT(out + 2 * stride + c) = a2;
        AT(out + 2 * stride + c + VL) = b2;
        AT(out + 3 * stride + c) = a3;
        AT(out + 3 * stride + c + VL) = b3;
    }
}

/* The first c >= start with values[c] >= threshold, or width. A NaN is never found. */
ALTERNANT_INLINE ptrdiff_t NAME(next_at_least)(ptrdiff_t start, ptrdiff_t width, const REAL *values, REAL threshold)
{
    ptrdiff_t c = start, l;
    for (; c < width && c % LANES; c++)
        if (values[c] >= threshold) return c;
    for (; c + LANES <= width; c += LANES) {
        int any = 0;
        for (l = 0; l < LANES; l++) any |= values[c + l] >= threshold;
        if (any) break;
    }
    for (; c < width; c++)
        if (values[c] >= threshold) return c;
    return width;
}

#undef LANES
#undef VL
#undef VECTOR
#undef TILE_VECTORS
#undef TILE_ROWS
#undef MAX_TILE_ROWS
#undef AT
#undef CAT
