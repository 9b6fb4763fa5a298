"""Refused: `get_sketchfab` of implicit downloads the Sketchfab data set."""

from __future__ import annotations

from typing import Any, NoReturn

from . import refuse


def get_sketchfab(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - implicit's parameters
    """Refuse."""
    refuse("the Sketchfab data set")
