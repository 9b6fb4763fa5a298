"""Compare what `tune` finds within the time of 20 fits with 200 trials of full size, on a fifth unseen by both.

    python -m benchmarks tune-budget --folder FOLDER [--model ImplicitALS] [--data msweb ...] [--seeds 0 1 2]

For each data set and seed: the metric of the model's own parameters, of those found by ``tune(model, train)``, and of
those found by ``tune(model, train, n_trials=200)``, fitted on all but the fifth; and the seconds.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

import alternant
from alternant.evaluation import evaluate, random_split
from alternant.tuning import tune

from ..common.command_line import parser
from ..common.data import LOADERS, load
from ..common.results import Report

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Search and print."""
    made = parser("tune-budget", __doc__, folder=None, factors=64, trials=200)
    made.add_argument("--model", default="ImplicitALS")
    made.add_argument("--data", nargs="+", choices=list(LOADERS),
                      default=["msweb", "ml-latest-small", "lastfm-hetrec2011", "gowalla"])  # fmt: skip
    made.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = made.parse_args(arguments)
    if options.folder is None and options.data != ["msweb"]:
        made.error("--folder is needed, which holds one sub-folder a data set")
    report = Report("tune-budget", arguments)
    table = report.table(
        f"{options.model}, f = {options.factors}: the metric of a fifth of the interactions that no search saw, a "
        "random other fifth for each seed",
        "data", "seed", "metric", "its own parameters", "tune", f"{options.trials} trials",
        f"tune / {options.trials} trials", "seconds of tune", f"of {options.trials} trials",
    )  # fmt: skip
    for name in options.data:
        for seed in options.seeds:
            interactions = sp.csr_array(load(name, options.folder)).astype(np.float32)
            train, test = random_split(interactions, 0.2, random_state=1000 + seed)
            model = getattr(alternant, options.model)(factors=options.factors, random_state=0)
            found, spent = [], []
            for given in ({}, {"n_trials": options.trials}):
                begun = time.perf_counter()
                found.append(tune(model, train, random_state=seed, **given))
                spent.append(time.perf_counter() - begun)
                print(found[-1], file=sys.stderr)
            kind, _, k = found[0].metric.partition("@")
            values = [
                evaluate(fitted, test, k=int(k or 20), metrics=[kind]).means[found[0].metric]
                for fitted in (model.fit(train, show_progress=False), *(one.best_model for one in found))
            ]
            table.row(
                name, seed, found[0].metric, *(f"{value:.4f}" for value in values),
                f"{100 * (values[1] / values[2] - 1):+.1f} %", *(f"{each:.0f}" for each in spent),
            )  # fmt: skip
    report.write(options.json)
    return 0
