"""``alternant completion``: a script that makes a shell complete commands, options and file names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

SHELLS = ("bash", "zsh", "fish")
FILES = ("FILE", "MODEL", "SOURCE")  # metavariables of paths
HELP = "print a script by which bash, zsh or fish completes commands and options"
EXAMPLE = "completion bash > alternant.bash"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads the script")


def run(arguments: argparse.Namespace) -> None:
    """Print the script."""
    try:
        import shtab
    except ImportError:
        raise ImportError(
            "alternant completion needs shtab, which is not installed: pip install 'alternant[completion]'"
        ) from None
    from ..parser import make_parser

    parser = make_parser()
    commands: Any = next(action for action in parser._actions if action.dest == "command")
    for command in commands.choices.values():
        for action in command._actions:
            if action.metavar in FILES:
                action.complete = shtab.FILE
            elif action.metavar == "FOLDER":
                action.complete = shtab.DIRECTORY
    print(shtab.complete(parser, arguments.shell))
