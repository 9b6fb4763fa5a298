"""The models, one file each. The names in `__all__` are public in `alternant`; its models have commands and spaces."""

import re

from ._base import FactorModel, NotFittedError
from ._fit_loop import FitState
from ._storage import ModelFileError
from ._traits import Traits
from .als.explanation import Explanation
from .als.half_sweep import SingularRowError
from .biased_mf import BiasedMF
from .cosine_mf import CosineMF
from .ease import EASE
from .explicit_als import ExplicitALS
from .implicit_als import ImplicitALS
from .logistic_mf import LogisticMF
from .popularity import Popularity

__all__ = [
    "BiasedMF",
    "CosineMF",
    "EASE",
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
    "Traits",
]


def _models() -> dict[str, type[FactorModel]]:
    """Return the public models by what the command line calls them: ImplicitALS is implicit-als."""
    found = {}
    for name in __all__:
        model = globals()[name]
        if isinstance(model, type) and issubclass(model, FactorModel) and model is not FactorModel:
            found[re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()] = model
    return found


MODELS = _models()
