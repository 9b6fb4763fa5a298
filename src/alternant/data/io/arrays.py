"""Columns of events given as arrays or lists, in the dtypes that `Interactions` works with."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ids import as_objects, is_missing, object_array, unmasked

WHOLE = np.iinfo(np.int64)


def id_array(name: str, ids: Any) -> Any:
    """Return ids as `factorize` takes them."""
    array = ids if isinstance(ids, (list, tuple)) else np.asarray(unmasked(ids))
    if isinstance(array, (list, tuple)):
        return list(array)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a list of ids, got {array.ndim} dimensions")
    if array.dtype.kind in "iu" and (array.dtype != np.uint64 or array.max(initial=0) <= np.iinfo(np.int64).max):
        return np.ascontiguousarray(array, np.int64)
    if array.dtype.kind == "f" and (np.isfinite(array) & (np.abs(array) < 2**53) & (array == np.rint(array))).all():
        return array.astype(np.int64)
    return as_objects(name, array) if array.dtype.kind in "mM" else array


def number_array(name: str, values: Any) -> NDArray[Any]:
    """Return values as float32 or float64; None becomes NaN."""
    array = np.asarray(unmasked(values))
    if array.ndim != 1:
        raise ValueError(f"{name} must be a list of numbers, got {array.ndim} dimensions")
    if array.dtype == object:  # None among numbers
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"{name} must hold numbers, got {type(values).__name__} of other things") from None
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}")
    return array if array.dtype == np.float32 else array.astype(np.float64)


def time_array(name: str, times: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return times as int64, float64 or datetime64, and which are missing."""
    array = np.asarray(unmasked(times))
    if array.ndim != 1:
        raise ValueError(f"{name} must be a list of times, got {array.ndim} dimensions")
    if array.dtype.kind == "f" and hasattr(times, "to_list") and not isinstance(times.dtype, np.dtype):
        array = object_array(times.to_list())  # a column of whole numbers, some of them missing, maybe
    if array.dtype.kind == "M":
        return array, np.isnat(array)
    if array.dtype.kind in "iu":
        return whole_times(name, array), np.zeros(len(array), bool)
    if array.dtype == object:
        missing = np.array([is_missing(value) for value in array.tolist()], bool)
        known = array[~missing].tolist()
        if known and all(hasattr(value, "timetuple") for value in known):
            dates = np.full(len(array), "NaT", "datetime64[us]")
            dates[~missing] = [in_utc(value) for value in known]
            return dates, missing
        if known and all(type(value) is int for value in known):  # as float64 they could lose their last digits
            array = np.where(missing, 0, array)
            return whole_times(name, array), missing
        array = np.where(missing, np.nan, array)
    numbers = number_array(name, array).astype(np.float64)
    return numbers, np.isnan(numbers)


def whole_times(name: str, times: NDArray[Any]) -> NDArray[np.int64]:
    """Return whole numbers as int64."""
    if len(times) and not WHOLE.min <= int(times.min()) <= int(times.max()) <= WHOLE.max:
        raise ValueError(
            f"{name} must fit in 64 bits with a sign, got {times.min()} to {times.max()}: count from a later moment, "
            "or in a longer unit"
        )
    return times.astype(np.int64)


def in_utc(date: Any) -> Any:
    """Return a datetime in UTC and without a time zone, as NumPy wants it."""
    zoned = getattr(date, "tzinfo", None) is not None
    return date.astimezone(UTC).replace(tzinfo=None) if zoned else date
