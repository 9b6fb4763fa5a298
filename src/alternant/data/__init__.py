"""Interactions and features: ids, pairs and tables, and the matrices that models and kernels use."""

from .features import Features
from .interactions import Interactions
from .pairs import DuplicatePairError
from .weights import bm25_weight, tfidf_weight

__all__ = ["DuplicatePairError", "Features", "Interactions", "bm25_weight", "tfidf_weight"]
