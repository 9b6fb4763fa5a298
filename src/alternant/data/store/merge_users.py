"""The third pass: each partition's events are merged into pairs, which are appended to the users' orientation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.memory import human_bytes
from ..._utils.messages import parameter, refusal
from ..build import repeated_pair
from ..pairs import DuplicatePairError, EventTable, Pairs, merge_pairs
from .array_files import ArrayWriter
from .partitions import Layout, Partitions, Rows, by_range
from .pipeline import in_order
from .read_rows import row_partitions
from .saved_ids import open_ids
from .work import MemoryLimitError, Plan, Work

MOST_PIECES = 1 << 8  # that a partition is divided into at once


@dataclass(frozen=True)
class Merged:
    """The pairs of a range of users, in order; for the items' orientation they are sorted by partition, too."""

    lengths: NDArray[np.int64]  # pairs of each user
    pairs: Pairs
    ones: bool
    turned: Rows
    ends: NDArray[np.int64]


class LateColumn:
    """A column that needs no file as long as all its values are the same.

    Parameters
    ----------
    writer : function that returns an ArrayWriter, given its state or None
    constant : array of one element
    state : as returned by `state`, optional
    """

    def __init__(self, writer: Any, constant: NDArray[Any], state: dict[str, Any] | None) -> None:
        self._make, self._constant = writer, constant
        self._count = 0 if state is None else state["count"]
        file = None if state is None else state["file"]
        self._writer: ArrayWriter | None = None if file is None else writer(file)

    @property
    def state(self) -> dict[str, Any]:
        """The number of elements, and the state of the file, if there is one."""
        return {"count": self._count, "file": None if self._writer is None else self._writer.state}

    def append(self, count: int, values: NDArray[Any] | None) -> None:
        """Append values; None: so many times the constant."""
        if self._writer is None and values is not None:
            self._writer = self._make(None)
            self._fill(self._count)
        if self._writer is not None:
            if values is None:
                self._fill(count)
            else:
                self._writer.append(values)
        self._count += count

    def _fill(self, count: int) -> None:
        step = 1 << 20
        for start in range(0, count, step):
            self._writer.append(np.repeat(self._constant, min(step, count - start)))  # type: ignore[union-attr]


class UserRows:
    """The files of the users' orientation, and what is known of the values."""

    def __init__(self, work: Work, plan: Plan) -> None:
        self._work, self._plan = work, plan
        state: dict[str, Any] = work.state.get("merged") or {
            "done": 0, "nnz": 0, "least": None, "greatest": None, "zeros": False, "files": {}
        }  # fmt: skip
        self.done: int = state["done"]
        self.nnz: int = state["nnz"]
        self.least: float | None = state["least"]
        self.greatest: float | None = state["greatest"]
        self.zeros: bool = state["zeros"]
        files = state["files"]
        self._indptr, self._indices = (self._writer(name, files.get(name)) for name in ("indptr", "indices"))
        if not files:
            self._indptr.append(np.zeros(1, np.int64))
        self._times = None if plan.time is None else self._writer("times", files.get("times"))
        self._counts = self._writer("counts", files.get("counts")) if work.aggregate == "mean" else None
        self._data = LateColumn(partial(self._writer, "data"), np.ones(1, plan.data), files.get("data"))
        self._summed = LateColumn(partial(self._writer, "summed"), np.zeros(1, bool), files.get("summed"))

    def _writer(self, name: str, state: Any) -> ArrayWriter:
        return ArrayWriter(self._work.folder / f"users.{name}", state)

    @property
    def state(self) -> dict[str, Any]:
        """The state for the journal."""
        files: dict[str, ArrayWriter | LateColumn] = {
            "indptr": self._indptr, "indices": self._indices, "data": self._data, "summed": self._summed,
        }  # fmt: skip
        if self._times is not None:
            files["times"] = self._times
        if self._counts is not None:
            files["counts"] = self._counts
        return {
            "done": self.done, "nnz": self.nnz, "least": self.least, "greatest": self.greatest, "zeros": self.zeros,
            "files": {name: one.state for name, one in files.items()},
        }  # fmt: skip

    def append(self, merged: Merged) -> None:
        """Append pairs, but not yet their rows' ends."""
        pairs, data = merged.pairs, merged.pairs.matrix.data
        self.nnz += len(data)
        self._indices.append(pairs.matrix.indices)
        self._data.append(len(data), None if merged.ones else data)
        self._summed.append(len(data), pairs.summed)
        if self._times is not None and pairs.times is not None:
            self._times.append(pairs.times)
        if self._counts is not None and pairs.counts is not None:
            self._counts.append(pairs.counts)
        if len(data):
            least, greatest = float(data.min()), float(data.max())
            self.least = least if self.least is None else min(self.least, least)
            self.greatest = greatest if self.greatest is None else max(self.greatest, greatest)
            self.zeros = self.zeros or (not merged.ones and not data.all())

    def end(self, lengths: NDArray[np.int64]) -> None:
        """End the rows of a partition, given their lengths."""
        self._indptr.append(self.nnz - lengths.sum() + np.cumsum(lengths))
        self.done += 1


