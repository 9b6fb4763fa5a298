"""The first pass over a source: the distinct ids, and how many rows are kept."""

from __future__ import annotations

import itertools
import time
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..report import DroppedRows
from .array_files import bytes_of, check_content
from .collect import COLLECTORS, AnyIds, Collector, OtherKindError, collector
from .columns import Kind, Part
from .pipeline import in_order
from .saved_ids import save_whole, text_buffers
from .sources import Unit
from .work import Plan, Work, range_bits

SIDES = ("user", "item")
RECORD_SHARE = 20  # the time between two records, in times that the last one took


@dataclass(frozen=True)
class Found:
    """What the first pass keeps of a part of the rows."""

    kept: int
    dropped: DroppedRows
    dtypes: tuple[np.dtype[Any] | None, np.dtype[Any] | None]  # of values and times
    kinds: tuple[Kind, Kind]
    ids: tuple[Any, Any]
    checksum: int


def read_ids(work: Work) -> None:
    """Collect the ids of all rows and save them; record the plan of the next passes."""
    kinds: dict[str, Kind] = {}
    while True:
        try:
            collectors, progress = _collect(work, kinds)
            break
        except OtherKindError as error:
            kinds[str(error)] = "any"
            work.journal.record(collected=None, any=[side for side, kind in kinds.items() if kind == "any"])
    work.source.check_unchanged()
    dropped = DroppedRows(*progress["dropped"])
    if progress["kept"] == 0:
        raise ValueError(
            f"interactions must have at least one row with a user and an item, got {dropped.n_rows} rows, of which "
            f"{dropped.n_missing_ids} have no id, {dropped.n_missing_values} no value and {dropped.n_missing_times} no "
            "time"
        )
    files: dict[str, Any] = {}
    saved: dict[str, Kind] = {}
    counts = []
    for side, count in zip(SIDES, work.source.shape or (None, None), strict=True):
        if count is not None:
            saved[side], found = "whole", save_whole(work.folder, side, np.arange(count))
        else:
            found, count = collectors[side].save(work.folder, side)
            saved[side] = collectors[side].kind
        files |= found
        counts.append(count)
    modes = {side: "any" if kinds.get(side) == "any" else kind for side, kind in saved.items()}
    plan = _plan(work, (counts[0], counts[1]), progress)
    work.journal.record(
        phase="rows", plan=vars(plan), ids=saved, modes=modes, id_files=files, dropped=progress["dropped"],
        checksum=progress["checksum"], collected=None, library=work.source.library,
    )  # fmt: skip


def _plan(work: Work, shape: tuple[int, int], progress: dict[str, Any]) -> Plan:
    kept = progress["kept"]
    plan = Plan(shape, kept, progress["value"], progress["time"], (0, 0))
    bits = [range_bits(count, kept, work.rows_in_memory(row)) for count, row in
            zip(shape, (plan.event_bytes, plan.entry_bytes), strict=True)]  # fmt: skip
    user_bits = min(bits[0], 62 - shape[1].bit_length())  # a pair in a partition has a number of 63 bits
    return replace(plan, bits=(user_bits, bits[1]))


def _collect(work: Work, kinds: dict[str, Kind]) -> tuple[dict[str, Collector], dict[str, Any]]:
    progress: dict[str, Any] = {"units": 0, "kept": 0, "dropped": [0] * 5, "value": None, "time": None, "checksum": 0}
    collectors: dict[str, Collector] = {}
    if work.state.get("collected"):
        progress |= work.state["collected"]
        for name, file in progress.pop("files").items():
            check_content(work.folder / name, file)
        for side, kind in progress.pop("kinds").items():
            collectors[side] = one = collector(kind, work.source.names[side], _widest(work))
            assert not isinstance(one, AnyIds)  # are not saved before the end
            one.restore(work.folder, f"{side}-{progress['units']}")
    kinds.update(dict.fromkeys(work.state.get("any", []), "any"))
    last = _Clock()
    units = itertools.islice(work.source.units(work.state["rows_at_a_time"]), progress["units"], None)
    with work.progress("reading ids", progress["dropped"][0], None, "rows") as bar:
        for found in in_order(lambda unit: _find(unit, kinds, work.state["checksums"]), units):
            for place, side in enumerate(SIDES):
                _add(collectors, side, found, place, kinds, work)
            _count(progress, found)
            bar.update(found.dropped.n_rows)
            work.refuse_beyond(sum(one.nbytes for one in collectors.values()), "for the ids so far")
            if "any" not in kinds.values() and last.due():
                last.start()
                _record(work, collectors, progress)
                last.stop()
    return collectors, progress


