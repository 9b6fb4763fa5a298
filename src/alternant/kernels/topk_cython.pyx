r"""The best dot products of every query: tiles of scores in cache, a heap of k for each query.

    score(u, i) = sum_k queries[u, k] items[i, k],  k ascending

Cost of a query: n f multiply-adds, and a heap operation for each score above the k-th best so far (about k log(n / k)
of them on random data). The scores of a tile never leave the cache. A thread takes a block of queries and goes
through all items, so that a tile is packed once for the block; neither the block nor the tile can change a score's
bits.
"""

cimport cython.parallel as parallel
from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport INFINITY
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free

from ._vector cimport aligned_zeros, dot, next_at_least, scores

import numpy as np

from alternant._threads import openmp_threads, resolve_num_threads

ctypedef fused index_t:
    int32_t
    int64_t

cdef extern from *:
    const int32_t INT32_MAX

cdef enum:
    TILE = 256       # items scored at a time: 64 KiB packed at f = 64, float32
    BLOCK = 64       # queries that share a packed tile
    GROUP = 4        # queries scored at a time


cdef inline bint worse(floating a, int32_t a_id, floating b, int32_t b_id) noexcept nogil:
    """Whether (a, a_id) ranks behind (b, b_id): a lower score, or at equal scores a higher id."""
    return a < b or (a == b and a_id > b_id)


cdef inline void sift_down(ptrdiff_t k, floating *score, int32_t *ids, floating value, int32_t i) noexcept nogil:
    """Replace the root (the worst) of a heap by (value, i)."""
    cdef ptrdiff_t parent = 0, child
    while True:
        child = 2 * parent + 1
        if child >= k:
            break
        if child + 1 < k and worse(score[child + 1], ids[child + 1], score[child], ids[child]):
            child += 1
        if not worse(score[child], ids[child], value, i):
            break
        score[parent] = score[child]
        ids[parent] = ids[child]
        parent = child
    score[parent] = value
    ids[parent] = i


cdef inline void sort_heap(ptrdiff_t k, floating *score, int32_t *ids) noexcept nogil:
    """Turn the heap into a list, best first."""
    cdef floating value
    cdef int32_t i
    for k in range(k - 1, 0, -1):
        value, i = score[k], ids[k]
        score[k], ids[k] = score[0], ids[0]
        sift_down(k, score, ids, value, i)


cdef inline void pack_tile(ptrdiff_t width, ptrdiff_t f, ptrdiff_t first, const floating *items,
                           const index_t *candidates, floating *packed) noexcept nogil:
    """Transpose a tile of items, so that neighbouring numbers belong to neighbouring items."""
    cdef ptrdiff_t c, k
    cdef const floating *item
    for c in range(width):
        item = items + f * (first + c if candidates == NULL else <ptrdiff_t> candidates[first + c])
        for k in range(f):
            packed[k * TILE + c] = item[k]


cdef inline void rank_tile(ptrdiff_t width, ptrdiff_t first, const floating *values, const index_t *candidates,
                           const index_t *excluded, int64_t *cursor, int64_t stop, ptrdiff_t k,
                           floating *score, int32_t *ids) noexcept nogil:
    """Put the scores of a tile into one query's heap. Ids ascend, so the excluded ones are passed in one walk."""
    cdef ptrdiff_t c = next_at_least(0, width, values, score[0])
    cdef int32_t i
    while c < width:
        i = <int32_t> (first + c if candidates == NULL else <ptrdiff_t> candidates[first + c])
        while cursor[0] < stop and excluded[cursor[0]] < i:
            cursor[0] += 1
        if not (cursor[0] < stop and excluded[cursor[0]] == i) and worse(score[0], ids[0], values[c], i):
            sift_down(k, score, ids, values[c], i)
        c = next_at_least(c + 1, width, values, score[0])


