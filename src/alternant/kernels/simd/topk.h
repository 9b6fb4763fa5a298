/* Entry points of ranking by dot product: see topk.c. */
#ifndef ALTERNANT_TOPK_H
#define ALTERNANT_TOPK_H

#include <stddef.h>
#include <stdint.h>

#include "levels.h"

#define ITEM_TILE 256  /* items scored at a time: 64 KiB in full, 17 KiB in bytes at f = 64, float32 */
#define QUERY_BLOCK 96 /* queries that share a tile */
#define QUERY_GROUP 4  /* queries scored at a time */

/* A row rounded to integers: the step, and bounds on the norms of the row and of its rounding error. */
typedef struct {
    double step, norm, error;
} topk_rounded;

/* The arrays of real numbers are all float32 or all float64. */
typedef struct {
    ptrdiff_t m, f, k;
    const void *queries;           /* m x f */
    const void *items;             /* n x f */
    const int64_t *exclude_indptr; /* m + 1, or NULL to exclude nothing */
    const void *exclude;           /* sorted within each row, int32 or int64 */
    int int64_exclude;
    int32_t *ids;                  /* m x k, OUT: heaps until they are sorted */
    void *scores;                  /* m x k, OUT */
    int threads;
} topk_call;

/* Candidates shared by all queries. */
typedef struct {
    ptrdiff_t n;
    const int32_t *ids;        /* their rows; NULL for all rows in order */
    const topk_rounded *tiles; /* bounds, by descending norm; NULL if the items are not sorted */
    const char *packed;        /* in bytes, aligned; NULL for no prefilter */
} topk_panel;

/* Candidates of each query. */
typedef struct {
    const int64_t *indptr; /* m + 1 */
    const void *items;     /* ascending within each row, int32 or int64 */
    int int64_items;
} topk_lists;

typedef struct {
    int prefilters;          /* whether this level has the instructions for packed items */
    ptrdiff_t block_bytes;   /* of a block of queries, without its tiles and rows */
    ptrdiff_t (*packed_item_bytes)(ptrdiff_t f);
    /* float32, float64; the number of queries of which a later panel may rank items, -1 if an allocation failed */
    ptrdiff_t (*rank_panel[2])(const topk_call *, const topk_panel *);
    void (*rank_lists[2])(const topk_call *, const topk_lists *);
    void (*sort[2])(const topk_call *);
    void (*norms[2])(const topk_call *, const topk_panel *, double *norms);
    void (*pack[2])(const topk_call *, const topk_panel *, topk_rounded *tiles, char *packed);
    void (*score_pairs[2])(ptrdiff_t pairs, ptrdiff_t f, const int64_t *rows, const int64_t *columns, const void *X,
                           const void *Y, void *out, int threads);
} topk_table;

ALTERNANT_TABLES(topk)

#endif
