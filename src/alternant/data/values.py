"""Columns and single values passed by users: opened without loss, and normalized as ids."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from .._utils.messages import refusal


def open_column(column: Any) -> NDArray[Any] | nw.Series[Any] | list[Any]:
    """Return a list, a NumPy array, or a frame's column wrapped by narwhals, with all values unchanged.

    NumPy converts whole numbers with missing values to float64, where several numbers beyond 2^53 become one: columns
    of frame libraries are not passed to it before their missing values have been found.
    """
    if isinstance(column, nw.Series):
        return column
    if isinstance(column, (list, tuple)):
        return list(column)
    if isinstance(column, np.ndarray):
        return np.asarray(unmasked(column))
    library = type(column).__module__.partition(".")[0]
    pandas, pyarrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if library == "pyarrow" and pyarrow is not None and isinstance(column, pyarrow.Array):
        column = pyarrow.chunked_array([column])
    elif pandas is not None and isinstance(column, (pandas.Index, pandas.api.extensions.ExtensionArray)):
        column = pandas.Series(column)
    opened = nw.from_native(column, series_only=True, pass_through=True)
    return opened if isinstance(opened, nw.Series) else np.asarray(column)


def is_whole(column: nw.Series[Any]) -> bool:
    """Whether a column fits in a NumPy array of integers: whole numbers of at most 64 bits, none of them missing."""
    return column.dtype.is_integer() and column.dtype not in (nw.Int128, nw.UInt128) and column.null_count() == 0


def object_array(values: list[Any]) -> NDArray[Any]:
    """Return a one-dimensional array of objects, even if these are sequences."""
    out = np.empty(len(values), object)
    out[:] = values
    return out


def unmasked(array: Any) -> Any:
    """Convert a masked array to a plain one, with NaN, NaT or None for masked values."""
    if not isinstance(array, np.ma.MaskedArray):
        return array
    mask = np.ma.getmaskarray(array)
    if not mask.any():
        return array.data
    if array.dtype.kind in "fmM":
        return array.filled(np.nan if array.dtype.kind == "f" else array.dtype.type("NaT"))
    out = array.data.astype(object)
    out[mask] = None
    return out


def as_objects(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of any dtype as Python objects; dates as dates, not as the integers that NumPy stores.

    Raises
    ------
    TypeError
        If dates are finer than a microsecond, which Python objects can't be.
    """
    if array.dtype.kind not in "mM":
        return array.astype(object)
    coarse = array
    if np.datetime_data(array.dtype)[0] in ("ns", "ps", "fs", "as"):
        coarse = array.astype(f"{array.dtype.kind}8[us]")
        if not ((coarse.astype(array.dtype) == array) | np.isnat(array)).all():
            raise _too_fine(name, f"dtype {array.dtype}")
    return coarse.astype(object)


def plain(name: str, value: Any) -> Any:
    """Return the canonical Python object for a value, equal to it and with the same hash.

    A NumPy scalar becomes a Python one, pandas' Timestamp a datetime, and a whole float or Decimal an int. (Floats
    beyond int64, which stand for many numbers, can't be ids: see `refuse_unlike_ids`.)
    """
    if isinstance(value, np.generic):
        value = as_objects(name, np.asarray(value)).item()
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value.adjusted() < 40 and value == int(value) else value
    for convert in ("to_pydatetime", "to_pytimedelta"):
        if hasattr(value, convert) and not is_missing(value):
            if value.nanosecond if convert == "to_pydatetime" else value.nanoseconds:
                raise _too_fine(name, repr(value))
            return getattr(value, convert)()
    return value


def refuse_unlike_ids(name: str, values: list[Any]) -> None:
    """Raise if a value may equal an id by accident: a boolean, or a float that stands for several whole numbers.

    In Python, True equals 1, and a float from 2^53 on (float32: 2^24) stands for all numbers that are rounded to it.
    """
    for kind in set(map(type, values)) - {int, str}:
        if issubclass(kind, (bool, np.bool_)):
            found = next(value for value in values if type(value) is kind)
            raise boolean_ids(name, f"{found}, a boolean")
        if issubclass(kind, (float, np.floating)):
            dtype = kind if issubclass(kind, np.floating) else np.float64
            refuse_rounded(name, np.array([value for value in values if type(value) is kind], dtype))


def refuse_rounded(name: str, floats: NDArray[Any]) -> None:
    """Raise if a float is a whole number too large for its type to tell from the next."""
    size = np.abs(floats)
    rounded = (size >= 2.0 ** (np.finfo(floats.dtype).nmant + 1)) & (size < np.inf)
    if rounded.any():
        raise refusal(
            ValueError,
            f"{name} must be exact ids, got the float {float(floats[rounded][0])!r}, which is too large to be an exact "
            "whole number: read the column as Int64 or as strings",
        )


def boolean_ids(name: str, found: str) -> TypeError:
    """Return the error for booleans where ids are expected."""
    return refusal(
        TypeError, f"{name} must be ids (numbers, strings), got {found}: convert booleans to numbers or strings"
    )


def _too_fine(name: str, found: str) -> TypeError:
    return refusal(
        TypeError, f"{name} must be dates of whole microseconds, got {found}: round them, or pass their text"
    )


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN or NaT, which do not equal themselves, or pandas' NA, which can't be compared."""
    return value is None or type(value).__name__ == "NAType" or (not _is_signalling(value) and value != value)


def _is_signalling(value: Any) -> bool:
    return isinstance(value, Decimal) and value.is_snan()  # comparing it raises


def is_hashable(value: Any) -> bool:
    """Whether a value is hashable, as ids must be."""
    try:
        hash(value)
    except TypeError:
        return False
    return True
