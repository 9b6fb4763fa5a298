"""The parser of the command line, made from the commands."""

from __future__ import annotations

import argparse
import textwrap
from typing import NoReturn

from .. import __version__
from .commands import COMMANDS

DASH = "; write a value that begins with a dash as --option=-value"


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the example, and does not break names such as leave-one-out."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Add how to pass a value that looks like an option."""
        super().error(message + (DASH if "expected" in message else ""))


def make_parser() -> argparse.ArgumentParser:
    """Return a parser that knows every command."""
    parser = _Parser(prog="alternant", description="Matrix-factorization recommenders.")
    parser.add_argument("--version", action="version", version=f"alternant {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_options(subparsers.add_parser(
            name, help=command.HELP, description=f"{command.HELP[0].upper()}{command.HELP[1:]}.",
            epilog=f"example:\n  alternant {command.EXAMPLE}", formatter_class=_HelpFormatter,
        ))  # fmt: skip
    return parser
