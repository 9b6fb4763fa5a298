"""The result of `tune`: the trials, the best parameters and their comparison with the model's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._utils.display import Displayed, Summary, Table, count
from ..evaluation._report import Interval

if TYPE_CHECKING:
    from optuna import Study

    from .._typing import MaybeNone

Model = TypeVar("Model")
TRIALS_SHOWN = 10


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes
    ----------
    params : dict
        The parameters drawn, and the best number of ``iterations`` or ``epochs``.
    value : float or None
        The metric at that number; None if the trial failed.
    values : list of float
        The metric at each of `steps`.
    state : {"complete", "pruned", "failed"}
    seconds : float
    fits : float
        Cost of the trial, in fits with the model's own parameters.
    steps : list of int
        Iterations or epochs after which the metric was measured; zeros for models without iterations.
    factors : int or None
        Number of factors of a trial of reduced size, which is never the best one; None for full size.
    error : str or None
        Why the trial failed.
    """

    params: dict[str, Any]
    value: float | None
    values: list[float]
    state: str
    seconds: float
    fits: float = 1.0
    steps: list[int] | None = None
    factors: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Comparison:
    """The best trial against the model's own parameters, on holdout users that the search never measured.

    Attributes
    ----------
    found, own : float
        The metric with the parameters found and with the model's own.
    difference : Interval
        ``found - own`` with its paired 95 % interval; see `Evaluation.difference`.
    n_users : int
        Number of holdout users evaluated.
    """

    found: float
    own: float
    difference: Interval
    n_users: int


@dataclass(frozen=True)
class TuneResult(Displayed, Generic[Model]):
    """The result of `tune`; printed as one line.

    Attributes
    ----------
    best_params : dict
        Parameters of the best trial, with the best number of iterations or epochs; the model's own parameters if the
        best trial is no better on the holdout users.
    best_value : float
        Their metric on the validation users.
    best_model : fitted model or None
        Model with these parameters, fitted on all interactions; None without `refit`, or if that fit diverges.
    metric : str
    trials : list of Trial
        All trials in order, including earlier ones of a study that was continued.
    study : optuna.Study
        For Optuna's tables, plots and storage. Trials with fewer factors, whose values do not compare, are left out.
    comparison : Comparison or None
        The best trial against the model's own parameters; None if there are fewer than two holdout users.
    kept_own : bool
        Whether `best_params` are the model's own.
    less_is_better : bool
        Whether the metric is minimized.
    against : str
        Name of the model's own parameters when printed: "the defaults" if they are.
    n_fits : float
        Cost of the search, in fits with the model's own parameters.
    best_events : dict or None
        Of a search on `Events`, the weights and the half-life of the best trial: ``events.interactions(**best_events)``
        are the interactions that `best_model` is fitted on.
    """

    best_params: dict[str, Any]
    best_value: float
    best_model: Model | MaybeNone
    metric: str
    trials: list[Trial]
    study: Study
    comparison: Comparison | None = None
    kept_own: bool = False
    less_is_better: bool = False
    against: str = "the defaults"
    n_fits: float = 0.0
    best_events: dict[str, Any] | MaybeNone = None

    def __repr__(self) -> str:
        return f"TuneResult({self.metric} {self.best_value:.4f} of {count(len(self.trials), 'trial')})"

    def _summary(self) -> Summary:
        sign = 1 if self.less_is_better else -1
        values = [(number, trial, trial.value) for number, trial in enumerate(self.trials) if trial.value is not None]
        best = sorted(values, key=lambda each: (each[1].factors is not None, sign * each[2]))[:TRIALS_SHOWN]
        names = list(dict.fromkeys(name for _, trial, _ in best for name in trial.params))
        rows = [
            (number, value, "all" if trial.factors is None else trial.factors, trial.state, round(trial.seconds, 2),
             *(_plain(trial.params.get(name)) for name in names))
            for number, trial, value in best
        ]  # fmt: skip
        left = len(self.trials) - len(rows)
        more = f"and {count(left, 'more trial')}" if left else ""
        table = Table(("trial", self.metric, "factors", "state", "seconds", *names), rows, "the best trials", more)
        return Summary("TuneResult", {"result": str(self)}, [table])

    def __str__(self) -> str:
        params = {name: value for name, value in self.best_params.items() if value != "auto"} | (self.best_events or {})
        shown = ", ".join(f"{name}={_plain(value)}" for name, value in params.items())
        states = [trial.state for trial in self.trials]
        failed = f" ({states.count('failed')} failed)" if "failed" in states else ""
        spent = f"{len(states)} trials{failed} in {self.n_fits:.3g} fits' worth of time"
        found = self.against if self.kept_own else shown
        return f"{self.metric} {self.best_value:.4f} with {found}{self._describe_comparison()}{spent}"

    def _describe_comparison(self) -> str:
        """Describe how much better the best trial is than the model's own parameters."""
        compared = self.comparison
        if compared is None or not compared.own:
            return ", since no trial was better: " if self.kept_own else ": "
        sign = -100 if self.less_is_better else 100
        value, *bounds = (sign * part / compared.own for part in compared.difference)
        low, high = sorted(bounds)
        better = f"{abs(value):.1f} % {'better' if value >= 0 else 'worse'}"
        interval = f"(95 % interval {low:.1f} to {high:.1f} %)"
        if self.kept_own:
            return f", kept because the best trial is {better} {interval}: "
        return f": {better} than {self.against} {interval}, "


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_plain(each) for each in value)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name!r}: {_plain(each)}' for name, each in value.items())}}}"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
