/* Products of sparse matrices, and their greatest entries: Gustavson's algorithm with a dense row of sums per thread.
 *
 *     s(r, j) = sum_p left[r, p] right[p, j],  in the order of the entries of row r
 *     v(r, j) = s(r, j) / (row_norms[r] column_norms[j] + shrinkage)
 *
 * Cost of a row: one multiply-add for each entry of each row p of `right` that it refers to, about two comparisons for
 * each value above the k-th best at that moment (quickselect), and k log k. Sums stay in cache up to some 100,000
 * columns. If a row has few products, the columns that they fall into are noted, and only these are looked at; if it
 * has many, all columns are, in vectors, which costs less than taking notes.
 *
 * With a dense right matrix: one multiply-add for each entry and column; sums are in the order of the entries. */
#include "sparse.h"

#include "memory.h"
#include "vector.h"

#define TILE 256      /* sums that are divided and ranked together */
#define SUMMED_ROWS 512 /* by one task */
#define DENSE_SHARE 8 /* note columns if there are fewer products than an eighth of the columns */

#include "use_float32.h"
#include "heap_real.h"
#include "sparse_real.h"
#include "use_none.h"

#include "use_float64.h"
#include "heap_real.h"
#include "sparse_real.h"
#include "use_none.h"

extern const sparse_table ALTERNANT_TABLE(sparse);
const sparse_table ALTERNANT_TABLE(sparse) = {
    {top_k_sparse_f32, top_k_sparse_f64},
    {multiply_sparse_f32, multiply_sparse_f64},
    {multiply_sparse_dense_f32, multiply_sparse_dense_f64},
};
