"""The former location of `Interactions`; `alternant.Interactions` is the same class."""

from .data import DuplicatePairError, Interactions

__all__ = ["DuplicatePairError", "Interactions"]
