"""Search spaces: ranges, choices, Optuna distributions or a function of a trial."""

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
    """A space of Optuna distributions.

    Choices that Optuna cannot store are stored as labels, their repr. A pair is stored as a fraction from 0 to 1
    between the two pairs of its range.
    """

    distributions: dict[str, Any]
    labels: dict[str, dict[Any, Any]] = field(default_factory=dict)
    pairs: dict[str, PairRange] = field(default_factory=dict)

    def draw(self, trial: Any) -> dict[str, Any]:
        """Draw the parameters of a trial."""
        return self.decode({name: _suggest(trial, name, each) for name, each in self.distributions.items()})

    def decode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Convert stored values to parameters of the model."""
        return {name: self._decode(name, value) for name, value in params.items()}

    def _decode(self, name: str, value: Any) -> Any:
        if name in self.pairs:
            return self.pairs[name].at(value)
        return self.labels[name][value] if name in self.labels else value

    def stored(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that lie in the space, as Optuna stores them."""
        stored: dict[str, Any] = {}
        for name, each in self.distributions.items():
            value = params[name]
            if name in self.pairs:
                fraction = self.pairs[name].fraction(value)
                if fraction is not None:
                    stored[name] = fraction
            elif hasattr(each, "choices"):
                labels = [label for label, choice in zip(each.choices, self._choices(name), strict=True)
                          if type(choice) is type(value) and repr(choice) == repr(value)]  # fmt: skip
                if labels:
                    stored[name] = labels[0]
            elif isinstance(value, Real) and each.low <= value <= each.high and not _off_grid(value, each):
                stored[name] = value
        return stored

    def listed(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that are choices of the space, "auto" included."""
        return {
            name: params[name] for name, each in self.distributions.items()
            if hasattr(each, "choices") and any(repr(choice) == repr(params[name]) for choice in self._choices(name))
        }  # fmt: skip

    def _choices(self, name: str) -> list[Any]:
        choices = self.distributions[name].choices
        return [self.labels[name][label] for label in choices] if name in self.labels else list(choices)

    def extremes(self) -> dict[str, list[Any]]:
        """Return the choices or the ends of the range of each parameter, to check them with the model."""
        return {
            name: self._choices(name) if hasattr(each, "choices") else self._ends(name, each)
            for name, each in self.distributions.items()
        }

    def _ends(self, name: str, distribution: Any) -> list[Any]:
        return [self._decode(name, end) for end in (distribution.low, distribution.high)]


@dataclass(frozen=True)
class PairRange:
    """A range of pairs (users, items), from one pair to another."""

    low: tuple[float, float]
    high: tuple[float, float]
    log: bool

    def at(self, fraction: float) -> tuple[float, float]:
        """Return the pair at a fraction of the range."""
        users, items = (
            low * (high / low) ** fraction if self.log else low + fraction * (high - low)
            for low, high in zip(self.low, self.high, strict=True)
        )
        return users, items

    def fraction(self, value: Any) -> float | None:
        """Return the fraction of a pair, or of a number for both sides; None outside of the range."""
        pair = value if isinstance(value, tuple) else (value, value)
        if len(pair) != 2 or not all(isinstance(each, Real) for each in pair):
            return None
        sides = zip(pair, self.low, self.high, strict=True)
        x, low, high = next((side for side in sides if side[1] != side[2]), (0.0, 0.0, 0.0))
        if low == high or (self.log and x <= 0):
            return None
        fraction = float(np.log(x / low) / np.log(high / low) if self.log else (x - low) / (high - low))
        fraction = min(max(fraction, 0.0), 1.0)
        return fraction if np.allclose(self.at(fraction), pair, rtol=1e-9, atol=1e-12) else None


@dataclass
class FunctionSpace:
    """A space given as a function of an Optuna trial."""

    function: Callable[[Any], Mapping[str, Any]]
    model: FactorModel

    def draw(self, trial: Any) -> dict[str, Any]:
        """Draw the parameters of a trial."""
        drawn = self.function(trial)
        if not isinstance(drawn, Mapping):
            raise TypeError(f"space must return a dict of parameters, got {drawn!r}")
        _check_names(drawn, self.model)
        return dict(drawn)

    def decode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the stored suggestions; the parameters made from them are unknown."""
        return dict(params)

    def stored(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing, since the values that the function may return are unknown."""
        return {}


def read_space(optuna: Any, space: Any, model: FactorModel) -> Space | FunctionSpace:
    """Validate a space against a model and return it."""
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
    """Return the distribution of a parameter; labels and pairs are added to `found`."""
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
            f"space[{name!r}] must have low below high{', both above 0 on a log scale' if log else ''}, got {given!r}"
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
            f"space[{name!r}] must go from one pair of numbers to another, all above 0 on a log scale, got {given!r}"
        )
    return PairRange((float(low[0]), float(low[1])), (float(high[0]), float(high[1])), log)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_values(space: Space, model: FactorModel) -> None:
    """Reject bounds and choices that the model rejects with every choice of any other single parameter."""
    extremes = space.extremes()
    for name, values in extremes.items():
        for value in values:
            error = _refusal(model, {name: value})
            others = ({other: choice} for other, choices in extremes.items() if other != name for choice in choices)
            if error is not None and all(_refusal(model, {name: value} | other) for other in others):
                raise about(error, f"space[{name!r}] holds {value!r}, which {type(model).__name__} rejects: ")


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
