"""One column of a table of features: numbers, categories or tags."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np
import scipy
from numpy.typing import NDArray

from .io import columns as convert
from .values import is_hashable, is_missing, open_column

EXACT = 2.0**53  # below, float64 holds all whole numbers


@dataclass(frozen=True, eq=False)
class Column:
    """A column: numbers (NaN where missing), or a matrix of zeros and ones with a column for each category or tag."""

    name: str
    kind: str  # "number", "category" or "tags"
    feature_names: list[str]
    numbers: NDArray[np.float64] | None
    marks: Any = None  # csr_array

    def __len__(self) -> int:
        return len(self.numbers) if self.numbers is not None else int(self.marks.shape[0])

    @property
    def matrix(self) -> Any:
        """The features, missing numbers as 0."""
        if self.numbers is None:
            return self.marks
        return scipy.sparse.csr_array(np.nan_to_num(self.numbers, nan=0.0)[:, None])

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        if self.numbers is not None:
            return self.numbers.nbytes
        return int(self.marks.data.nbytes + self.marks.indices.nbytes + self.marks.indptr.nbytes)

    @property
    def n_missing(self) -> int:
        """Rows without a number, category or tag."""
        if self.numbers is not None:
            return int(np.isnan(self.numbers).sum())
        return int((np.diff(self.marks.indptr) == 0).sum())

    def take(self, rows: NDArray[Any]) -> Column:
        """Return the chosen rows."""
        if self.numbers is not None:
            return replace(self, numbers=self.numbers[rows])
        return replace(self, marks=self.marks[rows])

    def scaling(self, rows: NDArray[np.int64], fewest: int) -> Iterator[tuple[str, float, float]]:
        """Yield name, center and scale of the features that tell some of these rows apart."""
        if self.numbers is not None:
            values = self.numbers[rows]
            values = values[~np.isnan(values)]
            scale = float(values.std()) if len(values) else 0.0
            if scale > 0:
                yield self.feature_names[0], float(values.mean()), scale
            return
        counts = np.asarray(self.marks[rows].sum(axis=0)).ravel()
        for name, count in zip(self.feature_names, counts.tolist(), strict=True):
            if count >= fewest:
                yield name, 0.0, 1.0

    def scaled(self, used: list[int], center: float, scale: float) -> Any:
        """Return some of the features, numbers scaled; missing ones are 0."""
        if self.numbers is not None:
            return scipy.sparse.csr_array(np.nan_to_num((self.numbers - center) / scale, nan=0.0)[:, None])
        return self.marks[:, used]

    def as_in_fit(self, names: Collection[str]) -> Column:
        """Return the column as what it was in a fit with features of these names: numbers, or categories.

        Raises
        ------
        ValueError
            If it can't be that.
        """
        prefix = f"{self.name}="
        if self.numbers is None and self.name in names:
            labels = [name.removeprefix(prefix) for name in self.feature_names]
            numbers, counts = [_number(label) for label in labels], np.diff(self.marks.indptr)
            if None in numbers or counts.max(initial=0) > 1:
                found = labels[numbers.index(None)] if None in numbers else "|".join(labels[:2])
                what = {"category": "categories"}.get(self.kind, self.kind)
                raise ValueError(
                    f"column {self.name!r} must hold numbers, as in the fit, got {what}, such as {found!r}: convert "
                    "it to numbers, or leave it out"
                )
            out = np.full(len(self), np.nan)
            out[counts > 0] = np.array(numbers, np.float64)[self.marks.indices]
            return Column(self.name, "number", [self.name], out)
        if self.numbers is not None and self.name not in names and any(name.startswith(prefix) for name in names):
            if (np.abs(self.numbers[~np.isnan(self.numbers)]) >= EXACT).any():
                raise ValueError(
                    f"column {self.name!r} must hold categories, as in the fit, got numbers that float64 may round: "
                    f"pass kinds={{{self.name!r}: 'category'}}"
                )
            return column_of(self.name, self.numbers.tolist(), "category", "|")
        return self


def column_of(name: str, values: Any, kind: str | None, separator: str) -> Column:
    """Return a column of features; see `Features.from_frame`."""
    convert.refuse_no_column(name, values, "features", "row")
    column = open_column(values)
    if kind == "number" or (kind is None and _is_numeric(column)):
        numbers = convert.number_column(name, values).astype(np.float64)
        if np.isinf(numbers).any():
            raise ValueError(f"column {name!r} must hold finite numbers, got {int(np.isinf(numbers).sum())} infinite")
        return Column(name, "number", [name], numbers)
    listed = column if isinstance(column, list) else column.to_list() if hasattr(column, "to_list") else column.tolist()
    if kind is None:
        first = next((value for value in listed if not _is_blank(value)), None)
        if _is_list(first):
            kind = "tags"
        elif first is None or isinstance(first, str):
            kind = "tags" if any(isinstance(value, str) and separator in value for value in listed) else "category"
        else:
            try:
                return column_of(name, listed, "number", separator)
            except TypeError:
                kind = "category"
    return _marked(name, kind, [_labels(name, value, kind, separator) for value in listed])


def _is_numeric(column: Any) -> bool:
    if isinstance(column, nw.Series):
        return bool(column.dtype.is_numeric() or column.dtype == nw.Boolean)
    return isinstance(column, np.ndarray) and column.dtype.kind in "buif"


def _number(label: str) -> float | None:
    """Return a category as a number, if it is one."""
    try:
        number = float(label)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset, np.ndarray))


def _is_blank(value: Any) -> bool:
    return not _is_list(value) and (is_missing(value) or value == "")


def _labels(name: str, value: Any, kind: str, separator: str) -> list[str]:
    """Return the categories of one row."""
    if _is_blank(value):
        return []
    if kind == "category":
        if _is_list(value):
            raise TypeError(f"column {name!r} must hold one category in each row, got {value!r}: pass kind 'tags'")
        return [_text(name, value)]
    parts = value.split(separator) if isinstance(value, str) else list(value) if _is_list(value) else [value]
    return sorted({text for part in parts if not _is_blank(part) and (text := _text(name, part).strip())})


def _text(name: str, value: Any) -> str:
    """Return a category as text."""
    if isinstance(value, (complex, np.complexfloating)) or not is_hashable(value):
        raise TypeError(
            f"column {name!r} must hold numbers, texts or lists of texts, got {type(value).__name__} {value!r}: "
            "convert it to one of these, or leave it out"
        )
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _marked(name: str, kind: str, rows: list[list[str]]) -> Column:
    labels = sorted({label for row in rows for label in row})
    number = {label: at for at, label in enumerate(labels)}
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    indices = np.fromiter((number[label] for row in rows for label in row), np.int64, int(indptr[-1]))
    marks = scipy.sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=(len(rows), len(labels)))
    marks.sort_indices()
    return Column(name, kind, [f"{name}={label}" for label in labels], None, marks)
