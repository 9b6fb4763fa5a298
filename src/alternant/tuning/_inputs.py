"""The places of a space as numbers from 0 to 1, one for each parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._space import Space

Floats = NDArray[np.float64]
APART = 0.7  # how far two choices are from each other, where a range is 1


class Inputs:
    """Maps between what Optuna stores and numbers from 0 to 1."""

    def __init__(self, space: Space, without: str | None = None) -> None:
        self.space = space
        self.ranges = {name: each for name, each in space.distributions.items() if name != without}
        self.dimensions = len(self.ranges)
        self.finite = all(hasattr(each, "choices") or isinstance(each.low, int) for each in self.ranges.values())
        self.width = sum(len(each.choices) if hasattr(each, "choices") else 1 for each in self.ranges.values())

    def stored(self, u: Floats) -> dict[str, Any]:
        """Return what Optuna would store for a place."""
        return {name: _from_unit(each, float(one)) for (name, each), one in zip(self.ranges.items(), u, strict=True)}

    def params(self, u: Floats) -> dict[str, Any]:
        """Return the parameters at a place."""
        return self.space.decode(self.stored(u))

    def place(self, stored: dict[str, Any]) -> Floats | None:
        """Return the place of what Optuna would store; None where something is missing."""
        if any(name not in stored for name in self.ranges):
            return None
        return np.array([_to_unit(each, stored[name]) for name, each in self.ranges.items()])

    def expand(self, places: Floats) -> Floats:
        """Return places with an input for each choice, so that all choices are equally far apart."""
        columns = []
        for column, each in zip(places.T, self.ranges.values(), strict=True):
            if hasattr(each, "choices"):
                n = len(each.choices)
                chosen = np.minimum((column * n).astype(int), n - 1)
                columns.append(np.eye(n)[chosen] * APART / np.sqrt(2))
            else:
                columns.append(column[:, None])
        return np.concatenate(columns, axis=1)

    def candidates(self, best: Floats, count: int, rng: np.random.Generator, *, everywhere: bool) -> Floats:
        """Return places near to the best ones, and as many all over the space if they may be `everywhere`."""
        near = best[rng.integers(0, len(best), count)]
        moves = rng.normal(0, 1, near.shape) * rng.choice([0.03, 0.1, 0.25 if everywhere else 0.1], (count, 1))
        some = rng.random(near.shape) < max(0.5, 1 / self.dimensions)
        near = (near + np.where(some, moves, 0)).clip(0, 1)
        for at, each in enumerate(self.ranges.values()):
            if hasattr(each, "choices"):  # a small move would seldom reach another choice
                near[:, at] = np.where(rng.random(count) < 0.2, rng.random(count), near[:, at])
        return np.r_[near, rng.random((count, self.dimensions))] if everywhere else near


def _from_unit(distribution: Any, u: float) -> Any:
    if hasattr(distribution, "choices"):
        return distribution.choices[min(int(u * len(distribution.choices)), len(distribution.choices) - 1)]
    low, high = distribution.low, distribution.high
    value = low * (high / low) ** u if distribution.log else low + u * (high - low)
    step = distribution.step
    if step is not None:
        value = low + round((value - low) / step) * step
    whole = isinstance(low, int)
    return round(value) if whole else float(min(max(value, low), high))


def _to_unit(distribution: Any, value: Any) -> float:
    if hasattr(distribution, "choices"):
        return (list(distribution.choices).index(value) + 0.5) / len(distribution.choices)
    low, high = distribution.low, distribution.high
    if low == high:
        return 0.5
    return float(np.log(value / low) / np.log(high / low) if distribution.log else (value - low) / (high - low))