def _find(unit: Unit, kinds: dict[str, Kind], checksums: bool) -> Found:
    part = unit()
    kept = len(part.users) if part.kept is None else int(part.kept.sum())
    sides = list(zip(SIDES, (part.users, part.items), strict=True))
    chosen = [kinds.get(side, column.kind) for side, column in sides]
    ids = tuple(COLLECTORS[kind].distinct(column, part.kept) for kind, (_, column) in zip(chosen, sides, strict=True))
    dtypes = tuple(None if column is None else column.dtype for column in (part.values, part.times))
    return Found(
        kept, part.dropped, (dtypes[0], dtypes[1]), (chosen[0], chosen[1]), (ids[0], ids[1]),
        checksum_of(part) if checksums else 0,
    )  # fmt: skip


def _add(
    collectors: dict[str, Collector], side: str, found: Found, place: int, kinds: dict[str, Kind], work: Work
) -> None:
    kind = found.kinds[place]
    if found.kept == 0 and kind != "any":  # what kind of ids the column holds is not known from missing ones
        return
    if side not in collectors:
        if kind == "any" and kinds.get(side) != "any":
            raise OtherKindError(side)  # to have the rows before counted
        collectors[side] = collector(kind, work.source.names[side], _widest(work))
    if collectors[side].kind != kind:
        raise OtherKindError(side)
    collectors[side].add(found.ids[place])


def _widest(work: Work) -> int:
    """Return the largest range of whole numbers that is marked in a table."""
    return work.budget // 16


def _count(progress: dict[str, Any], found: Found) -> None:
    progress["units"] += 1
    progress["kept"] += found.kept
    progress["checksum"] = chained(progress["checksum"], found.checksum)
    progress["dropped"] = list(vars(DroppedRows(*progress["dropped"]) + found.dropped).values())
    if found.kept:
        _merge_dtypes(progress, found.dtypes, progress["kept"] == found.kept)


def _merge_dtypes(progress: dict[str, Any], dtypes: tuple[np.dtype[Any] | None, ...], is_first: bool) -> None:
    texts = [None if dtype is None else dtype.newbyteorder("<").str for dtype in dtypes]
    if is_first:
        progress["value"], progress["time"] = texts
        return
    for name, text in zip(("value", "time"), texts, strict=True):
        known = progress[name]
        if (known is None) != (text is None):
            raise TypeError(f"all parts of the source must have a {name}, or none, but only some have one")
        if name == "time" and known != text:
            raise TypeError(
                f"times must be of one type in all parts of the source, got {np.dtype(known)} and {np.dtype(text)}: "
                "convert them first"
            )
        if known is not None:
            progress[name] = np.result_type(np.dtype(known), np.dtype(text)).newbyteorder("<").str


def _record(work: Work, collectors: dict[str, Collector], progress: dict[str, Any]) -> None:
    """Save the ids so far: under other names than before, so that there is always a whole set of them."""
    before = work.state.get("collected") or {}
    files: dict[str, Any] = {}
    for side, one in collectors.items():
        assert not isinstance(one, AnyIds)
        files |= one.save_unordered(work.folder, f"{side}-{progress['units']}")
    kinds = {side: one.kind for side, one in collectors.items()}
    work.journal.record(collected={**progress, "kinds": kinds, "files": files})
    if before:
        for path in work.folder.glob(f"*-{before['units']}_ids.*"):
            path.unlink()


class _Clock:
    """Tells when to record again, so that records take a small share of the time."""

    def __init__(self) -> None:
        self._last, self._cost = time.monotonic(), 0.0

    def due(self) -> bool:
        from . import journal

        return time.monotonic() - self._last >= max(journal.SECONDS, RECORD_SHARE * self._cost)

    def start(self) -> None:
        self._last = time.monotonic()

    def stop(self) -> None:
        now = time.monotonic()
        self._last, self._cost = now, now - self._last


def checksum_of(part: Part) -> int:
    """Return a CRC-32 of all columns of a part."""
    crc = 0
    for column in (part.users, part.items):
        if column.kind == "whole":
            crc = zlib.crc32(bytes_of(np.ascontiguousarray(column.values)), crc)
        elif column.kind == "texts":
            offsets, text = text_buffers(column.values)
            for array in (offsets - offsets[0], text[offsets[0] : offsets[-1]]):
                crc = zlib.crc32(bytes_of(array), crc)
        else:
            crc = zlib.crc32(repr(column.values).encode("utf-8", "surrogatepass"), crc)
    for values in (part.values, part.times, part.kept):
        crc = crc if values is None else zlib.crc32(bytes_of(np.ascontiguousarray(values)), crc)
    return crc


def chained(before: int, checksum: int) -> int:
    """Return the checksum of all parts so far."""
    return zlib.crc32(checksum.to_bytes(4, "little"), before)


def checksum_of_source(work: Work, rows: int) -> int:
    """Return the checksum of all rows of a source, read so many at a time."""
    checksum = 0
    for one in in_order(lambda unit: checksum_of(unit()), work.source.units(rows)):
        checksum = chained(checksum, one)
    return checksum
