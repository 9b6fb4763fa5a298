r"""How many items score higher than chosen ones: tiles of scores in cache, a histogram over the targets' scores.

    score(u, i) = sum_k queries[u, k] items[i, k],  k ascending
    above(u, j) = |{i not excluded : score(u, i) > score(u, j)}|

Cost of a query with t targets: n f multiply-adds and, for each score above the least of the targets, a search among
them (log t). The targets' scores are formed tile by tile like all others, so that equal items tie to the bit. Excluded
items are counted with the rest and then taken off again.
"""

cimport cython.parallel as parallel
from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport INFINITY
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free

from ._vector cimport aligned_zeros, scores

import numpy as np

from alternant._utils.threads import openmp_threads, resolve_num_threads

ctypedef fused index_t:
    int32_t
    int64_t

cdef enum:
    TILE = 256       # items scored at a time: 64 KiB packed at f = 64, float32
    BLOCK = 64       # queries that share a packed tile
    GROUP = 4        # queries scored at a time


cdef inline void pack_tile(ptrdiff_t width, ptrdiff_t f, const floating *items, const index_t *chosen,
                           floating *packed) noexcept nogil:
    """Transpose a tile of items (the next ones, or those chosen), so that neighbouring numbers are of neighbours."""
    cdef ptrdiff_t c, k
    cdef const floating *item
    for c in range(width):
        item = items + f * (c if chosen == NULL else <ptrdiff_t> chosen[c])
        for k in range(f):
            packed[k * TILE + c] = item[k]


cdef inline void replace_nan(ptrdiff_t width, floating *values) noexcept nogil:
    cdef ptrdiff_t c
    for c in range(width):
        values[c] = values[c] if values[c] == values[c] else -INFINITY


cdef inline void count(ptrdiff_t width, const floating *values, ptrdiff_t t, const floating *ascending, int64_t by,
                       int64_t *above, int64_t *equal) noexcept nogil:
    """Add `by` to the targets below and at each value: above[b] counts for all targets up to b."""
    cdef ptrdiff_t c, low, high, middle
    cdef floating value
    for c in range(width):
        value = values[c]
        if value < ascending[0]:
            continue
        low, high = 0, t
        while low < high:
            middle = (low + high) // 2
            if ascending[middle] < value:
                low = middle + 1
            else:
                high = middle
        if low > 0:
            above[low - 1] += by
        while low < t and ascending[low] == value:
            equal[low] += by
            low += 1


