"""What a model that learns event by event keeps: factors that grow, and the events since the last fit."""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.splitmix import GOLDEN, mix, mix_array
from ...data.append import refuse_other_types
from ...data.csr import CSR
from ...data.ids import Ids
from .._fit_loop import freeze

# Merging sorts, which takes longer than learning from an event: it is left to whoever reads the rows, unless so many
# events wait that they would take much more memory than the rows.
MOST_WAITING = 1 << 22
MOST_ROWS = np.iinfo(np.int32).max


class Growing:
    """Rows that a model under its lock writes to and appends to (at amortized constant cost) while threads read.

    Readers never see these rows themselves but `Rows`. As long as nobody has written to rows that came whole, from a
    fit or a file, they are one and the same memory, frozen; the first write makes a copy of it.
    """

    def __init__(self, rows: NDArray[Any]) -> None:
        self._memory = np.ascontiguousarray(rows)
        self._count = len(rows)
        self._own = False  # whether nobody else has this memory
        self._readers: list[weakref.ref[Rows]] = []
        self._frozen: weakref.ref[NDArray[Any]] | None = None  # the last copy of all rows, while it is as they are
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
        """Return memory in which these rows may be written to; those who read the rows keep them as they are."""
        if not self._own:
            self._memory, self._own = self._memory.copy(), True
        self._frozen = None
        if self._readers:
            for reader in tuple(self._readers):
                if (living := reader()) is not None:
                    living.keep(rows, self._memory[rows].copy())
        return self._memory[: self._count]

    def reserve(self, count: int) -> None:
        """Make room for more rows; readers stay with the old memory, to which nobody writes any more."""
        total = self._count + count
        if total > len(self._memory):
            memory = np.empty((max(total, 2 * len(self._memory)), *self._memory.shape[1:]), self._memory.dtype)
            memory[: self._count] = self.rows
            self._memory, self._own = memory, True

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows, as `reserve` makes room for them."""
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
        """Forget what was appended after there were so many rows."""
        if count < self._count:
            self._count, self._frozen = count, None

    def drop_first(self, count: int) -> None:
        """Forget the first rows."""
        self._memory = self._memory[count : self._count].copy()
        self._count, self._own, self._frozen = len(self._memory), True, None


class Rows:
    """The rows of a `Growing` as they were at one moment, for one reader.

    They are copied when they are asked for, a few or all of them. The model's writer hands in what a row was before it
    changes it, so that making a snapshot costs nothing and nobody waits for a copy of all rows.
    """

    def __init__(self, growing: Growing, lock: threading.RLock) -> None:
        """Begin to read, under the lock that writers hold."""
        self._growing, self._lock, self._is_open = growing, lock, True
        self._memory = growing.rows
        self._before: list[tuple[int | NDArray[np.int64], NDArray[Any]]] = []
        self._whole: NDArray[Any] | None = None
        if not growing._own:
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

    def keep(self, rows: int | NDArray[np.int64], before: NDArray[Any]) -> None:
        """Note what rows are before the writer, who holds the lock, changes them."""
        self._before.append((rows, before))

    def take(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return some of the rows."""
        if self._whole is not None:
            return np.asarray(self._whole[numbers])
        self._check_open()
        with self._lock:
            out: NDArray[Any] = self._memory[numbers]
            for rows, before in reversed(self._before):  # of several words on a row the first one is right
                changed, first = np.unique(rows, return_index=True)
                at = np.minimum(np.searchsorted(changed, numbers), len(changed) - 1)
                same = changed[at] == numbers
                out[same] = np.atleast_2d(before)[first[at[same]]]
        return out

    def whole(self) -> NDArray[Any]:
        """Return all rows, read-only; another reader may get the same array."""
        if self._whole is None:
            self._check_open()
            out = self._memory.copy()  # while the writer goes on: what it changes meanwhile is put right below
            with self._lock:
                for rows, before in reversed(self._before):
                    known = np.flatnonzero(np.atleast_1d(rows) < len(out))  # not appended since
                    out[np.atleast_1d(rows)[known]] = np.atleast_2d(before)[known]
                freeze(out)
                self._whole = out
                if not self._before and len(out) == len(self._growing):
                    self._growing._frozen = weakref.ref(out)
                self.close()
        return self._whole

    def close(self) -> None:
        """Stop keeping what changes; what is not whole by then can't be read any more."""
        self._is_open = False
        with self._lock:
            _leave(self._growing._readers, self._me)
            self._before = []

    def _check_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("a snapshot was read after its end: take what it is needed for while it is open")


