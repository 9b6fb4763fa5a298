"""Learning from one positive and many negatives in plain NumPy: a batch at a time, all arithmetic in float64.

Cost of a row: 3 |N| f multiply-adds, 4 f for each positive, and |N| exponentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._batches import Batches, Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray


def contrastive_epoch(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    batches: Batches,
    order: NDArray[np.int64],
    negatives: NDArray[np.int32],
    X: NDArray[Any],
    Y: NDArray[Any],
    row_squares: NDArray[np.float64],
    column_squares: NDArray[np.float64],
    row_weight: NDArray[np.float64],
    ranking: Ranking,
    learning_rate: float,
    update_columns: bool = True,
    num_threads: int | None = None,  # noqa: ARG001 - one thread; the signature is the contract's
) -> float:
    """See `alternant.kernels.contrastive_epoch`."""
    total = 0.0
    for b, sample in zip(order, negatives, strict=True):
        begin, end = batches.row_edges[b : b + 2]
        u = np.repeat(np.arange(end - begin), np.diff(indptr[begin : end + 1]))
        i = indices[indptr[begin] : indptr[end]]
        if len(u) == 0:
            continue
        x, y, z = X[begin:end].astype(np.float64), Y[i].astype(np.float64), Y[sample].astype(np.float64)
        losses, slope, slopes = _derivatives(np.einsum("ef,ef->e", x[u], y), (x @ z.T)[u], ranking)
        weight = row_weight[begin:end][u]
        slope, slopes = weight * slope, weight[:, None] * slopes
        total += float(weight @ losses)
        gradient = np.zeros_like(x)
        np.add.at(gradient, u, slope[:, None] * y + slopes @ z)
        columns = np.unique(np.append(i, sample))
        column_gradient = np.zeros((len(columns), x.shape[1]))
        np.add.at(column_gradient, np.searchsorted(columns, i), slope[:, None] * x[u])
        np.add.at(column_gradient, np.searchsorted(columns, sample), slopes.T @ x[u])
        _step(X, np.arange(begin, end), gradient, row_squares, learning_rate)
        if update_columns:
            _step(Y, columns, column_gradient, column_squares, learning_rate)
    return total


def _derivatives(
    score: NDArray[np.float64], scores: NDArray[np.float64], ranking: Ranking
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the losses, and their derivatives by the score of the positive and by those of the negatives."""
    if ranking.loss == "softmax":
        exponents = np.column_stack([np.zeros(len(score)), (scores - score[:, None]) / ranking.temperature])
        greatest = exponents.max(axis=1, keepdims=True)
        powers = np.exp(exponents - greatest)
        shares = powers / powers.sum(axis=1, keepdims=True)
        losses = greatest[:, 0] + np.log(powers.sum(axis=1))
        return losses, -shares[:, 1:].sum(axis=1) / ranking.temperature, shares[:, 1:] / ranking.temperature
    weight = ranking.weight / scores.shape[1]
    losses = 1 - score + weight * np.maximum(0, scores - ranking.margin).sum(axis=1)
    return losses, np.full(len(score), -1.0), weight * (scores > ranking.margin)


def _step(
    vectors: NDArray[Any], rows: NDArray[np.int64], gradient: NDArray[np.float64], squares: NDArray[np.float64],
    learning_rate: float,
) -> None:  # fmt: skip
    """Move unit vectors along their sphere."""
    v = vectors[rows].astype(np.float64)
    gradient = gradient - np.einsum("rf,rf->r", gradient, v)[:, None] * v
    square = np.einsum("rf,rf->r", gradient, gradient)
    squares[rows] += square
    moved = square > 0
    if learning_rate == 0 or not moved.any():
        return
    rows, v, gradient = rows[moved], v[moved], gradient[moved]
    v -= learning_rate * gradient / np.sqrt(squares[rows])[:, None]
    vectors[rows] = v / np.linalg.norm(v, axis=1, keepdims=True)
