/* The ranking of topk.c, for one real type. No include guard: see use_float32.h. */

/* q . y of 4 items for f >= VL, summed in another order than a score; their squares are added to `squares`, some of
 * them twice. `rest` holds what is left of the query after whole vectors, behind zeros. */
ALTERNANT_INLINE void NAME(rough_scores)(ptrdiff_t f, const REAL *q, VECTOR rest, const REAL *const *row, REAL *sums,
                                         VECTOR *squares)
{
    VECTOR s[4], n[4];
    ptrdiff_t a, j;
    memset(s, 0, sizeof s);
    memcpy(n, squares, sizeof n);
    for (j = 0; j + VL <= f; j += VL) {
        const VECTOR query = LOOSE(q + j);
        ALTERNANT_UNROLL
        for (a = 0; a < 4; a++) {
            const VECTOR item = LOOSE(row[a] + j);
            s[a] += query * item;
            n[a] += item * item;
        }
    }
    if (j < f)
        for (a = 0; a < 4; a++) {
            const VECTOR item = LOOSE(row[a] + f - VL);
            s[a] += rest * item;
            n[a] += item * item;
        }
    memcpy(squares, n, sizeof n);
    NAME(row_sums)(4, s, sums);
}

/* Score PAIRED items or fewer in full for query u, and update its heap. */
ALTERNANT_INLINE void NAME(score_listed)(const topk_call *call, ptrdiff_t u, ptrdiff_t count, const int32_t *ids)
{
    const ptrdiff_t f = call->f, k = call->k;
    REAL *const worst = (REAL *)call->scores + u * k, value[PAIRED];
    int32_t *const worst_id = call->ids + u * k;
    const REAL *x[PAIRED], *y[PAIRED];
    ptrdiff_t a;
    if (count == 0) return;
    for (a = 0; a < PAIRED; a++) {
        x[a] = (const REAL *)call->queries + u * f;
        y[a] = (const REAL *)call->items + f * (ptrdiff_t)ids[smaller(a, count - 1)];
    }
    NAME(paired_scores)(f, x, y, value);
    for (a = 0; a < count; a++)
        if (NAME(worse)(worst[0], worst_id[0], value[a], ids[a])) NAME(sift_down)(k, worst, worst_id, value[a], ids[a]);
}

/* score_tile for one query and f >= VL, without the transposition, which would take most of the time. Of most items,
 * a sum in another order tells that they do not rank: it differs from the score by at most (f + 1) eps |q| |y|, and
 * twice that is allowed, with the squares of the whole tile for |y|^2. REAL_MIN stands for squares that underflow.
 * Returns 0, and does nothing, if numbers are so large that sums may overflow, or NaN. */
ALTERNANT_FUNCTION int NAME(score_for_one)(ptrdiff_t t, const topk_call *call, const topk_panel *panel, ptrdiff_t u,
                                           REAL *sums)
{
    const ptrdiff_t f = call->f, first = t * ITEM_TILE, width = smaller(ITEM_TILE, panel->n - first);
    const REAL *const q = (const REAL *)call->queries + u * f, *const items = (const REAL *)call->items;
    const REAL *const worst = (const REAL *)call->scores + u * call->k;
    const double rounding = 2 * (double)(f + 4) * REAL_EPSILON;
    VECTOR squares[4];
    REAL rest[LANES] ALTERNANT_ALIGNED = {0}, slack;
    int32_t hits[PAIRED];
    ptrdiff_t count = 0, a, c;
    for (a = f / VL * VL; a < f; a++) rest[VL - f + a] = q[a];
    memset(squares, 0, sizeof squares);
    for (c = 0; c < width; c += 4) {
        const REAL *row[4];
        for (a = 0; a < 4; a++) {
            const ptrdiff_t place = first + smaller(c + a, width - 1);
            row[a] = items + f * (panel->ids == NULL ? place : (ptrdiff_t)panel->ids[place]);
        }
        NAME(rough_scores)(f, q, CAT(rest), row, sums + c, squares);
    }
    squares[0] += squares[1] + squares[2] + squares[3];
    slack = (REAL)(rounding * sqrt(NAME(dot)(f, q, q)) * sqrt((double)NAME(lane_sum)(squares[0]) + REAL_MIN));
    if (!(slack < (REAL)rounding * REAL_MAX)) return 0;
    for (c = -1; (c = NAME(next_at_least)(c + 1, width, sums, worst[0] - slack)) < width;) {
        const int32_t i = panel->ids == NULL ? (int32_t)(first + c) : panel->ids[first + c];
        if (excludes(call, u, i)) continue;
        hits[count++] = i;
        if (count == PAIRED) {
            NAME(score_listed)(call, u, count, hits);
            count = 0;
        }
    }
    NAME(score_listed)(call, u, count, hits);
    return 1;
}

