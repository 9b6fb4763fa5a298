"""Interactions on disk: the files of a folder, described and protected by a manifest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..._utils.messages import parameter, refusal
from ..._utils.threads import default_num_threads, map_parallel
from ..csr import CSR
from ..ids import Ids
from ..pairs import Pairs
from ..report import DroppedRows
from .array_files import CHUNK, FileState, StoreError, checksum, map_array
from .saved_ids import open_ids
from .work import index_dtype

MANIFEST = "manifest.json"
FORMAT, VERSION = "alternant-store", 1
PIECE = 1 << 19  # elements that are read at a time


class Store:
    """Interactions on disk, in both orientations; immutable, its arrays are read-only memory maps.

    Written by `Interactions.from_parquet` and `Interactions.from_batches`.

    Parameters
    ----------
    path : path
        The folder of the store.

    Attributes
    ----------
    path : Path
    shape : (int, int)
        Number of users and of items.
    nnz : int
        Number of pairs.
    users : CSR, users x items
        The pairs by user. If all values are 1, they take no space: the array has a stride of 0.
    items : CSR, items x users
        The same pairs by item.
    least, greatest : float
        The range of the values.
    has_zeros : bool
        Whether any of the values is 0.
    digest : str
        SHA-256 of the manifest, which holds the checksums of all files: it names the data.

    Raises
    ------
    StoreError
        If there is no complete store, or a file is missing or does not have its size. See `verify`, too.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = Path(path).absolute()
        manifest = read_manifest(self.path)
        self._manifest = manifest
        self._verified = False
        for name, state in manifest["files"].items():
            self._check_size(name, state["bytes"])
        self.shape: tuple[int, int] = (manifest["shape"][0], manifest["shape"][1])
        self.nnz: int = manifest["nnz"]
        self.least: float = manifest["least"]
        self.greatest: float = manifest["greatest"]
        self.has_zeros: bool = manifest["has_zeros"]
        self.digest: str = manifest["digest"]
        self.users: CSR = self._orientation("users", self.shape)
        self.items: CSR = self._orientation("items", (self.shape[1], self.shape[0]))

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {self.shape[0]:,} users x {self.shape[1]:,} items, {self.nnz:,} pairs)"

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return reopened, (str(self.path.absolute()), self.digest)

    def _check_size(self, name: str, size: int) -> None:
        try:
            found = (self.path / name).stat().st_size
        except OSError:
            self._refuse(name, "is missing")
        if found != size:
            self._refuse(name, f"must have {size:,} bytes, got {found:,}")

    def _check_there(self, name: str) -> None:
        """Raise if a file was deleted after the store was opened; what is mapped can still be read, on most systems."""
        if not self.path.is_dir():
            raise StoreError(
                f"the store {str(self.path)!r} was deleted or moved after it was opened: open it where it is now, or "
                "read its source again"
            )
        if not (self.path / name).exists():
            self._refuse(name, "is missing")

    def _refuse(self, name: str, what: str) -> NoReturn:
        raise StoreError(
            f"{str(self.path / name)!r} {what}: the store is damaged; copy it again, or delete it and read its source "
            "again"
        )

    def _orientation(self, side: str, shape: tuple[int, int]) -> CSR:
        data = self._array(f"{side}.data")
        if data is None:
            data = np.broadcast_to(np.ones((), self._manifest["data"]), self.nnz)
        indices = map_array(self.path / f"{side}.indices", index_dtype(shape[1]))
        return CSR(map_array(self.path / f"{side}.indptr", np.dtype("<i8")), indices, data, shape)

    def _array(self, name: str) -> NDArray[Any] | None:
        """Return the array of a file, None if the store has none of that name."""
        if name not in self._manifest["files"]:
            return None
        self._check_there(name)
        return map_array(self.path / name, self._dtype(name))

    def _dtype(self, name: str) -> np.dtype[Any]:
        dtypes = {"data": self._manifest["data"], "times": self._manifest["times"], "summed": "|b1", "counts": "<i8"}
        dtype: np.dtype[Any] = np.dtype(dtypes[name.partition(".")[2]])
        return dtype

    def pieces(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield the array of a file in pieces: read, since the pages of a map would count as memory of the process."""
        dtype = self._dtype(name)
        self._check_there(name)
        with (self.path / name).open("rb", buffering=0) as file:
            while len(piece := np.fromfile(file, dtype, PIECE)):
                yield piece

    def verify(self) -> None:
        """Compare all files with their checksums, in parallel.

        Raises
        ------
        StoreError
            If a file has changed since the store was written; names the first one.
        """
        parts = [
            (name, chunk, min(CHUNK, state["bytes"] - chunk * CHUNK), crc)
            for name, state in self._manifest["files"].items()
            for chunk, crc in enumerate(state["crc32"])
        ]

        def check(part: tuple[str, int, int, int]) -> None:
            name, chunk, length, crc = part
            self._check_there(name)
            if checksum(self.path / name, chunk, length) != crc:
                start = chunk * CHUNK
                self._refuse(name, f"has changed between bytes {start:,} and {start + length:,} (checksum)")

        map_parallel(check, parts, default_num_threads())
        self._verified = True

    def verify_once(self) -> None:
        """Do as `verify`, unless this object has done so before."""
        if not self._verified:
            self.verify()

    @property
    def nbytes(self) -> int:
        """The size of all files in bytes."""
        return sum(state["bytes"] for state in self._manifest["files"].values())

    # What `Interactions` needs.

    def pairs(self) -> Pairs:
        """Return the pairs, mapped into memory."""
        return Pairs(self.users, *(self._array(f"users.{name}") for name in ("times", "counts", "summed")))

    def ids(self, side: str) -> Ids:
        """Return the raw ids of the users ("user") or the items ("item")."""
        return open_ids(self.path, side, self._manifest["ids"][side])

    def dropped(self) -> DroppedRows:
        """Return how many rows were read, dropped and merged."""
        return DroppedRows(**self._manifest["dropped"])

    @property
    def files(self) -> dict[str, FileState]:
        """The sizes and checksums of all files but the manifest, by name."""
        return dict(self._manifest["files"])

    @property
    def kinds(self) -> dict[str, Any]:
        """The dtypes of values and times, and the kinds of ids, as the manifest has them."""
        return {name: self._manifest[name] for name in ("data", "times", "ids")}

    @property
    def facts(self) -> dict[str, Any]:
        """The parameters that the store was written with: aggregate, columns, library, has_values."""
        return dict(self._manifest["facts"])


def folder_of(store: Any) -> Path:
    """Return the folder of a store that a caller names."""
    if not isinstance(store, (str, os.PathLike)):
        raise refusal(
            TypeError, f"{parameter('store')} must be the path of a folder, got {type(store).__name__}"
        )
    return Path(store)


def reopened(path: str, digest: str) -> Store:
    """Open a store that was pickled: it must still be the same."""
    store = Store(Path(path))
    if store.digest != digest:
        raise StoreError(f"{path!r} holds another store than when it was pickled: pickle it again")
    return store


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a complete store, checked."""
    file = path / MANIFEST
    if not path.is_dir():
        raise StoreError(f"there is no store {str(path)!r}: write one with Interactions.from_parquet(..., store=...)")
    if not file.exists():
        unfinished = (path / "journal.json").exists()
        what = "is an unfinished store: repeat the call that was writing it" if unfinished else (
            f"is no store: it has no {MANIFEST}"
        )  # fmt: skip
        raise StoreError(f"{str(path)!r} {what}")
    try:
        manifest = json.loads(file.read_bytes())
        if manifest["format"] != FORMAT:
            raise ValueError
        version, whole = manifest["version"], manifest["digest"] == digest_of(manifest)
    except (KeyError, TypeError, ValueError, OSError):
        version, whole = VERSION, False
    if version != VERSION:
        raise StoreError(
            f"{str(file)!r} is of version {version} of the format, and this alternant reads version {VERSION}: update "
            "alternant"
        )
    if not whole:
        raise StoreError(
            f"{str(file)!r} is damaged: copy the store again, or delete it and read its source again"
        )
    return dict(manifest)


def digest_of(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its digest, and without its source: that does not change the data."""
    content = {name: part for name, part in manifest.items() if name not in ("digest", "source")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
