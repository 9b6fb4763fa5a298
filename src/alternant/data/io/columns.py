"""Convert columns of events (lists, arrays, columns of frames) to the arrays that `Interactions` works with.

Arrays, frames and files all pass through here, so that a value is the same id, number or time wherever it comes from.
"""

from __future__ import annotations

import contextlib
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Set, ValuesView
from datetime import UTC, datetime
from decimal import Decimal
from numbers import Real
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from ..._utils.messages import refusal
from ..values import as_objects, boolean_ids, is_missing, is_whole, object_array, open_column, plain, refuse_rounded

WHOLE = np.iinfo(np.int64)
ANYTHING = (nw.Object, nw.Unknown, nw.Categorical, nw.Enum)  # types of columns that say nothing about the values


def refuse_no_column(name: str, column: Any, what: str, row: str = "event") -> None:
    """Raise if a column is not an ordered collection of one element per row, and say how to make a list of it."""
    if isinstance(column, (str, bytes)):
        found = f"a single one, {column!r}: pass a list of them"
    elif isinstance(column, (KeysView, ItemsView, ValuesView, Iterator)):
        found = f"{type(column).__name__}: pass list({name})"
    elif isinstance(column, Set):
        found = f"a {type(column).__name__}, which has no order to match the {row}s: pass sorted({name})"
    elif isinstance(column, Mapping):
        found = f"a {type(column).__name__}: pass list({name}) for its keys, or list({name}.values())"
    else:
        return
    raise refusal(TypeError, f"{name} must be a list of {what}, one for each {row}, got {found}")


def id_column(name: str, ids: Any, row: str = "event") -> Any:
    """Return ids in a form that `factorize` accepts: an int64 array, or what can be sliced and converted to a list."""
    refuse_no_column(name, ids, "ids", row)
    column = open_column(ids)
    if isinstance(column, list):
        return column
    if isinstance(column, nw.Series):
        if column.dtype == nw.Boolean:
            raise boolean_ids(name, f"a column of type {column.dtype}")
        if not (column.dtype.is_float() or is_whole(column)):
            return column
        array = np.asarray(column.to_numpy())
    else:
        array = column
    if array.ndim != 1:
        raise refusal(ValueError, f"{name} must be a list of ids, got {array.ndim} dimensions")
    kind = array.dtype.kind
    if kind == "b":
        raise boolean_ids(name, f"dtype {array.dtype}")
    if kind == "f":
        refuse_rounded(name, array)
    if kind in "iu" and (array.dtype != np.uint64 or array.max(initial=0) <= WHOLE.max):
        return np.ascontiguousarray(array, np.int64)
    if kind == "f" and (np.isfinite(array) & (array == np.rint(array))).all():
        return array.astype(np.int64)
    return as_objects(name, array) if kind in "mM" else column


def _is_empty(column: nw.Series[Any]) -> bool:
    return column.null_count() == len(column)


def number_column(name: str, values: Any) -> NDArray[Any]:
    """Return values as float32 or float64, missing ones as NaN."""
    refuse_no_column(name, values, "numbers")
    column = open_column(values)
    if isinstance(column, nw.Series):
        dtype = column.dtype
        if dtype == nw.Float32:
            return np.asarray(column.to_numpy(), np.float32)
        if dtype == nw.Float64:
            return np.asarray(column.to_numpy(), np.float64)
        if not (dtype.is_numeric() or dtype in (nw.Boolean, *ANYTHING) or _is_empty(column)):
            raise refusal(TypeError, f"{name} must hold numbers, got a column of type {dtype}: convert it first")
        column = column.to_numpy() if is_whole(column) else column.to_list()
    array = np.asarray(column)
    if array.ndim != 1:
        raise refusal(ValueError, f"{name} must be a list of numbers, got {array.ndim} dimensions")
    if array.dtype == object:
        array = _numbers_of_objects(name, array.tolist())
    if array.dtype.kind not in "buif":
        raise refusal(TypeError, f"{name} must hold numbers, got dtype {array.dtype}")
    return array if array.dtype == np.float32 else array.astype(np.float64)


