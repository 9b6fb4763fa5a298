"""Coordinates in which the dense part of the row problems of `half_sweep` is diagonal.

``X' = X T`` and ``Y' = Y T^-T`` leave every prediction ``x_u . y_i`` unchanged. Two choices of T are useful:

- the eigenvectors Q of the dense part ``w0 Y^T Y = Q diag(g) Q^T``, for any lambdas. They take about 9 f^3 operations,
  most of them memory-bound;
- the Cholesky factor L of ``w0 Y^T Y + lambda I``, if all rows have the same lambda: g is then 1 and includes lambda.
  It takes 2/3 f^3 operations, and products with L and its inverse take half of those with Q. Conjugate gradients,
  preconditioned by the dense part, take the same steps with both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
import scipy
from numpy.typing import NDArray

from ..._utils.mapped import blocks_of, release, row_blocks
from ..._utils.pool import CACHE_LINE, Pool
from ..._utils.threads import single_threaded_blas
from .problems import RowProblems
from .solver import Solver

# A fixed side of more bytes than this does not fit in the L1 and L2 caches. It is stored in float16 if so many entries
# read it that this pays off and rounding errors average out: the objective of a half-sweep changes by 1e-8, at the
# largest tolerance.
NARROW_BYTES = 1 << 19
NARROW_ENTRIES = 1 << 19
NARROW_TOL = 0.05
# Its largest absolute value is at most this. float16 ranges up to 65504 and has full precision from 6e-5 on, enough for
# the columns of least variance.
NARROW_LARGEST = 2.0**15
NARROW_CONDITION = 1e6
# Shorter rows take only one or two cache lines anyway.
NARROW_FACTORS = 32
# Relative to the mean eigenvalue of the dense part: if g includes a much larger lambda, Y' is much smaller than 1.
MOST_LAMBDA = 1e3
# Rows whose Gramian is computed at a time: as many as may be in memory, if they are memory-mapped.
GRAMIAN_ROWS = 1 << 20
LARGEST_DIAGONAL = 1e30  # of the scaled problem, in float32
# A Cholesky factor whose condition number times the machine epsilon is larger is not used: the objective of a half-
# sweep would lose one more digit than with eigenvectors. Below, solutions are at least as accurate.
ILL_CONDITIONED = 5e-3

Triangle = Literal["full", "lower", "upper"]


class RowMap(Protocol):
    """A map of rows to rows of `width` numbers."""

    width: int

    def __call__(self, rows: NDArray[Any], out: NDArray[Any], solver: Solver) -> None:
        """Write the rows that a block of rows is mapped to."""


class Product:
    """Right multiplication of rows by a matrix; see `alternant.kernels.multiply` for its triangles."""

    def __init__(self, matrix: NDArray[np.float64], dtype: np.dtype[Any], triangle: Triangle = "full") -> None:
        self.matrix: NDArray[Any] = np.ascontiguousarray(matrix, dtype)
        self.triangle: Triangle = triangle
        self.width: int = self.matrix.shape[1]

    def __call__(self, rows: NDArray[Any], out: NDArray[Any], solver: Solver) -> None:
        """Write ``rows @ matrix`` to `out`, which may be `rows` unless the matrix is an upper triangle."""
        solver.backend.multiply(rows, self.matrix, out, self.triangle, solver.num_threads)


@dataclass(frozen=True)
class Basis:
    """The fixed side in the new coordinates, and the transformations of the solved side to them and back.

    For conjugate gradients each row is padded with zeros to whole cache lines, so that it is read without a copy.
    Solutions are 0 there, whatever g is.
    """

    factors: NDArray[Any]  # Y', possibly in float16
    diagonal: NDArray[Any]  # g
    forward: RowMap | None = None  # T; None: the identity
    inverse: RowMap | None = None  # its inverse
    lambda_scale: float = 1.0  # factor of lambda; 0: g includes it
    outer: Product | None = None  # that of the fixed side and of right-hand sides: the inverse transposed

    @classmethod
    def identity(cls, Y: NDArray[Any], pool: Pool) -> Self:
        """Return the fixed side unchanged, for problems without a dense part."""
        factors = pool.fixed_side(Y.shape, Y.dtype)
        for rows in blocks_of(Y):
            factors[rows] = Y[rows]
            release(Y[rows])
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
        whole: NDArray[np.float64] | None = None,
    ) -> Self:
        """Diagonalize ``unobserved_weight * Y^T Y``, plus lambda if it is the same in all rows of `problems`.

        Without `problems`, the basis is valid for any rows and tolerance. If Y is a part of the fixed side, `whole` is
        the Gramian of all of it, which is overwritten.
        """
        f = Y.shape[1]
        columns = f + (-f % (CACHE_LINE // Y.dtype.itemsize) if padded else 0)
        with single_threaded_blas():
            dense = gramian(Y, solver) if whole is None else whole
            if not unobserved_weight * np.trace(dense) <= np.finfo(Y.dtype).max:  # NaN included
                raise ValueError(
                    f"factors and the sums of their squares must be finite in {Y.dtype}: lower init_scale or "
                    "unobserved_weight, or set finite factors"
                )
            dense *= unobserved_weight
            least, greatest = problems.lambdas() if problems else (0.0, np.inf)
            factor = _cholesky(dense, least, Y.dtype) if least == greatest else None
            if factor is not None:
                (T, inverse), g, with_lambda = factor, np.ones(f), True
            else:
                g, T = scipy.linalg.eigh(dense, driver="evd")
                if unobserved_weight > 0:
                    g, T = _of_minimum_norm(g, T, Y.dtype)
                inverse, with_lambda = T.T, False
        unit = None
        if problems and _pays_narrow(Y, columns, problems, solver) and least <= MOST_LAMBDA * np.trace(dense) / f:
            lambdas = (0.0, 0.0) if with_lambda else (least, greatest)
            unit = _narrow_unit(len(Y), unobserved_weight, g, lambdas)
        scale = 1.0 if unit is None else unit  # of Y'; a power of 2
        triangle: Triangle = "lower" if with_lambda else "full"
        transposed: Triangle = "upper" if with_lambda else "full"
        factors = solver.pool.fixed_side((len(Y), columns), Y.dtype if unit is None else np.dtype(np.float16))
        outer = Product(scale * inverse.T, Y.dtype, transposed)
        for rows in row_blocks(len(Y), columns, Y.itemsize):
            outer(np.ascontiguousarray(Y[rows]), factors[rows], solver)
            release(Y[rows])
        diagonal = np.full(columns, scale**2 * g.max(initial=0) or 1, Y.dtype)
        diagonal[:f] = scale**2 * g
        forward, backward = Product(T / scale, Y.dtype, triangle), Product(scale * inverse, Y.dtype, triangle)
        return cls(factors, diagonal, forward, backward, 0.0 if with_lambda else scale**2, outer)


def _pays_narrow(Y: NDArray[Any], columns: int, problems: RowProblems, solver: Solver) -> bool:
    """Whether float16 is allowed and faster; only the Cython kernels read it directly."""
    large = len(Y) * columns * Y.dtype.itemsize > NARROW_BYTES and problems.indptr[-1] >= NARROW_ENTRIES
    wanted = solver.narrow and solver.tol >= NARROW_TOL and Y.shape[1] >= NARROW_FACTORS
    return bool(large and wanted and Y.dtype == np.float32 and solver.backend.name == "cython")


def _narrow_unit(
    n: int, unobserved_weight: float, g: NDArray[np.float64], lambdas: tuple[float, float]
) -> float | None:
    """Return the scale of Y' in float16, or None if float16 would lose too much precision."""
    # The rows of Y' have a mean |y'|^2 of at most f / (w0 n): if that is large, so are rounding errors.
    least, most = g.min() + lambdas[0], g.max() + lambdas[0]
    if not (unobserved_weight * n >= len(g) and g.max() > 0 and most <= NARROW_CONDITION * least):
        return None
    # The squares in a column of Y' add up to g / w0 at most.
    unit = 2.0 ** np.floor(np.log2(NARROW_LARGEST * np.sqrt(unobserved_weight / g.max())))
    return float(unit) if unit**2 * (g.max() + lambdas[1]) <= LARGEST_DIAGONAL else None


