"""The state of a model with online learning: factors that grow, and the events since the last fit."""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.append import refuse_other_types
from ...data.csr import CSR
from ...data.ids import Ids
from ...data.validation import refuse_boolean_rows
from .._fit_loop import freeze

# Merging sorts, which takes longer than learning from an event: it is left to readers, unless so many events are
# pending that they would take much more memory than the merged rows.
MAX_PENDING = 1 << 22
MAX_ROWS = np.iinfo(np.int32).max


class Growing:
    """Rows that a model changes and appends to (at amortized constant cost), under its lock, while threads read.

    Readers get `Rows`, never these rows themselves. Rows from a fit or a file share their memory, which is read-only;
    the first write copies it.
    """

    def __init__(self, rows: NDArray[Any]) -> None:
        self._memory = np.ascontiguousarray(rows)
        self._count = len(rows)
        self._owned = False  # whether the memory is not shared
        self.moves: int = 0  # how often rows may have changed
        self._readers: list[weakref.ref[Rows]] = []
        self._frozen: weakref.ref[NDArray[Any]] | None = None  # the last copy of all rows, while it is up to date
        freeze(self._memory)

    def __len__(self) -> int:
        return self._count

    def __getstate__(self) -> dict[str, Any]:
        return {"_memory": self._memory[: self._count].copy(), "_count": self._count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_memory"][: state["_count"]])  # type: ignore[misc]

    @property
    def rows(self) -> NDArray[Any]:
        """The rows, for the writer."""
        return self._memory[: self._count]

    @property
    def shape(self) -> tuple[int, ...]:
        """Their shape."""
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Their dtype."""
        return self._memory.dtype

    def touch(self, rows: int | NDArray[np.int64]) -> NDArray[Any]:
        """Return memory in which these rows may be written to; readers first save their present values."""
        if not self._owned:
            self._memory, self._owned = self._memory.copy(), True
        self._frozen = None
        self.moves += 1
        if self._readers:
            for reader in tuple(self._readers):
                if (living := reader()) is not None:
                    living.save(rows, self._memory[rows].copy())
        return self._memory[: self._count]

    def reserve(self, count: int) -> None:
        """Allocate room for more rows; readers keep the old memory, which is not written to any more."""
        total = self._count + count
        if total > len(self._memory):
            memory = np.empty((max(total, 2 * len(self._memory)), *self._memory.shape[1:]), self._memory.dtype)
            memory[: self._count] = self.rows
            self._memory, self._owned = memory, True

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows."""
        if len(rows) == 0:
            return
        self.reserve(len(rows))
        self._memory[self._count : self._count + len(rows)] = rows
        self._count += len(rows)
        self._frozen = None

    def append_one(self, value: Any) -> None:
        """Append one row; faster than `append`."""
        if self._count == len(self._memory):
            self.append(np.asarray([value], self._memory.dtype))
        else:
            self._memory[self._count] = value
            self._count += 1

    def truncate(self, count: int) -> None:
        """Remove all rows after the first `count`."""
        if count < self._count:
            self._count, self._frozen = count, None

    def drop_first(self, count: int) -> None:
        """Remove the first `count` rows."""
        self._memory = self._memory[count : self._count].copy()
        self._count, self._owned, self._frozen = len(self._memory), True, None


class Rows:
    """A snapshot of the rows of a `Growing`, for one reader.

    Rows are copied on demand, some or all of them. The writer saves the values of rows here before it changes them, so
    that a snapshot costs nothing and no thread waits while all rows are copied.
    """

    def __init__(self, growing: Growing, lock: threading.RLock) -> None:
        """Take a snapshot, under the lock that writers hold."""
        self._growing, self._lock, self._is_open = growing, lock, True
        self._memory = growing.rows
        self.version: tuple[Growing, int] = (growing, growing.moves)
        self._before: list[tuple[int | NDArray[np.int64], NDArray[Any]]] = []
        self._whole: NDArray[Any] | None = None
        if not growing._owned:
            self._whole = self._memory
        elif growing._frozen is not None:
            self._whole = growing._frozen()
        self._me: weakref.ref[Rows] | None = None
        if self._whole is None:
            self._me = weakref.ref(self, functools.partial(_leave, growing._readers))
            growing._readers.append(self._me)

    def __len__(self) -> int:
        return len(self._memory)

    @property
    def shape(self) -> tuple[int, ...]:
        """Their shape."""
        return self._memory.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Their dtype."""
        return self._memory.dtype

    def save(self, rows: int | NDArray[np.int64], before: NDArray[Any]) -> None:
        """Save the values of rows before the writer, which holds the lock, changes them."""
        self._before.append((rows, before))

    def take(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return some of the rows."""
        if self._whole is not None:
            return np.asarray(self._whole[numbers])
        self._check_open()
        with self._lock:
            out: NDArray[Any] = self._memory[numbers]
            for rows, before in reversed(self._before):  # the earliest saved values of a row win
                changed, first = np.unique(rows, return_index=True)
                at = np.minimum(np.searchsorted(changed, numbers), len(changed) - 1)
                same = changed[at] == numbers
                out[same] = np.atleast_2d(before)[first[at[same]]]
        return out

    def whole(self) -> NDArray[Any]:
        """Return all rows, read-only; readers may share the array."""
        if self._whole is None:
            self._check_open()
            out = self._memory.copy()  # rows that the writer changes meanwhile are restored below
            with self._lock:
                for rows, before in reversed(self._before):
                    known = np.flatnonzero(np.atleast_1d(rows) < len(out))  # not appended later
                    out[np.atleast_1d(rows)[known]] = np.atleast_2d(before)[known]
                freeze(out)
                self._whole = out
                if not self._before and len(out) == len(self._growing):
                    self._growing._frozen = weakref.ref(out)
                self.close()
        return self._whole

    def close(self) -> None:
        """Stop saving changed rows; unless `whole` was called before, rows can't be read any more."""
        self._is_open = False
        with self._lock:
            _leave(self._growing._readers, self._me)
            self._before = []

    def _check_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("a snapshot was read after it was closed: read its rows while it is open")


def _leave(readers: list[weakref.ref[Rows]], me: weakref.ref[Rows] | None) -> None:
    with contextlib.suppress(ValueError):  # already removed
        readers.remove(me)  # type: ignore[arg-type]


class Log:
    """A snapshot of the last event of every pair: a canonical matrix, and later events."""

    users: NDArray[Any]
    items: NDArray[Any]
    values: NDArray[Any]

    def __init__(self, source: Events, known: CSR, events: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]) -> None:
        self.source = source
        self.known = known
        self.users, self.items, self.values = events

    def merged(self, n_users: int, n_items: int) -> CSR:
        """Return the matrix, of at least the given shape, with the events merged into it."""
        known = self.known
        rows = np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))
        shape = (
            max(n_users, known.shape[0], int(self.users.max(initial=-1)) + 1),
            max(n_items, known.shape[1], int(self.items.max(initial=-1)) + 1),
        )
        if len(self.users) == 0 and shape == known.shape:
            return known
        return _last_events(
            np.concatenate([rows, self.users]), np.concatenate([known.indices, self.items]),
            np.concatenate([known.data, self.values]), shape,
        )  # fmt: skip

    def of(self, users: NDArray[np.int64], n_items: int) -> CSR:
        """Return the rows of some users, without work for the others."""
        old = users < self.known.shape[0]
        known = self.known.take(users[old])
        rows = np.repeat(np.flatnonzero(old), np.diff(known.indptr))
        pending = np.flatnonzero(np.isin(self.users, users))
        order = np.argsort(users, kind="stable")
        first = np.searchsorted(users, self.users[pending], sorter=order)
        last = np.searchsorted(users, self.users[pending], side="right", sorter=order)
        counts = last - first  # users may have duplicates
        events = np.repeat(pending, counts)
        starts = np.cumsum(counts) - counts
        event_rows = order[np.repeat(first - starts, counts) + np.arange(len(events))]
        return _last_events(
            np.concatenate([rows, event_rows]), np.concatenate([known.indices, self.items[events]]),
            np.concatenate([known.data, self.values[events]]), (len(users), n_items),
        )  # fmt: skip


