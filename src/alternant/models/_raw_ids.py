"""Raw ids: the identifiers of users and items in the training data, mapped to rows of the factors."""

from __future__ import annotations

from collections.abc import Sequence, Set, ValuesView
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._utils.memory import available_bytes, human_bytes
from ..data.append import refuse_other_types
from ..data.events import refuse_events
from ..data.ids import Ids
from ..data.interactions import Interactions
from ..data.ratings import check_has_values, check_not_summed
from ..data.validation import check_ids, is_sparse, refuse_empty, row_numbers, unordered
from ._state import State

if TYPE_CHECKING:
    from .._typing import MaybeNone
    from ..data.store import Store
    from ._traits import Traits


READ_IN_PARTS = (
    "ImplicitALS", "ExplicitALS", "BiasedMF", "CosineMF", "LogisticMF", "BPR", "ContrastiveMF", "Popularity",
)  # fmt: skip
# Bytes of an interaction, while a model that is not fitted from a store learns from it.
IN_MEMORY = 40


class RawIds(State):
    """The part of a model that maps raw ids to row numbers and back.

    A model fitted on `Interactions` takes and returns raw ids; a model fitted on a matrix, or whose factors were set by
    hand with another number of rows, row numbers.
    """

    traits: ClassVar[Traits]
    _user_ids: Ids | None = None
    _item_ids: Ids | None = None
    _library: str | None = None  # of the data frame that the interactions came from

    @property
    def user_ids_(self) -> NDArray[Any] | MaybeNone:
        """The raw ids of the users, by row of `user_factors`; None if users are row numbers."""
        ids = self._snapshot()._ids_of("user")
        return None if ids is None else ids.values

    @property
    def item_ids_(self) -> NDArray[Any] | MaybeNone:
        """The raw ids of the items, by row of `item_factors`; None if items are row numbers."""
        ids = self._snapshot()._ids_of("item")
        return None if ids is None else ids.values

    def _ids_of(self, kind: str) -> Ids | None:
        ids = self._user_ids if kind == "user" else self._item_ids
        return ids if ids is not None and len(ids) == self._count(kind) else None

    def _numbers(self, name: str, ids: Any, kind: str) -> NDArray[np.int64]:
        """Return the row numbers of users or items given by their ids, all of which must be known."""
        known = self._ids_of(kind)
        if known is None:
            return check_ids(name, ids, self._count(kind) or 0, kind)
        return known.numbers(name, ids, kind)

    def _look_up(self, name: str, ids: Any, kind: str, unknown: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return row numbers, -1 for unknown ids (an error with ``unknown="raise"``), and the ids as an array."""
        if unknown == "raise":
            numbers = self._numbers(name, ids, kind)
            return numbers, self._raw(numbers.reshape(-1), kind).reshape(numbers.shape)
        known = self._ids_of(kind)
        if known is None:
            values = row_numbers(name, ids, kind)
            return np.where((values >= 0) & (values < (self._count(kind) or 0)), values, -1).astype(np.int64), values
        values, numbers = known.look_up(name, ids, kind)
        new = values[numbers < 0].tolist()
        refuse_other_types(name, kind, known, new, bool((numbers >= 0).any()))
        return numbers, known.spelled(name, values)

    def _number(self, name: str, one: Any, kind: str) -> int:
        """Return the row number of a single user or item."""
        numbers = self._numbers(name, one, kind)
        if numbers.size != 1:
            raise ValueError(f"{name} must be one {kind}, got {numbers.size}: pass one at a time")
        return int(numbers.reshape(()))

    def _raw(self, numbers: NDArray[Any], kind: str) -> NDArray[Any]:
        """Return the ids of rows; -1 stays -1, or becomes None if ids are not integers."""
        ids = self._ids_of(kind)
        return numbers if ids is None else ids.raw(numbers)

    def _matrix_and_ids(self, interactions: Any) -> tuple[Any, dict[str, Any]]:
        """Return the matrix to fit, and its ids, as attributes to set after the fit.

        With ``warm_start`` the ids of the last fit come first, so that every row continues from its factors.
        """
        refuse_events("interactions", interactions)
        refuse_empty(interactions)
        if not isinstance(interactions, Interactions):
            return interactions, {"_user_ids": None, "_item_ids": None, "_library": None}
        interactions = interactions._snapshot()  # consistent ids, shape and values
        self._check_values("interactions", interactions)
        users, items = interactions._users, interactions._items
        if getattr(self, "warm_start", False):
            old_users, old_items = self._ids_of("user"), self._ids_of("item")
            users = users if old_users is None else self._with_old("user", old_users, users)
            items = items if old_items is None else self._with_old("item", old_items, items)
            if interactions._store is not None and not (users == interactions._users and items == interactions._items):
                raise ValueError(
                    "warm_start needs the users and items of the last fit, in the same order, if interactions are in a "
                    "store: set warm_start=False, or read the events of both fits into one store"
                )
            if interactions._store is None:  # equal ids of a store would be looked up in memory
                interactions = interactions.reindex(users=users, items=items)
        matrix = interactions.matrix if interactions._store is None else self._stored_matrix(interactions._store)
        return matrix, {"_user_ids": users, "_item_ids": items, "_library": interactions._library}

    def _stored_matrix(self, store: Store) -> Any:
        """Return what `fit` learns from, in a store, as a matrix in memory, or refuse it if it would not fit."""
        free, needed = available_bytes(), IN_MEMORY * store.nnz
        if free is not None and needed > free:
            raise MemoryError(
                f"{type(self).__name__} learns from interactions in memory, which would take {human_bytes(needed)} of "
                f"{human_bytes(free)}: fit a model that reads the store in parts ({', '.join(READ_IN_PARTS)})"
            )
        store.verify()
        return store.users.to_scipy()

    def _with_old(self, kind: str, old: Ids, new: Ids, name: str = "interactions") -> Ids:
        """Return the ids of the last fit, followed by the new ones of this fit (or of the events of that name)."""
        unknown = old.find(new.values) < 0
        added = new.values[unknown].tolist()
        refuse_other_types(name, kind, old, added, not unknown.all())
        return old.extended(added)

    def _matrix(self, name: str, rows: Any, kind: str, rows_of: Any = None) -> Any:
        """Return a matrix whose columns are the model's items (with ``kind="user"``, users).

        A matrix is returned unchanged. The rows of `Interactions` are their own users (items), or those of `rows_of`;
        items (users) that the model does not know are refused.
        """
        if not isinstance(rows, Interactions):
            refuse_events(name, rows)
            self._refuse_ids(name, rows, kind)
            return rows
        ids = self._ids_of(kind)
        if ids is None:
            raise TypeError(
                f"{name} must be a matrix, as the model was fitted on a matrix and has no raw ids, got Interactions: "
                f"pass {name}.matrix, or fit the model on Interactions"
            )
        rows = rows._snapshot()
        rows._verify()
        self._check_values(name, rows)
        self._refuse_unknown(name, rows, kind)
        if kind == "item":
            return rows.reindex(users=rows_of, items=ids).matrix
        return rows.reindex(users=ids, items=rows_of).matrix.T

    def _refuse_unknown(self, name: str, rows: Interactions, kind: str) -> None:
        """Raise if interactions have items (or users) that the model does not know."""
        ids, column_ids = self._ids_of(kind), rows._items if kind == "item" else rows._users
        if ids is None or column_ids is ids:
            return
        unknown = ids.find(column_ids.values) < 0
        if unknown.any():
            refuse_other_types(name, kind, ids, column_ids.values[unknown].tolist(), not unknown.all())
            sample = column_ids.values[unknown].tolist()[0]
            raise ValueError(
                f"{name} must contain only {kind}s of the fit, got {int(unknown.sum())} others, such as {sample!r}: "
                f"drop them with {name}.reindex({kind}s=model.{kind}_ids_)"
            )

    def _check_values(self, name: str, interactions: Interactions) -> None:
        """Refuse summed duplicates, except for implicit feedback, and ratings without values."""
        feedback = self.traits.feedback if hasattr(self, "traits") else "implicit"
        if feedback != "implicit":
            check_not_summed(name, interactions)
        if feedback == "ratings":
            check_has_values(name, interactions)

    def _refuse_ids(self, name: str, rows: Any, kind: str) -> None:
        """Raise for a list of ids in place of a matrix, and say how to make a matrix of it."""
        if is_sparse(rows) or hasattr(rows, "columns") or not isinstance(rows, (list, tuple, Set, np.ndarray)):
            return
        if isinstance(rows, np.ndarray) and rows.ndim != 1:
            return
        listed = list(rows)
        flat = all(isinstance(one, (str, Integral)) for one in listed) and bool(listed)
        rated = self.traits.feedback == "ratings"
        if not flat or (rated and not isinstance(listed[0], str)):  # a row of ratings
            return
        known, given = self._ids_of(kind), f"list({name})" if isinstance(rows, Set) else name
        if known is not None:
            who, what = (f"[who] * {len(listed)}", given) if kind == "item" else (given, f"[what] * {len(listed)}")
            role = ("who", "user") if kind == "item" else ("what", "item")
            values, meant = (", ratings", f" and ratings are those of the {kind}s") if rated else ("", "")
            way = (
                f"alternant.Interactions.from_arrays({who}, {what}{values}), where {role[0]} is the id of the {role[1]}"
                f"{meant}"
            )
        elif isinstance(listed[0], str):
            way = "fit the model on alternant.Interactions, which have ids"
        else:
            shape = f"shape=(1, {self._count(kind)})"
            way = f"pass scipy.sparse.csr_array(([1] * {len(listed)}, ([0] * {len(listed)}, {given})), {shape})"
        raise TypeError(
            f"{name} must be a matrix with one row for each {'user' if kind == 'item' else 'item'}, got a "
            f"{type(rows).__name__} of ids, such as {listed[0]!r}: {way if known is None else 'pass ' + way}"
        )

    def _refuse_absent(self, name: str, rows: Interactions, kind: str, wanted: NDArray[Any]) -> None:
        """Raise if one of the wanted users or items has no row."""
        absent = (rows._users if kind == "user" else rows._items).find(wanted) < 0
        if absent.any():
            raise ValueError(
                f"{name} must contain all {kind}s passed, but {int(absent.sum())} are missing, such as "
                f"{wanted[absent].tolist()[0]!r}: drop them or, if they have no interactions, pass "
                f"{name}.reindex({kind}s=...)"
            )

    def _allowed(self, exclude: Any, candidates: Any, kind: str = "item", queries: int | None = None) -> Any:
        """Return the rows that may be returned, ascending; None for all, (indptr, rows) if each query has its own."""
        if exclude is None and candidates is None:
            return None
        count = self._count(kind) or 0
        banned = np.empty(0, np.int64) if exclude is None else self._distinct(f"exclude_{kind}s", exclude, kind)
        name = f"candidate_{kind}s"
        if candidates is None or not self._has_list_per_user(candidates, kind):
            chosen = np.arange(count) if candidates is None else self._distinct(name, candidates, kind)
            return np.setdiff1d(chosen, banned, assume_unique=True)
        if is_sparse(candidates):
            matrix = candidates.tocsr().astype(bool)  # a copy
            matrix.sum_duplicates()
            matrix.eliminate_zeros()
            if matrix.shape[1] != count:
                raise ValueError(
                    f"{name} must have one column for each of the {count} {kind}s, got shape {matrix.shape}"
                )
            lengths, numbers = np.diff(matrix.indptr), matrix.indices.astype(np.int64)
        else:
            lists = [self._distinct(name, one, kind) for one in candidates]
            lengths = np.array([len(one) for one in lists], np.int64)
            numbers = np.concatenate([*lists, np.empty(0, np.int64)])
        if queries is not None and len(lengths) != queries:
            raise ValueError(f"{name} must be one list, or one for each of {queries} users, got {len(lengths)} lists")
        allowed = ~np.isin(numbers, banned)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return np.concatenate([[0], np.cumsum(allowed)])[indptr].astype(np.int64), numbers[allowed]

    def _has_list_per_user(self, candidates: Any, kind: str) -> bool:
        """Whether there is one list of candidates for each user, rather than one for all."""
        if is_sparse(candidates):
            return True
        if isinstance(candidates, np.ndarray) and candidates.dtype != object:
            return candidates.ndim == 2
        ids = self._ids_of(kind)
        if not isinstance(candidates, (list, tuple, np.ndarray)) or len(candidates) == 0:
            return False
        first = candidates[0]
        if isinstance(first, (tuple, frozenset)) and ids is not None and ids.number(first) >= 0:
            return False
        if isinstance(first, (str, bytes)):
            return False
        is_column = hasattr(first, "__array__") and getattr(first, "shape", None) != ()  # pyarrow's have no shape
        return is_column or isinstance(first, (Sequence, Set, ValuesView))

    def _distinct(self, name: str, ids: Any, kind: str) -> NDArray[np.int64]:
        """Return the distinct row numbers of a one-dimensional list, ascending."""
        numbers = self._numbers(name, unordered(ids), kind)
        if numbers.ndim != 1:
            raise ValueError(f"{name} must be a one-dimensional list of {kind}s, got {numbers.ndim} dimensions")
        return np.unique(numbers)
