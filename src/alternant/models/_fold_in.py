"""Factors for new users and items, and for those whose interactions have changed since the fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data.append import refuse_other_types
from ..data.csr import CSR
from ..data.interactions import Interactions
from ..data.validation import check_ids, row_numbers
from ._base import FactorModel
from ._given_factors import from_factors
from ._memory import refuse_copy
from ._sklearn import Transformer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._typing import Rated, Reals


class FoldInUsersModel(FactorModel):
    """A model that computes factors of new users with the items fixed; a subclass defines `_fold_in`."""

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None
    ) -> NDArray[Any]:
        """Return factors of rows (`kind`: "user" or "item"; `numbers`: of rows of the model) with the other side fixed.

        In a `FeatureModel` there is one more argument: the checked features of the rows.
        """
        raise TypeError(f"{type(self).__name__} cannot fold in new {kind}s")

    def fold_in_users(self, user_items: Any) -> Any:
        """Compute factors for users from their interactions, with the items fixed; the model is not changed.

        A model fitted by least squares solves each user's problem as a half-sweep of the fit does, with the same
        solver; conjugate gradients run with a tolerance of 1e-6 (or `tol`, if that is lower), since no later iteration
        refines the result. A model fitted by gradient descent starts from the mean user and takes the steps of `epochs`
        epochs, with the items fixed.

        Parameters
        ----------
        user_items : as for `fit`, shape (m, n_items)
            Interactions of the users.

        Returns
        -------
        array, shape (m, columns of `user_factors`)
            A user without interactions gets the factors of the mean user; in `ExplicitALS`, factors and a bias of 0.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the number of columns of `user_items` is not the number of items of the model.
        """
        users, items = self._factors()
        return self._fold_in(self._known_columns("user_items", user_items, items, "item", len(users)), items, "user")

    def partial_fit_users(self, users: Any, user_items: Rated) -> Self:
        """Replace the interactions and factors of users, or append new users, with the items fixed.

        Parameters
        ----------
        users : int or array of int, or raw ids
            Row numbers: existing rows are replaced; numbers from ``n_users`` on are appended and must leave no gap. If
            the model was fitted on `Interactions`, raw ids: new ones are appended in their order.
        user_items : as for `fit`, shape (len(users), n_items), or Interactions that contain the users
            All interactions of these users, not only the new ones.

        Returns
        -------
        self
        """
        return self._partial_fit(users, user_items, "user")

    def _partial_fit(self, ids: Any, rows: Any, kind: str, features: Any = None) -> Self:
        self._refuse_during_fit(f"partial_fit_{kind}s")
        users, items = self._factors()
        own, other, name = (users, items, "user_items") if kind == "user" else (items, users, "item_users")
        other_kind = {"user": "item", "item": "user"}[kind]
        if rows is None and features is None:
            raise ValueError(
                f"{name} must hold all interactions of these {kind}s, got None: pass a matrix or Interactions with a "
                "row for each"
            )
        known_ids, named = self._ids_of(kind), None
        if known_ids is None:
            ids = np.atleast_1d(row_numbers(f"{kind}s", ids, kind))
            ids = check_ids(f"{kind}s", ids, len(own), kind, new=ids.size)
        else:
            raw = np.atleast_1d(known_ids.as_array(f"{kind}s", ids))
            ids, added = known_ids.provisional(f"{kind}s", raw)
            if isinstance(rows, Interactions):
                self._refuse_absent(name, rows, kind, raw)
            refuse_other_types(f"{kind}s", kind, known_ids, added, bool((ids < len(known_ids)).any()))
            if rows is not None:
                rows = self._matrix(name, rows, other_kind, rows_of=raw)
            named = known_ids.extended(added)
        if rows is not None:
            rows = self._known_columns(name, rows, other, other_kind, len(own))
        if ids.ndim != 1:
            raise ValueError(f"{kind}s must be a list of {kind} row numbers, got {ids.ndim} dimensions")
        new = self._own_rows(ids, kind) if rows is None else rows
        if new.shape[0] != len(ids):
            raise ValueError(f"{name} must have one row for each of the {ids.size} {kind}s, got {new.shape[0]} rows")
        distinct, count = np.unique(ids), max(len(own), ids.max(initial=-1) + 1)
        if len(distinct) < len(ids):
            raise ValueError(f"{kind}s must be distinct, got {len(ids) - len(distinct)} duplicates: pass each once")
        if count - len(own) != (distinct >= len(own)).sum():
            raise IndexError(
                f"{kind}s to append must be numbered from {len(own)} without gaps, got {distinct[-1]}"
            )
        given = None
        if features is not None:
            wanted = None if known_ids is None else raw
            given = self._row_features(f"{kind}_features", features, kind, len(ids), wanted)
        known = getattr(self, "interactions_", None)
        if known is not None and known.shape != (len(users), len(items)):  # the factors were set by hand
            known = None
        if known is not None:
            refuse_copy(known, self.bytes_per_pair, f"partial_fit_{kind}s")
        solved = self._fold_in(new, other, kind, ids, **({} if given is None else {"given": given}))
        factors = self._with_rows(own, ids, solved, count)
        if known is not None and kind == "user":
            known = known.replace(ids, new)
        elif known is not None:
            known = known.transpose().replace(ids, new).transpose()
        state = {
            f"{kind}_factors": factors, "interactions_": known, f"_{kind}_ids": named,
            "partial_share_": getattr(self, "partial_share_", 0.0),
        }  # fmt: skip
        self._assign(**state, **self._partial_state(kind, ids, new), **self._partial_prior(kind, ids, given))
        return self

    def _own_rows(self, numbers: NDArray[np.int64], kind: str) -> CSR:
        """Return the interactions of rows of the model, and empty rows for numbers beyond them."""
        users, items = self._factors()
        known: CSR | None = getattr(self, "interactions_", None)
        own, other = (users, items) if kind == "user" else (items, users)
        there = numbers < len(own)
        if known is not None and known.shape == (len(users), len(items)):
            rows = (known if kind == "user" else known.transpose()).take(np.where(there, numbers, -1))
            return replace(rows, data=rows.data.astype(other.dtype))
        if there.any():
            raise ValueError(
                f"known {kind}s keep their interactions, but this model does not have them (it was saved without them, "
                f"or its factors were set by hand): pass {'user_items' if kind == 'user' else 'item_users'}, too"
            )
        empty = np.zeros(len(numbers) + 1, np.int64), np.empty(0, np.int32), np.empty(0, other.dtype)
        return CSR(*empty, (len(numbers), len(other)))

    def _partial_state(self, kind: str, numbers: NDArray[np.int64], rows: CSR) -> dict[str, Any]:
        """Return further attributes that change when rows are replaced or appended."""
        return {}

    def _row_features(self, name: str, features: Any, kind: str, count: int | None, wanted: Any = None) -> Any:
        """Return the checked features of rows; see `FeatureModel`."""
        raise TypeError(f"{type(self).__name__} has no features: leave out {name}")

    def _partial_prior(self, kind: str, numbers: NDArray[np.int64], given: Any) -> dict[str, Any]:
        """Return what changes with the features of rows, as attributes; see `FeatureModel`."""
        return {}

    def _with_rows(
        self, own: NDArray[Any], numbers: NDArray[np.int64], solved: NDArray[Any], count: int
    ) -> NDArray[Any]:
        """Return the factors of a side with some rows replaced, and rows appended up to `count`."""
        factors = np.zeros((count, own.shape[1]), own.dtype)
        factors[: len(own)] = own
        factors[numbers] = solved
        return factors


class FoldInModel(FoldInUsersModel, Transformer):
    """A model that computes factors of new rows of either side with the other side fixed, and transforms users."""

    user_factors: Reals
    item_factors: Reals

    if TYPE_CHECKING:

        def fold_in_users(self, user_items: Rated) -> Reals:
            """Compute factors for users; see `FoldInUsersModel`."""

    @classmethod
    def from_factors(
        cls,
        user_factors: ArrayLike,
        item_factors: ArrayLike,
        *,
        user_biases: ArrayLike | None = None,
        item_biases: ArrayLike | None = None,
        mean: float = 0.0,
        user_ids: Any = None,
        item_ids: Any = None,
        interactions: Rated | None = None,
        **params: Any,
    ) -> Self:
        """Make a model from factors that were learned elsewhere: by another library, or on other machines.

        It recommends, predicts, saves and so on as a fitted one; fold-ins use the objective of `params`.

        Parameters
        ----------
        user_factors : array, shape (n_users, f)
        item_factors : array, shape (n_items, f)
            A score is their dot product, plus biases and mean. They are copied, in float32 unless one of them is in
            float64 or in integers.
        user_biases, item_biases : array, shape (n_users,) and (n_items,), optional
            For models with biases; 0 by default.
        mean : float
            mu, for models of ratings with biases.
        user_ids, item_ids : array of ids, shape (n_users,) and (n_items,), optional
            Raw ids of the rows. By default those of `interactions` if these are `Interactions`, else row numbers.
        interactions : as for `fit`, shape (n_users, n_items), optional
            What `recommend` excludes as seen. `Interactions` are matched by id.
        **params
            Hyper-parameters of the model, except `factors` and `dtype`, which are those of the arrays.

        Returns
        -------
        model

        Raises
        ------
        TypeError, ValueError
            If arrays, ids, interactions or parameters are invalid or do not match.

        Examples
        --------
        >>> import numpy as np
        >>> from alternant import ImplicitALS
        >>> X, Y = np.array([[1.0, 0.0]]), np.array([[0.5, 1.0], [2.0, 0.0]])
        >>> model = ImplicitALS.from_factors(X, Y, user_ids=["ann"], item_ids=["go", "chess"])
        >>> model.recommend("ann", k=1, exclude_seen=False)
        (array(['chess'], dtype=object), array([2.]))
        """
        biases, ids = (user_biases, item_biases), (user_ids, item_ids)
        model: Self = from_factors(cls, user_factors, item_factors, biases, mean, ids, interactions, params)
        return model

    def _has_biases(self) -> bool:
        """Whether the factors end in columns of biases; see `_bias_columns`."""
        return False

    def fold_in_items(self, item_users: Rated) -> Reals:
        """Compute factors for items from their interactions, with the users fixed; see `fold_in_users`.

        Parameters
        ----------
        item_users : as for `fit`, transposed, shape (m, n_users)
            One row per item.
        """
        users, items = self._factors()
        return self._fold_in(self._known_columns("item_users", item_users, users, "user", len(items)), users, "item")

    def partial_fit_items(self, items: Any, item_users: Rated) -> Self:
        """Replace the interactions and factors of items, or append new items, with the users fixed.

        Parameters
        ----------
        items : int or array of int, or raw ids
            Row numbers: existing rows are replaced; numbers from ``n_items`` on are appended and must leave no gap. If
            the model was fitted on `Interactions`, raw ids: new ones are appended in their order.
        item_users : as for `fit`, transposed, shape (len(items), n_users), or Interactions that contain the items
            All interactions of these items, not only the new ones.

        Returns
        -------
        self
        """
        return self._partial_fit(items, item_users, "item")
