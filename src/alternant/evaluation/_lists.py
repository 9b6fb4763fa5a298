"""What ranked lists hold: hits, how well known their items are, and both by user and by item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR


@dataclass(frozen=True)
class Breakdown:
    """An evaluation by the activity of users and by the popularity of items, for plots.

    Attributes
    ----------
    activity : int64 array or None
        The number of known interactions of each user evaluated; None if the model does not know them.
    popularity : int64 array or None
        The number of interactions of each item in the fit; None if it is unknown.
    relevant : int64 array
        The number of relevant test interactions of each item.
    found : dict of int to int64 array
        How many of these are in the lists of each length.
    """

    activity: NDArray[np.int64] | None
    popularity: NDArray[np.int64] | None
    relevant: NDArray[np.int64]
    found: dict[int, NDArray[np.int64]]

    @classmethod
    def of(
        cls, model: Any, seen: CSR | None, tested: NDArray[np.int64], relevant: CSR, found: dict[int, NDArray[np.int64]]
    ) -> Breakdown:
        """Count; `tested` are the users evaluated, as rows of `seen` and `relevant`."""
        counted = getattr(model, "_item_counts", lambda: None)()
        activity = None if seen is None else np.diff(seen.indptr)[tested]
        return cls(activity, counted, np.bincount(relevant.indices, minlength=relevant.shape[1]), found)


def hits_of(ids: NDArray[np.int32], relevant: CSR) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which items of the lists are relevant, and the number of relevant items of each user."""
    rows = np.arange(len(ids))
    n_relevant = np.diff(relevant.indptr)
    wanted = np.repeat(rows, n_relevant) * relevant.shape[1] + relevant.indices  # ascending
    keys = rows[:, None] * relevant.shape[1] + ids
    at = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    return (ids >= 0) & (wanted[at] == keys), n_relevant


def self_information(model: Any, n_items: int) -> NDArray[np.float64]:
    """Return each item's self-information: ``-log2`` of the share of users who interacted with it."""
    known = getattr(model, "interactions_", None)
    if known is None or known.shape[1] != n_items:
        raise ValueError(
            "novelty needs the interactions of the fit, which this model does not hold (it was saved without them, or "
            "its factors were set by hand): leave novelty out of metrics"
        )
    counts = np.bincount(known.indices, minlength=n_items)
    return np.asarray(-np.log2(np.maximum(counts, 1) / max(known.shape[0], 1)))
