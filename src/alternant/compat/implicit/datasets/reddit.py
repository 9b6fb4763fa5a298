"""Refused: `get_reddit` of implicit downloads the Reddit data set."""

from __future__ import annotations

from typing import Any, NoReturn

from . import refuse


def get_reddit(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - implicit's parameters
    """Refuse."""
    refuse("the Reddit data set")
