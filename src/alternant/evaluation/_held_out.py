"""The interactions of a test set by user of the model, in memory or in a store, a block of users at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR
from ..data.ids import PART
from ..data.interactions import Interactions
from ..data.internals import ids_of, pairs_by_user, release_rows
from ..models import internals

BLOCK = 4096  # users read, and ranked, at a time


class Rows(Protocol):
    """Rows of test interactions, in the dtype of the model."""

    shape: tuple[int, int]

    def users(self) -> NDArray[np.int64]:
        """Return the rows that have interactions, ascending."""

    def take(self, rows: NDArray[np.int64]) -> CSR:
        """Return some of these rows."""


class RowsOfMatrix:
    """The rows of a matrix."""

    def __init__(self, matrix: CSR) -> None:
        self.shape, self._matrix = matrix.shape, matrix

    def users(self) -> NDArray[np.int64]:
        """Return the rows that have interactions, ascending."""
        return np.flatnonzero(np.diff(self._matrix.indptr))

    def take(self, rows: NDArray[np.int64]) -> CSR:
        """Return some rows."""
        return self._matrix.take(rows)


class RowsByIds:
    """The rows of interactions, in memory or in a store, in the order of the model's users, with its items as columns.

    Parameters
    ----------
    model : fitted model
        Its users and items include those of the interactions, or an error names one that it does not know.
    test : Interactions
    """

    def __init__(self, model: Any, test: Interactions) -> None:
        users, items = internals.model_ids(model, "user"), internals.model_ids(model, "item")
        self._model, self._rows = model, pairs_by_user(test)  # first: this verifies a store
        internals.refuse_unknown_items(model, "test", test)
        self._items = internals.factors(model)[1]
        self.shape = internals.factors(model)[0].shape[0], len(self._items)
        same = items is None or ids_of(test, "item") == items
        self._columns = None if same or items is None else items.find(test.item_ids)
        self._numbers: NDArray[np.int64] | None = None  # of the test's users in the model, ascending
        self._order: NDArray[np.int64] | None = None  # of the test's users by these numbers
        if ids_of(test, "user") != users:
            self._numbers = _numbers_of_users(model, test)
            if not (np.diff(self._numbers) > 0).all():
                self._order = np.argsort(self._numbers)
                self._numbers = self._numbers[self._order]

    def users(self) -> NDArray[np.int64]:
        """Return the rows that have interactions, ascending."""
        indptr = self._rows.indptr
        if self._numbers is None:
            return np.flatnonzero(np.diff(indptr))
        own = np.arange(len(indptr) - 1) if self._order is None else self._order
        return self._numbers[indptr[own + 1] > indptr[own]]

    def take(self, rows: NDArray[np.int64]) -> CSR:
        """Return some of these rows."""
        at = rows if self._numbers is None else np.searchsorted(self._numbers, rows)
        own = at if self._order is None else self._order[at]
        found = self._rows.take(own)
        release_rows(self._rows, own)
        indices, data = found.indices, found.data
        if self._columns is not None:
            indices = self._columns[indices]
            order = np.lexsort((indices, np.repeat(np.arange(len(rows)), np.diff(found.indptr))))
            indices, data = indices[order], data[order]
        part = CSR.of(found.indptr, indices, data, (len(rows), self.shape[1]))
        return internals.known_columns(self._model, "test", part.to_scipy(), self._items, -1)


def _numbers_of_users(model: Any, test: Interactions) -> NDArray[np.int64]:
    ids, count = ids_of(test, "user"), test.shape[0]
    numbers = np.empty(count, np.int64)
    for start in range(0, count, PART):
        rows = slice(start, min(start + PART, count))
        names = ids.raw(np.arange(rows.start, rows.stop))
        numbers[rows] = internals.row_numbers(model, "test users", names, "user")
        ids.release(rows)
    return numbers


class HeldOut:
    """Test interactions, counted once.

    Attributes
    ----------
    users : int64 array
        The rows with interactions that are measured, ascending: for a model of ratings all, else those of `ranked`.
    ranked : int64 array
        The rows with relevant interactions, ascending.
    n_pairs : int
        The number of interactions that are measured.
    by_item : int64 array
        The number of relevant interactions of each item.
    """

    def __init__(self, rows: Rows, rates: bool, relevant_from: float | None, seen: CSR | None) -> None:
        self._rows, self._rates, self._least = rows, rates, relevant_from
        self.shape = rows.shape
        self.by_item = np.zeros(rows.shape[1], np.int64)
        with_any = rows.users()
        lengths, relevant = np.zeros((2, len(with_any)), np.int64)
        leaks = Leaks()
        for start in range(0, len(with_any), BLOCK):
            part = slice(start, start + BLOCK)
            held = rows.take(with_any[part])
            if seen is not None:
                leaks.count(held, with_any[part], seen)
            chosen = held.filter(self._is_relevant(held.data))
            lengths[part], relevant[part] = np.diff(held.indptr), np.diff(chosen.indptr)
            self.by_item += np.bincount(chosen.indices, minlength=rows.shape[1])
        leaks.refuse()
        self.ranked = with_any[relevant > 0]
        self.users = with_any[lengths > 0] if rates else self.ranked
        self.n_pairs = int((lengths if rates else relevant).sum())

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield these rows in blocks."""
        for start in range(0, len(rows), BLOCK):
            yield rows[start : start + BLOCK]

    def take(self, rows: NDArray[np.int64]) -> CSR:
        """Return all interactions of some rows."""
        return self._rows.take(rows)

    def relevant(self, rows: NDArray[np.int64]) -> CSR:
        """Return the relevant interactions of some rows."""
        held = self._rows.take(rows)
        return held.filter(self._is_relevant(held.data))

    def _is_relevant(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        return values > 0 if self._least is None else values >= self._least


class Leaks:
    """Pairs of a test set that the model has seen."""

    def __init__(self) -> None:
        self._found = self._of = 0
        self._first = ""

    def count(self, held: CSR, rows: NDArray[np.int64], seen: CSR) -> None:
        """Count those of some users, whose rows in `seen` are `rows`."""
        known = seen.take(rows)
        release_rows(seen, rows)
        keys = [np.repeat(np.arange(part.shape[0]), np.diff(part.indptr)) * seen.shape[1] + part.indices
                for part in (known, held)]  # fmt: skip
        shared = np.isin(keys[1], keys[0], assume_unique=True)
        if shared.any() and not self._found:
            row, column = divmod(int(keys[1][np.argmax(shared)]), seen.shape[1])
            self._first = f"row {rows[row]}, column {column}"
        self._found += int(shared.sum())
        self._of += len(shared)

    def refuse(self) -> None:
        """Raise if there are any."""
        if self._found:
            raise ValueError(
                f"test must hold no pair that the model has seen, got {self._found} of {self._of}, such as "
                f"{self._first}: the split leaks; fit on its train part, or pass exclude_seen=False"
            )
