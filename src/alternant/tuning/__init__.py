"""Hyper-parameter search under a budget of fits, with Optuna (``pip install 'alternant[tune]'``)."""

from ._defaults import default_space
from ._result import Comparison, Trial, TuneResult
from ._search import tune

__all__ = ["Comparison", "Trial", "TuneResult", "default_space", "tune"]
