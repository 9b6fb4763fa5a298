"""Mapping between the parameters of a space and points in the unit cube, one coordinate per parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._space import Space

Floats = NDArray[np.float64]
CHOICE_DISTANCE = 0.7  # between two choices of a categorical parameter, where the length of a range is 1


class UnitCube:
    """The unit cube of a space, without the parameter named `without`."""

    def __init__(self, space: Space, without: str | None = None) -> None:
        self.space = space
        self.ranges = {name: each for name, each in space.distributions.items() if name != without}
        self.dimensions = len(self.ranges)
        self.finite = all(hasattr(each, "choices") or isinstance(each.low, int) for each in self.ranges.values())
        self.width = sum(len(each.choices) if hasattr(each, "choices") else 1 for each in self.ranges.values())

    def stored(self, u: Floats) -> dict[str, Any]:
        """Return the values that Optuna stores for a point."""
        return {name: _from_unit(each, float(x)) for (name, each), x in zip(self.ranges.items(), u, strict=True)}

    def params(self, u: Floats) -> dict[str, Any]:
        """Return the parameters of a point."""
        return self.space.decode(self.stored(u))

    def point(self, stored: dict[str, Any]) -> Floats | None:
        """Return the point of values that Optuna stores, or None if one is missing."""
        if any(name not in stored for name in self.ranges):
            return None
        return np.array([_to_unit(each, stored[name]) for name, each in self.ranges.items()])

    def encode(self, points: Floats) -> Floats:
        """Return points with categorical coordinates one-hot encoded, so that all choices are equally far apart."""
        columns = []
        for column, each in zip(points.T, self.ranges.values(), strict=True):
            if hasattr(each, "choices"):
                n = len(each.choices)
                chosen = np.minimum((column * n).astype(int), n - 1)
                columns.append(np.eye(n)[chosen] * CHOICE_DISTANCE / np.sqrt(2))
            else:
                columns.append(column[:, None])
        return np.concatenate(columns, axis=1)

    def candidates(self, best: Floats, count: int, rng: np.random.Generator, *, everywhere: bool) -> Floats:
        """Return `count` points near the best ones and, with `everywhere`, as many drawn uniformly."""
        near = best[rng.integers(0, len(best), count)]
        moves = rng.normal(0, 1, near.shape) * rng.choice([0.03, 0.1, 0.25 if everywhere else 0.1], (count, 1))
        moved = rng.random(near.shape) < max(0.5, 1 / self.dimensions)
        near = (near + np.where(moved, moves, 0)).clip(0, 1)
        for column, each in enumerate(self.ranges.values()):
            if hasattr(each, "choices"):  # a small move would rarely reach another choice
                near[:, column] = np.where(rng.random(count) < 0.2, rng.random(count), near[:, column])
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
