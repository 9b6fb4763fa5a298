"""The objective of `ExplicitALS`: from ratings to row problems, including biases and mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.threads import weighted_sum
from ...data.csr import CSR
from .._bias_columns import bias_column, constant_column, with_constant, without_constant
from .._fit_loop import HalfSweep
from .basis import Basis
from .fitted_prior import Finished, FittedPrior, finish_prior, fitted_state
from .half_sweep import half_sweep, penalty
from .prior import Prior, Regression
from .problems import RowProblems, row_lambdas
from .solver import Solver


@dataclass(frozen=True)
class ExplicitObjective:
    """The objective of `ExplicitALS`.

    With biases, a user's factors are ``(x_u, b_u, 1)`` and an item's ``(y_i, 1, b_i)``.
    """

    regularization: tuple[float, float]
    regularization_scaling: str
    biases: bool

    def problems(
        self, rows: CSR, weight: NDArray[Any] | None, kind: str, numbers: NDArray[np.int64] | None = None
    ) -> RowProblems:
        """Return the row problems of one side, with the ratings as targets."""
        complete = weight is None and len(rows.data) == rows.shape[0] * rows.shape[1]
        weight = np.ones_like(rows.data) if weight is None else weight
        counts = np.diff(rows.indptr).astype(np.float64)
        scale = counts if self.regularization_scaling == "count" else np.ones_like(counts)
        own = self.regularization[0 if kind == "user" else 1]
        lambdas = row_lambdas(own, scale, rows.data.dtype, self.regularization_scaling)
        return RowProblems(
            rows.indptr, rows.indices, weight, rows.data, lambdas, kind, numbers, complete, "ratings or weights"
        )

    def solve(
        self, problems: RowProblems, ratings: NDArray[np.float64], own: NDArray[Any] | None, fixed: NDArray[Any],
        mean: float, solver: Solver,
    ) -> HalfSweep:  # fmt: skip
        """Solve one side with the mean and the other side fixed; the objective lacks the other side's lambda term."""
        kind = problems.kind
        design, residual = fixed, ratings
        start = None if own is None else self.unknowns(own, kind)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            if self.biases:
                # To the unknowns (x_u, b_u), an item is (y_i, 1) with target r - mean - b_i; likewise for items.
                other = constant_column(kind)  # the other side's biases
                design, residual = np.delete(fixed, other, axis=1), ratings - mean - fixed[problems.indices, other]
            target = (problems.weight * residual).astype(fixed.dtype)
            constant = weighted_sum(problems.weight, residual**2)
        if not (np.isfinite(target).all() and np.isfinite(design).all() and np.isfinite(constant)):
            raise OverflowError(
                f"factors, weights times ratings, and the weighted sum of squares must be finite in {fixed.dtype}: "
                "lower the ratings, their weights or init_scale, or use dtype='float64'"
            )
        solved = half_sweep(replace(problems, target=target), start, Basis.identity(design, solver.pool), solver)
        return HalfSweep(self.with_constant(solved.factors, kind), solved.objective + constant, solved.mean_steps)

    def unknowns(self, factors: NDArray[Any], kind: str) -> NDArray[Any]:
        """Return the columns that a half-sweep solves for: ``(x_u, b_u)`` or ``(y_i, b_i)``."""
        return without_constant(factors, kind) if self.biases else factors

    def with_constant(self, unknowns: NDArray[Any], kind: str) -> NDArray[Any]:
        """Undo `unknowns`."""
        return with_constant(unknowns, kind) if self.biases else unknowns


