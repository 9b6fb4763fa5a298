"""The factors that a fit on a cluster begins with: drawn, or those of an earlier fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._utils.pool import Pool
from ._rows import Shards


class Start(NamedTuple):
    """The users' factors (None: 0) and the items', and which items were drawn."""

    users: NDArray[Any] | None
    items: NDArray[Any]
    drawn: NDArray[np.bool_]


def starting_factors(model: Any, divided: Shards, shape: tuple[int, int]) -> Start:
    """Return the factors to begin with; with `warm_start`, the model's, as far as the source has their users and items.

    Others begin as in a first fit.
    """
    dtype, places = np.dtype(model.dtype), {}
    for kind in ("user", "item"):
        if model.warm_start and getattr(model, f"{kind}_factors", None) is not None:
            places[kind] = divided.places(model, kind)
    X, Y, drawn = None, model._drawn_items(shape[1], Pool()), np.ones(shape[1], bool)
    if (at := places.get("user")) is not None:
        X = model._new_rows(np.zeros((shape[0], model.factors), dtype), "user")
        _put(model._previous("user_factors", max(shape[0], len(at)), dtype), at, X)
    if (at := places.get("item")) is not None:
        _put(model._previous("item_factors", max(shape[1], len(at)), dtype), at, Y)
        drawn[at[at >= 0]] = False
    return Start(X, Y, drawn)


def _put(rows: NDArray[Any], at: NDArray[np.int64], target: NDArray[Any]) -> None:
    """Copy rows to their places, which are negative for those that have none."""
    target[at[at >= 0]] = rows[at >= 0]
