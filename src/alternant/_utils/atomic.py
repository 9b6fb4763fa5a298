"""Atomic file writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """Yield a name to write to, and move the file to `path` at the end; after an error or a crash `path` is as it was.

    A link is followed: the file that it names is replaced. A pipe or a device gets what was written, at the end.

    Parameters
    ----------
    path : path
    what : str
        What is written, in the words of messages, such as "a model".
    """
    target = Path(path)
    check_target(target, what)
    streams = _is_stream(target)  # of the name itself: the real path of a pipe names no file
    if not streams:
        target = Path(os.path.realpath(target))
    # Beside the target, because only within one file system is a rename atomic; in a folder of its own, because some
    # writers take a name and give the file permissions of their own: it gets those of any new file, as `touch` does.
    beside = None if streams else target.parent
    with tempfile.TemporaryDirectory(prefix=".alternant-", dir=beside) as folder:
        temporary = Path(folder, target.name)
        temporary.touch()
        permissions = temporary.stat().st_mode
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
                if streams:
                    with target.open("wb") as stream:
                        shutil.copyfileobj(file, stream)
        except BrokenPipeError:
            raise
        except OSError as error:  # of the system, whose words name the temporary file: a full disk, say
            if error.filename is not None and not str(error.filename).startswith(folder):
                raise
            reason = error.strerror or error
            raise OSError(f"{what} can't be written to {str(path)!r} ({reason}): nothing was saved") from None
        if streams:
            return
        temporary.chmod(permissions)
        temporary.replace(target)
    with contextlib.suppress(OSError):  # folders can't be opened everywhere; the file itself is safe already
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_target(path: Path, what: str) -> None:
    """Raise if no file can be written there; it may be a link to it."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to save {what} in: make it first")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder: name the file to save {what} in")
    if _is_stream(path):
        return
    target = Path(os.path.realpath(path))
    try:  # permissions, quotas, read-only and special file systems: only doing it tells
        tempfile.TemporaryDirectory(prefix=".alternant-", dir=target.parent).cleanup()
    except OSError as error:
        raise type(error)(
            f"no file can be made in {str(target.parent)!r} ({error.strerror}): choose another folder to save {what} in"
        ) from None


def same_file(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two names lead to one regular file: by links of any kind, other spellings, or other cases of letters."""
    try:
        return os.path.isfile(path) and os.path.samefile(path, other)  # noqa: PTH113, PTH121 - of names, not of paths
    except OSError:  # one is not there
        return False


def _is_stream(path: Path) -> bool:
    """Whether that is a pipe, a device or a socket, which can be written to but not be replaced by a file."""
    return path.exists() and not path.is_file()
