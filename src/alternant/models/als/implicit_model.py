"""What a fitted `ImplicitALS` does besides recommending: new rows, and factors set by hand."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...data.csr import CSR
from .degrees import Degrees
from .half_sweep import half_sweep
from .implicit_defaults import fitted_objective
from .implicit_objective import ImplicitObjective, basis_of_entries, cached_basis
from .trainer import AlternatingLeastSquares


class ImplicitModel(AlternatingLeastSquares):
    """The internals of `ImplicitALS`, which has the parameters and `fit`."""

    degree_normalization: Any
    popularity_exponent_: float
    _degrees: Degrees | None = None

    def _truth(self, rows: CSR) -> NDArray[Any]:
        return (rows.data > 0).astype(rows.data.dtype)

    def _objective(self) -> ImplicitObjective:
        """Return the objective of the fitted model, with the values that the fit chose for "auto"."""
        return fitted_objective(self, self._degrees_of_factors())

    def _degrees_of_factors(self) -> Degrees | None:
        """Return the degrees that the fit counted, unless the factors have other numbers of rows."""
        degrees, users, items = self._degrees, self.user_factors, self.item_factors
        if degrees is None or users is None or items is None:
            return None
        return degrees if (len(degrees.users), len(degrees.items)) == (len(users), len(items)) else None

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None, given: Any = None,
        own: NDArray[Any] | None = None,
    ) -> NDArray[Any]:  # fmt: skip
        objective, solver = self._objective(), self._solver(fold_in=own is None)
        means = self._means(kind, rows.shape[0], fixed.dtype, numbers, given)
        if not len(rows.indices):  # there is nothing to solve
            if means is None and own is not None:
                mean = self._mean_row("user") if kind == "user" else np.zeros_like(own[0])
                means = np.repeat(mean[None], len(own), axis=0)
            if means is not None:
                return means if kind == "user" else objective.finish_items(means, np.zeros(len(means), np.int64))
        problems = objective.problems(rows, kind, numbers)
        start = None if own is None else objective.start_rows(own, kind, numbers)
        if means is not None:
            problems = objective.around(problems, means, nightly=own is not None)
            start = None if start is None else np.where(start.any(axis=1, keepdims=True), start, means)
        other = "item" if kind == "user" else "user"
        if own is None:
            basis = cached_basis(self, fixed, other, objective, solver)
        else:
            basis, problems = basis_of_entries(self, fixed, other, objective, solver, problems)
        factors = half_sweep(problems, start, basis, solver).factors
        degrees = np.diff(rows.indptr)
        if means is not None:
            factors[degrees == 0] = means[degrees == 0]
        if kind == "item":
            return objective.finish_items(factors, degrees)
        if means is None and (degrees == 0).any():
            factors[degrees == 0] = self._mean_row("user")
        return factors

    def _solve_side(self, rows: CSR, own: NDArray[Any], fixed: NDArray[Any], kind: str) -> NDArray[Any]:
        if not isinstance(self.degree_normalization, str) and np.any(self.degree_normalization):
            raise ValueError(
                "half_sweep solves row problems without degree normalization, got degree_normalization="
                f"{self.degree_normalization!r}: pass 0, or multiply the rows of factors by their weights"
            )
        return fitted_objective(self, None).solve(rows, own, fixed, kind, replace(self._solver(), narrow=False))

    def _mean_row(self, kind: str) -> NDArray[Any]:
        """Return the mean over rows with interactions, if their numbers are known, else over all rows.

        Users with short histories count more, as they are more like those for whom this row stands in.
        """
        degrees = self._degrees_of_factors()
        if degrees is None:
            return super()._mean_row(kind)
        side = self._factors()[0 if kind == "user" else 1]
        weights = degrees.like_new if kind == "user" else (degrees.items > 0).astype(np.float64)
        total: NDArray[Any] = np.einsum("u,uf->f", weights, side, dtype=np.float64)
        return (total / (weights.sum() or 1.0)).astype(side.dtype)

    def _partial_state(self, kind: str, numbers: NDArray[np.int64], rows: CSR) -> dict[str, Any]:
        degrees = self._degrees_of_factors()
        return {"_degrees": None if degrees is None else degrees.replaced(kind, numbers, np.diff(rows.indptr))}

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Estimate the cost of an iteration."""
        f = self.factors
        return n_pairs * (32 + f) + (n_users + n_items) * f * f / 6

    def rescored(self, value: float) -> Self:
        """Return a copy that ranks with another `popularity_exponent`."""
        _, items = self._factors()
        assert self.interactions_ is not None  # called by a search, which has just fitted
        degrees = np.maximum(np.bincount(self.interactions_.indices, minlength=len(items)), 1).astype(np.float64)
        by = degrees ** (value - self.popularity_exponent_)
        view = copy.copy(self)
        view.item_factors = items * by.astype(items.dtype)[:, None]
        return view
