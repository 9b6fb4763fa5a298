"""Interactions with features, and their division into known and new users and items."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from alternant import Features

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEW = 0.2  # of the users, and of the items
FOLDED_IN = 0.8  # of the interactions of a new user without features
HELD_OUT = 0.1  # of the interactions of known users with known items
TEMPERATURE = 0.25  # of the choices in planted data, whose utilities have variance 1
UNEXPLAINED = 0.1  # variance of the planted factors that features do not explain
DRAWS = 32  # of what features do not tell of a new user
STEPS = 8  # of Newton's method, to the utility above which a user chooses


@dataclass(frozen=True)
class FeatureSet:
    """Interactions as ones; users and items are in random order, as ids often follow popularity.

    `optimum` returns the best possible scores of a task for some users and items: those of a reader of the truth, but
    for what features do not tell of the new rows.
    """

    name: str
    interactions: sp.csr_array
    user_features: sp.csr_array | None
    item_features: sp.csr_array | None
    optimum: Callable[[str, np.ndarray, np.ndarray], np.ndarray] | None = None  # of "new items" and "new users"

    def shuffled(self, seed: int) -> FeatureSet:
        """Return the same in another order of users and items."""
        rng = np.random.default_rng(seed)
        users, items = (rng.permutation(n) for n in self.interactions.shape)
        best = self.optimum
        return FeatureSet(
            self.name, self.interactions[users][:, items],
            None if self.user_features is None else self.user_features[users],
            None if self.item_features is None else self.item_features[items],
            None if best is None else lambda task, some, others: best(task, users[some], items[others]),
        )  # fmt: skip


@dataclass(frozen=True)
class Split:
    """The training part of a set, and three tasks: lists of known users, of new items, and for new users."""

    train: sp.csr_array
    user_features: sp.csr_array | None
    item_features: sp.csr_array | None
    known: sp.csr_array  # test interactions of known users with known items
    new_items: sp.csr_array  # of known users with new items
    new_item_features: sp.csr_array | None
    new_users: sp.csr_array  # test interactions of new users with known items
    folded_in: sp.csr_array | None  # their other interactions; None if they are known by features alone
    new_user_features: sp.csr_array | None
    optimum: dict[str, np.ndarray]
    users: tuple[np.ndarray, np.ndarray]  # rows of the set: known and new ones
    items: tuple[np.ndarray, np.ndarray]


def split(data: FeatureSet, seed: int, new: tuple[float, float] = (NEW, NEW)) -> Split:
    """Draw new users and items, and interactions to test."""
    rng = np.random.default_rng(seed)
    R, F, H = data.interactions, data.user_features, data.item_features
    users, items = (_halves(rng, n, share) for n, share in zip(R.shape, new, strict=True))
    known, train = _divided(R[users[0]][:, items[0]], HELD_OUT, rng)
    of_new_users = R[users[1]][:, items[0]]
    tested, folded_in = (of_new_users, None) if F is not None else _divided(of_new_users, 1 - FOLDED_IN, rng)
    best = {}
    if data.optimum is not None:
        best = {
            "new items": data.optimum("new items", users[0], items[1]),
            "new users": data.optimum("new users", users[1], items[0]),
        }
    seen = np.diff(sp.csc_array(train).indptr) > 0  # an item of `items[0]` may have lost all interactions: it stays
    assert len(seen) == len(items[0])
    return Split(
        train, *(None if f is None else f[part[0]] for f, part in ((F, users), (H, items))), known,
        R[users[0]][:, items[1]], None if H is None else H[items[1]], tested, folded_in,
        None if F is None else F[users[1]], best, users, items,
    )  # fmt: skip


def validation_of(given: Split, seed: int) -> Split:
    """Split the training part again, to choose settings on."""
    inner = FeatureSet("", given.train, given.user_features, given.item_features)
    return split(inner, seed)


def _halves(rng: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return most numbers below n, and a share of them."""
    order = rng.permutation(n)
    count = round(share * n)
    return np.sort(order[count:]), np.sort(order[:count])


