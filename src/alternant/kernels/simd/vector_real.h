/* The operations of vector.h for one real type. No include guard: see use_float32.h. */

#ifdef ALTERNANT_VECTORS
typedef REAL NAME(vector) __attribute__((vector_size(ALTERNANT_VECTOR_BYTES), may_alias));
typedef REAL NAME(loose) __attribute__((vector_size(ALTERNANT_VECTOR_BYTES), may_alias, aligned(REAL_BYTES)));
#else
typedef REAL NAME(vector);
typedef REAL NAME(loose);
#endif

/* The sum of a vector's lanes, by repeated halving: an order fixed at compile time. */
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

#if defined(ALTERNANT_VECTORS) && defined(ALTERNANT_LOW)
/* Lanes h..2h of every 2h lanes are added to lanes 0..h: a's sums go to the lower lanes, b's to the upper. */
#define FOLD(n, h, a, b)                                                                                              \
    (__builtin_shufflevector(a, b, ALTERNANT_LOW(n, h)) + __builtin_shufflevector(a, b, ALTERNANT_HIGH(n, h)))
#endif

/* The sums of the lanes of `rows` vectors, 4 or 8 of them: folding several at once takes half the instructions. */
ALTERNANT_INLINE void NAME(row_sums)(const int rows, const VECTOR *s, REAL *sums)
{
    int r;
#if defined(ALTERNANT_VECTORS) && defined(ALTERNANT_LOW)
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
        const VECTOR d = c + ALTERNANT_SWAP(8, c, 4);
        memcpy(sums + r, &d, 4 * sizeof(REAL));
#  else
        const VECTOR a = FOLD(16, 1, s[r], s[r + 1]), b = FOLD(16, 1, s[r + 2], s[r + 3]);
        const VECTOR c = FOLD(16, 2, a, b);
        const VECTOR d = c + ALTERNANT_SWAP(16, c, 8);
        const VECTOR e = d + ALTERNANT_SWAP(16, d, 4);
        memcpy(sums + r, &e, 4 * sizeof(REAL));
#  endif
    }
#else
    for (r = 0; r < rows; r++) sums[r] = NAME(lane_sum)(s[r]);
#endif
}
#undef FOLD

/* Copy a row of f numbers of any alignment into a padded row. The padding, zero since allocation, is not touched. */
ALTERNANT_INLINE void NAME(copy_row)(ptrdiff_t f, const REAL *ALTERNANT_RESTRICT source, REAL *ALTERNANT_RESTRICT row)
{
    ptrdiff_t k = 0;
    for (; k + VL <= f; k += VL) AT(row + k) = LOOSE(source + k);
    for (; k < f; k++) row[k] = source[k];
}

ALTERNANT_INLINE void NAME(prefetch_row)(ptrdiff_t f, const REAL *row)
{
    ptrdiff_t k;
    for (k = 0; k < f * (ptrdiff_t)sizeof(REAL); k += 64) ALTERNANT_PREFETCH((const char *)row + k);
}

/* Copy n rows of Y into padded rows, prefetching ahead up to the end of the entries: `left` of them. */
ALTERNANT_FUNCTION void NAME(gather)(ptrdiff_t n, ptrdiff_t f, ptrdiff_t fp, const REAL *Y, index_list indices,
                                     ptrdiff_t left, REAL *packed)
{
    ptrdiff_t j;
    for (j = 0; j < n; j++) {
        if (j + AHEAD < left) NAME(prefetch_row)(f, Y + index_at(indices, j + AHEAD) * f);
        NAME(copy_row)(f, Y + index_at(indices, j) * f, packed + j * fp);
    }
}

/* x . y, accumulated in float64. */
ALTERNANT_INLINE double NAME(dot)(ptrdiff_t f, const REAL *ALTERNANT_RESTRICT x, const REAL *ALTERNANT_RESTRICT y)
{
    double sum = 0;
    ptrdiff_t k;
    ALTERNANT_SIMD_SUM(sum)
    for (k = 0; k < f; k++) sum += (double)x[k] * y[k];
    return sum;
}
