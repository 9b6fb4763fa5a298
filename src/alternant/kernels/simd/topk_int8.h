/* A prefilter of scores in bytes: which items of a tile can still enter the list of a query?
 *
 * Items and queries are rounded to integer multiples of a step, y = d Y + e with |Y| <= 90. Products of integers are
 * exact, and the effect of rounding on a score is bounded by norms (least_score below), so that an item is skipped only
 * if its score, as computed in the real type, is certainly below the worst one kept. The others are scored in the real
 * type. One instruction multiplies and adds 32 pairs of bytes (AVX2), where an FMA takes 8 floats.
 *
 * The code uses intrinsics because no compiler generates pmaddubsw from plain loops or vector types (its sums of pairs
 * saturate). Without AVX2 there is no prefilter, and every score is computed in full.
 *
 * Layout of a packed tile: subtiles of 2 vectors; in a subtile, chunks of up to 64 factors; in a chunk, one row of
 * corrections and then one row per 4 factors; in a row, 4 bytes per item. A query's bytes are stored with an offset of
 * 90, because pmaddubsw takes one unsigned operand; the corrections, two int16 per item, subtract it again. A sum of a
 * pair is at most 2 * 180 * 90 < 2^15. A chunk's two sums (factors 0, 1 and 2, 3 of every 4) are computed modulo 2^16,
 * and are correct because the steps keep the norms of these halves below 181, and 181^2 < 2^15.
 */
#ifndef ALTERNANT_TOPK_INT8_H
#define ALTERNANT_TOPK_INT8_H

#include "topk.h"
#include "vector.h"

#define INT8_QUERIES 6    /* filtered together: 6 x 2 accumulators in 16 registers */
#define INT8_CHUNK 64     /* factors summed in 16 bits */
#define INT8_RANGE 90     /* largest integer */
#define INT8_HALF_NORM 178 /* before rounding, which adds at most sqrt(32) / 2 */

#if defined(__AVX512BW__)
#  define INT8_BYTES 64
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
#  define INT8_BYTES 32
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

#ifdef INT8_BYTES
#  define INT8_PREFILTER 1
#else
#  define INT8_PREFILTER 0
#  define INT8_BYTES 32
#endif
#define INT8_LANES (INT8_BYTES / 4)
#define INT8_SUBTILE (2 * INT8_LANES)

/* Bytes per item of a packed tile. */
ALTERNANT_INLINE ptrdiff_t packed_item_bytes(ptrdiff_t f)
{
    return 4 * ((f + 3) / 4 + (f + INT8_CHUNK - 1) / INT8_CHUNK);
}

/* Offset of the correction of item `c` in chunk `k / INT8_CHUNK`; row r of the chunk is 2 r INT8_BYTES further. */
ALTERNANT_INLINE ptrdiff_t packed_at(ptrdiff_t f, ptrdiff_t c, ptrdiff_t k)
{
    const ptrdiff_t rows = k / INT8_CHUNK * (1 + INT8_CHUNK / 4), lane = c % INT8_SUBTILE;
    return c / INT8_SUBTILE * INT8_SUBTILE * packed_item_bytes(f) + rows * 2 * INT8_BYTES + lane * 4;
}

/* The integer score that an item must exceed; otherwise its real score is certainly below `worst`.
 *
 *     |q.y - dq dy Q.Y| <= |e_q| |y| + |dq Q| |e_y|,  |dq Q| <= |q| + |e_q|
 *
 * and computing q.y in the real type adds (f + 16) epsilon |q| |y|, and 2 f REAL_MIN for underflow (`slack`). */
ALTERNANT_INLINE int32_t least_score(double worst, double slack, const topk_rounded *q, const topk_rounded *y)
{
    const double error = 1.000001 * (q->error * y->norm + (q->norm + q->error) * y->error) + slack;
    const double score = (worst - error) / (q->step * y->step) - 0.001;
    if (!(score > -2147483000.)) return INT32_MIN;
    if (score > 2147483000.) return INT32_MAX;
    return (int32_t)floor(score) - 1;
}

