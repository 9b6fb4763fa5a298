/* Entry points of the non-negative row problem of alternating least squares: see nnls.c. */
#ifndef ALTERNANT_NNLS_H
#define ALTERNANT_NNLS_H

#include <stddef.h>
#include <stdint.h>

#include "levels.h"

/* The arrays of real numbers are all float32 or all float64. */
typedef struct {
    ptrdiff_t m, f;
    const int64_t *indptr;      /* m + 1 */
    const void *indices;        /* nnz, int32 or int64 */
    int int64_indices;
    const void *weight;         /* nnz */
    const void *target;         /* nnz */
    const void *Y;              /* n x f */
    const void *gramian;        /* f x f */
    const void *regularization; /* m */
    void *X;                    /* m x f, IN and OUT */
    double tol;
    int max_steps;
    int8_t *status;             /* m, initially 0; 1 for a row without a solution */
    int32_t *row_steps;         /* m, or NULL */
    double *row_objective;      /* m, or NULL */
    int threads;
} nnls_problem;

typedef struct {
    int (*solve_rows[2])(const nnls_problem *); /* float32, float64; returns whether an allocation failed */
} nnls_table;

ALTERNANT_TABLES(nnls)

#endif
