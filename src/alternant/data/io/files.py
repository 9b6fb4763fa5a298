"""Tables in files, delimited text and Parquet, read with pyarrow: only the columns of interactions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .parquet import read_parquet
from .text import Dialect, read_text

PARQUET = b"PAR1"


def read(path: str | os.PathLike[str], asked: dict[str, Any], dialect: Dialect) -> tuple[Any, dict[str, str]]:
    """Read the requested columns; see `Interactions.from_file`.

    Parameters
    ----------
    path : path
    asked : dict
        The column of each role, or None. The roles user, item and id hold ids, value holds numbers, time times, and
        title texts.
    dialect : Dialect
        The format of text.

    Returns
    -------
    table : pyarrow.Table
    columns : dict
        The name in the table of each role's column.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise ImportError("reading files needs pyarrow: pip install 'alternant[files]'") from None
    file = Path(path)
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
    roles = {role: column for role, column in asked.items() if column is not None}
    if start.startswith(PARQUET) or file.suffix.lower() in (".parquet", ".pq"):
        columns, names = read_parquet(file, roles)
    else:
        columns = read_text(file, start, roles, dialect)
        names = {role: role for role in roles}
    return pa.table(columns), names
