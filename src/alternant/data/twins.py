"""Twins: ids of different types that are written the same (1, "1" and b"1"), which would be two users by mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .._utils.messages import refusal
from .values import object_array, plain

if TYPE_CHECKING:
    from .ids import Ids

READERS: dict[type, Callable[[str], Any]] = {
    str: str, bytes: str.encode, int: int, float: float, Decimal: Decimal, UUID: UUID,
    date: date.fromisoformat, datetime: datetime.fromisoformat,
}  # fmt: skip


def texts(value: Any) -> tuple[str, ...]:
    """Return the texts that an id may be written as; none for types without a usual one, such as tuples."""
    value = plain("ids", value)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, bytes):
        return (value.decode("utf-8", "surrogateescape"),)
    if isinstance(value, datetime):
        written = value.isoformat()
        midnight = (written[:10],) if value.time() == time() and value.tzinfo is None else ()
        return (written, written.replace("T", " "), *midnight)
    if isinstance(value, date):
        return (value.isoformat(),)
    if isinstance(value, Decimal) and value.is_finite():
        return tuple({str(value), format(value.normalize(), "f")})
    return (str(value),) if isinstance(value, (int, float, Decimal, UUID)) else ()


def known_twins(known: Ids, values: Iterable[Any]) -> list[Any]:
    """Return the values that are written like a known id of another type.

    The text of each value is parsed as every known type, so that no index of all texts is needed.
    """
    written = [(value, text) for value in values for text in texts(value)]
    twins: list[Any] = []
    for kind in READERS.keys() & known.types:
        others = [(value, text, _read(kind, text)) for value, text in written if type(value) is not kind]
        others = [one for one in others if one[2] is not None]
        if not others:
            continue
        numbers = known.find(object_array([read for *_, read in others])).tolist()
        ids = known.values
        twins += [
            value for (value, text, _), number in zip(others, numbers, strict=True)
            if number >= 0 and text in texts(other := ids[number : number + 1].tolist()[0])
            and type(other) is not type(plain("ids", value))
        ]  # fmt: skip
    return list(dict.fromkeys(twins))


def refuse_twins(name: str, ids: list[Any]) -> None:
    """Raise if two of the ids are written the same but have different types."""
    if len(set(map(type, ids))) < 2:
        return
    seen: dict[str, Any] = {}
    for one in ids:
        for text in texts(one):
            other = seen.setdefault(text, one)
            if type(other) is not type(one):
                raise refusal(
                    TypeError,
                    f"{name} must not mix types of ids that are written the same, got {other!r} and {one!r}, which "
                    "would be two different ids: convert them first",
                )


def _read(kind: type, text: str) -> Any:
    """Parse a text as a value of a type; None if it is not one."""
    try:
        return READERS[kind](text)
    except (ArithmeticError, ValueError):
        return None
