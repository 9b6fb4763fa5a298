"""A search within the time of some fits: most trials with few factors and iterations, the last with all of them.

What the first stage shows is carried over by a `Surrogate` for which the number of factors is one more input. Each
stage begins with the model's own parameters, by whose values those of the others are measured. A trial whose value
after some iterations is below the median of the stage's earlier ones is ended.
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
from tqdm import tqdm

from ._inputs import Inputs
from ._result import Trial
from ._runner import Limits, Run, Runner
from ._space import Space
from ._study import record
from ._surrogate import Surrogate

CHEAP_SHARE = 0.35  # of the budget, for the first stage
FEWEST_FACTORS = 8
N_CANDIDATES = 500
LEAST = 0.02  # fits that a trial counts as: one whose parameters are refused costs nothing, but the search must end
# Parts of the iterations after which trials are measured, and ended or not; not before: what is regularized more goes
# ahead later.
MEASURED = {True: (0.4, 0.7, 1.0), False: (0.5, 1.0)}  # of trials of full size, of others
BAR = "{l_bar}{bar}| {n:.1f}/{total:.0f} fits [{elapsed}]"


@dataclass(frozen=True)
class Stage:
    """Trials of one size."""

    factors: int | None  # None: all
    iterations: int | None
    share: float  # of the budget that is spent when it ends
    z: float  # the input of the surrogate

    def reduced(self, runner: Runner, params: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters that make a fit smaller."""
        if self.factors is None:
            return {}
        out: dict[str, Any] = {runner.steps: self.iterations} if runner.steps else {}
        full = params.get("factors", runner.base.get_params()["factors"])
        return out | {"factors": fewer(full)}


