"""What to show users of whom little or nothing is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR
from ..data.validation import is_sparse

METHODS = ("mean", "popularity", "neighbours", "fold_in")


def choose_method(method: Any, user_items: Any, features: Any, new_features: Any) -> str:
    """Return the method that was named or, for "auto", the one that uses what is given; refuse what does not fit."""
    if method == "auto":
        method = "fold_in" if user_items is not None else "neighbours" if new_features is not None else "mean"
    if method not in METHODS:
        raise ValueError(f"method must be one of 'auto', {', '.join(map(repr, METHODS))}, got {method!r}")
    if (user_items is not None) != (method == "fold_in"):
        raise ValueError(
            f"user_items goes with method='fold_in' and with no other, got method={method!r} and user_items "
            f"{'given' if user_items is not None else 'missing'}: pass what the users have answered to fold_in alone"
        )
    given = features is not None, new_features is not None
    if given != ((True, True) if method == "neighbours" else (False, False)):
        raise ValueError(
            "features (of all users of the fit) and new_features (of the new ones) go together with "
            f"method='neighbours', got method={method!r}, features {'given' if given[0] else 'missing'} and "
            f"new_features {'given' if given[1] else 'missing'}"
        )
    return str(method)


def popularity(rows: CSR | None, n_items: int) -> NDArray[np.float64]:
    """Count the positive interactions of every item."""
    if rows is None:
        raise ValueError(
            "method='popularity' counts the interactions of the fit, which this model does not hold (it was saved "
            "without them, or its factors were set by hand): use method='mean'"
        )
    return np.bincount(rows.indices, rows.data > 0, minlength=n_items).astype(np.float64)


def well_known(rows: CSR, chosen: NDArray[Any] | None, min_count: int, k: int) -> NDArray[np.int64]:
    """Return the items with at least so many interactions, or with as many as the k-th of them has."""
    allowed = np.arange(rows.shape[1]) if chosen is None else chosen
    counts = np.bincount(rows.indices, minlength=rows.shape[1])[allowed]
    if len(counts):
        min_count = min(min_count, int(np.sort(counts)[::-1][min(k, len(counts)) - 1]))
    return allowed[counts >= min_count]


def unit_features(features: Any, new_features: Any, n_users: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as float64 rows of length 1; a row of zeros stays one."""
    arrays = []
    for name, value in (("features", features), ("new_features", new_features)):
        dense = value.toarray() if is_sparse(value) else value
        try:
            array = np.atleast_2d(np.asarray(dense, dtype=np.float64))
        except (TypeError, ValueError):
            raise TypeError(
                f"{name} must be a table of numbers, one row per user, got {type(value).__name__}: encode categories "
                "as 0 and 1"
            ) from None
        if array.ndim != 2 or not np.isfinite(array).all():
            raise ValueError(f"{name} must be a finite table of one row per user, got shape {array.shape}")
        lengths = np.sqrt(np.einsum("ud,ud->u", array, array))
        lengths[lengths == 0] = 1
        arrays.append(np.ascontiguousarray(array / lengths[:, None]))
    if len(arrays[0]) != n_users:
        raise ValueError(f"features must have one row for each of the {n_users} users of the fit, got {len(arrays[0])}")
    if arrays[0].shape[1] != arrays[1].shape[1] or arrays[0].shape[1] == 0:
        raise ValueError(
            f"features and new_features must have the same columns, got {arrays[0].shape[1]} and {arrays[1].shape[1]}"
        )
    return arrays[0], arrays[1]


def blend(
    neighbours: NDArray[np.int32], cosines: NDArray[np.float64], users: NDArray[Any], mean: NDArray[Any]
) -> NDArray[Any]:
    """Average the neighbours' factors by their cosine; without any neighbour of positive cosine, the mean user."""
    weights = np.where(neighbours >= 0, np.maximum(cosines, 0), 0)
    total = weights.sum(axis=1)
    queries = np.einsum("uk,ukf->uf", weights, users[neighbours], dtype=np.float64)
    queries /= np.where(total == 0, 1, total)[:, None]
    queries[total == 0] = mean
    return np.ascontiguousarray(queries, users.dtype)
