r"""Vectors that lean on features: after each epoch, they move toward what a regression on the features predicts.

    x_u  <-  x_u + r_u (A^T f_u - x_u),     r_u = g w / (w + n_u)

A is the ridge regression of one side's vectors on the features, n_u the number of a row's interactions, w the
`feature_weight`, and g the learning rate relative to that of the first epoch. For vectors that are trained by gradient
steps, this is a proximal step toward the prior x_u ~ N(A^T f_u, 1 / lambda) of least squares (`priors.prior`), once for
all of the row's steps in an epoch. Rows without interactions are A^T f_u.

In the regression, all rows with interactions count the same: rows are new at random, not in proportion to what they
will have, and weighted by interactions the regression is that of popular items alone (new items of steam-200k: NDCG@10
of 0.05 instead of 0.19). Products of features are not features: scores are logarithms of odds here, and products only
make up for squares that are fitted to probabilities (planted choices, bilinear in the features: NDCG@10 of new items is
0.528 without products, 0.501 with them, 0.497 by least squares). The ridge is the one with the least error in
cross-validation; a larger one of nearly the same error, as in least squares, ranks new movies 10 % worse.

An epoch costs O(nnz(F) f) more, and the fit one factorization of F^T F.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..priors.fitted_prior import FittedPrior, finish_prior
from ..priors.prior import Prior, product

if TYPE_CHECKING:
    from .._feature_model import Checked

FIRST_EPOCH = 5  # at whose end the regression begins: earlier vectors are still short


class Leaning:
    """What the vectors of one side lean on: a regression that the fit learns, or that of an earlier fit.

    Parameters
    ----------
    prior : Prior or FittedPrior
    counts : array, shape (n,)
        Interactions of each row.
    weight : float
        The number of interactions that the prior weighs as much as.
    """

    def __init__(self, prior: Prior | FittedPrior, counts: NDArray[Any], weight: float, num_threads: int) -> None:
        self.prior, self._counts, self._weight, self._num_threads = prior, counts, weight, num_threads
        self._given: NDArray[Any] | None = None  # means of a regression that does not change

    @classmethod
    def of(
        cls, features: Checked, counts: NDArray[Any], weight: float, strength: float | str, first: int,
        num_threads: int,
    ) -> Leaning:  # fmt: skip
        """Return what the vectors of a fit lean on, from its epoch `first` on."""
        matrix, known, columns = features
        alike = np.ones(len(counts), matrix.data.dtype)
        prior = Prior(
            matrix.to_scipy(), alike, counts > 0, None, strength, first, num_threads, known, columns,
            may_multiply=False, kept=1.0,
        )  # fmt: skip
        return cls(prior, counts, weight, num_threads)

    def move(self, vectors: NDArray[Any], rate: float) -> None:
        """Move vectors after an epoch, in place; `rate` is its learning rate, relative to the first one's."""
        means = self._means(vectors)
        if means is not None:
            lean(vectors, means, self._counts, self._weight, rate)

    def _means(self, vectors: NDArray[Any]) -> NDArray[Any] | None:
        if isinstance(self.prior, FittedPrior):
            if self._given is None:
                self._given = self.prior.of_rows(np.arange(len(vectors)), vectors.dtype)
            return self._given
        regression = self.prior.after(vectors)
        return None if regression is None else product(self.prior.extended, regression.weights, self._num_threads)

    def finish(self, factors: NDArray[Any], vectors: NDArray[Any]) -> FittedPrior | None:
        """Return the regression of a side's vectors at the end of an epoch, and move those without interactions to it.

        `vectors` are those columns of `factors` that an epoch trains.
        """
        if isinstance(self.prior, FittedPrior):
            return self.prior
        fitted = finish_prior(self.prior, factors, vectors)
        empty = np.flatnonzero(self._counts == 0)
        if fitted is not None and fitted.active and len(empty):
            vectors[empty] = fitted.of_rows(empty, vectors.dtype)
        return fitted


def lean(
    vectors: NDArray[Any], means: NDArray[Any], counts: NDArray[Any], weight: float, rate: float
) -> None:  # fmt: skip
    """Move vectors toward their means, in place; those without interactions are their means."""
    share = np.ones(len(counts))
    some = counts > 0
    share[some] = min(1.0, rate) * weight / (weight + counts[some])
    vectors += share.astype(vectors.dtype)[:, None] * (means - vectors)
