"""Compare the bridges of `alternant.compat` with the classes that they stand for, on ml-latest-small, on one thread.

    pip install ".[peers]"
    python -m benchmarks bridges surprise --folder FOLDER   # SVD and NMF of either
    python -m benchmarks bridges lightfm --folder FOLDER    # LightFM with the logistic loss, of ratings of at least 4
    python -m benchmarks bridges cornac --folder FOLDER     # MF, WMF (which needs TensorFlow), and our models in cornac

A fold is fitted by each in turn. The command exits with 1 if, with `--at-least R`, a fit is not R times as fast.
"""

from __future__ import annotations

import os
import sys
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from alternant import BiasedMF, ImplicitALS

from ..common import data
from ..common.command_line import exit_status, parser
from ..common.metrics import user_auc
from ..common.results import Report
from ..common.timing import seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    Runs = dict[str, Callable[[sp.coo_array, sp.coo_array], tuple[float, float]]]


def surprise(options: argparse.Namespace, report: Report) -> list[str]:
    """Compare SVD and NMF."""
    import surprise as theirs

    from alternant.compat import surprise as ours

    def run(library: object, name: str, options: dict[str, int]):
        def fit(train: sp.coo_array, test: sp.coo_array) -> tuple[float, float]:
            ratings = zip(*_triples(train), [None] * train.nnz, strict=True)
            prepared = theirs.Dataset(theirs.Reader(rating_scale=(0.5, 5))).construct_trainset(list(ratings))
            algorithm = getattr(library, name)(random_state=0, **options)
            took = seconds(lambda: algorithm.fit(prepared))
            predictions = algorithm.test(list(zip(*_triples(test), strict=True)))
            return took, theirs.accuracy.rmse(predictions, verbose=False)

        return fit

    parts = data.folds(data.load_ratings("ml-latest-small", options.folder), options.rounds)
    missed = []
    for name, params in ("SVD", {}), ("SVD", {"n_factors": 20}), ("NMF", {}):
        runs = {"alternant": run(ours, name, params), "Surprise": run(theirs, name, params)}
        missed += _compare(f"{name}, {params or 'defaults'}", runs, parts, "RMSE", options, report)
    return missed


def lightfm(options: argparse.Namespace, report: Report) -> list[str]:
    """Compare the logistic loss."""
    import lightfm as theirs

    from alternant.compat import lightfm as ours

    def run(library: object, components: int):
        def fit(train: sp.coo_array, test: sp.coo_array) -> tuple[float, float]:
            model = library.LightFM(no_components=components, random_state=0)
            took = seconds(lambda: model.fit(train, epochs=10))
            return took, user_auc(test.row, model.predict(test.row, test.col), test.data)

        return fit

    parts = data.folds(data.load_likes("ml-latest-small", options.folder), options.rounds)
    parts = [tuple(map(_narrow, part)) for part in parts]
    missed = []
    for components in 10, 64:
        runs = {"alternant": run(ours, components), "LightFM": run(theirs, components)}
        missed += _compare(f"LightFM, {components} components, 10 epochs", runs, parts, "AUC", options, report)
    return missed


def cornac(options: argparse.Namespace, report: Report) -> list[str]:
    """Compare models in cornac: errors of MF and BiasedMF, lists of WMF and ImplicitALS."""
    from cornac.data import Dataset
    from cornac.eval_methods.base_method import ranking_eval, rating_eval
    from cornac.metrics import NDCG, RMSE
    from cornac.models import MF, WMF

    from alternant.compat.cornac import Alternant

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

    def run(make: Callable[[], object], lists: bool):
        def fit(train: sp.coo_array, test: sp.coo_array) -> tuple[float, float]:
            users, items = ({i: i for i in range(count)} for count in train.shape)
            sets = [
                Dataset(*train.shape, users, items, (part.row, part.col, part.data), seed=0) for part in (train, test)
            ]
            model = make()
            took = seconds(lambda: model.fit(sets[0]))
            if lists:
                return took, ranking_eval(model, [NDCG(10)], *sets, rating_threshold=4.0)[0][0]
            return took, rating_eval(model, [RMSE()], sets[1])[0][0]

        return fit

    steps = {"learning_rate": 0.01, "learning_rate_decay": 1.0, "regularization": 0.02, "bias_regularization": 0.02}
    one = {"num_threads": 1, "random_state": 0}
    biased = {
        "alternant": lambda: Alternant(BiasedMF(factors=64, epochs=20, **steps, **one)),
        "cornac": lambda: MF(k=64, max_iter=20, seed=0),
    }
    weighted = {
        "alternant": lambda: Alternant(ImplicitALS(**one), threshold=4),
        "cornac": lambda: WMF(k=64, max_iter=50, verbose=False, seed=0),
    }
    parts = data.folds(data.load_ratings("ml-latest-small", options.folder), options.rounds)
    missed = []
    for title, models, metric in ("BiasedMF, MF", biased, "RMSE"), ("ImplicitALS, WMF", weighted, "NDCG@10"):
        runs = {name: run(make, metric != "RMSE") for name, make in models.items()}
        missed += _compare(f"{title}, f = 64", runs, parts, metric, options, report)
    return missed


def _triples(ratings: sp.coo_array) -> tuple[list[int], list[int], list[float]]:
    return ratings.row.tolist(), ratings.col.tolist(), ratings.data.tolist()


def _narrow(likes: sp.coo_array) -> sp.coo_matrix:
    """Return what LightFM takes: a matrix with indices of 32 bits."""
    row, column = (ids.astype(np.int32) for ids in (likes.row, likes.col))
    return sp.coo_matrix((likes.data, (row, column)), shape=likes.shape)


def _compare(
    title: str, runs: Runs, parts: list[tuple[sp.coo_array, sp.coo_array]], metric: str, options: argparse.Namespace,
    report: Report,
) -> list[str]:  # fmt: skip
    """Fit each fold by each, and tell seconds and quality."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for train, test in parts:
        for name, run in runs.items():
            found[name].append(run(train, test))
    table = report.table(f"{title}: {len(parts)} folds", "", "seconds, median", metric)
    for name, each in found.items():
        table.row(name, f"{median(took for took, _ in each):.3f}", f"{np.mean([quality for _, quality in each]):.4f}")
    ours, theirs = ([took for took, _ in each] for each in found.values())
    faster = median(their / our for our, their in zip(ours, theirs, strict=True))
    report.note(f"{title}: {faster:.1f} times as fast, median of the folds")
    return [f"{title}: {faster:.2f} times as fast"] if options.at_least and faster < options.at_least else []


COMPARISONS = {"surprise": (surprise, "scikit-surprise"), "lightfm": (lightfm, "lightfm"), "cornac": (cornac, "cornac")}


def main(arguments: Sequence[str]) -> int:
    """Run one comparison; exit 1 if a target is missed."""
    made = parser("bridges", __doc__, folder=None, rounds=5, at_least=None)
    made.add_argument("what", choices=list(COMPARISONS))
    options = made.parse_args(arguments)
    if options.folder is None:
        made.error("--folder is needed, which holds one sub-folder a data set")
    compare, peer = COMPARISONS[options.what]
    try:
        report = Report("bridges", arguments, 1, peer)
        missed = compare(options, report)
    except ImportError as error:
        sys.exit(f"this benchmark needs another library ({error}): pip install {peer}")
    report.write(options.json)
    return exit_status(missed)
