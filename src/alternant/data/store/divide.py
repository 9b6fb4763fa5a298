"""The pairs of a store divided among two others, in bounded memory: which part a pair is in depends on it alone.

So both orientations are filtered as they are, without sorting anything again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils import lock
from ..._utils.mapped import release
from ..csr import CSR
from ..report import DroppedRows
from .array_files import ArrayWriter, FileState, StoreError
from .journal import sync
from .store import FORMAT, MANIFEST, VERSION, Store, digest_of, read_manifest

ENTRIES = 1 << 20  # pairs read at a time, unless a row has more

# (users, items) -> whether each pair is in the second store
HeldOut = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


def divide(store: Store, paths: tuple[Path, Path], held_out: HeldOut, source: dict[str, Any]) -> tuple[Store, Store]:
    """Write two stores with the users and items of one; stores of the same `source` that are there are opened.

    Parameters
    ----------
    store : Store
        Its checksums are compared first.
    paths : (Path, Path)
        The folders to write, which appear when they are complete. One process at a time writes them.
    held_out : function
    source : dict
        What the parts depend on.
    """
    sources = [json.loads(json.dumps({**source, "of": store.digest, "part": part})) for part in range(2)]
    missing = [not _is_there(path, own) for path, own in zip(paths, sources, strict=True)]
    if any(missing):
        store.verify()
        with contextlib.ExitStack() as stack:
            try:
                made = [stack.enter_context(_beside(path)) for path in paths]
                missing = [not _is_there(path, own) for path, own in zip(paths, sources, strict=True)]
                if any(missing):  # still: another process may have written them meanwhile
                    _write(store, (made[0], made[1]), held_out, sources)
            except BlockingIOError:
                raise
            except OSError as error:
                raise OSError(
                    error.errno,
                    f"the parts of a split can't be written to {str(paths[0])!r} and {str(paths[1])!r} "
                    f"({error.strerror}): nothing was saved",
                ) from None
            for folder, path, wanted in zip(made, paths, missing, strict=True):
                if wanted:
                    os.replace(folder, path)  # noqa: PTH105 - an empty folder may be there
                    sync(path.parent)
    return Store(paths[0]), Store(paths[1])


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yield where to write a store before it is renamed to `path`, without what a killed call has left there.

    The folder around it has a name that only depends on `path`, and is locked and deleted afterwards.
    """
    around = path.with_name(f".alternant-{path.name}")
    around.mkdir(exist_ok=True)
    words = f"another process is writing the store {str(path)!r}: wait until it has ended"
    try:
        held = lock.FolderLock(around, words.replace("{", "{{").replace("}", "}}"))
        ours = held.is_in(around)
    except FileNotFoundError:  # that process has ended, and deleted the folder, since this one looked
        ours = False
    if not ours:
        raise BlockingIOError(words)
    try:
        shutil.rmtree(around / "store", ignore_errors=True)
        yield around / "store"
    finally:
        shutil.rmtree(around / "store", ignore_errors=True)
        if os.name == "nt":  # which does not delete open files
            held.release()
        shutil.rmtree(around, ignore_errors=True)
        held.release()


