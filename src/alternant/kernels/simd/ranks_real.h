/* The counting of ranks.c, for one real type. No include guard: see use_float32.h. */

/* Scratch: a tile of items, packed, and their scores for a group of queries. */
ALTERNANT_INLINE size_t NAME(tile_bytes)(ptrdiff_t f)
{
    return (f + QUERY_GROUP) * ITEM_TILE * sizeof(REAL);
}

/* Transpose an item into column c of a tile, so that adjacent numbers belong to adjacent items. */
ALTERNANT_INLINE void NAME(pack_column)(ptrdiff_t f, const REAL *item, ptrdiff_t c, REAL *packed)
{
    ptrdiff_t k;
    for (k = 0; k < f; k++) packed[k * ITEM_TILE + c] = item[k];
}

/* The same for `width` adjacent items. A few factors at a time, so that the rows written to stay in the L1 cache. */
ALTERNANT_FUNCTION void NAME(pack_tile)(ptrdiff_t f, const REAL *ALTERNANT_RESTRICT items, ptrdiff_t width,
                                        REAL *ALTERNANT_RESTRICT packed)
{
    ptrdiff_t start, c, k;
    for (start = 0; start < f; start += LANES) {
        const ptrdiff_t stop = smaller(start + LANES, f);
        for (c = 0; c < width; c++)
            for (k = start; k < stop; k++) packed[k * ITEM_TILE + c] = items[c * f + k];
    }
}

/* NaN ranks behind everything. */
ALTERNANT_INLINE void NAME(replace_nan)(ptrdiff_t width, REAL *values)
{
    ptrdiff_t c;
    for (c = 0; c < width; c++) values[c] = values[c] == values[c] ? values[c] : -(REAL)INFINITY;
}

/* Add `by` to the counts of targets below and equal to each value; above[b] applies to all targets up to b. */
ALTERNANT_FUNCTION void NAME(add_counts)(ptrdiff_t width, const REAL *values, ptrdiff_t t, const REAL *ascending,
                                         int64_t by, int64_t *above, int64_t *equal)
{
    ptrdiff_t c;
    for (c = 0; c < width; c++) {
        const REAL value = values[c];
        ptrdiff_t low = 0, high = t;
        if (value < ascending[0]) continue;
        while (low < high) {
            const ptrdiff_t middle = (low + high) / 2;
            if (ascending[middle] < value) low = middle + 1;
            else high = middle;
        }
        if (low > 0) above[low - 1] += by;
        for (; low < t && ascending[low] == value; low++) equal[low] += by;
    }
}

/* The scores of one query with a list of items. */
ALTERNANT_FUNCTION void NAME(score_listed)(ptrdiff_t f, const REAL *query, const REAL *items, ptrdiff_t length,
                                           index_list listed, REAL *packed, REAL *out)
{
    REAL *const tile = packed + f * ITEM_TILE;
    ptrdiff_t start, c;
    for (start = 0; start < length; start += ITEM_TILE) {
        const ptrdiff_t width = smaller(ITEM_TILE, length - start);
        for (c = 0; c < width; c++) NAME(pack_column)(f, items + f * index_at(listed, start + c), c, packed);
        NAME(scores)(f, ITEM_TILE, ITEM_TILE, query, query, query, query, packed, tile);
        NAME(replace_nan)(width, tile);
        memcpy(out + start, tile, width * sizeof(REAL));
    }
}

static int NAME(score_lists)(const ranks_call *call, const int64_t *indptr, const void *indices, int int64_indices,
                             void *scores)
{
    const ptrdiff_t f = call->f;
    index_list all;
    int no_memory = 0;
    all.at = indices;
    all.is_int64 = int64_indices;
#ifdef _OPENMP
#  pragma omp parallel num_threads(call->threads) reduction(| : no_memory)
#endif
    {
        void *base;
        char *const scratch = alternant_scratch(NAME(tile_bytes)(f), &base);
        ptrdiff_t u;
        no_memory |= scratch == NULL;
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, 16)
#endif
        for (u = 0; u < call->m; u++)
            if (scratch != NULL)
                NAME(score_listed)(f, (const REAL *)call->queries + u * f, (const REAL *)call->items,
                                   (ptrdiff_t)(indptr[u + 1] - indptr[u]), indices_from(all, (ptrdiff_t)indptr[u]),
                                   (REAL *)scratch, (REAL *)scores + indptr[u]);
        alternant_scratch_free(base);
    }
    return no_memory;
}

/* Count all items for the queries from `start` up to `stop`. */
ALTERNANT_FUNCTION void NAME(count_block)(const ranks_call *call, const ranks_counts *counts, ptrdiff_t start,
                                          ptrdiff_t stop, REAL *packed)
{
    const ptrdiff_t f = call->f;
    const int64_t *const indptr = counts->indptr;
    REAL *const tile = packed + f * ITEM_TILE;
    const REAL *q[QUERY_GROUP];
    ptrdiff_t first, g, group, u;
    for (first = 0; first < call->n; first += ITEM_TILE) {
        const ptrdiff_t width = smaller(ITEM_TILE, call->n - first);
        NAME(pack_tile)(f, (const REAL *)call->items + first * f, width, packed);
        for (group = start; group < stop; group += QUERY_GROUP) {
            for (g = 0; g < QUERY_GROUP; g++) q[g] = (const REAL *)call->queries + smaller(group + g, stop - 1) * f;
            NAME(scores)(f, ITEM_TILE, ITEM_TILE, q[0], q[1], q[2], q[3], packed, tile);
            for (u = group; u < smaller(group + QUERY_GROUP, stop); u++) {
                REAL *const values = tile + (u - group) * ITEM_TILE;
                if (indptr[u] == indptr[u + 1]) continue;
                NAME(replace_nan)(width, values);
                NAME(add_counts)(width, values, (ptrdiff_t)(indptr[u + 1] - indptr[u]),
                                 (const REAL *)counts->ascending + indptr[u], 1, counts->above + indptr[u],
                                 counts->equal + indptr[u]);
            }
        }
    }
}

