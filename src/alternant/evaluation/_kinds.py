"""Train-test splits of `Events` that hold out pairs of one kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast, overload

import numpy as np
from numpy.typing import NDArray

from ..data import internals
from ..data.events import Events
from ..data.interactions import Interactions
from ..data.io.columns import to_datetime
from ._blocked import blocked_split
from .splits import (
    HeldOutUsers,
    hold_out_users,
    leave_k_out,
    leave_last_out,
    leave_one_out,
    random_split,
    split_by_time,
)

SPLITS = (leave_one_out, leave_k_out, leave_last_out, random_split, blocked_split, split_by_time, hold_out_users)


class HeldOutEvents(NamedTuple):
    """The result of `split_kind` with `hold_out_users`; all parts have all users and items."""

    train: Events
    fold_in: Events
    test: Interactions
    users: NDArray[Any]


@overload
def split_kind(
    events: Events, kind: Any, split: Callable[..., HeldOutUsers[Any]], **options: Any
) -> HeldOutEvents: ...
@overload
def split_kind(
    events: Events, kind: Any, split: Callable[..., tuple[Any, Any]] = ..., **options: Any
) -> tuple[Events, Interactions]: ...
def split_kind(events: Events, kind: Any, split: Callable[..., Any] = random_split, **options: Any) -> Any:
    """Hold out pairs of one kind, and leave their events of all other kinds out of the training data, too.

    Fit on ``train.interactions(weights)``, then ``evaluate(model, test)``, with `hold_out_users` also with
    ``user_items=fold_in.interactions(weights)``.

    Parameters
    ----------
    events : Events
        Left unchanged.
    kind : a kind of the events
        The kind to predict.
    split : {random_split, blocked_split, leave_one_out, leave_k_out, leave_last_out, split_by_time, hold_out_users}
        Which pairs of that kind are held out. With `leave_last_out`, events of the user after the first held-out one
        are also left out of the training data, and with `split_by_time` all events from ``at`` (by default, the first
        held-out one) on: they have not happened yet.
    **options
        Arguments of `split`, such as ``fraction`` and ``random_state``.

    Returns
    -------
    train : Events
        With all users, items and kinds, and no event of a pair in `test`.
    test : Interactions
        Held-out pairs of the kind, with all users and items.

    With `hold_out_users`, a `HeldOutEvents`: ``train``, the events of all other users; ``fold_in``, those of the
    held-out users without the pairs of ``test``; ``test``; and ``users``, the ids of the held-out users.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid, or no event is left to train on.

    Examples
    --------
    >>> from alternant import Events
    >>> from alternant.evaluation import leave_one_out, split_kind
    >>> events = Events.from_arrays(list("aaab"), list("xyzx"), ["view", "buy", "buy", "view"])
    >>> train, test = split_kind(events, "buy", leave_one_out, random_state=0)
    >>> len(train), test.nnz
    (3, 1)
    """
    if not isinstance(events, Events):
        raise TypeError(f"events must be Events, got {type(events).__name__}: for Interactions, call the split itself")
    if split not in SPLITS:
        names = ", ".join(one.__name__ for one in SPLITS)
        raise ValueError(f"split must be one of the functions {names}, got {getattr(split, '__name__', split)!r}")
    if "times" in options:
        raise TypeError("split_kind takes the times of the events, got times=: pass time= to Events.from_frame instead")
    if split in (leave_last_out, split_by_time) and events.times is None:
        raise ValueError(f"{split.__name__} needs times, and these events have none: pass time= to Events.from_frame")
    if split is hold_out_users:
        return _hold_out_users(events, kind, options)
    _, test = cast("tuple[Any, Interactions]", split(events.of_kind(kind), **options))
    train = events.without(test)
    if split in (leave_last_out, split_by_time):
        per_user = split is leave_last_out
        kept = _before_each_users(train, test) if per_user else _before(train, test, options.get("at"))
        train = internals.select_events(train, kept)
    if len(train) == 0:
        raise ValueError("train must have events, but all are of held-out pairs or later than these: hold out fewer")
    return train, test


def _hold_out_users(events: Events, kind: Any, options: dict[str, Any]) -> HeldOutEvents:
    parts = hold_out_users(events.of_kind(kind), **options)
    held_out = internals.has_users(events, parts.users)
    train, theirs = (internals.select_events(events, mask) for mask in (~held_out, held_out))
    return HeldOutEvents(
        train, theirs.without(parts.test), parts.test.reindex(users=events.user_ids), parts.users
    )


def _before(train: Events, test: Interactions, at: Any) -> NDArray[np.bool_]:
    """Return which events had happened at a point in time, by default that of the first held-out one."""
    times, held = train.times, test.times
    assert times is not None
    assert held is not None
    start = held.min() if at is None else to_datetime(at) if times.dtype.kind == "M" else at
    return np.asarray(times < start)


def _before_each_users(train: Events, test: Interactions) -> NDArray[np.bool_]:
    """Return which events are of a user without held-out ones, or had happened when the first of these did."""
    times, held = train.times, test.times
    assert times is not None
    assert held is not None
    users, starts = np.unique(internals.positions(test)[0], return_index=True)
    first = np.minimum.reduceat(held, starts)
    owner = internals.users_of(train)
    at = np.searchsorted(users, owner).clip(max=len(users) - 1)
    return np.asarray((users[at] != owner) | (times <= first[at]))
