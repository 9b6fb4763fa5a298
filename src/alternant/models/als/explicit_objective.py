"""The objective of `ExplicitALS`: from ratings to row problems, including biases and mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import ENTRIES, blocks_of, release
from ..._utils.threads import weighted_sum
from ..._utils.validation import all_finite
from ...data.csr import CSR
from .._bias_columns import (
    WithConstant,
    WithoutConstant,
    bias_column,
    constant_column,
    with_constant,
    without_constant,
)
from .._fit_loop import HalfSweep
from ..priors.fitted_prior import Finished, FittedPrior, finish_prior, fitted_state
from ..priors.prior import Prior, Regression
from .basis import Basis
from .half_sweep import half_sweep, penalty
from .observed import Observed
from .problems import FormedProblems, RowProblems, row_lambdas
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
        lambdas = self._lambdas(rows, kind, rows.data.dtype)
        return RowProblems(
            rows.indptr, rows.indices, weight, rows.data, lambdas, kind, numbers, complete, "ratings or weights"
        )

    def problems_of_fit(self, observed: Observed, weight: NDArray[Any] | None, kind: str) -> RowProblems:
        """Return the row problems of one side of a fit; `solve` forms the targets of ratings that are on disk."""
        rows = observed.users if kind == "user" else observed.items
        if not observed.on_disk:
            return self.problems(rows, weight, kind)
        return FormedProblems(
            rows.indptr, rows.indices, np.empty(0, observed.dtype), 0.0,
            self._lambdas(rows, kind, observed.dtype), kind, too_large="ratings or weights", values=rows.data,
        )  # fmt: skip

    def _lambdas(self, rows: CSR, kind: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        counts = np.diff(rows.indptr).astype(np.float64)
        scale = counts if self.regularization_scaling == "count" else np.ones_like(counts)
        own = self.regularization[0 if kind == "user" else 1]
        return row_lambdas(own, scale, dtype, self.regularization_scaling)

    def solve(
        self, problems: RowProblems, own: NDArray[Any] | None, fixed: NDArray[Any], mean: float, solver: Solver
    ) -> HalfSweep:
        """Solve one side with the mean and the other side fixed; the objective lacks the other side's lambda term."""
        basis, bias, finite = self._basis(fixed, problems.kind, solver)
        problems, constant = with_targets(problems, bias, mean, fixed.dtype, finite)
        solved = half_sweep(problems, own, basis, solver)
        return HalfSweep(solved.factors, solved.objective + constant, solved.mean_steps)

    def _basis(
        self, fixed: NDArray[Any], kind: str, solver: Solver
    ) -> tuple[Basis, NDArray[Any] | None, bool]:
        """Return the other side as a half-sweep of `kind` fixes it, its biases, and whether all of it is finite."""
        if not self.biases:
            basis = Basis.identity(fixed, solver.pool)
            return basis, None, all_finite(basis.factors)
        # To the unknowns (x_u, b_u), an item is (y_i, 1) with target r - mean - b_i; likewise for items.
        other, width = constant_column(kind), fixed.shape[1] - 1
        factors, bias = solver.pool.fixed_side((len(fixed), width), fixed.dtype), np.empty(len(fixed), fixed.dtype)
        for rows in blocks_of(fixed):
            factors[rows], bias[rows] = np.delete(fixed[rows], other, axis=1), fixed[rows, other]
            release(fixed[rows])
        maps = WithoutConstant(kind, width), WithConstant(kind, width + 1)
        return Basis(factors, np.zeros(width, fixed.dtype), *maps), bias, all_finite(factors)

    def unknowns(self, factors: NDArray[Any], kind: str) -> NDArray[Any]:
        """Return the columns that a half-sweep solves for: ``(x_u, b_u)`` or ``(y_i, b_i)``."""
        return without_constant(factors, kind) if self.biases else factors

    def with_constant(self, unknowns: NDArray[Any], kind: str) -> NDArray[Any]:
        """Undo `unknowns`."""
        return with_constant(unknowns, kind) if self.biases else unknowns


def with_targets(
    problems: RowProblems, bias: NDArray[Any] | None, mean: float, dtype: np.dtype[Any], finite: bool = True
) -> tuple[RowProblems, float]:
    """Return the problems with what the biases of the columns and the mean leave of the ratings as targets.

    Also returns the weighted sum of their squares. Raises if that or a target is not finite, or `finite` is false.
    """

    def residual(ratings: NDArray[Any], indices: NDArray[Any]) -> NDArray[np.float64]:
        wide: NDArray[np.float64] = ratings.astype(dtype, copy=False).astype(np.float64)
        return wide if bias is None else wide - mean - bias[indices]

    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        if isinstance(problems, FormedProblems):
            problems, constant = _with_targets_formed(problems, residual, dtype)
        else:
            differences = residual(problems.plain_targets(), problems.indices)
            target = (problems.weight * differences).astype(dtype)
            parts = [slice(start, start + ENTRIES) for start in range(0, len(target), ENTRIES)]
            constant = math.fsum(weighted_sum(problems.weight[part], differences[part] ** 2) for part in parts)
            problems, finite = replace(problems, target=target), finite and bool(np.isfinite(target).all())
    if not (finite and np.isfinite(constant)):
        raise OverflowError(
            f"factors, weights times ratings, and the weighted sum of squares must be finite in {dtype}: "
            "lower the ratings, their weights or init_scale, or use dtype='float64'"
        )
    return problems, constant


