"""What a search draws from: ranges, choices, distributions or a function, and a space that suits each model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from .. import models
from ..models import FactorModel


@dataclass
class Space:
    """The distributions to draw from; what Optuna can't store as a choice is stored by its repr, its label."""

    distributions: dict[str, Any]
    labels: dict[str, dict[Any, Any]] = field(default_factory=dict)

    def draw(self, trial: Any) -> dict[str, Any]:
        """Return parameters for one trial."""
        return self.decode({name: _suggest(trial, name, each) for name, each in self.distributions.items()})

    def decode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters as the model takes them."""
        return {name: self.labels[name][value] if name in self.labels else value for name, value in params.items()}

    def holding(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the parameters that could have been drawn, as Optuna stores them."""
        held: dict[str, Any] = {}
        for name, each in self.distributions.items():
            value = params[name]
            if hasattr(each, "choices"):
                labels = [label for label, choice in zip(each.choices, self._choices(name), strict=True)
                          if type(choice) is type(value) and repr(choice) == repr(value)]  # fmt: skip
                if labels:
                    held[name] = labels[0]
            elif isinstance(value, Real) and each.low <= value <= each.high and not _off_grid(value, each):
                held[name] = value
        return held

    def _choices(self, name: str) -> list[Any]:
        choices = self.distributions[name].choices
        return [self.labels[name][label] for label in choices] if name in self.labels else list(choices)

    def extremes(self) -> dict[str, list[Any]]:
        """Return for each name the values that show whether the model takes what may be drawn."""
        return {
            name: self._choices(name) if hasattr(each, "choices") else [each.low, each.high]
            for name, each in self.distributions.items()
        }


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
    if space is None:
        space = default_space(model)
    if callable(space):
        return FunctionSpace(space, model)
    if not isinstance(space, Mapping):
        raise TypeError(f"space must be a dict of ranges and choices, or a function of a trial, got {space!r}")
    if not space:
        raise ValueError("space must name at least one parameter, got none: pass None for the default space")
    _check_names(space, model)
    found = Space({})
    for name, given in space.items():
        found.distributions[name] = _distribution(optuna, name, given, found.labels)
    _check_values(found, model)
    return found


def default_space(model: type[FactorModel] | FactorModel) -> dict[str, Any]:
    """Return a space to search for a model: a dict that `tune` takes, and that can be changed before.

    The ranges are those in which good values were found for data sets from 600 to 30,000 users (page visits, ratings,
    hours played, listening counts); those of `ImplicitALS` follow Rendle et al. 2022. `iterations` and `epochs` are
    not in it: `tune` finds the best of those that a fit comes to pass. Nor is what an instance of `LogisticMF` has as
    "auto".

    Parameters
    ----------
    model : class or instance
        The parameters of an instance that are texts (`weighting`, `regularization_scaling`) decide which ranges fit.

    Returns
    -------
    dict
        As `tune` takes it.

    References
    ----------
    S. Rendle, W. Krichene, L. Zhang, Y. Koren, "Revisiting the Performance of iALS on Item Recommendation
    Benchmarks", RecSys 2022.
    """
    made = model() if isinstance(model, type) else model
    for cls, space in _DEFAULTS.items():
        if isinstance(made, cls):
            return space(made)
    raise TypeError(f"there is no default space for {type(made).__name__}: pass space=")


def _implicit_als(model: Any) -> dict[str, Any]:
    low, high = {"none": (0.01, 100.0), "count": (0.001, 10.0), "ials": (1e-4, 1.0)}[model.regularization_scaling]
    space: dict[str, Any] = {"factors": (16, 128, "log"), "regularization": (low, high, "log")}
    if model.weighting == "ials":
        return space | {"unobserved_weight": (0.003, 1.0, "log")}
    space["alpha"] = (0.3, 100.0, "log")
    return space | ({"epsilon": [0.1, 1.0, 10.0]} if model.weighting == "log" else {})