class Events:
    """The last event of every pair, to which the model adds under its lock; readers get a `Log`."""

    def __init__(self, known: CSR) -> None:
        self._known = known
        self._clear()

    def _clear(self) -> None:
        self._users, self._items = Growing(np.empty(0, np.int64)), Growing(np.empty(0, np.int64))
        self._values = Growing(np.empty(0, self._known.data.dtype))

    def add(self, users: NDArray[Any], items: NDArray[Any], values: NDArray[Any]) -> None:
        """Add events."""
        self._users.append(users)
        self._items.append(items)
        self._values.append(values)
        self._merge_many()

    def add_one(self, user: int, item: int, value: float) -> None:
        """Add one event; faster than `add`."""
        self._users.append_one(user)
        self._items.append_one(item)
        self._values.append_one(value)
        if len(self._users) > MAX_PENDING:
            self._merge_many()

    def _merge_many(self) -> None:
        if len(self._users) > max(MAX_PENDING, 2 * len(self._known.data)):
            log = self.log()
            self.replace(log, log.merged(*self._known.shape))

    def log(self) -> Log:
        """Return a snapshot."""
        return Log(self, self._known, (self._users.rows, self._items.rows, self._values.rows))

    def replace(self, log: Log, merged: CSR) -> None:
        """Replace the events of a log by their merged form, unless another thread has merged them meanwhile."""
        if self._known is log.known:
            self._known = merged
            for growing in (self._users, self._items, self._values):
                growing.drop_first(len(log.users))


