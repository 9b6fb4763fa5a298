"""Convert pyarrow columns of text to ids, numbers and times."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]  # where there should be a number or a time


class Bad(NamedTuple):
    """An entry that can't be converted."""

    row: int
    text: str


def convert_ids(column: Any) -> Any:
    """Return int64 if all ids are plainly written whole numbers, else the strings unchanged.

    A single id such as 007, or one beyond int64, keeps the whole column strings, since as a number it would be another
    id. If all ids end in .0, as pandas writes whole numbers next to missing ones, they are whole numbers, too. An empty
    id is missing; a word such as NA or null is missing among whole numbers, and an id among strings.
    """
    numbers = _whole_numbers(without(column, MISSING))
    return without(column, [""]) if numbers is None else numbers


def without(column: Any, words: list[str]) -> Any:
    """Return the column with these words as missing entries."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.is_in(column, value_set=pa.array(words, column.type))
    if not pc.any(found, min_count=0).as_py():
        return column
    return pc.if_else(found, pa.scalar(None, column.type), column)


def _whole_numbers(column: Any) -> Any | None:
    """Return int64 if all entries are plainly written whole numbers, else None."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = []
    for part in column.chunks:
        try:
            numbers = pc.cast(part, pa.int64())
        except pa.ArrowInvalid:
            break
        if not pc.all(pc.equal(pc.cast(numbers, pa.string()), part), min_count=0).as_py():
            break
        parts.append(numbers)
    else:
        return pa.chunked_array(parts, pa.int64())
    if pc.all(pc.match_substring_regex(column, r"^-?\d+\.0$"), min_count=0).as_py():
        whole = pc.replace_substring_regex(column, r"\.0$", "")
        return _whole_numbers(whole)
    return None


def convert_numbers(column: Any, decimal: str = ".") -> tuple[Any, Bad | None]:
    """Return float64, or the first entry that is not a finite number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type):
        if decimal == ",":
            if (bad := first_bad(column, forbidden=".")) is not None:
                return column, bad
            column = pc.replace_substring(column, ",", ".")
        bad = first_bad(column, lambda part: pc.cast(part, pa.float64()))
        if bad is not None:
            return column, bad
        column = pc.cast(column, pa.float64())
    row = 0
    for part in column.chunks:
        if not pc.all(pc.is_finite(part), min_count=0).as_py():
            at = pc.index(pc.is_finite(part), False).as_py()
            return column, Bad(row + at, str(part[at].as_py()))
        row += len(part)
    return column, None


def numbers_or_texts(column: Any, decimal: str) -> Any:
    """Return numbers if all entries are, else the texts."""
    if column.null_count == len(column):
        return column
    numbers, bad = convert_numbers(column, decimal)
    return column if bad is not None else numbers


def convert_times(column: Any, decimal: str = ".") -> tuple[Any, Bad | None]:
    """Return integers, floats or dates (UTC), whichever fits all entries; or the first entry that does not fit."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if decimal == ",":
        column = pc.replace_substring_regex(column, r"^(-?\d+),(\d+)$", r"\1.\2")
    worst = Bad(-1, "")
    types = (pa.int64(), pa.float64(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.timestamp("ns"),
             pa.timestamp("ns", "UTC"))  # fmt: skip
    for dtype in types:
        bad = first_bad(column, partial(pc.cast, target_type=dtype))
        if bad is None:
            return pc.cast(column, dtype), None
        worst = max(worst, bad)
    dates, bad = _mixed_dates(column)
    return (column, max(worst, bad)) if bad is not None else (dates, None)


def _mixed_dates(column: Any) -> tuple[Any, Bad | None]:
    """Return dates of which some have a time zone (the others are in UTC), or the first entry that is not a date."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = pa.scalar(None, column.type)
    zoned = pc.match_substring_regex(column, r":\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)$")
    parts = pc.if_else(zoned, column, nothing), pc.if_else(zoned, nothing, column)
    worst = Bad(-1, "")
    for unit in ("us", "ns"):
        dtypes = pa.timestamp(unit, "UTC"), pa.timestamp(unit)
        bad = [found for part, dtype in zip(parts, dtypes, strict=True)
               if (found := first_bad(part, partial(pc.cast, target_type=dtype))) is not None]  # fmt: skip
        if not bad:
            dates = [pc.cast(pc.cast(part, dtype), dtypes[1]) for part, dtype in zip(parts, dtypes, strict=True)]
            return pc.coalesce(*dates), None
        worst = max(worst, min(bad))
    return column, worst


def first_bad(column: Any, convert: Callable[[Any], Any] = bool, forbidden: str | None = None) -> Bad | None:
    """Return the first entry that `convert` refuses, or that contains a forbidden text; None if there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def refused(part: Any) -> bool:
        if forbidden is not None:
            return bool(pc.any(pc.match_substring(part, forbidden), min_count=0).as_py())
        try:
            convert(part)
        except pa.ArrowInvalid:
            return True
        return False

    row = 0
    for part in column.chunks:
        if refused(part):
            low, high = 0, len(part)  # the first bad entry is in part[low:high]
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if refused(part[low:middle]) else (middle, high)
            return Bad(row + low, str(part[low].as_py()))
        row += len(part)
    return None
