r"""Vectors that lean on features: after an epoch, they move towards what a regression on the features predicts.

    x_u  <-  x_u + r_u (A^T f_u - x_u),     r_u = g w / (w + n_u)

A is the ridge regression of one side's vectors on the features, n_u the number of a row's interactions, w the
`feature_weight`, and g the learning rate relative to that of the first epoch, at most 1. For vectors that are trained
by gradient steps, this is a proximal step towards the prior x_u ~ N(A^T f_u, 1 / lambda) of least squares
(`priors.prior`), once for all of the row's steps in an epoch. Rows without interactions are A^T f_u.

All rows with interactions count the same in the regression: rows are new at random, not in proportion to what they will
have, and weighted by interactions the regression is that of popular items alone (new items of steam-200k: NDCG@10 of
0.05 instead of 0.19). Products of features are not used: scores are logarithms of odds here, and products only make up
for squares that are fitted to probabilities (planted choices, bilinear in the features: NDCG@10 of new items is 0.528
without products, 0.501 with them, 0.497 by least squares). The ridge is the one with the least error in
cross-validation; a larger one of nearly the same error, as in least squares, ranks new movies 10 % worse.

An epoch costs O(nnz(F) f) more: the regression before it and that after it, which is the model's. The ridge is chosen
once in a fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import release
from ..._utils.threads import map_parallel
from .._checkpoint import Snapshot
from ..priors.fitted_prior import FittedPrior, finish_prior, fitted_prior
from ..priors.prior import Prior, blocks

if TYPE_CHECKING:
    from .._feature_model import Checked

FIRST_EPOCH = 5  # at whose end the regression begins: earlier vectors are still short


class Leaning:
    """The vectors of one side lean on a regression that does not change, that of an earlier fit.

    Parameters
    ----------
    fitted : FittedPrior
    counts : array, shape (n,)
        Interactions of each row.
    weight : float
        w.
    """

    fitted: FittedPrior | None

    def __init__(self, fitted: FittedPrior | None, counts: NDArray[Any], weight: float, num_threads: int) -> None:
        self.fitted, self._counts, self._weight, self._num_threads = fitted, counts, weight, num_threads

    def move(self, factors: NDArray[Any], vectors: NDArray[Any], rate: float) -> None:
        """Move vectors after an epoch, in place; `rate` is its learning rate, relative to the first one's.

        `vectors` are those columns of `factors` that an epoch trains.
        """
        self._lean(self.fitted, vectors, rate)

    def _lean(self, fitted: FittedPrior | None, vectors: NDArray[Any], rate: float) -> None:
        if fitted is None or not fitted.active:
            return

        def lean_block(rows: slice) -> None:
            means = fitted.means(fitted.features.between(rows.start, rows.stop), fitted.known[rows])
            lean(vectors[rows], means, self._counts[rows], self._weight, rate)
            release(vectors[rows])

        map_parallel(lean_block, blocks(len(vectors)), self._num_threads)


class LearnedLeaning(Leaning):
    """The vectors of one side lean on a regression that their fit learns, from its epoch `first` on."""

    prior: Prior

    def __init__(
        self, features: Checked, counts: NDArray[Any], weight: float, strength: float | str, first: int,
        num_threads: int,
    ) -> None:  # fmt: skip
        super().__init__(None, counts, weight, num_threads)
        matrix, known, columns = features
        alike = np.ones(len(counts), matrix.data.dtype)
        self.prior = Prior(
            matrix.to_scipy(), alike, counts > 0, None, strength, first, num_threads, known, columns,
            may_multiply=False, kept=1.0,
        )  # fmt: skip

    def move(self, factors: NDArray[Any], vectors: NDArray[Any], rate: float) -> None:
        """Regress the vectors, move them, and regress them again: rows without interactions are on this regression."""
        self._lean(fitted_prior(self.prior, self.prior.after(vectors), vectors), vectors, rate)
        after, empty = finish_prior(self.prior, factors, vectors), np.flatnonzero(self._counts == 0)
        if after is not None and after.active:
            vectors[empty] = after.of_rows(empty, vectors.dtype)

    def finish(self, factors: NDArray[Any], vectors: NDArray[Any]) -> tuple[FittedPrior | None, NDArray[Any]]:
        """Return the regression of these factors, and them with rows without interactions on it: a copy if they move.

        They move in factors of an epoch before the regression began.
        """
        fitted = finish_prior(self.prior, factors, vectors)
        empty = np.flatnonzero(self._counts == 0)
        if fitted is None or not fitted.active or not len(empty):
            return fitted, factors
        means, columns = fitted.of_rows(empty, vectors.dtype), vectors.shape[1]
        if not np.array_equal(vectors[empty], means):
            factors = factors.copy()
            factors[empty, :columns] = means
        return fitted, factors

    def snapshot(self) -> Snapshot:
        """Return what `restore` needs."""
        return self.prior.snapshot()

    def restore(self, saved: Snapshot, factors: NDArray[Any]) -> None:
        """Continue as saved, with these factors."""
        self.prior.restore(saved, factors)


def lean(vectors: NDArray[Any], means: NDArray[Any], counts: NDArray[Any], weight: float, rate: float) -> None:
    """Move vectors towards their means, in place; those without interactions are their means."""
    share = min(1.0, rate) * weight / (weight + np.maximum(counts, 1))
    step = means - vectors
    step *= share.astype(vectors.dtype)[:, None]
    vectors += step
    vectors[counts == 0] = means[counts == 0]
