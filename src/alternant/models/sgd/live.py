"""A model whose factors change and grow with every event, while other threads read it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.csr import CSR
from .._base import FactorModel
from .._fit_loop import is_frozen
from .events import Events, Growing, Log, Rows


class LiveFactors(FactorModel):
    """The part of such a model that holds its state, and gives readers consistent snapshots of it."""

    # Vectors grow, and events are kept beside the matrix they will be merged into. Both are written to under the lock
    # of the guard; snapshots have immutable `Rows` and a `Log` instead.
    _users: Growing
    _items: Growing
    _events: Events
    _means: dict[str, NDArray[Any] | None]  # mean vectors at the first event after a fit, a load or a change by hand

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

    def _whole(self, side: str) -> NDArray[Any] | None:
        rows: Rows | None = self._snapshot().__dict__.get(side)
        return None if rows is None else rows.whole()

    def _set(self, side: str, name: str, vectors: Any) -> None:
        """Copy vectors set by hand; known pairs are kept if the number of rows is unchanged."""
        array = vectors if isinstance(vectors, np.ndarray) and is_frozen(vectors) else np.array(vectors)
        if array.ndim != 2 or array.dtype.kind != "f":
            raise ValueError(
                f"{name} must be a two-dimensional array of floating-point numbers, got {array.ndim} dimensions of "
                f"{array.dtype}"
            )
        with self._guard.writer:
            before = self.__dict__.get(side)
            events = self.__dict__.get("_events") if before is not None and len(before) == len(array) else None
            self._commit({side: Growing(array), "_events": events, "_means": {}, "_slot": None})

    @property
    def interactions_(self) -> CSR | None:
        """The likes and dislikes of the fit and of later events."""
        snapshot = self._snapshot()
        log: Log | None = snapshot.__dict__.get("_events")
        if log is None:
            return None
        merged = log.merged(len(snapshot._users), len(snapshot._items))
        with self._guard.lock:
            log.source.replace(log, merged)  # the next reader need not merge again
        return merged

    @interactions_.setter
    def interactions_(self, rows: CSR | None) -> None:
        with self._guard.writer:
            self._commit({"_events": None if rows is None else Events(rows)})

    def _assign(self, **state: Any) -> None:
        rows = state.pop("interactions_")
        state["_events"] = None if rows is None else Events(rows)
        for name, side in (("user_factors", "_users"), ("item_factors", "_items")):
            if name in state:
                state[side] = Growing(state.pop(name))
        super()._assign(_means={}, _slot=None, **state)

    def _pin(self) -> None:
        state, lock = self.__dict__, self._guard.lock
        state.pop("_slot", None)
        for side in ("_users", "_items"):
            if side in state:
                state[side] = Rows(state[side], lock)
        if (events := state.get("_events")) is not None:
            state["_events"] = events.log()

    def _release(self) -> None:
        for side in ("_users", "_items"):
            if (rows := self.__dict__.get(side)) is not None:
                rows.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy, which is independent of the model."""
        state = super().__getstate__()
        for side in ("_users", "_items"):
            if side in state:
                state[side] = Growing(state[side].whole())
        if state.get("_events") is not None:
            state["_events"] = Events(state["_events"].merged(len(state["_users"]), len(state["_items"])))
        return state

    # Looking up a few rows does not copy all of them

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

    def _version(self, kind: str) -> tuple[object, int] | None:
        rows: Rows | None = self._snapshot().__dict__.get(f"_{kind}s")
        return None if rows is None else rows.version

    def _check_sides(self) -> None:
        self._check_factors(*(self.__dict__.get(side) for side in ("_users", "_items")))

    def _seen(self, users: NDArray[np.int64], user_items: Any) -> CSR:
        log = self._snapshot().__dict__.get("_events")
        if user_items is None and log is not None:
            return log.of(users, len(self._items))  # type: ignore[no-any-return]
        return super()._seen(users, user_items)
