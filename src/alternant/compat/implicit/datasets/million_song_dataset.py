"""Refused: `get_msd_taste_profile` of implicit downloads the taste profiles of the Million Song Dataset."""

from __future__ import annotations

from typing import Any, NoReturn

from . import refuse


def get_msd_taste_profile(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - implicit's parameters
    """Refuse."""
    refuse("the taste profiles of the Million Song Dataset")
