/* Pairwise learning to rank: steps for triples of a row u, a positive column i and a negative column j.
 *
 *     d = c_i - c_j + x_u . (y_i - y_j)      w log(1 + exp(-d))  or  w max(0, 1 - d)
 *
 * Cost per triple: 5 f multiply-adds, and three rows read and written. Negatives are drawn by hashes, a row of entries
 * after the other, then triples are grouped by task with a counting sort. Each task is processed by one thread, triple
 * by triple, and the tasks of a round share no rows and no columns, so results are bitwise identical for any number of
 * threads. */
#include "pairwise.h"

#include "thresholds.h"
#include "vector.h"

#define PAIRWISE_AHEAD 4 /* prefetch distance, in triples */
#define PAIRWISE_BATCH 8 /* candidates fetched together by a search: each is a row from anywhere in Y */
/* A sum of logarithms is that of a product, taken before it overflows: one logarithm for many steps. */
#define PAIRWISE_PRODUCT 1e150

/* Whether column i is among n ascending columns. */
ALTERNANT_INLINE int contains(const int32_t *columns, ptrdiff_t n, int32_t i)
{
    while (n > 1) {
        const ptrdiff_t half = n / 2;
        columns += columns[half] <= i ? half : 0;
        n -= half;
    }
    return n == 1 && *columns == i;
}

/* The column between whose thresholds a number lies. */
ALTERNANT_INLINE int32_t popular_column(const pairwise_draw *p, int64_t number)
{
    const int32_t *place = p->guide + (number >> (32 - p->guide_bits));
    const int64_t *first = p->thresholds + place[0];
    ptrdiff_t n = place[1] - place[0] + 1;
    while (n > 1) {
        const ptrdiff_t half = n / 2;
        first += first[half] <= number ? half : 0;
        n -= half;
    }
    return (int32_t)(first - p->thresholds);
}

/* The first entry of those to process that is not before `at`. */
ALTERNANT_INLINE int64_t next_entry(const pairwise_draw *p, int64_t at)
{
    const int64_t past = (at - p->first) % p->step;
    return at <= p->first ? p->first : past == 0 ? at : at + p->step - past;
}

#include "use_float32.h"
#include "pairwise_real.h"
#include "use_none.h"

#include "use_float64.h"
#include "pairwise_real.h"
#include "use_none.h"

extern const pairwise_table ALTERNANT_TABLE(pairwise);
const pairwise_table ALTERNANT_TABLE(pairwise) = {
    {draw_f32, draw_f64},
    {group_f32, group_f64},
    {epoch_f32, epoch_f64},
};