def pair_partitions(work: Work, plan: Plan) -> Partitions:
    """Return the partitions of pairs by item, as the journal knows them."""
    partitions = Partitions(
        work.folder, "pairs", Layout(plan.key(1), plan.number(0), plan.data, None), plan.partitions(1)
    )
    if "pair_bytes" in work.state:
        partitions.bytes, partitions.rows = list(work.state["pair_bytes"]), list(work.state["pair_counts"])
    return partitions


def merge_users(work: Work, plan: Plan) -> None:
    """Write the users' orientation, and its pairs to partitions by item."""
    events, pairs = row_partitions(work, plan), pair_partitions(work, plan)
    pairs.restore(pairs.bytes, pairs.rows)
    users = UserRows(work, plan)
    for number in range(users.done):
        events.delete(number)
    most = work.rows_in_memory(plan.event_bytes)

    def merge(number: int) -> list[Merged] | None:
        return [_merge(work, plan, number, events.read(number))] if events.rows[number] <= most else None

    todo = range(users.done, plan.partitions(0))
    with work.progress("merging by user", sum(events.rows[: users.done]), plan.kept, "rows") as bar:
        for number, found in zip(todo, in_order(merge, todo), strict=True):
            lengths = np.zeros(_width(plan, number), np.int64)
            for merged in _in_pieces(work, plan, number, events, most) if found is None else found:
                lengths += merged.lengths
                users.append(merged)
                pairs.append(merged.turned, merged.ends)
            users.end(lengths)
            work.journal.record(merged=users.state, pair_bytes=pairs.bytes, pair_counts=pairs.rows)
            events.delete(number)
            bar.update(events.rows[number])
    work.journal.record(phase="items")


def _width(plan: Plan, number: int) -> int:
    """Return the number of users in a partition."""
    return min(1 << plan.bits[0], plan.shape[0] - (number << plan.bits[0]))


def _merge(work: Work, plan: Plan, number: int, rows: Rows) -> Merged:
    first = number << plan.bits[0]
    values = rows.values
    if values is None and plan.value is not None:
        values = np.ones(len(rows), plan.value)
    events = EventTable(rows.keys, rows.others, values, rows.times)
    width = _width(plan, number)
    try:
        pairs = merge_pairs(events, (width, plan.shape[1]), work.aggregate)
    except DuplicatePairError as error:
        ids = [open_ids(work.folder, side, work.state["ids"][side]) for side in ("user", "item")]
        user, item = first + int(rows.keys[error.row]), int(rows.others[error.row])
        raise repeated_pair(ids[0], user, ids[1], item, f"at least {error.repeated}") from None
    lengths = np.diff(pairs.matrix.indptr)
    ones = bool((pairs.matrix.data == 1).all())
    items = pairs.matrix.indices
    turned = Rows(
        (items & ((1 << plan.bits[1]) - 1)).astype(plan.key(1)),
        np.repeat(np.arange(first, first + width, dtype=plan.number(0)), lengths),
        None if ones else pairs.matrix.data, None,
    )  # fmt: skip
    turned, ends = by_range(turned, items >> plan.bits[1], plan.partitions(1))
    return Merged(lengths, pairs, ones, turned, ends)


def _in_pieces(work: Work, plan: Plan, number: int, events: Partitions, most: int) -> Iterator[Merged]:
    """Merge a partition that does not fit in memory: divided further, by users and items."""
    yield from _pieces(work, plan, number, events, number, most, 0, _width(plan, number) * plan.shape[1])


def _pieces(
    work: Work, plan: Plan, number: int, events: Partitions, source: int, most: int, low: int, high: int
) -> Iterator[Merged]:
    """Merge the events of `source`, whose pairs (user times items plus item) lie between `low` and `high`."""
    if events.rows[source] <= most:
        yield _merge(work, plan, number, events.read(source))
        return
    if high - low <= 1:
        needed = events.rows[source] * plan.event_bytes * 2
        raise refusal(
            MemoryLimitError,
            f"{parameter('memory_limit')} must be at least {human_bytes(work.base + needed, up=True)}, got "
            f"{human_bytes(work.limit)}: one user and item have {events.rows[source]:,} events; raise it and repeat "
            "the call, which goes on where it stopped",
        )
    count = min(MOST_PIECES, -(-2 * events.rows[source] // most), high - low)
    step = -(-(high - low) // count)
    smaller = Partitions(work.folder, f"{events.path(source).stem}-of", events.layout, count)
    smaller.restore(smaller.bytes, smaller.rows)  # a killed call may have left some
    for block in events.blocks(source):
        key = block.keys.astype(np.int64) * plan.shape[1] + block.others
        smaller.append(*by_range(block, (key - low) // step, count))
    for piece in range(count):
        start = low + piece * step
        yield from _pieces(work, plan, number, smaller, piece, most, start, min(start + step, high))
        smaller.delete(piece)
