/* Entry points of the row problems of alternating least squares: see als.c. */
#ifndef ALTERNANT_ALS_H
#define ALTERNANT_ALS_H

#include <stddef.h>
#include <stdint.h>

#include "levels.h"

enum { ROW_SOLVED = 0, ROW_SINGULAR = 1 };

/* The arrays of real numbers are all float32 or all float64. */
typedef struct {
    ptrdiff_t m, f;
    const int64_t *indptr;      /* m + 1 */
    const void *indices;        /* nnz, int32 or int64 */
    int int64_indices;
    const void *weight;         /* nnz */
    const void *target;         /* nnz, or NULL: then t = w + added */
    double added;
    const void *target_scale;   /* n, or NULL */
    const void *linear;         /* m x f, added to the right-hand sides, or NULL; only for solve_rows */
    const void *X;              /* m x f; only for squared_error and normal_products */
    const void *Y;              /* n x f; or NULL */
    const uint16_t *Y_f16;      /* the same in float16, if Y is NULL */
    const void *diagonal;       /* f */
    const void *regularization; /* m; only for solve_rows */
    int threads;
} als_problem;

typedef struct {
    void *X;                   /* m x f, IN and OUT */
    int exact;                 /* Cholesky for every row */
    double tol;
    int max_steps;
    int8_t *status;            /* m, initially 0 */
    int32_t *row_steps;        /* m, or NULL */
    double *row_objective;     /* m, or NULL */
} als_solution;

enum { ALS_DONE = 0, ALS_NO_MEMORY = 1, ALS_NEEDS_Y = 2 };

typedef struct {
    /* Returns ALS_NEEDS_Y without doing anything if rows must be solved exactly and Y is in float16. */
    int (*solve_rows[2])(const als_problem *, const als_solution *); /* float32, float64 */
    void (*squared_error[2])(const als_problem *, double *row_error);
    int (*normal_products[2])(const als_problem *, void *out); /* X holds the directions */
} als_table;

ALTERNANT_TABLES(als)

#endif
