"""Choose the default parameters of the models trained by gradient descent, on real data.

    python benchmarks/choose_sgd_defaults.py biased FOLDER [--trials 60] [--folds 2]
    python benchmarks/choose_sgd_defaults.py cosine FOLDER
    python benchmarks/choose_sgd_defaults.py logistic FOLDER
    python benchmarks/choose_sgd_defaults.py cosine FOLDER --try '{"factors": 32}' '{"learning_rate": 0.5}'

BiasedMF: RMSE of held-out ratings, with and without a rating range. CosineMF: AUC of each user's held-out likes against
the user's held-out dislikes. LogisticMF: NDCG@10 of one held-out interaction a user. Settings are ranked by the mean
over data sets of their score relative to the best (for RMSE: the best relative to theirs).
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from public_data import RATING_RANGES, folds, load_likes, load_ratings
from search import Setting, evaluate, popularity, prepare, print_ranking, relative_to_best, search
from user_auc import user_auc

from alternant import BiasedMF, CosineMF, ImplicitALS, LogisticMF
from alternant.evaluation import ranking_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

Scores = dict[str, "Callable[[Setting], float]"]  # by the name of a column
MOST_USERS = 3_000  # of jester-1 and book-crossing: a search of minutes, not hours


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.2g}")


def vary(draw: Callable[[np.random.Generator], Setting], setting: Setting, rng: np.random.Generator) -> Setting:
    """Change numbers by about half, up or down, and one value in five for another draw's."""
    if not setting:
        return draw(rng)
    other = draw(rng)
    near = {name: float(f"{value * np.exp(rng.normal(0, 0.4)):.2g}") if isinstance(value, float) and name in LOGARITHMIC
            else value for name, value in setting.items()}  # fmt: skip
    return {name: other[name] if rng.random() < 0.2 else value for name, value in near.items()}


LOGARITHMIC = ("learning_rate", "regularization", "bias_regularization", "init_scale", "alpha")


def accuracy(setting: Setting, parts: list, rating_range: tuple[float, float] | None) -> float:
    """Return 1 / RMSE, the mean over folds, and 0 where steps diverge."""
    errors = []
    for train, test in parts:
        model = BiasedMF(random_state=0, rating_range=rating_range, **setting)
        try:
            model.fit(train, show_progress=False)
        except OverflowError:
            return 0.0
        errors.append(np.sqrt(np.mean(np.square(model.predict(test.row, test.col) - test.data))))
    return 1 / float(np.mean(errors))


def draw_biased(rng: np.random.Generator) -> Setting:
    return {
        "learning_rate": log_uniform(rng, 0.003, 0.06),
        "learning_rate_decay": float(rng.choice([0.9, 0.93, 0.95, 0.97, 1.0])),
        "regularization": log_uniform(rng, 0.01, 0.3),
        "bias_regularization": log_uniform(rng, 0.001, 0.1),
        "init_scale": log_uniform(rng, 0.03, 1),
        "epochs": int(rng.choice([20, 30, 40])),
        "factors": int(rng.choice([32, 64])),
    }


def biased_scores(options: argparse.Namespace) -> Scores:
    """Return 1 / RMSE for each data set without a rating range, and with."""
    scores: Scores = {}
    for name in options.data or list(RATING_RANGES):
        parts = folds(load_ratings(name, options.folder, MOST_USERS), 5)[: options.folds]
        for rating_range in (None, RATING_RANGES[name]):
            label = f"{name} {rating_range or ''}".strip()
            scores[label] = partial(accuracy, parts=parts, rating_range=rating_range)
    return scores


def draw_cosine(rng: np.random.Generator) -> Setting:
    return {
        "learning_rate": log_uniform(rng, 0.01, 1),
        "learning_rate_decay": float(rng.choice([0.8, 0.9, 0.95, 1.0])),
        "init_scale": log_uniform(rng, 0.3, 3),
        "epochs": int(rng.choice([10, 20, 30, 40])),
        "factors": int(rng.choice([16, 32, 64])),
    }


