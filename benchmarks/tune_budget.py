"""What `tune` finds within the time of 20 fits, against 200 trials of full size: on a fifth that neither has seen.

    python benchmarks/tune_budget.py FOLDER [--model ImplicitALS] [--data msweb ...] [--trials 200] [--seeds 0 1 2]

For each data set and seed, this prints the metric of the model's own parameters, of those that ``tune(model, train)``
returns, and of those that ``tune(model, train, n_trials=200)`` does, fitted on all but the fifth; and the seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from public_data import load

import alternant
from alternant.evaluation import evaluate, random_split
from alternant.tuning import tune


def main() -> None:
    """Read the command line, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="ImplicitALS")
    parser.add_argument("--data", nargs="+", default=["msweb", "ml-latest-small", "lastfm-hetrec2011", "gowalla"])
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    for name in args.data:
        for seed in args.seeds:
            interactions = sp.csr_array(load(name, args.folder)).astype(np.float32)
            train, test = random_split(interactions, 0.2, random_state=1000 + seed)
            model = getattr(alternant, args.model)(factors=args.factors, random_state=0)
            for how, limits in ("own", None), ("budget=20", {}), (f"n_trials={args.trials}", {"n_trials": args.trials}):
                start = time.perf_counter()
                found = None if limits is None else tune(model, train, random_state=seed, **limits)
                fitted = model.fit(train, show_progress=False) if found is None else found.best_model
                seconds = time.perf_counter() - start
                metric = "rmse" if fitted._rates else "ndcg@20"
                value = evaluate(fitted, test, k=20, metrics=[metric.partition("@")[0]]).means[metric]
                print(f"{name} {seed} {how}: {metric} {value:.4f}, {seconds:.0f} s; {found or ''}", flush=True)


if __name__ == "__main__":
    main()
