"""Lists for many users at once: as frames, streamed to files, and by approximate search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .._utils.validation import check_boolean, check_choice, check_integer
from ..data.interactions import Interactions
from ..data.io import frames
from ..data.io.export import check_destination, long_table, open_writer, titles_by_number

if TYPE_CHECKING:
    from ..indexes import ItemIndex

UNKNOWN_USERS = ("raise", "empty", "cold_start")  # what becomes of them
BLOCK_SIZE = 8192  # users: enough to keep all threads busy, and with k = 10 about 10 MB as a frame

Block = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


class Serving:
    """The part of a model that hands out lists in bulk; what it ranks with is the model's."""

    def recommend_frame(
        self,
        users: Any = None,
        k: int = 10,
        *,
        titles: Any = None,
        library: str | None = None,
        user_items: Any = None,
        exclude_seen: bool = True,
        exclude_items: Any = None,
        candidate_items: Any = None,
        unknown: str = "raise",
    ) -> Any:
        """Rank items for users, as `recommend` does, and return a frame with one row for every item of a list.

        Parameters
        ----------
        users : id, array of ids, or None
            As for `recommend`. With None, new users: they are called by the ids of `user_items` where that is
            `Interactions`, else by their row number in it.
        k : int
            Length of the lists.
        titles : mapping, frame or sequence, optional
            What the items are called: from item ids to titles (a dict, a pandas Series, or a frame with the columns
            item and title, or just two), or all titles in the order of the items. Items without one get None.
        library : {"polars", "pandas", "pyarrow"}, optional
            By default that of the frame that the model was fitted on, else the first that is installed.
        user_items, exclude_seen, exclude_items, candidate_items, unknown
            As for `recommend`.

        Returns
        -------
        frame
            Columns user, item, score, rank (1 for the best) and, where titles are given, title. Lists that are
            shorter than k have fewer rows.

        Raises
        ------
        NotFittedError, IndexError, TypeError, ValueError
            As `recommend`, and where `titles` name no item.
        ImportError
            If the library of frames is not installed.
        """
        model: Any = self
        names = None if titles is None else titles_by_number(titles, _item_names(model))
        ids, scores = model.recommend(
            users, k, user_items=user_items, exclude_seen=exclude_seen, exclude_items=exclude_items,
            candidate_items=candidate_items, unknown=unknown,
        )  # fmt: skip
        ids, scores = ids.reshape(-1, scores.shape[-1]), scores.reshape(-1, scores.shape[-1])
        if users is not None:
            who = model._asked("users", users, "user", unknown)[1].reshape(-1)
        else:
            who = user_items.user_ids if isinstance(user_items, Interactions) else np.arange(len(scores))
        called = None
        if names is not None:
            found = ~np.isneginf(scores)
            called = np.empty(ids.shape, object)
            called[found] = names[model._numbers("items", ids[found], "item")]
        return frames.make_frame(long_table(who, ids, scores, called), library or model._library)

    def recommend_all(
        self,
        k: int = 10,
        *,
        users: Any = None,
        to: Any = None,
        block_size: int = BLOCK_SIZE,
        titles: Any = None,
        library: str | None = None,
        user_items: Any = None,
        exclude_seen: bool = True,
        exclude_items: Any = None,
        candidate_items: Any = None,
        unknown: str = "raise",
        show_progress: bool | None = None,
    ) -> Iterator[Block] | int:
        """Rank items for all users, block by block, so that memory does not grow with their number.

        Parameters
        ----------
        k : int
            Length of the lists.
        users : array of ids, optional
            Users of the fit; all of them by default, in the order of `user_factors`.
        to : path or function, optional
            | None: return an iterator of blocks.
            | the name of a ``.parquet`` (needs pyarrow) or ``.csv`` file: write the columns that `recommend_frame`
              returns. The file appears under its name when it is whole; what was there before is replaced.
            | a function: it gets such a frame for every block.
        block_size : int
            How many users are ranked at a time.
        titles, library
            As for `recommend_frame`; the library is that of the frames that a function gets.
        user_items : sparse matrix or Interactions, optional
            As for `recommend`: what is left out instead of the interactions of the fit.
        exclude_seen, exclude_items, candidate_items, unknown
            As for `recommend`.
        show_progress : bool, optional
            Draw a progress bar on stderr; None: only on a terminal.

        Returns
        -------
        iterator of (user ids, item ids, scores), or int
            Of shapes (b,), (b, k) and (b, k), as `recommend` returns them and with the same bits. With `to`, the
            number of rows written. All blocks are of the model as it was at the call, whatever changes it meanwhile.

        Raises
        ------
        NotFittedError, IndexError, TypeError, ValueError
            As `recommend`, at once and not with the first block; and where `to` can't be written to.
        ImportError
            If pyarrow, or the library of frames, is not installed.
        """
        model: Any = self
        work = _Work(model, k, users, block_size, user_items, exclude_seen, exclude_items, candidate_items, unknown)
        if show_progress is not None:
            check_boolean("show_progress", show_progress)
        disable = None if show_progress is None else not show_progress  # None: tqdm draws on a terminal only
        if to is None:
            if titles is not None or library is not None:
                raise ValueError(
                    "titles and library are for frames and files, and to=None returns blocks of arrays: pass to=, the "
                    "name of a file or a function that takes a frame"
                )
            return _named(model, work.blocks(disable))
        check_destination(to)
        names = None if titles is None else titles_by_number(titles, _item_names(model))
        return _write(model, work.blocks(disable), to, names, library)

    def query_vectors(self, users: Any = None, *, user_items: Any = None) -> NDArray[Any]:
        """Return the vectors whose inner products with the items' rank as `recommend` does.

        They are the users' factors, biases among their columns, and where the model ranks by cosine of length 1. They
        are what an index of `to_index` is asked with by a program that has no `alternant`.

        Parameters
        ----------
        users : id, array of ids, or None
        user_items : sparse matrix or Interactions, optional
            With ``users=None``: new users, who are folded in.

        Returns
        -------
        array, shape (len(users), f), or (f,) for a single user
        """
        model: Any = self
        model._check_fitted()
        if users is None:
            return np.asarray(model._ranked(model._new_users(user_items)[0]))
        if user_items is not None:
            raise ValueError("query_vectors takes users of the fit or user_items of new ones, got both: pass one")
        numbers = model._numbers("users", users, "user")
        vectors = np.asarray(model._ranked(model._take("user", numbers.reshape(-1))))
        return vectors.reshape(*numbers.shape, vectors.shape[1])

    def to_index(self, library: str, **options: Any) -> ItemIndex:
        """Export the items for approximate search by inner product.

        Parameters
        ----------
        library : {"faiss", "hnswlib", "usearch"}
            Packages faiss-cpu, hnswlib and usearch; the extra ``ann`` has all three.
        **options
            | faiss: ``factory="Flat"``, what `faiss.index_factory` takes; ``"Flat"`` is exact.
            | hnswlib: ``M=16, ef_construction=200, ef=128, random_seed=0, num_threads=None``.
            | usearch: ``connectivity=16, expansion_add=200, expansion_search=128, dtype="f32", num_threads=None``.

            `num_threads` is for searching; construction takes one thread, so that it has the same result every time.

        Returns
        -------
        ItemIndex
            Its `search` returns what `recommend` does. It keeps the model, whose items must stay as they are.

        Raises
        ------
        ImportError
            If the library is not installed.
        NotFittedError, TypeError, ValueError
            Before `fit`, and if the library or an option is unknown or out of its range.
        """
        from ..indexes import ItemIndex

        return ItemIndex(self, library, **options)

    def _ranked(self, factors: NDArray[Any]) -> NDArray[Any]:
        """Return the vectors, of users or items, whose inner products rank."""
        return factors


