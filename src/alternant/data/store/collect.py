"""The distinct ids of a column that comes in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..factorize import ObjectNumbering
from .columns import IdColumn, Kind
from .saved_ids import Files, open_ids, save_any, save_texts, save_whole

FEWEST = 1 << 20  # ids are collected until there are so many, before they are merged with the known ones


class OtherKindError(Exception):
    """A part has ids of another kind than those before: all must be collected anew, as ids of any type."""


class WholeNumbers:
    """Distinct whole numbers: marked in a table as long as their range is small, else merged by sorting.

    Parameters
    ----------
    most : int
        The largest range for a table, which takes a byte for each number in it.
    """

    kind: Kind = "whole"

    def __init__(self, most: int) -> None:
        self._most = most
        self._low = 0  # the first number of the table
        self._marks: NDArray[np.bool_] | None = np.zeros(0, bool)  # None: the range is too large
        self._known = np.empty(0, np.int64)  # ascending
        self._new: list[NDArray[np.int64]] = []

    @staticmethod
    def distinct(column: IdColumn, kept: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Return the distinct ids of some rows, ascending; may be called from several threads."""
        return _unique(np.sort(column.take(kept)))

    def add(self, found: NDArray[np.int64]) -> None:
        """Add ids, as returned by `distinct`."""
        if not len(found):
            return
        if self._marks is not None and self._widen(int(found[0]), int(found[-1])):
            self._marks[found - self._low] = True
            return
        self._new.append(found)
        if sum(map(len, self._new)) > max(FEWEST, len(self._known) // 2):
            self.settle()

    def _widen(self, first: int, last: int) -> bool:
        """Make the table hold a range, too; without a table from now on if that is too large."""
        marks = self._marks
        assert marks is not None
        low, high = (min(first, self._low), max(last, self._low + len(marks) - 1)) if len(marks) else (first, last)
        if high - low >= self._most:
            self._known, self._marks = self.settle(), None
            return False
        if high - low >= len(marks):  # by at least a half, so that copies are few
            spare = min(self._most, len(marks) + len(marks) // 2)
            below, size = (self._low - low if len(marks) else 0), max(high - low + 1, spare)
            wider = np.zeros(size, bool)
            wider[below : below + len(marks)] = marks
            self._low, self._marks = low, wider
        return True

    def settle(self) -> NDArray[np.int64]:
        """Return all ids, ascending."""
        if self._marks is not None:
            return np.flatnonzero(self._marks) + self._low
        if self._new:
            merged = np.concatenate([self._known, *self._new])
            self._new = []
            self._known = np.empty(0, np.int64)
            merged.sort()
            self._known = _unique(merged)
        return self._known

    @property
    def nbytes(self) -> int:
        """The memory that is needed at most, in bytes."""
        if self._marks is not None:
            return 3 * len(self._marks)
        return 3 * self._known.nbytes + 3 * 8 * FEWEST

    def save(self, folder: Path, side: str) -> tuple[Files, int]:
        """Write the ids in ascending order; also return how many they are."""
        known = self.settle()
        return save_whole(folder, side, known), len(known)

    def save_unordered(self, folder: Path, side: str) -> Files:
        """Write the ids so far."""
        return save_whole(folder, side, self.settle())

    def restore(self, folder: Path, side: str) -> None:
        """Go on with ids that were saved."""
        self.add(np.array(open_ids(folder, side, "whole").values))


def _unique(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


class Texts:
    """Distinct strings, as pyarrow arrays; sorted at the end only."""

    kind: Kind = "texts"

    def __init__(self) -> None:
        import pyarrow as pa

        self._known = pa.array([], pa.large_string())
        self._new: list[Any] = []

    @staticmethod
    def distinct(column: IdColumn, kept: NDArray[np.bool_] | None) -> Any:
        """Return the distinct ids of some rows; may be called from several threads."""
        return column.take(kept).unique()

    def add(self, found: Any) -> None:
        """Add ids, as returned by `distinct`."""
        self._new.append(found)
        if sum(map(len, self._new)) > max(FEWEST, len(self._known) // 2):
            self.settle()

    def settle(self) -> Any:
        """Merge what has been added; return all ids."""
        import pyarrow as pa

        if self._new:
            self._known = pa.concat_arrays([self._known, *self._new]).unique()
            self._new = []
        return self._known

    @property
    def nbytes(self) -> int:
        """The memory that merging takes at most, in bytes."""
        return 3 * int(self._known.nbytes) + 64 * FEWEST + 32 * len(self._known)

    def save_unordered(self, folder: Path, side: str) -> Files:
        """Write the ids so far."""
        return save_texts(folder, side, self.settle())

    def save(self, folder: Path, side: str) -> tuple[Files, int]:
        """Write the ids in ascending order: of bytes in UTF-8, which is that of code points."""
        import pyarrow.compute as pc

        known = self.settle()
        self._known = known.take(pc.array_sort_indices(known))
        return save_texts(folder, side, self._known), len(self._known)

    def restore(self, folder: Path, side: str) -> None:
        """Go on with ids that were saved."""
        import pyarrow as pa

        ids = open_ids(folder, side, "texts")
        offsets, text = np.array(ids.offsets), np.array(ids.text)  # type: ignore[attr-defined]
        self._known = pa.LargeStringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(text))


class AnyIds:
    """Distinct ids of any type, as Python objects, in the order in which `factorize` numbers them."""

    kind: Kind = "any"

    def __init__(self, name: str) -> None:
        self._numbering = ObjectNumbering(name)
        self._used: set[int] = set()
        self._rows = 0

    @staticmethod
    def distinct(column: IdColumn, kept: NDArray[np.bool_] | None) -> Any:
        """Return all ids, also of rows that are dropped: the order of appearance counts them."""
        return column.to_list(), kept

    def add(self, found: Any) -> None:
        """Add ids, as returned by `distinct`."""
        values, kept = found
        numbers = self._numbering.add(values, self._rows)
        self._used.update((numbers if kept is None else numbers[kept]).tolist())
        self._rows += len(values)

    @property
    def nbytes(self) -> int:
        """The memory of the ids, roughly."""
        return 400 * len(self._used)

    def save(self, folder: Path, side: str) -> tuple[Files, int]:
        """Write the ids; only once, at the end."""
        rank, ids = self._numbering.finish()
        used = np.unique(rank[np.array(sorted(self._used), np.int64)])
        values = ids.values[used]
        if ids.are_numbers:
            self.kind = "whole"
            return save_whole(folder, side, values), len(values)
        return save_any(folder, side, self._numbering.name, values.tolist()), len(values)


Collector = WholeNumbers | Texts | AnyIds
COLLECTORS: dict[Kind, type[Collector]] = {"whole": WholeNumbers, "texts": Texts, "any": AnyIds}


def collector(kind: Kind, name: str, most: int) -> Collector:
    """Return an empty collector of ids; `name` is that of the column in messages, `most` is for `WholeNumbers`."""
    if kind == "any":
        return AnyIds(name)
    return WholeNumbers(most) if kind == "whole" else Texts()
