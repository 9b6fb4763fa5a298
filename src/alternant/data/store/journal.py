"""The state of an unfinished ingest: what a repeated call needs to go on where it was."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

NAME = "journal.json"
SECONDS = 1.0  # between two records of small steps


class Journal:
    """A JSON document that is replaced as a whole.

    A process that is killed loses nothing of what it has written, since the system writes it to the disk later. After a
    crash of the system, an unfinished ingest is started again: so no step waits for the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._written = 0.0
        self.state: dict[str, Any] = {}

    def read(self) -> bool:
        """Read the state that another call left; return False if there is none, or none to rely on."""
        try:
            state = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return False
        if not isinstance(state, dict) or state.get("boot") != _boot():
            return False
        self.state = state
        return True

    def record(self, soon: bool = False, **changes: Any) -> bool:
        """Change the state, and write it: if `soon`, only if the last time was `SECONDS` ago.

        Returns whether it has been written.
        """
        self.state.update(changes)
        if soon and time.monotonic() - self._written < SECONDS:
            return False
        self.state["boot"] = _boot()
        temporary = self._path.with_name(f"{NAME}.new")
        temporary.write_text(json.dumps(self.state))
        temporary.replace(self._path)
        self._written = time.monotonic()
        return True

    def delete(self) -> None:
        """Delete the journal: the ingest is complete."""
        self._path.with_name(f"{NAME}.new").unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)


def _boot() -> str:
    """Return what identifies the time since the system was started; empty where that is unknown."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def sync(path: Path) -> None:
    """Have a file, or on most systems a folder, written to the disk."""
    with contextlib.suppress(PermissionError):  # folders on Windows
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