def _explicit_als(model: Any) -> dict[str, Any]:
    low, high = (0.01, 1.0) if model.regularization_scaling == "count" else (0.1, 100.0)
    return {"factors": (8, 128, "log"), "regularization": (low, high, "log")}


def _biased_mf(_: Any) -> dict[str, Any]:
    return {
        "factors": (16, 128, "log"),
        "learning_rate": (0.003, 0.06, "log"),
        "learning_rate_decay": (0.9, 1.0),
        "regularization": (0.01, 0.3, "log"),
        "bias_regularization": (0.001, 0.1, "log"),
        "init_scale": (0.03, 1.0, "log"),
    }


def _cosine_mf(_: Any) -> dict[str, Any]:
    return {
        "factors": (16, 128, "log"),
        "learning_rate": (0.01, 1.0, "log"),
        "learning_rate_decay": (0.8, 1.0),
        "init_scale": (0.3, 3.0, "log"),
    }


def _logistic_mf(model: Any) -> dict[str, Any]:
    space: dict[str, Any] = {
        "factors": (16, 128, "log"),
        "alpha": (0.15, 3.0, "log"),
        "learning_rate": (0.08, 0.6, "log") if model.optimizer == "adagrad" else (0.001, 0.1, "log"),
        "bias_regularization": (0.0001, 0.01, "log"),
    }
    if model.weighting == "log":
        space["epsilon"] = [0.1, 1.0, 10.0]
    for name, bounds in (("regularization", (0.003, 0.06, "log")), ("init_scale", (0.02, 1.0, "log"))):
        if not isinstance(getattr(model, name), str):  # "auto" is no number that the first trial could start from
            space[name] = bounds
    return space if isinstance(model.negatives, str) else space | {"negatives": [4, 6, 10]}


_DEFAULTS: dict[type[FactorModel], Callable[[Any], dict[str, Any]]] = {
    models.ImplicitALS: _implicit_als,
    models.ExplicitALS: _explicit_als,
    models.BiasedMF: _biased_mf,
    models.CosineMF: _cosine_mf,
    models.LogisticMF: _logistic_mf,
    models.Popularity: lambda _: {"weighted": [False, True]},
}


def _check_names(names: Mapping[str, Any], model: FactorModel) -> None:
    known = model.get_params()
    for name in names:
        if name not in known:
            raise ValueError(f"{type(model).__name__} has no parameter {name!r} to search; it has {', '.join(known)}")


def _distribution(optuna: Any, name: str, given: Any, labels: dict[str, dict[Any, Any]]) -> Any:
    """Return the distribution that is meant; `labels` gets those of choices that Optuna can't store."""
    kinds = optuna.distributions
    if isinstance(given, kinds.BaseDistribution):
        return given
    if isinstance(given, list):
        if not given:
            raise ValueError(f"space[{name!r}] must hold at least one choice, got an empty list")
        if all(value is None or isinstance(value, (bool, int, float, str)) for value in given):
            return kinds.CategoricalDistribution(given)
        labels[name] = {repr(value): value for value in given}
        return kinds.CategoricalDistribution(list(labels[name]))
    bounds = given[:2] if isinstance(given, tuple) else ()
    numbers = len(bounds) == 2 and all(isinstance(value, Real) and not isinstance(value, bool) for value in bounds)
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


def _check_values(space: Space, model: FactorModel) -> None:
    """Refuse bounds and choices that the model refuses, whatever is chosen for one other parameter."""
    extremes = space.extremes()
    for name, values in extremes.items():
        for value in values:
            error = _refusal(model, {name: value})
            others = ({other: choice} for other, choices in extremes.items() if other != name for choice in choices)
            if error is not None and all(_refusal(model, {name: value} | other) for other in others):
                raise type(error)(f"space[{name!r}] holds {value!r}, which {type(model).__name__} refuses: {error}")


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
