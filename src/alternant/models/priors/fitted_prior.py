"""The prior that a fit learned from features, for rows that come later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import release
from ...data.csr import CSR
from ...data.feature_columns import FeatureColumns
from .prior import Prior, Regression, blocks
from .products import with_products


@dataclass(frozen=True)
class FittedPrior:
    """The regression of one side's factors on its features.

    Attributes
    ----------
    weights : float64 array, shape (d + p + 1, f)
        A, with the constant as the last row; 0 if the features were left out.
    mean : float64 array, shape (f,)
        The prior mean of rows whose features are unknown: the weighted mean of the fit's factors.
    features : CSR, shape (n, d)
        The features of the model's rows.
    known : bool array, shape (n,)
        Rows whose features are known: not those that were added without.
    strength : float
        The ridge relative to the scale of the features; infinite if the features were left out.
    columns : FeatureColumns or None
        What the columns stand for, if they came from `Features`.
    products : int32 array, shape (p, 2), or None
        Pairs of features whose products are features, too.
    """

    weights: NDArray[np.float64]
    mean: NDArray[np.float64]
    features: CSR
    known: NDArray[np.bool_]
    strength: float
    columns: FeatureColumns | None = None
    products: NDArray[np.int32] | None = None

    @property
    def active(self) -> bool:
        """Whether the features were used."""
        return bool(np.isfinite(self.strength))

    def means(self, features: CSR, known: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """Return the prior means of rows with these features; `known` says whose features are known (None: all)."""
        dtype = features.data.dtype
        F = with_products(features.to_scipy(), self.products)
        means = F @ self.weights[:-1].astype(dtype) + self.weights[-1].astype(dtype)
        if known is not None and not known.all():
            means[~known] = self.mean
        return np.ascontiguousarray(means, dtype)

    def of_rows(self, numbers: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the prior means of rows of the model, or (numbers beyond them) of rows of which nothing is known."""
        features, known = self.rows(numbers, dtype)
        return self.means(features, known)

    def rows(self, numbers: NDArray[np.int64], dtype: np.dtype[Any]) -> tuple[CSR, NDArray[np.bool_]]:
        """Return the features of rows of the model, and whether they are known."""
        there = numbers < len(self.known)
        at = np.where(there, numbers, 0)
        known = there & self.known[at] if len(self.known) else there
        empty = CSR(np.zeros(len(numbers) + 1, np.int64), np.empty(0, np.int32), np.empty(0, dtype),
                    (len(numbers), self.features.shape[1]))  # fmt: skip
        if not known.any():
            return empty, known
        some = np.flatnonzero(known)
        return empty.replace(some, self.features.take(numbers[some])), known

    def replaced(self, numbers: NDArray[np.int64], features: CSR, known: NDArray[np.bool_]) -> Self:
        """Return a copy with the features of some rows replaced, or of new rows appended."""
        of_all = np.zeros(max(len(self.known), numbers.max(initial=-1) + 1), bool)
        of_all[: len(self.known)] = self.known
        of_all[numbers] = known
        return replace(self, features=self.features.replace(numbers, features), known=of_all)


class Finished(NamedTuple):
    """The factors of a model after an iteration, and further attributes."""

    user_factors: NDArray[Any]
    item_factors: NDArray[Any]
    state: dict[str, Any]


def fitted_state(of_users: FittedPrior | None, of_items: FittedPrior | None) -> dict[str, Any]:
    """Return the priors of a fit as attributes of the model."""
    strengths = tuple(None if prior is None else prior.strength for prior in (of_users, of_items))
    return {"_user_prior": of_users, "_item_prior": of_items, "feature_regularization_": strengths}


def finish_prior(prior: Prior | None, factors: NDArray[Any], unknowns: NDArray[Any] | None) -> FittedPrior | None:
    """Return what a fit has learned about one side, whose factors (their unknowns) these are; None without features."""
    if prior is None:
        return None
    assert unknowns is not None
    if prior.chosen is None and prior.ended:
        prior.begin(unknowns)
    return fitted_prior(prior, prior.of(factors, unknowns), unknowns)


def fitted_prior(prior: Prior, regression: Regression | None, unknowns: NDArray[Any]) -> FittedPrior:
    """Return a regression of one side's unknowns (None: features are not used) as what a fit has learned."""
    if regression is None:
        weights, total = np.zeros((prior.extended.shape[1], unknowns.shape[1])), np.zeros(unknowns.shape[1])
        for rows in blocks(len(unknowns)):
            total += np.einsum("u,uf->f", prior.row_weight[rows], unknowns[rows], dtype=np.float64)
            release(unknowns[rows])
    else:
        weights, total = regression.weights, regression.products[-1]  # of the constant
    mean = total / (prior.row_weight.sum() or 1.0)
    F = prior.features
    features = CSR.of(F.indptr, F.indices, F.data, F.shape)
    strength = float("inf") if regression is None else float(prior.chosen or 0)
    return FittedPrior(weights, mean, features, prior.known, strength, prior.columns, prior.products)
