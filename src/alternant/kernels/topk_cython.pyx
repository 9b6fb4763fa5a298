r"""The best dot products of every query: tiles of scores in cache, a heap of k for each query.

    score(u, i) = sum_k queries[u, k] items[i, k],  k ascending

Cost of a query: n f multiply-adds, and a heap operation for each score above the k-th best so far (about k log(n / k)
of them on random data). The scores of a tile never leave the cache. A thread takes a block of queries and goes
through the tiles, which the queries of the block share; neither the block nor the tile can change a score's bits.

With many queries, items are taken in panels that fit the scratch memory, each ordered by norm: a query leaves a panel
at the first tile where |q| |y| is below its worst one kept. And a first look at a tile, in bytes (_topk.h), finds the
few items whose scores are computed in full: 20,000 queries of 27,000 items, f = 64, k = 10, normal factors in float32,
2 threads of Zen 3: 0.22 s; without the first look, as it was, 0.9 s.
"""

cimport cython.parallel as parallel
from cython cimport floating
from cython.parallel cimport prange
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free

from ._heap cimport excludes, index_t, sift_down, sort_heap, worse
from ._topk cimport (
    TOPK_LOOKS, exact_scores, least_score, look, norm, pack_items, pack_query, packed_item_bytes, rounded_t, slack,
    stays_finite,
)
from ._vector cimport ALTERNANT_PREFETCH, aligned_zeros, dot, next_at_least, scores

import numpy as np

from alternant._utils.threads import openmp_threads, resolve_num_threads
from alternant.kernels._checks import fits_int32

cdef extern from *:
    const int32_t INT32_MAX

cdef enum:
    TILE = 256        # items scored at a time: 64 KiB in full, 17 KiB in bytes at f = 64, float32
    BLOCK = 96        # queries that share a tile
    GROUP = 4         # queries scored at a time
    LOOKS = 6         # queries looked at together
    TOGETHER = 8      # exact scores formed side by side
    BATCH = 128       # queries from which on ordering and packing the items pays
    MOST_FACTORS = 1 << 16    # of the first look: its whole numbers fit in 32 bits, and rounding errors stay small

cdef struct Panel:
    ptrdiff_t n                # items
    const int32_t *ids         # their rows; NULL if all in their order
    const rounded_t *tiles     # bounds, by descending norm; NULL if the items are in no order
    const char *packed         # in bytes; NULL for no first look


cdef struct Block:             # of queries
    ptrdiff_t start, rows      # its part of the outputs
    ptrdiff_t left             # queries that still take part
    uint32_t query[BLOCK]      # which, counted from start
    rounded_t rounded[BLOCK]   # by number of the query
    uint8_t *bytes
    uint32_t *hits


