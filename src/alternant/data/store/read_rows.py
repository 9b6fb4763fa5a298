"""The second pass over a source: ids become numbers, and rows are divided by ranges of users."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .look_up import AnyNumbers, LookUp, Numbers, TextNumbers, UnknownIdError, numbers_of
from .partitions import Layout, Partitions, Rows, by_range
from .pipeline import in_order
from .read_ids import SIDES, chained, checksum_of
from .saved_ids import TextIds, names_of, open_ids
from .sources import Unit
from .work import Plan, Work


@dataclass(frozen=True)
class Divided:
    """A part of the rows, sorted by partition."""

    rows: Rows
    ends: NDArray[np.int64]
    read: int
    checksum: int


def row_partitions(work: Work, plan: Plan) -> Partitions:
    """Return the partitions of rows by user, as the journal knows them."""
    value, time = (None if dtype is None else np.dtype(dtype) for dtype in (plan.value, plan.time))
    layout = Layout(plan.key(0), plan.number(1), value, time)
    partitions = Partitions(work.folder, "rows", layout, plan.partitions(0))
    if "row_bytes" in work.state:
        partitions.bytes, partitions.rows = list(work.state["row_bytes"]), list(work.state["row_counts"])
    return partitions


def read_rows(work: Work, plan: Plan) -> None:
    """Write all rows to partitions."""
    state = work.state
    done = state.get("divided") or {"units": 0, "read": 0, "checksum": 0}
    partitions = row_partitions(work, plan)
    partitions.restore(partitions.bytes, partitions.rows)
    look_ups = tuple(_look_up(work, side) for side in SIDES)
    work.refuse_beyond(sum(one.nbytes for one in look_ups), "for the tables of ids")
    units = itertools.islice(work.source.units(state["rows_at_a_time"]), done["units"], None)
    divide = partial(_divide, plan=plan, look_ups=look_ups, checksums=state["checksums"])
    try:
        with work.progress("numbering rows", done["read"], state["dropped"][0], "rows") as bar:
            for part in in_order(divide, units):
                partitions.append(part.rows, part.ends)
                done = {
                    "units": done["units"] + 1, "read": done["read"] + part.read,
                    "checksum": chained(done["checksum"], part.checksum),
                }  # fmt: skip
                work.journal.record(True, divided=done, row_bytes=partitions.bytes, row_counts=partitions.rows)
                bar.update(part.read)
        same = (done["read"], sum(partitions.rows), done["checksum"]) == (
            state["dropped"][0], plan.kept, state["checksum"]
        )  # fmt: skip
    except UnknownIdError:
        same = False
    work.source.check_unchanged()
    if not same:
        raise ValueError(work.source.others)
    work.journal.record(phase="users", divided=None, row_bytes=partitions.bytes, row_counts=partitions.rows)


def _look_up(work: Work, side: str) -> LookUp:
    kind = work.state["ids"][side]
    if kind == "whole" and work.state["modes"][side] == "whole":
        return Numbers(np.fromfile(work.folder / names_of(side, kind)[0], "<i8"))
    ids = open_ids(work.folder, side, kind)
    return TextNumbers(ids) if isinstance(ids, TextIds) else AnyNumbers(ids, work.source.names[side])


def _divide(unit: Unit, plan: Plan, look_ups: tuple[LookUp, ...], checksums: bool) -> Divided:
    part = unit()
    users, items = (numbers_of(column, part.kept, look_up) for column, look_up in
                    zip((part.users, part.items), look_ups, strict=True))  # fmt: skip
    values, times = part.kept_values(), part.kept_times()
    if values is not None:
        values = None if (values == 1).all() else values.astype(plan.value, copy=False)
    rows = Rows(
        (users & ((1 << plan.bits[0]) - 1)).astype(plan.key(0)), items.astype(plan.number(1), copy=False), values,
        None if times is None or plan.time is None else times.astype(plan.time, copy=False),
    )  # fmt: skip
    rows, ends = by_range(rows, users >> plan.bits[0], plan.partitions(0))
    return Divided(rows, ends, len(part.users), checksum_of(part) if checksums else 0)
