"""Stochastic gradient descent: the fit and the fold-in of models that take one step per interaction."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import FilePool, blocked_sum, column_counts, release
from ..._utils.pool import Pool
from ..._utils.threads import map_parallel, resolve_num_threads
from ...data.csr import CSR
from ...kernels import Factors, Grid, block_count
from ...kernels._grid import total_loss
from .._checkpoint import Snapshot
from .._fit_loop import Iteration
from .._fold_in import FoldInModel
from .._memory import BLOCKS, PER_ROW, FitMemory
from .adagrad import FIRST_SQUARE, continue_squares, mean_squares
from .blocks import Blocks, InFiles, InMemory
from .epochs import EpochModel, all_finite, concatenate_columns
from .held_out import HeldOut, Pairs
from .moving import Moving

if TYPE_CHECKING:
    from ...kernels._registry import Backend

ONE_TASK = np.zeros((1, 1, 2), np.int64)  # the schedule of a grid of one block
# Entries times factors per diagonal of the grid for each further thread: about 0.1 ms of work.
WORK_PER_THREAD = 1 << 17
# Rows folded in by one kernel call; constant, so that results do not depend on the number of threads.
FOLD_IN_ROWS = 256


class EpochInputs(NamedTuple):
    """The inputs of an epoch, or of one of its rounds.

    Rows are users and columns are items; the reverse if items are folded in.
    """

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
    negatives: NDArray[np.float64] | None = None  # of each row, as `StochasticModel._samples` returns them
    keys: NDArray[np.int64] | None = None  # on which the negatives of a row depend; None: its number


class StochasticModel(EpochModel, FoldInModel):
    """A factor model fitted in epochs of one step for each interaction, on a grid of blocks.

    The subclass has the constructor parameters of an `EpochModel`, defines `_epoch`, and overrides other hooks as
    needed.
    """

    bytes_per_pair: ClassVar[int] = 36  # while the matrix, its copy and the grid are in memory

    def fit_memory(self, n_users: int, n_items: int, n_pairs: int) -> FitMemory:
        """Estimate the memory of a fit from a matrix in memory."""
        number, blocks = np.dtype(self.dtype).itemsize, block_count(n_users, n_items, n_pairs)
        # In memory: the factors that an epoch moves, in the order of the blocks, and for the loss of held-out pairs
        # those of the items. In files, if need be: those of the larger side, but for the blocks that are processed at
        # a time; and the factors of the model, before and after an epoch, and the best.
        sides = [count * (self.factors + 2) * number for count in (n_users, n_items)]
        kinds = 1 if getattr(self, "optimizer", "sgd") == "sgd" else 2
        at_once = kinds * max(sides) * min(blocks, resolve_num_threads(self.num_threads)) // blocks
        moving = kinds * min(sides) + at_once
        copies, of_items = (3, sides[1]) if self.validation_fraction else (2, 0)
        of_round = n_pairs // blocks * (9 + 3 * number)
        entries = max(0, n_pairs * self.bytes_per_pair - of_round - BLOCKS)  # in memory, no parts of them are read
        return FitMemory(
            entries=entries, vectors=(n_users + n_items) * PER_ROW,
            factors=copies * sum(sides) + kinds * max(sides) - at_once, fixed=moving + of_items, mapped=at_once,
            moved=kinds * max(sides) - at_once, largest=of_round, disk=n_pairs * (8 + number), streams=True, files=True,
        )  # fmt: skip

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Estimate the cost of an epoch."""
        return n_pairs * (40 + self.factors / 2)

    # Hooks besides those of `EpochModel`, in the order in which a fit calls them; only `_epoch` has no default.
    # Callbacks compare predictions (`FactorModel._link`) with targets (`FactorModel._truth`).

    def _training(
        self, train: CSR, held_out: CSR | None, rng: np.random.Generator, start: Factors | None = None,
        pool: Pool | None = None, files: FilePool | None = None,
    ) -> TrainingState:  # fmt: skip
        return TrainingState(self, train, held_out, rng, start, pool, files)

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

    def _initial_squares(self, factors: Factors, pool: Pool | None = None) -> Factors | None:
        """Return the initial sums of Adagrad, from the pool where factors are in files, or None for plain steps."""
        return None

    def _samples(self, counts: NDArray[np.int64], state: Mapping[str, Any], kind: str) -> NDArray[np.float64] | None:
        """Return the expected number of negatives of each row, given its number of entries, if they are sampled."""
        return None

    def _held_out(self, rows: CSR, rng: np.random.Generator, pool: Pool) -> HeldOut:
        """Return held-out pairs with what their loss needs."""
        return HeldOut(rows)

    def _epoch(self, inputs: EpochInputs) -> NDArray[np.float64]:
        """Take one step for each entry and return the sums of the losses before it, as the kernel does."""
        raise TypeError(f"{type(self).__name__} does not define _epoch")

    def _data_term(self, total: float, state: Mapping[str, Any]) -> float:
        """Return the sum of the losses of an epoch on the scale of the data, given that of the kernels."""
        return total

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

    def _losses(self, X: NDArray[Any], Y: NDArray[Any], state: dict[str, Any], pairs: Pairs) -> NDArray[np.float64]:
        """Return the losses of held-out pairs."""
        errors = self._score(X, Y, pairs.users, pairs.items, **state) - self._truth(pairs.rows)
        return np.asarray(np.square(errors, dtype=np.float64))

    def _validation_loss(self, X: NDArray[Any], Y: NDArray[Any], state: dict[str, Any], held_out: HeldOut) -> float:
        """Return the loss of held-out pairs for the history."""
        losses = held_out.losses(X, partial(self._losses, X, Y, state))
        return self._loss(blocked_sum(losses), held_out.count)

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
        keys, negatives = self._row_keys(rows), self._samples(np.diff(rows.indptr), state, kind)

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
                    0, epoch, self._learning_rate_at(epoch), 1, None if negatives is None else negatives[part],
                    None if keys is None else keys[part],
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
    blocks: Blocks
    factors: Factors
    squares: Factors | None
    counts: tuple[NDArray[np.int64], NDArray[np.int64]]
    negatives: NDArray[np.float64] | None
    nnz: int
    num_threads: int
    held_out: HeldOut | None
    moving: Moving

    def __init__(
        self, model: StochasticModel, train: CSR, held_out: CSR | None, rng: np.random.Generator,
        start: Factors | None = None, pool: Pool | None = None, files: FilePool | None = None,
    ) -> None:  # fmt: skip
        self.model, self.backend = model, model._backend()
        # A pool in memory keeps what is freed for arrays of the same size, which the initial factors would wait for.
        self.pool: FilePool | None = pool if isinstance(pool, FilePool) else None
        continued = start is not None
        self.state = model._known_state() if continued else model._data_state(train)
        start = model._start(train.shape, rng, self.state, self.pool) if start is None else start
        self.seed = int(rng.integers(1 << 63))
        threads, nnz = resolve_num_threads(model.num_threads), len(train.indices)
        targets = partial(model._targets, state=self.state)
        common = train, block_count(*train.shape, nnz), rng, targets, threads, self.backend
        self.blocks = InMemory(*common) if files is None else InFiles(*common, start.X.dtype, files)
        self.moving = Moving(self.blocks, self.pool, threads)
        self.factors = self.moving.in_order(start)
        self.counts = (
            np.diff(train.indptr)[self.blocks.row_order],
            column_counts(train.indices, train.shape[1])[self.blocks.column_order],
        )
        self.negatives = model._samples(self.counts[0], self.state, "user")
        self.squares = model._initial_squares(self.factors, self.moving.files)
        if continued and self.squares is not None:
            continue_squares(model, self.squares, (*self.counts, *self.counts))
        self.nnz, worth = nnz, nnz * start.X.shape[1] // (self.blocks.number * WORK_PER_THREAD)
        self.num_threads = min(threads, 1 + worth)
        self.held_out = None if held_out is None else model._held_out(held_out, rng, files or Pool())

    def forget(self, known: tuple[int, int]) -> None:
        """Begin anew with the sums of squares of rows that no fit has trained: their steps are long."""
        if self.squares is not None:
            X, Y, row_bias, column_bias = self.squares
            for part in (X, row_bias):
                part[self.blocks.row_order >= known[0]] = FIRST_SQUARE
            for part in (Y, column_bias):
                part[self.blocks.column_order >= known[1]] = FIRST_SQUARE

    def step(self, epoch: int) -> Iteration:
        """Run one epoch."""
        model, rate = self.model, self.model._learning_rate_at(epoch)
        total = model._data_term(self._move(epoch, rate), self.state)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            objective = total + model._penalty(self.factors, self.state, *self.counts)
        # Losses are those before each step, so that an overflow in the last steps does not show in them.
        if not (np.isfinite(objective) and all(map(all_finite, self.factors))):
            raise model._diverged(epoch)
        sides = zip(model._pack(self.factors), self.moving.places, strict=True)
        users, items = (concatenate_columns(parts, order, self.num_threads, self.pool) for parts, order in sides)
        record = {"objective": objective, f"train_{model._loss_name}": model._loss(total, self.nnz)}
        if self.held_out is not None:
            record[f"validation_{model._loss_name}"] = model._validation_loss(users, items, self.state, self.held_out)
            release(users, items)
        state = self.state | mean_squares(self.squares, (*self.counts, *self.counts))
        return Iteration(users, items, record | {"learning_rate": rate}, state)

    def _move(self, epoch: int, rate: float) -> float:
        """Take the steps of an epoch and return the sum of the losses."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.blocks.number)
        total = 0.0
        for call in self.blocks.calls(order):
            for portions in self.moving.portions(call, self.factors, self.squares):
                losses = [self.model._epoch(EpochInputs(
                    *portion, self.factors, self.squares, self.state, "user", True, self.seed, epoch, rate,
                    self.num_threads, self.negatives,
                )) for portion in portions]  # fmt: skip
                total += total_loss(np.concatenate(losses, axis=1))
        return total

    def snapshot(self) -> Snapshot:
        """Return Adagrad's sums: the factors are the model's, in another order."""
        if self.squares is None:
            return Snapshot()
        return Snapshot({f"{name}_squares": part for name, part in self.squares._asdict().items()})

    def restore(self, saved: Snapshot) -> None:
        """Continue as saved."""
        users, items = saved.arrays["user_factors"], saved.arrays["item_factors"]
        self.factors = self.moving.in_order(self.model._unpack(users, items))
        if self.squares is not None:
            self.squares = self.moving.kept(Factors(*(saved.arrays[f"{name}_squares"] for name in Factors._fields)))
