"""Ranking metrics of recommended lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.validation import check_interactions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .._typing import Sparse


LIST_METRICS = ("hit_rate", "precision", "recall", "truncated_recall", "ndcg", "map", "mrr")


@dataclass(frozen=True)
class RankingMetrics:
    """Means over the users with test items, as returned by `ranking_metrics`, which gives the formulas.

    Attributes
    ----------
    hit_rate, precision, recall, truncated_recall, ndcg, map, mrr : float
        Each from 0 to 1; NaN where no user has test items.
    k : int
        Length of the lists.
    n_users_evaluated : int
        Number of users with test items, over which the means are taken.
    n_users_without_test : int
        Number of users left out because they have no test items.
    """

    hit_rate: float
    precision: float
    recall: float
    truncated_recall: float
    ndcg: float
    map: float
    mrr: float
    k: int
    n_users_evaluated: int
    n_users_without_test: int


def ranking_metrics(ids: ArrayLike, test: Sparse) -> RankingMetrics:
    r"""Compute ranking metrics of recommended items against held-out items.

    Let :math:`T_u` be the test items of user ``u``, and :math:`h_{uj}` 1 if the item at rank ``j`` of the list is one
    of them, else 0. The metrics are means over the users with test items of

    .. math::

        \text{hit rate} &= \max_{j \le k} h_{uj} \qquad
        \text{precision} = \frac{1}{k} \sum_{j=1}^{k} h_{uj} \qquad
        \text{recall} = \frac{1}{|T_u|} \sum_{j=1}^{k} h_{uj} \qquad
        \text{truncated recall} = \frac{1}{\min(k, |T_u|)} \sum_{j=1}^{k} h_{uj} \\
        \text{NDCG} &= \frac{\sum_{j=1}^{k} h_{uj} / \log_2(j + 1)}{\sum_{j=1}^{\min(k, |T_u|)} 1 / \log_2(j + 1)}
        \qquad
        \text{MAP} = \frac{1}{|T_u|} \sum_{j=1}^{k} h_{uj} \frac{1}{j} \sum_{l=1}^{j} h_{ul} \qquad
        \text{MRR} = \max_{j \le k} h_{uj} / j

    Precision always divides by k; what some libraries call precision is truncated recall. MAP divides by the number
    of test items, as in trec_eval.

    Parameters
    ----------
    ids : int array, shape (n_rows, k)
        Items recommended to each user, best first; -1 pads short lists and is never a hit.
    test : scipy.sparse matrix or array, shape (n_rows, n_items)
        Row ``r`` holds the test items for ``ids[r]``: the entries above 0, whatever their size.

    Returns
    -------
    RankingMetrics

    Raises
    ------
    TypeError
        If `ids` are not whole numbers or `test` is not sparse.
    ValueError
        If the shapes do not match, an id is below -1 or at least ``n_items``, a list repeats an item, or `test` holds
        NaN or infinite values.

    References
    ----------
    K. Järvelin, J. Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques", ACM TOIS 20(4), 2002.
    """
    matrix = check_interactions("test", test, np.dtype(np.float64))
    n_rows, n_items = matrix.shape
    lists = _check_lists(ids, n_rows, n_items)
    relevant = matrix.data > 0
    rows = np.repeat(np.arange(n_rows, dtype=np.int64), np.diff(matrix.indptr))[relevant]
    per_user = np.bincount(rows, minlength=n_rows)
    evaluated = np.flatnonzero(per_user)
    k = lists.shape[1]
    # Encoding each (row, item) as one integer looks up all lists at once.
    wanted = rows * n_items + matrix.indices[relevant]
    lists = lists[evaluated]
    hits = (lists >= 0) & np.isin(evaluated[:, None] * n_items + lists, wanted)
    means = {
        name: float(values.mean()) if len(values) else np.nan
        for name, values in list_metrics(hits, per_user[evaluated]).items()
    }
    return RankingMetrics(
        **means, k=k, n_users_evaluated=len(evaluated), n_users_without_test=n_rows - len(evaluated)
    )


def list_metrics(hits: NDArray[np.bool_], n_relevant: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return every metric of `LIST_METRICS` for each user.

    Parameters
    ----------
    hits : bool array, shape (n_users, k)
        Whether the item at each rank is a test item.
    n_relevant : int array, shape (n_users,)
        Number of test items, at least 1.
    """
    k = hits.shape[1]
    rank = np.arange(1, k + 1)
    discount = 1 / np.log2(rank + 1)
    found = hits.sum(axis=1)
    reachable = np.minimum(n_relevant, k)
    return {
        "hit_rate": (found > 0).astype(np.float64),
        "precision": found / k,
        "recall": found / n_relevant,
        "truncated_recall": found / reachable,
        "ndcg": (hits @ discount) / np.cumsum(discount)[reachable - 1],
        "map": (hits * (np.cumsum(hits, axis=1) / rank)).sum(axis=1) / n_relevant,
        "mrr": (hits / rank).max(axis=1, initial=0),
    }


def _check_lists(ids: ArrayLike, n_rows: int, n_items: int) -> NDArray[np.int64]:
    """Validate `ids` against the test matrix and return them as int64."""
    lists = np.asarray(ids)
    if not np.issubdtype(lists.dtype, np.integer):
        raise TypeError(f"ids must be an array of whole numbers (items), got dtype {lists.dtype}")
    if lists.ndim != 2 or lists.shape[1] < 1:
        raise ValueError(f"ids must have shape (n_rows, k) with k at least 1, got {lists.shape}")
    if len(lists) != n_rows:
        raise ValueError(
            f"ids and test must have one row per user, got {len(lists)} and {n_rows}; "
            "pass test[users] for the users of the lists"
        )
    if lists.size and (lists.min() < -1 or lists.max() >= n_items):
        raise ValueError(f"ids must lie between -1 (padding) and {n_items - 1}, got {lists.min()} to {lists.max()}")
    lists = lists.astype(np.int64)
    ordered = np.sort(lists, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if repeated.any():
        row, column = np.argwhere(repeated)[0]
        raise ValueError(
            f"each row of ids must hold different items, but row {row} of ids has item {ordered[row, column]} twice"
        )
    return lists
