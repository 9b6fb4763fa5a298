r"""Products of many rows with a small matrix in plain NumPy, in blocks of rows.

.. math:: \text{out} = R M, \qquad G = R^T R, \qquad |r_u|^2

Cost for m rows: ``2 m f^2`` for a product (little more than half of that for a triangle), ``m f^2`` for the Gramian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._utils.threads import single_threaded_blas

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows multiplied at a time, to limit the size of copies.
BLOCK = 1024
# Columns of a triangular matrix multiplied at a time, without the rows in which all of them are zero.
PANEL = 64


def multiply(
    rows: NDArray[Any],
    matrix: NDArray[Any],
    out: NDArray[Any],
    triangle: Literal["full", "lower", "upper"] = "full",
    num_threads: int | None = None,  # noqa: ARG001 - one thread; the signature is the contract's
) -> None:
    """See `alternant.kernels.multiply`."""
    f = len(matrix)
    panels = [slice(start, min(start + PANEL, f)) for start in range(0, f, PANEL)]
    parts = {
        "full": [(slice(0, f), slice(0, f))],
        "lower": [(slice(panel.start, f), panel) for panel in panels],
        "upper": [(slice(0, panel.stop), panel) for panel in panels],
    }[triangle]  # slices of the matrix: the nonzero rows of some columns, and these columns

    with single_threaded_blas():
        for block in _blocks(len(rows)):
            product = np.empty((len(rows[block]), f), rows.dtype)
            for taken, given in parts:
                product[:, given] = rows[block, taken] @ matrix[taken, given]
            with np.errstate(over="ignore", under="ignore"):  # in the conversion to float16
                out[block, :f] = product + 0  # normalize -0.0 to 0.0
            out[block, f:] = 0


def gramian(
    rows: NDArray[Any],
    out: NDArray[np.float64],
    num_threads: int | None = None,  # noqa: ARG001
) -> None:
    """See `alternant.kernels.gramian`."""
    out[:] = 0
    with single_threaded_blas(), np.errstate(over="ignore", invalid="ignore"):  # the caller checks the result
        for block in _blocks(len(rows)):
            wide = rows[block].astype(np.float64)
            out += wide.T @ wide


def squared_norms(
    rows: NDArray[Any],
    out: NDArray[np.float64],
    num_threads: int | None = None,  # noqa: ARG001
) -> None:
    """See `alternant.kernels.squared_norms`."""
    for block in _blocks(len(rows)):
        wide = rows[block].astype(np.float64)
        out[block] = np.einsum("uf,uf->u", wide, wide)


def _blocks(rows: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, rows, BLOCK)]
