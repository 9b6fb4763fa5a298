"""Models brought up to date with new events, new users and items among them, at a cost in proportion to the change."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR
from ..data.events import refuse_events
from ..data.interactions import Interactions
from ..data.merge import columns_of, merge
from ..data.pairs import EventTable, merge_pairs
from ..data.rows import event_columns
from ..data.validation import shape_of
from ._memory import refuse_copy
from ._raw_ids import RawIds
from ._sklearn import check_unused

if TYPE_CHECKING:
    from .._typing import Rated


@dataclass(frozen=True)
class Change:
    """Interactions with new events, and what these have changed.

    Attributes
    ----------
    rows : CSR
        All interactions.
    users, items : int64 arrays
        Rows and columns with events, ascending.
    at : int64 array
        Positions of the events in the entries of `rows`.
    fresh : bool array
        Which of them are new pairs.
    before : (int, int)
        Numbers of users and items before; others are new.
    """

    rows: CSR
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    at: NDArray[np.int64]
    fresh: NDArray[np.bool_]
    before: tuple[int, int]

    def changed(self, kind: str) -> NDArray[np.int64]:
        """Return the rows of a side with events."""
        return self.users if kind == "user" else self.items

    def new(self, kind: str) -> NDArray[np.int64]:
        """Return the rows of a side that are new."""
        side = 0 if kind == "user" else 1
        return np.arange(self.before[side], self.rows.shape[side])

    def rows_of(self, kind: str, numbers: NDArray[np.int64]) -> CSR:
        """Return the interactions of some rows of a side."""
        return self.rows.take(numbers) if kind == "user" else columns_of(self.rows, numbers)


class PartialFit(RawIds):
    """The part of a model that learns from new events; a subclass defines `_learn_from`."""

    partial_share_: float  # of the interactions, since the last fit
    bytes_per_pair: ClassVar[int]  # see `DescribedModel`

    def partial_fit(self, events: Rated | tuple[Any, ...], y: Any = None) -> Self:
        """Learn from new events, without fitting anew: a day of events, those of new users and items included.

        The events are added to the interactions of the model, and factors of the users and items that they change are
        brought up to date; docs/nightly.md tells how each model does this, and what it costs. After many events, fit
        anew on all interactions: `partial_share_` tells the share of them that the last fit did not see.

        Parameters
        ----------
        events : Interactions, or sparse matrix or array, or dense array, or (users, items), or (users, items, values)
            New events only. `Interactions` are matched by id, and new ids appended. A matrix has a row for each user
            and a column for each item of the model, in their order, and then those of new ones. A tuple has one user,
            item and value (default: 1) per event: raw ids if the model has them, else row numbers, of which new ones
            follow without gaps. The values of a pair are added up if feedback is implicit; a rating, like or dislike
            replaces that of the same pair.
        y : None
            Not used; present for compatibility with scikit-learn.

        Returns
        -------
        self
            A model that was not fitted is fitted on the events.

        Raises
        ------
        TypeError, ValueError, IndexError
            If the events are invalid, or the model has lost its interactions; it is then unchanged.
        OverflowError
            If the model diverges; it is then unchanged.
        RuntimeError
            In a callback of `fit`, which would undo it.
        """
        return self._partial_fit_events(events, y)

    def _partial_fit_events(self, events: Any, y: Any, **features: Any) -> Self:
        model: Any = self
        self._refuse_during_fit("partial_fit")
        model._check_params()
        check_unused(y)
        refuse_events("events", events)
        if getattr(self, "user_factors", None) is None and getattr(self, "item_factors", None) is None:
            given = {name: value for name, value in features.items() if value is not None}
            fitted: Self = model.fit(self._to_fit(events), **given)
            return fitted
        model._check_fitted()
        trial = self._snapshot()  # of this call alone: readers see the model before or after
        try:
            if not trial._learn_events(events, features):
                return self
            changed = {name: value for name, value in trial.__dict__.items() if self.__dict__.get(name) is not value}
        finally:
            trial._release()
        self._commit(changed)
        return self

    def _learn_events(self, events: Any, features: dict[str, Any]) -> bool:
        """Bring this snapshot up to date, and return whether there were events."""
        known = self._known_interactions()
        if isinstance(events, tuple) and len(events) in (2, 3) and not any(np.size(column) for column in events):
            return False
        new, ids = self._checked_events(events, known)
        if not len(new.data) and new.shape == known.shape:
            return False
        rows, at, fresh = merge(known, new, self.traits.feedback == "implicit")
        if not np.isfinite(rows.data[at]).all():
            raise ValueError(f"values of one pair must add up to a finite number in {rows.data.dtype}: scale them down")
        users, items = np.flatnonzero(np.diff(new.indptr)), np.flatnonzero(new.column_counts())
        change = Change(rows, users, items, at, fresh, known.shape)
        before = float(getattr(self, "partial_share_", 0.0)) * len(known.data)
        share = min(1.0, (before + len(new.data)) / max(1, len(rows.data)))
        self.__dict__.update(ids)  # a snapshot of this call alone
        self._learn_from(change, **features)
        self.__dict__["partial_share_"] = share
        return True

    def _refuse_during_fit(self, name: str) -> None:
        """Raise in a callback of `fit`, whose next iteration would undo the change."""
        if self._guard.before is not None:
            raise RuntimeError(
                f"{name} was called while this model is being fitted, which would undo it: call it after fit"
            )

    def _learn_from(self, change: Change) -> None:
        """Set fitted attributes, `interactions_` included, of a snapshot to those after the change."""
        raise TypeError(f"{type(self).__name__} does not define partial_fit")

    def _known_interactions(self) -> CSR:
        known: CSR | None = getattr(self, "interactions_", None)
        if known is None or known.shape != (self._count("user"), self._count("item")):
            raise ValueError(
                "partial_fit adds events to the interactions of the fit, but this model does not have them (it was "
                "saved without them, or its factors were set by hand): call fit with all interactions"
            )
        refuse_copy(known, self.bytes_per_pair, "partial_fit")
        dtype = np.dtype(getattr(self, "dtype", known.data.dtype))
        if known.data.dtype != dtype:  # those of a store
            known = dataclasses.replace(known, data=known.data.astype(dtype))
        return known

    # Events

    def _checked_events(self, events: Any, known: CSR) -> tuple[CSR, dict[str, Any]]:
        """Return the events as a matrix of at least the model's shape, and the ids of all rows as attributes."""
        model: Any = self
        dtype, ids = known.data.dtype, {kind: self._ids_of(kind) for kind in ("user", "item")}
        named = ids["user"] is not None or ids["item"] is not None
        if isinstance(events, tuple) and named:
            events = self._to_fit(events, named=True)
        if isinstance(events, tuple):
            if len(events) == 2 and self.traits.feedback != "implicit":
                raise ValueError(
                    f"events must hold {self.traits.feedback}, got users and items only: pass (users, items, values)"
                )
            return model._check_rows("events", self._matrix_of(events, known.shape), dtype), {}
        if isinstance(events, Interactions):
            if not named or ids["user"] is None or ids["item"] is None:
                self._matrix("events", events, "item")  # raises
            events = events._snapshot()
            events._verify()
            self._check_values("events", events)
            users, items = (
                self._with_old(kind, ids[kind], own, "events")  # type: ignore[arg-type]
                for kind, own in (("user", events._users), ("item", events._items))
            )
            matrix = events.reindex(users=users, items=items).matrix
            return model._check_rows("events", matrix, dtype), {"_user_ids": users, "_item_ids": items}
        shape = shape_of(events)
        if isinstance(events, list) and _are_columns(events) and not _covers(shape, known.shape):
            raise TypeError(
                f"events in columns must be a tuple, (users, items, values), got a list of {len(events)}, which is a "
                "matrix with a row for each user: pass tuple(events)"
            )
        if len(shape) == 2 and not hasattr(events, "columns"):
            if shape[1] < known.shape[1]:
                model._check_features(events)
            if shape[0] < known.shape[0]:
                raise ValueError(
                    f"events must have a row for each of the {known.shape[0]} users of the model, and then those of "
                    f"new users, got {shape[0]} rows: pass (users, items, values) for a few events"
                )
            if named and shape != known.shape:
                raise ValueError(
                    f"events of new users or items must be Interactions, as this model has raw ids, got a matrix of "
                    f"shape {shape} for {known.shape}: pass Interactions, or (users, items, values) with ids"
                )
        self._refuse_ids("events", events, "item")
        return model._check_rows("events", events, dtype), {}

    def _to_fit(self, events: Any, named: bool = False) -> Any:
        """Return what `fit` takes."""
        if not isinstance(events, tuple):
            return events
        if named:
            columns = event_columns(events, named=True)
            aggregate = "sum" if self.traits.feedback == "implicit" else "last"
            return Interactions.from_arrays(*columns, aggregate=aggregate)  # type: ignore[arg-type]
        return self._matrix_of(events, (0, 0))

    def _matrix_of(self, events: tuple[Any, ...], shape: tuple[int, int]) -> Any:
        """Return columns of events as a matrix of at least this shape."""
        users, items, values = event_columns(events)
        counts = []
        for name, numbers, count in (("users", users, shape[0]), ("items", items, shape[1])):
            new = np.unique(numbers[numbers >= count])
            if len(new) and new[-1] - count + 1 != len(new):
                raise IndexError(
                    f"{name} to append must be numbered from {count} without gaps, got {new[-1]}: number them anew, or "
                    "fit on Interactions, which take ids of any kind"
                )
            counts.append(count + len(new))
        aggregate = "sum" if self.traits.feedback == "implicit" else "last"
        table = EventTable(users, items, values, None)
        return merge_pairs(table, (counts[0], counts[1]), aggregate).matrix.to_scipy()


def _are_columns(events: list[Any]) -> bool:
    return len(events) in (2, 3) and all(np.ndim(column) == 1 for column in events)


def _covers(shape: tuple[int, ...], known: tuple[int, int]) -> bool:
    """Whether a matrix of this shape has all known rows and columns."""
    return len(shape) == 2 and shape[0] >= known[0] and shape[1] >= known[1]
