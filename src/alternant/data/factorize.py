"""Columns of raw ids to row numbers: distinct ids are numbered, in ascending order if they can be compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.splitmix import GOLDEN
from .._utils.threads import default_num_threads, map_parallel
from .ids import PADDING, Ids
from .twins import refuse_twins
from .values import is_hashable, is_missing, object_array, plain, refuse_unlike_ids

CHUNK = 1 << 18  # elements processed at a time, to limit the memory for Python objects and copies


def factorize(column: Any, name: str) -> tuple[NDArray[np.int32] | NDArray[np.int64], Ids]:
    """Number the distinct values of a column: ascending, or in order of appearance if they can't be compared.

    Parameters
    ----------
    column : int64 array, or anything that can be sliced and converted to a list
        The raw ids of all rows.
    name : str
        The column's name in messages.

    Returns
    -------
    codes : int32 (int64 from 2^31 ids on) array
        The row number of every entry; -1 where the id is missing (None or NaN).
    ids : Ids
    """
    if isinstance(column, np.ndarray) and column.dtype == np.int64:
        return _factorize_numbers(column)
    return _factorize_objects(column, name)


def _factorize_numbers(column: NDArray[np.int64]) -> tuple[NDArray[Any], Ids]:
    if len(column) == 0:
        return np.empty(0, np.int32), Ids(column.copy())
    low, high = int(column.min()), int(column.max())
    span = high - low + 1
    parts = [slice(start, start + CHUNK) for start in range(0, len(column), CHUNK)]
    codes = np.empty(len(column), np.int32 if min(span, len(column)) <= np.iinfo(np.int32).max else np.int64)
    if span <= len(column) + (1 << 20):  # a table of the whole range is hardly larger than the column
        present = np.zeros(span, bool)
        for part in parts:
            present[column[part] - low] = True
        values = np.flatnonzero(present) + low
        numbers = np.cumsum(present, dtype=codes.dtype) - 1

        def look_up(part: slice) -> None:
            codes[part] = numbers[column[part] - low]

        map_parallel(look_up, parts, default_num_threads())
    else:
        ordered = np.sort(column)  # np.unique takes ten times as long
        first = np.ones(len(ordered), bool)
        np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
        values = ordered[first]
        map_parallel(_hashed_look_up(values, column, codes), parts, default_num_threads())
    return codes, Ids(values)


def _hashed_look_up(
    values: NDArray[np.int64], column: NDArray[np.int64], codes: NDArray[Any]
) -> Callable[[slice], None]:
    """Return a function that looks up a part of the column in `values`, which are ascending.

    A hash table without collision handling finds nearly all; a binary search, five times slower, finds the rest.
    """
    bits = (4 * len(values)).bit_length()

    def slots(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        return (numbers.view(np.uint64) * np.uint64(GOLDEN)) >> np.uint64(64 - bits)

    table = np.zeros(1 << bits, codes.dtype)
    table[slots(values)] = np.arange(len(values), dtype=codes.dtype)

    def look_up(part: slice) -> None:
        numbers = column[part]
        found = table[slots(numbers)]
        wrong = np.flatnonzero(values[found] != numbers)
        found[wrong] = np.searchsorted(values, numbers[wrong])
        codes[part] = found

    return look_up


class _Numbering(dict[Any, int]):
    """Numbers keys in order of appearance."""

    def __missing__(self, key: Any) -> int:
        number = self[key] = len(self)
        return number


def _factorize_objects(column: Any, name: str) -> tuple[NDArray[Any], Ids]:
    numbering = ObjectNumbering(name)
    codes = np.empty(len(column), np.int64 if len(column) > np.iinfo(np.int32).max else np.int32)
    for start in range(0, len(column), CHUNK):
        chunk = column[start : start + CHUNK]
        values = chunk if isinstance(chunk, list) else chunk.tolist() if hasattr(chunk, "tolist") else chunk.to_list()
        codes[start : start + CHUNK] = numbering.add(values, start)
    rank, ids = numbering.finish()
    return rank.astype(codes.dtype)[codes], ids


class ObjectNumbering:
    """Numbers ids of any type that come in parts.

    Parameters
    ----------
    name : str
        The column's name in messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._numbering = _Numbering()

    def add(self, values: list[Any], start: int) -> NDArray[np.int64]:
        """Return provisional numbers of the values, in order of appearance; `start` is the row of the first one."""
        refuse_unlike_ids(self.name, values)
        if any(issubclass(kind, np.generic) for kind in set(map(type, values))):  # not comparable with Decimal
            values = [plain(self.name, value) for value in values]
        try:
            return np.fromiter(map(self._numbering.__getitem__, values), np.int64, len(values))
        except TypeError:
            at = next(at for at, value in enumerate(values) if not is_hashable(value))
            raise TypeError(
                f"{self.name} must hold ids that can be hashed (numbers, strings), got {type(values[at]).__name__} in "
                f"row {start + at}"
            ) from None

    def finish(self) -> tuple[NDArray[np.int64], Ids]:
        """Return the final number of every provisional one, -1 if it is of a missing id, and the ids."""
        distinct = _Numbering()
        place = np.array(
            [PADDING if is_missing(key) else distinct[plain(self.name, key)] for key in self._numbering], np.int64
        )
        values = list(distinct)
        order = sorted_order(values)
        rank = np.full(len(values) + 1, PADDING)  # the last one (index -1) is for missing ids
        rank[order] = np.arange(len(order))
        ids = [values[number] for number in order.tolist()]
        refuse_twins(self.name, ids)
        whole = all(type(value) is int and -(2**63) <= value < 2**63 for value in ids)
        return rank[place], Ids(np.array(ids, np.int64) if whole else object_array(ids))


def sorted_order(values: list[Any]) -> NDArray[np.int64]:
    """Return the permutation that sorts the values, or the identity if they can't be compared."""
    try:
        return np.array(sorted(range(len(values)), key=values.__getitem__), np.int64)
    except TypeError:
        return np.arange(len(values))
