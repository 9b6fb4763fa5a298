"""Atomic file writes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def as_path(path: Any) -> Path:
    """Return the path of a file as a caller gave it; raise if it is an open file, None, or anything else."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"a file must be given by its path, got {type(path).__name__}: pass a str or a Path")
    return Path(path)


@contextlib.contextmanager
def whole_file(
    path: str | os.PathLike[str], what: str, after_error: str = "nothing was saved"
) -> Iterator[Path]:
    """Yield a path to write to, and move the file to `path` at the end; an error or a crash leaves `path` unchanged.

    A link is followed: its target is replaced. If `path` is a pipe or a device, the content is copied to it at the end.

    Parameters
    ----------
    path : path
    what : str
        What is written, as worded in error messages, such as "a model".
    after_error : str
        The end of the message if writing fails, such as on a full disk.
    """
    target = as_path(path)
    check_target(target, what)
    streams = _is_stream(target)  # before links are resolved: the real path of a pipe names no file
    if not streams:
        target = Path(os.path.realpath(target))
    # Beside the target, because renaming is atomic only within a file system. In a folder of its own, because some
    # writers take a name and set permissions of their own: the file keeps those that it has, or gets those of any new
    # file, as `touch` sets them.
    beside = None if streams else target.parent
    with tempfile.TemporaryDirectory(prefix=".alternant-", dir=beside) as folder:
        temporary = Path(folder, target.name)
        temporary.touch()
        permissions = (target if target.exists() else temporary).stat().st_mode
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
                if streams:
                    with target.open("wb") as stream:
                        shutil.copyfileobj(file, stream)
        except BrokenPipeError:
            raise
        except OSError as error:  # such as a full disk; the system's own message would name the temporary file
            if error.filename is not None and not str(error.filename).startswith(folder):
                raise
            if error.errno == errno.EFAULT:  # the target is not at fault
                raise OSError(
                    f"{what} can't be saved, since parts of it are mapped from a file that was truncated after it was "
                    "opened: restore that file, or open or fit again; files in use must be replaced by renaming"
                ) from None
            reason = error.strerror or error
            raise OSError(f"{what} can't be written to {str(path)!r} ({reason}): {after_error}") from None
        if streams:
            return
        temporary.chmod(permissions)
        temporary.replace(target)
    with contextlib.suppress(OSError):  # not all systems can open folders; the file itself is already safe
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_target(path: Path, what: str) -> None:
    """Raise if no file can be written to `path`, which may be a link."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to save {what} in: create it first")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder: name the file to save {what} in")
    if _is_stream(path):
        return
    target = Path(os.path.realpath(path))
    try:  # permissions, quotas, read-only and special file systems: the only test is to try
        tempfile.TemporaryDirectory(prefix=".alternant-", dir=target.parent).cleanup()
    except OSError as error:
        raise type(error)(
            f"no file can be created in {str(target.parent)!r} ({error.strerror}): choose another folder to save "
            f"{what} in"
        ) from None


def same_file(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to the same regular file, be it by links, different spellings or different case."""
    try:
        return os.path.isfile(path) and os.path.samefile(path, other)  # noqa: PTH113, PTH121 - of names, not of paths
    except OSError:  # one does not exist
        return False


def _is_stream(path: Path) -> bool:
    """Whether `path` is a pipe, device or socket, which can be written to but must not be replaced by a file."""
    return path.exists() and not path.is_file()
