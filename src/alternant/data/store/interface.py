"""The part of `Interactions` that reads large sources and stores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from ..._utils.guard import Guarded
from ..._utils.validation import check_choice
from ..io.files import read
from ..io.roles import asked_columns
from ..io.text import Dialect
from ..pairs import AGGREGATES
from .ingest import ingest
from .sources import BatchSource, ParquetSource, parquet_files
from .store import Store, folder_of

if TYPE_CHECKING:
    from ..._typing import Aggregate


class FromStore(Guarded):
    """Constructors of `Interactions` that are larger than memory."""

    _store: Store | None = None

    @classmethod
    def from_parquet(
        cls, source: Any, *, user: str | int, item: str | int, value: str | int | None = None,
        time: str | int | None = None, aggregate: Aggregate = "sum", store: str | os.PathLike[str] | None = None,
        memory_limit: int | str | None = None,
    ) -> Self:  # fmt: skip
        """Create interactions from Parquet files, in bounded memory if they are written to a store on disk.

        Parameters
        ----------
        source : path or list of paths
            A file, files, or a folder: all ``*.parquet`` files in it and its sub-folders, in the order of their names.
        user, item, value, time : str or int
            The columns, as in `from_file`.
        aggregate : {"sum", "max", "last", "mean", "error"}
            As in `from_frame`.
        store : path, optional
            A new folder to write the interactions to. A call that was interrupted goes on where it was when it is
            repeated; a folder that holds the complete store of the same source is opened. By default, everything is
            read into memory.
        memory_limit : int or str, optional
            The memory that the process may take in all while it reads, in bytes or as a string such as "4GB" or "500M";
            by default half of what is available. The distinct ids have to fit in it. Without `store`, it is not used.

        Raises
        ------
        TypeError, ValueError
            As `from_file`, and if a file changes while it is read.
        StoreError
            If the folder holds the store of another source, or one written with other parameters.
        OSError
            If the disk is full: free some space, and repeat the call.
        BlockingIOError
            If another process is writing to the same folder.
        ImportError
            If pyarrow is not installed.
        """
        check_choice("aggregate", aggregate, AGGREGATES)
        asked = asked_columns(user, item, value, time)
        if store is None:
            return cls._of_files(source, asked, aggregate)
        return cls._of_store(ingest(ParquetSource(source, asked), store, asked, aggregate, memory_limit))

    @classmethod
    def from_batches(
        cls, batches: Any, *, store: str | os.PathLike[str], user: str | int | None = None,
        item: str | int | None = None, value: str | int | None = None, time: str | int | None = None,
        aggregate: Aggregate = "sum", memory_limit: int | str | None = None,
    ) -> Self:  # fmt: skip
        """Create interactions in a store on disk from batches that need not fit in memory together.

        Parameters
        ----------
        batches : list, or function that returns an iterator
            They are read twice, and must be the same each time. All are frames with the columns named below, or tuples
            of arrays ``(users, items)``, ``(users, items, values)`` or ``(users, items, values, times)``, or sparse
            matrices with the next rows each; the ids are then the numbers of rows and columns, and each of them counts
            as a user or item, also without entries.
        store : path
            A new folder to write the interactions to, as in `from_parquet`. A repeated call skips the batches that have
            been dealt with, but they are made again.
        user, item, value, time : str or int, optional
            The columns of frames, by name or by position from 0.
        aggregate : {"sum", "max", "last", "mean", "error"}
            As in `from_frame`.
        memory_limit : int or str, optional
            As in `from_parquet`; a batch takes memory, too.

        Raises
        ------
        TypeError, ValueError
            As `from_frame`, and if the batches can be read only once, or are others the second time.
        StoreError, OSError, BlockingIOError
            As `from_parquet`.
        """
        check_choice("aggregate", aggregate, AGGREGATES)
        asked = {"user": user, "item": item, "value": value, "time": time}
        return cls._of_store(ingest(BatchSource(batches, asked), store, asked, aggregate, memory_limit))

    def _verify(self) -> None:
        """Compare a store with its checksums before its values are read for the first time."""
        if self._store is not None:
            self._store.verify_once()

    @classmethod
    def open(cls, store: str | os.PathLike[str]) -> Self:
        """Open interactions in a store; nothing is read until it is needed.

        The first use of its values compares all files with their checksums, and so does each fit: a store that has
        changed raises a StoreError.

        Parameters
        ----------
        store : path
            The folder, as written by `from_parquet` or `from_batches`.

        Raises
        ------
        TypeError
            If `store` is no path.
        StoreError
            If it is no complete store, a file is missing or does not have its size, or the format is newer.
        """
        return cls._of_store(Store(folder_of(store)))

    @classmethod
    def _of_files(cls, source: Any, asked: dict[str, Any], aggregate: Aggregate) -> Self:
        """Read Parquet files into memory."""
        files = parquet_files(source)
        if len(files) == 1:
            return cls.from_file(files[0], **asked, aggregate=aggregate)  # type: ignore[attr-defined,no-any-return]
        import pyarrow as pa

        found = [read(file, asked, Dialect(None, None, "auto", ".")) for file in files]
        roles = list(found[0][1])
        tables = [table.select([names[role] for role in roles]).rename_columns(roles) for table, names in found]
        try:
            whole = pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise ValueError(f"all files must have columns of the same types: {error}") from None
        made = cls.from_frame(whole, **dict(zip(roles, roles, strict=True)), aggregate=aggregate)  # type: ignore[attr-defined]
        made._columns = asked
        return made  # type: ignore[no-any-return]

    @classmethod
    def _of_store(cls, store: Store) -> Self:
        """Return interactions backed by a store."""
        raise NotImplementedError
