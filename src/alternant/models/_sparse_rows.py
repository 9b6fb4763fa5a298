"""Sparse factors: a user's row holds the items of its history, a column of items what each of these contributes.

Imported where needed: `scipy.sparse` takes longer to import than all of this package.
"""

from __future__ import annotations

from typing import Any

import scipy.sparse
from numpy.typing import NDArray

from ..data.csr import CSR


class SparseFactors:
    """What replaces dense factors wherever these are only counted, sliced, indexed, copied or compared."""

    shape: Any
    dtype: Any
    data: NDArray[Any]
    indices: NDArray[Any]
    indptr: NDArray[Any]

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getstate__(self) -> dict[str, Any]:
        """Return a copy of the attributes: SciPy adds flags to them whenever a thread asks whether rows are sorted."""
        return dict(self.__dict__)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return a dense array."""
        if copy is False:
            raise ValueError("a sparse array can't be converted to a dense one without a copy: leave out copy=False")
        mine: Any = self
        dense: NDArray[Any] = mine.toarray().astype(self.dtype if dtype is None else dtype, copy=False)
        return dense

    def tobytes(self) -> bytes:
        """Return the bytes of the stored entries, their positions and the pointers to them."""
        return b"".join(part.tobytes() for part in (self.data, self.indices, self.indptr))


class SparseRows(SparseFactors, scipy.sparse.csr_array):
    """A SciPy CSR array with the `len` and `tobytes` of an array, which NumPy can convert to one."""

    @classmethod
    def of(cls, rows: CSR) -> SparseRows:
        """Wrap rows in canonical form, sharing memory where dtypes allow."""
        return cls(rows.to_scipy())

    def to_csr(self) -> CSR:
        """Return the rows as a `CSR`, sharing memory where dtypes allow."""
        return CSR.of(self.indptr, self.indices, self.data, self.shape)


class SparseColumns(SparseFactors, scipy.sparse.csc_array):
    """The same for item factors, by column, that is, as the transpose of rows."""

    @classmethod
    def of(cls, columns: CSR) -> SparseColumns:
        """Wrap the transpose of rows in canonical form, sharing memory where dtypes allow."""
        rows = columns.to_scipy()
        return cls((rows.data, rows.indices, rows.indptr), shape=columns.shape[::-1])

    def to_csr(self) -> CSR:
        """Return the columns as the rows of a `CSR`, sharing memory where dtypes allow."""
        return CSR.of(self.indptr, self.indices, self.data, self.shape[::-1])


def sparse_rows(factors: Any) -> SparseRows:
    """Convert factors to sparse rows if they are not already, as when they were set by hand."""
    return factors if isinstance(factors, SparseRows) else SparseRows(factors)


def sparse_columns(factors: Any) -> SparseColumns:
    """Convert factors to sparse columns in canonical form if they are not already."""
    if isinstance(factors, SparseColumns):
        return factors
    columns = SparseColumns(factors, copy=True)
    columns.sum_duplicates()
    return columns
