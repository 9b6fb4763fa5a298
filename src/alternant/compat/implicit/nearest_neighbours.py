"""Item-item nearest neighbours: cosine, TF-IDF and BM25, over SciPy's sparse products."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from tqdm import tqdm

from .recommender_base import Lists, RecommenderBase, read_npz, write_npz
from .utils import check_columns, check_csr, check_ids, check_rows

LOWEST = float(np.finfo(np.float64).min)  # the score of selected items that have none
PADDING = float(np.finfo(np.float32).min)  # the score of id -1
# Products of a block of items with all others are kept in memory: at most about this many multiply-adds.
WORK_PER_BLOCK = 1 << 24


class ItemItemRecommender(RecommenderBase):
    """Scores an item by its similarity with what a user has liked.

    The similarity of two items is the dot product of their columns; each item keeps the K greatest, its own included.

    Parameters
    ----------
    K : int
        Number of neighbours of each item.
    num_threads : int
        Ignored: sparse products run on one thread.

    Attributes
    ----------
    similarity : csr_matrix, shape (n_items, n_items), or None before a fit
        Row i has the neighbours of item i.
    """

    def __init__(self, K: int = 20, num_threads: int = 0) -> None:
        self.similarity: Any = None
        self.K = K
        self.num_threads = num_threads

    def fit(self, weighted: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Compute the neighbours of each item.

        Parameters
        ----------
        weighted : CSR matrix, shape (n_users, n_items)
            The interactions.
        show_progress : bool
            Whether to draw a progress bar.
        callback : None
            There are no iterations to call it after: NotImplementedError.
        """
        if callback:
            raise NotImplementedError("nearest neighbours are computed at once: leave out the callback")
        weighted = self._weighted(check_csr(weighted))
        self.similarity = all_pairs_knn(weighted, self.K, self.num_threads, show_progress).tocsr()

    def _weighted(self, counts: Any) -> Any:
        return counts

    def recommend(
        self,
        userid: Any,
        user_items: Any,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        recalculate_user: bool = False,  # noqa: ARG002 - users have no factors: it is always so
        items: Any = None,
    ) -> Lists:
        """See `RecommenderBase.recommend`; users are known by `user_items` alone.

        The list of a single user ends where no item is similar to what the user has liked; those of several users are
        padded with id -1 and the lowest score of float32. With `items`, all of them are returned, at most N for several
        users: those without a score have the lowest.
        """
        self._check_fitted()
        users = check_ids("userid", userid, None, "user")
        user_items = check_rows("user_items", user_items, users, len(self.similarity.indptr) - 1, "item")
        rows = _resized(user_items, self.similarity.shape[0])
        scores = (rows @ self.similarity).tocsr()
        liked = rows if filter_already_liked_items else None
        lists = []
        for u in range(len(scores.indptr) - 1):
            left_out = None if liked is None else _row(liked, u)[0]
            lists.append(self._selected(*_row(scores, u), N, left_out, filter_items, items))
        return _stacked(lists, N) if users.ndim else lists[0]

    def similar_items(
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,  # noqa: ARG002 - only with recalculate_item
        filter_items: Any = None,
        items: Any = None,
    ) -> Lists:
        """See `RecommenderBase.similar_items`; an unknown item has an empty list."""
        self._check_fitted()
        if recalculate_item:
            raise NotImplementedError("nearest neighbours have no factors to recalculate: leave out recalculate_item")
        numbers = check_ids("itemid", itemid, None, "item")
        known = self.similarity.shape[0]
        lists = []
        for i in np.ravel(numbers).tolist():
            ids, scores = _row(self.similarity, i) if i < known else (np.empty(0, np.int32), np.empty(0))
            lists.append(self._selected(ids, scores, N, None, filter_items, items))
        return _stacked(lists, N) if numbers.ndim else lists[0]

    def similar_users(self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None) -> Lists:
        """Refuse: users have no factors."""
        raise NotImplementedError("item-item models have no similar_users: use als.AlternatingLeastSquares")

    def _selected(
        self, ids: NDArray[Any], scores: NDArray[Any], N: int, liked: Any, filter_items: Any, items: Any
    ) -> Lists:
        """Return the N best of the scored items that are allowed or, with `items`, all of these."""
        allowed = np.ones(len(ids), bool)
        if liked is not None:
            allowed &= ~np.isin(ids, liked)
        if items is not None:
            if filter_items is not None and np.size(filter_items):
                raise ValueError("pass items= or filter_items=, not both: leave the latter out of the former")
            items = np.unique(check_ids("items", items, self.similarity.shape[0], "item"))
            allowed &= np.isin(ids, items)
            N = len(items)
        elif filter_items is not None:
            allowed &= ~np.isin(ids, filter_items)
        ids, scores = _best(ids[allowed], scores[allowed], N)
        if items is not None:
            missing = np.setdiff1d(items, ids)
            ids = np.append(ids, missing).astype(np.int32)
            scores = np.append(scores, np.full(len(missing), LOWEST))
        return ids, scores

    def _check_fitted(self) -> None:
        if self.similarity is None:
            raise ValueError("the model has no neighbours yet: call fit")

    def save(self, fileobj_or_path: Any) -> None:
        """Save the model as implicit does: either library loads it."""
        values = {name: value for name, value in self.__dict__.items() if name not in ("similarity", "num_threads")}
        m = self.similarity
        if m is not None:
            values |= {"shape": m.shape, "data": m.data, "indptr": m.indptr, "indices": m.indices}
        write_npz(fileobj_or_path, values)

    @classmethod
    def load(cls, fileobj_or_path: Any) -> Self:
        """Load a model saved by this class or by that of implicit, from a path or from an open binary file."""
        values, model = read_npz(fileobj_or_path), cls()
        if "data" in values:
            data, indices, indptr, shape = (values.pop(name) for name in ("data", "indices", "indptr", "shape"))
            model.similarity = sparse.csr_matrix((data, indices, indptr), shape=tuple(shape.tolist()))
        for name, value in values.items():
            setattr(model, name, value)
        return model