def _numbers_of_objects(name: str, values: list[Any]) -> NDArray[np.float64]:
    """Convert numbers of any type, of which some may be missing, to float64."""
    for row, value in enumerate(values):
        if not isinstance(value, (Real, Decimal, np.bool_)) and not is_missing(value):
            raise refusal(TypeError, f"{name} must hold numbers, got {type(value).__name__} {value!r} in row {row}")
    try:
        return np.array([np.nan if is_missing(value) else float(value) for value in values], np.float64)
    except (OverflowError, ValueError):  # an int beyond float64, or a signalling NaN
        raise refusal(
            ValueError, f"{name} must hold numbers in the range of float64, got some that do not fit: drop them"
        ) from None


def time_column(name: str, times: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return times as int64, float64 or datetime64 (in UTC), and which are missing."""
    refuse_no_column(name, times, "times")
    column = open_column(times)
    if isinstance(column, nw.Series):
        dtype = column.dtype
        if dtype in (nw.Date, nw.Datetime):
            return _dates(column)
        if dtype.is_float() or is_whole(column):
            column = np.asarray(column.to_numpy())
        elif dtype.is_numeric() or dtype in ANYTHING or _is_empty(column):
            column = column.to_list()
        else:
            raise refusal(TypeError, f"{name} must hold numbers or dates, got a column of type {dtype}: parse it first")
    array = column if isinstance(column, np.ndarray) else np.asarray(column)
    if array.ndim != 1:
        raise refusal(ValueError, f"{name} must be a list of times, got {array.ndim} dimensions")
    if isinstance(column, list) and array.dtype.kind == "f":  # perhaps whole numbers, one of them beyond int64
        array = object_array(column)
    if array.dtype.kind == "M":
        return array, np.isnat(array)
    if array.dtype.kind in "iu":
        return _whole_times(name, array), np.zeros(len(array), bool)
    if array.dtype == object:
        return _times_of_objects(name, array)
    numbers = number_column(name, array).astype(np.float64)
    return numbers, np.isnan(numbers)


def _dates(column: nw.Series[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    missing = column.is_null().to_numpy().astype(bool)
    if column.dtype == nw.Date:
        column = column.cast(nw.Datetime("us"))
    if getattr(column.dtype, "time_zone", None) is not None:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    times = np.asarray(column.to_numpy())
    times = times if times.dtype.kind == "M" else times.astype("datetime64[us]")
    return times, missing | np.isnat(times)


def _times_of_objects(name: str, array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    missing = np.array([is_missing(value) for value in array.tolist()], bool)
    known = [value if hasattr(value, "timetuple") else plain(name, value) for value in array[~missing].tolist()]
    if known and all(hasattr(value, "timetuple") for value in known):
        dates = np.full(len(array), "NaT", "datetime64[us]")
        dates[~missing] = [in_utc(value) for value in known]
        return dates, missing
    if known and all(type(value) is int for value in known):  # as float64 they could lose their last digits
        whole = np.zeros(len(array), object)
        whole[~missing] = known
        return _whole_times(name, whole), missing
    numbers = number_column(name, array).astype(np.float64)
    return numbers, np.isnan(numbers)


def _whole_times(name: str, times: NDArray[Any]) -> NDArray[np.int64]:
    if len(times) and not WHOLE.min <= int(times.min()) <= int(times.max()) <= WHOLE.max:
        raise refusal(
            ValueError,
            f"{name} must fit in int64, got {times.min()} to {times.max()}: use a later origin or a coarser unit",
        )
    return times.astype(np.int64)


def in_utc(date: Any) -> Any:
    """Return a datetime in UTC and without a time zone, as required by NumPy."""
    zoned = getattr(date, "tzinfo", None) is not None
    return date.astimezone(UTC).replace(tzinfo=None) if zoned else date


def to_datetime(at: Any) -> np.datetime64:
    """Return a date or its text as `numpy.datetime64`, converted to UTC if it has a time zone."""
    if isinstance(at, str):
        with contextlib.suppress(ValueError):  # such as 2020-01, which only NumPy reads
            at = datetime.fromisoformat(at)
    return np.datetime64(in_utc(at))
