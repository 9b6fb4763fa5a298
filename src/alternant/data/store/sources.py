"""Sources of rows that are read twice: Parquet files, and batches from the user's code."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np

from ..._utils.messages import about, parameter, refusal
from ..io import frames
from ..io.event_columns import EventColumns, columns_of_arrays, columns_of_frame
from ..io.files import checked
from ..io.parquet import named_columns, open_parquet, role_names
from ..validation import check_real, check_structure, is_sparse
from .columns import Part, part_of

Unit = Callable[[], Part]  # reads some rows; may be called in any thread


class ParquetSource:
    """Parquet files, one after another."""

    library = "pyarrow"
    shape: tuple[int, int] | None = None  # only of matrices: their rows and columns are the ids
    others = (
        "the rows of the source are others than when its ids were read, though no file has another size or time: "
        "repeat the call when nothing writes to the source any more"
    )

    def __init__(self, source: Any, asked: dict[str, Any]) -> None:
        self.files: list[Path] = parquet_files(source)
        self.asked: dict[str, Any] = {role: column for role, column in asked.items() if column is not None}
        self.names: dict[str, str] = {role: f"column {column!r}" for role, column in self.asked.items()}
        root = Path(source) if isinstance(source, (str, os.PathLike)) and Path(source).is_dir() else None
        self._called = [str(file.relative_to(root)) if root else file.name for file in self.files]
        self._stats = [_stat(file) for file in self.files]
        with open_parquet(self.files[0]) as parquet:  # to refuse a wrong name at once
            role_names(self.files[0], self.asked, parquet.schema_arrow)

    def identity(self) -> dict[str, Any]:
        """Return what tells this source from others."""
        listed = [[name, *stat] for name, stat in zip(self._called, self._stats, strict=True)]
        return {"kind": "parquet", "files": listed}

    def check_unchanged(self) -> None:
        """Raise if a file has changed since the source was opened."""
        for file, before in zip(self.files, self._stats, strict=True):
            if not file.exists() or _stat(file) != before:
                raise ValueError(
                    f"{str(file)!r} has changed while it was read: repeat the call when nothing writes to the source "
                    "any more"
                )

    def units(self, rows: int) -> Iterator[Unit]:
        """Yield functions that read about so many rows each."""
        for file in self.files:
            with open_parquet(file) as parquet:
                metadata = parquet.metadata
                names = role_names(file, self.asked, parquet.schema_arrow)
            counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            first = 0
            for groups in _together(counts, rows):
                count = sum(counts[group] for group in groups)
                if count > 2 * rows and len(groups) == 1:
                    yield from self._parts_of_group(file, metadata, names, groups[0], first, rows)
                else:
                    yield partial(self._read, file, metadata, names, groups, first)
                first += count

    def _read(self, file: Path, metadata: Any, names: dict[str, str], groups: list[int], first: int) -> Part:
        with open_parquet(file, metadata) as parquet:
            table = parquet.read_row_groups(groups, columns=list(names.values()), use_threads=False)
        return self._part(file, table, names, first)

    def _parts_of_group(
        self, file: Path, metadata: Any, names: dict[str, str], group: int, first: int, rows: int
    ) -> Iterator[Unit]:
        """Read a large row group piece by piece, in this thread: none of its pieces can be read alone."""
        import pyarrow as pa

        with open_parquet(file, metadata) as parquet:
            for batch in parquet.iter_batches(rows, row_groups=[group], columns=list(names.values())):
                yield partial(self._part, file, pa.Table.from_batches([batch]), names, first)
                first += len(batch)

    def _part(self, file: Path, table: Any, names: dict[str, str], first: int) -> Part:
        import pyarrow as pa

        columns = pa.table(named_columns(file, self.asked, table, names))
        try:
            return part_of(columns_of_frame(nw.from_native(columns, eager_only=True), dict(names)), first)
        except (TypeError, ValueError) as error:
            raise about(error, f"{str(file)!r}: ") from None


def parquet_files(source: Any) -> list[Path]:
    """Return the files of a source: a file, a list of files, or a folder with its sub-folders, sorted by name."""
    if isinstance(source, (str, os.PathLike)):
        folder = Path(source)
        if not folder.is_dir():
            return [checked(folder)]
        files = sorted((file for file in folder.rglob("*.parquet") if file.is_file()), key=lambda file: file.parts)
        if not files:
            raise FileNotFoundError(f"there is no *.parquet file in the folder {str(source)!r}")
        return [checked(file) for file in files]
    if not isinstance(source, Iterable) or isinstance(source, bytes):
        raise TypeError(f"source must be a Parquet file, a list of them or a folder, got {type(source).__name__}")
    files = [checked(file) for file in source]
    if not files:
        raise ValueError("source must be at least one Parquet file, got an empty list")
    return files


def _stat(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def _together(counts: list[int], rows: int) -> Iterator[list[int]]:
    """Yield numbers of row groups that together have about so many rows."""
    groups: list[int] = []
    total = 0
    for number, count in enumerate(counts):
        if groups and total + count > rows:
            yield groups
            groups, total = [], 0
        groups.append(number)
        total += count
    if groups:
        yield groups


class BatchSource:
    """Batches from the user's code: frames, tuples of arrays, or the next rows of a sparse matrix."""

    others = (
        "batches must be the same each time they are read, but those of the second time are others (a user, an "
        "item, a value or the number of rows): make them reproducible, and repeat the call"
    )

    def __init__(self, batches: Any, asked: dict[str, Any]) -> None:
        if isinstance(batches, Iterator):
            raise TypeError(
                f"batches are read twice, but a {type(batches).__name__} can be read only once: pass a function that "
                "returns a new one, such as lambda: read_batches()"
            )
        if not callable(batches):
            _check_list(batches, type(batches).__name__)
        self._batches = batches
        self.asked = asked
        self.names: dict[str, str] = {"user": "users", "item": "items", "value": "values", "time": "times"}
        self.library: str | None = None
        self.shape: tuple[int, int] | None = None  # of matrices, once all have been read

    def identity(self) -> dict[str, Any]:
        """Return what tells this source from others, as far as it is known before it is read."""
        return {"kind": "batches"}

    def check_unchanged(self) -> None:
        """Do nothing: batches are compared by their checksums."""

    def units(self, rows: int) -> Iterator[Unit]:
        """Yield functions that return about so many rows each."""
        kind, first, below = None, 0, 0
        self.shape = None
        batches = self._batches
        if callable(batches):
            batches = batches()
            _check_list(batches, f"a function that returns {type(batches).__name__}")
        for number, batch in enumerate(batches):
            found = _kind_of(batch, number)
            if kind not in (None, found):
                raise TypeError(f"batches must be of one kind, got a {kind} and then, as batch {number}, a {found}")
            kind = found
            try:
                columns = self._columns(batch, kind, below)
            except (TypeError, ValueError) as error:
                raise about(error, f"batch {number}: ") from None
            if kind == "matrix":
                below += batch.shape[0]
            for start in range(0, len(columns.users), rows):
                yield partial(_part, columns, number, first, slice(start, start + rows))
            first += len(columns.users)

    def _columns(self, batch: Any, kind: str, below: int) -> EventColumns:
        if kind == "frame":
            if self.asked["user"] is None or self.asked["item"] is None:
                raise TypeError("name the columns of frames with user= and item=")
            table = frames.open_frame("each batch", batch)
            self.library = frames.library_of(table)
            return columns_of_frame(table, self.asked)
        named = [role for role, column in self.asked.items() if column is not None]
        if named:
            raise refusal(TypeError, f"{parameter(named[0])} names a column of frames: leave it out for a {kind}")
        if kind == "tuple":
            if not 2 <= len(batch) <= 4:
                raise ValueError(f"a tuple must be (users, items[, values[, times]]), got {len(batch)} elements")
            return columns_of_arrays(*itertools.chain(batch, [None] * (4 - len(batch))))
        if batch.ndim != 2:
            raise ValueError(f"a matrix must have 2 dimensions, got {batch.ndim}")
        check_real("matrix", batch.dtype)
        check_structure("matrix", batch)
        columns = batch.shape[1] if self.shape is None else self.shape[1]
        if batch.shape[1] != columns:
            raise ValueError(f"all matrices must have {columns} columns, like the first, got {batch.shape[1]}")
        self.shape = max(below + batch.shape[0], self.shape[0] if self.shape else 0), columns
        entries = batch.tocoo()
        return columns_of_arrays(
            entries.row.astype(np.int64) + below, entries.col.astype(np.int64), entries.data, None
        )