class CosineRecommender(ItemItemRecommender):
    """Similarity is the cosine of two items' columns."""

    def _weighted(self, counts: Any) -> Any:
        return normalize(counts.T).T.tocsr()


class TFIDFRecommender(ItemItemRecommender):
    """Similarity is the cosine of two items' columns, in which active users have less weight (`tfidf_weight`)."""

    def _weighted(self, counts: Any) -> Any:
        return normalize(tfidf_weight(counts.T)).T.tocsr()


class BM25Recommender(ItemItemRecommender):
    """Similarity is the dot product of two items' columns, weighted by `bm25_weight`.

    Parameters
    ----------
    K, num_threads
        See `ItemItemRecommender`.
    K1, B : float
        See `bm25_weight`.
    """

    def __init__(self, K: int = 20, K1: float = 1.2, B: float = 0.75, num_threads: int = 0) -> None:
        super().__init__(K, num_threads)
        self.K1 = K1
        self.B = B

    def _weighted(self, counts: Any) -> Any:
        return bm25_weight(counts.T, self.K1, self.B).T.tocsr()


def all_pairs_knn(users: Any, K: int = 100, num_threads: int = 0, show_progress: bool = True) -> sparse.coo_matrix:  # noqa: ARG001
    """Find the K greatest entries of each row of ``users^T users``, the lower column first among equals.

    Parameters
    ----------
    users : sparse matrix, shape (n_users, n_items)
        The weights.
    K : int
        Entries to keep for each item.
    num_threads : int
        Ignored.
    show_progress : bool
        Whether to draw a progress bar.

    Returns
    -------
    coo_matrix, shape (n_items, n_items)
        Only entries whose items have a user in common.
    """
    if K < 1:
        raise ValueError(f"K must be at least 1, got {K}: it is the number of neighbours of each item")
    users = sparse.csr_matrix(users, dtype=np.float64)
    items = users.T.tocsr()
    n = items.shape[0]
    work = np.append(0, np.cumsum(np.diff(users.indptr)[items.indices], dtype=np.int64))[items.indptr]
    start = 0
    parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    with tqdm(total=n, disable=not show_progress) as progress:
        while start < n:
            stop = min(n, max(start + 1, int(np.searchsorted(work, work[start] + WORK_PER_BLOCK, side="right")) - 1))
            block = (items[start:stop] @ users).tocsr()
            for i in range(stop - start):
                ids, scores = _best(*_row(block, i), K)
                parts.append((np.full(len(ids), start + i, np.int32), ids, scores))
            progress.update(stop - start)
            start = stop
    if not parts:
        return sparse.coo_matrix((n, n))
    rows, columns, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return sparse.coo_matrix((values, (rows, columns)), shape=(n, n))


