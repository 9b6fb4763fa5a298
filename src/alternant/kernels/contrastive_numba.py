r"""Learning from one positive and many negatives, compiled by Numba: steps for a batch of rows on unit vectors.

.. math:: \log \Big( 1 + \sum_j \exp \frac{x_u \cdot y_j - x_u \cdot y_i}{t} \Big) \quad\text{or}\quad
          1 - x_u \cdot y_i + \frac{w}{|N|} \sum_j \max(0, x_u \cdot y_j - m)

Cost of a row: ``3 |N| f`` multiply-adds in the dtype of the arrays, for the scores and the gradients of both sides,
``4 f`` for each positive, and ``|N|`` exponentials. The rows of a batch, then its columns, are processed in parallel;
each row of a gradient is summed in a fixed order, so that results are bitwise identical for any number of threads.
Negatives below the margin have no gradient and cost their score alone.
"""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import math
from collections import namedtuple
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.threads import map_parallel, resolve_num_threads
from ._batches import Batches, Ranking
from .als_numba import constant, entry_point
from .sgd_numba import _dot, _inner

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE = 16  # rows or columns that a thread processes at a time

Entries: Any = namedtuple("Entries", "indptr indices columns starts entries rows row_weight")
Loss: Any = namedtuple("Loss", "softmax temperature margin weight rate")
# The rows before their steps, the negatives, the derivatives of the loss by the scores of both kinds
Scratch: Any = namedtuple("Scratch", "old sampled slopes positive")


def contrastive_epoch(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    batches: Batches,
    order: NDArray[np.int64],
    negatives: NDArray[np.int32],
    X: NDArray[Any],
    Y: NDArray[Any],
    row_squares: NDArray[np.float64],
    column_squares: NDArray[np.float64],
    row_weight: NDArray[np.float64],
    ranking: Ranking,
    learning_rate: float,
    update_columns: bool = True,
    num_threads: int | None = None,
) -> float:
    """See `alternant.kernels.contrastive_epoch`."""
    threads, (rows, _, longest) = resolve_num_threads(num_threads), batches.longest(indptr)
    given = constant(indptr, indices, batches.columns, batches.starts, batches.entries, batches.rows, row_weight)
    entries = Entries(*given)
    loss = Loss(ranking.loss == "softmax", *map(float, (*ranking[1:], learning_rate)))
    x, y = X.view(np.ndarray), Y.view(np.ndarray)
    fixed, losses = constant(y)[0], np.zeros(len(X))
    old, slopes = np.empty((rows, x.shape[1]), x.dtype), np.empty((rows, negatives.shape[1]), x.dtype)
    for b, sample in zip(order.tolist(), constant(negatives)[0], strict=True):
        begin, end = batches.row_edges[b : b + 2].tolist()
        scratch = Scratch(old, fixed[sample], slopes, np.empty(longest, x.dtype))

        def process_rows(first: int, begin: int = begin, end: int = end, scratch: Any = scratch) -> None:
            last = min(first + PIECE, end)
            _rows(begin, first, last, entries, loss, x, fixed, scratch, row_squares, losses)

        map_parallel(process_rows, range(begin, end, PIECE), threads)
        if not update_columns:
            continue
        own = batches.column_edges[b : b + 2].tolist()
        count = len(sample) + own[1] - own[0]

        def process_columns(
            first: int, begin: int = begin, end: int = end, own: Any = own, sample: Any = sample, count: int = count,
            scratch: Any = scratch,
        ) -> None:  # fmt: skip
            last = min(first + PIECE, count)
            _columns(begin, end, first, last, own[0], own[1], sample, entries, loss, y, scratch, column_squares)

        map_parallel(process_columns, range(0, count, PIECE), threads)
    done = [losses[slice(*batches.row_edges[b : b + 2])] for b in np.unique(order)]  # the others have no losses
    return float(sum(np.concatenate(done).tolist())) if done else 0.0


@entry_point
def _rows(begin, first, last, entries, loss, X, Y, scratch, squares, losses):
    """Process the rows ``first:last`` of the batch that begins with the row `begin`."""
    old, sampled, slopes, positive = scratch
    f, n = X.shape[1], len(sampled)
    gradient = np.empty(f, X.dtype)
    for u in range(first, last):
        r = u - begin
        for k in range(f):
            old[r, k] = X[u, k]
            gradient[k] = 0
        if entries.indptr[u] == entries.indptr[u + 1]:
            for j in range(n):
                slopes[r, j] = 0
            continue
        for j in range(n):
            slopes[r, j] = _dot(old, r, sampled, j)
        own = positive[entries.indptr[u] - entries.indptr[begin] :]
        losses[u] += _row_loss(u, r, entries, loss, Y, old, slopes, own, gradient)
        for j in range(n):
            slope = slopes[r, j]
            if slope == 0:  # most, with the contrastive loss
                continue
            for k in range(f):
                gradient[k] += slope * sampled[j, k]
        _step(X, u, gradient, squares, loss.rate)


