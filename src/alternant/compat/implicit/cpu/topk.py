"""Ranking by dot product: `topk`, over `alternant.kernels.top_k`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....kernels._registry import active_backend
from ..utils import check_ids, is_sparse, list_length, thread_count

Exclusions = tuple[NDArray[np.int64], NDArray[Any]] | None
BLOCK = 1 << 24  # scores of sparse queries computed at a time


def topk(
    items: NDArray[Any],
    query: Any,
    k: int,
    item_norms: NDArray[Any] | None = None,
    filter_query_items: Any = None,
    filter_items: Any = None,
    num_threads: int = 0,
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Find the k items with the greatest dot products for each query.

    Parameters
    ----------
    items : array, shape (n, f)
        One row for each item.
    query : array, shape (m, f) or (f,), or sparse matrix, shape (m, f)
        One row for each query.
    k : int
        Length of the lists.
    item_norms : array, shape (n,), optional
        Divisors of the scores.
    filter_query_items : CSR matrix, shape (m, n), optional
        The items that each query leaves out, whatever their values.
    filter_items : array of ints, optional
        Items that all queries leave out.
    num_threads : int
        Number of threads, 0 for all; the result does not depend on it.

    Returns
    -------
    ids : int32 array, shape (m, k)
        Best first, and the lower id first among equals. If fewer than k items are left, those that were left out
        follow, and then -1.
    scores : array, shape (m, k)
        Of the dtype of the query; its lowest number for items that were left out and for -1.
    """
    candidates = None
    if filter_items is not None and np.size(filter_items):
        left_out = check_ids("filter_items", np.ravel(filter_items), len(items), "item")
        candidates = np.delete(np.arange(len(items)), left_out)
    if not is_sparse(query):
        query = np.atleast_2d(query)
    return rank(query, items, k, item_norms, filter_query_items, candidates, num_threads)


def rank(
    queries: Any,
    items: NDArray[Any],
    k: int,
    item_norms: NDArray[Any] | None,
    exclude: Any,
    candidates: NDArray[np.int64] | None,
    num_threads: int,
    pool: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Do the work of `topk`, with the items that may be returned, ascending, instead of those that may not.

    Lists that are too short end with items of the `pool`, by default all items.
    """
    k = list_length(k)
    if queries.shape[1] != items.shape[1]:
        raise ValueError(
            f"query must have as many columns as items, {items.shape[1]}, got {queries.shape[1]}: pass factors of one "
            "model"
        )
    dtype: np.dtype[Any] = np.dtype(np.float32 if queries.dtype == np.float32 else np.float64)
    work: np.dtype[Any] = np.dtype(np.float64 if items.dtype == np.float64 else dtype)
    table = np.ascontiguousarray(items, work)
    if item_norms is not None:
        table = table / np.asarray(item_norms, work)[:, None]
    ids = np.empty((queries.shape[0], k), np.int32)
    scores = np.empty(ids.shape, work)
    excluded = None if exclude is None else _sorted_rows(exclude, len(ids))
    if not (ids.size and len(items) and (candidates is None or len(candidates))):
        ids.fill(-1)
    elif is_sparse(queries):
        _rank_sparse(queries.tocsr(), table, k, excluded, candidates, ids, scores)
    else:
        threads = thread_count(num_threads, float(ids.shape[0]) * table.size)
        queries = np.ascontiguousarray(queries, work)
        active_backend().top_k(queries, table, k, excluded, candidates, ids, scores, threads)
    scores = scores.astype(dtype, copy=False)
    if ids.size and (ids[0, -1] if len(ids) == 1 else ids[:, -1].min()) < 0:  # some list is too short
        scores[ids < 0] = np.finfo(dtype).min
        _fill(ids, np.arange(len(items)) if pool is None else pool)
    return ids, scores


def _sorted_rows(matrix: Any, count: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return (indptr, indices) of a CSR matrix of `count` rows with the indices of each row in ascending order."""
    if matrix.shape[0] != count:
        raise ValueError(f"filter_query_items must have one row for each query, {count}, got {matrix.shape[0]} rows")
    if matrix.format != "csr":
        matrix = matrix.tocsr()
    if not matrix.has_sorted_indices:
        matrix = matrix.copy()
        matrix.sort_indices()
    return matrix.indptr.astype(np.int64), matrix.indices


def _rank_sparse(
    queries: Any, items: NDArray[Any], k: int, exclude: Exclusions, candidates: NDArray[np.int64] | None,
    ids: NDArray[np.int32], scores: NDArray[Any],
) -> None:  # fmt: skip
    """Rank for sparse queries: the scores of a few queries at a time are passed to the kernel as items of length 1."""
    one, columns = np.ones((1, 1), items.dtype), np.ascontiguousarray(items.T)
    step, backend = max(1, BLOCK // len(items)), active_backend()
    for start in range(0, queries.shape[0], step):
        table = queries[start : start + step].astype(items.dtype) @ columns
        for row, values in enumerate(table, start):
            one_exclude = None
            if exclude is not None:
                entries = slice(exclude[0][row], exclude[0][row + 1])
                one_exclude = np.array([0, entries.stop - entries.start]), exclude[1][entries]
            out = slice(row, row + 1)
            backend.top_k(one, values[:, None], k, one_exclude, candidates, ids[out], scores[out], 1)


def _fill(ids: NDArray[np.int32], pool: NDArray[np.int64]) -> None:
    """Append those of the pool that were left out to lists which are too short, in ascending order."""
    for row in np.flatnonzero((ids < 0).any(axis=1)):
        length = int((ids[row] >= 0).sum())
        left_out = np.setdiff1d(pool, ids[row, :length])[: ids.shape[1] - length]
        ids[row, length : length + len(left_out)] = left_out
