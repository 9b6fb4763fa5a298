"""What `tune` does for each model when it is not told: the space, the metric, what own parameters stand for."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from ..data.csr import CSR
from ..data.interactions import Interactions
from ..data.validation import check_interactions
from ..models import FactorModel
from ..models.als.implicit_defaults import AUTO


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
    return made.search_space(None if interactions is None else _rows(interactions))


@dataclass(frozen=True)
class Aim:
    """What a search measures: a metric of `evaluate`, or, `among_rated`, one of lists of test pairs alone."""

    metric: str
    among_rated: bool = False


def default_aim(model: FactorModel, interactions: Any, validation: Any, metric: Any) -> Aim:
    """Return what to measure: the metric that is given, or what the model is for.

    Models of likes and dislikes say which of two items that a user came across was liked. So lists are
    made of the user's test pairs alone, liked and disliked: in lists of the whole catalogue most of what counts as
    wrong was never seen. Without dislikes there is nothing else to tell likes from.
    """
    if metric is not None:
        return Aim(metric)
    if model.traits.feedback == "ratings":
        return Aim("rmse")
    if model.traits.feedback == "likes":
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
    low: float
    high: float

    @property
    def step(self) -> float:
        """How far apart values are tried at first."""
        return (self.high - self.low) / 6


def rescoring_of(model: FactorModel, space: dict[str, Any]) -> Rescoring | None:
    """Return what of a space needs no fit of its own, if there is something and it is a range."""
    name = model.rescored_parameter
    bounds = space.get(name or "")
    if name is None or not isinstance(bounds, tuple) or len(bounds) != 2:
        return None
    if len(space) == 1 or all(isinstance(bound, Integral) for bound in bounds):  # there is nothing else to fit with
        return None
    return Rescoring(name, float(bounds[0]), float(bounds[1]))


def _rows(interactions: Any) -> CSR:
    matrix = interactions.matrix if isinstance(interactions, Interactions) else interactions
    return check_interactions("interactions", matrix, np.dtype(np.float32))
