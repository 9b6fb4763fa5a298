"""What must hold of interactions that are appended to others."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from .ids import Ids


class Appendable(Protocol):
    """What is looked at of `Interactions`."""

    aggregate: str
    _users: Ids
    _items: Ids

    @property
    def times(self) -> NDArray[Any] | None:
        """The time of the latest event of every pair."""


def check_appendable(old: Appendable, new: Appendable) -> None:
    """Raise if the new ones are not like the old ones."""
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
            f"{new.aggregate!r}: a mean needs to know of how many events"
        )
    _refuse_other_types("user", old._users, new._users)
    _refuse_other_types("item", old._items, new._items)


def _refuse_other_types(kind: str, old: Ids, new: Ids) -> None:
    """Refuse ids of which none can be one of the old ones: 1 and "1" would be two users."""
    types = [_types(ids) for ids in (old, new)]
    if not types[0] or not types[1] or types[0] & types[1] or (old.find(new.values) >= 0).any():
        return
    known, found = (
        f"{' and '.join(sorted(one.__name__ for one in ones))} (such as {ids.values[:1].tolist()[0]!r})"
        for ids, ones in zip((old, new), types, strict=True)
    )
    raise TypeError(
        f"events must have {kind} ids of the known type, {known}, got {found}, so that all of them would be new: "
        "convert them first (in a file of text, ids are numbers where all of them are whole numbers, else strings)"
    )


def _types(ids: Ids) -> set[type]:
    if ids.are_numbers:
        return {int} if len(ids) else set()
    return {type(value) for value in ids.values.tolist()}
