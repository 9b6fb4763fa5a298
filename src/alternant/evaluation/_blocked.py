"""A split that holds out interactions that belong together: items of a user that are similar to one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from .._utils.messages import parameter, refusal
from .._utils.validation import check_number, check_share, random_generator
from ..data.csr import CSR
from ._table import Table

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from .._typing import Seed, Sparse, Split
    from ..data.interactions import Interactions

SAMPLED = 1000  # users of an item, at most, whose other items tell which are similar to it


@overload
def blocked_split(
    interactions: Interactions, fraction: float = 0.2, *, users: float = 1.0, random_state: Seed = None
) -> Split[Interactions]: ...
@overload
def blocked_split(
    interactions: Sparse, fraction: float = 0.2, *, users: float = 1.0, random_state: Seed = None
) -> Split[csr_array]: ...
def blocked_split(
    interactions: Any, fraction: float = 0.2, *, users: float = 1.0, random_state: Any = None
) -> tuple[Any, Any]:
    """Hold out of every user a random positive interaction and those with the items most similar to it.

    Interactions come in sessions, trips or series: a random split leaves next to each held-out item others of the same
    session in train, and flatters models that look no further. This one takes them out together, as blocked
    cross-validation does with data that depend on time or place (Roberts et al. 2017). It stands in for a split by
    time where there are no times; docs/evaluation.md compares the three.

    Parameters
    ----------
    interactions : as for `leave_one_out`
    fraction : float
        Of the positive interactions of a user with at least two, rounded down to at least one; between 0 and 1,
        exclusive. So a user with fewer than ``2 / fraction`` loses a single random one, as in `leave_one_out`.
    users : float
        Fraction of the users of whom items that belong together are held out; of the others, as many random positive
        interactions. With 0.5, both kinds have a say in what `tune` chooses.
    random_state : as for `leave_one_out`

    Returns
    -------
    train, test
        As `leave_one_out`, with any number of entries per row. Items are similar by the cosine of their columns of
        ones, in which the user does not count, from a sample of 1,000 users of the first item if it has more.

    References
    ----------
    D. R. Roberts et al., "Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic
    structure", Ecography 40, 2017.
    """
    share, of_users = check_share("fraction", fraction), check_number("users", users, 0)
    if of_users > 1:
        raise refusal(ValueError, f"{parameter('users')} must be a fraction of the users, at most 1, got {users!r}")
    table = Table(interactions)
    return table.split(related_entries(table.rows, share, random_generator(random_state), of_users))


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
