"""The loop of a fit: progress, history, callback, early stopping, and what Ctrl-C leaves behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .._utils.validation import check_choice
from ..data.csr import CSR


@dataclass(frozen=True)
class FitState:
    """What a callback sees; all arrays are read-only.

    Attributes
    ----------
    iteration : int
        The iteration (or epoch) that ended, or that the half-sweep belongs to; from 1.
    solved : {"both", "users", "items"}
        What has changed since the last call: one side after a half-sweep (``callback_at="half_sweep"``), else both.
    objective : float
        The objective of these factors; of a model trained by SGD, summed up while they moved.
    seconds : float
        Since the fit began.
    user_factors, item_factors : arrays
        The factors.
    history : dict of lists
        As the model's `history_`: the iterations before this one, and this one once it has ended.
    users, items : int64 arrays
        The pairs that the fit learns from, in the order of the rows of the interactions.
    state : dict
        Further attributes of the model that go with these factors, as `mean_` where there are biases.
    """

    iteration: int
    solved: str
    objective: float
    seconds: float
    user_factors: NDArray[Any]
    item_factors: NDArray[Any]
    history: dict[str, list[float]]
    lesson: Lesson = field(repr=False)
    state: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def users(self) -> NDArray[np.int64]:
        """Row numbers of the users of the pairs."""
        rows = self.lesson.observed
        return read_only_view(np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)))

    @cached_property
    def items(self) -> NDArray[np.int64]:
        """Row numbers of the items of the pairs."""
        return read_only_view(self.lesson.observed.indices.astype(np.int64))

    @cached_property
    def predictions(self) -> NDArray[Any]:
        """What the factors predict for the pairs."""
        score = self.lesson.score(self.user_factors, self.item_factors, self.users, self.items, **self.state)
        return read_only_view(score)

    @cached_property
    def errors(self) -> NDArray[Any]:
        """What the pairs should be (rating, preference, liked or not) less what is predicted."""
        return read_only_view(self.lesson.truth(self.lesson.observed) - self.predictions)


@dataclass(frozen=True)
class Lesson:
    """What a fit learns from, for `FitState`.

    `score` maps (user factors, item factors, users, items, and as keywords the state that goes with these factors) to
    predictions; `truth` maps the observed pairs to what they should be.
    """

    observed: CSR
    truth: Callable[[CSR], NDArray[Any]]
    score: Callable[..., NDArray[Any]]


@dataclass
class Iteration:
    """The factors that one iteration produced, its row of the history, and what else the model is made of."""

    user_factors: NDArray[Any]
    item_factors: NDArray[Any]
    record: dict[str, float] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stopping:
    """Stop when `key` of the history has not fallen by more than `tolerance` of its least value for `patience` times.

    None as tolerance never stops. With `keep_best` the model ends with the factors of the least value.
    """

    tolerance: float | None = None
    key: str = "objective"
    patience: int = 1
    keep_best: bool = False


Callback = Callable[[FitState], Any]
# What an iteration calls after its first half-sweep: user factors, item factors, objective, what was solved, and
# (may be left out) the state that goes with these factors.
Report = Callable[..., None]
Commit = Callable[[Iteration, dict[str, list[float]]], None]


@dataclass
class FitLoop:
    """The loop of a fit: run until the iterations are done, the figure to watch stalls or the callback returns True."""

    iterations: int
    stopping: Stopping
    callback: Callback | None
    callback_at: str  # "iteration" or "half_sweep"
    show_progress: bool | None
    description: str
    lesson: Lesson
    unit: str = "it"

    def run(self, step: Callable[[int, Report], Iteration], commit: Commit) -> None:
        """Call `step` and `commit` in turn.

        `commit` hands one complete iteration to the model in a single assignment, so that an exception or Ctrl-C at
        any moment leaves the model as the last complete iteration made it.
        """
        history: dict[str, list[float]] = {}
        start, stop, least, stalled = time.perf_counter(), False, np.inf, 0
        best: Iteration | None = None
        ends = "items" if self.callback_at == "half_sweep" else "both"
        disable = None if self.show_progress is None else not self.show_progress  # None: tqdm draws on a terminal only

        def tell(
            X: NDArray[Any], Y: NDArray[Any], objective: float, solved: str, seconds: float, state: dict[str, Any]
        ) -> None:
            nonlocal stop
            if self.callback is not None:
                views = (read_only_view(X), read_only_view(Y))
                answer = self.callback(
                    FitState(number, solved, objective, seconds, *views, _copy(history), self.lesson, dict(state))
                )
                stop |= isinstance(answer, (bool, np.bool_)) and bool(answer)

        def report(
            X: NDArray[Any], Y: NDArray[Any], objective: float, solved: str, state: dict[str, Any] | None = None
        ) -> None:
            if self.callback_at == "half_sweep":
                tell(X, Y, objective, solved, time.perf_counter() - start, state or {})

        with tqdm(total=self.iterations, desc=self.description, unit=self.unit, disable=disable) as bar:
            for number in range(1, self.iterations + 1):
                done = step(number, report)
                seconds = time.perf_counter() - start
                for key, value in {**done.record, "seconds": seconds}.items():
                    history.setdefault(key, []).append(value)
                commit(done, _copy(history))
                watched = done.record[self.stopping.key]
                bar.set_postfix({self.stopping.key: f"{watched:.6g}"}, refresh=False)
                bar.update()
                tell(done.user_factors, done.item_factors, done.record["objective"], ends, seconds, done.state)
                if self.stopping.tolerance is not None:
                    falls = number == 1 or least - watched > self.stopping.tolerance * abs(least)
                    stalled = 0 if falls else stalled + 1
                    stop |= stalled >= self.stopping.patience
                if watched < least:
                    least, best = watched, done if self.stopping.keep_best else None
                if stop:
                    break
        if best is not None and best is not done:
            commit(best, _copy(history))


def check_callback(callback: Any, callback_at: Any) -> None:
    """Raise if a callback can't be called."""
    check_choice("callback_at", callback_at, ("iteration", "half_sweep"))
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of one argument, a FitState, got {callback!r}")


def _copy(history: dict[str, list[float]]) -> dict[str, list[float]]:
    return {key: list(values) for key, values in history.items()}


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
