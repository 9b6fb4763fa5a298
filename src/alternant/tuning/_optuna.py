"""Optuna, which is an extra: imported when it is needed, and kept quiet."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any


def load() -> Any:
    """Return the module."""
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise ImportError(
            f"tune needs Optuna, which can't be imported ({error}): pip install 'alternant[tune]' (or optuna)"
        ) from None


@contextlib.contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna's lines about each trial from stderr; errors pass, and the level is what it was afterwards."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.ERROR))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
