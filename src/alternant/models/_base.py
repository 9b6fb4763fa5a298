"""The base class of factor models: ranking by dot product, predictions, similar items and users, saving, loading."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from .._utils.memory import available_bytes
from .._utils.messages import parameter, refusal
from .._utils.threads import resolve_num_threads
from .._utils.validation import check_boolean, check_choice, check_integer
from ..data.csr import CSR
from ..data.dense import as_sparse
from ..data.validation import check_columns, check_interactions, shape_of
from ..kernels import get_backend
from ..kernels._registry import Backend, active_backend
from . import _storage
from ._bulk import UNKNOWN_USERS, refuse_features_of_known_users
from ._cold_start import ColdStart, without_seen
from ._display import DisplayedModel
from ._histories import Histories
from ._options import refuse_unknown
from ._parameters import Parameters
from ._partial_fit import PartialFit
from ._serving import Serving
from ._similar import Similar
from ._sklearn import ScikitLearnModel
from ._state import NotFittedError as NotFittedError  # re-exported
from ._traits import DescribedModel

if TYPE_CHECKING:
    from .._typing import Featured, Lists, Many, Rated, Reals, Scalar, Unknown


PRODUCTS_PER_CALL = 1 << 34  # of the kernels that rank, between two checks for Ctrl-C
SECONDS_PER_CALL = 0.5  # what they take on two cores, unless most items can be passed over
PLACE = 32  # bytes of a place in a list: number, score, raw id
FEWEST_QUERIES = 512  # of a call: the items are packed anew in each


class FactorModel(
    Serving, Similar, ColdStart, Histories, PartialFit, ScikitLearnModel, DescribedModel, DisplayedModel, Parameters
):
    """A model that ranks by the dot product of a user's and an item's factors.

    A subclass defines `traits`, the constructor parameters `num_threads` and `backend`, a `fit` that sets the
    attributes below and, if it supports new users, `fold_in_users`. It overrides `_link` if the prediction is a
    monotone function of the dot product, `_ranked` (to return unit vectors) if it is a cosine, `_latent` if some
    columns of the factors are biases, and `_check_rows` if a stored zero is a value.

    Threads. Any number of threads may call the methods that do not change the model: those in `_reading`, which run on
    a snapshot taken when they begin. Methods that change it, those in `_changing`, exclude each other. Readers see the
    model before or after a change, never in between: never one side's factors with the other side's ids, never a
    half-written row. `fit` is a single change, too: its callback, in its own thread, sees the result of each iteration;
    other threads see the new model, its attributes included, once `fit` has finished. Reading one attribute is safe at
    any time, but two reads may see two different states: ``copy.copy(model)`` is a consistent snapshot, which copies
    only factors that change in place. Locks are neither copied nor pickled, and a forked child has its own.
    `set_backend` applies to all threads, `use_backend` to one.

    A subclass sets its fitted attributes in a single call of `_assign`; its reading methods set none.

    Attributes
    ----------
    user_factors : array, shape (n_users, f)
    item_factors : array, shape (n_items, f)
    interactions_ : CSR or None
        The interactions of the fit, which `recommend` excludes as seen.
    partial_share_ : float
        The share of them that `partial_fit` has added since the last fit.
    """

    num_threads: int | None
    backend: str
    user_factors: Any  # an array, but `SparseRows` in an `ItemWeightsModel`
    item_factors: NDArray[Any]
    interactions_: CSR | None

    _reading = (
        "recommend", "recommend_frame", "recommend_all", "query_vectors", "predict", "similar_items", "similar_users",
        "cold_start", "explain", "fold_in_users", "fold_in_items", "half_sweep", "score", "save", "get_params",
        "search_space", "iteration_work", "fit_memory", "auto_parameters", "rescored", "transform",
        "get_feature_names_out", "__repr__", "__getstate__",
    )  # fmt: skip
    _changing = (
        "fit", "fit_transform", "update", "partial_fit", "partial_fit_users", "partial_fit_items", "set_params",
        "set_output",
    )  # fmt: skip

    if TYPE_CHECKING:  # subclasses define it, with their own arguments

        def fit(self, interactions: Any, /, *args: Any, **options: Any) -> Self:
            """Fit the model."""

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        user_items: Rated | None = None,
        user_features: Featured | None = None,
        exclude_seen: bool = True,
        exclude_items: Any = None,
        candidate_items: Any = None,
        unknown: Unknown = "raise",
    ) -> Lists:
        """Rank items for users, best first; ties are broken by the lower row number.

        Parameters
        ----------
        users : id, array of ids, or None
            Users of the fit. Ids of users and items are raw ids if the model was fitted on `Interactions`, else row
            numbers. None: new users, folded in from `user_items`.
        k : int
            Number of items per user.
        user_items : sparse matrix, shape (len(users), n_items) or (n_users, n_items), or Interactions, optional
            Interactions to exclude instead of those of the fit, with one row for each of `users` or for each user of
            the fit. With ``users=None``, the new users' interactions, which are also folded in. In `Interactions`,
            users are looked up by id, and all whom the model knows must be present.
        user_features : as for `fit`, shape (m, d), optional
            With ``users=None`` and a model that was fitted with features of users: features of the new users, beside
            or in place of `user_items`.
        exclude_seen : bool
            Exclude the items that a user has interacted with.
        exclude_items : array of ids, optional
            Items excluded for all users.
        candidate_items : array of ids, or a list of such, or a sparse matrix, optional
            The only items that may be recommended. A list of lists, a two-dimensional array or a sparse matrix (its
            nonzero entries) has one row for each of `users`.
        unknown : {"raise", "empty", "cold_start"}
            How to treat users that the model does not know: raise an error, return an empty list, or return the list
            of `cold_start`, without the items that `user_items` has for them.

        Returns
        -------
        ids : array, shape (len(users), k), or (k,) for a single user
            Row numbers (int32) or raw ids of the items. Unfilled positions are padded with -1 (None where ids are not
            integers); if -1 is also an item id, the scores tell the two apart.
        scores : array of the same shape
            Their scores; -inf in unfilled positions only.

        Raises
        ------
        NotFittedError
            Before `fit`.
        IndexError
            If an item or, with ``unknown="raise"``, a user is unknown.
        TypeError
            If ids are of a type that no id of the fit has.
        ValueError
            If `k` is below 1 or `user_items` has the wrong shape.
        """
        item_factors = self._side("item")
        k = check_integer("k", k, 1)
        check_boolean("exclude_seen", exclude_seen)
        check_choice("unknown", unknown, UNKNOWN_USERS)
        seen: CSR | None = None
        absent: NDArray[Any] = np.empty(0, np.int64)
        if users is None:
            queries, seen = self._new_users(user_items, user_features)
            shape: tuple[int, ...] = (len(queries), k)
        else:
            refuse_features_of_known_users(user_features)
            ids, names = self._look_up("users", users, "user", unknown)
            shape = (*ids.shape, k)
            ids = ids.reshape(-1)
            absent = np.flatnonzero(ids < 0)
            if exclude_seen or user_items is not None:
                seen = self._seen(ids, user_items, names.reshape(-1) if len(absent) else None)
            queries = self._take("user", np.maximum(ids, 0))  # row 0 stands in
        exclude = (seen.indptr, seen.indices) if exclude_seen and seen is not None else None
        candidates = self._allowed(exclude_items, candidate_items, queries=len(queries))
        best, scores = self._rank(queries, item_factors, k, exclude, candidates)
        if len(absent):
            own = seen.take(absent) if exclude is not None and seen is not None else None
            shared = self._list_for_unknown_users(unknown, k, exclude_items, candidate_items, own)
            best[absent], scores[absent] = without_seen(shared, own, k)
        return self._raw(best.reshape(shape), "item"), scores.reshape(shape)

    @overload
    def predict(self, users: Scalar, items: Scalar, *, unknown: Literal["raise", "nan"] = "raise") -> float: ...
    @overload
    def predict(self, users: Many, items: Any, *, unknown: Literal["raise", "nan"] = "raise") -> Reals: ...
    @overload
    def predict(self, users: Any, items: Many, *, unknown: Literal["raise", "nan"] = "raise") -> Reals: ...
    @overload
    def predict(self, users: Rated, items: None = None, *, unknown: Literal["raise", "nan"] = "raise") -> Reals: ...
    @overload
    def predict(self, users: Any, items: Any, *, unknown: Literal["raise", "nan"] = "raise") -> Any: ...
    def predict(self, users: Any, items: Any = None, *, unknown: Literal["raise", "nan"] = "raise") -> Any:
        """Predict pairs of users and items or, as scikit-learn does, all items for new users.

        Parameters
        ----------
        users, items : id or array of ids
            Broadcast against each other. Without `items`, `users` are the interactions of new users, as for `fit`, who
            are folded in.
        unknown : {"raise", "nan"}
            How to treat pairs whose user or item the model does not know: raise an error, or return NaN.

        Returns
        -------
        float or array
            The predictions, in the shape that `users` and `items` broadcast to; without `items`, a dense array of shape
            (m, n_items). Dot products are accumulated in float64.
        """
        self._check_fitted()
        check_choice("unknown", unknown, ("raise", "nan"))
        if items is None and shape_of(users):
            return self._predict_rows(users)
        rows, _ = self._look_up("users", users, "user", unknown)
        columns, _ = self._look_up("items", items, "item", unknown)
        try:
            rows, columns = np.broadcast_arrays(rows, columns)
        except ValueError:
            raise ValueError(
                f"users and items must broadcast against each other, got shapes {rows.shape} and {columns.shape}: "
                "pass two lists of the same length, or users[:, None] for all pairs"
            ) from None
        out = self._score_pairs(np.maximum(rows, 0).reshape(-1), np.maximum(columns, 0).reshape(-1))
        out[((rows < 0) | (columns < 0)).reshape(-1)] = np.nan
        return float(out[0]) if rows.ndim == 0 else out.reshape(rows.shape)

    def save(self, path: str | os.PathLike[str], *, interactions: bool = True) -> None:
        """Write the model to one safetensors file, atomically: after a crash, an existing file is intact.

        Parameters
        ----------
        path : path
        interactions : bool
            Store the interactions of the fit, too. Without them, the loaded model needs `user_items` to exclude seen
            items. A `random_state` that is not an integer is not stored.
        """
        self._check_fitted()
        check_boolean("interactions", interactions)
        _storage.save(self, path, interactions)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> Self:
        """Load a model written by `save`.

        Parameters
        ----------
        path : path
        mmap : bool
            Memory-map the factors, interactions and ids, read-only, instead of reading them, so that several processes
            share one copy, and memory holds only what is used.

        Raises
        ------
        ModelFileError
            If the file is damaged, is not a model, or was written by a newer version.
        """
        check_boolean("mmap", mmap)
        model: Self = _storage.load(cls, path, mmap)
        return model

    def fold_in_users(self, user_items: Any) -> Any:
        """Return factors for new users; overridden by models that support fold-in."""
        raise TypeError(f"{type(self).__name__} cannot fold in new users, got user_items of shape {user_items.shape}")

    # For subclasses

    def _backend(self) -> Backend:
        return active_backend() if self.backend == "auto" else get_backend(self.backend)

    def _score_pairs(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[Any]:
        """Predict pairs."""
        return self._score(*self._factors(), users, items)

    def _score(
        self, X: NDArray[Any], Y: NDArray[Any], users: NDArray[np.int64], items: NDArray[np.int64], **state: Any
    ) -> NDArray[Any]:
        """Predict pairs from the given factors, with their `state` if they are not the model's own."""
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
        """Return the target values of the predictions of the observed pairs."""
        return rows.data

    def _mean_row(self, kind: str) -> NDArray[Any]:
        """Return the mean user's (or item's) factors."""
        side = self._factors()[0 if kind == "user" else 1]
        mean: NDArray[Any] = side.mean(axis=0, dtype=np.float64).astype(side.dtype)
        return mean

    def _link(self, scores: NDArray[Any], **state: Any) -> NDArray[Any]:
        """Turn dot products into predictions, by a monotone function, which preserves the ranking."""
        return scores

    def _check_options(self, method: Callable[..., Any], options: dict[str, Any]) -> None:
        refuse_unknown(self, method, options)

    def _check_rows(self, name: str, rows: Any, dtype: np.dtype[Any], copy: bool = False) -> CSR:
        """Return users' (or items') interactions in canonical form."""
        return check_interactions(name, as_sparse(name, rows), dtype, copy)

    def _known_columns(self, name: str, rows: Any, fixed: NDArray[Any], kind: str, own: int) -> CSR:
        """Return rows in canonical form, with one column for each row of `fixed`, which are users or items (`kind`)."""
        rows = self._matrix(name, rows, kind)
        check_columns(name, rows, len(fixed), kind, own)
        return self._check_rows(name, rows, fixed.dtype)

    def _rank(
        self, queries: NDArray[Any], items: NDArray[Any], k: int, exclude: Any, candidates: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Return the best items and their predictions; the link is applied to these only."""
        ids, scores = self._top_k(queries, items, k, exclude, candidates)
        found = ids >= 0
        scores[found] = self._link(scores[found])
        return ids, scores

    def _top_k(
        self, queries: NDArray[Any], items: NDArray[Any], k: int, exclude: Any, candidates: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        _check_room(len(queries), k, len(items))
        ids = np.empty((len(queries), k), np.int32)
        scores = np.empty((len(queries), k), queries.dtype)
        threads = resolve_num_threads(self.num_threads)
        backend = self._backend()
        for part in _calls(len(queries), items):
            seen = None if exclude is None else _rows(exclude[0], exclude[1], part)
            lists = _rows(candidates[0], candidates[1], part) if isinstance(candidates, tuple) else candidates
            backend.top_k(queries[part], items, k, seen, lists, ids[part], scores[part], threads)
        return ids, scores

    def _vectors_to_count(self, factors: Any) -> Any:
        """Return vectors for `_count_above`."""
        return self._ranked(factors)

    def _count_above(
        self, queries: NDArray[Any], items: NDArray[Any], seen: CSR | None, relevant: CSR
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count, for each relevant item of what `_vectors_to_count` returned, the items above and those equal."""
        above, equal = np.empty(len(relevant.indices), np.int64), np.empty(len(relevant.indices), np.int64)
        backend, threads = self._backend(), resolve_num_threads(self.num_threads)
        for part in _calls(len(queries), items):
            exclude = None if seen is None else _rows(seen.indptr, seen.indices, part)
            entries = slice(relevant.indptr[part.start], relevant.indptr[part.stop])
            targets = _rows(relevant.indptr, relevant.indices, part)
            vectors = np.ascontiguousarray(queries[part])
            backend.count_above(
                vectors, items, exclude, targets[0], targets[1], above[entries], equal[entries], threads
            )
        return above, equal


def _check_room(lists: int, k: int, n_items: int) -> None:
    """Raise if lists that are mostly padding would take all memory, as with ``k=10**9`` for "all items"."""
    if k > n_items and lists * k * PLACE > (available_bytes() or math.inf):
        raise refusal(
            ValueError,
            f"{parameter('k')} must be at most {n_items}, the number of items, if longer lists do not fit in memory, "
            f"got {k}: pass a smaller one",
        )


def _calls(count: int, items: NDArray[Any]) -> Iterator[slice]:
    """Divide queries into calls of a kernel, between which signals are handled.

    Calls grow if the first ones end early, as most queries look at few items if norms differ.
    """
    step, start = max(FEWEST_QUERIES, PRODUCTS_PER_CALL // max(1, items.size)), 0
    while start < count:
        begun = time.perf_counter()
        yield slice(start, min(start + step, count))
        start += step
        step = int(step * min(8.0, max(1.0, SECONDS_PER_CALL / (time.perf_counter() - begun + 1e-9))))


def _rows(indptr: NDArray[np.int64], indices: NDArray[Any], part: slice) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return some rows of a sparse pattern."""
    first, last = indptr[part.start], indptr[part.stop]
    return indptr[part.start : part.stop + 1] - first, indices[first:last]
