"""The command ``alternant``.

Exit codes: 0 success, 1 the command failed, 2 wrong usage, 130 stopped by Ctrl-C, 141 nobody reads the output.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

from . import __version__
from .demo import run_demo
from .kernels import backend_info
from .kernels._registry import BACKENDS
from .walkthrough import run_walkthrough

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 80


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; those of the process by default.

    Raises
    ------
    SystemExit
        Code 2 for wrong usage; code 0 after ``--help`` and ``--version``.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]  # it takes any further arguments
            arguments.run(arguments)
        sys.stdout.flush()  # here, where a broken pipe is still ours to handle
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _discard_stdout()
        return 141
    except (ImportError, MemoryError, OSError, RuntimeError, ValueError) as error:
        print(f"alternant: error: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="alternant", description="Matrix-factorization recommenders.")
    parser.add_argument("--version", action="version", version=f"alternant {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")

    text = "train on real visits to a web site, and show how good the recommendations are"
    demo = commands.add_parser("demo", help=text, description=f"{text[0].upper()}{text[1:]}.")
    demo.add_argument("--backend", choices=("auto", *BACKENDS), default="auto", help="kernels to use (default: auto)")
    demo.add_argument("--num-threads", type=_positive, metavar="N", help="threads to use (default: all available)")
    text = "instead, watch alternating least squares solve 2 users and 2 items, number by number"
    demo.add_argument("--walkthrough", action="store_true", help=text)
    demo.set_defaults(run=_demo)

    text = "tell what runs here: backend, SIMD level, threads, BLAS, compiler"
    info = commands.add_parser("info", help=text, description=f"{text[0].upper()}{text[1:]}.")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)
    return parser


def _demo(arguments: argparse.Namespace) -> None:
    run = run_walkthrough if arguments.walkthrough else run_demo
    run(arguments.backend, arguments.num_threads)


def _info(arguments: argparse.Namespace) -> None:
    info = {"alternant": __version__, **backend_info()}
    if arguments.json:
        print(json.dumps(info, indent=2))
        return
    margin = max(map(len, info)) + 2
    for name, value in info.items():
        lines = [
            line
            for text in _texts(value)
            for line in textwrap.wrap(text, WIDTH - margin, subsequent_indent="  ") or [""]
        ]
        print(f"{name:<{margin}}" + f"\n{'':{margin}}".join(lines))


def _texts(value: Any) -> list[str]:
    """What `info` prints for a value, an item of a list or dictionary at a time."""
    if isinstance(value, dict):
        margin = max(map(len, value), default=0) + 2
        return [f"{name:<{margin}}{text}" for name, part in value.items() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)] or ["-"]
    if value is None:
        return ["-"]
    return [("no", "yes")[value] if isinstance(value, bool) else str(value)]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _show_warning(message: Warning | str, *_: Any) -> None:
    """Print a warning as a sentence: where in the code it was raised is of no use here."""
    print(f"alternant: warning: {_one_line(message)}", file=sys.stderr)


def _one_line(message: object) -> str:
    return " ".join(str(message).split()) or type(message).__name__


def _discard_stdout() -> None:
    """Let the interpreter flush what is left into nothing, lest it report the broken pipe again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
