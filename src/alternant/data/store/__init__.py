"""Interactions larger than memory: a store on disk, and how sources are read into it."""

from .array_files import StoreError
from .store import Store

__all__ = ["Store", "StoreError"]