@_inner
def _row_loss(u, r, entries, loss, Y, old, slopes, positive, gradient):
    """Turn the scores of a row into derivatives of its loss, which is returned; `gradient` gets the positives' part."""
    n, real = slopes.shape[1], old.dtype.type
    greatest, total, result, weight = slopes[r, 0], 0.0, 0.0, 0.0
    if loss.softmax:
        for j in range(1, n):
            greatest = max(greatest, slopes[r, j])
        for j in range(n):
            slopes[r, j] = math.exp(real(slopes[r, j] - greatest) / real(loss.temperature))
            total += np.float64(slopes[r, j])
    else:
        for j in range(n):
            above = slopes[r, j] > real(loss.margin)
            total += np.float64(slopes[r, j] - real(loss.margin)) if above else 0.0
            slopes[r, j] = 1 if above else 0
    for e in range(entries.indptr[u], entries.indptr[u + 1]):
        at, i = e - entries.indptr[u], entries.indices[e]
        score = np.float64(_dot(old, r, Y, i))
        if loss.softmax:
            z = (np.float64(greatest) - score) / loss.temperature + math.log(total)
            fall = math.exp(-abs(z))
            own = (1.0 if z >= 0 else fall) / (1 + fall)  # the probability that is not the positive's
            result += max(z, 0.0) + math.log1p(fall)
            weight += own / (total * loss.temperature)
            positive[at] = -entries.row_weight[u] * own / loss.temperature
        else:
            result += 1 - score + loss.weight / n * total
            weight += loss.weight / n
            positive[at] = -entries.row_weight[u]
        slope = positive[at]
        for k in range(len(gradient)):
            gradient[k] += slope * Y[i, k]
    for j in range(n):
        slopes[r, j] *= real(entries.row_weight[u] * weight)
    return entries.row_weight[u] * result


@entry_point
def _columns(begin, end, first, last, own, own_end, sample, entries, loss, Y, scratch, squares):
    """Update the columns ``first:last`` of a batch: the negatives, then the positives that are not among them."""
    old, slopes, positive = scratch.old, scratch.slopes, scratch.positive
    f, n, rows = Y.shape[1], len(sample), end - begin
    columns = entries.columns[own:own_end]
    gradient = np.empty(f, Y.dtype)
    for t in range(first, last):
        for k in range(f):
            gradient[k] = 0
        if t < n:
            i = sample[t]
            place = np.searchsorted(columns, i)
            if place == len(columns) or columns[place] != i:
                place = -1
            for r in range(rows):
                slope = slopes[r, t]
                if slope == 0:
                    continue
                for k in range(f):
                    gradient[k] += slope * old[r, k]
        else:
            place = t - n
            i = columns[place]
            at = np.searchsorted(sample, i)
            if at < n and sample[at] == i:
                continue
        if place >= 0:
            for at in range(entries.starts[own + place], entries.starts[own + place + 1]):
                slope, r = positive[entries.entries[at] - entries.indptr[begin]], entries.rows[at] - begin
                for k in range(f):
                    gradient[k] += slope * old[r, k]
        _step(Y, i, gradient, squares, loss.rate)


@_inner
def _step(vectors, i, gradient, squares, rate):
    """Move a unit vector along its sphere."""
    f, real, radial = len(gradient), vectors.dtype.type, vectors.dtype.type(0)
    for k in range(f):
        radial += gradient[k] * vectors[i, k]
    square = 0.0
    for k in range(f):
        gradient[k] -= radial * vectors[i, k]
        square += np.float64(gradient[k]) * np.float64(gradient[k])
    squares[i] += square
    if not square > 0 or rate == 0:
        return
    scale, length = real(rate / math.sqrt(squares[i])), 0.0
    for k in range(f):
        vectors[i, k] -= scale * gradient[k]
        length += np.float64(vectors[i, k]) * np.float64(vectors[i, k])
    scale = real(1 / math.sqrt(length))
    for k in range(f):
        vectors[i, k] *= scale
