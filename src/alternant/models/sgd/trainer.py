"""Stochastic gradient descent: the fit and the fold-in of models that take one step per interaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..._utils.pool import Pool
from ..._utils.threads import map_parallel, resolve_num_threads
from ..._utils.validation import random_generator
from ...data.csr import CSR
from ...data.interactions import Interactions
from ...kernels import Cut, Factors, Grid, block_count, cut
from ...kernels._grid import column_counts
from .._fit_loop import Callback, FitLoop, FitOptions, History, Iteration, Stopping, TrainingData
from .._fold_in import FoldInModel
from .._sklearn import check_unused

if TYPE_CHECKING:
    from ..._typing import Rated
    from ...kernels._registry import Backend

ONE_TASK = np.zeros((1, 1, 2), np.int64)  # the schedule of a grid of one block
# Entries times factors per diagonal of the grid for each further thread: about 0.1 ms of work.
WORK_PER_THREAD = 1 << 17
# Rows folded in by one kernel call; constant, so that results do not depend on the number of threads.
FOLD_IN_ROWS = 256
GATHER_ROWS = 4096  # rows gathered at a time


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


class StochasticModel(FoldInModel):
    """A factor model fitted in epochs, which a subclass defines.

    The subclass has the constructor parameters listed below, defines `_epoch`, and overrides other hooks as needed.
    """

    factors: int
    learning_rate: float
    learning_rate_decay: float
    epochs: int
    early_stopping: float | None
    patience: int
    validation_fraction: float
    warm_start: bool
    init_scale: Any  # see the subclass
    dtype: Any
    random_state: Any

    n_iter_: int
    history_: dict[str, list[float]]
    backend_: str

    _fitted_state: ClassVar[tuple[str, ...]] = ("n_iter_", "history_", "backend_")

    def fit(
        self,
        interactions: Rated,
        y: Any = None,
        *,
        validation: Rated | None = None,
        callback: Callback | None = None,
        show_progress: bool | None = None,
    ) -> Self:
        """Learn the factors.

        Parameters
        ----------
        interactions : Interactions, or sparse matrix or array, or dense array, shape (n_users, n_items)
            The values of the known pairs.
        y : None
            Not used; present for compatibility with scikit-learn.
        validation : as `interactions`, of the same shape, optional
            Held-out pairs on which the loss is measured after each epoch, instead of a random `validation_fraction`.
        callback : callable, optional
            Called after each epoch with a `FitState`; the fit stops when it returns True.
        show_progress : bool, optional
            Whether to show a progress bar on stderr. By default, only on a terminal.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the input or a parameter is invalid; the model is left unchanged.
        OverflowError
            If the fit diverges because `learning_rate` is too large; the model is left unchanged.

        Notes
        -----
        Ctrl-C takes effect between two epochs and leaves the model of the last complete epoch.
        """
        self._check_params()
        check_unused(y)
        options = FitOptions(callback, "iteration", show_progress)
        matrix, ids = self._matrix_and_ids(interactions)
        rows = self._check_rows("interactions", matrix, np.dtype(self.dtype), copy=True)
        if len(rows.data) == 0:
            raise ValueError(f"interactions must contain at least one known pair, got none in shape {rows.shape}")
        held_out = None
        if validation is not None:
            if isinstance(validation, Interactions) and ids["_user_ids"] is not None:
                self._check_values("validation", validation)
                validation = validation.reindex(users=ids["_user_ids"], items=ids["_item_ids"]).matrix
            held_out = self._check_rows("validation", validation, np.dtype(self.dtype))
            if held_out.shape != rows.shape:
                raise ValueError(f"validation must have the shape of interactions, {rows.shape}, got {held_out.shape}")
            if len(held_out.data) == 0:
                raise ValueError("validation must contain at least one known pair, got none: use validation_fraction")
        rng = random_generator(self.random_state)
        train = rows
        if held_out is None and self.validation_fraction > 0:
            train, held_out = _split(rows, float(self.validation_fraction), rng)
        state = TrainingState(self, train, held_out, rng)

        def commit(done: Iteration, history: History) -> None:
            self._assign(
                user_factors=done.user_factors, item_factors=done.item_factors, interactions_=rows, history_=history,
                n_iter_=len(history["objective"]), backend_=state.backend.name, **ids, **done.state,
            )  # fmt: skip

        watched = "objective" if held_out is None else f"validation_{self._loss_name}"
        stopping = Stopping(self.early_stopping, watched, self.patience, keep_best=held_out is not None)
        training = TrainingData(train, self._truth, self._score)
        loop = FitLoop(self.epochs, stopping, options, training, commit, type(self).__name__, "epoch")
        before = dict(self.__dict__)
        try:
            with loop:
                for epoch in loop:
                    loop.end(state.step(epoch))
        except OverflowError:  # earlier epochs were already diverging
            with self._guard.lock:
                self.__dict__.clear()
                self.__dict__.update(before)
            raise
        return self

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Estimate the cost of an epoch."""
        return n_pairs * (40 + self.factors / 2)

    # Hooks, in the order in which a fit calls them; only `_epoch` has no default. Callbacks compare predictions
    # (`FactorModel._link`) with targets (`FactorModel._truth`).

    _loss_name = "rmse"  # in the history

    def _data_state(self, rows: CSR) -> dict[str, Any]:
        """Return fitted attributes that depend only on the training data, such as a mean."""
        return {}

    def _initial(self, count: int, rng: np.random.Generator, state: Mapping[str, Any]) -> NDArray[Any]:
        """Draw initial factors, in float64."""
        scale = float(state.get("init_scale_", self.init_scale)) / np.sqrt(self.factors)
        return np.asarray(scale * rng.standard_normal((count, self.factors)))

    def _unpack(self, users: NDArray[Any], items: NDArray[Any]) -> Factors:
        """Undo `_pack`."""
        return Factors(users, items, np.zeros(len(users), users.dtype), np.zeros(len(items), items.dtype))

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
        data_state = set(self._fitted_state) - set(StochasticModel._fitted_state)
        state = {name: getattr(self, name) for name in data_state if hasattr(self, name)}
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

    # Internals

    def _learning_rate_at(self, epoch: int) -> float:
        return float(self.learning_rate) * float(self.learning_rate_decay) ** (epoch - 1)

    def _start(self, shape: tuple[int, int], rng: np.random.Generator, state: Mapping[str, Any]) -> Factors:
        """Return the initial factors: drawn at random or, with `warm_start`, the model's."""
        dtype = np.dtype(self.dtype)
        # Drawn in float64, so that both dtypes start from the same values.
        X, Y = (self._initial(count, rng, state).astype(dtype) for count in shape)
        b, c = (np.zeros(count, dtype) for count in shape)
        if self.warm_start and getattr(self, "user_factors", None) is not None:
            users, items = self._factors()
            previous = self._unpack(users.astype(dtype), items.astype(dtype))
            if previous.X.shape[1] != self.factors or len(users) > shape[0] or len(items) > shape[1]:
                raise ValueError(
                    f"warm_start needs factors of {self.factors} columns for at most {shape[0]} users and {shape[1]} "
                    f"items, got {previous.X.shape[1]} columns for {len(users)} users and {len(items)} items: set "
                    "warm_start=False, or pass interactions that extend those of the last fit"
                )
            X[: len(users)], Y[: len(items)] = previous.X, previous.Y
            b[: len(users)], c[: len(items)] = previous.row_bias, previous.column_bias
        return Factors(X, Y, b, c)


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

    def __init__(self, model: StochasticModel, train: CSR, held_out: CSR | None, rng: np.random.Generator) -> None:
        self.model, self.backend = model, model._backend()
        self.state = model._data_state(train)
        start = model._start(train.shape, rng, self.state)
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
        self.squares = model._initial_squares(self.factors)
        grid = self.cut.grid
        self.counts = (
            np.diff(train.indptr)[self.cut.row_order],
            column_counts(train.indices, n)[self.cut.column_order],
        )
        worth = len(train.data) * start.X.shape[1] // (grid.blocks * WORK_PER_THREAD)
        self.num_threads = min(resolve_num_threads(model.num_threads), 1 + worth)
        self.held_out = None if held_out is None else model._held_out_pairs(held_out, rng)
        self.inverse_orders = np.argsort(self.cut.row_order), np.argsort(self.cut.column_order)

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
        if not (np.isfinite(objective) and all(map(_all_finite, self.factors))):
            raise OverflowError(
                f"{type(model).__name__} diverges in epoch {epoch}: lower learning_rate, got {model.learning_rate!r}"
            )
        sides = zip(model._pack(self.factors), self.inverse_orders, strict=True)
        users, items = (concatenate_columns(parts, order, self.num_threads) for parts, order in sides)
        record = {"objective": objective, f"train_{model._loss_name}": model._loss(total, len(self.values))}
        if self.held_out is not None:
            loss = model._validation_loss(users, items, self.state, *self.held_out)
            record[f"validation_{model._loss_name}"] = loss
        return Iteration(users, items, record | {"learning_rate": rate}, self.state)


