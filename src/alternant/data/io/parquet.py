"""Columns of Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..._utils.messages import parameter, refusal
from .roles import find_column, find_columns, settle
from .text_columns import convert_times


def read_parquet(file: Path, roles: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the requested columns by their names in the file, and the column name of each role."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = str(file)
    try:
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            at = find_columns(name, settle(name, roles, schema.names, True), schema.names)
            for role, number in at.items():
                find_column(name, role, schema.names[number], schema.names)  # its name must be unique
                _check_flat(name, role, schema.field(number))
            table = parquet.read(columns=list({schema.names[number] for number in at.values()}))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(
            f"{name!r} is not a complete Parquet file ({reason}): it was truncated or damaged; write it again"
        ) from None
    names = {role: schema.names[number] for role, number in at.items()}
    columns = {called: table.column(called) for called in names.values()}  # under their names in the file, for messages
    time = names.get("time")
    if time is not None and _is_text(columns[time].type):
        columns[time], bad = convert_times(columns[time].cast(pa.string()))
        if bad is not None:
            raise refusal(
                ValueError,
                f"{name!r} must hold numbers or ISO dates in {parameter('time', roles['time'])}, got {bad.text!r} in "
                f"row {bad.row}",
            )
    return columns, names


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
