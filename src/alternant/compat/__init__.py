"""Stand-ins for other libraries, under their names and with their calls, over the kernels of alternant."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import FunctionType

STAND_INS = {"implicit": "alternant.compat.implicit", "lightfm": "alternant.compat.lightfm"}


def install(name: str) -> None:
    """Let ``import <name>`` import the stand-in, in this process.

    For libraries that import `name` themselves: call it before they are imported, also in processes that are spawned.
    It may be called again, and cannot be undone, as libraries keep what they have imported.

    Parameters
    ----------
    name : {"implicit", "lightfm"}
        The library to stand in for.

    Raises
    ------
    ValueError
        If there is no stand-in of that name.
    ImportError
        If the library itself has been imported already: whoever has imported it would keep it.
    """
    if name not in STAND_INS:
        raise ValueError(f"name must be one of {', '.join(map(repr, STAND_INS))}, got {name!r}")
    package = importlib.import_module(STAND_INS[name])
    if sys.modules.get(name, package) is not package:
        raise ImportError(f"{name} has been imported already: call alternant.compat.install({name!r}) before that")
    sys.modules[name] = package
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module, public_name = importlib.import_module(found.name), name + found.name.removeprefix(package.__name__)
        sys.modules[public_name] = module
        # RecTools knows the functions that make models by the names of their modules. Classes keep theirs, so that
        # pickled models load in processes without `install`.
        for value in vars(module).values():
            if isinstance(value, FunctionType) and value.__name__[0].isupper() and value.__module__ == module.__name__:
                value.__module__ = public_name


__all__ = ["install"]
