"""Ranked lists in Parquet files: columns are made by pyarrow, without a Python object for each row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import frames

if TYPE_CHECKING:
    from ..ids import Ids

ROWS = 1 << 18  # of a row group, roughly: some 5 MB in memory
TOGETHER = 1 << 13  # users: row groups of more have a multiple of it, so that blocks of this size fill them
# Of 10^6 rows (AMD EPYC, one thread): 0.08 s and 6.8 MB, with Snappy and all dictionaries 0.17 s and 9.5 MB. The users
# of a row group have no dictionary, which would be almost as large as the column.
COMPRESSION = {"compression": "zstd", "compression_level": 1}

Block = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # user ids, row numbers of items, scores


class ParquetLists:
    """Writes the lists of users, blocks of which are user ids, row numbers of items (-1: none) and scores.

    Parameters
    ----------
    users : Ids, array or None
        The ids of all users, or at least one of each type; None: they are row numbers.
    items : Ids or None
        The ids of all items, by row number.
    titles : array or None
        The titles of all items.
    dtype : dtype
        Of scores.
    names : dict
        The names of the columns user, item, score, rank and, with titles, title.
    """

    def __init__(
        self, users: Ids | NDArray[Any] | None, items: Ids | None, titles: NDArray[Any] | None, dtype: np.dtype[Any],
        names: dict[str, str],
    ) -> None:  # fmt: skip
        import pyarrow as pa

        self.titles: NDArray[Any] | None = titles
        self.names: dict[str, str] = names
        of_users = type_of_ids("user", users)
        self._items = None if items is None else arrow_values("item", items.values)
        self._titles = None if titles is None else arrow_values("title", titles)
        of_items = pa.int32() if self._items is None else self._items.type
        types = {"user": of_users, "item": of_items, "score": pa.from_numpy_dtype(dtype), "rank": pa.int64()}
        if self._titles is not None:
            types["title"] = self._titles.type
        self._schema = pa.schema([(names[name], kind) for name, kind in types.items()])

    @staticmethod
    def users_of_group(k: int) -> int:
        """Return the number of users whose lists make a row group."""
        users = max(1, ROWS // k)
        return users - users % TOGETHER if users > TOGETHER else users

    @contextmanager
    def open(self, path: str | os.PathLike[str]) -> Iterator[Callable[[Iterable[Block]], int]]:
        """Yield a function that writes blocks of lists as one row group, and returns the number of its rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        coded = [self.names[name] for name in ("item", "rank", "title") if name in self.names]
        with pq.ParquetWriter(path, self._schema, use_dictionary=coded, **COMPRESSION) as parquet:

            def write(blocks: Iterable[Block]) -> int:
                table = pa.concat_tables([self._table(*block) for block in blocks]).combine_chunks()
                if len(table):
                    parquet.write_table(table, row_group_size=len(table))
                return len(table)

            yield write

    def _table(self, users: NDArray[Any], items: NDArray[Any], scores: NDArray[Any]) -> Any:
        import pyarrow as pa

        found = ~np.isneginf(scores)
        rows, places = np.nonzero(found)
        numbers = pa.array(items[found])
        columns = [
            pa.array(frames.plain_column(users), self._schema.types[0]).take(pa.array(rows)),
            numbers if self._items is None else self._items.take(numbers), scores[found], places + 1,
        ]  # fmt: skip
        if self._titles is not None:
            columns.append(self._titles.take(numbers))
        return pa.table(columns, schema=self._schema)


def type_of_ids(name: str, ids: Ids | NDArray[Any] | None) -> Any:
    """Return the type of a column of ids; ids that are mapped from files do not become Python objects."""
    import pyarrow as pa

    if ids is None or (not isinstance(ids, np.ndarray) and ids.are_numbers):
        return pa.int64()
    if isinstance(ids, np.ndarray):
        return pa.from_numpy_dtype(ids.dtype) if ids.dtype != object else arrow_values(name, ids).type
    return pa.string() if ids.types == {str} else arrow_values(name, ids.values).type


def arrow_values(name: str, values: NDArray[Any]) -> Any:
    """Return values as a pyarrow array; they must be of one type."""
    import pyarrow as pa

    try:
        return pa.array(frames.plain_column(values))
    except (ArithmeticError, NotImplementedError, TypeError, ValueError):  # pyarrow's errors are subclasses of these
        raise TypeError(
            f"{name}s must be of one type, such as strings or 64-bit numbers, to be written to a Parquet file, got "
            f"{frames.kinds_of(values)}: write a .csv file, or pass a function"
        ) from None
