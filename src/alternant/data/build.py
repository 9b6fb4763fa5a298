"""Build pairs with numbered ids from columns of events."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.messages import parameter, refusal
from .factorize import factorize
from .ids import Ids, used_ids
from .pairs import DuplicatePairError, EventTable, Pairs, merge_pairs
from .report import DroppedRows


def build(
    users: Any, items: Any, values: NDArray[Any] | None, times: tuple[NDArray[Any], NDArray[np.bool_]] | None,
    aggregate: str, names: dict[str, str],
) -> tuple[Pairs, Ids, Ids, DroppedRows]:  # fmt: skip
    """Number the ids, drop rows with missing entries, and merge rows with the same pair.

    Parameters
    ----------
    users, items, values, times, names
        As for `number_rows`.
    aggregate : str
    """
    events, user_ids, item_ids, dropped = number_rows(users, items, values, times, names)
    pairs = pairs_of(events, user_ids, item_ids, aggregate)
    dropped.n_merged = len(events.users) - len(pairs.matrix.data)
    return pairs, user_ids, item_ids, dropped


def pairs_of(events: EventTable, user_ids: Ids, item_ids: Ids, aggregate: str) -> Pairs:
    """Merge rows with the same pair; if that is an error, name the pair by its ids."""
    try:
        return merge_pairs(events, (len(user_ids), len(item_ids)), aggregate)
    except DuplicatePairError as error:
        raise repeated_pair(
            user_ids, int(events.users[error.row]), item_ids, int(events.items[error.row]), str(error.repeated)
        ) from None


def repeated_pair(users: Ids, user: int, items: Ids, item: int, rows: str) -> ValueError:
    """Return the error for a pair that occurs in several rows; `rows` is how many rows repeat one."""
    who, what = users.raw(np.array([user])).tolist()[0], items.raw(np.array([item])).tolist()[0]
    return refusal(
        ValueError,
        f"every pair must occur once ({parameter('aggregate', 'error')}), but user {who!r} and item {what!r} "
        f"occur in several rows ({rows} rows repeat a pair): choose another aggregate, such as 'last'",
    )


def number_rows(
    users: Any, items: Any, values: NDArray[Any] | None, times: tuple[NDArray[Any], NDArray[np.bool_]] | None,
    names: dict[str, str], kinds: NDArray[Any] | None = None,
) -> tuple[EventTable, Ids, Ids, DroppedRows]:  # fmt: skip
    """Number the ids, and drop rows with missing entries.

    Parameters
    ----------
    users, items : columns of ids, as returned by `io.columns.id_column`
    values : float array or None
        NaN where missing.
    times : (array, boolean array) or None
        The times, and which of them are missing.
    names : dict
        The names of the columns in messages.
    kinds : integer array or None
        The number of each event's kind; -1 where missing, which counts as a missing id.
    """
    n_rows = len(users)
    rows, user_ids = factorize(users, names["user"])
    columns, item_ids = factorize(items, names["item"])
    unknown = (rows < 0) | (columns < 0)
    if kinds is not None:
        unknown |= kinds < 0
    unvalued = np.zeros(n_rows, bool) if values is None else np.isnan(values)
    untimed = np.zeros(n_rows, bool) if times is None else times[1]
    dropped = DroppedRows(
        n_rows=n_rows,
        n_missing_ids=int(unknown.sum()),
        n_missing_values=int((unvalued & ~unknown).sum()),
        n_missing_times=int((untimed & ~unvalued & ~unknown).sum()),
    )
    lost = unknown | unvalued | untimed
    if values is not None and (infinite := np.isinf(values) & ~lost).any():
        at = int(np.argmax(infinite))
        raise ValueError(f"{names['value']} must hold finite numbers, got {values[at]} in row {at}: drop that row")
    events = EventTable(rows, columns, values, None if times is None else times[0], kinds=kinds)
    if lost.any():
        events = events.take(np.flatnonzero(~lost))
        rows, user_ids = used_ids(events.users, user_ids)
        columns, item_ids = used_ids(events.items, item_ids)
        events = dataclasses.replace(events, users=rows, items=columns)
    if len(events.users) == 0:
        what = "a user and an item" if kinds is None else "a user, an item and a kind"
        raise ValueError(
            f"interactions must have at least one row with {what}, got {n_rows} rows, of which "
            f"{dropped.n_missing_ids} have no id, {dropped.n_missing_values} no value and "
            f"{dropped.n_missing_times} no time"
        )
    return events, user_ids, item_ids, dropped