/* Score a tile in full for the active queries of a block, and update their heaps. */
ALTERNANT_FUNCTION void NAME(score_tile)(ptrdiff_t t, const topk_call *call, const topk_panel *panel,
                                         const query_block *block, REAL *packed, REAL *values)
{
    const ptrdiff_t f = call->f, k = call->k, first = t * ITEM_TILE, width = smaller(ITEM_TILE, panel->n - first);
    const REAL *const queries = (const REAL *)call->queries + block->start * f;
    const REAL *const items = (const REAL *)call->items;
    const REAL *q[QUERY_GROUP];
    ptrdiff_t c, j, a, group;
    if (block->left == 1 && f >= VL && NAME(score_for_one)(t, call, panel, block->start + block->query[0], values)) return;
    if (f == 1 && panel->ids == NULL) memcpy(packed, items + first, width * sizeof(REAL));
    else
        for (c = 0; c < width; c++) { /* transpose, so that adjacent numbers belong to adjacent items */
            const REAL *item = items + f * (panel->ids == NULL ? first + c : (ptrdiff_t)panel->ids[first + c]);
            for (j = 0; j < f; j++) packed[j * ITEM_TILE + c] = item[j];
        }
    for (group = 0; group < block->left; group += QUERY_GROUP) {
        for (a = 0; a < QUERY_GROUP; a++) q[a] = queries + f * block->query[smaller(group + a, block->left - 1)];
        NAME(scores)(f, ITEM_TILE, ITEM_TILE, q[0], q[1], q[2], q[3], packed, values);
        for (a = 0; a < smaller(QUERY_GROUP, block->left - group); a++) {
            const ptrdiff_t u = block->start + block->query[group + a];
            REAL *const worst = (REAL *)call->scores + u * k;
            int32_t *const worst_id = call->ids + u * k;
            const REAL *const value = values + a * ITEM_TILE;
            for (c = NAME(next_at_least)(0, width, value, worst[0]); c < width;
                 c = NAME(next_at_least)(c + 1, width, value, worst[0])) {
                const int32_t i = panel->ids == NULL ? (int32_t)(first + c) : panel->ids[first + c];
                if (NAME(worse)(worst[0], worst_id[0], value[c], i) && !excludes(call, u, i))
                    NAME(sift_down)(k, worst, worst_id, value[c], i);
            }
        }
    }
}

#if INT8_PREFILTER
/* Score the hits of the prefilter in full, and update the heaps. */
ALTERNANT_FUNCTION void NAME(verify)(ptrdiff_t count, const int32_t *tile_ids, const topk_call *call,
                                     const query_block *block)
{
    const ptrdiff_t f = call->f, k = call->k;
    const REAL *const queries = (const REAL *)call->queries + block->start * f;
    const REAL *const items = (const REAL *)call->items;
    const REAL *x[PAIRED], *y[PAIRED];
    REAL value[PAIRED];
    ptrdiff_t h, a;
    for (h = 0; h < count; h += PAIRED) {
        for (a = 0; a < PAIRED; a++) {
            const uint32_t hit = block->hits[smaller(h + a, count - 1)];
            x[a] = queries + f * (hit >> 8);
            y[a] = items + f * tile_ids[hit & (ITEM_TILE - 1)];
        }
        NAME(paired_scores)(f, x, y, value);
        for (a = 0; a < smaller(PAIRED, count - h); a++) {
            const uint32_t hit = block->hits[h + a];
            const ptrdiff_t u = block->start + (hit >> 8);
            const int32_t i = tile_ids[hit & (ITEM_TILE - 1)];
            REAL *const score = (REAL *)call->scores + u * k;
            int32_t *const ids = call->ids + u * k;
            if (NAME(worse)(score[0], ids[0], value[a], i)) NAME(sift_down)(k, score, ids, value[a], i);
        }
    }
}

