"""Tables in files, delimited text and Parquet, read with pyarrow: only the columns of interactions."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from ..._utils.atomic import as_path
from .parquet import parquet_names, read_parquet
from .text import Dialect, read_text, text_names
from .text_columns import numbers_or_texts

PARQUET = b"PAR1"


def read_features(
    path: str | os.PathLike[str], id_column: str | int, columns: Any, dialect: Dialect
) -> tuple[Any, str]:
    """Read a table of features: ids, and the chosen columns or all others; texts that are all numbers as numbers.

    Returns
    -------
    table : pyarrow.Table
        Its columns have the names in the file, or their positions.
    id_column : str
        The name of the column of ids.
    """
    file = checked(path)
    with file.open("rb") as stream:
        start = stream.read(8)
    parquet = start.startswith(PARQUET) or file.suffix.lower() in (".parquet", ".pq")
    names = parquet_names(file) if parquet else text_names(file, start, dialect, id_column)
    at = id_column if isinstance(id_column, int) else names.index(id_column) if id_column in names else -1
    if columns is None:
        columns = [one for one in range(len(names)) if one != at]
    asked = {"id": id_column, **{f"feature {number}": column for number, column in enumerate(columns)}}
    table, found = read(path, asked, dialect)
    import pyarrow as pa

    out = {"id": table.column(found["id"])}
    for number, column in enumerate(columns):
        values = table.column(found[f"feature {number}"])
        if not parquet:
            values = numbers_or_texts(values, dialect.decimal)
        out[names[column] if isinstance(column, int) and 0 <= column < len(names) else str(column)] = values
    return pa.table(out), "id"


def read(path: str | os.PathLike[str], asked: dict[str, Any], dialect: Dialect) -> tuple[Any, dict[str, str]]:
    """Read the requested columns; see `Interactions.from_file`.

    Parameters
    ----------
    path : path
    asked : dict
        The column of each role, or None. The roles user, item, id and kind hold ids, value holds numbers, time times,
        and title texts.
    dialect : Dialect
        The format of text.

    Returns
    -------
    table : pyarrow.Table
    columns : dict
        The name in the table of each role's column.
    """
    file = checked(path)
    import pyarrow as pa

    with file.open("rb") as stream:
        start = stream.read(8)
    roles = {role: column for role, column in asked.items() if column is not None}
    if start.startswith(PARQUET) or file.suffix.lower() in (".parquet", ".pq"):
        columns, names = read_parquet(file, roles)
    else:
        columns = read_text(file, start, roles, dialect)
        names = {role: role for role in roles}
    return pa.table(columns), names


def checked(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that can be read as a table, or raise."""
    if importlib.util.find_spec("pyarrow") is None:
        raise ImportError("reading files needs pyarrow: pip install 'alternant[files]'")
    file = as_path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder: pass the path of a file")
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    if not file.is_file():
        raise ValueError(
            f"{str(path)!r} is a pipe or a device, but a table is read more than once: write it to a file first"
        )
    with file.open("rb") as stream:
        start = stream.read(8)
    if not start:
        raise ValueError(f"{str(path)!r} is empty: it must hold a row for each interaction")
    return file
