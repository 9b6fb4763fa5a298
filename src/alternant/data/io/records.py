"""Rows of delimited text with their line numbers: slower than pyarrow, and strict about quotes.

pyarrow does not object to a quote that is closed in the middle of a field, and may pair a quote that opens one field
with one that ends another, many lines below. So quotes are checked here first, at the speed of NumPy if they are plain.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

WIDEST = 1 << 26  # longest line in bytes; a header of a million columns has 10 MB
PART = 1 << 22  # bytes checked at a time
NEWLINE, RETURN = 10, 13


class Record(NamedTuple):
    """A row: the line it starts on, counted as in an editor, and whether it continues on others."""

    line: int
    fields: list[str]
    spans_lines: bool


class QuoteError(ValueError):
    """A quote that opens a field is never closed, or closed in the middle of the field."""


def open_bytes(file: Path, zipped: bool) -> IO[bytes]:
    """Open a file, decompressing it if it is `zipped`."""
    return gzip.open(file) if zipped else file.open("rb")  # type: ignore[return-value]


def records(file: Path, zipped: bool, separator: str, quote: str | None) -> Iterator[Record]:
    """Yield every row.

    Empty lines are skipped, as by pyarrow; bytes that are not UTF-8 become surrogates.
    """
    with open_bytes(file, zipped) as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape")
        lines = enumerate(text, 1)
        for number, line in lines:
            bare = line.rstrip("\n")
            if quote is not None and quote in bare:
                fields = _fields(bare, lines, separator, quote)
                yield Record(number, fields, any("\n" in field for field in fields))
            elif bare:
                yield Record(number, bare.split(separator), False)


def _fields(line: str, lines: Iterator[tuple[int, str]], separator: str, quote: str) -> list[str]:
    """Return the fields of a row that begins on `line` and may continue on the next ones."""
    fields, at = [], 0
    while True:
        if line.startswith(quote, at):
            field, line, at = _quoted(line, at + 1, lines, quote)
            fields.append(field)
            if at == len(line):
                return fields
            if line[at] != separator:
                raise QuoteError
        else:
            end = line.find(separator, at)
            fields.append(line[at:] if end < 0 else line[at:end])
            if end < 0:
                return fields
            at = end
        at += 1


def _quoted(line: str, at: int, lines: Iterator[tuple[int, str]], quote: str) -> tuple[str, str, int]:
    """Return the field whose opening quote precedes `at`, the line it ends on, and the position after it."""
    parts, size = [], 0
    while True:
        end = line.find(quote, at)
        if end < 0:
            parts += [line[at:], "\n"]
            size += len(line) - at
            _, following = next(lines, (0, None))
            if following is None or size > WIDEST:
                raise QuoteError
            line, at = following.rstrip("\n"), 0
            continue
        parts.append(line[at:end])
        at = end + 1
        if not line.startswith(quote, at):
            return "".join(parts), line, at
        parts.append(quote)  # a doubled quote stands for one
        at += 1


def may_be_rows(fields: list[str], separator: str) -> int:
    """Return how many rows a row would be if its quotes were literal; 1 unless each would have as many fields."""
    widths, width = [], 0
    for field in fields:
        first, *others = field.split("\n")
        width += 1 + first.count(separator) if others else 1
        for at, line in enumerate(others, 1):
            if line or at == len(others):  # empty lines are not rows
                widths.append(width)
                width = 1 + line.count(separator)
    widths.append(width)
    return len(widths) if set(widths) == {len(fields)} else 1


def has_plain_quotes(file: Path, zipped: bool, separator: str, quote: str) -> bool:
    """Whether each quoted field ends on the line it begins on, and no other field contains a quote."""
    mark = ord(quote)
    ends = np.zeros(256, bool)
    ends[[ord(separator), NEWLINE, RETURN]] = True
    with open_bytes(file, zipped) as stream:
        skipped = len(b"\xef\xbb\xbf") if stream.read(3) == b"\xef\xbb\xbf" else 0
        stream.seek(skipped)
        while part := stream.read(PART):
            part += stream.readline(WIDEST)
            if quote.encode() not in part:
                continue
            # Between two line breaks, so that each quote has a byte before and after it.
            data = np.frombuffer(b"\n" + part + b"\n", np.uint8)
            at = np.flatnonzero(data == mark)
            if len(at) % 2:
                return False
            opening, closing = at[::2], at[1::2]
            doubled = closing[:-1] + 1 == opening[1:]  # two quotes within a field
            begins, stops = ends[data[opening - 1]], ends[data[closing + 1]]
            begins[1:] |= doubled
            stops[:-1] |= doubled
            lines = np.cumsum((data == NEWLINE) | (data == RETURN), dtype=np.int32)
            within = lines[opening] == lines[closing]
            if not (begins.all() and stops.all() and within.all()):
                return False
    return True
