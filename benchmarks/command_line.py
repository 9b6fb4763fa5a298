"""What the command lines of the scripts share: types of options, and how a missed target is told."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def at_least(least: int, multiple_of: int = 1) -> Callable[[str], int]:
    """Return the type of an option that takes whole numbers from the least on."""
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
    """Read the path of a folder that is there."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return path


def file_to_read(text: str) -> Path:
    """Read the path of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return path


def file_to_write(text: str) -> Path:
    """Read the path of a file in a folder that is there."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to")
    return path


def picture_to_write(text: str) -> Path:
    """Read the path of a picture in a format that matplotlib writes."""
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
    """Print what targets were missed; return 1 if any was."""
    for reason in missed:
        print(f"missed: {reason}")
    return 1 if missed else 0
