"""Recommendations and neighbours of models with factors: `MatrixFactorizationBase`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...._utils.pool import Pool
from ..recommender_base import Lists, RecommenderBase
from ..utils import check_ids, check_rows
from .topk import rank

if TYPE_CHECKING:
    from ...._typing import MaybeNone


class MatrixFactorizationBase(RecommenderBase):
    """A model that ranks by the dot product of a user's and an item's factors.

    Attributes
    ----------
    user_factors : array, shape (n_users, f), or None before a fit
        May be written to and replaced.
    item_factors : array, shape (n_items, f), or None before a fit
        The same.
    num_threads : int
        Number of threads, 0 for all that are available to the process. No result depends on it.
    """

    user_factors: NDArray[Any] | MaybeNone
    item_factors: NDArray[Any] | MaybeNone

    def __init__(self, num_threads: int = 0) -> None:
        self.item_factors = None
        self.user_factors = None
        self._user_norms: Any = None
        self._item_norms: Any = None
        self.num_threads = num_threads

    def recommend(
        self,
        userid: Any,
        user_items: Any,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        recalculate_user: bool = False,
        items: Any = None,
    ) -> Lists:
        """See `RecommenderBase.recommend`."""
        self._check_fitted()
        n_users = None if recalculate_user else len(self.user_factors)
        users = check_ids("userid", userid, n_users, "user")
        if filter_already_liked_items or recalculate_user:
            user_items = check_rows("user_items", user_items, users, len(self.item_factors), "item")
        queries = np.atleast_2d(self._user_factor(userid if users.ndim == 0 else users, user_items, recalculate_user))
        candidates, pool = self._restricted("item", filter_items, items)
        if items is not None and pool is not None:
            N = min(N, len(pool))
        liked = user_items if filter_already_liked_items else None
        ids, scores = rank(queries, self.item_factors, N, None, liked, candidates, self.num_threads, pool)
        return (ids, scores) if users.ndim else (ids[0], scores[0])

    def recommend_all(
        self,
        user_items: Any,
        N: int = 10,
        recalculate_user: bool = False,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        users_items_offset: int = 0,
    ) -> NDArray[Any]:
        """Deprecated in implicit: the ids of `recommend`, for users from `users_items_offset` on, one a row."""
        warnings.warn(
            "recommend_all is deprecated: call recommend with an array of users", DeprecationWarning, stacklevel=2
        )
        users = np.arange(user_items.shape[0]) + users_items_offset
        return self.recommend(users, user_items, N, filter_already_liked_items, filter_items, recalculate_user)[0]

    def similar_users(self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None) -> Lists:
        """See `RecommenderBase.similar_users`."""
        self._check_fitted()
        numbers = check_ids("userid", userid, len(self.user_factors), "user")
        candidates, pool = self._restricted("user", filter_users, users)
        table = self._unit_rows("user")
        return self._similar(table[numbers], table, N, candidates, pool)

    def similar_items(
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> Lists:
        """See `RecommenderBase.similar_items`."""
        self._check_fitted()
        numbers = check_ids("itemid", itemid, None if recalculate_item else len(self.item_factors), "item")
        candidates, pool = self._restricted("item", filter_items, items)
        table = self._unit_rows("item")
        if recalculate_item:
            factors = self.recalculate_item(itemid if numbers.ndim == 0 else numbers, item_users)
            return self._similar(_unit(factors), table, N, candidates, pool)
        return self._similar(table[numbers], table, N, candidates, pool)

    def _similar(
        self, queries: NDArray[Any], unit_rows: NDArray[Any], N: int, candidates: NDArray[np.int64] | None,
        pool: NDArray[np.int64] | None,
    ) -> Lists:  # fmt: skip
        """Rank by cosine, from rows of length 1; one query of shape (f,) gives lists of shape (N,)."""
        rows = queries.reshape(-1, queries.shape[-1])
        ids, scores = rank(rows, unit_rows, N, None, None, candidates, self.num_threads, pool)
        return (ids, scores) if queries.ndim == 2 else (ids[0], scores[0])

    def _restricted(
        self, kind: str, filtered: Any, only: Any
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
        """Return the rows that may be ranked, and those that may be appended with the lowest score; None: all."""
        count = len(self.item_factors if kind == "item" else self.user_factors)
        some = filtered is not None and np.size(filtered) > 0
        if only is not None:
            if some:
                raise ValueError(f"pass {kind}s= or filter_{kind}s=, not both: leave the latter out of the former")
            pool = np.unique(check_ids(f"{kind}s", only, count, kind))
            return pool, pool
        if some:
            left_out = check_ids(f"filter_{kind}s", np.ravel(filtered), count, kind)
            return np.delete(np.arange(count), left_out), None
        return None, None

    def _check_fitted(self) -> None:
        if self.user_factors is None or self.item_factors is None:
            raise ValueError("the model has no factors yet: call fit, or set user_factors and item_factors")

    def _check_shape(self, shape: tuple[int, int]) -> None:
        """Raise ValueError if the model has factors for another number of users or items."""
        for kind, count in zip(("user", "item"), shape, strict=True):
            factors = getattr(self, f"{kind}_factors")
            if factors is not None and len(factors) != count:
                raise ValueError(
                    f"user_items has {count} {kind}s, but the model has factors for {len(factors)}: set user_factors "
                    "and item_factors to None to fit from scratch"
                )

    def _user_factor(self, userid: Any, user_items: Any, recalculate_user: bool = False) -> NDArray[Any]:
        factors: NDArray[Any] = (
            self.recalculate_user(userid, user_items) if recalculate_user else self.user_factors[userid]
        )
        return factors

    def recalculate_user(self, userid: Any, user_items: Any) -> NDArray[Any]:
        """Refuse: this model cannot compute the factors of a user from interactions."""
        raise NotImplementedError(f"{type(self).__name__} cannot recalculate users: fit it with their interactions")

    def recalculate_item(self, itemid: Any, item_users: Any) -> NDArray[Any]:
        """Refuse: this model cannot compute the factors of an item from interactions."""
        raise NotImplementedError(f"{type(self).__name__} cannot recalculate items: fit it with their interactions")

    @property
    def user_norms(self) -> NDArray[Any]:
        """The norms of the users' factors, 1e-10 instead of 0: kept until `_user_norms` is set to None."""
        if self._user_norms is None or len(self._user_norms) != len(self.user_factors):
            self._user_norms = _norms(self.user_factors)
        norms: NDArray[Any] = self._user_norms
        return norms

    @property
    def item_norms(self) -> NDArray[Any]:
        """The norms of the items' factors, 1e-10 instead of 0: kept until `_item_norms` is set to None."""
        if self._item_norms is None or len(self._item_norms) != len(self.item_factors):
            self._item_norms = _norms(self.item_factors)
        norms: NDArray[Any] = self._item_norms
        return norms

    def _unit_rows(self, kind: str) -> NDArray[Any]:
        """Return a side's factors divided by their norms: kept as long as both are the same arrays."""
        factors, norms = getattr(self, f"{kind}_factors"), getattr(self, f"{kind}_norms")
        kept = self.__dict__.get(f"_{kind}_unit_rows")
        if kept is None or kept[0] is not factors or kept[1] is not norms:
            aligned = Pool().array(factors.shape, factors.dtype)  # top_k reads it a tenth faster
            kept = factors, norms, np.divide(factors, norms[:, None], out=aligned)
            self.__dict__[f"_{kind}_unit_rows"] = kept
        rows: NDArray[Any] = kept[2]
        return rows

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of copies and pickles what is computed again when it is needed."""
        again = ("_unit_rows", "_coordinates")
        return {name: value for name, value in self.__dict__.items() if not name.endswith(again)}

    def __setattr__(self, name: str, value: Any) -> None:
        """Forget what was computed from factors that are replaced."""
        object.__setattr__(self, name, value)
        for derived in {"user_factors": ("_user_norms", "_XtX"), "item_factors": ("_item_norms", "_YtY")}.get(name, ()):
            if self.__dict__.get(derived) is not None:
                object.__setattr__(self, derived, None)

    def _check_fit_errors(self) -> None:
        self._check_factors(self.user_factors, self.item_factors)


def _unit(factors: NDArray[Any]) -> NDArray[Any]:
    """Return one row or several divided by their norms."""
    unit: NDArray[Any] = (factors.T / _norms(np.atleast_2d(factors)).reshape(factors.shape[:-1])).T
    return unit


def _norms(factors: NDArray[Any]) -> NDArray[Any]:
    squares: NDArray[np.float64] = np.einsum("if,if->i", factors, factors, dtype=np.float64)
    norms: NDArray[Any] = np.sqrt(squares).astype(factors.dtype)
    norms[norms == 0] = 1e-10
    return norms


def _filter_items_from_sparse_matrix(items: NDArray[Any], query_items: Any) -> sparse.csr_matrix:
    """Return the columns `items` of a sparse matrix, of shape (m, len(items)); those it does not have are empty."""
    rows = sparse.csr_matrix(query_items)
    columns = max(rows.shape[1], int(np.max(items, initial=-1)) + 1)
    wide = sparse.csr_matrix((rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], columns))
    return sparse.csr_matrix(wide[:, items])