def _cholesky(
    dense: NDArray[np.float64], shift: float, dtype: np.dtype[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the lower factor of ``dense + shift I`` and its inverse, or None if too ill-conditioned for `dtype`."""
    try:
        L = scipy.linalg.cholesky(dense + shift * np.eye(len(dense)), lower=True)
    except scipy.linalg.LinAlgError:
        return None
    inverse, _ = scipy.linalg.lapack.dtrtri(L, lower=1)
    condition = np.linalg.norm(L, 1) * np.linalg.norm(inverse, 1)
    return (L, inverse) if condition * np.finfo(dtype).eps <= ILL_CONDITIONED else None


def _of_minimum_norm(
    g: NDArray[np.float64], Q: NDArray[np.float64], dtype: np.dtype[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leave out the directions in which all rows of Y are 0 but for rounding errors.

    Without regularization, a row's problem does not determine its solution there; it becomes 0, so that the solution is
    the one of minimum norm. If g is positive, so is the matrix of every row, since confidences are.
    """
    largest = max(float(g[-1]), 0.0)
    rounding = len(g) * max((4 * np.finfo(dtype).eps) ** 2, np.finfo(np.float64).eps) * largest
    empty = g <= rounding
    return np.where(empty, largest or 1.0, g), np.where(empty, 0.0, Q)


def gramian(Y: NDArray[Any], solver: Solver) -> NDArray[np.float64]:
    """Return ``Y^T Y``, accumulated in float64; the sum of those of blocks of rows, if there are many."""
    total, part = np.zeros((2, Y.shape[1], Y.shape[1]))
    for start in range(0, len(Y), GRAMIAN_ROWS):
        rows = Y[start : start + GRAMIAN_ROWS]
        solver.backend.gramian(np.ascontiguousarray(rows), part, solver.num_threads)
        total += part
        release(rows)
    return total
