/* Entry points of counting the items that score higher than given targets: see ranks.c. */
#ifndef ALTERNANT_RANKS_H
#define ALTERNANT_RANKS_H

#include <stddef.h>
#include <stdint.h>

#include "levels.h"

/* The arrays of real numbers are all float32 or all float64. */
typedef struct {
    ptrdiff_t m, n, f;
    const void *queries; /* m x f */
    const void *items;   /* n x f */
    int threads;
} ranks_call;

typedef struct {
    const int64_t *indptr;          /* m + 1 */
    const void *ascending;          /* scores of the targets, ascending within each row */
    const int64_t *exclude_indptr;  /* m + 1 */
    const void *exclude;            /* scores of the excluded items */
    int64_t *above, *equal;         /* of each target, OUT; initially 0 */
} ranks_counts;

typedef struct {
    /* float32, float64; both return whether an allocation failed. score_lists scores the items of a CSR matrix. */
    int (*score_lists[2])(const ranks_call *, const int64_t *indptr, const void *indices, int int64_indices,
                          void *scores);
    int (*count[2])(const ranks_call *, const ranks_counts *);
    /* Fills `out`, m x n, with the scores of all items. */
    int (*score_all[2])(const ranks_call *, void *out);
} ranks_table;

ALTERNANT_TABLES(ranks)

#endif
