"""Items drawn at random to rank test items among."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from .._utils.validation import check_integer, random_generator
from ..data.interactions import Interactions
from .splits import Table


def sample_negatives(train: Any, test: Any, n: int = 99, *, random_state: Any = None) -> sparse.csr_array:
    """Draw items for every test user to rank the test items among: the protocol of one positive and 99 negatives.

    ``evaluate(model, test, candidates=...)`` then ranks only these. Such sampled metrics are far too good, and may put
    models in the wrong order (Krichene and Rendle 2020): for comparison with published figures alone.

    Parameters
    ----------
    train, test : as a split returns them
        Two `Interactions` may have their users and items in different orders.
    n : int
        Number of items per user that are neither in `train` nor in `test`; fewer where there are not so many.
    random_state : as for `leave_one_out`

    Returns
    -------
    scipy.sparse.csr_array of bool, shape (n_users, n_items)
        For every user with test items, these and the negatives; rows and columns in the order of `test`.

    References
    ----------
    X. He et al., "Neural Collaborative Filtering", WWW 2017. W. Krichene, S. Rendle, "On Sampled Metrics for Item
    Recommendation", KDD 2020.
    """
    n = check_integer("n", n, 1)
    if isinstance(train, Interactions) and isinstance(test, Interactions):
        train = _under_ids_of(test, train)
    seen, wanted = Table(train, name="train").rows, Table(test, name="test").rows
    if seen.shape != wanted.shape:
        raise ValueError(f"train and test must have one shape, got {seen.shape} and {wanted.shape}")
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
        # Places among the items that are not known, then moved up past those that are.
        free = wanted.shape[1] - len(known)
        places = np.sort(rng.choice(free, min(n, free), replace=False, shuffle=False))
        negatives = places + np.searchsorted(known - np.arange(len(known)), places, side="right")
        lists.append(np.union1d(positives, negatives))
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in lists])])
    indices = np.concatenate([*lists, np.empty(0, np.int64)]).astype(np.int64)
    return sparse.csr_array((np.ones(len(indices), bool), indices, indptr), shape=wanted.shape)


def _under_ids_of(test: Interactions, train: Interactions) -> Interactions:
    """Return train with its users and items in the order of test."""
    for kind, own, other in (("user", train._users, test._users), ("item", train._items, test._items)):
        if len(own) == len(other) and (strange := other.find(own.values) < 0).any():
            raise ValueError(
                f"train and test must have the same {kind}s, but {int(strange.sum())} of train's are not test's, such "
                f"as {own.values[strange].tolist()[0]!r}: pass the two parts of one split"
            )
    return train.reindex(users=test._users, items=test._items) if train.shape == test.shape else train
