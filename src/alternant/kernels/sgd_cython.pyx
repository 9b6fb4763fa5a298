"""Stochastic gradient descent on a grid: Cython bindings of simd/sgd.c."""

from libc.math cimport INFINITY, isfinite
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from ._arrays cimport (
    floats, floats_or_null, floats_out, integers, integers_or_null, integers_out, real_size, unsigned_bytes,
)

import numpy as np

from alternant._utils.threads import openmp_threads
from alternant.kernels._checks import fits_int32, samples


cdef extern from "sgd.h" nogil:
    ctypedef struct sgd_step:
        double offset, low, height, rate, shrink_x, shrink_y, shrink_b, shrink_c
        bint columns

    ctypedef struct sgd_sides:
        void *X
        void *Y
        void *row_bias
        void *column_bias
        void *XX
        void *YY
        void *row_bias_squares
        void *column_bias_squares

    ctypedef struct sgd_epoch:
        ptrdiff_t blocks, f, n
        const int64_t *row_edges
        const int64_t *column_edges
        const int64_t *block_indptr
        const int32_t *rows
        const int32_t *columns
        const int64_t *schedule
        ptrdiff_t rounds, tasks
        const void *target
        const void *weight
        const double *negatives
        const int64_t *keys
        uint64_t seed
        sgd_sides sides
        sgd_step step
        double *loss
        int threads

    ctypedef struct sgd_sort:
        ptrdiff_t blocks, parts
        const int64_t *part_edges
        const int64_t *indptr
        const void *indices
        bint int64_indices
        const uint8_t *row_block
        const uint8_t *column_block
        const int32_t *row_position
        const int32_t *column_position
        int64_t *places
        int32_t *rows
        int32_t *columns
        int64_t *entries
        int threads

    ctypedef struct sgd_table:
        void (*biased_epoch[2])(const sgd_epoch *) noexcept nogil
        void (*cosine_epoch[2])(const sgd_epoch *) noexcept nogil
        void (*logistic_epoch[2])(const sgd_epoch *) noexcept nogil
        void (*count_blocks)(const sgd_sort *) noexcept nogil
        void (*fill_blocks)(const sgd_sort *) noexcept nogil

    const uint64_t SPLITMIX_GOLDEN
    uint64_t mix(uint64_t z)
    const sgd_table *sgd_table_of(const char *level)


cdef enum:
    PARTS = 32                  # of a matrix, sorted independently
    ENTRIES_PER_PART = 65536    # at least: a part's histogram has up to 4096 counts


cdef sgd_epoch epoch_of(grid, schedule, X, Y, target, learning_rate, bint update_columns, loss, num_threads,
                        Py_ssize_t size) except *:
    """Convert the arguments common to all epochs."""
    cdef sgd_epoch p
    row_edges, column_edges, block_indptr, rows, columns = grid
    p.blocks, p.f, p.n = len(row_edges) - 1, X.shape[1], len(Y)
    p.row_edges = <const int64_t *> integers(row_edges, "row_edges", 8)
    p.column_edges = <const int64_t *> integers(column_edges, "column_edges", 8)
    p.block_indptr = <const int64_t *> integers(block_indptr, "block_indptr", 8)
    p.rows = <const int32_t *> integers(rows, "rows", 4)
    p.columns = <const int32_t *> integers(columns, "columns", 4)
    p.schedule = <const int64_t *> integers(schedule, "schedule", 8)
    p.rounds, p.tasks = schedule.shape[0], schedule.shape[1]
    p.target, p.weight, p.negatives, p.keys, p.seed = floats(target, "target", size), NULL, NULL, NULL, 0
    p.sides.X, p.sides.Y = floats_out(X, "X", size), side(Y, "Y", size, update_columns)
    p.sides.row_bias, p.sides.column_bias, p.sides.XX = NULL, NULL, NULL
    p.step.rate, p.step.columns = learning_rate, update_columns
    p.loss = <double *> floats_out(loss, "loss", 8)
    p.threads = openmp_threads(num_threads, max(1, p.tasks))
    return p


cdef inline void *side(array, str name, Py_ssize_t size, bint moves) except? NULL:
    """The data pointer of an array of the columns' side, which is only read unless it is updated."""
    return floats_out(array, name, size) if moves else <void *> floats(array, name, size)


