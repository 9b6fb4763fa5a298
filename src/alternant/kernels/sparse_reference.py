"""Products of sparse matrices, and their greatest entries, in plain NumPy: one row of sums at a time.

Cost of a row: its products, and n for the sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from numpy.typing import NDArray


def top_k_sparse(
    left: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None],
    right: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None],
    columns: int,
    k: int,
    exclude: tuple[NDArray[np.int64], NDArray[Any]] | None,
    out_ids: NDArray[np.int32],
    out_values: NDArray[Any],
    row_norms: NDArray[Any] | None = None,
    column_norms: NDArray[Any] | None = None,
    shrinkage: float = 0.0,
    num_threads: int | None = None,  # noqa: ARG001 - one thread; the signature is the contract's
) -> None:
    """See `alternant.kernels.top_k_sparse`."""
    b = np.ones(columns) if column_norms is None else column_norms.astype(np.float64)
    for r in range(len(out_ids)):
        sums = _row(left, right, columns, r)
        a = 1.0 if row_norms is None else float(row_norms[r])
        if exclude is not None:
            sums[exclude[1][exclude[0][r] : exclude[0][r + 1]]] = 0
        (found,) = sums.nonzero()
        with np.errstate(divide="ignore", invalid="ignore"):  # norms may be 0
            values = (sums[found] / (a * b[found] + shrinkage)).astype(out_values.dtype)
        found, values = found[~np.isnan(values)], values[~np.isnan(values)]
        best = np.lexsort((found, -values))[:k]
        out_ids[r], out_values[r] = -1, -np.inf
        out_ids[r, : len(best)], out_values[r, : len(best)] = found[best], values[best]


def multiply_sparse(
    left: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None],
    right: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None],
    out: NDArray[Any],
    num_threads: int | None = None,  # noqa: ARG001 - as above
) -> None:
    """See `alternant.kernels.multiply_sparse`."""
    for r in range(len(out)):
        out[r] = _row(left, right, out.shape[1], r)


def multiply_sparse_dense(
    left: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None],
    right: NDArray[Any],
    out: NDArray[Any],
    num_threads: int | None = None,  # noqa: ARG001 - as above
) -> None:
    """See `alternant.kernels.multiply_sparse_dense`."""
    entries = slice(left[0][0], left[0][-1])
    indices = left[1][entries]
    values = np.ones(len(indices), out.dtype) if left[2] is None else left[2][entries]
    out[:] = csr_array((values, indices, left[0] - left[0][0]), shape=(len(out), len(right))) @ right


def _row(left: Any, right: Any, columns: int, r: int) -> NDArray[np.float64]:
    """Return row r of the product."""
    sums = np.zeros(columns)
    for e in range(left[0][r], left[0][r + 1]):
        factor = 1.0 if left[2] is None else float(left[2][e])
        part = slice(right[0][left[1][e]], right[0][left[1][e] + 1])
        values = 1.0 if right[2] is None else right[2][part].astype(np.float64)
        np.add.at(sums, right[1][part], factor * values)
    return sums
