"""The contract of products of many rows with a small matrix: `multiply`, `gramian`, `squared_norms`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from .._utils.threads import resolve_num_threads
from . import _checks as check
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._typing import Reals


def multiply(
    rows: Reals,
    matrix: Reals,
    out: Reals,
    triangle: Literal["full", "lower", "upper"] = "full",
    num_threads: int | None = None,
) -> None:
    """Multiply rows by a square matrix.

    Parameters
    ----------
    rows : array, shape (m, b), b >= f
        The left factor; only its first f columns are used.
    matrix : array, shape (f, f)
        The right factor.
    out : array, shape (m, c), c >= f
        Receives ``rows[:, :f] @ matrix`` in its first f columns, with -0.0 normalized to 0.0, and zeros in the others.
        It may be `rows` itself, unless `triangle` is ``"upper"``. With float32 rows it may be float16: the normalized
        products are then rounded to nearest even, to 11 significant bits for magnitudes between 6e-5 and 65504.
    triangle : {"full", "lower", "upper"}
        Which triangle of the matrix may be nonzero. The other one must be zero; most of it is skipped.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    dtype = check.floating("rows", rows)
    m, width = check.matrix("rows", rows, dtype).shape
    f = len(check.matrix("matrix", matrix, dtype))
    if matrix.shape[1] != f or f > width:
        raise ValueError(f"matrix must be square, with at most {width} columns (those of rows), got {matrix.shape}")
    if triangle not in ("full", "lower", "upper"):
        raise ValueError(f'triangle must be "full", "lower" or "upper", got {triangle!r}')
    half = dtype == np.float32 and isinstance(out, np.ndarray) and out.dtype == np.float16
    columns = check.matrix("out", out, out.dtype if half else dtype, writeable=True).shape[1]
    if len(out) != m or columns < f:
        raise ValueError(f"out must have shape ({m}, {f}) or more columns, got {out.shape}")
    in_place = out is rows and triangle != "upper"
    if (np.may_share_memory(out, rows) and not in_place) or np.may_share_memory(out, matrix):
        raise ValueError("out must share no memory with matrix or rows, or be rows itself, if triangle is not 'upper'")
    active_backend().multiply(rows, matrix, out, triangle, resolve_num_threads(num_threads))


def gramian(rows: Reals, out: NDArray[np.float64], num_threads: int | None = None) -> None:
    """Compute ``rows^T rows`` in float64.

    Parameters
    ----------
    rows : array, shape (m, f)
        The rows.
    out : float64 array, shape (f, f)
        Receives their Gramian; infinite or NaN where it overflows.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    f = check.matrix("rows", rows, check.floating("rows", rows)).shape[1]
    check.output("out", out, np.float64, (f, f))
    _separate(rows, out)
    active_backend().gramian(rows, out, resolve_num_threads(num_threads))


def squared_norms(rows: Reals, out: NDArray[np.float64], num_threads: int | None = None) -> None:
    """Compute the squared Euclidean norm of each row in float64.

    Parameters
    ----------
    rows : array, shape (m, f)
        The rows.
    out : float64 array, shape (m,)
        Receives ``|row|^2``.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    m = check.matrix("rows", rows, check.floating("rows", rows)).shape[0]
    check.output("out", out, np.float64, (m,))
    _separate(rows, out)
    active_backend().squared_norms(rows, out, resolve_num_threads(num_threads))


def _separate(rows: Reals, out: NDArray[np.float64]) -> None:
    if np.may_share_memory(rows, out):
        raise ValueError("out is filled, but shares memory with another argument: pass a separate array")
