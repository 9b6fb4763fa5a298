"""The loop of a fit: progress, history, callback, early stopping, and a consistent model after Ctrl-C."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import progress_bar
from .._utils.validation import check_choice, check_show_progress
from ..data.csr import CSR
from ._checkpoint import Checkpoint, Snapshot, check_checkpoint

log = logging.getLogger("alternant.fit")
Solved = Literal["both", "users", "items"]


@dataclass(frozen=True)
class FitState:
    """The argument of a callback; all arrays are read-only.

    Attributes
    ----------
    iteration : int
        The iteration (or epoch) that has just ended, or that the half-sweep belongs to; from 1.
    solved : {"both", "users", "items"}
        The side that has changed since the last call, with ``callback_at="half_sweep"``; else both.
    objective : float
        The objective of these factors; for a model trained by SGD, accumulated during the epoch.
    seconds : float
        Time since the fit began.
    user_factors, item_factors : arrays
        The factors.
    history : dict of lists
        As the model's `history_`, of the iterations that have ended.
    users, items : int64 arrays
        Row numbers of the observed pairs, ordered by user.
    predictions, errors : arrays
        Predictions of the observed pairs, and their targets (rating, preference, liked or not) minus these.
    state : dict
        Further attributes of the model that go with these factors, such as `mean_` for a model with biases.
    """

    iteration: int
    solved: Solved
    objective: float
    seconds: float
    user_factors: NDArray[Any]
    item_factors: NDArray[Any]
    history: dict[str, list[float]]
    training: TrainingData = field(repr=False)
    state: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def users(self) -> NDArray[np.int64]:
        """Row numbers of the users of the observed pairs."""
        rows = self.training.observed
        return read_only_view(np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)))

    @cached_property
    def items(self) -> NDArray[np.int64]:
        """Row numbers of the items of the observed pairs."""
        return read_only_view(self.training.observed.indices.astype(np.int64))

    @cached_property
    def predictions(self) -> NDArray[Any]:
        """Predictions of the observed pairs."""
        score = self.training.score(self.user_factors, self.item_factors, self.users, self.items, **self.state)
        return read_only_view(score)

    @cached_property
    def errors(self) -> NDArray[Any]:
        """Targets (rating, preference, liked or not) minus predictions of the observed pairs."""
        truth = self.training.truth(self.training.observed).astype(self.predictions.dtype, copy=False)
        return read_only_view(truth - self.predictions)


@dataclass(frozen=True)
class TrainingData:
    """The training data of a fit, for `FitState`.

    `score` maps (user factors, item factors, users, items, and as keywords the state that goes with these factors) to
    predictions; `truth` maps the observed pairs to their targets.
    """

    observed: CSR
    truth: Callable[[CSR], NDArray[Any]]
    score: Callable[..., NDArray[Any]]


@dataclass(frozen=True)
class HalfSweep:
    """The result of a half-sweep: the solved side, and the whole objective."""

    factors: NDArray[Any]
    objective: float
    mean_steps: float
    state: dict[str, Any] = field(default_factory=dict)  # further attributes of the model


@dataclass
class Iteration:
    """The result of an iteration: factors, a row of the history, and further attributes of the model (`state`)."""

    user_factors: NDArray[Any]
    item_factors: NDArray[Any]
    record: dict[str, float] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stopping:
    """Stop after `patience` iterations in which `key` of the history did not fall by the fraction `tolerance`.

    The fall is measured from the lowest value so far. With a tolerance of None, never stop. With `keep_best`, the model
    ends with the factors of the lowest value.
    """

    tolerance: float | None = None
    key: str = "objective"
    patience: int = 1
    keep_best: bool = False


Callback = Callable[[FitState], object]  # True stops the fit
History = dict[str, list[float]]


@dataclass(frozen=True)
class FitOptions:
    """The arguments of `fit` of the same names."""

    callback: Callback | None = None
    callback_at: str = "iteration"
    show_progress: bool | None = None  # None: on a terminal only
    checkpoint: str | os.PathLike[str] | None = None
    every: int = 1

    def __post_init__(self) -> None:
        """Raise if the callback is not callable, there can't be a checkpoint, or another option is invalid."""
        check_show_progress(self.show_progress)
        check_checkpoint(self.checkpoint, self.every)
        check_choice("callback_at", self.callback_at, ("iteration", "half_sweep"))
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be a function of one argument, a FitState, got {self.callback!r}")


