"""Choose the default parameters of ImplicitALS: leave-one-out NDCG@10 on real data.

    python benchmarks/choose_defaults.py FOLDER [--trials 80] [--factors 64] [--seeds 2]

Draws settings at random, then near the best so far, scores each on every data set, and ranks them by the mean over data
sets of NDCG@10 relative to the best setting of that data set: a default must be good everywhere rather than best
somewhere. The settings that the constructor has today, and popularity, are always among them.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from public_data import LOADERS, load
from search import print_ranking, relative_to_best, search

from alternant import ImplicitALS, Popularity
from alternant.evaluation import leave_one_out, ranking_metrics

MAX_TEST_USERS = 10_000  # enough for a standard error of 0.003


def draw(rng: np.random.Generator) -> dict[str, object]:
    """Draw one setting from what papers and peers recommend."""
    weighting = str(rng.choice(["hu", "log", "ials"], p=[0.2, 0.4, 0.4]))
    scaling = str(rng.choice(["none", "count", "ials"], p=[0.3, 0.2, 0.5]))
    setting: dict[str, object] = {"weighting": weighting, "regularization_scaling": scaling}
    if weighting == "ials":
        setting["unobserved_weight"] = float(np.round(10 ** rng.uniform(-2.5, 0), 4))
    else:
        setting["alpha"] = float(np.round(10 ** rng.uniform(-0.5, 2), 2))
        if weighting == "log":
            setting["epsilon"] = float(rng.choice([0.1, 1.0, 10.0]))
    low, high = {"none": (-2, 2), "count": (-3, 1), "ials": (-4, 0)}[scaling]
    setting["regularization"] = float(np.round(10 ** rng.uniform(low, high), 5))
    if scaling == "ials":
        setting["regularization_exponent"] = float(rng.choice([0.5, 1.0]))
    return setting


def vary(setting: dict[str, object], rng: np.random.Generator) -> dict[str, object]:
    """Change the numbers of a setting by about half, up or down."""
    return {
        name: float(f"{value * np.exp(rng.normal(0, 0.5)):.3g}")
        if isinstance(value, float) and name not in ("epsilon", "regularization_exponent") else value
        for name, value in setting.items()
    }  # fmt: skip


def score(setting: dict[str, object], splits: list, factors: int) -> float:
    """Return the mean NDCG@10 over splits."""
    values = []
    for train, test, users in splits:
        model = ImplicitALS(factors=factors, random_state=0, **setting).fit(train, show_progress=False)
        ids, _ = model.recommend(users, k=10)
        values.append(ranking_metrics(ids, test[users]).ndcg)
    return float(np.mean(values))


def prepare(name: str, folder: Path, seeds: int) -> list:
    """Return (train, test, users to test) for each seed."""
    splits = []
    for seed in range(seeds):
        train, test = leave_one_out(load(name, folder), random_state=seed)
        users = np.flatnonzero(np.diff(test.indptr))
        if len(users) > MAX_TEST_USERS:
            users = np.sort(np.random.default_rng(seed).choice(users, MAX_TEST_USERS, replace=False))
        splits.append((train, test, users))
    return splits


def popularity(splits: list) -> float:
    """Return the mean NDCG@10 of the baseline."""
    return float(np.mean([
        ranking_metrics(Popularity().fit(train).recommend(users, k=10)[0], test[users]).ndcg
        for train, test, users in splits
    ]))  # fmt: skip


def main() -> None:
    """Run the search and print the ranking."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with one sub-folder per data set")
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--data", nargs="*", default=list(LOADERS), choices=list(LOADERS))
    options = parser.parse_args()
    splits = {name: prepare(name, options.folder, options.seeds) for name in options.data}
    scores = [partial(score, splits=splits[name], factors=options.factors) for name in options.data]
    settings, results = search(draw, vary, scores, options.trials)
    baseline = {"popularity": [popularity(splits[name]) for name in options.data]}
    print_ranking(options.data, baseline, settings, results, relative_to_best(results))


if __name__ == "__main__":
    main()
