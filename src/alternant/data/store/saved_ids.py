"""Raw ids in files: whole numbers, texts as offsets and UTF-8, or any other type as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import release
from ..ids import PADDING, PART, Ids, _Tail, same_arrays
from ..values import object_array
from .array_files import ArrayWriter, FileState, map_array
from .columns import Kind

Files = dict[str, FileState]  # by name
READERS: dict[type, Callable[[Any], Any]] = {  # of the types that a saved model can hold, too
    str: str, int: int, float: float, UUID: UUID, date: date.fromisoformat, datetime: datetime.fromisoformat,
}  # fmt: skip


class TextIds(Ids):
    """Ids that are strings in ascending order, mapped from files; Python objects are made of all only if needed."""

    def __init__(self, offsets: NDArray[np.int64], text: NDArray[np.uint8]) -> None:
        self.offsets: NDArray[np.int64] = offsets
        self.text: NDArray[np.uint8] = text
        self._count = len(offsets) - 1

    def __reduce__(self) -> tuple[type[Ids], tuple[NDArray[Any]]]:
        return Ids, (self.values.copy(),)

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TextIds):
            return super().__eq__(other)
        return self is other or (same_arrays(self.offsets, other.offsets) and same_arrays(self.text, other.text))

    __hash__: ClassVar[None] = None

    @cached_property
    def _memory(self) -> NDArray[Any]:  # type: ignore[override]
        step, out = 1 << 20, np.empty(self._count, object)
        for start in range(0, self._count, step):
            out[start : start + step] = self._run(start, min(start + step, self._count))
        return out

    @cached_property
    def _tail(self) -> _Tail:  # type: ignore[override]
        return _Tail(self._memory, self._count, None)

    @property
    def are_numbers(self) -> bool:
        """Whether all ids are whole numbers: they are not."""
        return False

    @cached_property
    def types(self) -> frozenset[type]:
        """The types of the ids."""
        return frozenset({str})

    def release(self, rows: slice) -> None:
        """Give back the memory of some rows, if they are mapped from a file."""
        ends = self.offsets[rows.start], self.offsets[rows.stop]
        release(self.offsets[rows], self.text[slice(*map(int, ends))])

    def parts(self) -> Iterator[Any]:
        """Yield what tells these ids from others, for a digest: as if they were in memory."""
        for start in range(0, self._count, PART):
            rows = slice(start, min(start + PART, self._count))
            yield self._run(rows.start, rows.stop)
            self.release(rows)

    def number(self, value: Any) -> int:
        """Return the row number of one id, -1 if it is unknown: by bisection, without a table."""
        if "_tail" in self.__dict__ or not isinstance(value, str):
            return super().number(value) if "_tail" in self.__dict__ else PADDING
        try:
            wanted = value.encode()
        except UnicodeEncodeError:
            return PADDING
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._bytes(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < self._count and self._bytes(low) == wanted else PADDING

    def raw(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return the ids of row numbers; -1 (padding) becomes None."""
        if "_memory" in self.__dict__:
            return super().raw(numbers)
        if numbers.ndim == 1 and len(numbers) and numbers[0] >= 0 and (np.diff(numbers) == 1).all():
            return object_array(self._run(int(numbers[0]), int(numbers[-1]) + 1))
        chosen, place = np.unique(numbers, return_inverse=True)
        texts = object_array([None if number < 0 else text for number, text in
                              zip(chosen.tolist(), self._texts(np.maximum(chosen, 0)), strict=True)])  # fmt: skip
        return texts[place.reshape(numbers.shape)]

    def _run(self, first: int, last: int) -> list[str]:
        """Return the ids of consecutive rows."""
        ends = self.offsets[first : last + 1]
        text = self.text[ends[0] : ends[-1]].tobytes()
        cuts = (ends - ends[0]).tolist()
        return [text[start:end].decode() for start, end in pairwise(cuts)]

    def _bytes(self, number: int) -> bytes:
        return self.text[self.offsets[number] : self.offsets[number + 1]].tobytes()

    def _texts(self, numbers: NDArray[Any]) -> list[str]:
        starts, ends = self.offsets[numbers].tolist(), self.offsets[numbers + 1].tolist()
        return [self.text[start:end].tobytes().decode() for start, end in zip(starts, ends, strict=True)]


def names_of(side: str, kind: Kind) -> list[str]:
    """Return the names of the files that hold the ids of a side."""
    return {"whole": [f"{side}_ids.values"], "texts": [f"{side}_ids.offsets", f"{side}_ids.utf8"],
            "any": [f"{side}_ids.json"]}[kind]  # fmt: skip


def save_whole(folder: Path, side: str, values: NDArray[np.int64]) -> Files:
    """Write whole numbers."""
    return _write(folder, names_of(side, "whole"), [values])


def save_texts(folder: Path, side: str, texts: Any) -> Files:
    """Write a pyarrow array of type large_string."""
    offsets, text = text_buffers(texts)
    return _write(folder, names_of(side, "texts"), [offsets - offsets[0], text[offsets[0] : offsets[-1]]])


def save_any(folder: Path, side: str, name: str, values: list[Any]) -> Files:
    """Write ids of any type that can be written as a text."""
    lines = []
    for value in values:
        if type(value) not in READERS:
            known = ", ".join(kind.__name__ for kind in READERS)
            raise TypeError(
                f"{name} must hold ids of the types {known} to be stored, got {type(value).__name__} (such as "
                f"{value!r}): convert them to strings"
            )
        text = value.isoformat() if isinstance(value, date) else value
        lines.append([type(value).__name__, text if isinstance(text, str) else str(text)])
    content = np.frombuffer(json.dumps(lines, separators=(",", ":")).encode(), np.uint8)
    return _write(folder, names_of(side, "any"), [content])


def _write(folder: Path, names: list[str], arrays: list[NDArray[Any]]) -> Files:
    files: Files = {}
    for name, array in zip(names, arrays, strict=True):
        writer = ArrayWriter(folder / name)
        step = 1 << 22  # an array may be mapped, and is then not read as a whole
        for start in range(0, len(array), step):
            writer.append(array[start : start + step])
        files[name] = writer.state
    return files


def text_buffers(texts: Any) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the offsets and the UTF-8 text of a pyarrow array of type large_string without missing entries."""
    _, offsets, text = texts.buffers()
    if len(texts) == 0:
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    return (
        np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8),
        np.frombuffer(text, np.uint8) if text is not None else np.empty(0, np.uint8),
    )


def open_ids(folder: Path, side: str, kind: Kind) -> Ids:
    """Return the ids that were saved; whole numbers and texts are mapped into memory."""
    paths = [folder / name for name in names_of(side, kind)]
    if kind == "whole":
        return Ids(map_array(paths[0], np.dtype(np.int64)))
    if kind == "texts":
        return TextIds(map_array(paths[0], np.dtype(np.int64)), map_array(paths[1], np.dtype(np.uint8)))
    readers = {one.__name__: read for one, read in READERS.items()}
    return Ids(object_array([readers[name](text) for name, text in json.loads(paths[0].read_bytes())]))
