/* The operations of _vector.h for one real type: included with REAL and NAME(x) defined. No include guard. */

#define LANES ((ptrdiff_t)(ALTERNANT_ALIGNMENT / sizeof(REAL))) /* row lengths are multiples of this */

#ifdef ALTERNANT_VECTORS
#  define VL ((ptrdiff_t)(ALTERNANT_VECTOR_BYTES / sizeof(REAL)))
typedef REAL NAME(vector) __attribute__((vector_size(ALTERNANT_VECTOR_BYTES), may_alias));
typedef REAL NAME(loose) __attribute__((vector_size(ALTERNANT_VECTOR_BYTES), may_alias, aligned(REAL_BYTES)));
#else
#  define VL ((ptrdiff_t)1)
typedef REAL NAME(vector);
typedef REAL NAME(loose);
#endif
#define VECTOR NAME(vector)
#define TILE_VECTORS (ALTERNANT_ALIGNMENT / (VL * sizeof(REAL))) /* vectors in 64 bytes */
#define TILE_ROWS (ALTERNANT_TILE_ROWS < LANES ? ALTERNANT_TILE_ROWS : LANES)
#define MAX_TILE_ROWS ALTERNANT_TILE_ROWS
#define AT(pointer) (*(VECTOR *)(pointer))
#define CAT(pointer) (*(const VECTOR *)(pointer))
#define LOOSE(pointer) (*(const NAME(loose) *)(pointer)) /* of any alignment */

/* The sum of a vector's lanes, halving: an order fixed at compile time. */
ALTERNANT_INLINE REAL NAME(lane_sum)(VECTOR v)
{
#if defined(ALTERNANT_VECTORS) && defined(ALTERNANT_SWAP)
    /* In registers; through memory, as below, it takes three times as long. */
#  if ALTERNANT_VECTOR_BYTES == 16 * REAL_BYTES
    v += ALTERNANT_SWAP(16, v, 8);
    v += ALTERNANT_SWAP(16, v, 4);
    v += ALTERNANT_SWAP(16, v, 2);
#  elif ALTERNANT_VECTOR_BYTES == 8 * REAL_BYTES
    v += ALTERNANT_SWAP(8, v, 4);
    v += ALTERNANT_SWAP(8, v, 2);
#  elif ALTERNANT_VECTOR_BYTES == 4 * REAL_BYTES
    v += ALTERNANT_SWAP(4, v, 2);
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
    for (; k + VL <= f; k += VL) AT(row + k) = LOOSE(source + k);
    for (; k < f; k++) row[k] = source[k];
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

#include "_half_real.h"
#include "_cg_real.h"

#undef LANES
#undef VL
#undef VECTOR
#undef TILE_VECTORS
#undef TILE_ROWS
#undef MAX_TILE_ROWS
#undef AT
#undef CAT
#undef LOOSE
#undef HALVES
#undef WORDS
