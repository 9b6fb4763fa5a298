"""How many items score higher than given targets: Cython bindings of simd/ranks.c."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t

from ._arrays cimport alternant_fail_allocation, floats, floats_out, integers, integers_out, real_size

import numpy as np

from alternant._utils.threads import openmp_threads


cdef extern from "ranks.h" nogil:
    ctypedef struct ranks_call:
        ptrdiff_t m, n, f
        const void *queries
        const void *items
        int threads

    ctypedef struct ranks_counts:
        const int64_t *indptr
        const void *ascending
        const int64_t *exclude_indptr
        const void *exclude
        int64_t *above
        int64_t *equal

    ctypedef struct ranks_table:
        bint (*score_lists[2])(const ranks_call *, const int64_t *, const void *, bint, void *) noexcept nogil
        bint (*count[2])(const ranks_call *, const ranks_counts *) noexcept nogil
        bint (*score_all[2])(const ranks_call *, void *) noexcept nogil

    const ranks_table *ranks_table_of(const char *level)


cdef class Kernels:
    """The kernel of one SIMD level."""

    cdef const ranks_table *table

    def __cinit__(self, str level):
        self.table = ranks_table_of(level.encode())
        if self.table == NULL:
            raise ImportError(f"the kernels were built without the SIMD level {level}")

    def _fail_allocation(self, long n):
        return alternant_fail_allocation(n)

    cdef score_lists(self, const ranks_call *call, Py_ssize_t size, indptr, indices, dtype):
        """Return the scores of the items listed in a CSR matrix."""
        cdef const int64_t *rows = <const int64_t *> integers(indptr, "indptr", 8)
        cdef bint int64_indices = indices.itemsize == 8, no_memory
        cdef const void *listed = integers(indices, "indices", 8 if int64_indices else 4)
        scores = np.empty(len(indices), dtype)
        cdef void *out = floats_out(scores, "scores", size)
        with nogil:
            no_memory = self.table.score_lists[size == 8](call, rows, listed, int64_indices, out)
        if no_memory:
            raise out_of_memory(call.threads)
        return scores

    def count_above(self, queries, items, exclude, indptr, indices, out_above, out_equal, num_threads=None):
        """See `alternant.kernels.count_above`."""
        if len(indices) == 0:
            return
        cdef Py_ssize_t size = real_size(items)
        cdef ranks_call call
        cdef ranks_counts counts
        cdef bint no_memory
        call.m, call.n, call.f = len(queries), len(items), items.shape[1]
        call.queries, call.items = floats(queries, "queries", size), floats(items, "items", size)
        call.threads = openmp_threads(num_threads, len(queries))
        excluded = (np.zeros(len(queries) + 1, np.int64), np.empty(0, np.int32)) if exclude is None else exclude
        targets = self.score_lists(&call, size, indptr, indices, items.dtype)
        others = self.score_lists(&call, size, excluded[0], excluded[1], items.dtype)
        rows = np.repeat(np.arange(len(queries)), np.diff(indptr))
        order = np.lexsort((targets, rows))
        ascending = targets[order]
        above, equal = np.zeros(len(indices), np.int64), np.zeros(len(indices), np.int64)
        counts.indptr = <const int64_t *> integers(indptr, "indptr", 8)
        counts.ascending = floats(ascending, "targets", size)
        counts.exclude_indptr = <const int64_t *> integers(excluded[0], "exclude", 8)
        counts.exclude = floats(others, "others", size)
        counts.above = <int64_t *> integers_out(above, "above", 8)
        counts.equal = <int64_t *> integers_out(equal, "equal", 8)
        with nogil:
            no_memory = self.table.count[size == 8](&call, &counts)
        if no_memory:
            raise out_of_memory(call.threads)
        # Each target was counted as its own equal, unless it is excluded and was subtracted again.
        key = rows * len(items) + indices
        out_rows = np.repeat(np.arange(len(queries)), np.diff(excluded[0]))
        itself = ~np.isin(key, out_rows * len(items) + excluded[1], kind="sort")
        out_above[order] = above
        out_equal[order] = equal
        out_equal -= itself

    def score_all(self, queries, items, out, num_threads=None):
        """See `alternant.kernels.score_all`."""
        if len(queries) == 0:
            return
        cdef Py_ssize_t size = real_size(items)
        cdef ranks_call call
        cdef bint no_memory
        call.m, call.n, call.f = len(queries), len(items), items.shape[1]
        call.queries, call.items = floats(queries, "queries", size), floats(items, "items", size)
        call.threads = openmp_threads(num_threads, len(queries))
        cdef void *scores = floats_out(out, "out", size)
        with nogil:
            no_memory = self.table.score_all[size == 8](&call, scores)
        if no_memory:
            raise out_of_memory(call.threads)


def out_of_memory(int threads):
    return MemoryError(f"no memory for the scratch space of {threads} threads; use fewer with num_threads")
