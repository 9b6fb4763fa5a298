"""What a model that learns event by event keeps: factors that grow, and the events since the last fit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.splitmix import GOLDEN, mix, mix_array
from ...data.csr import CSR
from ...data.ids import Ids
from .._fit_loop import read_only_view

# Merging sorts, which takes longer than learning from an event: it is left to whoever reads the rows, unless so many
# events wait that they would take much more memory than the rows.
MOST_WAITING = 1 << 22
MOST_ROWS = np.iinfo(np.int32).max


class Growing:
    """Rows that can be appended to at amortized constant cost."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._memory = np.require(rows, requirements=["C", "W"])  # copies what can't be written to
        self._count = len(rows)

    def __len__(self) -> int:
        return self._count

    def __copy__(self) -> Growing:
        return Growing(self.rows.copy())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _memory=np.require(state["_memory"], requirements=["C", "W"]))  # read-only maps

    @property
    def rows(self) -> NDArray[Any]:
        """The rows, which may be written to."""
        return self._memory[: self._count]

    @property
    def view(self) -> NDArray[Any]:
        """The rows, read-only."""
        return read_only_view(self.rows)

    def reserve(self, count: int) -> None:
        """Make room for more rows; views handed out before may stay behind in the old memory."""
        total = self._count + count
        if total > len(self._memory):
            memory = np.empty((max(total, 2 * len(self._memory)), *self._memory.shape[1:]), self._memory.dtype)
            memory[: self._count] = self.rows
            self._memory = memory

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows, as `reserve` makes room for them."""
        self.reserve(len(rows))
        self._memory[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    def append_one(self, value: Any) -> None:
        """Append one row; faster than `append`."""
        if self._count == len(self._memory):
            self.append(np.asarray([value], self._memory.dtype))
        else:
            self._memory[self._count] = value
            self._count += 1


class Events:
    """The last word on every pair: canonical rows, and a log of events that are younger."""

    def __init__(self, known: CSR) -> None:
        self._known = known
        self._clear()

    def __copy__(self) -> Events:
        twin = Events(self._known)  # which is replaced, never written to
        twin._users, twin._items, twin._values = map(copy.copy, (self._users, self._items, self._values))
        return twin

    def _clear(self) -> None:
        self._users, self._items = Growing(np.empty(0, np.int64)), Growing(np.empty(0, np.int64))
        self._values = Growing(np.empty(0, self._known.data.dtype))

    def add(self, users: NDArray[Any], items: NDArray[Any], values: NDArray[Any]) -> None:
        """Note events."""
        self._users.append(users)
        self._items.append(items)
        self._values.append(values)
        self._merge_many()

    def add_one(self, user: int, item: int, value: float) -> None:
        """Note one event; faster than `add`."""
        self._users.append_one(user)
        self._items.append_one(item)
        self._values.append_one(value)
        self._merge_many()

    def _merge_many(self) -> None:
        if len(self._users) > max(MOST_WAITING, 2 * len(self._known.data)):
            self.merged(*self._known.shape)

    def merged(self, n_users: int, n_items: int) -> CSR:
        """Return all rows, of a matrix at least as large as given, with the events merged into them."""
        rows = np.repeat(np.arange(self._known.shape[0]), np.diff(self._known.indptr))
        shape = (
            max(n_users, self._known.shape[0], int(self._users.rows.max(initial=-1)) + 1),
            max(n_items, self._known.shape[1], int(self._items.rows.max(initial=-1)) + 1),
        )
        if len(self._users) or shape != self._known.shape:
            self._known = _last_words(
                np.concatenate([rows, self._users.rows]),
                np.concatenate([self._known.indices, self._items.rows]),
                np.concatenate([self._known.data, self._values.rows]), shape,
            )  # fmt: skip
            self._clear()
        return self._known

    def of(self, users: NDArray[np.int64], n_items: int) -> CSR:
        """Return the rows of some users; the others are not touched, so that this is cheap for a few."""
        old = users < self._known.shape[0]
        known = self._known.take(users[old])
        at = np.repeat(np.flatnonzero(old), np.diff(known.indptr))
        waiting = np.flatnonzero(np.isin(self._users.rows, users))
        order = np.argsort(users, kind="stable")
        first = np.searchsorted(users, self._users.rows[waiting], sorter=order)
        last = np.searchsorted(users, self._users.rows[waiting], side="right", sorter=order)
        counts = last - first  # a user may be asked for twice
        events = np.repeat(waiting, counts)
        starts = np.cumsum(counts) - counts
        places = order[np.repeat(first - starts, counts) + np.arange(len(events))]
        return _last_words(
            np.concatenate([at, places]), np.concatenate([known.indices, self._items.rows[events]]),
            np.concatenate([known.data, self._values.rows[events]]), (len(users), n_items),
        )  # fmt: skip


def single(value: Any) -> int | float | None:
    """Return the one number that is given, alone or in a list; None for anything else."""
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim == 1):
        if len(value) != 1:
            return None
        value = value[0]
    if isinstance(value, np.generic) and value.dtype.kind in "buif":
        return value.item()  # type: ignore[no-any-return]
    return value if isinstance(value, (int, float)) else None


def as_list(name: str, values: Any) -> NDArray[Any]:
    """Return what is given for events as an array of at least one dimension."""
    try:
        array: NDArray[Any] = np.atleast_1d(values)
    except ValueError:
        raise ValueError(f"{name} must be a list of numbers, one for each event, got a list of uneven lists") from None
    return array


def found(values: Any, array: NDArray[Any]) -> str:
    """Describe what was given, for messages."""
    alone = values is None or np.isscalar(values)
    return repr(values) if alone else f"{type(values).__name__} of dtype {array.dtype}"


def event_ids(name: str, ids: Any) -> NDArray[np.int64]:
    """Return row numbers of events."""
    array = as_list(name, ids)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} must be whole numbers (row numbers), got {found(ids, array)}")
    if array.size and (array.min() < 0 or array.max() >= MOST_ROWS):
        raise IndexError(f"{name} must lie between 0 and {MOST_ROWS - 1}, got {array.min()} to {array.max()}")
    return array.astype(np.int64, copy=False)


def name_events(
    user_ids: Ids, item_ids: Ids, users: Any, items: Any, liked: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any], list[Any], list[Any]]:
    """Return events with row numbers in place of raw ids, and the ids that get rows by them, in their order."""
    columns = [np.atleast_1d(user_ids.as_array("users", users)), np.atleast_1d(item_ids.as_array("items", items))]
    target = as_list("liked", liked)
    try:
        *columns, target = np.broadcast_arrays(*columns, target)
    except ValueError:
        raise ValueError(
            "users, items and liked must be of one length, one for each event, got "
            f"{len(columns[0])}, {len(columns[1])} and {len(target)}"
        ) from None
    if target.dtype.kind in "buif":  # else the check of events refuses it
        swiped = (target == 0) | (target == 1)
        columns, target = [column[swiped] for column in columns], target[swiped]
    rows, new_users = user_ids.provisional("users", columns[0])
    cells, new_items = item_ids.provisional("items", columns[1])
    return rows, cells, target, new_users, new_items


def hashed_normal(seed: int, stream: int, rows: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Return normal numbers, each a function of the seed, the stream, its row and its column (Box and Muller 1958)."""
    start = mix(mix(seed) + GOLDEN * (stream + 1))
    place = np.uint64(2) * (rows.astype(np.uint64)[:, None] * np.uint64(width) + np.arange(width, dtype=np.uint64))
    first, second = (_hash(np.uint64(start) + np.uint64(GOLDEN) * (place + np.uint64(k))) for k in (1, 2))
    return np.asarray(np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second))


def _hash(z: NDArray[Any]) -> NDArray[Any]:
    """Return `mix` of each number, as a number from 0 up to but not 1."""
    return np.asarray((mix_array(z) >> np.uint64(11)) * 2.0**-53)


def _last_words(rows: NDArray[Any], columns: NDArray[Any], values: NDArray[Any], shape: tuple[int, int]) -> CSR:
    """Put events in canonical form; of several on one pair the last one counts."""
    key = rows.astype(np.int64) * max(shape[1], 1) + columns
    order = np.argsort(key, kind="stable")
    last = np.ones(len(key), bool)
    last[:-1] = key[order[1:]] != key[order[:-1]]
    order = order[last]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[order], minlength=shape[0]))])
    return CSR.of(indptr, columns[order], values[order], shape)
