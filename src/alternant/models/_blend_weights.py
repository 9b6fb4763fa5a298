"""What chooses the weights of a `Blend`: interactions that are held out, and lists by all weights of a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR

SHARE = 0.2  # of the interactions of some users that are held out
USERS = 2000, 16384  # the least and the most of them
SCALED = 512  # users whose scores tell their scale
SCORES = 1 << 26  # of all these users and all items; with few items, more users are measured
REPEATS = 4  # at most, of what is held out, if there are fewer users
K = 20  # of the NDCG that weights maximize
STEPS = 10  # weights are multiples of a tenth


def users_to_measure(n_items: int) -> int:
    """Return the number of users whose lists are measured."""
    return int(np.clip(SCORES // max(1, n_items), *USERS))


def hold_out(rows: CSR, generator: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which likes to hold out, and the users, ascending, to whom they belong; some of them keep none."""
    users, _ = rows.positions()
    liked = np.flatnonzero(rows.data > 0)
    held_out = liked[generator.random(len(liked)) < SHARE]
    chosen = np.sort(generator.permutation(np.unique(users[held_out]))[: users_to_measure(rows.shape[1])])
    marked = np.zeros(len(rows.data), np.bool_)
    marked[held_out[np.isin(users[held_out], chosen)]] = True
    return marked, chosen


def simplex(count: int) -> NDArray[np.float64]:
    """Return all weights of so many models that are multiples of 1 / STEPS, a row each, beginning with (1, 0, ...)."""
    whole = np.array([*np.ndindex(*(STEPS + 1,) * (count - 1))])
    rest = STEPS - whole.sum(axis=1)
    return np.asarray(np.column_stack([rest, whole])[rest >= 0] / STEPS)


def ndcg(lists: NDArray[np.int32], wanted: NDArray[Any]) -> NDArray[np.float64]:
    """Return the NDCG of lists of one user."""
    discounts = 1 / np.log2(np.arange(2, lists.shape[1] + 2))
    return np.asarray(np.isin(lists, wanted) @ discounts / discounts[: len(wanted)].sum())
