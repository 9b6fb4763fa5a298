"""Compare the models trained by gradient descent with cornac, Surprise, implicit and popularity.

    pip install ".[peers]"
    python benchmarks/compare_sgd.py speed --shape ml20m --at-least 2.5          # BiasedMF, cornac's MF
    python benchmarks/compare_sgd.py rmse --folder FOLDER --at-least 0.01        # the same, and Surprise's SVD
    python benchmarks/compare_sgd.py cosine --folder FOLDER --at-least 0.03      # CosineMF, popularity
    python benchmarks/compare_sgd.py logistic --folder FOLDER --at-least 1.2     # LogisticMF, implicit's, popularity
    python benchmarks/compare_sgd.py update --at-least 5                         # CosineMF.update

What `--at-least` demands, else the command exits with 1:
speed      so many times the updates per second of cornac's passes over the ratings;
rmse       an RMSE so much below Surprise SVD's, each with its defaults, and none above cornac's after the same epochs;
cosine     an AUC so much above the better popularity;
logistic   so many times the NDCG@10 of popularity;
update     so many million events a second in a batch, and at most 30 microseconds for one event.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise
from statistics import median

import numpy as np
import scipy.sparse as sp
from command_line import at_least, exit_status, folder
from machine import print_machine
from peers_sgd import cornac_data, cornac_mf, cornac_predict, implicit_lmf, surprise_svd
from public_data import folds, load_likes, load_ratings, with_data
from search import prepare
from shapes import SHAPES, shaped
from user_auc import user_auc

from alternant import BiasedMF, CosineMF, ImplicitALS, LogisticMF, Popularity
from alternant.evaluation import ranking_metrics

LEARNING_RATE, LAMBDA = 0.01, 0.02  # cornac's defaults


def like_cornac(factors: int, epochs: int, threads: int) -> BiasedMF:
    """Return the model with cornac's steps: the same rate, lambda and start, for ratings with a deviation of 1."""
    return BiasedMF(
        factors=factors, learning_rate=LEARNING_RATE, learning_rate_decay=1.0, regularization=LAMBDA,
        bias_regularization=LAMBDA, epochs=epochs, init_scale=0.01 * np.sqrt(factors), random_state=0,
        num_threads=threads,
    )  # fmt: skip


def speed(options: argparse.Namespace) -> list[str]:
    """Time whole fits, and epochs alone."""
    print_machine(options.threads, "cornac")
    matrix = shaped(options.shape)
    matrix.data /= matrix.data.std()
    data = cornac_data(matrix.tocoo())
    print(f"{options.shape}: {matrix.shape[0]:,} x {matrix.shape[1]:,}, {matrix.nnz:,} ratings, "
          f"f = {options.factors}, float32, {options.epochs} epochs, median of {options.rounds} rounds\n")  # fmt: skip
    fits: dict[str, list[float]] = {"alternant": [], "cornac": []}
    passes: dict[str, list[float]] = {"alternant": [], "cornac": []}
    for round_ in range(options.rounds + 1):
        model = like_cornac(options.factors, options.epochs, options.threads)
        start = time.perf_counter()
        model.fit(matrix, show_progress=False)
        ours = time.perf_counter() - start, median(b - a for a, b in pairwise(model.history_["seconds"]))
        _, whole, alone = cornac_mf(
            data, threads=options.threads, k=options.factors, max_iter=options.epochs, learning_rate=LEARNING_RATE,
            lambda_reg=LAMBDA,
        )  # fmt: skip
        if round_:  # the first round warms up
            for name, (fit, epoch) in {"alternant": ours, "cornac": (whole, alone / options.epochs)}.items():
                fits[name].append(fit)
                passes[name].append(epoch)
    print("| | alternant | cornac | times as fast | updates/s, alternant | updates/s, cornac |")
    print("|---|---|---|---|---|---|")
    for label, times, updates in (
        ("an epoch", passes, matrix.nnz), ("fit", fits, matrix.nnz * options.epochs),
    ):  # fmt: skip
        ours, theirs = median(times["alternant"]), median(times["cornac"])
        print(f"| {label} | {ours:.3f} s | {theirs:.3f} s | {theirs / ours:.2f} | {updates / ours / 1e6:.1f} M | "
              f"{updates / theirs / 1e6:.1f} M |")  # fmt: skip
    ratio = median(passes["cornac"]) / median(passes["alternant"])
    if options.at_least is None or ratio >= options.at_least:
        return []
    return [f"an epoch is {ratio:.3f} times as fast as cornac's, not {options.at_least:g}"]