def _with_targets_formed(
    problems: FormedProblems, residual: Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float64]],
    dtype: np.dtype[Any],
) -> tuple[FormedProblems, float]:  # fmt: skip
    """Return the problems with residuals as targets, formed a part at a time, and the sum of their squares."""

    def form(ratings: NDArray[Any], indices: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        target = residual(ratings, indices).astype(dtype)
        return np.ones_like(target), target

    def squares() -> Iterator[float]:
        for start in range(0, len(problems.indices), ENTRIES):
            entries = slice(start, start + ENTRIES)
            ratings, indices = problems.values[entries], problems.indices[entries]
            differences = residual(ratings, indices)
            release(ratings, indices)
            yield weighted_sum(np.ones(len(differences)), differences**2)

    return replace(problems, form=form), math.fsum(squares())


class ExplicitSides:
    """The row problems of both sides of a fit, and the mean, which every half-sweep updates."""

    problems: dict[str, RowProblems]

    def __init__(
        self, objective: ExplicitObjective, observed: Observed, weight: NDArray[Any] | None, mean: float,
        prior_of: Callable[..., dict[str, Prior]] | None = None,
    ) -> None:  # fmt: skip
        self.objective = objective
        self.mean: float = mean
        self.sample_weight = weight
        rows, weight_by_items = observed.users, None
        if weight is not None:
            weight_by_items = CSR(rows.indptr, rows.indices, weight, rows.shape).transpose().data
        self.problems = {
            "user": objective.problems_of_fit(observed, weight, "user"),
            "item": objective.problems_of_fit(observed, weight_by_items, "item"),
        }
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
        other = penalty(self.problems[other_kind], fixed, solver, lambda block: by.unknowns(block, other_kind))
        before, fixed_by = self._regression(kind, own), self._regression(other_kind, fixed)
        if before is not None:
            problems = replace(problems, linear=self.priors[kind].linear(before))
        solved = by.solve(problems, own, fixed, self.mean, solver)
        objective = solved.objective + other + (0.0 if fixed_by is None else fixed_by.value)
        prior = self.priors.get(kind)
        after = None if prior is None else prior.after(by.unknowns(solved.factors, kind))
        if by.biases and (prior is None or not prior.active):  # a prior has a constant, which takes the biases' mean
            shift, gain = common_bias(bias_weights(problems), biases_of(solved.factors, kind))
            self.mean += shift
            shift_biases(problems, solved.factors, shift)
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
            fitted = None if prior is None else finish_prior(prior, side, self.objective.unknowns(side, kind))
            if fitted is not None and fitted.active and prior is not None and prior.empty is not None:
                means = fitted.of_rows(np.flatnonzero(prior.empty), side.dtype)
                sides[kind] = side.copy()  # the next iteration starts from factors of 0
                sides[kind][prior.empty] = self.objective.with_constant(means, kind)
            learned.append(fitted)
        return Finished(sides["user"], sides["item"], fitted_state(*learned))


def bias_weights(problems: RowProblems) -> NDArray[np.float64]:
    """Return the lambdas of the rated rows, and 0 for the others."""
    return np.asarray(problems.regularization.astype(np.float64) * (np.diff(problems.indptr) > 0))


def common_bias(weight: NDArray[np.float64], biases: NDArray[Any]) -> tuple[float, float]:
    """Return the shift from the biases of the rated rows to the mean, and the decrease of the objective."""
    return shift_of(float(weight.sum()), weighted_sum(weight, biases))


def shift_of(total: float, weighted: float) -> tuple[float, float]:
    """Return the shift and the decrease for the sum of the lambdas, and that of lambdas times biases.

    The data term does not change; ``sum lambda_u (b_u - d)^2`` is minimal at the weighted mean d of the biases.
    """
    shift = weighted / total if total else 0.0
    return shift, total * shift**2


def biases_of(factors: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return the biases of one side."""
    out = np.empty(len(factors), factors.dtype)
    for rows in blocks_of(factors):
        out[rows] = factors[rows, bias_column(kind)]
        release(factors[rows])
    return out


def shift_biases(problems: RowProblems, factors: NDArray[Any], shift: float) -> None:
    """Subtract the shift from the biases of the rated rows; an unrated row keeps its bias of 0."""
    rated = np.diff(problems.indptr) > 0
    for rows in blocks_of(factors):
        factors[rows, bias_column(problems.kind)] -= rated[rows] * factors.dtype.type(shift)
        release(factors[rows])
