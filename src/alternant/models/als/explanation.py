"""Explanations of a score by the contributions of the user's interactions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.csr import CSR
from .._bulk import refuse_features_of_known_users
from .._feature_model import row_ids
from .basis import Basis
from .implicit_objective import ImplicitObjective, cached_basis
from .problems import RowProblems


class Explanation(NamedTuple):
    """A score, broken down into the contributions of the items in the user's history.

    Attributes
    ----------
    score : float
        The predicted score.
    items : array
        The ids of the items in the user's history, by descending contribution.
    contributions : float64 array
        The contribution of each of these items; they sum to the score (for `EASE` and `Blend`, with
        `remainder`).
    remainder : float
        The part of the score that is due to the user's factors not solving the user's problem exactly (the solver's
        tolerance, and item factors newer than the user's). It is distributed over `contributions` in proportion to
        their absolute values. For `EASE` and `Blend`, the part that does not depend on the
        history, which is not distributed.
    features : float
        The share of the user's features: what the prior mean that they imply, multiplied by lambda, contributes. 0 for
        a model without features of users.
    """

    score: float
    items: NDArray[Any]
    contributions: NDArray[np.float64]
    remainder: float
    features: float = 0.0


def explain(model: Any, user: Any, item: Any, user_items: Any, user_features: Any = None) -> Explanation:
    """Explain a score; see `ImplicitALS.explain`."""
    users, items = model._factors()
    i = model._number("item", item, "item")
    numbers, given = None, None
    if user is None:
        x, history = model._new_users(user_items, user_features)
        if user_features is not None:
            given = model._row_features("user_features", user_features, "user", len(x), row_ids(user_items, "user"))
        score = float(x[0].astype(np.float64) @ items[i]) if len(x) == 1 else np.nan
    else:
        refuse_features_of_known_users(user_features)
        u = model._number("user", user, "user")
        numbers = np.array([u])
        history = model._seen(np.array([u]), user_items)
        score = float(model._score(users, items, np.array([u]), np.array([i]))[0])
    if history.shape[0] != 1:
        raise ValueError(f"user_items must have 1 row, that of the user, got {history.shape[0]}")
    objective = model._objective()
    basis = cached_basis(model, items, "item", objective, model._solver(fold_in=True))
    means = model._means("user", 1, items.dtype, numbers, given)
    if means is not None and not len(history.indices):  # the factors are the prior mean itself
        return Explanation(score, model._raw(history.indices, "item"), np.empty(0), 0.0, score)
    problem = objective.problems(history, "user", numbers)
    if means is not None:
        problem = objective.around(problem, means)
    history_items, contributions, remainder, share = break_down(history, i, score, objective, basis, problem)
    return Explanation(score, model._raw(history_items, "item"), contributions, remainder, share)


def break_down(
    history: CSR, item: int, score: float, objective: ImplicitObjective, basis: Basis, problem: RowProblems
) -> tuple[NDArray[np.int64], NDArray[np.float64], float, float]:  # fmt: skip
    """Return the items of a user's history by descending contribution, these, the remainder and the features' share."""
    y = basis.factors[history.indices].astype(np.float64)
    A = np.diag(basis.diagonal.astype(np.float64) + float(problem.regularization[0]))
    A += (y.T * problem.weight) @ y
    influence = np.linalg.lstsq(A, basis.factors[item].astype(np.float64), rcond=None)[0] * objective.score_scale(item)
    contributions = problem.targets() * (y @ influence)
    share = 0.0
    if problem.linear is not None and basis.outer is not None:
        linear = problem.linear[0].astype(np.float64) @ basis.outer.matrix
        share = float(linear @ influence[: len(linear)])
    remainder = score - contributions.sum() - share
    size = np.abs(contributions)
    if size.any():
        contributions += remainder * (size / size.sum())
    order = np.argsort(-contributions, kind="stable")
    return history.indices[order].astype(np.int64), contributions[order], float(remainder), share
