/* Passes over rows of float32 that are packed as bfloat16. No include guard: see use_float32.h. */

/* Pack two vectors into one, each number rounded to its upper 16 bits (bfloat16: 8 significant bits and the full
 * exponent), and unpack them. */
ALTERNANT_INLINE words_t NAME(pack_bf16)(VECTOR left, VECTOR right)
{
    words_t a, b;
    memcpy(&a, &left, sizeof a);
    memcpy(&b, &right, sizeof b);
    return (a + 0x8000u) >> 16 | ((b + 0x8000u) & 0xffff0000u);
}

ALTERNANT_INLINE VECTOR NAME(left_bf16)(words_t both)
{
    VECTOR v;
    both <<= 16;
    memcpy(&v, &both, sizeof v);
    return v;
}

ALTERNANT_INLINE VECTOR NAME(right_bf16)(words_t both)
{
    VECTOR v;
    both &= 0xffff0000u;
    memcpy(&v, &both, sizeof v);
    return v;
}

/* q += sum_j w_j (y_j . p) y_j over 1, 4 or 8 rows packed as bfloat16. */
ALTERNANT_INLINE void NAME(bf16_rows)(const int rows, const ptrdiff_t vectors, const REAL *ALTERNANT_RESTRICT Y,
                                      const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT p,
                                      REAL *ALTERNANT_RESTRICT q)
{
    const ptrdiff_t length = vectors * VL;
    VECTOR s[8] = {{0}};
    REAL c[8] ALTERNANT_ALIGNED;
    ptrdiff_t k;
    int r;
    for (k = 0; k < length; k += 2 * VL) {
        const VECTOR left = CAT(p + k), right = CAT(p + k + VL);
        ALTERNANT_UNROLL
        for (r = 0; r < rows; r++) {
            const words_t both = *(const words_t *)(Y + (r * length + k) / 2);
            s[r] += NAME(left_bf16)(both) * left;
            s[r] += NAME(right_bf16)(both) * right;
        }
    }
    if (rows == 1) c[0] = NAME(lane_sum)(s[0]);
    else NAME(row_sums)(rows, s, c);
    ALTERNANT_UNROLL
    for (r = 0; r < rows; r++) c[r] *= w[r];
    for (k = 0; k < length; k += 2 * VL) {
        VECTOR left = AT(q + k), right = AT(q + k + VL);
        ALTERNANT_UNROLL
        for (r = 0; r < rows; r++) {
            const words_t both = *(const words_t *)(Y + (r * length + k) / 2);
            left += NAME(left_bf16)(both) * c[r];
            right += NAME(right_bf16)(both) * c[r];
        }
        AT(q + k) = left;
        AT(q + k + VL) = right;
    }
}

ALTERNANT_INLINE void NAME(bf16_vectors)(const ptrdiff_t vectors, ptrdiff_t n, const REAL *ALTERNANT_RESTRICT Y,
                                         const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT p,
                                         REAL *ALTERNANT_RESTRICT q)
{
    const ptrdiff_t stride = vectors * VL / 2;
    ptrdiff_t j = 0;
    for (; j + 8 <= n; j += 8) NAME(bf16_rows)(8, vectors, Y + j * stride, w + j, p, q);
    if (j + 4 <= n) {
        NAME(bf16_rows)(4, vectors, Y + j * stride, w + j, p, q);
        j += 4;
    }
    for (; j < n; j++) NAME(bf16_rows)(1, vectors, Y + j * stride, w + j, p, q);
}

/* Whether rows can be packed as bfloat16. */
ALTERNANT_INLINE int NAME(fits_bf16)(ptrdiff_t fp)
{
    return fp % (2 * VL) == 0;
}

/* total += Y^T (w * (Y p)) over rows packed as bfloat16; q is scratch of fp numbers. */
ALTERNANT_FUNCTION void NAME(bf16_pass)(ptrdiff_t n, ptrdiff_t fp, const REAL *ALTERNANT_RESTRICT Y,
                                        const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT p,
                                        REAL *ALTERNANT_RESTRICT q, double *ALTERNANT_RESTRICT total)
{
    const ptrdiff_t chunk = 64; /* as in pass */
    ptrdiff_t j, k;
    for (j = 0; j < n; j += chunk) {
        const ptrdiff_t rows = n - j < chunk ? n - j : chunk;
        const REAL *y = Y + j * fp / 2, *v = w + j;
        memset(q, 0, fp * sizeof(REAL));
        if (fp == 8 * VL) NAME(bf16_vectors)(8, rows, y, v, p, q);
        else NAME(bf16_vectors)(fp / VL, rows, y, v, p, q);
        for (k = 0; k < fp; k++) total[k] += q[k];
    }
}
