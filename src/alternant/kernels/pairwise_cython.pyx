"""Pairwise learning to rank: Cython bindings of simd/pairwise.c."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from ._arrays cimport (
    floats, floats_or_null, floats_out, floats_out_or_null, integers, integers_or_null, integers_out, real_size,
    unsigned_bytes,
)

import numpy as np

from alternant._utils.threads import openmp_threads
from alternant.kernels._rounds import Triples


cdef extern from "pairwise.h" nogil:
    ctypedef struct pairwise_draw:
        ptrdiff_t parts, all_tasks, f, n, column_blocks, most_draws
        const int64_t *part_edges
        const int64_t *indptr
        const int32_t *indices
        int64_t first, step
        const int64_t *keys
        uint64_t state
        bint verify
        const void *X
        const void *Y
        const void *bias
        const int64_t *thresholds
        const int32_t *guide
        int guide_bits
        const int32_t *order
        const double *spread
        double rate
        double *sums
        const double *rank_weight
        const uint8_t *row_block
        const uint8_t *column_block
        const int32_t *task
        int64_t *places
        int32_t *drawn
        void *drawn_weight
        int32_t *rows
        int32_t *positives
        int32_t *negatives
        void *weight
        int threads

    ctypedef struct epoch_struct "pairwise_epoch":
        ptrdiff_t rounds, tasks, f
        const int64_t *indptr
        const int32_t *rows
        const int32_t *positives
        const int32_t *negatives
        const void *weight
        void *X
        void *Y
        void *bias
        void *XX
        void *YY
        void *bias_squares
        double rate, shrink_x, shrink_positive, shrink_negative, shrink_bias
        bint hinge, columns
        double *loss
        int64_t *correct
        int threads

    ctypedef struct pairwise_table:
        void (*draw[2])(const pairwise_draw *) noexcept nogil
        void (*group[2])(const pairwise_draw *) noexcept nogil
        void (*epoch[2])(const epoch_struct *) noexcept nogil

    const uint64_t SPLITMIX_GOLDEN
    uint64_t mix(uint64_t z)
    const pairwise_table *pairwise_table_of(const char *level)


cdef enum:
    PARTS = 32                 # of the entries, drawn independently
    ENTRIES_PER_PART = 16384   # at least: each part counts the triples of all tasks


cdef inline void *side(array, str name, Py_ssize_t size, bint moves) except? NULL:
    """The data pointer of an array of the columns' side, which is only read unless it is updated."""
    return floats_out(array, name, size) if moves else <void *> floats(array, name, size)


