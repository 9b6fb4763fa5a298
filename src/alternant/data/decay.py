"""Weights of events by their age: ``2^(-(now - t) / half_life)``."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.messages import parameter, refusal
from .io.columns import to_datetime

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
MOST_HALF_LIVES = 60  # beyond this age, weights no longer fall: a pair must not vanish by underflow
MOST_AHEAD = 10  # half-lives by which an event may be later than `now`: it then weighs 1024 times as much


def decay(times: NDArray[Any], half_life: Any, now: Any = None) -> NDArray[np.float64]:
    """Return the weight of events at these times, from 2^-60 to 2^10.

    Parameters
    ----------
    times : array of datetime64, int64 or float64
    half_life, now
        As for `Events.interactions`.
    """
    dates = times.dtype.kind == "M"
    width = half_life_of(half_life, dates)
    last = times.max()
    if not dates and not np.isfinite(times).all():
        raise ValueError(f"times must be finite to have an age, got {times[~np.isfinite(times)][0]}: drop such events")
    at = last if now is None else _point(now, dates)
    ages = (at - times) / np.timedelta64(1, "s") if dates else float(at) - times.astype(np.float64)
    if ages.min() < -MOST_AHEAD * width:
        raise refusal(
            ValueError,
            f"{parameter('now')} must be at most {MOST_AHEAD} half-lives before the last event, got {now!r} with "
            f"events until {last}: leave later events out, or weight all events anew with a later time",
        )
    return np.asarray(np.exp2(-np.minimum(ages / width, MOST_HALF_LIVES)))


def half_life_of(half_life: Any, dates: bool) -> float:
    """Return a half-life in seconds or, if it and the times are plain numbers, in their unit."""
    if isinstance(half_life, (timedelta, np.timedelta64)):
        width = _seconds(half_life)
    elif isinstance(half_life, str):
        width = _parsed(half_life)
    elif isinstance(half_life, bool) or not isinstance(half_life, Real):
        raise refusal(
            TypeError, f"{parameter('half_life')} must be a number, a duration such as '30d' or None, got {half_life!r}"
        )
    elif dates and float(half_life) > 0:
        raise refusal(
            TypeError,
            f"{parameter('half_life')} must have a unit, since times are dates: pass '{half_life:g}d' for days, or a "
            f"timedelta, got {half_life!r}",
        )
    else:
        width = float(half_life)
    if not 0 < width < math.inf:
        raise refusal(ValueError, f"{parameter('half_life')} must be greater than 0 and finite, got {half_life!r}")
    return width


def _seconds(duration: timedelta | np.timedelta64) -> float:
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if np.datetime_data(duration)[0] in ("generic", "Y", "M"):
        raise refusal(
            ValueError, f"{parameter('half_life')} must have a unit from nanoseconds to weeks, got {duration!r}"
        )
    return float(duration / np.timedelta64(1, "s"))  # NaN for NaT


def _parsed(text: str) -> float:
    found = re.fullmatch(r"\s*(-?[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z]+)\s*", text)
    if found and found[2] in SECONDS:
        return float(found[1]) * SECONDS[found[2]]
    raise refusal(
        ValueError,
        f"{parameter('half_life')} must be a number and a unit ({', '.join(SECONDS)}), such as '30d', got {text!r}",
    )


def _point(now: Any, dates: bool) -> Any:
    """Return a point in time that can be compared with the times."""
    if dates:
        try:
            at = to_datetime(now)
        except (TypeError, ValueError):
            at = np.datetime64("NaT")
        if np.isnat(at):
            raise refusal(ValueError, f"{parameter('now')} must be a date, like the times, got {now!r}")
        return at
    if isinstance(now, bool) or not isinstance(now, Real) or not math.isfinite(now):
        raise refusal(ValueError, f"{parameter('now')} must be a finite number, like the times, got {now!r}")
    return now
