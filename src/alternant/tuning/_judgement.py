"""What the parameters found are worth, by users whom the search did not measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._result import Comparison
from ._runner import Runner, fit, with_params


@dataclass(frozen=True)
class Judgement:
    """The comparison, and what the model's own parameters are worth on the users of the search."""

    comparison: Comparison
    own_value: float


def judge(runner: Runner, params: dict[str, Any], random_state: Any) -> Judgement | None:
    """Compare parameters with the model's own; None where nobody is left to judge, or the model's own diverge."""
    test = runner.parts.judgement
    if test is None:
        return None
    try:
        own, found = (fit(with_params(runner.base, each), runner.parts.train, None) for each in ({}, params))
    except ArithmeticError:
        return None
    measured = [runner.evaluate(model, test) for model in (found, own)]
    key = runner.key
    if key not in measured[0].per_user:  # coverage and gini are of all users
        return None
    difference = measured[0].difference(measured[1], key, random_state=random_state)
    comparison = Comparison(measured[0].means[key], measured[1].means[key], difference, measured[0].n_users_evaluated)
    return Judgement(comparison, float(runner.evaluate(own, runner.parts.search).means[key]))
