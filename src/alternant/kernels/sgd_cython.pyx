r"""Stochastic gradient descent on a grid: the blocks of a diagonal are spread over OpenMP threads.

    biased     z = mu + b_u + c_i + x_u . y_i      (t - p(z))^2 / 2
    cosine     z = x_u . y_i / (|x_u| |y_i|)       (z - t)^2
    logistic   z = b_u + c_i + x_u . y_i           w (log(1 + e^z) - t z)

Cost of an entry: 3 f multiply-adds (5 f for the cosine) and two rows read and written; the rows of a block stay in the
cache. One thread takes a block, entry by entry, and no two blocks of a diagonal share a row or a column: the number of
threads changes no bit. The blocks are dealt out statically, so that a thread keeps its rows in its own cache from one
diagonal to the next: 68 million entries a second on two threads, against 47 where whoever is free takes a block.
"""

cimport cython.parallel as parallel
from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport INFINITY
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from ._vector cimport index_t

import numpy as np

from alternant._utils.threads import openmp_threads, resolve_num_threads


cdef enum:
    PARTS = 32                  # of a matrix, whose entries are sorted by themselves
    ENTRIES_PER_PART = 65536    # at least: a part's histogram has up to 4096 numbers


cdef extern from "_sgd.h" nogil:
    ctypedef struct sgd_step:
        double offset, low, height, rate, shrink_x, shrink_y, shrink_b, shrink_c
        int columns

    ctypedef struct sgd_sides:
        void *X
        void *Y
        void *row_bias
        void *column_bias
        void *XX
        void *YY
        void *row_bias_squares
        void *column_bias_squares

    const uint64_t SGD_GOLDEN
    uint64_t mix(uint64_t z)
    double biased_block_f32(ptrdiff_t, ptrdiff_t, const int32_t *, const int32_t *, const float *, float *, float *,
                            float *, float *, const sgd_step *)
    double biased_block_f64(ptrdiff_t, ptrdiff_t, const int32_t *, const int32_t *, const double *, double *, double *,
                            double *, double *, const sgd_step *)
    double cosine_block_f32(ptrdiff_t, ptrdiff_t, const int32_t *, const int32_t *, const float *, float *, float *,
                            const sgd_step *)
    double cosine_block_f64(ptrdiff_t, ptrdiff_t, const int32_t *, const int32_t *, const double *, double *, double *,
                            const sgd_step *)
    double logistic_entries_f32(ptrdiff_t, ptrdiff_t, const int32_t *, const int32_t *, const float *, const float *,
                                const sgd_sides *, const sgd_step *)
    double logistic_entries_f64(ptrdiff_t, ptrdiff_t, const int32_t *, const int32_t *, const double *,
                                const double *, const sgd_sides *, const sgd_step *)
    double logistic_negatives_f32(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const uint64_t *, ptrdiff_t,
                                  const sgd_sides *, const sgd_step *)
    double logistic_negatives_f64(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const uint64_t *, ptrdiff_t,
                                  const sgd_sides *, const sgd_step *)


def _biased_epoch(
    const int64_t[::1] block_indptr,    # IN   B * B + 1
    const int32_t[::1] rows,            # IN   nnz
    const int32_t[::1] columns,         # IN   nnz
    const int64_t[::1] order,           # IN   B
    const floating[::1] target,         # IN   nnz
    floating[:, ::1] X,                 # IN and OUT, m x f
    const floating[:, ::1] Y,           # IN and OUT (where the columns move), n x f
    floating[::1] row_bias,             # IN and OUT, m
    const floating[::1] column_bias,    # IN and OUT (where the columns move), n
    sgd_step step,                      # IN
    double[::1] loss,                   # OUT  B * B
    int num_threads,                    # IN
):
    cdef ptrdiff_t blocks = order.shape[0], f = X.shape[1], d = 0, a, block, j, n
    cdef floating *y = <floating *> &Y[0, 0]
    cdef floating *c = <floating *> &column_bias[0]
    with nogil, parallel.parallel(num_threads=num_threads):
        for d in range(blocks):
            for a in prange(blocks, schedule="static"):
                block = a * blocks + (a + order[d]) % blocks
                j = block_indptr[block]
                n = block_indptr[block + 1] - j
                if n > 0:
                    if floating is float:
                        loss[block] = biased_block_f32(f, n, &rows[j], &columns[j], &target[j], &X[0, 0], y,
                                                       &row_bias[0], c, &step)
                    else:
                        loss[block] = biased_block_f64(f, n, &rows[j], &columns[j], &target[j], &X[0, 0], y,
                                                       &row_bias[0], c, &step)


