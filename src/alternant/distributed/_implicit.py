"""`ImplicitALS` on a cluster: the scheme of `_sides` for its objective."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from .._utils.threads import single_threaded_blas
from ..kernels._thresholds import ALS_SINGULAR
from ..models.als.basis import Product, _of_minimum_norm
from ..models.als.degrees import like_new, like_new_exponent
from ..models.als.half_sweep import penalty
from ..models.als.implicit_objective import ImplicitObjective
from ..models.als.solver import Solver
from ..models.priors.fitted_prior import Finished
from ._cluster import Cluster, total
from ._sides import ItemProblems, ShardedSides, UserFactors, item_rows, singular_row


class ImplicitShardedSides(ShardedSides):
    """The row problems of a fit of `ImplicitALS`; `objective` has the degrees of all users and items."""

    def __init__(
        self, cluster: Cluster, bounds: list[int], objective: ImplicitObjective, constant: float, dtype: np.dtype[Any]
    ) -> None:
        degrees = objective.degrees
        assert degrees is not None
        lambdas = objective._row_lambda(item_rows(degrees.items, bounds[-1]), "item", dtype)
        super().__init__(cluster, bounds, degrees.items, lambdas, dtype)
        self.objective, self.user_degrees, self.constant = objective, degrees.users, constant

    def finish(self, users: Any, items: NDArray[Any]) -> Finished:
        """Return the model's factors."""
        finished = super().finish(users, items)
        self.objective.finish_users(finished.user_factors)
        return finished

    def fixed(self, items: NDArray[Any]) -> tuple[Any, ...]:
        """Return the items as a half-sweep of the users fixes them."""
        return (self.objective.fixed(items, "item"),)

    def penalty(self, items: NDArray[Any], solver: Solver) -> float:
        """Return the items' lambda term."""
        return penalty(self.items, items, solver)

    def problems(self, own: NDArray[Any], users: UserFactors, solver: Solver) -> ItemProblems:
        """Return the problems of the items, in the eigenbasis of their dense part."""
        start = self.objective.start(own, "item")
        assert start is not None
        g, Q = self._coordinates(np.asarray(users.gramian))
        x = np.empty(start.shape, self.dtype)
        Product(Q, self.dtype)(np.ascontiguousarray(start), x, solver)  # as T is Q, its inverse is Q^T
        return ItemProblems(x, g, Q)

    def _coordinates(self, gramian: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the eigenvalues of the dense part of the items' problems, and its eigenvectors as columns."""
        w0 = self.objective.unobserved_weight
        if not w0 * np.trace(gramian) <= np.finfo(self.dtype).max:  # NaN included
            raise ValueError(
                f"factors and the sums of their squares must be finite in {self.dtype}: lower init_scale or "
                "unobserved_weight"
            )
        with single_threaded_blas():
            g, Q = scipy.linalg.eigh(w0 * gramian, driver="evd")
        if w0 > 0:
            g, Q = _of_minimum_norm(g, Q, self.dtype)
        lambdas = self.items.regularization
        least, greatest = float(g.min()), float(g.max())
        doubtful = ~(least + lambdas > ALS_SINGULAR[self.dtype] * (greatest + lambdas))
        if doubtful.any():
            raise singular_row(self.items.name(int(doubtful.argmax())))
        return g, Q

    def solved(
        self, x: NDArray[Any], values: NDArray[np.float64], of: ItemProblems, solver: Solver
    ) -> tuple[NDArray[Any], float]:
        """Return the items' factors, and the objective of their rows, from their solutions."""
        assert of.outer is not None
        factors = np.empty_like(x)
        Product(of.outer.T, self.dtype)(x, factors, solver)
        weights = self.objective._weights("item")
        value = float((values if weights is None else weights**2 * values).sum())
        return self.objective.finish_items(factors, self.degrees), value

    def unknown_users(self, held: UserFactors) -> NDArray[Any] | None:
        """Return the factors of the mean user."""
        cluster = self.cluster
        exponent = like_new_exponent(self.user_degrees)
        sums = cluster.attempt(
            lambda: cluster.every("user_sum", held.version, exponent), lambda *shard: self._ensure(held, *shard)
        )
        weight = like_new(self.user_degrees, exponent).sum()
        return np.asarray(total(sums) / (weight or 1.0), self.dtype)
