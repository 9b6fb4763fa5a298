"""Events that are appended to interactions: checks, and the merged pairs."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .ids import Ids
from .pairs import DuplicatePairError, EventTable, Pairs, merge_pairs
from .twins import known_twins, refuse_twins


class Appendable(Protocol):
    """The part of `Interactions` that is checked and merged."""

    _users: Ids
    _items: Ids

    @property
    def aggregate(self) -> str:
        """How several events of the same pair are combined."""

    @property
    def times(self) -> NDArray[Any] | None:
        """The time of the latest event of each pair."""

    @property
    def _pairs(self) -> Pairs:
        """The pairs."""


def check_appendable(old: Appendable, new: Appendable) -> None:
    """Raise unless `new` interactions can be appended to `old` ones."""
    if (old.times is None) != (new.times is None):
        raise ValueError(
            f"events must {'have no' if old.times is None else 'have'} times, like the interactions they are "
            "appended to"
        )
    if old.times is not None and new.times is not None:
        dates = [times.dtype.kind == "M" for times in (old.times, new.times)]
        if dates[0] != dates[1]:
            kinds = ["dates" if are_dates else "numbers" for are_dates in dates]
            raise TypeError(
                f"events must have times that are {kinds[0]}, like the interactions they are appended to, got "
                f"{kinds[1]}: convert them first"
            )
    if old.aggregate == "mean" and new.aggregate != "mean":
        raise ValueError(
            f"events must have aggregate='mean', like the interactions they are appended to, got "
            f"{new.aggregate!r}: a mean needs the number of events of each pair"
        )
    for kind, known, ids in (("user", old._users, new._users), ("item", old._items, new._items)):
        unknown = known.find(ids.values) < 0
        refuse_other_types("events", kind, known, ids.values[unknown].tolist(), not unknown.all())


def merge_appended(before: Appendable, after: Appendable) -> tuple[Pairs, Ids, Ids]:
    """Return the pairs of all events, and the ids of all users and of all items."""
    old, new = before._pairs.events(), after._pairs.events()
    users, rows = before._users.union(after._users)
    items, columns = before._items.union(after._items)
    both = EventTable(
        np.concatenate([old.users, rows[new.users]]),
        np.concatenate([old.items, columns[new.items]]),
        np.concatenate([before._pairs.matrix.data, after._pairs.matrix.data]),
        None if old.times is None or new.times is None else np.concatenate([old.times, new.times]),
        None if old.counts is None else np.concatenate([old.counts, new.each_count()]),
        np.concatenate([old.each_summed(), new.each_summed()]),
    )
    try:
        return merge_pairs(both, (len(users), len(items)), before.aggregate), users, items
    except DuplicatePairError as error:
        who, what = users.values.tolist()[both.users[error.row]], items.values.tolist()[both.items[error.row]]
        raise ValueError(
            f"every pair must occur once (aggregate='error'), but user {who!r} and item {what!r} are known already "
            f"({error.repeated} such pairs): nothing was appended"
        ) from None


def refuse_other_types(name: str, kind: str, known: Ids, new: list[Any], some_known: bool) -> None:
    """Raise if new ids seem to be known ones in another type: 1 and "1" would be two users.

    If no id is known and none has a known type, all are refused; otherwise, only new ids that are written like a known
    one of another type, or like each other.
    """
    types = known.types
    strange = [value for value in new if type(value) not in types] if types else []
    twins = strange
    if len(strange) < len(new) or some_known:
        twins = known_twins(known, new if len(types) > 1 else strange)
    if not twins:
        refuse_twins(name, new)
        return
    names = " or ".join(sorted(one.__name__ for one in types))
    more = f" and {len(twins) - 1} more" if len(twins) > 1 else ""
    raise TypeError(
        f"{name} must have {kind} ids of the known type, {names} (such as {known.values[:1].tolist()[0]!r}), got "
        f"{type(twins[0]).__name__} (such as {twins[0]!r}){more}, which would be a different {kind}: convert them "
        "first (in text files, ids are numbers if all of them are whole numbers, else strings)"
    )
