"""One trial: fitted, measured on the way, ended early where it is told to."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.csr import CSR
from ..data.interactions import Interactions
from ..evaluation import Evaluation, evaluate
from ..evaluation.splits import Table
from ..models import FactorModel
from ._defaults import Rescoring
from ._parts import Parts
from ._work import fit_work, iteration_work, measuring_work, setup_work, steps_name

LESS_IS_BETTER = ("rmse", "mae", "gini")
LISTLESS = ("rmse", "mae")


@dataclass
class Run:
    """What one trial has shown so far."""

    params: dict[str, Any]
    values: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    extra: list[dict[str, Any]] = field(default_factory=list)  # parameters that were chosen when it was measured
    fits: float = 0.0
    seconds: float = 0.0
    pruned: bool = False
    error: Exception | None = None
    factors: int | None = None  # where these are fewer than asked for


@dataclass(frozen=True)
class Limits:
    """Where a search ends: after work, trials or seconds."""

    budget: float | None
    n_trials: int | None
    timeout: float | None


@dataclass
class Runner:
    """Fits models on the train part and measures them on the part to search by."""

    base: FactorModel
    parts: Parts
    metric: str
    k: int
    among_rated: bool = False
    rescoring: Rescoring | None = None
    rescored: tuple[float, ...] = ()  # values of the rescoring to begin with: that of the best trial so far

    def __post_init__(self) -> None:
        self.size = self.parts.size
        self.steps = steps_name(self.base)
        self.unit = fit_work(self.base, self.size) + self._measuring(self.base)
        self.sign = -1 if self.metric in LESS_IS_BETTER else 1

    @property
    def key(self) -> str:
        """The name of the metric in an evaluation."""
        return self.metric if self.metric in ("auc", *LISTLESS) else f"{self.metric}@{self.k}"

    def best(self, values: list[float]) -> int:
        """Return the place of the best of some values."""
        return int(np.argmax(self.sign * np.array(values)))

    def best_params(self, run: Run) -> dict[str, Any]:
        """Return the parameters of a run with what was chosen on the way."""
        if not run.values:
            return dict(run.params)
        at = self.best(run.values)
        return run.params | run.extra[at] | ({self.steps: run.steps[at]} if self.steps else {})

    def run(
        self, params: dict[str, Any], *, reduced: dict[str, Any] | None = None, at: list[int] | None = None,
        free: bool = False, stop: Callable[[Run], bool] = lambda _: False,
    ) -> Run:  # fmt: skip
        """Fit with some parameters, `reduced` ones of them for less work, and measure after the iterations of `at`.

        Parameters that the model refuses together, or that diverge, are noted as the run's error.
        """
        start = time.perf_counter()
        run = Run(params, factors=(reduced or {}).get("factors"))
        try:
            model = with_params(self.base, params | (reduced or {}))
        except (TypeError, ValueError) as error:
            run.error = error
            return run
        total = model.get_params()[self.steps] if self.steps else 0
        one, measuring = self._work_of(model)
        run.fits = setup_work(self.size) / self.unit

        def watch(state: Any) -> bool:
            run.fits += one
            if at is not None and state.iteration not in at:
                return False
            run.fits += self._measure(model, run, state.iteration, free, state.iteration == total) * measuring
            return stop(run)

        try:
            fit(model, self.parts.train, watch)
            if not run.values:  # a model without iterations, or one that stopped before it was to be measured
                run.fits += self._measure(model, run, getattr(model, "n_iter_", 0), free, True) * measuring
        except ArithmeticError as error:
            run.error = error
        finally:
            run.seconds = time.perf_counter() - start
        return run

    def evaluate(self, model: Any, test: Any) -> Evaluation:
        """Measure a model on some test interactions."""
        candidates = _pattern(test) if self.among_rated else None
        return evaluate(model, test, k=self.k, metrics=[self.metric], candidates=candidates)

    def _work_of(self, model: FactorModel) -> tuple[float, float]:
        """Return the work of an iteration and of measuring, in fits."""
        return iteration_work(model, self.size) / self.unit, self._measuring(model) / self.unit

    def _measuring(self, model: FactorModel) -> float:
        return measuring_work(model, self.size, self.parts.n_search, lists=self.metric not in LISTLESS)

    def work(self, reduced: dict[str, Any], times: int) -> float:
        """Return the work of a trial that is measured so often, in fits that are measured once."""
        model = with_params(self.base, reduced)
        return (fit_work(model, self.size) + times * self._measuring(model)) / self.unit

    def _measure(self, model: Any, run: Run, step: int, free: bool, last: bool) -> int:
        """Note the value of a model; return how often it was measured."""
        run.steps.append(step)
        if self.rescoring is None or not free:
            run.values.append(self._value(model))
            run.extra.append({})
            return 1
        tried = self._rescored(model, run, self.rescoring, last)
        best = max(tried, key=lambda each: self.sign * tried[each])
        run.values.append(tried[best])
        run.extra.append({self.rescoring.name: best})
        return len(tried)

    def _rescored(self, model: Any, run: Run, rescoring: Rescoring, last: bool) -> dict[float, float]:
        """Return values of a rescoring and what they give: from the one that was best so far on uphill.

        Not between the first time, on which it depends whether the trial is ended, and the last, with smaller steps.
        """
        low, high = rescoring.low, rescoring.high
        starts = (run.extra[-1][rescoring.name],) if run.extra else self.rescored or (low, (low + high) / 2)
        tried = {at: self._value(model.rescored(at)) for at in starts}
        at = max(tried, key=lambda each: self.sign * tried[each])
        steps = [rescoring.step, rescoring.step / 2] if last and run.factors is None else [rescoring.step]
        for step in steps if last or not run.extra else []:
            before = None
            while before != at:
                before = at
                for move in (-step, step):
                    near = round(min(max(before + move, low), high), 6)
                    if near not in tried:
                        tried[near] = self._value(model.rescored(near))
                at = max(tried, key=lambda each: self.sign * tried[each])
        return tried

    def _value(self, model: Any) -> float:
        return float(self.evaluate(model, self.parts.search).means[self.key])


def with_params(base: FactorModel, params: dict[str, Any]) -> FactorModel:
    """Return a model with some parameters changed."""
    return type(base)(**{**base.get_params(), **params})


def fit(model: Any, interactions: Any, callback: Any) -> Any:
    """Fit without a bar, and with a callback where the model takes one."""
    accepted = inspect.signature(model.fit).parameters
    options = {"callback": callback, "show_progress": False}
    return model.fit(interactions, **{name: value for name, value in options.items() if name in accepted})


def _pattern(test: Any) -> Any:
    """Return which pairs there are, those of value 0 among them."""
    rows = test.matrix if isinstance(test, Interactions) else Table(test).rows.to_scipy()
    return CSR.of(rows.indptr, rows.indices, np.ones(len(rows.data), bool), rows.shape).to_scipy()
