"""What all factor models share: rank by dot product, score pairs, find neighbours, save and load."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_boolean, check_integer
from ..data.csr import CSR
from ..data.validation import check_columns, check_interactions
from ..kernels import get_backend
from ..kernels._registry import Backend, active_backend
from . import _cold_start, _storage
from ._histories import Histories
from ._parameters import Parameters
from ._raw_ids import RawIds
from ._serving import Serving
from ._sklearn import ScikitLearnModel
from ._state import NotFittedError as NotFittedError  # where it has always been


class FactorModel(Serving, Histories, RawIds, ScikitLearnModel, Parameters):
    """A model that ranks by the dot product of a user's and an item's factors.

    A subclass provides the constructor parameters `num_threads` and `backend`, a `fit` that sets the attributes
    below, and, where it can solve rows it has not seen, `fold_in_users`. Where the prediction is a monotone function
    of the dot product, `_link` is that function; where it is a cosine, `_ranked` returns unit vectors; where columns of
    the factors are biases, `_latent` leaves them out; where a stored zero is a value, `_check_rows` keeps it.

    Threads. Any number of threads may call any method that does not change the model: those in `_reading`, which run on
    a snapshot taken as they begin. Methods that change it, those in `_changing`, exclude each other. Readers see the
    model before a change or after it, never between: not one side's factors with the other's ids, not a row that is
    half written. `fit` is one change, too: what its iterations leave behind is seen by its callback, in its own thread,
    and by others when it is done. Reading one attribute is safe at any time, but two are two moments:
    ``copy.copy(model)`` is a model as it was at one, and copies no factors that stay as they are. Locks are neither
    copied nor pickled, and a forked child has its own. `set_backend` is for all threads, `use_backend` for one.

    A subclass changes its fitted attributes by `_assign`, all in one call, and its reading methods set none.

    Attributes
    ----------
    user_factors : array, shape (n_users, f)
    item_factors : array, shape (n_items, f)
    interactions_ : CSR or None
        The interactions of the fit: what `recommend` leaves out as seen.
    """

    num_threads: int | None
    backend: str
    user_factors: NDArray[Any] | None
    item_factors: NDArray[Any] | None
    interactions_: CSR | None

    _reading = (
        "recommend", "recommend_frame", "recommend_all", "query_vectors", "predict", "similar_items", "similar_users",
        "cold_start", "explain", "fold_in_users", "fold_in_items", "score", "save", "get_params", "__repr__",
        "__getstate__",
    )  # fmt: skip
    _changing = ("fit", "update", "partial_fit_users", "partial_fit_items", "set_params")

    _min_count: ClassVar[int] = 0  # of the items of a cold start

    # What `save` writes beside the parameters, the factors and the interactions: attributes that JSON can hold.
    _fitted_state: ClassVar[tuple[str, ...]] = ()

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        user_items: Any = None,
        exclude_seen: bool = True,
        exclude_items: Any = None,
        candidate_items: Any = None,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rank items for users, best first; ties go to the lower item number.

        Parameters
        ----------
        users : id, array of ids, or None
            Users of the fit. Here and in all that follows, an id is a raw id where the model was fitted on
            `Interactions`, else a row number. None: users the model has not seen, given by `user_items` and folded in.
        k : int
            Length of the lists.
        user_items : sparse matrix, shape (len(users), n_items) or (n_users, n_items), or Interactions, optional
            Interactions to leave out instead of those of the fit: one row for each of `users`, or the whole matrix.
            With ``users=None`` also what the users are known by. In Interactions they are found by their ids, and all
            of them must be there.
        exclude_seen : bool
            Leave out the items that a user has interacted with.
        exclude_items : array of ids, optional
            Items that nobody gets.
        candidate_items : array of ids, or a list of such, or a sparse matrix, optional
            The only items that anybody gets; a list of lists, a table or a matrix has a row for each of `users`. In a
            matrix they are what is not 0 (or False).

        Returns
        -------
        ids : array, shape (len(users), k), or (k,) for a single user
            Items: row numbers (int32) or raw ids. Places that no item fills hold -1, or None where ids are no numbers;
            where an item is called -1, the scores tell it from such a place.
        scores : array of the same shape
            Their scores; -inf where no item is, and nowhere else.

        Raises
        ------
        NotFittedError
            Before `fit`.
        IndexError
            If a user or an item is unknown.
        ValueError
            If `k` is below 1 or `user_items` has the wrong shape.
        """
        item_factors = self._side("item")
        k = check_integer("k", k, 1)
        check_boolean("exclude_seen", exclude_seen)
        seen: CSR | None
        if users is None:
            queries, seen = self._new_users(user_items)
            shape: tuple[int, ...] = (len(queries), k)
        else:
            ids = self._numbers("users", users, "user")
            shape = (*ids.shape, k)
            ids = ids.reshape(-1)
            seen = self._seen(ids, user_items) if exclude_seen or user_items is not None else None
            queries = self._take("user", ids)
        exclude = (seen.indptr, seen.indices) if exclude_seen and seen is not None else None
        candidates = self._allowed(exclude_items, candidate_items, queries=len(queries))
        best, scores = self._rank(queries, item_factors, k, exclude, candidates)
        return self._raw(best.reshape(shape), "item"), scores.reshape(shape)

    def predict(self, users: Any, items: Any) -> Any:
        """Score pairs of users and items.

        Parameters
        ----------
        users, items : id or array of ids
            Broadcast against each other.

        Returns
        -------
        float or array
            The predictions, from dot products accumulated in float64, in the shape that the two broadcast to.
        """
        self._check_fitted()
        rows, columns = self._numbers("users", users, "user"), self._numbers("items", items, "item")
        try:
            rows, columns = np.broadcast_arrays(rows, columns)
        except ValueError:
            raise ValueError(
                f"users and items must broadcast against each other, got shapes {rows.shape} and {columns.shape}: "
                "pass two lists of one length, or users[:, None] for all pairs"
            ) from None
        out = self._score_pairs(rows.reshape(-1), columns.reshape(-1))
        return float(out[0]) if rows.ndim == 0 else out.reshape(rows.shape)

    def similar_items(
        self, items: Any, k: int = 10, *, exclude_items: Any = None, candidate_items: Any = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the items whose factors point the same way, by cosine; an item is not its own neighbour.

        Parameters
        ----------
        items : id or array of ids
        k : int
            Length of the lists.
        exclude_items, candidate_items : array of ids, optional
            Items never returned, and the only ones returned.

        Returns
        -------
        ids : array, shape (len(items), k), or (k,) for a single item
            As `recommend` returns them.
        cosines : array of the same shape
            Between -1 and 1; -inf where no item is. An item without interactions has cosine 0 to all others.
        """
        return self._similar(items, k, exclude_items, candidate_items, "item")

    def similar_users(
        self, users: Any, k: int = 10, *, exclude_users: Any = None, candidate_users: Any = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the users whose factors point the same way, by cosine. As `similar_items`."""
        return self._similar(users, k, exclude_users, candidate_users, "user")

    def cold_start(
        self,
        k: int = 10,
        *,
        method: str = "auto",
        user_items: Any = None,
        features: Any = None,
        new_features: Any = None,
        n_neighbours: int = 20,
        min_count: int | None = None,
        exclude_items: Any = None,
        candidate_items: Any = None,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rank items for users of whom little or nothing is known.

        Parameters
        ----------
        k : int
            Length of the lists.
        method : {"auto", "mean", "popularity", "neighbours", "fold_in"}
            | ``"mean"``: as for the mean user, whose factors are the average of all users'.
            | ``"popularity"``: by the number of positive interactions of each item, which are the scores.
            | ``"neighbours"``: as for the average of the users whose other characteristics are alike, weighted by
              the cosine between `features` and `new_features`.
            | ``"fold_in"``: as for users who have answered a few questions, `user_items`; what they answered is left
              out of their lists.
            | ``"auto"``: fold_in where `user_items` is given, neighbours where `new_features` is, else mean.
        user_items : as for `fit`, shape (m, n_items), optional
            The answers of the new users.
        features : array or sparse matrix, shape (n_users, d), optional
            Characteristics of the users of the fit, such as age or country (encoded as 0 and 1), of like scale.
        new_features : array or sparse matrix, shape (m, d) or (d,), optional
            Those of the new users.
        n_neighbours : int
            How many of the nearest users are averaged.
        min_count : int, optional
            Only items with at least so many interactions, as long as k items have them. By default 20 for models of
            ratings and swipes, whose lists would otherwise be led by items that one or two users praised, and 0 for
            the others. Without interactions (a model saved without them) nothing is counted.
        exclude_items, candidate_items : array of ids, optional
            Items that nobody gets, and the only ones that anybody gets.

        Returns
        -------
        ids : array, shape (m, k), or (k,) for the mean user, popularity and one row of `new_features`
        scores : array of the same shape
            As `recommend` returns them.

        Raises
        ------
        NotFittedError, TypeError, ValueError, IndexError
            As `recommend`, and where what is given does not fit the method.
        """
        users, items = self._factors()
        k = check_integer("k", k, 1)
        method = _cold_start.choose_method(method, user_items, features, new_features)
        chosen = self._allowed(exclude_items, candidate_items)
        if isinstance(chosen, tuple):
            raise ValueError("candidate_items must be one list of items for all new users, got a list of lists")
        least = check_integer("min_count", self._min_count if min_count is None else min_count, 0)
        known_rows = getattr(self, "interactions_", None)
        if least and known_rows is not None and known_rows.shape[1] == len(items):
            chosen = _cold_start.well_known(known_rows, chosen, least, k)
        if method == "fold_in":
            candidates = None if chosen is None else self._raw(chosen, "item")
            return self.recommend(None, k, user_items=user_items, candidate_items=candidates)
        if method == "popularity":
            counts = _cold_start.popularity(known_rows, len(items))
            ids, scores = self._top_k(np.ones((1, 1)), counts[:, None], k, None, chosen)
        elif method == "mean":
            ids, scores = self._rank(self._mean_row("user")[None], items, k, None, chosen)
        else:
            known, new = _cold_start.unit_features(features, new_features, len(users))
            nearest = self._top_k(new, known, check_integer("n_neighbours", n_neighbours, 1), None, None)
            queries = _cold_start.blend(*nearest, users, self._mean_row("user"))
            ids, scores = self._rank(queries, items, k, None, chosen)
        ids = self._raw(ids, "item")
        return (ids, scores) if method == "neighbours" and np.ndim(new_features) != 1 else (ids[0], scores[0])

    def save(self, path: str | os.PathLike[str], *, interactions: bool = True) -> None:
        """Write the model to one safetensors file, atomically: a crash leaves an old file whole.

        Parameters
        ----------
        path : path
        interactions : bool
            Keep the interactions of the fit in the file. Without them a loaded model needs `user_items` to leave out
            seen items. A `random_state` that is not a number is not kept.
        """
        self._check_fitted()
        check_boolean("interactions", interactions)
        _storage.save(self, path, interactions)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path
        mmap : bool
            Map the factors into memory, read-only, instead of reading them: several processes then share one copy.

        Raises
        ------
        ModelFileError
            If the file is damaged, is no model, or is from a newer version.
        """
        check_boolean("mmap", mmap)
        model: Self = _storage.load(cls, path, mmap)
        return model

    def fold_in_users(self, user_items: Any) -> NDArray[Any]:
        """Return factors for users that the model has not seen; overridden by the models that can."""
        raise TypeError(f"{type(self).__name__} cannot fold in new users, got user_items of shape {user_items.shape}")

    # What subclasses use

    def _backend(self) -> Backend:
        return active_backend() if self.backend == "auto" else get_backend(self.backend)

    def _score_pairs(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[Any]:
        """Predict pairs."""
        return self._score(*self._factors(), users, items)

    def _score(
        self, X: NDArray[Any], Y: NDArray[Any], users: NDArray[np.int64], items: NDArray[np.int64], **facts: Any
    ) -> NDArray[Any]:
        """Predict pairs with the factors given, and with the facts that go with them if they are not the model's."""
        return self._link(self._products(X, Y, users, items), **facts)

    def _products(
        self, X: NDArray[Any], Y: NDArray[Any], users: NDArray[np.int64], items: NDArray[np.int64]
    ) -> NDArray[Any]:
        """Return the dot products of pairs."""
        out = np.empty(users.size, X.dtype)
        threads = resolve_num_threads(self.num_threads)
        self._backend().score_pairs(
            np.ascontiguousarray(users), np.ascontiguousarray(items), np.ascontiguousarray(X), np.ascontiguousarray(Y),
            out, threads,
        )  # fmt: skip
        return out

    def _truth(self, rows: CSR) -> NDArray[Any]:
        """Return what the predictions of the observed pairs should be."""
        return rows.data

    def _mean_row(self, kind: str) -> NDArray[Any]:
        """Return the mean user's (or item's) factors."""
        side = self._factors()[0 if kind == "user" else 1]
        mean: NDArray[Any] = side.mean(axis=0, dtype=np.float64).astype(side.dtype)
        return mean

    def _link(self, scores: NDArray[Any], **facts: Any) -> NDArray[Any]:  # noqa: ARG002
        """Turn dot products into predictions: a monotone function, so that the ranking is that of the dot products."""
        return scores

    def _chosen(self, rows: CSR) -> dict[str, Any]:  # noqa: ARG002
        """Return the parameters that may be "auto" as a fit of these rows would have them."""
        return {}

    def _latent(self, factors: NDArray[Any]) -> NDArray[Any]:
        """Return the columns in which similar rows are alike: all that are not biases."""
        return factors

    def _check_rows(self, name: str, rows: Any, dtype: np.dtype[Any], copy: bool = False) -> CSR:
        """Return users' (or items') interactions in canonical form."""
        return check_interactions(name, rows, dtype, copy)

    def _known_columns(self, name: str, rows: Any, fixed: NDArray[Any], kind: str, own: int) -> CSR:
        """Return rows in canonical form whose columns are the rows of `fixed`, which are of this kind."""
        rows = self._matrix(name, rows, kind)
        check_columns(name, rows, len(fixed), kind, own)
        return self._check_rows(name, rows, fixed.dtype)

    def _rank(
        self, queries: NDArray[Any], items: NDArray[Any], k: int, exclude: Any, candidates: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Return the best items and their predictions; only those are put through the link."""
        ids, scores = self._top_k(queries, items, k, exclude, candidates)
        found = ids >= 0
        scores[found] = self._link(scores[found])
        return ids, scores

    def _top_k(
        self, queries: NDArray[Any], items: NDArray[Any], k: int, exclude: Any, candidates: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        ids = np.empty((len(queries), k), np.int32)
        scores = np.empty((len(queries), k), queries.dtype)
        threads = resolve_num_threads(self.num_threads)
        self._backend().top_k(queries, items, k, exclude, candidates, ids, scores, threads)
        return ids, scores

    def _similar(self, ids: Any, k: int, exclude: Any, candidates: Any, kind: str) -> tuple[NDArray[Any], NDArray[Any]]:
        factors = self._side(kind)
        rows = self._numbers(f"{kind}s", ids, kind)
        k = check_integer("k", k, 1)
        allowed = self._allowed(exclude, candidates, kind, rows.size)
        if kind == "item":  # of users there may be many more, and they are asked for less often
            columns = self._latent(factors).shape[1]  # with biases or without, as a parameter says
            unit = self._derived(f"directions in {columns} columns", factors, self._directions)
        else:
            unit = self._directions(factors)
        flat = rows.reshape(-1)
        itself = (np.arange(len(flat) + 1), flat)
        best, cosines = self._top_k(np.ascontiguousarray(unit[flat]), unit, k, itself, allowed)
        np.clip(cosines, -1, 1, out=cosines, where=best >= 0)  # rounding
        return self._raw(best.reshape(*rows.shape, k), kind), cosines.reshape(*rows.shape, k)

    def _directions(self, factors: NDArray[Any]) -> NDArray[Any]:
        """Return the factors without biases, each row of length 1."""
        factors = self._latent(factors)
        norms = np.sqrt(np.einsum("if,if->i", factors, factors, dtype=np.float64))
        norms[norms == 0] = 1
        return np.asarray(factors / norms[:, None], factors.dtype)
