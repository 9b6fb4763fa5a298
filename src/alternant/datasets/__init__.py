"""Data sets: real interactions that ship with the package, and planted data with known factors."""

from .msweb import MSWeb, load_msweb
from .planted import Planted, planted

__all__ = ["MSWeb", "Planted", "load_msweb", "planted"]
