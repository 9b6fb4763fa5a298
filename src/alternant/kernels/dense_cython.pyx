r"""Products of many rows with a small matrix, by SciPy's BLAS in blocks of rows on OpenMP's threads.

    out = R M,    G = R^T R,    |r_u|^2

Cost for m rows: 2 m f^2 for a product (half of it for a triangle), m f^2 for the Gramian.

Python's threads would have to wait for OpenMP's, which go on spinning for milliseconds after each parallel region: on
2 cores everything between two kernels took twice as long as on one thread.
"""

cimport cython.parallel as parallel
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from cython cimport floating
from cython.parallel cimport prange
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint16_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from ._vector cimport aligned_zeros, dot, narrow_row_f32

import numpy as np
import scipy.linalg.cython_blas

from alternant._utils.threads import openmp_threads, resolve_num_threads, single_threaded_blas

cdef enum:
    WHOLE = 64       # columns up to which a triangle is multiplied faster with the zeros beside it
    MIRRORED = 16    # rows of a lower triangle that are written to the upper one at a time: whole cache lines there

# Rows taken at a time. Fixed, so that the bits depend on no thread count.
cdef ptrdiff_t BLOCK = 256

ctypedef void (*sgemm_t)(char *, char *, int *, int *, int *, float *, float *, int *, float *, int *, float *, float *,
                         int *) noexcept nogil
ctypedef void (*dgemm_t)(char *, char *, int *, int *, int *, double *, double *, int *, double *, int *, double *,
                         double *, int *) noexcept nogil
ctypedef void (*strmm_t)(char *, char *, char *, char *, int *, int *, float *, float *, int *, float *,
                         int *) noexcept nogil
ctypedef void (*dtrmm_t)(char *, char *, char *, char *, int *, int *, double *, double *, int *, double *,
                         int *) noexcept nogil
ctypedef void (*dsyrk_t)(char *, char *, int *, int *, double *, double *, int *, double *, double *,
                         int *) noexcept nogil


cdef void *blas(str name) except NULL:
    """Look a routine up at run time, so that no SciPy is needed to build this module."""
    capsule = scipy.linalg.cython_blas.__pyx_capi__[name]
    signature = PyCapsule_GetName(capsule)
    if b"int *" not in signature:    # 64-bit integers, some day
        raise ImportError(f"SciPy's BLAS has another interface than expected: {signature.decode()}")
    return PyCapsule_GetPointer(capsule, signature)


cdef sgemm_t sgemm = <sgemm_t> blas("sgemm")
cdef dgemm_t dgemm = <dgemm_t> blas("dgemm")
cdef strmm_t strmm = <strmm_t> blas("strmm")
cdef dtrmm_t dtrmm = <dtrmm_t> blas("dtrmm")
cdef dsyrk_t dsyrk = <dsyrk_t> blas("dsyrk")


cdef inline void gemm(int m, int n, int k, const floating *A, int lda, const floating *B, int ldb, floating *C,
                      int ldc) noexcept nogil:
    """C = B A for B of n x k, A of k x m: BLAS takes rows for columns."""
    cdef char no = b"N"
    cdef floating one = 1, zero = 0
    if floating is float:
        sgemm(&no, &no, &m, &n, &k, &one, <float *> A, &lda, <float *> B, &ldb, &zero, C, &ldc)
    else:
        dgemm(&no, &no, &m, &n, &k, &one, <double *> A, &lda, <double *> B, &ldb, &zero, C, &ldc)


cdef inline void trmm(int m, int n, bint lower, const floating *A, floating *C, int ldc) noexcept nogil:
    """C = C A for C of n x m, A a triangle of m x m, whose lower one is BLAS's upper one."""
    cdef char left = b"L", no = b"N", triangle = b"U" if lower else b"L"
    cdef floating one = 1
    if floating is float:
        strmm(&left, &triangle, &no, &no, &m, &n, &one, <float *> A, &m, C, &ldc)
    else:
        dtrmm(&left, &triangle, &no, &no, &m, &n, &one, <double *> A, &m, C, &ldc)


cdef void multiply_block(ptrdiff_t n, ptrdiff_t f, ptrdiff_t width, ptrdiff_t columns, int triangle,
                         const floating *rows, const floating *matrix, floating *out) noexcept nogil:
    cdef ptrdiff_t p, u
    if triangle and f > WHOLE:
        for u in range(n):
            memcpy(out + u * columns, rows + u * width, f * sizeof(floating))
        trmm(<int> f, <int> n, triangle == -1, matrix, out, <int> columns)
    else:
        gemm(<int> f, <int> n, <int> f, matrix, <int> f, rows, <int> width, out, <int> columns)
    for u in range(n):
        for p in range(f):
            out[u * columns + p] = out[u * columns + p] + 0    # no zero has a sign
    if columns > f:
        for u in range(n):
            memset(out + u * columns + f, 0, (columns - f) * sizeof(floating))


