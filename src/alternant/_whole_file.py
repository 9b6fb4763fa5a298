"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """Give a name to write to, and move the file to `path` at the end; after an error or a crash `path` is as it was.

    Parameters
    ----------
    path : path
    what : str
        What messages say is to be written, such as "a model".
    """
    path = Path(path)
    check_target(path, what)
    # Beside the target, because only within one file system is a rename atomic; in a folder of its own, because some
    # writers take a name and give the file permissions of their own: it gets those of any new file, as `touch` does.
    with tempfile.TemporaryDirectory(prefix=".alternant-", dir=path.parent) as folder:
        temporary = Path(folder, path.name)
        temporary.touch()
        permissions = temporary.stat().st_mode
        yield temporary
        temporary.chmod(permissions)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    with contextlib.suppress(OSError):  # folders can't be opened everywhere; the file itself is safe already
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_target(path: Path, what: str) -> None:
    """Raise if no file can be written there."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to save {what} in: make it first")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder: name the file to save {what} in")
