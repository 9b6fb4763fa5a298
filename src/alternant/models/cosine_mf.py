"""Matrix factorization of likes and dislikes by cosine similarity, with online learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import entry_blocks
from .._utils.warn import warn_caller
from ..data.csr import CSR
from ..data.ids import Ids
from ..data.ratings import check_ratings
from ..data.values import object_array
from ..kernels import Grid
from ._traits import Traits
from .sgd.events import MAX_ROWS, check_events, name_events, single, with_new
from .sgd.live import LiveFactors
from .sgd.stored import distinct_values
from .sgd.trainer import ONE_TASK, EpochInputs, StochasticModel

if TYPE_CHECKING:
    from .._typing import BackendName, DType, Seed

HUGE_RATE = 1e6  # with higher learning rates, vectors may overflow and are checked after every call


class CosineMF(LiveFactors, StochasticModel):
    r"""Matrix factorization of swipes: 1 is a like, 0 is a dislike, any other value is unknown.

    The score of a pair is the cosine of its two vectors. Each event with target t moves both along the exact negative
    gradient (including the norms) of

    .. math:: (\cos(x_u, y_i) - t)^2,
        \qquad \frac{\partial \cos}{\partial x} = \frac{y}{|x| |y|} - \cos \frac{x}{|x|^2}.

    `fit` runs epochs over a matrix, in parallel on a fixed grid: results are bit-identical on any number of threads.
    `update` learns from events as they arrive. Gradients are orthogonal to their vectors, so that vectors only grow
    longer, and steps become smaller for users and items with many events.

    Parameters
    ----------
    factors : int
        Number of factors: the length of the vectors.
    learning_rate : float
        Learning rate in the first epoch, and in `update`.
    learning_rate_decay : float
        Factor by which the learning rate is multiplied after each epoch of a fit.
    update_items : bool
        Whether `fit` and `update` learn the items' vectors, too, or only the users'.
    epochs : int
        Maximum number of passes over the matrix.
    early_stopping : float or None
        Stop when the error on the held-out pairs (without any, the objective) has not fallen by more than this
        fraction of its lowest value for `patience` epochs.
    patience : int
        See `early_stopping`.
    validation_fraction : float
        Fraction of the known pairs held out at random to measure the error after each epoch. With held-out pairs, the
        model ends with the vectors of the best epoch.
    warm_start : bool
        Start `fit` from the model's vectors. Users and items that are not among them are initialized as in a first fit.
    init_scale : float
        Vectors start at ``(1 + init_scale * n) / sqrt(factors)``, with n drawn from a standard normal distribution: the
        cosine of two of them is about ``1 / (1 + init_scale^2)``.
    dtype : {"float32", "float64"} or NumPy dtype
        Data type of the vectors.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed of the initial vectors, the grid and the split. With an int, fits of equal input are bit-identical on any
        number of threads.
    num_threads : int or None
        Number of threads; None uses all that are available to the process. `update` uses one.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors)
        The vectors, not normalized, read-only. An array never changes once it is returned: the first access after an
        `update` makes a new copy.
    item_factors : array, shape (n_items, factors)
    n_iter_ : int
        Number of epochs run by the last fit.
    history_ : dict of lists
        One entry per epoch of the last fit: ``objective`` (the sum of the squared errors) and ``train_rmse``,
        accumulated during the epoch, ``validation_rmse`` if pairs are held out, ``learning_rate``, and ``seconds``
        since the fit began.
    backend_ : str
        The backend that the fit used.
    interactions_ : CSR
        The likes and dislikes of the fit and of later events; the last event of a pair counts.
    """

    def __init__(
        self,
        *,
        factors: int = 64,
        learning_rate: float = 0.1,
        learning_rate_decay: float = 1.0,
        update_items: bool = True,
        epochs: int = 30,
        early_stopping: float | None = None,
        patience: int = 3,
        validation_fraction: float = 0.0,
        warm_start: bool = False,
        init_scale: float = 0.7,
        dtype: DType = "float32",
        random_state: Seed = None,
        num_threads: int | None = None,
        backend: BackendName = "auto",
    ) -> None:
        self.factors = factors
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.update_items = update_items
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.init_scale = init_scale
        self.dtype = dtype
        self.random_state = random_state
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    traits: ClassVar[Traits] = Traits(
        "likes", "likes and dislikes, one by one as they arrive", "gradient of the cosine"
    )
    _min_count = 20

    _slot: tuple[Grid, NDArray[Any]] | None  # a grid and a target of one event, reused from event to event

    # Epochs

    def _check_rows(self, name: str, rows: Any, dtype: np.dtype[Any], copy: bool = False) -> CSR:
        known = check_ratings(name, rows, dtype, copy=copy)
        swiped = (known.data == 0) | (known.data == 1)
        self._warn_of_others(name, np.unique(known.data[~swiped]))
        return known.filter(swiped)

    def _warn_of_others(self, name: str, others: NDArray[Any]) -> None:
        """Warn of values that are neither 0 nor 1 if there are three of them or more."""
        if len(others) > 2:  # one or two may mark unknown pairs; more look like ratings
            warn_caller(
                f"{name} has values other than 0 (disliked) and 1 (liked), from {others[0]:g} to {others[-1]:g}, which "
                "are treated as unknown: convert ratings to likes, for example by (r >= 4)"
            )

    def _are_known(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            narrow = np.asarray(values, self.dtype)
        return np.asarray((narrow == 0) | (narrow == 1))

    def _check_stored(self, name: str, least: Any, greatest: Any, others: NDArray[Any]) -> None:
        if not np.isfinite(others).all():
            raise ValueError(f"{name} must be finite in {np.dtype(self.dtype)}, got a value that is too large: drop it")
        self._warn_of_others(name, others)

    def _data_state(self, rows: CSR) -> dict[str, Any]:
        if all(part.all() for part in entry_blocks(distinct_values(rows.data))):
            warn_caller(
                "interactions contain no dislikes, so that all cosines will approach 1: add dislikes as zeros (stored "
                "zeros, in a sparse matrix), or use ImplicitALS or LogisticMF"
            )
        return {}

    def _initial(self, count: int, rng: np.random.Generator, state: Mapping[str, Any]) -> NDArray[Any]:
        noise = float(self.init_scale) * rng.standard_normal((count, self.factors))
        return np.asarray((1 + noise) / np.sqrt(self.factors))

    def _epoch(self, inputs: EpochInputs) -> NDArray[np.float64]:
        losses: NDArray[np.float64] = self._backend().cosine_epoch(
            inputs.grid, inputs.schedule, inputs.values, inputs.factors.X, inputs.factors.Y, inputs.learning_rate,
            inputs.update_columns and bool(self.update_items), inputs.num_threads,
        )  # fmt: skip
        return losses

    def _score(
        self, X: NDArray[Any], Y: NDArray[Any], users: NDArray[np.int64], items: NDArray[np.int64], **state: Any
    ) -> NDArray[Any]:
        distinct_users, users = np.unique(users, return_inverse=True)
        distinct_items, items = np.unique(items, return_inverse=True)
        return super()._score(_unit(X[distinct_users]), _unit(Y[distinct_items]), users, items, **state)

    def _score_pairs(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[Any]:
        distinct_users, users = np.unique(users, return_inverse=True)
        distinct_items, items = np.unique(items, return_inverse=True)
        X, Y = self._take("user", distinct_users), self._take("item", distinct_items)
        return super()._score(_unit(X), _unit(Y), users, items)

    def _link(self, scores: NDArray[Any], **state: Any) -> NDArray[Any]:
        return np.asarray(np.clip(scores, -1, 1))  # rounding

    def _ranked(self, factors: NDArray[Any]) -> NDArray[Any]:
        return _unit(factors)

    def _rank(
        self, queries: NDArray[Any], items: NDArray[Any], k: int, exclude: Any, candidates: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        return super()._rank(_unit(queries), self._derived("unit", items, _unit), k, exclude, candidates)

    # Online learning

    def update(self, users: Any, items: Any, liked: Any) -> Self:
        """Learn from events, one after the other; a batch gives the same result as its events one at a time.

        Parameters
        ----------
        users, items : id or array of ids
            Raw ids if the model was fitted on `Interactions`, or was not fitted and all ids are strings; each new id
            gets the next row. Else row numbers; missing rows are created, up to the highest number. A new user starts
            as the mean user, a new item as the mean item plus noise, which is a function of `random_state` and its row;
            the means are taken at the first event after a fit or a load. Without a fit, all rows start at random, as in
            a fit.
        liked : bool, number, or array of them
            1 for a like, 0 for a dislike; events with any other value, including NaN, are ignored.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, IndexError
            If the arguments are not ids and numbers of the same length; the model is left unchanged.
        MemoryError
            If rows up to the highest number do not fit in memory; the model is left unchanged.
        OverflowError
            If `learning_rate` is so large that a vector overflows; the model is left unchanged.
        RuntimeError
            In a callback of `fit`, which would undo it.

        Notes
        -----
        An event takes some ten microseconds, whatever the size of the model (two to three times as long if it adds a
        user or an item), and the same step as in a fit. `recommend` excludes what a user has swiped, events included.
        """
        self._refuse_during_fit("update")
        if self._user_ids is None and "_users" in self.__dict__:
            return self._update(users, items, liked)
        user_ids, item_ids = self._ids_of("user"), self._ids_of("item")
        if user_ids is None:
            if not self._starts_with_raw_ids(users, items):
                return self._update(users, items, liked)
            user_ids = item_ids = Ids(object_array([]))
        item_ids = item_ids or Ids(object_array([]))
        if type(users) in (int, str) and type(items) in (int, str) and (value := single(liked)) is not None:
            row, column = user_ids.number(users), item_ids.number(items)
            if value in (0, 1):
                user_ids, item_ids = with_new((user_ids, users, row), (item_ids, items, column))
                row, column = row if row >= 0 else len(user_ids) - 1, column if column >= 0 else len(item_ids) - 1
                return self._update_one(row, column, value, _user_ids=user_ids, _item_ids=item_ids)
        *events, new_users, new_items = name_events(user_ids, item_ids, users, items, liked)
        return self._update(*events, _user_ids=user_ids.extended(new_users), _item_ids=item_ids.extended(new_items))

    def _starts_with_raw_ids(self, users: Any, items: Any) -> bool:
        """Whether the model has no factors and all ids are strings."""
        if "_users" in self.__dict__ or "_items" in self.__dict__:
            return False
        if type(users) is int or type(items) is int:
            return False
        try:
            columns = [Ids(object_array([])).as_array("ids", ids) for ids in (users, items)]
        except (TypeError, ValueError):  # not ids: refused as row numbers
            return False
        return all(isinstance(one, str) for column in columns for one in column.ravel().tolist())

    def _update(self, users: Any, items: Any, liked: Any, **ids: Ids) -> Self:
        """Learn from events given by row numbers; `ids` are the raw ids of the rows afterwards."""
        user = users if type(users) is int else single(users)
        item = items if type(items) is int else single(items)
        value = liked if type(liked) is int else single(liked)
        if type(user) is int and type(item) is int and value is not None:
            return self._update_one(user, item, value, **ids)
        rows, columns, target = check_events(users, items, liked)
        if len(rows) == 0:
            return self
        with self._guard.lock:
            before = self._grow(int(rows.max()) + 1, int(columns.max()) + 1)
            try:
                X, Y = self._users.touch(rows), self._touched_items(columns)
                target = np.ascontiguousarray(target, X.dtype)
                self._learn(Grid.whole(rows, columns, len(X), len(Y)), target, X, Y)
                self._events.add(rows, columns, target)
                self.__dict__.update(ids, _updates=self.__dict__.get("_updates", 0) + len(rows))
            except BaseException:
                self._shrink(before)
                raise
        return self

    def _update_one(self, user: int, item: int, liked: float, **ids: Ids) -> Self:
        """Learn from one event, faster than from an array of one."""
        for name, row in (("users", user), ("items", item)):
            if not 0 <= row < MAX_ROWS:
                raise IndexError(f"{name} must lie between 0 and {MAX_ROWS - 1}, got {row}")
        if liked not in (0, 1):
            return self
        state, before = self.__dict__, None
        with self._guard.lock:
            if not state.get("_means") or user >= len(state["_users"]) or item >= len(state["_items"]):
                before = self._grow(user + 1, item + 1)
            try:
                slot = state.get("_slot")
                if slot is None:
                    slot = self._slot = Grid.whole([0], [0], 1, 1), np.zeros(1, state["_users"].dtype)
                grid, target = slot
                grid.rows[0], grid.columns[0], target[0] = user, item, liked
                self._learn(grid, target, state["_users"].touch(user), self._touched_items(item))
                state["_events"].add_one(user, item, liked)
                state["_updates"] = state.get("_updates", 0) + 1
                state.update(ids)
            except BaseException:
                self._shrink(before)
                raise
        return self

    def _touched_items(self, numbers: int | NDArray[np.int64]) -> NDArray[Any]:
        return self._items.touch(numbers) if self.update_items else self._items.rows

    def _learn(self, grid: Grid, target: NDArray[Any], X: NDArray[Any], Y: NDArray[Any]) -> None:
        rate, moves = self._positive("learning_rate"), bool(self.update_items)
        before = (X.copy(), Y.copy()) if rate > HUGE_RATE else None
        self._backend().cosine_epoch(grid, ONE_TASK, target, X, Y, rate, moves, 1)
        if before is not None and not (np.isfinite(X).all() and np.isfinite(Y).all()):
            X[:] = before[0]
            if moves:
                Y[:] = before[1]
            raise OverflowError(f"{type(self).__name__} diverges in update: lower learning_rate, got {rate!r}")

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return ranges of the learning rate, its decay and the initial scale."""
        return {
            "learning_rate": (0.01, 1.0, "log"),
            "learning_rate_decay": (0.8, 1.0),
            "init_scale": (0.3, 3.0, "log"),
        }


def _lengths(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return the length of every vector; 1 for a zero vector, so that its cosine to all others is 0."""
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("if,if->i", vectors, vectors, dtype=np.float64))
    lengths[lengths == 0] = 1
    return lengths


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(vectors / _lengths(vectors)[:, None], vectors.dtype, order="C")
