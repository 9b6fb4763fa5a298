"""Metrics as scorers for scikit-learn's cross-validation and searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._utils.guard import snapshot_of
from ..data.hold_out import content_keys, hold_out
from ..models import FactorModel, internals
from ..models._sklearn import check_unused
from ._evaluate import AT_K, METRICS, RATING_METRICS, evaluate
from ._users import predicts_ratings

HELD_OUT_SHARE = 0.2
LOWER_IS_BETTER = (*RATING_METRICS, "gini")


def scorer(metrics: str | Sequence[str], *, relevant_from: float | None = None) -> Scorer:
    """Return a scorer for `cross_validate`, `GridSearchCV` and other tools of scikit-learn (``scoring=``).

    It scores a fitted model, or a pipeline that ends in one, on the users of a fold, whom the model has not seen. A
    fifth of every user's items, rounded down but at least one, is held out: of the positive ones or, for models of
    ratings, of all. The user is folded in from the rest, and `evaluate` compares lists and predictions with the
    held-out items. Which items are held out depends only on the user's items: not on other users, nor on a seed. Users
    with fewer than two positive items (or ratings) are ignored.

    Parameters
    ----------
    metrics : str or sequence of str
        Metrics of `evaluate`, with the length of the lists if they have one: ``"ndcg@10"``, ``"recall@50"``,
        ``"coverage@10"``, ``"auc"``. Scores are maximized, so that ``rmse``, ``mae`` and ``gini@10`` are negated, and
        named ``"neg_rmse"``, ``"neg_mae"`` and ``"neg_gini@10"``.
    relevant_from : float, optional
        As for `evaluate`: for models of ratings, the held-out ratings from this value on are relevant to the ranking.

    Returns
    -------
    callable
        ``scorer(model, interactions)`` returns a float or, if several metrics are given, a dict of them by name, from
        one evaluation. It can be pickled.

    Raises
    ------
    TypeError, ValueError
        If a metric is unknown. When called: if the model is none of alternant's, if it does not have the metric, or if
        no user has two items.

    Examples
    --------
    >>> from sklearn.model_selection import cross_validate
    >>> from alternant import ImplicitALS, datasets
    >>> from alternant.evaluation import scorer
    >>> visits = datasets.load_msweb().interactions[:2000]
    >>> model = ImplicitALS(factors=8, random_state=0)
    >>> sorted(cross_validate(model, visits, cv=3, scoring=scorer(["ndcg@10", "recall@20"])))
    ['fit_time', 'score_time', 'test_ndcg@10', 'test_recall@20']
    """
    return Scorer(metrics, relevant_from)


class Scorer:
    """A function of a model and interactions; see `scorer`."""

    def __init__(self, metrics: str | Sequence[str], relevant_from: float | None) -> None:
        self.metrics: str | Sequence[str] = metrics
        self.relevant_from: float | None = relevant_from
        names = metrics if isinstance(metrics, (list, tuple)) else [metrics]
        self._parts = {name: _parse(name) for name in names}
        if not self._parts:
            raise ValueError("metrics must name at least one metric, such as 'ndcg@10', got none")

    def __repr__(self) -> str:
        more = "" if self.relevant_from is None else f", relevant_from={self.relevant_from!r}"
        return f"scorer({self.metrics!r}{more})"

    def __call__(self, estimator: Any, interactions: Any, y: Any = None) -> Any:
        """Return the score of a fitted model or pipeline, or all scores by name."""
        check_unused(y)
        model, interactions = _last_step(estimator, interactions)
        known, test = _held_out(model, interactions)
        names = list(dict.fromkeys(name for name, _ in self._parts.values()))
        lengths = sorted({k for _, k in self._parts.values() if k is not None}) or [1]
        found = evaluate(
            model, test, k=lengths, metrics=names, user_items=known, relevant_from=self.relevant_from
        ).means
        scores = {}
        for metric, (name, k) in self._parts.items():
            value = found[name if k is None else f"{name}@{k}"]
            scores[metric] = -value if name in LOWER_IS_BETTER else value
        return scores[self.metrics] if isinstance(self.metrics, str) else scores


def _parse(metric: Any) -> tuple[str, int | None]:
    """Return the name that `evaluate` knows, and the length of the lists."""
    if not isinstance(metric, str):
        raise TypeError(f"a metric must be a string such as 'ndcg@10', got {metric!r}")
    name, at, length = metric.partition("@")
    bare = name.removeprefix("neg_")
    if bare not in METRICS:
        raise ValueError(f"metrics must be among {', '.join(METRICS)}, as in 'ndcg@10', got {metric!r}")
    k = int(length) if length.isdecimal() else 0
    if bare in AT_K and k < 1:
        raise ValueError(f"{bare} needs the length of the lists, got {metric!r}: write '{name}@10'")
    if bare not in AT_K and at:
        raise ValueError(f"{bare} has no length of lists, got {metric!r}: write {name!r}")
    negated = bare in LOWER_IS_BETTER
    if negated != (name != bare):
        right = f"{'neg_' * negated}{bare}{at}{length}"
        why = f"scikit-learn maximizes, and a lower {bare} is better" if negated else f"a higher {bare} is better"
        raise ValueError(f"{why}, got {metric!r}: write {right!r}")
    return bare, k or None


def _last_step(estimator: Any, interactions: Any) -> tuple[FactorModel, Any]:
    """Return the model inside of searches and pipelines, and what the steps before it make of the interactions."""
    while not isinstance(estimator, FactorModel):
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "steps"):
            for _, step in estimator.steps[:-1]:
                if step is not None and step != "passthrough":
                    interactions = step.transform(interactions)
            estimator = estimator.steps[-1][1]
        else:
            raise TypeError(
                f"{type(estimator).__name__} is neither a model of alternant nor a pipeline that ends in one: use a "
                "metric of scikit-learn"
            )
    return snapshot_of(estimator), interactions


def _held_out(model: FactorModel, interactions: Any) -> tuple[Any, Any]:
    """Return the known and the held-out part of users' interactions."""
    rates = predicts_ratings(model)
    model._check_features(interactions)
    users, items = internals.factors(model)
    rows = internals.known_columns(model, "interactions", interactions, items, len(users))
    chosen = np.ones(len(rows.data), np.bool_) if rates else rows.data > 0
    held = hold_out(rows, chosen, content_keys(rows, chosen), HELD_OUT_SHARE)
    if not held.any():
        what = "ratings" if rates else "positive interactions"
        raise ValueError(
            f"a score needs a user with at least two {what}, one of which is held out, got none among {rows.shape[0]} "
            "users: pass more users"
        )
    return rows.filter(~held).to_scipy(), rows.filter(held).to_scipy()
