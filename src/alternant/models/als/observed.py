"""The interactions of a fit in both orientations, in memory or memory-mapped, read in blocks of entries.

Sums over all entries are sums of blocks of `mapped.ENTRIES`, so that they have the same bits wherever the entries are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import blocked_sum, entry_blocks, entry_ranges, prefetch, release
from ..._utils.threads import weighted_sum
from ...data.csr import CSR
from ...kernels import active_backend

if TYPE_CHECKING:
    from ...data.store import Store

ENTRIES_PER_SUM = 1 << 22  # whose rows are added by one call of a kernel
DIGITS = 16  # of a value, counted at a time to find a median
PROBE_BYTES = 1 << 29  # of the users' numbers at a time


# From the numbers of interactions of users to numbers such as their weights.
OfCounts = Callable[[NDArray[np.int64]], NDArray[np.float64]]


class Statistics(ABC):
    """What the rules of ``"auto"`` read of the interactions of a fit: sums over all of them, wherever they are."""

    dtype: np.dtype[Any]

    @property
    @abstractmethod
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of entries of the users and of the items."""

    @property
    @abstractmethod
    def range(self) -> tuple[float, float, bool]:
        """The smallest and the largest absolute value (infinity and 0 without entries), and whether any is negative."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and number of items."""
        return len(self.counts[0]), len(self.counts[1])

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return int(self.counts[0].sum())

    # Sums over the users

    @abstractmethod
    def sum_of_sizes(self, of: Callable[[NDArray[Any]], NDArray[Any]]) -> float:
        """Return the sum of a function of the absolute values, in float64."""

    @abstractmethod
    def digits(self, shift: int, known: int) -> NDArray[np.int64]:
        """Count the absolute values by `DIGITS` of their bits, among those whose higher bits are `known`."""

    @abstractmethod
    def joint(self, d: OfCounts, e: NDArray[np.float64]) -> float:
        """Return ``sum d_u e_i`` over the entries."""

    @abstractmethod
    def noise(self, d: OfCounts, e: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return sums for the threshold of the regularization.

        With ``r_u = d_u^2 sum e_i^2`` over the items of a user, these are ``sum r_u``, ``sum r_u^2`` and, over the
        entries, ``sum d_u^4 e_i^4``; and ``sum d_u^2`` over the users of each item.
        """

    @abstractmethod
    def squared(self, d: OfCounts, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``A^T diag(d^2) A v``, where A has a 1 for each entry, for the columns of v."""

    # What follows from them

    def mean(self, of: Callable[[NDArray[Any]], NDArray[Any]]) -> float:
        """Return the mean of a function of the absolute values, in float64."""
        if self.range[0] == self.range[1]:
            return float(of(np.full(1, self.range[0], self.dtype)).astype(np.float64)[0])
        return self.sum_of_sizes(of) / max(1, self.nnz)

    def median(self) -> float:
        """Return the median of the absolute values, as `numpy.median` does."""
        middle = [self._of_rank((self.nnz - 1) // 2), self._of_rank(self.nnz // 2)]
        return float(np.mean(np.array(middle, self.dtype)))

    def _of_rank(self, rank: int) -> Any:
        """Return the absolute value of a rank, by counting digits: positive numbers have the order of their bits."""
        if self.range[0] == self.range[1]:
            return self.dtype.type(self.range[0])
        known = 0
        for shift in range(8 * self.dtype.itemsize - DIGITS, -1, -DIGITS):
            below = np.cumsum(self.digits(shift, known))
            digit = int(np.searchsorted(below, rank, side="right"))
            rank -= int(below[digit - 1]) if digit else 0
            known = known << DIGITS | digit
        return np.array(known, f"u{self.dtype.itemsize}").view(self.dtype)[()]


@dataclass(frozen=True)
class Observed(Statistics):
    """The interactions as rows of users and as rows of items, whose values are used in `dtype`."""

    users: CSR
    items: CSR
    dtype: np.dtype[Any]
    num_threads: int = 1
    folder: Path | None = None  # of interactions that are on disk; None: they are in memory

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
        observed = cls(store.users, store.items, dtype, num_threads, store.path)
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
        return self.folder is not None

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

    def sum_of_sizes(self, of: Callable[[NDArray[Any]], NDArray[Any]]) -> float:
        """Return the sum of a function of the absolute values, in float64."""
        return blocked_sum(of(part) for part in self.sizes())

    def mean_value(self, weight: NDArray[Any] | None = None) -> float:
        """Return the mean of the values, with these weights."""
        if weight is not None:
            return float(np.average(self.users.data.astype(np.float64), weights=weight))
        return self.sum_of_values() / max(1, self.nnz)

    def sum_of_values(self) -> float:
        """Return the sum of the values, in float64."""
        return blocked_sum(part.astype(self.dtype) for part in entry_blocks(self.users.data))

    def median(self) -> float:
        """Return the median of the absolute values, as `numpy.median` does."""
        return super().median() if self.on_disk else float(np.median(np.abs(self.users.data)))

    def digits(self, shift: int, known: int) -> NDArray[np.int64]:
        """Count the absolute values by `DIGITS` of their bits, among those whose higher bits are `known`."""
        bits, counts = np.dtype(f"u{self.dtype.itemsize}"), np.zeros(1 << DIGITS, np.int64)
        for size in self.sizes():
            number = size.view(bits)
            if shift + DIGITS < 8 * bits.itemsize:
                number = number[number >> bits.type(shift + DIGITS) == known]
            digits = (number >> bits.type(shift)) & bits.type((1 << DIGITS) - 1)
            counts += np.bincount(digits.astype(np.int64), minlength=1 << DIGITS)
        return counts

    def joint(self, d: OfCounts, e: NDArray[np.float64]) -> float:
        """Return ``sum d_u e_i`` over the entries."""
        return weighted_sum(d(self.counts[0]), self.of_users(e))

    def noise(self, d: OfCounts, e: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return sums for the threshold of the regularization."""
        d_u = d(self.counts[0])
        r = d_u**2 * self.of_users(e**2)
        sums = np.array([r.sum(), (r**2).sum(), weighted_sum(d_u**4, self.of_users(e**4))])
        return sums, self.of_items(d_u**2)

    def squared(self, d: OfCounts, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``A^T diag(d^2) A v``, where A has a 1 for each entry, for the columns of v."""
        weight, out = d(self.counts[0])[:, None] ** 2, np.empty_like(v)
        at_once = max(1, PROBE_BYTES // (8 * max(1, len(weight))))
        for start in range(0, v.shape[1], at_once):
            some = slice(start, start + at_once)
            of_users = self.of_users(np.ascontiguousarray(v[:, some]))
            of_users *= weight
            out[:, some] = self.of_items(of_users)
        return out

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
    columns = np.require(values if values.ndim == 2 else values[:, None], requirements=["C", "A"])
    out = np.empty((rows.shape[0], columns.shape[1]))
    multiply = active_backend().multiply_sparse_dense
    blocks = entry_ranges(rows.indptr, ENTRIES_PER_SUM)
    for number, (first, last) in enumerate(blocks):
        begin, end = rows.indptr[first], rows.indptr[last]
        if number + 1 < len(blocks):
            prefetch(rows.indices[end : rows.indptr[blocks[number + 1][1]]])
        indices = rows.indices[begin:end]
        data = None if weights is None else weights(first, last)
        multiply((rows.indptr[first : last + 1] - begin, indices, data), columns, out[first:last], num_threads)
        release(indices, rows.data[begin:end])
    return out.reshape(len(out), *values.shape[1:])


def longest(indptr: NDArray[np.int64]) -> int:
    """Return the number of entries of the longest row."""
    return int(np.diff(indptr).max(initial=0))
