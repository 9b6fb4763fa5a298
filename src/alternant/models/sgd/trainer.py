"""Stochastic gradient descent: the fit and the fold-in of every model that takes a step for each interaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..._utils.pool import Pool
from ..._utils.threads import map_parallel, resolve_num_threads
from ..._utils.validation import (
    check_boolean,
    check_choice,
    check_dtype,
    check_integer,
    check_number,
    check_random_state,
    random_generator,
)
from ...data.csr import CSR
from ...data.interactions import Interactions
from ...kernels import Factors, Grid, block_count, cut
from ...kernels._grid import column_counts
from ...kernels._registry import BACKENDS
from .._fit_loop import Callback, FitLoop, Iteration, Lesson, Report, Stopping, check_callback
from .._fold_in import FoldInModel
from .._sklearn import check_unused

# Entries times factors of one diagonal of the grid that are worth another thread: about 0.1 ms of work.
WORK_PER_THREAD = 1 << 17
# Rows folded in by one call of a kernel: fixed, as all that cuts work into pieces.
FOLD_IN_ROWS = 256
GATHER_ROWS = 4096  # rows put in another order at a time


class Task(NamedTuple):
    """What an epoch works on. Rows are users and columns items, or the other way round where items are folded in."""

    grid: Grid
    order: NDArray[np.int64]
    values: NDArray[Any]  # of the entries of the grid, as `StochasticModel._targets` has them
    factors: Factors
    squares: Factors | None  # Adagrad's sums
    facts: Mapping[str, Any]  # as `StochasticModel._facts` has them
    kind: str  # what the rows are: "user" or "item"
    update_columns: bool
    seed: int
    epoch: int  # from 1
    rate: float
    num_threads: int


class StochasticModel(FoldInModel):
    """A factor model fitted by epochs; a subclass says what an epoch is.

    The subclass has the constructor parameters named below, `_epoch`, and whichever of the other hooks differ.
    """

    factors: int
    learning_rate: float
    learning_rate_decay: float
    epochs: int
    early_stopping: float | None
    patience: int
    validation_fraction: float
    warm_start: bool
    init_scale: float | str
    dtype: Any
    random_state: Any

    n_iter_: int
    history_: dict[str, list[float]]
    backend_: str

    _fitted_state: ClassVar[tuple[str, ...]] = ("n_iter_", "history_", "backend_")

    def fit(
        self,
        interactions: Any,
        y: Any = None,
        *,
        validation: Any = None,
        callback: Callback | None = None,
        show_progress: bool | None = None,
    ) -> Self:
        """Learn the factors.

        Parameters
        ----------
        interactions : Interactions, or sparse matrix or array, or dense array, shape (n_users, n_items)
            What is known of the pairs.
        y : None
            Not used; there because scikit-learn passes it.
        validation : as `interactions`, of the same shape, optional
            Pairs that the fit is measured on after each epoch and learns nothing from, instead of the
            `validation_fraction` that is set aside at random.
        callback : callable, optional
            Called after each epoch with a `FitState`; the fit ends when it returns True.
        show_progress : bool, optional
            Whether to draw a progress bar on stderr. By default, where stderr is a terminal.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the input or a parameter is not as required; the model stays as it was.
        OverflowError
            If the steps diverge: `learning_rate` is too large. The model stays as it was.

        Notes
        -----
        Ctrl-C takes effect between two epochs and leaves the last one that the history has.
        """
        self._check_params()
        check_unused(y)
        check_callback(callback, "iteration")
        matrix, ids = self._open(interactions)
        rows = self._check_rows("interactions", matrix, np.dtype(self.dtype), copy=True)
        if len(rows.data) == 0:
            raise ValueError(f"interactions must hold at least one known pair, got none in shape {rows.shape}")
        held_out = None
        if validation is not None:
            if isinstance(validation, Interactions) and ids["_user_ids"] is not None:
                validation = validation.reindex(users=ids["_user_ids"], items=ids["_item_ids"]).matrix
            held_out = self._check_rows("validation", validation, np.dtype(self.dtype))
            if held_out.shape != rows.shape:
                raise ValueError(f"validation must have the shape of interactions, {rows.shape}, got {held_out.shape}")
            if len(held_out.data) == 0:
                raise ValueError("validation must hold at least one known pair, got none: use validation_fraction")
        rng = random_generator(self.random_state)
        train = rows
        if held_out is None and self.validation_fraction > 0:
            train, held_out = _split(rows, float(self.validation_fraction), rng)
        course = Course(self, train, held_out, rng)

        def commit(done: Iteration, history: dict[str, list[float]]) -> None:
            self._assign(
                user_factors=done.user_factors, item_factors=done.item_factors, interactions_=rows, history_=history,
                n_iter_=len(history["objective"]), backend_=course.backend.name, **ids, **done.state,
            )  # fmt: skip

        watched = "objective" if held_out is None else f"validation_{self._loss_name}"
        stopping = Stopping(self.early_stopping, watched, self.patience, keep_best=held_out is not None)
        lesson = Lesson(train, self._truth, self._score)
        loop = FitLoop(
            self.epochs, stopping, callback, "iteration", show_progress, type(self).__name__, lesson, "epoch"
        )  # fmt: skip
        before = dict(self.__dict__)
        try:
            loop.run(course.step, commit)
        except OverflowError:  # what the epochs before it made is on its way to infinity
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    # What a subclass says

    _loss_name = "rmse"  # of the loss in the history
    _fact_names: ClassVar[tuple[str, ...]] = ()  # of what `_facts` returns
    _chooses_scale = False  # whether `init_scale` may be "auto", and is the fact init_scale_ then

    def _epoch(self, task: Task) -> float:  # noqa: ARG002
        """Take one step for each entry and return the sum of the losses before it."""
        raise TypeError(f"{type(self).__name__} does not say what an epoch is")

    def _facts(self, rows: CSR) -> dict[str, Any]:  # noqa: ARG002
        """Return fitted attributes that only depend on what is known, such as a mean."""
        return {}

    def _targets(self, values: NDArray[Any], facts: Mapping[str, Any]) -> NDArray[Any]:  # noqa: ARG002
        """Turn what is known of pairs into what `_epoch` works on."""
        return values

    def _penalty(
        self, factors: Factors, facts: Mapping[str, Any], row_counts: NDArray[np.int64],  # noqa: ARG002
        column_counts: NDArray[np.int64],  # noqa: ARG002
    ) -> float:  # fmt: skip
        """Return the terms of the regularization, of rows and columns that so many entries visit in an epoch."""
        return 0.0

    def _squares(self, factors: Factors) -> Factors | None:  # noqa: ARG002
        """Return Adagrad's sums to start from, or None for plain steps."""
        return None

    def _initial(self, count: int, rng: np.random.Generator, facts: Mapping[str, Any]) -> NDArray[Any]:
        """Draw factors to start from, in float64."""
        scale = float(facts.get("init_scale_", self.init_scale)) / np.sqrt(self.factors)
        return np.asarray(scale * rng.standard_normal((count, self.factors)))

    def _parts(self, factors: Factors) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the columns of user factors and of item factors, whose dot product is the score."""
        return (factors.X,), (factors.Y,)

    def _unpack(self, users: NDArray[Any], items: NDArray[Any]) -> Factors:
        """Undo `_parts`."""
        return Factors(users, items, np.zeros(len(users), users.dtype), np.zeros(len(items), items.dtype))

    def _loss(self, total: float, count: int) -> float:
        """Turn the sum of the losses of an epoch into the figure of the history."""
        return float(np.sqrt(total / count))

    def _validation_loss(
        self, X: NDArray[Any], Y: NDArray[Any], facts: dict[str, Any], users: NDArray[np.int64],
        items: NDArray[np.int64], truth: NDArray[Any],
    ) -> float:  # fmt: skip
        """Return the same figure for pairs that were held out."""
        errors = self._score(X, Y, users, items, **facts) - truth
        return float(np.sqrt(np.mean(np.square(errors, dtype=np.float64))))

    def _held_out_pairs(
        self, held_out: CSR, rng: np.random.Generator  # noqa: ARG002
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:  # fmt: skip
        """Return users, items, and what their predictions should be."""
        users = np.repeat(np.arange(held_out.shape[0]), np.diff(held_out.indptr))
        return users, held_out.indices.astype(np.int64), self._truth(held_out)

    # Fold-in

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None  # noqa: ARG002
    ) -> NDArray[Any]:
        users, items = self._factors()
        facts = {name: getattr(self, name) for name in self._fact_names if hasattr(self, name)}
        start = np.repeat(self._mean_row(kind)[None], rows.shape[0], axis=0)
        held = self._unpack(start, items) if kind == "user" else self._unpack(users, start)
        if kind == "item":
            held = Factors(held.Y, held.X, held.column_bias, held.row_bias)
        X, b = np.array(held.X), np.array(held.row_bias)
        Y, c = np.ascontiguousarray(held.Y), np.ascontiguousarray(held.column_bias)

        @np.errstate(over="ignore", invalid="ignore")  # reported below
        def fold_in(first: int) -> None:
            part = slice(first, first + FOLD_IN_ROWS)
            indptr = rows.indptr[first : first + FOLD_IN_ROWS + 1]
            entries = slice(indptr[0], indptr[-1])
            factors = Factors(X[part], Y, b[part], c)
            own = np.repeat(np.arange(len(factors.X)), np.diff(indptr))
            grid = Grid.whole(own, rows.indices[entries], len(factors.X), len(Y))
            squares = self._squares(factors)
            values = self._targets(rows.data[entries], facts)
            for epoch in range(1, self.epochs + 1):
                self._epoch(Task(
                    grid, np.zeros(1, np.int64), values, factors, squares, facts, kind, False,
                    first, epoch, self._rate(epoch), 1,
                ))  # fmt: skip

        map_parallel(fold_in, range(0, len(X), FOLD_IN_ROWS), resolve_num_threads(self.num_threads))
        solved = Factors(X, Y, b, c) if kind == "user" else Factors(Y, X, c, b)
        packed = gather(self._parts(solved)[0 if kind == "user" else 1], np.arange(len(X)), 1)
        packed[np.diff(rows.indptr) == 0] = start[:1]  # the mean to the bit, whatever negatives say
        if not np.isfinite(packed).all():
            raise OverflowError(f"the steps of a new {kind} diverge: lower learning_rate, {self.learning_rate!r}")
        return packed

    # Internals

    def _rate(self, epoch: int) -> float:
        return float(self.learning_rate) * float(self.learning_rate_decay) ** (epoch - 1)

    def _check_params(self) -> None:
        check_integer("factors", self.factors, 1)
        check_number("learning_rate", self.learning_rate, 0, above=True)
        check_number("learning_rate_decay", self.learning_rate_decay, 0, above=True)
        check_integer("epochs", self.epochs, 1)
        if self.early_stopping is not None:
            check_number("early_stopping", self.early_stopping, 0)
        check_integer("patience", self.patience, 1)
        if not check_number("validation_fraction", self.validation_fraction, 0) < 1:
            raise ValueError(f"validation_fraction must be below 1, got {self.validation_fraction!r}")
        check_boolean("warm_start", self.warm_start)
        if not (self._chooses_scale and isinstance(self.init_scale, str) and self.init_scale == "auto"):
            check_number("init_scale", self.init_scale, 0, above=True)
        check_dtype("dtype", self.dtype)
        check_random_state(self.random_state)
        resolve_num_threads(self.num_threads)
        check_choice("backend", self.backend, ("auto", *BACKENDS))

    def _start(self, shape: tuple[int, int], rng: np.random.Generator, facts: Mapping[str, Any]) -> Factors:
        """Return the factors to start from, drawn or, for `warm_start`, held."""
        dtype = np.dtype(self.dtype)
        # Drawn in float64, so that both dtypes start at the same place.
        X, Y = (self._initial(count, rng, facts).astype(dtype) for count in shape)
        b, c = (np.zeros(count, dtype) for count in shape)
        if self.warm_start and getattr(self, "user_factors", None) is not None:
            users, items = self._factors()
            held = self._unpack(users.astype(dtype), items.astype(dtype))
            if held.X.shape[1] != self.factors or len(users) > shape[0] or len(items) > shape[1]:
                raise ValueError(
                    f"warm_start needs factors of {self.factors} columns for at most {shape[0]} users and {shape[1]} "
                    f"items, got {held.X.shape[1]} columns for {len(users)} and {len(items)}: set warm_start=False, "
                    "or interactions that extend the old"
                )
            X[: len(users)], Y[: len(items)] = held.X, held.Y
            b[: len(users)], c[: len(items)] = held.row_bias, held.column_bias
        return Factors(X, Y, b, c)


class Course:
    """The epochs of one fit: the factors in the order of the grid, so that the rows of a block lie together."""

    def __init__(self, model: StochasticModel, train: CSR, held_out: CSR | None, rng: np.random.Generator) -> None:
        self.model, self.backend = model, model._backend()
        self.facts = model._facts(train)
        start = model._start(train.shape, rng, self.facts)
        self.seed = int(rng.integers(1 << 63))
        m, n = train.shape
        blocks = block_count(m, n, len(train.data))
        self.cut = cut(
            train.indptr, train.indices, n, blocks, rng, resolve_num_threads(model.num_threads), self.backend
        )
        self.values = model._targets(train.data[self.cut.entries], self.facts)
        self.factors = Factors(
            gather((start.X,), self.cut.row_order, 1), gather((start.Y,), self.cut.column_order, 1),
            start.row_bias[self.cut.row_order], start.column_bias[self.cut.column_order],
        )  # fmt: skip
        self.squares = model._squares(self.factors)
        grid = self.cut.grid
        self.counts = (
            np.diff(train.indptr)[self.cut.row_order],
            column_counts(train.indices, n)[self.cut.column_order],
        )
        worth = len(train.data) * start.X.shape[1] // (grid.blocks * WORK_PER_THREAD)
        self.num_threads = min(resolve_num_threads(model.num_threads), 1 + worth)
        self.held_out = None if held_out is None else model._held_out_pairs(held_out, rng)
        self.back = np.argsort(self.cut.row_order), np.argsort(self.cut.column_order)

    def step(self, epoch: int, _: Report) -> Iteration:
        """Take one epoch."""
        model, grid = self.model, self.cut.grid
        order = np.random.default_rng([self.seed, epoch]).permutation(grid.blocks)
        rate = model._rate(epoch)
        total = model._epoch(Task(
            grid, order, self.values, self.factors, self.squares, self.facts, "user", True, self.seed, epoch, rate,
            self.num_threads,
        ))  # fmt: skip
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            objective = total + model._penalty(self.factors, self.facts, *self.counts)
        # Each loss is that before its own step, so that the last steps may overflow unnoticed.
        if not (np.isfinite(objective) and all(map(_all_finite, self.factors))):
            raise OverflowError(
                f"the steps of {type(model).__name__} diverge in epoch {epoch}: lower learning_rate, "
                f"{model.learning_rate!r}"
            )
        sides = zip(model._parts(self.factors), self.back, strict=True)
        users, items = (gather(parts, order, self.num_threads) for parts, order in sides)
        record = {"objective": objective, f"train_{model._loss_name}": model._loss(total, len(self.values))}
        if self.held_out is not None:
            loss = model._validation_loss(users, items, self.facts, *self.held_out)
            record[f"validation_{model._loss_name}"] = loss
        return Iteration(users, items, record | {"learning_rate": rate}, self.facts)


def gather(parts: tuple[Any, ...], order: NDArray[np.int64], num_threads: int) -> NDArray[Any]:
    """Put arrays (the first of two dimensions) and constants side by side, their rows in another order."""
    widths = [part.shape[1] if np.ndim(part) == 2 else 1 for part in parts]
    out = Pool().array((len(order), sum(widths)), parts[0].dtype)

    def fill(first: int) -> None:
        rows, start = slice(first, first + GATHER_ROWS), 0
        for part, width in zip(parts, widths, strict=True):
            at = out[rows, start : start + width]
            at[:] = part[order[rows]].reshape(len(at), width) if np.ndim(part) else part
            start += width

    map_parallel(fill, range(0, len(order), GATHER_ROWS), num_threads)
    return out


def _all_finite(part: NDArray[Any]) -> bool:
    """Whether no number is infinite or NaN, nor so large that it might as well be."""
    flat = part.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.vecdot(flat, flat)))


def _split(rows: CSR, fraction: float, rng: np.random.Generator) -> tuple[CSR, CSR]:
    """Set a part of the entries aside, at least one and not all."""
    count = len(rows.data)
    if count < 2:
        raise ValueError(f"validation_fraction needs at least 2 known pairs to split, got {count}: set it to 0")
    chosen = np.zeros(count, bool)
    chosen[rng.choice(count, min(count - 1, max(1, round(fraction * count))), replace=False)] = True
    parts = []
    for keep in (~chosen, chosen):
        before = np.concatenate([[0], np.cumsum(keep)])
        parts.append(CSR(before[rows.indptr], rows.indices[keep], rows.data[keep], rows.shape))
    return parts[0], parts[1]
