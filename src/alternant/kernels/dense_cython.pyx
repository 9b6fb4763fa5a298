"""Products of many rows with a small matrix: Cython bindings of simd/dense.c, which calls SciPy's BLAS."""

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint16_t

from ._arrays cimport alternant_fail_allocation, floats, floats_out, real_size

import numpy as np
import scipy.linalg.cython_blas

from alternant._utils.threads import openmp_threads, single_threaded_blas
from alternant.kernels._checks import fits_int32


cdef extern from "dense.h" nogil:
    const int ROW_BLOCK, LOWER_TRIANGLE, FULL_MATRIX, UPPER_TRIANGLE

    ctypedef struct dense_blas:
        void *sgemm
        void *dgemm
        void *strmm
        void *dtrmm
        void *dsyrk

    ctypedef struct dense_product:
        ptrdiff_t m, f, width, columns
        const void *rows
        const void *matrix
        void *out
        uint16_t *out_f16
        int triangle
        int threads
        const dense_blas *blas

    ctypedef struct dense_table:
        bint (*multiply[2])(const dense_product *) noexcept nogil
        bint (*gramians[2])(const dense_product *, ptrdiff_t, double *) noexcept nogil
        void (*squared_norms[2])(const dense_product *, double *) noexcept nogil
        void (*add_parts)(ptrdiff_t, ptrdiff_t, const double *, double *, int) noexcept nogil

    const dense_table *dense_table_of(const char *level)


cdef void *blas(str name) except NULL:
    """Look up a routine at run time, so that building this module does not require SciPy."""
    capsule = scipy.linalg.cython_blas.__pyx_capi__[name]
    signature = PyCapsule_GetName(capsule)
    if b"int *" not in signature:    # should SciPy switch to 64-bit integers
        raise ImportError(f"SciPy's BLAS has a different interface than expected: {signature.decode()}")
    return PyCapsule_GetPointer(capsule, signature)


cdef dense_blas ROUTINES
ROUTINES.sgemm, ROUTINES.dgemm = blas("sgemm"), blas("dgemm")
ROUTINES.strmm, ROUTINES.dtrmm = blas("strmm"), blas("dtrmm")
ROUTINES.dsyrk = blas("dsyrk")

TRIANGLES = {"lower": LOWER_TRIANGLE, "full": FULL_MATRIX, "upper": UPPER_TRIANGLE}


cdef dense_product product_of(rows, Py_ssize_t size) except *:
    """Convert the arguments common to all kernels."""
    cdef dense_product p
    fits_int32(columns=rows.shape[1])    # BLAS dimensions are int32, too
    p.m, p.f, p.width, p.columns = len(rows), rows.shape[1], rows.shape[1], rows.shape[1]
    p.rows, p.matrix, p.out, p.out_f16 = floats(rows, "rows", size), NULL, NULL, NULL
    p.triangle, p.blas = FULL_MATRIX, &ROUTINES
    return p


def out_of_memory(int threads):
    return MemoryError(f"no memory for the scratch space of {threads} threads; use fewer with num_threads")


cdef class Kernels:
    """The kernels of one SIMD level."""

    cdef const dense_table *table

    def __cinit__(self, str level):
        self.table = dense_table_of(level.encode())
        if self.table == NULL:
            raise ImportError(f"the kernels were built without the SIMD level {level}")

    def _fail_allocation(self, long n):
        return alternant_fail_allocation(n)

    def multiply(self, rows, matrix, out, triangle="full", num_threads=None):
        """See `alternant.kernels.multiply`."""
        if len(rows) == 0:
            return
        cdef Py_ssize_t size = real_size(rows)
        cdef dense_product p = product_of(rows, size)
        cdef bint no_memory
        fits_int32(columns=out.shape[1])
        p.f, p.columns, p.triangle = len(matrix), out.shape[1], TRIANGLES[triangle]
        p.matrix = floats(matrix, "matrix", size)
        if out.dtype == np.float16:
            p.out_f16 = <uint16_t *> floats_out(out, "out", 2)
        else:
            p.out = floats_out(out, "out", size)
        p.threads = openmp_threads(num_threads, 1 + len(rows) // ROW_BLOCK)
        with single_threaded_blas():
            with nogil:
                no_memory = self.table.multiply[size == 8](&p)
        if no_memory:
            raise out_of_memory(p.threads)

    def gramian(self, rows, out, num_threads=None):
        """See `alternant.kernels.gramian`."""
        m, f = rows.shape
        if m == 0:
            out[:] = 0
            return
        cdef Py_ssize_t size = real_size(rows)
        cdef dense_product p = product_of(rows, size)
        # At most one per block of rows; up to 32 within 16 MB in total, but 8 even if f is large.
        cdef ptrdiff_t parts = min(-(-m // ROW_BLOCK), max(8, min(32, (1 << 21) // (f * f))))
        sums = np.zeros((parts, f, f))
        cdef double *partial = <double *> floats_out(sums, "sums", 8)
        cdef double *total = <double *> floats_out(out, "out", 8)
        cdef bint no_memory
        p.threads = openmp_threads(num_threads, parts)
        with single_threaded_blas():
            with nogil:
                no_memory = self.table.gramians[size == 8](&p, parts, partial)
        if no_memory:
            raise out_of_memory(p.threads)
        with nogil:
            self.table.add_parts(p.f, parts, partial, total, p.threads)

    def squared_norms(self, rows, out, num_threads=None):
        """See `alternant.kernels.squared_norms`."""
        if len(rows) == 0:
            return
        cdef Py_ssize_t size = real_size(rows)
        cdef dense_product p = product_of(rows, size)
        cdef double *norms = <double *> floats_out(out, "out", 8)
        p.threads = openmp_threads(num_threads, 1 + len(rows) // ROW_BLOCK)
        with nogil:
            self.table.squared_norms[size == 8](&p, norms)
