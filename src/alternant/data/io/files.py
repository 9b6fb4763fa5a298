"""Tables in files, CSV and its kin and Parquet, read with pyarrow: the columns of interactions and nothing else."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .text_columns import convert_ids, convert_numbers, convert_times, first_bad

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
WIDEST = 1 << 26  # bytes of a line; a header of a million columns has 10 MB
BLOCK = 1 << 20  # bytes that are parsed at a time
MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]
OPEN_QUOTE = "a quote in line {:,} or soon after is never closed, or closed amid a field"
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"


class NameOrPosition(str):
    """A number as text: the column that is called so, else the one at that position."""


def read(
    path: str | os.PathLike[str], asked: dict[str, Any], separator: str | None, header: bool | None
) -> tuple[Any, dict[str, str]]:
    """Read the columns that are asked for; see `Interactions.from_file`.

    Parameters
    ----------
    path, separator, header
    asked : dict
        By role the column; None: there is none. The roles user, item and id hold ids, value numbers, time times and
        title texts.

    Returns
    -------
    table : pyarrow.Table
    columns : dict
        What the table calls the column of each role.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise ImportError("reading files needs pyarrow: pip install 'alternant[files]'") from None
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder: name the file in it")
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    if not file.is_file():
        raise ValueError(
            f"{str(path)!r} is a pipe or a device, and a table is read more than once: write it to a file first"
        )
    with file.open("rb") as stream:
        start = stream.read(8)
    if not start:
        raise ValueError(f"{str(path)!r} is empty: it must hold a row for each interaction")
    roles = {role: column for role, column in asked.items() if column is not None}
    if start.startswith(PARQUET) or file.suffix.lower() in (".parquet", ".pq"):
        columns, names = _read_parquet(file, roles)
    else:
        columns = _read_text(Text.open(file, start, roles, separator, header), roles)
        names = {role: role for role in roles}
    return pa.table(columns), names


# Parquet


def _read_parquet(file: Path, roles: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = str(file)
    try:
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            at = _places(name, _settled(name, roles, schema.names, True), schema.names)
            for role, number in at.items():
                _find(name, role, schema.names[number], schema.names)  # one name, one column, even by position
                _check_flat(name, role, schema.field(number))
            table = parquet.read(columns=list({schema.names[number] for number in at.values()}))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{name!r} is no whole Parquet file ({_first_line(error)}): it was cut short or damaged, write it again"
        ) from None
    names = {role: schema.names[number] for role, number in at.items()}
    columns = {called: table.column(called) for called in names.values()}  # as they are called there: messages tell
    time = names.get("time")
    if time is not None and _is_text(columns[time].type):
        columns[time], bad = convert_times(columns[time].cast(pa.string()))
        if bad is not None:
            raise ValueError(
                f"{name!r} must hold numbers or ISO dates in time={roles['time']!r}, got {bad.text!r} in row {bad.row}"
            )
    return columns, names


def _is_text(dtype: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))


def _check_flat(name: str, role: str, field: Any) -> None:
    import pyarrow as pa

    if pa.types.is_nested(field.type):
        raise TypeError(
            f"{name!r} must hold plain values in the column {role}={field.name!r}, got {field.type}: unnest it first"
        )


# Text


