/* Entry points of counting the items that score higher than chosen ones: see ranks.c. */
#ifndef ALTERNANT_RANKS_H
#define ALTERNANT_RANKS_H

#include <stddef.h>
#include <stdint.h>

#include "levels.h"

/* All arrays of real numbers are float32 or float64 alike. */
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
    int64_t *above, *equal;         /* of each target, OUT; 0 before */
} ranks_counts;

typedef struct {
    /* float32, float64; both return whether memory was missing. The scores of the items that a CSR matrix lists: */
    int (*score_lists[2])(const ranks_call *, const int64_t *indptr, const void *indices, int int64_indices,
                          void *scores);
    int (*count[2])(const ranks_call *, const ranks_counts *);
} ranks_table;

ALTERNANT_TABLES(ranks)

#endif