def fewer(factors: int) -> int:
    """Return how many factors do for the first stage."""
    return min(factors, max(FEWEST_FACTORS, factors // 4))


def stages_of(runner: Runner, budget: float, n_trials: int | None) -> list[Stage]:
    """Return the stages; one, of whole fits, where smaller ones would cost about as much, or few are wanted."""
    full = Stage(None, None, 1.0, 1.0)
    params = runner.base.get_params()
    if "factors" not in params or (n_trials is not None and n_trials < 6) or budget < 3:
        return [full]
    iterations = math.ceil(params[runner.steps] / 2) if runner.steps else None
    cheap = Stage(fewer(params["factors"]), iterations, CHEAP_SHARE, 0.0)
    return [cheap, full] if runner.work(cheap.reduced(runner, {}), 1) < 0.6 else [full]


class StagedSearch:
    """The search; `tell` gets each trial and its place in the space, None for the model's own parameters."""

    def __init__(
        self, runner: Runner, inputs: Inputs, own: NDArray[np.float64] | None, limits: Limits,
        rng: np.random.Generator, tell: Callable[[Run, NDArray[np.float64] | None], None],
    ) -> None:  # fmt: skip
        self.runner, self.inputs, self.own, self.rng, self.tell = runner, inputs, own, rng, tell
        # The judgement has its part, too.
        budget = limits.budget or 0.0
        self.budget, self.n_trials = budget - min(2.0, budget / 2), limits.n_trials
        self.ends = math.inf if limits.timeout is None else time.perf_counter() + limits.timeout
        self.n_runs, self.spent = 0, 0.0
        self.seen: set[tuple[float, tuple[Any, ...]]] = set()
        self.points: list[tuple[NDArray[np.float64], float, float]] = []  # place in the space, stage's z, value
        self.surrogate = Surrogate(inputs.width, rng)

    def search(self) -> None:
        """Run all stages; the last has at least one trial beside the model's own parameters."""
        for stage in (stages := stages_of(self.runner, self.budget, self.n_trials)):
            self._stage(stage, first=stage is stages[0], last=stage is stages[-1])

    def _stage(self, stage: Stage, *, first: bool, last: bool) -> None:
        steps = stage.iterations if stage.factors is not None else self._own_steps()
        at = self._measured_at(stage, steps)
        reference = _Reference(self.runner)
        self._try(stage, None, at, reference)
        design: list[NDArray[np.float64]] = []
        if first:
            n = 2 * self.inputs.dimensions + 2
            design = self._unseen(qmc.Halton(self.inputs.dimensions, seed=self.rng).random(n), stage)
        most = math.inf if self.n_trials is None else self.n_trials if last else self.n_trials * 2 // 3
        n_here = 1
        while self.n_runs < most or (last and n_here < 2 and most > 1):
            enough = self.spent >= stage.share * self.budget or time.perf_counter() > self.ends
            if enough and not (last and n_here < 2):
                break
            u = design.pop(0) if design else self._propose(stage, greedy=not first and n_here == 1)
            if u is None:  # all has been tried
                break
            self._try(stage, u, at, reference)
            n_here += 1

    def _unseen(self, places: NDArray[np.float64], stage: Stage) -> list[NDArray[np.float64]]:
        """Return the places that stand for parameters that the stage has not tried."""
        new = {(stage.z, tuple(self.inputs.stored(u).values())): u for u in places[::-1]}
        return [u for key, u in reversed(new.items()) if key not in self.seen]

    def _measured_at(self, stage: Stage, steps: int | None) -> list[int]:
        """Return after which iterations to measure, less often where that would add more than half to the work."""
        if steps is None:
            return []
        reduced = stage.reduced(self.runner, {})
        once, twice = (self.runner.work(reduced, times) for times in (1, 2))
        parts = MEASURED[stage.factors is None][-max(1, int(0.5 * once / (twice - once))) :]
        return sorted({math.ceil(steps * part) for part in parts})

    def _own_steps(self) -> int | None:
        return self.runner.base.get_params()[self.runner.steps] if self.runner.steps else None

    def _try(self, stage: Stage, u: NDArray[np.float64] | None, at: list[int], reference: _Reference) -> None:
        """Run one trial; u None: the model's own parameters."""
        params = {} if u is None else self.inputs.params(u)
        run = self.runner.run(
            params, reduced=stage.reduced(self.runner, params), at=at, free=u is not None,
            stop=(lambda _: False) if u is None else reference.ends_early,
        )  # fmt: skip
        reference.take(run)
        self.spent += max(run.fits, LEAST)
        self.n_runs += 1
        if self.runner.rescoring is not None and u is not None and reference.finished:
            best = max(reference.finished, key=lambda each: self.runner.sign * each.values[-1])
            if self.runner.rescoring.name in best.extra[-1]:
                self.runner.rescored = (best.extra[-1][self.runner.rescoring.name],)
        place = self.own if u is None else u
        if place is not None:
            self.seen.add((stage.z, tuple(self.inputs.stored(place).values())))
            self.points.append((place, stage.z, reference.worth(run)))
        self.tell(run, u)

    def _propose(self, stage: Stage, *, greedy: bool) -> NDArray[np.float64] | None:
        """Return where most is to be expected; `greedy`: what looks best, without a bonus for what is not known."""
        places = np.array([place for place, _, _ in self.points])
        z = np.array([each for _, each, _ in self.points])
        y = np.array([value for _, _, value in self.points])
        failed = np.isnan(y)
        alone = bool((z == stage.z).all())
        if len(y) < 2 or failed.all():
            anywhere = self._unseen(self.rng.random((N_CANDIDATES, self.inputs.dimensions)), stage)
            return anywhere[0] if anywhere else None
        y = np.where(failed, np.nanmin(y), y)
        self.surrogate.fit(self.inputs.expand(places), z, y)
        here = np.flatnonzero(z == stage.z)
        best = places[np.argsort(-y)[:3]] if greedy or len(here) < 3 else places[here[np.argsort(-y[here])[:3]]]
        # With all factors there is not the time to look everywhere once more.
        candidates = self.inputs.candidates(best, N_CANDIDATES, self.rng, everywhere=stage.factors is not None or alone)
        if self.inputs.finite or greedy:
            candidates = np.array(self._unseen(np.r_[candidates, best] if greedy else candidates, stage))
        if len(candidates) == 0:
            return None
        if greedy:
            value = self.surrogate.predict(self.inputs.expand(candidates), stage.z)[0]
        else:
            at = y[here].max() if len(here) else y.max()
            value = self.surrogate.expected_improvement(self.inputs.expand(candidates), stage.z, float(at))
        return np.asarray(candidates[int(np.argmax(value))])


class _Reference:
    """The values of a stage's model's own parameters, and of the trials after it."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.own: dict[int, float] = {}  # best value up to a step
        self.others: dict[int, list[float]] = {}
        self.finished: list[Run] = []

    def take(self, run: Run) -> None:
        """Note a trial; the first is that of the model's own parameters."""
        for n, step in enumerate(run.steps, 1):
            value = self._best(run.values[:n])
            self.own.setdefault(step, value)
            self.others.setdefault(step, []).append(self._relative(value, step))
        if run.values and run.error is None and not run.pruned:
            self.finished.append(run)

    def worth(self, run: Run) -> float:
        """Return how much better a trial is than the model's own parameters after as many iterations."""
        if not run.values or run.error is not None:
            return np.nan
        step = run.steps[-1]
        value = self._relative(self._best(run.values), step)
        if not run.pruned or not self.finished:
            return value
        # What it lacks of the best after as many iterations, it is taken to lack in the end.
        best = max(self.finished, key=lambda each: self.runner.sign * self._best(each.values))
        ahead = [best.values[n] for n, each in enumerate(best.steps) if each <= step]
        now = self._relative(self._best(ahead or best.values), step)
        return value - now + self._relative(self._best(best.values), best.steps[-1])

    def ends_early(self, run: Run) -> bool:
        """Whether to end a trial: it is below the median, or has been falling for two measurements."""
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
    runner: Runner, space: Space, own: dict[str, Any], limits: Limits, study: Any, optuna: Any, random_state: Any,
    show_progress: bool,
) -> list[Trial]:  # fmt: skip
    """Search, keep the trials of full size in a study, and return all."""
    rescoring = runner.rescoring
    inputs = Inputs(space, None if rescoring is None else rescoring.name)
    if rescoring is not None:
        start = min(max(own[rescoring.name] or 0.0, rescoring.low), rescoring.high)
        runner.rescored = (start, (rescoring.low + rescoring.high) / 2)
    held = space.holding(own)
    shown = {name: runner.base.get_params()[name] for name in space.distributions}
    trials: list[Trial] = []
    with tqdm(total=limits.budget, unit="fit", disable=not show_progress, bar_format=BAR) as bar:

        def tell(run: Run, u: NDArray[np.float64] | None) -> None:
            params = runner.best_params(run) if u is not None else shown | runner.best_params(run)
            trials.append(described(run, runner, params))
            if run.factors is None:
                stored = inputs.stored(u) if u is not None else held if len(held) == len(shown) else {}
                record(study, optuna, run, runner, stored, space)
            bar.update(run.fits)

        StagedSearch(runner, inputs, inputs.place(held), limits, np.random.default_rng(random_state), tell).search()
    return trials


def described(run: Run, runner: Runner, params: dict[str, Any]) -> Trial:
    """Return a run as a trial."""
    state = "failed" if run.error is not None else "pruned" if run.pruned else "complete"
    value = None if state == "failed" or not run.values else run.values[runner.best(run.values)]
    error = None if run.error is None else str(run.error)
    return Trial(params, value, run.values, state, run.seconds, run.fits, run.steps, run.factors, error)
