"""Features: a table of users or items as a sparse matrix of numbers, categories and tags that knows its raw ids."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import scipy
from numpy.typing import NDArray

from .._utils.display import Displayed, Summary
from .._utils.messages import about, parameter, refusal
from .._utils.warn import warn_caller
from .csr import CSR
from .display import summary_of_features
from .factorize import factorize
from .feature_columns import FeatureColumns
from .feature_values import Column, column_of
from .ids import Ids
from .io import columns as convert
from .io import files, frames
from .io.text import Dialect

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame
    from scipy.sparse import csr_array

Kind = Literal["number", "category", "tags"]
FEWEST_ROWS = 2  # a category of fewer rows of a fit tells nothing about others
SHOWN = 3  # unknown categories named in a warning


class Features(Displayed):
    """Features of users or items, under the raw ids of your own tables.

    Created by `from_frame`, `from_arrays` or `from_file`, and passed to the `fit` of a model as `user_features` or
    `item_features`, beside `Interactions`, whose ids they are matched by. Each column is of one kind:

    - numbers: one feature, scaled in a fit to mean 0 and standard deviation 1; missing ones count as the mean;
    - categories (texts): one feature for each category, 1 in its rows;
    - tags (lists of texts, or texts separated by bars such as ``"Comedy|Drama"``): one feature for each tag.

    A fit leaves out categories and tags that fewer than 2 of its rows have, and numbers that are all alike.

    Attributes
    ----------
    ids : array, shape (n,)
        The raw ids by row: int64 if all are whole numbers, else objects.
    names : list of str
        The features: the column of a number, ``column=category`` of categories and tags.
    matrix : scipy.sparse.csr_array, shape (n, len(names))
        Numbers as they are (missing ones as 0), and 1 for each category and tag of a row.
    """

    def __init__(self, ids: Ids, columns: list[Column]) -> None:
        self._ids, self._columns = ids, columns

    @classmethod
    def from_frame(
        cls, frame: IntoDataFrame, *, id: str | int, columns: Sequence[str | int] | None = None,  # noqa: A002
        kinds: Mapping[str, Kind] | None = None, separator: str = "|",
    ) -> Self:  # fmt: skip
        """Create features from columns of a frame.

        Parameters
        ----------
        frame : pandas, polars or pyarrow frame
            One row for each user (or item); not modified.
        id : str or int
            The column of ids, by name or by position from 0.
        columns : list of str or int, optional
            The columns of features; by default all others.
        kinds : mapping, optional
            Kinds of columns by name: ``"number"``, ``"category"`` (such as a column of codes) or ``"tags"``. By
            default, numbers and booleans are numbers, lists are tags, and texts are tags if one of them contains the
            separator, else categories.
        separator : str
            Separates the tags in a text.

        Raises
        ------
        TypeError, ValueError
            If `frame` is no such frame, a column does not exist or is of no kind, or an id is missing or repeated.
        """
        table = frames.open_frame("frame", frame, "Features.from_arrays")
        at = frames.find_column(table, "id", id)
        chosen = [at_ for at_ in range(len(table.columns)) if at_ != at]
        if columns is not None:
            if isinstance(columns, (str, int)):
                raise refusal(TypeError, f"{parameter('columns')} must be a list of columns, got {columns!r}")
            chosen = [frames.find_column(table, "columns", one) for one in columns]
        data = {str(table.columns[one]): table[:, one] for one in chosen}
        return cls._make(f"column {table.columns[at]!r}", table[:, at], data, kinds, separator)

    @classmethod
    def from_arrays(
        cls, ids: Any, columns: Mapping[str, Any], *, kinds: Mapping[str, Kind] | None = None, separator: str = "|"
    ) -> Self:
        """Create features from lists or arrays of equal length.

        Parameters
        ----------
        ids : array-like, shape (n,)
            Raw ids, distinct.
        columns : mapping of str to array-like, shape (n,)
            Numbers, texts or lists of texts by name.
        kinds, separator
            As for `from_frame`.
        """
        if not isinstance(columns, Mapping):
            raise TypeError(
                f"columns must be a mapping from names to lists, such as {{'genre': [...]}}, got "
                f"{type(columns).__name__}"
            )
        return cls._make("ids", ids, columns, kinds, separator)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, id: str | int, columns: Sequence[str | int] | None = None,  # noqa: A002
        kinds: Mapping[str, Kind] | None = None, separator: str = "|", field_separator: str | None = None,
        header: bool | None = None, quote: str | None = "auto", decimal: str = ".",
    ) -> Self:  # fmt: skip
        """Create features from columns of a CSV, TSV or Parquet file; needs pyarrow (the extra ``files``).

        Parameters
        ----------
        path : path
            UTF-8 text, optionally compressed by gzip, or Parquet; see `Interactions.from_file`.
        id, columns, kinds, separator
            As for `from_frame`. In text, columns whose entries are all numbers are numbers.
        field_separator, header, quote, decimal
            As `separator`, `header`, `quote` and `decimal` of `Interactions.from_file`.
        """
        dialect = Dialect(field_separator, header, quote, decimal)
        table, place = files.read_features(path, id, columns, dialect)
        try:
            return cls.from_frame(table, id=place, kinds=kinds, separator=separator)
        except (TypeError, ValueError) as error:
            raise about(error, f"{str(path)!r}: ") from None

    @classmethod
    def _make(
        cls, name: str, ids: Any, columns: Mapping[str, Any], kinds: Mapping[str, Kind] | None, separator: str
    ) -> Self:
        kinds = {} if kinds is None else kinds
        for column, kind in kinds.items():
            if column not in columns:
                raise ValueError(f"kinds must name columns of features, got {column!r}: there are {list(columns)}")
            if kind not in ("number", "category", "tags"):
                raise ValueError(f"kinds must be 'number', 'category' or 'tags', got {kind!r} for {column!r}")
        if not isinstance(separator, str) or not separator:
            raise TypeError(f"separator must be a text that separates tags, got {separator!r}")
        if not columns:
            raise ValueError("features must have at least one column besides the ids, got none")
        codes, known = factorize(convert.id_column(name, ids, "row"), name)
        if (codes < 0).any():
            raise ValueError(f"{name} must have an id in every row, got {int((codes < 0).sum())} without: drop them")
        if len(known) < len(codes):
            repeated = known.values.tolist()[int(np.argmax(np.bincount(codes) > 1))]
            raise ValueError(
                f"{name} must be distinct, one row for each id, but {repeated!r} occurs in several rows "
                f"({len(codes) - len(known)} rows repeat an id): keep one of them"
            )
        order = np.argsort(codes)
        made = [column_of(str(label), values, kinds.get(label), separator) for label, values in columns.items()]
        for one in made:
            if len(one) != len(codes):
                raise ValueError(
                    f"columns must have one entry for each of the {len(codes)} ids, but {one.name!r} has {len(one)}"
                )
        return cls(known, [one.take(order) for one in made])

    # Contents

    @property
    def ids(self) -> NDArray[Any]:
        """The raw ids, by row."""
        return self._ids.values

    @property
    def names(self) -> list[str]:
        """The names of the features."""
        return [name for column in self._columns for name in column.feature_names]

    @property
    def matrix(self) -> csr_array:
        """The features, one row for each id."""
        parts = [column.matrix for column in self._columns]
        return scipy.sparse.csr_array(scipy.sparse.hstack(parts, format="csr"))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of features."""
        return len(self._ids), sum(len(column.feature_names) for column in self._columns)

    @property
    def nbytes(self) -> int:
        """Memory of the columns, in bytes."""
        return sum(column.nbytes for column in self._columns)

    def __repr__(self) -> str:
        rows, width = self.shape
        size, columns = self.nbytes / 1e6, len(self._columns)
        return f"Features({rows:,} rows, {width:,} features of {columns} columns, {size:.1f} MB)"

    def _summary(self) -> Summary:
        return summary_of_features(self)

    def describe(self) -> str:
        """Return a short table: each column's kind, its number of features, and the rows in which it is missing."""
        lines = [repr(self)]
        for column in self._columns:
            lines.append(
                f"{column.name}: {column.kind}, {len(column.feature_names):,} features, "
                f"{column.n_missing:,} rows without"
            )
        return "\n".join(lines)

    def reindex(self, ids: Any) -> Self:
        """Return features of exactly these ids, in this order.

        Raises
        ------
        ValueError
            If an id is missing.
        """
        wanted = Ids(np.asarray(ids)) if not isinstance(ids, Ids) else ids
        rows = self._ids.find(wanted.values)
        if (rows < 0).any():
            raise ValueError(
                f"ids must be ids of these features, but {int((rows < 0).sum())} are not, such as "
                f"{wanted.values[rows < 0].tolist()[0]!r}"
            )
        return type(self)(wanted, [column.take(rows) for column in self._columns])

    # For models

    def _scaling(self, rows: NDArray[np.int64]) -> FeatureColumns:
        """Return the features to be used by a fit of these rows, and how numbers are scaled."""
        names: list[str] = []
        centers: list[float] = []
        scales: list[float] = []
        for column in self._columns:
            for name, center, scale in column.scaling(rows, FEWEST_ROWS):
                names.append(name)
                centers.append(center)
                scales.append(scale)
        if not names:
            raise ValueError(
                "features must tell rows apart, but every number is the same in all of them and no category or tag is "
                "that of two rows: pass other columns"
            )
        return FeatureColumns(names, np.array(centers), np.array(scales))

    def _scaled(self, columns: FeatureColumns, dtype: np.dtype[Any], new: bool) -> CSR:
        """Return the rows in the columns of a fit; `new` rows may have unknown categories, which are left out."""
        place = {name: at for at, name in enumerate(columns.names)}
        own_columns = [column.as_in_fit(place) for column in self._columns] if new else self._columns
        kept, at = [], []
        for column in own_columns:
            numbers = [place.get(name, -1) for name in column.feature_names]
            used = [own for own, number in enumerate(numbers) if number >= 0]
            if used:
                center, scale = columns.centers[numbers[used[0]]], columns.scales[numbers[used[0]]]
                kept.append(column.scaled(used, center, scale))
                at += [numbers[own] for own in used]
        if not kept:
            raise ValueError(
                f"features must have columns of the fit, such as {columns.names[0]!r}, got {self.names[:SHOWN]}: pass "
                "the same columns"
            )
        if new:
            _tell_unknown(own_columns, place)
        stacked = scipy.sparse.hstack(kept, format="coo")
        matrix = scipy.sparse.csr_array(
            (stacked.data, (stacked.row, np.array(at)[stacked.col])), shape=(len(self._ids), len(place))
        )
        matrix.sum_duplicates()
        return CSR.of(matrix.indptr, matrix.indices, matrix.data.astype(dtype), matrix.shape)


def _tell_unknown(columns: list[Column], place: dict[str, int]) -> None:
    """Warn of categories that the fit did not know, in columns of which it knew some."""
    unknown = []
    for column in columns:
        prefix = f"{column.name}="
        if column.kind != "number" and any(name.startswith(prefix) for name in place):
            unknown += [name for name in column.feature_names if name not in place]
    if unknown:
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        warn_caller(
            f"features have {len(unknown)} categories that the fit did not know (or knew in one row only) and that "
            f"have no effect: {', '.join(map(repr, unknown[:SHOWN]))}{more}"
        )
