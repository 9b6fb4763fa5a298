"""Estimated cost of fitting and measuring a model, in roughly nanoseconds of one core.

Costs are counted, not timed, since measured times vary between runs and the number of trials would vary with them. The
constants were measured on a core with AVX-512, with 8 to 128 factors, on 30,000 x 285 to 30,000 x 41,000 rows and
columns; only the ratio between few and many factors matters.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..models import FactorModel

MIN_USERS = 1000
MEASURING_SHARE = 0.05  # of the cost of a fit


@dataclass(frozen=True)
class Size:
    """The size of the interactions of a fit."""

    users: int
    items: int
    pairs: int


def iteration_work(model: FactorModel, size: Size) -> float:
    """Return the cost of one iteration or epoch."""
    return model.iteration_work(size.users, size.items, size.pairs)


def setup_work(size: Size) -> float:
    """Return the cost of a fit before its first iteration: checks, copies and the transpose."""
    return size.pairs * 150.0


def measuring_work(model: FactorModel, size: Size, n_users: int, *, lists: bool) -> float:
    """Return the cost of evaluating `n_users` users, by ranked lists or by predictions alone."""
    f: int = model.get_params().get("factors", 1)
    if not lists:
        return float(n_users * (1000 + f))
    return n_users * (6000 + size.items * (60 + f) / 400)


def users_to_measure(model: FactorModel, size: Size, *, lists: bool) -> int:
    """Return the number of validation users: at least 1000, and more as long as measuring stays cheap against a fit."""
    return max(MIN_USERS, int(MEASURING_SHARE * fit_work(model, size) / measuring_work(model, size, 1, lists=lists)))


def steps_name(model: FactorModel) -> str | None:
    """Return the name of the model's parameter for iterations, if it has one."""
    return next((name for name in ("iterations", "epochs") if name in model.get_params()), None)


def fit_work(model: FactorModel, size: Size) -> float:
    """Return the cost of a whole fit, the unit of a budget."""
    steps = steps_name(model)
    n_steps: int = model.get_params()[steps] if steps else 1
    return setup_work(size) + iteration_work(model, size) * n_steps