def auc(setting: Setting, parts: list) -> float:
    values = []
    for train, test in parts:
        model = CosineMF(random_state=0, **setting).fit(train, show_progress=False)
        values.append(user_auc(test.row, model.predict(test.row, test.col), test.data))
    return float(np.mean(values))


def cosine_scores(options: argparse.Namespace) -> Scores:
    return {
        name: partial(auc, parts=folds(load_likes(name, options.folder, MOST_USERS), 10)[: options.folds])
        for name in options.data or ["jester-1", "ml-latest-small"]
    }


def likes_auc(parts: list) -> float:
    """Return the AUC of popularity: the part of an item's ratings that are likes."""
    values = []
    for train, test in parts:
        given = np.bincount(train.col, minlength=train.shape[1])
        rate = np.bincount(train.col, train.data, train.shape[1]) / np.maximum(given, 1)
        values.append(user_auc(test.row, rate[test.col], test.data))
    return float(np.mean(values))


def draw_logistic(rng: np.random.Generator) -> Setting:
    return {
        "alpha": log_uniform(rng, 0.15, 3),
        "epsilon": float(rng.choice([0.1, 1.0, 10.0])),
        "negatives": int(rng.choice([4, 6, 10])),
        "learning_rate": log_uniform(rng, 0.08, 0.6),
        "learning_rate_decay": float(rng.choice([0.95, 0.97, 1.0])),
        "regularization": log_uniform(rng, 0.003, 0.06),
        "bias_regularization": log_uniform(rng, 0.0001, 0.01),
        "init_scale": log_uniform(rng, 0.05, 1),
        "epochs": int(rng.choice([20, 30])),
        "factors": int(rng.choice([32, 64])),
    }


def ndcg(setting: Setting, parts: list, model: type = LogisticMF) -> float:
    values = []
    for train, test, users in parts:
        try:
            fitted = model(random_state=0, **setting).fit(train, show_progress=False)
        except OverflowError:
            return 0.0
        values.append(ranking_metrics(fitted.recommend(users, k=10)[0], test[users]).ndcg)
    return float(np.mean(values))


def logistic_scores(options: argparse.Namespace) -> Scores:
    names = options.data or ["msweb", "ml-latest-small", "steam-200k", "lastfm-hetrec2011"]
    return {name: partial(ndcg, parts=prepare(name, options.folder, 1)) for name in names}


MODELS = {
    "biased": (draw_biased, biased_scores),
    "cosine": (draw_cosine, cosine_scores),
    "logistic": (draw_logistic, logistic_scores),
}
BASELINES: dict[str, dict[str, Callable[[list], float]]] = {
    "biased": {},
    "cosine": {"part of likes": likes_auc},
    "logistic": {"popularity": popularity, "ImplicitALS": partial(ndcg, {}, model=ImplicitALS)},
}


def main() -> None:
    """Run the search and print the ranking."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=list(MODELS))
    parser.add_argument("folder", type=Path, help="folder with one sub-folder per data set")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--folds", type=int, default=2, help="of the folds, take so many")
    parser.add_argument("--data", nargs="*")
    parser.add_argument("--try", nargs="*", type=json.loads, dest="tries", help="score these settings; no search")
    options = parser.parse_args()
    draw, prepare_scores = MODELS[options.model]
    scores = prepare_scores(options)
    if options.tries is None:
        settings, results = search(draw, partial(vary, draw), list(scores.values()), options.trials)
    else:
        settings = [{}, *options.tries]
        results = evaluate(settings, list(scores.values()))
    parts = [score.keywords["parts"] for score in scores.values()]
    baselines = {name: [baseline(part) for part in parts] for name, baseline in BASELINES[options.model].items()}
    shown = 1 / np.maximum(results, 1e-9) if options.model == "biased" else results
    print_ranking(list(scores), baselines, settings, shown, relative_to_best(results))


if __name__ == "__main__":
    main()
