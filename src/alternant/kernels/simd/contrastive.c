/* Learning from one positive and many negatives, on unit vectors: steps for a batch of rows u with positives i, which
 * share a sample N of negative columns j.
 *
 *     log(1 + sum_j exp((x_u . y_j - x_u . y_i) / t))      or      1 - x_u . y_i + w / |N| sum_j max(0, x_u . y_j - m)
 *
 * Cost of a row: 3 |N| f multiply-adds, for the scores and for the gradients of the two sides, 4 f for each positive,
 * and |N| exponentials. A batch has two parallel loops, over its rows and over its columns: each row of a gradient is
 * summed by one thread in a fixed order, so results are bitwise identical for any number of threads. */
#include "contrastive.h"

#include "vector.h"

/* The place of column i among n ascending columns, or -1. */
ALTERNANT_INLINE ptrdiff_t place_of(const int32_t *columns, ptrdiff_t n, int32_t i)
{
    const int32_t *at = columns;
    while (n > 1) {
        const ptrdiff_t half = n / 2;
        at += at[half] <= i ? half : 0;
        n -= half;
    }
    return n == 1 && *at == i ? at - columns : -1;
}

#include "use_float32.h"
#include "contrastive_real.h"
#include "use_none.h"

#include "use_float64.h"
#include "contrastive_real.h"
#include "use_none.h"

extern const contrastive_table ALTERNANT_TABLE(contrastive);
const contrastive_table ALTERNANT_TABLE(contrastive) = {
    {epoch_f32, epoch_f64},
};
