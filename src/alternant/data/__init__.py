"""Interactions and features: ids, pairs and tables, and the matrices that models and kernels use."""

from .features import Features
from .interactions import Interactions
from .pairs import DuplicatePairError

__all__ = ["DuplicatePairError", "Features", "Interactions"]
