"""The data sets of LightFM, which are refused: they are downloads."""

from __future__ import annotations

from typing import Any, NoReturn


def fetch_movielens(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - LightFM's parameters
    """Refuse."""
    _refuse("MovieLens")


def fetch_stackexchange(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001
    """Refuse."""
    _refuse("StackExchange")


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(
        f"alternant does not download {name}: read the file with alternant.Interactions.from_file, or use "
        "alternant.datasets.load_msweb"
    )
