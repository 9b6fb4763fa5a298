r"""Products of many rows with a small matrix, by NumPy's BLAS in blocks of rows on Python threads.

.. math:: \text{out} = R M, \qquad G = R^T R, \qquad |r_u|^2

Cost for m rows: ``2 m f^2`` for a product (little more than half of that for a triangle), ``m f^2`` for the Gramian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._utils.threads import map_parallel, resolve_num_threads, single_threaded_blas

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows multiplied at a time. Fixed, so that results do not depend on the number of threads.
BLOCK = 1024
# Columns of a triangular matrix multiplied at a time, without the rows in which all of them are zero.
PANEL = 64


def multiply(
    rows: NDArray[Any],
    matrix: NDArray[Any],
    out: NDArray[Any],
    triangle: Literal["full", "lower", "upper"] = "full",
    num_threads: int | None = None,
) -> None:
    """See `alternant.kernels.multiply`."""
    f = len(matrix)
    panels = [slice(start, min(start + PANEL, f)) for start in range(0, f, PANEL)]
    parts = {
        "full": [(slice(0, f), slice(0, f))],
        "lower": [(slice(panel.start, f), panel) for panel in panels],
        "upper": [(slice(0, panel.stop), panel) for panel in panels],
    }[triangle]  # slices of the matrix: the nonzero rows of some columns, and these columns

    def part(block: slice) -> None:
        target = out[block] if out.dtype == rows.dtype else np.empty((len(rows[block]), f), rows.dtype)
        for taken, given in parts:
            if out is rows:
                target[:, given] = rows[block, taken] @ matrix[taken, given]
            else:
                np.matmul(rows[block, taken], matrix[taken, given], out=target[:, given])
        target[:, :f] += 0  # normalize -0.0 to 0.0
        if out.dtype != rows.dtype:
            with np.errstate(over="ignore", under="ignore"):
                out[block, :f] = target
        if out.shape[1] > f:
            out[block, f:] = 0

    with single_threaded_blas():
        map_parallel(part, _blocks(len(rows)), resolve_num_threads(num_threads))


def gramian(rows: NDArray[Any], out: NDArray[np.float64], num_threads: int | None = None) -> None:
    """See `alternant.kernels.gramian`."""

    def part(block: slice) -> NDArray[np.float64]:
        wide = rows[block].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller checks the result
            return wide.T @ wide

    out[:] = 0
    with single_threaded_blas():
        for summand in map_parallel(part, _blocks(len(rows)), resolve_num_threads(num_threads)):
            out += summand


def squared_norms(rows: NDArray[Any], out: NDArray[np.float64], num_threads: int | None = None) -> None:
    """See `alternant.kernels.squared_norms`."""

    def part(block: slice) -> None:
        wide = rows[block].astype(np.float64)
        out[block] = np.einsum("uf,uf->u", wide, wide)

    map_parallel(part, _blocks(len(rows)), resolve_num_threads(num_threads))


def _blocks(rows: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, rows, BLOCK)]
