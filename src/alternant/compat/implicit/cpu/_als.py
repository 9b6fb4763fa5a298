"""The functions of implicit's native module of this name: half-sweeps in place, and the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._rows import Rows, Settings, objective, solve_side
from ..utils import check_csr, thread_count

# Our steps for each of implicit's. Preconditioned by the dense part, rows whose confidences are far above 1 gain less
# from a step than by implicit's plain conjugate gradients: after 15 iterations with alpha = 100, three steps left an
# objective 1.5 % above, six 0.8 % below.
STEPS = 2


def least_squares(Cui: Any, X: NDArray[Any], Y: NDArray[Any], regularization: float, num_threads: int = 0) -> None:
    """Overwrite X with the exact solution of all rows.

    Parameters
    ----------
    Cui : CSR matrix, shape (m, n)
        Interactions, multiplied by alpha.
    X : array, shape (m, f)
        The solved side.
    Y : array, shape (n, f)
        The fixed side.
    regularization : float
        lambda.
    num_threads : int
        Number of threads, 0 for all.
    """
    _least_squares(Cui, X, Y, regularization, num_threads, None)


def least_squares_cg(
    Cui: Any, X: NDArray[Any], Y: NDArray[Any], regularization: float, num_threads: int = 0, cg_steps: int = 3
) -> None:
    """Improve X by at most twice `cg_steps` steps of conjugate gradients in each row, in place; see `least_squares`."""
    _least_squares(Cui, X, Y, regularization, num_threads, STEPS * cg_steps)


def _least_squares(
    Cui: Any, X: NDArray[Any], Y: NDArray[Any], regularization: float, num_threads: int, steps: int | None
) -> None:
    if X.dtype not in (np.float32, np.float64) or Y.dtype != X.dtype:
        raise ValueError(f"X and Y must both be float32 or both float64, got {X.dtype} and {Y.dtype}: convert one")
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X and Y must have the same number of columns, got {X.shape[1]} and {Y.shape[1]}: pass factors of one "
            "model"
        )
    if Cui.shape != (len(X), len(Y)):
        raise ValueError(f"Cui must have shape {len(X), len(Y)}, as X and Y have rows, got {Cui.shape}")
    rows, settings = Rows.of(check_csr(Cui), X.dtype), Settings(thread_count(num_threads), steps)
    solve_side(rows, X, Y, regularization, settings)


def calculate_loss(Cui: Any, X: NDArray[Any], Y: NDArray[Any], regularization: float, num_threads: int = 0) -> float:
    """Return the objective of `AlternatingLeastSquares` divided by the sum of all confidences.

    Parameters
    ----------
    Cui : CSR matrix, shape (n_users, n_items)
        Interactions, multiplied by alpha.
    X, Y : arrays, shapes (n_users, f) and (n_items, f)
        The factors.
    regularization : float
        lambda.
    num_threads : int
        Number of threads, 0 for all.
    """
    return loss(Rows.of(check_csr(Cui), X.dtype), X, Y, regularization, thread_count(num_threads))


def loss(rows: Rows, X: NDArray[Any], Y: NDArray[Any], regularization: float, threads: int) -> float:
    """Do the work of `calculate_loss`."""
    confidence = rows.confidence + len(X) * len(Y) - len(rows.indices)
    return objective(rows, X, Y, regularization, threads) / confidence if confidence else 0.0
