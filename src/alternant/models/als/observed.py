"""The interactions of a fit in both orientations, in memory or memory-mapped, read in blocks of entries.

Sums over all entries are sums of blocks of `ENTRIES`, so that they have the same bits wherever the entries are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy
from numpy.typing import NDArray

from ..._utils.mapped import ENTRIES, blocked_sum, entry_blocks, entry_ranges, release
from ..._utils.threads import map_parallel
from ...data.csr import CSR

if TYPE_CHECKING:
    from ...data.store import Store

DIGITS = 16  # of a value, counted at a time to find a median


@dataclass(frozen=True)
class Observed:
    """The interactions as rows of users and as rows of items, whose values are used in `dtype`."""

    users: CSR
    items: CSR
    dtype: np.dtype[Any]
    num_threads: int = 1
    name: str | None = None  # a digest of interactions that are on disk; None: they are in memory
    folder: Path | None = None  # of interactions that are on disk

    @classmethod
    def of(cls, rows: CSR, num_threads: int = 1) -> Self:
        """Wrap interactions in memory."""
        return cls(rows, rows.transpose(), rows.data.dtype, num_threads)

    @classmethod
    def of_store(cls, name: str, store: Store, dtype: np.dtype[Any], num_threads: int, zeros: bool) -> Self:
        """Wrap interactions in a store, which is verified; stored zeros are refused unless `zeros`."""
        if store.has_zeros and not zeros:
            raise ValueError(
                f"{name} must not contain zeros if they are in a store, as this model does not learn from them: leave "
                "the rows with a value of 0 out and read the others into another store"
            )
        store.verify()
        observed = cls(store.users, store.items, dtype, num_threads, store.digest, store.path)
        smallest, largest, _ = observed.range
        if not np.isfinite(largest) or (smallest == 0 and not store.has_zeros):
            raise ValueError(
                f"{name} must be finite and not round to 0 in {dtype}, got values from {store.least:g} to "
                f"{store.greatest:g}: scale them, or use dtype='float64'"
            )
        return observed

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and number of items."""
        return self.users.shape

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return len(self.users.indices)

    @property
    def on_disk(self) -> bool:
        """Whether the entries are memory-mapped."""
        return self.name is not None

    @cached_property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of entries of the users and of the items."""
        return np.diff(self.users.indptr), np.diff(self.items.indptr)

    def sizes(self) -> Iterator[NDArray[Any]]:
        """Yield the absolute values, a block at a time; the block is valid until the next one."""
        for part in entry_blocks(self.users.data):
            yield np.abs(part.astype(self.dtype, copy=False))

    @cached_property
    def range(self) -> tuple[float, float, bool]:
        """The smallest and the largest absolute value (infinity and 0 without entries), and whether any is negative."""
        smallest, largest, negative = np.inf, 0.0, False
        if self.users.data.strides == (0,) and self.nnz:  # all are the same
            only = float(self.users.data[0])
            return abs(only), abs(only), only < 0
        for part in entry_blocks(self.users.data):
            with np.errstate(over="ignore"):  # the caller refuses what is infinite
                size = part.astype(self.dtype, copy=False)
            if part.min() < 0:
                negative, size = True, np.abs(size)
            smallest, largest = min(smallest, float(size.min())), max(largest, float(size.max()))
        return smallest, largest, negative

    def mean(self, of: Callable[[NDArray[Any]], NDArray[Any]]) -> float:
        """Return the mean of a function of the absolute values, in float64."""
        if self.range[0] == self.range[1]:
            return float(of(np.full(1, self.range[0], self.dtype)).astype(np.float64)[0])
        return blocked_sum(of(part) for part in self.sizes()) / max(1, self.nnz)

    def mean_value(self, weight: NDArray[Any] | None = None) -> float:
        """Return the mean of the values, with these weights."""
        if weight is not None:
            return float(np.average(self.users.data.astype(np.float64), weights=weight))
        return blocked_sum(part.astype(self.dtype) for part in entry_blocks(self.users.data)) / max(1, self.nnz)

    def median(self) -> float:
        """Return the median of the absolute values, as `numpy.median` does."""
        if not self.on_disk:
            return float(np.median(np.abs(self.users.data)))
        middle = [self._of_rank((self.nnz - 1) // 2), self._of_rank(self.nnz // 2)]
        return float(np.mean(np.array(middle, self.dtype)))

    def _of_rank(self, rank: int) -> Any:
        """Return the absolute value of a rank, by counting digits: positive numbers have the order of their bits."""
        if self.range[0] == self.range[1]:
            return self.dtype.type(self.range[0])
        bits = np.dtype(f"u{self.dtype.itemsize}")
        known, width = 0, 8 * self.dtype.itemsize
        for shift in range(width - DIGITS, -1, -DIGITS):
            counts = np.zeros(1 << DIGITS, np.int64)
            for size in self.sizes():
                number = size.view(bits)
                if shift + DIGITS < width:
                    number = number[number >> bits.type(shift + DIGITS) == known]
                digits = (number >> bits.type(shift)) & bits.type((1 << DIGITS) - 1)
                counts += np.bincount(digits.astype(np.int64), minlength=1 << DIGITS)
            below = np.cumsum(counts)
            digit = int(np.searchsorted(below, rank, side="right"))
            rank -= int(below[digit - 1]) if digit else 0
            known = known << DIGITS | digit
        return np.array(known, bits).view(self.dtype)[()]

    def of_users(self, by_item: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return, for each user, the sum of a number (or row) of each of the user's items."""
        return row_sums(self.users, by_item, self.num_threads)

    def of_items(self, by_user: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return, for each item, the sum of a number (or row) of each of the item's users."""
        return row_sums(self.items, by_user, self.num_threads)


def row_sums(
    rows: CSR, values: NDArray[np.float64], num_threads: int,
    weights: Callable[[int, int], NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """Return ``A @ values``; each sum is in the order of the entries.

    A has an entry for every one of `rows`, whose value is 1, or what `weights` returns for a range of rows.
    """
    out = np.zeros((rows.shape[0], *values.shape[1:]))
    ones = np.ones(min(len(rows.indices), max(ENTRIES, longest(rows.indptr))))

    def add(block: tuple[int, int]) -> None:
        first, last = block
        begin, end = rows.indptr[first], rows.indptr[last]
        indices = rows.indices[begin:end]
        data = ones[: end - begin] if weights is None else weights(first, last)
        part = (data, indices, rows.indptr[first : last + 1] - begin)
        out[first:last] = scipy.sparse.csr_array(part, shape=(last - first, len(values))) @ values
        release(indices, rows.data[begin:end])

    map_parallel(add, entry_ranges(rows.indptr, ENTRIES), num_threads)
    return out


def longest(indptr: NDArray[np.int64]) -> int:
    """Return the number of entries of the longest row."""
    return int(np.diff(indptr).max(initial=0))
