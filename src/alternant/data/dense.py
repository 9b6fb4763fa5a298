"""Dense tables of users x items: arrays, lists of lists, and whatever else NumPy converts to an array."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from .store.store import MANIFEST
from .validation import check_real, is_sparse, way_from_frame


def as_sparse(name: str, table: Any) -> Any:
    """Return a sparse matrix unchanged, and a dense table as a CSR array of its nonzero entries, NaN included."""
    if is_sparse(table):
        return table
    array = dense_table(name, table, 0.0, "0 where there is no interaction")
    if array.dtype not in (np.bool_, np.float32, np.float64) and array.dtype.kind == "f":
        array = array.astype(np.float64)  # SciPy has no sparse float16
    return scipy.sparse.csr_array(array)


def dense_table(name: str, table: Any, gap: float, gaps: str) -> NDArray[Any]:
    """Return a two-dimensional array of real numbers; masked entries become `gap`, which messages call `gaps`."""
    if hasattr(table, "columns"):  # a frame of (user, item, rating) rows would pass for a table of 3 items
        raise TypeError(
            f"{name} must be a SciPy sparse matrix or a table of users x items, got {type(table).__name__}: pass "
            f"{way_from_frame(name, table)}, or {name}.to_numpy() of a table of users x items"
        )
    if isinstance(table, np.ma.MaskedArray):
        table = np.ma.filled(table.astype(np.float64), gap)
    try:
        array = np.asarray(table)
    except ValueError:
        raise ValueError(
            f"{name} must have rows of equal length, got lists of different lengths: write {gaps}"
        ) from None
    if array.dtype.kind == "c":
        check_real(name, array.dtype)
    kind = "a SciPy sparse matrix or a table of numbers"
    if isinstance(table, (str, os.PathLike)):
        path = os.fsdecode(table)
        way = "Interactions.from_file reads files"
        if os.path.isfile(os.path.join(path, MANIFEST)):  # noqa: PTH113, PTH118 - False, whatever the text
            way = f"pass Interactions.open({path!r}), as it is a store"
        raise TypeError(f"{name} must be {kind}, got {type(table).__name__}: {way}")
    if array.dtype.kind == "O" and array.ndim:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} must be {kind}, but NumPy reports {str(error)!r}") from None
    if array.dtype.kind not in "buif":
        raise TypeError(
            f"{name} must be {kind}, got {type(table).__name__} of dtype {array.dtype}: pass users x items, with {gaps}"
        )
    if array.ndim != 2:
        way = f": Reshape your data, with numpy.reshape({name}, (1, -1)) if it is one row" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have 2 dimensions (users and items), got {array.ndim}{way}")
    return array
