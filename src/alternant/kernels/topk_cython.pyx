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
        bint (*rank_panel[2])(const topk_call *, const topk_panel *) noexcept nogil
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
        cdef bint no_memory = False
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
            panels = ([(n, chosen, None, None)] if len(queries) < BATCH
                      else self._panels(items, chosen, call.threads, scratch_bytes))
            for count, ids, bounds, packed in panels:
                panel.n = count
                panel.ids = <const int32_t *> integers_or_null(ids, "candidates", 4)
                panel.tiles = <const topk_rounded *> floats_or_null(bounds, "bounds", 8)
                panel.packed = <const char *> integers_or_null(packed, "packed", 1)
                with nogil:
                    no_memory = self.table.rank_panel[real](&call, &panel)
                if no_memory:
                    raise MemoryError(f"no memory for the scratch space of {call.threads} threads; "
                                      "use fewer with num_threads")
        with nogil:
            self.table.sort[real](&call)

    def _panels(self, items, chosen, int threads, scratch_bytes):
        """Yield (size, item ids, bounds of the tiles, packed tiles) of panels that fit in the scratch memory."""
        cdef Py_ssize_t itemsize = real_size(items)
        cdef int real = itemsize == 8
        cdef topk_call call
        cdef topk_panel panel
        cdef topk_rounded *tiles
        cdef char *packed_tiles
        cdef double *norm
        n, f = len(items) if chosen is None else len(chosen), items.shape[1]
        tile_bytes = (ITEM_TILE * self.table.packed_item_bytes(f)
                      if self.table.prefilters and f <= MOST_FACTORS else 0)
        fixed = (f + QUERY_GROUP) * ITEM_TILE * itemsize + QUERY_BLOCK * (f + 3) + self.table.block_bytes
        # 32 bytes per item: its norm, the negated norm, its position in the order, its id before and after ordering
        fitting = max(1, (scratch_bytes - fixed) * threads // (tile_bytes + 32 * ITEM_TILE))
        size = min(n, fitting * ITEM_TILE)
        fitting = -(-size // ITEM_TILE)
        packed = np.zeros(fitting * tile_bytes + 64, np.int8)
        packed = packed[-packed.ctypes.data % 64:]
        bounds, norms = np.empty((fitting, 3)), np.empty(size)
        tiles = <topk_rounded *> floats_out(bounds, "bounds", 8)
        packed_tiles = <char *> integers_out(packed, "packed", 1)
        norm = <double *> floats_out(norms, "norms", 8)
        call.f, call.items, call.threads = f, floats(items, "items", itemsize), threads
        for start in range(0, n, size):
            stop = min(start + size, n)
            ids = np.arange(start, stop, dtype=np.int32) if chosen is None else chosen[start:stop]
            panel.n, panel.ids = len(ids), <const int32_t *> integers(ids, "candidates", 4)
            with nogil:
                self.table.norms[real](&call, &panel, norm)
            count = len(ids)
            if not norms[:count].max() < np.inf:
                yield count, ids, None, None
                continue
            order = np.argsort(-norms[:count])
            ids = ids[order]
            if tile_bytes:
                panel.ids = <const int32_t *> integers(ids, "candidates", 4)
                with nogil:
                    self.table.pack[real](&call, &panel, tiles, packed_tiles)
            else:
                bounds[:-(-count // ITEM_TILE), 1] = norms[order[::ITEM_TILE]]
            yield count, ids, bounds, packed if tile_bytes else None

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
