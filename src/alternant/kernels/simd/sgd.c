/* Stochastic gradient descent on a grid: the blocks of a round are processed by OpenMP threads in parallel.
 *
 *     biased     z = mu + b_u + c_i + x_u . y_i      (t - p(z))^2 / 2
 *     cosine     z = x_u . y_i / (|x_u| |y_i|)       (z - t)^2
 *     logistic   z = b_u + c_i + x_u . y_i           w (log(1 + e^z) - t z)
 *
 * Cost per entry: 3 f multiply-adds (5 f for the cosine), and two rows read and written; the rows of a block stay in
 * cache. Each block is processed by one thread, entry by entry, and the blocks of a round share no rows and no columns,
 * so results are bitwise identical for any number of threads. */
#include "sgd.h"

#include "vector.h"

/* Sums of squares within these bounds are safe from float32 overflow and underflow. */
#define SGD_SHORTEST 1e-24
#define SGD_LONGEST 1e30
#if defined(ALTERNANT_VECTORS) && defined(ALTERNANT_SWAP)
#  define SGD_REGISTERS /* there are vectors, and their lanes can be swapped */
#endif
#define SGD_MOST_VECTORS 16 /* of a row that is kept in registers, or spilled to the stack */
#define SGD_AHEAD 4 /* prefetch distance, in entries */

#include "use_float32.h"
#include "sgd_real.h"
#include "sgd_epoch_real.h"
#include "use_none.h"

#include "use_float64.h"
#include "sgd_real.h"
#include "sgd_epoch_real.h"
#include "use_none.h"

/* Count the entries of each part of the rows in each block. */
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

/* Copy the entries of each part to their blocks. */
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
