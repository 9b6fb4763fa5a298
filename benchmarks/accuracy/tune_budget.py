"""Compare what `tune` finds within the time of 20 fits with 200 trials of full size, on a fifth unseen by both.

    python -m benchmarks tune-budget --folder FOLDER [--model ImplicitALS] [--data msweb ...] [--seeds 0 1 2]

For each data set and seed: the metric of the model's own parameters, of those found by ``tune(model, train)``, and of
those found by ``tune(model, train, n_trials=200)``, fitted on all but the fifth; and the seconds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

import alternant
from alternant.evaluation import evaluate, random_split
from alternant.tuning import tune

from ..common.command_line import parser
from ..common.data import LOADERS, load
from ..common.results import Report
from ..common.timing import seconds

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
        f"{options.model}, f = {options.factors}", "data", "seed", "parameters", "metric", "seconds", "found"
    )
    for name in options.data:
        for seed in options.seeds:
            interactions = sp.csr_array(load(name, options.folder)).astype(np.float32)
            train, test = random_split(interactions, 0.2, random_state=1000 + seed)
            model = getattr(alternant, options.model)(factors=options.factors, random_state=0)
            ways = {
                "tune": partial(tune, model, train, random_state=seed),
                f"tune(n_trials={options.trials})": partial(
                    tune, model, train, random_state=seed, n_trials=options.trials
                ),
                "its own": partial(model.fit, train, show_progress=False),
            }
            metric = ""
            for way, run in ways.items():
                found: list = []
                spent = seconds(lambda run=run, found=found: found.append(run()))
                fitted = getattr(found[0], "best_model", found[0])
                metric = getattr(found[0], "metric", metric)
                kind, _, k = metric.partition("@")
                value = evaluate(fitted, test, k=int(k or 20), metrics=[kind]).means[metric]
                told = "" if fitted is found[0] else found[0]
                table.row(name, seed, way, f"{metric} {value:.4f}", f"{spent:.0f}", told)
    report.write(options.json)
    return 0
