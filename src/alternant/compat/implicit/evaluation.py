"""Splits and ranking metrics with the definitions of implicit. Those of alternant are in `alternant.evaluation`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from tqdm import tqdm

from .utils import check_random_state, is_sparse

BATCH = 1000  # users whose lists are computed at a time


def train_test_split(
    ratings: Any, train_percentage: float = 0.8, random_state: Any = None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split the entries of a sparse matrix at random; with the same seed, as implicit does.

    Parameters
    ----------
    ratings : sparse matrix, shape (n_users, n_items)
        The interactions.
    train_percentage : float
        Probability of an entry to be in train, 0 to 1.
    random_state : int, Generator, RandomState or None
        Seed.

    Returns
    -------
    train, test : csr_matrix, shape (n_users, n_items)
        Test has no negative entries.
    """
    ratings = _coo(ratings)
    in_train = check_random_state(random_state).random(len(ratings.data)) < train_percentage
    test = _entries(ratings, ~in_train)
    test.data[test.data < 0] = 0
    test.eliminate_zeros()
    return _entries(ratings, in_train), test


def leave_k_out_split(
    ratings: Any, K: int = 1, train_only_size: float = 0.0, random_state: Any = None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Move K entries, drawn at random, of each user with more than K + 1 to test.

    Parameters
    ----------
    ratings : sparse matrix, shape (n_users, n_items)
        The interactions.
    K : int
        Entries of a user in test.
    train_only_size : float
        Fraction of the users that keep all entries in train, 0 to less than 1.
    random_state : int, Generator, RandomState or None
        Seed of both draws.

    Returns
    -------
    train, test : csr_matrix, shape (n_users, n_items)
    """
    if K < 1 or K % 1:
        raise ValueError(f"K must be at least 1 and whole, got {K}: it is the number of entries of a user in test")
    if not 0.0 <= train_only_size < 1.0:
        raise ValueError(f"train_only_size must be at least 0 and less than 1, got {train_only_size}: it is a fraction")
    ratings, K = _coo(ratings), int(K)
    rng = check_random_state(random_state)
    users, counts = np.unique(ratings.row, return_counts=True)
    eligible = counts > K + 1
    if train_only_size > 0:
        eligible[rng.choice(len(users), max(1, int(len(users) * train_only_size)), replace=False)] = False
    order = np.lexsort((rng.random(len(ratings.row)), ratings.row))  # the entries of a user are next to each other
    ends = np.cumsum(counts)[eligible]
    in_test = np.zeros(len(ratings.row), bool)
    in_test[order[(ends[:, None] - 1 - np.arange(K)).ravel()]] = True
    return _entries(ratings, ~in_test), _entries(ratings, in_test)


def _coo(ratings: Any) -> Any:
    if not is_sparse(ratings):
        raise TypeError(
            f"ratings must be a scipy.sparse matrix, got {type(ratings).__name__}: pass "
            "scipy.sparse.csr_matrix(...) of it"
        )
    return ratings.tocoo()


def _entries(ratings: Any, chosen: NDArray[np.bool_]) -> sparse.csr_matrix:
    pairs = ratings.data[chosen], (ratings.row[chosen], ratings.col[chosen])
    return sparse.csr_matrix(pairs, shape=ratings.shape, dtype=ratings.dtype)


def precision_at_k(
    model: Any, train_user_items: Any, test_user_items: Any, K: int = 10, show_progress: bool = True,
    num_threads: int = 1,
) -> float:  # fmt: skip
    """Return ``precision`` of `ranking_metrics_at_k`."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["precision"]


def mean_average_precision_at_k(
    model: Any, train_user_items: Any, test_user_items: Any, K: int = 10, show_progress: bool = True,
    num_threads: int = 1,
) -> float:  # fmt: skip
    """Return ``map`` of `ranking_metrics_at_k`."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["map"]


def ndcg_at_k(
    model: Any, train_user_items: Any, test_user_items: Any, K: int = 10, show_progress: bool = True,
    num_threads: int = 1,
) -> float:  # fmt: skip
    """Return ``ndcg`` of `ranking_metrics_at_k`."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["ndcg"]


def AUC_at_k(
    model: Any, train_user_items: Any, test_user_items: Any, K: int = 10, show_progress: bool = True,
    num_threads: int = 1,
) -> float:  # fmt: skip
    """Return ``auc`` of `ranking_metrics_at_k`."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["auc"]


def ranking_metrics_at_k(
    model: Any, train_user_items: Any, test_user_items: Any, K: int = 10, show_progress: bool = True,
    num_threads: int = 1,  # noqa: ARG001 - the model's own number of threads counts
) -> dict[str, float]:  # fmt: skip
    """Measure the lists of all users with test items.

    Parameters
    ----------
    model : RecommenderBase
        The model; its lists leave out the items of `train_user_items`.
    train_user_items, test_user_items : sparse matrices, shape (n_users, n_items)
        What the model was trained on, and what was withheld.
    K : int
        Length of the lists.
    show_progress : bool
        Whether to draw a progress bar.
    num_threads : int
        Ignored: lists are computed by the model's number of threads.

    Returns
    -------
    dict
        ``precision``: hits of all users divided by the sum of min(K, test items), which limits it to recall where users
        have fewer than K; ``map`` and ``ndcg``, each user's divided by the best possible; ``auc`` of lists of length
        K, in which the items beyond the list are in random order. All are NaN if there are no test items.
    """
    if K < 1:
        raise ValueError(f"K must be at least 1, got {K}: it is the length of the lists")
    train, test = sparse.csr_matrix(train_user_items), sparse.csr_matrix(test_user_items)
    if train.shape[0] != test.shape[0]:
        raise ValueError(
            f"train_user_items and test_user_items must have the same users, got {train.shape[0]} and {test.shape[0]} "
            "rows: split one matrix"
        )
    if not test.has_canonical_format:
        test = test.copy()  # it shares the caller's arrays
        test.sum_duplicates()
    users = np.flatnonzero(np.diff(test.indptr))
    sums = np.zeros(6)
    with tqdm(total=len(users), disable=not show_progress) as progress:
        for start in range(0, len(users), BATCH):
            batch = users[start : start + BATCH]
            ids, scores = model.recommend(batch, train[batch], N=K)
            listed = (ids >= 0) & (ids < test.shape[1]) & (scores > np.finfo(scores.dtype).min)
            sums += _sums(np.where(listed, ids, -1), test[batch])
            progress.update(len(batch))
    hits, possible, ap, ndcg, auc, ranked = sums.tolist()
    count = len(users)
    return {
        "precision": hits / possible if count else np.nan,
        "map": ap / count if count else np.nan,
        "ndcg": ndcg / count if count else np.nan,
        "auc": auc / ranked if ranked else np.nan,
    }


def _sums(ids: NDArray[Any], test: sparse.csr_matrix) -> NDArray[np.float64]:
    """Sum over users: hits, the most hits possible, average precision, NDCG, AUC, and users with an AUC."""
    m, K = ids.shape
    n = test.shape[1]
    listed = ids >= 0
    pairs = np.repeat(np.arange(m), np.diff(test.indptr)) * n + test.indices
    hit = listed & np.isin(np.arange(m)[:, None] * n + ids, pairs)
    relevant = np.diff(test.indptr).astype(np.float64)
    most = np.minimum(relevant, K)
    hits = hit.cumsum(axis=1)
    precision = (hits / np.arange(1, K + 1) * hit).sum(axis=1) / most
    gains = 1 / np.log2(np.arange(2, K + 2))
    ndcg = (hit @ gains) / gains.cumsum()[most.astype(np.int64) - 1]
    # Pairs of a relevant and another item in order: those with the other in the list, and half of the hits and of the
    # relevant items beyond with each other one beyond.
    misses = listed & ~hit
    others = n - relevant
    ordered = (hits * misses).sum(axis=1) + (hits[:, -1] + relevant) / 2 * (others - misses.sum(axis=1))
    both = others > 0
    auc = ordered[both] / (relevant * others)[both]
    return np.array([hit.sum(), most.sum(), precision.sum(), ndcg.sum(), auc.sum(), both.sum()])
