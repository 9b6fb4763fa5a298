/* Sums of lanes, and passes over rows packed in 16 bits: included by _vector_real.h, whose macros it uses. */

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

#if REAL_BYTES == 4
/* Two vectors in one, each number rounded to its upper 16 bits (bfloat16: 8 bits of the mantissa, all of the exponent);
 * and the two again. */
#  define HALVES
#  ifdef ALTERNANT_VECTORS
typedef uint32_t NAME(words) __attribute__((vector_size(ALTERNANT_VECTOR_BYTES), may_alias));
#  else
typedef uint32_t NAME(words);
#  endif
#  define WORDS NAME(words)
ALTERNANT_INLINE WORDS NAME(halves)(VECTOR left, VECTOR right)
{
    WORDS a, b;
    memcpy(&a, &left, sizeof a);
    memcpy(&b, &right, sizeof b);
    return (a + 0x8000u) >> 16 | ((b + 0x8000u) & 0xffff0000u);
}

ALTERNANT_INLINE VECTOR NAME(left_half)(WORDS both)
{
    VECTOR v;
    both <<= 16;
    memcpy(&v, &both, sizeof v);
    return v;
}

ALTERNANT_INLINE VECTOR NAME(right_half)(WORDS both)
{
    VECTOR v;
    both &= 0xffff0000u;
    memcpy(&v, &both, sizeof v);
    return v;
}
#endif

#ifdef HALVES
/* q += sum_j w_j (y_j . p) y_j over 1, 4 or 8 rows packed in 16 bits. */
ALTERNANT_INLINE void NAME(half_rows)(const int rows, const ptrdiff_t vectors, const REAL *ALTERNANT_RESTRICT Y,
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
            const WORDS both = *(const WORDS *)(Y + (r * length + k) / 2);
            s[r] += NAME(left_half)(both) * left;
            s[r] += NAME(right_half)(both) * right;
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
            const WORDS both = *(const WORDS *)(Y + (r * length + k) / 2);
            left += NAME(left_half)(both) * c[r];
            right += NAME(right_half)(both) * c[r];
        }
        AT(q + k) = left;
        AT(q + k + VL) = right;
    }
}

ALTERNANT_INLINE void NAME(half_vectors)(const ptrdiff_t vectors, ptrdiff_t n, const REAL *ALTERNANT_RESTRICT Y,
                                         const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT p,
                                         REAL *ALTERNANT_RESTRICT q)
{
    const ptrdiff_t stride = vectors * VL / 2;
    ptrdiff_t j = 0;
    for (; j + 8 <= n; j += 8) NAME(half_rows)(8, vectors, Y + j * stride, w + j, p, q);
    if (j + 4 <= n) {
        NAME(half_rows)(4, vectors, Y + j * stride, w + j, p, q);
        j += 4;
    }
    for (; j < n; j++) NAME(half_rows)(1, vectors, Y + j * stride, w + j, p, q);
}
#endif

#if REAL_BYTES == 4
/* Numbers in float16 (IEEE 754 binary16: 11 bits of the mantissa, from 2^-24 to 65504), as the F16C instructions turn
 * them to float32, exactly, and back, to nearest even. */
ALTERNANT_INLINE REAL NAME(widen)(uint16_t narrow)
{
    const uint32_t rest = (uint32_t)(narrow & 0x7fff) << 13, sign = (uint32_t)(narrow & 0x8000) << 16;
    uint32_t bits = rest + (rest < 0x0f800000u ? 0x38000000u : 0x70000000u); /* exponent + 112; infinity, NaN */
    REAL x;
    if (rest < 0x00800000u) { /* below 2^-14: 2^-14 (1 + m) - 2^-14 */
        bits = rest + 0x38800000u;
        memcpy(&x, &bits, sizeof x);
        x -= (REAL)6.103515625e-05;
        memcpy(&bits, &x, sizeof bits);
    }
    bits |= sign;
    memcpy(&x, &bits, sizeof x);
    return x;
}

