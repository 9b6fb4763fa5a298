/* Scores of queries and items, for one real type. No include guard: see use_float32.h.
 *
 * A score is a single sum in the order of the factors, with FMA on levels that have it, so that identical items tie
 * exactly, wherever they are stored and in whichever of these functions. */

/* q y + s. By itself, GCC would also compute vectors of products first, and add them without fusing. */
#if defined(ALTERNANT_FMA) && defined(REAL_IS_FLOAT32)
#  define FUSE(q, y, s) __builtin_fmaf(q, y, s)
#elif defined(ALTERNANT_FMA)
#  define FUSE(q, y, s) __builtin_fma(q, y, s)
#else
#  define FUSE(q, y, s) ((s) + (q) * (y))
#endif

/* The same in every lane. */
ALTERNANT_INLINE VECTOR NAME(fuse)(REAL q, VECTOR y, VECTOR s)
{
#if defined(ALTERNANT_VECTORS) && defined(ALTERNANT_FMA) && defined(__AVX512F__)
#  ifdef REAL_IS_FLOAT32
    return (VECTOR)_mm512_fmadd_ps(_mm512_set1_ps(q), (__m512)y, (__m512)s);
#  else
    return (VECTOR)_mm512_fmadd_pd(_mm512_set1_pd(q), (__m512d)y, (__m512d)s);
#  endif
#elif defined(ALTERNANT_VECTORS) && defined(ALTERNANT_FMA) && defined(__AVX2__)
#  ifdef REAL_IS_FLOAT32
    return (VECTOR)_mm256_fmadd_ps(_mm256_set1_ps(q), (__m256)y, (__m256)s);
#  else
    return (VECTOR)_mm256_fmadd_pd(_mm256_set1_pd(q), (__m256d)y, (__m256d)s);
#  endif
#elif defined(ALTERNANT_VECTORS) && defined(ALTERNANT_FMA) && defined(__aarch64__)
#  ifdef REAL_IS_FLOAT32
    return (VECTOR)vfmaq_n_f32((float32x4_t)s, (float32x4_t)y, q);
#  else
    return (VECTOR)vfmaq_n_f64((float64x2_t)s, (float64x2_t)y, q);
#  endif
#elif !defined(ALTERNANT_VECTORS)
    return FUSE(q, y, s);
#else
    return s + q * y; /* levels without the instruction cannot fuse */
#endif
}

/* out[q, c] = sum_k q[k] T[k, c] for 4 queries and `width` packed columns (a multiple of 64): the sum runs over k in
 * order, so that a score depends only on its query and its item, to the last bit. */
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
            a0 = NAME(fuse)(q0[k], a, a0);
            a1 = NAME(fuse)(q1[k], a, a1);
            a2 = NAME(fuse)(q2[k], a, a2);
            a3 = NAME(fuse)(q3[k], a, a3);
            b0 = NAME(fuse)(q0[k], b, b0);
            b1 = NAME(fuse)(q1[k], b, b1);
            b2 = NAME(fuse)(q2[k], b, b2);
            b3 = NAME(fuse)(q3[k], b, b3);
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

/* out[h] = q[h] . y[h] for PAIRED pairs. One sum is bound by the latency of f FMAs, several by throughput. */
ALTERNANT_FUNCTION void NAME(paired_scores)(ptrdiff_t f, const REAL *const *q, const REAL *const *y, REAL *out)
{
    REAL s[PAIRED] = {0};
    ptrdiff_t k, h;
    for (k = 0; k < f; k++) {
        ALTERNANT_UNROLL
        for (h = 0; h < PAIRED; h++) s[h] = FUSE(q[h][k], y[h][k], s[h]);
    }
    for (h = 0; h < PAIRED; h++) out[h] = s[h];
}

#undef FUSE
