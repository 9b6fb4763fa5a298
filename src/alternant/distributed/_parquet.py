"""Shards of a folder of Parquet files that all workers can read.

Each worker reads some of the files, or of their row groups. The distinct ids of users and items are merged by a tree of
tasks and numbered in ascending order, as `Interactions` numbers them. The users are then cut into ranges of ids with
about equally many rows, and every part is cut along them: what belongs to a shard goes to its worker, which numbers the
users and merges repeated pairs. A shard that is lost is read again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._utils.messages import about, parameter, refusal
from .._utils.validation import check_choice
from ..data.build import pairs_of
from ..data.factorize import factorize
from ..data.ids import Ids, used_ids
from ..data.pairs import AGGREGATES, EventTable
from ..data.ratings import check_ratings, refuse_sums
from ..data.validation import check_interactions
from ..data.values import object_array
from . import _shard
from ._cluster import Cluster
from ._rows import bounds_of
from ._shard import Shard

if TYPE_CHECKING:
    from .._typing import Aggregate

PART_ROWS = 1 << 22  # a file with more is read by several tasks, if it has several row groups


@dataclass(frozen=True)
class Parquet:
    """A folder of Parquet files with a row for each interaction, on a file system that all workers share.

    Parameters
    ----------
    folder : path
        All files in it, and in folders in it, whose names end in ``.parquet`` and do not begin with ``.`` or ``_``, in
        the order of their paths; or a single file.
    user, item, value, time : str
        The names of the columns, as for `Interactions.from_file`; without `value`, each row counts 1.
    aggregate : {"sum", "max", "last", "mean", "error"}
        How to combine several rows of the same pair, as for `Interactions`.
    """

    folder: str | os.PathLike[str]
    user: str
    item: str
    value: str | None = None
    time: str | None = None
    aggregate: Aggregate = "sum"

    def __post_init__(self) -> None:
        """Check the arguments; the files are checked by `fit`."""
        check_choice("aggregate", self.aggregate, AGGREGATES)
        for role, column in self.columns().items():
            if not isinstance(column, str):
                raise refusal(TypeError, f"{parameter(role)} must be the name of a column, got {column!r}")
        if len(set(self.columns().values())) < len(self.columns()):
            raise ValueError(f"each role must have a column of its own, got {self.columns()}")

    def columns(self) -> dict[str, str]:
        """Return the column of each role that has one."""
        given = {"user": self.user, "item": self.item, "value": self.value, "time": self.time}
        return {role: column for role, column in given.items() if column is not None or role in ("user", "item")}  # type: ignore[misc]

    def parts(self) -> list[tuple[str, tuple[int, ...]]]:
        """Return the files, and the row groups to read of each, that tasks read; check the columns."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = Path(self.folder)
        if not folder.exists():
            raise FileNotFoundError(f"there is no folder {str(folder)!r}")
        files = [folder] if folder.is_file() else sorted(
            path for path in folder.rglob("*.parquet")
            if not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        )  # fmt: skip
        if not files:
            raise FileNotFoundError(f"{str(folder)!r} has no files whose names end in .parquet: pass another folder")
        parts: list[tuple[str, tuple[int, ...]]] = []
        kinds: dict[str, tuple[str, str]] = {}
        for file in files:
            try:
                with pq.ParquetFile(file) as parquet:
                    schema, metadata = parquet.schema_arrow, parquet.metadata
            except (pa.ArrowException, OSError) as error:
                raise _damaged(str(file), error) from None
            for role, column in self.columns().items():
                if column not in schema.names:
                    raise refusal(
                        ValueError,
                        f"{parameter(role, column)} must be a column: {str(file)!r} has "
                        f"{', '.join(map(repr, schema.names))}",
                    )
                found, kind = kinds.setdefault(role, (str(file), _kind(schema.field(column).type)))
                if role in ("user", "item") and _kind(schema.field(column).type) != kind:
                    raise TypeError(
                        f"the column {column!r} must have one type, got {kind} in {found!r} and "
                        f"{_kind(schema.field(column).type)} in {str(file)!r}: convert one of them"
                    )
            rows, groups = 0, list[int]()
            for group in range(metadata.num_row_groups):
                groups.append(group)
                rows += metadata.row_group(group).num_rows
                if rows >= PART_ROWS or group == metadata.num_row_groups - 1:
                    parts.append((str(file.absolute()), tuple(groups)))
                    rows, groups = 0, []
        return parts


class Part(NamedTuple):
    """Some rows of the source: the events, and the ids that their numbers stand for."""

    events: EventTable
    users: NDArray[Any]
    items: NDArray[Any]


class Distinct(NamedTuple):
    """The ids of some parts, ascending, and the number of rows of each user."""

    users: NDArray[Any]
    counts: NDArray[np.int64]
    items: NDArray[Any]


