"""The search for settings: at random first, then near the best so far; or one number at a time."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Space = Mapping[str, "Range | Choice"]

Setting = dict[str, Any]


@dataclass(frozen=True)
class Range:
    """The range of a number; if it is logarithmic, a step is a factor."""

    low: float
    high: float
    step: float
    logarithmic: bool = True
    whole: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """Draw from the range."""
        return self._rounded(rng.uniform(self._on_scale(self.low), self._on_scale(self.high)))

    def near(self, value: float, rng: np.random.Generator) -> float:
        """Return a value about one step away."""
        return self.moved(value, rng.normal())

    def moved(self, value: float, steps: float) -> float:
        """Return the value so many steps away, clipped to the range."""
        return self._rounded(self._on_scale(value) + steps * self._on_scale(self.step))

    def _on_scale(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value

    def _rounded(self, on_scale: float) -> float:
        value = min(max(math.exp(on_scale) if self.logarithmic else on_scale, self.low), self.high)
        return round(value) if self.whole else float(f"{value:.3g}")


@dataclass(frozen=True)
class Choice:
    """Values to choose from."""

    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """Draw one of them."""
        return self.values[rng.integers(len(self.values))]

    def near(self, value: Any, rng: np.random.Generator) -> Any:
        """Return the value, or one time in five another draw."""
        return self.draw(rng) if rng.random() < 0.2 else value

    def moved(self, value: Any, steps: int) -> Any:
        """Return the value so many positions away."""
        place = self.values.index(value) + steps
        return self.values[min(max(place, 0), len(self.values) - 1)]


def draw(space: Space, rng: np.random.Generator) -> Setting:
    """Return a setting from anywhere in a space."""
    return {name: one.draw(rng) for name, one in space.items()}


def near(space: Space, setting: Setting, rng: np.random.Generator) -> Setting:
    """Return a setting near another; missing parameters are drawn."""
    return {
        name: one.near(setting[name], rng) if name in setting else one.draw(rng) for name, one in space.items()
    }  # fmt: skip


def search(
    space: Space, scores: Sequence[Callable[[Setting], float]], trials: int, start: Setting | None = None
) -> tuple[list[Setting], np.ndarray]:
    """Return settings and their scores (higher is better), one column for each of `scores`.

    The first is the start, followed by `trials` more: half of them anywhere, half near one of the best three so far
    according to `relative_to_best`.
    """
    rng = np.random.default_rng(0)
    settings: list[Setting] = [start or {}]
    results = evaluate(settings, scores)
    for trial in range(1, trials + 1):
        if trial > trials // 2:
            best = np.argsort(-relative_to_best(results))[:3]
            settings.append(near(space, settings[int(rng.choice(best))], rng))
        else:
            settings.append(draw(space, rng))
        results = np.vstack([results, evaluate(settings[-1:], scores)])
    return settings, results


def climb(score: Callable[[Setting], float], space: Space, start: Setting, trials: int) -> Setting:
    """Return the best setting found by moving one number at a time, as long as the score rises.

    The first trial is the start.
    """
    best, known = start, {json.dumps(start): score(start)}
    highest = known[json.dumps(start)]
    moves = [(name, direction) for name in space for direction in (1, -1)]
    failed = turn = 0  # moves since the last one that helped; the next move
    while len(known) < trials and failed < len(moves):
        name, direction = moves[turn % len(moves)]
        trial = best | {name: space[name].moved(best[name], direction)}
        key = json.dumps(trial)
        if key not in known:
            known[key] = score(trial)
            print(round(known[key], 4), key, file=sys.stderr, flush=True)
        if known[key] > highest:
            best, highest, failed = trial, known[key], 0
        else:
            failed += 1
            turn += 1
    return best


def evaluate(settings: list[Setting], scores: Sequence[Callable[[Setting], float]]) -> np.ndarray:
    """Return the scores of settings, one row each."""
    results = []
    for setting in settings:
        results.append([score(setting) for score in scores])
        print(*np.round(results[-1], 4), json.dumps(setting), file=sys.stderr, flush=True)
    return np.array(results)


def relative_to_best(results: np.ndarray) -> np.ndarray:
    """Return the mean over columns of the ratio to the column's best."""
    return (results / results.max(axis=0)).mean(axis=1)
