/* A first look at scores in bytes: which items of a tile can a query's list still take?
 *
 * Items and queries are rounded to whole multiples of a step, y = d Y + e with |Y| <= 90. The whole numbers' products
 * are exact, and what rounding can have changed of a score is bounded by norms (least_score below), so that an item is
 * passed over only if its score, as the real type computes it, is certainly below the worst one kept. The others are
 * scored in the real type. An instruction multiplies and adds 32 pairs of bytes (AVX2) where FMA takes 8 floats.
 *
 * This header is the one place with instructions by name: no compiler forms pmaddubsw from plain loops or from vector
 * types (its sums of pairs saturate). Without AVX2 there is no first look, and every score is computed in full.
 *
 * Layout of a packed tile: subtiles of 2 vectors; in a subtile, chunks of up to 64 factors; in a chunk, one row of
 * corrections and then one row for every 4 factors; in a row, 4 bytes for each item. A query's bytes are stored with
 * 90 added, because pmaddubsw takes one unsigned factor; the corrections, two int16 for each item, take that out again.
 * A sum of pairs is at most 2 * 180 * 90 < 2^15. A chunk's two sums (factors 0, 1 and 2, 3 of every 4) are formed
 * modulo 2^16, and are right because the steps keep norms of these halves below 181 and 181^2 < 2^15.
 */
#ifndef ALTERNANT_TOPK_H
#define ALTERNANT_TOPK_H

#include <float.h>

#include "_vector.h"

#define TOPK_TILE 256      /* items in a tile */
#define TOPK_GROUP 6       /* queries looked at together: 6 x 2 accumulators of 16 registers */
#define TOPK_CHUNK 64      /* factors summed in 16 bits */
#define TOPK_RANGE 90      /* largest whole number */
#define TOPK_HALF_NORM 178 /* rounding adds at most sqrt(32) / 2 */
#define TOPK_TOGETHER 8    /* exact scores formed side by side */

/* A row of whole numbers: the step, and bounds of the row's norm and of the norm of what rounding left. */
typedef struct {
    double step, norm, error;
} rounded_t;

#if defined(__AVX512BW__)
#  include <immintrin.h>
#  define TOPK_BYTES 64
typedef __m512i ints_t;
typedef __mmask16 lanes_t;
#  define LOAD(address) _mm512_load_si512(address)
#  define SPREAD(number) _mm512_set1_epi32(number)
#  define ADD_16(a, b) _mm512_add_epi16(a, b)
#  define ADD_32(a, b) _mm512_add_epi32(a, b)
#  define MULTIPLY_BYTES(u, s) _mm512_maddubs_epi16(u, s)
#  define ADD_HALVES(a) _mm512_madd_epi16(a, _mm512_set1_epi16(1))
#  define GREATER(a, b) _mm512_cmpgt_epi32_mask(a, b)
#  define EITHER(a, b) ((lanes_t)((a) | (b)))
#  define BITS(lanes) ((uint32_t)(lanes))
#elif defined(__AVX2__)
#  include <immintrin.h>
#  define TOPK_BYTES 32
typedef __m256i ints_t;
typedef __m256i lanes_t;
#  define LOAD(address) _mm256_load_si256((const __m256i *)(address))
#  define SPREAD(number) _mm256_set1_epi32(number)
#  define ADD_16(a, b) _mm256_add_epi16(a, b)
#  define ADD_32(a, b) _mm256_add_epi32(a, b)
#  define MULTIPLY_BYTES(u, s) _mm256_maddubs_epi16(u, s)
#  define ADD_HALVES(a) _mm256_madd_epi16(a, _mm256_set1_epi16(1))
#  define GREATER(a, b) _mm256_cmpgt_epi32(a, b)
#  define EITHER(a, b) _mm256_or_si256(a, b)
#  define BITS(lanes) ((uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(lanes)))
#endif

