"""Epochs of LightFM's ranking losses, WARP and BPR, over the kernels of `alternant.BPR`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...data.csr import CSR
from ...kernels import Factors, Sides
from ...models import BPR
from ...models.sgd.pairwise import PairwiseTraining

MAX_LOSS = 10.0  # of WARP's weight


class _Ranking(BPR):
    """BPR with LightFM's weight in WARP, log(max(1, (n - 1) // draws)), instead of one relative to the last rank."""

    def _rank_weights(self, n: int) -> NDArray[np.float64] | None:
        if self.loss == "bpr":
            return super()._rank_weights(n)
        rank = np.maximum(1, (n - 1) // np.arange(1, self.max_sampled + 1))
        return np.minimum(np.log(rank), MAX_LOSS)


class RankingEpochs:
    """The likes of a fit in the order in which they are processed; see `_epochs.Epochs`.

    As in LightFM, negatives are drawn uniformly for WARP, and by popularity for BPR.
    """

    def __init__(
        self, rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int], loss: str, max_sampled: int,
        width: int, learning_rate: float, seed: int, num_threads: int,
    ) -> None:  # fmt: skip
        self.model = _Ranking(
            factors=width, loss="warp" if loss == "warp" else "bpr", max_sampled=max_sampled if loss == "warp" else 1,
            sampling="uniform" if loss == "warp" else "popularity", learning_rate=learning_rate,
            learning_rate_decay=1.0, regularization=0.0, num_threads=num_threads,
        )  # fmt: skip
        ones = sparse.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
        ones.sum_duplicates()
        likes = CSR.of(ones.indptr, ones.indices, ones.data, shape)
        self.training = PairwiseTraining(self.model, likes, None, np.random.default_rng(seed))
        self.epoch = 0

    def run(
        self, factors: Factors, squares: Factors, epochs: int, learning_rate: float, alpha: tuple[float, float],
        progress: Any,
    ) -> tuple[Factors, Factors]:  # fmt: skip
        """Return the factors and Adagrad's sums after some epochs; biases of users are left as they are."""
        training = self.training
        training.sides, training.squares = (
            Sides(parts.X[training.rows], parts.Y[training.columns], parts.column_bias[training.columns])
            for parts in (factors, squares)
        )
        for _ in range(epochs):
            self.epoch += 1
            before = self._rate(learning_rate)
            try:
                done = training.step(self.epoch)
            except OverflowError:
                raise ValueError(f"the fit diverges: lower learning_rate, got {learning_rate!r}") from None
            if any(alpha):
                walked = done.record["triples"] * (before + self._rate(learning_rate)) / 2
                for part, strength in zip(training.sides, (*alpha, alpha[1]), strict=True):
                    part *= np.exp(np.float32(-strength * walked))
            progress.update()
        users, items = training.inverse_orders
        parts = (
            Factors(of.X[users], of.Y[items], own.row_bias, of.column_bias[items])
            for of, own in ((training.sides, factors), (training.squares, squares))
        )
        return next(parts), next(parts)

    def _rate(self, learning_rate: float) -> float:
        """Return the mean learning rate of a step, over the numbers of its user, its item and its negative."""
        squares = self.training.squares
        assert squares is not None
        users = (1 / np.sqrt(squares.X)).mean(axis=1, dtype=np.float64)
        items = (1 / np.sqrt(np.column_stack([squares.Y, squares.column_bias]))).mean(axis=1, dtype=np.float64)
        by_user, by_item = self.training.counts
        total = max(1, int(by_user.sum()))
        return float(learning_rate * (by_user @ users / total + by_item @ items / total + items.mean()) / 3)
