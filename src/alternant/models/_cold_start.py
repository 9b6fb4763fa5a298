"""Recommendations for users of whom little or nothing is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import ENTRIES, column_counts, release
from .._utils.validation import check_integer
from ..data.csr import CSR
from ..data.validation import is_sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._typing import Dense, Lists, Rated, Sparse

METHODS = ("mean", "popularity", "neighbours", "fold_in")


class ColdStart:
    """The part of a model that ranks for users it does not know."""

    _min_count: ClassVar[int] = 0  # the default of `min_count`

    def cold_start(
        self,
        k: int = 10,
        *,
        method: Literal["auto", "mean", "popularity", "neighbours", "fold_in"] = "auto",
        user_items: Rated | None = None,
        features: Dense | Sparse | None = None,
        new_features: Dense | Sparse | Sequence[float] | None = None,
        n_neighbours: int = 20,
        min_count: int | None = None,
        exclude_items: Any = None,
        candidate_items: Any = None,
    ) -> Lists:
        """Rank items for users of whom little or nothing is known.

        Parameters
        ----------
        k : int
            Number of items per user.
        method : {"auto", "mean", "popularity", "neighbours", "fold_in"}
            | ``"mean"``: rank for the mean user, whose factors are the average of all users' (in `ImplicitALS`, users
              with short histories count more).
            | ``"popularity"``: rank by the number of positive interactions of each item, which is its score.
            | ``"neighbours"``: rank for the average of the users with similar features, weighted by the cosine
              between `features` and `new_features`.
            | ``"fold_in"``: fold in `user_items`, such as answers to a few questions; these items are excluded from
              the lists.
            | ``"auto"``: fold_in if `user_items` is given, neighbours if `new_features` is, else mean.
        user_items : as for `fit`, shape (m, n_items), optional
            Interactions of the new users.
        features : array or sparse matrix, shape (n_users, d), optional
            Features of the users of the fit, such as age or country (one-hot encoded), on similar scales.
        new_features : array or sparse matrix, shape (m, d) or (d,), optional
            Features of the new users.
        n_neighbours : int
            Number of nearest users to average.
        min_count : int, optional
            Recommend only items with at least this many interactions, or as many as the k-th most popular item has, if
            that is fewer. By default 20 for `ExplicitALS`, `BiasedMF` and `CosineMF`, whose lists would otherwise be
            led by items that one or two users praised, and 0 for the others. Ignored by a model without interactions
            (saved without them).
        exclude_items, candidate_items : array of ids, optional
            Items excluded for all users, and the only items that may be recommended.

        Returns
        -------
        ids : array, shape (m, k), or (k,) for the mean user, popularity and one row of `new_features`
        scores : array of the same shape
            As `recommend` returns them.

        Raises
        ------
        NotFittedError, TypeError, ValueError, IndexError
            As `recommend`, and if the arguments do not fit the method.
        """
        model: Any = self
        users, items = model._factors()
        k = check_integer("k", k, 1)
        way = choose_method(method, user_items, features, new_features)
        chosen = self._candidates(k, min_count, exclude_items, candidate_items)
        if way == "fold_in":
            candidates = None if chosen is None else model._raw(chosen, "item")
            lists: Lists = model.recommend(
                None, k, user_items=user_items, candidate_items=candidates
            )
            return lists
        if way == "popularity":
            counts = popularity(getattr(self, "interactions_", None), len(items))
            ids, scores = model._top_k(np.ones((1, 1)), counts[:, None], k, None, chosen)
        elif way == "mean":
            ids, scores = model._rank(model._mean_row("user")[None], items, k, None, chosen)
        else:
            known, new = unit_features(features, new_features, len(users))
            nearest = model._top_k(new, known, check_integer("n_neighbours", n_neighbours, 1), None, None)
            neighbours, cosines = nearest
            queries = self._blend(neighbours, cosines, users)
            ids, scores = model._rank(queries, items, k, None, chosen)
        ids = model._raw(ids, "item")
        new_users: Any = new_features  # NumPy's types know no sparse matrices
        return (ids, scores) if way == "neighbours" and np.ndim(new_users) != 1 else (ids[0], scores[0])

    def _candidates(self, k: int, min_count: int | None, exclude_items: Any, candidate_items: Any) -> Any:
        """Return the rows of the items that may be in a list of k items; None for all."""
        model: Any = self
        chosen = model._allowed(exclude_items, candidate_items)
        if isinstance(chosen, tuple):
            raise ValueError("candidate_items must be one list of items for all new users, got one list for each")
        minimum = check_integer("min_count", self._min_count if min_count is None else min_count, 0)
        known_rows = getattr(self, "interactions_", None)
        if minimum and known_rows is not None and known_rows.shape[1] == model._count("item"):
            chosen = well_known(known_rows, chosen, minimum, k)
        return chosen

    def _blend(
        self, neighbours: NDArray[np.int32], cosines: NDArray[np.float64], users: NDArray[Any]
    ) -> NDArray[Any]:
        """Average the neighbours' factors, weighted by their cosine; the mean user's if no neighbour's is positive."""
        model: Any = self
        weights = np.where(neighbours >= 0, np.maximum(cosines, 0), 0)
        total = weights.sum(axis=1)
        queries = self._weighted_sums(weights, neighbours, users)
        queries /= np.where(total == 0, 1, total)[:, None]
        queries[total == 0] = model._mean_row("user")
        return np.ascontiguousarray(queries, users.dtype)

    def _weighted_sums(
        self, weights: NDArray[np.float64], neighbours: NDArray[np.int32], users: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return, for each row of neighbours, the weighted sum of their factors."""
        return np.asarray(np.einsum("uk,ukf->uf", weights, users[neighbours], dtype=np.float64))

    def _list_for_unknown_users(
        self, unknown: str, k: int, exclude_items: Any, candidate_items: Any, seen: CSR | None
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Return the list that all unknown users share: row numbers of items, and scores.

        It is longer than k by the most items that one of them has in `seen`, for `without_seen`.
        """
        more = 0 if seen is None else int(np.diff(seen.indptr).max(initial=0))
        if unknown == "empty":
            return np.full(k + more, -1, np.int32), np.full(k + more, -np.inf)
        model: Any = self
        _, items = model._factors()
        chosen = self._candidates(k, None, exclude_items, candidate_items)
        ids, scores = model._rank(model._mean_row("user")[None], items, k + more, None, chosen)
        return ids[0], scores[0]


def without_seen(
    shared: tuple[NDArray[np.int32], NDArray[Any]], seen: CSR | None, k: int
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return the first k items, and their scores, of a shared list without those in each row of `seen`."""
    ids, scores = shared
    if seen is None or not len(seen.indices):
        return ids[:k], scores[:k]
    ends = zip(seen.indptr[:-1].tolist(), seen.indptr[1:].tolist(), strict=True)
    kept = [np.flatnonzero(~np.isin(ids, seen.indices[start:stop]))[:k] for start, stop in ends]
    return ids[kept], scores[kept]


def choose_method(method: Any, user_items: Any, features: Any, new_features: Any) -> str:
    """Return the method, for "auto" the one that the arguments imply; refuse arguments that do not fit it."""
    if method == "auto":
        method = "fold_in" if user_items is not None else "neighbours" if new_features is not None else "mean"
    if method not in METHODS:
        raise ValueError(f"method must be one of 'auto', {', '.join(map(repr, METHODS))}, got {method!r}")
    if (user_items is not None) != (method == "fold_in"):
        raise ValueError(
            f"user_items must be given for method='fold_in' and for no other, got method={method!r} and user_items "
            f"{'given' if user_items is not None else 'missing'}: pass both or neither"
        )
    given = features is not None, new_features is not None
    if given != ((True, True) if method == "neighbours" else (False, False)):
        raise ValueError(
            "features (of all users of the fit) and new_features (of the new ones) must both be given for "
            f"method='neighbours' and for no other, got method={method!r}, features "
            f"{'given' if given[0] else 'missing'} and new_features {'given' if given[1] else 'missing'}: pass both or "
            "neither, or, if the model was fitted with user_features, call recommend(None, user_features=...)"
        )
    return str(method)


def popularity(rows: CSR | None, n_items: int) -> NDArray[np.float64]:
    """Count the positive interactions of every item."""
    if rows is None:
        raise ValueError(
            "method='popularity' needs the interactions of the fit, which this model does not have (it was saved "
            "without them, or its factors were set by hand): use method='mean'"
        )
    counts = np.zeros(n_items, np.int64)
    for start in range(0, len(rows.indices), ENTRIES):  # bincount would convert them all to int64
        part = slice(start, start + ENTRIES)
        counts += column_counts(rows.indices[part][rows.data[part] > 0], n_items)
        release(rows.indices[part], rows.data[part])
    return counts.astype(np.float64)


def well_known(rows: CSR, chosen: NDArray[Any] | None, min_count: int, k: int) -> NDArray[np.int64]:
    """Return the items with at least `min_count` interactions, or as many as the k-th most popular item has."""
    allowed = np.arange(rows.shape[1]) if chosen is None else chosen
    counts = column_counts(rows.indices, rows.shape[1])[allowed]
    if len(counts):
        min_count = min(min_count, int(np.sort(counts)[::-1][min(k, len(counts)) - 1]))
    return allowed[counts >= min_count]


def unit_features(features: Any, new_features: Any, n_users: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as float64 rows scaled to length 1; rows of zeros are unchanged."""
    arrays = []
    for name, value in (("features", features), ("new_features", new_features)):
        dense = value.toarray() if is_sparse(value) else value
        try:
            array = np.atleast_2d(np.asarray(dense, dtype=np.float64))
        except (TypeError, ValueError):
            raise TypeError(
                f"{name} must be a table of numbers, one row per user, got {type(value).__name__}: encode categories "
                "as 0 and 1"
            ) from None
        if array.ndim != 2 or not np.isfinite(array).all():
            raise ValueError(f"{name} must be a finite table with one row per user, got shape {array.shape}")
        lengths = np.sqrt(np.einsum("ud,ud->u", array, array))
        lengths[lengths == 0] = 1
        arrays.append(np.ascontiguousarray(array / lengths[:, None]))
    if len(arrays[0]) != n_users:
        raise ValueError(f"features must have one row for each of the {n_users} users of the fit, got {len(arrays[0])}")
    if arrays[0].shape[1] != arrays[1].shape[1] or arrays[0].shape[1] == 0:
        raise ValueError(
            "features and new_features must have the same number of columns, at least one, got "
            f"{arrays[0].shape[1]} and {arrays[1].shape[1]}"
        )
    return arrays[0], arrays[1]
