"""The interactions that are held out of train in order to choose settings."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from alternant.evaluation import ranking_metrics

HELD = 0.2  # of the interactions of each user whose lists are used to choose
FEWEST_HELD = 50  # pairs in a class of popularity


@dataclass(frozen=True)
class Split:
    """Interactions to fit on, and those held out of some users' rows.

    The score of lists is their NDCG if `weights` is None. Otherwise, it is the weight of the held-out pairs that the
    lists contain, as a fraction of the weight of all.
    """

    train: sp.csr_array
    held: sp.csr_array  # a row for each of `users`
    users: np.ndarray
    weights: np.ndarray | None = None  # of the entries of `held`

    score_of: ClassVar[dict[str, str]] = {"random": "NDCG@20", "latest": "Recall@20, weighted by popularity"}

    @classmethod
    def random(cls, train: sp.csr_array, users: int) -> Split:
        """Hold out a fifth of the interactions of some users."""
        rng = np.random.default_rng(0)
        some = np.sort(rng.choice(train.shape[0], min(users, train.shape[0]), replace=False))
        return cls._without(train, np.isin(_rows(train), some) & (rng.random(train.nnz) < HELD), some)

    @classmethod
    def latest(cls, train: sp.csr_array, users: int) -> Split:
        """Hold out the latest fifth of the items first seen of each of the first users.

        Items must be numbered in the order of their first appearance, in rows that are in the order of time. Of each
        user's items, those that no earlier user has are then in the order of time, too. They are less popular than
        others: a pair is weighted by the share of all interactions that its item's class of popularity has, over the
        class's share of the pairs held out.
        """
        train = train.sorted_indices()
        held = np.zeros(train.nnz, bool)
        known = 0  # items numbered so far
        for user in range(min(users, train.shape[0])):
            begin, end = train.indptr[user : user + 2]
            new = begin + int(np.searchsorted(train.indices[begin:end], known))
            if not np.array_equal(train.indices[new:end], np.arange(known, known + end - new)):
                sys.exit("--held latest: the items are not numbered in the order of their first appearance")
            held[end - round(HELD * (end - new)) : end] = True
            known += end - new
        some = np.unique(_rows(train)[held])
        split = cls._without(train, held, some)
        return cls(split.train, split.held, some, _popularity_weights(train, split.held.indices))

    @classmethod
    def _without(cls, train: sp.csr_array, held: np.ndarray, users: np.ndarray) -> Split:
        rows = _rows(train)
        fit, test = (
            sp.csr_array((train.data[part], (rows[part], train.indices[part])), shape=train.shape)
            for part in (~held, held)
        )
        return cls(fit, test[users], users)

    def score(self, ids: np.ndarray) -> float:
        """Return the score of lists, one for each of `users`."""
        if self.weights is None:
            return ranking_metrics(ids, self.held).ndcg
        listed = (ids[_rows(self.held)] == self.held.indices[:, None]).any(axis=1)
        return float(self.weights[listed].sum() / self.weights.sum())


def _rows(matrix: sp.csr_array) -> np.ndarray:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _popularity_weights(train: sp.csr_array, held: np.ndarray) -> np.ndarray:
    """Return weights with which the held-out items are as popular as those of all interactions.

    Classes of popularity are powers of 2, of which the highest are merged until the last has enough pairs.
    """
    degrees = np.bincount(train.indices, minlength=train.shape[1])
    classes = np.log2(np.maximum(degrees, 1)).astype(int)
    from_here = np.cumsum(np.bincount(classes[held])[::-1])[::-1]  # pairs of this class and all above
    classes = np.minimum(classes, max(int(np.sum(from_here >= FEWEST_HELD)) - 1, 0))
    shares = np.bincount(classes, degrees)
    return shares[classes[held]] / np.bincount(classes[held], minlength=len(shares))[classes[held]]
