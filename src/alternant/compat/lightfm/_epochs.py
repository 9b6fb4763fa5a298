"""Epochs of the logistic loss with Adagrad, over a grid of blocks that share no users and no items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ...kernels import Factors
from ...models.sgd.trainer import WORK_PER_THREAD


class Epochs:
    """The pairs of a fit in the order in which they are processed.

    Parameters
    ----------
    rows, columns : int arrays, shape (p,)
        The users and items of the pairs, which may occur several times.
    weight, target : float32 arrays, shape (p,)
        The weight of each pair, and 1 for a like, 0 for a dislike.
    shape : (int, int)
        Numbers of users and items.
    width : int
        Number of factors.
    seed : int
        Seed of the grid and of its schedules.
    num_threads : int
        Number of threads; no result depends on it.
    """

    def __init__(
        self, rows: NDArray[Any], columns: NDArray[Any], weight: NDArray[np.float32], target: NDArray[np.float32],
        shape: tuple[int, int], width: int, seed: int, num_threads: int,
    ) -> None:  # fmt: skip
        self.rng = np.random.default_rng(seed)
        m, n = shape
        order = np.argsort(rows, kind="stable")
        self.counts = np.bincount(rows, minlength=m), np.bincount(columns, minlength=n)
        indptr = np.concatenate([[0], np.cumsum(self.counts[0])])
        blocks = kernels.block_count(m, n, len(order))
        self.cut = kernels.cut(indptr, columns[order], n, blocks, self.rng, num_threads)
        entries = order[self.cut.entries]
        self.weight, self.target = weight[entries], target[entries]
        self.num_threads = min(num_threads, 1 + len(order) * width // (blocks * WORK_PER_THREAD))

    def run(
        self, factors: Factors, squares: Factors, epochs: int, learning_rate: float, alpha: tuple[float, float],
        progress: Any,
    ) -> tuple[Factors, Factors]:  # fmt: skip
        """Return the factors and Adagrad's sums after some epochs; the arguments are left as they are."""
        orders = self.cut.row_order, self.cut.column_order
        factors, squares = (_reordered(parts, orders) for parts in (factors, squares))
        grid, no_negatives = self.cut.grid, np.zeros(len(factors.X))
        for _ in range(epochs):
            before = self._rates(squares, learning_rate)
            kernels.logistic_epoch(
                grid, grid.diagonals(self.rng.permutation(grid.blocks)), self.weight, self.target, no_negatives,
                factors, squares, learning_rate, (0.0, 0.0, 0.0, 0.0), num_threads=self.num_threads,
            )  # fmt: skip
            if any(alpha):
                walked = (before + self._rates(squares, learning_rate)) / 2
                for part, strength in zip(factors, alpha * 2, strict=True):
                    part *= np.exp(np.float32(-strength * walked))
            if not all(np.isfinite(part).all() for part in factors):
                raise ValueError(f"the fit diverges: lower learning_rate, got {learning_rate!r}, or the weights")
            progress.update()
        back = np.argsort(orders[0]), np.argsort(orders[1])
        return _reordered(factors, back), _reordered(squares, back)

    def _rates(self, squares: Factors, learning_rate: float) -> float:
        """Return the sum over all pairs of the mean learning rate of the numbers of the pair's user and item."""
        width = squares.X.shape[1] + 1
        total = 0.0
        for part, bias, order, counts in (
            (squares.X, squares.row_bias, self.cut.row_order, self.counts[0]),
            (squares.Y, squares.column_bias, self.cut.column_order, self.counts[1]),
        ):
            inverse = (1 / np.sqrt(part)).sum(axis=1, dtype=np.float64) + 1 / np.sqrt(bias)
            total += float(counts[order] @ inverse) / (2 * width)
        return learning_rate * total


def divided(squares: Factors, shape: tuple[int, int]) -> tuple[Factors, Factors]:
    """Return the sums of the first rows and columns, 1 for those that are new, and the sums of all others."""
    parts = []
    for part, rows in zip(squares, shape * 2, strict=True):
        new = np.ones((max(0, rows - len(part)), *part.shape[1:]), np.float32)
        parts.append((np.concatenate([part[:rows], new]), part[rows:]))
    of_rows, others = zip(*parts, strict=True)
    return Factors(*of_rows), Factors(*others)


def _reordered(parts: Factors, orders: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Factors:
    rows, columns = orders
    return Factors(parts.X[rows], parts.Y[columns], parts.row_bias[rows], parts.column_bias[columns])
