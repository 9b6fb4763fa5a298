"""Learning from one positive and many negatives: Cython bindings of simd/contrastive.c."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

from ._arrays cimport floats, floats_out, integers, real_size

import numpy as np

from alternant._utils.threads import openmp_threads


cdef extern from "contrastive.h" nogil:
    ctypedef struct epoch_struct "contrastive_epoch":
        ptrdiff_t batches, f, sampled
        const int64_t *order
        const int32_t *negatives
        const int64_t *indptr
        const int32_t *indices
        const int64_t *row_edges
        const int64_t *column_edges
        const int32_t *columns
        const int64_t *starts
        const int64_t *entries
        const int32_t *entry_rows
        void *X
        void *Y
        double *row_squares
        double *column_squares
        const double *row_weight
        bint softmax, update_columns
        double temperature, margin, weight, rate
        void *old
        void *packed
        void *panels
        void *slopes
        void *positive
        void *gradient
        void *column_gradient
        double *loss
        int threads

    ctypedef struct contrastive_table:
        void (*epoch[2])(const epoch_struct *) noexcept nogil

    enum:
        CONTRASTIVE_PANEL, CONTRASTIVE_ROWS
    const contrastive_table *contrastive_table_of(const char *level)


cdef class Kernels:
    """The kernels of one SIMD level."""

    cdef const contrastive_table *table

    def __cinit__(self, str level):
        self.table = contrastive_table_of(level.encode())
        if self.table == NULL:
            raise ImportError(f"the kernels were built without the SIMD level {level}")

    def contrastive_epoch(self, indptr, indices, batches, order, negatives, X, Y, row_squares, column_squares,
                          row_weight, ranking, learning_rate, update_columns=True, num_threads=None):
        """See `alternant.kernels.contrastive_epoch`."""
        cdef epoch_struct p
        cdef Py_ssize_t size = real_size(X)
        row_edges, column_edges, columns, starts, entries, entry_rows = batches
        rows, owned, longest = batches.longest(indptr)
        f, sampled = X.shape[1], negatives.shape[1]
        width, f_padded = -(-sampled // CONTRASTIVE_PANEL) * CONTRASTIVE_PANEL, -(-f * size // 64) * 64 // size
        p.batches, p.f, p.sampled = len(order), f, sampled
        p.order = <const int64_t *> integers(order, "order", 8)
        p.negatives = <const int32_t *> integers(negatives, "negatives", 4)
        p.indptr = <const int64_t *> integers(indptr, "indptr", 8)
        p.indices = <const int32_t *> integers(indices, "indices", 4)
        p.row_edges = <const int64_t *> integers(row_edges, "row_edges", 8)
        p.column_edges = <const int64_t *> integers(column_edges, "column_edges", 8)
        p.columns = <const int32_t *> integers(columns, "columns", 4)
        p.starts = <const int64_t *> integers(starts, "starts", 8)
        p.entries = <const int64_t *> integers(entries, "entries", 8)
        p.entry_rows = <const int32_t *> integers(entry_rows, "rows", 4)
        p.X = floats_out(X, "X", size)
        p.row_weight = <const double *> floats(row_weight, "row_weight", 8)
        p.row_squares = <double *> floats_out(row_squares, "row_squares", 8)
        if update_columns:
            p.Y = floats_out(Y, "Y", size)
            p.column_squares = <double *> floats_out(column_squares, "column_squares", 8)
        else:
            p.Y = <void *> floats(Y, "Y", size)
            p.column_squares = <double *> floats(column_squares, "column_squares", 8)
        p.softmax, p.update_columns, p.rate = ranking.loss == "softmax", update_columns, learning_rate
        p.temperature, p.margin, p.weight = ranking.temperature, ranking.margin, ranking.weight
        # Padding is zero, and is not written.
        groups = -(-sampled // CONTRASTIVE_ROWS) + -(-owned // CONTRASTIVE_ROWS)
        old, gradient = np.zeros((rows + 3, f_padded), X.dtype), np.zeros((rows + 3, f_padded), X.dtype)
        packed, panels = np.zeros((sampled, f_padded), X.dtype), np.zeros(width * f, X.dtype)
        slopes, positive = np.zeros((rows + 3, width), X.dtype), np.zeros(longest, X.dtype)
        column_gradient, losses = np.zeros((CONTRASTIVE_ROWS * groups, f_padded), X.dtype), np.zeros(X.shape[0])
        p.old, p.gradient = floats_out(old, "old", size), floats_out(gradient, "gradient", size)
        p.packed, p.panels = floats_out(packed, "packed", size), floats_out(panels, "panels", size)
        p.slopes, p.positive = floats_out(slopes, "slopes", size), floats_out(positive, "positive", size)
        p.column_gradient = floats_out(column_gradient, "column_gradient", size)
        p.loss = <double *> floats_out(losses, "loss", 8)
        p.threads = openmp_threads(num_threads, max(1, -(-rows // CONTRASTIVE_ROWS)))
        with nogil:
            self.table.epoch[size == 8](&p)
        # In float64, in the order of the rows: those of other batches have none.
        done = [losses[row_edges[b]:row_edges[b + 1]] for b in np.unique(order)]
        return sum(np.concatenate(done).tolist()) if done else 0.0
