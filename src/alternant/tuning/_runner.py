"""Running one trial: fit, measure during the fit, prune."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.csr import CSR
from ..data.interactions import Interactions
from ..evaluation import Evaluation, evaluate
from ..evaluation._evaluate import RATING_METRICS
from ..evaluation._table import Table
from ..models import FactorModel
from ._defaults import Rescoring
from ._split import SearchSplit
from ._work import fit_work, iteration_work, measuring_work, setup_work, steps_name

log = logging.getLogger("alternant.tuning")
MINIMIZED = (*RATING_METRICS, "gini")


@dataclass
class TrialRun:
    """The state of a running or finished trial."""

    params: dict[str, Any]
    values: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    extra: list[dict[str, Any]] = field(default_factory=list)  # rescored parameter at each measurement
    fits: float = 0.0
    seconds: float = 0.0
    pruned: bool = False
    error: Exception | None = None
    factors: int | None = None  # None for full size


@dataclass(frozen=True)
class Limits:
    """The limits of a search: cost in fits, trials and seconds."""

    budget: float | None
    n_trials: int | None
    timeout: float | None


@dataclass
class TrialRunner:
    """Fits models on the training interactions and measures them on the validation users."""

    base: FactorModel
    split: SearchSplit
    metric: str
    k: int
    among_rated: bool = False
    rescoring: Rescoring | None = None
    features: Mapping[str, Any] = field(default_factory=dict)  # user_features and item_features of every fit
    rescored: tuple[float, ...] = ()  # initial values of the rescored parameter: that of the best trial so far

    def __post_init__(self) -> None:
        self.size = self.split.size
        self.steps = steps_name(self.base)
        self.unit = fit_work(self.base, self.size) + self._measuring(self.base)
        self.sign = -1 if self.metric in MINIMIZED else 1

    @property
    def key(self) -> str:
        """The key of the metric in an `Evaluation`."""
        return self.metric if self.metric in ("auc", *RATING_METRICS) else f"{self.metric}@{self.k}"

    def best(self, values: list[float]) -> int:
        """Return the position of the best value."""
        return int(np.argmax(self.sign * np.array(values)))

    def best_params(self, run: TrialRun) -> dict[str, Any]:
        """Return the parameters of a run, with its best rescored parameter and number of steps."""
        if not run.values:
            return dict(run.params)
        at = self.best(run.values)
        return run.params | run.extra[at] | ({self.steps: run.steps[at]} if self.steps else {})

    def run(
        self, params: dict[str, Any], *, reduced: dict[str, Any] | None = None, at: list[int] | None = None,
        rescore: bool = False, prune: Callable[[TrialRun], bool] = lambda _: False,
    ) -> TrialRun:  # fmt: skip
        """Fit with `params`, overridden by those of `reduced`, and measure after the iterations in `at` (None: all).

        If the model rejects the parameters or diverges, the exception becomes the run's error.
        """
        start = time.perf_counter()
        run = TrialRun(params, factors=(reduced or {}).get("factors"))
        try:
            model = with_params(self.base, params | (reduced or {}))
        except (TypeError, ValueError) as error:
            run.error = error
            return run
        total = model.get_params()[self.steps] if self.steps else 0
        step_cost = iteration_work(model, self.size) / self.unit
        measuring_cost = self._measuring(model) / self.unit
        run.fits = setup_work(self.size) / self.unit

        def watch(state: Any) -> bool:
            run.fits += step_cost
            if at is not None and state.iteration not in at:
                return False
            run.fits += self._measure(model, run, state.iteration, rescore, state.iteration == total) * measuring_cost
            return prune(run)

        try:
            fit(model, self.split.train, watch, self.features)
            if not run.values:  # no iterations, or stopped before the first measurement
                run.fits += self._measure(model, run, getattr(model, "n_iter_", 0), rescore, True) * measuring_cost
        except ArithmeticError as error:
            run.error = error
        finally:
            run.seconds = time.perf_counter() - start
        log.info("trial in %.2f s: %s with %s", run.seconds, run.error or run.values or "pruned", self.best_params(run))
        return run

    def evaluate(self, model: Any, test: Any) -> Evaluation:
        """Evaluate a model on test interactions."""
        candidates = _pattern(test) if self.among_rated else self.split.candidates
        return evaluate(model, test, k=self.k, metrics=[self.metric], candidates=candidates)

    def _measuring(self, model: FactorModel) -> float:
        return measuring_work(model, self.size, self.split.n_validation, lists=self.metric not in RATING_METRICS)

    def cost(self, reduced: dict[str, Any], times: int) -> float:
        """Return the cost of a trial that is measured `times` times, in full fits that are measured once."""
        model = with_params(self.base, reduced)
        return (fit_work(model, self.size) + times * self._measuring(model)) / self.unit

    def _measure(self, model: Any, run: TrialRun, step: int, rescore: bool, last: bool) -> int:
        """Record the value of a model; return how many times it was evaluated."""
        run.steps.append(step)
        if self.rescoring is None or not rescore:
            run.values.append(self._value(model))
            run.extra.append({})
            return 1
        tried = self._rescored(model, run, self.rescoring, last)
        best = max(tried, key=lambda each: self.sign * tried[each])
        run.values.append(tried[best])
        run.extra.append({self.rescoring.name: best})
        return len(tried)

    def _rescored(self, model: Any, run: TrialRun, rescoring: Rescoring, last: bool) -> dict[float, float]:
        """Return the metric at values of the rescored parameter, by hill climbing from the best value so far.

        The climb runs at the first measurement, on which pruning depends, and at the last, then with smaller steps.
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
        return float(self.evaluate(model, self.split.validation).means[self.key])


def with_params(base: FactorModel, params: dict[str, Any]) -> FactorModel:
    """Return a new model with some parameters changed."""
    return type(base)(**{**base.get_params(), **params})


def fit(model: Any, interactions: Any, callback: Any, features: Mapping[str, Any]) -> Any:
    """Fit with features, without a progress bar, and with the callback if the model takes one."""
    accepted = inspect.signature(model.fit).parameters
    options = {"callback": callback, "show_progress": False, **features}
    return model.fit(interactions, **{name: value for name, value in options.items() if name in accepted})


def _pattern(test: Any) -> Any:
    """Return the stored pairs as a boolean matrix, zeros included."""
    rows = test.matrix if isinstance(test, Interactions) else Table(test).rows.to_scipy()
    return CSR.of(rows.indptr, rows.indices, np.ones(len(rows.data), bool), rows.shape).to_scipy()
