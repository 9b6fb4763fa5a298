"""What the rows of a model's factors are called in the user's own tables, where that is known."""

from __future__ import annotations

from collections.abc import Set, ValuesView
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..data.append import refuse_other_types
from ..data.ids import Ids
from ..data.interactions import Interactions
from ..data.ratings import check_has_values, check_not_summed
from ..data.validation import check_ids, is_sparse, row_numbers, unordered
from ._state import State

if TYPE_CHECKING:
    from ._traits import Traits


class RawIds(State):
    """The part of a model that turns raw ids into row numbers and back.

    A model fitted on `Interactions` takes and returns raw ids; fitted on a bare matrix, or with factors of another
    length set by hand, row numbers.
    """

    traits: ClassVar[Traits]
    _user_ids: Ids | None = None
    _item_ids: Ids | None = None
    _library: str | None = None  # of the frame that the interactions came from

    @property
    def user_ids_(self) -> NDArray[Any] | None:
        """The raw ids of the users, by row of `user_factors`; None where users are row numbers."""
        ids = self._snapshot()._ids_of("user")
        return None if ids is None else ids.values

    @property
    def item_ids_(self) -> NDArray[Any] | None:
        """The raw ids of the items, by row of `item_factors`; None where items are row numbers."""
        ids = self._snapshot()._ids_of("item")
        return None if ids is None else ids.values

    def _ids_of(self, kind: str) -> Ids | None:
        ids = self._user_ids if kind == "user" else self._item_ids
        return ids if ids is not None and len(ids) == self._count(kind) else None

    def _numbers(self, name: str, ids: Any, kind: str) -> NDArray[np.int64]:
        """Return the row numbers of users or items as they are passed in; all must be known."""
        known = self._ids_of(kind)
        if known is None:
            return check_ids(name, ids, self._count(kind) or 0, kind)
        return known.numbers(name, ids, kind)

    def _asked(self, name: str, ids: Any, kind: str, unknown: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return row numbers, -1 where an id is unknown (unless that is an error), and the ids that were asked for."""
        if unknown == "raise":
            numbers = self._numbers(name, ids, kind)
            return numbers, self._raw(numbers, kind)
        known = self._ids_of(kind)
        if known is None:
            values = row_numbers(name, ids, kind)
            return np.where((values >= 0) & (values < (self._count(kind) or 0)), values, -1).astype(np.int64), values
        values, numbers = known.look_up(name, ids, kind)
        new = values[numbers < 0].tolist()
        refuse_other_types(name, kind, known, new, bool((numbers >= 0).any()))
        return numbers, values

    def _number(self, name: str, one: Any, kind: str) -> int:
        """Return the row number of a single user or item."""
        numbers = self._numbers(name, one, kind)
        if numbers.size != 1:
            raise ValueError(f"{name} must be one {kind}, got {numbers.size} of them: ask for one at a time")
        return int(numbers.reshape(()))

    def _raw(self, numbers: NDArray[Any], kind: str) -> NDArray[Any]:
        """Return what users or items are called outside; -1 stays -1, or becomes None where ids are no numbers."""
        ids = self._ids_of(kind)
        return numbers if ids is None else ids.raw(numbers)

    def _open(self, interactions: Any) -> tuple[Any, dict[str, Any]]:
        """Return the matrix to fit, and the ids (as attributes to set once it is fitted) that come with it.

        With ``warm_start`` the ids of the last fit come first, so that every row goes on where it was.
        """
        if not isinstance(interactions, Interactions):
            return interactions, {"_user_ids": None, "_item_ids": None, "_library": None}
        interactions = interactions._snapshot()  # ids, shape and values of one moment
        self._check_values("interactions", interactions, to_fit=True)
        users, items = interactions._users, interactions._items
        if getattr(self, "warm_start", False):
            old_users, old_items = self._ids_of("user"), self._ids_of("item")
            users = users if old_users is None else self._with_old("user", old_users, users)
            items = items if old_items is None else self._with_old("item", old_items, items)
            interactions = interactions.reindex(users=users, items=items)
        return interactions.matrix, {"_user_ids": users, "_item_ids": items, "_library": interactions._library}

    def _with_old(self, kind: str, old: Ids, new: Ids) -> Ids:
        """Return the ids of the last fit, and behind them those of this one that are new."""
        unknown = old.find(new.values) < 0
        added = new.values[unknown].tolist()
        refuse_other_types("interactions", kind, old, added, not unknown.all())
        return old.extended(added)

    def _matrix(self, name: str, rows: Any, kind: str, rows_of: Any = None) -> Any:
        """Return a matrix whose columns are the model's rows of this kind.

        A matrix is that already. Of `Interactions`, rows are their own users (for ``kind="user"``, their items) or
        those of `rows_of`; what they have of items (users) that the model does not know is refused.
        """
        if not isinstance(rows, Interactions):
            self._refuse_ids(name, rows, kind)
            return rows
        ids = self._ids_of(kind)
        if ids is None:
            raise TypeError(
                f"{name} must be a matrix, since the model was fitted on a matrix and knows no ids, got Interactions: "
                f"pass {name}.matrix, or fit the model on Interactions"
            )
        rows = rows._snapshot()
        self._check_values(name, rows)
        theirs = rows._items if kind == "item" else rows._users
        if theirs is not ids:
            unknown = ids.find(theirs.values) < 0
            if unknown.any():
                refuse_other_types(name, kind, ids, theirs.values[unknown].tolist(), not unknown.all())
                sample = theirs.values[unknown].tolist()[0]
                raise ValueError(
                    f"{name} must hold {kind}s of the fit only, got {int(unknown.sum())} others, such as {sample!r}: "
                    f"leave them out with {name}.reindex({kind}s=model.{kind}_ids_)"
                )
        if kind == "item":
            return rows.reindex(users=rows_of, items=ids).matrix
        return rows.reindex(users=ids, items=rows_of).matrix.T

    def _check_values(self, name: str, interactions: Interactions, *, to_fit: bool = False) -> None:
        """Refuse sums of ratings or likes, which only events have, and to fit ratings, events without values."""
        feedback = self.traits.feedback if hasattr(self, "traits") else "implicit"
        if feedback != "implicit":
            check_not_summed(name, interactions)
        if feedback == "ratings" and to_fit:
            check_has_values(name, interactions)

    def _refuse_ids(self, name: str, rows: Any, kind: str) -> None:
        """Refuse a list of ids in place of a matrix, and say how it becomes one."""
        if is_sparse(rows) or hasattr(rows, "columns") or not isinstance(rows, (list, tuple, Set, np.ndarray)):
            return
        if isinstance(rows, np.ndarray) and rows.ndim != 1:
            return
        listed = list(rows)
        flat = all(isinstance(one, (str, Integral)) for one in listed) and bool(listed)
        if not flat or (self.traits.feedback == "ratings" and not isinstance(listed[0], str)):  # a row of ratings
            return
        known, given = self._ids_of(kind), f"list({name})" if isinstance(rows, Set) else name
        if known is not None:
            who, what = (f"[who] * {len(listed)}", given) if kind == "item" else (given, f"[what] * {len(listed)}")
            role = ("who", "user") if kind == "item" else ("what", "item")
            way = (
                f"alternant.Interactions.from_arrays({who}, {what}), where {role[0]} is what the {role[1]} is called"
            )
        elif isinstance(listed[0], str):
            way = "fit the model on alternant.Interactions, which know ids"
        else:
            shape = f"shape=(1, {self._count(kind)})"
            way = f"pass scipy.sparse.csr_array(([1] * {len(listed)}, ([0] * {len(listed)}, {given})), {shape})"
        raise TypeError(
            f"{name} must be a matrix with one row for each {'user' if kind == 'item' else 'item'}, got a "
            f"{type(rows).__name__} of ids, such as {listed[0]!r}: {way if known is None else 'pass ' + way}"
        )

    def _refuse_absent(self, name: str, rows: Interactions, kind: str, wanted: NDArray[Any]) -> None:
        """Raise if one of those who are wanted, users or items, is not among the rows."""
        absent = (rows._users if kind == "user" else rows._items).find(wanted) < 0
        if absent.any():
            raise ValueError(
                f"{name} must hold all {kind}s asked for, but not {wanted[absent].tolist()[0]!r} ({int(absent.sum())} "
                f"in all): leave them out or, where nothing is known of them, pass {name}.reindex({kind}s=...)"
            )

    def _allowed(self, exclude: Any, candidates: Any, kind: str = "item", queries: int | None = None) -> Any:
        """Return the rows that may be returned, ascending: None for all, or CSR where each query has its own list."""
        if exclude is None and candidates is None:
            return None
        count = self._count(kind) or 0
        banned = np.empty(0, np.int64) if exclude is None else self._distinct(f"exclude_{kind}s", exclude, kind)
        name = f"candidate_{kind}s"
        if candidates is None or not self._are_lists(candidates, kind):
            chosen = np.arange(count) if candidates is None else self._distinct(name, candidates, kind)
            return np.setdiff1d(chosen, banned, assume_unique=True)
        if is_sparse(candidates):
            matrix = candidates.tocsr().astype(bool)  # a copy
            matrix.sum_duplicates()
            matrix.eliminate_zeros()
            if matrix.shape[1] != count:
                raise ValueError(f"{name} must have one column for each of the {count} {kind}s, got {matrix.shape}")
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

    def _are_lists(self, candidates: Any, kind: str) -> bool:
        """Whether there is a list of candidates for each user, and not one for all."""
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
        return isinstance(first, (list, tuple, range, Set, ValuesView)) or len(getattr(first, "shape", ())) > 0

    def _distinct(self, name: str, ids: Any, kind: str) -> NDArray[np.int64]:
        """Return the distinct row numbers of a one-dimensional list, ascending."""
        numbers = self._numbers(name, unordered(ids), kind)
        if numbers.ndim != 1:
            raise ValueError(f"{name} must be a list of {kind}s, got {numbers.ndim} dimensions")
        return np.unique(numbers)
