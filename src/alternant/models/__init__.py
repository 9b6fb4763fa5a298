"""The models, one file each. Names in `__all__` are public in `alternant`; `MODELS` is the registry made from them."""

import re

from ._base import FactorModel, NotFittedError
from ._fit_loop import FitState
from ._storage import ModelFileError
from ._traits import Traits
from .als.explanation import Explanation
from .als.problems import SingularRowError
from .biased_mf import BiasedMF
from .blend import Blend
from .bpr import BPR
from .contrastive_mf import ContrastiveMF
from .cosine_mf import CosineMF
from .ease import EASE
from .explicit_als import ExplicitALS
from .implicit_als import ImplicitALS
from .item_knn import ItemKNN
from .logistic_mf import LogisticMF
from .popularity import Popularity

__all__ = [
    "BPR",
    "BiasedMF",
    "Blend",
    "ContrastiveMF",
    "CosineMF",
    "EASE",
    "Explanation",
    "ExplicitALS",
    "FactorModel",
    "FitState",
    "ImplicitALS",
    "ItemKNN",
    "LogisticMF",
    "ModelFileError",
    "NotFittedError",
    "Popularity",
    "SingularRowError",
    "Traits",
]


def _models() -> dict[str, type[FactorModel]]:
    """Return the public models by their names on the command line: ImplicitALS is implicit-als."""
    models = {}
    for name in __all__:
        model = globals()[name]
        if isinstance(model, type) and issubclass(model, FactorModel) and model is not FactorModel:
            models[re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()] = model
    return models


MODELS = _models()