def biased_epoch(grid, order, target, factors, offset, bounds, learning_rate, regularization, update_columns=True,
                 num_threads=None):
    """See `alternant.kernels.biased_epoch`."""
    if len(grid.rows) == 0:
        return 0.0    # nothing below may take the address of an empty array's first element
    cdef sgd_step step
    low, high = bounds
    step.offset, step.low, step.height = offset, low, high - low
    if not np.isfinite(step.height):
        step.height = INFINITY
    set_rates(&step, learning_rate, regularization, update_columns)
    loss = np.zeros(len(order) * len(order))
    _biased_epoch(grid.block_indptr, grid.rows, grid.columns, order, target, *factors, step, loss,
                  threads_for(num_threads, order))
    return sum(loss.tolist())    # in float64, in the order of the blocks


def _cosine_epoch(
    const int64_t[::1] block_indptr,    # IN   B * B + 1
    const int32_t[::1] rows,            # IN   nnz
    const int32_t[::1] columns,         # IN   nnz
    const int64_t[::1] order,           # IN   B
    const floating[::1] target,         # IN   nnz
    floating[:, ::1] X,                 # IN and OUT, m x f
    const floating[:, ::1] Y,           # IN and OUT (where the columns move), n x f
    double learning_rate,               # IN
    bint update_columns,                # IN
    double[::1] loss,                   # OUT  B * B
    int num_threads,                    # IN
):
    cdef ptrdiff_t blocks = order.shape[0], f = X.shape[1], d = 0, a, block, j, n
    cdef floating *y = <floating *> &Y[0, 0]
    cdef sgd_step step
    step.rate = learning_rate
    step.columns = update_columns
    with nogil, parallel.parallel(num_threads=num_threads):
        for d in range(blocks):
            for a in prange(blocks, schedule="static"):
                block = a * blocks + (a + order[d]) % blocks
                j = block_indptr[block]
                n = block_indptr[block + 1] - j
                if n > 0:
                    if floating is float:
                        loss[block] = cosine_block_f32(f, n, &rows[j], &columns[j], &target[j], &X[0, 0], y, &step)
                    else:
                        loss[block] = cosine_block_f64(f, n, &rows[j], &columns[j], &target[j], &X[0, 0], y, &step)


def cosine_epoch(grid, order, target, X, Y, learning_rate, update_columns=True, num_threads=None):
    """See `alternant.kernels.cosine_epoch`."""
    if len(grid.rows) == 0:
        return 0.0
    loss = np.zeros(len(order) * len(order))
    _cosine_epoch(grid.block_indptr, grid.rows, grid.columns, order, target, X, Y, learning_rate, update_columns, loss,
                  threads_for(num_threads, order))
    return sum(loss.tolist())    # in float64, in the order of the blocks


