"""Frames of any library (pandas, polars, pyarrow, ...), read and made through narwhals."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from ..._utils.messages import parameter, refusal

LIBRARIES = ("polars", "pandas", "pyarrow")  # in order of preference


def open_frame(name: str, frame: Any, otherwise: str = "Interactions.from_arrays") -> nw.DataFrame[Any]:
    """Return a frame wrapped by narwhals; `otherwise` takes arrays."""
    try:
        opened: nw.DataFrame[Any] = nw.from_native(frame, eager_only=True)
    except (ValueError, nw.exceptions.NarwhalsError) as error:  # such as a repeated name
        names = list(getattr(frame, "column_names", getattr(frame, "columns", ())))
        repeated = next((one for one in names if names.count(one) > 1), None)
        if repeated is None:
            found = " ".join(str(error).split())
            raise ValueError(f"{name} must be a frame that narwhals reads, got: {found}") from None
        raise ValueError(
            f"{name} must be a frame with distinct column names, got {repeated!r} {names.count(repeated)} times: "
            "rename one of them"
        ) from None
    except TypeError:
        if hasattr(frame, "collect"):
            raise TypeError(f"{name} must be a frame in memory, got {type(frame).__name__}: collect() it") from None
        instead = f"pass such a frame, or arrays to {otherwise}"
        if isinstance(frame, (str, os.PathLike)):
            instead = "from_file reads files"
        raise TypeError(
            f"{name} must be a pandas, polars or pyarrow frame, got {type(frame).__name__}: {instead}"
        ) from None
    return opened


def find_column(frame: nw.DataFrame[Any], role: str, column: Any, source: str = "the frame") -> int:
    """Return the position of a column given by name or, if no column has that name, by position."""
    names = frame.columns
    if column in names:  # pandas allows numbers as names
        return names.index(column)
    if isinstance(column, int) and not isinstance(column, bool):
        if 0 <= column < len(names):
            return column
        raise refusal(
            ValueError,
            f"{parameter(role, column)} must be a column's name or its position from 0 to {len(names) - 1}: {source} "
            f"has {_listed(names)}",
        )
    raise refusal(ValueError, f"{parameter(role, column)} must be a column: {source} has {_listed(names)}")


def _listed(names: list[str], limit: int = 12) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    if len(names) > limit:
        return f"{len(names):,} columns: {shown}, ..."
    return f"the columns {shown}" if names else "no columns"


def library_of(frame: nw.DataFrame[Any]) -> str:
    """Return the name of the library that a frame belongs to."""
    return str(frame.implementation.name).lower()


def make_frame(columns: dict[str, NDArray[Any]], library: str | None) -> Any:
    """Return a frame of `library`, or of the first one that is installed."""
    found = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    if library is None:
        if not found:
            raise ImportError("frames need polars, pandas or pyarrow, and none is installed: pip install polars")
        library = found[0]
    if library not in (*LIBRARIES, "modin", "cudf"):
        raise ValueError(f"library must be one of {', '.join(map(repr, LIBRARIES))}, got {library!r}")
    try:
        data = {name: plain_column(column) for name, column in columns.items()}
        return nw.from_dict(data, backend=library).to_native()  # type: ignore[arg-type]
    except ModuleNotFoundError:
        raise ImportError(
            f"library={library!r} is not installed: pip install {library}"
            + (f", or pass library={found[0]!r}" if found else "")
        ) from None
    except (ArithmeticError, NotImplementedError, TypeError, ValueError):  # including the libraries' subclasses
        objects = {name: column for name, column in columns.items() if column.dtype == object}
        kinds = ", ".join(f"{name}s of {kinds_of(column)}" for name, column in objects.items())
        raise TypeError(
            f"a column of a {library} frame must be of one type, such as strings or 64-bit numbers, got {kinds}: "
            "pass library='pandas', which allows mixed types"
        ) from None


def plain_column(column: NDArray[Any]) -> Any:
    """Convert a column for frame libraries: objects to a list, but whole numbers beyond int64 to uint64."""
    if column.dtype != object:
        return column
    listed = column.tolist()
    if listed and all(type(value) is int and 0 <= value < 2**64 for value in listed):
        return np.array(listed, np.uint64)
    return listed


def kinds_of(column: NDArray[Any]) -> str:
    """Return the names of the types in a column of objects and, of whole numbers beyond int64, their range."""
    values = [value for value in column.tolist() if value is not None]
    names = {type(value).__name__ for value in values}
    if names == {"int"} and not -(2**63) <= min(values) <= max(values) < 2**63:
        return f"int from {min(values)} to {max(values)}"
    return " and ".join(sorted(names))
