/* IEEE half precision, float16, to and from float32. */
#ifndef ALTERNANT_F16_H
#define ALTERNANT_F16_H

#include "vector.h"

/* Convert float16 (IEEE 754 binary16: 11 significant bits, from 2^-24 to 65504) to float32, which is exact, and back,
 * which rounds to nearest even, as the F16C instructions do (except for the payload of NaN). */
ALTERNANT_INLINE float from_f16(uint16_t half)
{
    const uint32_t rest = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t bits = rest + (rest < 0x0f800000u ? 0x38000000u : 0x70000000u); /* exponent + 112; infinity, NaN: + 224 */
    float x;
    if (rest < 0x00800000u) { /* below 2^-14: 2^-14 (1 + m) - 2^-14 */
        bits = rest + 0x38800000u;
        memcpy(&x, &bits, sizeof x);
        x -= (float)6.103515625e-05;
        memcpy(&bits, &x, sizeof bits);
    }
    bits |= sign;
    memcpy(&x, &bits, sizeof x);
    return x;
}

ALTERNANT_INLINE uint16_t to_f16(float x)
{
    uint32_t bits, sign;
    memcpy(&bits, &x, sizeof bits);
    sign = bits & 0x80000000u;
    bits ^= sign;
    if (bits >= 0x47800000u) { /* 2^16 and beyond */
        bits = bits > 0x7f800000u ? 0x7e00 : 0x7c00;
    } else if (bits < 0x38800000u) { /* below 2^-14: the addition rounds to multiples of 2^-24 */
        memcpy(&x, &bits, sizeof x);
        x += (float)0.5;
        memcpy(&bits, &x, sizeof bits);
        bits -= 0x3f000000u;
    } else {
        bits = (bits - 0x38000000u + 0xfff + (bits >> 13 & 1)) >> 13;
    }
    return (uint16_t)(bits | sign >> 16);
}

/* Convert a vector from float16 to float32. */
ALTERNANT_INLINE vector_f32 vector_from_f16(const uint16_t *half)
{
#  if defined(ALTERNANT_VECTORS) && defined(__AVX512F__)
    return (vector_f32)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)half));
#  elif defined(ALTERNANT_VECTORS) && defined(__F16C__)
    return (vector_f32)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)half));
#  elif defined(ALTERNANT_VECTORS)
    typedef uint16_t shorts __attribute__((vector_size(ALTERNANT_VECTOR_BYTES / 2), may_alias, aligned(2)));
    const words_t both = __builtin_convertvector(*(const shorts *)half, words_t), rest = (both & 0x7fffu) << 13;
    const words_t below = rest + 0x38800000u, special = (words_t)(rest >= 0x0f800000u), small = (words_t)(rest < 0x00800000u);
    words_t bits;
    vector_f32 x;
    memcpy(&x, &below, sizeof x);
    x -= (float)6.103515625e-05;
    memcpy(&bits, &x, sizeof x);
    bits = (bits & small) | ((rest + 0x38000000u + (special & 0x38000000u)) & ~small) | (both & 0x8000u) << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
#  else
    return from_f16(*half);
#  endif
}

/* Convert a row of f numbers from float16. The padding, zero since allocation, is not touched. */
ALTERNANT_INLINE void row_from_f16(ptrdiff_t f, const uint16_t *ALTERNANT_RESTRICT half,
                                      float *ALTERNANT_RESTRICT row)
{
    ptrdiff_t k;
    for (k = 0; k < f; k++) row[k] = from_f16(half[k]);
}

/* Convert a row of f numbers to float16. */
ALTERNANT_FUNCTION void row_to_f16(ptrdiff_t f, const float *ALTERNANT_RESTRICT row,
                                         uint16_t *ALTERNANT_RESTRICT half)
{
    ptrdiff_t k = 0;
#  ifdef __F16C__
    for (; k + 8 <= f; k += 8)
        _mm_storeu_si128((__m128i *)(half + k), _mm256_cvtps_ph(_mm256_loadu_ps(row + k), _MM_FROUND_TO_NEAREST_INT));
#  endif
    for (; k < f; k++) half[k] = to_f16(row[k]);
}

/* Copy n rows of float16 into padded rows of float32, prefetching `ahead` rows ahead. */
ALTERNANT_FUNCTION void gather_f16(ptrdiff_t n, ptrdiff_t f, ptrdiff_t fp, const uint16_t *Y, index_list indices,
                                   ptrdiff_t left, ptrdiff_t ahead, float *packed)
{
    ptrdiff_t j, k;
    for (j = 0; j < n; j++) {
        if (j + ahead < left) {
            const char *next = (const char *)(Y + index_at(indices, j + ahead) * f);
            for (k = 0; k < 2 * f; k += 64) ALTERNANT_PREFETCH(next + k);
        }
        row_from_f16(f, Y + index_at(indices, j) * f, packed + j * fp);
    }
}

#endif
