"""A web page of a model: lists for a user or for picked items, similar items and explanations.

``alternant serve`` starts it; `make_server` is for programs. Everything runs on the standard library.
"""

from .catalogue import Catalogue
from .server import Server, make_server

__all__ = ["Catalogue", "Server", "make_server"]
