"""Recommendations in bulk: as data frames, streamed to files, and by approximate search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import progress_bar
from .._utils.validation import check_boolean, check_choice, check_integer
from ..data.csr import CSR
from ..data.features import Features
from ..data.interactions import Interactions
from ..data.io import frames
from ..data.io.export import Renaming, check_destination, column_names, long_table, open_writer, titles_by_number
from ._cold_start import without_seen

if TYPE_CHECKING:
    from .._typing import Featured, Rated, Reals, Unknown
    from ..indexes import ItemIndex

UNKNOWN_USERS = ("raise", "empty", "cold_start")  # choices of the parameter `unknown`
BLOCK_SIZE = 8192  # users: enough to keep all threads busy, and with k = 10 about 10 MB as a frame

Block = tuple[NDArray[Any], NDArray[Any], NDArray[np.floating[Any]]]


class Serving:
    """The part of a model that recommends in bulk."""

    def recommend_frame(
        self,
        users: Any = None,
        k: int = 10,
        *,
        titles: Any = None,
        columns: Mapping[str, str] | None = None,
        library: str | None = None,
        user_items: Rated | None = None,
        user_features: Featured | None = None,
        exclude_seen: bool = True,
        exclude_items: Any = None,
        candidate_items: Any = None,
        unknown: Unknown = "raise",
    ) -> Any:
        """Rank items for users, as `recommend` does, and return a data frame with one row for each recommended item.

        Parameters
        ----------
        users : id, array of ids, or None
            As for `recommend`. New users (None) are named by their ids if `user_items` is `Interactions` or, without
            them, `user_features` is `Features`, else by their row numbers.
        k : int
            Number of items per user.
        titles : mapping, frame or sequence, optional
            Titles by item id (a dict, a pandas Series, or a frame with the columns item and title, or with just two
            columns), or all titles in the order of the items. Items without a title get None.
        columns : mapping, optional
            Other names of the columns, by those below: ``{"user": "user_id", "item": "item_id"}``.
        library : {"polars", "pandas", "pyarrow"}, optional
            By default that of the frame that the model was fitted on, else the first one installed.
        user_items, user_features, exclude_seen, exclude_items, candidate_items, unknown
            As for `recommend`.

        Returns
        -------
        frame
            Columns user, item, score, rank (from 1) and, if titles are given, title. Unfilled positions have no row.

        Raises
        ------
        NotFittedError, IndexError, TypeError, ValueError
            As `recommend`, and if `titles` match no item.
        ImportError
            If the data frame library is not installed.
        """
        model: Any = self
        renamed = column_names(columns, titles is not None)
        names = None if titles is None else titles_by_number(titles, _item_names(model))
        ids, scores = model.recommend(
            users, k, user_items=user_items, user_features=user_features, exclude_seen=exclude_seen,
            exclude_items=exclude_items, candidate_items=candidate_items, unknown=unknown,
        )  # fmt: skip
        ids, scores = ids.reshape(-1, scores.shape[-1]), scores.reshape(-1, scores.shape[-1])
        if users is not None:
            who = model._look_up("users", users, "user", unknown)[1].reshape(-1)
        else:
            who = _names_of_new_users(user_items, user_features, len(scores))
        called = None
        if names is not None:
            found = ~np.isneginf(scores)
            called = np.empty(ids.shape, object)
            called[found] = names[model._numbers("items", ids[found], "item")]
        return frames.make_frame(renamed(long_table(who, ids, scores, called)), library or model._library)

    @overload
    def recommend_all(
        self, k: int = 10, *, users: Any = None, to: None = None, block_size: int = BLOCK_SIZE,
        user_items: Rated | None = None, user_features: Featured | None = None, exclude_seen: bool = True,
        exclude_items: Any = None, candidate_items: Any = None, unknown: Unknown = "raise",
        show_progress: bool | None = None,
    ) -> Iterator[Block]: ...  # fmt: skip
    @overload
    def recommend_all(
        self, k: int = 10, *, users: Any = None, to: PathLike[str] | str | Callable[[Any], object],
        block_size: int = BLOCK_SIZE, titles: Any = None, columns: Mapping[str, str] | None = None,
        library: str | None = None, user_items: Rated | None = None, user_features: Featured | None = None,
        exclude_seen: bool = True, exclude_items: Any = None, candidate_items: Any = None, unknown: Unknown = "raise",
        show_progress: bool | None = None,
    ) -> int: ...  # fmt: skip
    def recommend_all(
        self,
        k: int = 10,
        *,
        users: Any = None,
        to: Any = None,
        block_size: int = BLOCK_SIZE,
        titles: Any = None,
        columns: Mapping[str, str] | None = None,
        library: str | None = None,
        user_items: Any = None,
        user_features: Any = None,
        exclude_seen: bool = True,
        exclude_items: Any = None,
        candidate_items: Any = None,
        unknown: str = "raise",
        show_progress: bool | None = None,
    ) -> Iterator[Block] | int:
        """Rank items for all users, block by block, so that memory use does not grow with the number of users.

        Parameters
        ----------
        k : int
            Number of items per user.
        users : array of ids, optional
            Users of the fit; all of them by default, in the order of `user_factors`.
        to : path or function, optional
            | None: return an iterator of blocks.
            | the name of a ``.parquet`` (needs pyarrow) or ``.csv`` file: write the columns of `recommend_frame`. The
              file is written atomically and replaces an existing one.
            | a function: call it with such a frame for each block.
        block_size : int
            Number of users ranked at a time.
        titles, columns, library
            As for `recommend_frame`; `library` applies to the frames passed to a function.
        user_items : sparse matrix or Interactions, optional
            As for `recommend`: interactions to exclude instead of those of the fit.
        user_features : as for `recommend`, optional
            Rank items for new users with these features instead of the users of the fit; `user_items` are then their
            interactions. They are named as by `recommend_frame`.
        exclude_seen, exclude_items, candidate_items, unknown
            As for `recommend`.
        show_progress : bool, optional
            Whether to show a progress bar on stderr; None: only on a terminal.

        Returns
        -------
        iterator of (user ids, item ids, scores), or int
            Of shapes (b,), (b, k) and (b, k), bit-identical to what `recommend` returns. With `to`, the number of rows
            written. All blocks are computed from the model as it was at the call, even if it changes meanwhile.

        Raises
        ------
        NotFittedError, IndexError, TypeError, ValueError
            As `recommend`, at the call rather than at the first block; and if `to` can't be written to.
        ImportError
            If pyarrow, or the data frame library, is not installed.
        """
        model: Any = self
        work = _Work(
            model, k, users, block_size, user_items, user_features, exclude_seen, exclude_items, candidate_items,
            unknown,
        )  # fmt: skip
        if show_progress is not None:
            check_boolean("show_progress", show_progress)
        if to is None:
            if any(option is not None for option in (titles, columns, library)):
                raise ValueError(
                    "titles, columns and library apply to frames and files, but to=None returns arrays: pass to=, the "
                    "name of a file or a function that takes a frame"
                )
            return _named(model, work.blocks(show_progress))
        check_destination(to)
        renamed = column_names(columns, titles is not None)
        names = None if titles is None else titles_by_number(titles, _item_names(model))
        return _write(model, work, show_progress, to, names, renamed, library)

    def query_vectors(
        self, users: Any = None, *, user_items: Rated | None = None, user_features: Featured | None = None
    ) -> Reals:
        """Return user vectors whose inner products with the item vectors rank as `recommend` does.

        They are the users' factors, biases included, scaled to length 1 if the model ranks by cosine. With them a
        program can query an index of `to_index` without `alternant`.

        Parameters
        ----------
        users : id, array of ids, or None
        user_items : sparse matrix or Interactions, optional
            With ``users=None``: interactions of new users, to fold in.
        user_features : as for `recommend`, optional
            With ``users=None``: features of new users.

        Returns
        -------
        array, shape (len(users), f), or (f,) for a single user
        """
        model: Any = self
        model._check_fitted()
        if users is None:
            return np.asarray(model._ranked(model._new_users(user_items, user_features)[0]))
        refuse_features_of_known_users(user_features)
        if user_items is not None:
            raise ValueError("query_vectors takes users of the fit or user_items of new users, got both: pass one")
        numbers = model._numbers("users", users, "user")
        vectors = np.asarray(model._ranked(model._take("user", numbers.reshape(-1))))
        return vectors.reshape(*numbers.shape, vectors.shape[1])

    def to_index(self, library: Literal["faiss", "hnswlib", "usearch"], **options: Any) -> ItemIndex:
        """Export the items for approximate search by inner product.

        Parameters
        ----------
        library : {"faiss", "hnswlib", "usearch"}
            From the packages faiss-cpu, hnswlib and usearch; the extra ``ann`` installs all three.
        **options
            | faiss: ``factory="Flat"``, the argument of `faiss.index_factory`; ``"Flat"`` is exact.
            | hnswlib: ``M=16, ef_construction=200, ef=128, random_seed=0, num_threads=None``.
            | usearch: ``connectivity=16, expansion_add=200, expansion_search=128, dtype="f32", num_threads=None``.

            `num_threads` applies to searches; the index is built by one thread, so that the result is reproducible.

        Returns
        -------
        ItemIndex
            Its `search` returns lists like those of `recommend`. It refers to the model, and raises once the factors or
            ids of the items have changed.

        Raises
        ------
        ImportError
            If the library is not installed.
        NotFittedError, TypeError, ValueError
            Before `fit`, and if the library or an option is unknown or out of range.
        """
        from ..indexes import ItemIndex

        return ItemIndex(self, library, **options)

    def _ranked(self, factors: NDArray[Any]) -> NDArray[Any]:
        """Return vectors of users or items whose inner products rank as the model does."""
        return factors


def refuse_features_of_known_users(user_features: Any) -> None:
    """Raise for features beside known users, whose features the model has."""
    if user_features is not None:
        raise ValueError(
            "user_features are those of new users (users=None), but users were passed, too: leave out one of them; "
            "partial_fit_users changes the features of users of the fit"
        )


def _names_of_new_users(user_items: Any, user_features: Any, count: int) -> NDArray[Any]:
    """Return the ids of new users, which those of their interactions or features are, or their row numbers."""
    if isinstance(user_items, Interactions):
        return user_items.user_ids
    return user_features.ids if user_items is None and isinstance(user_features, Features) else np.arange(count)


class _Work:
    """The checked arguments of `recommend_all`."""

    def __init__(
        self, model: Any, k: Any, users: Any, block_size: Any, user_items: Any, user_features: Any, exclude_seen: bool,
        exclude_items: Any, candidate_items: Any, unknown: str,
    ) -> None:  # fmt: skip
        self.model = model
        self.user_factors, self.item_factors = model._factors()
        self.k = check_integer("k", k, 1)
        check_boolean("exclude_seen", exclude_seen)
        self.block_size = check_integer("block_size", block_size, 1)
        check_choice("unknown", unknown, UNKNOWN_USERS)
        self.numbers: NDArray[np.int64] | None = None
        self.names: NDArray[Any] | None = None
        self.absent: NDArray[np.bool_] | None = None
        self.seen: CSR | None = None
        self.new = user_features is not None
        if self.new:
            if users is not None:
                refuse_features_of_known_users(user_features)
            self.user_factors, self.seen = model._new_users(user_items, user_features)
            self.names = _names_of_new_users(user_items, user_features, len(self.user_factors))
        elif users is not None:
            self.numbers, self.names = model._look_up("users", users, "user", unknown)
            if self.numbers.ndim != 1:
                raise ValueError(f"users must be a one-dimensional list of users, got {self.numbers.ndim} dimensions")
            self.absent = self.numbers < 0
        self.n_users = len(self.user_factors) if self.numbers is None else len(self.numbers)
        self.exclude_seen = exclude_seen
        if self.seen is None and user_items is not None:
            numbers = np.arange(self.n_users) if self.numbers is None else self.numbers
            self.seen = model._seen(numbers, user_items, self.names)
        elif self.seen is None and exclude_seen:
            model._seen(np.empty(0, np.int64), None)  # raises if the model has no interactions
        self.candidates = model._allowed(exclude_items, candidate_items, queries=self.n_users)
        if self.absent is not None and self.absent.any():
            own = self.seen.take(np.flatnonzero(self.absent)) if exclude_seen and self.seen is not None else None
            self.of_unknown = model._list_for_unknown_users(unknown, self.k, exclude_items, candidate_items, own)

    def blocks(self, show: bool | None) -> Iterator[tuple[NDArray[Any], NDArray[np.int32], NDArray[Any]]]:
        """Yield user ids, row numbers of items and scores."""
        name = f"{type(self.model).__name__}.recommend_all"
        with progress_bar(self.n_users, show, desc=name, unit=" users", unit_scale=True) as bar:
            for start in range(0, self.n_users, self.block_size):
                stop = min(start + self.block_size, self.n_users)
                rows = np.arange(start, stop) if self.numbers is None else self.numbers[start:stop]
                seen = None
                if self.exclude_seen:
                    at = np.arange(start, stop)
                    seen = self.model._seen(rows, None) if self.seen is None else self.seen.take(at)
                exclude = None if seen is None else (seen.indptr, seen.indices)
                candidates = self.candidates
                if isinstance(candidates, tuple):
                    indptr, lists = candidates
                    first, last = indptr[start], indptr[stop]
                    candidates = (indptr[start : stop + 1] - first, lists[first:last])
                stand_ins = np.maximum(rows, 0)  # row 0 for users that the model does not know
                queries = self.user_factors[start:stop] if self.numbers is None else self.user_factors[stand_ins]
                best, scores = self.model._rank(queries, self.item_factors, self.k, exclude, candidates)
                absent = None if self.absent is None else self.absent[start:stop]
                if absent is not None and absent.any():
                    own = None if seen is None else seen.take(np.flatnonzero(absent))
                    best[absent], scores[absent] = without_seen(self.of_unknown, own, self.k)
                yield self.model._raw(rows, "user") if self.names is None else self.names[start:stop], best, scores
                bar.update(stop - start)


def _item_names(model: Any) -> NDArray[Any]:
    """Return the ids of all items, in the order of the rows."""
    names: NDArray[Any] = model._raw(np.arange(len(model._factors()[1])), "item")
    return names


def _named(model: Any, blocks: Iterator[Block]) -> Iterator[Block]:
    for users, items, scores in blocks:
        yield users, model._raw(items, "item"), scores


def _write(
    model: Any, work: _Work, show: bool | None, to: Any, titles: NDArray[Any] | None, renamed: Renaming,
    library: str | None,
) -> int:  # fmt: skip
    users = np.empty(0, np.int64) if model.user_ids_ is None else model.user_ids_
    some_absent = work.absent is not None and bool(work.absent.any())  # their ids may be of another type
    if work.names is not None and (work.new or some_absent):
        users = work.names
        if callable(to):
            frames.make_frame({"user": users}, library or model._library)  # raises now rather than at their block
    kinds = {
        "user": users,
        "item": np.empty(0, np.int32) if model.item_ids_ is None else model.item_ids_,
        "score": np.empty(0, model.user_factors.dtype),
        "rank": np.empty(0, np.int64),
    }
    if titles is not None:
        kinds["title"] = titles
    written = 0
    with open_writer(to, renamed(kinds), library or model._library) as write:
        for users, items, scores in work.blocks(show):
            called = None if titles is None else titles[np.maximum(items, 0)]
            table = long_table(users, model._raw(items, "item"), scores, called)
            write(renamed(table))
            written += len(table["rank"])
    return written
