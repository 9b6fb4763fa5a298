"""The models, one file each."""

from ._base import FactorModel, NotFittedError
from ._fit_loop import FitState
from ._storage import ModelFileError
from .als.explanation import Explanation
from .als.half_sweep import SingularRowError
from .biased_mf import BiasedMF
from .cosine_mf import CosineMF
from .explicit_als import ExplicitALS
from .implicit_als import ImplicitALS
from .logistic_mf import LogisticMF
from .popularity import Popularity

__all__ = [
    "BiasedMF",
    "CosineMF",
    "Explanation",
    "ExplicitALS",
    "FactorModel",
    "FitState",
    "ImplicitALS",
    "LogisticMF",
    "ModelFileError",
    "NotFittedError",
    "Popularity",
    "SingularRowError",
]
