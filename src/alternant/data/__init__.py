"""Interactions: ids, pairs and tables, and the matrices that models and kernels use."""

from .interactions import Interactions
from .pairs import DuplicatePairError

__all__ = ["DuplicatePairError", "Interactions"]
