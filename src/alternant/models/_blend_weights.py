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
USERS = 3000  # of them, at most
REPEATS = 4  # of this, at most, if there are fewer users
SCALED = 512  # users whose scores tell their scale
K = 20  # of the NDCG that weights maximize
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
    for at, scores in enumerate(_scores(scorers, block), block.start):
        seen, hidden = (rows.indices[rows.indptr[at] : rows.indptr[at + 1]] for rows in (known, wanted))
        ids, best = np.empty((count, K), np.int32), np.empty((count, K), scores.dtype)
        exclude = np.arange(count + 1) * len(seen), np.tile(seen, count)
        top_k(coefficients.astype(scores.dtype), scores, K, exclude, None, ids, best, 1)
        total += ndcg(ids, hidden)
    return total


def deviation_sums(scorers: list[Scores], block: slice) -> NDArray[np.float64]:
    """Return the sum of the standard deviations of some users' scores by each model."""
    return np.asarray(_scores(scorers, block).std(axis=1, dtype=np.float64).sum(axis=0))


def _scores(scorers: list[Scores], block: slice) -> NDArray[Any]:
    """Return the scores of all items, shape (users, items, models)."""
    each = [scores(block.start, block.stop) for scores in scorers]
    return np.stack(each, axis=-1, dtype=each[0].dtype, casting="same_kind")


def ndcg(lists: NDArray[np.int32], wanted: NDArray[Any]) -> NDArray[np.float64]:
    """Return the NDCG of lists of one user."""
    discounts = 1 / np.log2(np.arange(2, lists.shape[1] + 2))
    return np.asarray(np.isin(lists, wanted) @ discounts / discounts[: len(wanted)].sum())