@dataclass(frozen=True)
class Text:
    """A file of delimited text."""

    file: Path
    zipped: bool
    separator: str
    header: list[str] | None  # None: the first line is data
    width: int  # columns
    skip: int  # lines before the data
    block: int
    columns: dict[str, int]  # where each role is found

    @property
    def name(self) -> str:
        """The file, as messages call it."""
        return repr(str(self.file))

    @classmethod
    def open(cls, file: Path, start: bytes, roles: dict[str, Any], separator: str | None, header: bool | None) -> Text:
        """Read the first lines and find the columns."""
        name, zipped = str(file), start.startswith(GZIP)
        first = _first_line_of(file, zipped)
        separator = _check_separator(file, separator, first)
        records, line = _records(file, zipped, separator), 0
        try:
            line, top = next(records)
            second = next(records, None)
            skip = second[0] - 1 if second is not None else 0
        except (EOFError, OSError, UnicodeError, csv.Error, StopIteration) as error:
            raise _unreadable(name, error, line) from None
        top = [field.removeprefix("\ufeff") for field in top]
        roles = _settled(name, roles, top, header)
        positions = [column for column in roles.values() if isinstance(column, int) and not isinstance(column, bool)]
        if header is None:
            header = len(positions) < len(roles) or _has_header(name, top, second[1] if second else None, positions)
        if not header and len(positions) < len(roles):
            role, column = next((role, at) for role, at in roles.items() if not isinstance(at, int))
            raise ValueError(f"{role}={column!r} must be a position from 0 on where {name!r} has no header")
        if header and second is None:
            raise ValueError(f"{name!r} holds a header and no rows: it must hold a row for each interaction")
        columns = _places(name, roles, top, header, separator)
        block = max(BLOCK, 4 * len(first))
        return cls(file, zipped, separator, top if header else None, len(top), skip if header else 0, block, columns)

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows with the number of the line that each starts in, as an editor counts them; slow."""
        for line, fields in _records(self.file, self.zipped, self.separator):
            if line > self.skip:
                yield line, fields

    def line(self, row: int) -> int:
        """Return the number of the line that a row starts in."""
        return next(line for at, (line, _) in enumerate(self.records()) if at == row)

    def fault(self) -> str | None:
        """Return what is wrong with the first bad line, or None; slow."""
        line = self.skip
        try:
            for line, fields in self.records():
                if len(fields) != self.width:
                    expected = "the header" if self.header is not None else "the first line"
                    return f"line {line:,} has {len(fields):,} fields and {expected} {self.width:,}"
                if any("\udc80" <= char <= "\udcff" for field in fields for char in field):
                    return f"line {line:,} is not valid UTF-8: save the file in UTF-8"
        except csv.Error:
            return OPEN_QUOTE.format(line + 1)
        except (EOFError, OSError):
            return "its gzip data end too early or are damaged: copy or download it again"
        return None


def _first_line_of(file: Path, zipped: bool) -> bytes:
    """Return the first line that is not empty."""
    name = str(file)
    try:
        with _open(file, zipped) as stream:
            line = b""
            while not line.strip():
                line = stream.readline(WIDEST)
                if not line:
                    raise ValueError(f"{name!r} is empty: it must hold a row for each interaction")
    except (EOFError, OSError) as error:
        raise _unreadable(name, error) from None
    if b"\0" in line[:4096] or line.startswith((b"\xff\xfe", b"\xfe\xff", b"PK\x03\x04")):
        raise ValueError(f"{name!r} holds no UTF-8 text but binary data: it must be CSV, TSV (gzip or not) or Parquet")
    if len(line) == WIDEST:
        raise ValueError(f"{name!r} has a first line of more than {WIDEST >> 20} MiB: it must be a table of text")
    return line


def _open(file: Path, zipped: bool) -> IO[bytes]:
    return gzip.open(file) if zipped else file.open("rb")  # type: ignore[return-value]


def _records(file: Path, zipped: bool, separator: str) -> Iterator[tuple[int, list[str]]]:
    with _open(file, zipped) as stream:
        text = io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="")
        reader = csv.reader(text, delimiter=separator, strict=True)
        line = 0
        for fields in reader:
            if fields:  # pyarrow passes over empty lines, too
                yield line + 1, fields
            line = reader.line_num


def _check_separator(file: Path, separator: str | None, first: bytes) -> str:
    name = str(file)
    if separator is None:
        stem = file.with_suffix("") if file.suffix.lower() == ".gz" else file
        separator = SEPARATORS.get(stem.suffix.lower())
    if separator is None:  # .dat, .data, .txt: by what the first line holds
        separator = "::" if b"::" in first else next((one for one in "\t;,|" if one.encode() in first), None)
        if separator is None:
            raise ValueError(f"{name!r} has no tab, semicolon or comma in its first line: pass separator=")
    if not isinstance(separator, str) or len(separator.encode()) != 1 or separator in '"\r\n':
        raise ValueError(
            f"separator must be one ASCII character, got {separator!r} for {name!r}: replace it in the file"
            + (" (sed 's/::/\\t/g' ratings.dat > ratings.tsv)" if separator == "::" else "")
        )
    return separator


def _has_header(name: str, top: list[str], second: list[str] | None, positions: list[int]) -> bool:
    """Whether the first line is a header, where columns are given by position; refuses what could be both."""
    numbers = [_is_number(top[at]) for at in positions if 0 <= at < len(top)]
    below = [_is_number(second[at]) for at in positions if second and 0 <= at < len(top) and at < len(second)]
    if any(numbers) or not any(below):
        raise _ambiguous(name, top)
    return True


def _ambiguous(name: str, top: list[str]) -> ValueError:
    return ValueError(
        f"the first line of {name!r} may be a header or data ({_sample(top)}) where columns are given by position: "
        "pass header=False if it is data, header=True if not"
    )


def _settled(name: str, roles: dict[str, Any], top: list[str], header: bool | None) -> dict[str, Any]:
    """Tell names from positions where a number was written as text: a column that is called so is meant."""
    unsure = [column for column in roles.values() if isinstance(column, NameOrPosition)]
    called = header is not False and any(column in top for column in unsure)
    if called and header is None and all(isinstance(column, (int, NameOrPosition)) for column in roles.values()):
        raise _ambiguous(name, top)
    return {
        role: int(column) if isinstance(column, NameOrPosition) and not (called and column in top) else column
        for role, column in roles.items()
    }


def _places(
    file: str, roles: dict[str, Any], names: list[str], header: bool = True, separator: str | None = None
) -> dict[str, int]:
    """Return where the column of each role is, each another."""
    places: dict[str, int] = {}
    for role, column in roles.items():
        at = _find(file, role, column, names, header, separator)
        for other, place in places.items():
            if place == at:
                raise ValueError(
                    f"{role}={column!r} must be another column of {file!r} than {other}={roles[other]!r}, got one for "
                    "both"
                )
        places[role] = at
    return places


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _sample(names: list[str], limit: int = 12) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:limit])
    return f"{len(names):,} columns: {shown}, ..." if len(names) > limit else shown


def _find(
    file: str, role: str, column: Any, names: list[str], header: bool = True, separator: str | None = None
) -> int:
    """Return the position of a column given by name or position."""
    if isinstance(column, int) and not isinstance(column, bool):
        if 0 <= column < len(names):
            return column
        raise ValueError(
            f"{role}={column} must be a position from 0 to {len(names) - 1:,}: {file!r} has {_sample(names)}"
        )
    if not header or column not in names:
        hint = ""
        if separator is not None and len(names) == 1:
            other = next((one for one in ",;\t|" if one in names[0]), None)
            hint = f": pass separator={other!r}" if other else ""
        elif separator is not None and any(_is_number(name) for name in names):
            hint = " in its first line: if that is no header, pass header=False and positions"
        raise ValueError(f"{role}={column!r} must be a column: {file!r} has {_sample(names)}{hint}")
    if names.count(column) > 1:
        raise ValueError(f"{role}={column!r} must be one column, {file!r} has {names.count(column)} so called" + (
            f": pass a position, such as {role}={names.index(column)}" if separator is not None else ": rename them"
        ))  # fmt: skip
    return names.index(column)


def _unreadable(name: str, error: Exception, line: int = 0) -> ValueError:
    if isinstance(error, csv.Error):
        return ValueError(f"{name!r} cannot be read: {OPEN_QUOTE.format(line + 1)}")
    if isinstance(error, StopIteration):
        return ValueError(f"{name!r} is empty: it must hold a row for each interaction")
    return ValueError(f"{name!r} has gzip data that end too early or are damaged ({error}): copy or download it again")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


def _read_text(text: Text, roles: dict[str, Any]) -> dict[str, Any]:
    import pyarrow as pa

    table = _parse(text, {at: "float64" if role == "value" else "string" for role, at in text.columns.items()})
    out = {}
    for role, at in text.columns.items():
        column, bad = table.column(str(at)), None
        if role in ("user", "item", "id", "title"):
            column = column if role == "title" else convert_ids(column)
            if pa.types.is_string(column.type) and (bad := first_bad(column, forbidden="\0")) is not None:
                raise ValueError(f"{text.name} has a NUL byte in line {text.line(bad.row):,}: it must be UTF-8 text")
        elif role == "time":
            column, bad = convert_times(column)
        else:
            column, bad = convert_numbers(column)
        if bad is not None:
            what = "numbers or ISO dates" if role == "time" else "finite numbers"
            raise ValueError(
                f"{text.name} must hold {what} in {role}={roles[role]!r}, got {bad.text[:80]!r} in line "
                f"{text.line(bad.row):,}: correct or remove that line"
            )
        out[role] = column
    return out


def _parse(text: Text, types: dict[int, str]) -> Any:
    """Return a table of the chosen columns, named by their positions; faults of the file are told by their line."""
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
                    pc.ParseOptions(delimiter=text.separator, newlines_in_values=True),
                    pc.ConvertOptions(
                        column_types={str(at): getattr(pa, dtype)() for at, dtype in types.items()},
                        include_columns=[str(at) for at in types],
                        strings_can_be_null=True,
                        null_values=MISSING,
                    ),
                )
        except (pa.ArrowException, OSError, UnicodeError) as error:
            if "float64" in types.values() and "conversion error" in str(error):
                types = dict.fromkeys(types, "string")  # to find the line
                continue
            fault = text.fault()
            if fault is None and "straddl" in str(error) and block < 4 * WIDEST:
                block *= 8
                continue
            raise ValueError(f"{text.name} cannot be read: {fault or _first_line(error)}") from None