def _logistic_epoch(
    const int64_t[::1] row_edges,           # IN   B + 1
    const int64_t[::1] column_edges,        # IN   B + 1
    const int64_t[::1] block_indptr,        # IN   B * B + 1
    const int32_t[::1] rows,                # IN   nnz
    const int32_t[::1] columns,             # IN   nnz
    const int64_t[::1] order,               # IN   B
    const floating[::1] weight,             # IN   nnz
    const floating[::1] target,             # IN   nnz
    const double[::1] negatives,            # IN   m, or None for all columns
    floating[:, ::1] X,                     # IN and OUT, m x f
    const floating[:, ::1] Y,               # IN and OUT (where the columns move), n x f
    floating[::1] row_bias,                 # IN and OUT, m
    const floating[::1] column_bias,        # IN and OUT (where the columns move), n
    squares,                                # IN and OUT, as the four before, or None
    sgd_step step,                          # IN
    uint64_t seed,                          # IN
    double[::1] loss,                       # OUT  B * B
    int num_threads,                        # IN
):
    cdef ptrdiff_t blocks = order.shape[0], f = X.shape[1], n = Y.shape[0], d = 0, a, b, block, j, u, width, count
    cdef floating[:, ::1] XX
    cdef const floating[:, ::1] YY
    cdef floating[::1] bb
    cdef const floating[::1] cc
    cdef sgd_sides sides
    cdef uint64_t key
    cdef bint sampled = negatives is not None
    sides.X, sides.Y, sides.row_bias = &X[0, 0], <void *> &Y[0, 0], &row_bias[0]
    sides.column_bias = <void *> &column_bias[0]
    sides.XX = NULL
    if squares is not None:
        XX, YY, bb, cc = squares
        sides.XX, sides.YY, sides.row_bias_squares = &XX[0, 0], <void *> &YY[0, 0], &bb[0]
        sides.column_bias_squares = <void *> &cc[0]
    with nogil, parallel.parallel(num_threads=num_threads):
        for d in range(blocks):
            for a in prange(blocks, schedule="static"):
                b = (a + order[d]) % blocks
                block = a * blocks + b
                j = block_indptr[block]
                if block_indptr[block + 1] > j:
                    loss[block] = entries(f, block_indptr[block + 1] - j, &rows[j], &columns[j], &weight[j],
                                          &target[j], &sides, &step)
                width = column_edges[b + 1] - column_edges[b]
                for u in range(row_edges[a], row_edges[a + 1]):
                    if width == 0:
                        break
                    if sampled:
                        key = mix(seed + SGD_GOLDEN * <uint64_t> (u * blocks + b + 1))
                        count = <ptrdiff_t> (negatives[u] * width / n + <double> (key >> 40) * 5.9604644775390625e-08)
                        loss[block] += chosen_negatives(f, u, column_edges[b], width, &key, count, &sides, &step,
                                                        &X[0, 0])
                    else:
                        loss[block] += chosen_negatives(f, u, column_edges[b], width, NULL, width, &sides, &step,
                                                        &X[0, 0])


cdef inline double entries(ptrdiff_t f, ptrdiff_t n, const int32_t *rows, const int32_t *columns,
                           const floating *weight, const floating *target, const sgd_sides *sides,
                           const sgd_step *step) noexcept nogil:
    if floating is float:
        return logistic_entries_f32(f, n, rows, columns, weight, target, sides, step)
    else:
        return logistic_entries_f64(f, n, rows, columns, weight, target, sides, step)


cdef inline double chosen_negatives(ptrdiff_t f, ptrdiff_t u, ptrdiff_t first, ptrdiff_t width, const uint64_t *key,
                                    ptrdiff_t count, const sgd_sides *sides, const sgd_step *step,
                                    const floating *_) noexcept nogil:
    if floating is float:
        return logistic_negatives_f32(f, u, first, width, key, count, sides, step)
    else:
        return logistic_negatives_f64(f, u, first, width, key, count, sides, step)


def logistic_epoch(grid, order, weight, target, negatives, factors, squares, learning_rate, regularization, seed=0,
                   epoch=0, update_columns=True, num_threads=None):
    """See `alternant.kernels.logistic_epoch`."""
    if len(factors.X) == 0 or len(factors.Y) == 0:
        return 0.0
    cdef sgd_step step
    set_rates(&step, learning_rate, regularization, update_columns)
    empty = len(grid.rows) == 0    # an array of one element has an address to take
    spare = np.zeros(1, factors.X.dtype)
    number = np.zeros(1, np.int32)
    loss = np.zeros(len(order) * len(order))
    _logistic_epoch(
        grid.row_edges, grid.column_edges, grid.block_indptr, number if empty else grid.rows,
        number if empty else grid.columns, order, spare if empty else weight, spare if empty else target, negatives,
        *factors, squares, step, mix((seed + 0x9E3779B97F4A7C15 * (epoch + 1)) & 0xFFFFFFFFFFFFFFFF), loss,
        threads_for(num_threads, order))
    return sum(loss.tolist())    # in float64, in the order of the blocks


