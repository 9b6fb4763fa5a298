"""Shared by the command lines: the parser with common options, option types, missed targets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .shapes import SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def parser(command: str, doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Return a parser that shows the module's docstring, with --json and those common options that have a default.

    An option whose default is a list takes several values.
    """
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks {command}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in defaults.items():
        several = {"nargs": "+"} if isinstance(default, (list, tuple)) else {}
        made.add_argument(f"--{name.replace('_', '-')}", default=default, **several, **COMMON[name])
    made.add_argument("--json", type=file_to_write, metavar="FILE", help="write what is measured to this file, too")
    return made


def at_least(least: int, multiple_of: int = 1) -> Callable[[str], int]:
    """Return the type of an option that takes whole numbers of at least `least`."""
    expected = f"expected a whole number of at least {least}" + f", a multiple of {multiple_of}" * (multiple_of > 1)

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least or number % multiple_of:
            raise argparse.ArgumentTypeError(f"{expected}, got {text!r}")
        return number

    return read


def folder(text: str) -> Path:
    """Read the path of an existing folder."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return path


def file_to_read(text: str) -> Path:
    """Read the path of an existing file."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return path


def file_to_write(text: str) -> Path:
    """Read the path of a file in an existing folder."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to")
    return path


def picture_to_write(text: str) -> Path:
    """Read the path of a picture in a format supported by matplotlib."""
    path = file_to_write(text)
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise argparse.ArgumentTypeError("drawing takes matplotlib: pip install 'alternant[plot]'") from None
    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise argparse.ArgumentTypeError(f"{text!r} must end in one of {', '.join(f'.{name}' for name in formats)}")
    return path


def exit_status(missed: Sequence[str]) -> int:
    """Print the missed targets; return 1 if there are any."""
    for reason in missed:
        print(f"missed: {reason}")
    return 1 if missed else 0


COMMON: dict[str, dict[str, Any]] = {
    "shape": {"choices": list(SHAPES), "help": "random data of this shape"},
    "folder": {"type": folder, "help": "that holds the public data, one sub-folder a data set"},
    "factors": {"type": at_least(1)},
    "iterations": {"type": at_least(2), "help": "at least 2: the first is not timed"},
    "rounds": {"type": at_least(1)},
    "trials": {"type": at_least(2), "help": "settings that the search tries"},
    "threads": {"type": at_least(1)},
    "at_least": {"type": float, "help": "exit 1 below this; see above"},
    "at_most": {"type": float, "help": "exit 1 above this; see above"},
}
