"""Users' histories: the interactions of the fit, or others that are passed in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.messages import parameter, refusal
from ..data.csr import CSR
from ..data.interactions import Interactions


class Histories:
    """The part of a model that looks up the interactions of users."""

    def _new_users(self, user_items: Any, user_features: Any = None) -> tuple[NDArray[Any], CSR]:
        """Return the factors of new users, and their interactions."""
        model: Any = self
        if user_features is not None:
            model._check_fitted()
            return self._new_users_with_features(user_items, user_features)
        if user_items is None:
            raise ValueError(
                "user_items must hold the interactions of new users, got None: pass them, or ids of users of the fit"
            )
        model._check_fitted()
        user_items = model._matrix("user_items", user_items, "item")
        queries = model.fold_in_users(user_items)
        return queries, model._check_rows("user_items", user_items, queries.dtype)

    def _new_users_with_features(self, user_items: Any, user_features: Any) -> tuple[NDArray[Any], CSR]:
        """Return the factors of new users with features, and their interactions; see `FeatureModel`."""
        raise TypeError(f"{type(self).__name__} has no features: leave out user_features")

    def _seen(self, users: NDArray[np.int64], user_items: Any, names: NDArray[Any] | None = None) -> CSR:
        """Return the interactions of users, one row each: from `user_items`, or (None) those of the fit.

        Users that the model does not know (-1) have those of `user_items`, looked up by their `names` in Interactions.
        """
        model: Any = self
        model._check_fitted()
        n_users, n_items = model._count("user"), model._count("item")
        if user_items is None:
            known: CSR | None = getattr(self, "interactions_", None)
            if known is None or known.shape != (n_users, n_items):
                raise refusal(
                    ValueError,
                    "the interactions of the fit are needed, but this model does not have them (it was saved without "
                    f"them, or its factors were set by hand): pass user_items, or {parameter('exclude_seen', False)} "
                    "if this call has it",
                )
            return known.take(users)
        if isinstance(user_items, Interactions) and model._ids_of("user") is not None:
            user_items = user_items._snapshot()
            names = model._raw(users, "user") if names is None else names
            model._refuse_absent("user_items", user_items, "user", names[users >= 0])
            every: CSR = model._known_columns("user_items", user_items, model._side("item"), "item", -1)
            return every.take(user_items._users.find(names))
        seen: CSR = model._known_columns("user_items", user_items, model._side("item"), "item", n_users)
        if seen.shape[0] not in (len(users), n_users):
            raise ValueError(
                f"user_items must have one row for each of the {len(users)} users, or for each of the {n_users} users "
                f"of the fit, got {seen.shape[0]} rows: pass user_items[users]"
            )
        if seen.shape[0] != n_users or np.array_equal(users, np.arange(n_users)):
            return seen
        if len(users) == n_users:
            raise ValueError(
                f"user_items is ambiguous: its {len(users)} rows may be in the order of users or in that of the fit: "
                f"pass users=numpy.arange({len(users)}), for which the two are the same"
            )
        return seen.take(users)