class ParquetShards:
    """The shards of a folder.

    Parameters
    ----------
    source : Parquet
    cluster : Cluster
    dtype : dtype
        Of the values.
    shards : function
        From the number of rows to the number of shards.
    missing_value : float or None
        Of values that are ratings; None: they are not.
    """

    def __init__(
        self, source: Parquet, cluster: Cluster, dtype: np.dtype[Any], shards: Callable[[int], int],
        missing_value: float | None = None,
    ) -> None:  # fmt: skip
        if missing_value is not None and source.value is None:
            raise refusal(
                ValueError,
                f"source must hold ratings, got {parameter('value', None)}, so that each would be 1: name their column",
            )
        self.source, self.dtype, self._missing_value, self._parts = source, dtype, missing_value, source.parts()
        client, columns = cluster.client, source.columns()
        self._read = [client.submit(read, *part, columns, pure=False) for part in self._parts]
        merged = [client.submit(distinct, part, pure=False) for part in self._read]
        while len(merged) > 1:
            merged = [
                pair[0] if len(pair) == 1 else client.submit(merge, *pair, columns, pure=False)
                for pair in (merged[at : at + 2] for at in range(0, len(merged), 2))
            ]
        if not merged:
            raise _no_rows(source)
        (found,) = cluster.results(merged)
        if not len(found.users):
            raise _no_rows(source)
        self.users, self.items, self.n_items = found.users, found.items, len(found.items)
        self.bounds = bounds_of(found.counts, shards(int(found.counts.sum())))
        self._firsts = self.users[self.bounds[:-1]]  # the least id of each shard
        # Kept until all shards are made, and made again if a worker is lost meanwhile.
        self._cut = [client.submit(cut, part, self._firsts, pure=False) for part in self._read]
        self._read = []

    def create(self, cluster: Cluster, number: int, address: str) -> Any:
        """Return a future of making a shard on a worker."""
        client = cluster.client
        if self._cut:
            pieces = [client.submit(piece, part, number, pure=False) for part in self._cut]
        else:
            columns = self.source.columns()
            pieces = [client.submit(read_piece, *part, columns, self._firsts, number, pure=False)
                      for part in self._parts]  # fmt: skip
        first, last = self.bounds[number], self.bounds[number + 1]
        return client.submit(
            _shard.create, cluster.key, number, make, pieces, cluster.shared("items", Ids(self.items)), first,
            last - first, self.source, self.dtype.str, self._missing_value, workers=[address], pure=False,
        )  # fmt: skip

    def made(self) -> None:
        """Let the workers free what they have read: all shards are there."""
        self._cut = []

    def item_ids(self) -> NDArray[Any]:
        """Return the ids of the items."""
        return np.asarray(self.items)

    def attributes(self) -> dict[str, Any]:
        """Return the model's attributes that name its users and items."""
        return {"_user_ids": Ids(self.users), "_item_ids": Ids(self.items), "_library": "pyarrow"}

    def places(self, model: Any, kind: str) -> NDArray[np.int64]:
        """Return the row numbers of the model's users or items, by their ids."""
        known = model._ids_of(kind)
        if known is None:
            raise ValueError(
                f"warm_start finds {kind}s in a Parquet by their ids, but the model has none: pass the source that it "
                "was fitted to, or set warm_start=False"
            )
        return np.asarray(Ids(self.users if kind == "user" else self.items).find(known.values))


# Tasks


