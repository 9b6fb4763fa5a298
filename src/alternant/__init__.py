"""Matrix-factorization recommenders whose hot loops run at the speed of the hardware."""

import logging as _logging
import typing as _t

from . import datasets, evaluation, kernels, models
from .data.events import Events
from .data.features import Features
from .data.interactions import Interactions
from .kernels import backend_info, set_backend, use_backend
from .models import *  # noqa: F403
from .planning import Plan, plan

__all__ = [
    "Events",
    "Features",
    "Interactions",
    "Plan",
    "backend_info",
    "datasets",
    "evaluation",
    "kernels",
    "plan",
    "set_backend",
    "use_backend",
]
__all__ += models.__all__

_logging.getLogger("alternant").addHandler(_logging.NullHandler())  # quiet, unless the program asks for messages


if _t.TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        if name == "__version__":  # on demand: importing importlib.metadata takes 30 ms
            from importlib.metadata import version

            return version("alternant")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
