"""Held-out pairs: a random share of the interactions, and the blocks in which their loss is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import ENTRIES, FilePool, entry_blocks, entry_ranges, release
from ..._utils.pool import Pool
from ...data.csr import CSR
from .stored import distinct_values, take_entries

NUMBERS = 1 << 21  # of the factors of the pairs whose loss is computed at a time
DRAWN = 1 << 20  # of which a share is drawn at a time


class Pairs(NamedTuple):
    """Some held-out pairs."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    rows: CSR  # a row for each of some consecutive users
    others: NDArray[np.int64] | None  # another item of each pair


@dataclass(frozen=True)
class HeldOut:
    """All of them, and for models that learn from negatives another item for each."""

    rows: CSR  # of a store: memory-mapped, with its values
    others: NDArray[np.int32] | None = None

    @classmethod
    def with_others(cls, rows: CSR, rng: np.random.Generator, pool: Pool) -> HeldOut:
        """Draw the other items uniformly."""
        others = pool.array((len(rows.indices),), np.dtype(np.int32))
        for start in range(0, len(others), ENTRIES):
            part = others[start : start + ENTRIES]
            part[:] = rng.integers(0, rows.shape[1], len(part))
            release(part)
        return cls(rows, others)

    @property
    def count(self) -> int:
        """The number of pairs, the others included."""
        return len(self.rows.indices) * (1 if self.others is None else 2)

    def losses(self, X: NDArray[Any], of_pairs: Callable[[Pairs], NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Yield the losses of the pairs of some users at a time, and release the factors X of these users."""
        for pairs in self._blocks(X.dtype, max(1, NUMBERS // X.shape[1])):
            yield of_pairs(pairs)
            if len(pairs.users):
                release(X[pairs.users[0] : pairs.users[-1] + 1])

    def _blocks(self, dtype: np.dtype[Any], pairs: int) -> Iterator[Pairs]:
        indptr = self.rows.indptr
        for first, last in entry_ranges(indptr, pairs):
            part = slice(indptr[first], indptr[last])
            indices, data = self.rows.indices[part], self.rows.data[part]
            others = None if self.others is None else self.others[part]
            values = np.asarray(data, dtype, order="C")
            rows = CSR(indptr[first : last + 1] - indptr[first], indices, values, (last - first, self.rows.shape[1]))
            users, items = rows.positions()
            yield Pairs(
                first + users, items.astype(np.int64), rows, None if others is None else others.astype(np.int64)
            )
            release(indices, data, others)


def split(
    rows: CSR, fraction: float, rng: np.random.Generator,
    may_be: Callable[[NDArray[Any]], NDArray[np.bool_]] | None = None,
    files: FilePool | None = None, dtype: np.dtype[Any] | None = None,
) -> tuple[CSR, CSR]:  # fmt: skip
    """Hold out a fraction of the entries whose values `may_be` (None: of all), at least one and not all.

    Both parts are in `files` if rows are in a store. The share is the same in each block of `DRAWN` entries, as they
    are drawn block by block.
    """
    count, some = len(rows.indices), None if may_be is None else _places(rows.data, may_be, files or Pool())
    total = count if some is None else len(some)
    if total < 2:
        raise ValueError(f"validation_fraction needs at least 2 known pairs to split, got {total}: set it to 0")
    wanted = min(total - 1, max(1, round(fraction * total)))
    chosen = np.zeros(count, np.bool_) if files is None else files.array((count,), np.dtype(np.bool_))
    seen = 0
    for start in range(0, total, DRAWN):
        block = slice(start, min(start + DRAWN, total))
        target = wanted * block.stop // total
        drawn = np.zeros(block.stop - start, np.bool_)
        drawn[rng.choice(len(drawn), target - seen, replace=False)] = True
        part = block if some is None else slice(some[block.start], some[block.stop - 1] + 1)
        if some is None:
            chosen[part] = drawn
        else:
            chosen[some[block]] = drawn
            release(some[block])
        release(chosen[part])
        seen = target
    if files is None:
        return rows.filter(~chosen), rows.filter(chosen)
    assert dtype is not None
    return (
        take_entries(rows, lambda part: ~chosen[part], count - wanted, dtype, files),
        take_entries(rows, lambda part: chosen[part], wanted, dtype, files),
    )


def _places(
    data: NDArray[Any], may_be: Callable[[NDArray[Any]], NDArray[np.bool_]], pool: Pool
) -> NDArray[np.int64] | None:
    """Return the numbers of the entries whose values `may_be` held out; None for all."""
    known = distinct_values(data)
    counts = [int(np.count_nonzero(may_be(part))) for part in entry_blocks(known)]
    if sum(counts) == len(known):
        return None
    if len(known) < len(data):
        return np.empty(0, np.int64)
    places, start = pool.array((sum(counts),), np.dtype(np.int64)), 0
    for number, (part, count) in enumerate(zip(entry_blocks(known), counts, strict=True)):
        places[start : start + count] = number * ENTRIES + np.flatnonzero(may_be(part))
        release(places[start : start + count])
        start += count
    return places
