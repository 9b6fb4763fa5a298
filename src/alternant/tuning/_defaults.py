"""What `tune` does for each model when it is not told: the space, the metric, what own parameters stand for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from .. import models
from ..data.csr import CSR
from ..data.interactions import Interactions
from ..data.validation import check_interactions
from ..models import FactorModel
from ..models.als.implicit_defaults import AUTO, OF_ALL_PAIRS


def default_space(model: type[FactorModel] | FactorModel, interactions: Any = None) -> dict[str, Any]:
    """Return a space to search for a model: a dict that `tune` takes, and that can be changed before.

    The ranges are those in which good values were found for data sets from 600 to 30,000 users (page visits, ratings,
    hours played, listening counts). `factors` is not in it: how many there are is a matter of what they may cost.
    `iterations` and `epochs` are not either: `tune` finds the best of those that a fit comes to pass.

    Parameters
    ----------
    model : class or instance
        The parameters of an instance that are texts (`weighting`, `regularization_scaling`) decide which ranges fit.
    interactions : as for the model's `fit`, optional
        What the model will be fitted on: ranges around what ``"auto"`` chooses are for these.

    Returns
    -------
    dict
        As `tune` takes it.

    Raises
    ------
    TypeError, ValueError
        If there is no space for the model, or it needs the interactions.
    """
    made = model() if isinstance(model, type) else model
    if isinstance(made, models.Popularity):
        raise ValueError(
            "Popularity has nothing to tune: fit it as it is, or pass space={'weighted': [False, True]} to compare both"
        )
    for cls, space in _SPACES.items():
        if isinstance(made, cls):
            return space(made, None if interactions is None else _rows(interactions))
    raise TypeError(f"there is no default space for {type(made).__name__}: pass space=")


@dataclass(frozen=True)
class Aim:
    """What a search measures: a metric of `evaluate`, or, `among_rated`, one of lists of test pairs alone."""

    metric: str
    among_rated: bool = False


def default_aim(model: FactorModel, interactions: Any, validation: Any, metric: Any) -> Aim:
    """Return what to measure: the metric that is given, or what the model is for.

    Cosines are learned from likes and dislikes, and say which of two that a user came across was liked. So lists are
    made of the user's test pairs alone, liked and disliked: in lists of the whole catalogue most of what counts as
    wrong was never seen. Without dislikes there is nothing else to tell likes from.
    """
    if metric is not None:
        return Aim(metric)
    if model._rates:
        return Aim("rmse")
    if isinstance(model, models.CosineMF):
        matrix = validation[0] if isinstance(validation, tuple) and validation else interactions
        matrix = matrix.matrix if isinstance(matrix, Interactions) else matrix
        return Aim("ndcg@20", True) if (np.asarray(matrix.tocsr().data) == 0).any() else Aim("auc")
    return Aim("ndcg@20")


def own_values(model: FactorModel, interactions: Any) -> dict[str, Any]:
    """Return a model's parameters, where they are "auto" as the interactions have them chosen."""
    own = model.get_params()
    open_ones = [name for name, value in own.items() if isinstance(value, str) and value == AUTO and name != "backend"]
    if not open_ones:
        return own
    chosen = model._chosen(_rows(interactions))
    return own | {name: chosen[name] for name in open_ones}


@dataclass(frozen=True)
class Rescoring:
    """A parameter that only scales the items' scores, so that one fit serves for many values of it."""

    name: str
    rescored: Callable[[Any, float], Any]
    low: float = 0.0
    high: float = 1.0

    @property
    def step(self) -> float:
        """How far apart values are tried at first."""
        return (self.high - self.low) / 6


def rescoring_of(model: FactorModel, space: dict[str, Any]) -> Rescoring | None:
    """Return what of a space needs no fit of its own, if there is something and it is a range."""
    name = _BY_POPULARITY.name
    bounds = space.get(name)
    if not isinstance(model, models.ImplicitALS) or not isinstance(bounds, tuple) or len(bounds) != 2:
        return None
    if len(space) == 1 or all(isinstance(bound, Integral) for bound in bounds):  # there is nothing else to fit with
        return None
    return replace(_BY_POPULARITY, low=float(bounds[0]), high=float(bounds[1]))


