"""The factors of several models side by side, as if they were one matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Stack:
    """What replaces an array of factors wherever these are only counted, sliced, indexed or compared.

    Parameters
    ----------
    parts : tuple
        The factors of each model: arrays, or sparse rows or columns, of the same number of rows.
    coefficients : tuple of float
        What each part is multiplied by in a dense array. Parts themselves are not copied.
    dtype : dtype
        Of scores and dense arrays. Parts may have others.
    """

    parts: tuple[Any, ...]
    coefficients: tuple[float, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    ndim: int = 2

    def __init__(self, parts: tuple[Any, ...], coefficients: tuple[float, ...], dtype: np.dtype[Any]) -> None:
        self.parts, self.coefficients, self.dtype = parts, coefficients, dtype
        self.shape = int(parts[0].shape[0]), sum(int(part.shape[1]) for part in parts)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        """Return some rows: those of a slice or of an array of numbers, stacked; a single one, dense."""
        if isinstance(rows, (int, np.integer)):
            return np.asarray(self[np.array([rows])])[0]
        return type(self)(tuple(part[rows] for part in self.parts), self.coefficients, self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return a dense array."""
        if copy is False:
            raise ValueError("stacked factors can't become one array without a copy: leave out copy=False")
        each = zip(self.coefficients, self.parts, strict=True)
        return np.hstack([c * np.asarray(part, self.dtype if dtype is None else dtype) for c, part in each])

    def tobytes(self) -> bytes:
        """Return the bytes of all parts."""
        return b"".join(part.tobytes() for part in self.parts)

    def split(self, rows: Any) -> tuple[tuple[Any, ...], tuple[float, ...]]:
        """Return the parts and the coefficients of other rows of the same columns, stacked or dense."""
        if isinstance(rows, Stack):
            return rows.parts, rows.coefficients
        ends = np.cumsum([part.shape[1] for part in self.parts])[:-1]
        dense = zip(np.split(np.asarray(rows), ends, axis=1), self.parts, strict=True)
        return tuple(np.ascontiguousarray(one, part.dtype) for one, part in dense), (1.0,) * len(self.parts)
