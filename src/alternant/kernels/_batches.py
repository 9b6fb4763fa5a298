"""Batches of rows, and their entries by column: the schedule of steps with many negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _checks as check

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class Batches(NamedTuple):
    """The entries of a sparse matrix in batches of consecutive rows, and by column within each batch.

    Batch ``b`` has the rows ``row_edges[b]:row_edges[b + 1]`` and the distinct columns
    ``columns[column_edges[b] : column_edges[b + 1]]``, ascending. The entries of the column at place ``c`` of `columns`
    are ``entries[starts[c] : starts[c + 1]]``, and their rows are at the same places of `rows`.
    """

    row_edges: NDArray[np.int64]  # (b + 1,)
    column_edges: NDArray[np.int64]  # (b + 1,)
    columns: NDArray[np.int32]  # (c,)
    starts: NDArray[np.int64]  # (c + 1,)
    entries: NDArray[np.int64]  # (nnz,)
    rows: NDArray[np.int32]  # (nnz,)

    @classmethod
    def of(cls, indptr: NDArray[np.int64], indices: NDArray[np.int32], size: int) -> Batches:
        """Return batches of `size` rows; the last has the rest."""
        m = len(indptr) - 1
        check.fits_int32(rows=m)
        row_edges = np.append(np.arange(0, m, size), m).astype(np.int64)
        rows = np.repeat(np.arange(m, dtype=np.int32), np.diff(indptr))
        batch = rows // size
        entries = np.lexsort((indices, batch))  # stable: entries of a column keep their order
        rows, batch, sorted_columns = rows[entries], batch[entries], indices[entries]
        first = np.ones(len(entries), np.bool_)
        first[1:] = (sorted_columns[1:] != sorted_columns[:-1]) | (batch[1:] != batch[:-1])
        starts = np.append(np.flatnonzero(first), len(entries)).astype(np.int64, copy=False)
        counts = np.bincount(batch[first], minlength=len(row_edges) - 1)
        column_edges = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(row_edges, column_edges, sorted_columns[first], starts, entries.astype(np.int64, copy=False), rows)

    @property
    def number(self) -> int:
        """The number of batches."""
        return len(self.row_edges) - 1

    def longest(self, indptr: NDArray[np.int64]) -> tuple[int, int, int]:
        """Return the most rows, distinct columns and entries of a batch."""
        edges = self.row_edges, self.column_edges, indptr[self.row_edges]
        rows, columns, entries = (int(np.diff(each).max(initial=0)) for each in edges)
        return rows, columns, entries

    def check(self, indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> None:
        """Raise an error unless these are batches of this matrix."""
        size = int(np.diff(self.row_edges).max(initial=1)) if isinstance(self.row_edges, np.ndarray) else 1
        expected = Batches.of(indptr, indices, size)
        pairs: Iterable[tuple[Any, Any]] = zip(self, expected, strict=True)
        for mine, right in pairs:
            if not isinstance(mine, np.ndarray) or mine.dtype != right.dtype or not np.array_equal(mine, right):
                raise ValueError("batches must be those of indptr and indices: pass Batches.of(indptr, indices, size)")


class Ranking(NamedTuple):
    """A loss of a row's score s of a positive and the scores s_j of its negatives.

    ``"softmax"`` is ``log(1 + sum_j exp((s_j - s) / temperature))``, the sampled softmax; ``"contrastive"`` is
    ``1 - s + weight * mean_j max(0, s_j - margin)``, the cosine contrastive loss (Mao et al. 2021).
    """

    loss: str
    temperature: float = 0.1
    margin: float = 0.5
    weight: float = 100.0
