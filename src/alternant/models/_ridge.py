"""The regression of each item on all others in closed form: a Gram matrix and its inverse, in parallel.

The work is divided into strips of rows that depend only on the number of items, and BLAS runs each on one thread, so
that results are bit-identical for any number of threads. Of symmetric matrices, only the lower triangles are valid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray

from .._utils.threads import map_parallel, single_threaded_blas

DENSE_FROM = 100  # a product of two stored entries takes as long as this many in a dense product
DENSE_ROWS = 1 << 23  # entries of a dense block of rows
SPARSE_HEIGHT = 64  # rows of a sparse product at a time: up to 20 bytes for each of their entries
CUT_BELOW = 1 << 21  # with fewer entries, each thread copies those it needs for the lower triangle
WIDTH = 2048  # columns of a dense product at a time
Strip = tuple[int, int]


def strips(n: int) -> list[Strip]:
    """Return the strips into which the rows of an n x n matrix are divided."""
    height = 512 if n > 4096 else 128
    return [(start, min(start + height, n)) for start in range(0, n, height)]


def _columns(n: int) -> list[Strip]:
    return [(first, min(first + WIDTH, n)) for first in range(0, n, WIDTH)]


def gram(rows: scipy.sparse.csr_array, out: NDArray[np.float64], num_threads: int) -> None:
    """Form the lower triangle of ``rows^T rows``: from stored entries, or in dense blocks if there are many."""
    m, n = rows.shape
    counts = np.diff(rows.indptr).astype(np.float64)
    if float((counts**2).sum()) * DENSE_FROM < m * float(n) ** 2:
        columns = scipy.sparse.csr_array(rows.T)

        def multiply(strip: Strip) -> None:
            start, stop = strip
            left = rows[:, :stop] if rows.nnz < CUT_BELOW else rows
            for first in range(start, stop, SPARSE_HEIGHT):
                last = min(first + SPARSE_HEIGHT, stop)
                out[first:last, :stop] = (columns[first:last] @ left).toarray()[:, :stop]

        map_parallel(multiply, strips(n), num_threads)
        return
    out[:] = 0
    height = max(1, DENSE_ROWS // n)
    for first in range(0, m, height):
        _add_gram(rows[first : first + height].toarray(), out, num_threads)


def _add_gram(block: NDArray[np.float64], out: NDArray[np.float64], num_threads: int) -> None:
    def add(strip: Strip) -> None:
        start, stop = strip
        for first, last in _columns(stop):
            out[start:stop, first:last] += block[:, start:stop].T @ block[:, first:last]

    with single_threaded_blas():
        map_parallel(add, strips(len(out)), num_threads)


def center(matrix: NDArray[np.float64], means: NDArray[np.float64], m: int) -> None:
    """Turn the Gram matrix of m rows into that of the centered rows."""
    for start, stop in strips(len(matrix)):
        matrix[start:stop, :stop] -= (m * means[start:stop])[:, None] * means[:stop]


def negative_inverse(
    matrix: NDArray[np.float64], num_threads: int, scale: NDArray[np.float64] | None = None
) -> None:
    r"""Replace a positive definite matrix by minus its inverse, in place.

    By the sweep operator, one block of pivots D at a time: with :math:`R = D^{-1} A_{D\cdot}`,

    .. math:: A \leftarrow A - A_{\cdot D} R, \qquad A_{D\cdot} \leftarrow R, \qquad A_{DD} \leftarrow -D^{-1},

    in n^3 multiply-adds, as many as a Cholesky factorization and the inverse from it, nearly all in products of strips.

    `scale`: the magnitude of the terms that the diagonal was computed from, if that exceeds the diagonal. The error of
    a pivot is about n rounding errors of that magnitude, and must be below 1 % of the pivot.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is not numerically positive definite; its content is then undefined.
    """
    n = len(matrix)
    smallest = 100 * n * np.finfo(np.float64).eps * (matrix.diagonal() if scale is None else scale)
    cuts = strips(n)
    with single_threaded_blas():
        for pivot in cuts:
            first, last = pivot
            row = np.zeros((last - first, n))
            row[:, :first] = matrix[first:last, :first]
            row[:, last:] = matrix[last:, first:last].T
            block = np.tril(matrix[first:last, first:last])
            factor = scipy.linalg.cho_factor(block, lower=True, check_finite=False)
            if not (factor[0].diagonal() ** 2 > smallest[first:last]).all():
                raise np.linalg.LinAlgError("a pivot is all rounding")
            inverse = scipy.linalg.cho_solve(factor, np.eye(last - first), check_finite=False)
            inverse = (inverse + inverse.T) / 2
            solved = inverse @ row
            map_parallel(_sweep(matrix, row, solved, pivot), [cut for cut in cuts if cut != pivot], num_threads)
            matrix[first:last, :first] = solved[:, :first]
            matrix[first:last, first:last] = -inverse


def _sweep(
    matrix: NDArray[np.float64], row: NDArray[np.float64], solved: NDArray[np.float64], pivot: Strip
) -> Callable[[Strip], None]:
    """Return a function that eliminates the pivots from another strip."""

    def sweep(strip: Strip) -> None:
        start, stop = strip
        for first, last in _columns(stop):  # `row` and `solved` are 0 in the columns of the pivots
            matrix[start:stop, first:last] -= row[:, start:stop].T @ solved[:, first:last]
        if start >= pivot[1]:
            matrix[start:stop, pivot[0] : pivot[1]] = solved[:, start:stop].T

    return sweep


def weights_from(negative: NDArray[np.float64], out: NDArray[np.floating]) -> None:
    """Write ``B_ij = -P_ij / P_jj``, ``B_jj = 0``, given -P; `out` may share its memory."""
    diagonal = negative.diagonal().copy()
    for start, stop in strips(len(negative)):
        negative[start:stop, stop:] = negative[stop:, start:stop].T
        inner = negative[start:stop, start:stop]
        lower = np.tril(inner, -1)
        inner[:] = lower + lower.T
    for start, stop in strips(len(negative)):
        np.divide(negative[start:stop], -diagonal, out=out[start:stop], casting="same_kind")
    out[:] += 0.0  # turns -0.0 into 0.0