#ifdef TOPK_BYTES
#  define TOPK_LOOKS 1
#else
#  define TOPK_LOOKS 0
#  define TOPK_BYTES 32
#endif
#define TOPK_LANES (TOPK_BYTES / 4)
#define TOPK_SUBTILE (2 * TOPK_LANES)

/* Bytes of a packed tile, for each item. */
ALTERNANT_INLINE ptrdiff_t packed_item_bytes(ptrdiff_t f)
{
    return 4 * ((f + 3) / 4 + (f + TOPK_CHUNK - 1) / TOPK_CHUNK);
}

/* Where the 4 bytes of item `c`, chunk `k / TOPK_CHUNK`, begin: its correction; row r of the chunk is 2 r TOPK_BYTES on. */
ALTERNANT_INLINE ptrdiff_t packed_at(ptrdiff_t f, ptrdiff_t c, ptrdiff_t k)
{
    const ptrdiff_t rows = k / TOPK_CHUNK * (1 + TOPK_CHUNK / 4), lane = c % TOPK_SUBTILE;
    return c / TOPK_SUBTILE * TOPK_SUBTILE * packed_item_bytes(f) + rows * 2 * TOPK_BYTES + lane * 4;
}

/* The whole score that an item must exceed, or its real score is certainly below `worst`.
 *
 *     |q.y - dq dy Q.Y| <= |e_q| |y| + |dq Q| |e_y|,  |dq Q| <= |q| + |e_q|
 *
 * and computing q.y in the real type adds (f + 16) epsilon |q| |y|, and 2 f least for numbers that underflow. */
ALTERNANT_INLINE int32_t least_score(double worst, double slack, const rounded_t *q, const rounded_t *y)
{
    const double error = 1.000001 * (q->error * y->norm + (q->norm + q->error) * y->error) + slack;
    const double score = (worst - error) / (q->step * y->step) - 0.001;
    if (!(score > -2147483000.)) return INT32_MIN;
    if (score > 2147483000.) return INT32_MAX;
    return (int32_t)floor(score) - 1;
}

#if TOPK_LOOKS
/* Append query << 8 | item for every item of the tile whose whole score exceeds the query's `least`; return how many
 * there are then. Two vectors and 6 queries make 12 sums: 6 x 2 is 5% faster than 4 x 2. */
ALTERNANT_INLINE ptrdiff_t look_subtile(ptrdiff_t rows, ptrdiff_t chunks, const uint8_t *const *q,
                                        const int32_t *least, const uint32_t *query, const char *tile,
                                        ptrdiff_t first, ptrdiff_t hits, uint32_t *hit)
{
    ints_t total[TOPK_GROUP][2];
    lanes_t above[TOPK_GROUP][2], any;
    ptrdiff_t chunk, row, left, g, l;
    for (chunk = 0; chunk < chunks; chunk++) {
        ints_t sum[TOPK_GROUP][2];
        const ints_t c0 = LOAD(tile), c1 = LOAD(tile + TOPK_BYTES);
        ALTERNANT_UNROLL
        for (g = 0; g < TOPK_GROUP; g++) {
            sum[g][0] = c0;
            sum[g][1] = c1;
        }
        tile += 2 * TOPK_BYTES;
        left = rows - chunk * (TOPK_CHUNK / 4);
        if (left > TOPK_CHUNK / 4) left = TOPK_CHUNK / 4;
        for (row = 0; row < left; row++) {
            const ints_t y0 = LOAD(tile), y1 = LOAD(tile + TOPK_BYTES);
            ALTERNANT_UNROLL
            for (g = 0; g < TOPK_GROUP; g++) {
                int32_t four;
                memcpy(&four, q[g] + (chunk * (TOPK_CHUNK / 4) + row) * 4, 4);
                sum[g][0] = ADD_16(sum[g][0], MULTIPLY_BYTES(SPREAD(four), y0));
                sum[g][1] = ADD_16(sum[g][1], MULTIPLY_BYTES(SPREAD(four), y1));
            }
            tile += 2 * TOPK_BYTES;
        }
        ALTERNANT_UNROLL
        for (g = 0; g < TOPK_GROUP; g++)
            for (l = 0; l < 2; l++)
                total[g][l] = chunk ? ADD_32(total[g][l], ADD_HALVES(sum[g][l])) : ADD_HALVES(sum[g][l]);
    }
    ALTERNANT_UNROLL
    for (g = 0; g < TOPK_GROUP; g++)
        for (l = 0; l < 2; l++) above[g][l] = GREATER(total[g][l], SPREAD(least[g]));
    any = EITHER(above[0][0], above[0][1]);
    ALTERNANT_UNROLL
    for (g = 1; g < TOPK_GROUP; g++) any = EITHER(any, EITHER(above[g][0], above[g][1]));
    if (BITS(any)) {
        for (g = 0; g < TOPK_GROUP; g++) {
            uint32_t bits = BITS(above[g][0]) | BITS(above[g][1]) << TOPK_LANES;
            for (l = first; bits; l++, bits >>= 1) {
#  ifdef __GNUC__
                const int zeros = __builtin_ctz(bits);
                l += zeros;
                bits >>= zeros;
#  endif
                hit[hits] = query[g] << 8 | (uint32_t)l;
                hits += bits & 1;
            }
        }
    }
    return hits;
}

