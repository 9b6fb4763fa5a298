"""Item-item nearest neighbours: cosine, TF-IDF and BM25, over the kernel `top_k_sparse`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ... import kernels
from ..._utils.progress import progress_bar
from ...data import weights
from ...data.validation import check_structure
from .recommender_base import Lists, RecommenderBase, read_npz, write_npz
from .utils import check_columns, check_csr, check_ids, check_rows, list_length, thread_count

LOWEST = float(np.finfo(np.float64).min)  # the score of selected items that have none
PADDING = float(np.finfo(np.float32).min)  # the score of id -1
BLOCKS = 100  # of items, between which the progress bar moves and Ctrl-C is handled


class ItemItemRecommender(RecommenderBase):
    """Scores an item by its similarity with what a user has liked.

    The similarity of two items is the dot product of their columns; each item keeps the K greatest, its own included.

    Parameters
    ----------
    K : int
        Number of neighbours of each item.
    num_threads : int
        Number of threads; 0: all available.

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
        N = list_length(N)
        lists = self._ranked(rows, N, rows if filter_already_liked_items else None, filter_items, items)
        return _stacked(*lists, N) if users.ndim else _single(*lists)

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
        known, chosen = self.similarity.shape[0], numbers.reshape(-1)
        indptr = np.append(0, np.cumsum(chosen < known))
        rows = sparse.csr_matrix((np.ones(indptr[-1]), chosen[chosen < known], indptr), shape=(len(chosen), known))
        N = list_length(N)
        lists = self._ranked(rows, N, None, filter_items, items)
        return _stacked(*lists, N) if numbers.ndim else _single(*lists)

    def similar_users(self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None) -> Lists:
        """Refuse: users have no factors."""
        raise NotImplementedError("item-item models have no similar_users: use als.AlternatingLeastSquares")

    def _ranked(self, rows: Any, N: int, liked: Any, filter_items: Any, items: Any) -> Lists:
        """Return the N best items for each row or, with `items`, all of these; id -1 where there is none left."""
        similarity, columns = self.similarity, None
        if items is not None:
            if filter_items is not None and np.size(filter_items):
                raise ValueError("pass items= or filter_items=, not both: leave the latter out of the former")
            columns = np.unique(check_ids("items", items, similarity.shape[0], "item"))
            similarity, N = similarity[:, columns], len(columns)
            liked = None if liked is None else liked[:, columns]
        ids, scores = top_k(rows, similarity, N, _excluded(rows, liked, filter_items), self.num_threads)
        if columns is None:
            return ids, scores
        for found, values in zip(ids, scores, strict=True):  # those without a score come last
            missing = np.setdiff1d(np.arange(N), found)
            found[N - len(missing) :], values[N - len(missing) :] = missing, LOWEST
        return columns.astype(np.int32)[ids], scores

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
            check_structure("similarity", model.similarity)
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


