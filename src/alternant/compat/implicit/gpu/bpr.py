"""The class that libraries compare models with; no model is one."""

from __future__ import annotations

from typing import Any

from . import NO_GPU


class BayesianPersonalizedRanking:
    """Can be imported, but not constructed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 - implicit's parameters
        raise ValueError(NO_GPU)
