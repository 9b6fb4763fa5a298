/* Entry points of products of sparse matrices: see sparse.c. */
#ifndef ALTERNANT_SPARSE_H
#define ALTERNANT_SPARSE_H

#include <stddef.h>
#include <stdint.h>

#include "levels.h"

/* The arrays of real numbers are all float32 or all float64; NULL stands for ones. */
typedef struct {
    ptrdiff_t m, n, k;
    const int64_t *left_indptr;  /* m + 1 */
    const void *left;            /* rows of the right matrix */
    int int64_left;
    const void *left_values;
    const int64_t *right_indptr;
    const int32_t *right;        /* columns, below n */
    const void *right_values;
    const void *row_norms;       /* m */
    const void *column_norms;    /* n */
    double shrinkage;
    const int64_t *exclude_indptr; /* m + 1, or NULL */
    const void *exclude;
    int int64_exclude;
    int32_t *ids;                /* m x k, OUT */
    void *values;                /* m x k, or m x n, OUT */
    int threads;
} sparse_call;

typedef struct {
    /* float32, float64; both return whether an allocation failed. multiply_sparse fills `values`, m x n, with the
     * product of left and right, and ignores what else there is. */
    int (*top_k_sparse[2])(const sparse_call *);
    int (*multiply_sparse[2])(const sparse_call *);
    /* Fills `values`, m x n, with the product of left and a dense matrix of n columns. */
    void (*multiply_sparse_dense[2])(const sparse_call *, const void *dense);
} sparse_table;

ALTERNANT_TABLES(sparse)

#endif
