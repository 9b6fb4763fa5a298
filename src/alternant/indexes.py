"""The items of a model in an index of faiss, hnswlib or usearch, for approximate search."""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._utils.threads import resolve_num_threads
from ._utils.validation import check_boolean, check_choice, check_integer
from .data.csr import CSR

# (queries, how many at most) -> row numbers of items, all different, -1 where there are no more
Find = Callable[[NDArray[np.float32], int], NDArray[np.int64]]

MOST_FOUND = 1 << 22  # items found at a time: what is held of them is some 40 bytes each


class ItemIndex:
    """Approximate search among a model's items; made by `to_index`.

    The index ranks by inner product: biases are columns of the factors already, and where the model ranks by cosine,
    the vectors are of length 1. It holds float32, in the order of ``item_ids``. What it finds is scored and ranked
    anew by the model itself, so that scores are those of `recommend` to the bit, whatever the library approximates.

    To serve without this class, save ``index`` by its library's own function, ``item_ids``, and what the model's
    `query_vectors` returns for your users: the index finds the row numbers of ``item_ids``. Their inner products are
    a model's scores up to its mean and sigmoid, which change no order.

    Attributes
    ----------
    index : faiss.Index, hnswlib.Index or usearch.index.Index
        The native index, whose parameters for searching (``nprobe``, ``ef``, ``expansion_search``) may be set.
    item_ids : array, shape (n_items,)
        What the row numbers in the index are called.
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
        vectors = np.ascontiguousarray(model._ranked(items), np.float32)
        self._items = items
        self.library = library
        self.item_ids: NDArray[Any] = model._raw(np.arange(len(items)), "item")
        self.index, self._find = build(native, vectors, **options)

    def __repr__(self) -> str:
        return f"ItemIndex({self.library!r}, {len(self._items):,} items, {self._items.shape[1]} columns)"

    def search(
        self,
        users: Any = None,
        k: int = 10,
        *,
        queries: Any = None,
        user_items: Any = None,
        exclude_seen: bool = True,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the best items of users, as `recommend` returns them, but approximately.

        Lists are as full as those of `recommend`: where the library finds too few items, the model ranks them all.

        Parameters
        ----------
        users : id, array of ids, or None
            Users of the model.
        k : int
            Length of the lists.
        queries : array, shape (m, f) or (f,), optional
            Instead of `users`: factors, such as `fold_in_users` returns, or vectors of `query_vectors`. Nothing is
            left out of their lists.
        user_items : sparse matrix or Interactions, optional
            As for `recommend`; with neither users nor queries, new users, who are folded in.
        exclude_seen : bool
            Leave out what users have interacted with: k items more than they have seen are fetched from the index.

        Returns
        -------
        ids : array, shape (m, k), or (k,) for a single user or vector
        scores : array of the same shape
            As `recommend` returns them.

        Raises
        ------
        IndexError, TypeError, ValueError
            As `recommend`, and if `queries` have another number of columns than the factors.
        """
        k = check_integer("k", k, 1)
        check_boolean("exclude_seen", exclude_seen)
        model, seen = self._model._snapshot(), None
        if queries is not None:
            if users is not None or user_items is not None:
                raise ValueError("search takes users (with user_items or without) or queries, got both: pass one")
            vectors = self._check_queries(queries)
            shape = vectors.shape[:-1]
            vectors = np.ascontiguousarray(vectors.reshape(-1, self._items.shape[1]))
        elif users is None:
            vectors, seen = model._new_users(user_items)
            shape = (len(vectors),)
        else:
            numbers = model._numbers("users", users, "user")
            shape, numbers = numbers.shape, numbers.reshape(-1)
            if exclude_seen or user_items is not None:
                seen = model._seen(numbers, user_items)
            vectors = model._take("user", numbers)
        ids, scores = self._search(model, vectors, k, self._known(seen) if exclude_seen else None)
        return model._raw(ids.reshape(*shape, k), "item"), scores.reshape(*shape, k)

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
                f"queries must be numbers with one column for each of the {columns} of the factors, got shape "
                f"{vectors.shape} of {vectors.dtype}: pass what query_vectors or fold_in_users returns"
            )
        return np.asarray(vectors, self._items.dtype)

    def _search(
        self, model: Any, queries: NDArray[Any], k: int, seen: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Search for queries that need like numbers of items together."""
        n = len(self._items)
        ids = np.full((len(queries), k), -1, np.int32)
        scores = np.full((len(queries), k), -np.inf, queries.dtype)
        wanted = np.full(len(queries), k, np.int64) if seen is None else k + np.diff(seen.indptr)
        fetch = np.minimum(np.exp2(np.ceil(np.log2(wanted))).astype(np.int64), n)
        for many in np.unique(fetch).tolist():
            rows = np.flatnonzero(fetch == many)
            for part in np.array_split(rows, max(1, -(-len(rows) * many // MOST_FOUND))):
                left_out = None if seen is None else seen.take(part)
                ids[part], scores[part] = self._best(model, queries[part], k, many, left_out)
        return ids, scores

    def _best(
        self, model: Any, queries: NDArray[Any], k: int, many: int, seen: Any
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Fetch so many items and let the model rank them, and all items for queries whose lists they don't fill."""
        candidates = None
        if many < len(self._items):
            vectors = model._ranked(queries)
            found = np.sort(self._find(np.ascontiguousarray(vectors, np.float32), many), axis=1)
            there = found >= 0
            candidates = np.concatenate([[0], np.cumsum(there.sum(axis=1))]), found[there]
        exclude = None if seen is None else (seen.indptr, seen.indices)
        ids, scores = model._rank(queries, self._items, k, exclude, candidates)
        short = np.flatnonzero(ids[:, -1] < 0)
        if candidates is not None and len(short):
            left_out = None if seen is None else seen.take(short)
            ids[short], scores[short] = self._best(model, queries[short], k, len(self._items), left_out)
        return ids, scores


# The libraries. All construct on one thread: the graph of several would depend on their timing.


def _faiss(faiss: Any, vectors: NDArray[np.float32], factory: str = "Flat") -> tuple[Any, Find]:
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, TypeError, NotImplementedError):
        raise ValueError(
            f"factory must be what faiss.index_factory takes, such as 'Flat' or 'IVF256,Flat', got {factory!r}"
        ) from None
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index.train(vectors)
        index.add(vectors)
    finally:
        faiss.omp_set_num_threads(threads)

    def find(queries: NDArray[np.float32], many: int) -> NDArray[np.int64]:
        found: NDArray[np.int64] = index.search(queries, many)[1]
        return found

    return index, find


