"""Search with an Optuna study: trials of full size, drawn by its sampler and pruned by its pruner."""

from __future__ import annotations

from typing import Any

from ._result import Trial
from ._runner import Limits, TrialRun, TrialRunner
from ._space import FunctionSpace, Space


class CombinationError(Exception):
    """The model rejects this combination of parameters."""


class StudySearch:
    """A search whose trials are run by an Optuna study."""

    def __init__(self, runner: TrialRunner, space: Space | FunctionSpace, optuna: Any, limits: Limits) -> None:
        self.runner, self.space, self.optuna, self.limits = runner, space, optuna, limits
        self.drawn: dict[int, dict[str, Any]] = {}
        self.cost = 0.0

    def search(self, study: Any, *, show_progress: bool) -> list[Trial]:
        """Run trials and return all finished trials of the study."""
        study.optimize(
            self.run, self.limits.n_trials, timeout=self.limits.timeout, callbacks=[self._stop],
            catch=(ArithmeticError, CombinationError), show_progress_bar=show_progress,
        )  # fmt: skip
        return [self.describe(trial) for trial in study.trials if trial.state.is_finished()]

    def run(self, trial: Any) -> float:
        """Fit, measure after each iteration, and return the best value."""
        params = self.drawn[trial.number] = self.space.draw(trial)

        def prune(run: TrialRun) -> bool:
            trial.report(run.values[-1], len(run.values))
            run.pruned = bool(trial.should_prune())
            return run.pruned

        run = self.runner.run(params, prune=prune)
        self.cost += run.fits
        trial.set_user_attr("alternant", attributes_of(run))
        if run.error is not None:
            if isinstance(run.error, ArithmeticError):
                raise run.error
            raise CombinationError(str(run.error)) from run.error
        if run.pruned:
            raise self.optuna.TrialPruned
        return run.values[self.runner.best(run.values)]

    def describe(self, trial: Any) -> Trial:
        """Return a finished trial of the study."""
        attributes = trial.user_attrs.get("alternant", attributes_of(TrialRun({})))
        drawn = self.drawn.get(trial.number)  # None for a trial of an earlier search
        params = dict(self.space.decode(trial.params) if drawn is None else drawn)
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
        value, values = None, attributes["values"]
        if values:
            at = self.runner.best(values)
            if self.runner.steps:
                params[self.runner.steps] = attributes["steps"][at]
            value = values[at] if state != "failed" else None
        return Trial(
            params, value, values, state, attributes["seconds"], attributes["fits"], attributes["steps"],
            error=attributes["error"],
        )  # fmt: skip

    def _stop(self, study: Any, _: Any) -> None:
        if self.limits.budget is not None and self.cost >= self.limits.budget:
            study.stop()


def attributes_of(run: TrialRun) -> dict[str, Any]:
    """Return the user attributes that the study stores for a run."""
    return {"values": run.values, "seconds": run.seconds, "steps": run.steps, "fits": run.fits,
            "error": None if run.error is None else str(run.error)}  # fmt: skip


def record(study: Any, optuna: Any, run: TrialRun, runner: TrialRunner, stored: dict[str, Any], space: Space) -> None:
    """Add a finished run of full size to a study."""
    states = optuna.trial.TrialState
    state = states.FAIL if run.error is not None else states.PRUNED if run.pruned else states.COMPLETE
    extra = run.extra[runner.best(run.values)] if run.values else {}
    stored = stored | extra
    study.add_trial(
        optuna.trial.create_trial(
            state=state, value=run.values[runner.best(run.values)] if state is states.COMPLETE else None, params=stored,
            distributions={name: space.distributions[name] for name in stored},
            intermediate_values=dict(enumerate(run.values, 1)), user_attrs={"alternant": attributes_of(run)},
        )
    )  # fmt: skip
