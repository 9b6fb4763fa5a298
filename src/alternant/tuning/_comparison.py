"""Comparison of the parameters found with the model's own, on holdout users that the search never measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._result import Comparison
from ._runner import TrialRunner, fit, with_params


@dataclass(frozen=True)
class HoldoutComparison:
    """The comparison on the holdout users, and the value of the model's own parameters on the validation users."""

    comparison: Comparison
    own_value: float


def compare_on_holdout(runner: TrialRunner, params: dict[str, Any], random_state: Any) -> HoldoutComparison | None:
    """Compare parameters with the model's own; None without holdout users, or if either fit diverges."""
    holdout = runner.split.holdout
    if holdout is None:
        return None
    try:
        own, found = (
            fit(with_params(runner.base, each), runner.split.train, None, runner.features) for each in ({}, params)
        )
    except ArithmeticError:
        return None
    evaluations = [runner.evaluate(model, holdout) for model in (found, own)]
    key = runner.key
    if key not in evaluations[0].per_user:  # coverage and gini are not per user
        return None
    difference = evaluations[0].difference(evaluations[1], key, random_state=random_state)
    comparison = Comparison(
        evaluations[0].means[key], evaluations[1].means[key], difference, evaluations[0].n_users_evaluated
    )
    return HoldoutComparison(comparison, float(runner.evaluate(own, runner.split.validation).means[key]))
