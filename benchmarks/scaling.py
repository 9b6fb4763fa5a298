"""Time the same fit of ImplicitALS on 1, 2 and far more threads than there are cores, in turn.

    python benchmarks/scaling.py --shape ml20m

Prints seconds an iteration (medians, after the first) and what they are to those of the first number of threads; fails
if the factors differ in a bit.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median
from typing import Any

import numpy as np
from command_line import at_least
from machine import print_machine
from shapes import SHAPES, shaped

from alternant import ImplicitALS


def fit(matrix: Any, threads: int, factors: int, iterations: int) -> tuple[list[float], ImplicitALS]:
    """Return the seconds of the iterations after the first, and the model."""
    at: list[float] = []
    model = ImplicitALS(
        factors=factors, weighting="hu", alpha=1.0, regularization=0.01, regularization_scaling="none",
        iterations=iterations, num_threads=threads, random_state=0,
    )  # fmt: skip
    model.fit(matrix, show_progress=False, callback=lambda _: at.append(time.perf_counter()))
    return np.diff(at).tolist(), model


def main() -> int:
    """Compare; exit 1 if the threads change a bit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="ml1m")
    parser.add_argument("--factors", type=at_least(1), default=64)
    parser.add_argument("--iterations", type=at_least(2), default=4, help="the first does not count")
    parser.add_argument("--rounds", type=at_least(1), default=3)
    parser.add_argument("--threads", type=at_least(1), nargs="+", default=[1, 2, 128])
    options = parser.parse_args()
    matrix = shaped(options.shape)
    seconds: dict[int, list[float]] = {threads: [] for threads in options.threads}
    models: dict[int, ImplicitALS] = {}
    for _ in range(options.rounds):
        for threads, noted in seconds.items():
            each, models[threads] = fit(matrix, threads, options.factors, options.iterations)
            noted += each
    print_machine(None)
    print(f"\n{options.shape}, f = {options.factors}, float32\n")
    print("| threads | seconds an iteration | times as fast |\n|---|---|---|")
    first = options.threads[0]
    for threads, noted in seconds.items():
        print(f"| {threads} | {median(noted):.3f} | {median(seconds[first]) / median(noted):.2f} |")
    same = all(
        np.array_equal(getattr(model, side), getattr(models[first], side))
        for model in models.values()
        for side in ("user_factors", "item_factors")
    )
    print(f"\nfactors are {'equal to the bit' if same else 'DIFFERENT'}")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
