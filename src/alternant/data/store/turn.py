"""The last pass: pairs divided by ranges of items become the items' orientation."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from .array_files import ArrayWriter
from .merge_users import pair_partitions
from .partitions import Partitions, Rows, by_range
from .pipeline import in_order
from .work import Plan, Work


class ItemRows:
    """The files of the items' orientation."""

    def __init__(self, work: Work, ones: bool) -> None:
        state: dict[str, Any] = work.state.get("turned") or {"done": 0, "nnz": 0, "files": {}}
        self.done: int = state["done"]
        self._nnz: int = state["nnz"]
        names = ("indptr", "indices") if ones else ("indptr", "indices", "data")
        self._files = {
            name: ArrayWriter(work.folder / f"items.{name}", state["files"].get(name)) for name in names
        }
        if not state["files"]:
            self._files["indptr"].append(np.zeros(1, np.int64))

    @property
    def state(self) -> dict[str, Any]:
        """The state for the journal."""
        files = {name: one.state for name, one in self._files.items()}
        return {"done": self.done, "nnz": self._nnz, "files": files}

    def append(self, users: NDArray[Any], values: NDArray[Any] | None) -> None:
        """Append entries of rows, without their ends; values None: all are 1."""
        self._files["indices"].append(users)
        if "data" in self._files and values is not None:
            self._files["data"].append(values)

    def end(self, lengths: NDArray[np.int64]) -> None:
        """End rows of these lengths."""
        ends = self._nnz + np.cumsum(lengths)
        self._nnz = int(ends[-1]) if len(ends) else self._nnz
        self._files["indptr"].append(ends)


def turn(work: Work, plan: Plan) -> None:
    """Write the items' orientation."""
    pairs = pair_partitions(work, plan)
    ones = work.state["merged"]["files"]["data"]["file"] is None
    items = ItemRows(work, ones)
    for number in range(items.done):
        pairs.delete(number)
    most = work.rows_in_memory(plan.entry_bytes)

    def transpose(number: int) -> tuple[Any, Any, Any] | None:
        return _rows(pairs.read(number), _width(plan, number), plan, ones) if pairs.rows[number] <= most else None

    todo = range(items.done, plan.partitions(1))
    with work.progress("sorting by item", sum(pairs.rows[: items.done]), sum(pairs.rows), "pairs") as bar:
        for number, found in zip(todo, in_order(transpose, todo), strict=True):
            if found is None:
                _in_pieces(work, plan, items, pairs, number, plan.bits[1], _width(plan, number), most, ones)
            else:
                lengths, users, values = found
                items.append(users, values)
                items.end(lengths)
            items.done += 1
            work.journal.record(turned=items.state)
            pairs.delete(number)
            bar.update(pairs.rows[number])
    work.journal.record(phase="manifest")


def _width(plan: Plan, number: int) -> int:
    return min(1 << plan.bits[1], plan.shape[1] - (number << plan.bits[1]))


def _rows(pairs: Rows, width: int, plan: Plan, ones: bool) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Return the lengths of items' rows, their users and values: a counting sort, which keeps users ascending."""
    values = pairs.values
    if values is None:  # SciPy wants some in any case
        values = np.ones(len(pairs), np.int8 if ones else plan.data)
    coordinates = (pairs.keys.astype(pairs.others.dtype), pairs.others)
    entries = scipy.sparse.coo_array((values, coordinates), shape=(width, plan.shape[0]))
    entries.has_canonical_format = True  # each pair is there once
    rows = entries.tocsr()
    users = rows.indices.astype(plan.number(0), copy=False)
    return np.diff(rows.indptr).astype(np.int64), users, None if ones else rows.data


def _in_pieces(
    work: Work, plan: Plan, items: ItemRows, pairs: Partitions, number: int, bits: int, width: int, most: int,
    ones: bool,
) -> None:  # fmt: skip
    """Write rows of items that do not fit in memory together: divided further, down to single items."""
    if pairs.rows[number] <= most:
        lengths, users, values = _rows(pairs.read(number), width, plan, ones)
        items.append(users, values)
        items.end(lengths)
        return
    if bits == 0:  # a single item: its pairs are in order already
        for block in pairs.blocks(number):
            values = np.ones(len(block), plan.data) if block.values is None and not ones else block.values
            items.append(block.others, values)
        items.end(np.array([pairs.rows[number]]))
        return
    smaller_bits = max(0, bits - 8)
    count = -(-width >> smaller_bits)
    smaller = Partitions(work.folder, f"{pairs.path(number).stem}-of", pairs.layout, count)
    smaller.restore(smaller.bytes, smaller.rows)
    for block in pairs.blocks(number):
        numbers = block.keys.astype(np.int64) >> smaller_bits
        block.keys = block.keys & np.array((1 << smaller_bits) - 1, block.keys.dtype)
        smaller.append(*by_range(block, numbers, count))
    for piece in range(count):
        part = min(1 << smaller_bits, width - (piece << smaller_bits))
        _in_pieces(work, plan, items, smaller, piece, smaller_bits, part, most, ones)
        smaller.delete(piece)
