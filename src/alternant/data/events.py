"""Events: a table of views, purchases, dislikes and other kinds of events, to be weighted into `Interactions`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._utils.display import Displayed, Summary
from .._utils.guard import snapshot_of
from .._utils.messages import about, parameter, refusal
from .._utils.validation import check_number
from .build import number_rows
from .decay import decay
from .display import summary_of_events
from .factorize import factorize
from .ids import Ids
from .interactions import Interactions
from .io import files, frames
from .io.event_columns import EventColumns, columns_of_arrays, columns_of_frame
from .io.text import Dialect
from .pairs import EventTable, merge_pairs
from .report import DroppedRows
from .values import is_hashable

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

Duration: TypeAlias = float | str | timedelta | np.timedelta64
ONLY_KIND = "event"  # if the table does not tell kinds apart


class Events(Displayed):
    """Events of several kinds, such as views, purchases and dislikes, under the raw ids of your own tables.

    Created by `from_frame`, `from_arrays` or `from_file`; `interactions` makes of them the `Interactions` that a model
    is fitted on. All kinds share the ids of users and items, so that the matrix of any kind, and of any weights, has
    the same rows and columns. Immutable, so that threads may share an instance.

    Rows without a user, an item or a kind are dropped, and so are, if there are times, rows without one. A missing
    value counts 1, since not all kinds need have values. Several events of the same pair are all kept.

    Attributes
    ----------
    user_ids, item_ids : arrays
        The raw ids by row and by column: int64 if all are whole numbers, else objects.
    kinds : list
        The kinds, in ascending order.
    times : array or None
        The time of each event: int64, float64, or datetime64 (UTC).
    """

    def __init__(
        self, table: EventTable, users: Ids, items: Ids, kinds: Ids, *, dropped: DroppedRows,
        library: str | None = None,
    ) -> None:  # fmt: skip
        self._table = table
        self._users, self._items, self._kinds = users, items, kinds
        self._dropped = dropped
        self._library = library

    @classmethod
    def from_frame(
        cls, frame: IntoDataFrame, *, user: str | int, item: str | int, kind: str | int | None = None,
        value: str | int | None = None, time: str | int | None = None,
    ) -> Self:  # fmt: skip
        """Create events from columns of a frame.

        Parameters
        ----------
        frame : pandas, polars or pyarrow frame
            Any eager frame supported by narwhals; not modified.
        user, item : str or int
            The columns of ids, as for `Interactions.from_frame`.
        kind : str or int, optional
            The column of kinds, which are texts or whole numbers. By default, all events are of one kind, ``"event"``.
        value : str or int, optional
            The column of values, by which the weight of an event is multiplied, such as seconds watched. By default,
            and where it is missing, 1. Ratings should be centred first, so that bad ones count as dislikes.
        time : str or int, optional
            The column of times: numbers, dates or datetimes.

        Raises
        ------
        TypeError, ValueError
            As `Interactions.from_frame`.
        """
        table = frames.open_frame("frame", frame, "Events.from_arrays")
        asked = {"user": user, "item": item, "kind": kind, "value": value, "time": time}
        return cls._make(columns_of_frame(table, asked), frames.library_of(table))

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, user: str | int, item: str | int, kind: str | int | None = None,
        value: str | int | None = None, time: str | int | None = None, separator: str | None = None,
        header: bool | None = None, quote: str | None = "auto", decimal: str = ".",
    ) -> Self:  # fmt: skip
        """Create events from columns of a CSV, TSV or Parquet file; needs pyarrow (the extra ``files``).

        Parameters
        ----------
        path, separator, header, quote, decimal
            As for `Interactions.from_file`.
        user, item, kind, value, time
            The columns, by name or by position from 0; otherwise as in `from_frame`.

        Raises
        ------
        FileNotFoundError, IsADirectoryError, ImportError, TypeError, ValueError
            As `Interactions.from_file`.
        """
        asked = {"user": user, "item": item, "kind": kind, "value": value, "time": time}
        table, columns = files.read(path, asked, Dialect(separator, header, quote, decimal))
        try:
            return cls.from_frame(table, **columns)
        except (TypeError, ValueError) as error:
            raise about(error, f"{str(path)!r}: ") from None

    @classmethod
    def from_arrays(cls, users: Any, items: Any, kinds: Any = None, values: Any = None, times: Any = None) -> Self:
        """Create events from arrays or lists of equal length.

        Parameters
        ----------
        users, items : array-like, shape (n,)
            Raw ids, as for `Interactions.from_arrays`.
        kinds, values, times : array-like, shape (n,), optional
            As the columns of `from_frame`.

        Raises
        ------
        TypeError, ValueError
            As `Interactions.from_arrays`.
        """
        return cls._make(columns_of_arrays(users, items, values, times, kinds), None)

    @classmethod
    def _make(cls, columns: EventColumns, library: str | None) -> Self:
        if columns.kinds is None:
            codes, kinds = None, factorize([ONLY_KIND], "kind")[1]
        else:
            codes, kinds = factorize(columns.kinds, columns.names["kind"])
        values = columns.values
        if values is not None:
            values = np.where(np.isnan(values), values.dtype.type(1), values)
        table, users, items, dropped = number_rows(
            columns.users, columns.items, values, columns.times, columns.names, codes
        )
        if table.kinds is None:
            table = replace(table, kinds=np.zeros(len(table.users), np.int32))
        return cls(table, users, items, kinds, dropped=dropped, library=library)

    # Contents

    @property
    def user_ids(self) -> NDArray[Any]:
        """The raw ids of the users, by row."""
        return self._users.values

    @property
    def item_ids(self) -> NDArray[Any]:
        """The raw ids of the items, by column."""
        return self._items.values

    @property
    def kinds(self) -> list[Any]:
        """The kinds of events."""
        listed: list[Any] = self._kinds.values.tolist()
        return listed

    @property
    def times(self) -> NDArray[Any] | None:
        """The time of each event, or None."""
        if self._table.times is None:
            return None
        times = self._table.times.view()
        times.flags.writeable = False
        return times

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and number of items."""
        return len(self._users), len(self._items)

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._table.users)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self.counts().items())
        return f"Events({self.shape[0]:,} users x {self.shape[1]:,} items, {len(self):,} events: {counts})"

    def _summary(self) -> Summary:
        return summary_of_events(self)

    def counts(self) -> dict[Any, int]:
        """Return the number of events of each kind."""
        return dict(zip(self.kinds, np.bincount(self._codes(), minlength=len(self._kinds)).tolist(), strict=True))

    def describe(self) -> str:
        """Return a short table: rows read and dropped, and the events, users, items and pairs of each kind."""
        dropped, table = self._dropped, self._table
        lines = [repr(self), f"rows read: {dropped.n_rows:,}"]
        for what, count in (("id or kind", dropped.n_missing_ids), ("time", dropped.n_missing_times)):
            if count:
                lines.append(f"  without {what}: {count:,}, left out")
        for number, kind in enumerate(self.kinds):
            rows = np.flatnonzero(self._codes() == number)
            users, items = (len(np.unique(part[rows])) for part in (table.users, table.items))
            pairs = len(np.unique(self._pair_keys(rows)))
            lines.append(f"{kind}: {len(rows):,} events, {users:,} users, {items:,} items, {pairs:,} pairs")
        if table.times is not None and len(table.times):
            lines.append(f"times: {table.times.min()} to {table.times.max()}")
        return "\n".join(lines)

    # Interactions

    def interactions(
        self, weights: Mapping[Any, float] | None = None, *, half_life: Duration | None = None,
        now: float | str | date | np.datetime64 | None = None,
    ) -> Interactions:  # fmt: skip
        r"""Weight the events and add them up by pair.

        The value of a pair is the sum over its events e,

        .. math:: r_{ui} = \sum_e w_{k(e)} \, v_e \, 2^{-(\mathrm{now} - t_e) / h}

        with the weight w of the event's kind, its value v (1 if there is none) and the half-life h. A model of implicit
        feedback takes the absolute value as confidence: a positive r is a preference of 1, a negative r (a dislike, or
        dislikes that outweigh the rest) one of 0.

        Parameters
        ----------
        weights : mapping, optional
            A number for each kind that occurs: positive for signs of interest, negative for dislikes, 0 to leave it
            out. Only their ratios matter to `ImplicitALS` with its defaults. By default 1 for every kind.
        half_life : number, str, timedelta or numpy.timedelta64, optional
            The age at which an event has half of its weight; weights do not fall below 2^-60. A text is a number and a
            unit (s, min, h, d or w), such as ``"30d"``. For times that are numbers, a number is in their unit, and a
            duration takes them as seconds. By default, age does not matter.
        now : date, text or number, optional
            The time from which ages are counted, by default the last event. For new users and for a `partial_fit`,
            pass that of the fit: later events weigh more than 1, as they would in a fit of all events with this `now`.

        Returns
        -------
        Interactions
            With all users and items of these events. Pairs whose only events have weight 0 are left out.

        Raises
        ------
        TypeError, ValueError
            If a kind has no weight, no weight differs from 0, or `half_life` or `now` is invalid.
        """
        of_kinds = self._weights(weights)
        if half_life is None and now is not None:
            raise refusal(ValueError, f"{parameter('now')} needs {parameter('half_life')}, got None: pass both")
        if half_life is not None and self._table.times is None:
            raise refusal(
                ValueError,
                f"{parameter('half_life')} needs times, and these events have none: name their column with "
                f"{parameter('time')}=",
            )
        used = np.flatnonzero(of_kinds[self._codes()] != 0)
        if not len(used):
            reason = "a weight of 0 for every kind that occurs" if len(self) else "no events"
            raise refusal(ValueError, f"{parameter('weights')} must leave some events, got {reason}")
        values = of_kinds[self._codes()[used]]
        if self._table.values is not None:
            values *= self._table.values[used]
        if half_life is not None and self._table.times is not None:
            values *= decay(self._table.times, half_life, now)[used]
        wide = self._table.values is not None and self._table.values.dtype == np.float64
        return self._merged(used, values.astype(np.float64 if wide else np.float32), has_values=True)

    def of_kind(self, kind: Any) -> Interactions:
        """Return the events of one kind as interactions with all users and items: the sum of the values of each pair.

        Raises
        ------
        ValueError
            If there is no such kind.
        """
        used = np.flatnonzero(self._codes() == self._number_of("kind", kind))
        values = self._table.values
        return self._merged(used, None if values is None else values[used], has_values=values is not None)

    def without(self, interactions: Interactions) -> Self:
        """Return the events of all other pairs than those of `interactions`, with all users and items.

        It leaves every event of held-out pairs out of the training data, whatever its kind.
        """
        if not isinstance(interactions, Interactions):
            raise TypeError(f"interactions must be Interactions, got {type(interactions).__name__}")
        here = snapshot_of(interactions).reindex(users=self._users, items=self._items)
        rows, columns = here._pairs.matrix.positions()
        return self._select(~np.isin(self._pair_keys(), rows.astype(np.int64) * self.shape[1] + columns))

    # Internals

    def _codes(self) -> NDArray[Any]:
        assert self._table.kinds is not None
        return self._table.kinds

    def _pair_keys(self, rows: Any = slice(None)) -> NDArray[np.int64]:
        keys: NDArray[np.int64] = self._table.users[rows].astype(np.int64) * self.shape[1] + self._table.items[rows]
        return keys

    def _select(self, keep: NDArray[np.bool_]) -> Self:
        """Return the events where `keep` is true; ids and kinds don't change."""
        table = self._table.take(np.flatnonzero(keep))
        dropped = DroppedRows(n_rows=len(table.users))
        return type(self)(table, self._users, self._items, self._kinds, dropped=dropped, library=self._library)

    def _merged(self, used: NDArray[np.int64], values: NDArray[Any] | None, *, has_values: bool) -> Interactions:
        """Return the sums of the values of some events by pair."""
        chosen = replace(self._table, values=None).take(used)
        pairs = merge_pairs(replace(chosen, values=values), self.shape, "sum")
        dropped = DroppedRows(n_rows=len(used), n_merged=len(used) - len(pairs.matrix.data))
        return Interactions(
            pairs, self._users, self._items, aggregate="sum", dropped=dropped, library=self._library,
            has_values=has_values,
        )  # fmt: skip

    def _number_of(self, name: str, kind: Any) -> int:
        number = self._kinds.number(kind) if is_hashable(kind) else -1
        if number < 0:
            raise refusal(
                ValueError, f"{parameter(name)} must be a kind of these events, {self._listed()}, got {kind!r}"
            )
        return number

    def _weights(self, weights: Mapping[Any, float] | None) -> NDArray[np.float64]:
        """Return the weight of each kind, by its number."""
        out = np.ones(len(self._kinds))
        if weights is None:
            return out
        if not isinstance(weights, Mapping):
            raise refusal(
                TypeError,
                f"{parameter('weights')} must be a mapping from kinds to numbers, such as "
                f"{{{self.kinds[0]!r}: 1.0}}, got {weights!r}",
            )
        named = {}
        for kind, weight in weights.items():
            number = self._kinds.number(kind) if is_hashable(kind) else -1  # kinds that do not occur here are fine
            named[number] = check_number(f"weights[{kind!r}]", weight, -np.inf)
        for number, kind in enumerate(self.kinds):
            if number not in named:
                raise refusal(
                    ValueError,
                    f"{parameter('weights')} must have a weight for every kind, but has none for {kind!r}: pass 0 to "
                    "leave it out",
                )
            out[number] = named[number]
        return out

    def _listed(self) -> str:
        return ", ".join(map(repr, self.kinds))


def refuse_events(name: str, given: Any, way: str = "") -> None:
    """Raise for events in place of interactions, and say what makes interactions of them."""
    if isinstance(given, Events):
        raise TypeError(
            f"{name} must be Interactions, or a matrix, got Events: pass events.interactions(weights){way}"
        )
