"""Splits of interactions into a part to train on and a part to test on."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from .._validation import check_interactions


def leave_one_out(interactions: Any, *, random_state: Any = None) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Hold out one positive interaction, chosen at random, of every user who has at least two interactions.

    A user with a single interaction, or with nothing positive, has nothing to test.

    Parameters
    ----------
    interactions : scipy.sparse matrix or array, shape (n_users, n_items)
        Any format, index type and dtype; not changed. Duplicates are summed first; a stored 0 is no interaction.
    random_state : int, numpy.random.Generator or None
        Seed; the same one gives the same split.

    Returns
    -------
    train, test : scipy.sparse.csr_array, shape (n_users, n_items)
        No entry is in both, and their sum is `interactions`; both have its dtype (int64 if sums of duplicates do not
        fit). `test` holds at most one entry per
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
    wide = np.promote_types(dtype, np.int64) if dtype.kind in "bui" else dtype  # duplicates may not fit a narrow one
    matrix = check_interactions("interactions", interactions, wide).to_scipy()
    narrow = matrix.data.astype(dtype)
    if (narrow == matrix.data).all():
        matrix.data = narrow

    counts = np.diff(matrix.indptr)
    liked = np.flatnonzero(matrix.data > 0)  # a dislike is nothing to be found again
    owner = np.repeat(np.arange(matrix.shape[0]), counts)[liked]
    likes = np.bincount(owner, minlength=matrix.shape[0])
    users = np.flatnonzero((counts >= 2) & (likes >= 1))
    first = np.concatenate([[0], np.cumsum(likes)])[users]  # where a user's likes begin
    rng = np.random.default_rng(random_state)
    held_out = np.zeros(matrix.nnz, dtype=bool)
    held_out[liked[first + rng.integers(0, likes[users])]] = True
    return _entries(matrix, ~held_out), _entries(matrix, held_out)


def _entries(matrix: sparse.csr_array, keep: Any) -> sparse.csr_array:
    """The entries of `matrix` where `keep` holds, as a matrix of the same shape."""
    kept_before = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
    indptr = kept_before[matrix.indptr].astype(matrix.indptr.dtype)
    return sparse.csr_array((matrix.data[keep], matrix.indices[keep], indptr), shape=matrix.shape)
