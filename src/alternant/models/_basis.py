"""Coordinates in which the dense part of the row problems of `_least_squares` is diagonal.

``X' = X T`` and ``Y' = Y T^-T`` leave every prediction ``x_u . y_i`` as it is. There are two T of use:

- the eigenvectors Q of the dense part ``w0 Y^T Y = Q diag(g) Q^T``, whatever the lambdas are. They take about 9 f^3
  operations, most of them bound by memory;
- the Cholesky factor L of ``w0 Y^T Y + lambda I``, where all rows have one lambda: then g is 1, and lambda is in it.
  That takes 2/3 f^3 operations, and products with L and its inverse half of those with Q. Conjugate gradients,
  preconditioned by the dense part, take the same steps in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from .._memory import CACHE_LINE, Pool
from .._threads import single_threaded_blas
from ._solver import Solver

# A fixed side of more bytes than this is read from memory or the last cache. There it is kept in 16 bits a number and a
# step a row, which moves the objective of a half-sweep by 1e-9, where the rows are left as early as they may be.
COARSE_BYTES = 1 << 22
COARSE_TOL = 0.05
# A step is a part of a row's greatest number: columns of so much less variance would lose digits.
COARSE_CONDITION = 1e4
# A row of fewer columns is a cache line or two anyway.
COARSE_COLUMNS = 32
# A Cholesky factor of a greater condition number times the dtype's resolution would lose too many digits.
ILL_CONDITIONED = 1e-3


class Product:
    """What rows are multiplied by; see `alternant.kernels.multiply` for the shapes."""

    def __init__(self, matrix: NDArray[np.float64], dtype: np.dtype[Any], shape: str = "full") -> None:
        self.matrix = np.ascontiguousarray(matrix, dtype)
        self.shape = shape

    def __call__(
        self, rows: NDArray[Any], out: NDArray[Any], solver: Solver, step: NDArray[np.float32] | None = None
    ) -> None:
        """Write ``rows @ matrix`` to `out`, which may be `rows` unless the matrix is an upper triangle."""
        solver.backend.multiply(rows, self.matrix, out, self.shape, solver.num_threads, step)


@dataclass(frozen=True)
class Basis:
    """The fixed side in the coordinates of the solved one.

    For conjugate gradients each row is filled up with zeros to whole cache lines, so that they read it where it is.
    Solutions are 0 there, whatever g is.
    """

    factors: NDArray[Any]  # Y', or in whole steps
    diagonal: NDArray[Any]  # g
    there: Product | None = None  # T; None: the identity
    back: Product | None = None  # its inverse
    with_lambda: bool = False  # whether lambda is in g
    step: NDArray[np.float32] | None = None  # of each row, if they are kept in whole steps

    @classmethod
    def identity(cls, Y: NDArray[Any], pool: Pool) -> Self:
        """Take the fixed side as it is: there is no dense part."""
        factors = pool.array(Y.shape, Y.dtype)
        factors[:] = Y
        return cls(factors, np.zeros(Y.shape[1], Y.dtype))

    @classmethod
    def of(
        cls,
        Y: NDArray[Any],
        unobserved_weight: float,
        solver: Solver,
        *,
        common_lambda: float | None = None,
        least_lambda: float = 0.0,
        padded: bool = False,
    ) -> Self:
        """Make ``unobserved_weight * Y^T Y`` diagonal, or that and `common_lambda`, if all rows have it."""
        f = Y.shape[1]
        columns = f + (-f % (CACHE_LINE // Y.dtype.itemsize) if padded else 0)
        with single_threaded_blas():
            dense = gramian(Y, solver)
            if not unobserved_weight * np.trace(dense) <= np.finfo(Y.dtype).max:  # NaN included
                raise ValueError(
                    f"factors must be finite, and the sums of their squares too in {Y.dtype}: lower init_scale or "
                    "unobserved_weight, or set finite factors"
                )
            dense *= unobserved_weight
            factor = None if common_lambda is None else _cholesky(dense, common_lambda, Y.dtype)
            if factor is not None:
                L, inverse = factor
                there, back = Product(L, Y.dtype, "lower"), Product(inverse, Y.dtype, "lower")
                other_side = Product(inverse.T, Y.dtype, "upper")
                diagonal = np.ones(columns, Y.dtype)
            else:
                g, Q = scipy.linalg.eigh(dense, driver="evd")
                g[g < f * np.finfo(np.float64).eps * max(g.max(initial=0), 0)] = 0  # rank-deficient: rounding, not data
                there, back = Product(Q, Y.dtype), Product(Q.T, Y.dtype)
                other_side = there
                diagonal = np.full(columns, g.max(initial=0) or 1, Y.dtype)
                diagonal[:f] = g
        step = None
        # Rows of the basis have a mean |y'|^2 of at most f / (w0 n): where that is large, so is what rounding does.
        if unobserved_weight * len(Y) >= f and _may_be_coarse((len(Y), columns), diagonal[:f] + least_lambda, solver):
            step = np.empty(len(Y), np.float32)
        factors = solver.pool.array((len(Y), columns), Y.dtype if step is None else np.dtype(np.int16))
        other_side(np.ascontiguousarray(Y), factors, solver, step)
        return cls(factors, diagonal, there, back, factor is not None, step)


def _may_be_coarse(shape: tuple[int, int], d: NDArray[Any], solver: Solver) -> bool:
    return bool(
        solver.backend.name == "cython"  # the others would widen all rows again
        and solver.method == "cg"
        and solver.tol >= COARSE_TOL
        and d.dtype == np.float32
        and shape[0] * shape[1] * d.itemsize > COARSE_BYTES
        and shape[1] >= COARSE_COLUMNS
        and 0 < d.max() <= COARSE_CONDITION * d.min()
    )


def _cholesky(
    dense: NDArray[np.float64], shift: float, dtype: np.dtype[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the lower factor of ``dense + shift I`` and its inverse, or None if they are of no use in `dtype`."""
    try:
        L = scipy.linalg.cholesky(dense + shift * np.eye(len(dense)), lower=True)
    except scipy.linalg.LinAlgError:
        return None
    inverse, _ = scipy.linalg.lapack.dtrtri(L, lower=1)
    condition = np.linalg.norm(L, 1) * np.linalg.norm(inverse, 1)
    return (L, inverse) if condition * np.finfo(dtype).eps <= ILL_CONDITIONED else None


def gramian(Y: NDArray[Any], solver: Solver) -> NDArray[np.float64]:
    """Return ``Y^T Y``, accumulated in float64."""
    total = np.empty((Y.shape[1], Y.shape[1]))
    solver.backend.gramian(np.ascontiguousarray(Y), total, solver.num_threads)
    return total
