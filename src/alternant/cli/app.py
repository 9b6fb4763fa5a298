"""The command ``alternant``.

Exit codes: 0 success, 1 the command failed, 2 wrong usage, 130 interrupted by Ctrl-C, 141 broken pipe, 143 ended
by SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

from .._utils.messages import Parameter, message_of
from .commands import COMMANDS
from .parser import make_parser

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Parameters whose options have a different name.
ALIASES = {"epochs": "iterations", "id": "title_columns", "n_users": "fraction", "title": "title_columns",
           "weights": "weight"}  # fmt: skip
ERRORS = (ArithmeticError, ImportError, IndexError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; those of the process by default.

    Raises
    ------
    SystemExit
        Code 2 for wrong usage; code 0 after ``--help`` and ``--version``; code 143 after SIGTERM.
    """
    _open_streams()
    with _termination():
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    arguments = argparse.Namespace()
    try:
        parser = make_parser()
        parser.parse_args(argv, arguments)
        if arguments.command is None:
            parser.print_help(sys.stderr)
            return 2
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]  # it takes any further arguments
            COMMANDS[arguments.command].run(arguments)
        sys.stdout.flush()  # here, where a broken pipe can still be handled
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except ERRORS as error:
        print(f"alternant: error: {_in_options(error, arguments)}", file=sys.stderr)
        return 1
    finally:
        _flush()
    return 0


@contextlib.contextmanager
def _termination() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, so that temporary files are deleted; a caller's own handler stays."""
    alone = threading.current_thread() is threading.main_thread()
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not stop the deletion
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _open_streams() -> None:
    """Open /dev/null for streams that the caller has closed, so that no other file gets their descriptors."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - until the end
        elif mode == "w" and getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a character that can't be encoded must not end the command


def _flush() -> None:
    """Flush stdout; on a broken pipe, redirect it to devnull so that exit does not report it again."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _show_warning(message: Warning | str, *_: Any) -> None:
    """Print a warning on one line, without its location in the code, which is of no use here."""
    print(f"alternant: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _in_options(error: Exception, arguments: argparse.Namespace) -> str:
    """Return an error's message with the library's parameters replaced by the options of this command."""
    options = {name: "-k" if name == "k" else f"--{name.replace('_', '-')}" for name in vars(arguments)}
    options |= {alias: options[name] for alias, name in ALIASES.items() if name in options}
    for name in {text.partition("=")[0] for text in getattr(arguments, "set", None) or ()} - set(vars(arguments)):
        options[name] = f"--set {name}="  # rather than the option of another command that an alias stands for

    def named(parameter: Parameter) -> str:
        if parameter.name == "quote" and "quotes" in options:
            return "--no-quotes" if parameter.value == "None" else "--quotes"
        if parameter.name == "exclude_seen" and "keep_seen" in options:
            return "--keep-seen"
        if parameter.name not in options:
            return str(parameter)
        if parameter.name == "header" and parameter.value is not None:
            return "--header" if parameter.value == "True" else "--no-header"
        return options[parameter.name] + ("" if parameter.value is None else f" {parameter.value}")

    return re.sub(r"\s*\n\s*", " ", message_of(error, named).strip()) or type(error).__name__
