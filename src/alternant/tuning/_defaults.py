"""Defaults of `tune` for each model: the space, the metric and the values of "auto" parameters."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.csr import CSR
from ..data.interactions import Interactions
from ..data.validation import check_interactions
from ..models import FactorModel
from ..models._parameters import AUTO
from ..models.priors.prior import STRENGTHS

if TYPE_CHECKING:
    from .._typing import Rated


def default_space(
    model: type[FactorModel] | FactorModel, interactions: Rated | None = None, *, features: bool = False
) -> dict[str, Any]:
    """Return the default search space of a model, a dict for `tune` that may be modified.

    The ranges cover the good values found on data sets of 600 to 30,000 users (page visits, ratings, hours played,
    listening counts). The space leaves out `factors`, whose number is a question of cost, and `iterations` and
    `epochs`, since `tune` measures a fit at several of them and keeps the best.

    Parameters
    ----------
    model : class or instance
        The string parameters of an instance (`weighting`, `regularization_scaling`) determine the ranges.
    interactions : as for the model's `fit`, optional
        Interactions to fit; ranges around the value that ``"auto"`` chooses depend on them.
    features : bool
        Whether the fits have features, whose regularization is then searched, too.

    Returns
    -------
    dict
        A space for `tune`.

    Raises
    ------
    TypeError, ValueError
        If the model has no default space, or its space depends on the interactions and none are given.
    """
    instance = model() if isinstance(model, type) else model
    space = instance.search_space(None if interactions is None else _rows(interactions))
    if features:
        space |= {"feature_regularization": list(FEATURE_REGULARIZATION)}
    if features and "feature_weight" in instance.get_params():
        space |= {"feature_weight": FEATURE_WEIGHT}
    return space


# Strengths among which "auto" chooses; the last all but leaves the features out.
FEATURE_REGULARIZATION = ("auto", *STRENGTHS[::-1])
FEATURE_WEIGHT = (0.3, 30.0, "log")


@dataclass(frozen=True)
class ObjectiveMetric:
    """The metric of a search; with `among_rated`, only each user's test items are ranked."""

    metric: str
    among_rated: bool = False


def objective_metric(model: FactorModel, interactions: Any, validation: Any, metric: Any) -> ObjectiveMetric:
    """Return the given metric, or the default for the model's feedback.

    For likes and dislikes, only the user's test items are ranked: in rankings of the whole catalogue, most items that
    count as wrong were never seen. Without dislikes, the AUC ranks likes against all other items.
    """
    if metric is not None:
        return ObjectiveMetric(metric)
    if model.traits.feedback == "ratings":
        return ObjectiveMetric("rmse")
    if model.traits.feedback == "likes":
        matrix = validation[0] if isinstance(validation, tuple) and validation else interactions
        matrix = matrix.matrix if isinstance(matrix, Interactions) else matrix
        has_dislikes = (np.asarray(matrix.tocsr().data) == 0).any()
        return ObjectiveMetric("ndcg@20", among_rated=True) if has_dislikes else ObjectiveMetric("auc")
    return ObjectiveMetric("ndcg@20")


def own_values(model: FactorModel, interactions: Any) -> dict[str, Any]:
    """Return a model's parameters, with "auto" replaced by the values chosen for the interactions, if they are."""
    own = model.get_params()
    auto = [name for name, value in own.items() if isinstance(value, str) and value == AUTO and name != "backend"]
    if not auto:
        return own
    chosen = model.auto_parameters(_rows(interactions))
    return own | {name: chosen[name] for name in auto if name in chosen}


@dataclass(frozen=True)
class Rescoring:
    """A parameter that only scales the scores of items, so that one fit serves all of its values."""

    name: str
    low: float
    high: float

    @property
    def step(self) -> float:
        """The initial step of the line search."""
        return (self.high - self.low) / 6


def rescoring_of(model: FactorModel, space: Any) -> Rescoring | None:
    """Return the model's rescored parameter, if the space has a range for it."""
    name = model.rescored_parameter
    bounds = space.get(name or "")
    if name is None or not isinstance(bounds, tuple) or len(bounds) != 2:
        return None
    if len(space) == 1 or all(isinstance(bound, Integral) for bound in bounds):  # no other parameter to fit
        return None
    return Rescoring(name, float(bounds[0]), float(bounds[1]))


def _rows(interactions: Any) -> CSR:
    matrix = interactions.matrix if isinstance(interactions, Interactions) else interactions
    return check_interactions("interactions", matrix, np.dtype(np.float32))
