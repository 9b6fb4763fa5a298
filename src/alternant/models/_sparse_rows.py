"""Sparse user factors: a row holds the items that the user has interacted with.

Imported where needed: `scipy.sparse` takes longer to import than all of this package.
"""

from __future__ import annotations

from typing import Any

import scipy.sparse
from numpy.typing import NDArray

from ..data.csr import CSR


class SparseRows(scipy.sparse.csr_array):
    """A SciPy CSR array with the `len` and `tobytes` of an array, which NumPy can convert to one.

    It thus replaces dense user factors wherever these are only counted, sliced, indexed, copied or compared.
    """

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getstate__(self) -> dict[str, Any]:
        """Return a copy of the attributes: SciPy adds flags to them whenever a thread asks whether rows are sorted."""
        return dict(self.__dict__)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return a dense array."""
        if copy is False:
            raise ValueError("a sparse array can't be converted to a dense one without a copy: leave out copy=False")
        return self.toarray().astype(self.dtype if dtype is None else dtype, copy=False)

    def tobytes(self) -> bytes:
        """Return the bytes of the stored entries, their columns and the row pointers."""
        return b"".join(part.tobytes() for part in (self.data, self.indices, self.indptr))

    @classmethod
    def of(cls, rows: CSR) -> SparseRows:
        """Wrap rows in canonical form, sharing memory where dtypes allow."""
        return cls(rows.to_scipy())

    def to_csr(self) -> CSR:
        """Return the rows as a `CSR`, sharing memory where dtypes allow."""
        return CSR.of(self.indptr, self.indices, self.data, self.shape)


def sparse_rows(factors: Any) -> SparseRows:
    """Convert factors to sparse rows if they are not already."""
    return factors if isinstance(factors, SparseRows) else SparseRows(factors)
