"""Hyperparameters by scikit-learn's conventions: keyword-only, stored as given, read and set by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np

from .._utils.guard import Guarded
from .._utils.messages import parameter, refusal
from .._utils.threads import resolve_num_threads
from .._utils.validation import (
    check_boolean,
    check_choice,
    check_dtype,
    check_integer,
    check_marker,
    check_number,
    check_pair,
    check_random_state,
    check_range,
)
from ..kernels._registry import BACKENDS

AUTO = "auto"
Rule = Callable[[str, Any], object]


def integer_rule(minimum: int) -> Rule:
    """Return the check of an integer of at least `minimum`."""
    return lambda name, value: check_integer(name, value, minimum)


def number_rule(minimum: float, above: bool = False) -> Rule:
    """Return the check of a finite number of at least (or, with `above`, greater than) `minimum`."""
    return lambda name, value: check_number(name, value, minimum, above)


def none_or(rule: Rule) -> Rule:
    """Return a check that also accepts None."""
    return lambda name, value: None if value is None else rule(name, value)


def _pair(name: str, value: Any) -> None:
    check_pair(name, value, ("users", "items"))


def _share(name: str, value: Any) -> None:
    if not check_number(name, value, 0) < 1:
        raise refusal(ValueError, f"{parameter(name)} must be below 1, got {value!r}")


def _strength(name: str, value: Any) -> None:
    parts = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value,)
    for part in parts:
        if isinstance(part, str) and part == AUTO:
            continue
        if isinstance(part, (bool, str)) or not isinstance(part, Real):
            message = f"{parameter(name)} must be a number, 'auto' or a pair (users, items) of these, got {value!r}"
            raise refusal(TypeError, message)
        if not 0 < float(part) < np.inf:
            raise refusal(ValueError, f"{parameter(name)} must be greater than 0 and finite, got {value!r}")


# The check of each parameter by name, the same in all models, including new ones.
RULES: dict[str, Rule] = {
    "alpha": number_rule(0),
    "backend": lambda name, value: check_choice(name, value, (AUTO, *BACKENDS)),
    "bias_regularization": number_rule(0),
    "biases": check_boolean,
    "degree_normalization": _pair,
    "dtype": check_dtype,
    "early_stopping": none_or(number_rule(0)),
    "epochs": integer_rule(1),
    "epsilon": number_rule(0, above=True),
    "factors": integer_rule(1),
    "feature_regularization": _strength,
    "intercept": check_boolean,
    "init_scale": number_rule(0, above=True),
    "iterations": integer_rule(1),
    "learning_rate": number_rule(0, above=True),
    "learning_rate_decay": number_rule(0, above=True),
    "max_cg_steps": integer_rule(1),
    "missing_value": check_marker,
    "nonnegative": check_boolean,
    "num_threads": lambda _, value: resolve_num_threads(value),
    "patience": integer_rule(1),
    "popularity_exponent": none_or(number_rule(-np.inf)),
    "random_state": lambda _, value: check_random_state(value),
    "rating_range": none_or(check_range),
    "regularization": _pair,
    "regularization_exponent": number_rule(0),
    "tol": number_rule(0),
    "unobserved_weight": number_rule(0),
    "update_items": check_boolean,
    "validation_fraction": _share,
    "warm_start": check_boolean,
    "weighted": check_boolean,
}
# Parameters that may be a pair of numbers, for messages.
_PAIRS = ("degree_normalization", "feature_regularization", "regularization")


class Parameters(Guarded):
    """`get_params`, `set_params`, checks and a repr from the signature of ``__init__``.

    Values are checked by `RULES`, unless a subclass has a check of its own in `_rules`. It lists the choices of string
    parameters in `_choices` and the parameters that may be ``"auto"`` in `_automatic`, and extends `_check_params` to
    check parameters against each other.
    """

    _choices: ClassVar[dict[str, tuple[str, ...]]] = {}
    _automatic: ClassVar[tuple[str, ...]] = ()
    _rules: ClassVar[dict[str, Rule]] = {}  # where they differ from `RULES`

    @classmethod
    def _parameter_defaults(cls) -> dict[str, Any]:
        signature = inspect.signature(cls.__init__)
        return {name: p.default for name, p in signature.parameters.items() if name != "self"}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return all hyperparameters by name."""
        return {name: getattr(self, name) for name in self._parameter_defaults()}

    def set_params(self, **params: Any) -> Self:
        """Set hyperparameters by name; if one is refused, none is set.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown or a value is invalid.
        """
        known = self._parameter_defaults()
        for name in params:
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}")
        trial = self._snapshot()  # private to this call, in case a value is refused
        try:
            trial.__dict__.update(params)
            trial._check_params()
        finally:
            trial._release()
        self._commit(params)
        return self

    def _check_params(self) -> None:
        """Raise if a hyperparameter has an invalid value."""
        for name in self._parameter_defaults():
            value = getattr(self, name)
            if name in self._choices:
                check_choice(name, value, self._choices[name])
            elif name in self._automatic and isinstance(value, str):
                if value != AUTO:
                    what = "a number, a pair of numbers" if name in _PAIRS and name not in self._rules else "a number"
                    raise refusal(TypeError, f"{parameter(name)} must be {what} or 'auto', got {value!r}")
            elif rule := self._rules.get(name, RULES.get(name)):
                rule(name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._restore_nan()

    def _restore_nan(self) -> None:
        """Replace NaN among the parameters by the object numpy.nan, so that comparisons of `get_params` succeed."""
        for name, value in self.get_params().items():
            if isinstance(value, float) and np.isnan(value):
                self.__dict__[name] = np.nan

    def __repr__(self) -> str:
        defaults = self._parameter_defaults()
        changed = {name: value for name, value in self.get_params().items() if not is_default(value, defaults[name])}
        shown = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        return f"{type(self).__name__}({shown})"


def is_default(value: Any, default: Any) -> bool:
    """Whether a parameter has its default value."""
    return type(value) is type(default) and repr(value) == repr(default)  # NaN is not equal to NaN
