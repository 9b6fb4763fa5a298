"""What a fit costs, in a unit that is about a nanosecond of one core: counted, so that a seed makes the result.

Seconds would be nearer to the truth, but differ from run to run, and with them the number of trials. The constants are
those of a core with AVX-512, measured with 8 to 128 factors on 30,000 x 285 to 30,000 x 41,000 rows and columns; only
what they say about few factors against many matters.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..models import FactorModel

FEWEST_USERS = 1000
LITTLE = 0.05  # of a fit


@dataclass(frozen=True)
class Size:
    """Of the interactions of a fit."""

    users: int
    items: int
    pairs: int


def iteration_work(model: FactorModel, size: Size) -> float:
    """Return the work of one iteration or epoch, in nanoseconds."""
    return model.iteration_work(size.users, size.items, size.pairs)


def setup_work(size: Size) -> float:
    """Return the work of a fit before its first iteration: checks, copies, the transpose."""
    return size.pairs * 150.0


def measuring_work(model: FactorModel, size: Size, n_users: int, *, lists: bool) -> float:
    """Return the work of measuring a model on so many users, by lists or by predictions alone."""
    f: int = model.get_params().get("factors", 1)
    if not lists:
        return float(n_users * (1000 + f))
    return n_users * (6000 + size.items * (60 + f) / 400)


def users_to_measure(model: FactorModel, size: Size, *, lists: bool) -> int:
    """Return how many users to measure: 1000 at least, and then as many as add little to a fit."""
    return max(FEWEST_USERS, int(LITTLE * fit_work(model, size) / measuring_work(model, size, 1, lists=lists)))


def steps_name(model: FactorModel) -> str | None:
    """Return what the model calls its iterations."""
    return next((name for name in ("iterations", "epochs") if name in model.get_params()), None)


def fit_work(model: FactorModel, size: Size) -> float:
    """Return the work of a whole fit: the unit of a budget."""
    steps = steps_name(model)
    times: int = model.get_params()[steps] if steps else 1
    return setup_work(size) + iteration_work(model, size) * times
