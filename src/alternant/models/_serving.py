"""Recommendations in bulk: as data frames, streamed to files, and by approximate search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from .._utils.atomic import whole_file
from .._utils.validation import check_integer, check_show_progress
from ..data.io import frames
from ..data.io.export import column_names, destination, long_table, open_writer, renamed, titles_by_number
from ..data.io.list_files import ParquetLists
from ._bulk import Work, names_of_new_users, refuse_features_of_known_users
from ._list_folder import groups, write_folder

if TYPE_CHECKING:
    from .._typing import Featured, Rated, Reals, Unknown
    from ..indexes import ItemIndex

SHARD_SIZE = 500_000  # users: with k = 10, some 35 MB in a file
BLOCK_SIZE = 32_768  # users: items are ordered anew for each block; with k = 10 about 40 MB as a frame

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
        names = column_names(columns, titles is not None)
        by_number = None if titles is None else titles_by_number(titles, _item_names(model))
        ids, scores = model.recommend(
            users, k, user_items=user_items, user_features=user_features, exclude_seen=exclude_seen,
            exclude_items=exclude_items, candidate_items=candidate_items, unknown=unknown,
        )  # fmt: skip
        ids, scores = ids.reshape(-1, scores.shape[-1]), scores.reshape(-1, scores.shape[-1])
        if users is not None:
            who = model._look_up("users", users, "user", unknown)[1].reshape(-1)
        else:
            who = names_of_new_users(user_items, user_features, len(scores))
        called = None
        if by_number is not None:
            found = ~np.isneginf(scores)
            called = np.empty(ids.shape, object)
            called[found] = by_number[model._numbers("items", ids[found], "item")]
        return frames.make_frame(renamed(long_table(who, ids, scores, called), names), library or model._library)

    @overload
    def recommend_all(
        self, k: int = 10, *, users: Any = None, to: None = None, block_size: int = BLOCK_SIZE,
        user_items: Rated | None = None, user_features: Featured | None = None, exclude_seen: bool = True,
        exclude_items: Any = None, candidate_items: Any = None, unknown: Unknown = "raise",
        index: ItemIndex | None = None, show_progress: bool | None = None,
    ) -> Iterator[Block]: ...  # fmt: skip
    @overload
    def recommend_all(
        self, k: int = 10, *, users: Any = None, to: PathLike[str] | str | Callable[[Any], object],
        block_size: int = BLOCK_SIZE, shard_size: int = SHARD_SIZE, titles: Any = None,
        columns: Mapping[str, str] | None = None, library: str | None = None, user_items: Rated | None = None,
        user_features: Featured | None = None, exclude_seen: bool = True, exclude_items: Any = None,
        candidate_items: Any = None, unknown: Unknown = "raise", index: ItemIndex | None = None,
        show_progress: bool | None = None,
    ) -> int: ...  # fmt: skip
    def recommend_all(
        self,
        k: int = 10,
        *,
        users: Any = None,
        to: Any = None,
        block_size: int = BLOCK_SIZE,
        shard_size: int = SHARD_SIZE,
        titles: Any = None,
        columns: Mapping[str, str] | None = None,
        library: str | None = None,
        user_items: Any = None,
        user_features: Any = None,
        exclude_seen: bool = True,
        exclude_items: Any = None,
        candidate_items: Any = None,
        unknown: str = "raise",
        index: ItemIndex | None = None,
        show_progress: bool | None = None,
    ) -> Iterator[Block] | int:
        """Rank items for all users, block by block, so that memory use does not grow with the number of users.

        Parameters
        ----------
        k : int
            Number of items per user.
        users : array of ids or slice, optional
            Users of the fit; all of them by default, in the order of `user_factors`. ``slice(0, 1_000_000)`` is the
            first million of these, whatever their ids: to divide the users among processes or machines.
        to : path or function, optional
            | None: return an iterator of blocks.
            | the name of a ``.parquet`` (needs pyarrow) or ``.csv`` file: write the columns of `recommend_frame`. The
              file is written atomically and replaces an existing one.
            | a folder, new or one that exists, or any name without a suffix: write files ``part-00000.parquet`` and so
              on to it, of `shard_size` users each. A call that was interrupted goes on with the next file when it is
              repeated, and ends with the same bytes; a folder of another model, or of other arguments, is refused.
            | a function: call it with such a frame for each block.
        block_size : int
            Number of users ranked at a time.
        shard_size : int
            Number of users in each file of a folder.
        titles, columns, library
            As for `recommend_frame`; `library` applies to the frames passed to a function.
        user_items : sparse matrix or Interactions, optional
            As for `recommend`: interactions to exclude instead of those of the fit.
        user_features : as for `recommend`, optional
            Rank items for new users with these features instead of the users of the fit; `user_items` are then their
            interactions. They are named as by `recommend_frame`.
        exclude_seen, exclude_items, candidate_items, unknown
            As for `recommend`.
        index : ItemIndex, optional
            The result of `to_index`: search it, as its `search` does, instead of ranking all items.
        show_progress : bool, optional
            Whether to show a progress bar on stderr; None: only on a terminal.

        Returns
        -------
        iterator of (user ids, item ids, scores), or int
            Of shapes (b,), (b, k) and (b, k), bit-identical to what `recommend` returns. With `to`, the number of rows
            written; with a folder, those of all its files. All blocks are computed from the model as it was at the
            call, even if it changes meanwhile.

        Raises
        ------
        NotFittedError, IndexError, TypeError, ValueError
            As `recommend`, at the call rather than at the first block; if `to` can't be written to; and if it is a
            folder of other lists.
        BlockingIOError
            If another process writes to the same folder.
        ImportError
            If pyarrow, or the data frame library, is not installed.
        """
        model: Any = self
        work = Work(
            model, k, users, block_size, user_items, user_features, exclude_seen, exclude_items, candidate_items,
            unknown, index,
        )  # fmt: skip
        check_show_progress(show_progress)
        if to is None:
            if any(option is not None for option in (titles, columns, library)):
                raise ValueError(
                    "titles, columns and library apply to frames and files, but to=None returns arrays: pass to=, the "
                    "name of a file or a function that takes a frame"
                )
            return _named(model, work.blocks(show_progress))
        kind, shard_size = destination(to), check_integer("shard_size", shard_size, 1)
        names = column_names(columns, titles is not None)
        by_number = None if titles is None else titles_by_number(titles, _item_names(model))
        return _write(work, show_progress, to, kind, shard_size, by_number, names, library)

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


def _item_names(model: Any) -> NDArray[Any]:
    """Return the ids of all items, in the order of the rows."""
    names: NDArray[Any] = model._raw(np.arange(len(model._factors()[1])), "item")
    return names


def _named(model: Any, blocks: Iterator[Block]) -> Iterator[Block]:
    for users, items, scores in blocks:
        yield users, model._raw(items, "item"), scores


def _write(
    work: Work, show: bool | None, to: Any, kind: str, shard_size: int, titles: NDArray[Any] | None,
    names: dict[str, str], library: str | None,
) -> int:  # fmt: skip
    model = work.model
    users = model._ids_of("user")
    some_absent = work.absent is not None and bool(work.absent.any())  # their ids may be of another type
    if work.names is not None and (work.new or some_absent):
        users = work.names
        if callable(to):
            frames.make_frame({"user": users}, library or model._library)  # raises now rather than at their block
    written = 0
    if kind in (".parquet", "folder"):
        lists = ParquetLists(users, model._ids_of("item"), titles, work.item_factors.dtype, names)
        if kind == "folder":
            return write_folder(work, Path(to), lists, shard_size, show)
        with whole_file(to, "lists") as path, lists.open(path) as write_group, work.progress(show) as bar:
            for first, last in groups(range(work.n_users), lists.users_of_group(work.k)):
                written += write_group(work.lists(first, last, bar))
        return written
    with open_writer(to, list(names.values()), library or model._library) as write:
        for of_users, items, scores in work.blocks(show):
            called = None if titles is None else titles[np.maximum(items, 0)]
            table = long_table(of_users, model._raw(items, "item"), scores, called)
            write(renamed(table, names))
            written += len(table["rank"])
    return written
