"""Models that learn from features of users and items: fits, and new rows with features, interactions, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR
from ..data.feature_columns import FeatureColumns
from ..data.feature_matrix import check_features, encode
from ..data.features import Features
from ..data.ids import Ids
from ..data.validation import shape_of
from ._fold_in import FoldInUsersModel
from .priors.fitted_prior import FittedPrior

if TYPE_CHECKING:
    from .._typing import Featured, Rated, Reals
    from ._partial_fit import Change

# A matrix of features, whose rows are known, and what its columns stand for.
Checked = tuple[CSR, NDArray[np.bool_], FeatureColumns | None]


class FeatureModel(FoldInUsersModel):
    """A model whose factors may have a prior learned from features; a subclass checks them in its `fit`."""

    feature_regularization: Any
    feature_regularization_: tuple[float | None, float | None]
    _user_prior: FittedPrior | None = None
    _item_prior: FittedPrior | None = None

    # Fits

    def _checked_features(
        self, given: tuple[Any, Any], shape: tuple[int, int], ids: dict[str, Any]
    ) -> dict[str, Checked]:  # fmt: skip
        """Return the features of a fit by side: their matrix, which rows are known, and the columns' meaning."""
        dtype = np.dtype(self.dtype)  # type: ignore[attr-defined]
        return {
            kind: check_features(f"{kind}_features", features, count, ids[f"_{kind}_ids"], kind, dtype)
            for kind, features, count in zip(("user", "item"), given, shape, strict=True)
            if features is not None
        }

    def _strength(self, kind: str) -> float | str:
        """Return the strength of the regression of one side."""
        strengths = self.feature_regularization
        pair = strengths if isinstance(strengths, (tuple, list)) else (strengths, strengths)
        return pair[0] if kind == "user" else pair[1]  # type: ignore[no-any-return]

    def _prior(self, kind: str) -> FittedPrior | None:
        """Return the prior of one side, unless the factors were set by hand with another number of rows."""
        prior = self._user_prior if kind == "user" else self._item_prior
        return prior if prior is not None and len(prior.known) == self._count(kind) else None

    # New rows

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None,
        given: tuple[CSR, NDArray[np.bool_]] | None = None, own: NDArray[Any] | None = None,
    ) -> NDArray[Any]:  # fmt: skip
        """Return factors of rows with these features (`given`) or (None) those that the model knows of `numbers`.

        With `own`, start from these factors, with the tolerance of a fit.
        """
        raise TypeError(f"{type(self).__name__} cannot fold in new {kind}s")

    def _row_features(
        self, name: str, features: Any, kind: str, count: int | None, wanted: Any = None
    ) -> tuple[CSR, NDArray[np.bool_]]:
        """Return the features of new rows in the columns of the fit, and whether they are known."""
        prior = self._prior(kind)
        if prior is None:
            raise ValueError(
                f"{name} need a model that was fitted with {kind}_features, and this one was not: leave them out, or "
                f"call fit(interactions, {kind}_features=...)"
            )
        dtype = self._side(kind).dtype
        return encode(name, features, prior.columns, prior.features.shape[1], count, wanted, kind, dtype)

    def _means(
        self, kind: str, count: int, dtype: np.dtype[Any], numbers: NDArray[np.int64] | None,
        given: tuple[CSR, NDArray[np.bool_]] | None,
    ) -> NDArray[Any] | None:  # fmt: skip
        """Return the prior means of rows with these features or (None) of rows of the model; None without a prior."""
        prior = self._prior(kind)
        if prior is None or not prior.active:
            return None
        if given is not None:
            return prior.means(*given)
        return prior.of_rows(np.full(count, len(prior.known)) if numbers is None else numbers, dtype)

    def _fold_in_side(self, kind: str, rows: Any, features: Any) -> Any:
        """Return factors of new rows from their interactions, their features, or both."""
        users, items = self._factors()
        fixed, own, other_kind = (items, users, "item") if kind == "user" else (users, items, "user")
        name, of_features = ("user_items", "user_features") if kind == "user" else ("item_users", "item_features")
        if rows is None and features is None:
            raise ValueError(f"new {kind}s need {name}, {of_features} or both, got neither: pass one of them")
        given = None
        if rows is None:
            given = self._row_features(of_features, features, kind, None)
            empty = np.zeros(given[0].shape[0] + 1, np.int64)
            new = CSR(empty, np.empty(0, np.int32), np.empty(0, fixed.dtype), (len(empty) - 1, len(fixed)))
        else:
            new = self._known_columns(name, rows, fixed, other_kind, len(own))
            if features is not None:
                given = self._row_features(of_features, features, kind, new.shape[0], row_ids(rows, kind))
        return self._fold_in(new, fixed, kind, given=given)

    def _new_users_with_features(self, user_items: Any, user_features: Any) -> tuple[NDArray[Any], CSR]:
        queries = self.fold_in_users(user_items, user_features=user_features)
        if user_items is not None:
            matrix = self._matrix("user_items", user_items, "item")
            return queries, self._check_rows("user_items", matrix, queries.dtype)
        nothing = np.zeros(len(queries) + 1, np.int64), np.empty(0, np.int32), np.empty(0, queries.dtype)
        return queries, CSR(*nothing, (len(queries), len(self.item_factors)))

    def fold_in_users(self, user_items: Rated | None = None, *, user_features: Featured | None = None) -> Reals:
        """Compute factors for users from their interactions, their features or both; the model is not changed.

        A model fitted by least squares solves each user's problem as a half-sweep of the fit does, with the items fixed
        and the same solver; conjugate gradients run with a tolerance of 1e-6 (or `tol`, if that is lower), since no
        later iteration refines the result. In an `ImplicitALS` fitted with features of users, unobserved pairs have
        n / N of their weight if the user has n interactions, fewer than N = sum n^2 / sum n of the users of the fit:
        they have not had their chances yet. A `BPR` takes the steps of `epochs` epochs, from the mean user or from what
        the features predict, to which it is drawn after each.

        Parameters
        ----------
        user_items : as for `fit`, shape (m, n_items), optional
            Interactions of the users.
        user_features : as for `fit`, shape (m, d), optional
            Features of the users, in the columns of the fit; `Features` are matched by id to `user_items` if these are
            `Interactions`. Without them, users are like the mean user of the fit as far as features go.

        Returns
        -------
        array, shape (m, columns of `user_factors`)
            A user with features alone gets the factors that these imply. Without features, a user without interactions
            gets the factors of the mean user; in `ExplicitALS`, factors and a bias of 0.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the number of columns is not that of the fit, or the model was fitted without features of users.
        OverflowError
            If steps of a `BPR` diverge because `learning_rate` is too large.
        """
        return self._fold_in_side("user", user_items, user_features)  # type: ignore[no-any-return]

    def fold_in_items(self, item_users: Rated | None = None, *, item_features: Featured | None = None) -> Reals:
        """Compute factors for items from their interactions, their features or both; see `fold_in_users`.

        A `BPR` returns the mean of known items with similar users, drawn to what the features predict. Steps for the
        interactions are those of `partial_fit`.

        Parameters
        ----------
        item_users : as for `fit`, transposed, shape (m, n_users), optional
            One row per item.
        item_features : as for `fit`, shape (m, d), optional
        """
        return self._fold_in_side("item", item_users, item_features)  # type: ignore[no-any-return]

    def partial_fit_users(
        self, users: Any, user_items: Rated | None = None, *, user_features: Featured | None = None
    ) -> Self:
        """Replace the interactions and factors of users, or append new users, with the items fixed.

        Parameters
        ----------
        users : int or array of int, or raw ids
            Row numbers: existing rows are replaced; numbers from ``n_users`` on are appended and must leave no gap. If
            the model was fitted on `Interactions`, raw ids: new ones are appended in their order.
        user_items : as for `fit`, shape (len(users), n_items), or Interactions that contain the users, optional
            All interactions of these users, not only the new ones. If left out, known users keep theirs, and new users
            have none.
        user_features : as for `fit`, shape (len(users), d), or Features that contain the users, optional
            By default, known users keep their features.

        Returns
        -------
        self
        """
        return self._partial_fit_side(users, user_items, user_features, "user")

    def partial_fit_items(
        self, items: Any, item_users: Rated | None = None, *, item_features: Featured | None = None
    ) -> Self:
        """Replace the interactions and factors of items, or append new items, with the users fixed.

        Parameters
        ----------
        items : int or array of int, or raw ids
            Row numbers: existing rows are replaced; numbers from ``n_items`` on are appended and must leave no gap. If
            the model was fitted on `Interactions`, raw ids: new ones are appended in their order.
        item_users : as for `fit`, transposed, shape (len(items), n_users), or Interactions of the items, optional
            All interactions of these items, not only the new ones. If left out, known items keep theirs, and new items
            have none. Known items of a `BPR` keep their factors, too, but for what other features change: steps for
            their interactions are those of `partial_fit`.
        item_features : as for `fit`, shape (len(items), d), or Features that contain the items, optional
            By default, known items keep their features.

        Returns
        -------
        self
        """
        return self._partial_fit_side(items, item_users, item_features, "item")

    def partial_fit(
        self, events: Rated | tuple[Any, ...], y: Any = None, *, user_features: Featured | None = None,
        item_features: Featured | None = None,
    ) -> Self:  # fmt: skip
        """Learn from new events, without fitting anew: a day of events, those of new users and items included.

        The events are added to the interactions. In a model fitted by least squares, new items are then solved, and
        those that have grown by a quarter since they were solved last, and then all users with events; other rows do
        not change. The weights of a fit count as 1 in rows that are solved. Unobserved pairs of new rows with features
        weigh less in an `ImplicitALS`, as in `fold_in_users`; those of items that a later night solves again, the
        square root of n / N. A `BPR` folds in new rows, and takes the steps of a few epochs over all interactions.

        Parameters
        ----------
        events, y
            As for `FactorModel.partial_fit`.
        user_features, item_features : as for `fit`, optional
            Features of the new users and of the new items: `Features` that contain them, or a matrix with a row for
            each, in the order of their rows. Known ones keep their features.

        Returns
        -------
        self
        """
        return self._partial_fit_events(events, y, user_features=user_features, item_features=item_features)

    def _given_features(self, change: Change, features: dict[str, Any]) -> dict[str, Any]:
        """Return the checked features of the new rows of both sides."""
        given = {}
        for kind in ("user", "item"):
            name, new, ids = f"{kind}_features", change.new(kind), self._user_ids if kind == "user" else self._item_ids
            if features.get(name) is not None:
                shape = () if isinstance(features[name], Features) else shape_of(features[name])
                if self._prior(kind) is not None and len(shape) == 2 and shape[0] != len(new):
                    raise ValueError(
                        f"{name} must have one row for each of the {len(new)} new {kind}s, got {shape[0]} rows: leave "
                        f"out those of {kind}s that the model has"
                    )
                wanted = None if ids is None else ids.values[new]
                given[kind] = self._row_features(name, features[name], kind, len(new), wanted)
        return given

    def _partial_fit_side(self, ids: Any, rows: Any, features: Any, kind: str) -> Self:
        name = "user_items" if kind == "user" else "item_users"
        if rows is None and features is None:
            raise ValueError(f"{name} or {kind}_features must be given, got neither: pass one of them")
        return self._partial_fit(ids, rows, kind, features)

    def _partial_prior(
        self, kind: str, numbers: NDArray[np.int64], given: tuple[CSR, NDArray[np.bool_]] | None
    ) -> dict[str, Any]:
        """Return the prior with the features of some rows replaced, or of new rows appended, as attributes."""
        prior = self._prior(kind)
        if prior is None:
            return {}
        rows = prior.rows(numbers, prior.features.data.dtype) if given is None else given
        return {f"_{kind}_prior": prior.replaced(numbers, *rows)}


def row_ids(rows: Any, kind: str) -> Ids | None:
    """Return the raw ids of the rows of interactions; None if they are a matrix."""
    if isinstance(rows, (np.ndarray, list, tuple)):
        return None
    return getattr(rows, "_users" if kind == "user" else "_items", None)
