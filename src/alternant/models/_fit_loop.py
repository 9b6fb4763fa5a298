"""The loop around the half-sweeps: progress, history, callback, early stopping, and what Ctrl-C leaves behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm


@dataclass(frozen=True)
class FitState:
    """What a callback sees after each iteration; the arrays are read-only views.

    Attributes
    ----------
    iteration : int
        Iterations done, from 1.
    objective : float
        The objective after this iteration.
    seconds : float
        Since the fit began.
    user_factors, item_factors : arrays
        The factors after this iteration.
    history : dict of lists
        As the model's `history_`.
    """

    iteration: int
    objective: float
    seconds: float
    user_factors: NDArray[Any]
    item_factors: NDArray[Any]
    history: dict[str, list[float]]


@dataclass
class Iteration:
    """The factors that one iteration produced, and its row of the history."""

    user_factors: NDArray[Any]
    item_factors: NDArray[Any]
    record: dict[str, float] = field(default_factory=dict)


Callback = Callable[[FitState], Any]


def run(
    step: Callable[[], Iteration],
    commit: Callable[[Iteration, dict[str, list[float]]], None],
    *,
    iterations: int,
    early_stopping: float | None,
    callback: Callback | None,
    show_progress: bool | None,
    description: str,
) -> None:
    """Call `step` and `commit` until the iterations are done, the objective stalls or the callback returns True.

    `commit` hands one complete iteration to the model in a single assignment, so that an exception or Ctrl-C at any
    moment leaves the model as the last complete iteration made it.
    """
    history: dict[str, list[float]] = {}
    start = time.perf_counter()
    disable = None if show_progress is None else not show_progress  # None: tqdm draws on a terminal only
    with tqdm(total=iterations, desc=description, unit="it", disable=disable) as bar:
        for number in range(1, iterations + 1):
            done = step()
            seconds = time.perf_counter() - start
            for key, value in {**done.record, "seconds": seconds}.items():
                history.setdefault(key, []).append(value)
            commit(done, {key: list(values) for key, values in history.items()})
            objective = done.record["objective"]
            bar.set_postfix(objective=f"{objective:.6g}", refresh=False)
            bar.update()
            if callback is not None:
                views = (read_only_view(done.user_factors), read_only_view(done.item_factors))
                copy = {key: list(values) for key, values in history.items()}
                stop = callback(FitState(number, objective, seconds, *views, copy))
                if isinstance(stop, (bool, np.bool_)) and stop:
                    break
            if early_stopping is not None and number > 1:
                before = history["objective"][-2]
                if before - objective <= early_stopping * abs(before):
                    break


def read_only_view(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that can't be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


def freeze(array: NDArray[Any]) -> None:
    """Make an array read-only, and every array that it is a view of."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner.flags.writeable = False
        owner = owner.base


def is_frozen(array: NDArray[Any]) -> bool:
    """Whether neither the array nor one that it is a view of can be written to."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    return not isinstance(owner, np.ndarray)


def random_generator(random_state: Any) -> np.random.Generator:
    """Turn None, a seed, a Generator or a RandomState into a Generator."""
    check_random_state(random_state)
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**31 - 1, 4))
    return np.random.default_rng(random_state)


def check_random_state(random_state: Any) -> None:
    """Raise if no Generator can be made from it; none is advanced."""
    if isinstance(random_state, np.random.RandomState):
        return
    try:
        np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise type(error)(
            "random_state must be a whole number of at least 0, a numpy.random.Generator or RandomState, or None, "
            f"got {random_state!r}"
        ) from None
