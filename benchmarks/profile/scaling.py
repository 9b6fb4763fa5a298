"""Time the same fit of ImplicitALS on 1, 2 and far more threads than cores, in turn.

    python -m benchmarks scaling --shape ml20m

Prints seconds per iteration (medians, after the first) and the speedup over the first number of threads; fails if the
factors differ in a bit.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from alternant import ImplicitALS

from ..common.command_line import exit_status, parser
from ..common.results import Report
from ..common.shapes import shaped
from ..common.timing import take_turns

if TYPE_CHECKING:
    from collections.abc import Sequence


def fit(matrix: Any, threads: int, factors: int, iterations: int) -> tuple[list[float], ImplicitALS]:
    """Return the seconds of the iterations after the first, and the model."""
    at: list[float] = []
    model = ImplicitALS(
        factors=factors, weighting="hu", alpha=1.0, regularization=0.01, regularization_scaling="none",
        iterations=iterations, num_threads=threads, random_state=0,
    )  # fmt: skip
    model.fit(matrix, show_progress=False, callback=lambda _: at.append(time.perf_counter()))
    return np.diff(at).tolist(), model


def main(arguments: Sequence[str]) -> int:
    """Compare; exit 1 if the number of threads changes a bit."""
    made = parser("scaling", __doc__, shape="ml1m", factors=64, iterations=4, rounds=3, threads=[1, 2, 128])
    options = made.parse_args(arguments)
    matrix = shaped(options.shape)
    runs = {
        threads: partial(fit, matrix, threads, options.factors, options.iterations) for threads in options.threads
    }  # fmt: skip
    fits = take_turns(runs, options.rounds, warm_up=False)
    each = {threads: median(s for seconds, _ in done for s in seconds) for threads, done in fits.items()}
    models = [model for done in fits.values() for _, model in done[-1:]]
    report = Report("scaling", arguments)
    table = report.table(
        f"{options.shape}, f = {options.factors}, float32", "threads", "seconds an iteration", "times as fast"
    )
    for threads, value in each.items():
        table.row(threads, f"{value:.3f}", f"{each[options.threads[0]] / value:.2f}")
    same = all(
        np.array_equal(getattr(model, side), getattr(models[0], side))
        for model in models
        for side in ("user_factors", "item_factors")
    )
    report.note(f"The factors are {'equal to the bit' if same else 'DIFFERENT'}.")
    report.write(options.json)
    return exit_status([] if same else ["the number of threads changes the factors"])
