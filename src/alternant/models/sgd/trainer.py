"""Stochastic gradient descent: the fit and the fold-in of models that take one step per interaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._utils.threads import map_parallel, resolve_num_threads
from ...data.csr import CSR
from ...kernels import Cut, Factors, Grid, block_count, cut
from ...kernels._grid import column_counts
from .._checkpoint import Snapshot
from .._fit_loop import Iteration
from .._fold_in import FoldInModel
from .adagrad import FIRST_SQUARE, continue_squares, mean_squares
from .epochs import EpochModel, all_finite, concatenate_columns

if TYPE_CHECKING:
    from ...kernels._registry import Backend

ONE_TASK = np.zeros((1, 1, 2), np.int64)  # the schedule of a grid of one block
# Entries times factors per diagonal of the grid for each further thread: about 0.1 ms of work.
WORK_PER_THREAD = 1 << 17
# Rows folded in by one kernel call; constant, so that results do not depend on the number of threads.
FOLD_IN_ROWS = 256


class EpochInputs(NamedTuple):
    """The inputs of an epoch. Rows are users and columns are items; the reverse if items are folded in."""

    grid: Grid
    schedule: NDArray[np.int64]  # of the blocks
    values: NDArray[Any]  # of the entries of the grid, as `StochasticModel._targets` returns them
    factors: Factors
    squares: Factors | None  # Adagrad's sums
    state: Mapping[str, Any]  # as `StochasticModel._data_state` returns it
    kind: str  # of the rows: "user" or "item"
    update_columns: bool
    seed: int
    epoch: int  # from 1
    learning_rate: float
    num_threads: int
    keys: NDArray[np.int64] | None = None  # on which the negatives of a row depend; None: its number


class StochasticModel(EpochModel, FoldInModel):
    """A factor model fitted in epochs of one step for each interaction, on a grid of blocks.

    The subclass has the constructor parameters of an `EpochModel`, defines `_epoch`, and overrides other hooks as
    needed.
    """

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Estimate the cost of an epoch."""
        return n_pairs * (40 + self.factors / 2)

    # Hooks besides those of `EpochModel`, in the order in which a fit calls them; only `_epoch` has no default.
    # Callbacks compare predictions (`FactorModel._link`) with targets (`FactorModel._truth`).

    def _training(
        self, train: CSR, held_out: CSR | None, rng: np.random.Generator, start: Factors | None = None
    ) -> TrainingState:
        return TrainingState(self, train, held_out, rng, start)

    def _data_state(self, rows: CSR) -> dict[str, Any]:
        """Return fitted attributes that depend only on the training data, such as a mean."""
        return {}

    def _known_state(self) -> dict[str, Any]:
        """Return what `_data_state` returned in the last fit."""
        names = set(self._fitted_state) - set(EpochModel._fitted_state)
        return {name: getattr(self, name) for name in sorted(names) if hasattr(self, name)}

    def _targets(self, values: NDArray[Any], state: Mapping[str, Any]) -> NDArray[Any]:
        """Convert the values of pairs to the values of `EpochInputs`."""
        return values

    def _initial_squares(self, factors: Factors) -> Factors | None:
        """Return the initial sums of Adagrad, or None for plain steps."""
        return None

    def _held_out_pairs(
        self, held_out: CSR, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:  # fmt: skip
        """Return users, items, and the target values of their predictions."""
        users = np.repeat(np.arange(held_out.shape[0]), np.diff(held_out.indptr))
        return users, held_out.indices.astype(np.int64), self._truth(held_out)

    def _epoch(self, inputs: EpochInputs) -> float:
        """Take one step for each entry and return the sum of the losses before it."""
        raise TypeError(f"{type(self).__name__} does not define _epoch")

    def _penalty(
        self, factors: Factors, state: Mapping[str, Any], row_counts: NDArray[np.int64],
        column_counts: NDArray[np.int64],
    ) -> float:  # fmt: skip
        """Return the regularization terms, given the number of entries of each row and column."""
        return 0.0

    def _loss(self, total: float, count: int) -> float:
        """Convert the sum of the losses of an epoch to the loss in the history."""
        return float(np.sqrt(total / count))

    def _pack(self, factors: Factors) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the columns of the user factors and of the item factors, whose dot product is the score."""
        return (factors.X,), (factors.Y,)

    def _validation_loss(
        self, X: NDArray[Any], Y: NDArray[Any], state: dict[str, Any], users: NDArray[np.int64],
        items: NDArray[np.int64], truth: NDArray[Any],
    ) -> float:  # fmt: skip
        """Return the same loss for the held-out pairs."""
        errors = self._score(X, Y, users, items, **state) - truth
        return float(np.sqrt(np.mean(np.square(errors, dtype=np.float64))))

    # Fold-in

    def _row_keys(self, rows: CSR) -> NDArray[np.int64] | None:
        """Return what the random choices for each row depend on, if there are any: nothing but the row itself."""
        return None

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None
    ) -> NDArray[Any]:
        users, items = self._factors()
        state = self._known_state()
        start = np.repeat(self._mean_row(kind)[None], rows.shape[0], axis=0)
        initial = self._unpack(start, items) if kind == "user" else self._unpack(users, start)
        if kind == "item":
            initial = Factors(initial.Y, initial.X, initial.column_bias, initial.row_bias)
        X, b = np.array(initial.X), np.array(initial.row_bias)
        Y, c = np.ascontiguousarray(initial.Y), np.ascontiguousarray(initial.column_bias)
        keys = self._row_keys(rows)

        @np.errstate(over="ignore", invalid="ignore")  # reported below
        def fold_in(first: int) -> None:
            part = slice(first, first + FOLD_IN_ROWS)
            indptr = rows.indptr[first : first + FOLD_IN_ROWS + 1]
            entries = slice(indptr[0], indptr[-1])
            factors = Factors(X[part], Y, b[part], c)
            entry_rows = np.repeat(np.arange(len(factors.X)), np.diff(indptr))
            grid = Grid.whole(entry_rows, rows.indices[entries], len(factors.X), len(Y))
            squares = self._initial_squares(factors)
            values = self._targets(rows.data[entries], state)
            for epoch in range(1, self.epochs + 1):
                self._epoch(EpochInputs(
                    grid, ONE_TASK, values, factors, squares, state, kind, False,
                    0, epoch, self._learning_rate_at(epoch), 1, None if keys is None else keys[part],
                ))  # fmt: skip

        map_parallel(fold_in, range(0, len(X), FOLD_IN_ROWS), resolve_num_threads(self.num_threads))
        solved = Factors(X, Y, b, c) if kind == "user" else Factors(Y, X, c, b)
        packed = concatenate_columns(self._pack(solved)[0 if kind == "user" else 1], np.arange(len(X)), 1)
        packed[np.diff(rows.indptr) == 0] = start[:1]  # exactly the mean, even if negatives were sampled
        if not np.isfinite(packed).all():
            raise OverflowError(f"folding in a new {kind} diverges: lower learning_rate, got {self.learning_rate!r}")
        return packed


class TrainingState:
    """The state of a fit, with factors in the order of the grid, so that the rows of a block are contiguous."""

    model: StochasticModel
    backend: Backend
    state: dict[str, Any]
    seed: int
    cut: Cut
    values: NDArray[Any]
    factors: Factors
    squares: Factors | None
    counts: tuple[NDArray[np.int64], NDArray[np.int64]]
    num_threads: int
    held_out: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]] | None
    inverse_orders: tuple[NDArray[np.int64], NDArray[np.int64]]

    def __init__(
        self, model: StochasticModel, train: CSR, held_out: CSR | None, rng: np.random.Generator,
        start: Factors | None = None,
    ) -> None:  # fmt: skip
        self.model, self.backend = model, model._backend()
        continued = start is not None
        self.state = model._known_state() if continued else model._data_state(train)
        start = model._start(train.shape, rng, self.state) if start is None else start
        self.seed = int(rng.integers(1 << 63))
        m, n = train.shape
        blocks = block_count(m, n, len(train.data))
        self.cut = cut(
            train.indptr, train.indices, n, blocks, rng, resolve_num_threads(model.num_threads), self.backend
        )
        self.values = model._targets(train.data[self.cut.entries], self.state)
        rows, columns = self.cut.row_order, self.cut.column_order
        self.factors = Factors(
            concatenate_columns((start.X,), rows, 1), concatenate_columns((start.Y,), columns, 1),
            start.row_bias[rows], start.column_bias[columns],
        )  # fmt: skip
        grid = self.cut.grid
        self.counts = (
            np.diff(train.indptr)[self.cut.row_order],
            column_counts(train.indices, n)[self.cut.column_order],
        )
        self.squares = model._initial_squares(self.factors)
        if continued and self.squares is not None:
            continue_squares(model, self.squares, (*self.counts, *self.counts))
        worth = len(train.data) * start.X.shape[1] // (grid.blocks * WORK_PER_THREAD)
        self.num_threads = min(resolve_num_threads(model.num_threads), 1 + worth)
        self.held_out = None if held_out is None else model._held_out_pairs(held_out, rng)
        self.inverse_orders = np.argsort(self.cut.row_order), np.argsort(self.cut.column_order)

    def forget(self, known: tuple[int, int]) -> None:
        """Begin anew with the sums of squares of rows that no fit has trained: their steps are long."""
        if self.squares is not None:
            X, Y, row_bias, column_bias = self.squares
            for part in (X, row_bias):
                part[self.cut.row_order >= known[0]] = FIRST_SQUARE
            for part in (Y, column_bias):
                part[self.cut.column_order >= known[1]] = FIRST_SQUARE

    def step(self, epoch: int) -> Iteration:
        """Run one epoch."""
        model, grid = self.model, self.cut.grid
        schedule = grid.diagonals(np.random.default_rng([self.seed, epoch]).permutation(grid.blocks))
        rate = model._learning_rate_at(epoch)
        total = model._epoch(EpochInputs(
            grid, schedule, self.values, self.factors, self.squares, self.state, "user", True, self.seed, epoch, rate,
            self.num_threads,
        ))  # fmt: skip
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            objective = total + model._penalty(self.factors, self.state, *self.counts)
        # Losses are those before each step, so that an overflow in the last steps does not show in them.
        if not (np.isfinite(objective) and all(map(all_finite, self.factors))):
            raise OverflowError(
                f"{type(model).__name__} diverges in epoch {epoch}: lower learning_rate, got {model.learning_rate!r}"
            )
        sides = zip(model._pack(self.factors), self.inverse_orders, strict=True)
        users, items = (concatenate_columns(parts, order, self.num_threads) for parts, order in sides)
        record = {"objective": objective, f"train_{model._loss_name}": model._loss(total, len(self.values))}
        if self.held_out is not None:
            loss = model._validation_loss(users, items, self.state, *self.held_out)
            record[f"validation_{model._loss_name}"] = loss
        state = self.state | mean_squares(self.squares, (*self.counts, *self.counts))
        return Iteration(users, items, record | {"learning_rate": rate}, state)

    def snapshot(self) -> Snapshot:
        """Return Adagrad's sums: the factors are the model's, in another order."""
        if self.squares is None:
            return Snapshot()
        return Snapshot({f"{name}_squares": part for name, part in self.squares._asdict().items()})

    def restore(self, saved: Snapshot) -> None:
        """Continue as saved."""
        rows, columns = self.cut.row_order, self.cut.column_order
        of_model = self.model._unpack(saved.arrays["user_factors"], saved.arrays["item_factors"])
        self.factors = Factors(
            concatenate_columns((of_model.X,), rows, 1), concatenate_columns((of_model.Y,), columns, 1),
            of_model.row_bias[rows], of_model.column_bias[columns],
        )  # fmt: skip
        if self.squares is not None:
            self.squares = Factors(*(saved.arrays[f"{name}_squares"] for name in Factors._fields))
