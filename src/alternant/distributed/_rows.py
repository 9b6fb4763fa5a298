"""Shards of interactions in the memory of the driver."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR
from . import _shard
from ._cluster import Cluster


def bounds_of(counts: NDArray[np.int64], shards: int) -> list[int]:
    """Return the rows at which shards of about equal cost begin, and the number of rows; none is empty."""
    n = len(counts)
    shards = max(1, min(shards, n))
    before = np.concatenate([[0], np.cumsum(counts + 1)])  # a row without interactions costs something, too
    cuts = np.searchsorted(before, before[-1] * np.arange(1, shards) // shards)
    least, most = np.arange(1, shards), n - shards + np.arange(1, shards)
    cuts = np.clip(np.maximum.accumulate(cuts - least) + least, least, most)
    return [0, *cuts.tolist(), n]


class Shards(Protocol):
    """A source whose users have been divided."""

    bounds: list[int]  # the rows at which the shards begin, and the number of users

    def create(self, cluster: Cluster, number: int, address: str) -> Any:
        """Return a future of making a shard on a worker."""

    def made(self) -> None:
        """Free what was needed to make the shards for the first time."""

    def item_ids(self) -> NDArray[Any]:
        """Return the ids of the items."""

    def attributes(self) -> dict[str, Any]:
        """Return the model's attributes that name its users and items."""

    def places(self, model: Any, kind: str) -> NDArray[np.int64]:
        """Return the row numbers of the model's users or items among those of the source; -1 for those it has not."""


class RowShards:
    """Ranges of the rows of a matrix, sent to the workers."""

    def __init__(self, rows: CSR, ids: dict[str, Any], shards: int) -> None:
        self.rows, self.ids, self.n_items = rows, ids, rows.shape[1]
        self.bounds = bounds_of(np.diff(rows.indptr), shards)

    def create(self, cluster: Cluster, number: int, address: str) -> Any:
        """Return a future of making a shard on a worker."""
        first, last = list(itertools.pairwise(self.bounds))[number]
        indptr = self.rows.indptr[first : last + 1]
        entries = slice(int(indptr[0]), int(indptr[-1]))
        part = CSR(
            indptr - indptr[0], self.rows.indices[entries], self.rows.data[entries], (last - first, self.n_items)
        )
        return cluster.client.submit(
            _shard.create, cluster.key, number, _shard.of_rows, cluster.share(part, address), first, self._ids(number),
            workers=[address], pure=False,
        )  # fmt: skip

    def _ids(self, number: int) -> NDArray[Any] | None:
        ids = self.ids["_user_ids"]
        return None if ids is None else ids.values[self.bounds[number] : self.bounds[number + 1]]

    def item_ids(self) -> NDArray[Any]:
        """Return the ids of the items."""
        ids = self.ids["_item_ids"]
        return np.arange(self.n_items) if ids is None else np.asarray(ids.values)

    def made(self) -> None:
        """Do nothing: the rows are the caller's."""

    def attributes(self) -> dict[str, Any]:
        """Return the model's attributes that name its users and items."""
        return self.ids

    def places(self, model: Any, kind: str) -> NDArray[np.int64]:
        """Return the row numbers of the model's users or items: they come first."""
        return np.arange(model._count(kind))