def _count_blocks(
    const int64_t[::1] indptr,            # IN   m + 1
    const index_t[::1] indices,           # IN   nnz
    const uint8_t[::1] row_block,         # IN   m
    const uint8_t[::1] column_block,      # IN   n
    const int64_t[::1] edges,             # IN   parts + 1: rows
    int64_t[:, ::1] counts,               # OUT  parts x blocks^2, 0 before
    ptrdiff_t blocks,                     # IN
    int num_threads,                      # IN
):
    """How many entries of each part of the rows belong to each block."""
    cdef ptrdiff_t part, u, j, first
    for part in prange(counts.shape[0], nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        for u in range(edges[part], edges[part + 1]):
            first = row_block[u] * blocks
            for j in range(indptr[u], indptr[u + 1]):
                counts[part, first + column_block[indices[j]]] += 1


def _fill_blocks(
    const int64_t[::1] indptr,            # IN   m + 1
    const index_t[::1] indices,           # IN   nnz
    const uint8_t[::1] row_block,         # IN   m
    const uint8_t[::1] column_block,      # IN   n
    const int32_t[::1] row_rank,          # IN   m
    const int32_t[::1] column_rank,       # IN   n
    const int64_t[::1] edges,             # IN   parts + 1: rows
    int64_t[:, ::1] place,                # IN   parts x blocks^2: where the entries of each go; moved on
    int32_t[::1] rows,                    # OUT  nnz
    int32_t[::1] columns,                 # OUT  nnz
    int64_t[::1] entries,                 # OUT  nnz
    ptrdiff_t blocks,                     # IN
    int num_threads,                      # IN
):
    cdef ptrdiff_t part, u, j, first, block, at
    for part in prange(place.shape[0], nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        for u in range(edges[part], edges[part + 1]):
            first = row_block[u] * blocks
            for j in range(indptr[u], indptr[u + 1]):
                block = first + column_block[indices[j]]
                at = place[part, block]
                place[part, block] = at + 1
                rows[at] = row_rank[u]
                columns[at] = column_rank[indices[j]]
                entries[at] = j


def sort_into_blocks(indptr, indices, row_block, column_block, row_rank, column_rank, blocks, num_threads=None):
    """See `alternant.kernels.sort_into_blocks`."""
    nnz = len(indices)
    parts = max(1, min(PARTS, nnz // ENTRIES_PER_PART))
    edges = np.searchsorted(indptr, nnz * np.arange(parts + 1) // parts)
    edges[0], edges[parts] = 0, len(row_block)
    counts = np.zeros((parts, blocks * blocks), np.int64)
    threads = openmp_threads(min(resolve_num_threads(num_threads), parts))
    _count_blocks(indptr, indices, row_block, column_block, edges, counts, blocks, threads)
    block_indptr = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    place = block_indptr[:blocks * blocks] + np.cumsum(counts, axis=0) - counts
    rows, columns, entries = np.empty(nnz, np.int32), np.empty(nnz, np.int32), np.empty(nnz, np.int64)
    _fill_blocks(indptr, indices, row_block, column_block, row_rank, column_rank, edges, place, rows, columns, entries,
                 blocks, threads)
    return block_indptr, rows, columns, entries


cdef void set_rates(sgd_step *step, double learning_rate, regularization, bint update_columns):
    step.rate = learning_rate
    step.shrink_x, step.shrink_y, step.shrink_b, step.shrink_c = regularization
    step.columns = update_columns


cdef int threads_for(num_threads, order):
    return openmp_threads(min(resolve_num_threads(num_threads), len(order)))