def rmse(options: argparse.Namespace) -> list[str]:
    """Compare errors on ml-latest-small, in a cross-validation of 5 folds."""
    print_machine(options.threads, "cornac", "scikit-surprise")
    parts = folds(load_ratings("ml-latest-small", options.folder), 5)
    print(f"ml-latest-small, 5 folds; the first three rows: f = {options.factors}, {options.epochs} epochs\n")

    def ours(train: sp.coo_array, test: sp.coo_array, **params: object) -> np.ndarray:
        return BiasedMF(random_state=0, **params).fit(train, show_progress=False).predict(test.row, test.col)

    # BiasedMF takes the steps of ratings with a deviation of 1, cornac those of the ratings: here they are the same.
    def ours_like_cornac(train: sp.coo_array, test: sp.coo_array) -> np.ndarray:
        deviation = train.data.std()
        model = like_cornac(options.factors, options.epochs, options.threads)
        model.fit(train / deviation, show_progress=False)
        return deviation * model.predict(test.row, test.col)

    def cornac(train: sp.coo_array, test: sp.coo_array, shuffled: bool = False) -> np.ndarray:
        deviation = train.data.std()
        order = np.random.default_rng(0).permutation(train.nnz) if shuffled else slice(None)
        train = with_data(train, train.data / deviation, order)
        model = cornac_mf(
            cornac_data(train), threads=1, seed=0, k=options.factors, max_iter=options.epochs,
            learning_rate=LEARNING_RATE, lambda_reg=LAMBDA,
        )[0]  # fmt: skip
        return deviation * cornac_predict(model, test.row, test.col)

    predictors = {
        "BiasedMF, cornac's steps": ours_like_cornac,
        "cornac MF, ratings as in the file": cornac,
        "cornac MF, ratings shuffled": lambda train, test: cornac(train, test, shuffled=True),
        "BiasedMF, defaults": ours,
        "BiasedMF, rating_range=(0, 5.5)": lambda train, test: ours(train, test, rating_range=(0, 5.5)),
        "Surprise SVD, defaults": lambda train, test: surprise_svd(train, test.row, test.col),
    }
    print("| model | RMSE | by fold |")
    print("|---|---|---|")
    reached = {}
    for name, predict in predictors.items():
        errors = [np.sqrt(np.mean(np.square(predict(train, test) - test.data))) for train, test in parts]
        reached[name] = float(np.mean(errors))
        print(f"| {name} | {reached[name]:.4f} | {' '.join(f'{error:.4f}' for error in errors)} |")
    same_steps, theirs, _, defaults, _, surprise = reached.values()
    missed = []
    if options.at_least is not None and same_steps > theirs:
        missed.append(f"with cornac's steps, the RMSE is {same_steps:.6f}; cornac's is {theirs:.6f}")
    if options.at_least is not None and defaults > surprise - options.at_least:
        missed.append(f"with the defaults, the RMSE is {surprise - defaults:.6f} below Surprise SVD's, "
                      f"not {options.at_least:g}")  # fmt: skip
    return missed


def cosine(options: argparse.Namespace) -> list[str]:
    """Rank held-out likes of jester-1 above held-out dislikes."""
    print_machine(options.threads)
    train, test = folds(load_likes("jester-1", options.folder), 10)[0]
    print(f"jester-1, liked = rating > 0, {test.nnz:,} of {test.nnz + train.nnz:,} ratings held out\n")
    n_items = train.shape[1]
    likes = np.bincount(train.col, train.data, n_items)
    rate = likes / np.bincount(train.col, minlength=n_items)
    model = CosineMF(random_state=0, num_threads=options.threads).fit(train, show_progress=False)
    scores = {
        "CosineMF, defaults": model.predict(test.row, test.col),
        "popularity: likes": likes[test.col],
        "popularity: part of likes": rate[test.col],
    }
    reached = {name: user_auc(test.row, score, test.data) for name, score in scores.items()}
    print("| model | AUC, mean over users |\n|---|---|")
    for name, value in reached.items():
        print(f"| {name} | {value:.4f} |")
    ours, *baselines = reached.values()
    if options.at_least is None or ours >= max(baselines) + options.at_least:
        return []
    return [f"the AUC is {ours - max(baselines):.6f} above the better popularity's, not {options.at_least:g}"]


