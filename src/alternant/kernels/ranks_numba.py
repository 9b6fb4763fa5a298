r"""Scores of all items, and how many are higher than those of given targets, compiled by Numba.

.. math:: \text{above}_{uj} = |\{i : q_u \cdot y_i > q_u \cdot y_j\}|

Cost of a query with t targets: ``n f`` for the scores, and a binary search among the targets for each score that is not
below the lowest of them. Each score is summed in the order of the factors, so that identical items tie exactly.
"""

# Numba infers types from the arguments of a call; annotations would only repeat them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from .._utils.threads import map_parallel, resolve_num_threads
from .als_numba import constant, entry_point

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILE = 256  # items scored at a time
QUERIES = 32  # queries that share a transposed tile

_inner = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})


def count_above(
    queries: NDArray[Any],
    items: NDArray[Any],
    exclude: tuple[NDArray[np.int64], NDArray[Any]] | None,
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    out_above: NDArray[np.int64],
    out_equal: NDArray[np.int64],
    num_threads: int | None = None,
) -> None:
    """See `alternant.kernels.count_above`."""
    threads, m = resolve_num_threads(num_threads), len(queries)
    excluded = (np.zeros(m + 1, np.int64), np.empty(0, np.int32)) if exclude is None else exclude
    inputs = constant(queries, items, *excluded, indptr, indices)
    outputs = out_above.view(np.ndarray), out_equal.view(np.ndarray)
    map_parallel(
        lambda start: _count_range(start, min(start + QUERIES, m), *inputs, *outputs), range(0, m, QUERIES), threads
    )


def score_all(
    queries: NDArray[Any], items: NDArray[Any], out: NDArray[Any], num_threads: int | None = None
) -> None:
    """See `alternant.kernels.score_all`."""
    threads, m = resolve_num_threads(num_threads), len(queries)
    inputs, scores = constant(queries, items), out.view(np.ndarray)
    map_parallel(
        lambda start: _score_range(start, min(start + QUERIES, m), *inputs, scores), range(0, m, QUERIES), threads
    )


@entry_point
def _score_range(begin, end, queries, items, scores):
    """Score all items for the queries ``begin:end``."""
    tile, products = np.zeros((queries.shape[1], TILE), items.dtype), np.empty(TILE, items.dtype)
    for start in range(0, len(items), TILE):
        width = min(TILE, len(items) - start)
        for j in range(width):
            for i in range(items.shape[1]):
                tile[i, j] = items[start + j, i]
        for u in range(begin, end):
            _multiply(queries[u], tile, products)
            scores[u, start : start + width] = products[:width]


@entry_point
def _count_range(begin, end, queries, items, excluded_indptr, excluded, indptr, indices, above, equal):
    """Count for the queries ``begin:end``: add all items tile by tile, then subtract the excluded ones."""
    f, n = queries.shape[1], len(items)
    first, last = indptr[begin], indptr[end]
    if first == last:
        return
    tile, products = np.zeros((f, TILE), items.dtype), np.empty(TILE, items.dtype)
    scores, order = np.empty(last - first, items.dtype), np.empty(last - first, np.int64)
    for u in range(begin, end):
        a, b = indptr[u], indptr[u + 1]
        for start in range(a, b, TILE):
            width = min(TILE, b - start)
            _gather(items, indices, start, width, tile)
            _multiply(queries[u], tile, products)
            _rank_nan_last(products)
            scores[start - first : start - first + width] = products[:width]
        order[a - first : b - first] = np.argsort(scores[a - first : b - first])
        scores[a - first : b - first] = scores[a - first : b - first][order[a - first : b - first]]
    counts, ties = np.zeros(last - first, np.int64), np.zeros(last - first, np.int64)
    for start in range(0, n, TILE):
        width = min(TILE, n - start)
        for j in range(width):
            for i in range(f):
                tile[i, j] = items[start + j, i]
        for u in range(begin, end):
            a, b = indptr[u] - first, indptr[u + 1] - first
            if a < b:
                _multiply(queries[u], tile, products)
                _rank_nan_last(products)
                _count(products[:width], scores[a:b], 1, counts[a:b], ties[a:b])
    for u in range(begin, end):
        a, b = indptr[u] - first, indptr[u + 1] - first
        stop = excluded_indptr[u + 1]
        for start in range(excluded_indptr[u], stop if a < b else 0, TILE):
            width = min(TILE, stop - start)
            _gather(items, excluded, start, width, tile)
            _multiply(queries[u], tile, products)
            _rank_nan_last(products)
            _count(products[:width], scores[a:b], -1, counts[a:b], ties[a:b])
        out = excluded[excluded_indptr[u] : stop]
        total = 0
        for e in range(b - 1, a - 1, -1):
            total += counts[e]
            target = indptr[u] + order[e]
            above[target] = total
            at = np.searchsorted(out, indices[target])
            equal[target] = ties[e] - (0 if at < len(out) and out[at] == indices[target] else 1)


@_inner
def _gather(items, listed, start, width, tile):
    for j in range(width):
        for i in range(items.shape[1]):
            tile[i, j] = items[listed[start + j], i]


@_inner
def _multiply(query, tile, products):
    """Compute the products of a query with the items of a tile."""
    for j in range(TILE):
        products[j] = 0
    for i in range(len(tile)):
        a = query[i]
        for j in range(TILE):
            products[j] = products[j] + a * tile[i, j]


@_inner
def _rank_nan_last(products):
    for j in range(TILE):
        if products[j] != products[j]:
            products[j] = -np.inf


@_inner
def _count(values, ascending, by, above, equal):
    """Add `by` to the counts of targets below and equal to each value; ``above[b]`` applies to all targets up to b."""
    for j in range(len(values)):
        value = values[j]
        if value < ascending[0]:
            continue
        low, high = 0, len(ascending)
        while low < high:
            middle = (low + high) // 2
            if ascending[middle] < value:
                low = middle + 1
            else:
                high = middle
        if low > 0:
            above[low - 1] += by
        while low < len(ascending) and ascending[low] == value:
            equal[low] += by
            low += 1
