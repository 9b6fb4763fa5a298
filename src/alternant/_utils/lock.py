"""A lock on a folder that ends with the process that holds it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NAME = ".alternant.lock"


class FolderLock:
    """Held until `release`, or the end of the process; `refusal` is the message if another one holds it.

    The file remains: if it were deleted, a process could lock it while another one creates a new file.
    """

    def __init__(self, folder: Path, refusal: str) -> None:
        self._descriptor: int | None = None  # should it be impossible to open the file
        self._descriptor = descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except OSError:
            self.release()
            raise BlockingIOError(refusal.format(str(folder))) from None

    def is_in(self, folder: Path) -> bool:
        """Whether the file that is locked is that of the folder, which may have been deleted and created anew."""
        return self._descriptor is not None and os.path.samestat(os.fstat(self._descriptor), (folder / NAME).stat())

    def release(self) -> None:
        """Unlock the folder."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)  # which unlocks it

    def __del__(self) -> None:
        self.release()


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
