"""Alternating least squares: the fit, fold-in and partial fit of every model that has row problems to solve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..._utils.threads import resolve_num_threads
from ..._utils.validation import (
    check_boolean,
    check_choice,
    check_dtype,
    check_integer,
    check_number,
    check_pair,
    check_random_state,
    random_generator,
)
from ...data.csr import CSR
from ...kernels._registry import BACKENDS
from .._fit_loop import Callback, FitLoop, Iteration, Lesson, Report, Stopping
from .._fold_in import FoldInModel
from .half_sweep import HalfSweep
from .momentum import Momentum
from .solver import Solver

# Solves one side of a fit: "user" or "item", what to start from (None: 0), the other side, which is fixed, and how.
HalfSweeps = Callable[[str, "NDArray[Any] | None", "NDArray[Any]", Solver], HalfSweep]

# Fold-in solves once, so that no later iteration would finish what a loose tolerance leaves.
FOLD_IN_TOL = 1e-6
# With a fixed side in float16, the objective that is found is off by up to 1e-5 of it. Where an iteration gains less
# than ten times that, or nobody knows yet what it will, nothing is rounded: restarts and early stopping go by it.
NARROW_GAIN = 1e-4


class AlternatingLeastSquares(FoldInModel):
    """A factor model fitted by half-sweeps; a subclass says what the row problems are.

    The subclass has the constructor parameters named below, a `fit` that calls `_fit`, and `_fold_in`.
    """

    factors: int
    regularization: Any  # see the subclass
    regularization_scaling: str
    solver: str
    tol: float
    max_cg_steps: int
    iterations: int
    early_stopping: float | None
    warm_start: bool
    init_scale: float
    dtype: Any
    random_state: Any

    n_iter_: int
    history_: dict[str, list[float]]
    backend_: str

    _fitted_state: ClassVar[tuple[str, ...]] = ("n_iter_", "history_", "backend_")

    def _fit(
        self,
        user_items: CSR,
        solve: HalfSweeps,
        start: tuple[NDArray[Any] | None, NDArray[Any]],
        ids: dict[str, Any],
        callback: Callback | None,
        callback_at: str,
        show_progress: bool | None,
        finish_users: Callable[[NDArray[Any]], None] | None = None,
    ) -> Self:
        """Run the fit loop: `solve` the users with the items fixed, then the items with the users fixed.

        `ids` are attributes that go with the rows of the interactions, whatever the factors. `finish_users` changes, at
        the end of each iteration, users' factors that no problem is about.
        """
        X, Y = start
        solver = replace(self._solver(), narrow=not self.warm_start)
        objective = None if self.warm_start else np.inf
        momentum = Momentum(solver.pool) if self._accelerated() else None

        def iterate(X: NDArray[Any] | None, Y: NDArray[Any], report: Report) -> Iteration:
            by_users = solve("user", X, Y, solver)
            report(by_users.factors, Y, by_users.objective, "users", by_users.state)
            by_items = solve("item", Y, by_users.factors, solver)
            return Iteration(by_users.factors, by_items.factors, {
                "objective": by_items.objective,
                "user_sweep_objective": by_users.objective,
                "user_cg_steps": by_users.mean_steps,
                "item_cg_steps": by_items.mean_steps,
            }, by_items.state)  # fmt: skip

        def step(_: int, report: Report) -> Iteration:
            nonlocal X, Y, solver, objective
            if momentum is None:
                done = iterate(X, Y, report)
            else:
                done = momentum.step(lambda X, Y: iterate(X, Y, report), X, Y)
            X, Y = done.user_factors, done.item_factors
            before = done.record["user_sweep_objective"] if objective is None else objective
            objective = done.record["objective"]
            solver = replace(solver, narrow=before - objective > NARROW_GAIN * abs(objective))
            return done

        def commit(done: Iteration, history: dict[str, list[float]]) -> None:
            if finish_users is not None:
                finish_users(done.user_factors)
            self._assign(
                user_factors=done.user_factors, item_factors=done.item_factors, interactions_=user_items,
                history_=history, n_iter_=len(history["objective"]), backend_=solver.backend.name, **ids, **done.state,
            )  # fmt: skip

        FitLoop(
            self.iterations, Stopping(self.early_stopping), callback, callback_at, show_progress, type(self).__name__,
            Lesson(user_items, self._truth, self._score),
        ).run(step, commit)  # fmt: skip
        return self

    # Internals

    def _accelerated(self) -> bool:
        return False

    def _check_params(self) -> None:
        """Raise if a hyper-parameter has a value that is not allowed."""
        check_integer("factors", self.factors, 1)
        self._check_regularization()
        check_choice("solver", self.solver, ("cg", "cholesky"))
        check_number("tol", self.tol, 0)
        check_integer("max_cg_steps", self.max_cg_steps, 1)
        check_integer("iterations", self.iterations, 1)
        if self.early_stopping is not None:
            check_number("early_stopping", self.early_stopping, 0)
        check_boolean("warm_start", self.warm_start)
        check_number("init_scale", self.init_scale, 0, above=True)
        check_dtype("dtype", self.dtype)
        check_random_state(self.random_state)
        resolve_num_threads(self.num_threads)
        check_choice("backend", self.backend, ("auto", *BACKENDS))

    def _check_regularization(self) -> None:
        check_pair("regularization", self.regularization, ("users", "items"))

    def _solver(self, fold_in: bool = False) -> Solver:
        tol, steps = float(self.tol), self.max_cg_steps
        if fold_in:
            tol, steps = min(tol, FOLD_IN_TOL), max(steps, 4 * self.factors)
        return Solver(self._backend(), self.solver, tol, steps, resolve_num_threads(self.num_threads))

    def _start(self, n_users: int, n_items: int) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return the factors to start from; no users mean that they start at 0, as they are solved first."""
        dtype = np.dtype(self.dtype)
        X = self._held("user_factors", n_users, dtype) if self.warm_start else None
        held = self._held("item_factors", n_items, dtype) if self.warm_start else None
        scale = float(self.init_scale) / np.sqrt(self.factors)
        # Drawn in float64, so that both dtypes start at the same place.
        drawn = random_generator(self.random_state).standard_normal((n_items, self.factors)) * scale
        with np.errstate(over="ignore"):  # the half-sweep reports it
            Y = self._new_rows(drawn.astype(dtype), "item")
        if held is not None:
            Y[: len(held)] = held
        if X is not None and len(X) < n_users:
            X = np.concatenate([X, self._new_rows(np.zeros((n_users - len(X), self.factors), dtype), "user")])
        return X, Y

    def _new_rows(self, latent: NDArray[Any], kind: str) -> NDArray[Any]:
        """Return rows of factors that begin like this."""
        return latent

    def _held(self, name: str, rows: int, dtype: np.dtype[Any]) -> NDArray[Any] | None:
        """Return factors to continue from."""
        held = getattr(self, name, None)
        if held is None:
            return None
        held = np.ascontiguousarray(held, dtype)
        columns = self._new_rows(np.zeros((0, self.factors), dtype), "user").shape[1]
        if held.ndim != 2 or held.shape[1] != columns or len(held) > rows or not np.isfinite(held).all():
            raise ValueError(
                f"warm_start needs finite {name} with {columns} columns (factors) and at most {rows} rows "
                f"(interactions), got shape {held.shape}: set warm_start=False, or interactions that extend the old"
            )
        return held
