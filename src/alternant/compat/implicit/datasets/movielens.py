"""Refused: `get_movielens` of implicit downloads MovieLens."""

from __future__ import annotations

from typing import Any, NoReturn

from . import refuse


def get_movielens(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - implicit's parameters
    """Refuse."""
    refuse("MovieLens")