cdef void rank_block(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t f, ptrdiff_t k, const floating *queries,
                     const floating *items, const index_t *candidates, const int64_t *indptr, ptrdiff_t start,
                     const index_t *excluded, floating *packed, floating *tile, int64_t *cursor, floating *score,
                     int32_t *ids) noexcept nogil:
    """All items for the block of queries from `start` on; its part of the output, score and ids, holds the heaps."""
    cdef ptrdiff_t u, t, c, first, width, group, g
    cdef const floating *q[GROUP]
    for u in range(rows * k):
        score[u] = -INFINITY
        ids[u] = INT32_MAX    # ranks behind any item, even one that scores -inf
    for u in range(rows):
        cursor[u] = 0 if indptr == NULL else indptr[start + u]
    for t in range((n + TILE - 1) // TILE):
        first = t * TILE
        width = min(<ptrdiff_t> TILE, n - first)
        pack_tile(width, f, first, items, candidates, packed)
        for c in range((rows + GROUP - 1) // GROUP):
            group = c * GROUP
            for g in range(GROUP):
                q[g] = queries + min(group + g, rows - 1) * f
            scores(f, TILE, TILE, q[0], q[1], q[2], q[3], packed, tile)
            for u in range(group, min(group + GROUP, rows)):
                rank_tile(width, first, tile + (u - group) * TILE, candidates, excluded, cursor + u,
                          0 if indptr == NULL else indptr[start + u + 1], k, score + u * k, ids + u * k)
    for u in range(rows):
        sort_heap(k, score + u * k, ids + u * k)
    for u in range(rows * k):
        if ids[u] == INT32_MAX:
            ids[u] = -1


def _top_k(
    const floating[:, ::1] queries,       # IN   m x f
    const floating[:, ::1] items,         # IN   n x f
    const int64_t[::1] indptr,            # IN   m + 1, or None to exclude nothing
    const index_t[::1] excluded,          # IN   sorted within each row
    const index_t[::1] candidates,        # IN   ascending
    bint restricted,                      # IN   whether `candidates` counts
    int32_t[:, ::1] out_ids,              # OUT  m x k
    floating[:, ::1] out_scores,          # OUT  m x k
    int num_threads,                      # IN
):
    cdef:
        ptrdiff_t m = queries.shape[0], f = queries.shape[1], k = out_ids.shape[1]
        ptrdiff_t n = candidates.shape[0] if restricted else items.shape[0]
        ptrdiff_t share = min(<ptrdiff_t> BLOCK, max(<ptrdiff_t> GROUP, m // num_threads))
        ptrdiff_t blocks = (m + share - 1) // share, block, start
        size_t packed_bytes = f * TILE * sizeof(floating), tile_bytes = GROUP * TILE * sizeof(floating)
        char *scratch
        void *base
        const index_t *chosen = &candidates[0] if restricted else NULL
        const index_t *seen = NULL
        const int64_t *rows = NULL
        bint no_memory = False

    if indptr is not None and excluded.shape[0]:
        rows = &indptr[0]
        seen = &excluded[0]
    with nogil, parallel.parallel(num_threads=num_threads):
        base = NULL    # assigned here, so that it is private to the thread
        scratch = aligned_zeros(packed_bytes + tile_bytes + BLOCK * sizeof(int64_t), &base)
        for block in prange(blocks, schedule="dynamic", chunksize=1):
            if scratch == NULL:
                no_memory = True
                continue
            start = block * share
            rank_block(min(share, m - start), n, f, k, &queries[start, 0], &items[0, 0], chosen, rows, start, seen,
                       <floating *> scratch, <floating *> (scratch + packed_bytes),
                       <int64_t *> (scratch + packed_bytes + tile_bytes), &out_scores[start, 0], &out_ids[start, 0])
        free(base)
    return no_memory


def top_k(queries, items, k, exclude, candidates, out_ids, out_scores, num_threads=None):
    """See `alternant.kernels.top_k`."""
    restricted = candidates is not None
    if len(queries) == 0:
        return
    if len(candidates if restricted else items) == 0:
        out_ids[:] = -1
        out_scores[:] = -np.inf
        return
    indptr, excluded = (None, np.empty(0, np.int32)) if exclude is None else exclude
    if not restricted:
        candidates = np.empty(0, excluded.dtype)
    if candidates.dtype != excluded.dtype:
        candidates, excluded = candidates.astype(np.int64), excluded.astype(np.int64)
    threads = openmp_threads(min(resolve_num_threads(num_threads), len(queries)))
    if _top_k(queries, items, indptr, excluded, candidates, restricted, out_ids, out_scores, threads):
        raise MemoryError(f"no memory for the scratch space of {threads} threads; use fewer with num_threads")


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
