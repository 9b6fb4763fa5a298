"""Splits of interactions into a part to train on and a part to test on."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from .._validation import check_interactions


def leave_one_out(interactions: Any, *, random_state: Any = None) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Hold out one interaction, chosen at random, of every user who has at least two.

    A user with a single interaction keeps it for training and has nothing to test.

    Parameters
    ----------
    interactions : scipy.sparse matrix or array, shape (n_users, n_items)
        Any format, index type and dtype; not changed. Duplicates are summed first; a stored 0 is no interaction.
    random_state : int, numpy.random.Generator or None
        Seed; the same one gives the same split.

    Returns
    -------
    train, test : scipy.sparse.csr_array, shape (n_users, n_items)
        No entry is in both, and their sum is `interactions`; both have its dtype. `test` holds at most one entry per
        row.

    Raises
    ------
    TypeError
        If `interactions` is not sparse or does not hold real numbers.
    ValueError
        If `interactions` is not two-dimensional, damaged, or holds NaN or infinite values.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from alternant.evaluation import leave_one_out
    >>> train, test = leave_one_out(sparse.csr_array(np.eye(3) + np.eye(3, k=1)), random_state=0)
    >>> train.sum(axis=1).tolist(), test.sum(axis=1).tolist()
    ([1.0, 1.0, 1.0], [1.0, 1.0, 0.0])
    """
    dtype = np.dtype(getattr(interactions, "dtype", np.float32))  # what has none is refused
    matrix = check_interactions("interactions", interactions, dtype).to_scipy()

    counts = np.diff(matrix.indptr)
    users = np.flatnonzero(counts >= 2)
    rng = np.random.default_rng(random_state)
    held_out = np.zeros(matrix.nnz, dtype=bool)
    held_out[matrix.indptr[users] + rng.integers(0, counts[users])] = True
    return _entries(matrix, ~held_out), _entries(matrix, held_out)


def _entries(matrix: sparse.csr_array, keep: Any) -> sparse.csr_array:
    """The entries of `matrix` where `keep` holds, as a matrix of the same shape."""
    kept_before = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
    indptr = kept_before[matrix.indptr].astype(matrix.indptr.dtype)
    return sparse.csr_array((matrix.data[keep], matrix.indices[keep], indptr), shape=matrix.shape)
