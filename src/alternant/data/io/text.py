"""Columns of delimited text, such as CSV: parsed by pyarrow, checked line by line, with errors that name the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._utils.messages import about, parameter, refusal
from .records import WIDEST, QuoteError, Record, has_plain_quotes, may_be_rows, open_bytes, records
from .roles import SEPARATORS, find_columns, has_header, settle
from .text_columns import MISSING, Bad, convert_ids, convert_numbers, convert_times, first_bad, without

BY_SUFFIX = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
BLOCK = 1 << 20  # bytes parsed at a time
GZIP = b"\x1f\x8b"
NO_RECORD = Record(0, [], False)
SEVERAL_SPACES = "(sed 's/  */\\t/g' ratings.txt > ratings.tsv)"


@dataclass(frozen=True)
class Dialect:
    """The format of delimited text, as given by the caller; None: to be detected.

    `quote` is ``"auto"`` for double quotes that must be unambiguous, a character, or None if quotes are part of the
    fields.
    """

    separator: str | None = None
    header: bool | None = None
    quote: str | None = "auto"
    decimal: str = "."

    @property
    def character(self) -> str | None:
        """The character that encloses fields, if any."""
        return '"' if self.quote == "auto" else self.quote

    def check(self) -> None:
        """Raise if `quote` or `decimal` is invalid."""
        if self.quote is not None and self.quote != "auto" and not _is_character(self.quote):
            raise refusal(
                ValueError,
                f"{parameter('quote')} must be one ASCII character, 'auto' or None (for text in which quotes are part "
                f"of the fields), got {self.quote!r}",
            )
        if self.decimal not in (".", ","):
            raise refusal(ValueError, f"{parameter('decimal')} must be '.' or ',', got {self.decimal!r}")


def _is_character(text: Any) -> bool:
    return isinstance(text, str) and len(text.encode()) == 1 and text not in "\r\n\0"


@dataclass(frozen=True)
class Text:
    """A file of delimited text."""

    file: Path
    zipped: bool
    dialect: Dialect  # with separator and header determined
    width: int  # columns
    skip: int  # lines before the data
    block: int
    columns: dict[str, int]  # position of each role's column

    @property
    def name(self) -> str:
        """The name of the file in messages."""
        return repr(str(self.file))

    @property
    def separator(self) -> str:
        """The character between fields."""
        assert self.dialect.separator is not None
        return self.dialect.separator

    @property
    def quote(self) -> str | None:
        """The character that encloses fields, if any."""
        return self.dialect.character

    @classmethod
    def open(cls, file: Path, start: bytes, roles: dict[str, Any], dialect: Dialect) -> Text:
        """Read the first lines and find the columns."""
        name, zipped = str(file), start.startswith(GZIP)
        first = _first_line_of(file, zipped)
        separator = _check_separator(file, dialect, first)
        line = 0
        try:
            rows = records(file, zipped, separator, dialect.character)
            line, top, _ = next(rows, NO_RECORD)
            second = next(rows, None)
            skip = second.line - 1 if second is not None else 0
        except (EOFError, OSError, QuoteError) as error:
            raise _unreadable(name, error, line) from None
        if not top:  # nothing but a byte-order mark
            raise ValueError(f"{name!r} is empty: it must hold a row for each interaction")
        header = dialect.header
        roles = settle(name, roles, top, header)
        positions = {role: at for role, at in roles.items() if isinstance(at, int) and not isinstance(at, bool)}
        if header is None:
            find_columns(name, positions, top, True, separator)  # before asking whether the first line is a header
            by_name = len(positions) < len(roles)
            header = by_name or has_header(name, top, second.fields if second else None, list(positions.values()))
        if not header and len(positions) < len(roles):
            role, column = next((role, at) for role, at in roles.items() if role not in positions)
            raise refusal(
                ValueError,
                f"{parameter(role, column)} must be a position from 0 on, as {name!r} has no header",
            )
        if header and second is None:
            raise ValueError(f"{name!r} holds a header and no rows: it must hold a row for each interaction")
        columns = find_columns(name, roles, top, header, separator)
        block = max(BLOCK, 4 * len(first))
        whole = Dialect(separator, header, dialect.quote, dialect.decimal)
        return cls(file, zipped, whole, len(top), skip if header else 0, block, columns)

    def records(self) -> Iterator[Record]:
        """Yield the data rows; slow."""
        for record in records(self.file, self.zipped, self.separator, self.quote):
            if record.line > self.skip:
                yield record

    def line(self, row: int) -> int:
        """Return the number of the line that a row starts on."""
        return next(record.line for at, record in enumerate(self.records()) if at == row)

    def check_quotes(self) -> None:
        """Raise if quotes are ambiguous or unbalanced."""
        try:
            if self.quote is None or has_plain_quotes(self.file, self.zipped, self.separator, self.quote):
                return
        except (EOFError, OSError):  # damaged: reported by `fault`
            pass
        fault = self.fault(of_all_columns=False)
        if fault is not None:
            raise about(fault, f"{self.name} cannot be read: ")

    def fault(self, of_all_columns: bool = True) -> ValueError | None:
        """Return an error for the first bad line, or None; slow.

        Without `of_all_columns`, text that is not UTF-8 is no error, as it may be in columns that are not read.
        """
        line = self.skip
        try:
            for record in self.records():
                line, fields, spans_lines = record
                if len(fields) != self.width:
                    return self._uneven(record)
                if spans_lines and self.dialect.quote == "auto":
                    rows = may_be_rows(fields, self.separator)
                    if rows > 1:
                        return _ambiguous_quotes(line, rows)
                if of_all_columns and any("\udc80" <= char <= "\udcff" for field in fields for char in field):
                    return ValueError(f"line {line:,} is not valid UTF-8: save the file in UTF-8")
        except QuoteError:
            return _open_quote(line + 1)
        except (EOFError, OSError):
            return ValueError("its gzip data are truncated or damaged: copy or download it again")
        return None

    def _uneven(self, record: Record) -> ValueError:
        line, fields, spans_lines = record
        expected = "the header" if self.dialect.header else "the first line"
        advice = ""
        if spans_lines:
            no_quotes = parameter("quote", None)
            advice = f", since a quoted field spans several lines: pass {no_quotes} if quotes are part of the fields"
        elif self.separator == " " and "" in fields:
            advice = f", since there are several spaces between fields: replace them with a tab {SEVERAL_SPACES}"
        return refusal(
            ValueError, f"line {line:,} has {len(fields):,} fields, but {expected} has {self.width:,}{advice}"
        )


def _open_quote(line: int) -> ValueError:
    return refusal(
        ValueError,
        f"a quote on or shortly after line {line:,} is never closed, or is closed in the middle of a field: pass "
        f"{parameter('quote', None)} if quotes are part of the fields",
    )


def _ambiguous_quotes(line: int, rows: int) -> ValueError:
    return refusal(
        ValueError,
        f"line {line:,} and the {rows - 1:,} after it are one row if their quotes enclose a field, but {rows:,} rows "
        f"if quotes are part of the fields: pass {parameter('quote', chr(34))} or {parameter('quote', None)}",
    )


def _first_line_of(file: Path, zipped: bool) -> bytes:
    """Return the first line that is not empty."""
    name = str(file)
    try:
        with open_bytes(file, zipped) as stream:
            line = b""
            while not line.strip():
                line = stream.readline(WIDEST)
                if not line:
                    raise ValueError(f"{name!r} is empty: it must hold a row for each interaction")
    except (EOFError, OSError) as error:
        raise _unreadable(name, error) from None
    if b"\0" in line[:4096] or line.startswith((b"\xff\xfe", b"\xfe\xff", b"PK\x03\x04")):
        raise ValueError(f"{name!r} is binary data, not UTF-8 text: it must be CSV, TSV (gzip or not) or Parquet")
    if len(line) == WIDEST:
        raise ValueError(f"{name!r} has a first line of more than {WIDEST >> 20} MiB: it must be a table of text")
    return line


def _check_separator(file: Path, dialect: Dialect, first: bytes) -> str:
    name, separator = str(file), dialect.separator
    if separator is None:
        stem = file.with_suffix("") if file.suffix.lower() == ".gz" else file
        separator = BY_SUFFIX.get(stem.suffix.lower())
    if separator is None:  # .dat, .data, .txt: according to the first line
        found = (one for one in SEPARATORS if one.encode() in first)
        separator = "::" if b"::" in first else next(found, None)
        if separator is None:
            raise _no_separator(name, first)
    if not _is_character(separator) or separator == dialect.quote or (dialect.quote == "auto" and separator == '"'):
        raise refusal(
            ValueError,
            f"{parameter('separator')} must be one ASCII character, got {separator!r} for {name!r}: replace it in the "
            "file" + (" (sed 's/::/\\t/g' ratings.dat > ratings.tsv)" if separator == "::" else ""),
        )
    return separator


def _no_separator(name: str, first: bytes) -> ValueError:
    advice = f"pass {parameter('separator')}="
    if b" " in first.strip():
        several = b"  " in first.strip()
        advice = f"replace the spaces between fields with tabs {SEVERAL_SPACES}" if several else (
            f"pass {parameter('separator', ' ')} if spaces separate its fields"
        )  # fmt: skip
    return refusal(ValueError, f"{name!r} has no tab, semicolon or comma in its first line: {advice}")


def _unreadable(name: str, error: Exception, line: int = 0) -> ValueError:
    if isinstance(error, QuoteError):
        return about(_open_quote(line + 1), f"{name!r} cannot be read: ")
    return ValueError(f"{name!r} has truncated or damaged gzip data ({error}): copy or download it again")


def read_text(file: Path, start: bytes, roles: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return the column of each role."""
    import pyarrow as pa

    dialect.check()
    text = Text.open(file, start, roles, dialect)
    text.check_quotes()
    table = _parse(text, {at: "float64" if role == "value" else "string" for role, at in text.columns.items()})
    out = {}
    for role, at in text.columns.items():
        column, bad = table.column(str(at)), None
        is_text = role == "title" or role.startswith("feature")
        if is_text or role in ("user", "item", "id", "kind"):
            column = without(column, [""]) if is_text else convert_ids(column)
            if pa.types.is_string(column.type) and (bad := first_bad(column, forbidden="\0")) is not None:
                raise ValueError(f"{text.name} has a NUL byte in line {text.line(bad.row):,}: it must be UTF-8 text")
        elif role == "time":
            column, bad = convert_times(without(column, MISSING), dialect.decimal)
        else:
            column = without(column, MISSING) if pa.types.is_string(column.type) else column
            column, bad = convert_numbers(column, dialect.decimal)
        if bad is not None:
            raise _bad_entry(text, role, roles[role], bad)
        out[role] = column
    return out