def _rescored(model: Any, exponent: float) -> Any:
    """Return a view of a model that ranks with another `popularity_exponent`."""
    items = model.item_factors
    degrees = np.maximum(np.bincount(model.interactions_.indices, minlength=len(items)), 1).astype(np.float64)
    by = degrees ** (exponent - model.popularity_exponent_)
    view = copy.copy(model)
    view.item_factors = items * by.astype(items.dtype)[:, None]
    return view


_BY_POPULARITY = Rescoring("popularity_exponent", _rescored)


def _rows(interactions: Any) -> CSR:
    matrix = interactions.matrix if isinstance(interactions, Interactions) else interactions
    return check_interactions("interactions", matrix, np.dtype(np.float32))


def _implicit_als(model: Any, rows: CSR | None) -> dict[str, Any]:
    """Return ranges around what "auto" chooses for these interactions."""
    if rows is None:
        raise ValueError(
            "the space of ImplicitALS lies around what 'auto' chooses: pass the interactions to choose for"
        )
    chosen = model._chosen(rows)
    users, items = chosen["regularization"]
    if min(users, items) <= 0:  # nothing to lie around
        users, items = type(model)(**model.get_params() | {"regularization": AUTO})._chosen(rows)["regularization"]
    space: dict[str, Any] = {"regularization": ((users / 16, items / 16), (users * 4, items * 4), "log")}
    if chosen["weighting"] in OF_ALL_PAIRS:
        w0 = chosen["unobserved_weight"]
        space["unobserved_weight"] = (w0 * 2**-2.5, w0 * 2**2.5, "log") if w0 > 0 else (0.003, 1.0, "log")
    if chosen["weighting"] != "ials":  # where sizes count
        alpha = chosen["alpha"] or 1.0
        space["alpha"] = (alpha / 16, alpha * 16, "log")
    if model.weighting != AUTO:  # the objective of a paper, which has no normalization
        return space
    of_users = chosen["degree_normalization"][0]
    return space | {
        "degree_normalization": ((of_users, 0.0), (of_users, 0.5)),
        "popularity_exponent": (0.0, 0.6),
    }


def _explicit_als(model: Any, _: CSR | None) -> dict[str, Any]:
    low, high = (0.01, 1.0) if model.regularization_scaling == "count" else (0.1, 100.0)
    return {"regularization": (low, high, "log")}


def _biased_mf(*_: Any) -> dict[str, Any]:
    return {
        "learning_rate": (0.003, 0.06, "log"),
        "learning_rate_decay": (0.9, 1.0),
        "regularization": (0.01, 0.3, "log"),
        "bias_regularization": (0.001, 0.1, "log"),
        "init_scale": (0.03, 1.0, "log"),
    }


def _cosine_mf(*_: Any) -> dict[str, Any]:
    return {
        "learning_rate": (0.01, 1.0, "log"),
        "learning_rate_decay": (0.8, 1.0),
        "init_scale": (0.3, 3.0, "log"),
    }


def _logistic_mf(model: Any, _: CSR | None) -> dict[str, Any]:
    space: dict[str, Any] = {
        "alpha": (0.15, 3.0, "log"),
        "learning_rate": (0.08, 0.6, "log") if model.optimizer == "adagrad" else (0.001, 0.1, "log"),
        "regularization": (0.003, 0.06, "log"),
        "bias_regularization": (0.0001, 0.01, "log"),
        "init_scale": (0.01, 1.0, "log"),
    }
    if model.weighting == "log":
        space["epsilon"] = [0.1, 1.0, 10.0]
    return space if isinstance(model.negatives, str) else space | {"negatives": [4, 6, 10]}


_SPACES: dict[type[FactorModel], Callable[[Any, CSR | None], dict[str, Any]]] = {
    models.ImplicitALS: _implicit_als,
    models.ExplicitALS: _explicit_als,
    models.BiasedMF: _biased_mf,
    models.CosineMF: _cosine_mf,
    models.LogisticMF: _logistic_mf,
}
