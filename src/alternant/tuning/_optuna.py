"""Import of the optional dependency Optuna, and its log level."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any


def load() -> Any:
    """Import and return Optuna."""
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise ImportError(
            f"tune needs Optuna, which cannot be imported ({error}): pip install 'alternant[tune]' (or optuna)"
        ) from None


@contextlib.contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Suppress Optuna's log messages below ERROR within the context."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.ERROR))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