def _hnswlib(
    hnswlib: Any, vectors: NDArray[np.float32], M: int = 16, ef_construction: int = 200, ef: int = 128,
    random_seed: int = 0, num_threads: int | None = None,
) -> tuple[Any, Find]:  # fmt: skip
    # Inner product is no metric, but with a column sqrt(max |y|^2 - |y_i|^2), which turns it into a distance, recall@10
    # fell from 0.998 to 0.81 (ImplicitALS, f = 32, 6,000 planted items of norms 0 to 3, ef = 64, usearch alike).
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(
        max_elements=len(vectors), M=check_integer("M", M, 2),
        ef_construction=check_integer("ef_construction", ef_construction, 1),
        random_seed=check_integer("random_seed", random_seed, 0),
    )  # fmt: skip
    index.set_ef(check_integer("ef", ef, 1))
    threads = resolve_num_threads(num_threads)
    index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
    lock, most = threading.Lock(), len(vectors)

    def find(queries: NDArray[np.float32], many: int) -> NDArray[np.int64]:
        nonlocal most
        with lock:  # ef, which must not be below what is asked for, is one for all
            usual = index.ef
            index.set_ef(max(usual, many))
            try:
                # Items with hundreds of equals may be linked to those alone: then the graph reaches too few, whatever
                # ef is. hnswlib answers none of the queries then, and never frees what it took for the answer, so
                # that it is not asked for so many again.
                while most:
                    try:
                        return np.asarray(index.knn_query(queries, min(many, most), threads)[0], np.int64)
                    except RuntimeError:
                        most = min(many, most) // 2
            finally:
                index.set_ef(usual)
        return np.empty((len(queries), 0), np.int64)

    return index, find


def _usearch(
    _: Any, vectors: NDArray[np.float32], connectivity: int = 16, expansion_add: int = 200,
    expansion_search: int = 128, dtype: str = "f32", num_threads: int | None = None,
) -> tuple[Any, Find]:  # fmt: skip
    index = importlib.import_module("usearch.index").Index(
        ndim=vectors.shape[1], metric="ip", dtype=dtype, connectivity=check_integer("connectivity", connectivity, 2),
        expansion_add=check_integer("expansion_add", expansion_add, 1),
        expansion_search=check_integer("expansion_search", expansion_search, 1),
    )  # fmt: skip
    threads = resolve_num_threads(num_threads)
    index.add(np.arange(len(vectors)), vectors, threads=1)

    def find(queries: NDArray[np.float32], many: int) -> NDArray[np.int64]:
        matches = index.search(queries, many, threads=threads)
        keys = np.atleast_2d(np.asarray(matches.keys, np.int64))  # of a single query, only as many as were found
        counts = np.atleast_1d(np.asarray(getattr(matches, "counts", keys.shape[1])))
        return np.where(np.arange(keys.shape[1]) < counts[:, None], keys, -1)

    return index, find


BUILDERS: dict[str, tuple[Callable[..., tuple[Any, Find]], str]] = {
    "faiss": (_faiss, "faiss-cpu"),
    "hnswlib": (_hnswlib, "hnswlib"),
    "usearch": (_usearch, "usearch"),
}
