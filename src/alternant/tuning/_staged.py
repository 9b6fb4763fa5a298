"""Multi-fidelity search under a budget: a stage of trials with few factors and iterations, then one of full size.

A `Surrogate`, to which the size of the trial is an input, transfers the results of the first stage to the second. Each
stage starts with the model's own parameters, and the values of its other trials are relative to theirs. A trial whose
value after some iterations is below the median of the earlier trials of its stage is pruned.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from .._utils.progress import progress_bar
from ._result import Trial
from ._runner import Limits, TrialRun, TrialRunner
from ._space import Space
from ._study import record
from ._surrogate import Surrogate
from ._unit_cube import UnitCube

FIRST_STAGE_SHARE = 0.35  # of the budget
MIN_FACTORS = 8
N_CANDIDATES = 500
MIN_COST = 0.02  # of a trial, in fits: one whose parameters are rejected costs nothing, but the search must end
# Fractions of the iterations at which trials are measured, and pruned or not. No earlier: strongly regularized fits
# overtake others late.
FULL_SIZE_FRACTIONS = (0.4, 0.7, 1.0)
REDUCED_FRACTIONS = (0.5, 1.0)
BAR = "{l_bar}{bar}| {n:.1f}/{total:.0f} fits [{elapsed}]"


@dataclass(frozen=True)
class Stage:
    """Trials of one size."""

    factors: int | None  # None for full size
    iterations: int | None
    share: float  # of the budget spent at the end of the stage
    z: float  # the surrogate's input for the size

    def overrides(self, runner: TrialRunner, params: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters that reduce the size of a fit."""
        if self.factors is None:
            return {}
        out: dict[str, Any] = {runner.steps: self.iterations} if runner.steps else {}
        full = params.get("factors", runner.base.get_params()["factors"])
        return out | {"factors": reduced_factors(full)}


