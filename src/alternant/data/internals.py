"""Access to the internals of `Interactions` for the rest of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import release
from .csr import CSR
from .events import Events
from .ids import Ids
from .interactions import Interactions
from .store.divide import HeldOut
from .store.divide import divide as divide_store


def ids_of(interactions: Interactions, kind: str) -> Ids:
    """Return the ids of the users or items, by row or column."""
    return interactions._users if kind == "user" else interactions._items


def library_of(interactions: Interactions) -> str | None:
    """Return the library of the frame that the interactions were made from, if any."""
    return interactions._library


def is_stored(interactions: Interactions) -> bool:
    """Whether interactions are in a store."""
    return interactions._store is not None


def pairs_by_user(interactions: Interactions) -> CSR:
    """Return the pairs by user, mapped into memory if they are in a store."""
    return interactions._pairs.matrix


def divide(
    interactions: Interactions, paths: tuple[Path, Path], held_out: HeldOut, source: dict[str, Any]
) -> tuple[Interactions, Interactions]:
    """Divide interactions in a store among two new ones; see `alternant.data.store.divide`."""
    assert interactions._store is not None
    made = divide_store(interactions._store, paths, held_out, source)
    return Interactions._of_store(made[0]), Interactions._of_store(made[1])


def release_rows(matrix: CSR, rows: NDArray[np.int64]) -> None:
    """Give back the pages of a memory-mapped matrix from the first of some ascending rows to the last."""
    if len(rows):
        first, last = int(rows.min()), int(rows.max()) + 1
        entries = slice(int(matrix.indptr[first]), int(matrix.indptr[last]))
        release(matrix.indptr[first : last + 1], matrix.indices[entries], matrix.data[entries])


def select(interactions: Interactions, keep: NDArray[np.bool_]) -> Interactions:
    """Return the pairs where `keep`, aligned with ``matrix.data``, is true; ids and shape don't change."""
    return interactions._select(keep)


def positions(interactions: Interactions) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the row and the column of every pair."""
    return interactions._pairs.matrix.positions()


def select_events(events: Events, keep: NDArray[np.bool_]) -> Events:
    """Return the events where `keep` is true; ids and kinds don't change."""
    return events._select(keep)


def users_of(events: Events) -> NDArray[Any]:
    """Return the row number of each event's user."""
    return events._table.users


def has_users(events: Events, users: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which events are of these users, all of whom are among the events."""
    chosen = np.zeros(len(events._users), np.bool_)
    chosen[events._users.find(users)] = True
    of_events: NDArray[np.bool_] = chosen[events._table.users]
    return of_events