class _Work:
    """What `recommend_all` was asked for, checked."""

    def __init__(
        self, model: Any, k: Any, users: Any, block_size: Any, user_items: Any, exclude_seen: bool,
        exclude_items: Any, candidate_items: Any, unknown: str,
    ) -> None:  # fmt: skip
        self.model = model
        self.user_factors, self.item_factors = model._factors()
        self.k = check_integer("k", k, 1)
        check_boolean("exclude_seen", exclude_seen)
        self.block_size = check_integer("block_size", block_size, 1)
        check_choice("unknown", unknown, UNKNOWN_USERS)
        self.numbers = self.names = None
        self.absent: NDArray[np.bool_] | None = None
        if users is not None:
            self.numbers, self.names = model._asked("users", users, "user", unknown)
            if self.numbers.ndim != 1:
                raise ValueError(f"users must be a list of users, got {self.numbers.ndim} dimensions")
            self.absent, self.numbers = self.numbers < 0, np.maximum(self.numbers, 0)  # any row will do for those
        self.n_users = len(self.user_factors) if self.numbers is None else len(self.numbers)
        self.exclude_seen = exclude_seen
        self.seen = None
        if user_items is not None:
            self.seen = model._seen(np.arange(self.n_users) if self.numbers is None else self.numbers, user_items)
        elif exclude_seen:
            model._seen(np.empty(0, np.int64), None)  # which raises where the model has no interactions
        self.candidates = model._allowed(exclude_items, candidate_items, queries=self.n_users)
        if self.absent is not None and self.absent.any():
            self.of_unknown = model._list_of_unknown(unknown, self.k, exclude_items, candidate_items)

    def blocks(self, disable: bool | None) -> Iterator[tuple[NDArray[Any], NDArray[np.int32], NDArray[Any]]]:
        """Yield ids of users, row numbers of items and scores."""
        name = f"{type(self.model).__name__}.recommend_all"
        with tqdm(total=self.n_users, desc=name, unit=" users", unit_scale=True, disable=disable) as bar:
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
                queries = self.user_factors[start:stop] if self.numbers is None else self.user_factors[rows]
                best, scores = self.model._rank(queries, self.item_factors, self.k, exclude, candidates)
                absent = None if self.absent is None else self.absent[start:stop]
                if absent is not None and absent.any():
                    best[absent], scores[absent] = self.of_unknown
                yield self.model._raw(rows, "user") if self.names is None else self.names[start:stop], best, scores
                bar.update(stop - start)


def _item_names(model: Any) -> NDArray[Any]:
    """Return what the items are called outside, in their order."""
    names: NDArray[Any] = model._raw(np.arange(len(model._factors()[1])), "item")
    return names


def _named(model: Any, blocks: Iterator[Block]) -> Iterator[Block]:
    for users, items, scores in blocks:
        yield users, model._raw(items, "item"), scores


def _write(
    model: Any, blocks: Iterator[Block], to: Any, titles: NDArray[Any] | None, library: str | None
) -> int:
    kinds = {
        "user": np.empty(0, np.int64) if model.user_ids_ is None else model.user_ids_,
        "item": np.empty(0, np.int32) if model.item_ids_ is None else model.item_ids_,
        "score": np.empty(0, model.user_factors.dtype),
        "rank": np.empty(0, np.int64),
    }
    if titles is not None:
        kinds["title"] = titles
    written = 0
    with open_writer(to, kinds, library or model._library) as write:
        for users, items, scores in blocks:
            called = None if titles is None else titles[np.maximum(items, 0)]
            table = long_table(users, model._raw(items, "item"), scores, called)
            write(table)
            written += len(table["rank"])
    return written
