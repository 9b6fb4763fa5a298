"""Argument checks of the public kernels: each raises a one-sentence message before any output is written."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.validation import check_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_NEGATIVES = 2**31  # per row: hours of work for one thread
MOST_ROWS = 2**31 - 1  # so that all ids, 0 to 2^31 - 2, and the count itself fit in int32


def floating(name: str, array: NDArray[Any]) -> np.dtype[Any]:
    """Return the dtype that all floating-point arrays of the call must share."""
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be a float32 or float64 array, got {_kind(array)}")
    return array.dtype


def matrix(
    name: str, array: NDArray[Any], dtype: np.dtype[Any], columns: int | None = None, writeable: bool = False
) -> NDArray[Any]:
    """Check a two-dimensional C-ordered array."""
    _typed(name, array, dtype, 2)
    if array.shape[1] < 1:
        raise ValueError(f"{name} must have at least 1 column, got shape {array.shape}")
    if columns is not None and array.shape[1] != columns:
        raise ValueError(f"{name} must have {columns} columns (the number of factors), got {array.shape[1]}")
    if writeable and not array.flags.writeable:
        raise ValueError(f"{name} is overwritten and must be writeable, got a read-only array; pass a copy")
    return array


def vector(name: str, array: NDArray[Any], dtype: Any, length: int) -> None:
    """Check a one-dimensional array."""
    _typed(name, array, np.dtype(dtype), 1)
    if len(array) != length:
        raise ValueError(f"{name} must have length {length}, got {len(array)}")


def vector_or_number(name: str, value: Any, dtype: Any, length: int) -> NDArray[Any] | float:
    """Check a one-dimensional array, or a scalar for all entries, which is returned as a float."""
    if isinstance(value, np.ndarray):
        vector(name, value, dtype, length)
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {_array_of(dtype)} or a number, got {_kind(value)}")
    number = check_number(name, value, -np.inf)
    if abs(number) > float(np.finfo(dtype).max):
        raise ValueError(f"{name} must be finite in {dtype}, got {number:g}")
    return number


def output(name: str, array: NDArray[Any], dtype: Any, shape: tuple[int, ...]) -> None:
    """Check an array that the kernel fills."""
    _typed(name, array, np.dtype(dtype), len(shape))
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not array.flags.writeable:
        raise ValueError(f"{name} is an output and must be writeable, got a read-only array")


def optional_output(name: str, array: NDArray[Any] | None, dtype: Any, length: int) -> None:
    """Check an optional output."""
    if array is not None:
        output(name, array, dtype, (length,))


def csr(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    rows: int,
    columns: int,
    sorted_within_rows: bool = False,
    kind: str = "excluded",
) -> None:
    """Check the structure of a sparse matrix, so that no kernel reads out of bounds."""
    vector("indptr", indptr, np.int64, rows + 1)
    _indices("indices", indices)
    if indptr[0] < 0 or indptr[-1] > len(indices):
        raise ValueError(
            f"indptr must lie between 0 and {len(indices)} (the number of entries), "
            f"got {indptr[0]} to {indptr[-1]}"
        )
    if (indptr[1:] < indptr[:-1]).any():
        raise ValueError(f"indptr must not decrease, but does at row {int(np.argmax(indptr[1:] < indptr[:-1]))}")
    _within("indices", indices[indptr[0] : indptr[-1]], columns)
    if sorted_within_rows and len(indices) > 1:
        falls = np.flatnonzero(indices[1:] < indices[:-1]) + 1  # entries less than their predecessor
        falls = falls[(falls > indptr[0]) & (falls < indptr[-1])]
        if len(falls) and not np.isin(falls, indptr).all():
            raise ValueError(f"the {kind} indices must be sorted within each row; call sort_indices() on the matrix")


def fits_int32(**sizes: int) -> None:
    """Refuse sizes whose ids do not fit in int32; called by every kernel with int32 ids."""
    for name, size in sizes.items():
        if size > MOST_ROWS:
            raise ValueError(f"the number of {name} must be at most {MOST_ROWS}, since their ids are int32, got {size}")


def samples(negatives: NDArray[np.float64] | None) -> None:
    """Refuse numbers of negatives that are below 0, NaN, or too large to process."""
    if negatives is None:
        return
    outside = negatives[~((negatives >= 0) & (negatives <= MOST_NEGATIVES))]
    if len(outside):
        raise ValueError(
            f"negatives must lie between 0 and {MOST_NEGATIVES} (an expected number for each row), got {outside[0]:g}"
        )


def rows_of(array: Any) -> int:
    """Return the number of rows of an array; 0 for arguments that other checks refuse."""
    return array.shape[0] if isinstance(array, np.ndarray) and array.ndim else 0


def finite(**arrays: NDArray[Any] | float) -> None:
    """Refuse NaN and infinity, which no solver recovers from."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got {(~np.isfinite(array)).sum()} values that are not")


def separate(outputs: dict[str, NDArray[Any] | None], inputs: dict[str, Any]) -> None:
    """Refuse an output that shares memory with an input or another output."""
    filled = [(name, array) for name, array in outputs.items() if array is not None]
    for i, (name, array) in enumerate(filled):
        for other, read in inputs.items():
            if isinstance(read, np.ndarray) and np.may_share_memory(array, read):
                raise ValueError(
                    f"{name} is overwritten while {other} is read, but the two share memory: pass a copy of one of them"
                )
        for other, too in filled[i + 1 :]:
            if np.may_share_memory(array, too):
                raise ValueError(f"{name} and {other} are both filled, but share memory: pass separate arrays")


def not_negative(name: str, array: NDArray[Any]) -> None:
    """Refuse numbers below 0."""
    if array.min(initial=0) < 0:
        raise ValueError(f"{name} must be 0 or more, got {array.min():g}")


def ids(name: str, array: NDArray[Any], bound: int) -> None:
    """Check an array of row numbers."""
    _typed(name, array, np.dtype(np.int64), 1)
    _within(name, array, bound)


def ascending(name: str, array: NDArray[Any], bound: int) -> None:
    """Check a strictly ascending array of row numbers."""
    _indices(name, array)
    _within(name, array, bound)
    if (array[1:] <= array[:-1]).any():
        raise ValueError(f"{name} must be strictly ascending; pass numpy.unique({name})")


def _indices(name: str, array: NDArray[Any]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype not in (np.int32, np.int64):
        raise TypeError(f"{name} must be an int32 or int64 array, got {_kind(array)}")
    _typed(name, array, array.dtype, 1)


def _typed(name: str, array: NDArray[Any], dtype: np.dtype[Any], ndim: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise TypeError(f"{name} must be {_array_of(dtype)}, got {_kind(array)}")
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension{'s' * (ndim > 1)}, got {array.ndim}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be in C order; pass numpy.ascontiguousarray({name})")


def _within(name: str, array: NDArray[Any], bound: int) -> None:
    if len(array) and (array.min() < 0 or array.max() >= bound):
        raise ValueError(f"{name} must lie between 0 and {bound - 1}, got {array.min()} to {array.max()}")


def _kind(value: object) -> str:
    return _array_of(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__


def _array_of(dtype: Any) -> str:
    name = str(np.dtype(dtype))
    return f"{'an' if name[0] in 'io' else 'a'} {name} array"
