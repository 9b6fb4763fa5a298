/* Entry points of learning from one positive and many negatives: see contrastive.c. */
#ifndef ALTERNANT_CONTRASTIVE_H
#define ALTERNANT_CONTRASTIVE_H

#include <stddef.h>
#include <stdint.h>

#include "levels.h"

#define CONTRASTIVE_PANEL 64 /* negatives whose columns are packed together */
#define CONTRASTIVE_ROWS 4   /* rows, or negatives, processed together */

typedef struct {
    ptrdiff_t batches, f, sampled; /* batches to process; negatives of each */
    const int64_t *order;          /* batches: their numbers */
    const int32_t *negatives;      /* batches * sampled: ascending in each batch */
    const int64_t *indptr;         /* m + 1 */
    const int32_t *indices;        /* nnz */
    const int64_t *row_edges;      /* by number of the batch: its rows; also the next */
    const int64_t *column_edges;   /* its part of columns */
    const int32_t *columns;        /* distinct columns of the positives of each batch, ascending */
    const int64_t *starts;         /* length of columns + 1: the entries of each of them */
    const int64_t *entries;        /* nnz: numbers of entries, by batch and column */
    const int32_t *entry_rows;     /* nnz: their rows */
    void *X, *Y;                   /* float32 or float64 */
    double *row_squares, *column_squares;
    const double *row_weight;      /* m */
    int softmax, update_columns;
    double temperature, margin, weight, rate;
    /* Scratch, of the same type as X, for the longest batch; rows are padded with zeros to a multiple of 64 bytes. */
    void *old;      /* rows + 3, padded f: the rows before their steps */
    void *packed;   /* sampled, padded f: the negatives, likewise */
    void *panels;   /* padded sampled * f: their columns, a panel after the other */
    void *slopes;   /* rows + 3, padded sampled: scores, then derivatives of the loss */
    void *positive; /* entries of the batch: likewise */
    void *gradient; /* rows + 3, padded f */
    void *column_gradient; /* sampled and the number of columns, each rounded up to CONTRASTIVE_ROWS; padded f */
    double *loss;   /* m, OUT */
    int threads;
} contrastive_epoch;

typedef struct {
    void (*epoch[2])(const contrastive_epoch *); /* float32, float64 */
} contrastive_table;

ALTERNANT_TABLES(contrastive)

#endif
