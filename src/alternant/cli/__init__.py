"""The command ``alternant``."""

from .app import main

__all__ = ["main"]
