"""The columns of events, from a frame or from arrays: ids, values, times and kinds, converted and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.messages import parameter
from . import columns as convert
from . import frames


@dataclass(frozen=True)
class EventColumns:
    """Columns of equal length, and their names in messages by role."""

    users: Any
    items: Any
    values: NDArray[Any] | None
    times: tuple[NDArray[Any], NDArray[np.bool_]] | None
    kinds: Any
    names: dict[str, str]


def columns_of_frame(table: Any, asked: dict[str, Any]) -> EventColumns:
    """Return the columns of an opened frame; `asked` is the column of each role, or None."""
    needed = {role: at for role, at in asked.items() if at is not None or role in ("user", "item")}
    places = {role: frames.find_column(table, role, at) for role, at in needed.items()}
    for role, other in (("user", "item"), ("user", "kind"), ("item", "kind")):
        if other in places and places[role] == places[other]:
            raise ValueError(
                f"{role} and {other} must be different columns, got {table.columns[places[role]]!r} for both"
            )
    names = {role: f"column {table.columns[at]!r}" for role, at in places.items()}
    numbers = when = None
    if "value" in places:
        at = places["value"]
        numbers = convert.number_column(parameter("value", table.columns[at]), table[:, at])
    if "time" in places:
        at = places["time"]
        when = convert.time_column(parameter("time", table.columns[at]), table[:, at])
    ids = {role: convert.id_column(names[role], table[:, places[role]]) for role in ("user", "item", "kind")
           if role in places}  # fmt: skip
    return EventColumns(ids["user"], ids["item"], numbers, when, ids.get("kind"), names)


def columns_of_arrays(users: Any, items: Any, values: Any, times: Any, kinds: Any = None) -> EventColumns:
    """Return columns given as arrays or lists."""
    given = {"users": users, "items": items, "kinds": kinds}
    ids = {name: convert.id_column(name, one) for name, one in given.items() if name != "kinds" or one is not None}
    numbers = None if values is None else convert.number_column("values", values)
    when = None if times is None else convert.time_column("times", times)
    lengths = {name: len(one) for name, one in ids.items()}
    lengths |= {} if numbers is None else {"values": len(numbers)}
    lengths |= {} if when is None else {"times": len(when[0])}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise ValueError(f"all arrays must have the same length, one element per event, got {found}")
    names = {"user": "users", "item": "items", "value": "values", "time": "times", "kind": "kinds"}
    return EventColumns(ids["users"], ids["items"], numbers, when, ids.get("kinds"), names)
