"""The mean and the standard deviation of ratings, and the penalty of factors and biases."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import blocked_sum, blocks_of, entry_blocks, release
from ..._utils.threads import weighted_sum
from ...kernels import Factors

DEVIATION_BLOCK = 1 << 16


def mean_and_deviation(values: NDArray[Any], dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the mean and the standard deviation, in float64, of values that are rounded to `dtype` first.

    They are computed in blocks: values may be memory-mapped, and NumPy would copy the whole array twice.
    """
    mean, total = blocked_sum(np.asarray(part, dtype) for part in entry_blocks(values)) / len(values), 0.0
    for start in range(0, len(values), DEVIATION_BLOCK):
        part = values[start : start + DEVIATION_BLOCK]
        total += float(np.square(np.asarray(part, dtype) - np.float64(mean)).sum())
        release(part)
    return mean, float(np.sqrt(total / len(values)))


def penalty(
    factors: Factors, row_counts: NDArray[np.int64], column_counts: NDArray[np.int64], rows: float, columns: float,
    biases: float,
) -> float:  # fmt: skip
    """Sum ``lambda_x |x_u|^2 + lambda_b b_u^2`` over both sides, once for every entry of a row or column."""
    X, Y, b, c = factors
    total = 0.0
    for counts, side, bias, weight in ((row_counts, X, b, rows), (column_counts, Y, c, columns)):
        norms = squared_norms(side)
        total += weighted_sum(counts, weight * norms + biases * np.square(bias, dtype=np.float64))
    return total


def squared_norms(side: NDArray[Any]) -> NDArray[np.float64]:
    """Return the squared length of each row, in float64; the side may be in a file."""
    norms = np.empty(len(side))
    for part in blocks_of(side):
        np.einsum("uf,uf->u", side[part], side[part], dtype=np.float64, out=norms[part])
        release(side[part])
    return norms
