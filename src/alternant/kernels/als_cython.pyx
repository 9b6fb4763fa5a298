"""The row problem of alternating least squares: Cython bindings of simd/als.c."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, int32_t, int64_t, uint16_t

from ._arrays cimport (
    alternant_fail_allocation, floats, floats_or_null, floats_out, floats_out_or_null, integers, integers_out,
    integers_out_or_null, real_size,
)

import numpy as np

from alternant._utils.threads import openmp_threads


cdef extern from "als.h" nogil:
    int ALS_NO_MEMORY, ALS_NEEDS_Y

    ctypedef struct als_problem:
        ptrdiff_t m, f
        const int64_t *indptr
        const void *indices
        bint int64_indices
        const void *weight
        const void *target
        double added
        const void *target_scale
        const void *linear
        const void *X
        const void *Y
        const uint16_t *Y_f16
        const void *diagonal
        const void *regularization
        int threads

    ctypedef struct als_solution:
        void *X
        bint exact
        double tol
        int max_steps
        int8_t *status
        int32_t *row_steps
        double *row_objective

    ctypedef struct als_table:
        int (*solve_rows[2])(const als_problem *, const als_solution *) noexcept nogil
        void (*squared_error[2])(const als_problem *, double *) noexcept nogil
        int (*normal_products[2])(const als_problem *, void *) noexcept nogil

    const als_table *als_table_of(const char *level)


cdef als_problem problem_of(indptr, indices, weight, target, Y, diagonal, Py_ssize_t size) except *:
    """Convert the arguments common to the kernels."""
    cdef als_problem p
    p.m, p.f = len(indptr) - 1, len(diagonal)
    p.indptr = <const int64_t *> integers(indptr, "indptr", 8)
    p.int64_indices = indices.itemsize == 8
    p.indices = integers(indices, "indices", 8 if p.int64_indices else 4)
    p.weight = floats(weight, "weight", size)
    p.target, p.added, p.target_scale, p.linear = NULL, 0, NULL, NULL
    p.X, p.Y_f16, p.regularization = NULL, NULL, NULL
    if isinstance(target, (int, float)):
        p.added = target
    else:
        p.target = floats(target, "target", size)
    if Y.itemsize == 2:
        p.Y, p.Y_f16 = NULL, <const uint16_t *> floats(Y, "Y", 2)
    else:
        p.Y = floats(Y, "Y", size)
    p.diagonal = floats(diagonal, "diagonal", size)
    return p


cdef class Kernels:
    """The kernels of one SIMD level."""

    cdef const als_table *table

    def __cinit__(self, str level):
        self.table = als_table_of(level.encode())
        if self.table == NULL:
            raise ImportError(f"the kernels were built without the SIMD level {level}")

    def _fail_allocation(self, long n):
        return alternant_fail_allocation(n)

    def solve_rows(self, indptr, indices, weight, target, Y, diagonal, regularization, X, method="cg", tol=1e-3,
                   max_steps=10, num_threads=None, row_steps=None, row_objective=None, target_scale=None, linear=None):
        """See `alternant.kernels.solve_rows`."""
        m, f = X.shape
        if m == 0 or f == 0:
            return 0
        cdef Py_ssize_t size = real_size(X)
        cdef als_problem p = problem_of(indptr, indices, weight, target, Y, diagonal, size)
        cdef als_solution s
        cdef int done
        status = np.zeros(m, np.int8)
        p.regularization = floats(regularization, "regularization", size)
        p.target_scale = floats_or_null(target_scale, "target_scale", size)
        p.linear = floats_or_null(linear, "linear", size)
        p.threads = openmp_threads(num_threads, m)
        s.X = floats_out(X, "X", size)
        s.exact, s.tol, s.max_steps = method == "cholesky", tol, min(max_steps, 2**31 - 1)
        s.status = <int8_t *> integers_out(status, "status", 1)
        s.row_steps = <int32_t *> integers_out_or_null(row_steps, "row_steps", 4)
        s.row_objective = <double *> floats_out_or_null(row_objective, "row_objective", 8)
        with nogil:
            done = self.table.solve_rows[size == 8](&p, &s)
        if done == ALS_NEEDS_Y:
            Y = Y.astype(np.float32)
            p.Y, p.Y_f16 = floats(Y, "Y", 4), NULL
            with nogil:
                done = self.table.solve_rows[size == 8](&p, &s)
        if done == ALS_NO_MEMORY:
            raise MemoryError(f"no memory for the scratch space of {p.threads} threads; use fewer with num_threads")
        return 1 + int(status.argmax()) if status.any() else 0

    def squared_error(self, indptr, indices, weight, target, X, Y, diagonal, num_threads=None):
        """See `alternant.kernels.squared_error`."""
        cdef Py_ssize_t size = real_size(X)
        cdef als_problem p = problem_of(indptr, indices, weight, target, Y, diagonal, size)
        row_error = np.zeros(len(X))
        cdef double *errors = <double *> floats_out(row_error, "row_error", 8)
        p.X = floats(X, "X", size)
        p.threads = openmp_threads(num_threads, 1 + len(X) // 16)
        with nogil:
            self.table.squared_error[size == 8](&p, errors)
        return float(row_error.sum())

    def normal_products(self, indptr, indices, weight, Y, P, out, num_threads=None):
        """See `alternant.kernels.normal_products`."""
        cdef Py_ssize_t size = real_size(P)
        cdef als_problem p = problem_of(indptr, indices, weight, 0.0, Y, np.empty(P.shape[1], P.dtype), size)
        cdef void *sums = floats_out(out, "out", size)
        cdef int done
        p.X = floats(P, "P", size)
        p.threads = openmp_threads(num_threads, 1 + len(P) // 16)
        with nogil:
            done = self.table.normal_products[size == 8](&p, sums)
        if done == ALS_NO_MEMORY:
            raise MemoryError(f"no memory for the scratch space of {p.threads} threads; use fewer with num_threads")
