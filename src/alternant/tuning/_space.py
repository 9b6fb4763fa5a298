"""What a search draws from: ranges, choices, distributions or a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np

from .._utils.messages import about
from ..models import FactorModel


@dataclass
class Space:
    """The distributions to draw from; what Optuna can't store as a choice is stored by its repr, its label.

    A pair is stored as the place between the two that it is drawn from, from 0 to 1.
    """

    distributions: dict[str, Any]
    labels: dict[str, dict[Any, Any]] = field(default_factory=dict)
    pairs: dict[str, PairRange] = field(default_factory=dict)

    def draw(self, trial: Any) -> dict[str, Any]:
        """Return parameters for one trial."""
        return self.decode({name: _suggest(trial, name, each) for name, each in self.distributions.items()})

    def decode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters as the model takes them."""
        return {name: self._decode(name, value) for name, value in params.items()}

    def _decode(self, name: str, value: Any) -> Any:
        if name in self.pairs:
            return self.pairs[name].at(value)
        return self.labels[name][value] if name in self.labels else value

    def holding(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the parameters that could have been drawn, as Optuna stores them."""
        held: dict[str, Any] = {}
        for name, each in self.distributions.items():
            value = params[name]
            if name in self.pairs:
                place = self.pairs[name].place(value)
                if place is not None:
                    held[name] = place
            elif hasattr(each, "choices"):
                labels = [label for label, choice in zip(each.choices, self._choices(name), strict=True)
                          if type(choice) is type(value) and repr(choice) == repr(value)]  # fmt: skip
                if labels:
                    held[name] = labels[0]
            elif isinstance(value, Real) and each.low <= value <= each.high and not _off_grid(value, each):
                held[name] = value
        return held

    def chosen_as_they_are(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the parameters that are among the choices of the space, "auto" included."""
        return {
            name: params[name] for name, each in self.distributions.items()
            if hasattr(each, "choices") and any(repr(choice) == repr(params[name]) for choice in self._choices(name))
        }  # fmt: skip

    def _choices(self, name: str) -> list[Any]:
        choices = self.distributions[name].choices
        return [self.labels[name][label] for label in choices] if name in self.labels else list(choices)

    def extremes(self) -> dict[str, list[Any]]:
        """Return for each name the values that show whether the model takes what may be drawn."""
        return {
            name: self._choices(name) if hasattr(each, "choices") else self._ends(name, each)
            for name, each in self.distributions.items()
        }

    def _ends(self, name: str, distribution: Any) -> list[Any]:
        return [self._decode(name, end) for end in (distribution.low, distribution.high)]


@dataclass(frozen=True)
class PairRange:
    """Pairs of numbers, one for each side of a model, that move together from one to another."""

    low: tuple[float, float]
    high: tuple[float, float]
    log: bool

    def at(self, place: float) -> tuple[float, float]:
        """Return the pair at a place from 0 to 1."""
        users, items = (
            low * (high / low) ** place if self.log else low + place * (high - low)
            for low, high in zip(self.low, self.high, strict=True)
        )
        return users, items

    def place(self, value: Any) -> float | None:
        """Return where a pair, or a number for both sides, is; None where it is not among them."""
        pair = value if isinstance(value, tuple) else (value, value)
        if len(pair) != 2 or not all(isinstance(one, Real) for one in pair):
            return None
        sides = zip(pair, self.low, self.high, strict=True)
        one, low, high = next((side for side in sides if side[1] != side[2]), (0.0, 0.0, 0.0))
        if low == high or (self.log and one <= 0):
            return None
        place = float(np.log(one / low) / np.log(high / low) if self.log else (one - low) / (high - low))
        place = min(max(place, 0.0), 1.0)
        return place if np.allclose(self.at(place), pair, rtol=1e-9, atol=1e-12) else None


@dataclass
class FunctionSpace:
    """A function that draws from a trial."""

    function: Callable[[Any], Mapping[str, Any]]
    model: FactorModel

    def draw(self, trial: Any) -> dict[str, Any]:
        """Return parameters for one trial."""
        drawn = self.function(trial)
        if not isinstance(drawn, Mapping):
            raise TypeError(f"space must return a dict of parameters for a trial, got {drawn!r}")
        _check_names(drawn, self.model)
        return dict(drawn)

    def decode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was suggested to the function, which is all that Optuna stores."""
        return dict(params)

    def holding(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing: what a function may return is not known."""
        return {}


def read_space(optuna: Any, space: Any, model: FactorModel) -> Space | FunctionSpace:
    """Return the space to search, once the model is known to take what it holds."""
    if callable(space):
        return FunctionSpace(space, model)
    if not isinstance(space, Mapping):
        raise TypeError(f"space must be a dict of ranges and choices, or a function of a trial, got {space!r}")
    if not space:
        raise ValueError("space must name at least one parameter, got none: pass None for the default space")
    _check_names(space, model)
    found = Space({})
    for name, given in space.items():
        found.distributions[name] = _distribution(optuna, name, given, found)
    _check_values(found, model)
    return found


def _check_names(names: Mapping[str, Any], model: FactorModel) -> None:
    known = model.get_params()
    for name in names:
        if name not in known:
            raise ValueError(f"{type(model).__name__} has no parameter {name!r} to search; it has {', '.join(known)}")


def _distribution(optuna: Any, name: str, given: Any, found: Space) -> Any:
    """Return the distribution that is meant; the space gets what Optuna can't store."""
    kinds = optuna.distributions
    if isinstance(given, kinds.BaseDistribution):
        return given
    if isinstance(given, list):
        if not given:
            raise ValueError(f"space[{name!r}] must hold at least one choice, got an empty list")
        if all(value is None or isinstance(value, (bool, int, float, str)) for value in given):
            return kinds.CategoricalDistribution(given)
        found.labels[name] = {repr(value): value for value in given}
        return kinds.CategoricalDistribution(list(found.labels[name]))
    bounds = given[:2] if isinstance(given, tuple) else ()
    if len(bounds) == 2 and all(isinstance(value, tuple) for value in bounds):
        found.pairs[name] = _pair_range(name, given)
        return kinds.FloatDistribution(0.0, 1.0)
    numbers = len(bounds) == 2 and all(_is_number(value) for value in bounds)
    if not numbers or tuple(given[2:]) not in ((), ("log",)):
        raise TypeError(
            f"space[{name!r}] must be (low, high), (low, high, 'log'), a list of choices or an Optuna distribution, "
            f"got {given!r}"
        )
    low, high = bounds
    log = len(given) == 3
    if not low < high or (log and low <= 0):
        raise ValueError(
            f"space[{name!r}] must have low below high{' and above 0 to be logarithmic' if log else ''}, got {given!r}"
        )
    if isinstance(low, Integral) and isinstance(high, Integral):
        return kinds.IntDistribution(int(low), int(high), log=log)
    return kinds.FloatDistribution(float(low), float(high), log=log)


def _pair_range(name: str, given: tuple[Any, ...]) -> PairRange:
    low, high = given[:2]
    log = given[2:] == ("log",)
    numbers = all(len(pair) == 2 and all(_is_number(value) for value in pair) for pair in (low, high))
    if not numbers or low == high or not (log or len(given) == 2) or (log and min(*low, *high) <= 0):
        raise ValueError(
            f"space[{name!r}] must lead from one pair of numbers to another, both above 0 to be logarithmic, got "
            f"{given!r}"
        )
    return PairRange((float(low[0]), float(low[1])), (float(high[0]), float(high[1])), log)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_values(space: Space, model: FactorModel) -> None:
    """Refuse bounds and choices that the model refuses, whatever is chosen for one other parameter."""
    extremes = space.extremes()
    for name, values in extremes.items():
        for value in values:
            error = _refusal(model, {name: value})
            others = ({other: choice} for other, choices in extremes.items() if other != name for choice in choices)
            if error is not None and all(_refusal(model, {name: value} | other) for other in others):
                raise about(error, f"space[{name!r}] holds {value!r}, which {type(model).__name__} refuses: ")


def _refusal(model: FactorModel, params: dict[str, Any]) -> Exception | None:
    try:
        type(model)(**{**model.get_params(), **params})
    except (TypeError, ValueError) as error:
        return error
    return None


def _off_grid(value: Any, distribution: Any) -> bool:
    step = distribution.step
    if not isinstance(value, Integral) and isinstance(distribution.low, Integral):
        return True
    return step is not None and abs((value - distribution.low) / step - round((value - distribution.low) / step)) > 1e-9


def _suggest(trial: Any, name: str, distribution: Any) -> Any:
    if hasattr(distribution, "choices"):
        return trial.suggest_categorical(name, distribution.choices)
    suggest = trial.suggest_int if isinstance(distribution.low, Integral) else trial.suggest_float
    return suggest(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
