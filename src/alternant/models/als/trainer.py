"""Alternating least squares: the fit and its initial factors, for every model that solves row problems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import blocks_of, release
from ..._utils.memory import parse_bytes
from ..._utils.pool import Pool
from ..._utils.threads import resolve_num_threads
from ..._utils.validation import all_finite, check_choice, random_generator
from ...data.csr import CSR
from ...data.store import Store
from .._checkpoint import Checkpoint, InDtype, Snapshot
from .._feature_model import FeatureModel
from .._fit_loop import FitLoop, FitOptions, HalfSweep, History, Iteration, Stopping, TrainingData
from .._fold_in import FoldInModel
from .._memory import FitMemory, pool_for
from ..priors.fitted_prior import Finished
from ..priors.prior import Prior
from .momentum import Momentum
from .observed import Observed
from .solver import Solver
from .update import update

if TYPE_CHECKING:
    from ..._typing import Dense, Reals, Sparse
    from .._partial_fit import Change

# Fold-in solves each row once: no later iteration refines the result.
FOLD_IN_TOL = 1e-6
# With a fixed side in float16, the computed objective has a relative error of up to 1e-5. Restarts and early stopping
# rely on it, so float16 is not used if the last iteration gained less than ten times that, or if the gain is unknown.
NARROW_GAIN = 1e-4


class Sides(Protocol):
    """The row problems of both sides of one fit."""

    @property
    def priors(self) -> dict[str, Prior]:
        """The priors of sides with features."""

    @property
    def sample_weight(self) -> NDArray[Any] | None:
        """The weights of the interactions, if given."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after an iteration with this state."""

    def half_sweep(self, kind: str, own: NDArray[Any] | None, fixed: NDArray[Any], solver: Solver) -> HalfSweep:
        """Solve one side ("user" or "item"), starting from `own` (None: 0), with the other side fixed."""

    def finish(self, users: NDArray[Any], items: NDArray[Any]) -> Finished:
        """Return the model's factors at the end of an iteration, those of rows without interactions included."""


def _copied(factors: NDArray[Any], pool: Pool) -> NDArray[Any]:
    copy = pool.array(factors.shape, factors.dtype)
    for rows in blocks_of(factors):
        copy[rows] = factors[rows]
        release(copy[rows], factors[rows])
    return copy


