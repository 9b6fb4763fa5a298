"""Interactions: a table of users, items, values and times as a sparse matrix that knows its raw ids."""

from __future__ import annotations

import dataclasses
import os
import reprlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.display import Displayed, Summary
from .._utils.messages import about
from .._utils.validation import check_choice
from .append import check_appendable, merge_appended, refuse_other_types
from .build import build
from .display import summary_of_interactions
from .ids import Ids, distinct_ids
from .io import files, frames
from .io.event_columns import EventColumns, columns_of_arrays, columns_of_frame
from .io.roles import asked_columns
from .io.text import Dialect
from .pairs import AGGREGATES, Pairs, merge_pairs
from .report import DroppedRows, InteractionsReport
from .store.interface import FromStore
from .store.partial import check_fits, report_of, take_users

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame
    from scipy.sparse import csr_array

    from .._typing import Aggregate
    from .store import Store


class Interactions(Displayed, FromStore):
    """Interactions between users and items, under the raw ids of your own tables.

    Created by `from_frame`, `from_arrays` or `from_file`, and if they are larger than memory by `from_parquet` or
    `from_batches`. A model fitted on them takes and returns raw ids.

    Users and items are numbered in ascending order of their ids, so that the order of rows does not matter (ids that
    can't be compared are numbered in order of appearance). Rows of the same pair are merged into one entry, according
    to `aggregate`: the ``"sum"``, ``"max"`` or ``"mean"`` of their values, the ``"last"`` value (by time or, without
    times, the last row), or an ``"error"``. Rows with a missing user, item, value or time are dropped, as
    counted by `describe`.

    Threads may share an instance: calls of `append` exclude each other, and readers, including fits, see an `append`
    either completely or not at all.

    Attributes
    ----------
    matrix : scipy.sparse.csr_array, shape (n_users, n_items)
        The values, including zeros, as float64 (float32 if their column is, or if there is none: each event counts 1).
    times : array or None
        The time of the latest event of each pair, aligned with ``matrix.data``: int64, float64, or datetime64 (UTC).
    user_ids, item_ids : arrays
        The raw ids by row and by column: int64 if all are whole numbers, else objects.
    aggregate : str
        How several events of the same pair are combined.
    """

    _reading = ("describe", "to_frame", "__getitem__", "__getstate__", "__repr__", "_select")
    _changing = ("append",)

    _store: Store | None = None

    def __init__(
        self, pairs: Pairs, users: Ids, items: Ids, *, aggregate: Aggregate = "sum", dropped: DroppedRows | None = None,
        columns: dict[str, Any] | None = None, library: str | None = None, has_values: bool = True,
    ) -> None:  # fmt: skip
        self._unverified = pairs  # see `_pairs`
        self._users, self._items = users, items
        self.aggregate: Aggregate = aggregate
        self._dropped = dropped or DroppedRows(n_rows=len(pairs.matrix.data))
        self._columns = columns
        self._library = library
        self._has_values = has_values  # else every event counts 1

    @classmethod
    def from_frame(
        cls, frame: IntoDataFrame, *, user: str | int, item: str | int, value: str | int | None = None,
        time: str | int | None = None, aggregate: Aggregate = "sum",
    ) -> Self:  # fmt: skip
        """Create interactions from columns of a frame.

        Parameters
        ----------
        frame : pandas, polars or pyarrow frame
            Any eager frame supported by narwhals; not modified.
        user, item : str or int
            The columns of ids, by name or by position from 0, of any hashable type. Floats that are whole numbers (as
            in pandas columns of integers with missing values) are converted to integers.
        value : str or int, optional
            The column of values. By default, each row counts 1.
        time : str or int, optional
            The column of times: numbers, dates or datetimes.
        aggregate : {"sum", "max", "last", "mean", "error"}
            How to combine several rows of the same pair.

        Raises
        ------
        TypeError
            If `frame` is no such frame, or a column that must be numeric is not.
        ValueError
            If a column does not exist, a value is infinite, no row is left, or (``aggregate="error"``) a pair repeats.
        """
        check_choice("aggregate", aggregate, AGGREGATES)
        table = frames.open_frame("frame", frame)
        asked = {"user": user, "item": item, "value": value, "time": time}
        made = cls._make(columns_of_frame(table, asked), aggregate)
        made._columns, made._library = asked, frames.library_of(table)
        return made

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, user: str | int, item: str | int, value: str | int | None = None,
        time: str | int | None = None, aggregate: Aggregate = "sum", separator: str | None = None,
        header: bool | None = None, quote: str | None = "auto", decimal: str = ".",
    ) -> Self:  # fmt: skip
        """Create interactions from columns of a CSV, TSV or Parquet file; needs pyarrow (the extra ``files``).

        Parameters
        ----------
        path : path
            UTF-8 text, optionally compressed by gzip, or Parquet.
        user, item, value, time : str or int
            The columns, by name or by position from 0; otherwise as in `from_frame`. In text, ids are int64 if all of
            them are plainly written whole numbers, else strings: a single 007 turns the whole column into strings.
            Times are numbers or ISO dates. Empty fields are missing, and so are NA, N/A, NaN, nan,
            NULL, null and None where all other fields are numbers or times; among strings, they are ids.
        aggregate : {"sum", "max", "last", "mean", "error"}
            As in `from_frame`.
        separator : str, optional
            A single character. By default a comma in .csv, a tab in .tsv and .tab, and in other files the first of
            tab, semicolon, comma and bar that occurs in the first line.
        header : bool, optional
            Whether the first line names the columns, as it must if columns are given by name. With positions, needed
            only if the first lines are ambiguous.
        quote : {"auto"}, one character, or None
            What encloses fields that contain separators or line breaks; doubled, it stands for itself. ``"auto"``:
            double quotes, which must be unambiguous. None: quotes are literal.
        decimal : {".", ","}
            The decimal separator of values and times.

        Raises
        ------
        FileNotFoundError, IsADirectoryError
            If there is no such file.
        TypeError, ValueError
            As `from_frame`, and if the file is damaged; messages name the file and, in text, the line.
        ImportError
            If pyarrow is not installed.
        """
        check_choice("aggregate", aggregate, AGGREGATES)
        asked = asked_columns(user, item, value, time)
        table, columns = files.read(path, asked, Dialect(separator, header, quote, decimal))
        try:
            made = cls.from_frame(table, aggregate=aggregate, **columns)
        except (TypeError, ValueError) as error:
            raise about(error, f"{str(path)!r}: ") from None
        made._columns = asked
        return made

    @classmethod
    def from_arrays(
        cls, users: Any, items: Any, values: Any = None, times: Any = None, *, aggregate: Aggregate = "sum"
    ) -> Self:
        """Create interactions from arrays or lists of equal length.

        Parameters
        ----------
        users, items : array-like, shape (n,)
            Raw ids: whole numbers, strings, anything hashable, except booleans, floats too large to be exact whole
            numbers, and ids of different types that are written the same, such as 1 and "1".
        values : array-like of numbers, shape (n,), optional
            By default, each event counts 1.
        times : array-like of numbers or datetime64, shape (n,), optional
        aggregate : {"sum", "max", "last", "mean", "error"}
            How to combine several events of the same pair.

        Raises
        ------
        TypeError, ValueError
            As `from_frame`, and if the lengths differ.
        """
        check_choice("aggregate", aggregate, AGGREGATES)
        return cls._make(columns_of_arrays(users, items, values, times), aggregate)

    @classmethod
    def _make(cls, columns: EventColumns, aggregate: Aggregate) -> Self:
        values = columns.values
        pairs, user_ids, item_ids, dropped = build(
            columns.users, columns.items, values, columns.times, aggregate, columns.names
        )
        return cls(pairs, user_ids, item_ids, aggregate=aggregate, dropped=dropped, has_values=values is not None)

    @classmethod
    def _of_store(cls, store: Store) -> Self:
        made = cls(store.pairs(), store.ids("user"), store.ids("item"), dropped=store.dropped(), **store.facts)
        made._store = store
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        store = self._store
        return super().__reduce_ex__(protocol) if store is None else (type(self)._of_store, (store,))

    def _snapshot(self) -> Self:
        """Return an independent copy of the current state, which shares the large arrays."""
        twin = type(self).__new__(type(self))
        with self._guard.lock:
            twin.__dict__.update(self.__dict__)
        return twin

    # Contents

    @property
    def _pairs(self) -> Pairs:
        """The pairs, of a store that is what was written."""
        self._verify()
        return self._unverified

    @property
    def matrix(self) -> csr_array:
        """The values, users x items; shares memory: don't write to it. It does not tell which of them are sums."""
        return self._pairs.matrix.to_scipy()

    @property
    def times(self) -> NDArray[Any] | None:
        """The time of the latest event of each pair, in the order of ``matrix.data``; or None."""
        return self._pairs.times

    @property
    def user_ids(self) -> NDArray[Any]:
        """The raw ids of the users, by row."""
        return self._users.values

    @property
    def item_ids(self) -> NDArray[Any]:
        """The raw ids of the items, by column."""
        return self._items.values

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and number of items."""
        return self._unverified.matrix.shape

    @property
    def nnz(self) -> int:
        """Number of pairs."""
        return len(self._unverified.matrix.data)

    def __repr__(self) -> str:
        n_users, n_items = self.shape
        return f"Interactions({n_users:,} users x {n_items:,} items, {self.nnz:,} pairs, aggregate={self.aggregate!r})"

    def _summary(self) -> Summary:
        return summary_of_interactions(self._snapshot())

    def describe(self) -> InteractionsReport:
        """Count the rows read, dropped and merged, and summarize what is left.

        Returns
        -------
        InteractionsReport
            Its attributes are the counts; as a string it is a short table.
        """
        if self._store is not None:
            self._verify()
            return report_of(self._store, self.aggregate)
        return InteractionsReport.of(self._pairs, self._dropped, self.aggregate)

    def to_frame(self, library: str | None = None) -> Any:
        """Return the pairs as a frame with the columns user, item, value and, if there are times, time.

        Parameters
        ----------
        library : {"polars", "pandas", "pyarrow"}, optional
            By default, the library of the original frame, else the first one installed.
        """
        if self._store is not None:
            check_fits(2 * self.nnz, "a frame of all pairs")
        rows, columns = self._pairs.matrix.positions()
        frame = {"user": self._users.raw(rows), "item": self._items.raw(columns), "value": self._pairs.matrix.data}
        if self.times is not None:
            frame["time"] = self.times
        return frames.make_frame(frame, library or self._library)

    # Derived interactions

    def append(self, events: IntoDataFrame | Interactions) -> Self:
        """Add events; known users and items keep their row numbers, and new ones are numbered after them.

        Events of the same pair are again combined by `aggregate`: with ``"sum"`` the new value is added to the old one,
        with ``"last"`` it replaces the old one unless it is older.

        Parameters
        ----------
        events : frame or Interactions
            A frame with the same columns as the original one, or other interactions.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            As `from_frame`; nothing is then changed.

        Notes
        -----
        All pairs are sorted again, so append in batches. Models fitted before keep the ids that they were fitted on.
        """
        if self._store is not None:
            raise TypeError(
                "interactions in a store can't be changed: read the events of both into a new store, or append to "
                "reindex(users=...), which is in memory"
            )
        if not isinstance(events, Interactions):
            if self._columns is None:
                raise TypeError(
                    f"events must be Interactions, got {type(events).__name__}: these interactions were not made from "
                    "a frame, so pass Interactions.from_frame(...) or .from_arrays(...)"
                )
            events = type(self).from_frame(events, **self._columns, aggregate=self.aggregate)
        events = events._snapshot()
        check_appendable(self, events)
        pairs, users, items = merge_appended(self, events)
        dropped = self._dropped + events._dropped
        dropped.n_merged = dropped.n_kept - len(pairs.matrix.data)
        has_values = self._has_values and events._has_values
        self._commit({
            "_unverified": pairs, "_users": users, "_items": items, "_dropped": dropped, "_has_values": has_values,
        })  # fmt: skip
        return self

    def reindex(self, *, users: Any = None, items: Any = None) -> Self:
        """Return interactions with exactly these users and items, in this order.

        Pairs of others are dropped; users and items without pairs get empty rows and columns.

        Parameters
        ----------
        users, items : array of raw ids, optional
            By default, the current ones.
        """
        here = self._snapshot()
        here._verify()
        new_users = here._users if users is None else distinct_ids("users", users, here._users)
        new_items = here._items if items is None else distinct_ids("items", items, here._items)
        if new_users is here._users and new_items is here._items:
            return self
        if here._store is not None:
            here = here._in_memory(None if users is None else new_users)
        events = here._pairs.events()
        places = []
        for kind, known, new in (("user", here._users, new_users), ("item", here._items, new_items)):
            if len(known.types | new.types) > 1:
                unknown = known.find(new.values) < 0
                refuse_other_types(f"{kind}s", kind, known, new.values[unknown].tolist(), not unknown.all())
            places.append(new.find(known.values))
        rows = places[0][events.users] if len(here._users) else events.users
        columns = places[1][events.items]
        kept = np.flatnonzero((rows >= 0) & (columns >= 0))
        moved = dataclasses.replace(events, users=rows, items=columns).take(kept)
        pairs = merge_pairs(moved, (len(new_users), len(new_items)), here.aggregate)
        return here._like(pairs, new_users, new_items)

    def __getitem__(self, rows: Any) -> Self:
        """Return the users of some rows, with all items, as scikit-learn's cross-validation does to split data.

        Parameters
        ----------
        rows : slice, array of row numbers, or boolean array
            To select users by id, see `reindex`.
        """
        if isinstance(rows, tuple) and len(rows) == 2 and rows[1] is Ellipsis:  # from scikit-learn
            rows = rows[0]
        try:
            chosen = np.arange(self.shape[0])[rows]
        except IndexError:
            chosen = None
        if not isinstance(chosen, np.ndarray) or chosen.ndim != 1:
            raise IndexError(
                f"rows must be a slice, a list of row numbers below {self.shape[0]} or a mask of as many users, got "
                f"{reprlib.repr(rows)}: for users by their ids use reindex(users=...)"
            )
        self._verify()
        return self.reindex(users=self._users.raw(chosen))

    __iter__ = None  # rows are not numbers: without this, a loop would end before the first one

    def _in_memory(self, users: Ids | None) -> Self:
        """Return what the store has of some users, or of all."""
        if users is None or len(self._users.types | users.types) > 1:
            return self._like(take_users(self._pairs, None), self._users, self._items)
        found = self._users.find(users.values)
        rows = np.sort(found[found >= 0])
        return self._like(take_users(self._pairs, rows), Ids(self._users.raw(rows)), self._items)

    def _select(self, keep: NDArray[np.bool_]) -> Self:
        """Return the pairs where `keep`, aligned with ``matrix.data``, is true; ids and shape don't change."""
        return self._like(self._pairs.select(keep), self._users, self._items)

    def _like(self, pairs: Pairs, users: Ids, items: Ids) -> Self:
        dropped = DroppedRows(n_rows=len(pairs.matrix.data))
        return type(self)(
            pairs, users, items, aggregate=self.aggregate, dropped=dropped, columns=self._columns,
            library=self._library, has_values=self._has_values,
        )  # fmt: skip
