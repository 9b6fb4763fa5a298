"""How well ranked lists of items find the ones that were held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.validation import check_interactions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


LIST_METRICS = ("hit_rate", "precision", "recall", "truncated_recall", "ndcg", "map", "mrr")


@dataclass(frozen=True)
class RankingMetrics:
    """Means over the users who have test items; returned by `ranking_metrics`, which gives the formulas.

    Attributes
    ----------
    hit_rate, precision, recall, truncated_recall, ndcg, map, mrr : float
        Each from 0 to 1; NaN where no user has test items.
    k : int
        Length of the lists.
    n_users_evaluated : int
        Users with test items: those the means are taken over.
    n_users_without_test : int
        Users left out for having no test item.
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


def ranking_metrics(ids: ArrayLike, test: Any) -> RankingMetrics:
    r"""Compare recommended items with the ones held out.

    With :math:`T_u` the test items of user ``u`` and :math:`h_{uj}` 1 where the item in place ``j`` of the list is one
    of them, else 0, the means over the users who have test items are of

    .. math::

        \text{hit rate} &= \max_{j \le k} h_{uj} \qquad
        \text{precision} = \frac{1}{k} \sum_{j=1}^{k} h_{uj} \qquad
        \text{recall} = \frac{1}{|T_u|} \sum_{j=1}^{k} h_{uj} \qquad
        \text{truncated recall} = \frac{1}{\min(k, |T_u|)} \sum_{j=1}^{k} h_{uj} \\
        \text{NDCG} &= \frac{\sum_{j=1}^{k} h_{uj} / \log_2(j + 1)}{\sum_{j=1}^{\min(k, |T_u|)} 1 / \log_2(j + 1)}
        \qquad
        \text{MAP} = \frac{1}{|T_u|} \sum_{j=1}^{k} h_{uj} \frac{1}{j} \sum_{l=1}^{j} h_{ul} \qquad
        \text{MRR} = \max_{j \le k} h_{uj} / j

    Precision divides by k, however few test items there are; some libraries call truncated recall precision. MAP
    divides by all test items, as trec_eval does.

    Parameters
    ----------
    ids : int array, shape (n_rows, k)
        Items recommended to each user, best first; -1 pads a list that is too short and is never a hit.
    test : scipy.sparse matrix or array, shape (n_rows, n_items)
        Row ``r`` holds the test items of the user of ``ids[r]``: the entries above 0, whose size does not matter.

    Returns
    -------
    RankingMetrics
        The means and the numbers of users.

    Raises
    ------
    TypeError
        If `ids` are not whole numbers or `test` is not sparse.
    ValueError
        If the shapes do not fit, an id is below -1 or not below ``n_items``, a list names an item twice, or `test`
        holds NaN or infinite values.

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
    # One number per (row, item) turns the look-up of all lists at once into a search in one array.
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
    """Return every metric of `LIST_METRICS` of each user.

    Parameters
    ----------
    hits : bool array, shape (n_users, k)
        Whether the item in each place of the list is a test item.
    n_relevant : int array, shape (n_users,)
        Number of test items, at least 1.
    """
    k = hits.shape[1]
    place = np.arange(1, k + 1)
    discount = 1 / np.log2(place + 1)
    found = hits.sum(axis=1)
    reachable = np.minimum(n_relevant, k)
    return {
        "hit_rate": (found > 0).astype(np.float64),
        "precision": found / k,
        "recall": found / n_relevant,
        "truncated_recall": found / reachable,
        "ndcg": (hits @ discount) / np.cumsum(discount)[reachable - 1],
        "map": (hits * (np.cumsum(hits, axis=1) / place)).sum(axis=1) / n_relevant,
        "mrr": (hits / place).max(axis=1, initial=0),
    }


def _check_lists(ids: ArrayLike, n_rows: int, n_items: int) -> NDArray[np.int64]:
    """Return `ids` as int64 once they are known to fit the test matrix."""
    lists = np.asarray(ids)
    if not np.issubdtype(lists.dtype, np.integer):
        raise TypeError(f"ids must be an array of whole numbers (items), got dtype {lists.dtype}")
    if lists.ndim != 2 or lists.shape[1] < 1:
        raise ValueError(f"ids must have shape (n_rows, k) with k at least 1, got {lists.shape}")
    if len(lists) != n_rows:
        raise ValueError(
            f"ids and test must have one row per user, got {len(lists)} and {n_rows}; "
            "pass test[users] for the users the items were recommended to"
        )
    if lists.size and (lists.min() < -1 or lists.max() >= n_items):
        raise ValueError(f"ids must lie between -1 (padding) and {n_items - 1}, got {lists.min()} to {lists.max()}")
    lists = lists.astype(np.int64)
    ordered = np.sort(lists, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if repeated.any():
        row, place = np.argwhere(repeated)[0]
        raise ValueError(
            f"a list must name an item only once, but row {row} of ids has item {ordered[row, place]} twice"
        )
    return lists