class AlternatingLeastSquares(FeatureModel, FoldInModel):
    """A factor model fitted by half-sweeps, whose row problems a subclass defines.

    The subclass has the constructor parameters listed below, a `fit` that calls `_alternate`, `_fold_in`, and
    `_solve_side`.
    """

    factors: int
    regularization: Any  # see the subclass
    regularization_scaling: str
    solver: str
    tol: float
    max_cg_steps: int
    feature_regularization: Any
    iterations: int
    early_stopping: float | None
    warm_start: bool
    init_scale: float
    dtype: Any
    random_state: Any

    n_iter_: int
    history_: dict[str, list[float]]
    backend_: str

    bytes_per_pair: ClassVar[int] = 24
    _learns_zeros: ClassVar[bool] = False  # whether a stored zero is a value
    _padded: ClassVar[bool] = True  # whether the rows that a half-sweep fixes may be padded to whole cache lines

    _choices: ClassVar[dict[str, tuple[str, ...]]] = {"solver": ("cg", "cholesky")}
    _fitted_state: ClassVar[tuple[str, ...]] = ("n_iter_", "history_", "backend_", "feature_regularization_")

    def _stored_matrix(self, store: Store) -> Store:
        return store

    def _observed(self, name: str, matrix: Any) -> Observed:
        """Return the interactions of a fit, checked: those of a matrix or of a store."""
        dtype, num_threads = np.dtype(self.dtype), resolve_num_threads(self.num_threads)
        if isinstance(matrix, Store):
            return Observed.of_store(name, matrix, dtype, num_threads, self._learns_zeros)
        return Observed.of(self._check_rows(name, matrix, dtype, copy=True), num_threads)

    def _pool(self, observed: Observed, limit: int | str | None) -> Pool:
        """Return the pool of a fit's factors: files, if they would not fit into the limit."""
        longest = max(int(counts.max(initial=0)) for counts in observed.counts)
        needed = self._half_sweep_memory(observed.shape, 0 if observed.on_disk else observed.nnz, longest)
        return pool_for(parse_bytes("memory_limit", limit), needed, observed.folder)

    def _half_sweep_memory(self, shape: tuple[int, int], n_pairs: int, longest: int) -> FitMemory:
        dtype, pairs = np.dtype(self.dtype), n_pairs * self.bytes_per_pair
        columns = self._new_rows(np.zeros((0, self.factors), dtype), "user").shape[1]
        return FitMemory.of_half_sweeps(shape, pairs, longest, columns, dtype, self._padded)

    def fit_memory(self, n_users: int, n_items: int, n_pairs: int) -> FitMemory:
        """Estimate the memory of a fit from a matrix in memory, whose longest row has 1 % of the pairs."""
        return self._half_sweep_memory((n_users, n_items), n_pairs, min(n_users, n_pairs // 100))

    def _alternate(
        self, sides: Sides, observed: Observed, start: tuple[NDArray[Any] | None, NDArray[Any]],
        attributes: dict[str, Any], options: FitOptions, pool: Pool,
    ) -> Self:  # fmt: skip
        """Solve the users with the items fixed, then the items with the users fixed, and so on.

        `attributes` are set with every iteration; they depend on the interactions, not on the factors.
        """
        solver, interactions = replace(self._solver(), narrow=not self.warm_start, pool=pool), observed.users
        fit = _Alternation(
            sides, *start, solver, None if self.warm_start else np.inf, Momentum(solver.pool, self._accelerated())
        )
        checkpoint = Checkpoint.of(self, options, solver.backend, _inputs(observed, sides), pool)
        if checkpoint is not None and checkpoint.saved is not None:
            fit.restore(checkpoint.saved, checkpoint.loop["state"])

        last: list[tuple[Iteration, History]] = []

        def commit(done: Iteration, history: History) -> None:
            last[:] = [(done, history)]
            users, items, state = sides.finish(done.user_factors, done.item_factors)
            self._assign(
                user_factors=users, item_factors=items, interactions_=interactions,
                history_=history, n_iter_=len(history["objective"]), backend_=solver.backend.name, **attributes,
                **done.state, **state,
            )  # fmt: skip

        loop = FitLoop(
            self.iterations, Stopping(self.early_stopping), options,
            TrainingData(interactions, self._truth, self._score), commit, type(self).__name__, checkpoint=checkpoint,
        )  # fmt: skip
        with loop:
            for _ in loop:
                loop.end(fit.iterate(loop), fit.snapshot)
            waiting = [prior for prior in sides.priors.values() if prior.chosen is None]
            if waiting and last:  # the fit has ended before its regressions began, which new rows need
                for prior in waiting:
                    prior.ended = True
                done, history = last[0]
                commit(replace(done, user_factors=_copied(done.user_factors, pool)), history)
        return self

    def half_sweep(
        self, rows: Sparse | Dense, factors: Reals, fixed: Reals, *, kind: Literal["user", "item"] = "user"
    ) -> None:
        """Run a half-sweep of a fit on arrays of your own, in place; the model is neither used nor changed.

        It is what to build other alternations from: blocks of factors that stay fixed, features, other schedules. The
        problem of each row is that of a fit with this model's parameters, of which none may be ``"auto"`` unless the
        model was fitted, and without degree normalization; conjugate gradients start from `factors`, with the tolerance
        and number of steps of a fit.

        Parameters
        ----------
        rows : sparse matrix, shape (m, n)
            Interactions (or ratings) of the solved side; transposed for items.
        factors : array, shape (m, f)
            The solved side, overwritten; in the layout of `user_factors` (of `item_factors` if `kind` is "item").
        fixed : array, shape (n, f)
            The other side, of the same dtype.
        kind : {"user", "item"}
            The solved side: which regularization applies.

        Raises
        ------
        TypeError, ValueError, SingularRowError, OverflowError
            As `fit`; `factors` are unchanged.
        """
        self._check_params()
        check_choice("kind", kind, ("user", "item"))
        for name, array in (("factors", factors), ("fixed", fixed)):
            if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64) or array.ndim != 2:
                given = f"{array.dtype}, shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise TypeError(f"{name} must be a float32 or float64 array with two dimensions, got {given}")
            if not all_finite(array):
                raise ValueError(f"{name} must be finite, got NaN or infinite values")
        if factors.dtype != fixed.dtype or factors.shape[1] != fixed.shape[1]:
            raise ValueError(
                "factors and fixed must have one dtype and the same number of columns, got "
                f"{factors.dtype} of shape {factors.shape} and {fixed.dtype} of shape {fixed.shape}"
            )
        if not factors.flags.writeable:
            raise ValueError("factors are overwritten, but this array is read-only: pass a copy")
        problems = self._check_rows("rows", rows, factors.dtype)
        if problems.shape != (len(factors), len(fixed)):
            raise ValueError(
                f"rows must have one row for each row of factors and one column for each row of fixed, "
                f"{(len(factors), len(fixed))}, got shape {problems.shape}"
            )
        factors[:] = self._solve_side(problems, np.ascontiguousarray(factors), np.ascontiguousarray(fixed), kind)

    def _solve_side(self, rows: CSR, own: NDArray[Any], fixed: NDArray[Any], kind: str) -> NDArray[Any]:
        """Return the solved side of a half-sweep that starts from `own`."""
        raise TypeError(f"{type(self).__name__} does not define half_sweep")

    # Internals

    def _learn_from(self, change: Change, **features: Any) -> None:
        update(self, change, self._given_features(change, features))

    def _new_state(self, kind: str, new: NDArray[np.int64], given: Any) -> dict[str, Any]:
        """Return what else changes, as attributes, when rows are appended, before they are solved."""
        empty = CSR(np.zeros(len(new) + 1, np.int64), np.empty(0, np.int32), np.empty(0), (len(new), 0))
        return {**self._partial_state(kind, new, empty), **self._partial_prior(kind, new, given)} if len(new) else {}

    def _accelerated(self) -> bool:
        return False

    def _solver(self, fold_in: bool = False) -> Solver:
        tol, steps = float(self.tol), self.max_cg_steps
        if fold_in:
            tol, steps = min(tol, FOLD_IN_TOL), max(steps, 4 * self.factors)
        return Solver(self._backend(), self.solver, tol, steps, resolve_num_threads(self.num_threads))

    def _start(self, n_users: int, n_items: int, pool: Pool | None = None) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return the initial factors; the users', which are solved first, are None (0) without `warm_start`."""
        dtype, pool = np.dtype(self.dtype), Pool() if pool is None else pool
        X = self._previous("user_factors", n_users, dtype) if self.warm_start else None
        previous = self._previous("item_factors", n_items, dtype) if self.warm_start else None
        Y = self._drawn_items(n_items, pool)
        if previous is not None:
            copy_rows(previous, Y)
        if X is not None and (len(X) < n_users or X.dtype != dtype or not X.flags.c_contiguous):
            given, X = X, pool.array((n_users, Y.shape[1]), dtype)
            copy_rows(given, X)
            for rows in blocks_of(X[len(given) :]):
                new = X[len(given) :][rows]
                new[:] = self._new_rows(np.zeros((len(new), self.factors), dtype), "user")
                release(new)
        return X, Y

    def _drawn_items(self, n_items: int, pool: Pool) -> NDArray[Any]:
        """Return random item factors."""
        dtype, scale = np.dtype(self.dtype), float(self.init_scale) / np.sqrt(self.factors)
        generator = random_generator(self.random_state)
        columns = self._new_rows(np.zeros((0, self.factors), dtype), "item").shape[1]
        Y = pool.array((n_items, columns), dtype)
        for rows in blocks_of(Y):
            # Drawn in float64, so that both dtypes start from the same values.
            drawn = generator.standard_normal((rows.stop - rows.start, self.factors)) * scale
            with np.errstate(over="ignore"):  # the half-sweep reports it
                Y[rows] = self._new_rows(drawn.astype(dtype), "item")
            release(Y[rows])
        return Y

    def _new_rows(self, latent: NDArray[Any], kind: str) -> NDArray[Any]:
        """Return the initial rows of factors for these latent vectors."""
        return latent

    def _previous(self, name: str, rows: int, dtype: np.dtype[Any]) -> NDArray[Any] | None:
        """Return the model's factors, checked, to continue from; `dtype` is that of the fit."""
        previous = getattr(self, name, None)
        if previous is None:
            return None
        previous = np.asarray(previous)
        columns = self._new_rows(np.zeros((0, self.factors), dtype), "user").shape[1]
        fits = previous.ndim == 2 and previous.shape[1] == columns and len(previous) <= rows
        if not (fits and finite_rows(previous, dtype)):
            raise ValueError(
                f"warm_start needs finite {name} with {columns} columns (factors) and at most {rows} rows "
                f"(interactions), got shape {previous.shape}: set warm_start=False, or pass interactions that extend "
                "those of the last fit"
            )
        return previous


def copy_rows(source: NDArray[Any], target: NDArray[Any]) -> None:
    """Copy rows to the first ones of another array, whose dtype may differ; memory maps are released."""
    for rows in blocks_of(source):
        target[rows] = source[rows]
        release(source[rows], target[rows])


def finite_rows(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether all numbers are finite in the dtype; memory maps are released."""
    for rows in blocks_of(array):
        with np.errstate(over="ignore"):
            if not all_finite(array[rows].astype(dtype, copy=False)):
                return False
        release(array[rows])
    return True


@dataclass
class _Alternation:
    """The iterations of one fit."""

    sides: Sides
    X: NDArray[Any] | None
    Y: NDArray[Any]
    solver: Solver
    objective: float | None  # None: unknown, that of a warm start
    momentum: Momentum

    def iterate(self, loop: FitLoop) -> Iteration:
        """Run one iteration, accelerated unless that raises the objective."""
        X, Y, momentum = self.X, self.Y, self.momentum
        done = self._from(momentum.extrapolate(Y), loop)
        if momentum.overshot(done):
            del done  # returns its memory to the pool
            done = self._from(Y, loop)
        momentum.accept(done, X, Y)
        self.X, self.Y = done.user_factors, done.item_factors
        before = done.record["user_sweep_objective"] if self.objective is None else self.objective
        self.objective = objective = done.record["objective"]
        self.solver = replace(self.solver, narrow=before - objective > NARROW_GAIN * abs(objective))
        return done

    def _from(self, Y: NDArray[Any], loop: FitLoop) -> Iteration:
        """Run two half-sweeps."""
        by_users = self.sides.half_sweep("user", self.X, Y, self.solver)
        loop.report(by_users.factors, Y, "users", by_users)
        by_items = self.sides.half_sweep("item", Y, by_users.factors, self.solver)
        return Iteration(by_users.factors, by_items.factors, {
            "objective": by_items.objective,
            "user_sweep_objective": by_users.objective,
            "user_cg_steps": by_users.mean_steps,
            "item_cg_steps": by_items.mean_steps,
        }, by_items.state)  # fmt: skip

    def snapshot(self) -> Snapshot:
        """Return what `restore` needs besides the factors."""
        own = Snapshot({}, {"objective": self.objective, "narrow": self.solver.narrow})
        own = own.merged(self.momentum.snapshot(), "momentum")
        for kind, prior in self.sides.priors.items():
            own = own.merged(prior.snapshot(), f"{kind}_prior")
        return own

    def restore(self, saved: Snapshot, state: dict[str, Any]) -> None:
        """Continue as saved; `state` is that of the last iteration."""
        self.X, self.Y = saved.arrays["user_factors"], saved.arrays["item_factors"]
        self.objective = saved.values["objective"]
        self.solver = replace(self.solver, narrow=saved.values["narrow"])
        self.momentum.restore(saved.part("momentum"))
        self.sides.restore(state)
        for kind, prior in self.sides.priors.items():
            prior.restore(saved.part(f"{kind}_prior"), self.X if kind == "user" else self.Y)


def _inputs(observed: Observed, sides: Sides) -> Iterator[Any]:
    """Yield what a fit depends on, for a digest."""
    rows = observed.users
    yield from (rows.shape, rows.indptr, rows.indices, InDtype(rows.data, observed.dtype))
    yield sides.sample_weight
    for kind, prior in sorted(sides.priors.items()):
        F = prior.features
        yield from (kind, F.shape, F.indptr, F.indices, F.data, prior.known)
