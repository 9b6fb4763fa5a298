"""The columns of a file by role, given by name or position, with or without a header."""

from __future__ import annotations

from typing import Any

from ..._utils.messages import parameter, refusal

SEPARATORS = "\t;,|"  # those that are rarest within fields come first


class NameOrPosition(str):
    """A number as text: the column of that name or, if there is none, at that position."""


def asked_columns(user: Any, item: Any, value: Any, time: Any) -> dict[str, Any]:
    """Return the column of each role; raise if those of the ids are missing."""
    for role, column in (("user", user), ("item", item)):
        if column is None:
            raise refusal(TypeError, f"{parameter(role)} must be a column's name or position, got None")
    return {"user": user, "item": item, "value": value, "time": time}


def has_header(name: str, top: list[str], second: list[str] | None, positions: list[int]) -> bool:
    """Return True if the first line must be a header, with columns given by position; raise if it may be data."""
    numbers = [is_number(top[at]) for at in positions if 0 <= at < len(top)]
    below = [is_number(second[at]) for at in positions if second and 0 <= at < len(top) and at < len(second)]
    if any(numbers) or not any(below):
        raise _ambiguous(name, top)
    return True


def _ambiguous(name: str, top: list[str]) -> ValueError:
    return refusal(
        ValueError,
        f"the first line of {name!r} may be a header or data ({_sample(top)}), as columns are given by position: "
        f"pass {parameter('header', False)} if it is data, {parameter('header', True)} if not",
    )


def settle(name: str, roles: dict[str, Any], top: list[str], header: bool | None) -> dict[str, Any]:
    """Decide whether each `NameOrPosition` is a name, as it is if a column has that name, or a position."""
    unsure = [column for column in roles.values() if isinstance(column, NameOrPosition)]
    called = header is not False and any(column in top for column in unsure)
    if called and header is None and all(isinstance(column, (int, NameOrPosition)) for column in roles.values()):
        raise _ambiguous(name, top)
    return {
        role: int(column) if isinstance(column, NameOrPosition) and not (called and column in top) else column
        for role, column in roles.items()
    }


def find_columns(
    file: str, roles: dict[str, Any], names: list[str], header: bool = True, separator: str | None = None
) -> dict[str, int]:
    """Return the position of each role's column, all of them different; `separator` is that of a text file."""
    places: dict[str, int] = {}
    for role, column in roles.items():
        at = find_column(file, role, column, names, header, separator)
        for other, place in places.items():
            if place == at:
                raise refusal(
                    ValueError,
                    f"{parameter(role, column)} must be a different column of {file!r} than "
                    f"{parameter(other, roles[other])}, got the same for both",
                )
        places[role] = at
    return places


def find_column(
    file: str, role: str, column: Any, names: list[str], header: bool = True, separator: str | None = None
) -> int:
    """Return the position of a column given by name or position."""
    if isinstance(column, int) and not isinstance(column, bool):
        if 0 <= column < len(names):
            return column
        raise refusal(
            ValueError,
            f"{parameter(role, column)} must be a position from 0 to {len(names) - 1:,}: {file!r} has "
            f"{_sample(names)}{_other_separator(names, separator)}",
        )
    if not header or column not in names:
        hint = _other_separator(names, separator)
        if not hint and separator is not None and any(is_number(name) for name in names):
            no_header = parameter("header", False)
            hint = f" in its first line: if that is not a header, pass {no_header} and positions"
        raise refusal(ValueError, f"{parameter(role, column)} must be a column: {file!r} has {_sample(names)}{hint}")
    if names.count(column) > 1:
        position = parameter(role, names.index(column))
        advice = "rename them" if separator is None else f"pass a position, such as {position}"
        raise refusal(
            ValueError,
            f"{parameter(role, column)} must be one column, but {file!r} has {names.count(column)} of that name: "
            f"{advice}",
        )
    return names.index(column)


def _other_separator(names: list[str], separator: str | None) -> str:
    """Suggest another separator if it splits the first line into more fields."""
    if separator is None:
        return ""
    line = separator.join(names)
    best = max(SEPARATORS.replace(separator, ""), key=line.count)
    return f": pass {parameter('separator', best)}" if line.count(best) >= len(names) else ""


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _sample(names: list[str], limit: int = 12) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:limit])
    return f"{len(names):,} columns: {shown}, ..." if len(names) > limit else shown
