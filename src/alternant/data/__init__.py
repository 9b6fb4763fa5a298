"""Interactions, events and features: ids, pairs and tables, and the matrices that models and kernels use."""

from .events import Events
from .features import Features
from .interactions import Interactions
from .pairs import DuplicatePairError
from .weights import bm25_weight, tfidf_weight

__all__ = ["DuplicatePairError", "Events", "Features", "Interactions", "bm25_weight", "tfidf_weight"]
