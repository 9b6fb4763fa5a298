"""Stand-ins for other libraries, under their names and with their calls, over the kernels of alternant."""

from __future__ import annotations

import importlib
import pkgutil
import sys

STAND_INS = {"implicit": "alternant.compat.implicit", "lightfm": "alternant.compat.lightfm"}


def install(name: str) -> None:
    """Let ``import <name>`` import the stand-in, in this process.

    For libraries that import `name` themselves: call it before they are imported. It may be called again.

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
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        sys.modules[name + module.name.removeprefix(package.__name__)] = importlib.import_module(module.name)


__all__ = ["install"]
