"""What chooses the weights of a `Blend`: interactions that are held out, and lists by all weights of a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR

if TYPE_CHECKING:
    from ._item_weights import Scores

SHARE = 0.2  # of the interactions of some users that are held out
USERS = 2000  # of them, at most
REPEATS = 4  # of this, at most, if there are fewer users
SCALED = 512  # users whose scores tell the scale of a model
K = 20  # of the NDCG that weights maximize
CANDIDATES = 200  # of each model, from which lists are made, and whose scores tell its scale
STEPS = 10  # weights are multiples of a tenth


def hold_out(rows: CSR, generator: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which likes to hold out, and the users, ascending, to whom they belong; some of them keep none."""
    users, _ = rows.positions()
    liked = np.flatnonzero(rows.data > 0)
    held_out = liked[generator.random(len(liked)) < SHARE]
    chosen = np.sort(generator.permutation(np.unique(users[held_out]))[:USERS])
    marked = np.zeros(len(rows.data), np.bool_)
    marked[held_out[np.isin(users[held_out], chosen)]] = True
    return marked, chosen


def simplex(count: int) -> NDArray[np.float64]:
    """Return all weights of so many models that are multiples of 1 / STEPS, a row each, beginning with (1, 0, ...)."""
    whole = np.array([*np.ndindex(*(STEPS + 1,) * (count - 1))])
    rest = STEPS - whole.sum(axis=1)
    return np.asarray(np.column_stack([rest, whole])[rest >= 0] / STEPS)


def ndcg_sums(
    coefficients: NDArray[np.float64], known: CSR, wanted: CSR, top_k: Callable[..., None], scorers: list[Scores],
    block: slice,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the sum of the NDCG of some users' lists for each choice of coefficients.

    A user's lists by all of them are those of as many queries, with the scores by each model as the items' factors.
    """
    total, count = np.zeros(len(coefficients)), len(coefficients)
    by_model = [scores(block.start, block.stop) for scores in scorers]
    for at, *scores in zip(range(block.start, block.stop), *by_model, strict=True):
        seen, hidden = (rows.indices[rows.indptr[at] : rows.indptr[at + 1]] for rows in (known, wanted))
        for one in scores:
            one[seen] = -np.inf
        items = _candidates(scores)
        own = np.stack([one[items] for one in scores], axis=1, dtype=np.float64)
        ids, best = np.empty((count, K), np.int32), np.empty((count, K))
        top_k(coefficients, own, K, None, None, ids, best, 1)
        total += ndcg(np.where(ids < 0, -1, items[ids]), hidden)
    return total


def _candidates(scores: list[NDArray[Any]]) -> NDArray[np.int64]:
    """Return a user's best items by each model, from which lists by any weights are made; those of -inf are seen."""
    items = np.arange(len(scores[0]))
    if len(items) > len(scores) * CANDIDATES:
        items = np.unique(np.concatenate([np.argpartition(one, -CANDIDATES)[-CANDIDATES:] for one in scores]))
    return items[scores[0][items] > -np.inf]


def spread_sums(known: CSR, scorers: list[Scores], block: slice) -> NDArray[np.float64]:
    """Return sums over some users of the standard deviations of their scores by each model, and of the largest of them.

    These scores are of the best items that a user has not seen, between which weights decide. Over all items, cosines
    have five times the deviation of the products of least squares, among the best of them a quarter: tenths of such
    weights were too coarse, and lists of Gowalla worse by 3 %.
    """
    total = np.zeros((2, len(scorers)))
    by_model = [scores(block.start, block.stop) for scores in scorers]
    for at, *scores in zip(range(block.start, block.stop), *by_model, strict=True):
        unseen = np.ones(len(scores[0]), np.bool_)
        unseen[known.indices[known.indptr[at] : known.indptr[at + 1]]] = False
        for number, one in enumerate(scores):
            best = one[unseen]
            if len(best) > CANDIDATES:
                best = np.partition(best, -CANDIDATES)[-CANDIDATES:]
            if len(best):
                wide = best.astype(np.float64)
                total[:, number] += wide.std(), np.abs(wide).max()
    return total


def ndcg(lists: NDArray[np.int32], wanted: NDArray[Any]) -> NDArray[np.float64]:
    """Return the NDCG of lists of one user."""
    discounts = 1 / np.log2(np.arange(2, lists.shape[1] + 2))
    return np.asarray(np.isin(lists, wanted) @ discounts / discounts[: len(wanted)].sum())
