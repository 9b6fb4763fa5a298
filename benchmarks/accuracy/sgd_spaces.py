"""Search spaces of the models trained by gradient descent, and the data on which they are scored."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from alternant import BiasedMF, CosineMF, ImplicitALS, LogisticMF, Popularity
from alternant.evaluation import ranking_metrics

from ..common import data
from ..common.metrics import user_auc
from .search import Choice, Range, evaluate, relative_to_best, search

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from ..common.results import Report
    from .search import Setting, Space

    Score = Callable[[Setting], float]

MAX_USERS = 3_000  # of jester-1 and book-crossing: a search of minutes, not hours


def accuracy(setting: Setting, parts: list, rating_range: tuple[float, float] | None) -> float:
    """Return 1 / the mean RMSE over folds; 0 if steps diverge."""
    errors = []
    for train, test in parts:
        model = BiasedMF(random_state=0, rating_range=rating_range, **setting)
        try:
            model.fit(train, show_progress=False)
        except OverflowError:
            return 0.0
        errors.append(np.sqrt(np.mean(np.square(model.predict(test.row, test.col) - test.data))))
    return 1 / float(np.mean(errors))


def biased_scores(names: Sequence[str], options: argparse.Namespace) -> dict[str, Score]:
    """Return 1 / RMSE for each data set, without and with a rating range."""
    scores: dict[str, Score] = {}
    for name in names:
        parts = data.folds(data.load_ratings(name, options.folder, MAX_USERS), 5)[: options.folds]
        for rating_range in (None, data.RATING_RANGES[name]):
            label = f"{name} {rating_range or ''}".strip()
            scores[label] = partial(accuracy, parts=parts, rating_range=rating_range)
    return scores


def auc(setting: Setting, parts: list) -> float:
    """Return the mean AUC over folds."""
    values = []
    for train, test in parts:
        model = CosineMF(random_state=0, **setting).fit(train, show_progress=False)
        values.append(user_auc(test.row, model.predict(test.row, test.col), test.data))
    return float(np.mean(values))


def cosine_scores(names: Sequence[str], options: argparse.Namespace) -> dict[str, Score]:
    """Return the AUC for each data set."""
    return {
        name: partial(auc, parts=data.folds(data.load_likes(name, options.folder, MAX_USERS), 10)[: options.folds])
        for name in names
    }


def likes_auc(parts: list) -> float:
    """Return the AUC of popularity: the share of an item's ratings that are likes."""
    values = []
    for train, test in parts:
        given = np.bincount(train.col, minlength=train.shape[1])
        rate = np.bincount(train.col, train.data, train.shape[1]) / np.maximum(given, 1)
        values.append(user_auc(test.row, rate[test.col], test.data))
    return float(np.mean(values))


def ndcg(setting: Setting, parts: tuple, model: type = LogisticMF) -> float:
    """Return NDCG@10; 0 if steps diverge."""
    train, test, users = parts
    try:
        fitted = model(**setting).fit(train)
    except OverflowError:
        return 0.0
    return ranking_metrics(fitted.recommend(users, k=10)[0], test[users]).ndcg


def logistic_ndcg(setting: Setting, parts: tuple) -> float:
    """Return NDCG@10 of LogisticMF."""
    return ndcg({"random_state": 0, **setting}, parts)


def logistic_scores(names: Sequence[str], options: argparse.Namespace) -> dict[str, Score]:
    """Return NDCG@10 for each data set."""
    return {name: partial(logistic_ndcg, parts=data.one_left_out(name, options.folder)) for name in names}


class Model(NamedTuple):
    """The data, scores, baselines and search space of a model."""

    data: list[str]
    scores: Callable[[Sequence[str], argparse.Namespace], dict[str, Score]]
    baselines: dict[str, Callable[[Any], float]]
    space: Space
    error: bool = False  # whether scores are 1 / an error


MODELS = {
    "biased": Model(
        list(data.RATING_RANGES), biased_scores, {}, error=True,
        space={
            "learning_rate": Range(0.003, 0.06, 1.5), "learning_rate_decay": Choice((0.9, 0.93, 0.95, 0.97, 1.0)),
            "regularization": Range(0.01, 0.3, 1.5), "bias_regularization": Range(0.001, 0.1, 1.5),
            "init_scale": Range(0.03, 1, 1.5), "epochs": Choice((20, 30, 40)), "factors": Choice((32, 64)),
        },
    ),
    "cosine": Model(
        list(data.LIKED_FROM), cosine_scores, {"share of likes": likes_auc},
        space={
            "learning_rate": Range(0.01, 1, 1.5), "learning_rate_decay": Choice((0.8, 0.9, 0.95, 1.0)),
            "init_scale": Range(0.3, 3, 1.5), "epochs": Choice((10, 20, 30, 40)), "factors": Choice((16, 32, 64)),
        },
    ),
    "logistic": Model(
        ["msweb", "ml-latest-small", "steam-200k", "lastfm-hetrec2011"], logistic_scores,
        {"popularity": partial(ndcg, {}, model=Popularity),
         "ImplicitALS": partial(ndcg, {"random_state": 0}, model=ImplicitALS)},
        space={
            "alpha": Range(0.15, 3, 1.5), "epsilon": Choice((0.1, 1.0, 10.0)), "negatives": Choice((4, 6, 10)),
            "learning_rate": Range(0.08, 0.6, 1.5), "learning_rate_decay": Choice((0.95, 0.97, 1.0)),
            "regularization": Range(0.003, 0.06, 1.5), "bias_regularization": Range(0.0001, 0.01, 1.5),
            "init_scale": Range(0.05, 1, 1.5), "epochs": Choice((20, 30)), "factors": Choice((32, 64)),
        },
    ),
}  # fmt: skip


def choose(options: argparse.Namespace, report: Report) -> None:
    """Tabulate the baselines, the best 15 settings and the defaults."""
    model = MODELS[options.model]
    scores = model.scores(options.data or model.data, options)
    if options.tries is None:
        settings, results = search(model.space, list(scores.values()), options.trials)
    else:
        settings = [{}, *options.tries]
        results = evaluate(settings, list(scores.values()))
    table = report.table(f"{options.model}: {len(settings) - 1} settings", "relative", *scores, "setting")
    for name, baseline in model.baselines.items():
        table.row("", *(f"{baseline(score.keywords['parts']):.4f}" for score in scores.values()), name)
    relative = relative_to_best(results)
    shown = 1 / np.maximum(results, 1e-9) if model.error else results
    order = list(np.argsort(-relative)[:15])
    for row in order + [0] * (0 not in order):
        setting = json.dumps(settings[row]) if row else "the defaults"
        table.row(f"{relative[row]:.3f}", *(f"{value:.4f}" for value in shown[row]), setting)
