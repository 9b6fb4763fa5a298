"""Bayesian personalized ranking: the function that makes a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cpu import bpr as cpu
from .gpu import NO_GPU


def BayesianPersonalizedRanking(
    factors: int = 100,
    learning_rate: float = 0.01,
    regularization: float = 0.01,
    dtype: Any = np.float32,
    iterations: int = 100,
    use_gpu: bool = False,
    num_threads: int = 0,
    verify_negative_samples: bool = True,
    random_state: Any = None,
) -> cpu.BayesianPersonalizedRanking:
    """Return an `alternant.compat.implicit.cpu.bpr.BayesianPersonalizedRanking`, which documents the parameters.

    Raises
    ------
    NotImplementedError
        If `use_gpu` is set.
    """
    if use_gpu:
        raise NotImplementedError(NO_GPU)
    return cpu.BayesianPersonalizedRanking(
        factors, learning_rate, regularization, dtype, iterations, num_threads, verify_negative_samples, random_state
    )