ALTERNANT_INLINE uint16_t NAME(narrow)(REAL x)
{
    uint32_t bits, sign;
    memcpy(&bits, &x, sizeof bits);
    sign = bits & 0x80000000u;
    bits ^= sign;
    if (bits >= 0x47800000u) { /* 2^16 and beyond */
        bits = bits > 0x7f800000u ? 0x7e00 : 0x7c00;
    } else if (bits < 0x38800000u) { /* below 2^-14: the addition rounds to multiples of 2^-24 */
        memcpy(&x, &bits, sizeof x);
        x += (REAL)0.5;
        memcpy(&bits, &x, sizeof bits);
        bits -= 0x3f000000u;
    } else {
        bits = (bits - 0x38000000u + 0xfff + (bits >> 13 & 1)) >> 13;
    }
    return (uint16_t)(bits | sign >> 16);
}

/* A vector of REAL from float16. */
ALTERNANT_INLINE VECTOR NAME(widen_vector)(const uint16_t *narrow)
{
#  if defined(ALTERNANT_VECTORS) && defined(__AVX512F__)
    return (VECTOR)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)narrow));
#  elif defined(ALTERNANT_VECTORS) && defined(__F16C__)
    return (VECTOR)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)narrow));
#  elif defined(ALTERNANT_VECTORS)
    typedef uint16_t shorts __attribute__((vector_size(ALTERNANT_VECTOR_BYTES / 2), may_alias, aligned(2)));
    const WORDS both = __builtin_convertvector(*(const shorts *)narrow, WORDS), rest = (both & 0x7fffu) << 13;
    const WORDS below = rest + 0x38800000u, special = (WORDS)(rest >= 0x0f800000u), small = (WORDS)(rest < 0x00800000u);
    WORDS bits;
    VECTOR x;
    memcpy(&x, &below, sizeof x);
    x -= (REAL)6.103515625e-05;
    memcpy(&bits, &x, sizeof x);
    bits = (bits & small) | ((rest + 0x38000000u + (special & 0x38000000u)) & ~small) | (both & 0x8000u) << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
#  else
    return NAME(widen)(*narrow);
#  endif
}

/* A row of f numbers from float16. The padding, zero since the allocation, is not touched. */
ALTERNANT_INLINE void NAME(widen_row)(ptrdiff_t f, const uint16_t *ALTERNANT_RESTRICT narrow,
                                      REAL *ALTERNANT_RESTRICT row)
{
    ptrdiff_t k;
    for (k = 0; k < f; k++) row[k] = NAME(widen)(narrow[k]);
}

/* Its inverse. */
ALTERNANT_FUNCTION void NAME(narrow_row)(ptrdiff_t f, const REAL *ALTERNANT_RESTRICT row,
                                         uint16_t *ALTERNANT_RESTRICT narrow)
{
    ptrdiff_t k = 0;
#  ifdef __F16C__
    for (; k + 8 <= f; k += 8)
        _mm_storeu_si128((__m128i *)(narrow + k), _mm256_cvtps_ph(_mm256_loadu_ps(row + k), _MM_FROUND_TO_NEAREST_INT));
#  endif
    for (; k < f; k++) narrow[k] = NAME(narrow)(row[k]);
}
#endif

/* Whether rows can be packed in 16 bits. */
ALTERNANT_INLINE int NAME(can_halve)(ptrdiff_t fp)
{
#ifdef HALVES
    return fp % (2 * VL) == 0;
#else
    (void)fp;
    return 0;
#endif
}

/* total += Y^T (w * (Y p)) over rows packed in 16 bits; q is scratch of fp numbers. */
ALTERNANT_FUNCTION void NAME(half_pass)(ptrdiff_t n, ptrdiff_t fp, const REAL *ALTERNANT_RESTRICT Y,
                                        const REAL *ALTERNANT_RESTRICT w, const REAL *ALTERNANT_RESTRICT p,
                                        REAL *ALTERNANT_RESTRICT q, double *ALTERNANT_RESTRICT total)
{
#ifdef HALVES
    const ptrdiff_t chunk = 64; /* as in `pass` */
    ptrdiff_t j, k;
    for (j = 0; j < n; j += chunk) {
        const ptrdiff_t rows = n - j < chunk ? n - j : chunk;
        const REAL *y = Y + j * fp / 2, *v = w + j;
        memset(q, 0, fp * sizeof(REAL));
        if (fp == 8 * VL) NAME(half_vectors)(8, rows, y, v, p, q);
        else NAME(half_vectors)(fp / VL, rows, y, v, p, q);
        for (k = 0; k < fp; k++) total[k] += q[k];
    }
#endif
}
