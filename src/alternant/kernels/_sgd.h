/* Blocks of stochastic gradient descent: one source, compiled once per SIMD level, for float32 and float64. */
#ifndef ALTERNANT_SGD_H
#define ALTERNANT_SGD_H

#include "_vector.h"

/* Sums of squares between these have lost nothing to the range of float32. */
#define SGD_SHORTEST 1e-24
#define SGD_LONGEST 1e30
#if defined(ALTERNANT_VECTORS) && defined(ALTERNANT_SWAP)
#  define SGD_REGISTERS /* there are vectors, and their lanes can be rotated */
#endif
#define SGD_MOST_VECTORS 16 /* of a row that stays in registers, or near them */
#define SGD_AHEAD 4 /* entries whose columns are prefetched ahead of the one at work */

/* What a step needs beside the arrays. */
typedef struct {
    double offset, low, height;      /* p = low + height sigmoid(z), or z where height is infinite */
    double rate;                     /* learning rate */
    double shrink_x, shrink_y, shrink_b, shrink_c; /* lambda of X, Y and the biases */
    int columns;                     /* whether the columns' side moves */
} sgd_step;

/* The two sides and, for Adagrad, the sums of their squared gradients (NULL for plain steps); float or double. */
typedef struct {
    void *X, *Y, *row_bias, *column_bias, *XX, *YY, *row_bias_squares, *column_bias_squares;
} sgd_sides;

/* The finalizer of SplitMix64: a hash of 64 bits. */
ALTERNANT_INLINE uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

#define SGD_GOLDEN 0x9E3779B97F4A7C15u

#ifdef ALTERNANT_VECTORS
#  define SGD_LOOSE(type) __attribute__((vector_size(ALTERNANT_VECTOR_BYTES), aligned(sizeof(type)), may_alias))
#else
#  define SGD_LOOSE(type)
#endif

#define REAL float
#define REAL_BYTES 4
#define SQRT sqrtf
#define EXP expf
#define FABS fabsf
#define NAME(name) ALTERNANT_JOIN(name, f32)
#include "_sgd_real.h"
#undef REAL
#undef REAL_BYTES
#undef SQRT
#undef EXP
#undef FABS
#undef NAME

#define REAL double
#define REAL_BYTES 8
#define SQRT sqrt
#define EXP exp
#define FABS fabs
#define NAME(name) ALTERNANT_JOIN(name, f64)
#include "_sgd_real.h"
#undef REAL
#undef REAL_BYTES
#undef SQRT
#undef EXP
#undef FABS
#undef NAME

#endif