/* score_tile with the prefilter; returns the number of its hits. */
ALTERNANT_FUNCTION ptrdiff_t NAME(prefilter_tile)(ptrdiff_t t, const topk_call *call, const topk_panel *panel,
                                                  const query_block *block)
{
    const ptrdiff_t f = call->f, first = t * ITEM_TILE, width = smaller(ITEM_TILE, panel->n - first);
    const ptrdiff_t row_bytes = (f + 3) / 4 * 4;
    const REAL *const items = (const REAL *)call->items;
    const topk_rounded *const tile = panel->tiles + t;
    const char *const packed = panel->packed + first * packed_item_bytes(f);
    const uint8_t *q[INT8_QUERIES];
    int32_t least[INT8_QUERIES];
    uint32_t query[INT8_QUERIES];
    ptrdiff_t hits = 0, kept = 0, g, a, h;
    for (g = 0; g < block->left; g += INT8_QUERIES) {
        for (a = 0; a < INT8_QUERIES; a++) {
            const uint32_t u = block->query[smaller(g + a, block->left - 1)];
            const topk_rounded *const rounded = block->rounded + u;
            const REAL worst = ((const REAL *)call->scores)[(block->start + u) * call->k];
            q[a] = block->bytes + u * row_bytes;
            query[a] = u;
            least[a] = g + a >= block->left
                ? INT32_MAX : least_score(worst, NAME(slack)(f, rounded->norm, tile->norm), rounded, tile);
        }
        hits = filter_tile(f, width, q, least, query, packed, hits, block->hits);
    }
    for (h = 0; h < hits; h++) {
        const ptrdiff_t c = block->hits[h] & (ITEM_TILE - 1), u = block->hits[h] >> 8;
        if (c < width && !excludes(call, block->start + u, panel->ids[first + c])) {
            block->hits[kept++] = block->hits[h];
            NAME(prefetch_row)(f, items + f * panel->ids[first + c]);
        }
    }
    NAME(verify)(kept, panel->ids + first, call, block);
    return hits;
}
#endif

/* Bound the queries of a block, and round them to bytes for the prefilter; 0 if the bounds do not hold because scores
 * may overflow or be NaN. */
ALTERNANT_FUNCTION int NAME(bound_block)(const topk_call *call, const topk_panel *panel, query_block *block)
{
    const ptrdiff_t f = call->f;
    ptrdiff_t u;
    for (u = 0; u < block->rows; u++) {
        const REAL *const q = (const REAL *)call->queries + (block->start + u) * f;
        const double norm = NAME(norm)(f, q);
        if (!NAME(stays_finite)(norm, panel->tiles[0].norm)) return 0;
        block->rounded[u].norm = norm;
        if (panel->packed != NULL) NAME(pack_query)(f, q, block->bytes + u * ((f + 3) / 4 * 4), block->rounded + u);
    }
    return 1;
}

/* Rank all items of a panel for a block of queries, whose rows of the outputs hold the heaps. */
ALTERNANT_FUNCTION void NAME(rank_block)(const topk_call *call, const topk_panel *panel, query_block *block,
                                         REAL *packed, REAL *values)
{
    const ptrdiff_t f = call->f, k = call->k;
    const REAL *const score = (const REAL *)call->scores + block->start * k;
    const int bounded = panel->tiles != NULL && NAME(bound_block)(call, panel, block);
    /* Tiles to score in full: the first one, if it has to fill the heaps. */
    ptrdiff_t in_full = call->ids[block->start * k] == INT32_MAX, t, a;
#if INT8_PREFILTER
    ptrdiff_t patience = 1;
#endif
    block->left = block->rows;
    for (a = 0; a < block->rows; a++) block->query[a] = (uint32_t)a;
    for (t = 0; t < (panel->n + ITEM_TILE - 1) / ITEM_TILE; t++) {
        if (bounded) {
            const double y = panel->tiles[t].norm;
            ptrdiff_t left = 0;
            for (a = 0; a < block->left; a++) {
                const uint32_t u = block->query[a];
                const double q = block->rounded[u].norm;
                if (q * y + NAME(slack)(f, q, y) >= score[u * k]) block->query[left++] = u;
            }
            block->left = left;
            if (left == 0) return;
        }
#if INT8_PREFILTER
        if (bounded && in_full <= 0 && panel->packed != NULL) {
            const ptrdiff_t hits = NAME(prefilter_tile)(t, call, panel, block);
            if (hits * 16 > block->left * ITEM_TILE) { /* it cost more than it saved, e.g. with equal scores */
                in_full = patience;
                patience *= 2;
            }
            continue;
        }
#endif
        NAME(score_tile)(t, call, panel, block, packed, values);
        in_full--;
    }
    (void)in_full; /* unused without the prefilter */
}

