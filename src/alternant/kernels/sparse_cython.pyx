"""Products of sparse matrices, and their greatest entries: Cython bindings of simd/sparse.c."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

from ._arrays cimport (
    alternant_fail_allocation, floats, floats_or_null, floats_out, integers, integers_out, real_size,
)

import numpy as np

from alternant._utils.threads import openmp_threads


cdef extern from "sparse.h" nogil:
    ctypedef struct sparse_call:
        ptrdiff_t m, n, k
        const int64_t *left_indptr
        const void *left
        bint int64_left
        const void *left_values
        const int64_t *right_indptr
        const int32_t *right
        const void *right_values
        const void *row_norms
        const void *column_norms
        double shrinkage
        const int64_t *exclude_indptr
        const void *exclude
        bint int64_exclude
        int32_t *ids
        void *values
        int threads

    ctypedef struct sparse_table:
        bint (*top_k_sparse[2])(const sparse_call *) noexcept nogil
        bint (*multiply_sparse[2])(const sparse_call *) noexcept nogil
        void (*multiply_sparse_dense[2])(const sparse_call *, const void *dense) noexcept nogil

    const sparse_table *sparse_table_of(const char *level)


cdef class Kernels:
    """The kernels of one SIMD level."""

    cdef const sparse_table *table

    def __cinit__(self, str level):
        self.table = sparse_table_of(level.encode())
        if self.table == NULL:
            raise ImportError(f"the kernels were built without the SIMD level {level}")

    def _fail_allocation(self, long n):
        return alternant_fail_allocation(n)

    def top_k_sparse(self, left, right, columns, k, exclude, out_ids, out_values, row_norms=None, column_norms=None,
                     shrinkage=0.0, num_threads=None):
        """See `alternant.kernels.top_k_sparse`."""
        cdef Py_ssize_t size = real_size(out_values)
        cdef sparse_call call
        cdef bint no_memory
        indices = right[1].astype(np.int32, copy=False)  # columns fit
        set_matrices(&call, left, right, indices, size)
        call.m, call.n, call.k = len(out_ids), columns, out_ids.shape[1]
        call.row_norms = floats_or_null(row_norms, "row_norms", size)
        call.column_norms = floats_or_null(column_norms, "column_norms", size)
        call.shrinkage = shrinkage
        call.exclude_indptr, call.exclude, call.int64_exclude = NULL, NULL, False
        if exclude is not None:
            call.exclude_indptr = <const int64_t *> integers(exclude[0], "exclude", 8)
            call.int64_exclude = exclude[1].itemsize == 8
            call.exclude = integers(exclude[1], "exclude", 8 if call.int64_exclude else 4)
        call.ids = <int32_t *> integers_out(out_ids, "out_ids", 4)
        call.values = floats_out(out_values, "out_values", size)
        call.threads = openmp_threads(num_threads, max(1, len(out_ids)))
        with nogil:
            no_memory = self.table.top_k_sparse[size == 8](&call)
        if no_memory:
            raise MemoryError(f"no memory for the scratch space of {call.threads} threads; use fewer with num_threads")

    def multiply_sparse(self, left, right, out, num_threads=None):
        """See `alternant.kernels.multiply_sparse`."""
        cdef Py_ssize_t size = real_size(out)
        cdef sparse_call call
        indices = right[1].astype(np.int32, copy=False)
        set_matrices(&call, left, right, indices, size)
        call.m, call.n = out.shape
        call.values = floats_out(out, "out", size)
        call.threads = openmp_threads(num_threads, max(1, len(out)))
        with nogil:
            self.table.multiply_sparse[size == 8](&call)

    def multiply_sparse_dense(self, left, right, out, num_threads=None):
        """See `alternant.kernels.multiply_sparse_dense`."""
        cdef Py_ssize_t size = real_size(out)
        cdef sparse_call call
        cdef const void *dense = floats(right, "right", size)
        set_left(&call, left, size)
        call.m, call.n = out.shape
        call.values = floats_out(out, "out", size)
        call.threads = openmp_threads(num_threads, max(1, len(out)))
        with nogil:
            self.table.multiply_sparse_dense[size == 8](&call, dense)


cdef int set_left(sparse_call *call, left, Py_ssize_t size) except -1:
    """Set the arrays of the left matrix."""
    call.left_indptr = <const int64_t *> integers(left[0], "left", 8)
    call.int64_left = left[1].itemsize == 8
    call.left = integers(left[1], "left", 8 if call.int64_left else 4)
    call.left_values = floats_or_null(left[2], "left", size)
    return 0


cdef int set_matrices(sparse_call *call, left, right, indices, Py_ssize_t size) except -1:
    """Set the arrays of both matrices; `indices` are the columns of `right` as int32."""
    set_left(call, left, size)
    call.right_indptr = <const int64_t *> integers(right[0], "right", 8)
    call.right = <const int32_t *> integers(indices, "right", 4)
    call.right_values = floats_or_null(right[2], "right", size)
    return 0
