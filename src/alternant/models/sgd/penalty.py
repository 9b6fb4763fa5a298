"""The standard deviation of ratings, and the penalty of factors and biases."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.threads import weighted_sum
from ...kernels import Factors

DEVIATION_BLOCK = 1 << 16


def deviation(values: NDArray[Any]) -> float:
    """Return the standard deviation in float64, computed in blocks: NumPy would copy the whole array twice."""
    mean, total = values.mean(dtype=np.float64), 0.0
    for start in range(0, len(values), DEVIATION_BLOCK):
        total += float(np.square(values[start : start + DEVIATION_BLOCK] - mean).sum())
    return float(np.sqrt(total / len(values)))


def penalty(
    factors: Factors, row_counts: NDArray[np.int64], column_counts: NDArray[np.int64], rows: float, columns: float,
    biases: float,
) -> float:  # fmt: skip
    """Sum ``lambda_x |x_u|^2 + lambda_b b_u^2`` over both sides, once for every entry of a row or column."""
    X, Y, b, c = factors
    total = 0.0
    for counts, side, bias, weight in ((row_counts, X, b, rows), (column_counts, Y, c, columns)):
        norms = np.einsum("uf,uf->u", side, side, dtype=np.float64)
        total += weighted_sum(counts, weight * norms + biases * np.square(bias, dtype=np.float64))
    return total
