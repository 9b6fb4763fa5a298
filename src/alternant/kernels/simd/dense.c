/* Products of many rows with a small matrix, by SciPy's BLAS in blocks of rows on OpenMP threads.
 *
 *     out = R M,    G = R^T R,    |r_u|^2
 *
 * Cost for m rows: 2 m f^2 for a product (half of that for a triangle), m f^2 for the Gramian.
 *
 * Python threads would have to wait for those of OpenMP, which keep spinning for milliseconds after each parallel
 * region: on 2 cores, everything between two kernels took twice as long as on one thread. */
#include "dense.h"

#include "f16.h"
#include "memory.h"
#include "vector.h"

#define FULL_UP_TO 64 /* columns up to which a triangle is multiplied faster as a full matrix */
#define MIRRORED 16   /* rows of the lower triangle mirrored at a time: whole cache lines of the upper one */

static void add_parts(ptrdiff_t f, ptrdiff_t parts, const double *sums, double *out, int threads)
{
    const ptrdiff_t blocks = (f + MIRRORED - 1) / MIRRORED;
    ptrdiff_t block;
    (void)threads;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
#endif
    for (block = 0; block < blocks; block++) {
        const ptrdiff_t start = block * MIRRORED, stop = smaller(start + MIRRORED, f);
        ptrdiff_t part, i, j;
        for (i = start; i < stop; i++) memcpy(out + i * f, sums + i * f, (i + 1) * sizeof(double));
        for (part = 1; part < parts; part++)
            for (i = start; i < stop; i++)
                for (j = 0; j <= i; j++) out[i * f + j] += sums[(part * f + i) * f + j];
        for (j = 0; j < stop; j++)
            for (i = larger(start, j + 1); i < stop; i++) out[j * f + i] = out[i * f + j];
    }
}

#include "use_float32.h"
#define GEMM sgemm
#define TRMM strmm
#include "dense_real.h"
#undef GEMM
#undef TRMM
#include "use_none.h"

#include "use_float64.h"
#define GEMM dgemm
#define TRMM dtrmm
#include "dense_real.h"
#undef GEMM
#undef TRMM
#include "use_none.h"

extern const dense_table ALTERNANT_TABLE(dense);
const dense_table ALTERNANT_TABLE(dense) = {
    {multiply_f32, multiply_f64},
    {gramians_f32, gramians_f64},
    {squared_norms_f32, squared_norms_f64},
    add_parts,
};
