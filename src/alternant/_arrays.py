"""Columns of events given as arrays or lists, in the dtypes that `Interactions` works with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def id_array(name: str, ids: Any) -> Any:
    """Return ids as `factorize` takes them."""
    array = ids if isinstance(ids, (list, tuple)) else np.asarray(ids)
    if isinstance(array, (list, tuple)):
        return list(array)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a list of ids, got {array.ndim} dimensions")
    if array.dtype.kind in "iu" and (array.dtype != np.uint64 or array.max(initial=0) <= np.iinfo(np.int64).max):
        return np.ascontiguousarray(array, np.int64)
    if array.dtype.kind == "f" and (np.isfinite(array) & (np.abs(array) < 2**53) & (array == np.rint(array))).all():
        return array.astype(np.int64)
    return array


def number_array(name: str, values: Any) -> NDArray[Any]:
    """Return values as float32 or float64; None becomes NaN."""
    array = np.asarray(values)
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
    array = np.asarray(times)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a list of times, got {array.ndim} dimensions")
    if array.dtype.kind == "M":
        return array, np.isnat(array)
    if array.dtype.kind in "iu":
        return array.astype(np.int64), np.zeros(len(array), bool)
    if array.dtype == object and len(array) and any(hasattr(value, "timetuple") for value in array):
        array = array.astype("datetime64[us]")
        return array, np.isnat(array)
    numbers = number_array(name, array).astype(np.float64)
    return numbers, np.isnan(numbers)
