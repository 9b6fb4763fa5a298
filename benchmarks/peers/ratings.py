"""Ratings: each library's defaults except for factors and threads, and the RMSE of a held-out tenth of the ratings.

    python -m benchmarks ratings --data ml-latest-small --folder FOLDER

The objectives differ; libraries are compared by the error on held-out ratings.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from alternant.evaluation import random_split

from ..common import data
from ..common.shapes import shaped
from .compare import Task, as_float32, not_run, ours_and_peers, run
from .libraries import Alternant, Cmfrec, Cornac, LensKit, Problem, Spark, Surprise
from .report import Measure
from .runner import Entry, Outcome

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

RMSE = Measure("rmse", "RMSE", ".4f", 1e-4)


def problem_of(options: argparse.Namespace, common: dict[str, Any]) -> Problem:
    """Hold out a tenth of the ratings."""
    real = options.data is not None
    matrix = data.load_ratings(options.data, options.folder) if real else shaped(options.shape)
    train, test = random_split(as_float32(matrix), 0.1, random_state=0)
    return Problem(as_float32(train), test.tocoo(), **common)


def evaluate(problem: Problem, _lists: bool, _: Entry, predictions: np.ndarray) -> dict[str, float]:
    """Return the error on the held-out ratings."""
    return {"rmse": float(np.sqrt(np.mean(np.square(predictions - problem.test.data, dtype=np.float64))))}


def missed(outcomes: Sequence[Outcome], at_least: float) -> list[str]:
    """Return why alternant does not reach the RMSE of the best peer so many times as soon, if so."""
    ours, peers = ours_and_peers(outcomes)
    if not ours:
        return ["alternant did not run"]
    if reasons := not_run(ours):
        return reasons
    target = RMSE.target(peers)
    if target is None:
        return ["no peer ran"]
    soon, theirs = (
        min((s for outcome in outcomes if (s := RMSE.seconds(outcome, target)) is not None), default=np.inf)
        for outcomes in (ours, peers)
    )
    if theirs / soon >= at_least:
        return []
    return [f"alternant needs {soon:.3f} s to an RMSE of {target:.4f}, the soonest peer {theirs:.3f} s"]


def _entry(library: Any, name: str, run: Any = None, iterations: int | None = None) -> Entry:
    return Entry.of(
        library, run or library.fit_ratings, name, iterations=iterations or library.rating_iterations,
        same_objective=False, same_start=False,
    )  # fmt: skip


ENTRIES = (
    _entry(Alternant(), "alternant ExplicitALS"),
    _entry(Alternant(), "alternant BiasedMF", Alternant().fit_biased, 30),
    _entry(Cmfrec(), "cmfrec CMF"),
    _entry(Surprise(), "Surprise SVD"),
    _entry(Cornac(), "cornac MF"),
    _entry(LensKit(), "LensKit BiasedMF"),
    _entry(Spark(), "Spark ALS"),
)
TASK = Task(
    "ratings", __doc__, "iteration or epoch", 30, ENTRIES, list(data.RATINGS), (RMSE,), problem_of, evaluate, missed
)
main = partial(run, TASK)
