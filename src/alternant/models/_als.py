"""Alternating least squares: the fit, fold-in and partial fit of every model that has row problems to solve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._csr import CSR
from .._threads import resolve_num_threads
from .._validation import (
    check_choice,
    check_columns,
    check_ids,
    check_integer,
    check_number,
)
from ..kernels._registry import BACKENDS
from ._base import FactorModel
from ._fit_loop import (
    Callback,
    FitLoop,
    Iteration,
    Lesson,
    Report,
    Stopping,
    check_callback,
    check_random_state,
    freeze,
    is_frozen,
    random_generator,
)
from ._least_squares import Eigenbasis, RowProblems, Solver, half_sweep, squared_norms

# Fold-in solves once, so that no later iteration would finish what a loose tolerance leaves.
FOLD_IN_TOL = 1e-6


class AlternatingLeastSquares(FactorModel):
    """A factor model fitted by half-sweeps; a subclass says what the row problems are.

    The subclass has the constructor parameters named below and `_row_problems`.
    """

    factors: int
    unobserved_weight: float
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

    _fitted_state = ("n_iter_", "history_", "backend_")

    def _row_problems(self, rows: CSR, kind: str) -> tuple[RowProblems, float]:  # noqa: ARG002
        """Return the problems of one side ("user" or "item"), and the constant of the objective."""
        raise TypeError(f"{type(self).__name__} does not say what its row problems are")

    def fit(
        self,
        interactions: Any,
        *,
        callback: Callback | None = None,
        callback_at: str = "iteration",
        show_progress: bool | None = None,
    ) -> Self:
        """Learn the factors.

        Parameters
        ----------
        interactions : sparse matrix or array, shape (n_users, n_items)
            r of every observed pair, in any SciPy format; duplicates are added up.
        callback : callable, optional
            Called with a `FitState`; the fit ends with the iteration in which it returns True.
        callback_at : {"iteration", "half_sweep"}
            When: after each iteration, or after each of its two half-sweeps.
        show_progress : bool, optional
            Whether to draw a progress bar on stderr. By default, where stderr is a terminal.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the input or a parameter is not as required; the model stays as it was.
        SingularRowError
            If a row has no unique solution (`regularization` is 0 or too small).
        OverflowError
            If confidences are too large for `dtype`.
        """
        self._check_params()
        check_callback(callback, callback_at)
        user_items = self._check_rows("interactions", interactions, np.dtype(self.dtype), copy=True)
        if 0 in user_items.shape:
            raise ValueError(f"interactions must have at least one user and one item, got shape {user_items.shape}")
        users, constant = self._row_problems(user_items, "user")
        items, _ = self._row_problems(user_items.transpose(), "item")
        solver = self._solver()
        X, Y = self._start(*user_items.shape)

        def step(_: int, report: Report) -> Iteration:
            nonlocal X, Y
            by_users = half_sweep(users, X, self._basis(Y, solver), solver)
            middle = by_users.objective + _penalty(items, Y) + constant
            report(by_users.factors, Y, middle, "users")
            by_items = half_sweep(items, Y, self._basis(by_users.factors, solver), solver)
            X, Y = by_users.factors, by_items.factors
            return Iteration(X, Y, {
                "objective": by_items.objective + _penalty(users, X) + constant,
                "user_sweep_objective": middle,
                "user_cg_steps": by_users.mean_steps,
                "item_cg_steps": by_items.mean_steps,
            })  # fmt: skip

        def commit(done: Iteration, history: dict[str, list[float]]) -> None:
            self._assign(
                user_factors=done.user_factors, item_factors=done.item_factors, interactions_=user_items,
                history_=history, n_iter_=len(history["objective"]), backend_=solver.backend.name,
            )  # fmt: skip

        FitLoop(
            self.iterations, Stopping(self.early_stopping), callback, callback_at, show_progress, type(self).__name__,
            Lesson(user_items, self._truth(user_items), self._score),
        ).run(step, commit)  # fmt: skip
        return self

    def fold_in_users(self, user_items: Any) -> NDArray[Any]:
        """Compute factors for users from their interactions, with the items as they are; the model is not changed.

        Each row solves the problem that a half-sweep of the fit solves, with the same solver; conjugate gradients run
        until the relative residual is 1e-6 (or `tol`, if that is less), since no later iteration refines them.

        Parameters
        ----------
        user_items : sparse matrix or array, shape (any, n_items)
            Interactions as for `fit`.

        Returns
        -------
        array, shape (len(user_items), factors)
            A row without interactions is 0.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `user_items` has another number of columns than the model has items.
        """
        users, items = self._factors()
        check_columns("user_items", user_items, len(items), "item", len(users))
        return self._solve(self._check_rows("user_items", user_items, items.dtype), items, "user")

    def fold_in_items(self, item_users: Any) -> NDArray[Any]:
        """Compute factors for items from their interactions, with the users as they are; as `fold_in_users`.

        Parameters
        ----------
        item_users : sparse matrix or array, shape (any, n_users)
            One row per item.
        """
        users, items = self._factors()
        check_columns("item_users", item_users, len(users), "user", len(items))
        return self._solve(self._check_rows("item_users", item_users, users.dtype), users, "item")

    def partial_fit_users(self, users: Any, user_items: Any) -> Self:
        """Replace the interactions and factors of users, or append new users; the items stay as they are.

        Parameters
        ----------
        users : int or array of int
            Row numbers: known ones are replaced, numbers from ``n_users`` on are appended and must leave no gap.
        user_items : sparse matrix or array, shape (len(users), n_items)
            All interactions of these users, not only the new ones.

        Returns
        -------
        self
        """
        return self._partial_fit(users, user_items, "user")

    def partial_fit_items(self, items: Any, item_users: Any) -> Self:
        """Replace the interactions and factors of items, or append new items; the users stay as they are.

        Parameters
        ----------
        items : int or array of int
            Row numbers: known ones are replaced, numbers from ``n_items`` on are appended and must leave no gap.
        item_users : sparse matrix or array, shape (len(items), n_users)
            All interactions of these items, not only the new ones.

        Returns
        -------
        self
        """
        return self._partial_fit(items, item_users, "item")

    def _partial_fit(self, ids: Any, rows: Any, kind: str) -> Self:
        users, items = self._factors()
        own, other, name = (users, items, "user_items") if kind == "user" else (items, users, "item_users")
        ids = np.atleast_1d(ids)
        ids = check_ids(f"{kind}s", ids, len(own), kind, new=ids.size)
        check_columns(name, rows, len(other), {"user": "item", "item": "user"}[kind], len(own))
        new = self._check_rows(name, rows, own.dtype)
        if ids.ndim != 1:
            raise ValueError(f"{kind}s must be a list of {kind} row numbers, got {ids.ndim} dimensions")
        if new.shape[0] != len(ids):
            raise ValueError(f"{name} must have one row for each of the {ids.size} {kind}s, got {new.shape[0]} rows")
        distinct, count = np.unique(ids), max(len(own), ids.max(initial=-1) + 1)
        if len(distinct) < len(ids):
            raise ValueError(f"{kind}s must be distinct, got {len(ids) - len(distinct)} of them twice")
        if count - len(own) != (distinct >= len(own)).sum():
            raise IndexError(
                f"{kind}s to append must be numbered from {len(own)} on without a gap, got {distinct[-1]}"
            )
        solved = self._solve(new, other, kind, ids)
        factors = np.zeros((count, own.shape[1]), own.dtype)
        factors[: len(own)] = own
        factors[ids] = solved
        known = getattr(self, "interactions_", None)
        if known is not None and known.shape != (len(users), len(items)):  # the factors were set by hand
            known = None
        if known is not None and kind == "user":
            known = known.replace(ids, new)
        elif known is not None:
            known = known.transpose().replace(ids, new).transpose()
        self._assign(**{f"{kind}_factors": factors, "interactions_": known})
        return self

    # Internals

    def _check_params(self) -> None:
        """Raise if a hyper-parameter has a value that is not allowed."""
        check_integer("factors", self.factors, 1)
        check_number("unobserved_weight", self.unobserved_weight, 0)
        check_choice("solver", self.solver, ("cg", "cholesky"))
        check_number("tol", self.tol, 0)
        check_integer("max_cg_steps", self.max_cg_steps, 1)
        check_integer("iterations", self.iterations, 1)
        if self.early_stopping is not None:
            check_number("early_stopping", self.early_stopping, 0)
        if not isinstance(self.warm_start, (bool, np.bool_)):
            raise TypeError(f"warm_start must be True or False, got {self.warm_start!r}")
        check_number("init_scale", self.init_scale, 0, above=True)
        try:
            dtype = None if self.dtype is None else np.dtype(self.dtype)  # np.dtype(None) is float64
        except (TypeError, ValueError):
            dtype = None
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype!r}")
        check_random_state(self.random_state)
        resolve_num_threads(self.num_threads)
        check_choice("backend", self.backend, ("auto", *BACKENDS))

    def _solver(self, fold_in: bool = False) -> Solver:
        tol, steps = float(self.tol), self.max_cg_steps
        if fold_in:
            tol, steps = min(tol, FOLD_IN_TOL), max(steps, 4 * self.factors)
        return Solver(self._backend(), self.solver, tol, steps, resolve_num_threads(self.num_threads))

    def _basis(self, fixed: NDArray[Any], solver: Solver) -> Eigenbasis:
        """Return the eigenbasis of a side, kept as long as nobody can have changed the side since."""
        kept: list[tuple[NDArray[Any], float, Eigenbasis]] = self.__dict__.setdefault("_bases", [])
        for side, weight, basis in kept:
            if side is fixed and weight == self.unobserved_weight and is_frozen(fixed):
                return basis
        basis = Eigenbasis.of(fixed, float(self.unobserved_weight), solver.num_threads)
        if any(fixed is getattr(self, name, None) for name in ("user_factors", "item_factors")) and is_frozen(fixed):
            self._bases = [*kept[-1:], (fixed, float(self.unobserved_weight), basis)]
        return basis

    def _solve(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None
    ) -> NDArray[Any]:
        solver = self._solver(fold_in=True)
        problems = replace(self._row_problems(rows, kind)[0], numbers=numbers)
        return half_sweep(problems, None, self._basis(fixed, solver), solver).factors

    def _start(self, n_users: int, n_items: int) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return the factors to start from; no users mean that they start at 0, as they are solved first."""
        dtype = np.dtype(self.dtype)
        X = self._held("user_factors", n_users, dtype) if self.warm_start else None
        held = self._held("item_factors", n_items, dtype) if self.warm_start else None
        scale = float(self.init_scale) / np.sqrt(self.factors)
        # Drawn in float64, so that both dtypes start at the same place.
        drawn = random_generator(self.random_state).standard_normal((n_items, self.factors)) * scale
        with np.errstate(over="ignore"):  # `Eigenbasis.of` reports it
            Y = drawn.astype(dtype)
        if held is not None:
            Y[: len(held)] = held
        if X is not None and len(X) < n_users:
            X = np.concatenate([X, np.zeros((n_users - len(X), self.factors), dtype)])
        return X, Y

    def _held(self, name: str, rows: int, dtype: np.dtype[Any]) -> NDArray[Any] | None:
        """Return factors to continue from."""
        held = getattr(self, name, None)
        if held is None:
            return None
        held = np.ascontiguousarray(held, dtype)
        if held.ndim != 2 or held.shape[1] != self.factors or len(held) > rows or not np.isfinite(held).all():
            raise ValueError(
                f"warm_start needs finite {name} with {self.factors} columns (factors) and at most {rows} rows "
                f"(interactions), got shape {held.shape}: set warm_start=False, or interactions that extend the old"
            )
        return held

    def _assign(self, **state: Any) -> None:
        """Set attributes in one step that no signal can split; factors become read-only, which `_basis` relies on."""
        for name in ("user_factors", "item_factors"):
            if name in state:
                freeze(state[name])
        self.__dict__.update(state)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_bases"}


def _penalty(problems: RowProblems, factors: NDArray[Any]) -> float:
    """Sum up ``lambda_u |x_u|^2``."""
    return float(problems.regularization.astype(np.float64) @ squared_norms(factors))
