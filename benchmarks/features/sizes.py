"""How far lists of planted data are below the best possible, by the size of the data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from alternant import BPR, ImplicitALS

from .sets import HELD_OUT, planted_with_truth, split, threshold

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    import scipy.sparse as sp

    from ..common.results import Report
    from .sets import Split, Truth

SIZES = ((4000, 2500, 30), (16000, 2500, 30), (4000, 2500, 120))  # users, items, choices of each user
JUDGED = 2000  # users of each task, at most
STEPS = 12  # of Newton's method, to the most probable factors
LONGEST = 1.0  # of these steps, in standard deviations of what features do not tell
TASKS = ("new items", "new users")
MODELS = (ImplicitALS, BPR)
READERS = ("the best possible", "from known choices", *(one.__name__ for one in MODELS))


def sizes(options: argparse.Namespace, report: Report, ndcg: Callable[..., float]) -> None:
    """Compare the defaults with the best possible, and with who knows the truth but for the factors of known rows."""
    table = report.table(
        f"planted; f = {options.factors}, defaults, {options.rounds} splits", "users x items, choices of each",
        *(f"{task}: {who}" for task in TASKS for who in READERS),
    )  # fmt: skip
    for m, n, choices in SIZES:
        made, truth = planted_with_truth((m, n), choices)
        splits = [split(replace(made, optimum=None), seed) for seed in range(options.rounds)]
        reached = [one_split(data, truth, options.factors, seed, ndcg) for seed, data in enumerate(splits)]
        cells = []
        for best, *others in np.mean(reached, axis=0):
            cells += [f"{best:.4f}", *(f"{one:.4f} ({100 * (one / best - 1):+.1f} %)" for one in others)]
        table.row(f"{m:,} x {n:,}, {choices}", *cells)


def one_split(data: Split, truth: Truth, factors: int, seed: int, ndcg: Callable[..., float]) -> list[list[float]]:
    """Return NDCG@10 on new items and new users: the best possible, that from known choices, and that of `MODELS`."""
    given = {"user_features": data.user_features, "item_features": data.item_features}
    models = [
        model(factors=factors, random_state=seed).fit(data.train, show_progress=False, **given) for model in MODELS
    ]
    users, items = data.users, data.items
    some = np.flatnonzero(np.diff(data.train.indptr))[:JUDGED]  # rows are in random order
    new = np.arange(min(JUDGED, len(users[1])))
    known = users[0][some]
    own = most_probable_users(data.train[some], truth, known, items[0])
    at, all_items = items[0], truth.Y.copy()
    all_items[at] = most_probable_items(data.train, truth, users[0], at)
    of_items = [
        truth.best("new items", known, items[1]), own @ truth.means[1][items[1]].T,
        *(one.user_factors[some] @ one.fold_in_items(item_features=data.new_item_features).T for one in models),
    ]  # fmt: skip
    of_users = [
        truth.best("new users", users[1][new], at), truth.best("new users", users[1][new], at, all_items),
        *(one.fold_in_users(user_features=data.new_user_features[new]) @ one.item_factors.T for one in models),
    ]  # fmt: skip
    return [
        [ndcg(scores, data.new_items[some], None) for scores in of_items],
        [ndcg(scores, data.new_users[new], None) for scores in of_users],
    ]


def most_probable_users(rows: sp.csr_array, truth: Truth, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the factors of users given their features and choices, and the factors of all items."""
    offsets = threshold(truth.X[users] @ truth.Y.T, truth.choices)
    return _most_probable(rows, truth.means[0][users], truth.Y[items], offsets, truth.unexplained[0])


def most_probable_items(rows: sp.csr_array, truth: Truth, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the factors of items given their features and the choices of users, and the factors of all users."""
    offsets = threshold(truth.X[users] @ truth.Y.T, truth.choices).T
    return _most_probable(rows.T.tocsr(), truth.means[1][items], truth.X[users], offsets, truth.unexplained[1])


def _most_probable(
    rows: sp.csr_array, means: np.ndarray, other: np.ndarray, offsets: np.ndarray, variance: float, block: int = 500
) -> np.ndarray:
    """Maximize the posterior of factors, of which some choices are held out, by Newton's method."""
    f = means.shape[1]
    squares = (other[:, :, None] * other[:, None, :]).reshape(len(other), f * f)
    found = means.copy()
    for start in range(0, len(means), block):
        part = slice(start, start + block)
        x, chosen = found[part], rows[part].toarray() > 0
        offset = (offsets if offsets.shape[0] == 1 else offsets[part]) - np.log1p(-HELD_OUT)
        for _ in range(STEPS):
            rate = np.exp(np.minimum(x @ other.T - offset, 20))  # a choice has probability 1 - exp(-rate)
            ratio = rate / np.maximum(np.expm1(np.minimum(rate, 500)), 1e-12)
            slope = np.where(chosen, ratio, -rate)
            curvature = np.where(chosen, np.maximum(ratio * (ratio + rate - 1), 0), rate)
            gradient = slope @ other - (x - means[part]) / variance
            hessian = (curvature @ squares).reshape(len(x), f, f) + np.eye(f) / variance
            step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
            longest = np.abs(step).max(axis=1, keepdims=True)
            x += step * np.minimum(1, LONGEST * np.sqrt(variance) / np.maximum(longest, 1e-12))
    return found