def _check_list(batches: Any, found: str) -> None:
    """Raise if something is not a list of batches; it may be a single one."""
    one = is_sparse(batches) or hasattr(batches, "columns")
    if one or not isinstance(batches, Iterable) or isinstance(batches, (str, bytes, np.ndarray)):
        raise TypeError(
            f"batches must be a list of batches, or a function that returns an iterator of them, got {found}: pass "
            f"{'a list of one' if one else 'a list, such as [(users, items, values)]'}"
        )


def _kind_of(batch: Any, number: int) -> str:
    """Return what a batch is: a matrix, a tuple of arrays, or a frame."""
    if is_sparse(batch):
        return "matrix"
    found = type(batch).__name__
    if isinstance(batch, (tuple, list)):
        # Of (users, items) that are not in a list, each is taken for a batch.
        single = [one for one in batch[:2] if isinstance(one, (str, bytes)) or not hasattr(one, "__len__")]
        if not single:
            return "tuple"
        found += f" of {type(single[0]).__name__}"
    elif hasattr(batch, "columns"):
        return "frame"
    raise TypeError(
        f"batch {number} must be a frame, a tuple of arrays (users, items[, values[, times]]) or a sparse matrix, got "
        f"{found}: pass a list of batches, such as [(users, items, values)]"
    )


def _part(columns: EventColumns, number: int, first: int, rows: slice) -> Part:
    times = None if columns.times is None else (columns.times[0][rows], columns.times[1][rows])
    values = None if columns.values is None else columns.values[rows]
    chosen = EventColumns(columns.users[rows], columns.items[rows], values, times, None, columns.names)
    try:
        return part_of(chosen, first + rows.start)
    except (TypeError, ValueError) as error:
        raise about(error, f"batch {number}: ") from None
