"""Errors that know which parameters they mention, so that the command line can name its options instead.

Messages name parameters through `parameter`, and errors are made by `refusal`:

    raise refusal(ValueError, f"{parameter('k')} must be at least 1, got {k}")

Callers of the library read "k must be at least 1, got 0"; on the command line it is "-k must be at least 1, got 0".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

Refusal = TypeVar("Refusal", bound=Exception)
_MARK = "\x1f"  # encloses a parameter; values passed by users appear as their repr, which has no control characters


class Parameter(NamedTuple):
    """A parameter named in a message and, if the message states one, its value as written there."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


def parameter(name: str, *value: Any) -> str:
    """Return a parameter marked for use in a message, with a value (``header=False``) or without."""
    return _MARK + str(Parameter(name, *map(repr, value))) + _MARK


def refusal(kind: type[Refusal], message: str) -> Refusal:
    """Return an error with the texts and parameters of its message, and the name of the first one as `parameter`."""
    parts: list[str | Parameter] = list(message.split(_MARK))
    for at in range(1, len(parts), 2):
        name, equals, value = str(parts[at]).partition("=")
        parts[at] = Parameter(name, value if equals else None)
    return _refusal(kind, parts)


def about(error: Refusal, before: str) -> Refusal:
    """Return the same error with a text before its message, such as the file it is about."""
    return _refusal(type(error), [before, *getattr(error, "message_parts", [str(error)])])


def message_of(error: BaseException, name: Callable[[Parameter], str]) -> str:
    """Return the message of any error, with its parameters named by `name`."""
    parts = getattr(error, "message_parts", None) or [str(error)]
    return "".join(name(part) if isinstance(part, Parameter) else part for part in parts)


def _refusal(kind: type[Refusal], parts: list[str | Parameter]) -> Refusal:
    error = kind("".join(map(str, parts)))
    named = [part.name for part in parts if isinstance(part, Parameter)]
    vars(error).update(message_parts=parts, parameter=named[0] if named else None)
    return error
