"""Alternating least squares: the function that makes a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cpu import als as cpu
from .gpu import NO_GPU


def AlternatingLeastSquares(
    factors: int = 100,
    regularization: float = 0.01,
    alpha: float = 1.0,
    dtype: Any = np.float32,
    use_native: bool = True,
    use_cg: bool = True,
    use_gpu: bool = False,
    iterations: int = 15,
    calculate_training_loss: bool = False,
    num_threads: int = 0,
    random_state: Any = None,
) -> cpu.AlternatingLeastSquares:
    """Return an `alternant.compat.implicit.cpu.als.AlternatingLeastSquares`, which documents the parameters.

    Raises
    ------
    ValueError
        If `use_gpu` is set.
    """
    if use_gpu:
        raise ValueError(NO_GPU)
    return cpu.AlternatingLeastSquares(
        factors, regularization, alpha, dtype, use_native, use_cg, iterations, calculate_training_loss, num_threads,
        random_state,
    )  # fmt: skip
