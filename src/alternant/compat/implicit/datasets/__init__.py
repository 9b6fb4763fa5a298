"""The data sets of implicit, which are refused: they are downloads of implicit's own."""

from __future__ import annotations

from typing import NoReturn


def refuse(name: str) -> NoReturn:
    """Raise NotImplementedError, in a sentence that says how to get data."""
    raise NotImplementedError(
        f"alternant does not download {name}: read the file with alternant.Interactions.from_file, or use "
        "alternant.datasets.load_msweb"
    )
