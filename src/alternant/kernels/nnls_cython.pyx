"""The non-negative row problem of alternating least squares: Cython bindings of simd/nnls.c."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, int32_t, int64_t

from ._arrays cimport (
    alternant_fail_allocation, floats, floats_out, floats_out_or_null, integers, integers_out,
    integers_out_or_null, real_size,
)

import numpy as np

from alternant._utils.threads import openmp_threads


cdef extern from "nnls.h" nogil:
    ctypedef struct nnls_problem:
        ptrdiff_t m, f
        const int64_t *indptr
        const void *indices
        bint int64_indices
        const void *weight
        const void *target
        const void *Y
        const void *gramian
        const void *regularization
        void *X
        double tol
        int max_steps
        int8_t *status
        int32_t *row_steps
        double *row_objective
        int threads

    ctypedef struct nnls_table:
        bint (*solve_rows[2])(const nnls_problem *) noexcept nogil

    const nnls_table *nnls_table_of(const char *level)


cdef class Kernels:
    """The kernel of one SIMD level."""

    cdef const nnls_table *table

    def __cinit__(self, str level):
        self.table = nnls_table_of(level.encode())
        if self.table == NULL:
            raise ImportError(f"the kernels were built without the SIMD level {level}")

    def _fail_allocation(self, long n):
        return alternant_fail_allocation(n)

    def solve_rows_nonnegative(self, indptr, indices, weight, target, Y, gramian, regularization, X, tol=1e-6,
                               max_steps=1000, num_threads=None, row_steps=None, row_objective=None):
        """See `alternant.kernels.solve_rows_nonnegative`."""
        m, f = X.shape
        if m == 0 or f == 0:
            return 0
        cdef Py_ssize_t size = real_size(X)
        cdef nnls_problem p
        cdef bint no_memory
        status = np.zeros(m, np.int8)
        p.m, p.f = m, f
        p.indptr = <const int64_t *> integers(indptr, "indptr", 8)
        p.int64_indices = indices.itemsize == 8
        p.indices = integers(indices, "indices", 8 if p.int64_indices else 4)
        p.weight, p.target = floats(weight, "weight", size), floats(target, "target", size)
        p.Y, p.gramian = floats(Y, "Y", size), floats(gramian, "gramian", size)
        p.regularization = floats(regularization, "regularization", size)
        p.X = floats_out(X, "X", size)
        p.tol, p.max_steps = tol, min(max_steps, 2**31 - 1)
        p.status = <int8_t *> integers_out(status, "status", 1)
        p.row_steps = <int32_t *> integers_out_or_null(row_steps, "row_steps", 4)
        p.row_objective = <double *> floats_out_or_null(row_objective, "row_objective", 8)
        p.threads = openmp_threads(num_threads, m)
        with nogil:
            no_memory = self.table.solve_rows[size == 8](&p)
        if no_memory:
            raise MemoryError(f"no memory for the scratch space of {p.threads} threads; use fewer with num_threads")
        return 1 + int(status.argmax()) if status.any() else 0
