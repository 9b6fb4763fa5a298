"""Held-out interactions that belong together: items of a user that are similar to one of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR

SAMPLED = 1000  # users of an item, at most, whose other items tell which are similar to it


def related_entries(
    rows: CSR, fraction: float, rng: np.random.Generator, share: float = 1.0
) -> NDArray[np.bool_]:  # fmt: skip
    """Return which positive entries are, of a fraction of a user's, a random one and those most similar to it.

    This goes for a random share of the users; of the others, as many random entries are chosen.

    The similarity of two items is the cosine of their columns of ones, in which the user does not count (but for the
    first item's length, by which all are divided). Items that nobody else has together with the first are in random
    order.
    """
    positive = np.flatnonzero(rows.data > 0)
    chosen = np.zeros(len(rows.data), np.bool_)
    chosen[positive] = True
    liked = rows.filter(chosen)
    columns = liked.transpose()
    counts, of_items = np.diff(liked.indptr), np.diff(columns.indptr)
    wanted = np.clip(np.floor(fraction * counts + 1e-9).astype(np.int64), 1, np.maximum(1, counts - 1)) * (counts >= 2)
    users = np.flatnonzero(wanted)
    blocked = np.zeros(len(counts), np.bool_)
    blocked[rng.permutation(users)[: round(share * len(users))]] = True
    first = liked.indptr[users] + rng.integers(0, counts[users])
    order, key = np.argsort(liked.indices[first], kind="stable"), rng.random(len(liked.indices))
    held, touched = np.zeros(len(rows.data), np.bool_), np.zeros(0, liked.indices.dtype)
    item, sampled, together = -1, np.zeros(0, np.int64), np.zeros(len(of_items), np.int64)
    for user, at in zip(users[order].tolist(), first[order].tolist(), strict=True):
        if blocked[user] and liked.indices[at] != item:
            item = int(liked.indices[at])
            sampled = columns.indices[columns.indptr[item] : columns.indptr[item + 1]].astype(np.int64)
            if len(sampled) > SAMPLED:
                sampled = np.sort(rng.choice(sampled, SAMPLED, replace=False))
            found, times = np.unique(liked.take(sampled).indices, return_counts=True)
            together[touched], together[found], touched = 0, times, found
        entries = slice(liked.indptr[user], liked.indptr[user + 1])
        items = liked.indices[entries]
        place = np.searchsorted(sampled, user)
        counted = place < len(sampled) and sampled[place] == user
        similarity = (together[items] - counted) / np.sqrt(np.maximum(of_items[items] - 1, 1))
        similarity *= blocked[user]
        similarity[at - entries.start] = np.inf
        nearest = np.lexsort((key[entries], -similarity))[: wanted[user]]
        held[positive[entries.start + nearest]] = True
    return held