def _divided(R: sp.csr_array, share: float, rng: np.random.Generator) -> tuple[sp.csr_array, sp.csr_array]:
    """Return a random share of the interactions, and the others."""
    entries = R.tocoo()
    chosen = rng.random(entries.nnz) < share
    parts = [
        sp.csr_array((entries.data[at], (entries.row[at], entries.col[at])), shape=R.shape) for at in (chosen, ~chosen)
    ]
    return parts[0], parts[1]


def movies(folder: Path) -> FeatureSet:
    """Ratings of at least 4 on ml-latest-small; genres, year and decade of the movies."""
    ratings = np.loadtxt(folder / "ml-latest-small" / "ratings.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2))
    liked = ratings[ratings[:, 2] >= 4]
    with (folder / "ml-latest-small" / "movies.csv").open(encoding="utf-8", newline="") as file:
        table = {int(row["movieId"]): row for row in csv.DictReader(file)}
    ids, items = np.unique(liked[:, 1].astype(int), return_inverse=True)
    users = np.unique(liked[:, 0], return_inverse=True)[1]
    found = [re.search(r"\((\d{4})\)", table[one]["title"]) for one in ids.tolist()]
    years = np.array([float(one[1]) if one else np.nan for one in found])
    features = Features.from_arrays(ids, {
        "genre": [table[one]["genres"] for one in ids.tolist()], "year": years,
        "decade": [None if np.isnan(year) else f"{int(year) // 10}0s" for year in years],
    }, kinds={"genre": "tags", "decade": "category"})  # fmt: skip
    return FeatureSet("ml-latest-small", _ones(users, items), None, _matrix(features, ids))


def games(folder: Path) -> FeatureSet:
    """Games played on steam-200k; the words of their titles that are those of another title, too."""
    played = np.loadtxt(folder / "steam-200k" / "game_play.dat", delimiter="\t", skiprows=1)
    lines = (folder / "steam-200k" / "item_info.dat").read_text(encoding="utf-8").splitlines()[1:]
    titles = dict(line.split("\t", 1) for line in lines)
    ids, items = np.unique(played[:, 1].astype(int), return_inverse=True)
    users = np.unique(played[:, 0], return_inverse=True)[1]
    words = [sorted(set(re.findall(r"[a-z0-9]+", titles.get(str(one), "").lower()))) for one in ids.tolist()]
    features = Features.from_arrays(ids, {"word": words}, kinds={"word": "tags"})
    return FeatureSet("steam-200k", _ones(users, items), None, _matrix(features, ids))


@dataclass(frozen=True)
class Truth:
    """The factors of planted choices, of variance 1 times `slope`, so that products are logarithms of odds."""

    X: np.ndarray
    Y: np.ndarray
    means: tuple[np.ndarray, np.ndarray]  # the part that features tell
    choices: int  # of each user

    @property
    def unexplained(self) -> tuple[float, float]:
        """The variances of what features do not tell, of users and items."""
        return tuple(float((all_ - mean).var()) for all_, mean in zip((self.X, self.Y), self.means, strict=True))

    def best(self, task: str, users: np.ndarray, items: np.ndarray, Y: np.ndarray | None = None) -> np.ndarray:
        """Return scores in the order of the probabilities of a choice, given the features of new rows.

        What features do not tell of a new item spreads all utilities of a user alike. What they do not tell of a new
        user counts more for some items than for others: probabilities are means over draws of it.
        """
        if task == "new items":
            return self.X[users] @ self.means[1][items].T
        Y = self.Y if Y is None else Y
        rng, total = np.random.default_rng(0), np.zeros((len(users), len(items)))
        for _ in range(DRAWS):
            X = self.means[0][users] + np.sqrt(self.unexplained[0]) * rng.standard_normal((len(users), Y.shape[1]))
            utility = X @ Y.T
            total += _probability(utility - threshold(utility, self.choices))[:, items]
        return total


def threshold(utility: np.ndarray, choices: int) -> np.ndarray:
    """Return a column of what to subtract from each user's utilities, so that the probabilities add up to `choices`."""
    at = np.partition(utility, -choices, axis=1)[:, -choices, None]
    for _ in range(STEPS):
        probability = _probability(utility - at)
        slope = ((1 - probability) * np.exp(np.minimum(utility - at, 30))).sum(axis=1, keepdims=True)
        at = at + np.clip((probability.sum(axis=1, keepdims=True) - choices) / slope, -1, 1)
    return at


def _probability(utility: np.ndarray) -> np.ndarray:
    """Return the probability that a utility, plus Gumbel noise of scale 1, is above 0."""
    return -np.expm1(-np.exp(np.minimum(utility, 30)))


def planted(folder: Path | None = None, n: tuple[int, int] = (4000, 2500), seed: int = 0) -> FeatureSet:  # noqa: ARG001
    """Choices whose utilities are products of factors, which are linear in features but for `UNEXPLAINED`."""
    return planted_with_truth(n, 30, seed)[0]


def planted_with_truth(n: tuple[int, int], choices: int, seed: int = 0) -> tuple[FeatureSet, Truth]:
    """Return planted choices, of which each user makes as many, and the truth behind them."""
    rng = np.random.default_rng(seed)
    factors, width = 8, 20
    features, means = [], []
    for count in n:
        F = (rng.random((count, width)) < 0.25).astype(np.float64)
        mean = (F - 0.25) @ rng.standard_normal((width, factors))
        features.append(F)
        means.append(mean * np.sqrt((1 - UNEXPLAINED) / mean.var()))
    means[0] += 0.5  # makes some items popular
    X, Y = (mean + np.sqrt(UNEXPLAINED) * rng.standard_normal(mean.shape) for mean in means)
    slope = 1 / np.sqrt((X @ Y.T).std() * TEMPERATURE)
    truth = Truth(X * slope, Y * slope, (means[0] * slope, means[1] * slope), choices)
    chosen = np.empty((n[0], choices), np.int64)
    for start in range(0, n[0], 1000):
        utility = truth.X[start : start + 1000] @ truth.Y.T
        utility += rng.gumbel(size=utility.shape)
        chosen[start : start + 1000] = np.argpartition(-utility, choices, axis=1)[:, :choices]
    R = _ones(np.repeat(np.arange(n[0]), choices), chosen.ravel(), n)
    return FeatureSet("planted", R, *map(sp.csr_array, features), truth.best), truth


def noise(folder: Path) -> FeatureSet:
    """Return ml-latest-small with features that are noise."""
    real = movies(folder)
    rng = np.random.default_rng(0)
    random = sp.csr_array((rng.random((real.interactions.shape[1], 20)) < 0.1).astype(np.float64))
    return FeatureSet("ml-latest-small, noise", real.interactions, None, random)


SETS = {"ml-latest-small": movies, "steam-200k": games, "planted": planted, "noise": noise}


def _ones(users: np.ndarray, items: np.ndarray, shape: tuple[int, int] | None = None) -> sp.csr_array:
    matrix = sp.csr_array((np.ones(len(users), np.float32), (users, items)), shape=shape)
    matrix.data[:] = 1
    return matrix


def _matrix(features: Features, ids: np.ndarray) -> sp.csr_array:
    """Return features in the order of ids: numbers scaled, missing ones at their mean, rare tags left out."""
    table = features.reindex(ids)
    matrix = table.matrix.toarray().astype(np.float64)
    for at, name in enumerate(table.names):
        if "=" not in name:
            known = matrix[:, at] != 0
            matrix[known, at] -= matrix[known, at].mean()
            matrix[known, at] /= matrix[known, at].std()
    return sp.csr_array(matrix[:, (matrix != 0).sum(axis=0) > 1])