/* Subtract the excluded items of a query, and accumulate the counts. */
ALTERNANT_FUNCTION void NAME(finish_query)(const ranks_counts *counts, ptrdiff_t u)
{
    const int64_t begin = counts->indptr[u], end = counts->indptr[u + 1], out = counts->exclude_indptr[u];
    const ptrdiff_t excluded = (ptrdiff_t)(counts->exclude_indptr[u + 1] - out);
    int64_t e;
    if (begin == end) return;
    if (excluded > 0)
        NAME(add_counts)(excluded, (const REAL *)counts->exclude + out, (ptrdiff_t)(end - begin),
                         (const REAL *)counts->ascending + begin, -1, counts->above + begin, counts->equal + begin);
    for (e = end - 2; e >= begin; e--) counts->above[e] += counts->above[e + 1];
}

static int NAME(count)(const ranks_call *call, const ranks_counts *counts)
{
    const ptrdiff_t m = call->m;
    const ptrdiff_t share = smaller(QUERY_BLOCK, larger(QUERY_GROUP, m / call->threads));
    const ptrdiff_t blocks = (m + share - 1) / share;
    int no_memory = 0;
#ifdef _OPENMP
#  pragma omp parallel num_threads(call->threads) reduction(| : no_memory)
#endif
    {
        void *base;
        char *const scratch = alternant_scratch(NAME(tile_bytes)(call->f), &base);
        ptrdiff_t block;
        no_memory |= scratch == NULL;
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, 1)
#endif
        for (block = 0; block < blocks; block++) {
            const ptrdiff_t start = block * share, stop = smaller(start + share, m);
            ptrdiff_t u;
            if (scratch == NULL || counts->indptr[start] == counts->indptr[stop]) continue;
            NAME(count_block)(call, counts, start, stop, (REAL *)scratch);
            for (u = start; u < stop; u++) NAME(finish_query)(counts, u);
        }
        alternant_scratch_free(base);
    }
    return no_memory;
}

/* The scores of the queries from `start` up to `stop` with all items. */
ALTERNANT_FUNCTION void NAME(score_block)(const ranks_call *call, ptrdiff_t start, ptrdiff_t stop, REAL *packed,
                                          REAL *out)
{
    const ptrdiff_t f = call->f;
    REAL *const tile = packed + f * ITEM_TILE;
    const REAL *q[QUERY_GROUP];
    ptrdiff_t first, g, group, u;
    for (first = 0; first < call->n; first += ITEM_TILE) {
        const ptrdiff_t width = smaller(ITEM_TILE, call->n - first);
        NAME(pack_tile)(f, (const REAL *)call->items + first * f, width, packed);
        for (group = start; group < stop; group += QUERY_GROUP) {
            for (g = 0; g < QUERY_GROUP; g++) q[g] = (const REAL *)call->queries + smaller(group + g, stop - 1) * f;
            NAME(scores)(f, ITEM_TILE, ITEM_TILE, q[0], q[1], q[2], q[3], packed, tile);
            for (u = group; u < smaller(group + QUERY_GROUP, stop); u++)
                memcpy(out + u * call->n + first, tile + (u - group) * ITEM_TILE, width * sizeof(REAL));
        }
    }
}

/* The scores of one query with all items, which are too many to be packed for it. */
ALTERNANT_FUNCTION void NAME(score_one)(const ranks_call *call, ptrdiff_t u, REAL *out)
{
    const ptrdiff_t f = call->f;
    const REAL *const query = (const REAL *)call->queries + u * f, *const items = (const REAL *)call->items;
    const REAL *q[PAIRED], *y[PAIRED];
    REAL scores[PAIRED];
    ptrdiff_t first, h;
    for (h = 0; h < PAIRED; h++) q[h] = query;
    for (first = 0; first < call->n; first += PAIRED) {
        const ptrdiff_t width = smaller(PAIRED, call->n - first);
        for (h = 0; h < PAIRED; h++) y[h] = items + (first + smaller(h, width - 1)) * f;
        NAME(paired_scores)(f, q, y, scores);
        memcpy(out + u * call->n + first, scores, width * sizeof(REAL));
    }
}

static int NAME(score_all)(const ranks_call *call, void *out)
{
    const ptrdiff_t m = call->m;
    const ptrdiff_t share = smaller(QUERY_BLOCK, larger(QUERY_GROUP, m / call->threads));
    const ptrdiff_t blocks = (m + share - 1) / share;
    int no_memory = 0;
#ifdef _OPENMP
#  pragma omp parallel num_threads(call->threads) reduction(| : no_memory)
#endif
    {
        void *base;
        char *const scratch = alternant_scratch(NAME(tile_bytes)(call->f), &base);
        ptrdiff_t block;
        no_memory |= scratch == NULL;
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, 1)
#endif
        for (block = 0; block < blocks; block++) {
            const ptrdiff_t start = block * share, stop = smaller(start + share, m);
            ptrdiff_t u;
            if (scratch == NULL) continue;
            if (stop - start < QUERY_GROUP)
                for (u = start; u < stop; u++) NAME(score_one)(call, u, (REAL *)out);
            else NAME(score_block)(call, start, stop, (REAL *)scratch, (REAL *)out);
        }
        alternant_scratch_free(base);
    }
    return no_memory;
}
