/* What the machine can do, for roofline.py: compiled by it with the machine's C compiler and called through ctypes.
 *
 * Vectors are GCC's and Clang's extension, of the width that the flags give.
 */
#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
#  define BYTES 64
#elif defined(__AVX__)
#  define BYTES 32
#else
#  define BYTES 16
#endif
#define LANES ((ptrdiff_t)(BYTES / sizeof(float)))
typedef float vector __attribute__((vector_size(BYTES), may_alias));

static float sum(vector v)
{
    float total = 0;
    for (ptrdiff_t l = 0; l < LANES; l++) total += v[l];
    return total;
}

/* Read the rows of Y that the entries name, row by row of the matrix as a half-sweep does; nothing is kept of them but
 * a sum, so that the compiler can't leave the reads out. f is a multiple of 16. */
double gather(int64_t m, const int64_t *indptr, const int32_t *indices, const float *Y, int64_t f, int64_t ahead,
              int threads)
{
    double total = 0;
    const int64_t end = indptr[m];
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads) reduction(+ : total)
    for (int64_t u = 0; u < m; u++) {
        vector even = {0}, odd = {0};
        for (int64_t j = indptr[u]; j < indptr[u + 1]; j++) {
            const float *y = Y + (ptrdiff_t)indices[j] * f;
            if (j + ahead < end) {
                const float *next = Y + (ptrdiff_t)indices[j + ahead] * f;
                for (ptrdiff_t k = 0; k < f; k += 16) __builtin_prefetch(next + k);
            }
            for (ptrdiff_t k = 0; k < f; k += 16) {
                even += *(const vector *)(y + k);
                odd += *(const vector *)(y + k + 16 - LANES);
            }
        }
        total += sum(even) + sum(odd);
    }
    return total;
}

/* Independent multiply-adds, all in registers; returns how many floating-point operations were done. */
double peak(int64_t repeats, int threads, float *out)
{
    enum { CHAINS = 12 };
#pragma omp parallel num_threads(threads)
    {
        vector a[CHAINS], x, y;
        for (ptrdiff_t l = 0; l < LANES; l++) {
            x[l] = 0.999f + out[0];
            y[l] = 0.001f + out[0];
        }
        for (int c = 0; c < CHAINS; c++) a[c] = y * (float)c;
        for (int64_t r = 0; r < repeats; r++)
            for (int c = 0; c < CHAINS; c++) a[c] = a[c] * x + y;
        vector total = a[0];
        for (int c = 1; c < CHAINS; c++) total += a[c];
#pragma omp critical
        out[1] += sum(total);
    }
    return 2.0 * CHAINS * LANES * (double)repeats * threads;
}
