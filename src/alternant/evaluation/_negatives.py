"""Sampled negative items for evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from .._utils.validation import check_integer, random_generator
from ..data.interactions import Interactions
from ..data.internals import ids_of
from ._table import Table

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from .._typing import Observed, Seed


def sample_negatives(
    train: Observed, test: Observed, n: int = 99, *, random_state: Seed = None
) -> csr_array[np.bool_]:
    """Draw negative items for every test user, as in the protocol of one positive and 99 negatives.

    ``evaluate(model, test, candidates=...)`` then ranks only the candidates. Such sampled metrics are far too high and
    may order models wrongly (Krichene and Rendle 2020): use them only to compare with published figures.

    Parameters
    ----------
    train, test : the two parts of a split
        Two `Interactions` may hold their users and items in different orders.
    n : int
        Number of items per user that are neither in `train` nor in `test`, or all of them if there are fewer.
    random_state : as for `leave_one_out`

    Returns
    -------
    scipy.sparse.csr_array of bool, shape (n_users, n_items)
        The test items and the negatives of every user with test items; rows and columns in the order of `test`.

    References
    ----------
    X. He et al., "Neural Collaborative Filtering", WWW 2017. W. Krichene, S. Rendle, "On Sampled Metrics for Item
    Recommendation", KDD 2020.
    """
    n = check_integer("n", n, 1)
    if isinstance(train, Interactions) and isinstance(test, Interactions):
        train = _aligned(test, train)
    seen, wanted = Table(train, name="train").rows, Table(test, name="test").rows
    if seen.shape != wanted.shape:
        raise ValueError(
            f"train and test must have the same shape, got {seen.shape} and {wanted.shape}: pass the two parts of one "
            "split"
        )
    rng = random_generator(random_state)
    lists = []
    for u in range(wanted.shape[0]):
        positives = wanted.indices[wanted.indptr[u] : wanted.indptr[u + 1]]
        positives = positives[wanted.data[wanted.indptr[u] : wanted.indptr[u + 1]] > 0]
        if len(positives) == 0:
            lists.append(positives)
            continue
        known = np.union1d(wanted.indices[wanted.indptr[u] : wanted.indptr[u + 1]],
                           seen.indices[seen.indptr[u] : seen.indptr[u + 1]])  # fmt: skip
        # Draw positions among the unknown items, then shift each past the known items before it.
        free = wanted.shape[1] - len(known)
        drawn = np.sort(rng.choice(free, min(n, free), replace=False, shuffle=False))
        negatives = drawn + np.searchsorted(known - np.arange(len(known)), drawn, side="right")
        lists.append(np.union1d(positives, negatives))
    indptr = np.concatenate([[0], np.cumsum([len(items) for items in lists])])
    indices = np.concatenate([*lists, np.empty(0, np.int64)]).astype(np.int64)
    return scipy.sparse.csr_array((np.ones(len(indices), bool), indices, indptr), shape=wanted.shape)


def _aligned(test: Interactions, train: Interactions) -> Interactions:
    """Return `train` with its users and items in the order of `test`."""
    for kind in ("user", "item"):
        own, other = ids_of(train, kind), ids_of(test, kind)
        if len(own) == len(other) and (unknown := other.find(own.values) < 0).any():
            raise ValueError(
                f"train and test must have the same {kind}s, but {int(unknown.sum())} of train's are not in test, "
                f"such as {own.values[unknown].tolist()[0]!r}: pass the two parts of one split"
            )
    return train.reindex(users=ids_of(test, "user"), items=ids_of(test, "item")) if train.shape == test.shape else train
