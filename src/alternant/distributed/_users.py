"""The row problems of the users of a shard, and their share in those of the items, for each model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._utils.threads import weighted_sum
from ..models._bias_columns import constant_column
from ..models.als.basis import Basis, gramian
from ..models.als.explicit_objective import (
    ExplicitObjective,
    bias_weights,
    biases_of,
    shift_biases,
    with_targets,
)
from ..models.als.half_sweep import half_sweep, penalty
from ..models.als.implicit_objective import ImplicitObjective
from ..models.als.observed import Observed
from ..models.als.problems import RowProblems
from ..models.als.solver import Solver

BasisOf = Callable[[NDArray[Any], float, Solver], Basis]


class Swept(NamedTuple):
    """What a half-sweep of the users of a shard tells the others."""

    objective: float
    steps: float  # of conjugate gradients, in total
    penalty: float  # the sum of ``lambda_u |x_u|^2``, of the users as the items' half-sweep fixes them
    gramian: NDArray[np.float64] | float = 0.0  # of these
    biases: float = 0.0  # the sum of lambdas times biases


class ImplicitUsers:
    """Those of `ImplicitALS`.

    Parameters
    ----------
    objective : ImplicitObjective
        The one of all users, whose degrees lack those of the users: the shard has its own.
    observed : Observed
        The interactions of the shard.
    first : int
        The row number of its first user.
    solver : Solver

    Attributes
    ----------
    share : float
        The share of the objective at factors of 0.
    users, items : RowProblems
        The problems of the users, and the share of these in those of the items.
    """

    def __init__(self, objective: ImplicitObjective, observed: Observed, first: int, solver: Solver) -> None:
        assert objective.degrees is not None
        degrees = replace(objective.degrees, users=observed.counts[0])
        self.objective, self.solver = replace(objective, degrees=degrees), solver
        numbers = first + np.arange(observed.shape[0])
        self.users: RowProblems = self.objective.problems(observed.users, "user", numbers)
        items = self.objective.problems(observed.items, "item")
        self.items: RowProblems = replace(items, target=items.targets(), target_scale=None)
        self.share = self.objective.constant(observed, self.users)

    def solve(
        self, own: NDArray[Any] | None, fixed: NDArray[Any], mean: float, basis_of: BasisOf
    ) -> tuple[NDArray[Any], Swept]:
        """Run a half-sweep of the users, with the items' factors as it fixes them."""
        basis = basis_of(fixed, self.objective.unobserved_weight, self.solver)
        solved = half_sweep(self.users, own, basis, self.solver, self.objective._weights("user"))
        sent, steps = self.fixed(solved.factors), solved.mean_steps * len(solved.factors)
        dense = gramian(sent, self.solver)
        return solved.factors, Swept(solved.objective, steps, penalty(self.users, sent, self.solver), dense)

    def fixed(self, factors: NDArray[Any]) -> NDArray[Any]:
        """Return the users as the items' half-sweep fixes them."""
        return self.objective.fixed(factors, "user", self.solver)

    def targets(self, factors: NDArray[Any], mean: float) -> tuple[Any, float]:
        """Return the targets of the items' problems, and what they add to the objective at factors of 0."""
        return self.items.target, 0.0

    def shift(self, factors: NDArray[Any], shift: float) -> None:
        """Do nothing: there are no biases."""


class ExplicitUsers:
    """Those of `ExplicitALS`; see `ImplicitUsers`. `share` is the sum of the lambdas of users with ratings."""

    def __init__(self, objective: ExplicitObjective, observed: Observed, first: int, solver: Solver) -> None:
        self.objective, self.solver = objective, solver
        numbers = first + np.arange(observed.shape[0])
        self.users: RowProblems = objective.problems(observed.users, None, "user", numbers)
        self.items: RowProblems = objective.problems(observed.items, None, "item")
        self._weights = bias_weights(self.users)
        self.share = float(self._weights.sum())

    def solve(
        self, own: NDArray[Any] | None, fixed: NDArray[Any], mean: float, basis_of: BasisOf
    ) -> tuple[NDArray[Any], Swept]:
        """Run a half-sweep of the users, with these factors of the items."""
        solved = self.objective.solve(self.users, own, fixed, mean, self.solver)
        squares = penalty(self.users, solved.factors, self.solver, lambda x: self.objective.unknowns(x, "user"))
        biases = 0.0
        if self.objective.biases:
            biases = weighted_sum(self._weights, biases_of(solved.factors, "user"))
        return solved.factors, Swept(
            solved.objective, solved.mean_steps * len(solved.factors), squares, biases=biases
        )

    def fixed(self, factors: NDArray[Any]) -> NDArray[Any]:
        """Return the users as the items' half-sweep fixes them: without their biases."""
        return np.delete(factors, constant_column("item"), axis=1) if self.objective.biases else factors

    def targets(self, factors: NDArray[Any], mean: float) -> tuple[Any, float]:
        """Return the targets of the items' problems, and what they add to the objective at factors of 0."""
        bias = biases_of(factors, "user") if self.objective.biases else None
        problems, constant = with_targets(self.items, bias, mean, factors.dtype)
        return problems.target, constant

    def shift(self, factors: NDArray[Any], shift: float) -> None:
        """Subtract the weighted mean of all biases from them."""
        shift_biases(self.users, factors, shift)
