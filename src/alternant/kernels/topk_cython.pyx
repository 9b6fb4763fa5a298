"""Ranking by dot product: Cython bindings of simd/topk.c."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

from ._arrays cimport (
    alternant_fail_allocation, floats, floats_or_null, floats_out, integers, integers_or_null, integers_out,
    real_size,
)

import numpy as np

from alternant._utils.threads import openmp_threads
from alternant.kernels._checks import fits_int32


cdef extern from "topk.h" nogil:
    const int ITEM_TILE, QUERY_BLOCK, QUERY_GROUP

    ctypedef struct topk_rounded:
        double norm

    ctypedef struct topk_call:
        ptrdiff_t m, f, k
        const void *queries
        const void *items
        const int64_t *exclude_indptr
        const void *exclude
        bint int64_exclude
        int32_t *ids
        void *scores
        int threads

    ctypedef struct topk_panel:
        ptrdiff_t n
        const int32_t *ids
        const topk_rounded *tiles
        const char *packed

    ctypedef struct topk_lists:
        const int64_t *indptr
        const void *items
        bint int64_items

    ctypedef struct topk_table:
        bint prefilters
        ptrdiff_t block_bytes
        ptrdiff_t (*packed_item_bytes)(ptrdiff_t f) noexcept nogil
        ptrdiff_t (*rank_panel[2])(const topk_call *, const topk_panel *) noexcept nogil
        void (*rank_lists[2])(const topk_call *, const topk_lists *) noexcept nogil
        void (*sort[2])(const topk_call *) noexcept nogil
        void (*norms[2])(const topk_call *, const topk_panel *, double *) noexcept nogil
        void (*pack[2])(const topk_call *, const topk_panel *, topk_rounded *, char *) noexcept nogil
        void (*score_pairs[2])(ptrdiff_t, ptrdiff_t, const int64_t *, const int64_t *, const void *, const void *,
                               void *, int) noexcept nogil

    const topk_table *topk_table_of(const char *level)


cdef enum:
    BATCH = 128              # number of queries from which ordering and packing the items pays off
    MOST_FACTORS = 1 << 16   # for the prefilter: its integer sums fit in 32 bits, and rounding errors stay small
    FIRST_PANEL = 1 << 14    # items; most factors have few items of great norm, and queries are done with them
    PANEL_GROWTH = 8
    ORDER_BYTES = 40         # per item while items are ordered: norms, ids and places, and those of the items left

EMPTY = np.iinfo(np.int32).max    # the id of an empty heap slot: it ranks behind any item, even one with score -inf


cdef class Kernels:
    """The kernels of one SIMD level."""

    cdef const topk_table *table

    def __cinit__(self, str level):
        self.table = topk_table_of(level.encode())
        if self.table == NULL:
            raise ImportError(f"the kernels were built without the SIMD level {level}")

    def _fail_allocation(self, long n):
        return alternant_fail_allocation(n)

    def top_k(self, queries, items, k, exclude, candidates, out_ids, out_scores, num_threads=None,
              scratch_bytes=1 << 26):
        """See `alternant.kernels.top_k`."""
        fits_int32(items=len(items))
        cdef Py_ssize_t size = real_size(items)
        cdef int real = size == 8
        cdef topk_call call
        cdef topk_panel panel
        cdef topk_lists lists
        cdef ptrdiff_t left
        n = len(items) if candidates is None or isinstance(candidates, tuple) else len(candidates)
        call.m, call.f, call.k = len(queries), items.shape[1], out_ids.shape[1]
        call.queries, call.items = floats(queries, "queries", size), floats(items, "items", size)
        call.ids = <int32_t *> integers_out(out_ids, "out_ids", 4)
        call.scores = floats_out(out_scores, "out_scores", size)
        call.threads = openmp_threads(num_threads, max(1, len(queries)))
        call.exclude_indptr, call.exclude, call.int64_exclude = NULL, NULL, False
        if exclude is not None:
            call.exclude_indptr = <const int64_t *> integers(exclude[0], "exclude", 8)
            call.int64_exclude = exclude[1].itemsize == 8
            call.exclude = integers(exclude[1], "exclude", 8 if call.int64_exclude else 4)
        out_ids[:] = EMPTY
        out_scores[:] = -np.inf
        if len(queries) and n and isinstance(candidates, tuple):
            lists.indptr = <const int64_t *> integers(candidates[0], "candidates", 8)
            lists.int64_items = candidates[1].itemsize == 8
            lists.items = integers(candidates[1], "candidates", 8 if lists.int64_items else 4)
            with nogil:
                self.table.rank_lists[real](&call, &lists)
        elif len(queries) and n:
            chosen = None if candidates is None else candidates.astype(np.int32, copy=False)
            parts = ([[(n, chosen, None, None)]] if len(queries) < BATCH
                     else self._parts(items, chosen, call.threads, scratch_bytes))
            for panels in parts:
                for count, ids, bounds, packed in panels:
                    panel.n = count
                    panel.ids = <const int32_t *> integers_or_null(ids, "candidates", 4)
                    panel.tiles = <const topk_rounded *> floats_or_null(bounds, "bounds", 8)
                    panel.packed = <const char *> integers_or_null(packed, "packed", 1)
                    with nogil:
                        left = self.table.rank_panel[real](&call, &panel)
                    if left < 0:
                        raise MemoryError(f"no memory for the scratch space of {call.threads} threads; "
                                          "use fewer with num_threads")
                    if left == 0:
                        break
        with nogil:
            self.table.sort[real](&call)

    def _parts(self, items, chosen, int threads, scratch_bytes):
        """Yield, for each part of the items that can be ordered in the scratch memory, an iterator of its panels."""
        f = items.shape[1]
        tile_bytes = (ITEM_TILE * self.table.packed_item_bytes(f)
                      if self.table.prefilters and f <= MOST_FACTORS else 0)
        fixed = (f + QUERY_GROUP) * ITEM_TILE * items.itemsize + QUERY_BLOCK * (f + 3) + self.table.block_bytes
        room = (scratch_bytes - fixed) * threads
        n = len(items) if chosen is None else len(chosen)
        # A quarter of the memory is for packed tiles, if that is enough to order all items at once.
        ordered = min(n, max(ITEM_TILE, room // 4 * 3 // ORDER_BYTES))
        tiles = max(1, min(-(-n // ITEM_TILE), (room - ordered * ORDER_BYTES) // (tile_bytes + 24)))
        packed = np.zeros(tiles * tile_bytes + 64, np.int8)
        packed = packed[-packed.ctypes.data % 64:]
        bounds, norms = np.empty((tiles, 3)), np.empty(ordered)
        for start in range(0, n, ordered):
            stop = min(start + ordered, n)
            ids = np.arange(start, stop, dtype=np.int32) if chosen is None else chosen[start:stop]
            yield self._panels(items, ids, norms[:stop - start], bounds, packed if tile_bytes else None, threads)

    def _panels(self, items, ids, norms, bounds, packed, int threads):
        """Yield (size, item ids, bounds of the tiles, packed tiles) of panels, by descending norm.

        Each panel has PANEL_GROWTH times as many items as the one before, up to what `bounds` and `packed` hold: they
        are reused.
        """
        cdef Py_ssize_t itemsize = real_size(items)
        cdef int real = itemsize == 8
        cdef topk_call call
        cdef topk_panel panel
        cdef topk_rounded *tiles = <topk_rounded *> floats_out(bounds, "bounds", 8)
        cdef char *packed_tiles = NULL if packed is None else <char *> integers_out(packed, "packed", 1)
        cdef double *norm = <double *> floats_out(norms, "norms", 8)
        call.f, call.items, call.threads = items.shape[1], floats(items, "items", itemsize), threads
        panel.n, panel.ids = len(ids), <const int32_t *> integers(ids, "candidates", 4)
        with nogil:
            self.table.norms[real](&call, &panel, norm)
        if not norms.max() < np.inf:
            yield len(ids), ids, None, None
            return
        np.negative(norms, out=norms)
        size, most = FIRST_PANEL, len(bounds) * ITEM_TILE
        while len(ids):
            size = min(size, most)
            later = None
            if size < len(ids):
                place = np.argpartition(norms, size)
                later, place = place[size:], place[:size]
                place = place[np.argsort(norms[place])]
            else:
                place = np.argsort(norms)
            chosen, count = ids[place], len(place)
            if packed is None:
                bounds[:-(-count // ITEM_TILE), 1] = -norms[place[::ITEM_TILE]]
            else:
                panel.n, panel.ids = count, <const int32_t *> integers(chosen, "candidates", 4)
                with nogil:
                    self.table.pack[real](&call, &panel, tiles, packed_tiles)
            yield count, chosen, bounds, packed
            if later is None:
                return
            ids, norms = ids[later], norms[later]
            size *= PANEL_GROWTH

    def score_pairs(self, rows, columns, X, Y, out, num_threads=None):
        """See `alternant.kernels.score_pairs`."""
        cdef Py_ssize_t size = real_size(X), count = len(rows), f = X.shape[1]
        cdef const int64_t *u = <const int64_t *> integers(rows, "rows", 8)
        cdef const int64_t *i = <const int64_t *> integers(columns, "columns", 8)
        cdef const void *x = floats(X, "X", size)
        cdef const void *y = floats(Y, "Y", size)
        cdef void *scores = floats_out(out, "out", size)
        cdef int threads = openmp_threads(num_threads, 1 + len(rows) // 1024)
        with nogil:
            self.table.score_pairs[size == 8](count, f, u, i, x, y, scores, threads)
