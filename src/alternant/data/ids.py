"""Raw ids (of users and items in your own tables) and the row numbers that models compute with."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import release
from .twins import refuse_twins
from .validation import refuse_iterator
from .values import (
    as_objects,
    is_hashable,
    is_missing,
    is_whole,
    object_array,
    open_column,
    plain,
    refuse_rounded,
    refuse_unlike_ids,
    unmasked,
)

PADDING = -1  # the row number that pads a list
PART = 1 << 16  # ids in a part of a digest
FEW = 1000  # up to so many ids are looked up one by one, if there is a table


class _Tail:
    """Memory and a hash table shared by `Ids` that extend each other; they may hold more ids than any one of these."""

    __slots__ = ("memory", "table", "used")

    def __init__(self, memory: NDArray[Any], used: int, table: dict[Any, int] | None) -> None:
        self.memory, self.used, self.table = memory, used, table


_tail_lock = threading.RLock()  # held while ids are written; no other lock is acquired meanwhile
if hasattr(os, "register_at_fork"):  # a child must find neither a half-written id nor a lock without an owner
    os.register_at_fork(
        before=_tail_lock.acquire, after_in_parent=_tail_lock.release, after_in_child=_tail_lock.release
    )


class Ids:
    """Distinct raw ids in the order of their row numbers; immutable, so that threads may share them."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._memory = values  # int64 if all ids are whole numbers, else objects
        self._count = len(values)
        self._tail = _Tail(values, len(values), None)

    def __len__(self) -> int:
        return self._count

    @property
    def values(self) -> NDArray[Any]:
        """The ids, read-only: int64, or objects (strings, tuples, anything hashable)."""
        view = self._memory[: self._count]
        view.flags.writeable = False
        return view

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Ids) or len(self) != len(other):
            return self is other
        if not (self.are_numbers and other.are_numbers):
            return np.array_equal(self.values, other.values)
        return same_arrays(self.values, other.values)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        return {"_memory": self.values.copy(), "_count": self._count}  # without the tables

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _tail=_Tail(state["_memory"], state["_count"], None))

    @property
    def are_numbers(self) -> bool:
        """Whether all ids are whole numbers, stored as int64."""
        return self._memory.dtype.kind == "i"

    def release(self, rows: slice) -> None:
        """Give back the memory of some rows, if they are mapped from a file."""
        release(self._memory[rows])

    def parts(self) -> Iterator[Any]:
        """Yield what tells these ids from others, for a digest: an array, or lists of `PART` ids."""
        if self.are_numbers:
            yield self.values
            return
        for start in range(0, self._count, PART):
            yield self.values[start : start + PART].tolist()

    # Two threads may both compute a cached value; as the ids never change, they get the same result.

    @cached_property
    def types(self) -> frozenset[type]:
        """The types of the ids."""
        if self.are_numbers:
            return frozenset({int} if self._count else ())
        return frozenset(map(type, self.values.tolist()))

    @cached_property
    def _sorted(self) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """The ids in ascending order, and their row numbers unless they are in this order already."""
        if (self.values[1:] > self.values[:-1]).all():
            return self.values, None
        order = np.argsort(self.values, kind="stable")
        return self.values[order], order

    def _table(self) -> dict[Any, int]:
        """Return a dictionary of row numbers by id, which may include ids added by objects that extend this one."""
        tail = self._tail
        table = tail.table
        if table is None:
            built = {value: number for number, value in enumerate(self.values.tolist())}
            with _tail_lock:  # ids are added only once there is a table
                if tail.table is None:
                    tail.table = built
                table = tail.table
        return table

    def find(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the row numbers of ids (an array of any shape), -1 for unknown ones."""
        if self.are_numbers and self._tail.table is None and values.dtype.kind == "O" and _are_int64(values):
            values = values.astype(np.int64)  # finding a few ids should not need a table of all of them
        if self.are_numbers and values.dtype.kind in "iu" and (self._tail.table is None or values.size > FEW):
            ordered, order = self._sorted
            if len(ordered) == 0:
                return np.full(values.shape, PADDING, np.int64)
            if values.dtype == np.uint64:  # NumPy would compare it with int64 as float64
                beyond = values > np.uint64(np.iinfo(np.int64).max)
                return np.where(beyond, PADDING, self.find(np.where(beyond, 0, values).astype(np.int64)))
            at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
            return np.where(ordered[at] == values, at if order is None else order[at], PADDING)
        numbers = np.fromiter((self.number(value) for value in values.ravel().tolist()), np.int64, values.size)
        return numbers.reshape(values.shape)

    def number(self, value: Any) -> int:
        """Return the row number of one id, -1 if it is unknown."""
        # To a dictionary, 1.0 == 1, so that whole numbers stored as floats in a frame are found.
        number = (self._tail.table or self._table()).get(value, PADDING)
        return number if number < self._count else PADDING

    def numbers(self, name: str, ids: Any, kind: str) -> NDArray[np.int64]:
        """Return the row numbers of raw ids, in the same shape; all must be known.

        Raises
        ------
        IndexError
            If an id is unknown.
        TypeError
            If something cannot be an id.
        """
        values, found = self.look_up(name, ids, kind)
        if (found < 0).any():
            unknown = list(dict.fromkeys(values[found < 0].tolist()))
            sample = self.values[:1].tolist()
            likely = sample and not any(isinstance(value, type(sample[0])) for value in unknown)
            hint = f" (ids here are of type {type(sample[0]).__name__}, such as {sample[0]!r})" if likely else ""
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            if name == kind:  # a single one
                instead = ", or user=None and the interactions as user_items for a new one" if kind == "user" else ""
                one = "a user" if kind == "user" else "an item"
                raise IndexError(
                    f"{name} must be {one} id of the fit, got {unknown[0]!r}{hint}: pass such an id{instead}"
                )
            fold_in = ""
            if name in ("users", "items"):
                known_by = "user_items" if kind == "user" else "item_users"
                fold_in = f", or pass their interactions as {known_by} to fold them in"
            raise IndexError(
                f"{name} must be {kind} ids of the fit, got {unknown[0]!r}{more}{hint}: leave them out{fold_in}"
            )
        return found

    def look_up(self, name: str, ids: Any, kind: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return raw ids as an array, and their row numbers, -1 for unknown ones."""
        values = self.as_array(name, ids)
        try:
            return values, self.find(values)
        except TypeError:
            raise TypeError(f"{name} must be {kind} ids, which can be hashed (numbers, strings), got {ids!r}") from None

    def spelled(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Normalize ids, known or not, as in `values`: to int64, but objects only if all ids, here too, are whole."""
        if values.dtype == object:
            values = object_array([plain(name, value) for value in values.ravel().tolist()]).reshape(values.shape)
            return values.astype(np.int64) if self.are_numbers and _are_int64(values) else values
        fits = values.dtype != np.uint64 or values.max(initial=0) <= np.iinfo(np.int64).max
        return values.astype(np.int64, copy=False) if fits else values

    def as_array(self, name: str, ids: Any) -> NDArray[Any]:
        """Convert ids to an array; a string, a number, or a tuple that is a known id, is a single id."""
        values = self._as_array(name, ids)
        if values.dtype == object:
            refuse_unlike_ids(name, values.ravel().tolist())
        return values

    def _as_array(self, name: str, ids: Any) -> NDArray[Any]:
        if isinstance(ids, np.ndarray):
            ids = unmasked(ids)
            if ids.dtype.kind == "f":
                refuse_rounded(name, ids)  # before conversion to Python floats, which all have 53 bits
            return ids if ids.dtype.kind in "iuO" else as_objects(name, ids)
        if isinstance(ids, np.generic):
            return self._as_array(name, np.asarray(ids))
        if isinstance(ids, (str, bytes, int, float)) or ids is None:
            return np.array(ids, object)
        try:
            single = isinstance(ids, (tuple, frozenset)) and self.number(ids) >= 0
        except TypeError:  # a tuple of lists
            single = False
        if not single:
            refuse_iterator(name, ids)
        if single or not hasattr(ids, "__len__"):
            out = np.empty((), object)
            out[()] = ids
            return out
        column = open_column(ids) if hasattr(ids, "__array__") else ids
        if isinstance(column, nw.Series):
            is_array = is_whole(column) or column.dtype.is_float()
            column = np.asarray(column.to_numpy()) if is_array else object_array(column.to_list())
        if isinstance(column, np.ndarray):
            return self._as_array(name, column)
        listed = list(ids)
        refuse_unlike_ids(name, listed)
        return object_array([
            as_objects(name, np.asarray(value)).item() if isinstance(value, np.generic) else value for value in listed
        ])  # fmt: skip

    def raw(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return the ids of row numbers; -1 (padding) becomes -1 if the ids are numbers, else None."""
        padding = numbers < 0
        out = self.values[np.where(padding, 0, numbers)] if len(self) else np.empty(numbers.shape, self.values.dtype)
        if padding.any():
            out[padding] = PADDING if self.are_numbers else None
        return out

    def provisional(self, name: str, values: NDArray[Any]) -> tuple[NDArray[np.int64], list[Any]]:
        """Return the row numbers that ids would have after `extended`, and the new ids to pass to it."""
        new: dict[Any, int] = {}
        try:
            numbers = [
                number if (number := self.number(value)) >= 0 else new.setdefault(value, self._count + len(new))
                for value in values.ravel().tolist()
            ]
        except TypeError:
            wrong = next(value for value in values.ravel().tolist() if not is_hashable(value))
            raise TypeError(f"{name} must be ids, which can be hashed (numbers, strings), got {wrong!r}") from None
        refuse_missing(name, list(new))
        return np.array(numbers, np.int64).reshape(values.shape), [plain(name, value) for value in new]

    def extended(self, values: list[Any]) -> Ids:
        """Return these ids followed by new ones, none of which is known yet, at amortized constant cost."""
        if not values:
            return self
        self._table()
        widened = self.are_numbers and not all(type(value) is int and abs(value) < 2**63 for value in values)
        total = self._count + len(values)
        with _tail_lock:
            tail = self._tail
            if widened or tail.used != self._count:  # these ids have been extended before
                memory = object_array(self.values.tolist()) if widened else self.values.copy()
                table = {value: number for number, value in enumerate(memory.tolist())}
                tail = _Tail(memory, self._count, table)
            if total > len(tail.memory):
                memory = np.empty(max(total, 2 * len(tail.memory)), tail.memory.dtype)
                memory[: self._count] = tail.memory[: self._count]
                tail.memory = memory
            table = tail.table or {}
            for number, value in enumerate(values, self._count):
                tail.memory[number] = value
                table[value] = number
            tail.table, tail.used = table, total
            more = Ids(tail.memory)
        more._count, more._tail = total, tail
        if "types" in self.__dict__:
            more.__dict__["types"] = self.types | frozenset(map(type, values))
        return more

    def union(self, other: Ids) -> tuple[Ids, NDArray[np.int64]]:
        """Return these ids followed by the new ones of `other`, and the row numbers of all ids of `other`."""
        numbers = self.find(other.values)
        new = numbers < 0
        if not new.any():
            return self, numbers
        numbers[new] = len(self) + np.arange(new.sum())
        return self.extended(other.values[new].tolist()), numbers


def same_arrays(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two vectors are equal; those that are mapped are read a part at a time."""
    if len(one) != len(other):
        return False
    for start in range(0, len(one), PART):
        parts = one[start : start + PART], other[start : start + PART]
        if not np.array_equal(*parts):
            return False
        release(*parts)
    return True


def refuse_missing(name: str, values: list[Any]) -> None:
    """Raise if one of the ids is None, NaN or the like."""
    for value in values:
        if is_missing(value):
            raise ValueError(f"{name} must be ids, got {value!r}, which is a missing value: leave it out")


def used_ids(codes: NDArray[Any], ids: Ids) -> tuple[NDArray[Any], Ids]:
    """Renumber the ids that are still used after rows have been dropped."""
    used = np.zeros(len(ids), bool)
    used[codes] = True
    if used.all():
        return codes, ids
    return (np.cumsum(used) - 1)[codes].astype(codes.dtype), Ids(ids.values[used])


def distinct_ids(name: str, ids: Any, known: Ids) -> Ids:
    """Convert ids to `Ids`, as `known` would interpret them; raise if they are not distinct."""
    if isinstance(ids, Ids):
        return ids
    values = known.as_array(name, ids)
    if values.ndim != 1:
        raise ValueError(f"{name} must be a list of ids, got {values.ndim} dimensions")
    refuse_missing(name, values.tolist())
    listed = [plain(name, value) for value in values.tolist()]
    refuse_twins(name, listed)
    whole = all(type(value) is int and -(2**63) <= value < 2**63 for value in listed)
    if len(set(listed)) < len(listed):
        raise ValueError(f"{name} must be distinct ids, got {len(listed)} with duplicates")
    return Ids(np.array(listed, np.int64) if whole else object_array(listed))


def _are_int64(values: NDArray[Any]) -> bool:
    return all(type(value) is int and -(2**63) <= value < 2**63 for value in values.ravel().tolist())
