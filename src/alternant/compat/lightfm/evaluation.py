"""Ranking metrics with the definitions of LightFM. Those of alternant are in `alternant.evaluation`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def precision_at_k(
    model: Any, test_interactions: Any, train_interactions: Any = None, k: int = 10, user_features: Any = None,
    item_features: Any = None, preserve_rows: bool = False, num_threads: int = 1, check_intersections: bool = True,
) -> NDArray[np.float32]:  # fmt: skip
    """Return each user's number of test items among the first k of the list, divided by k.

    Parameters
    ----------
    model : LightFM
        A fitted model.
    test_interactions : sparse matrix, shape (n_users, n_items)
        The test items of each user.
    train_interactions : sparse matrix, shape (n_users, n_items), optional
        Items that are left out of the lists.
    k : int
        Length of the lists.
    user_features, item_features : sparse matrices, optional
        As for `LightFM.predict_rank`.
    preserve_rows : bool
        Whether users without test items have a result, which is then that of an empty list.
    num_threads : int
        Number of threads.
    check_intersections : bool
        Whether to raise a ValueError if test and train share items.

    Returns
    -------
    array, shape (users with test items,) or (n_users,)
    """
    ranks = _ranks(
        model, test_interactions, train_interactions, user_features, item_features, num_threads, check_intersections
    )
    return _chosen((_hits(ranks, k) / k).astype(np.float32), ranks, preserve_rows)


def recall_at_k(
    model: Any, test_interactions: Any, train_interactions: Any = None, k: int = 10, user_features: Any = None,
    item_features: Any = None, preserve_rows: bool = False, num_threads: int = 1, check_intersections: bool = True,
) -> NDArray[Any]:  # fmt: skip
    """Return each user's share of the test items that is among the first k of the list; see `precision_at_k`.

    Users without test items, if they have a result, have 0.
    """
    ranks = _ranks(
        model, test_interactions, train_interactions, user_features, item_features, num_threads, check_intersections
    )
    return _chosen(_hits(ranks, k) / np.maximum(np.diff(ranks.indptr), 1), ranks, preserve_rows)


def auc_score(
    model: Any, test_interactions: Any, train_interactions: Any = None, user_features: Any = None,
    item_features: Any = None, preserve_rows: bool = False, num_threads: int = 1, check_intersections: bool = True,
) -> NDArray[np.float32]:  # fmt: skip
    """Return the probability that a random test item of a user ranks above a random other one; see `precision_at_k`.

    Users without test items, if they have a result, have 0.5, and so have users who have no other items.
    """
    ranks = _ranks(
        model, test_interactions, train_interactions, user_features, item_features, num_threads, check_intersections
    )
    positives = np.diff(ranks.indptr)
    in_train = 0 if train_interactions is None else train_interactions.tocsr().getnnz(axis=1)
    others = ranks.shape[1] - positives - in_train
    owner = np.repeat(np.arange(len(positives)), positives)
    in_order = ranks.data[np.lexsort((ranks.data, owner))]
    # A test item has as many test items before it as it has predecessors in its user's ascending ranks.
    before = np.maximum(in_order - (np.arange(len(in_order)) - ranks.indptr[:-1][owner]), 0)
    above = np.bincount(owner, before, minlength=len(positives))
    pairs = positives * others
    auc = 1 - np.divide(above, pairs, out=np.full(len(positives), 0.5), where=pairs > 0)
    return _chosen(auc.astype(np.float32), ranks, preserve_rows)


def reciprocal_rank(
    model: Any, test_interactions: Any, train_interactions: Any = None, user_features: Any = None,
    item_features: Any = None, preserve_rows: bool = False, num_threads: int = 1, check_intersections: bool = True,
) -> NDArray[Any]:  # fmt: skip
    """Return 1 / (1 + rank) of each user's best ranked test item; see `precision_at_k`.

    Users without test items, if they have a result, have 0.
    """
    ranks = _ranks(
        model, test_interactions, train_interactions, user_features, item_features, num_threads, check_intersections
    )
    ranks.data = 1 / (1 + ranks.data)
    return _chosen(np.ravel(ranks.max(axis=1).toarray()), ranks, preserve_rows)


def _ranks(
    model: Any, test: Any, train: Any, user_features: Any, item_features: Any, num_threads: int, check: bool
) -> sparse.csr_matrix:
    ranks: sparse.csr_matrix = model.predict_rank(test, train, item_features, user_features, num_threads, check)
    return ranks


def _hits(ranks: sparse.csr_matrix, k: int) -> NDArray[Any]:
    """Return how many of each user's test items are among the first k."""
    owner = np.repeat(np.arange(ranks.shape[0]), np.diff(ranks.indptr))
    return np.bincount(owner[ranks.data < k], minlength=ranks.shape[0])


def _chosen(values: NDArray[Any], ranks: sparse.csr_matrix, preserve_rows: bool) -> NDArray[Any]:
    return values if preserve_rows else values[np.diff(ranks.indptr) > 0]


__all__ = ["auc_score", "precision_at_k", "recall_at_k", "reciprocal_rank"]
