/* Entry points of products of many rows with a small matrix: see dense.c. */
#ifndef ALTERNANT_DENSE_H
#define ALTERNANT_DENSE_H

#include <stddef.h>
#include <stdint.h>

#include "levels.h"

/* BLAS routines, looked up at run time. */
typedef struct {
    void (*sgemm)(char *, char *, int *, int *, int *, float *, float *, int *, float *, int *, float *, float *, int *);
    void (*dgemm)(char *, char *, int *, int *, int *, double *, double *, int *, double *, int *, double *, double *,
                  int *);
    void (*strmm)(char *, char *, char *, char *, int *, int *, float *, float *, int *, float *, int *);
    void (*dtrmm)(char *, char *, char *, char *, int *, int *, double *, double *, int *, double *, int *);
    void (*dsyrk)(char *, char *, int *, int *, double *, double *, int *, double *, double *, int *);
} dense_blas;

enum { LOWER_TRIANGLE = -1, FULL_MATRIX = 0, UPPER_TRIANGLE = 1 };

/* The arrays of real numbers are all float32 or all float64. */
typedef struct {
    ptrdiff_t m, f, width, columns; /* rows; order of the matrix; columns of `rows`; columns of the output */
    const void *rows;               /* m x width, width >= f */
    const void *matrix;             /* f x f */
    void *out;                      /* m x columns, columns >= f; may be rows; or NULL: */
    uint16_t *out_f16;              /* the same in float16 */
    int triangle;
    int threads;
    const dense_blas *blas;
} dense_product;

/* Rows processed at a time. Fixed, so that results do not depend on the number of threads. */
#define ROW_BLOCK 256

typedef struct {
    /* float32, float64; both return whether an allocation failed. */
    int (*multiply[2])(const dense_product *);
    /* The lower triangle of the Gramian of each part of the rows; initially 0. */
    int (*gramians[2])(const dense_product *, ptrdiff_t parts, double *sums);
    void (*squared_norms[2])(const dense_product *, double *out);
    /* Sum the parts, and mirror the lower triangle. */
    void (*add_parts)(ptrdiff_t f, ptrdiff_t parts, const double *sums, double *out, int threads);
} dense_table;

ALTERNANT_TABLES(dense)

#endif
