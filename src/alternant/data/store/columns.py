"""A part of the rows of a source: ids in compact forms, values, times, and which rows are kept."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from ..io.event_columns import EventColumns
from ..report import DroppedRows
from ..values import is_missing

Kind = Literal["whole", "texts", "any"]


@dataclass(frozen=True)
class IdColumn:
    """Raw ids: an int64 array, a pyarrow array of type large_string, or a list of anything.

    `missing` marks the rows without an id (None: there are none); their whole numbers are 0.
    """

    kind: Kind
    values: Any
    missing: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> IdColumn:
        return IdColumn(self.kind, self.values[rows], None if self.missing is None else self.missing[rows])

    def take(self, kept: NDArray[np.bool_] | None) -> Any:
        """Return the ids of the kept rows, which are not missing."""
        if kept is None:
            return self.values
        if self.kind == "any":
            return [self.values[row] for row in np.flatnonzero(kept).tolist()]
        return self.values[kept] if self.kind == "whole" else self.values.filter(_arrow(kept))

    def to_list(self) -> list[Any]:
        """Return the ids as Python objects, None where missing."""
        if self.kind == "any":
            return list(self.values)
        listed: list[Any] = self.values.tolist() if self.kind == "whole" else self.values.to_pylist()
        if self.missing is not None:
            for row in np.flatnonzero(self.missing).tolist():
                listed[row] = None
        return listed


@dataclass(frozen=True)
class Part:
    """Some consecutive rows of a source; `kept` is None if no row has a missing entry."""

    users: IdColumn
    items: IdColumn
    values: NDArray[Any] | None
    times: NDArray[Any] | None
    kept: NDArray[np.bool_] | None
    dropped: DroppedRows
    first_row: int

    def kept_values(self) -> NDArray[Any] | None:
        """Return the values of the kept rows."""
        return self.values if self.values is None or self.kept is None else self.values[self.kept]

    def kept_times(self) -> NDArray[Any] | None:
        """Return the times of the kept rows."""
        return self.times if self.times is None or self.kept is None else self.times[self.kept]


def part_of(columns: EventColumns, first_row: int) -> Part:
    """Return a part of the rows, with the rows that `build.number_rows` would drop marked."""
    users, items = id_column(columns.users), id_column(columns.items)
    none = np.zeros(len(users), bool)
    unknown = none if users.missing is None else users.missing
    if items.missing is not None:
        unknown = unknown | items.missing
    unvalued = none if columns.values is None else np.isnan(columns.values)
    untimed = none if columns.times is None else columns.times[1]
    dropped = DroppedRows(
        n_rows=len(users),
        n_missing_ids=int(unknown.sum()),
        n_missing_values=int((unvalued & ~unknown).sum()),
        n_missing_times=int((untimed & ~unvalued & ~unknown).sum()),
    )
    lost = unknown | unvalued | untimed
    if columns.values is not None and (infinite := np.isinf(columns.values) & ~lost).any():
        at = int(np.argmax(infinite))
        raise ValueError(
            f"{columns.names['value']} must hold finite numbers, got {columns.values[at]} in row {first_row + at}: "
            "drop that row"
        )
    return Part(
        users, items, columns.values, None if columns.times is None else columns.times[0],
        ~lost if lost.any() else None, dropped, first_row,
    )  # fmt: skip


def id_column(column: Any) -> IdColumn:
    """Return ids, as converted by `io.columns.id_column`, in the most compact form that holds them."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "if":
        if column.dtype == np.int64:
            return IdColumn("whole", column)
        missing = np.isnan(column)
        whole = np.where(missing, 0, column)
        if (np.isfinite(whole) & (whole == np.rint(whole))).all():
            return IdColumn("whole", whole.astype(np.int64), missing)
        return _of_objects(column.tolist())
    if isinstance(column, nw.Series):
        return _of_series(column)
    return _of_objects(column if isinstance(column, list) else column.tolist())


def _of_series(column: nw.Series[Any]) -> IdColumn:
    if importlib.util.find_spec("pyarrow") is None:
        return _of_objects(column.to_list())
    import pyarrow as pa

    try:
        arrow = column.to_arrow()
    except (pa.ArrowException, OverflowError):  # ids of several types, or beyond int64
        return _of_objects(column.to_list())
    if pa.types.is_dictionary(arrow.type):
        arrow = arrow.cast(arrow.type.value_type)
    if pa.types.is_string(arrow.type) or pa.types.is_large_string(arrow.type) or pa.types.is_string_view(arrow.type):
        return _of_texts(arrow.cast(pa.large_string()))
    if pa.types.is_integer(arrow.type):
        try:
            whole = arrow.cast(pa.int64())
        except pa.ArrowInvalid:  # beyond int64
            return _of_objects(arrow.to_pylist())
        return IdColumn("whole", whole.fill_null(0).to_numpy(zero_copy_only=False), _missing(whole))
    return _of_objects(column.to_list())


def _of_texts(texts: Any) -> IdColumn:
    import pyarrow as pa

    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return IdColumn("texts", whole, _missing(whole))


def _missing(array: Any) -> NDArray[np.bool_] | None:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False), bool) if array.null_count else None


def _of_objects(values: list[Any]) -> IdColumn:
    kinds = set(map(type, values))
    others = kinds - {str, int}
    missing = np.array([is_missing(value) for value in values], bool) if others else None
    present = values
    if missing is not None:
        present = [value for value, absent in zip(values, missing.tolist(), strict=True) if not absent]
        kinds = set(map(type, present))
    if kinds == {str} and importlib.util.find_spec("pyarrow") is not None:
        import pyarrow as pa

        if missing is not None:
            values = [None if absent else value for value, absent in zip(values, missing.tolist(), strict=True)]
        try:
            return _of_texts(pa.array(values, pa.large_string()))
        except UnicodeEncodeError:  # half of a surrogate pair
            return IdColumn("any", values, missing)
    if kinds <= {int} and all(-(2**63) <= value < 2**63 for value in present):
        whole = np.zeros(len(values), np.int64)
        whole[slice(None) if missing is None else ~missing] = present
        return IdColumn("whole", whole, missing)
    return IdColumn("any", values, missing)


def _arrow(mask: NDArray[np.bool_]) -> Any:
    import pyarrow as pa

    return pa.array(mask)