cdef class Kernels:
    """The kernels of one SIMD level."""

    cdef const sgd_table *table

    def __cinit__(self, str level):
        self.table = sgd_table_of(level.encode())
        if self.table == NULL:
            raise ImportError(f"the kernels were built without the SIMD level {level}")

    def biased_epoch(self, grid, schedule, target, factors, offset, bounds, learning_rate, regularization,
                     update_columns=True, num_threads=None):
        """See `alternant.kernels.biased_epoch`."""
        cdef Py_ssize_t size = real_size(target)
        X, Y, row_bias, column_bias = factors
        loss = np.zeros(schedule.shape[:2])
        cdef sgd_epoch p = epoch_of(grid, schedule, X, Y, target, learning_rate, update_columns, loss,
                                    num_threads, size)
        low, high = bounds
        p.step.offset, p.step.low, p.step.height = offset, low, high - low
        if not isfinite(p.step.height):
            p.step.height = INFINITY
        p.step.shrink_x, p.step.shrink_y, p.step.shrink_b, p.step.shrink_c = regularization
        p.sides.row_bias = floats_out(row_bias, "row_bias", size)
        p.sides.column_bias = side(column_bias, "column_bias", size, update_columns)
        with nogil:
            self.table.biased_epoch[size == 8](&p)
        return loss

    def cosine_epoch(self, grid, schedule, target, X, Y, learning_rate, update_columns=True, num_threads=None):
        """See `alternant.kernels.cosine_epoch`."""
        cdef Py_ssize_t size = real_size(target)
        loss = np.zeros(schedule.shape[:2])
        cdef sgd_epoch p = epoch_of(grid, schedule, X, Y, target, learning_rate, update_columns, loss,
                                    num_threads, size)
        with nogil:
            self.table.cosine_epoch[size == 8](&p)
        return loss

    def logistic_epoch(self, grid, schedule, weight, target, negatives, factors, squares, learning_rate, regularization,
                       seed=0, epoch=0, update_columns=True, num_threads=None, keys=None):
        """See `alternant.kernels.logistic_epoch`."""
        cdef Py_ssize_t size = real_size(target)
        X, Y, row_bias, column_bias = factors
        if len(X) == 0 or len(Y) == 0:
            return np.zeros(schedule.shape[:2])
        samples(negatives)
        cdef uint64_t first = seed, number = epoch
        loss = np.zeros(schedule.shape[:2])
        cdef sgd_epoch p = epoch_of(grid, schedule, X, Y, target, learning_rate, update_columns, loss,
                                    num_threads, size)
        p.weight = floats(weight, "weight", size)
        p.negatives = <const double *> floats_or_null(negatives, "negatives", 8)
        p.keys = <const int64_t *> integers_or_null(keys, "keys", 8)
        p.seed = mix(first + SPLITMIX_GOLDEN * (number + 1))
        p.step.shrink_x, p.step.shrink_y, p.step.shrink_b, p.step.shrink_c = regularization
        p.sides.row_bias = floats_out(row_bias, "row_bias", size)
        p.sides.column_bias = side(column_bias, "column_bias", size, update_columns)
        if squares is not None:
            XX, YY, row_bias_squares, column_bias_squares = squares
            p.sides.XX = floats_out(XX, "squares.X", size)
            p.sides.YY = side(YY, "squares.Y", size, update_columns)
            p.sides.row_bias_squares = floats_out(row_bias_squares, "squares.row_bias", size)
            p.sides.column_bias_squares = side(column_bias_squares, "squares.column_bias", size, update_columns)
        with nogil:
            self.table.logistic_epoch[size == 8](&p)
        return loss

    def sort_into_blocks(self, indptr, indices, row_block, column_block, row_position, column_position, blocks,
                         num_threads=None):
        """See `alternant.kernels.sort_into_blocks`."""
        fits_int32(rows=len(row_block), columns=len(column_block))
        cdef sgd_sort s
        nnz = len(indices)
        parts = max(1, min(PARTS, nnz // ENTRIES_PER_PART))
        edges = np.searchsorted(indptr, nnz * np.arange(parts + 1) // parts)
        edges[0], edges[parts] = 0, len(row_block)
        edges = edges.astype(np.int64, copy=False)
        counts = np.zeros((parts, blocks * blocks), np.int64)
        s.blocks, s.parts = blocks, parts
        s.part_edges = <const int64_t *> integers(edges, "edges", 8)
        s.indptr = <const int64_t *> integers(indptr, "indptr", 8)
        s.int64_indices = indices.itemsize == 8
        s.indices = integers(indices, "indices", 8 if s.int64_indices else 4)
        s.row_block = <const uint8_t *> unsigned_bytes(row_block, "row_block")
        s.column_block = <const uint8_t *> unsigned_bytes(column_block, "column_block")
        s.row_position = <const int32_t *> integers(row_position, "row_position", 4)
        s.column_position = <const int32_t *> integers(column_position, "column_position", 4)
        s.places = <int64_t *> integers_out(counts, "counts", 8)
        s.threads = openmp_threads(num_threads, parts)
        with nogil:
            self.table.count_blocks(&s)
        block_indptr = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
        places = block_indptr[:blocks * blocks] + np.cumsum(counts, axis=0) - counts
        rows, columns, entries = np.empty(nnz, np.int32), np.empty(nnz, np.int32), np.empty(nnz, np.int64)
        s.places = <int64_t *> integers_out(places, "places", 8)
        s.rows, s.columns = <int32_t *> integers_out(rows, "rows", 4), <int32_t *> integers_out(columns, "columns", 4)
        s.entries = <int64_t *> integers_out(entries, "entries", 8)
        with nogil:
            self.table.fill_blocks(&s)
        return block_indptr, rows, columns, entries