def _is_there(path: Path, source: dict[str, Any]) -> bool:
    """Whether there is this part of a split already; anything else is refused."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to write the store in: create it first")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    try:
        found = read_manifest(path)["source"]
    except StoreError:
        found = None
    if found != source:
        raise StoreError(f"{str(path)!r} is there and holds something else than this part: name a new folder")
    return True


def _write(store: Store, folders: tuple[Path, Path], held_out: HeldOut, sources: list[dict[str, Any]]) -> None:
    pairs = store.pairs()
    ids = {name: state for name, state in store.files.items() if "_ids." in name}
    columns = {"times": pairs.times, "counts": pairs.counts, "summed": pairs.summed}
    parts = [_Part(folder, store, columns) for folder in folders]
    for side, rows in (("users", store.users), ("items", store.items)):
        for part in parts:
            part.begin(side)
        for first, last, entries in _blocks(rows):
            numbers = np.repeat(np.arange(first, last), np.diff(rows.indptr[first : last + 1]))
            others = rows.indices[entries].astype(np.int64)
            out = held_out(numbers, others) if side == "users" else held_out(others, numbers)
            for part, kept in zip(parts, (~out, out), strict=True):
                part.append(side, rows, slice(first, last), entries, numbers[kept] - first, kept)
            release(rows.indptr[first:last], rows.indices[entries], rows.data[entries])
            release(*(column[entries] for column in columns.values() if column is not None) if side == "users" else ())
    if not all(part.nnz for part in parts):
        raise ValueError(
            f"train and test must both have pairs, got {parts[0].nnz} and {parts[1].nnz}: pass another fraction"
        )
    for part, source in zip(parts, sources, strict=True):
        for name in ids:
            shutil.copyfile(store.path / name, part.folder / name)
        part.finish(store, ids, source)


def _blocks(rows: CSR) -> Iterator[tuple[int, int, slice]]:
    """Yield ranges of rows and of their entries, of about `ENTRIES`."""
    first, count = 0, rows.shape[0]
    while first < count:
        start = int(rows.indptr[first])
        last = int(np.searchsorted(rows.indptr, start + ENTRIES, side="right")) - 1
        last = min(max(last, first + 1), first + ENTRIES, count)
        yield first, last, slice(start, int(rows.indptr[last]))
        first = last


class _Part:
    """One of the two stores."""

    def __init__(self, folder: Path, store: Store, columns: dict[str, NDArray[Any] | None]) -> None:
        folder.mkdir()
        self.folder, self.nnz = folder, 0
        self._ones = "users.data" not in store.files
        self._columns = {name: column for name, column in columns.items() if column is not None}
        self._writers: dict[str, ArrayWriter] = {}
        self._least, self._greatest, self._zeros = np.inf, -np.inf, False

    def begin(self, side: str) -> None:
        """Create the files of an orientation."""
        names = ["indptr", "indices", *([] if self._ones else ["data"]), *(self._columns if side == "users" else ())]
        for name in names:
            self._writers[f"{side}.{name}"] = ArrayWriter(self.folder / f"{side}.{name}")
        self._writers[f"{side}.indptr"].append(np.zeros(1, np.int64))
        self.nnz = 0

    def append(
        self, side: str, source: CSR, rows: slice, entries: slice, owners: NDArray[np.int64], kept: NDArray[np.bool_]
    ) -> None:  # fmt: skip
        """Append what is kept of the entries of some rows; `owners` are their places among these rows."""
        ends = self.nnz + np.cumsum(np.bincount(owners, minlength=rows.stop - rows.start))
        self.nnz = int(ends[-1])
        self._writers[f"{side}.indptr"].append(ends.astype(np.int64))
        self._writers[f"{side}.indices"].append(source.indices[entries][kept])
        if not self._ones:
            values = source.data[entries][kept]
            self._writers[f"{side}.data"].append(values)
            if len(values):
                self._least, self._greatest = min(self._least, values.min()), max(self._greatest, values.max())
                self._zeros |= not values.all()
        if side == "users":
            for name, column in self._columns.items():
                self._writers[f"{side}.{name}"].append(column[entries][kept])

    def finish(self, store: Store, ids: dict[str, FileState], source: dict[str, Any]) -> None:
        """Write the manifest."""
        files = {name: writer.state for name, writer in self._writers.items()} | ids
        values = (1.0, 1.0) if self._ones else (float(self._least), float(self._greatest))
        manifest = {
            "format": FORMAT, "version": VERSION, "shape": list(store.shape), "nnz": self.nnz, "least": values[0],
            "greatest": values[1], "has_zeros": bool(self._zeros), "dropped": vars(DroppedRows(self.nnz)),
            **store.kinds, "facts": store.facts, "files": files, "source": source,
        }  # fmt: skip
        manifest["digest"] = digest_of(manifest)
        (self.folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
        for name in (*files, MANIFEST):
            sync(self.folder / name)
        sync(self.folder)
