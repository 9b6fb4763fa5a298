"""Models that score an item by its weights for the items in a user's history: users are sparse rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from .._utils.memory import GIB, available_bytes
from .._utils.threads import map_parallel, resolve_num_threads
from ..data.csr import CSR
from ._fold_in import FoldInUsersModel
from .als.explanation import Explanation

if TYPE_CHECKING:
    from .._typing import Rated
    from ._sparse_rows import SparseRows

WEIGHTINGS = ("binary", "log", "proportional")  # of interactions: see `entries`
BLOCK_BYTES = 1 << 23  # of the scores held by one thread
PAIR_ENTRIES = 1 << 21  # entries of users whose pairs are scored together
SEARCH_COST, CALL_COST = 32, 1 << 15  # of one weight of sparse items, and of a user's scores, in multiply-adds

# (start, stop) -> the scores of these rows for all items
Scores = Callable[[int, int], NDArray[Any]]


class ItemWeightsModel(FoldInUsersModel):
    """A model whose score is a product of a sparse row of the user and a dense row of the item.

    `user_factors` are `SparseRows`, and `item_factors` is the transpose of an array whose row j holds what item j in a
    user's history contributes to the score of each item, in C order or sparse (`SparseColumns`): a user's scores are a
    weighted sum of a few rows. They are computed for a few users at a time, each by one thread in the order of the
    items, and ranked by the kernel `top_k`. Factors set by hand may be dense, or sparse in any format of SciPy.

    A subclass defines `fit`, which assigns such factors, and `_fold_in`, which turns interactions into sparse rows; if
    its last columns are not items, `_latent` drops them.
    """

    user_factors: SparseRows

    def _factors(self) -> tuple[Any, Any]:
        users, items = getattr(self, "user_factors", None), getattr(self, "item_factors", None)
        self._check_factors(users, items)
        return _as_sparse_rows(users), _as_sparse_columns(items) if scipy.sparse.issparse(items) else np.asarray(items)

    def fold_in_users(self, user_items: Rated) -> SparseRows:
        """Return the rows x of new users.

        Parameters
        ----------
        user_items : as for `fit`, shape (m, n_items)
            Interactions of the users.

        Returns
        -------
        SparseRows, shape (m, n_items + 1)

        Raises
        ------
        NotFittedError, TypeError, ValueError
            Before `fit`, or if `user_items` is invalid.
        """
        rows: SparseRows = super().fold_in_users(user_items)
        return rows

    def explain(self, user: Any, item: Any, *, user_items: Rated | None = None) -> Explanation:
        """Break a score down into the contributions of the items in the user's history, exactly.

        Item j contributes its value in the user's row times its weight for the item.

        Parameters
        ----------
        user : id or None
            A user of the fit; None for a new user, folded in from `user_items`.
        item : id
        user_items : sparse matrix, shape (1, n_items), or Interactions of one user, optional
            The user's interactions, instead of those of the fit.

        Returns
        -------
        Explanation
            `remainder` is the part of the score that does not depend on the user's history. Contributions and remainder
            sum to the score.

        Raises
        ------
        NotFittedError, IndexError, ValueError
            As `recommend`.
        """
        users, items = self._factors()
        i = self._number("item", item, "item")
        x: Any
        if user is None:
            x = self._new_users(user_items)[0]
        elif user_items is None:
            x = users[[self._number("user", user, "user")]]
        else:
            history = self._seen(np.array([self._number("user", user, "user")]), user_items)
            x = self._fold_in(history, items, "user")
        if len(x) != 1:
            raise ValueError(f"user_items must have 1 row, that of the user to explain, got {len(x)}")
        added = x.data.astype(np.float64) * _entries(items, np.full(len(x.indices), i), x.indices)
        known = x.indices < len(items)
        contributions, numbers = added[known], x.indices[known].astype(np.int64)
        order = np.argsort(-contributions, kind="stable")
        score, remainder = float(added.sum()), float(added[~known].sum())
        return Explanation(score, self._raw(numbers[order], "item"), contributions[order], remainder)

    def _take(self, kind: str, numbers: NDArray[np.int64]) -> Any:
        return self._side(kind)[numbers]

    def _with_rows(self, own: Any, numbers: NDArray[np.int64], solved: Any, count: int) -> Any:
        return own.of(own.to_csr().replace(numbers, solved.to_csr()))

    def _weighted_sums(
        self, weights: NDArray[np.float64], neighbours: NDArray[np.int32], users: Any
    ) -> NDArray[np.float64]:
        indptr = np.arange(len(weights) + 1) * weights.shape[1]
        chosen = (weights.reshape(-1), np.maximum(neighbours, 0).reshape(-1), indptr)
        sums: NDArray[np.float64] = (scipy.sparse.csr_array(chosen, shape=(len(weights), len(users))) @ users).toarray()
        return sums

    def _products(
        self, X: Any, Y: Any, users: NDArray[np.int64], items: NDArray[np.int64]
    ) -> NDArray[Any]:
        rows = _as_sparse_rows(X).to_csr()
        out, left = np.empty(users.size, Y.dtype), np.arange(users.size)
        if not isinstance(Y, np.ndarray):
            left = _score_all_items(rows, Y.to_csr(), users, items, out)
        for start, stop in cut_by_entries(np.diff(rows.indptr)[users[left]], PAIR_ENTRIES):
            pairs = left[start:stop]
            histories = rows.take(users[pairs])
            owner, columns = histories.positions()
            products = _entries(Y, items[pairs][owner], columns).astype(np.float64) * histories.data
            out[pairs] = np.bincount(owner, products, minlength=stop - start)
        return out

    def _ranked(self, factors: Any) -> Any:
        rows, columns = np.shape(factors)
        needed, available = rows * columns * factors.dtype.itemsize, available_bytes()
        if available is not None and needed > available:
            raise MemoryError(
                f"an index and query_vectors take dense vectors: {needed / GIB:.1f} GiB for {rows:,} of {columns:,} "
                f"numbers each, but only {available / GIB:.1f} GiB are available: use recommend, which needs no index"
            )
        return factors

    def _rank(
        self, queries: Any, items: NDArray[Any], k: int, exclude: Any, candidates: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        scores = self._scores(queries, items)
        ids, best = self._best_of(scores, len(queries), items, k, exclude, candidates)
        found = ids >= 0
        best[found] = self._link(best[found])
        return ids, best

    def _scores(self, queries: Any, items: Any) -> Scores:
        """Return a function that computes the scores of a range of users."""
        rows = _as_sparse_rows(queries).astype(items.dtype, copy=False)
        if not isinstance(items, np.ndarray):
            left, right = rows.to_csr(), items.to_csr()
            multiply = self._backend().multiply_sparse

            def scores(start: int, stop: int) -> NDArray[Any]:
                out = np.empty((stop - start, len(items)), items.dtype)
                indptr = left.indptr[start : stop + 1]
                own = slice(indptr[0], indptr[-1])  # a backend may convert the indices
                part = indptr - indptr[0], left.indices[own], left.data[own]
                multiply(part, (right.indptr, right.indices, right.data), out, 1)
                return out

            return scores
        weights = np.ascontiguousarray(items.T)
        return lambda start, stop: np.asarray(rows[start:stop] @ weights)

    def _best_of(
        self, scores: Scores, m: int, items: NDArray[Any], k: int, exclude: Any, candidates: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Return the items with the greatest scores in each of m rows."""
        ids, best = np.empty((m, k), np.int32), np.empty((m, k), items.dtype)
        kernel, one = self._backend().top_k, np.ones((1, 1), items.dtype)

        def rank(row: int, values: NDArray[Any]) -> None:
            allowed = _row_of(candidates, row) if isinstance(candidates, tuple) else candidates
            at = slice(row, row + 1)
            kernel(one, values[:, None], k, _csr_row(exclude, row), allowed, ids[at], best[at], 1)

        self._for_each_row(scores, m, items, rank)
        return ids, best

    def _for_each_row(
        self, scores: Scores, m: int, items: NDArray[Any], use: Callable[[int, NDArray[Any]], None]
    ) -> None:
        """Call a function with the number and the scores of each row, on all threads."""
        height = int(np.clip(BLOCK_BYTES // max(1, len(items) * items.dtype.itemsize), 1, 256))

        def work(start: int) -> None:
            block = scores(start, min(start + height, m))
            for offset, values in enumerate(block):
                use(start + offset, values)

        map_parallel(work, range(0, m, height), resolve_num_threads(self.num_threads))

    def _vectors_to_count(self, factors: Any) -> Any:
        return factors  # which need not be dense

    def _count_above(
        self, queries: Any, items: NDArray[Any], seen: CSR | None, relevant: CSR
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        above, equal = np.empty(len(relevant.indices), np.int64), np.empty(len(relevant.indices), np.int64)
        kernel, one = self._backend().count_above, np.ones((1, 1), items.dtype)
        exclude = None if seen is None else (seen.indptr, seen.indices)

        def count(row: int, values: NDArray[Any]) -> None:
            at = slice(*relevant.indptr[row : row + 2])
            indptr, targets = _csr_row((relevant.indptr, relevant.indices), row)
            kernel(one, values[:, None], _csr_row(exclude, row), indptr, targets, above[at], equal[at], 1)

        self._for_each_row(self._scores(queries, items), len(queries), items, count)
        return above, equal

    def _neighbours(
        self, factors: Any, rows: NDArray[np.int64], k: int, candidates: Any, kind: str, shrinkage: float | None
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        if kind == "item":
            return super()._neighbours(factors, rows, k, candidates, kind, shrinkage)
        unit = _unit_rows(self._latent(factors))
        columns = scipy.sparse.csr_array(unit.T)
        everybody = np.empty((len(factors), 0), factors.dtype)  # only its length and dtype are used

        def cosines(start: int, stop: int) -> NDArray[Any]:
            return np.asarray((unit[rows[start:stop]] @ columns).toarray())

        itself = (np.arange(len(rows) + 1), rows)
        return self._best_of(cosines, len(rows), everybody, k, itself, candidates)

    def _directions(self, factors: NDArray[Any]) -> NDArray[Any]:
        """Return the rows of items scaled to length 1, in C order and without a second copy."""
        unit = np.array(self._latent(factors), order="C")
        norms = np.sqrt(np.einsum("if,if->i", unit, unit, dtype=np.float64))
        norms[norms == 0] = 1
        unit /= norms[:, None].astype(unit.dtype)
        return unit


def entries(data: NDArray[Any], weighting: str, epsilon: float) -> NDArray[Any]:
    """Return the entries of a user's row for interactions of these values; see the parameter `weighting` of `EASE`."""
    if weighting == "proportional":
        return data
    if weighting == "binary":
        return np.asarray(np.sign(data))
    logarithms = np.log1p(np.abs(data, dtype=np.float64) / epsilon) / np.log(2)  # of 1 + r even where that rounds to 1
    return np.asarray(np.copysign(logarithms, data), data.dtype)


def rows_with_constant(rows: CSR, constant: NDArray[Any]) -> SparseRows:
    """Return rows with one more column, whose zeros are not stored."""
    from ._sparse_rows import SparseRows

    stored, n = constant != 0, rows.shape[1]
    ends = rows.indptr[1:][stored]
    indptr = rows.indptr + np.concatenate([[0], np.cumsum(stored)])
    indices, data = np.insert(rows.indices, ends, n), np.insert(rows.data, ends, constant[stored])
    return SparseRows.of(CSR.of(indptr, indices, data, (rows.shape[0], n + 1)))


def _entries(factors: Any, rows: NDArray[np.int64], columns: NDArray[Any]) -> NDArray[Any]:
    """Return the entries of item factors at these positions."""
    if isinstance(factors, np.ndarray):
        dense: NDArray[Any] = factors[rows, columns]
        return dense
    start, stop = factors.indptr[columns].astype(np.int64), factors.indptr[columns + 1].astype(np.int64)
    ends = stop.copy()
    while (start < stop).any():  # bisection in all columns at once
        middle = (start + stop) // 2
        below = factors.indices[np.minimum(middle, len(factors.indices) - 1)] < rows
        right = below & (start < stop)
        start, stop = np.where(right, middle + 1, start), np.where(right, stop, np.minimum(middle, stop))
    at = np.minimum(start, max(0, len(factors.indices) - 1))
    found = (start < ends) & (factors.indices[at] == rows) if len(factors.indices) else np.zeros(len(rows), bool)
    return np.where(found, factors.data[at], 0) if found.any() else np.zeros(len(rows), factors.dtype)


def _score_all_items(
    rows: CSR, weights: CSR, users: NDArray[np.int64], items: NDArray[np.int64], out: NDArray[Any]
) -> NDArray[np.int64]:
    """Predict the pairs of users who have so many that scores of all items cost less; return which pairs are left.

    Sums have the same order as those of single pairs, and so the same bits.
    """
    numbers, which, counts = np.unique(users, return_inverse=True, return_counts=True)
    lengths, n = np.diff(rows.indptr)[numbers], weights.shape[1]
    products = lengths * (len(weights.indices) // max(1, n))
    many = counts * lengths * SEARCH_COST > n + products + CALL_COST
    order, ends = np.argsort(which, kind="stable"), np.cumsum(counts)
    for user, start, stop in zip(numbers[many], (ends - counts)[many], ends[many], strict=True):
        sums, history = np.zeros(n), rows.take(user[None])
        for first in range(0, len(history.indices), 1024):
            part = slice(first, first + 1024)
            own = weights.take(history.indices[part])
            values = np.repeat(history.data[part].astype(np.float64), np.diff(own.indptr)) * own.data
            np.add.at(sums, own.indices, values)
        out[order[start:stop]] = sums[items[order[start:stop]]]
    return np.flatnonzero(~many[which])


def _row_of(csr: tuple[NDArray[np.int64], NDArray[Any]], row: int) -> NDArray[Any]:
    indptr, indices = csr
    return indices[indptr[row] : indptr[row + 1]]


def _csr_row(csr: Any, row: int) -> Any:
    """Return one row of CSR arrays, as CSR arrays of one row."""
    if csr is None:
        return None
    indices = _row_of(csr, row)
    return np.array([0, len(indices)]), indices


def _unit_rows(rows: Any) -> scipy.sparse.csr_array:
    """Return rows scaled to length 1; rows of zeros are unchanged."""
    lengths = np.sqrt(np.asarray(rows.power(2).sum(axis=1, dtype=np.float64)))
    lengths[lengths == 0] = 1
    scaled = rows.data / np.repeat(lengths, np.diff(rows.indptr))
    return scipy.sparse.csr_array((scaled.astype(rows.dtype), rows.indices, rows.indptr), shape=rows.shape)


def _as_sparse_rows(factors: Any) -> Any:
    from ._sparse_rows import sparse_rows

    return sparse_rows(factors)


def _as_sparse_columns(factors: Any) -> Any:
    from ._sparse_rows import sparse_columns

    return sparse_columns(factors)


def cut_by_entries(lengths: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Divide rows of these lengths into ranges of at most `most` entries, or of one row."""
    ranges, start, size = [], 0, 0
    for at, length in enumerate(lengths.tolist()):
        if at > start and size + length > most:
            ranges.append((start, at))
            start, size = at, 0
        size += length
    return [*ranges, (start, len(lengths))] if len(lengths) > start else ranges