def _leave(readers: list[weakref.ref[Rows]], me: weakref.ref[Rows] | None) -> None:
    with contextlib.suppress(ValueError):  # it has left already
        readers.remove(me)  # type: ignore[arg-type]


class Log:
    """The last word on every pair at one moment: canonical rows, and events that are younger than these."""

    def __init__(self, source: Events, known: CSR, events: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]) -> None:
        self.source, self.known = source, known
        self.users, self.items, self.values = events

    def merged(self, n_users: int, n_items: int) -> CSR:
        """Return all rows, of a matrix at least as large as given, with the events merged into them."""
        known = self.known
        rows = np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))
        shape = (
            max(n_users, known.shape[0], int(self.users.max(initial=-1)) + 1),
            max(n_items, known.shape[1], int(self.items.max(initial=-1)) + 1),
        )
        if len(self.users) == 0 and shape == known.shape:
            return known
        return _last_words(
            np.concatenate([rows, self.users]), np.concatenate([known.indices, self.items]),
            np.concatenate([known.data, self.values]), shape,
        )  # fmt: skip

    def of(self, users: NDArray[np.int64], n_items: int) -> CSR:
        """Return the rows of some users; the others are not touched, so that this is cheap for a few."""
        old = users < self.known.shape[0]
        known = self.known.take(users[old])
        at = np.repeat(np.flatnonzero(old), np.diff(known.indptr))
        waiting = np.flatnonzero(np.isin(self.users, users))
        order = np.argsort(users, kind="stable")
        first = np.searchsorted(users, self.users[waiting], sorter=order)
        last = np.searchsorted(users, self.users[waiting], side="right", sorter=order)
        counts = last - first  # a user may be asked for twice
        events = np.repeat(waiting, counts)
        starts = np.cumsum(counts) - counts
        places = order[np.repeat(first - starts, counts) + np.arange(len(events))]
        return _last_words(
            np.concatenate([at, places]), np.concatenate([known.indices, self.items[events]]),
            np.concatenate([known.data, self.values[events]]), (len(users), n_items),
        )  # fmt: skip


class Events:
    """The last word on every pair, for the model to add to under its lock; readers get a `Log`."""

    def __init__(self, known: CSR) -> None:
        self._known = known
        self._clear()

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
        if len(self._users) > MOST_WAITING:
            self._merge_many()

    def _merge_many(self) -> None:
        if len(self._users) > max(MOST_WAITING, 2 * len(self._known.data)):
            log = self.log()
            self.forget(log, log.merged(*self._known.shape))

    def log(self) -> Log:
        """Return what is known now; nothing of it changes when events are added."""
        return Log(self, self._known, (self._users.rows, self._items.rows, self._values.rows))

    def forget(self, log: Log, merged: CSR) -> None:
        """Keep the events of a log in their merged form, unless somebody else has merged them meanwhile."""
        if self._known is log.known:
            self._known = merged
            for growing in (self._users, self._items, self._values):
                growing.drop_first(len(log.users))


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
    refuse_other_types("users", "user", user_ids, new_users, bool((rows < len(user_ids)).any()))
    refuse_other_types("items", "item", item_ids, new_items, bool((cells < len(item_ids)).any()))
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
