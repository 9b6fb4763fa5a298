"""Access to the internals of `Interactions` for the rest of the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .ids import Ids
from .interactions import Interactions


def ids_of(interactions: Interactions, kind: str) -> Ids:
    """Return the ids of the users or items, by row or column."""
    return interactions._users if kind == "user" else interactions._items


def library_of(interactions: Interactions) -> str | None:
    """Return the library of the frame that the interactions were made from, if any."""
    return interactions._library


def select(interactions: Interactions, keep: NDArray[np.bool_]) -> Interactions:
    """Return the pairs where `keep`, aligned with ``matrix.data``, is true; ids and shape don't change."""
    return interactions._select(keep)
