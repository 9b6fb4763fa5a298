/* The row problem of alternating least squares, parallel over rows with OpenMP.
 *
 *     (diag(g) + lambda_u I + sum_j w_j y_j y_j^T) x_u = sum_j t_j y_j + l_u
 *
 * Cost of a row with n entries: by conjugate gradients, gathering its y_j from memory once (n f numbers, the bottleneck
 * on large data) and 2 n f multiply-adds per step; exactly, n f^2 / 2 + f^3 / 6, or n^2 f / 2 + n^3 / 6 by the dual.
 * Each row is computed by one thread in a fixed order, so results are bitwise identical for any number of threads. */
#include "als.h"

#include "f16.h"
#include "memory.h"
#include "thresholds.h"
#include "vector.h"

#define AHEAD_BYTES 3072    /* prefetch distance in the first pass */
#define PACK_BYTES 12582912 /* longer rows are gathered again in every step instead of being kept packed */
#define BF16_BYTES 524288   /* longer rows are packed as bfloat16 if the tolerance permits: BF16_TOL */
/* From this tolerance on, steps (but not the initial residual) may use rows rounded to bfloat16 (error 2^-9). */
#define BF16_TOL 0.05
/* If a float32 pivot is at most this times the largest diagonal entry, the row is solved in float64. */
#define DOUBTFUL_F32 1e-5

static int is_singular(double smallest, double largest, double singular)
{
    return !(smallest > singular * largest);
}

#include "use_float32.h"
#include "bf16_real.h"
#include "cg_real.h"
#include "cholesky_real.h"
#include "als_row_real.h"
#include "use_none.h"

#include "use_float64.h"
#include "cg_real.h"
#include "cholesky_real.h"
#include "als_row_real.h"
#include "use_none.h"

/* float32 rows are solved in float64 if float32 cannot tell small pivots from zero. */
#include "use_float32.h"
#define WORK float
#define WORK_NAME(name) ALTERNANT_JOIN(name, f32)
#define PRIMAL solve_primal_f32
#define GATHER gather_f32
#include "als_primal_real.h"
#define WORK double
#define WORK_NAME(name) ALTERNANT_JOIN(name, f64)
#define PRIMAL solve_primal_f32_f64
#define GATHER gather_f32_f64
#include "als_primal_real.h"
#include "als_real.h"
#include "use_none.h"

#include "use_float64.h"
#define WORK double
#define WORK_NAME(name) ALTERNANT_JOIN(name, f64)
#define PRIMAL solve_primal_f64
#define GATHER gather_f64
#include "als_primal_real.h"
#include "als_real.h"
#include "use_none.h"

extern const als_table ALTERNANT_TABLE(als);
const als_table ALTERNANT_TABLE(als) = {
    {solve_rows_f32, solve_rows_f64},
    {squared_error_f32, squared_error_f64},
    {normal_products_f32, normal_products_f64},
};