def _row(matrix: Any, i: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the columns and values of a row of a CSR matrix."""
    entries = slice(matrix.indptr[i], matrix.indptr[i + 1])
    return matrix.indices[entries], matrix.data[entries]


def _best(ids: NDArray[Any], scores: NDArray[Any], N: int) -> Lists:
    """Return the N greatest scores and their ids, best first, and the lower id first among equals."""
    if 0 < N < len(scores):
        least = np.partition(scores, len(scores) - N)[len(scores) - N]
        enough = scores >= least
        ids, scores = ids[enough], scores[enough]
    order = np.lexsort((ids, -scores))[:N]
    return ids[order], scores[order]


def _stacked(lists: list[Lists], N: int) -> Lists:
    """Return lists as arrays of shape (m, N), padded with id -1."""
    ids, scores = np.full((len(lists), N), -1, np.int32), np.full((len(lists), N), PADDING)
    for row, (some, values) in enumerate(lists):
        ids[row, : len(some)], scores[row, : len(some)] = some[:N], values[:N]
    return ids, scores


def _resized(matrix: Any, columns: int) -> Any:
    """Return a CSR matrix with the given number of columns, none of whose entries are beyond."""
    check_columns("user_items", matrix, columns, "item")
    return sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], columns))


def tfidf_weight(X: Any) -> sparse.coo_matrix:
    """Weight a sparse matrix of n rows: ``sqrt(x) log(n / (1 + entries of the column))``."""
    X = sparse.coo_matrix(X, dtype=np.float64)
    return _with(X, np.sqrt(X.data) * _inverse_frequency(X))


def bm25_weight(X: Any, K1: float = 100, B: float = 0.8) -> sparse.coo_matrix:
    """Weight a sparse matrix by BM25, with its rows as documents and its columns as terms.

    Parameters
    ----------
    X : sparse matrix
        Counts.
    K1 : float
        How large a count must be for its weight to stop growing.
    B : float
        How much the length of a row matters, 0 to 1.
    """
    X = sparse.coo_matrix(X, dtype=np.float64)
    lengths = np.bincount(X.row, X.data, X.shape[0])
    mean = lengths.mean() if len(lengths) and lengths.any() else 1.0
    damping = K1 * (1 - B + B * lengths[X.row] / mean)
    return _with(X, X.data * (K1 + 1) / (damping + X.data) * _inverse_frequency(X))


def normalize(X: Any) -> sparse.coo_matrix:
    """Divide each row of a sparse matrix by its norm; rows of zeros stay as they are."""
    X = sparse.coo_matrix(X, dtype=np.float64)
    norms = np.sqrt(np.bincount(X.row, X.data**2, X.shape[0]))
    norms[norms == 0] = 1
    return _with(X, X.data / norms[X.row])


def _inverse_frequency(X: sparse.coo_matrix) -> NDArray[np.float64]:
    """Return ``log(n / (1 + entries of the column))`` for each entry."""
    frequency: NDArray[np.float64] = np.log(X.shape[0]) - np.log1p(np.bincount(X.col, minlength=X.shape[1]))[X.col]
    return frequency


def _with(X: sparse.coo_matrix, data: NDArray[np.float64]) -> sparse.coo_matrix:
    return sparse.coo_matrix((data, (X.row, X.col)), shape=X.shape)
