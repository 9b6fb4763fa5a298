"""Approximate search among the items of a model, with an index of faiss, hnswlib or usearch."""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._utils.mapped import release
from ._utils.threads import resolve_num_threads
from ._utils.validation import check_boolean, check_choice, check_integer
from .data.csr import CSR
from .models._bulk import refuse_features_of_known_users
from .models._fit_loop import is_frozen

if TYPE_CHECKING:
    from ._typing import Featured, Lists, Rated

# (queries, count) -> row numbers of up to `count` distinct items per query, padded with -1
Find = Callable[[NDArray[np.float32], int], NDArray[np.int64]]

ADDED = 1 << 22  # numbers handed to a library at a time
MAX_FOUND = 1 << 22  # items retrieved at a time, at some 40 bytes each


class ItemVectors:
    """The vectors of items that an index holds, a block at a time: there is no second copy of all of them."""

    def __init__(self, model: Any, items: NDArray[Any]) -> None:
        self._model, self._items = model, items
        self.shape: tuple[int, int] = len(items), model._ranked(items[:1]).shape[1]

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield the numbers of some items, and their vectors."""
        step = max(1, ADDED // max(1, self.shape[1]))
        for start in range(0, len(self._items), step):
            rows = slice(start, min(start + step, len(self._items)))
            yield rows, self._of(rows)
            if isinstance(self._items, np.ndarray):
                release(self._items[rows])

    def whole(self) -> NDArray[np.float32]:
        """Return all vectors, which are those of the model if they are float32 and not changed for ranking."""
        return self._of(slice(None))

    def _of(self, rows: slice) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._model._ranked(self._items[rows]), np.float32)


class ItemIndex:
    """Index for approximate search among a model's items, as returned by `to_index`.

    The index ranks by inner product: biases are columns of the factors, and vectors are normalized if the model ranks
    by cosine. It holds float32 vectors in the order of ``item_ids``. The model rescores and reranks the items that the
    index retrieves, so that scores are bit-identical to those of `recommend`.

    To serve without this class, save ``index`` with its library, ``item_ids``, and the model's `query_vectors` of your
    users. The index returns row numbers of ``item_ids``; the inner products are the model's scores before its mean and
    sigmoid are applied, which preserve the order.

    Attributes
    ----------
    index : faiss.Index, hnswlib.Index or usearch.index.Index
        The native index, whose search parameters (``nprobe``, ``ef``, ``expansion_search``) may be set.
    item_ids : array, shape (n_items,)
        Item ids by row number in the index.
    library : str
    """

    def __init__(self, model: Any, library: str, **options: Any) -> None:
        check_choice("library", library, tuple(BUILDERS))
        build, package = BUILDERS[library]
        self._model, model = model, model._snapshot()
        items = model._side("item")
        known = list(inspect.signature(build).parameters)[2:]
        unknown = [name for name in options if name not in known]
        if unknown:
            raise TypeError(f"to_index({library!r}) has the options {', '.join(known)}, got {unknown[0]!r}")
        try:
            native = importlib.import_module(library)
        except ModuleNotFoundError:
            raise ImportError(
                f"to_index({library!r}) needs {package}, which is not installed: pip install {package}, or all three "
                "with pip install 'alternant[ann]'"
            ) from None
        vectors = ItemVectors(model, items)
        self._items = items if is_frozen(items) else items.copy()
        self._names = model._raw(np.arange(len(items)), "item")
        self._checked = model._version("item"), model._ids_of("item")
        self.library = library
        self.item_ids: NDArray[Any] = self._names.copy()
        self.index: Any
        self.index, self._find = build(native, vectors, **options)

    def __repr__(self) -> str:
        return f"ItemIndex({self.library!r}, {len(self._items):,} items, {self._items.shape[1]} columns)"

    def search(
        self,
        users: Any = None,
        k: int = 10,
        *,
        queries: NDArray[Any] | Sequence[float] | Sequence[Sequence[float]] | None = None,
        user_items: Rated | None = None,
        user_features: Featured | None = None,
        exclude_seen: bool = True,
    ) -> Lists:
        """Recommend items to users by approximate search.

        Lists are as long as those of `recommend`: if the index retrieves too few items, the model ranks all of them.

        Parameters
        ----------
        users : id, array of ids, or None
            Users of the model.
        k : int
            List length.
        queries : array, shape (m, f) or (f,), optional
            Alternative to `users`: factors, such as those returned by `fold_in_users`, or `query_vectors`. No items
            are excluded from their lists.
        user_items : sparse matrix or Interactions, optional
            As for `recommend`; without users and queries, interactions of new users to fold in.
        user_features : as for `recommend`, optional
            Without users and queries: features of new users, beside or in place of `user_items`.
        exclude_seen : bool
            Exclude the items that users have interacted with. The index then retrieves k items more than they have
            seen.

        Returns
        -------
        ids : array, shape (m, k), or (k,) for a single user or vector
        scores : array of the same shape
            As `recommend` returns them.

        Raises
        ------
        IndexError, TypeError, ValueError
            As `recommend`, if the number of columns of `queries` is not that of the factors, and if factors or ids of
            the items have changed since `to_index`; users may change, and items may be added, which are not found.
        """
        k = check_integer("k", k, 1)
        check_boolean("exclude_seen", exclude_seen)
        model, seen = self._model._snapshot(), None
        self._check_items(model)
        if queries is not None:
            if any(given is not None for given in (users, user_items, user_features)):
                raise ValueError("search takes users (with or without user_items) or queries, got both: pass one")
            vectors = self._check_queries(queries)
            shape = vectors.shape[:-1]
            vectors = np.ascontiguousarray(vectors.reshape(-1, self._items.shape[1]))
        elif users is None:
            vectors, seen = model._new_users(user_items, user_features)
            shape = (len(vectors),)
        else:
            refuse_features_of_known_users(user_features)
            numbers = model._numbers("users", users, "user")
            shape, numbers = numbers.shape, numbers.reshape(-1)
            if exclude_seen or user_items is not None:
                seen = model._seen(numbers, user_items)
            vectors = model._take("user", numbers)
        ids, scores = self._lists(model, vectors, k, seen if exclude_seen else None)
        return model._raw(ids.reshape(*shape, k), "item"), scores.reshape(*shape, k)

    def _lists(
        self, model: Any, queries: NDArray[Any], k: int, seen: CSR | None
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Return row numbers of items and scores for vectors of users, without the items in their rows of `seen`."""
        return self._search(model, queries, k, self._known(seen))

    def _check_items(self, model: Any) -> None:
        """Raise if the items have changed since the index was made."""
        version, ids = model._version("item"), model._ids_of("item")
        checked, checked_ids = self._checked
        if version and checked and version[0] is checked[0] and version[1] == checked[1] and ids is checked_ids:
            return
        items, n = model._side("item"), len(self._items)
        if not (
            items.dtype == self._items.dtype
            and np.array_equal(items[:n], self._items, equal_nan=True)
            and np.array_equal(model._raw(np.arange(n), "item"), self._names)
        ):
            raise ValueError(
                "search needs the items that the index was built from, but the model's items have changed since: "
                f"build it again with model.to_index({self.library!r})"
            )
        self._checked = version, ids

    def _known(self, seen: CSR | None) -> CSR | None:
        """Leave out items that the model has learned of since the index was made."""
        if seen is None or seen.shape[1] <= len(self._items):
            return seen
        known = seen.indices < len(self._items)
        indptr = np.concatenate([[0], np.cumsum(known)])[seen.indptr]
        return CSR.of(indptr, seen.indices[known], seen.data[known], (seen.shape[0], len(self._items)))

    def _check_queries(self, queries: Any) -> NDArray[Any]:
        vectors = np.asarray(queries)
        columns = self._items.shape[1]
        if vectors.ndim not in (1, 2) or vectors.shape[-1] != columns or vectors.dtype.kind not in "fiu":
            raise ValueError(
                f"queries must be numbers with {columns} columns, like the factors, got shape {vectors.shape} of "
                f"{vectors.dtype}: pass the result of query_vectors or fold_in_users"
            )
        return np.asarray(vectors, self._items.dtype)

    def _search(
        self, model: Any, queries: NDArray[Any], k: int, seen: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Search in batches of queries that retrieve similar numbers of items."""
        n = len(self._items)
        ids = np.full((len(queries), k), -1, np.int32)
        scores = np.full((len(queries), k), -np.inf, queries.dtype)
        wanted = np.full(len(queries), k, np.int64) if seen is None else k + np.diff(seen.indptr)
        fetch = np.minimum(np.exp2(np.ceil(np.log2(wanted))).astype(np.int64), n)
        for count in np.unique(fetch).tolist():
            rows = np.flatnonzero(fetch == count)
            for part in np.array_split(rows, max(1, -(-len(rows) * count // MAX_FOUND))):
                excluded = None if seen is None else seen.take(part)
                ids[part], scores[part] = self._best(model, queries[part], k, count, excluded)
        return ids, scores

    def _best(
        self, model: Any, queries: NDArray[Any], k: int, count: int, seen: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Retrieve `count` items and rank them by the model; rank all items for queries with short lists."""
        candidates = None
        if count < len(self._items):
            vectors = model._ranked(queries)
            found = np.sort(self._find(np.ascontiguousarray(vectors, np.float32), count), axis=1)
            valid = found >= 0
            candidates = np.concatenate([[0], np.cumsum(valid.sum(axis=1))]), found[valid]
        exclude = None if seen is None else (seen.indptr, seen.indices)
        ids, scores = model._rank(queries, self._items, k, exclude, candidates)
        short = np.flatnonzero(ids[:, -1] < 0)
        if candidates is not None and len(short):
            excluded = None if seen is None else seen.take(short)
            ids[short], scores[short] = self._best(model, queries[short], k, len(self._items), excluded)
        return ids, scores


# Indexes are built on one thread: a graph built by several threads would depend on their timing.


def _faiss(faiss: Any, vectors: ItemVectors, factory: str = "Flat") -> tuple[Any, Find]:
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, TypeError, NotImplementedError):
        raise ValueError(
            f"factory must be a string for faiss.index_factory, such as 'Flat' or 'IVF256,Flat', got {factory!r}"
        ) from None
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        if not index.is_trained:
            index.train(vectors.whole())
        for _, block in vectors.blocks():
            index.add(block)
    finally:
        faiss.omp_set_num_threads(threads)

    def find(queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        found: NDArray[np.int64] = index.search(queries, count)[1]
        return found

    return index, find


def _hnswlib(
    hnswlib: Any, vectors: ItemVectors, M: int = 16, ef_construction: int = 200, ef: int = 128,
    random_seed: int = 0, num_threads: int | None = None,
) -> tuple[Any, Find]:  # fmt: skip
    # Inner product is not a metric, but the extra column sqrt(max |y|^2 - |y_i|^2), which makes it one, lowered
    # recall@10 from 0.998 to 0.81 (ImplicitALS, f = 32, 6,000 planted items of norms 0 to 3, ef = 64; usearch alike).
    count, columns = vectors.shape
    index = hnswlib.Index(space="ip", dim=columns)
    index.init_index(
        max_elements=count, M=check_integer("M", M, 2),
        ef_construction=check_integer("ef_construction", ef_construction, 1),
        random_seed=check_integer("random_seed", random_seed, 0),
    )  # fmt: skip
    index.set_ef(check_integer("ef", ef, 1))
    threads = resolve_num_threads(num_threads)
    for rows, block in vectors.blocks():
        index.add_items(block, np.arange(rows.start, rows.stop), num_threads=1)
    lock, limit = threading.Lock(), count

    def find(queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        nonlocal limit
        with lock:  # ef must be at least `count`, and belongs to the index, not to the call
            ef = index.ef
            index.set_ef(max(ef, count))
            try:
                # Items with hundreds of duplicates may be linked only to these, and the graph then reaches too few
                # items at any ef. hnswlib then fails for all queries and leaks the memory of the result, so the lower
                # limit is kept for later calls.
                while limit:
                    try:
                        return np.asarray(index.knn_query(queries, min(count, limit), threads)[0], np.int64)
                    except RuntimeError:
                        limit = min(count, limit) // 2
            finally:
                index.set_ef(ef)
        return np.empty((len(queries), 0), np.int64)

    return index, find


def _usearch(
    _: Any, vectors: ItemVectors, connectivity: int = 16, expansion_add: int = 200,
    expansion_search: int = 128, dtype: str = "f32", num_threads: int | None = None,
) -> tuple[Any, Find]:  # fmt: skip
    index = importlib.import_module("usearch.index").Index(
        ndim=vectors.shape[1], metric="ip", dtype=dtype, connectivity=check_integer("connectivity", connectivity, 2),
        expansion_add=check_integer("expansion_add", expansion_add, 1),
        expansion_search=check_integer("expansion_search", expansion_search, 1),
    )  # fmt: skip
    threads = resolve_num_threads(num_threads)
    for rows, block in vectors.blocks():
        index.add(np.arange(rows.start, rows.stop), block, threads=1)

    def find(queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        matches = index.search(queries, count, threads=threads)
        keys = np.atleast_2d(np.asarray(matches.keys, np.int64))  # a single query has no padding
        counts = np.atleast_1d(np.asarray(getattr(matches, "counts", keys.shape[1])))
        return np.where(np.arange(keys.shape[1]) < counts[:, None], keys, -1)

    return index, find


BUILDERS: dict[str, tuple[Callable[..., tuple[Any, Find]], str]] = {
    "faiss": (_faiss, "faiss-cpu"),
    "hnswlib": (_hnswlib, "hnswlib"),
    "usearch": (_usearch, "usearch"),
}