class FitLoop:
    """The iterations of a fit, until all are done, the watched value stalls or the callback returns True.

    ::

        with FitLoop(...) as loop:
            for _ in loop:
                ...             # one iteration, with `report` between its half-sweeps
                loop.end(done)

    `commit` passes a complete iteration to the model in a single assignment, so that after an exception or Ctrl-C the
    model is that of the last complete iteration. With a checkpoint, the loop resumes after the iteration saved in it.
    """

    def __init__(
        self, iterations: int, stopping: Stopping, options: FitOptions, training: TrainingData | None,
        commit: Callable[[Iteration, History], None], description: str = "", unit: str = "it",
        checkpoint: Checkpoint | None = None,
    ) -> None:  # fmt: skip
        self.iterations, self.stopping, self.options, self.training = iterations, stopping, options, training
        self.commit, self.description, self.unit, self.checkpoint = commit, description, unit, checkpoint
        self.number = 0  # of the iteration, from 1
        self._history: History = {}
        self._least, self._stalled, self._stop = np.inf, 0, False
        self._best: Iteration | None = None
        self._last: Iteration | None = None

    def __enter__(self) -> Self:
        show = self.options.show_progress
        self._bar = progress_bar(self.iterations, show, desc=self.description, unit=self.unit)
        self._start = time.perf_counter()
        if self.checkpoint is not None:
            self.checkpoint.open()
            if self.checkpoint.saved is not None:
                self._resume(self.checkpoint)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self.checkpoint is not None:
            self.checkpoint.close()

    def __iter__(self) -> Iterator[int]:
        while self.number < self.iterations and not self._stop:
            self.number += 1
            yield self.number
        if self._best is not None and self._best is not self._last:
            self.commit(self._best, _copy(self._history))

    def report(self, X: NDArray[Any], Y: NDArray[Any], solved: Solved, half: HalfSweep) -> None:
        """Call back between the half-sweeps of an iteration, if requested."""
        if self.options.callback_at == "half_sweep":
            self._call_back(X, Y, half.objective, solved, self._seconds(), half.state)

    def end(self, done: Iteration, snapshot: Callable[[], Snapshot]) -> None:
        """Record an iteration, pass it to the model, call back, decide whether to stop, and write the checkpoint."""
        seconds = self._seconds()
        for key, value in {**done.record, "seconds": seconds}.items():
            self._history.setdefault(key, []).append(value)
        self.commit(done, _copy(self._history))
        watched = done.record[self.stopping.key]
        log.debug("%s: %s %d, %s %.6g", self.description, self.unit, self.number, self.stopping.key, watched)
        self._bar.set_postfix({self.stopping.key: f"{watched:.6g}"})
        self._bar.update()
        solved: Solved = "items" if self.options.callback_at == "half_sweep" else "both"
        objective = done.record["objective"]
        self._call_back(done.user_factors, done.item_factors, objective, solved, seconds, done.state)
        if self.stopping.tolerance is not None:
            falls = self.number == 1 or self._least - watched > self.stopping.tolerance * abs(self._least)
            self._stalled = 0 if falls else self._stalled + 1
            self._stop |= self._has_stalled()
        if watched < self._least:
            self._least, self._best = watched, done if self.stopping.keep_best else None
        self._last = done
        last = self._stop or self.number >= self.iterations
        if self.checkpoint is not None and self.checkpoint.due(self.number, last):
            self._save(self.checkpoint, done, snapshot())

    def _save(self, checkpoint: Checkpoint, done: Iteration, snapshot: Snapshot) -> None:
        arrays = {"user_factors": done.user_factors, "item_factors": done.item_factors}
        best = self._best
        if best is not None and best is not done:
            arrays |= {"best_user_factors": best.user_factors, "best_item_factors": best.item_factors}
        checkpoint.write(
            {
                "number": self.number, "history": self._history, "least": self._least, "stalled": self._stalled,
                "seconds": self._seconds(), "state": done.state, "keeps_best": best is not None,
            },
            Snapshot(snapshot.arrays | arrays, snapshot.values),
        )  # fmt: skip

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Take over the iterations of an interrupted fit, and give the model their factors."""
        saved, loop = checkpoint.saved, checkpoint.loop
        assert saved is not None
        self.number, self._history = loop["number"], loop["history"]
        self._least, self._stalled = loop["least"], loop["stalled"]
        if self.number > self.iterations:
            raise ValueError(
                f"the checkpoint in {str(checkpoint.folder)!r} is of {self.number} iterations, and this fit has only "
                f"{self.iterations}: pass at least as many, or another folder"
            )
        self._stop = self._has_stalled()  # and not if a callback stopped it
        self._start -= loop["seconds"]
        arrays = saved.arrays
        state = {name: tuple(value) if isinstance(value, list) else value for name, value in loop["state"].items()}
        self._last = Iteration(arrays["user_factors"], arrays["item_factors"], state=state)
        if loop["keeps_best"]:
            self._best = self._last
            if "best_user_factors" in arrays:
                best = arrays["best_user_factors"], arrays["best_item_factors"]
                self._best = Iteration(*best, state=state)
        self.commit(self._last, _copy(self._history))
        checkpoint.saved = None  # which would keep these factors in memory
        self._bar.update(self.number)
        log.info("%s: resumes after %s %d of the checkpoint", self.description, self.unit, self.number)

    def _has_stalled(self) -> bool:
        return self.stopping.tolerance is not None and self._stalled >= self.stopping.patience

    def _seconds(self) -> float:
        return time.perf_counter() - self._start

    def _call_back(
        self, X: NDArray[Any], Y: NDArray[Any], objective: float, solved: Solved, seconds: float, state: dict[str, Any]
    ) -> None:
        if self.options.callback is None or self.training is None:
            return
        views = read_only_view(X), read_only_view(Y)
        answer = self.options.callback(FitState(
            self.number, solved, objective, seconds, *views, _copy(self._history), self.training, dict(state),
        ))  # fmt: skip
        self._stop |= isinstance(answer, (bool, np.bool_)) and bool(answer)


def _copy(history: dict[str, list[float]]) -> dict[str, list[float]]:
    return {key: list(values) for key, values in history.items()}


def read_only_view(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view."""
    view = array.view()
    view.flags.writeable = False
    return view


def freeze(array: Any) -> None:
    """Make an array, or the arrays of sparse rows, read-only, and every array that it is a view of."""
    if not isinstance(array, np.ndarray):
        for part in (array.data, array.indices, array.indptr):
            freeze(part)
        return
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner.flags.writeable = False
        owner = owner.base


def is_frozen(array: NDArray[Any]) -> bool:
    """Whether the array and every array that it is a view of are read-only."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    return not isinstance(owner, np.ndarray)
