"""Numbers of known ids, looked up for millions of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.splitmix import FIRST, GOLDEN, MASK
from ..ids import Ids
from ..values import plain
from .columns import IdColumn
from .saved_ids import TextIds, text_buffers

FEW = 1 << 10  # so many are left to a binary search
UNKNOWN = "a user or an item is unknown, although all rows were read before: the source has changed meanwhile"


class UnknownIdError(LookupError):
    """An id is not among those of the first pass."""


class Numbers:
    """Places of whole numbers, given in ascending order: by a table of their range, or hash tables.

    A hash table does not handle collisions: what is not found in it is looked up in a second one with another hash, and
    so on, until a few are left for a binary search.
    """

    def __init__(self, values: NDArray[np.int64], level: int = 0) -> None:
        self._values = values
        self._dtype = np.dtype(np.int32 if len(values) <= np.iinfo(np.int32).max else np.int64)
        self._low = int(values[0]) if len(values) else 0
        self._rest: Numbers | None = None
        span = int(values[-1]) - self._low + 1 if len(values) else 0
        self._dense = span <= 4 * len(values) + FEW
        places = np.arange(len(values), dtype=self._dtype)
        if self._dense:
            self._table = np.full(span, -1, self._dtype)
            self._table[values - self._low] = places
            return
        bits = (2 * len(values)).bit_length()
        self._factor, self._shift = np.uint64((2 * level + 1) * GOLDEN & MASK), np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, self._dtype)
        slots = self._slots(values)
        self._table[slots] = places
        self._lost = np.flatnonzero(self._table[slots] != places).astype(self._dtype)
        if len(self._lost) > FEW:
            self._rest = Numbers(values[self._lost], level + 1)

    @property
    def nbytes(self) -> int:
        """The memory of the tables in bytes."""
        rest = 0 if self._rest is None else self._rest.nbytes + self._lost.nbytes
        return self._table.nbytes + self._values.nbytes + rest

    def find(self, wanted: NDArray[np.int64]) -> NDArray[Any]:
        """Return the place of each number; raise if one is unknown."""
        if not len(self._values) and len(wanted):
            raise UnknownIdError(UNKNOWN)
        if self._dense:
            at = wanted - self._low
            if len(at) and not 0 <= at.min() <= at.max() < len(self._table):
                raise UnknownIdError(UNKNOWN)
            dense: NDArray[Any] = self._table[at]
            if dense.min(initial=0) < 0:
                raise UnknownIdError(UNKNOWN)
            return dense
        found: NDArray[Any] = self._table[self._slots(wanted)]
        wrong = np.flatnonzero(self._values[found] != wanted)
        if len(wrong):
            found[wrong] = self._find_lost(wanted[wrong])
        return found

    def _find_lost(self, wanted: NDArray[np.int64]) -> NDArray[Any]:
        if self._rest is not None:
            lost: NDArray[Any] = self._lost[self._rest.find(wanted)]
            return lost
        places = np.minimum(np.searchsorted(self._values, wanted), len(self._values) - 1)
        if not np.array_equal(self._values[places], wanted):
            raise UnknownIdError(UNKNOWN)
        return places

    def _slots(self, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        slots: NDArray[np.uint64] = (numbers.view(np.uint64) * self._factor) >> self._shift
        return slots


class TextNumbers:
    """Numbers of strings, by a hash of 64 bits that no two of the known ones share.

    An unknown string is found to be unknown unless its hash is that of a known one.
    """

    def __init__(self, ids: TextIds) -> None:
        offsets, text = np.asarray(ids.offsets), np.asarray(ids.text)
        seed = 0
        while True:
            hashes = hash_texts(offsets, text, seed).view(np.int64)
            order = np.argsort(hashes)
            hashes = hashes[order]
            if not (hashes[1:] == hashes[:-1]).any():
                break
            seed += 1
        self._seed = seed
        self._hashes = Numbers(hashes)
        self._order = order.astype(np.int32 if len(order) <= np.iinfo(np.int32).max else np.int64)

    @property
    def nbytes(self) -> int:
        """The memory of the tables in bytes."""
        return self._hashes.nbytes + self._order.nbytes

    def find(self, wanted: Any) -> NDArray[Any]:
        """Return the number of each string of a pyarrow array; raise if one is unknown."""
        hashes = hash_texts(*text_buffers(wanted), self._seed)
        return np.asarray(self._order[self._hashes.find(hashes.view(np.int64))])


def hash_texts(offsets: NDArray[np.int64], text: NDArray[np.uint8], seed: int) -> NDArray[np.uint64]:
    """Return a hash of each string: eight bytes at a time, of all strings at once."""
    step = 1 << 18
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for start in range(0, len(hashes), step):
        part = offsets[start : start + step + 1]
        hashes[start : start + step] = _hash(part - part[0], text[part[0] : part[-1]], seed)
    return hashes


def _hash(offsets: NDArray[np.int64], text: NDArray[np.uint8], seed: int) -> NDArray[np.uint64]:
    padded = np.concatenate([text, np.zeros(8, np.uint8)])
    words = np.ndarray((len(text) + 1,), "<u8", padded, strides=(1,))  # the eight bytes from each position on
    starts, lengths = offsets[:-1], np.diff(offsets)
    out = (lengths.astype(np.uint64) + np.uint64(seed)) * np.uint64(GOLDEN)
    at = 0
    longer = np.arange(len(lengths))
    while True:
        longer = longer[lengths[longer] > at]
        if not len(longer):
            return out
        left = np.minimum(lengths[longer] - at, 8).astype(np.uint64)
        unused = np.uint64(8) * (np.uint64(8) - left)
        word = (words[starts[longer] + at] << unused) >> unused
        mixed = (out[longer] ^ word) * np.uint64(FIRST)
        out[longer] = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(GOLDEN)
        at += 8


class AnyNumbers:
    """Numbers of ids of any type, by a dictionary."""

    def __init__(self, ids: Ids, name: str) -> None:
        self._name = name
        self._numbers = {value: number for number, value in enumerate(ids.values.tolist())}

    @property
    def nbytes(self) -> int:
        """The memory of the dictionary, roughly."""
        return 200 * len(self._numbers)

    def find(self, wanted: list[Any]) -> NDArray[Any]:
        """Return the number of each id of a list; raise if one is unknown."""
        try:
            return np.array([self._numbers[plain(self._name, value)] for value in wanted], np.int64)
        except KeyError:
            raise UnknownIdError(UNKNOWN) from None


LookUp = Numbers | TextNumbers | AnyNumbers


def numbers_of(column: IdColumn, kept: NDArray[np.bool_] | None, look_up: LookUp) -> NDArray[Any]:
    """Return the numbers of the ids of the kept rows."""
    if isinstance(look_up, AnyNumbers):
        listed = column.to_list()
        return look_up.find(listed if kept is None else [listed[row] for row in np.flatnonzero(kept).tolist()])
    expected = "texts" if isinstance(look_up, TextNumbers) else "whole"
    wanted = column.take(kept)
    if column.kind != expected and len(wanted):
        raise UnknownIdError(UNKNOWN)
    return look_up.find(wanted) if len(wanted) else np.empty(0, np.int32)
