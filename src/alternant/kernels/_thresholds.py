"""Numerical thresholds of the solvers, for all backends. A test checks that simd/thresholds.h has the same values."""

from __future__ import annotations

from typing import Final

import numpy as np

# Alternating least squares. A diagonal entry (or Cholesky pivot) at most this times the largest one is rounding error:
# the square of float32's epsilon, or the epsilon of float64 (in which sums are formed), with a margin.
ALS_SINGULAR: Final = {np.dtype(np.float32): 1e-13, np.dtype(np.float64): 1e-14}
# A row is set to 0 if b^T M^-1 b (right-hand side b, preconditioner M) is at most this. Strong regularization shrinks
# some rows, such as an item whose only user has no other item, in every iteration until only rounding error is left.
ALS_UNDERFLOW: Final = {np.dtype(np.float32): 1e-60, np.dtype(np.float64): 1e-300}
# A residual this small relative to the right-hand side is rounding error: further steps do not reduce it.
ALS_ROUNDING: Final = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}
# Rows with smaller weights are not solved through the dual, which divides by their square roots.
ALS_SMALLEST_DUAL_WEIGHT: Final = 1e-20

# Non-negative least squares, always in float64. A Cholesky pivot at most this times the largest diagonal entry is
# rounding error.
NNLS_SINGULAR: Final = 1e-14
# A gradient entry this small relative to the terms of its sum is rounding error, too.
NNLS_ROUNDING: Final = 1e-15
# The step on the positive unknowns is tried every so many sweeps even if their set still changes.
NNLS_SWEEPS: Final = 8

# Pairwise steps. So many candidates for the negative of an entry are drawn before the entry is left out: a row that has
# nearly all columns would be searched for long.
PAIRWISE_CANDIDATES: Final = 100