cdef void score_listed(ptrdiff_t f, const floating *query, const floating *items, ptrdiff_t length,
                       const index_t *listed, floating *packed, floating *tile, floating *out) noexcept nogil:
    """The scores of one query with listed items."""
    cdef ptrdiff_t t, start, width, c
    for t in range((length + TILE - 1) // TILE):
        start = t * TILE
        width = min(<ptrdiff_t> TILE, length - start)
        pack_tile(width, f, items, listed + start, packed)
        scores(f, TILE, TILE, query, query, query, query, packed, tile)
        replace_nan(width, tile)
        for c in range(width):
            out[start + c] = tile[c]


cdef void count_block(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t f, const floating *queries, const floating *items,
                      const int64_t *indptr, const floating *ascending, floating *packed, floating *tile,
                      int64_t *above, int64_t *equal) noexcept nogil:
    """Count all items for a block of queries."""
    cdef ptrdiff_t t, c, first, width, group, g, u
    cdef const floating *q[GROUP]
    for t in range((n + TILE - 1) // TILE):
        first = t * TILE
        width = min(<ptrdiff_t> TILE, n - first)
        pack_tile(width, f, items + first * f, <const int32_t *> NULL, packed)
        for c in range((rows + GROUP - 1) // GROUP):
            group = c * GROUP
            for g in range(GROUP):
                q[g] = queries + min(group + g, rows - 1) * f
            scores(f, TILE, TILE, q[0], q[1], q[2], q[3], packed, tile)
            for u in range(group, min(group + GROUP, rows)):
                if indptr[u] < indptr[u + 1]:
                    replace_nan(width, tile + (u - group) * TILE)
                    count(width, tile + (u - group) * TILE, indptr[u + 1] - indptr[u], ascending + indptr[u], 1,
                          above + indptr[u], equal + indptr[u])


def _score_lists(
    const floating[:, ::1] queries,       # IN   m x f
    const floating[:, ::1] items,         # IN   n x f
    const int64_t[::1] indptr,            # IN   m + 1
    const index_t[::1] indices,           # IN
    floating[::1] out,                    # OUT  len(indices)
    int num_threads,                      # IN
):
    cdef:
        ptrdiff_t u, m = queries.shape[0], f = queries.shape[1]
        char *scratch
        void *base
        bint no_memory = False
    with nogil, parallel.parallel(num_threads=num_threads):
        base = NULL    # assigned here, so that it is private to the thread
        scratch = aligned_zeros((f + GROUP) * TILE * sizeof(floating), &base)
        for u in prange(m, schedule="dynamic", chunksize=16):
            if scratch == NULL:
                no_memory = True
                continue
            if indptr[u] < indptr[u + 1]:
                score_listed(f, &queries[u, 0], &items[0, 0], indptr[u + 1] - indptr[u], &indices[indptr[u]],
                             <floating *> scratch, (<floating *> scratch) + f * TILE, &out[indptr[u]])
        free(base)
    return no_memory


def _count(
    const floating[:, ::1] queries,       # IN   m x f
    const floating[:, ::1] items,         # IN   n x f
    const int64_t[::1] indptr,            # IN   m + 1
    const floating[::1] ascending,        # IN   scores of the targets, ascending within each row
    const int64_t[::1] out_indptr,        # IN   m + 1: of the excluded items
    const floating[::1] excluded,         # IN   their scores
    int64_t[::1] above,                   # OUT  zeros before
    int64_t[::1] equal,                   # OUT  zeros before
    int num_threads,                      # IN
):
    cdef:
        ptrdiff_t m = queries.shape[0], f = queries.shape[1], n = items.shape[0]
        ptrdiff_t share = min(<ptrdiff_t> BLOCK, max(<ptrdiff_t> GROUP, m // num_threads))
        ptrdiff_t blocks = (m + share - 1) // share, block, start, stop, u, e
        char *scratch
        void *base
        bint no_memory = False
    with nogil, parallel.parallel(num_threads=num_threads):
        base = NULL
        scratch = aligned_zeros((f + GROUP) * TILE * sizeof(floating), &base)
        for block in prange(blocks, schedule="dynamic", chunksize=1):
            if scratch == NULL:
                no_memory = True
                continue
            start = block * share
            stop = min(start + share, m)
            if indptr[start] == indptr[stop]:
                continue
            count_block(stop - start, n, f, &queries[start, 0], &items[0, 0], &indptr[start], &ascending[0],
                        <floating *> scratch, (<floating *> scratch) + f * TILE, &above[0], &equal[0])
            for u in range(start, stop):
                if indptr[u] == indptr[u + 1]:
                    continue
                if out_indptr[u] < out_indptr[u + 1]:
                    count(out_indptr[u + 1] - out_indptr[u], &excluded[out_indptr[u]], indptr[u + 1] - indptr[u],
                          &ascending[indptr[u]], -1, &above[indptr[u]], &equal[indptr[u]])
                for e in range(indptr[u + 1] - 2, indptr[u] - 1, -1):
                    above[e] += above[e + 1]
        free(base)
    return no_memory


def count_above(queries, items, exclude, indptr, indices, out_above, out_equal, num_threads=None):
    """See `alternant.kernels.count_above`."""
    if len(indices) == 0:
        return
    threads = openmp_threads(min(resolve_num_threads(num_threads), len(queries)))
    excluded = (np.zeros(len(queries) + 1, np.int64), np.empty(0, np.int32)) if exclude is None else exclude
    targets, others = np.empty(len(indices), items.dtype), np.empty(len(excluded[1]), items.dtype)
    rows = np.repeat(np.arange(len(queries)), np.diff(indptr))
    above, equal = np.zeros(len(indices), np.int64), np.zeros(len(indices), np.int64)
    no_memory = _score_lists(queries, items, indptr, indices, targets, threads)
    no_memory |= _score_lists(queries, items, *excluded, others, threads)
    order = np.lexsort((targets, rows))
    no_memory |= _count(queries, items, indptr, targets[order], excluded[0], others, above, equal, threads)
    if no_memory:
        raise MemoryError(f"no memory for the scratch space of {threads} threads; use fewer with num_threads")
    # A target counted itself among its equals, unless it is excluded and was taken off again.
    key = rows * len(items) + indices
    out_rows = np.repeat(np.arange(len(queries)), np.diff(excluded[0]))
    itself = ~np.isin(key, out_rows * len(items) + excluded[1], kind="sort")
    out_above[order] = above
    out_equal[order] = equal
    out_equal -= itself
