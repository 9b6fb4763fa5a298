"""Refused: `get_lastfm` of implicit downloads the last.fm 360K data set."""

from __future__ import annotations

from typing import Any, NoReturn

from . import refuse


def get_lastfm(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - implicit's parameters
    """Refuse."""
    refuse("the last.fm 360K data set")
