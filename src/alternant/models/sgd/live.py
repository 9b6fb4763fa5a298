"""A model whose factors change and grow with every event, while other threads read it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.splitmix import hashed_normal, hashed_row
from ...data.csr import CSR
from .._base import FactorModel
from .._fit_loop import is_frozen
from .._memory import refuse_copy
from .._parameters import RULES
from .events import Events, Growing, Log, Rows

if TYPE_CHECKING:
    from ..._typing import MaybeNone, Reals


MERGED = 64  # bytes of an interaction while events are merged into them


class LiveFactors(FactorModel):
    """The part of such a model that holds its state, and gives readers consistent snapshots of it."""

    # Vectors grow, and events are kept beside the matrix they will be merged into. Both are written to under the lock
    # of the guard; snapshots have immutable `Rows` and a `Log` instead.
    _users: Growing
    _items: Growing
    _events: Events
    _updates: int  # events learned by `update` since the last fit or partial fit
    _means: dict[str, NDArray[Any] | None]  # mean vectors at the first event after a fit, a load or a change by hand

    factors: int
    init_scale: Any
    dtype: Any
    random_state: Any

    @property
    def user_factors(self) -> Reals | MaybeNone:
        """The users' vectors, read-only."""
        return self._whole("_users")

    @user_factors.setter
    def user_factors(self, vectors: Any) -> None:
        self._set("_users", "user_factors", vectors)

    @property
    def item_factors(self) -> Reals | MaybeNone:
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
        if len(log.users):
            refuse_copy(log.known, MERGED, "adding the events of update to those of the fit")
        merged = log.merged(len(snapshot._users), len(snapshot._items))
        with self._guard.lock:
            log.source.replace(log, merged)  # the next reader need not merge again
        return merged

    @interactions_.setter
    def interactions_(self, rows: CSR | None) -> None:
        with self._guard.writer:
            self._commit({"_events": None if rows is None else Events(rows)})

    @property
    def partial_share_(self) -> float:
        """The share of the interactions that the last fit did not see; each `update` counts as a new one."""
        state = self._snapshot().__dict__
        if "partial_share_" not in state and "_updates" not in state:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'partial_share_'")
        before: float = state.get("partial_share_", 0.0)
        updates: int = state.get("_updates", 0)
        if not updates:
            return before
        known = self.interactions_
        return min(1.0, before + (1 - before) * updates / max(1, 0 if known is None else len(known.data)))

    @partial_share_.setter
    def partial_share_(self, share: float) -> None:
        with self._guard.writer:
            self._commit({"partial_share_": share, "_updates": 0})

    def _assign(self, **state: Any) -> None:
        rows = state.pop("interactions_")
        state["_events"] = None if rows is None else Events(rows)
        for name, side in (("user_factors", "_users"), ("item_factors", "_items")):
            if name in state:
                state[side] = Growing(state.pop(name))
        super()._assign(_means={}, _slot=None, _updates=0, **state)

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
            if isinstance(rows := self.__dict__.get(side), Rows):  # not those that a partial fit has put there
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

    def _seen(self, users: NDArray[np.int64], user_items: Any, names: NDArray[Any] | None = None) -> CSR:
        log = self._snapshot().__dict__.get("_events")
        if user_items is None and log is not None:
            return log.of(users, len(self._items))  # type: ignore[no-any-return]
        return super()._seen(users, user_items, names)

    # Growth: new users start as the mean user, new items as the mean item with noise

    def _grow(self, n_users: int, n_items: int) -> tuple[dict[str, Any], int, int]:
        """Create the missing rows, or none if memory does not suffice; return what `_shrink` needs to undo it."""
        before = dict(self.__dict__)
        means = before.get("_means")
        if means:  # computed at the first event, after the checks
            users, items = self._users, self._items
        elif "_users" in before or "_items" in before:
            self._check_sides()  # shapes of vectors set by hand
            users, items = self._users, self._items
        else:
            self._check_params()
            users, items = (Growing(np.empty((0, self.factors), np.dtype(self.dtype))) for _ in range(2))
        counts = len(users), len(items)
        means = means or {"user": _mean(users), "item": _mean(items)}
        growing = [
            (kind, side, wanted) for kind, side, wanted in (("user", users, n_users), ("item", items, n_items))
            if wanted > len(side)
        ]  # fmt: skip
        try:
            new = [(side, self._newcomers(kind, side, wanted, means[kind])) for kind, side, wanted in growing]
            for side, vectors in new:
                side.reserve(len(vectors))
        except MemoryError:
            raise MemoryError(
                f"vectors for {n_users} users and {n_items} items do not fit in memory: number both from 0 without "
                "large gaps"
            ) from None
        for side, vectors in new:
            side.append(vectors)
        events = before.get("_events")
        if events is None:  # vectors set by hand: no known pairs
            events = Events(CSR(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, users.dtype), (0, 0)))
        self.__dict__.update(_users=users, _items=items, _means=means, _events=events)
        return before, *counts

    def _shrink(self, before: tuple[dict[str, Any], int, int] | None) -> None:
        """Undo `_grow`."""
        if before is None:
            return
        state, *counts = before
        for side, count in zip(("_users", "_items"), counts, strict=True):
            self.__dict__[side].truncate(count)
        self.__dict__.clear()
        self.__dict__.update(state)

    def _newcomers(self, kind: str, side: Growing, wanted: int, mean: NDArray[Any] | None) -> NDArray[Any]:
        """Return vectors for new users or items."""
        count, width = wanted - len(side), side.shape[1]
        if mean is not None and kind == "user":
            vectors = np.empty((count, width), side.dtype)
            vectors[:] = mean
            return vectors
        seed = self.random_state if isinstance(self.random_state, (int, np.integer)) else 0
        scale, stream = self._positive("init_scale"), ("user", "item").index(kind)
        if count == 1:
            noise = scale * hashed_row(int(seed), stream, len(side), width)[None]
        else:
            noise = scale * hashed_normal(int(seed), stream, np.arange(len(side), wanted), width)
        # Without noise, gradients of new items would be equal.
        vectors = (1 + noise) / math.sqrt(width) if mean is None else mean + math.sqrt(mean @ mean / width) * noise
        return np.asarray(vectors, side.dtype)

    def _positive(self, name: str) -> float:
        """Return a parameter, which may have been set by hand since the last check of all."""
        value = getattr(self, name)
        if not (type(value) is float and 0 < value < np.inf):
            RULES[name](name, value)
        return float(value)


def _mean(side: Growing) -> NDArray[Any] | None:
    """Return the mean vector; None if there are no vectors, or if it is 0."""
    mean = side.rows.mean(axis=0, dtype=np.float64) if len(side) else np.zeros(1)
    return mean if mean.any() else None
