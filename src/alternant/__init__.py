"""Matrix-factorization recommenders whose hot loops run at the speed of the hardware."""

from importlib.metadata import version as _version

from . import datasets, evaluation, kernels
from .data.interactions import Interactions
from .kernels import backend_info, set_backend, use_backend
from .models import BiasedMF, CosineMF, ExplicitALS, ImplicitALS, LogisticMF, Popularity

__version__ = _version("alternant")

__all__ = [
    "BiasedMF",
    "CosineMF",
    "ExplicitALS",
    "ImplicitALS",
    "Interactions",
    "LogisticMF",
    "Popularity",
    "backend_info",
    "datasets",
    "evaluation",
    "kernels",
    "set_backend",
    "use_backend",
]