cdef class Kernels:
    """The kernels of one SIMD level."""

    cdef const pairwise_table *table

    def __cinit__(self, str level):
        self.table = pairwise_table_of(level.encode())
        if self.table == NULL:
            raise ImportError(f"the kernels were built without the SIMD level {level}")

    def draw_triples(self, indptr, indices, rounds, sides, popular=None, adaptive=None, rank_weight=None, verify=True,
                     part=(0, 1), seed=0, epoch=0, num_threads=None, keys=None):
        """See `alternant.kernels.draw_triples`."""
        cdef pairwise_draw p
        X, Y, bias = sides
        row_block, column_block, task, _ = rounds
        cdef Py_ssize_t size = real_size(X)
        cdef uint64_t first = seed, number = epoch
        nnz = len(indices)
        parts = max(1, min(PARTS, nnz // ENTRIES_PER_PART))
        edges = np.searchsorted(indptr, nnz * np.arange(parts + 1) // parts).astype(np.int64)
        edges[0], edges[parts] = 0, len(indptr) - 1
        p.parts, p.all_tasks, p.f, p.n = parts, rounds.number * rounds.tasks, X.shape[1], len(Y)
        p.part_edges = <const int64_t *> integers(edges, "edges", 8)
        p.indptr = <const int64_t *> integers(indptr, "indptr", 8)
        p.indices = <const int32_t *> integers(indices, "indices", 4)
        p.first, p.step = part
        p.keys = <const int64_t *> integers_or_null(keys, "keys", 8)
        p.state, p.verify = mix(first + SPLITMIX_GOLDEN * (number + 1)), verify
        p.X, p.Y, p.bias = floats(X, "X", size), floats(Y, "Y", size), floats(bias, "column_bias", size)
        p.thresholds, p.guide, p.guide_bits = NULL, NULL, 0
        if popular is not None:
            thresholds, guide = popular
            p.thresholds = <const int64_t *> integers(thresholds, "thresholds", 8)
            p.guide, p.guide_bits = <const int32_t *> integers(guide, "guide", 4), (len(guide) - 1).bit_length() - 1
        p.order, p.spread, p.rate, p.sums = NULL, NULL, 0, NULL
        if adaptive is not None:
            order, spread, p.rate = adaptive
            sums = np.empty(parts * (X.shape[1] + 1))
            p.order = <const int32_t *> integers(order, "order", 4)
            p.spread = <const double *> floats(spread, "spread", 8)
            p.sums = <double *> floats_out(sums, "sums", 8)
        p.rank_weight = <const double *> floats_or_null(rank_weight, "rank_weight", 8)
        p.most_draws = 0 if rank_weight is None else len(rank_weight)
        p.row_block = <const uint8_t *> unsigned_bytes(row_block, "row_block")
        p.column_block = <const uint8_t *> unsigned_bytes(column_block, "column_block")
        p.task, p.column_blocks = <const int32_t *> integers(task, "task", 4), task.shape[1]
        places = np.zeros((parts, p.all_tasks), np.int64)
        drawn = np.empty(max(0, nnz - p.first + p.step - 1) // p.step, np.int32)
        drawn_weight = None if rank_weight is None else np.empty(len(drawn), X.dtype)
        p.places, p.drawn = <int64_t *> integers_out(places, "places", 8), <int32_t *> integers_out(drawn, "drawn", 4)
        p.drawn_weight, p.weight = floats_out_or_null(drawn_weight, "weight", size), NULL
        p.threads = openmp_threads(num_threads, parts)
        with nogil:
            self.table.draw[size == 8](&p)
        starts = np.concatenate([[0], np.cumsum(places.sum(axis=0))])
        places[:] = starts[:p.all_tasks] + np.cumsum(places, axis=0) - places
        total = starts[p.all_tasks]
        rows, positives, negatives = (np.empty(total, np.int32) for _ in range(3))
        weight = None if rank_weight is None else np.empty(total, X.dtype)
        p.rows = <int32_t *> integers_out(rows, "rows", 4)
        p.positives = <int32_t *> integers_out(positives, "positives", 4)
        p.negatives = <int32_t *> integers_out(negatives, "negatives", 4)
        p.weight = floats_out_or_null(weight, "weight", size)
        with nogil:
            self.table.group[size == 8](&p)
        return Triples(starts, rows, positives, negatives, weight)

    def pairwise_epoch(self, triples, rounds, sides, squares, loss, learning_rate, regularization,
                       update_columns=True, num_threads=None):
        """See `alternant.kernels.pairwise_epoch`."""
        cdef epoch_struct p
        X, Y, bias = sides
        indptr, rows, positives, negatives, weight = triples
        cdef Py_ssize_t size = real_size(X)
        p.rounds, p.tasks, p.f = (len(indptr) - 1) // rounds.tasks, rounds.tasks, X.shape[1]
        p.indptr, p.rows = <const int64_t *> integers(indptr, "indptr", 8), <const int32_t *> integers(rows, "rows", 4)
        p.positives = <const int32_t *> integers(positives, "positives", 4)
        p.negatives = <const int32_t *> integers(negatives, "negatives", 4)
        p.weight = floats_or_null(weight, "weight", size)
        p.X, p.Y = floats_out(X, "X", size), side(Y, "Y", size, update_columns)
        p.bias, p.XX = side(bias, "column_bias", size, update_columns), NULL
        if squares is not None:
            XX, YY, bias_squares = squares
            p.XX, p.YY = floats_out(XX, "squares.X", size), side(YY, "squares.Y", size, update_columns)
            p.bias_squares = side(bias_squares, "squares.column_bias", size, update_columns)
        p.rate, p.hinge, p.columns = learning_rate, loss == "hinge", update_columns
        p.shrink_x, p.shrink_positive, p.shrink_negative, p.shrink_bias = regularization
        losses, correct = np.zeros(len(indptr) - 1), np.zeros(len(indptr) - 1, np.int64)
        p.loss, p.correct = <double *> floats_out(losses, "loss", 8), <int64_t *> integers_out(correct, "correct", 8)
        p.threads = openmp_threads(num_threads, max(1, p.tasks))
        with nogil:
            self.table.epoch[size == 8](&p)
        return losses, int(correct.sum())
