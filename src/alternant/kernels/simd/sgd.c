/* Stochastic gradient descent on a grid: the blocks of a diagonal are spread over OpenMP threads.
 *
 *     biased     z = mu + b_u + c_i + x_u . y_i      (t - p(z))^2 / 2
 *     cosine     z = x_u . y_i / (|x_u| |y_i|)       (z - t)^2
 *     logistic   z = b_u + c_i + x_u . y_i           w (log(1 + e^z) - t z)
 *
 * Cost of an entry: 3 f multiply-adds (5 f for the cosine) and two rows read and written; the rows of a block stay in
 * the cache. One thread takes a block, entry by entry, and no two blocks of a diagonal share a row or a column: the
 * number of threads changes no bit. */
#include "sgd.h"

#include "vector.h"

/* Sums of squares between these have lost nothing to the range of float32. */
#define SGD_SHORTEST 1e-24
#define SGD_LONGEST 1e30
#if defined(ALTERNANT_VECTORS) && defined(ALTERNANT_SWAP)
#  define SGD_REGISTERS /* there are vectors, and their lanes can be rotated */
#endif
#define SGD_MOST_VECTORS 16 /* of a row that stays in registers, or near them */
#define SGD_AHEAD 4 /* entries whose columns are prefetched ahead of the one at work */

#include "use_float32.h"
#include "sgd_real.h"
#include "sgd_epoch_real.h"
#include "use_none.h"

#include "use_float64.h"
#include "sgd_real.h"
#include "sgd_epoch_real.h"
#include "use_none.h"

/* How many entries of each part of the rows belong to each block. */
static void count_blocks(const sgd_sort *s)
{
    index_list indices;
    ptrdiff_t part;
    indices.at = s->indices;
    indices.is_int64 = s->int64_indices;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 1) num_threads(s->threads)
#endif
    for (part = 0; part < s->parts; part++) {
        int64_t *const counts = s->places + part * s->blocks * s->blocks, u, j;
        for (u = s->part_edges[part]; u < s->part_edges[part + 1]; u++) {
            const ptrdiff_t first = s->row_block[u] * s->blocks;
            for (j = s->indptr[u]; j < s->indptr[u + 1]; j++)
                counts[first + s->column_block[index_at(indices, (ptrdiff_t)j)]]++;
        }
    }
}

/* Put the entries of each part where they go. */
static void fill_blocks(const sgd_sort *s)
{
    index_list indices;
    ptrdiff_t part;
    indices.at = s->indices;
    indices.is_int64 = s->int64_indices;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 1) num_threads(s->threads)
#endif
    for (part = 0; part < s->parts; part++) {
        int64_t *const places = s->places + part * s->blocks * s->blocks, u, j;
        for (u = s->part_edges[part]; u < s->part_edges[part + 1]; u++) {
            const ptrdiff_t first = s->row_block[u] * s->blocks;
            for (j = s->indptr[u]; j < s->indptr[u + 1]; j++) {
                const ptrdiff_t column = index_at(indices, (ptrdiff_t)j);
                const int64_t place = places[first + s->column_block[column]]++;
                s->rows[place] = s->row_position[u];
                s->columns[place] = s->column_position[column];
                s->entries[place] = j;
            }
        }
    }
}

extern const sgd_table ALTERNANT_TABLE(sgd);
const sgd_table ALTERNANT_TABLE(sgd) = {
    {biased_epoch_f32, biased_epoch_f64},
    {cosine_epoch_f32, cosine_epoch_f64},
    {logistic_epoch_f32, logistic_epoch_f64},
    count_blocks,
    fill_blocks,
};
