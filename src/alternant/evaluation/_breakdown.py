"""An evaluation by user and by item, for plots."""

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
        cls, model: Any, seen: CSR | None, tested: NDArray[np.int64], relevant: NDArray[np.int64],
        found: dict[int, NDArray[np.int64]],
    ) -> Breakdown:  # fmt: skip
        """Count; `tested` are the users evaluated, as rows of `seen`, and `relevant` counts by item."""
        counted = getattr(model, "_item_counts", lambda: None)()
        activity = None if seen is None else seen.indptr[tested + 1] - seen.indptr[tested]
        return cls(activity, counted, relevant, found)
