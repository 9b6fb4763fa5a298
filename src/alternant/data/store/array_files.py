"""Files that hold one array each: appended to with checksums, and mapped into memory."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any, NoReturn, TypedDict

import numpy as np
from numpy.typing import NDArray

CHUNK = 32 << 20  # bytes per checksum


class StoreError(ValueError):
    """A store is missing, incomplete, damaged, or of a newer version."""


class FileState(TypedDict):
    """The size of a file, and the CRC-32 of each of its chunks of `CHUNK` bytes; the last one may be shorter."""

    bytes: int
    crc32: list[int]


class ArrayWriter:
    """Appends arrays to a file and keeps its checksums; plain writes, so that no page counts as memory of the process.

    Parameters
    ----------
    path : Path
    state : FileState, optional
        Where to go on: what was appended after it is cut off. By default, the file is created or emptied.
    """

    def __init__(self, path: Path, state: FileState | None = None) -> None:
        self.path = path
        self._bytes = 0 if state is None else state["bytes"]
        self._crcs = [] if state is None else list(state["crc32"])
        with path.open("ab"):
            pass
        os.truncate(path, self._bytes)

    @property
    def state(self) -> FileState:
        """What the file holds now."""
        return {"bytes": self._bytes, "crc32": list(self._crcs)}

    def append(self, array: NDArray[Any]) -> None:
        """Write the elements of a one-dimensional array, little-endian."""
        content = bytes_of(np.ascontiguousarray(array, array.dtype.newbyteorder("<")))
        with self.path.open("ab", buffering=0) as file:
            at = 0
            while at < len(content):
                filled = self._bytes % CHUNK
                part = content[at : at + CHUNK - filled]
                write_all(file, part)
                if filled:
                    self._crcs[-1] = zlib.crc32(part, self._crcs[-1])
                else:
                    self._crcs.append(zlib.crc32(part))
                at += len(part)
                self._bytes += len(part)


def refuse_unfinished(path: Path, what: str) -> NoReturn:
    """Raise since a file of an unfinished store is not as it was written; its journal is deleted after that."""
    raise StoreError(f"{str(path)!r} {what}: the unfinished store is damaged; repeat the call, which begins anew")


def check_length(path: Path, least: int) -> None:
    """Raise if a file of an unfinished store is missing or shorter than its journal says."""
    try:
        found = path.stat().st_size
    except OSError:
        refuse_unfinished(path, "is missing")
    if found < least:
        refuse_unfinished(path, f"must have at least {least:,} bytes, got {found:,}")


def check_content(path: Path, state: FileState) -> None:
    """Raise if a file of an unfinished store is missing or has changed."""
    check_length(path, state["bytes"])
    for chunk, crc in enumerate(state["crc32"]):
        if checksum(path, chunk, min(CHUNK, state["bytes"] - chunk * CHUNK)) != crc:
            refuse_unfinished(path, "has changed (checksum)")


def bytes_of(array: NDArray[Any]) -> memoryview:
    """Return the memory of a contiguous one-dimensional array; dates have no buffer of their own."""
    return memoryview(array.view(np.uint8))  # type: ignore[arg-type]


def write_all(file: Any, content: memoryview) -> None:
    """Write to an unbuffered file until all is written, which may take several calls near the end of the space."""
    while content:
        content = content[file.write(content) :]


def map_array(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a file's content as a read-only array mapped into memory."""
    if path.stat().st_size == 0:  # can't be mapped
        empty = np.empty(0, dtype)
        empty.flags.writeable = False
        return empty
    return np.asarray(np.memmap(path, dtype, "r"))


def checksum(path: Path, chunk: int, length: int) -> int:
    """Return the CRC-32 of one chunk of a file."""
    crc, step = 0, 1 << 20
    with path.open("rb", buffering=0) as file:
        file.seek(chunk * CHUNK)
        buffer = memoryview(bytearray(step))
        while length:
            read = file.readinto(buffer[: min(step, length)])
            if not read:
                break
            crc = zlib.crc32(buffer[:read], crc)
            length -= read
    return crc