def reduced_factors(factors: int) -> int:
    """Return the number of factors of the first stage."""
    return min(factors, max(MIN_FACTORS, factors // 4))


def stages_of(runner: TrialRunner, budget: float, n_trials: int | None) -> list[Stage]:
    """Return the stages: only one, of full size, if reduced fits would save little or there are few trials."""
    full = Stage(None, None, 1.0, 1.0)
    params = runner.base.get_params()
    if "factors" not in params or (n_trials is not None and n_trials < 6) or budget < 3:
        return [full]
    iterations = math.ceil(params[runner.steps] / 2) if runner.steps else None
    reduced = Stage(reduced_factors(params["factors"]), iterations, FIRST_STAGE_SHARE, 0.0)
    return [reduced, full] if runner.cost(reduced.overrides(runner, {}), 1) < 0.6 else [full]


class StagedSearch:
    """The search; calls `tell` with each trial and its point, None for the model's own parameters."""

    def __init__(
        self, runner: TrialRunner, cube: UnitCube, own: NDArray[np.float64] | None, limits: Limits,
        rng: np.random.Generator, tell: Callable[[TrialRun, NDArray[np.float64] | None], None],
    ) -> None:  # fmt: skip
        self.runner, self.cube, self.own, self.rng, self.tell = runner, cube, own, rng, tell
        budget = limits.budget or 0.0
        # Two fits are left for the comparison.
        self.budget, self.n_trials = budget - min(2.0, budget / 2), limits.n_trials
        self.deadline = math.inf if limits.timeout is None else time.perf_counter() + limits.timeout
        self.n_runs, self.cost = 0, 0.0
        self.seen: set[tuple[float, tuple[Any, ...]]] = set()
        self.points: list[tuple[NDArray[np.float64], float, float]] = []  # point, the stage's z, value
        self.surrogate = Surrogate(cube.width, rng)

    def search(self) -> None:
        """Run all stages; the last has at least one trial besides the model's own parameters."""
        for stage in (stages := stages_of(self.runner, self.budget, self.n_trials)):
            self._stage(stage, first=stage is stages[0], last=stage is stages[-1])

    def _stage(self, stage: Stage, *, first: bool, last: bool) -> None:
        steps = stage.iterations if stage.factors is not None else self._own_steps()
        at = self._measured_at(stage, steps)
        baseline = _StageBaseline(self.runner)
        self._try(stage, None, at, baseline)
        design: list[NDArray[np.float64]] = []
        if first:
            n = 2 * self.cube.dimensions + 2
            design = self._unseen(qmc.Halton(self.cube.dimensions, seed=self.rng).random(n), stage)
        limit = math.inf if self.n_trials is None else self.n_trials if last else self.n_trials * 2 // 3
        n_here = 1
        while self.n_runs < limit or (last and n_here < 2 and limit > 1):
            spent = self.cost >= stage.share * self.budget or time.perf_counter() > self.deadline
            if spent and not (last and n_here < 2):
                break
            u = design.pop(0) if design else self._propose(stage, greedy=not first and n_here == 1)
            if u is None:  # the space is exhausted
                break
            self._try(stage, u, at, baseline)
            n_here += 1

    def _unseen(self, points: NDArray[np.float64], stage: Stage) -> list[NDArray[np.float64]]:
        """Return the points whose parameters the stage has not tried."""
        new = {(stage.z, tuple(self.cube.stored(u).values())): u for u in points[::-1]}
        return [u for key, u in reversed(new.items()) if key not in self.seen]

    def _measured_at(self, stage: Stage, steps: int | None) -> list[int]:
        """Return the iterations to measure at, fewer if measuring would add more than half to the cost."""
        if steps is None:
            return []
        reduced = stage.overrides(self.runner, {})
        once, twice = (self.runner.cost(reduced, times) for times in (1, 2))
        fractions = FULL_SIZE_FRACTIONS if stage.factors is None else REDUCED_FRACTIONS
        affordable = fractions[-max(1, int(0.5 * once / (twice - once))) :]
        return sorted({math.ceil(steps * fraction) for fraction in affordable})

    def _own_steps(self) -> int | None:
        return self.runner.base.get_params()[self.runner.steps] if self.runner.steps else None

    def _try(self, stage: Stage, u: NDArray[np.float64] | None, at: list[int], baseline: _StageBaseline) -> None:
        """Run one trial, with the model's own parameters if `u` is None."""
        params = {} if u is None else self.cube.params(u)
        run = self.runner.run(
            params, reduced=stage.overrides(self.runner, params), at=at, rescore=u is not None,
            prune=(lambda _: False) if u is None else baseline.prunes,
        )  # fmt: skip
        baseline.add(run)
        self.cost += max(run.fits, MIN_COST)
        self.n_runs += 1
        if self.runner.rescoring is not None and u is not None and baseline.finished:
            best = max(baseline.finished, key=lambda each: self.runner.sign * each.values[-1])
            if self.runner.rescoring.name in best.extra[-1]:
                self.runner.rescored = (best.extra[-1][self.runner.rescoring.name],)
        point = self.own if u is None else u
        if point is not None:
            self.seen.add((stage.z, tuple(self.cube.stored(point).values())))
            self.points.append((point, stage.z, baseline.relative_value(run)))
        self.tell(run, u)

    def _propose(self, stage: Stage, *, greedy: bool) -> NDArray[np.float64] | None:
        """Return the point of greatest expected improvement or, if `greedy`, of greatest predicted value."""
        points = np.array([point for point, _, _ in self.points])
        z = np.array([each for _, each, _ in self.points])
        y = np.array([value for _, _, value in self.points])
        failed = np.isnan(y)
        only_stage = bool((z == stage.z).all())
        if len(y) < 2 or failed.all():
            anywhere = self._unseen(self.rng.random((N_CANDIDATES, self.cube.dimensions)), stage)
            return anywhere[0] if anywhere else None
        y = np.where(failed, np.nanmin(y), y)
        self.surrogate.fit(self.cube.encode(points), z, y)
        here = np.flatnonzero(z == stage.z)
        best = points[np.argsort(-y)[:3]] if greedy or len(here) < 3 else points[here[np.argsort(-y[here])[:3]]]
        # The budget for full size is too small to explore the whole space again.
        everywhere = stage.factors is not None or only_stage
        candidates = self.cube.candidates(best, N_CANDIDATES, self.rng, everywhere=everywhere)
        if self.cube.finite or greedy:
            candidates = np.array(self._unseen(np.r_[candidates, best] if greedy else candidates, stage))
        if len(candidates) == 0:
            return None
        if greedy:
            value = self.surrogate.predict(self.cube.encode(candidates), stage.z)[0]
        else:
            incumbent = y[here].max() if len(here) else y.max()
            value = self.surrogate.expected_improvement(self.cube.encode(candidates), stage.z, float(incumbent))
        return np.asarray(candidates[int(np.argmax(value))])


class _StageBaseline:
    """The values of the model's own parameters in a stage, and those of its other trials relative to them."""

    def __init__(self, runner: TrialRunner) -> None:
        self.runner = runner
        self.own: dict[int, float] = {}  # best value up to a step
        self.others: dict[int, list[float]] = {}
        self.finished: list[TrialRun] = []

    def add(self, run: TrialRun) -> None:
        """Add a trial; the first is that of the model's own parameters."""
        for n, step in enumerate(run.steps, 1):
            value = self._best(run.values[:n])
            self.own.setdefault(step, value)
            self.others.setdefault(step, []).append(self._relative(value, step))
        if run.values and run.error is None and not run.pruned:
            self.finished.append(run)

    def relative_value(self, run: TrialRun) -> float:
        """Return the value of a trial relative to the model's own parameters after the same number of iterations."""
        if not run.values or run.error is not None:
            return np.nan
        step = run.steps[-1]
        value = self._relative(self._best(run.values), step)
        if not run.pruned or not self.finished:
            return value
        # A pruned trial is assumed to stay as far below the best as it was when pruned.
        best = max(self.finished, key=lambda each: self.runner.sign * self._best(each.values))
        until_then = [best.values[n] for n, each in enumerate(best.steps) if each <= step]
        now = self._relative(self._best(until_then or best.values), step)
        return value - now + self._relative(self._best(best.values), best.steps[-1])

    def prunes(self, run: TrialRun) -> bool:
        """Return whether to end a trial: it is below the median, or its best value is two measurements old."""
        step, others = run.steps[-1], self.others.get(run.steps[-1], [])
        value = self._relative(self._best(run.values), step)
        run.pruned = len(others) >= 4 and bool(value < np.median(others))
        return run.pruned or self.runner.best(run.values) < len(run.values) - 2

    def _best(self, values: list[float]) -> float:
        return values[self.runner.best(values)]

    def _relative(self, value: float, step: int) -> float:
        own = self.own.get(step, value)
        return self.runner.sign * (value - own) / (abs(own) or 1.0)


def search_staged(
    runner: TrialRunner, space: Space, own: dict[str, Any], limits: Limits, study: Any, optuna: Any, random_state: Any,
    show_progress: bool,
) -> list[Trial]:  # fmt: skip
    """Search, add the trials of full size to a study, and return all trials."""
    rescoring = runner.rescoring
    cube = UnitCube(space, None if rescoring is None else rescoring.name)
    if rescoring is not None:
        start = min(max(own[rescoring.name] or 0.0, rescoring.low), rescoring.high)
        runner.rescored = (start, (rescoring.low + rescoring.high) / 2)
    initial = space.stored(own)
    shown = {name: runner.base.get_params()[name] for name in space.distributions}
    trials: list[Trial] = []
    with progress_bar(limits.budget, show_progress, unit="fit", bar_format=BAR) as bar:

        def tell(run: TrialRun, u: NDArray[np.float64] | None) -> None:
            params = runner.best_params(run) if u is not None else shown | runner.best_params(run)
            trials.append(trial_of(run, runner, params))
            if run.factors is None:
                stored = cube.stored(u) if u is not None else initial if len(initial) == len(shown) else {}
                record(study, optuna, run, runner, stored, space)
            bar.update(run.fits)

        StagedSearch(runner, cube, cube.point(initial), limits, np.random.default_rng(random_state), tell).search()
    return trials


def trial_of(run: TrialRun, runner: TrialRunner, params: dict[str, Any]) -> Trial:
    """Convert a run to a trial."""
    state = "failed" if run.error is not None else "pruned" if run.pruned else "complete"
    value = None if state == "failed" or not run.values else run.values[runner.best(run.values)]
    error = None if run.error is None else str(run.error)
    return Trial(params, value, run.values, state, run.seconds, run.fits, run.steps, run.factors, error)
