"""Errors that know which parameters they speak of, so that the command line can name its options instead.

A message is written with `parameter` wherever it names one, and raised through `refusal`:

    raise refusal(ValueError, f"{parameter('k')} must be at least 1, got {k}")

It reads "k must be at least 1, got 0" to whoever calls the library and "-k must be at least 1, got 0" on the command
line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

Refusal = TypeVar("Refusal", bound=Exception)
_MARK = "\x1f"  # around a parameter; what users pass is shown by its repr, which has no control characters


class Parameter(NamedTuple):
    """A parameter that a message names, and the value that it gives for it, as it is written there, if any."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


def parameter(name: str, *value: Any) -> str:
    """Return how a message names a parameter, with a value (``header=False``) or without."""
    return _MARK + str(Parameter(name, *map(repr, value))) + _MARK


def refusal(kind: type[Refusal], message: str) -> Refusal:
    """Return an error that knows the texts and parameters of its message, and as `parameter` the name of the first."""
    parts: list[str | Parameter] = list(message.split(_MARK))
    for at in range(1, len(parts), 2):
        name, equals, value = str(parts[at]).partition("=")
        parts[at] = Parameter(name, value if equals else None)
    return _refusal(kind, parts)


def about(error: Refusal, before: str) -> Refusal:
    """Return the same error with a text before its message: which file it is about, say."""
    return _refusal(type(error), [before, *getattr(error, "message_parts", [str(error)])])


def message_of(error: BaseException, name: Callable[[Parameter], str]) -> str:
    """Return the message of any error, with `name` saying what its parameters are called."""
    parts = getattr(error, "message_parts", None) or [str(error)]
    return "".join(name(part) if isinstance(part, Parameter) else part for part in parts)


def _refusal(kind: type[Refusal], parts: list[str | Parameter]) -> Refusal:
    error = kind("".join(map(str, parts)))
    named = [part.name for part in parts if isinstance(part, Parameter)]
    vars(error).update(message_parts=parts, parameter=named[0] if named else None)
    return error
