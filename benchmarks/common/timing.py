"""Timing of contenders against each other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


def seconds(run: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def take_turns(runs: Mapping[str, Callable[[], T]], rounds: int, warm_up: bool = True) -> dict[str, list[T]]:
    """Run all in turn, round after round, after a warm-up round; return their results.

    A change in the machine's speed affects all of them alike.
    """
    noted: dict[str, list[T]] = {name: [] for name in runs}
    for round_ in range(rounds + warm_up):
        for name, run in runs.items():
            result = run()
            if round_ >= warm_up:
                noted[name].append(result)
    return noted
