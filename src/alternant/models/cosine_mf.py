"""Matrix factorization of likes and dislikes by cosine, which learns event by event."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR
from ..data.ids import Ids
from ..data.ratings import check_ratings
from ..data.values import object_array
from ..kernels import Grid
from ._traits import Traits
from .sgd.events import MOST_ROWS, Events, Growing, as_list, event_ids, found, hashed_normal, name_events, single
from .sgd.trainer import StochasticModel, Task

ONE_ROUND = np.zeros(1, np.int64)  # the order of the diagonals of a grid of one block


class CosineMF(StochasticModel):
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
        The vectors, of any length other than 0: a read-only view, in which `update` is seen at once.
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

    # The vectors grow, and events are noted beside the rows they will be merged into: `user_factors`, `item_factors`
    # and `interactions_` are views of these three.
    _users: Growing
    _items: Growing
    _events: Events | None
    _slot: tuple[Grid, NDArray[Any]] | None  # of one event
    _means: dict[str, NDArray[Any] | None]  # the mean vectors when the first event came after a fit, a load or by hand

    @property
    def user_factors(self) -> NDArray[Any] | None:
        """The users' vectors, read-only."""
        return self._users.view if hasattr(self, "_users") else None

    @user_factors.setter
    def user_factors(self, vectors: Any) -> None:
        self._set("_users", "user_factors", vectors)

    @property
    def item_factors(self) -> NDArray[Any] | None:
        """The items' vectors, read-only."""
        return self._items.view if hasattr(self, "_items") else None

    @item_factors.setter
    def item_factors(self, vectors: Any) -> None:
        self._set("_items", "item_factors", vectors)

    def _set(self, kept: str, name: str, vectors: Any) -> None:
        """Take a copy of vectors set by hand; what is known of the pairs stays if there are as many rows as before."""
        array = np.array(vectors)
        if array.ndim != 2 or array.dtype.kind != "f":
            raise ValueError(
                f"{name} must be a table of floating-point numbers, one row each, got {array.ndim} dimensions of "
                f"{array.dtype}"
            )
        before = self.__dict__.get(kept)
        events = self.__dict__.get("_events") if before is not None and len(before) == len(array) else None
        self.__dict__.update({kept: Growing(array), "_events": events, "_means": {}, "_slot": None})

    @property
    def interactions_(self) -> CSR | None:
        """What is known of every pair, events included."""
        events = getattr(self, "_events", None)
        return None if events is None else events.merged(len(self._users), len(self._items))

    @interactions_.setter
    def interactions_(self, rows: CSR | None) -> None:
        self._events = None if rows is None else Events(rows)

    def _assign(self, **state: Any) -> None:
        rows = state.pop("interactions_")
        state["_events"] = None if rows is None else Events(rows)
        for name in ("_user_ids", "_item_ids"):
            if state.get(name) is not None:
                state[name] = state[name].copy()  # `update` adds to them
        for name, kept in (("user_factors", "_users"), ("item_factors", "_items")):
            if name in state:
                state[kept] = Growing(state.pop(name))
        self.__dict__.update(_means={}, _slot=None, **state)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_slot"}

    def __copy__(self) -> Self:
        """Copy what `update` writes to, so that each of the two learns alone."""
        twin = type(self).__new__(type(self))
        for name, value in self.__getstate__().items():
            twin.__dict__[name] = copy.copy(value) if isinstance(value, (Growing, Events)) else value
        return twin

    # What an epoch is

    def _check_rows(self, name: str, rows: Any, dtype: np.dtype[Any], copy: bool = False) -> CSR:
        known = check_ratings(name, rows, dtype, copy=copy)
        swiped = (known.data == 0) | (known.data == 1)
        others = np.unique(known.data[~swiped])
        if len(others) > 2:  # one or two may mark what is unknown; more look like ratings
            warnings.warn(
                f"{name} has {len(others)} values beside 0 (disliked) and 1 (liked), from {others[0]:g} to "
                f"{others[-1]:g}, which count as unknown: of ratings, say from where on one is a like, as (r >= 4)",
                UserWarning,
                stacklevel=3,
            )
        before = np.concatenate([[0], np.cumsum(swiped)])
        return CSR(before[known.indptr], known.indices[swiped], known.data[swiped], known.shape)

    def _facts(self, rows: CSR) -> dict[str, Any]:
        if rows.data.all():
            warnings.warn(
                "there is no dislike among the interactions, so that every cosine will tend to 1: give dislikes as "
                "zeros (stored ones, in a sparse matrix), or use ImplicitALS or LogisticMF",
                UserWarning,
                stacklevel=4,  # of the call of fit
            )
        return {}

    def _initial(self, count: int, rng: np.random.Generator, facts: Mapping[str, Any]) -> NDArray[Any]:
        noise = float(self.init_scale) * rng.standard_normal((count, self.factors))
        return np.asarray((1 + noise) / np.sqrt(self.factors))

    def _epoch(self, task: Task) -> float:
        total: float = self._backend().cosine_epoch(
            task.grid, task.order, task.values, task.factors.X, task.factors.Y, task.rate,
            task.update_columns and bool(self.update_items), task.num_threads,
        )  # fmt: skip
        return total

    def _score(
        self, X: NDArray[Any], Y: NDArray[Any], users: NDArray[np.int64], items: NDArray[np.int64], **facts: Any
    ) -> NDArray[Any]:
        distinct_users, users = np.unique(users, return_inverse=True)
        distinct_items, items = np.unique(items, return_inverse=True)
        return super()._score(_unit(X[distinct_users]), _unit(Y[distinct_items]), users, items, **facts)

    def _link(self, scores: NDArray[Any], **facts: Any) -> NDArray[Any]:
        return np.asarray(np.clip(scores, -1, 1))  # rounding

    def _ranked(self, factors: NDArray[Any]) -> NDArray[Any]:
        return _unit(factors)

    def _rank(
        self, queries: NDArray[Any], items: NDArray[Any], k: int, exclude: Any, candidates: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        return super()._rank(_unit(queries), _unit(items), k, exclude, candidates)

    def _seen(self, users: NDArray[np.int64], user_items: Any) -> CSR:
        if user_items is None and self._events is not None:
            return self._events.of(users, len(self._items))
        return super()._seen(users, user_items)

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
        if self._ids_of("user") is None and not self._starts_with_raw_ids(users, items):
            return self._update(users, items, liked)
        known = self._ids_of("user") or Ids(object_array([])), self._ids_of("item") or Ids(object_array([]))
        *events, new_users, new_items = name_events(*known, users, items, liked)
        self._update(*events)
        known[0].add(new_users)
        known[1].add(new_items)
        self.__dict__.update(_user_ids=known[0], _item_ids=known[1])
        return self

    def _starts_with_raw_ids(self, users: Any, items: Any) -> bool:
        """Whether the first events of a model without factors come with names instead of row numbers."""
        if hasattr(self, "_users") or hasattr(self, "_items"):
            return False
        return all(isinstance(one, str) for ids in (users, items) for one in (ids if isinstance(ids, list) else [ids]))

    def _update(self, users: Any, items: Any, liked: Any) -> Self:
        """Learn from events of row numbers."""
        user = users if type(users) is int else single(users)
        item = items if type(items) is int else single(items)
        value = liked if type(liked) is int else single(liked)
        if type(user) is int and type(item) is int and value is not None:
            return self._update_one(user, item, value)
        rows, columns, target = self._check_events(users, items, liked)
        if len(rows) == 0:
            return self
        self._grow(int(rows.max()) + 1, int(columns.max()) + 1)
        X, Y = self._users.rows, self._items.rows
        target = np.ascontiguousarray(target, X.dtype)
        self._backend().cosine_epoch(
            Grid.whole(rows, columns, len(X), len(Y)), ONE_ROUND, target, X, Y, float(self.learning_rate),
            bool(self.update_items), 1,
        )  # fmt: skip
        if self._events is not None:
            self._events.add(rows, columns, target)
        return self

    def _update_one(self, user: int, item: int, liked: float) -> Self:
        """Learn from one event, with none of the arrays that checking many takes."""
        for name, row in (("users", user), ("items", item)):
            if not 0 <= row < MOST_ROWS:
                raise IndexError(f"{name} must lie between 0 and {MOST_ROWS - 1}, got {row}")
        if liked not in (0, 1):
            return self
        state = self.__dict__
        if not state.get("_means") or user >= len(self._users) or item >= len(self._items):
            self._grow(user + 1, item + 1)
        slot = state.get("_slot")
        if slot is None:
            slot = self._slot = Grid.whole([0], [0], 1, 1), np.zeros(1, self._users.rows.dtype)
        grid, target = slot
        grid.rows[0], grid.columns[0], target[0] = user, item, liked
        self._backend().cosine_epoch(
            grid, ONE_ROUND, target, self._users.rows, self._items.rows, float(self.learning_rate),
            bool(self.update_items), 1,
        )  # fmt: skip
        state["_events"].add_one(user, item, liked)
        return self

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

    def _grow(self, n_users: int, n_items: int) -> None:
        """Create the rows that are missing, or none if there is no room."""
        if hasattr(self, "_users") or hasattr(self, "_items"):
            self._factors()  # of vectors set by hand, the shapes
            users, items = self._users, self._items
        else:
            users, items = (Growing(np.empty((0, self.factors), np.dtype(self.dtype))) for _ in range(2))
        means = self.__dict__.get("_means") or {"user": _mean(users), "item": _mean(items)}
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
        self.__dict__.update(_users=users, _items=items, _means=means, _slot=self.__dict__.get("_slot"))
        if self.__dict__.get("_events") is None:  # what came before, if vectors were set by hand, is not known
            self._events = Events(CSR(np.zeros(1, np.int64), np.empty(0, np.int32), users.rows[:0, 0], (0, 0)))

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
