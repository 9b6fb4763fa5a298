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
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from ..._utils.pool import CACHE_LINE, Pool
from ..._utils.threads import single_threaded_blas
from .solver import Solver

if TYPE_CHECKING:
    from .half_sweep import RowProblems

# A fixed side of more bytes than this is not in the nearest caches. It is kept in float16 where so many entries read it
# that this pays, and that their roundings average out: the objective of a half-sweep moves by 1e-8, where the rows are
# left as early as they may be.
NARROW_BYTES = 1 << 19
NARROW_ENTRIES = 1 << 19
NARROW_TOL = 0.05
# Its greatest number is at most this. float16 goes on to 65504, and has all its digits from 6e-5 on: enough for columns
# of so much less variance.
NARROW_LARGEST = 2.0**15
NARROW_CONDITION = 1e6
# A row of fewer is a cache line or two anyway.
NARROW_FACTORS = 32
# Of the mean eigenvalue of the dense part: where lambda is in g and much greater, Y' is much less than 1.
MOST_LAMBDA = 1e3
LARGEST_DIAGONAL = 1e30  # of the scaled problem, in float32
# A Cholesky factor of a greater condition number times the dtype's resolution is not used: there the objective of a
# half-sweep would lose a digit more than with eigenvectors. Below, solutions are as exact or a little more so.
ILL_CONDITIONED = 5e-3


Triangle = Literal["full", "lower", "upper"]


class Product:
    """What rows are multiplied by; see `alternant.kernels.multiply` for the triangles."""

    def __init__(self, matrix: NDArray[np.float64], dtype: np.dtype[Any], triangle: Triangle = "full") -> None:
        self.matrix = np.ascontiguousarray(matrix, dtype)
        self.triangle: Triangle = triangle

    def __call__(self, rows: NDArray[Any], out: NDArray[Any], solver: Solver) -> None:
        """Write ``rows @ matrix`` to `out`, which may be `rows` unless the matrix is an upper triangle."""
        solver.backend.multiply(rows, self.matrix, out, self.triangle, solver.num_threads)


@dataclass(frozen=True)
class Basis:
    """The fixed side in the coordinates of the solved one.

    For conjugate gradients each row is filled up with zeros to whole cache lines, so that they read it where it is.
    Solutions are 0 there, whatever g is.
    """

    factors: NDArray[Any]  # Y', in float16 where that will do
    diagonal: NDArray[Any]  # g
    there: Product | None = None  # T; None: the identity
    back: Product | None = None  # its inverse
    lambda_scale: float = 1.0  # what lambda is multiplied by; 0: it is in g

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
        problems: RowProblems | None = None,
        *,
        padded: bool = False,
    ) -> Self:
        """Make ``unobserved_weight * Y^T Y`` diagonal, or that and lambda, if all rows of `problems` have one.

        Without `problems`, it is for any rows at any tolerance.
        """
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
            least, greatest = problems.lambdas() if problems else (0.0, np.inf)
            factor = _cholesky(dense, least, Y.dtype) if least == greatest else None
            if factor is not None:
                (T, inverse), g, with_lambda = factor, np.ones(f), True
            else:
                g, T = scipy.linalg.eigh(dense, driver="evd")
                g[g < f * np.finfo(np.float64).eps * max(g.max(initial=0), 0)] = 0  # rank-deficient: rounding, not data
                inverse, with_lambda = T.T, False
        unit = None
        if problems and _pays_narrow(Y, columns, problems, solver) and least <= MOST_LAMBDA * np.trace(dense) / f:
            lambdas = (0.0, 0.0) if with_lambda else (least, greatest)
            unit = _narrow_unit(len(Y), unobserved_weight, g, lambdas)
        scale = 1.0 if unit is None else unit  # of Y'; a power of 2
        triangle: Triangle = "lower" if with_lambda else "full"
        transposed: Triangle = "upper" if with_lambda else "full"
        factors = solver.pool.array((len(Y), columns), Y.dtype if unit is None else np.dtype(np.float16))
        Product(scale * inverse.T, Y.dtype, transposed)(np.ascontiguousarray(Y), factors, solver)
        diagonal = np.full(columns, scale**2 * g.max(initial=0) or 1, Y.dtype)
        diagonal[:f] = scale**2 * g
        there, back = Product(T / scale, Y.dtype, triangle), Product(scale * inverse, Y.dtype, triangle)
        return cls(factors, diagonal, there, back, 0.0 if with_lambda else scale**2)


def _pays_narrow(Y: NDArray[Any], columns: int, problems: RowProblems, solver: Solver) -> bool:
    """Whether rows in float16 are asked for and read faster; the other backends would widen all of them again."""
    large = len(Y) * columns * Y.dtype.itemsize > NARROW_BYTES and problems.indptr[-1] >= NARROW_ENTRIES
    wanted = solver.narrow and solver.tol >= NARROW_TOL and Y.shape[1] >= NARROW_FACTORS
    return bool(large and wanted and Y.dtype == np.float32 and solver.backend.name == "cython")


def _narrow_unit(
    n: int, unobserved_weight: float, g: NDArray[np.float64], lambdas: tuple[float, float]
) -> float | None:
    """Return what the numbers of Y' are multiplied by in float16, or None where it would lose too many digits."""
    # Rows of Y' have a mean |y'|^2 of at most f / (w0 n): where that is large, so is what rounding does.
    least, most = g.min() + lambdas[0], g.max() + lambdas[0]
    if not (unobserved_weight * n >= len(g) and g.max() > 0 and most <= NARROW_CONDITION * least):
        return None
    # The squares in a column of Y' add up to g / w0 at most.
    unit = 2.0 ** np.floor(np.log2(NARROW_LARGEST * np.sqrt(unobserved_weight / g.max())))
    return float(unit) if unit**2 * (g.max() + lambdas[1]) <= LARGEST_DIAGONAL else None


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
