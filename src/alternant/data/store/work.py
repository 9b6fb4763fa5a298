"""What all passes of an ingest share: the source, the folder, its journal and the memory that they may use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._utils.memory import human_bytes
from ..._utils.messages import parameter, refusal
from ..._utils.progress import ProgressBar, progress_bar
from .journal import Journal
from .pipeline import workers
from .sources import BatchSource, ParquetSource

CONTINUE = ", and repeat the call, which goes on where it stopped"
LEAST_BUDGET = 64 << 20  # bytes, for any source
LEAST_ROWS, MOST_ROWS = 1 << 14, 1 << 20  # that are read at a time
ROW = 160  # bytes that a row takes while it is read, roughly: its columns, their numbers and their order
MOST_PARTITIONS = 1 << 12


class MemoryLimitError(ValueError):
    """The memory limit is too low: what has been done remains."""


@dataclass
class Work:
    """An ingest; `limit` is how much memory the process may have in all, and `base` what it had before."""

    source: ParquetSource | BatchSource
    folder: Path
    aggregate: Any
    journal: Journal
    limit: int
    base: int

    @property
    def state(self) -> dict[str, Any]:
        """The state of the journal."""
        return self.journal.state

    @property
    def budget(self) -> int:
        """The memory that the ingest may use."""
        return max(0, self.limit - self.base)

    def progress(self, what: str, done: int, total: int | None, unit: str) -> ProgressBar:
        """Return a bar for one of the passes, on a terminal only."""
        return progress_bar(total, None, desc=what, initial=done, unit=f" {unit}", unit_scale=True)

    def rows_at_a_time(self) -> int:
        """Return how many rows to read at a time."""
        at_once = self.budget // 3 // ((workers() + 2) * ROW)
        return max(LEAST_ROWS, min(MOST_ROWS, at_once))

    def rows_in_memory(self, row: int, taken: int = 0) -> int:
        """Return how many rows each thread may process at once, which take so many bytes each."""
        return max(LEAST_ROWS, (self.budget - taken) * 3 // 4 // ((workers() + 1) * row))

    def refuse_beyond(self, needed: int, what: str, then: str = CONTINUE) -> None:
        """Raise if something does not fit in memory; what to try leaves as much again for the rows."""
        if needed > self.budget:
            raise refusal(
                MemoryLimitError,
                f"{parameter('memory_limit')} is {human_bytes(self.limit)}, but {human_bytes(needed)} are needed "
                f"{what}, in addition to the {human_bytes(self.base)} that the process had before: raise it to "
                f"{human_bytes(self.base + 2 * needed, up=True)}{then}",
            )


@dataclass(frozen=True)
class Plan:
    """What is known of the rows once all have been read: shape, kept rows, dtypes, and the ranges of partitions.

    A partition holds the rows of ``2**bits`` consecutive users, or items.
    """

    shape: tuple[int, int]
    kept: int
    value: str | None
    time: str | None
    bits: tuple[int, int]

    def partitions(self, side: int) -> int:
        """Return the number of partitions by user (0) or item (1)."""
        return max(1, -(-self.shape[side] >> self.bits[side]))

    def key(self, side: int) -> np.dtype[Any]:
        """Return the smallest dtype for the place of a user or item in its partition."""
        return np.dtype("<u1" if self.bits[side] <= 8 else "<u2" if self.bits[side] <= 16 else "<i8")

    def number(self, side: int) -> np.dtype[Any]:
        """Return the dtype of the numbers of users or items."""
        return index_dtype(self.shape[side])

    @property
    def data(self) -> np.dtype[Any]:
        """The dtype of the values of pairs."""
        return np.dtype("<f4" if self.value is None else self.value)

    @property
    def event_bytes(self) -> int:
        """The bytes that an event takes while it is merged."""
        return 48 + sum(3 * 8 for dtype in (self.value, self.time) if dtype is not None)

    @property
    def entry_bytes(self) -> int:
        """The bytes that a pair takes while the items are made rows."""
        return 28 + 2 * self.data.itemsize


def index_dtype(count: int) -> np.dtype[Any]:
    """Return the dtype of numbers below `count`: int32 if they fit."""
    return np.dtype("<i4" if count <= np.iinfo(np.int32).max else "<i8")


def range_bits(count: int, rows: int, at_once: int) -> int:
    """Return the bits of the largest ranges of `count` users whose rows, evenly spread, fit in memory twice.

    A user without rows takes memory, too.
    """
    bits = max(1, count - 1).bit_length()
    while bits > 0 and max(rows, count) * min(count, 1 << bits) // count > at_once // 2:
        if -(-count >> (bits - 1)) > MOST_PARTITIONS:
            break
        bits -= 1
    return bits
