"""A model whose factors move and grow one event at a time, while threads read it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.csr import CSR
from .._base import FactorModel
from .._fit_loop import is_frozen
from .events import Events, Growing, Log, Rows


class LiveFactors(FactorModel):
    """The part of such a model that keeps its state, and shows it to readers as it was at one moment."""

    # The vectors grow, and events are noted beside the rows they will be merged into. What is here is written to under
    # the lock of the guard; a snapshot has `Rows` and a `Log` in their places, which do not change.
    _users: Growing
    _items: Growing
    _events: Events
    _means: dict[str, NDArray[Any] | None]  # the mean vectors when the first event came after a fit, a load or by hand

    @property
    def user_factors(self) -> NDArray[Any] | None:
        """The users' vectors, read-only."""
        return self._whole("_users")

    @user_factors.setter
    def user_factors(self, vectors: Any) -> None:
        self._set("_users", "user_factors", vectors)

    @property
    def item_factors(self) -> NDArray[Any] | None:
        """The items' vectors, read-only."""
        return self._whole("_items")

    @item_factors.setter
    def item_factors(self, vectors: Any) -> None:
        self._set("_items", "item_factors", vectors)

    def _whole(self, kept: str) -> NDArray[Any] | None:
        rows: Rows | None = self._snapshot().__dict__.get(kept)
        return None if rows is None else rows.whole()

    def _set(self, kept: str, name: str, vectors: Any) -> None:
        """Take a copy of vectors set by hand; what is known of the pairs stays if there are as many rows as before."""
        array = vectors if isinstance(vectors, np.ndarray) and is_frozen(vectors) else np.array(vectors)
        if array.ndim != 2 or array.dtype.kind != "f":
            raise ValueError(
                f"{name} must be a table of floating-point numbers, one row each, got {array.ndim} dimensions of "
                f"{array.dtype}"
            )
        with self._guard.writer:
            before = self.__dict__.get(kept)
            events = self.__dict__.get("_events") if before is not None and len(before) == len(array) else None
            self._commit({kept: Growing(array), "_events": events, "_means": {}, "_slot": None})

    @property
    def interactions_(self) -> CSR | None:
        """What is known of every pair, events included."""
        twin = self._snapshot()
        log: Log | None = twin.__dict__.get("_events")
        if log is None:
            return None
        merged = log.merged(len(twin._users), len(twin._items))
        with self._guard.lock:
            log.source.forget(log, merged)  # the next reader need not merge them again
        return merged

    @interactions_.setter
    def interactions_(self, rows: CSR | None) -> None:
        self._commit({"_events": None if rows is None else Events(rows)})

    def _assign(self, **state: Any) -> None:
        rows = state.pop("interactions_")
        state["_events"] = None if rows is None else Events(rows)
        for name, kept in (("user_factors", "_users"), ("item_factors", "_items")):
            if name in state:
                state[kept] = Growing(state.pop(name))
        super()._assign(_means={}, _slot=None, **state)

    def _pin(self) -> None:
        state, lock = self.__dict__, self._guard.lock
        state.pop("_slot", None)
        for kept in ("_users", "_items"):
            if kept in state:
                state[kept] = Rows(state[kept], lock)
        if (events := state.get("_events")) is not None:
            state["_events"] = events.log()

    def _release(self) -> None:
        for kept in ("_users", "_items"):
            if (rows := self.__dict__.get(kept)) is not None:
                rows.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of, which then learns alone."""
        state = super().__getstate__()
        for kept in ("_users", "_items"):
            if kept in state:
                state[kept] = Growing(state[kept].whole())
        if state.get("_events") is not None:
            state["_events"] = Events(state["_events"].merged(len(state["_users"]), len(state["_items"])))
        return state

    # Few rows of many are looked up without a copy of all

    def _count(self, kind: str) -> int | None:
        rows = self.__dict__.get(f"_{kind}s")
        return None if rows is None else len(rows)

    def _side(self, kind: str) -> NDArray[Any]:
        self._check_sides()
        return self._rows(kind).whole()

    def _take(self, kind: str, numbers: NDArray[np.int64]) -> NDArray[Any]:
        self._check_sides()
        return self._rows(kind).take(numbers)

    def _rows(self, kind: str) -> Rows:
        rows: Rows = self._snapshot().__dict__[f"_{kind}s"]
        return rows

    def _check_sides(self) -> None:
        self._check_factors(*(self.__dict__.get(kept) for kept in ("_users", "_items")))

    def _seen(self, users: NDArray[np.int64], user_items: Any) -> CSR:
        log = self._snapshot().__dict__.get("_events")
        if user_items is None and log is not None:
            return log.of(users, len(self._items))  # type: ignore[no-any-return]
        return super()._seen(users, user_items)
