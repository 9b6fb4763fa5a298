"""The row problems of implicit's alternating least squares, over `alternant.kernels.solve_rows`.

With c = |r| (r includes alpha) and p = 1 if r is positive, else 0, row u of X minimizes

    sum_i c_ui (p_ui - x . y_i)^2 + lambda |x|^2    with c = 1 and p = 0 for pairs that are not stored,

that is, solves ``(Y^T Y + lambda I + sum_i (c_i - 1) y_i y_i^T) x = sum_i c_i p_i y_i`` over the stored pairs. The
kernel needs a diagonal dense part, so rows are solved in coordinates in which it is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from ... import kernels
from ..._utils.pool import CACHE_LINE, Pool
from ..._utils.threads import single_threaded_blas
from ...kernels._registry import active_backend
from .recommender_base import ModelFitError
from .utils import thread_count

# Conjugate gradients stop once the error of a row is this fraction of its initial one.
TOLERANCE = 0.01
# A Cholesky factor is used if its condition number times the machine epsilon is at most this, else eigenvectors.
ILL_CONDITIONED = 5e-3


@dataclass(frozen=True)
class Rows:
    """Stored pairs as `solve_rows` takes them."""

    indptr: NDArray[np.int64]
    indices: NDArray[Any]
    weight: NDArray[Any]  # c - 1
    target: NDArray[Any] | float  # c p, or 1.0: weight + 1
    constant: float  # sum c p
    confidence: float  # sum c

    @classmethod
    def of(cls, matrix: Any, dtype: Any, alpha: float = 1.0) -> Self:
        """Take the entries of a CSR matrix times `alpha`; raise ModelFitError unless all are finite."""
        r = matrix.data.astype(dtype)
        if alpha != 1.0:
            r *= r.dtype.type(alpha)
        check_finite(r)
        liked = r > 0
        confidence = np.abs(r)
        target: NDArray[Any] | float = 1.0 if liked.all() else np.where(liked, r, 0).astype(dtype)
        total = float(confidence.sum(dtype=np.float64))
        constant = total if liked.all() else float(r[liked].sum(dtype=np.float64))
        return cls(matrix.indptr.astype(np.int64), matrix.indices, confidence - 1, target, constant, total)


@dataclass(frozen=True)
class Settings:
    """How to solve rows."""

    threads: int
    steps: int | None  # the maximum number of steps of conjugate gradients; None: exactly, by Cholesky
    pool: Pool = field(default_factory=Pool)


@dataclass(frozen=True)
class Coordinates:
    """Coordinates in which ``Y^T Y + lambda I`` is diagonal: of the fixed side, of the solved side, and back."""

    fixed: NDArray[Any]
    solved: NDArray[Any]
    back: NDArray[Any]
    diagonal: NDArray[Any]

    @classmethod
    def of(cls, gramian: NDArray[np.float64], regularization: float, dtype: Any) -> Self:
        """Choose the Cholesky factor of the dense part or, if it is nearly singular, its eigenvectors.

        Without regularization there may be directions in which Y is 0 but for rounding errors. Solutions are 0 there,
        so that they are those of minimum norm.
        """
        f, epsilon = len(gramian), float(np.finfo(dtype).eps)
        check_regularization(regularization)
        if not np.isfinite(gramian).all():
            raise ModelFitError("the squares of the factors are not finite: set finite, smaller factors")
        with single_threaded_blas():
            if regularization > 0:
                try:
                    L = scipy.linalg.cholesky(gramian + regularization * np.eye(f), lower=True)
                    inverse = scipy.linalg.solve_triangular(L, np.eye(f), lower=True)
                    if np.linalg.norm(L, 1) * np.linalg.norm(inverse, 1) * epsilon <= ILL_CONDITIONED:
                        return cls(*(_plain(matrix, dtype) for matrix in (inverse.T, L, inverse, np.ones(f))))
                except scipy.linalg.LinAlgError:
                    pass
            g, Q = scipy.linalg.eigh(gramian, driver="evd")
        largest = max(float(g[-1]), 0.0)
        rounding = f * max((4 * epsilon) ** 2, float(np.finfo(np.float64).eps)) * largest
        diagonal = np.maximum(g, 0) + regularization
        data = diagonal > rounding
        diagonal[~data] = largest or 1.0
        Q = Q * data
        return cls(*(_plain(matrix, dtype) for matrix in (Q, Q, Q.T, diagonal)))


def check_finite(values: NDArray[Any]) -> None:
    """Raise ModelFitError unless all interactions are finite."""
    if not np.isfinite(values).all():
        raise ModelFitError("the interactions include NaN or infinite values: remove or replace them")


def check_regularization(regularization: float) -> None:
    """Raise ValueError unless lambda is at least 0."""
    if not regularization >= 0:
        raise ValueError(f"regularization must be at least 0, got {regularization}: set it before fit")


def _plain(matrix: NDArray[np.float64], dtype: Any) -> NDArray[Any]:
    return np.ascontiguousarray(matrix, dtype)


def gramian(Y: NDArray[Any], threads: int) -> NDArray[np.float64]:
    """Return ``Y^T Y`` in float64, shape (f, f)."""
    out = np.empty((Y.shape[1], Y.shape[1]))
    kernels.gramian(np.ascontiguousarray(Y), out, thread_count(threads, Y.size * Y.shape[1]))
    return out


def transformed(rows: NDArray[Any], matrix: NDArray[Any], settings: Settings, columns: int) -> NDArray[Any]:
    """Return ``rows[:, :f] @ matrix``, of shape (f, f), with zeros appended to the number of columns."""
    rows = np.ascontiguousarray(rows, matrix.dtype)
    out = settings.pool.array((len(rows), columns), matrix.dtype)
    kernels.multiply(rows, matrix, out, num_threads=thread_count(settings.threads, rows.size * len(matrix)))
    return out


def solve_side(rows: Rows, X: NDArray[Any], Y: NDArray[Any], regularization: float, settings: Settings) -> None:
    """Overwrite X with the solution of all rows for the fixed side Y.

    Parameters
    ----------
    rows : Rows
        The stored pairs: m rows.
    X : array, shape (m, f)
        The solved side; conjugate gradients start from it.
    Y : array, shape (n, f)
        The fixed side, of the dtype of X.
    regularization : float
        lambda.
    settings : Settings
        How to solve them; the result does not depend on the number of threads.
    """
    if len(X) == 0:
        return
    f = X.shape[1]
    coordinates = Coordinates.of(gramian(Y, settings.threads), regularization, X.dtype)
    # Conjugate gradients read rows in whole cache lines without a copy.
    columns = f + -f % (CACHE_LINE // X.itemsize) if settings.steps else f
    fixed = transformed(Y, coordinates.fixed, settings, columns)
    solved = transformed(X, coordinates.solved, settings, columns)
    _solve(rows, solved, fixed, coordinates, settings)
    X[...] = transformed(solved, coordinates.back, settings, f)


def solve_some(rows: Rows, Y: NDArray[Any], coordinates: Coordinates, threads: int) -> NDArray[Any]:
    """Solve a few rows exactly, with coordinates computed before: touches only the rows of Y that they refer to.

    Returns
    -------
    array, shape (m, f)
        The solutions.
    """
    f, single = Y.shape[1], len(rows.indptr) == 2
    needed, indices = (rows.indices, np.arange(len(rows.indices))) if single else np.unique(
        rows.indices, return_inverse=True
    )  # fmt: skip
    solved = np.zeros((len(rows.indptr) - 1, f), Y.dtype)
    if len(needed) == 0:
        return solved
    # The checks of the public kernels would take longer than the kernels.
    backend, threads = active_backend(), thread_count(threads, len(rows.indices) * f * f)
    fixed, out = np.empty((len(needed), f), Y.dtype), np.empty_like(solved)
    backend.multiply(np.ascontiguousarray(Y[needed]), coordinates.fixed, fixed, "full", threads)
    no_more = np.zeros(len(solved), Y.dtype)  # lambda is part of the diagonal
    status = backend.solve_rows(
        rows.indptr, indices, rows.weight, rows.target, fixed, coordinates.diagonal, no_more, solved, "cholesky",
        TOLERANCE, 1, threads,
    )  # fmt: skip
    _check(status, Y.dtype)
    backend.multiply(solved, coordinates.back, out, "full", threads)
    return out


def _solve(rows: Rows, X: NDArray[Any], Y: NDArray[Any], coordinates: Coordinates, settings: Settings) -> None:
    no_more = np.zeros(len(X), X.dtype)  # lambda is part of the diagonal
    diagonal = np.ones(X.shape[1], X.dtype)
    diagonal[: len(coordinates.diagonal)] = coordinates.diagonal
    threads, steps = thread_count(settings.threads, len(rows.indices) * Y.shape[1]), settings.steps
    status = kernels.solve_rows(
        rows.indptr, rows.indices, rows.weight, rows.target, Y, diagonal, no_more, X,
        method="cg" if steps else "cholesky", tol=TOLERANCE, max_steps=steps or 1, num_threads=threads,
    )  # fmt: skip
    _check(status, X.dtype)


def _check(status: int, dtype: Any) -> None:
    if status:
        raise ModelFitError(
            f"the least-squares problem of row {status - 1} is singular in {dtype}: raise the regularization, lower "
            "alpha if confidences are huge, or use dtype=np.float64"
        )


def objective(rows: Rows, X: NDArray[Any], Y: NDArray[Any], regularization: float, threads: int) -> float:
    """Return ``sum c (p - x . y)^2 + lambda (|X|^2 + |Y|^2)`` over all pairs, accumulated in float64."""
    of_users, of_items = gramian(X, threads), gramian(Y, threads)
    X, Y = np.ascontiguousarray(X), np.ascontiguousarray(Y)
    no_dense_part = np.zeros(X.shape[1], X.dtype)
    stored = kernels.squared_error(rows.indptr, rows.indices, rows.weight, rows.target, X, Y, no_dense_part, threads)
    everywhere = float(np.einsum("ij,ij->", of_users, of_items))
    penalty = regularization * float(np.trace(of_users) + np.trace(of_items))
    return rows.constant + everywhere + stored + penalty