cdef void score_tile(ptrdiff_t t, Panel panel, Block *block, ptrdiff_t f, ptrdiff_t k, const floating *queries,
                     const floating *items, const int64_t *indptr, const index_t *excluded, floating *packed,
                     floating *values, floating *score, int32_t *ids) noexcept nogil:
    """Score a tile in full for the queries left of a block, and put what is good enough into their heaps."""
    cdef ptrdiff_t first = t * TILE, width = min(<ptrdiff_t> TILE, panel.n - first), c, j, a, group, g
    cdef const floating *item
    cdef const floating *q[GROUP]
    cdef floating *worst
    cdef int32_t *worst_id
    cdef int32_t i
    for c in range(width):    # transpose, so that neighbouring numbers belong to neighbouring items
        item = items + f * (first + c if panel.ids == NULL else <ptrdiff_t> panel.ids[first + c])
        for j in range(f):
            packed[j * TILE + c] = item[j]
    for g in range((block.left + GROUP - 1) // GROUP):
        group = g * GROUP
        for a in range(GROUP):
            q[a] = queries + f * block.query[min(group + a, block.left - 1)]
        scores(f, TILE, TILE, q[0], q[1], q[2], q[3], packed, values)
        for a in range(min(<ptrdiff_t> GROUP, block.left - group)):
            j = block.query[group + a]
            worst, worst_id = score + j * k, ids + j * k
            c = next_at_least(0, width, values + a * TILE, worst[0])
            while c < width:
                i = <int32_t> (first + c) if panel.ids == NULL else panel.ids[first + c]
                if worse(worst[0], worst_id[0], values[a * TILE + c], i) and \
                        not excludes(indptr, excluded, block.start + j, i):
                    sift_down(k, worst, worst_id, values[a * TILE + c], i)
                c = next_at_least(c + 1, width, values + a * TILE, worst[0])


cdef ptrdiff_t look_at_tile(ptrdiff_t t, Panel panel, Block *block, ptrdiff_t f, ptrdiff_t k, const floating *queries,
                            const floating *items, const int64_t *indptr, const index_t *excluded, floating *score,
                            int32_t *ids) noexcept nogil:
    """The same through a first look in bytes; returns how many items it let through."""
    cdef ptrdiff_t first = t * TILE, width = min(<ptrdiff_t> TILE, panel.n - first), a, g, u, h
    cdef ptrdiff_t group, hits = 0, kept = 0, row_bytes = (f + 3) // 4 * 4
    cdef const uint8_t *q[LOOKS]
    cdef int32_t least[LOOKS]
    cdef uint32_t query[LOOKS]
    cdef const rounded_t *tile = panel.tiles + t
    cdef rounded_t *rounded
    cdef const char *ahead
    for group in range((block.left + LOOKS - 1) // LOOKS):
        g = group * LOOKS
        for a in range(LOOKS):
            u = block.query[min(g + a, block.left - 1)]
            rounded = block.rounded + u
            q[a], query[a] = block.bytes + u * row_bytes, <uint32_t> u
            least[a] = INT32_MAX if g + a >= block.left else least_score(
                score[u * k], slack(f, rounded.norm, tile.norm, <floating> 0), rounded, tile)
        hits = look(f, width, q, least, query, panel.packed + first * packed_item_bytes(f), hits, block.hits)
    for h in range(hits):
        a, u = block.hits[h] & (TILE - 1), block.hits[h] >> 8
        if a < width and not excludes(indptr, excluded, block.start + u, panel.ids[first + a]):
            block.hits[kept] = block.hits[h]
            kept += 1
            ahead = <const char *> (items + f * panel.ids[first + a])
            for g in range(0, f * <ptrdiff_t> sizeof(floating), 64):
                ALTERNANT_PREFETCH(ahead + g)
    verify(kept, panel.ids + first, block, f, k, queries, items, score, ids)
    return hits


cdef void verify(ptrdiff_t count, const int32_t *panel_ids, Block *block, ptrdiff_t f, ptrdiff_t k,
                 const floating *queries, const floating *items, floating *score, int32_t *ids) noexcept nogil:
    """Score in full what the first look let through, and put it into the heaps."""
    cdef const floating *x[TOGETHER]
    cdef const floating *y[TOGETHER]
    cdef floating value[TOGETHER]
    cdef ptrdiff_t h, a, u, group
    cdef uint32_t hit
    cdef int32_t i
    for group in range((count + TOGETHER - 1) // TOGETHER):
        h = group * TOGETHER
        for a in range(TOGETHER):
            hit = block.hits[min(h + a, count - 1)]
            x[a] = queries + f * (hit >> 8)
            y[a] = items + f * panel_ids[hit & (TILE - 1)]
        exact_scores(f, x, y, value)
        for a in range(min(<ptrdiff_t> TOGETHER, count - h)):
            u, i = block.hits[h + a] >> 8, panel_ids[block.hits[h + a] & (TILE - 1)]
            if worse(score[u * k], ids[u * k], value[a], i):
                sift_down(k, score + u * k, ids + u * k, value[a], i)


cdef bint round_block(Panel panel, Block *block, ptrdiff_t f, const floating *queries) noexcept nogil:
    """Round the queries of a block to bytes; False if bounds don't hold, for scores may overflow or be NaN."""
    cdef ptrdiff_t u
    cdef const floating *q
    for u in range(block.rows):
        q = queries + u * f
        if not stays_finite(norm(f, q), panel.tiles[0].norm, q):
            return False
        pack_query(f, q, block.bytes + u * ((f + 3) // 4 * 4), block.rounded + u)
    return True


cdef void rank_block(Panel panel, Block *block, ptrdiff_t f, ptrdiff_t k, const floating *queries,
                     const floating *items, const int64_t *indptr, const index_t *excluded, floating *packed,
                     floating *values, floating *score, int32_t *ids) noexcept nogil:
    """All items of a panel for a block of queries, whose part of the outputs, score and ids, holds the heaps."""
    cdef ptrdiff_t t, a, u, left, hits, patience = 1
    cdef ptrdiff_t in_full = ids[0] == INT32_MAX    # tiles to score in full: the first one fills the heaps
    cdef bint bounded = panel.tiles != NULL and round_block(panel, block, f, queries)
    cdef double q, y
    block.left = block.rows
    for u in range(block.rows):
        block.query[u] = <uint32_t> u
    for t in range((panel.n + TILE - 1) // TILE):
        if bounded:
            left, y = 0, panel.tiles[t].norm
            for a in range(block.left):
                u = block.query[a]
                q = block.rounded[u].norm
                if q * y + slack(f, q, y, <floating> 0) >= score[u * k]:
                    block.query[left] = <uint32_t> u
                    left += 1
            block.left = left
            if left == 0:
                return
        if in_full > 0 or not bounded or panel.packed == NULL:
            score_tile(t, panel, block, f, k, queries, items, indptr, excluded, packed, values, score, ids)
            in_full -= 1
        else:
            hits = look_at_tile(t, panel, block, f, k, queries, items, indptr, excluded, score, ids)
            if hits * 16 > block.left * TILE:    # the look cost more than it saved: equal scores, say
                in_full, patience = patience, 2 * patience


def _rank_panel(
    const floating[:, ::1] queries,       # IN   m x f
    const floating[:, ::1] items,         # IN   n x f
    ptrdiff_t n,                          # IN   items in the panel
    const int32_t[::1] panel_ids,         # IN   their rows, or None for 0 to n - 1
    const double[:, ::1] tiles,           # IN   their bounds, or None for items in no order
    const uint8_t[::1] packed,            # IN   the items in bytes, aligned, or None
    const int64_t[::1] indptr,            # IN   m + 1, or None to exclude nothing
    const index_t[::1] excluded,          # IN   sorted within each row
    int32_t[:, ::1] out_ids,              # OUT  m x k
    floating[:, ::1] out_scores,          # OUT  m x k
    int num_threads,                      # IN
):
    cdef:
        ptrdiff_t m = queries.shape[0], f = queries.shape[1], k = out_ids.shape[1]
        ptrdiff_t share = min(<ptrdiff_t> BLOCK, max(<ptrdiff_t> GROUP, m // num_threads))
        ptrdiff_t blocks = (m + share - 1) // share, i, start
        size_t tile_bytes = f * TILE * sizeof(floating), values_bytes = GROUP * TILE * sizeof(floating)
        size_t hits_bytes = BLOCK * TILE * sizeof(uint32_t), look_bytes = 0
        char *scratch
        void *base
        Block *block
        Panel panel = Panel(n, NULL, NULL, NULL)
        const index_t *seen = NULL
        const int64_t *rows = NULL
        bint no_memory = False

    if indptr is not None and excluded.shape[0]:
        rows = &indptr[0]
        seen = &excluded[0]
    if panel_ids is not None:
        panel.ids = &panel_ids[0]
    if tiles is not None:
        panel.tiles = <const rounded_t *> &tiles[0, 0]
        look_bytes = hits_bytes + BLOCK * ((f + 3) // 4 * 4)
    if packed is not None:
        panel.packed = <const char *> &packed[0]
    with nogil, parallel.parallel(num_threads=num_threads):
        base = NULL    # assigned here, so that it is private to the thread
        scratch = aligned_zeros(tile_bytes + values_bytes + look_bytes + sizeof(Block), &base)
        for i in prange(blocks, schedule="dynamic", chunksize=1):
            if scratch == NULL:
                no_memory = True
                continue
            start = i * share
            block = <Block *> (scratch + tile_bytes + values_bytes + look_bytes)
            block.start, block.rows = start, min(share, m - start)
            block.hits = <uint32_t *> (scratch + tile_bytes + values_bytes)
            block.bytes = <uint8_t *> (scratch + tile_bytes + values_bytes + hits_bytes)
            rank_block(panel, block, f, k, &queries[start, 0], &items[0, 0], rows, seen, <floating *> scratch,
                       <floating *> (scratch + tile_bytes), &out_scores[start, 0], &out_ids[start, 0])
        free(base)
    return no_memory


def _rank_lists(
    const floating[:, ::1] queries,       # IN   m x f
    const floating[:, ::1] items,         # IN   n x f
    const int64_t[::1] listed_indptr,     # IN   m + 1
    const index_t[::1] listed,            # IN   the items of each query, ascending
    const int64_t[::1] indptr,            # IN   m + 1, or None to exclude nothing
    const index_t[::1] excluded,          # IN   sorted within each row
    int32_t[:, ::1] out_ids,              # OUT  m x k
    floating[:, ::1] out_scores,          # OUT  m x k
    int num_threads,                      # IN
):
    cdef ptrdiff_t m = queries.shape[0], u
    cdef const index_t *seen = NULL
    cdef const int64_t *rows = NULL
    if indptr is not None and excluded.shape[0]:
        rows = &indptr[0]
        seen = &excluded[0]
    if listed.shape[0]:
        for u in prange(m, schedule="dynamic", chunksize=16, nogil=True, num_threads=num_threads):
            rank_list(u, queries.shape[1], out_ids.shape[1], &queries[u, 0], &items[0, 0], &listed[listed_indptr[u]],
                      listed_indptr[u + 1] - listed_indptr[u], rows, seen, &out_scores[u, 0], &out_ids[u, 0])


cdef void rank_list(ptrdiff_t u, ptrdiff_t f, ptrdiff_t k, const floating *query, const floating *items,
                    const index_t *listed, ptrdiff_t count, const int64_t *indptr, const index_t *excluded,
                    floating *score, int32_t *ids) noexcept nogil:
    """Rank one query's own list of items."""
    cdef const floating *x[TOGETHER]
    cdef const floating *y[TOGETHER]
    cdef floating value[TOGETHER]
    cdef int32_t i[TOGETHER]
    cdef ptrdiff_t j = 0, a, filled
    while j < count:
        filled = 0
        while j < count and filled < TOGETHER:
            i[filled] = <int32_t> listed[j]
            filled += not excludes(indptr, excluded, u, i[filled])
            j += 1
        if filled == 0:
            break
        for a in range(TOGETHER):
            x[a] = query
            y[a] = items + f * i[min(a, filled - 1)]
        exact_scores(f, x, y, value)
        for a in range(filled):
            if worse(score[0], ids[0], value[a], i[a]):
                sift_down(k, score, ids, value[a], i[a])


def _norms(
    const floating[:, ::1] items,     # IN   n x f
    const int32_t[::1] ids,           # IN   rows of the panel
    double[::1] out,                  # OUT  upper bounds of their norms
    int num_threads,                  # IN
):
    cdef ptrdiff_t c, f = items.shape[1]
    for c in prange(ids.shape[0], schedule="static", nogil=True, num_threads=num_threads):
        out[c] = norm(f, &items[ids[c], 0])


def _pack(
    const floating[:, ::1] items,     # IN   n x f
    const int32_t[::1] ids,           # IN   rows of the panel, by descending norm
    uint8_t[::1] packed,              # OUT  tiles in bytes, aligned
    double[:, ::1] tiles,             # OUT  their bounds
    int num_threads,                  # IN
):
    cdef ptrdiff_t t, width, n = ids.shape[0], f = items.shape[1], bytes = TILE * packed_item_bytes(f)
    for t in prange((n + TILE - 1) // TILE, schedule="dynamic", nogil=True, num_threads=num_threads):
        width = min(<ptrdiff_t> TILE, n - t * TILE)
        pack_items(width, f, &items[0, 0], &ids[t * TILE], <char *> &packed[t * bytes], <rounded_t *> &tiles[t, 0])


def _sort_heaps(
    int32_t[:, ::1] ids,              # INOUT   m x k
    floating[:, ::1] values,          # INOUT   m x k
    int num_threads,                  # IN
):
    cdef ptrdiff_t u, j, k = ids.shape[1]
    for u in prange(ids.shape[0], schedule="static", nogil=True, num_threads=num_threads):
        sort_heap(k, &values[u, 0], &ids[u, 0])
        for j in range(k):
            if ids[u, j] == INT32_MAX:
                ids[u, j] = -1


def _panels(items, chosen, itemsize, threads, scratch_bytes):
    """Yield (size, rows, bounds of the tiles, tiles in bytes) of panels that fit the scratch memory."""
    n, f = len(items) if chosen is None else len(chosen), items.shape[1]
    tile_bytes = TILE * packed_item_bytes(f) if TOPK_LOOKS and f <= MOST_FACTORS else 0
    fixed = f * TILE * itemsize + GROUP * TILE * itemsize + BLOCK * (TILE * 4 + f + 3) + sizeof(Block)
    # an item's norm, its negative, its place in the order and its row, before and after ordering
    tiles = max(1, (scratch_bytes - fixed) * threads // (tile_bytes + 32 * TILE))
    size = min(n, tiles * TILE)
    tiles = -(-size // TILE)
    packed = np.zeros(tiles * tile_bytes + 64, np.uint8)
    packed = packed[-packed.ctypes.data % 64:]
    bounds, norms = np.empty((tiles, 3)), np.empty(size)
    for start in range(0, n, size):
        ids = np.arange(start, min(start + size, n), dtype=np.int32) if chosen is None else chosen[start:start + size]
        count = len(ids)
        _norms(items, ids, norms[:count], threads)
        if not norms[:count].max() < np.inf:
            yield count, ids, None, None
            continue
        order = np.argsort(-norms[:count])
        ids = ids[order]
        if tile_bytes:
            _pack(items, ids, packed, bounds, threads)
        else:
            bounds[:-(-count // TILE), 1] = norms[order[::TILE]]
        yield count, ids, bounds, packed if tile_bytes else None


def top_k(queries, items, k, exclude, candidates, out_ids, out_scores, num_threads=None, scratch_bytes=1 << 26):
    """See `alternant.kernels.top_k`."""
    fits_int32(items=len(items))
    listed = isinstance(candidates, tuple)
    n = len(items) if candidates is None or listed else len(candidates)
    out_ids[:] = INT32_MAX    # ranks behind any item, even one that scores -inf
    out_scores[:] = -np.inf
    threads = openmp_threads(min(resolve_num_threads(num_threads), max(1, len(queries))))
    indptr, excluded = (None, np.empty(0, np.int32)) if exclude is None else exclude
    if len(queries) and n:
        if listed:
            indices = candidates[1]
            if indices.dtype != excluded.dtype:
                indices, excluded = indices.astype(np.int64), excluded.astype(np.int64)
            _rank_lists(queries, items, candidates[0], indices, indptr, excluded, out_ids, out_scores, threads)
        else:
            chosen = None if candidates is None else candidates.astype(np.int32, copy=False)
            panels = ([(n, chosen, None, None)] if len(queries) < BATCH
                      else _panels(items, chosen, items.itemsize, threads, scratch_bytes))
            for panel in panels:
                if _rank_panel(queries, items, *panel, indptr, excluded, out_ids, out_scores, threads):
                    raise MemoryError(f"no memory for the scratch space of {threads} threads; "
                                      "use fewer with num_threads")
    _sort_heaps(out_ids, out_scores, threads)


def _score_pairs(
    const int64_t[::1] rows,        # IN   p
    const int64_t[::1] columns,     # IN   p
    const floating[:, ::1] X,       # IN   m x f
    const floating[:, ::1] Y,       # IN   n x f
    floating[::1] out,              # OUT  p
    int num_threads,                # IN
):
    cdef ptrdiff_t p, f = X.shape[1]
    for p in prange(rows.shape[0], schedule="static", chunksize=1024, nogil=True, num_threads=num_threads):
        out[p] = <floating> dot(f, &X[rows[p], 0], &Y[columns[p], 0])


def score_pairs(rows, columns, X, Y, out, num_threads=None):
    """See `alternant.kernels.score_pairs`."""
    threads = openmp_threads(min(resolve_num_threads(num_threads), 1 + len(rows) // 1024))
    _score_pairs(rows, columns, X, Y, out, threads)
