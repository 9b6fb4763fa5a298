"""Checks of user input. Each error message is one sentence: what is required, what was found, what to do."""

from __future__ import annotations

import math
from numbers import Real
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .messages import parameter, refusal


def check_integer(name: str, value: Any, minimum: int) -> int:
    """Return a whole number of at least `minimum`."""
    try:
        number = index(value)
    except TypeError:
        raise refusal(TypeError, f"{parameter(name)} must be a whole number, got {value!r}") from None
    if isinstance(value, bool):
        raise refusal(TypeError, f"{parameter(name)} must be a whole number, got {value!r}")
    if number < minimum:
        raise refusal(ValueError, f"{parameter(name)} must be at least {minimum}, got {number}")
    return number


def check_number(name: str, value: Any, minimum: float, above: bool = False) -> float:
    """Return a finite number of at least (or, with `above`, greater than) `minimum`."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise refusal(TypeError, f"{parameter(name)} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond float64
        number = math.inf
    if not math.isfinite(number) or number < minimum or (above and number == minimum):
        limit = f"{'greater than' if above else 'at least'} {minimum:g} and " if minimum > -math.inf else ""
        raise refusal(ValueError, f"{parameter(name)} must be {limit}finite, got {value!r}")
    return number


def check_share(name: str, value: Any) -> float:
    """Return a number between 0 and 1, both excluded."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < 1:
        raise refusal(ValueError, f"{parameter(name)} must be between 0 and 1 (exclusive), got {value!r}")
    return float(value)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise refusal(ValueError, f"{parameter(name)} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_boolean(name: str, value: Any) -> None:
    """Raise unless `value` is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise refusal(TypeError, f"{parameter(name)} must be True or False, got {value!r}")


def check_show_progress(value: Any) -> None:
    """Raise unless a `show_progress` is True, False or None."""
    if value is not None:
        check_boolean("show_progress", value)


def check_dtype(name: str, value: Any) -> None:
    """Raise unless `value` names float32 or float64."""
    try:
        dtype = None if value is None else np.dtype(value)  # np.dtype(None) is float64
    except (TypeError, ValueError):
        dtype = None
    if dtype not in (np.float32, np.float64):
        raise refusal(ValueError, f"{parameter(name)} must be float32 or float64, got {value!r}")


def check_pair(name: str, value: Any, parts: tuple[str, str]) -> tuple[float, float]:
    """Return two numbers of at least 0, given as a pair or as one number for both."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            pair = f"({', '.join(parts)})"
            raise refusal(ValueError, f"{parameter(name)} must be one number or a pair {pair}, got {value!r}")
        return check_number(name, value[0], 0), check_number(name, value[1], 0)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise refusal(TypeError, f"{parameter(name)} must be a number or a pair ({', '.join(parts)}), got {value!r}")
    number = check_number(name, value, 0)
    return number, number


def check_range(name: str, value: Any) -> tuple[float, float]:
    """Return (low, high)."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise refusal(TypeError, f"{parameter(name)} must be a pair (low, high) or None, got {value!r}")
    if not all(isinstance(part, Real) and math.isfinite(part) for part in value):
        raise refusal(ValueError, f"{parameter(name)} must be two finite numbers (low, high), got {value!r}")
    low, high = map(float, value)
    if not low < high:
        raise refusal(ValueError, f"{parameter(name)} must be (low, high) with low below high, got {value!r}")
    return low, high


def check_marker(name: str, value: Any) -> None:
    """Raise unless `value` can mark missing values: it must be a number or NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise refusal(TypeError, f"{parameter(name)} must be a number or NaN, got {value!r}")


def random_generator(random_state: Any) -> np.random.Generator:
    """Turn None, a seed, a Generator or a RandomState into a Generator."""
    check_random_state(random_state)
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**31 - 1, 4))
    return np.random.default_rng(random_state)


def check_random_state(random_state: Any) -> None:
    """Raise if `random_state` can't be turned into a Generator; its state is not advanced."""
    if isinstance(random_state, np.random.RandomState):
        return
    try:
        if isinstance(random_state, (bool, np.bool_)):  # NumPy would take them for 0 or 1
            raise TypeError
        np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise refusal(
            type(error),
            f"{parameter('random_state')} must be a whole number of at least 0, a numpy.random.Generator or "
            f"RandomState, or None, got {random_state!r}",
        ) from None


def all_finite(array: NDArray[Any]) -> bool:
    """Whether there is no NaN or infinite value; a NaN makes both the minimum and the maximum NaN."""
    return bool(np.isfinite(array.min(initial=0)) and np.isfinite(array.max(initial=0)))