def text_names(file: Path, start: bytes, dialect: Dialect, column: Any) -> list[str]:
    """Return the names in the header, or the positions of the columns if there is none."""
    dialect.check()
    text = Text.open(file, start, {"id": column}, dialect)
    if not text.dialect.header:
        return [str(at) for at in range(text.width)]
    return next(records(file, text.zipped, text.separator, text.quote)).fields


def _bad_entry(text: Text, role: str, column: Any, bad: Bad) -> ValueError:
    what = "numbers or ISO dates" if role == "time" else "finite numbers"
    advice = "correct or remove that line"
    if re.fullmatch(r"\s*[-+]?\d*,\d+\s*", bad.text):
        advice = f"pass {parameter('decimal', ',')} if commas separate decimals"
    return refusal(
        ValueError,
        f"{text.name} must hold {what} in {parameter(role, column)}, got {bad.text[:80]!r} in line "
        f"{text.line(bad.row):,}: {advice}",
    )


def _parse(text: Text, types: dict[int, str]) -> Any:
    """Return a table of the chosen columns, named by their positions; errors in the file name the line."""
    import pyarrow as pa
    import pyarrow.csv as pc

    block = text.block
    while True:
        try:
            with pa.OSFile(str(text.file)) as raw:
                stream = pa.CompressedInputStream(raw, "gzip") if text.zipped else raw
                return pc.read_csv(
                    stream,
                    pc.ReadOptions(
                        block_size=block, skip_rows=text.skip, column_names=[str(at) for at in range(text.width)]
                    ),
                    pc.ParseOptions(
                        delimiter=text.separator, quote_char=text.quote or False,
                        newlines_in_values=text.quote is not None,
                    ),
                    pc.ConvertOptions(
                        column_types={str(at): getattr(pa, dtype)() for at, dtype in types.items()},
                        include_columns=[str(at) for at in types],
                        null_values=MISSING,
                        decimal_point=text.dialect.decimal,
                    ),
                )  # fmt: skip
        except (pa.ArrowException, OSError, UnicodeError) as error:
            if "float64" in types.values() and "conversion error" in str(error):
                types = dict.fromkeys(types, "string")  # to find the line
                continue
            fault = text.fault()
            if fault is None and "straddl" in str(error) and block < 4 * WIDEST:
                block *= 8
                continue
            raise about(fault or ValueError(_first_line(error)), f"{text.name} cannot be read: ") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
