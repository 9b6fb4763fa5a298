"""What `tune` returns: the trials, what was found, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..evaluation._report import Interval


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes
    ----------
    params : dict
        What was drawn, and as ``iterations`` or ``epochs`` how many of them were best.
    value : float or None
        The metric after that many; None for a trial that failed.
    values : list of float
        The metric each time that it was measured.
    state : {"complete", "pruned", "failed"}
    seconds : float
    fits : float
        The work done, where that of a fit with the model's own parameters is 1.
    steps : list of int
        After which iterations or epochs it was measured; all zero for a model without.
    factors : int or None
        With how many factors, where these were fewer than asked for; such a trial is never the best one.
    error : str or None
        Why it failed.
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
    """What the best trial is worth against the model's own parameters, on users whom the search never measured.

    Attributes
    ----------
    found, own : float
        The metric with the parameters found, and with the model's own.
    difference : Interval
        ``found - own`` with its 95 % interval, of these users in pairs; see `Evaluation.difference`.
    n_users : int
    """

    found: float
    own: float
    difference: Interval
    n_users: int


@dataclass(frozen=True)
class TuneResult:
    """What `tune` found. Printed, it is one line.

    Attributes
    ----------
    best_params : dict
        Parameters of the best trial, with the number of iterations or epochs that were best; or, where that trial did
        no better than they do on users whom the search never measured, the model's own.
    best_value : float
        Their metric on the validation part.
    best_model : fitted model or None
        Fitted with these on all interactions, where `refit` is on and the fit does not diverge.
    metric : str
    trials : list of Trial
        In their order, those of a study that was gone on with included.
    study : optuna.Study
        For Optuna's own tables, plots and storage; without the trials with few factors, whose values are others.
    comparison : Comparison or None
        What the best trial is worth; None where there are fewer than two users to measure.
    kept_own : bool
        Whether `best_params` are the model's own.
    less_is_better : bool
        Of the metric.
    against : str
        What the model's own parameters are called: the defaults, where they are.
    n_fits : float
        The work done, where that of a fit with the model's own parameters is 1.
    """

    best_params: dict[str, Any]
    best_value: float
    best_model: Any
    metric: str
    trials: list[Trial]
    study: Any
    comparison: Comparison | None = None
    kept_own: bool = False
    less_is_better: bool = False
    against: str = "the defaults"
    n_fits: float = 0.0

    def __str__(self) -> str:
        params = {name: value for name, value in self.best_params.items() if value != "auto"}
        shown = ", ".join(f"{name}={_plain(value)}" for name, value in params.items())
        states = [trial.state for trial in self.trials]
        failed = f" ({states.count('failed')} failed)" if "failed" in states else ""
        spent = f"{len(states)} trials{failed} in {self.n_fits:.3g} fits' worth of time"
        return (
            f"{self.metric} {self.best_value:.4f} with {self.against if self.kept_own else shown}{self._worth()}{spent}"
        )

    def _worth(self) -> str:
        """Return how much better the best trial is than the model's own parameters."""
        one = self.comparison
        if one is None or not one.own:
            return ", which nothing else was better than: " if self.kept_own else ": "
        sign = -100 if self.less_is_better else 100
        value, *bounds = (sign * part / one.own for part in one.difference)
        low, high = sorted(bounds)
        better = f"{abs(value):.1f} % {'better' if value >= 0 else 'worse'}"
        interval = f"(95 % interval {low:.1f} to {high:.1f} %)"
        if self.kept_own:
            return f", kept because what was found is {better} {interval}: "
        return f": {better} than {self.against} {interval}, "


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_plain(each) for each in value)})"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
