"""Search for good hyper-parameters, on Optuna (``pip install 'alternant[tune]'``)."""

from ._search import Trial, TuneResult, tune
from ._space import default_space

__all__ = ["Trial", "TuneResult", "default_space", "tune"]
