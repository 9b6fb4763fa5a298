/* Entry points of stochastic gradient descent on a grid: see sgd.c. */
#ifndef ALTERNANT_SGD_H
#define ALTERNANT_SGD_H

#include <stddef.h>
#include <stdint.h>

#include "levels.h"
#include "splitmix.h"

/* Parameters of a step. */
typedef struct {
    double offset, low, height; /* p = low + height sigmoid(z), or z where height is infinite */
    double rate;                /* learning rate */
    double shrink_x, shrink_y, shrink_b, shrink_c; /* lambda of X, Y and the biases */
    int columns;                /* whether the columns' side is updated */
} sgd_step;

/* The two sides and, for Adagrad, the sums of their squared gradients (NULL for plain steps); float32 or float64. */
typedef struct {
    void *X, *Y, *row_bias, *column_bias, *XX, *YY, *row_bias_squares, *column_bias_squares;
} sgd_sides;

typedef struct {
    ptrdiff_t blocks, f, n;       /* blocks per side; factors; columns */
    const int64_t *row_edges;     /* blocks + 1 */
    const int64_t *column_edges;  /* blocks + 1 */
    const int64_t *block_indptr;  /* blocks * blocks + 1 */
    const int32_t *rows;          /* nnz */
    const int32_t *columns;       /* nnz */
    const int64_t *schedule;      /* rounds * tasks * 2: the row block and the column block of a task */
    ptrdiff_t rounds, tasks;
    const void *target;           /* nnz */
    const void *weight;           /* nnz; only for logistic_epoch, as are the next three */
    const double *negatives;      /* m, or NULL for all columns */
    const int64_t *keys;          /* m, or NULL for the numbers of the rows */
    uint64_t seed;
    sgd_sides sides;
    sgd_step step;
    double *loss;                 /* rounds * tasks, OUT */
    int threads;
} sgd_epoch;

/* A matrix whose entries are sorted into blocks, in parts, which are ranges of rows. */
typedef struct {
    ptrdiff_t blocks, parts;
    const int64_t *part_edges;     /* parts + 1: rows */
    const int64_t *indptr;         /* m + 1 */
    const void *indices;           /* nnz, int32 or int64 */
    int int64_indices;
    const uint8_t *row_block;      /* m */
    const uint8_t *column_block;   /* n */
    const int32_t *row_position;   /* m */
    const int32_t *column_position; /* n */
    int64_t *places;               /* parts x blocks^2: counts, OUT; then each part's next position in each block */
    int32_t *rows, *columns;       /* nnz, OUT */
    int64_t *entries;              /* nnz, OUT */
    int threads;
} sgd_sort;

typedef struct {
    void (*biased_epoch[2])(const sgd_epoch *); /* float32, float64 */
    void (*cosine_epoch[2])(const sgd_epoch *);
    void (*logistic_epoch[2])(const sgd_epoch *);
    void (*count_blocks)(const sgd_sort *);
    void (*fill_blocks)(const sgd_sort *);
} sgd_table;

ALTERNANT_TABLES(sgd)

#endif
