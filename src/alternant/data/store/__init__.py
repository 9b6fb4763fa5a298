"""Interactions larger than memory: a store on disk, and how sources are read into it."""

from .store import Store, StoreError

__all__ = ["Store", "StoreError"]