def single(value: Any) -> int | float | None:
    """Return a single number, given as a scalar or in a list of one; None for anything else."""
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim == 1):
        if len(value) != 1:
            return None
        value = value[0]
    if isinstance(value, np.generic) and value.dtype.kind in "buif":
        return value.item()  # type: ignore[no-any-return]
    return value if isinstance(value, (int, float)) else None


def as_list(name: str, values: Any) -> NDArray[Any]:
    """Return an argument of `update` as an array of at least one dimension."""
    try:
        array: NDArray[Any] = np.atleast_1d(values)
    except ValueError:
        raise ValueError(f"{name} must be a list of numbers, one per event, got lists of unequal lengths") from None
    return array


def describe(values: Any, array: NDArray[Any]) -> str:
    """Describe an argument in a message."""
    scalar = values is None or np.isscalar(values)
    return repr(values) if scalar else f"{type(values).__name__} of dtype {array.dtype}"


def event_ids(name: str, ids: Any) -> NDArray[np.int64]:
    """Return the row numbers of events."""
    refuse_boolean_rows(name, ids)
    array = as_list(name, ids)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(
            f"{name} must be whole numbers (row numbers), got {describe(ids, array)}: for ids of your own, fit on "
            "Interactions first, or pass all ids as strings"
        )
    if array.size and (array.min() < 0 or array.max() >= MAX_ROWS):
        raise IndexError(f"{name} must lie between 0 and {MAX_ROWS - 1}, got {array.min()} to {array.max()}")
    return array.astype(np.int64, copy=False)


def check_events(
    users: Any, items: Any, liked: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Return the events that are likes or dislikes."""
    rows, columns = event_ids("users", users), event_ids("items", items)
    target = as_list("liked", liked)
    if target.dtype.kind not in "buif":
        raise TypeError(f"liked must be 1 (True) or 0 (False), got {describe(liked, target)}")
    if not rows.shape == columns.shape == target.shape:
        try:
            rows, columns, target = np.broadcast_arrays(rows, columns, target)
        except ValueError:
            raise ValueError(
                "users, items and liked must have the same length, one entry per event, got "
                f"{len(rows)}, {len(columns)} and {len(target)}"
            ) from None
    if target.ndim != 1:
        raise ValueError(
            f"users, items and liked must be one-dimensional, one entry per event, got {target.ndim} dimensions"
        )
    swiped = (target == 0) | (target == 1)
    return (rows, columns, target) if swiped.all() else (rows[swiped], columns[swiped], target[swiped])


def name_events(
    user_ids: Ids, item_ids: Ids, users: Any, items: Any, liked: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any], list[Any], list[Any]]:
    """Return events with row numbers in place of raw ids, and the new ids, in the order of their rows."""
    columns = [np.atleast_1d(user_ids.as_array("users", users)), np.atleast_1d(item_ids.as_array("items", items))]
    target = as_list("liked", liked)
    try:
        *columns, target = np.broadcast_arrays(*columns, target)
    except ValueError:
        raise ValueError(
            "users, items and liked must have the same length, one entry per event, got "
            f"{len(columns[0])}, {len(columns[1])} and {len(target)}"
        ) from None
    if target.dtype.kind in "buif":  # else `check_events` refuses it
        swiped = (target == 0) | (target == 1)
        columns, target = [column[swiped] for column in columns], target[swiped]
    rows, new_users = user_ids.provisional("users", columns[0])
    cells, new_items = item_ids.provisional("items", columns[1])
    refuse_other_types("users", "user", user_ids, new_users, bool((rows < len(user_ids)).any()))
    refuse_other_types("items", "item", item_ids, new_items, bool((cells < len(item_ids)).any()))
    return rows, cells, target, new_users, new_items


def with_new(user: tuple[Ids, int | str, int], item: tuple[Ids, int | str, int]) -> tuple[Ids, Ids]:
    """Return the ids of users and of items with those of one event, which `Ids.number` found in a row or not (-1).

    Faster than `name_events`.
    """
    for kind, (known, value, row) in (("user", user), ("item", item)):
        if row < 0:
            refuse_other_types(f"{kind}s", kind, known, [value], False)
    users, items = (known if row >= 0 else known.extended([value]) for known, value, row in (user, item))
    return users, items


def _last_events(rows: NDArray[Any], columns: NDArray[Any], values: NDArray[Any], shape: tuple[int, int]) -> CSR:
    """Return events as a canonical matrix with the last value of each pair."""
    key = rows.astype(np.int64) * max(shape[1], 1) + columns
    order = np.argsort(key, kind="stable")
    last = np.ones(len(key), bool)
    last[:-1] = key[order[1:]] != key[order[:-1]]
    order = order[last]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[order], minlength=shape[0]))])
    return CSR.of(indptr, columns[order], values[order], shape)
