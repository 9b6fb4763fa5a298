"""Logistic matrix factorization: the function that makes a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cpu import lmf as cpu
from .gpu import NO_GPU


def LogisticMatrixFactorization(
    factors: int = 30,
    learning_rate: float = 1.0,
    regularization: float = 0.6,
    dtype: Any = np.float32,
    iterations: int = 30,
    neg_prop: int = 30,
    use_gpu: bool = False,
    num_threads: int = 0,
    random_state: Any = None,
) -> cpu.LogisticMatrixFactorization:
    """Return an `alternant.compat.implicit.cpu.lmf.LogisticMatrixFactorization`, which documents the parameters.

    Raises
    ------
    NotImplementedError
        If `use_gpu` is set.
    """
    if use_gpu:
        raise NotImplementedError(NO_GPU)
    return cpu.LogisticMatrixFactorization(
        factors, learning_rate, regularization, dtype, iterations, neg_prop, num_threads, random_state
    )
