"""Numerical thresholds of the solvers, in all backends. simd/thresholds.h has the same; a test holds the two equal."""

from __future__ import annotations

from typing import Final

import numpy as np

# Alternating least squares. A diagonal entry (or a Cholesky pivot) this small against the largest one is rounding error
# of the data, not data: the square of what the dtype resolves, with room for the sums.
ALS_SINGULAR: Final = {np.dtype(np.float32): 1e-13, np.dtype(np.float64): 1e-14}
# A row whose right-hand side b has b^T M^-1 b at most this becomes 0. Strong regularization shrinks some rows, such as
# an item whose only user has no other item, from iteration to iteration, until nothing but rounding error is left.
ALS_UNDERFLOW: Final = {np.dtype(np.float32): 1e-60, np.dtype(np.float64): 1e-300}
# A residual this small against the right-hand side is rounding error: no step improves on it.
ALS_ROUNDING: Final = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}
# Rows with smaller weights are not solved through the dual, which divides by their square roots.
ALS_SMALLEST_DUAL_WEIGHT: Final = 1e-20

# Non-negative least squares, always in float64. A Cholesky pivot this small against the largest diagonal entry is
# rounding error,
NNLS_SINGULAR: Final = 1e-14
# and so is an entry of the gradient this small against the terms of its sum.
NNLS_ROUNDING: Final = 1e-15
# Sweeps after which the step on the positive unknowns is tried even though their set still changes.
NNLS_SWEEPS: Final = 8