static ptrdiff_t NAME(rank_panel)(const topk_call *call, const topk_panel *panel)
{
    const ptrdiff_t m = call->m, f = call->f;
    const ptrdiff_t share = smaller(QUERY_BLOCK, larger(QUERY_GROUP, m / call->threads));
    const ptrdiff_t blocks = (m + share - 1) / share;
    const size_t tile_bytes = f * ITEM_TILE * sizeof(REAL), values_bytes = QUERY_GROUP * ITEM_TILE * sizeof(REAL);
    const size_t hits_bytes = panel->packed == NULL ? 0 : QUERY_BLOCK * ITEM_TILE * sizeof(uint32_t);
    const size_t rows_bytes = panel->packed == NULL ? 0 : (size_t)(QUERY_BLOCK * ((f + 3) / 4 * 4));
    ptrdiff_t left = 0;
    int no_memory = 0;
#ifdef _OPENMP
#  pragma omp parallel num_threads(call->threads) reduction(| : no_memory) reduction(+ : left)
#endif
    {
        void *base;
        char *const scratch = alternant_scratch(
            tile_bytes + values_bytes + hits_bytes + rows_bytes + sizeof(query_block), &base);
        ptrdiff_t i;
        no_memory |= scratch == NULL;
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, 1)
#endif
        for (i = 0; i < blocks; i++) {
            query_block *block;
            if (scratch == NULL) continue;
            block = (query_block *)(scratch + tile_bytes + values_bytes + hits_bytes + rows_bytes);
            block->start = i * share;
            block->rows = smaller(share, m - block->start);
            block->hits = (uint32_t *)(scratch + tile_bytes + values_bytes);
            block->bytes = (uint8_t *)(scratch + tile_bytes + values_bytes + hits_bytes);
            NAME(rank_block)(call, panel, block, (REAL *)scratch, (REAL *)(scratch + tile_bytes));
            left += block->left;
        }
        alternant_scratch_free(base);
    }
    return no_memory ? -1 : left;
}

/* Rank the items of query u's own list. */
ALTERNANT_FUNCTION void NAME(rank_list)(const topk_call *call, ptrdiff_t u, index_list list, ptrdiff_t count)
{
    int32_t ids[PAIRED];
    ptrdiff_t j = 0, filled;
    while (j < count) {
        for (filled = 0; j < count && filled < PAIRED; j++) {
            ids[filled] = (int32_t)index_at(list, j);
            filled += !excludes(call, u, ids[filled]);
        }
        NAME(score_listed)(call, u, filled, ids);
    }
}

static void NAME(rank_lists)(const topk_call *call, const topk_lists *lists)
{
    index_list all;
    ptrdiff_t u;
    all.at = lists->items;
    all.is_int64 = lists->int64_items;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 16) num_threads(call->threads)
#endif
    for (u = 0; u < call->m; u++)
        NAME(rank_list)(call, u, indices_from(all, (ptrdiff_t)lists->indptr[u]),
                        (ptrdiff_t)(lists->indptr[u + 1] - lists->indptr[u]));
}

/* Turn the heaps into lists, best first; empty slots get id -1. */
static void NAME(sort)(const topk_call *call)
{
    const ptrdiff_t k = call->k;
    ptrdiff_t u;
#ifdef _OPENMP
#  pragma omp parallel for schedule(static) num_threads(call->threads)
#endif
    for (u = 0; u < call->m; u++) NAME(sort_heap)(k, (REAL *)call->scores + u * k, call->ids + u * k);
}

/* Upper bounds on the norms of a panel's items. */
static void NAME(norms)(const topk_call *call, const topk_panel *panel, double *norms)
{
    ptrdiff_t c;
#ifdef _OPENMP
#  pragma omp parallel for schedule(static) num_threads(call->threads)
#endif
    for (c = 0; c < panel->n; c++)
        norms[c] = NAME(norm)(call->f, (const REAL *)call->items + panel->ids[c] * call->f);
}

/* Pack the items of a panel, by descending norm, and bound its tiles. */
static void NAME(pack)(const topk_call *call, const topk_panel *panel, topk_rounded *tiles, char *packed)
{
    const ptrdiff_t f = call->f, bytes = ITEM_TILE * packed_item_bytes(f);
    ptrdiff_t t;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 1) num_threads(call->threads)
#endif
    for (t = 0; t < (panel->n + ITEM_TILE - 1) / ITEM_TILE; t++)
        NAME(pack_items)(smaller(ITEM_TILE, panel->n - t * ITEM_TILE), f, (const REAL *)call->items,
                         panel->ids + t * ITEM_TILE, packed + t * bytes, tiles + t);
}

static void NAME(score_pairs)(ptrdiff_t pairs, ptrdiff_t f, const int64_t *rows, const int64_t *columns, const void *X,
                              const void *Y, void *out, int threads)
{
    ptrdiff_t p;
    (void)threads; /* unused without OpenMP */
#ifdef _OPENMP
#  pragma omp parallel for schedule(static, 1024) num_threads(threads)
#endif
    for (p = 0; p < pairs; p++)
        ((REAL *)out)[p] = (REAL)NAME(dot)(f, (const REAL *)X + rows[p] * f, (const REAL *)Y + columns[p] * f);
}
