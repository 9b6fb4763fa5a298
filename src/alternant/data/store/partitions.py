"""Rows divided by ranges of their key into files, each of which fits in memory, in order of arrival."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .array_files import bytes_of, refuse_unfinished, write_all

# Of each block. `constant`: its values are left out, all are 1; `crc32`: of the other two and the columns.
HEADER = np.dtype([("rows", "<i8"), ("constant", "<i4"), ("crc32", "<u4")])


@dataclass(frozen=True)
class Layout:
    """The columns of a partition's rows: `key` is counted from the start of the partition's range.

    `value` and `time` are None if there are none.
    """

    key: np.dtype[Any]
    other: np.dtype[Any]
    value: np.dtype[Any] | None
    time: np.dtype[Any] | None


@dataclass
class Rows:
    """Columns of rows, as many as their `Layout` has; `values` None: all are 1."""

    keys: NDArray[Any]
    others: NDArray[Any]
    values: NDArray[Any] | None
    times: NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.keys)

    def columns(self) -> list[NDArray[Any]]:
        """Return the columns that there are, in the order in which they are written."""
        return [column for column in (self.keys, self.others, self.values, self.times) if column is not None]

    def take(self, chosen: Any) -> Rows:
        """Return the chosen rows."""
        return Rows(*(None if column is None else column[chosen] for column in
                      (self.keys, self.others, self.values, self.times)))  # type: ignore[arg-type]  # fmt: skip


class Partitions:
    """Files of blocks of rows, one file per range of keys."""

    def __init__(self, folder: Path, name: str, layout: Layout, count: int) -> None:
        self._folder, self._name = folder, name
        self.layout: Layout = layout
        self.bytes: list[int] = [0] * count
        self.rows: list[int] = [0] * count

    def path(self, number: int) -> Path:
        """Return the path of a partition, which exists once it has rows."""
        return self._folder / f"{self._name}-{number}.part"

    def restore(self, sizes: Sequence[int], rows: Sequence[int]) -> None:
        """Go back to an earlier state, whose files are there: cut off what was appended since."""
        self.bytes, self.rows = list(sizes), list(rows)
        for number, size in enumerate(self.bytes):
            path = self.path(number)
            if size:
                with path.open("rb+") as file:
                    file.truncate(size)
            else:
                path.unlink(missing_ok=True)

    def append(self, rows: Rows, ends: NDArray[np.int64]) -> None:
        """Append rows, sorted by partition; `ends` is where the rows of each partition end."""
        start = 0
        for number, end in enumerate(ends.tolist()):
            if end > start:
                self._append(number, rows.take(slice(start, end)))
            start = end

    def _append(self, number: int, rows: Rows) -> None:
        header = np.array([(len(rows), rows.values is None, 0)], HEADER)
        header["crc32"] = _checksum(header, rows)
        with self.path(number).open("ab", buffering=0) as file:
            for column in (header, *rows.columns()):
                write_all(file, bytes_of(column))
                self.bytes[number] += column.nbytes
        self.rows[number] += len(rows)

    def blocks(self, number: int) -> Iterator[Rows]:
        """Yield the rows of a partition in the blocks in which they were appended."""
        if self.rows[number]:
            with self._open(number) as file:
                for header in self._headers(file, number):
                    block = self._empty(int(header["rows"][0]))
                    if header["constant"]:
                        block.values = None
                    yield self._filled(file, number, header, block)

    def read(self, number: int) -> Rows:
        """Return all rows of a partition."""
        whole = self._empty(self.rows[number])
        if self.rows[number]:
            at, constant = 0, []
            with self._open(number) as file:
                for header in self._headers(file, number):
                    block = whole.take(slice(at, at + int(header["rows"][0])))
                    if block.values is not None and header["constant"]:
                        block.values[:] = 1
                        block.values = None
                    at += len(self._filled(file, number, header, block))
                    constant.append(bool(header["constant"]))
            if all(constant):
                whole.values = None
        return whole

    def _open(self, number: int) -> Any:
        try:
            return self.path(number).open("rb")
        except FileNotFoundError:
            refuse_unfinished(self.path(number), "is missing")

    def _headers(self, file: Any, number: int) -> Iterator[NDArray[Any]]:
        left = self.rows[number]
        while left:
            header = np.zeros(1, HEADER)
            if file.readinto(bytes_of(header)) < HEADER.itemsize or not 0 < header["rows"][0] <= left:
                refuse_unfinished(self.path(number), "has changed (number of rows)")
            left -= int(header["rows"][0])
            yield header

    def _filled(self, file: Any, number: int, header: NDArray[Any], block: Rows) -> Rows:
        """Read a block; what the file is too short for, or has changed, is refused."""
        short = any(file.readinto(bytes_of(column)) < column.nbytes for column in block.columns())
        if short or _checksum(header, block) != header["crc32"][0]:
            refuse_unfinished(self.path(number), "has changed (checksum)")
        return block

    def _empty(self, count: int) -> Rows:
        layout = self.layout
        return Rows(*(None if dtype is None else np.empty(count, dtype) for dtype in
                      (layout.key, layout.other, layout.value, layout.time)))  # type: ignore[arg-type]  # fmt: skip

    def delete(self, number: int) -> None:
        """Delete a partition's file."""
        self.path(number).unlink(missing_ok=True)


def _checksum(header: NDArray[Any], rows: Rows) -> int:
    """Return the CRC-32 of a block: of its header, but for the checksum itself, and its columns."""
    crc = zlib.crc32(bytes_of(header)[: HEADER.fields["crc32"][1]])  # type: ignore[index]
    for column in rows.columns():
        crc = zlib.crc32(bytes_of(column), crc)
    return crc


def by_range(rows: Rows, numbers: NDArray[Any], count: int) -> tuple[Rows, NDArray[np.int64]]:
    """Return rows sorted by the numbers of their partitions, in order of arrival within each, and where each ends."""
    small = np.uint8 if count <= 1 << 8 else np.uint16  # radix sort takes these only
    order = np.argsort(numbers.astype(small), kind="stable") if count <= 1 << 16 else np.argsort(numbers, kind="stable")
    return rows.take(order), np.cumsum(np.bincount(numbers, minlength=count))