class ExplicitSides:
    """The row problems of both sides of a fit, and the mean, which every half-sweep updates."""

    problems: dict[str, RowProblems]
    ratings: dict[str, NDArray[np.float64]]

    def __init__(
        self, objective: ExplicitObjective, rows: CSR, weight: NDArray[Any] | None, mean: float,
        prior_of: Callable[..., dict[str, Prior]] | None = None,
    ) -> None:  # fmt: skip
        self.objective = objective
        self.mean: float = mean
        self.sample_weight = weight
        by_items = rows.transpose()
        weight_by_items = None
        if weight is not None:
            weight_by_items = CSR(rows.indptr, rows.indices, weight, rows.shape).transpose().data
        self.problems = {
            "user": objective.problems(rows, weight, "user"),
            "item": objective.problems(by_items, weight_by_items, "item"),
        }
        self.ratings = {kind: side.targets().astype(np.float64) for kind, side in self.problems.items()}
        self.priors: dict[str, Prior] = {}
        if prior_of is not None:
            self.priors = prior_of(*((problems, None) for problems in self.problems.values()))

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the mean that an iteration left."""
        self.mean = state["mean_"]

    def half_sweep(self, kind: str, own: NDArray[Any] | None, fixed: NDArray[Any], solver: Solver) -> HalfSweep:
        """Solve one side with the other fixed, then move the weighted mean of the biases to the mean."""
        by, problems = self.objective, self.problems[kind]
        other_kind = {"user": "item", "item": "user"}[kind]
        other = penalty(self.problems[other_kind], by.unknowns(fixed, other_kind), solver)
        before, fixed_by = self._regression(kind, own), self._regression(other_kind, fixed)
        if before is not None:
            problems = replace(problems, linear=self.priors[kind].linear(before))
        solved = by.solve(problems, self.ratings[kind], own, fixed, self.mean, solver)
        objective = solved.objective + other + (0.0 if fixed_by is None else fixed_by.value)
        prior, x = self.priors.get(kind), by.unknowns(solved.factors, kind)
        after = None if prior is None else prior.after(x)
        if by.biases and (prior is None or not prior.active):  # a prior has a constant, which takes the biases' mean
            shift, gain = common_bias(problems, x[:, -1])
            self.mean += shift
            rated = np.diff(problems.indptr) > 0  # an unrated row keeps its bias of 0
            solved.factors[rated, bias_column(kind)] -= solved.factors.dtype.type(shift)
            objective -= gain
        if prior is not None:
            objective += prior.gain(before, after)
            prior.remember(solved.factors, after)
        return HalfSweep(solved.factors, objective, solved.mean_steps, {"mean_": self.mean})

    def _regression(self, kind: str, factors: NDArray[Any] | None) -> Regression | None:
        """Return the regression of one side's factors on its features, if there are any."""
        prior = self.priors.get(kind)
        if prior is None or factors is None:
            return None
        return prior.of(factors, self.objective.unknowns(factors, kind))

    def finish(self, users: NDArray[Any], items: NDArray[Any]) -> Finished:
        """Give rows without ratings, whose factors are 0, those that their features imply."""
        sides = {"user": users, "item": items}
        learned: list[FittedPrior | None] = []
        for kind, side in list(sides.items()):
            prior = self.priors.get(kind)
            fitted = finish_prior(prior, side, self.objective.unknowns(side, kind))
            if fitted is not None and fitted.active and prior is not None and prior.empty is not None:
                means = fitted.of_rows(np.flatnonzero(prior.empty), side.dtype)
                sides[kind] = side.copy()  # the next iteration starts from factors of 0
                sides[kind][prior.empty] = self.objective.with_constant(means, kind)
            learned.append(fitted)
        return Finished(sides["user"], sides["item"], fitted_state(*learned))


def common_bias(problems: RowProblems, biases: NDArray[Any]) -> tuple[float, float]:
    """Return the shift from the biases of the rated rows to the mean, and the decrease of the objective.

    The data term does not change; ``sum lambda_u (b_u - d)^2`` is minimal at the weighted mean d of the biases.
    """
    weight = problems.regularization.astype(np.float64) * (np.diff(problems.indptr) > 0)
    total = float(weight.sum())
    if total == 0:
        return 0.0, 0.0
    shift = weighted_sum(weight, biases) / total
    return shift, total * shift**2
