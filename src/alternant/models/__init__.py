"""The models, one file each."""

from ._base import FactorModel, NotFittedError
from ._fit_loop import FitState
from ._least_squares import SingularRowError
from ._storage import ModelFileError
from .implicit_als import Explanation, ImplicitALS
from .popularity import Popularity

__all__ = [
    "Explanation",
    "FactorModel",
    "FitState",
    "ImplicitALS",
    "ModelFileError",
    "NotFittedError",
    "Popularity",
    "SingularRowError",
]
