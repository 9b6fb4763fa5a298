"""Columns of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..._utils.messages import parameter, refusal
from .roles import find_column, find_columns, settle
from .text_columns import convert_times


def read_parquet(file: Path, roles: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the requested columns by their names in the file, and the column name of each role."""
    with open_parquet(file) as parquet:
        names = role_names(file, roles, parquet.schema_arrow)
        table = parquet.read(columns=list(names.values()))
    return named_columns(file, roles, table, names), names


@contextmanager
def open_parquet(file: Path, metadata: Any = None) -> Iterator[Any]:
    """Yield an open `pyarrow.parquet.ParquetFile`; raise for a damaged file, also if that is found while it is read.

    Parameters
    ----------
    file : Path
    metadata : pyarrow.parquet.FileMetaData, optional
        That of the file, if it has been read before.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, metadata=metadata) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as error:
        with file.open("rb") as stream:
            if stream.read(3) != b"PAR":
                named = file.suffix == ".parquet"
                advice = "rename it if it holds text" if named else "from_file reads CSV and TSV files"
                raise ValueError(f"{str(file)!r} is no Parquet file: {advice}") from None
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(
            f"{str(file)!r} is not a complete Parquet file ({reason}): it was truncated or damaged; write it again"
        ) from None


def role_names(file: Path, roles: dict[str, Any], schema: Any) -> dict[str, str]:
    """Return the column name of each role in a file with this schema, checked."""
    name = str(file)
    at = find_columns(name, settle(name, roles, schema.names, True), schema.names)
    for role, number in at.items():
        find_column(name, role, schema.names[number], schema.names)  # its name must be unique
        _check_flat(name, role, schema.field(number))
    return {role: schema.names[number] for role, number in at.items()}


def named_columns(file: Path, roles: dict[str, Any], table: Any, names: dict[str, str]) -> dict[str, Any]:
    """Return the columns of roles by their names, as messages call them; times given as text are converted."""
    import pyarrow as pa

    columns = {called: table.column(called) for called in names.values()}
    time = names.get("time")
    if time is not None and _is_text(columns[time].type):
        columns[time], bad = convert_times(columns[time].cast(pa.string()))
        if bad is not None:
            raise refusal(
                ValueError,
                f"{str(file)!r} must hold numbers or ISO dates in {parameter('time', roles['time'])}, got "
                f"{bad.text!r} in row {bad.row}",
            )
    return columns


def parquet_names(file: Path) -> list[str]:
    """Return the names of the columns; read_parquet reports a file that is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            return [str(name) for name in parquet.schema_arrow.names]
    except (pa.ArrowException, OSError):
        return []


def _is_text(dtype: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))


def _check_flat(name: str, role: str, field: Any) -> None:
    import pyarrow as pa

    if pa.types.is_nested(field.type):
        raise refusal(
            TypeError,
            f"{name!r} must hold plain values in the column {parameter(role, field.name)}, got {field.type}: unnest it "
            "first",
        )
