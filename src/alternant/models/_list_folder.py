"""Lists of many users in a folder of Parquet files, from which a run that was killed goes on.

`part-00000.parquet` holds the lists of the first `shard_size` users, and so on. Each file appears under its name only
when it is complete. `_lists.json` names what the lists depend on (`alternant` is the version of its own format), and
the rows and bytes of the files that are done. Readers of data sets leave out names that begin with an underscore or a
dot.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._utils import lock
from .._utils.atomic import whole_file
from .._utils.mapped import release
from .._utils.threads import map_parallel, resolve_num_threads
from ..data.csr import CSR
from ..data.io.list_files import ParquetLists
from ._checkpoint import plain_value
from ._stack import Stack

if TYPE_CHECKING:
    from ._bulk import Work

NAME = "_lists.json"
FORMAT_VERSION = 1
CHUNK = 1 << 24  # bytes of a model that are read at a time for its digest
# Parameters and fitted attributes that change neither lists nor scores; the backend is listed by its name.
FREE = ("iterations", "epochs", "num_threads", "backend", "random_state")
FREE_STATE = ("history_", "n_iter_", "backend_")
GO_ON = "files that were complete remain; the same call goes on from there"
PROBE = 256  # users whose lists tell an index from others


def write_folder(work: Work, folder: Path, lists: ParquetLists, shard_size: int, show: bool | None) -> int:
    """Write what is missing in a folder of lists, and return the number of rows of all its files."""
    run = _run(work, lists, shard_size)
    folder.mkdir(exist_ok=True)
    held = lock.FolderLock(
        folder, "another process writes lists to {!r}: wait for it, or name another folder for a slice of the users"
    )
    try:
        done = _resume(folder, run)
        starts = range(0, max(1, work.n_users), shard_size)
        shards = [range(start, min(start + shard_size, work.n_users)) for start in starts]
        names = [f"part-{number:05}.parquet" for number in range(len(shards))]
        finished = sum(len(shard) for name, shard in zip(names, shards, strict=True) if name in done)
        _record(folder, run, done)  # first, so that whatever is written from now on is known to be of this run
        with work.progress(show, finished) as bar:
            for name, shard in zip(names, shards, strict=True):
                if name in done:
                    continue
                with whole_file(folder / name, "lists", GO_ON) as path, lists.open(path) as write:
                    rows = 0
                    for first, last in groups(shard, lists.users_of_group(work.k)):
                        rows += write(work.lists(first, last, bar))
                done[name] = {"rows": rows, "bytes": (folder / name).stat().st_size}
                _record(folder, run, done)
    finally:
        held.release()
    return sum(one["rows"] for one in done.values())


def groups(users: range, size: int) -> Iterator[tuple[int, int]]:
    """Divide users into groups of this size; the last one may be smaller."""
    return pairwise([*users[::size], users.stop])


def _run(work: Work, lists: ParquetLists, shard_size: int) -> dict[str, Any]:
    """Return what lists depend on, as JSON: a digest of the model, plain parameters, and digests of others."""
    model, threads = work.model, resolve_num_threads(work.model.num_threads)
    backend = model._backend()
    parameters = {
        "k": work.k, "shard_size": shard_size, "exclude_seen": work.exclude_seen, "unknown": work.unknown,
        "backend": backend.name if backend.simd is None else f"{backend.name}, {backend.simd}",
        "columns": ", ".join(lists.names.values()),
    }  # fmt: skip
    seen: CSR | None = work.seen if work.seen is not None else getattr(model, "interactions_", None)
    if not work.exclude_seen:
        seen = None
    others: dict[str, list[Any]] = {
        "users": [work.first, work.n_users, work.numbers, work.names if work.new or work.absent is not None else None],
        "interactions to exclude": [] if seen is None else [seen.indptr, seen.indices],
        "features of new users": _arrays(work.user_factors) if work.new else [],
        "candidates": [*work.candidates] if isinstance(work.candidates, tuple) else [work.candidates],
        "titles": [lists.titles],
        "index": _of_index(work),
    }
    run = {
        "model": type(model).__name__, "version": version("alternant"), "digest": _digest(_of_model(work), threads),
        "parameters": parameters, "others": {name: _digest(parts, threads) for name, parts in others.items()},
    }  # fmt: skip
    return dict(json.loads(json.dumps(run)))


def _of_model(work: Work) -> Iterator[Any]:
    """Yield what decides the lists of a model."""
    model = work.model
    parameters = {name: plain_value(value) for name, value in sorted(model.get_params().items()) if name not in FREE}
    state = {name: getattr(model, name, None) for name in model._fitted_state if name not in FREE_STATE}
    yield from (type(model).__name__, parameters, state)
    for factors in (*(() if work.new else (work.user_factors,)), work.item_factors):
        yield from _arrays(factors)
    for kind in ("user", "item"):
        ids = model._ids_of(kind)
        yield from [kind] if ids is None else ids.parts()


def _arrays(factors: Any) -> list[NDArray[Any]]:
    """Return the arrays of dense, sparse or stacked factors."""
    if isinstance(factors, Stack):
        return [array for part in factors.parts for array in _arrays(part)]
    return [factors] if isinstance(factors, np.ndarray) else [factors.indptr, factors.indices, factors.data]


def _of_index(work: Work) -> list[Any]:
    """Return what tells an index from others: the lists of a few users, since its settings may have been changed."""
    if work.index is None:
        return []
    parts = [work.index.library, work.block_size]
    for _, items, scores in work.lists(0, min(PROBE, work.n_users), work.progress(False)):
        parts += [items, scores]
    return parts


def _digest(parts: Iterable[Any], num_threads: int) -> str:
    """Return a digest of arrays, with their dtypes and shapes, and of anything between them by its repr.

    Long arrays are divided into chunks, which are read by several threads; memory maps are released.
    """
    total = hashlib.blake2b(digest_size=16)

    def of_rows(rows: NDArray[Any]) -> bytes:
        found = hashlib.blake2b(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data, digest_size=16).digest()
        release(rows)
        return found

    for part in parts:
        if not isinstance(part, np.ndarray) or part.dtype == object:
            total.update(f"{part.tolist() if isinstance(part, np.ndarray) else part!r};".encode())
            continue
        total.update(f"{part.dtype.str}{part.shape};".encode())
        step = max(1, CHUNK // max(1, part.nbytes // max(1, len(part))))
        for found in map_parallel(of_rows, [part[at : at + step] for at in range(0, len(part), step)], num_threads):
            total.update(found)
    return total.hexdigest()


def _resume(folder: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Return the files of an earlier run that are done; refuse a folder with anything else."""
    pattern = re.compile(rf"part-\d+\.parquet|{re.escape(NAME)}|{re.escape(lock.NAME)}|\.alternant-.*")
    if others := sorted(path.name for path in folder.iterdir() if not pattern.fullmatch(path.name)):
        raise FileExistsError(
            f"{str(folder)!r} has files that are not of lists, such as {others[0]!r}: name a new folder for the lists"
        )
    for leftover in folder.glob(".alternant-*"):  # of a writer that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    manifest = folder / NAME
    if not manifest.exists():
        if parts := sorted(folder.glob("part-*.parquet")):
            raise FileExistsError(
                f"{str(folder)!r} has {parts[0].name!r}, but no {NAME}, which tells of what model the lists are: name "
                "a new folder for the lists"
            )
        return {}
    try:
        if manifest.is_dir():
            raise ValueError
        found = json.loads(manifest.read_bytes())
        form, theirs, done = found["alternant"], found["run"], found["done"]
        wrong = _difference(theirs, run) if form == FORMAT_VERSION else f"format {form}, not {FORMAT_VERSION}"
        sizes = {name: int(one["bytes"]) for name, one in done.items()}
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ValueError(f"{str(manifest)!r} is damaged: delete {str(folder)!r}, or name another folder") from None
    if wrong:
        raise ValueError(f"{str(folder)!r} holds lists of {wrong}: name another folder, or delete this one")
    files = {path.name: path.stat().st_size for path in folder.glob("part-*.parquet")}
    return {name: done[name] for name, size in sizes.items() if files.get(name) == size}


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """Return in what a run differs from this one; an empty text if in nothing."""
    if theirs["model"] != ours["model"]:
        return f"a model of class {theirs['model']}, not {ours['model']}"
    if theirs["version"] != ours["version"]:
        return f"alternant {theirs['version']}, not {ours['version']}"
    for name, value in ours["parameters"].items():
        if theirs["parameters"][name] != value:
            return f"a run with {name}={theirs['parameters'][name]!r}, not {value!r}"
    if theirs["digest"] != ours["digest"]:
        return "another model"
    changed = [name for name, found in ours["others"].items() if theirs["others"][name] != found]
    return f"a run with other {changed[0]}" if changed else ""


def _record(folder: Path, run: dict[str, Any], done: dict[str, Any]) -> None:
    with whole_file(folder / NAME, "lists", GO_ON) as path:
        path.write_text(json.dumps({"alternant": FORMAT_VERSION, "run": run, "done": done}, indent=1))