def all_pairs_knn(users: Any, K: int = 100, num_threads: int = 0, show_progress: bool = True) -> sparse.coo_matrix:
    """Find the K greatest entries of each row of ``users^T users``, the higher column first among equals.

    implicit keeps, of equals, those that it meets last: mostly the higher columns, too.

    Parameters
    ----------
    users : sparse matrix, shape (n_users, n_items)
        The weights.
    K : int
        Entries to keep for each item.
    num_threads : int
        Number of threads; 0: all available.
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
    # The kernel prefers lower columns, so they are numbered from the end; rows, too, so that the entries stay in order.
    items.indices = users.shape[0] - 1 - items.indices
    mirrored = sparse.csr_matrix(
        (users.data[::-1].copy(), n - 1 - users.indices[::-1], users.indptr[-1] - users.indptr[::-1]), shape=users.shape
    )
    ids, values = np.empty((n, min(K, n)), np.int32), np.empty((n, min(K, n)))
    height = max(1, -(-n // BLOCKS))
    with progress_bar(n, bool(show_progress)) as progress:
        for start in range(0, n, height):
            block = slice(start, start + height)
            ids[block], values[block] = top_k(items[block], mirrored, min(K, n), None, num_threads)
            progress.update(len(ids[block]))
    found = ids >= 0
    rows = np.repeat(np.arange(n, dtype=np.int32), found.sum(axis=1))
    return sparse.coo_matrix((values[found], (rows, n - 1 - ids[found])), shape=(n, n))


def top_k(rows: Any, columns: Any, N: int, excluded: Any, num_threads: int) -> Lists:
    """Return the N greatest entries of each row of a product of CSR matrices, and their columns."""
    ids, values = np.empty((rows.shape[0], N), np.int32), np.empty((rows.shape[0], N))
    if N:
        left, right = ((np.asarray(m.indptr, np.int64), m.indices, np.asarray(m.data, np.float64))
                       for m in (rows, columns))  # fmt: skip
        work = rows.nnz * columns.nnz / max(1, columns.shape[0])
        kernels.active_backend().top_k_sparse(
            left, right, columns.shape[1], N, excluded, ids, values, num_threads=thread_count(num_threads, work)
        )
    return ids, values


def _excluded(rows: Any, liked: Any, filter_items: Any) -> Any:
    """Return the items to leave out of each row, as CSR arrays without values, or None."""
    if filter_items is None or np.size(filter_items) == 0:
        return None if liked is None else (np.asarray(liked.indptr, np.int64), liked.indices)
    everywhere = np.unique(filter_items).astype(np.int64)
    everywhere = everywhere[(everywhere >= 0) & (everywhere < rows.shape[1])]  # others, such as -1, are in no list
    count = rows.shape[0]
    own = [np.empty(0, np.int64)] * count if liked is None else np.split(liked.indices, liked.indptr[1:-1])
    both = [np.append(some, everywhere) for some in own[:count]]
    return np.append(0, np.cumsum([len(some) for some in both])), np.concatenate([*both, everywhere[:0]])


def _single(ids: NDArray[Any], scores: NDArray[Any]) -> Lists:
    """Return the only list, without padding."""
    found = ids[0] >= 0
    return ids[0][found], scores[0][found]


def _stacked(ids: NDArray[Any], scores: NDArray[Any], N: int) -> Lists:
    """Return lists of length N, padded with id -1."""
    out_ids, out_scores = np.full((len(ids), N), -1, np.int32), np.full((len(ids), N), PADDING)
    width = min(N, ids.shape[1])
    out_ids[:, :width], out_scores[:, :width] = ids[:, :width], np.where(ids >= 0, scores, PADDING)[:, :width]
    return out_ids, out_scores


def _resized(matrix: Any, columns: int) -> Any:
    """Return a CSR matrix with the given number of columns, none of whose entries are beyond."""
    if matrix.shape[1] == columns:
        return matrix
    check_columns("user_items", matrix, columns, "item")
    return sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], columns))


def tfidf_weight(X: Any) -> sparse.coo_matrix:
    """Weight a sparse matrix of n rows: ``sqrt(x) log(n / (1 + entries of the column))``."""
    return sparse.coo_matrix(weights.tfidf_weight(X))


def bm25_weight(X: Any, K1: float = 100, B: float = 0.8) -> sparse.coo_matrix:
    """Weight a sparse matrix by BM25, with its rows as documents; see `alternant.data.bm25_weight`."""
    return sparse.coo_matrix(weights.bm25_weight(X, K1, B))


def normalize(X: Any) -> sparse.coo_matrix:
    """Divide each row of a sparse matrix by its norm; rows of zeros stay as they are."""
    X = sparse.coo_matrix(X, dtype=np.float64)
    norms = np.sqrt(np.bincount(X.row, X.data**2, X.shape[0]))
    norms[norms == 0] = 1
    return _with(X, X.data / norms[X.row])


def _with(X: sparse.coo_matrix, data: NDArray[np.float64]) -> sparse.coo_matrix:
    return sparse.coo_matrix((data, (X.row, X.col)), shape=X.shape)
