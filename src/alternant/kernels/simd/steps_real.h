/* What the steps of gradient descent share, for one real type. No include guard: see use_float32.h.
 *
 * Rows of factors have any length and alignment: whole vectors, then a scalar tail. */

#define GET(pointer) LOOSE(pointer)
#define PUT(pointer) LOOSE_AT(pointer)

/* A constant length lets the compiler unroll the loops and keep a row in registers. */
#define WITH_CONSTANT_LENGTH(f, BODY)                                                                                 \
    do {                                                                                                              \
        if ((f) == 16) { BODY(16); }                                                                                  \
        else if ((f) == 32) { BODY(32); }                                                                             \
        else if ((f) == 64) { BODY(64); }                                                                             \
        else if ((f) == 128) { BODY(128); }                                                                           \
        else { BODY(f); }                                                                                             \
    } while (0)

ALTERNANT_INLINE REAL NAME(row_dot)(const ptrdiff_t f, const REAL *ALTERNANT_RESTRICT x,
                                    const REAL *ALTERNANT_RESTRICT y)
{
    VECTOR s0 = {0}, s1 = {0};
    ptrdiff_t k = 0;
    for (; k + 2 * VL <= f; k += 2 * VL) {
        s0 += GET(x + k) * GET(y + k);
        s1 += GET(x + k + VL) * GET(y + k + VL);
    }
    if (k + VL <= f) {
        s0 += GET(x + k) * GET(y + k);
        k += VL;
    }
    REAL sum = NAME(lane_sum)(s0 + s1);
    for (; k < f; k++) sum += x[k] * y[k];
    return sum;
}

ALTERNANT_INLINE void NAME(fetch)(const ptrdiff_t f, const REAL *row)
{
    ptrdiff_t k;
    for (k = 0; k < f; k += (ptrdiff_t)(ALTERNANT_ALIGNMENT / sizeof(REAL))) ALTERNANT_PREFETCH(row + k);
}

/* One number: v -= rate * gradient / sqrt(sum of squared gradients). */
ALTERNANT_INLINE void NAME(adagrad)(REAL *v, REAL *sum, double rate, double gradient)
{
    *sum += (REAL)(gradient * gradient);
    *v -= (REAL)(rate * gradient / sqrt((double)*sum));
}
