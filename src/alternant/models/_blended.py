"""What a fitted `Blend` does: it ranks by the weighted sum of the scores of its models."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._utils.guard import Fitted
from ..data.csr import CSR
from ._fold_in import FoldInUsersModel
from ._item_weights import ItemWeightsModel, Scores
from ._stack import Stack
from .als.explanation import Explanation
from .popularity import Popularity

if TYPE_CHECKING:
    from .._typing import Rated
    from ._partial_fit import Change


class BlendedModel(ItemWeightsModel):
    """The internals of `Blend`, which has the parameters and `fit`.

    The factors of the models are never copied: those of the blend are a `Stack` of them, made when asked for. Scores of
    all items are computed for a few users at a time, as in any `ItemWeightsModel`.
    """

    models_: Any = Fitted()
    weights_: tuple[float, ...]
    scales_: tuple[float, ...]

    # Factors

    @property
    def user_factors(self) -> Any:  # type: ignore[override]
        """The factors of users of all models side by side."""
        return self._stacked("user")

    @property
    def item_factors(self) -> Any:  # type: ignore[override]
        """The factors of items of all models side by side."""
        return self._stacked("item")

    def _stacked(self, kind: str) -> Stack:
        model = self._snapshot()
        fitted: tuple[Any, ...] | None = getattr(model, "models_", None)
        if fitted is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute '{kind}_factors'")
        parts, coefficients = tuple(one._side(kind) for one in fitted), (1.0,) * len(fitted)
        if kind == "user":
            coefficients = tuple(w / scale for w, scale in zip(model.weights_, model.scales_, strict=True))
        return Stack(parts, coefficients, dtype_of(fitted))

    def _stacks_of(self, parts: list[Any]) -> tuple[Stack, Stack]:
        """Return the factors of models that were read from a file, or raise unless they fit each other."""
        users, items = (tuple(part._side(kind) for part in parts) for kind in ("user", "item"))
        if len(parts) < 2 or len({len(one) for one in users}) > 1 or len({len(one) for one in items}) > 1:
            raise ValueError("models of different users or items")
        ones, dtype = (1.0,) * len(parts), dtype_of(parts)
        return Stack(users, ones, dtype), Stack(items, ones, dtype)

    def _of_parts(self, parts: list[Any], interactions: CSR | None, fitted: dict[str, Any]) -> dict[str, Any]:
        """Return the attributes that hold models that were read from a file."""
        weights, scales = np.array(fitted["weights_"], np.float64), np.array(fitted["scales_"], np.float64)
        valid = len(weights) == len(scales) == len(parts) and np.isfinite([weights, scales]).all()
        if not valid or weights.min() < 0 or scales.min() <= 0:
            raise ValueError("weights that do not fit the models")
        share(parts, interactions)
        return {"models_": tuple(parts)}

    def _assign(self, **state: Any) -> None:
        share(state.get("models_", ()), state.get("interactions_"))
        super()._assign(**{name: value for name, value in state.items() if not name.endswith("_factors")})

    def _factors(self) -> tuple[Any, Any]:
        users, items = getattr(self, "user_factors", None), getattr(self, "item_factors", None)
        self._check_factors(users, items)
        return users, items

    def _version(self, kind: str) -> tuple[object, int] | None:
        fitted = getattr(self, "models_", None)
        return None if fitted is None else (fitted[0], 0)  # any change of factors replaces all models

    def _mean_row(self, kind: str) -> NDArray[Any]:
        side = self._stacked(kind)
        means = zip(side.coefficients, (model._mean_row(kind) for model in self.models_), strict=True)
        return np.concatenate([c * np.asarray(mean, side.dtype) for c, mean in means])

    def _weighted_sums(
        self, weights: NDArray[np.float64], neighbours: NDArray[np.int32], users: Any
    ) -> NDArray[np.float64]:
        each = zip(users.coefficients, self.models_, users.parts, strict=True)
        return np.hstack([c * model._weighted_sums(weights, neighbours, part) for c, model, part in each])

    def _latent(self, factors: Any) -> Any:
        at = self._compared()
        return self.models_[at]._latent(factors.parts[at])

    def _compared(self) -> int:
        """Return which model tells what is similar."""
        each = zip(self.weights_, self.models_, strict=True)
        useful = [at for at, (w, model) in enumerate(each) if w and not isinstance(model, Popularity)]
        return useful[0] if useful else 0

    # New users, and new events

    def fold_in_users(self, user_items: Rated) -> Stack:  # type: ignore[override]
        """Return the factors of new users: those of all models side by side.

        Parameters
        ----------
        user_items : as for `fit`, shape (m, n_items)
            Interactions of the users.

        Returns
        -------
        Stack, of m rows

        Raises
        ------
        NotFittedError, TypeError, ValueError
            Before `fit`, or if `user_items` is invalid.
        """
        stack: Stack = FoldInUsersModel.fold_in_users(self, user_items)
        return stack

    def _fold_in(self, rows: CSR, fixed: Any, kind: str, numbers: NDArray[np.int64] | None = None) -> Any:
        matrix = rows.to_scipy()
        side = self._stacked("user")
        return Stack(tuple(model.fold_in_users(matrix) for model in self.models_), side.coefficients, side.dtype)

    def _with_rows(self, own: Any, numbers: NDArray[np.int64], solved: Any, count: int) -> Any:
        """Return nothing: `_partial_state` changes the models, whose factors are those of the blend."""

    def _partial_state(self, kind: str, numbers: NDArray[np.int64], rows: CSR) -> dict[str, Any]:
        matrix = rows.to_scipy()
        return {"models_": tuple(copy.copy(model).partial_fit_users(numbers, matrix) for model in self.models_)}

    def _learn_events(self, events: Any, features: dict[str, Any]) -> bool:
        learned = super()._learn_events(events, features)
        for model in self.models_ if learned else ():  # those of this call alone
            model.__dict__["partial_share_"] = self.partial_share_
        return learned

    def _learn_from(self, change: Change) -> None:
        fitted = tuple(copy.copy(model) for model in self.models_)
        for model in fitted:
            model._learn_from(dataclasses.replace(change, rows=in_dtype_of(model, change.rows)))
        self._assign(models_=fitted, interactions_=change.rows)

    # Serving

    def _scores(self, queries: Any, items: Any) -> Scores:
        vectors, coefficients = items.split(queries)
        each = [
            (c, scores_of(model, x, y))
            for c, model, x, y in zip(coefficients, self.models_, vectors, items.parts, strict=True) if c
        ]  # fmt: skip
        dtype = items.dtype

        def scores(start: int, stop: int) -> NDArray[Any]:
            return _sum(np.asarray(c * one(start, stop), dtype) for c, one in each)

        return scores

    def _products(
        self, X: Any, Y: Any, users: NDArray[np.int64], items: NDArray[np.int64]
    ) -> NDArray[Any]:
        vectors, coefficients = Y.split(X)
        each = zip(coefficients, self.models_, vectors, Y.parts, strict=True)
        return _sum(np.asarray(c * model._products(x, y, users, items), Y.dtype) for c, model, x, y in each)

    def _neighbours(
        self, factors: Any, rows: NDArray[np.int64], k: int, candidates: Any, kind: str, shrinkage: float | None
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        at = self._compared()
        found: tuple[NDArray[np.int32], NDArray[Any]] = self.models_[at]._neighbours(
            factors.parts[at], rows, k, candidates, kind, shrinkage
        )
        return found

    def explain(self, user: Any, item: Any, *, user_items: Rated | None = None) -> Explanation:
        """Break a score down into the contributions of the items in the user's history: those of all models, added.

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
            Contributions and `remainder`, the part that does not depend on the history, sum to the score.

        Raises
        ------
        NotFittedError, IndexError, ValueError
            As `recommend`.
        TypeError
            If one of the models can't explain.
        """
        self._check_fitted()
        each = [one for one in zip(self._stacked("user").coefficients, self.models_, strict=True) if one[0]]
        for _, model in each:
            if not (hasattr(model, "explain") or isinstance(model, Popularity)):
                name = type(model).__name__
                raise TypeError(f"{name}, a part of this blend, can't explain scores: leave it out")
        i, number, history = self._number("item", item, "item"), None, None
        if user is not None:
            number = self._number("user", user, "user")
        if user is None or user_items is not None:
            rows = self._new_users(user_items)[1] if user is None else self._seen(np.array([number]), user_items)
            history = rows.to_scipy()
        sums, score = np.zeros(self._count("item") or 0), 0.0
        listed = np.zeros(len(sums), np.bool_)
        for c, model in each:
            if isinstance(model, Popularity):  # the same for all histories
                score += c * float(model.item_factors[i, 0])
                continue
            one = model.explain(number, i, user_items=history)
            np.add.at(sums, one.items, c * one.contributions)
            listed[one.items] = True
            score += c * one.score
        numbers = np.flatnonzero(listed)
        order = numbers[np.argsort(-sums[numbers], kind="stable")]
        return Explanation(score, self._raw(order, "item"), sums[order], float(score - sums[order].sum()))


def _sum(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    total: NDArray[Any] = functools.reduce(np.add, parts)
    return total


def dtype_of(models: Sequence[Any]) -> np.dtype[Any]:
    """Return the dtype of the scores, which is the widest that a model was given."""
    return np.result_type(*(getattr(model, "dtype", np.float32) for model in models))


def share(models: Sequence[Any], interactions: CSR | None) -> None:
    """Let models have the same interactions, without a copy of their positions."""
    for model in models:
        if interactions is not None:
            model.interactions_ = in_dtype_of(model, interactions)


def in_dtype_of(model: Any, rows: CSR) -> CSR:
    """Return interactions with values in the dtype of a model: the same ones if they are."""
    dtype = np.dtype(getattr(model, "dtype", rows.data.dtype))
    return rows if rows.data.dtype == dtype else dataclasses.replace(rows, data=rows.data.astype(dtype))


def scorers(models: Sequence[Any], users: NDArray[np.int64]) -> list[Scores]:
    """Return a function for each model that computes scores of a range of these users."""
    return [scores_of(model, model._take("user", users), model._side("item")) for model in models]


def scores_of(model: Any, queries: Any, items: Any) -> Scores:
    """Return a function that computes the scores of a range of users by one model."""
    if isinstance(model, ItemWeightsModel):
        return model._scores(queries, items)
    vectors, ranked = (np.ascontiguousarray(model._ranked(side)) for side in (queries, items))
    score_all = model._backend().score_all

    def scores(start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, len(ranked)), ranked.dtype)
        score_all(vectors[start:stop], ranked, out, 1)
        return out

    return scores
