"""Matrix-factorization recommenders whose hot loops run at the speed of the hardware."""

from importlib.metadata import version as _version

from . import datasets, evaluation, kernels, models
from .data.interactions import Interactions
from .kernels import backend_info, set_backend, use_backend
from .models import *  # noqa: F403

__version__ = _version("alternant")

__all__ = [
    "Interactions",
    "backend_info",
    "datasets",
    "evaluation",
    "kernels",
    "set_backend",
    "use_backend",
]
__all__ += models.__all__
