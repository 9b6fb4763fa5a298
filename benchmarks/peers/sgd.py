"""Compare models trained by gradient descent with cornac, Surprise, implicit and popularity.

    pip install ".[peers]"
    python -m benchmarks sgd speed --shape ml20m --at-least 2.5          # BiasedMF, cornac's MF
    python -m benchmarks sgd rmse --folder FOLDER --at-least 0.01        # the same, and Surprise's SVD
    python -m benchmarks sgd cosine --folder FOLDER --at-least 0.03      # CosineMF, popularity
    python -m benchmarks sgd logistic --folder FOLDER --at-least 1.2     # LogisticMF, implicit's, popularity
    python -m benchmarks sgd pairwise --folder FOLDER --at-least 3     # BPR, implicit's and cornac's
    python -m benchmarks sgd update --at-least 5                         # CosineMF.update

The command exits with 1 unless, with `--at-least R`,
speed      updates per second are at least R times those of cornac's passes over the ratings;
rmse       the RMSE is at least R below that of Surprise's SVD, each with its defaults, and not above cornac's after the
           same epochs;
cosine     the AUC is at least R above the better popularity;
logistic   NDCG@10 is at least R times that of popularity;
pairwise   triples per second are at least R times the peer's, no fewer on two threads than on one, and NDCG@20 after
           the same epochs is at most 3 % below the peer's, by which seeds differ;
update     a batch runs at R million events per second or more, and one event takes at most 30 microseconds.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from alternant import BiasedMF, CosineMF, ImplicitALS, Popularity, kernels
from alternant.evaluation import ranking_metrics

from ..common import data
from ..common.command_line import exit_status, parser
from ..common.metrics import user_auc
from ..common.results import Report
from ..common.shapes import shaped
from ..common.timing import seconds, take_turns
from .libraries import Alternant, Cornac, Implicit, Observer, Problem, Steps, Surprise

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from .libraries import Library
    from .libraries.base import Factors


def speed(options: argparse.Namespace, report: Report) -> list[str]:
    """Time whole fits, and epochs alone."""
    matrix = shaped(options.shape)
    matrix.data /= matrix.data.std()  # BiasedMF takes the steps for ratings with a standard deviation of 1
    steps = Steps(options.factors, options.epochs, options.threads)
    entries = matrix.tocoo()
    fits = take_turns(
        {"alternant": lambda: Alternant().fit_sgd(matrix, steps), "cornac": lambda: Cornac().fit_sgd(entries, steps)},
        options.rounds,
    )
    table = report.table(
        f"{options.shape}: {matrix.shape[0]:,} x {matrix.shape[1]:,}, {matrix.nnz:,} ratings, f = {options.factors}, "
        f"float32, {options.epochs} epochs, median of {options.rounds} rounds",
        "", "alternant", "cornac", "times as fast", "updates/s, alternant", "updates/s, cornac",
    )  # fmt: skip
    for label, what, updates in ("an epoch", "epoch", matrix.nnz), ("fit", "seconds", matrix.nnz * options.epochs):
        ours, theirs = (median(getattr(fit, what) for fit in each) for each in fits.values())
        table.row(
            label, f"{ours:.3f} s", f"{theirs:.3f} s", f"{theirs / ours:.2f}", f"{updates / ours / 1e6:.1f} M",
            f"{updates / theirs / 1e6:.1f} M",
        )  # fmt: skip
        if options.at_least is not None and what == "epoch" and theirs / ours < options.at_least:
            return [f"an epoch is {theirs / ours:.3f} times as fast as cornac's, not {options.at_least:g}"]
    return []


def rmse(options: argparse.Namespace, report: Report) -> list[str]:
    """Compare errors on ml-latest-small, in a cross-validation of 5 folds."""
    parts = data.folds(data.load_ratings("ml-latest-small", options.folder), 5)

    def same_steps(library: Library, threads: int, shuffled: bool = False):
        steps = Steps(options.factors, options.epochs, threads)

        def predict(train: sp.coo_array, test: sp.coo_array) -> np.ndarray:
            deviation = train.data.std()
            order = np.random.default_rng(0).permutation(train.nnz) if shuffled else slice(None)
            scaled = data.with_data(train, train.data / deviation, order)
            return deviation * library.fit_sgd(scaled, steps).predict(test.row, test.col)

        return predict

    def defaults(**params: object):
        def predict(train: sp.coo_array, test: sp.coo_array) -> np.ndarray:
            return BiasedMF(random_state=0, **params).fit(train, show_progress=False).predict(test.row, test.col)

        return predict

    def svd(train: sp.coo_array, test: sp.coo_array) -> np.ndarray:
        observer = Observer()
        Surprise().fit_ratings(Problem(train, test, factors=Surprise.rating_factors), observer)
        return observer.last()

    predictors = {
        "BiasedMF, cornac's steps": same_steps(Alternant(), options.threads),
        "cornac MF, ratings as in the file": same_steps(Cornac(), 1),
        "cornac MF, ratings shuffled": same_steps(Cornac(), 1, shuffled=True),
        "BiasedMF, defaults": defaults(),
        "BiasedMF, rating_range=(0.5, 5)": defaults(rating_range=(0.5, 5)),
        "Surprise SVD, defaults": svd,
    }
    table = report.table(
        f"ml-latest-small, 5 folds; the first three rows: f = {options.factors}, {options.epochs} epochs",
        "model", "RMSE", "by fold",
    )  # fmt: skip
    reached = {}
    for name, predict in predictors.items():
        errors = [np.sqrt(np.mean(np.square(predict(train, test) - test.data))) for train, test in parts]
        reached[name] = float(np.mean(errors))
        table.row(name, f"{reached[name]:.4f}", " ".join(f"{error:.4f}" for error in errors))
    ours, theirs, _, own, _, svds = reached.values()
    missed = []
    if options.at_least is not None and ours > theirs:
        missed.append(f"with cornac's steps, the RMSE is {ours:.6f}; cornac's is {theirs:.6f}")
    if options.at_least is not None and own > svds - options.at_least:
        missed.append(f"with the defaults, the RMSE is {svds - own:.6f} below Surprise SVD's, "
                      f"not {options.at_least:g}")  # fmt: skip
    return missed


def cosine(options: argparse.Namespace, report: Report) -> list[str]:
    """Rank held-out likes of jester-1 above held-out dislikes."""
    train, test = data.folds(data.load_likes("jester-1", options.folder), 10)[0]
    n_items = train.shape[1]
    likes = np.bincount(train.col, train.data, n_items)
    rate = likes / np.bincount(train.col, minlength=n_items)
    model = CosineMF(random_state=0, num_threads=options.threads).fit(train, show_progress=False)
    scores = {
        "CosineMF, defaults": model.predict(test.row, test.col),
        "popularity: number of likes": likes[test.col],
        "popularity: share of likes": rate[test.col],
    }
    table = report.table(
        f"jester-1, liked = rating > 0, {test.nnz:,} of {test.nnz + train.nnz:,} ratings held out",
        "model", "AUC, mean over users",
    )  # fmt: skip
    reached = {name: user_auc(test.row, score, test.data) for name, score in scores.items()}
    for name, value in reached.items():
        table.row(name, f"{value:.4f}")
    ours, *baselines = reached.values()
    if options.at_least is None or ours >= max(baselines) + options.at_least:
        return []
    return [f"the AUC is {ours - max(baselines):.6f} above the better popularity's, not {options.at_least:g}"]


def logistic(options: argparse.Namespace, report: Report) -> list[str]:
    """Rank one held-out interaction of each user."""
    table = report.table("leave one out, each model with its defaults", "data", "model", "NDCG@10", "hit rate@10")
    missed = []
    for name in ("msweb", "lastfm-hetrec2011"):
        train, test, users = data.one_left_out(name, options.folder)
        ranked = {
            "LogisticMF": Alternant().fit_logistic(train, users, options.threads),
            "ImplicitALS": ImplicitALS(random_state=0).fit(train, show_progress=False).recommend(users, k=10)[0],
            "Popularity": Popularity().fit(train).recommend(users, k=10)[0],
            "implicit's LogisticMatrixFactorization": Implicit().fit_logistic(train, users, options.threads),
        }
        reached = {model: ranking_metrics(ids, test[users]) for model, ids in ranked.items()}
        for model, metrics in reached.items():
            table.row(name, model, f"{metrics.ndcg:.4f}", f"{metrics.hit_rate:.4f}")
        ours, popularity = (reached[model].ndcg for model in ("LogisticMF", "Popularity"))
        if options.at_least is not None and ours < options.at_least * popularity:
            missed.append(f"on {name}, NDCG@10 is {ours / popularity:.3f} times popularity's, not {options.at_least:g}")
    return missed


def pairwise(options: argparse.Namespace, report: Report) -> list[str]:
    """Time epochs of BPR on the train part of gowalla, a fifth of it held out; plain SGD steps of the same size."""
    train, test = (sp.csr_array(part) for part in data.folds(data.load("gowalla", options.folder).tocoo(), 5)[0])
    users = np.flatnonzero(np.diff(test.indptr))
    table = report.table(
        f"gowalla: {train.shape[0]:,} x {train.shape[1]:,}, {train.nnz:,} interactions, f = {options.factors}, "
        f"{options.epochs} epochs, median of {options.rounds} rounds",
        "negatives", "threads", "library", "an epoch", "triples/s", "alternant is faster by", "NDCG@20",
    )  # fmt: skip
    missed = []
    for sampling, peer in (("uniform", Cornac()), ("popularity", Implicit())):
        alone = None
        for threads in dict.fromkeys((1, options.threads)):
            steps = Steps(options.factors, options.epochs, threads, learning_rate=0.05, regularization=0.01)
            fits = take_turns(
                {
                    "alternant": lambda s=steps, drawn=sampling: Alternant().fit_pairwise(train, s, sampling=drawn),
                    peer.name: lambda s=steps, one=peer: one.fit_pairwise(train, s),
                },
                options.rounds,
            )
            ours, theirs = (median(fit.epoch for fit in each) for each in fits.values())
            reached = [_ndcg(each[-1].factors, train, test, users) for each in fits.values()]
            for name, took, ndcg in zip(fits, (ours, theirs), reached, strict=True):
                faster = f"{theirs / ours:.2f}" if took == theirs else ""
                rate = f"{train.nnz / took / 1e6:.2f} M"
                table.row(sampling, threads, name, f"{took:.3f} s", rate, faster, f"{ndcg:.4f}")
            alone = alone or ours
            case = f"{sampling} negatives, {threads} threads"
            if options.at_least is not None and theirs / ours < options.at_least:
                missed.append(f"{case}: {theirs / ours:.2f} times {peer.name}'s triples, not {options.at_least:g}")
            if options.at_least is not None and ours > alone:
                missed.append(f"{case}: an epoch takes {ours:.3f} s, on one thread {alone:.3f} s")
            if options.at_least is not None and reached[0] < 0.97 * reached[1]:
                missed.append(f"{case}: NDCG@20 is {reached[0]:.4f}, {peer.name}'s {reached[1]:.4f}")
    return missed


def _ndcg(factors: Factors, train: sp.csr_array, test: sp.csr_array, users: np.ndarray) -> float:
    ids, scores = np.empty((len(users), 20), np.int32), np.empty((len(users), 20), np.float32)
    seen = train[users]
    X, Y = (np.ascontiguousarray(side, np.float32) for side in factors)
    seen.sort_indices()
    exclude = seen.indptr.astype(np.int64), seen.indices.astype(np.int32)
    kernels.top_k(X[users], Y, 20, exclude, None, ids, scores, 2)
    return ranking_metrics(ids, test[users]).ndcg


def update(options: argparse.Namespace, report: Report) -> list[str]:
    """Time `CosineMF.update`, one event at a time and in batches."""
    table = report.table(
        "10,000 users x 5,000 items, one thread", "f", "one event, median of 20,000", "a batch of 100,000"
    )
    rng = np.random.default_rng(0)
    users, items, liked = (rng.integers(0, n, 100_000) for n in (10_000, 5_000, 2))
    events = [column[:20_000].tolist() for column in (users, items, liked)]
    missed = []
    for factors in (32, 64):
        model = CosineMF(factors=factors, random_state=0).update(users, items, liked)
        one = median(seconds(lambda m=model, e=event: m.update(*e)) for event in zip(*events, strict=True)) * 1e6
        batches = [seconds(lambda m=model: m.update(users, items, liked)) for _ in range(max(3, options.rounds))]
        rate = 100_000 / median(batches) / 1e6
        table.row(factors, f"{one:.1f} microseconds", f"{rate:.1f} M events/s")
        if options.at_least is not None and one > 30:
            missed.append(f"one event at f = {factors} takes {one:.1f} microseconds, not at most 30")
        if options.at_least is not None and rate < options.at_least:
            missed.append(f"a batch at f = {factors} learns {rate:.2f} M events/s, not {options.at_least:g}")
    return missed


COMPARISONS = {  # and the peers that they need
    "speed": (speed, ["cornac"]),
    "rmse": (rmse, ["cornac", "scikit-surprise"]),
    "cosine": (cosine, []),
    "logistic": (logistic, ["implicit"]),
    "pairwise": (pairwise, ["implicit", "cornac"]),
    "update": (update, []),
}


def main(arguments: Sequence[str]) -> int:
    """Run one comparison; exit 1 if a target is missed."""
    made = parser("sgd", __doc__, folder=None, shape="ml1m", factors=64, rounds=5, threads=2, at_least=None)
    made.add_argument("what", choices=list(COMPARISONS))
    made.add_argument("--epochs", type=int, default=20, help="of speed, rmse and pairwise")
    options = made.parse_args(arguments)
    compare, peers = COMPARISONS[options.what]
    if options.folder is None and options.what in ("rmse", "cosine", "logistic", "pairwise"):
        made.error(f"{options.what} needs --folder, which holds one sub-folder a data set")
    if options.epochs < 2:
        made.error("--epochs must be at least 2: the first is not timed")
    try:
        report = Report("sgd", arguments, 1 if options.what == "update" else options.threads, *peers)
        missed = compare(options, report)
    except ImportError as error:
        sys.exit(f"this benchmark needs the peers ({error}): pip install 'alternant[peers]'")
    report.write(options.json)
    return exit_status(missed)