def _multiply(
    const floating[:, ::1] rows,      # IN   m x b
    const floating[:, ::1] matrix,    # IN   f x f
    floating[:, ::1] out,             # OUT  m x c; may be rows; or None
    uint16_t[:, ::1] narrow,          # OUT  m x c, if out is None: the same in float16
    int triangle,                     # IN   -1: lower, 1: upper, 0: neither
    bint in_place,                    # IN
    int num_threads,                  # IN
):
    cdef:
        ptrdiff_t m = rows.shape[0], f = matrix.shape[0], width = rows.shape[1]
        ptrdiff_t columns = narrow.shape[1] if out is None else out.shape[1]
        ptrdiff_t blocks = (m + BLOCK - 1) // BLOCK, block, start, n
        bint scratch_needed = in_place or out is None
        char *scratch
        void *base
        bint no_memory = False
    with nogil, parallel.parallel(num_threads=num_threads):
        base = NULL
        scratch = aligned_zeros(BLOCK * max(width, columns) * sizeof(floating), &base) if scratch_needed else NULL
        for block in prange(blocks, schedule="dynamic", chunksize=1):
            start = block * BLOCK
            n = min(BLOCK, m - start)
            if scratch_needed and scratch == NULL:
                no_memory = True
            elif out is None:
                multiply_block(n, f, width, columns, triangle, &rows[start, 0], &matrix[0, 0], <floating *> scratch)
                if floating is float:
                    narrow_row_f32(n * columns, <float *> scratch, &narrow[start, 0])
            elif not in_place:
                multiply_block(n, f, width, columns, triangle, &rows[start, 0], &matrix[0, 0], &out[start, 0])
            else:
                memcpy(scratch, &rows[start, 0], n * width * sizeof(floating))
                multiply_block(n, f, width, columns, triangle, <floating *> scratch, &matrix[0, 0], &out[start, 0])
        free(base)
    return no_memory


def multiply(rows, matrix, out, shape="full", num_threads=None):
    """See `alternant.kernels.multiply`."""
    if len(rows) == 0:
        return
    threads = openmp_threads(min(resolve_num_threads(num_threads), 1 + len(rows) // BLOCK))
    with single_threaded_blas():
        narrow = out.dtype == np.float16
        no_memory = _multiply(rows, matrix, None if narrow else out, out.view(np.uint16) if narrow else None,
                              {"lower": -1, "full": 0, "upper": 1}[shape], out is rows, threads)
    if no_memory:
        raise MemoryError(f"no memory for the scratch space of {threads} threads; use fewer with num_threads")


cdef void add_gramian(ptrdiff_t m, ptrdiff_t f, const floating *rows, double *wide, double *total) noexcept nogil:
    """total += rows^T rows in the lower triangle, in blocks of rows; `wide` is scratch for one of them."""
    cdef char upper = b"U", no = b"N"    # BLAS takes rows for columns, the upper triangle for the lower one
    cdef int size = <int> f, n
    cdef double one = 1
    cdef ptrdiff_t block, j
    for block in range((m + BLOCK - 1) // BLOCK):
        n = <int> min(BLOCK, m - block * BLOCK)
        for j in range(n * f):
            wide[j] = rows[block * BLOCK * f + j]
        dsyrk(&upper, &no, &size, &n, &one, wide, &size, &one, total, &size)


def _gramians(
    const floating[:, ::1] rows,    # IN   m x f
    double[:, :, ::1] sums,         # OUT  parts x f x f, 0 before; the lower triangles
    int num_threads,                # IN
):
    """One Gramian for each part of the rows."""
    cdef:
        ptrdiff_t m = rows.shape[0], f = rows.shape[1], parts = sums.shape[0], part, start
        char *scratch
        void *base
        bint no_memory = False
    with nogil, parallel.parallel(num_threads=num_threads):
        base = NULL
        scratch = aligned_zeros(BLOCK * f * sizeof(double), &base)
        for part in prange(parts, schedule="dynamic", chunksize=1):
            if scratch == NULL:
                no_memory = True
                continue
            start = m * part // parts
            add_gramian(m * (part + 1) // parts - start, f, &rows[start, 0], <double *> scratch, &sums[part, 0, 0])
        free(base)
    return no_memory


def _add_parts(
    const double[:, :, ::1] parts,    # IN   parts x f x f: the lower triangles
    double[:, ::1] out,               # OUT  f x f: their sum, and its mirror image
    int num_threads,                  # IN
):
    cdef ptrdiff_t f = out.shape[0], blocks = (f + MIRRORED - 1) // MIRRORED, block, start, stop, part, i, j
    for block in prange(blocks, nogil=True, schedule="dynamic", num_threads=num_threads):
        start, stop = block * MIRRORED, min((block + 1) * MIRRORED, f)
        for i in range(start, stop):
            memcpy(&out[i, 0], &parts[0, i, 0], (i + 1) * sizeof(double))
        for part in range(1, parts.shape[0]):
            for i in range(start, stop):
                for j in range(i + 1):
                    out[i, j] = out[i, j] + parts[part, i, j]
        for j in range(stop):
            for i in range(max(start, j + 1), stop):
                out[j, i] = out[i, j]


def gramian(rows, out, num_threads=None):
    """See `alternant.kernels.gramian`."""
    m, f = rows.shape
    # As many as there are rows for, and no more than 16 MB of them, but for large f.
    parts = min(-(-m // BLOCK), max(8, min(32, (1 << 21) // (f * f))))
    if m == 0:
        out[:] = 0
        return
    sums = np.zeros((parts, f, f))
    threads = openmp_threads(min(resolve_num_threads(num_threads), parts))
    with single_threaded_blas():
        no_memory = _gramians(rows, sums, threads)
    if no_memory:
        raise MemoryError(f"no memory for the scratch space of {threads} threads; use fewer with num_threads")
    _add_parts(sums, out, threads)


def _squared_norms(
    const floating[:, ::1] rows,    # IN   m x f
    double[::1] out,                # OUT  m
    int num_threads,                # IN
):
    cdef ptrdiff_t m = rows.shape[0], f = rows.shape[1], u
    for u in prange(m, nogil=True, schedule="static", num_threads=num_threads):
        out[u] = dot(f, &rows[u, 0], &rows[u, 0])


def squared_norms(rows, out, num_threads=None):
    """See `alternant.kernels.squared_norms`."""
    if len(rows):
        _squared_norms(rows, out, openmp_threads(min(resolve_num_threads(num_threads), 1 + len(rows) // BLOCK)))