def concatenate_columns(parts: tuple[Any, ...], order: NDArray[np.int64], num_threads: int) -> NDArray[Any]:
    """Concatenate the columns of arrays (the first is two-dimensional) and constants, with rows in a new order."""
    widths = [part.shape[1] if np.ndim(part) == 2 else 1 for part in parts]
    out = Pool().array((len(order), sum(widths)), parts[0].dtype)

    def fill(first: int) -> None:
        rows, start = slice(first, first + GATHER_ROWS), 0
        for part, width in zip(parts, widths, strict=True):
            block = out[rows, start : start + width]
            block[:] = part[order[rows]].reshape(len(block), width) if np.ndim(part) else part
            start += width

    map_parallel(fill, range(0, len(order), GATHER_ROWS), num_threads)
    return out


def _all_finite(part: NDArray[Any]) -> bool:
    """Whether all numbers, and the sum of their squares, are finite."""
    flat = part.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.einsum("i,i->", flat, flat)))


def _split(rows: CSR, fraction: float, rng: np.random.Generator) -> tuple[CSR, CSR]:
    """Hold out a fraction of the entries, at least one and not all."""
    count = len(rows.data)
    if count < 2:
        raise ValueError(f"validation_fraction needs at least 2 known pairs to split, got {count}: set it to 0")
    chosen = np.zeros(count, bool)
    chosen[rng.choice(count, min(count - 1, max(1, round(fraction * count))), replace=False)] = True
    return rows.filter(~chosen), rows.filter(chosen)