def read(file: str, groups: tuple[int, ...], columns: dict[str, str]) -> Part:
    """Read some row groups of a file; rows with missing entries are dropped."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ..data.io.columns import number_column, time_column
    from ..data.io.frames import open_frame

    if not Path(file).exists():
        raise FileNotFoundError(
            f"a worker finds no file {file!r}: the folder must be on a file system that all workers share, at one path"
        )
    try:
        with pq.ParquetFile(file) as parquet:
            table = parquet.read_row_groups(list(groups), columns=list(columns.values()))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from None
    frame = open_frame("frame", table)
    try:
        (users, user_ids), (items, item_ids) = (_numbered(table, columns[role]) for role in ("user", "item"))
        lost = (users < 0) | (items < 0)
        values = times = None
        if "value" in columns:
            values = number_column(parameter("value", columns["value"]), frame[columns["value"]])
            lost |= np.isnan(values)
            if (infinite := np.isinf(values) & ~lost).any():
                raise ValueError(
                    f"column {columns['value']!r} must hold finite numbers, got {values[infinite][0]}: drop that row"
                )
        if "time" in columns:
            times, untimed = time_column(parameter("time", columns["time"]), frame[columns["time"]])
            lost |= untimed
    except (TypeError, ValueError) as error:
        raise about(error, f"{file!r}: ") from None
    events = EventTable(users, items, values, times).take(np.flatnonzero(~lost))
    users, user_ids = used_ids(events.users, user_ids)
    items, item_ids = used_ids(events.items, item_ids)
    return Part(EventTable(users, items, events.values, events.times), user_ids.values, item_ids.values)


def distinct(part: Part) -> Distinct:
    """Return the ids of a part, and the rows of each user."""
    return Distinct(part.users, np.bincount(part.events.users, minlength=len(part.users)), part.items)


def merge(left: Distinct, right: Distinct, columns: dict[str, str]) -> Distinct:
    """Return the ids of both."""
    users, ids = _union(left.users, right.users, columns["user"])
    counts = np.zeros(len(ids), np.int64)
    np.add.at(counts, users, np.concatenate([left.counts, right.counts]))
    return Distinct(ids, counts, _union(left.items, right.items, columns["item"])[1])


def cut(part: Part, firsts: NDArray[Any]) -> list[Part]:
    """Return what each shard gets of a part; `firsts` has the least user of each."""
    shards = np.searchsorted(firsts, part.users, side="right") - 1
    edges = np.searchsorted(shards, np.arange(len(firsts) + 1))  # both are ascending
    of_rows = shards[part.events.users]
    order = np.argsort(of_rows, kind="stable")
    ends = np.searchsorted(of_rows[order], np.arange(len(firsts) + 1))
    pieces = []
    for number in range(len(firsts)):
        events = part.events.take(order[ends[number] : ends[number + 1]])
        first = edges[number]
        moved = EventTable(events.users - first, events.items, events.values, events.times)
        pieces.append(Part(moved, part.users[first : edges[number + 1]], part.items))
    return pieces


def piece(pieces: list[Part], number: int) -> Part:
    """Return one of them."""
    return pieces[number]


def read_piece(
    file: str, groups: tuple[int, ...], columns: dict[str, str], firsts: NDArray[Any], number: int
) -> Part:
    """Read what one shard gets of a part."""
    return cut(read(file, groups, columns), firsts)[number]


def make(
    pieces: list[Part], items: Ids, first: int, count: int, source: Parquet, dtype: str, missing_value: float | None
) -> Shard:
    """Make a shard of its pieces."""
    users = np.empty(0, np.int64)
    for one in pieces:  # of few users each
        users = _union(users, one.users, source.user)[1] if len(users) else one.users
    ids = Ids(users)
    parts = [one for one in pieces if len(one.events.users)]
    events = EventTable(
        np.concatenate([ids.find(one.users)[one.events.users] for one in parts]),
        np.concatenate([items.find(one.items)[one.events.items] for one in parts]),
        _joined([one.events.values for one in parts]),
        _joined([one.events.times for one in parts]),
    )
    if len(ids) != count:
        raise RuntimeError(f"{os.fspath(source.folder)!r} has changed since the fit began: call fit again")
    pairs = pairs_of(events, ids, items, source.aggregate)
    matrix = pairs.matrix.to_scipy()
    if missing_value is None:
        rows = check_interactions("source", matrix, np.dtype(dtype), copy=True)
    else:
        refuse_sums("source", pairs, ids, items, "make a Parquet")
        rows = check_ratings("source", matrix, np.dtype(dtype), missing_value, copy=True)
    return Shard(rows, first, ids.values)


def _joined(columns: list[NDArray[Any] | None]) -> NDArray[Any] | None:
    return np.concatenate([column for column in columns if column is not None]) if columns[0] is not None else None


def _numbered(table: Any, name: str) -> tuple[NDArray[Any], Ids]:
    """Return a column of ids as numbers, -1 where it is missing, and the ids."""
    import pyarrow as pa

    from ..data.io.columns import id_column
    from ..data.io.frames import open_frame

    column, called = table.column(name), f"column {name!r}"
    if pa.types.is_integer(column.type) or not len(column):
        return factorize(id_column(called, open_frame("frame", table)[name]), called)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    values = open_frame("frame", pa.table({name: column.dictionary}))[name]
    codes, ids = factorize(id_column(called, values), called)
    missing = len(codes)
    places = column.indices.fill_null(missing).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.append(codes, codes.dtype.type(-1))[places], ids


def _union(left: NDArray[Any], right: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the numbers of the ids of both among all of them, and these."""
    alike = left.dtype == right.dtype
    both = np.concatenate([left, right]) if alike else object_array([*left.tolist(), *right.tolist()])
    numbers, ids = factorize(both, f"column {name!r}")
    return numbers, ids.values


def _kind(dtype: Any) -> str:
    """Return a type as it matters for ids: integers of any width are alike, and so are texts."""
    import pyarrow as pa

    if pa.types.is_dictionary(dtype):
        dtype = dtype.value_type
    if pa.types.is_integer(dtype):
        return "integers"
    texts = pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype)
    return "strings" if texts else str(dtype)


def _damaged(file: str, error: Exception) -> ValueError:
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return ValueError(
        f"{file!r} is not a complete Parquet file ({reason}): it was truncated or damaged; write it again"
    )


def _no_rows(source: Parquet) -> ValueError:
    return ValueError(f"{os.fspath(source.folder)!r} has no row with a user and an item: pass another folder")
