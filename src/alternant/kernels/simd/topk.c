/* The greatest dot products of each query: tiles of scores in cache, and a heap of size k per query.
 *
 *     score(u, i) = sum_k queries[u, k] items[i, k],  k ascending
 *
 * Cost of a query: n f multiply-adds, and a heap operation for each score above the k-th best so far (about
 * k log(n / k) of them on random data). The scores of a tile never leave the cache. Each thread processes a block of
 * queries, which share the tiles; a score does not depend on its block or tile, to the last bit.
 *
 * With many queries, items are processed in panels that fit in the scratch memory, by descending norm: a query is done
 * at the first tile where |q| |y| is below the worst score it keeps, and later panels are neither sorted nor packed once
 * all queries are done. A prefilter in bytes (topk_int8.h)
 * finds the few items of a tile whose scores are computed in full: 20,000 queries of 27,000 items, f = 64, k = 10,
 * normal factors in float32, 2 threads of Zen 3: 0.22 s, against 0.9 s without. */
#include "topk.h"

#include "memory.h"
#include "topk_int8.h"
#include "vector.h"

#define PAIRED 8 /* exact scores computed together */

typedef struct {
    ptrdiff_t start, rows;              /* its rows of the outputs */
    ptrdiff_t left;                     /* number of active queries */
    uint32_t query[QUERY_BLOCK];        /* the active ones, counted from start */
    topk_rounded rounded[QUERY_BLOCK];  /* by query, counted from start */
    uint8_t *bytes;
    uint32_t *hits;
} query_block;

static index_list excluded_by(const topk_call *call)
{
    index_list list;
    list.at = call->exclude;
    list.is_int64 = call->int64_exclude;
    return list;
}

/* Whether item i is excluded for query u. */
ALTERNANT_INLINE int excludes(const topk_call *call, ptrdiff_t u, int32_t i)
{
    index_list list;
    ptrdiff_t begin, end, stop;
    if (call->exclude_indptr == NULL) return 0;
    list = excluded_by(call);
    begin = (ptrdiff_t)call->exclude_indptr[u];
    stop = end = (ptrdiff_t)call->exclude_indptr[u + 1];
    while (begin < end) {
        const ptrdiff_t middle = (begin + end) / 2;
        if (index_at(list, middle) < i) begin = middle + 1;
        else end = middle;
    }
    return begin < stop && index_at(list, begin) == i;
}

static ptrdiff_t packed_bytes_of(ptrdiff_t f)
{
    return packed_item_bytes(f);
}

#include "use_float32.h"
#include "heap_real.h"
#include "scores_real.h"
#include "topk_real.h"
#include "use_none.h"

#include "use_float64.h"
#include "heap_real.h"
#include "scores_real.h"
#include "topk_real.h"
#include "use_none.h"

extern const topk_table ALTERNANT_TABLE(topk);
const topk_table ALTERNANT_TABLE(topk) = {
    INT8_PREFILTER,
    sizeof(query_block) + QUERY_BLOCK * ITEM_TILE * sizeof(uint32_t),
    packed_bytes_of,
    {rank_panel_f32, rank_panel_f64},
    {rank_lists_f32, rank_lists_f64},
    {sort_f32, sort_f64},
    {norms_f32, norms_f64},
    {pack_f32, pack_f64},
    {score_pairs_f32, score_pairs_f64},
};
