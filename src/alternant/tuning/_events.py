"""A model on `Events`: the weights of their kinds and the half-life are parameters of the model, to be searched."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from .._utils.messages import parameter, refusal
from .._utils.validation import check_number
from ..data.decay import half_life_of
from ..data.events import Events
from ..data.interactions import Interactions
from ..models import FactorModel

PREFIX = "weights."
HALF_LIFE = "half_life"
BELOW, ABOVE = 16.0, 4.0  # the range of a weight: from a 16th of the given one to four times as much
HALF_LIVES = 16.0  # the same for the half-life, in both directions
DAY = 86400.0


@dataclass(frozen=True)
class Weighting:
    """How events become interactions: the arguments of `Events.interactions`, as parameters of a search."""

    kinds: dict[str, Any]  # by the names of the parameters
    parameters: dict[str, float]
    target: str  # the parameter of the predicted kind, whose weight is kept
    in_days: bool

    @classmethod
    def of(cls, events: Events, kind: Any, weights: Any, half_life: Any) -> Weighting:
        """Return the weighting that a search starts from; raise if it is invalid."""
        if kind not in events.kinds:
            listed = ", ".join(map(repr, events.kinds))
            raise refusal(
                ValueError, f"{parameter('kind')} must be the kind of event to predict, one of {listed}, got {kind!r}"
            )
        events.interactions(weights, half_life=half_life)  # raises
        given = dict.fromkeys(events.kinds, 1.0) if weights is None else weights
        if not given[kind] > 0:
            raise ValueError(f"weights must be above 0 for the kind to predict, {kind!r}, got {given[kind]!r}")
        kind = next(one for one in events.kinds if one == kind)  # of the events, for its name: 1.0 and True are 1
        kinds = {f"{PREFIX}{one}": one for one in events.kinds}
        parameters = {name: float(given[one]) for name, one in kinds.items()}
        in_days = isinstance(half_life, (str, timedelta, np.timedelta64))
        if half_life is not None:
            width = half_life_of(half_life, dates=in_days)
            parameters[HALF_LIFE] = width / DAY if in_days else width
        return cls(kinds, parameters, f"{PREFIX}{kind}", in_days)

    def space(self) -> dict[str, Any]:
        """Return the ranges of the sizes of all weights but 0 and that of the predicted kind, and of the half-life."""
        sizes = {name: abs(self.parameters[name]) for name in self.kinds if name != self.target}
        out: dict[str, Any] = {name: (size / BELOW, size * ABOVE, "log") for name, size in sizes.items() if size}
        if HALF_LIFE in self.parameters:
            width = self.parameters[HALF_LIFE]
            out[HALF_LIFE] = (width / HALF_LIVES, width * HALF_LIVES, "log")
        return out

    @property
    def own(self) -> dict[str, float]:
        """The given parameters, weights by their size."""
        return {name: abs(value) for name, value in self.parameters.items()}

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of `Events.interactions` for the parameters of a trial, or the given ones without."""
        values = self.own | {name: value for name, value in params.items() if name in self.parameters}
        signs = {name: -1.0 if self.parameters[name] < 0 else 1.0 for name in self.kinds}
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        out: dict[str, Any] = {"weights": {kind: signs[name] * rounded[name] for name, kind in self.kinds.items()}}
        if HALF_LIFE in values:
            out[HALF_LIFE] = f"{rounded[HALF_LIFE]:g}d" if self.in_days else rounded[HALF_LIFE]
        return out

    def interactions(self, events: Any, params: Mapping[str, Any]) -> Interactions:
        """Return the interactions of events for the parameters of a trial; interactions are returned unchanged."""
        made: Interactions = events.interactions(**self.arguments(params)) if isinstance(events, Events) else events
        return made


def on_events(model: FactorModel, weighting: Weighting) -> FactorModel:
    """Return an equal model that is fitted on `Events`, and has their weighting among its parameters.

    Everything in a search then works as for any other model, whose class and parameters it asks for.
    """
    cls, own = type(model), weighting.own

    class OnEvents(cls):  # type: ignore[valid-type, misc]  # a class chosen at run time
        def __init__(self, **params: Any) -> None:
            self.__dict__.update({name: params.pop(name, value) for name, value in own.items()})
            super().__init__(**params)

        @classmethod
        def _parameter_defaults(cls_) -> dict[str, Any]:
            return cls._parameter_defaults() | own

        def _check_params(self) -> None:
            super()._check_params()
            for name in own:
                check_number(name, getattr(self, name), 0, above=name == HALF_LIFE)

        @functools.wraps(cls.fit)
        def fit(self, events: Any, **options: Any) -> Any:
            return super().fit(weighting.interactions(events, self.get_params()), **options)

        def search_space(self, rows: Any = None) -> dict[str, Any]:
            space: dict[str, Any] = super().search_space(rows)
            return space | weighting.space()

    OnEvents.__name__ = OnEvents.__qualname__ = cls.__name__  # in messages
    made: FactorModel = OnEvents(**model.get_params())
    return made


def plain(model: FactorModel, params: Mapping[str, Any]) -> tuple[FactorModel, dict[str, Any]]:
    """Return the model behind one of `on_events`, and those of the parameters that it has."""
    cls: Any = type(model).__bases__[0]
    known = cls._parameter_defaults()
    own = {name: value for name, value in params.items() if name in known}
    return cls(**{name: value for name, value in model.get_params().items() if name in known}), own
