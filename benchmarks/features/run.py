"""Compare models that learn from features, and time what features add to a fit.

    pip install ".[peers]"
    python -m benchmarks features accuracy --folder FOLDER --at-least 1
    python -m benchmarks features sizes --rounds 2
    python -m benchmarks features cost --at-most 1.3

accuracy   NDCG@10 of ImplicitALS with and without features, of BPR, of irspack's feature-aware iALS and of LightFM (a
           row is the sum of the embeddings of its features and of its own), on three tasks: known users and items, of
           which a tenth of the interactions is held out; a fifth of the items, ranked among themselves by their
           features; and a fifth of the users, known by their features or, without any, by most of their interactions.
           Users of whom nothing is known do not count. Users and items are in random order. Each contender has the
           same number of settings (the first are its defaults), measured on a split of the training part; the best
           for a task are fitted on the whole of it and measured once. Means over splits, with the standard error of
           the difference to alternant.
sizes      NDCG@10 of ImplicitALS and BPR with their defaults on new rows of planted data of several sizes; the best
           possible for who knows all parameters and all factors of known rows; and for who knows the parameters and
           the factors of the other side, but has to find those of known users (new items) or known items (new users)
           from their features and choices.
cost       fits with 1,000 features of 20 nonzeros a row on both sides and fits without, in turn.

The command exits with 1 unless
accuracy   with `--at-least R`, alternant's mean is at least R times those of irspack and LightFM on new items and new
           users, but for two standard errors;
cost       with `--at-most R`, a fit with features takes at most R times as long.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from alternant import ImplicitALS
from alternant.evaluation import ranking_metrics

from ..common.command_line import exit_status, parser
from ..common.results import Report
from ..common.shapes import shaped
from ..common.timing import seconds, take_turns
from .contenders import CONTENDERS, TASKS
from .sets import SETS, Split, split, validation_of
from .sizes import sizes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from .contenders import Contender
    from .sets import FeatureSet

WIDTH, NONZEROS = 1000, 20  # of the features of `cost`


def ndcg(scores: np.ndarray, test: sp.csr_array, seen: sp.csr_array | None) -> float:
    """Return NDCG@10 of the items with the highest scores, but for those seen; equal scores in random order."""
    users = np.flatnonzero(np.diff(test.indptr))
    ranked = np.array(scores[users], np.float64)
    if seen is not None:
        ranked[seen[users].nonzero()] = -np.inf
    lists = np.argsort(-ranked, axis=1, kind="stable")[:, :10]  # items are in random order
    return float(ranking_metrics(lists.astype(np.int32), test[users]).ndcg)


def judged(scores: dict[str, np.ndarray], data: Split) -> dict[str, float]:
    """Return NDCG@10 of each task, over users of whom something is known: interactions or, of new users, features."""
    tests = {
        "known": (data.known, data.train, data.train), "new items": (data.new_items, None, data.train),
        "new users": (data.new_users, data.folded_in, data.folded_in),
    }  # fmt: skip
    reached = {}
    for task, (test, seen, history) in tests.items():
        if task in scores:
            known = np.ones(test.shape[0], bool) if history is None else np.diff(history.indptr) > 0
            reached[task] = ndcg(scores[task][known], test[known], None if seen is None else seen[known])
    return reached


def tuned(contender: Contender, data: Split, options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Return NDCG@10 of each task with the settings that are best for it on a part of train."""
    rng, part = np.random.default_rng(seed), validation_of(data, seed)
    tried: list[tuple[dict[str, Any], dict[str, float]]] = []
    for trial in range(options.trials):
        params = contender.draw(rng) if trial else contender.defaults
        try:
            tried.append((params, judged(contender.fit(part, options.factors, seed, **params), part)))
        except (ArithmeticError, ValueError, RuntimeError) as error:  # diverged, or singular
            print(f"failed with {params}: {error}", file=sys.stderr)
    reached = {}
    for task in tried[0][1]:
        best = max(tried, key=lambda one, task=task: one[1].get(task, 0.0))[0]
        reached[task] = judged(contender.fit(data, options.factors, seed, **best), data)[task]
    return reached