def logistic(options: argparse.Namespace) -> list[str]:
    """Rank one held-out interaction of each user."""
    print_machine(options.threads, "implicit")
    print("leave one out, each model with its defaults\n")
    print("| data | model | NDCG@10 | hit rate@10 |\n|---|---|---|---|")
    missed = []
    for name in ("msweb", "lastfm-hetrec2011"):
        ((train, test, users),) = prepare(name, options.folder, 1)
        models = LogisticMF(random_state=0), ImplicitALS(random_state=0), Popularity()
        lists = {type(model).__name__: model.fit(train).recommend(users, k=10)[0] for model in models}
        lists["implicit's LogisticMatrixFactorization"] = implicit_lmf(sp.csr_matrix(train), users, options.threads)
        reached = {model: ranking_metrics(ids, test[users]) for model, ids in lists.items()}
        for model, metrics in reached.items():
            print(f"| {name} | {model} | {metrics.ndcg:.4f} | {metrics.hit_rate:.4f} |")
        ours, popularity = (reached[model].ndcg for model in ("LogisticMF", "Popularity"))
        if options.at_least is not None and ours < options.at_least * popularity:
            missed.append(f"on {name}, NDCG@10 is {ours / popularity:.3f} times popularity's, not {options.at_least:g}")
    return missed


def update(options: argparse.Namespace) -> list[str]:
    """Time `CosineMF.update`, one event at a time and in batches."""
    print_machine(1)
    print("10,000 users x 5,000 items\n\n| f | one event, median of 20,000 | a batch of 100,000 |\n|---|---|---|")
    rng = np.random.default_rng(0)
    users, items, liked = rng.integers(0, 10_000, 100_000), rng.integers(0, 5_000, 100_000), rng.integers(0, 2, 100_000)
    missed = []
    for factors in (32, 64):
        model = CosineMF(factors=factors, random_state=0).update(users, items, liked)
        single = []
        for event in zip(users[:20_000].tolist(), items[:20_000].tolist(), liked[:20_000].tolist(), strict=True):
            start = time.perf_counter()
            model.update(*event)
            single.append(time.perf_counter() - start)
        batches = []
        for _ in range(max(3, options.rounds)):
            start = time.perf_counter()
            model.update(users, items, liked)
            batches.append(time.perf_counter() - start)
        one, rate = median(single) * 1e6, 100_000 / median(batches) / 1e6
        print(f"| {factors} | {one:.1f} microseconds | {rate:.1f} M events/s |")
        if options.at_least is not None and one > 30:
            missed.append(f"one event at f = {factors} takes {one:.1f} microseconds, not at most 30")
        if options.at_least is not None and rate < options.at_least:
            missed.append(f"a batch at f = {factors} learns {rate:.2f} M events/s, not {options.at_least:g}")
    return missed


COMPARISONS = {"speed": speed, "rmse": rmse, "cosine": cosine, "logistic": logistic, "update": update}


def main() -> int:
    """Run one comparison and print a Markdown table; exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )  # fmt: skip
    parser.add_argument("what", choices=list(COMPARISONS))
    parser.add_argument("--folder", type=folder, help="of the public data: rmse, cosine, logistic")
    parser.add_argument("--shape", choices=list(SHAPES), default="ml1m", help="speed")
    parser.add_argument("--factors", type=at_least(1), default=64, help="speed, rmse")
    parser.add_argument("--epochs", type=at_least(2), default=20, help="speed, rmse")
    parser.add_argument("--rounds", type=at_least(1), default=5, help="speed, update")
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--at-least", type=float, help="exit 1 below this; see above")
    options = parser.parse_args()
    if options.folder is None and options.what in ("rmse", "cosine", "logistic"):
        parser.error(f"{options.what} needs --folder, which holds one sub-folder a data set")
    try:
        return exit_status(COMPARISONS[options.what](options))
    except ImportError as error:
        sys.exit(f"this benchmark needs the peers ({error}): pip install 'alternant[peers]'")


if __name__ == "__main__":
    sys.exit(main())
