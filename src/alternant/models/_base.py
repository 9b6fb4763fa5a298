"""What all factor models share: rank by dot product, score pairs, find neighbours, save and load."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_boolean, check_choice, check_integer
from ..data.csr import CSR
from ..data.validation import check_columns, check_interactions
from ..kernels import get_backend
from ..kernels._registry import Backend, active_backend
from . import _storage
from ._cold_start import ColdStart
from ._histories import Histories
from ._parameters import Parameters
from ._raw_ids import RawIds
from ._serving import UNKNOWN_USERS, Serving
from ._sklearn import ScikitLearnModel
from ._state import NotFittedError as NotFittedError  # where it has always been
from ._traits import DescribedModel


class FactorModel(Serving, ColdStart, Histories, RawIds, ScikitLearnModel, DescribedModel, Parameters):
    """A model that ranks by the dot product of a user's and an item's factors.

    A subclass states its `traits`, and provides the constructor parameters `num_threads` and `backend`, a `fit` that
    sets the attributes below, and, where it can solve rows it has not seen, `fold_in_users`. Where the prediction is a
    monotone function of the dot product, `_link` is that function; where it is a cosine, `_ranked` returns unit
    vectors; where columns of the factors are biases, `_latent` leaves them out; where a stored zero is a value,
    `_check_rows` keeps it.

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
        unknown: str = "raise",
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
        unknown : {"raise", "empty", "cold_start"}
            What users get whom the model does not know, so that the others get their lists: an error for all, a list
            without items, or the list of `cold_start`.

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
            If an item is unknown or, unless `unknown` says otherwise, a user.
        TypeError
            If ids are of a type that no id of the fit has.
        ValueError
            If `k` is below 1 or `user_items` has the wrong shape.
        """
        item_factors = self._side("item")
        k = check_integer("k", k, 1)
        check_boolean("exclude_seen", exclude_seen)
        check_choice("unknown", unknown, UNKNOWN_USERS)
        seen: CSR | None
        absent: NDArray[Any] = np.empty(0, np.int64)
        if users is None:
            queries, seen = self._new_users(user_items)
            shape: tuple[int, ...] = (len(queries), k)
        else:
            ids, _ = self._asked("users", users, "user", unknown)
            shape = (*ids.shape, k)
            ids = ids.reshape(-1)
            absent, ids = np.flatnonzero(ids < 0), np.maximum(ids, 0)  # any row will do for those
            seen = self._seen(ids, user_items) if exclude_seen or user_items is not None else None
            queries = self._take("user", ids)
        exclude = (seen.indptr, seen.indices) if exclude_seen and seen is not None else None
        candidates = self._allowed(exclude_items, candidate_items, queries=len(queries))
        best, scores = self._rank(queries, item_factors, k, exclude, candidates)
        if len(absent):
            best[absent], scores[absent] = self._list_of_unknown(unknown, k, exclude_items, candidate_items)
        return self._raw(best.reshape(shape), "item"), scores.reshape(shape)

    def predict(self, users: Any, items: Any, *, unknown: str = "raise") -> Any:
        """Score pairs of users and items.

        Parameters
        ----------
        users, items : id or array of ids
            Broadcast against each other.
        unknown : {"raise", "nan"}
            What becomes of pairs of which the model does not know the user or the item: an error, or NaN.

        Returns
        -------
        float or array
            The predictions, from dot products accumulated in float64, in the shape that the two broadcast to.
        """
        self._check_fitted()
        check_choice("unknown", unknown, ("raise", "nan"))
        rows, columns = self._asked("users", users, "user", unknown)[0], self._asked("items", items, "item", unknown)[0]
        try:
            rows, columns = np.broadcast_arrays(rows, columns)
        except ValueError:
            raise ValueError(
                f"users and items must broadcast against each other, got shapes {rows.shape} and {columns.shape}: "
                "pass two lists of one length, or users[:, None] for all pairs"
            ) from None
        out = self._score_pairs(np.maximum(rows, 0).reshape(-1), np.maximum(columns, 0).reshape(-1))
        out[((rows < 0) | (columns < 0)).reshape(-1)] = np.nan
        return float(out[0]) if rows.ndim == 0 else out.reshape(rows.shape)

    def similar_items(
        self,
        items: Any,
        k: int = 10,
        *,
        exclude_items: Any = None,
        candidate_items: Any = None,
        unknown: str = "raise",
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the items whose factors point the same way, by cosine; an item is not its own neighbour.

        Parameters
        ----------
        items : id or array of ids
        k : int
            Length of the lists.
        exclude_items, candidate_items : array of ids, optional
            Items never returned, and the only ones returned.
        unknown : {"raise", "empty"}
            What becomes of items that the model does not know: an error for all, or a list without neighbours.

        Returns
        -------
        ids : array, shape (len(items), k), or (k,) for a single item
            As `recommend` returns them.
        cosines : array of the same shape
            Between -1 and 1; -inf where no item is. An item without interactions has cosine 0 to all others.
        """
        return self._similar(items, k, exclude_items, candidate_items, "item", unknown)

    def similar_users(
        self,
        users: Any,
        k: int = 10,
        *,
        exclude_users: Any = None,
        candidate_users: Any = None,
        unknown: str = "raise",
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the users whose factors point the same way, by cosine. As `similar_items`."""
        return self._similar(users, k, exclude_users, candidate_users, "user", unknown)

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
        self, X: NDArray[Any], Y: NDArray[Any], users: NDArray[np.int64], items: NDArray[np.int64], **state: Any
    ) -> NDArray[Any]:
        """Predict pairs with the factors given, and with the state that goes with them if they are not the model's."""
        return self._link(self._products(X, Y, users, items), **state)

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

    def _link(self, scores: NDArray[Any], **state: Any) -> NDArray[Any]:
        """Turn dot products into predictions: a monotone function, so that the ranking is that of the dot products."""
        return scores

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

    def _count_above(
        self, queries: NDArray[Any], items: NDArray[Any], seen: CSR | None, relevant: CSR
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count, for each relevant item of vectors that `_ranked` returned, the items above it and those equal."""
        above, equal = np.empty(len(relevant.indices), np.int64), np.empty(len(relevant.indices), np.int64)
        self._backend().count_above(
            np.ascontiguousarray(queries), items, None if seen is None else (seen.indptr, seen.indices),
            relevant.indptr, relevant.indices, above, equal, resolve_num_threads(self.num_threads),
        )  # fmt: skip
        return above, equal

    def _similar(
        self, ids: Any, k: int, exclude: Any, candidates: Any, kind: str, unknown: str
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        factors = self._side(kind)
        check_choice("unknown", unknown, ("raise", "empty"))
        rows, _ = self._asked(f"{kind}s", ids, kind, unknown)
        k = check_integer("k", k, 1)
        allowed = self._allowed(exclude, candidates, kind, rows.size)
        best, cosines = self._neighbours(factors, np.maximum(rows, 0).reshape(-1), k, allowed, kind)
        np.clip(cosines, -1, 1, out=cosines, where=best >= 0)  # rounding
        absent = rows.reshape(-1) < 0
        best[absent], cosines[absent] = -1, -np.inf
        return self._raw(best.reshape(*rows.shape, k), kind), cosines.reshape(*rows.shape, k)

    def _neighbours(
        self, factors: NDArray[Any], rows: NDArray[np.int64], k: int, candidates: Any, kind: str
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Return the rows of a side that are most like some of them, and how much."""
        if kind == "item":  # of users there may be many more, and they are asked for less often
            columns = self._latent(factors).shape[1]  # with biases or without, as a parameter says
            unit = self._derived(f"directions in {columns} columns", factors, self._directions)
        else:
            unit = self._directions(factors)
        itself = (np.arange(len(rows) + 1), rows)
        return self._top_k(np.ascontiguousarray(unit[rows]), unit, k, itself, candidates)

    def _directions(self, factors: NDArray[Any]) -> NDArray[Any]:
        """Return the factors without biases, each row of length 1."""
        factors = self._latent(factors)
        norms = np.sqrt(np.einsum("if,if->i", factors, factors, dtype=np.float64))
        norms[norms == 0] = 1
        return np.asarray(factors / norms[:, None], factors.dtype)
