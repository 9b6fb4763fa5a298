"""The fit of models that learn in epochs: validation, history, callbacks, early stopping and a warm start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import FilePool, blocks_of, parts_of, release
from ..._utils.memory import parse_bytes
from ..._utils.pool import Pool
from ..._utils.threads import map_parallel
from ..._utils.validation import random_generator
from ..._utils.warn import warn_caller
from ...data.csr import CSR
from ...data.events import refuse_events
from ...data.interactions import Interactions
from ...data.store import Store
from ...kernels import Factors
from .._checkpoint import Checkpoint, InDtype, Snapshot
from .._fit_loop import Callback, FitLoop, FitOptions, History, Iteration, Stopping, TrainingData
from .._memory import files_of_interactions, pool_for
from .._sklearn import check_unused
from .held_out import split
from .nights import NightlyModel
from .stored import stored_rows

if TYPE_CHECKING:
    from ..._typing import Rated
    from ...kernels._registry import Backend
    from .._feature_model import Checked

HUGE_SCALE = 10  # an `init_scale` with which the start itself may overflow
GATHER_ROWS = 4096  # rows gathered at a time


@dataclass(frozen=True)
class FitData:
    """The interactions of a fit, and where it allocates its arrays."""

    rows: CSR  # of a store: memory-mapped, with its values
    pool: Pool  # of factors that are read in order
    files: FilePool | None = None  # of what is computed from interactions in a store; None: they are in memory


def arrays_of(rows: CSR, dtype: np.dtype[Any]) -> list[Any]:
    """Return what names a matrix in a checkpoint, with values in this dtype: the same in memory as from a store."""
    return [rows.shape, rows.indptr, rows.indices, InDtype(rows.data, dtype)]


class Training(Protocol):
    """The state of a fit."""

    backend: Backend

    def step(self, epoch: int) -> Iteration:
        """Run one epoch, numbered from 1."""

    def forget(self, known: tuple[int, int]) -> None:
        """Forget sums of squares of gradients of users and items from these numbers on, which are new."""

    def snapshot(self) -> Snapshot:
        """Return what `restore` needs besides the factors."""

    def restore(self, saved: Snapshot) -> None:
        """Continue as saved."""


class EpochModel(NightlyModel):
    """A factor model fitted in epochs, which a subclass defines.

    The subclass has the constructor parameters listed below, defines `_training`, and overrides other hooks as needed.
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
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 1,
        memory_limit: int | str | None = None,
    ) -> Self:
        """Learn the factors.

        Parameters
        ----------
        interactions : Interactions, or sparse matrix or array, or dense array, shape (n_users, n_items)
            The values of the known pairs. From a store (`Interactions.from_parquet`), they are read in parts.
        y : None
            Not used; present for compatibility with scikit-learn.
        validation : as `interactions`, of the same shape, optional
            Held-out pairs on which the loss is measured after each epoch, instead of a random `validation_fraction`. If
            these and `interactions` are in stores with the same users and items, they are read in parts, too.
        callback : callable, optional
            Called after each epoch with a `FitState`; the fit stops when it returns True.
        show_progress : bool, optional
            Whether to show a progress bar on stderr. By default, only on a terminal.
        checkpoint : path, optional
            A folder in which the state of the fit is saved after each epoch, which takes as long as saving the model.
            If it contains the state of a fit with the same parameters to the same data, this fit resumes from there,
            and ends with factors identical to those of an uninterrupted one; if all epochs are done, it returns them.
        every : int
            With `checkpoint`: save it after this many epochs, and at the end.
        memory_limit : int or str, optional
            The resident memory that the fit may take, in bytes or as a string such as "4GB"; a limit that is too low is
            refused before the fit. What does not fit is kept in files, in the folder of the store or of temporary
            files; the factors do not depend on it.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the input or a parameter is invalid; the model is left unchanged.
        OverflowError
            If the fit diverges because `learning_rate` is too large; the model is left unchanged.
        MemoryError
            If the fit would not fit in memory.

        Notes
        -----
        Ctrl-C takes effect between two epochs and leaves the model of the last complete epoch.
        """
        options = FitOptions(callback, "iteration", show_progress, checkpoint, every)
        return self._fit_epochs(interactions, y, validation, options, memory_limit)

    def _fit_epochs(
        self, interactions: Any, y: Any, validation: Any, options: FitOptions, memory_limit: int | str | None,
        features: tuple[Any, Any] = (None, None),
    ) -> Self:  # fmt: skip
        """Fit, with the features of users and of items if the model learns from them."""
        self._check_params()
        check_unused(y, validation=True)
        matrix, ids = self._matrix_and_ids(interactions)
        data = self._data_of_fit("interactions", matrix, memory_limit)
        rows = data.rows
        if len(rows.indices) == 0:
            raise ValueError(f"interactions must contain at least one known pair, got none in shape {rows.shape}")
        held_out = None if validation is None else self._checked_validation(validation, rows.shape, ids, data.files)
        of_features = self._checked_features(features, rows.shape, ids)
        inputs = [part for one in (rows, held_out) if one is not None for part in arrays_of(one, np.dtype(self.dtype))]
        for kind, (F, known, _) in of_features.items():
            inputs += [kind, *arrays_of(F, F.data.dtype), known]
        pool = data.pool if isinstance(data.pool, FilePool) else None
        kept = Checkpoint.of(self, options, self._backend(), inputs, pool)
        rng = random_generator(self.random_state)
        if kept is not None:
            rng = kept.generator(rng)
        train = rows
        if held_out is None and self.validation_fraction > 0:
            share, dtype = float(self.validation_fraction), np.dtype(self.dtype)
            train, held_out = split(rows, share, rng, self._may_be_held_out, data.files, dtype)
        state = self._training(train, held_out, rng, None, data.pool, data.files)
        self._lean_on(state, of_features)
        if kept is not None and kept.saved is not None:
            state.restore(kept.saved)

        def commit(done: Iteration, history: History) -> None:
            self._assign(
                interactions_=rows, history_=history, n_iter_=len(history["objective"]), backend_=state.backend.name,
                **ids, **done.state, **self._finished(state, done),
            )  # fmt: skip

        watched = "objective" if held_out is None else f"validation_{self._loss_name}"
        stopping = Stopping(self.early_stopping, watched, self.patience, keep_best=held_out is not None)
        training = TrainingData(train, self._truth, self._score)
        loop = FitLoop(self.epochs, stopping, options, training, commit, type(self).__name__, "epoch", kept)
        before = dict(self.__dict__)
        try:
            with loop:
                for epoch in loop:
                    loop.end(state.step(epoch), state.snapshot)
            self._end(state)
        except OverflowError:  # earlier epochs were already diverging
            with self._guard.lock:
                self.__dict__.clear()
                self.__dict__.update(before)
            raise
        return self

    def _checked_validation(
        self, validation: Any, shape: tuple[int, int], ids: dict[str, Any], files: FilePool | None
    ) -> CSR:  # fmt: skip
        """Return the pairs that are held out by the caller: memory-mapped if they and the others are in stores."""
        refuse_events("validation", validation)
        if isinstance(validation, Interactions):
            if ids["_user_ids"] is None:
                raise TypeError(
                    "validation must be a matrix, as interactions are one, got Interactions: pass Interactions for "
                    "both, or a matrix with the same rows and columns"
                )
            validation = validation._snapshot()
            self._check_values("validation", validation)
            same = validation._users == ids["_user_ids"] and validation._items == ids["_item_ids"]
            if files is not None and validation._store is not None and same:
                held_out = stored_rows(self, "validation", validation._store, files)
                return self._not_empty(held_out)
            validation = validation.reindex(users=ids["_user_ids"], items=ids["_item_ids"]).matrix
        held_out = self._check_rows("validation", validation, np.dtype(self.dtype))
        if held_out.shape != shape:
            raise ValueError(f"validation must have the shape of interactions, {shape}, got {held_out.shape}")
        return self._not_empty(held_out)

    def _not_empty(self, held_out: CSR) -> CSR:
        if len(held_out.data) == 0:
            raise ValueError("validation must contain at least one known pair, got none: use validation_fraction")
        return held_out

    def _data_of_fit(self, name: str, matrix: Any, memory_limit: int | str | None) -> FitData:
        """Return the interactions of a fit, checked, and where it allocates its arrays."""
        limit = parse_bytes("memory_limit", memory_limit)
        if isinstance(matrix, Store):
            pool = pool_for(limit, replace(self.fit_memory(*matrix.shape, matrix.nnz), entries=0), matrix.path)
            files = files_of_interactions(matrix.path)
            return FitData(stored_rows(self, name, matrix, files), pool, files)
        rows = self._check_rows(name, matrix, np.dtype(self.dtype), copy=True)
        return FitData(rows, pool_for(limit, self.fit_memory(*rows.shape, len(rows.data)), None))

    def _stored_matrix(self, store: Store) -> Store:
        return store

    # Features, from which `BPR` learns

    def _checked_features(
        self, given: tuple[Any, Any], shape: tuple[int, int], ids: dict[str, Any]
    ) -> dict[str, Checked]:  # fmt: skip
        return {}

    def _lean_on(self, training: Any, features: dict[str, Checked]) -> None:
        """Let the vectors of a fit lean on features."""

    def _finished(self, training: Any, done: Iteration) -> dict[str, Any]:
        """Return the factors of an epoch, and what else it sets, as attributes."""
        return {"user_factors": done.user_factors, "item_factors": done.item_factors}

    def _end(self, training: Any) -> None:
        """End a fit, whatever ended it but an exception."""

    # Hooks, in the order in which a fit calls them; only `_training` has no default

    _loss_name = "rmse"  # in the history

    def _are_known(self, values: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return which values of pairs in a store are known, as those of a matrix; None for all."""
        return None

    def _check_stored(self, name: str, least: Any, greatest: Any, others: NDArray[Any]) -> None:
        """Check the range of these values, and (at least) the least and the greatest of the others, ascending."""

    def _may_be_held_out(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return from which known pairs, given their values, a `validation_fraction` is drawn."""
        return np.ones(len(values), np.bool_)

    def _training(
        self, train: CSR, held_out: CSR | None, rng: np.random.Generator, start: Factors | None = None,
        pool: Pool | None = None, files: FilePool | None = None,
    ) -> Training:  # fmt: skip
        """Return the state of a fit, or of one that continues from `start`, the model's factors.

        Interactions in a store come with `files`, for what is computed from them; `pool` allocates factors.
        """
        raise TypeError(f"{type(self).__name__} does not define _training")

    def _initial(self, count: int, rng: np.random.Generator, state: Mapping[str, Any]) -> NDArray[Any]:
        """Draw initial factors, in float64."""
        scale = float(state.get("init_scale_", self.init_scale)) / np.sqrt(self.factors)
        return np.asarray(scale * rng.standard_normal((count, self.factors)))

    def _unpack(self, users: NDArray[Any], items: NDArray[Any]) -> Factors:
        """Undo `_pack`."""
        return Factors(users, items, np.zeros(len(users), users.dtype), np.zeros(len(items), items.dtype))

    # Internals

    def _previous_users(self) -> int:
        """Return the number of users whose factors a warm start continues from."""
        known = getattr(self, "user_factors", None) if self.warm_start else None
        return 0 if known is None else len(known)

    def _learning_rate_at(self, epoch: int) -> float:
        return float(self.learning_rate) * float(self.learning_rate_decay) ** (epoch - 1)

    def _diverged(self, epoch: int) -> OverflowError:
        """Return the error of a fit whose steps overflow."""
        scale = getattr(self, "init_scale", 0)
        start = f"init_scale, got {scale!r}, or " if not isinstance(scale, str) and scale > HUGE_SCALE else ""
        return OverflowError(
            f"{type(self).__name__} diverges in epoch {epoch}: lower {start}learning_rate, got {self.learning_rate!r}"
        )

    def _start(
        self, shape: tuple[int, int], rng: np.random.Generator, state: Mapping[str, Any], pool: Pool | None = None
    ) -> Factors:
        """Return the initial factors: drawn at random or, with `warm_start`, the model's."""
        dtype = np.dtype(self.dtype)
        X, Y = ((pool or Pool()).array((count, self.factors), dtype) for count in shape)
        for side in (X, Y):
            for rows in blocks_of(side):
                # Drawn in float64, so that both dtypes start from the same values.
                with np.errstate(over="ignore"):
                    side[rows] = self._initial(rows.stop - rows.start, rng, state)
                if not all_finite(side[rows]):
                    raise self._diverged(1)
                release(side[rows])
        b, c = (np.zeros(count, dtype) for count in shape)
        if self.warm_start and getattr(self, "user_factors", None) is not None:
            users, items = self._factors()
            previous = self._unpack(users, items)
            if previous.X.shape[1] != self.factors or len(users) > shape[0] or len(items) > shape[1]:
                raise ValueError(
                    f"warm_start needs factors of {self.factors} columns for at most {shape[0]} users and {shape[1]} "
                    f"items, got {previous.X.shape[1]} columns for {len(users)} users and {len(items)} items: set "
                    "warm_start=False, or pass interactions that extend those of the last fit"
                )
            for side, bias, old, old_bias in ((X, b, previous.X, previous.row_bias),
                                              (Y, c, previous.Y, previous.column_bias)):  # fmt: skip
                for rows in blocks_of(old):
                    side[rows], bias[rows] = old[rows], old_bias[rows]
                    release(side[rows], old[rows])
        return Factors(X, Y, b, c)


def concatenate_columns(
    parts: tuple[Any, ...], order: NDArray[np.int64], num_threads: int, pool: Pool | None = None
) -> NDArray[Any]:
    """Concatenate the columns of arrays (the first is two-dimensional) and constants, with rows in a new order.

    Both the first array and the result may be in files.
    """
    widths = [part.shape[1] if np.ndim(part) == 2 else 1 for part in parts]
    out = (pool or Pool()).array((len(order), sum(widths)), parts[0].dtype)

    def fill(first: int) -> None:
        rows, start = slice(first, first + GATHER_ROWS), 0
        for part, width in zip(parts, widths, strict=True):
            block = out[rows, start : start + width]
            block[:] = part[order[rows]].reshape(len(block), width) if np.ndim(part) else part
            start += width
        release(out[rows], parts[0])

    map_parallel(fill, range(0, len(order), GATHER_ROWS), num_threads)
    return out


def warn_without_negatives(counts: NDArray[np.int64], n_items: int, so: str) -> None:
    """Warn if no user, given their numbers of positive interactions, has an item to rank above another."""
    if np.isin(counts, (0, n_items)).all():
        warn_caller(
            f"each user has interacted with all items or with none, so that there is nothing to rank, and {so}: use "
            "ImplicitALS if the values tell which items a user prefers"
        )


def all_finite(part: NDArray[Any]) -> bool:
    """Whether all numbers, and the sums of the squares of a block of them, are finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        flat = (block.reshape(-1) for block in parts_of(part))
        return all(np.isfinite(np.einsum("i,i->", block, block)) for block in flat)
