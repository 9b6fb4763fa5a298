r"""The greatest dot products of each query, compiled by Numba.

.. math:: s_{ui} = q_u \cdot y_i

Cost of a query: ``n f`` for the scores and ``log k`` for each score that enters the heap of the best so far.

Items are transposed in tiles, so that the innermost loop runs over the items of a tile and each score is summed in the
order of the factors: identical items tie exactly, wherever they are stored and for any number of threads.
"""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from .._utils.threads import map_parallel, resolve_num_threads
from ._checks import fits_int32
from .als_numba import constant, entry_point

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILE = 256  # items scored at a time
SKEW = 16  # padding of the rows: with a power-of-two stride, they would share a few cache sets (9 times slower)
MOST_QUERIES = 128  # that share a transposed tile, to amortize the transposition
FEWEST_QUERIES = 8
PAIRS = 1 << 14  # scored by one task

# "contract" lets the compiler fuse multiplications and additions; nothing else is needed, and NaN is preserved.
_inner = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})


def top_k(
    queries: NDArray[Any],
    items: NDArray[Any],
    k: int,  # noqa: ARG001 - the outputs have k columns; the signature is the contract's
    exclude: tuple[NDArray[np.int64], NDArray[Any]] | None,
    candidates: NDArray[Any] | tuple[NDArray[np.int64], NDArray[Any]] | None,
    out_ids: NDArray[np.int32],
    out_scores: NDArray[Any],
    num_threads: int | None = None,
    scratch_bytes: int = 1 << 26,  # noqa: ARG001 - a thread's tile is 256 items, whatever the catalogue
) -> None:
    """See `alternant.kernels.top_k`."""
    fits_int32(items=len(items))
    threads = resolve_num_threads(num_threads)
    m = len(queries)
    listed = isinstance(candidates, tuple)
    if isinstance(candidates, tuple):
        ends, allowed = candidates[0], candidates[1].astype(np.int64, copy=False)
    else:
        allowed = np.arange(len(items)) if candidates is None else candidates.astype(np.int64, copy=False)
        ends = np.zeros(m + 1, np.int64)
    excluded = (np.zeros(m + 1, np.int64), np.empty(0, np.int32)) if exclude is None else exclude
    inputs = constant(queries, items, ends, allowed, *excluded)
    outputs = out_ids.view(np.ndarray), out_scores.view(np.ndarray)
    size = min(MOST_QUERIES, max(FEWEST_QUERIES, -(-m // (4 * threads))))
    map_parallel(
        lambda start: _top_k_range(start, min(start + size, m), listed, *inputs, *outputs), range(0, m, size), threads
    )


def score_pairs(
    rows: NDArray[Any],
    columns: NDArray[Any],
    X: NDArray[Any],
    Y: NDArray[Any],
    out: NDArray[Any],
    num_threads: int | None = None,
) -> None:
    """See `alternant.kernels.score_pairs`."""
    threads = resolve_num_threads(num_threads)
    inputs, scores = constant(rows, columns, X, Y), out.view(np.ndarray)
    starts = range(0, len(rows), PAIRS)
    map_parallel(lambda start: _score_range(start, min(start + PAIRS, len(rows)), *inputs, scores), starts, threads)


@entry_point
def _top_k_range(begin, end, listed, queries, items, ends, allowed, excluded_indptr, excluded, ids, scores):
    """Rank the allowed items for the queries ``begin:end``, from a common list or from each query's own."""
    if listed:
        for u in range(begin, end):
            _rank(u, u + 1, queries, items, allowed[ends[u] : ends[u + 1]], excluded_indptr, excluded, ids, scores)
    else:
        _rank(begin, end, queries, items, allowed, excluded_indptr, excluded, ids, scores)


@_inner
def _rank(begin, end, queries, items, allowed, excluded_indptr, excluded, ids, scores):
    """Rank the allowed items for the queries ``begin:end``, using the rows of the outputs as heaps."""
    f = queries.shape[1]
    width = (f + 3) // 4 * 4  # zero-padded, as factors are processed four at a time
    tile = np.zeros((width, TILE + SKEW), items.dtype)
    pair = np.zeros((2, width), items.dtype)
    products = np.empty((2, TILE), items.dtype)
    sizes = np.zeros(end - begin, np.int64)  # of the heaps
    cursors = excluded_indptr[begin:end].copy()  # excluded items before these precede the tile
    for start in range(0, len(allowed), TILE):
        count = min(TILE, len(allowed) - start)
        _transpose(items, allowed, start, count, tile)
        for u in range(begin, end, 2):
            for i in range(f):
                pair[0, i] = queries[u, i]
                pair[1, i] = queries[min(u + 1, end - 1), i]
            _multiply(pair, tile, products)
            for v in range(u, min(u + 2, end)):
                q = v - begin
                sizes[q], cursors[q] = _keep_best(products[v - u], allowed, start, count, excluded, cursors[q],
                                                  excluded_indptr[v + 1], sizes[q], scores[v], ids[v])  # fmt: skip
    for u in range(begin, end):
        _sort(scores[u], ids[u], sizes[u - begin])


@_inner
def _transpose(items, allowed, start, count, tile):
    for j in range(count):
        item = allowed[start + j]
        for i in range(items.shape[1]):
            tile[i, j] = items[item, i]


@_inner
def _multiply(pair, tile, products):
    """Compute the products of two queries with all items of a tile, four factors at a time."""
    for j in range(TILE):
        products[0, j] = 0
        products[1, j] = 0
    for i in range(0, len(tile), 4):
        a0, a1, a2, a3 = pair[0, i], pair[0, i + 1], pair[0, i + 2], pair[0, i + 3]
        b0, b1, b2, b3 = pair[1, i], pair[1, i + 1], pair[1, i + 2], pair[1, i + 3]
        for j in range(TILE):
            y0, y1, y2, y3 = tile[i, j], tile[i + 1, j], tile[i + 2, j], tile[i + 3, j]
            products[0, j] = products[0, j] + a0 * y0 + a1 * y1 + a2 * y2 + a3 * y3
            products[1, j] = products[1, j] + b0 * y0 + b1 * y1 + b2 * y2 + b3 * y3


@_inner
def _keep_best(products, allowed, start, count, excluded, cursor, last, size, scores, ids):
    """Offer the scores of a tile to the heap of a query, whose root is the worst one kept."""
    for j in range(count):
        score = products[j]
        # Ids ascend, so a score that ties with the worst one kept loses. Comparisons with NaN are false.
        if not (score > scores[0] if size == len(scores) else score == score):
            continue
        item = allowed[start + j]
        while cursor < last and excluded[cursor] < item:
            cursor += 1
        if cursor < last and excluded[cursor] == item:
            continue
        if size < len(scores):
            _sift_up(scores, ids, size, score, item)
            size += 1
        else:
            _sift_down(scores, ids, size, score, item)
    return size, cursor


@_inner
def _sift_up(scores, ids, at, score, item):
    """Insert an entry into a heap whose free slot is `at`."""
    while at > 0 and _worse(score, item, scores[(at - 1) // 2], ids[(at - 1) // 2]):
        parent = (at - 1) // 2
        scores[at], ids[at] = scores[parent], ids[parent]
        at = parent
    scores[at], ids[at] = score, item


@_inner
def _sift_down(scores, ids, size, score, item):
    """Replace the root of a heap by an entry."""
    at, child = 0, 1
    while child < size:
        if child + 1 < size and _worse(scores[child + 1], ids[child + 1], scores[child], ids[child]):
            child += 1
        if not _worse(scores[child], ids[child], score, item):
            break
        scores[at], ids[at] = scores[child], ids[child]
        at, child = child, 2 * child + 1
    scores[at], ids[at] = score, item


@_inner
def _worse(score, item, than_score, than_item):
    return score < than_score or (score == than_score and item > than_item)


@_inner
def _sort(scores, ids, size):
    """Turn the heap into a list, best first, and pad it."""
    for last in range(size - 1, 0, -1):
        score, item = scores[last], ids[last]
        scores[last], ids[last] = scores[0], ids[0]
        _sift_down(scores, ids, last, score, item)
    for at in range(size, len(scores)):
        scores[at], ids[at] = -np.inf, -1


@entry_point
def _score_range(begin, end, rows, columns, X, Y, out):
    """Score the pairs ``begin:end``."""
    for p in range(begin, end):
        out[p] = _dot(X, rows[p], Y, columns[p])


@numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _dot(X, row, Y, column):
    s = 0.0
    for i in range(X.shape[1]):
        s += np.float64(X[row, i]) * np.float64(Y[column, i])
    return s
