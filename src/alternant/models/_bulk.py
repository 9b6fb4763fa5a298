"""Lists for many users, block by block: what is known of the blocks before the first one is computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import prefetch, release
from .._utils.messages import parameter, refusal
from .._utils.progress import ProgressBar, progress_bar
from .._utils.validation import check_boolean, check_choice, check_integer
from ..data.csr import CSR
from ..data.features import Features
from ..data.interactions import Interactions
from ._cold_start import without_seen

UNKNOWN_USERS = ("raise", "empty", "cold_start")  # choices of the parameter `unknown`

# User ids, row numbers of items, and scores.
Lists = tuple[NDArray[Any], NDArray[np.int32], NDArray[Any]]


class Work:
    """The checked arguments of `recommend_all`: the users of `first`, `first` + 1, ... or those of `numbers`."""

    def __init__(
        self, model: Any, k: Any, users: Any, block_size: Any, user_items: Any, user_features: Any, exclude_seen: bool,
        exclude_items: Any, candidate_items: Any, unknown: str, index: Any,
    ) -> None:  # fmt: skip
        self.model, self.index = model, index
        self.user_factors, self.item_factors = model._factors()
        self.k = check_integer("k", k, 1)
        check_boolean("exclude_seen", exclude_seen)
        self.block_size = check_integer("block_size", block_size, 1)
        check_choice("unknown", unknown, UNKNOWN_USERS)
        self.unknown = unknown
        self.numbers: NDArray[np.int64] | None = None
        self.names: NDArray[Any] | None = None
        self.absent: NDArray[np.bool_] | None = None
        self.seen: CSR | None = None
        self.first = 0
        self.new = user_features is not None
        chosen = range(len(self.user_factors))
        if self.new:
            if users is not None:
                refuse_features_of_known_users(user_features)
            self.user_factors, self.seen = model._new_users(user_items, user_features)
            self.names = names_of_new_users(user_items, user_features, len(self.user_factors))
            chosen = range(len(self.user_factors))
        elif isinstance(users, slice):
            chosen = _range_of(users, len(self.user_factors))
            self.first = chosen.start
        elif users is not None:
            self.numbers, self.names = model._look_up("users", users, "user", unknown)
            if self.numbers.ndim != 1:
                raise ValueError(f"users must be a one-dimensional list of users, got {self.numbers.ndim} dimensions")
            self.absent = self.numbers < 0
        self.n_users = len(chosen) if self.numbers is None else len(self.numbers)
        self.exclude_seen = exclude_seen
        if self.seen is None and user_items is not None:
            numbers = self.numbers if self.numbers is not None else np.arange(chosen.start, chosen.stop)
            self.seen = model._seen(numbers, user_items, self.names)
        elif self.seen is None and exclude_seen:
            model._seen(np.empty(0, np.int64), None)  # raises if the model has no interactions
        if index is not None:
            _check_index(index, model, exclude_items, candidate_items)
        self.candidates = model._allowed(exclude_items, candidate_items, queries=self.n_users)
        self.of_unknown: tuple[NDArray[np.int32], NDArray[Any]] | None = None
        if self.absent is not None and self.absent.any():
            own = self.seen.take(np.flatnonzero(self.absent)) if exclude_seen and self.seen is not None else None
            self.of_unknown = model._list_for_unknown_users(unknown, self.k, exclude_items, candidate_items, own)

    def progress(self, show: bool | None, done: int = 0) -> ProgressBar:
        """Return a bar of users, `done` of whom have their lists already."""
        name = f"{type(self.model).__name__}.recommend_all"
        return progress_bar(self.n_users, show, desc=name, initial=done, unit=" users", unit_scale=True)

    def blocks(self, show: bool | None) -> Iterator[Lists]:
        """Yield the lists of all users."""
        with self.progress(show) as bar:
            yield from self.lists(0, self.n_users, bar)

    def lists(self, first: int, last: int, bar: ProgressBar) -> Iterator[Lists]:
        """Yield the lists of some of the users, a block at a time.

        Memory-mapped rows are given back after their block, so that they do not add up to all users.
        """
        for start in range(first, last, self.block_size):
            stop = min(start + self.block_size, last)
            self._advise(prefetch, stop, min(stop + self.block_size, last))
            yield self._block(start, stop)
            self._advise(release, start, stop)
            bar.update(stop - start)

    def _block(self, start: int, stop: int) -> Lists:
        at = np.arange(start, stop)
        rows = at + self.first if self.numbers is None else self.numbers[start:stop]
        seen = None
        if self.exclude_seen:
            seen = self.model._seen(rows, None) if self.seen is None else self.seen.take(at)
        if self.numbers is None:
            queries = self.user_factors[start + self.first : stop + self.first]
        else:
            queries = self.user_factors[np.maximum(rows, 0)]  # row 0 stands in for users that the model does not know
        best, scores = self._rank(queries, seen, start, stop)
        absent = None if self.absent is None else self.absent[start:stop]
        if absent is not None and self.of_unknown is not None and absent.any():
            own = None if seen is None else seen.take(np.flatnonzero(absent))
            best[absent], scores[absent] = without_seen(self.of_unknown, own, self.k)
        return self.model._raw(rows, "user") if self.names is None else self.names[start:stop], best, scores

    def _rank(
        self, queries: NDArray[Any], seen: CSR | None, start: int, stop: int
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        if self.index is not None:
            found: tuple[NDArray[np.int32], NDArray[Any]] = self.index._lists(self.model, queries, self.k, seen)
            return found
        candidates = self.candidates
        if isinstance(candidates, tuple):
            indptr, lists = candidates
            first, last = indptr[start], indptr[stop]
            candidates = (indptr[start : stop + 1] - first, lists[first:last])
        exclude = None if seen is None else (seen.indptr, seen.indices)
        best, scores = self.model._rank(queries, self.item_factors, self.k, exclude, candidates)
        return best, scores

    def _advise(self, advise: Any, start: int, stop: int) -> None:
        """Advise on the rows of some users, as far as they are contiguous parts of memory maps."""
        if self.numbers is not None or start >= stop:
            return
        rows = slice(start + self.first, stop + self.first)
        parts: list[Any] = [self.user_factors[rows]] if isinstance(self.user_factors, np.ndarray) else []
        known = getattr(self.model, "interactions_", None) if self.seen is None else None
        if self.exclude_seen and known is not None:
            entries = slice(int(known.indptr[rows.start]), int(known.indptr[rows.stop]))
            parts += [known.indptr[rows], known.indices[entries], known.data[entries]]
        advise(*parts)
        ids = self.model._ids_of("user") if self.names is None else None
        if ids is not None and advise is release:
            ids.release(rows)


def _range_of(users: slice, count: int) -> range:
    if users.step not in (None, 1):
        raise refusal(
            ValueError, f"{parameter('users')} must be a slice without a step, got {users!r}: pass a list of ids"
        )
    try:
        return range(*users.indices(count))
    except TypeError:
        raise refusal(
            TypeError,
            f"{parameter('users')} must be a slice of row numbers, such as slice(0, 1000), or a list of ids, got "
            f"{users!r}",
        ) from None


def _check_index(index: Any, model: Any, exclude_items: Any, candidate_items: Any) -> None:
    if not hasattr(index, "_check_items"):
        raise TypeError(f"index must be the result of model.to_index, got {type(index).__name__}")
    if exclude_items is not None or candidate_items is not None:
        raise ValueError(
            "an index searches all of its items, but exclude_items or candidate_items were passed, too: leave out one "
            "of them"
        )
    index._check_items(model)


def refuse_features_of_known_users(user_features: Any) -> None:
    """Raise for features beside known users, whose features the model has."""
    if user_features is not None:
        raise ValueError(
            "user_features are those of new users (users=None), but users were passed, too: leave out one of them; "
            "partial_fit_users changes the features of users of the fit"
        )


def names_of_new_users(user_items: Any, user_features: Any, count: int) -> NDArray[Any]:
    """Return the ids of new users, which those of their interactions or features are, or their row numbers."""
    if isinstance(user_items, Interactions):
        return user_items.user_ids
    return user_features.ids if user_items is None and isinstance(user_features, Features) else np.arange(count)
