"""Matrix factorization of likes and dislikes by cosine, which learns event by event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.warn import warn_caller
from ..data.csr import CSR
from ..data.ids import Ids
from ..data.ratings import check_ratings
from ..data.values import object_array
from ..kernels import Grid
from ._traits import Traits
from .sgd.events import MOST_ROWS, Events, Growing, as_list, event_ids, found, hashed_normal, name_events, single
from .sgd.live import LiveFactors
from .sgd.trainer import EpochInputs, StochasticModel

ONE_ROUND = np.zeros(1, np.int64)  # the order of the diagonals of a grid of one block


class CosineMF(LiveFactors, StochasticModel):
    r"""Matrix factorization of swipes: 1 is liked, 0 is disliked, anything else is unknown.

    The score of a pair is the cosine of its two vectors. Each event of target t moves both along the exact negative
    gradient, through the norms, of

    .. math:: (\cos(x_u, y_i) - t)^2,
        \qquad \frac{\partial \cos}{\partial x} = \frac{y}{|x| |y|} - \cos \frac{x}{|x|^2}.

    `fit` goes through a matrix in epochs, in parallel on a fixed grid: equal bits on any number of threads. `update`
    applies events as they arrive. A gradient is at right angles to its vector, so that vectors only grow, and steps
    become shorter for users and items with many events.

    Parameters
    ----------
    factors : int
        Length of the vectors.
    learning_rate : float
        Length of the steps in the first epoch, and of those of `update`.
    learning_rate_decay : float
        What it is multiplied by after each epoch of a fit.
    update_items : bool
        Whether items move too; else only users do, in `fit` and in `update`.
    epochs : int
        Passes over the matrix at most.
    early_stopping : float or None
        Stop when the error on the held-out pairs (without any, the objective) has not fallen by more than this
        fraction of its least value for `patience` epochs.
    patience : int
        See `early_stopping`.
    validation_fraction : float
        Part of the known pairs held out at random to measure each epoch. With held-out pairs the model ends with the
        vectors of its best epoch.
    warm_start : bool
        Start `fit` from the vectors the model holds. Users and items beyond them get new ones.
    init_scale : float
        Vectors start as ``(1 + init_scale * n) / sqrt(factors)`` with normal numbers n: the cosine of two of them is
        about ``1 / (1 + init_scale^2)``.
    dtype : {"float32", "float64"} or NumPy dtype
        Of the vectors.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed of the start, the grid and the split. With a number, equal input gives equal bits on any number of threads.
    num_threads : int or None
        None: all that the process may use. `update` takes events in their order, on one.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors)
        The vectors, of any length other than 0, read-only. What was handed out stays as it is: after an `update` the
        attribute is a new copy of all of them, the first time that it is read.
    item_factors : array, shape (n_items, factors)
    n_iter_ : int
        Epochs done by the last fit.
    history_ : dict of lists
        One entry an epoch of the last fit: ``objective`` (the sum of the squared errors) and ``train_rmse``, summed
        up while the vectors moved, ``validation_rmse`` where pairs are held out, ``learning_rate``, and ``seconds``.
    backend_ : str
        The backend that the fit used.
    interactions_ : CSR
        What is known of every pair, events included: the last word on each.
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
        dtype: Any = "float32",
        random_state: Any = None,
        num_threads: int | None = None,
        backend: str = "auto",
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

    traits = Traits("likes", "likes and dislikes, one by one as they arrive", "gradient of the cosine")
    _min_count = 20

    _slot: tuple[Grid, NDArray[Any]] | None  # of one event

    # What an epoch is

    def _check_rows(self, name: str, rows: Any, dtype: np.dtype[Any], copy: bool = False) -> CSR:
        known = check_ratings(name, rows, dtype, copy=copy)
        swiped = (known.data == 0) | (known.data == 1)
        others = np.unique(known.data[~swiped])
        if len(others) > 2:  # one or two may mark what is unknown; more look like ratings
            warn_caller(
                f"{name} has {len(others)} values beside 0 (disliked) and 1 (liked), from {others[0]:g} to "
                f"{others[-1]:g}, which count as unknown: of ratings, say from where on one is a like, as (r >= 4)"
            )
        return known.filter(swiped)

    def _data_state(self, rows: CSR) -> dict[str, Any]:
        if rows.data.all():
            warn_caller(
                "there is no dislike among the interactions, so that every cosine will tend to 1: give dislikes as "
                "zeros (stored ones, in a sparse matrix), or use ImplicitALS or LogisticMF"
            )
        return {}

    def _initial(self, count: int, rng: np.random.Generator, state: Mapping[str, Any]) -> NDArray[Any]:
        noise = float(self.init_scale) * rng.standard_normal((count, self.factors))
        return np.asarray((1 + noise) / np.sqrt(self.factors))

    def _epoch(self, inputs: EpochInputs) -> float:
        total: float = self._backend().cosine_epoch(
            inputs.grid, inputs.order, inputs.values, inputs.factors.X, inputs.factors.Y, inputs.learning_rate,
            inputs.update_columns and bool(self.update_items), inputs.num_threads,
        )  # fmt: skip
        return total

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

    # Events as they arrive

    def update(self, users: Any, items: Any, liked: Any) -> Self:
        """Learn from events, one after the other in their order, as they arrive.

        Parameters
        ----------
        users, items : id or array of ids
            Raw ids where the model was fitted on `Interactions`, or where there was no fit and all ids are strings:
            each new one gets the next row. Else row numbers: rows that the model does not have yet are created, up to
            the greatest number. A new user starts as the mean user, a new item as the mean item with noise that is a
            function of `random_state` and its row; the means are those that the first event after a fit (or a load)
            finds. Without a fit, all start at random, as in one. So a batch teaches exactly what its events teach one
            at a time.
        liked : bool, number, or array of them
            1 liked, 0 disliked; an event with any other value, NaN included, is unknown and teaches nothing.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, IndexError
            If the three are not row numbers and numbers of one length; the model stays as it was.
        MemoryError
            If there is no room for rows up to the greatest number; the model stays as it was.

        Notes
        -----
        An event costs some microseconds, whatever the size of the model; one step of a fit moves the same vectors in
        the same way. `recommend` leaves out what a user has swiped, events included.
        """
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
            if row >= 0 and column >= 0:
                return self._update_one(row, column, value)
        *events, new_users, new_items = name_events(user_ids, item_ids, users, items, liked)
        return self._update(*events, _user_ids=user_ids.extended(new_users), _item_ids=item_ids.extended(new_items))

    def _starts_with_raw_ids(self, users: Any, items: Any) -> bool:
        """Whether the first events of a model without factors come with names instead of row numbers."""
        if "_users" in self.__dict__ or "_items" in self.__dict__:
            return False
        return all(isinstance(one, str) for ids in (users, items) for one in (ids if isinstance(ids, list) else [ids]))

    def _update(self, users: Any, items: Any, liked: Any, **ids: Ids) -> Self:
        """Learn from events of row numbers; `ids` are what the rows are called afterwards."""
        user = users if type(users) is int else single(users)
        item = items if type(items) is int else single(items)
        value = liked if type(liked) is int else single(liked)
        if type(user) is int and type(item) is int and value is not None:
            return self._update_one(user, item, value, **ids)
        rows, columns, target = self._check_events(users, items, liked)
        if len(rows) == 0:
            return self
        with self._guard.lock:
            before = self._grow(int(rows.max()) + 1, int(columns.max()) + 1)
            try:
                X, Y = self._users.touch(rows), self._touched_items(columns)
                target = np.ascontiguousarray(target, X.dtype)
                self._learn(Grid.whole(rows, columns, len(X), len(Y)), target, X, Y)
                self._events.add(rows, columns, target)
                self.__dict__.update(ids)
            except BaseException:
                self._shrink(before)
                raise
        return self

    def _update_one(self, user: int, item: int, liked: float, **ids: Ids) -> Self:
        """Learn from one event, with none of the arrays that checking many takes."""
        for name, row in (("users", user), ("items", item)):
            if not 0 <= row < MOST_ROWS:
                raise IndexError(f"{name} must lie between 0 and {MOST_ROWS - 1}, got {row}")
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
                state.update(ids)
            except BaseException:
                self._shrink(before)
                raise
        return self

    def _touched_items(self, numbers: int | NDArray[np.int64]) -> NDArray[Any]:
        return self._items.touch(numbers) if self.update_items else self._items.rows

    def _learn(self, grid: Grid, target: NDArray[Any], X: NDArray[Any], Y: NDArray[Any]) -> None:
        rate, moves = float(self.learning_rate), bool(self.update_items)
        self._backend().cosine_epoch(grid, ONE_ROUND, target, X, Y, rate, moves, 1)

    def _check_events(
        self, users: Any, items: Any, liked: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        """Return the events that teach something."""
        rows, columns = event_ids("users", users), event_ids("items", items)
        target = as_list("liked", liked)
        if target.dtype.kind not in "buif":
            raise TypeError(f"liked must be 1 (or True) for liked and 0 for disliked, got {found(liked, target)}")
        if not rows.shape == columns.shape == target.shape:
            try:
                rows, columns, target = np.broadcast_arrays(rows, columns, target)
            except ValueError:
                raise ValueError(
                    "users, items and liked must be of one length, one for each event, got "
                    f"{len(rows)}, {len(columns)} and {len(target)}"
                ) from None
        if target.ndim != 1:
            raise ValueError(f"users, items and liked must be lists, one event each, got {target.ndim} dimensions")
        swiped = (target == 0) | (target == 1)
        return (rows, columns, target) if swiped.all() else (rows[swiped], columns[swiped], target[swiped])

    def _grow(self, n_users: int, n_items: int) -> tuple[dict[str, Any], int, int]:
        """Create the rows that are missing, or none if there is no room; return what undoes it."""
        before = dict(self.__dict__)
        if "_users" in before or "_items" in before:
            self._check_sides()  # of vectors set by hand, the shapes
            users, items = self._users, self._items
        else:
            users, items = (Growing(np.empty((0, self.factors), np.dtype(self.dtype))) for _ in range(2))
        counts = len(users), len(items)
        means = before.get("_means") or {"user": _mean(users), "item": _mean(items)}
        try:
            new = [
                self._newcomers(kind, side, wanted, means[kind])
                for kind, side, wanted in (("user", users, n_users), ("item", items, n_items))
            ]
            for side, vectors in zip((users, items), new, strict=True):
                side.reserve(len(vectors))
        except MemoryError:
            raise MemoryError(
                f"vectors for {n_users} users and {n_items} items do not fit in memory: number both from 0, without "
                "large gaps"
            ) from None
        for side, vectors in zip((users, items), new, strict=True):
            side.append(vectors)
        events = before.get("_events")
        if events is None:  # what came before, if vectors were set by hand, is not known
            events = Events(CSR(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, users.dtype), (0, 0)))
        self.__dict__.update(_users=users, _items=items, _means=means, _events=events)
        return before, *counts

    def _shrink(self, before: tuple[dict[str, Any], int, int] | None) -> None:
        """Undo `_grow`: rows that taught nothing must not stay."""
        if before is None:
            return
        state, *counts = before
        for kept, count in zip(("_users", "_items"), counts, strict=True):
            self.__dict__[kept].truncate(count)
        self.__dict__.clear()
        self.__dict__.update(state)

    def _newcomers(self, kind: str, side: Growing, wanted: int, mean: NDArray[Any] | None) -> NDArray[Any]:
        """Return vectors for users or items never seen."""
        new = np.arange(len(side), max(wanted, len(side)))
        if mean is not None and kind == "user":
            return np.asarray(np.repeat(mean.astype(side.rows.dtype)[None], len(new), axis=0))
        width = side.rows.shape[1]
        seed = self.random_state if isinstance(self.random_state, (int, np.integer)) else 0
        noise = float(self.init_scale) * hashed_normal(int(seed), ("user", "item").index(kind), new, width)
        # Were all items alike, no gradient would tell them apart.
        vectors = (1 + noise) / np.sqrt(width) if mean is None else mean + np.sqrt(mean @ mean / width) * noise
        return np.asarray(vectors, side.rows.dtype)

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return the ranges of the steps and of the start."""
        return {
            "learning_rate": (0.01, 1.0, "log"),
            "learning_rate_decay": (0.8, 1.0),
            "init_scale": (0.3, 3.0, "log"),
        }


def _mean(side: Growing) -> NDArray[Any] | None:
    """Return the mean vector; None if there is none, or none with a direction."""
    mean = side.rows.mean(axis=0, dtype=np.float64) if len(side) else np.zeros(1)
    return mean if mean.any() else None


def _lengths(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return the length of every vector; 1 for a zero vector, whose cosine to all others is 0."""
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("if,if->i", vectors, vectors, dtype=np.float64))
    lengths[lengths == 0] = 1
    return lengths


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(vectors / _lengths(vectors)[:, None], vectors.dtype, order="C")
