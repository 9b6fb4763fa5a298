"""Products of pairs of features, for factors that are no linear function of the features.

A user who likes old comedies need not like all that is old and all comedies. With few features, a regression may use
the products of those that occur together in some rows, and the squares of numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

MOST_FEATURES = 256
MOST_PRODUCTS = 2048
FEWEST_ROWS = 5  # in which both features of a product occur
MOST_WORK = 2e8  # products of two entries of a row, over all rows: what the Gram matrix costs
BLOCK = 1 << 12


def pairs_of(features: Any, counted: NDArray[np.bool_]) -> NDArray[np.int32] | None:
    """Return the pairs of columns to be multiplied, shape (p, 2); None if there are none, or too many.

    Parameters
    ----------
    features : csr_array, shape (n, d)
    counted : bool array, shape (n,)
        The rows of the regression.
    """
    n, d = features.shape
    lengths = np.diff(features.indptr)[counted].astype(np.float64)
    if d > MOST_FEATURES or ((lengths * (lengths + 1) / 2) ** 2).sum() > MOST_WORK:
        return None
    marks = scipy.sparse.csr_array((np.ones(len(features.indices)), features.indices, features.indptr), shape=(n, d))
    marks = marks[np.flatnonzero(counted)]
    together = np.asarray((marks.T @ marks).toarray())
    np.fill_diagonal(together, np.where(_are_numbers(features), together.diagonal(), 0))
    pairs = np.argwhere(np.triu(together) >= FEWEST_ROWS).astype(np.int32)
    return pairs if 0 < len(pairs) <= MOST_PRODUCTS - d else None


def _are_numbers(features: Any) -> NDArray[np.bool_]:
    """Return which columns have more than one value other than 0."""
    low, high = np.full(features.shape[1], np.inf), np.full(features.shape[1], -np.inf)
    np.minimum.at(low, features.indices, features.data)
    np.maximum.at(high, features.indices, features.data)
    return low < high


def with_products(features: Any, pairs: NDArray[np.int32] | None) -> Any:
    """Return features, followed by the products of pairs of them."""
    if pairs is None:
        return features
    first, second = pairs.T
    parts = [
        scipy.sparse.csr_array(rows[:, first] * rows[:, second])
        for start in range(0, features.shape[0], BLOCK)
        for rows in (features[start : start + BLOCK].toarray(),)
    ]
    if not parts:
        return scipy.sparse.csr_array((0, features.shape[1] + len(pairs)), dtype=features.dtype)
    products = scipy.sparse.vstack(parts, format="csr")
    return scipy.sparse.csr_array(scipy.sparse.hstack([features, products], format="csr"), dtype=features.dtype)