#if INT8_PREFILTER
/* Append query << 8 | item for each item of the subtile whose integer score exceeds the query's `least`; return the new
 * number of hits. Two vectors and 6 queries make 12 sums: 6 x 2 is 5% faster than 4 x 2. */
ALTERNANT_INLINE ptrdiff_t filter_subtile(ptrdiff_t rows, ptrdiff_t chunks, const uint8_t *const *q,
                                        const int32_t *least, const uint32_t *query, const char *tile,
                                        ptrdiff_t first, ptrdiff_t hits, uint32_t *hit)
{
    ints_t total[INT8_QUERIES][2];
    lanes_t above[INT8_QUERIES][2], any;
    ptrdiff_t chunk = 0, row, left, g, l;
    do {
        ints_t sum[INT8_QUERIES][2];
        const ints_t c0 = LOAD(tile), c1 = LOAD(tile + INT8_BYTES);
        ALTERNANT_UNROLL
        for (g = 0; g < INT8_QUERIES; g++) {
            sum[g][0] = c0;
            sum[g][1] = c1;
        }
        tile += 2 * INT8_BYTES;
        left = rows - chunk * (INT8_CHUNK / 4);
        if (left > INT8_CHUNK / 4) left = INT8_CHUNK / 4;
        for (row = 0; row < left; row++) {
            const ints_t y0 = LOAD(tile), y1 = LOAD(tile + INT8_BYTES);
            ALTERNANT_UNROLL
            for (g = 0; g < INT8_QUERIES; g++) {
                int32_t four;
                memcpy(&four, q[g] + (chunk * (INT8_CHUNK / 4) + row) * 4, 4);
                sum[g][0] = ADD_16(sum[g][0], MULTIPLY_BYTES(SPREAD(four), y0));
                sum[g][1] = ADD_16(sum[g][1], MULTIPLY_BYTES(SPREAD(four), y1));
            }
            tile += 2 * INT8_BYTES;
        }
        ALTERNANT_UNROLL
        for (g = 0; g < INT8_QUERIES; g++)
            for (l = 0; l < 2; l++)
                total[g][l] = chunk ? ADD_32(total[g][l], ADD_HALVES(sum[g][l])) : ADD_HALVES(sum[g][l]);
    } while (++chunk < chunks);
    ALTERNANT_UNROLL
    for (g = 0; g < INT8_QUERIES; g++)
        for (l = 0; l < 2; l++) above[g][l] = GREATER(total[g][l], SPREAD(least[g]));
    any = EITHER(above[0][0], above[0][1]);
    ALTERNANT_UNROLL
    for (g = 1; g < INT8_QUERIES; g++) any = EITHER(any, EITHER(above[g][0], above[g][1]));
    if (BITS(any)) {
        for (g = 0; g < INT8_QUERIES; g++) {
            uint32_t bits = BITS(above[g][0]) | BITS(above[g][1]) << INT8_LANES;
            for (l = first; bits; l++, bits >>= 1) {
#  ifdef ALTERNANT_GNU
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

ALTERNANT_FUNCTION ptrdiff_t filter_tile(ptrdiff_t f, ptrdiff_t width, const uint8_t *const *q, const int32_t *least,
                                  const uint32_t *query, const char *tile, ptrdiff_t hits, uint32_t *hit)
{
    const ptrdiff_t rows = (f + 3) / 4, chunks = (f + INT8_CHUNK - 1) / INT8_CHUNK;
    const ptrdiff_t bytes = INT8_SUBTILE * packed_item_bytes(f);
    ptrdiff_t first;
    for (first = 0; first < width; first += INT8_SUBTILE, tile += bytes) {
        if (chunks == 1) /* constant: totals need no registers */
            hits = filter_subtile(rows, 1, q, least, query, tile, first, hits, hit);
        else
            hits = filter_subtile(rows, chunks, q, least, query, tile, first, hits, hit);
    }
    return hits;
}
#endif

#include "use_float32.h"
#include "topk_int8_real.h"
#include "use_none.h"

#include "use_float64.h"
#include "topk_int8_real.h"
#include "use_none.h"

#endif