ALTERNANT_FUNCTION ptrdiff_t look(ptrdiff_t f, ptrdiff_t width, const uint8_t *const *q, const int32_t *least,
                                  const uint32_t *query, const char *tile, ptrdiff_t hits, uint32_t *hit)
{
    const ptrdiff_t rows = (f + 3) / 4, chunks = (f + TOPK_CHUNK - 1) / TOPK_CHUNK;
    const ptrdiff_t bytes = TOPK_SUBTILE * packed_item_bytes(f);
    ptrdiff_t first;
    for (first = 0; first < width; first += TOPK_SUBTILE, tile += bytes) {
        if (chunks == 1) /* totals need no registers then */
            hits = look_subtile(rows, 1, q, least, query, tile, first, hits, hit);
        else
            hits = look_subtile(rows, chunks, q, least, query, tile, first, hits, hit);
    }
    return hits;
}
#else
ALTERNANT_INLINE ptrdiff_t look(ptrdiff_t f, ptrdiff_t width, const uint8_t *const *q, const int32_t *least,
                                const uint32_t *query, const char *tile, ptrdiff_t hits, uint32_t *hit)
{
    (void)f, (void)width, (void)q, (void)least, (void)query, (void)tile, (void)hit;
    return hits;
}
#endif

/* As the compiler contracts `s += q * y` in `scores`. */
#if defined(__GNUC__) && (defined(__FMA__) || defined(__aarch64__))
#  define TOPK_FMA(function) __builtin_##function
#else
#  define TOPK_FMA(function) TOPK_PLAIN
#  define TOPK_PLAIN(q, y, s) ((s) + (q) * (y))
#endif

#define REAL float
#define REAL_MAX FLT_MAX
#define REAL_MIN FLT_MIN
#define REAL_EPSILON FLT_EPSILON
#define REAL_FMA TOPK_FMA(fmaf)
#define NAME(name) ALTERNANT_JOIN(name, f32)
#include "_topk_real.h"
#undef REAL
#undef REAL_MAX
#undef REAL_MIN
#undef REAL_EPSILON
#undef REAL_FMA
#undef NAME

#define REAL double
#define REAL_MAX DBL_MAX
#define REAL_MIN DBL_MIN
#define REAL_EPSILON DBL_EPSILON
#define REAL_FMA TOPK_FMA(fma)
#define NAME(name) ALTERNANT_JOIN(name, f64)
#include "_topk_real.h"
#undef REAL
#undef REAL_MAX
#undef REAL_MIN
#undef REAL_EPSILON
#undef REAL_FMA
#undef NAME

#endif
