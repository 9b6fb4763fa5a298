/* Entry points of pairwise learning to rank: see pairwise.c. */
#ifndef ALTERNANT_PAIRWISE_H
#define ALTERNANT_PAIRWISE_H

#include <stddef.h>
#include <stdint.h>

#include "levels.h"
#include "splitmix.h"

/* The entries of a matrix in parts, which are ranges of rows; each is processed by one thread. */
typedef struct {
    ptrdiff_t parts, all_tasks, f, n, column_blocks, most_draws;
    const int64_t *part_edges;    /* parts + 1: rows */
    const int64_t *indptr;        /* m + 1 */
    const int32_t *indices;       /* nnz */
    int64_t first, step;          /* the entries to process: first, first + step, ... */
    const int64_t *keys;          /* m, or NULL for the numbers of the rows */
    uint64_t state;
    int verify;
    const void *X, *Y, *bias;     /* float32 or float64 */
    const int64_t *thresholds;    /* n + 1, or NULL: the distribution by popularity, as are the next two */
    const int32_t *guide;         /* 2^guide_bits + 1 */
    int guide_bits;
    const int32_t *order;         /* (f + 1) * n, or NULL: the adaptive distribution, as are the next three */
    const double *spread;         /* f + 1 */
    double rate;
    double *sums;                 /* parts * (f + 1): scratch */
    const double *rank_weight;    /* most_draws, or NULL to accept without a search */
    const uint8_t *row_block;     /* m */
    const uint8_t *column_block;  /* n */
    const int32_t *task;          /* row blocks * column_blocks * column_blocks */
    int64_t *places;              /* parts * all_tasks: counts, OUT; then each part's next position in each task */
    int32_t *drawn;               /* a negative for each entry processed, or -1; OUT, then IN */
    void *drawn_weight;           /* likewise its weight, or NULL */
    int32_t *rows, *positives, *negatives; /* the triples, OUT */
    void *weight;                 /* likewise, or NULL */
    int threads;
} pairwise_draw;

typedef struct {
    ptrdiff_t rounds, tasks, f;
    const int64_t *indptr;        /* rounds * tasks + 1 */
    const int32_t *rows, *positives, *negatives;
    const void *weight;           /* or NULL for 1 */
    void *X, *Y, *bias, *XX, *YY, *bias_squares; /* the squares are NULL for plain steps */
    double rate, shrink_x, shrink_positive, shrink_negative, shrink_bias;
    int hinge, columns;           /* whether the columns' side is updated */
    double *loss;                 /* rounds * tasks, OUT */
    int64_t *correct;             /* likewise */
    int threads;
} pairwise_epoch;

typedef struct {
    void (*draw[2])(const pairwise_draw *); /* float32, float64 */
    void (*group[2])(const pairwise_draw *);
    void (*epoch[2])(const pairwise_epoch *);
} pairwise_table;

ALTERNANT_TABLES(pairwise)

#endif