def compared(make: FeatureSet, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Return NDCG@10 by contender and split, of each task."""
    reached: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.rounds):
        data = split(make.shuffled(seed), seed)
        if data.optimum:
            reached.setdefault("the best possible", []).append(judged(data.optimum, data))
        for name, contender in CONTENDERS.items():
            reached.setdefault(name, []).append(tuned(contender, data, options, seed))
    return reached


def accuracy(options: argparse.Namespace, report: Report) -> list[str]:
    """Compare lists on the sets."""
    missed = []
    for name in options.sets:
        made = SETS[name](options.folder)
        m, n = made.interactions.shape
        widths = [0 if f is None else f.shape[1] for f in (made.user_features, made.item_features)]
        table = report.table(
            f"{name}: {m:,} x {n:,}, {made.interactions.nnz:,} interactions, {widths[0]} features of users, "
            f"{widths[1]} of items; f = {options.factors}, {options.trials} settings each, {options.rounds} splits",
            "NDCG@10", *TASKS,
        )  # fmt: skip
        reached = compared(made, options)
        for contender, splits in reached.items():
            cells = []
            for task in TASKS:
                if task not in splits[0]:
                    cells.append("")
                    continue
                values = np.array([each[task] for each in splits])
                apart = values - [each[task] for each in reached["alternant"]]
                error = apart.std(ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.inf
                cells.append(f"{values.mean():.4f}" + (f" ± {error:.4f}" if apart.any() else ""))
                wanted = options.at_least is not None and contender in ("irspack", "LightFM") and task != "known"
                if wanted and apart.mean() - 2 * error > (1 / options.at_least - 1) * values.mean():
                    missed.append(f"{name}, {task}: {contender} is {apart.mean():.4f} above, ± {error:.4f}")
            table.row(contender, *cells)
    return missed


def cost(options: argparse.Namespace, report: Report) -> list[str]:
    """Time fits with and without features."""
    matrix = shaped(options.shape)
    matrix.data[:] = 1
    rng = np.random.default_rng(0)
    users, items = (
        sp.csr_array(
            (np.ones(n * NONZEROS, np.float32),
             (np.repeat(np.arange(n), NONZEROS), rng.integers(0, WIDTH, n * NONZEROS))), shape=(n, WIDTH),
        )
        for n in matrix.shape
    )  # fmt: skip
    given = {"without features": {}, "with features": {"user_features": users, "item_features": items}}

    def fit(features: dict[str, Any]) -> tuple[float, float]:
        model = ImplicitALS(
            factors=options.factors, iterations=options.iterations, random_state=0, num_threads=options.threads,
            feature_regularization=1.0,
        )  # fmt: skip
        took = seconds(lambda: model.fit(matrix, show_progress=False, **features))
        return took, median(np.diff(model.history_["seconds"]))

    turns = take_turns({name: (lambda f=f: fit(f)) for name, f in given.items()}, options.rounds, warm_up=False)
    table = report.table(
        f"{options.shape}: {matrix.shape[0]:,} x {matrix.shape[1]:,}, {matrix.nnz:,} interactions; {WIDTH:,} features, "
        f"{NONZEROS} a row, on both sides; f = {options.factors}, {options.iterations} iterations, float32, median of "
        f"{options.rounds} rounds",
        "", "fit", "an iteration", "times as long",
    )  # fmt: skip
    medians = {name: [median(part) for part in zip(*times, strict=True)] for name, times in turns.items()}
    plain = medians["without features"]
    ratio = medians["with features"][0] / plain[0]
    for name, (whole, iteration) in medians.items():
        table.row(name, f"{whole:.2f} s", f"{iteration:.2f} s", f"{whole / plain[0]:.2f}, {iteration / plain[1]:.2f}")
    if options.at_most is None or ratio <= options.at_most:
        return []
    return [f"a fit with features takes {ratio:.3f} times as long, not {options.at_most:g}"]


def main(arguments: Sequence[str]) -> int:
    """Run one comparison; exit 1 if a target is missed."""
    made = parser(
        "features", __doc__, folder=None, shape="ml20m", factors=32, iterations=8, rounds=3, trials=20, threads=2,
        at_least=None, at_most=None,
    )  # fmt: skip
    made.add_argument("what", choices=["accuracy", "sizes", "cost"])
    made.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="of accuracy")
    options = made.parse_args(arguments)
    if options.what == "accuracy" and options.folder is None and set(options.sets) - {"planted"}:
        made.error("accuracy needs --folder, which holds one sub-folder a data set")
    peers = ["irspack", "lightfm"] if options.what == "accuracy" else []
    try:
        report = Report("features", arguments, options.threads, *peers)
        if options.what == "sizes":
            sizes(options, report, ndcg)
            missed = []
        else:
            missed = (accuracy if options.what == "accuracy" else cost)(options, report)
    except ImportError as error:
        sys.exit(f"this benchmark needs irspack and LightFM ({error}): benchmarks/README.md says how to install them")
    report.write(options.json)
    return exit_status(missed)
