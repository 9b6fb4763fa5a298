"""CSR matrices as required by the kernels: `indptr` int64, `indices` int32 if they fit."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from .._utils.mapped import column_counts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PIECE = 1 << 15  # entries gathered at a time, so that their positions stay in the cache


@dataclass(frozen=True)
class CSR:
    """A sparse matrix in canonical form: indices ascending within each row, without duplicates.

    There are no stored zeros, except for models of ratings, for which a stored zero is a rating of 0.

    Not a `scipy.sparse.csr_array`, whose two index arrays share a dtype: from 2^31 entries on, all indices would take
    twice the memory.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[Any]
    data: NDArray[Any]
    shape: tuple[int, int]

    @classmethod
    def of(cls, indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any], shape: tuple[int, int]) -> CSR:
        """Wrap arrays that are already canonical, copying only to change a dtype, or for the alignment of kernels."""
        narrow = np.int32 if shape[1] <= np.iinfo(np.int32).max else np.int64
        end = int(indptr[-1])
        return cls(
            np.require(indptr, np.int64, ["C", "A"]),
            np.require(indices[:end], narrow, ["C", "A"]),
            np.require(data[:end], None, ["C", "A"]),
            (int(shape[0]), int(shape[1])),
        )

    def to_scipy(self) -> csr_array:
        """Return a SciPy array that shares memory where its index dtypes allow."""
        # SciPy has one dtype for both index arrays: given int64, it would widen the indices.
        narrow = len(self.indices) <= np.iinfo(self.indices.dtype).max
        indptr = self.indptr.astype(self.indices.dtype, copy=False) if narrow else self.indptr
        return scipy.sparse.csr_array((self.data, self.indices, indptr), shape=self.shape)

    def positions(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return the row and the column of every entry."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr)), self.indices

    def transpose(self) -> CSR:
        """Return the transpose, rows sorted."""
        other = scipy.sparse.csr_array(self.to_scipy().T)
        return CSR.of(other.indptr, other.indices, other.data, other.shape)

    def filter(self, keep: NDArray[np.bool_]) -> CSR:
        """Return the entries where `keep` (one boolean per entry) is true; the shape does not change."""
        before = np.concatenate([[0], np.cumsum(keep)])
        return CSR(before[self.indptr], self.indices[keep], self.data[keep], self.shape)

    def between(self, start: int, stop: int) -> CSR:
        """Return consecutive rows, whose entries share memory with these."""
        entries = slice(self.indptr[start], self.indptr[stop])
        indptr = self.indptr[start : stop + 1] - entries.start
        return CSR(indptr, self.indices[entries], self.data[entries], (stop - start, self.shape[1]))

    def take(self, rows: NDArray[np.int64]) -> CSR:
        """Return the chosen rows, in the order given; -1 is an empty row."""
        lengths = np.where(rows < 0, 0, self.indptr[rows + 1] - self.indptr[rows])
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        indices, data = (np.empty(indptr[-1], part.dtype) for part in (self.indices, self.data))
        shift = self.indptr[rows] - indptr[:-1]
        same = self.data.strides == (0,) and len(self.data) > 0  # of which NumPy would copy all to take a few
        if same:
            data[:] = self.data[0]
        cuts = np.unique(np.searchsorted(indptr, np.arange(0, indptr[-1], PIECE))).tolist()
        for first, last in pairwise([*cuts, len(rows)]):
            part = slice(int(indptr[first]), int(indptr[last]))
            entries = np.repeat(shift[first:last], lengths[first:last])
            entries += np.arange(part.start, part.stop)
            np.take(self.indices, entries, out=indices[part], mode="clip")  # without "clip", NumPy buffers the output
            if not same:
                np.take(self.data, entries, out=data[part], mode="clip")
        return CSR(indptr, indices, data, (len(rows), self.shape[1]))

    def column_counts(self) -> NDArray[np.int64]:
        """Return the number of entries of each column; memory-mapped entries are read a part at a time."""
        return column_counts(self.indices, self.shape[1])

    def replace(self, rows: NDArray[np.int64], by: CSR) -> CSR:
        """Return a matrix with some rows replaced; rows numbered from ``shape[0]`` on are appended."""
        stacked = CSR(
            np.concatenate([self.indptr, by.indptr[1:] + self.indptr[-1]]),
            np.concatenate([self.indices, by.indices]),
            np.concatenate([self.data, by.data]),
            (self.shape[0] + by.shape[0], max(self.shape[1], by.shape[1])),
        )
        order = np.arange(max(self.shape[0], rows.max(initial=-1) + 1))
        order[rows] = self.shape[0] + np.arange(len(rows))
        return stacked.take(order)
