"""The split of LightFM. Those of alternant are in `alternant.evaluation`."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ...data.validation import is_sparse


def random_train_test_split(
    interactions: Any, test_percentage: float = 0.2, random_state: Any = None
) -> tuple[sparse.coo_matrix, sparse.coo_matrix]:
    """Split the entries of a sparse matrix at random; with the same seed, as LightFM does.

    Parameters
    ----------
    interactions : sparse matrix, shape (n_users, n_items)
        The interactions, or weights in the same order, which are then split alike.
    test_percentage : float
        The fraction, from 0 to 1, of the entries in test.
    random_state : int, numpy.random.RandomState or None
        Seed.

    Returns
    -------
    train, test : coo_matrix, shape (n_users, n_items)
    """
    if not is_sparse(interactions):
        raise ValueError(
            f"interactions must be a scipy.sparse matrix, got {type(interactions).__name__}: pass scipy.sparse."
            "coo_matrix(...) of it"
        )
    if not 0 <= test_percentage <= 1:
        raise ValueError(f"test_percentage must be from 0 to 1, got {test_percentage}: it is the fraction in test")
    rng = random_state if isinstance(random_state, np.random.RandomState) else np.random.RandomState(random_state)
    interactions = interactions.tocoo()
    order = np.arange(interactions.nnz)
    rng.shuffle(order)
    cut = int((1.0 - test_percentage) * len(order))
    train, test = (
        sparse.coo_matrix(
            (interactions.data[part], (interactions.row[part], interactions.col[part])), shape=interactions.shape
        )
        for part in (order[:cut], order[cut:])
    )
    return train, test
