/* Cholesky factors and weighted Gramians of packed rows, for one real type. No include guard: see use_float32.h. */

#define TILE_VECTORS (ALTERNANT_ALIGNMENT / (VL * sizeof(REAL))) /* vectors in 64 bytes */
#define TILE_ROWS (ALTERNANT_TILE_ROWS < LANES ? ALTERNANT_TILE_ROWS : LANES)
#define MAX_TILE_ROWS ALTERNANT_TILE_ROWS

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
            VECTOR sum[MAX_TILE_ROWS][TILE_VECTORS]; /* starting at zero: long rows are summed in two levels */
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

/* Factor the LANES x LANES diagonal block at `start` as U^T U; entries below its diagonal become undefined. */
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

/* Replace rows start to start + LANES of A, right of the factored block, by U^-T A, and store their negatives in the
 * panel. The rows of one column of vectors stay in registers. */
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

/* Solve U^T U x = b in place, in blocks of LANES unknowns that stay in registers. */
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

/* x . A x - 2 b . x from the blocks of A on and right of the diagonal; rows are added in float64. */
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

#undef TILE_VECTORS
#undef TILE_ROWS
#undef MAX_TILE_ROWS
