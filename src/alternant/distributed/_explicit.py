"""`ExplicitALS` on a cluster: the scheme of `_sides` for its objective.

The problems of the items have no dense part, so that conjugate gradients are preconditioned by their lambdas, as on one
machine. The mean of the users' biases is a sum over the shards, which subtract it before the items are solved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models._bias_columns import bias_column
from ..models.als.explicit_objective import ExplicitObjective, common_bias, shift_of
from ..models.als.half_sweep import penalty
from ..models.als.solver import Solver
from ._cluster import Cluster, total
from ._sides import ItemProblems, ShardedSides, UserFactors, item_rows
from ._users import Swept


class ExplicitShardedSides(ShardedSides):
    """The row problems of a fit of `ExplicitALS`.

    Parameters
    ----------
    cluster, bounds, degrees, dtype
        As for `ShardedSides`.
    objective : ExplicitObjective
    mean : float
        The one to begin with.
    user_weight : float
        The sum of the lambdas of users with ratings.
    """

    def __init__(
        self, cluster: Cluster, bounds: list[int], degrees: NDArray[np.int64], objective: ExplicitObjective,
        mean: float, user_weight: float, dtype: np.dtype[Any],
    ) -> None:  # fmt: skip
        lambdas = objective._lambdas(item_rows(degrees, bounds[-1]), "item", dtype)
        rated = degrees > 0
        # Items without ratings become 0, whatever their lambda is, which must not be 0.
        super().__init__(cluster, bounds, degrees, np.where(rated, lambdas, lambdas.dtype.type(1)), dtype)
        self.items = replace(self.items, too_large="ratings")
        self.objective, self.mean, self._user_weight, self._rated = objective, mean, user_weight, rated
        self._true = replace(self.items, regularization=lambdas)
        self._item_weights = lambdas.astype(np.float64) * rated

    def state(self) -> dict[str, Any]:
        """Return the mean."""
        return {"mean_": self.mean}

    def fixed(self, items: NDArray[Any]) -> tuple[Any, ...]:
        """Return the items' factors and the mean."""
        return items, self.mean

    def penalty(self, items: NDArray[Any], solver: Solver) -> float:
        """Return the items' lambda term."""
        return penalty(self._true, items, solver, lambda rows: self.objective.unknowns(rows, "item"))

    def settle(self, version: int, swept: Sequence[Swept]) -> tuple[Any, ...]:
        """Subtract the mean of the users' biases from them."""
        if not self.objective.biases:
            return ()
        shift, _ = self._shift(swept)
        self.cluster.every("shift_users", version, shift)
        return (shift,)

    def settled(self, users: UserFactors, swept: Sequence[Swept]) -> float:
        """Add the mean of the users' biases to that of the ratings."""
        shift, gain = self._shift(swept)
        self.mean += shift
        users.penalty -= gain
        return -gain

    def _shift(self, swept: Sequence[Swept]) -> tuple[float, float]:
        return shift_of(self._user_weight, total([one.biases for one in swept]))

    def problems(self, own: NDArray[Any], users: UserFactors, solver: Solver) -> ItemProblems:
        """Return the problems of the items' factors and biases."""
        start = np.ascontiguousarray(self.objective.unknowns(own, "item"))
        return ItemProblems(start, np.zeros(start.shape[1]), None, self.mean)

    def solved(
        self, x: NDArray[Any], values: NDArray[np.float64], of: ItemProblems, solver: Solver
    ) -> tuple[NDArray[Any], float]:
        """Return the items' factors, and the objective of their rows; add the mean of their biases to the mean."""
        factors, value = self.objective.with_constant(x, "item"), float(values.sum())
        if self.objective.biases:
            shift, gain = common_bias(self._item_weights, np.ascontiguousarray(x[:, -1]))
            factors[self._rated, bias_column("item")] -= self.dtype.type(shift)
            self.mean += shift
            value -= gain
        return factors, value
