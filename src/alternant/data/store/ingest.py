"""A source read into a store, in bounded memory and in steps that a repeated call does not repeat."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..._utils import lock
from ..._utils.memory import available_bytes, parse_bytes, resident_bytes
from ..report import DroppedRows
from . import journal
from .array_files import StoreError, check_content, check_length
from .merge_users import merge_users
from .read_ids import checksum_of_source, read_ids
from .read_rows import read_rows
from .sources import BatchSource, ParquetSource
from .store import FORMAT, MANIFEST, VERSION, Store, digest_of, folder_of, read_manifest
from .turn import turn
from .work import LEAST_BUDGET, MemoryLimitError, Plan, Work

UNKNOWN = 4 << 30  # bytes that are taken to be available where the system does not tell
OURS = re.compile(
    r"(users|items)\.(indptr|indices|data|times|counts|summed)|(user|item)(-\d+)?_ids\.(values|offsets|utf8|json)"
    rf"|(rows|pairs)-\d+(-of-\d+)*\.part|(journal|manifest)\.json(\.new)?|{re.escape(lock.NAME)}"
)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def ingest(
    source: ParquetSource | BatchSource, path: str | os.PathLike[str], columns: dict[str, Any], aggregate: str,
    memory_limit: int | str | None,
) -> Store:  # fmt: skip
    """Read a source into a store, or go on where an earlier call was interrupted.

    Parameters
    ----------
    source : ParquetSource or BatchSource
    path : path
        The folder of the store: new, empty, or what an earlier call left.
    columns : dict
        The column of each role, as asked for.
    aggregate : str
    memory_limit : int, str or None
        The memory that the process may have in all.
    """
    folder = folder_of(path)
    base = resident_bytes()
    limit = parse_bytes("memory_limit", memory_limit) or base + (available_bytes() or UNKNOWN) // 2
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder.parent)!r} to write the store in: create it first")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file: name a new folder for the store")
    with _read_only_in_words(folder):
        folder.mkdir(exist_ok=True)
    if others := sorted(path.name for path in folder.iterdir() if not OURS.fullmatch(path.name)):
        raise FileExistsError(
            f"{str(folder)!r} has files that are not of a store, such as {others[0]!r}: name a new folder"
        )
    with _read_only_in_words(folder):
        held = _lock(folder)
    try:
        with _full_disk_in_words(folder):
            identity = {**source.identity(), "columns": columns, "aggregate": aggregate}
            identity = json.loads(json.dumps(identity, default=str))
            work = Work(source, folder, aggregate, journal.Journal(folder), limit, base)
            if (folder / MANIFEST).exists():
                return _existing(work, identity)
            _start(work, identity)
            try:
                _run(work, columns)
            except (TypeError, ValueError) as error:
                if not isinstance(error, MemoryLimitError):  # of no use: the source, or a file, is at fault
                    _clean(work, ())
                raise
    finally:
        if held is not None:
            held.release()
    return Store(folder)


def _lock(folder: Path) -> lock.FolderLock | None:
    """Return a lock; None if the folder is read-only and holds a complete store, which nobody writes."""
    try:
        return lock.FolderLock(folder, "another process is writing the store {!r}: wait until it has ended")
    except PermissionError:
        if (folder / MANIFEST).exists():
            return None
        raise


@contextmanager
def _read_only_in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        raise PermissionError(
            error.errno, f"the store {str(folder)!r} can't be written ({error.strerror}): name a folder that can"
        ) from None


@contextmanager
def _full_disk_in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(
            error.errno,
            f"no space is left for the store in {str(folder)!r}: free some and repeat the call, which goes on where it "
            "stopped",
        ) from None


def _start(work: Work, identity: dict[str, Any]) -> None:
    """Read the journal of an earlier call, or begin."""
    if work.journal.read():
        _refuse_other(work.folder, work.state["identity"], identity, "an unfinished store")
        return
    _clean(work, ())
    work.refuse_beyond(LEAST_BUDGET, "for any source", then="")
    work.journal.record(
        identity=identity, phase="ids", rows_at_a_time=work.rows_at_a_time(),
        checksums=isinstance(work.source, BatchSource),
    )  # fmt: skip


def _refuse_other(folder: Path, found: dict[str, Any], wanted: dict[str, Any], what: str) -> None:
    for name, value in wanted.items():
        if found.get(name) != value:
            other = {"columns": "other columns", "aggregate": "another aggregate"}.get(name, "another source")
            raise StoreError(f"{str(folder)!r} holds {what} of {other}: name another folder, or delete this one")


def _check_files(work: Work) -> None:
    """Raise if a file that an earlier call left is missing or shorter than the journal says.

    Ids are read as a whole in any case. The blocks of partitions have checksums of their own; those of the other files
    become the store's.
    """
    state, folder = work.state, work.folder
    for name, file in state.get("id_files", {}).items():
        check_content(folder / name, file)
    for side, phase, partitions in (("users", "merged", "row"), ("items", "turned", "pair")):
        found = state.get(phase) or {"done": 0, "files": {}}
        for name, one in found["files"].items():
            file = one["file"] if "count" in one else one
            if file is not None:
                check_length(folder / f"{side}.{name}", file["bytes"])
        for number, size in enumerate(state.get(f"{partitions}_bytes", [])):
            if size and number >= found["done"]:  # the others have been deleted
                check_length(folder / f"{partitions}s-{number}.part", size)


def _run(work: Work, columns: dict[str, Any]) -> None:
    _check_files(work)
    if work.state["phase"] == "ids":
        read_ids(work)
    state = work.state["plan"]
    plan = Plan(tuple(state["shape"]), state["kept"], state["value"], state["time"], tuple(state["bits"]))
    for phase, run in (("rows", read_rows), ("users", merge_users), ("items", turn)):
        if work.state["phase"] == phase:
            run(work, plan)
    _finish(work, plan, columns)


def _finish(work: Work, plan: Plan, columns: dict[str, Any]) -> None:
    """Write the manifest, and delete what only an unfinished store needs."""
    state = work.state
    merged, turned = state["merged"], state["turned"]
    files = dict(state["id_files"])
    for side, found in (("users", merged["files"]), ("items", turned["files"])):
        for name, one in found.items():
            one = one["file"] if "count" in one else one
            files |= {} if one is None else {f"{side}.{name}": one}
    dropped = DroppedRows(*state["dropped"])
    dropped.n_merged = dropped.n_kept - merged["nnz"]
    manifest = {
        "format": FORMAT, "version": VERSION, "shape": list(plan.shape), "nnz": merged["nnz"],
        "least": merged["least"], "greatest": merged["greatest"], "has_zeros": merged["zeros"],
        "data": plan.data.str, "times": plan.time, "ids": state["ids"], "dropped": vars(dropped),
        "facts": {"aggregate": work.aggregate, "columns": columns if columns["user"] is not None else None,
                  "library": state["library"], "has_values": plan.value is not None},
        "files": files,
        "source": {**state["identity"], "rows_at_a_time": state["rows_at_a_time"], "checksum": state["checksum"]},
    }  # fmt: skip
    manifest["digest"] = digest_of(manifest)
    for name in files:
        journal.sync(work.folder / name)
    temporary = work.folder / f"{MANIFEST}.new"
    temporary.write_text(json.dumps(manifest, indent=1))
    journal.sync(temporary)
    temporary.replace(work.folder / MANIFEST)
    journal.sync(work.folder)
    _clean(work, files)


def _clean(work: Work, files: Any) -> None:
    """Delete all but the files of a complete store; the journal last, without which the others could not be told."""
    for path in work.folder.iterdir():
        if OURS.fullmatch(path.name) and path.name not in (*files, MANIFEST, lock.NAME, journal.NAME):
            path.unlink()
    work.journal.delete()


def _existing(work: Work, identity: dict[str, Any]) -> Store:
    """Return the store that is there already, if it is of the same source."""
    manifest = read_manifest(work.folder)
    found = manifest["source"]
    _refuse_other(work.folder, found, identity, "a store")
    _clean(work, manifest["files"])
    batches = isinstance(work.source, BatchSource)
    if batches and checksum_of_source(work, found["rows_at_a_time"]) != found["checksum"]:
        _refuse_other(work.folder, {}, {"kind": "batches"}, "a store")
    return Store(work.folder)
