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
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from .._utils.messages import Parameter, message_of
from ..kernels import backend_info
from ..kernels._registry import BACKENDS
from ..models import MODELS
from .demo import run_demo
from .walkthrough import run_walkthrough

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 80
# Parameters that options are called otherwise than, where they are.
ALIASES = {"epochs": "iterations", "id": "title_columns", "n_users": "fraction", "title": "title_columns"}
JSON_LINES = " Lines: for each {} a line"
LIKE_OPTIONS = "one that begins with a dash: --users=-x, for each anew"
DASH = "; a value that begins with a dash is given as --option=-value"
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
        Code 2 for wrong usage; code 0 after ``--help`` and ``--version``.
    """
    _open_streams()
    arguments = argparse.Namespace()
    try:
        parser = _parser()
        parser.parse_args(argv, arguments)
        if arguments.command is None:
            parser.print_help(sys.stderr)
            return 2
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]  # it takes any further arguments
            _run(arguments)
        sys.stdout.flush()  # here, where a broken pipe is still ours to handle
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


def _open_streams() -> None:
    """Open what the caller has closed, as if it were /dev/null: no file may get the number of a standard stream."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - until the end
        elif mode == "w" and getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an encoding that lacks a character must not end the work


def _flush() -> None:
    """Write what is left, or, lest the interpreter report at its end what was told already, let it go into nothing."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say also what is to be done with a value that looks like an option."""
        super().error(message + (DASH if "expected" in message else ""))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="alternant", description="Matrix-factorization recommenders.")
    parser.add_argument("--version", action="version", version=f"alternant {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")

    def command(name: str, text: str, example: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example:\n  alternant {example or name}", formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    demo = command("demo", "train on real visits to a web site, and show how good the recommendations are")
    demo.add_argument("--backend", choices=("auto", *BACKENDS), default="auto", help="kernels to use (default: auto)")
    demo.add_argument("--num-threads", type=_positive, metavar="N", help="threads to use (default: all available)")
    text = "instead, watch alternating least squares solve 2 users and 2 items, number by number"
    demo.add_argument("--walkthrough", action="store_true", help=text)

    fit = command("fit", "fit a model on a table in a file, and save it",
                  "fit ratings.csv --user userId --item movieId --value rating -o model.safetensors")  # fmt: skip
    _add_table(fit)
    _add_model(fit)
    fit.add_argument("-o", "--output", required=True, metavar="FILE", help="where to save the model")

    recommend = command("recommend", "print or write ranked lists for users of a saved model",
                        "recommend model.safetensors --users 1 2 -k 5")  # fmt: skip
    _add_saved(recommend, JSON_LINES.format("user"))
    _add_users(recommend)
    recommend.add_argument("-o", "--output", metavar="FILE", help="write a .parquet or .csv file instead of printing")
    recommend.add_argument("--keep-seen", action="store_true", help="list what a user has interacted with, too")
    recommend.add_argument("--unknown", choices=("raise", "empty", "cold-start"), default="raise",
                           help="what users get whom the model does not know: an error for all, nothing, or the list "
                                "of the mean user")  # fmt: skip

    similar = command("similar", "print the items most like some items of a saved model",
                      "similar model.safetensors --items 1 -k 5")  # fmt: skip
    _add_saved(similar, JSON_LINES.format("item"))
    similar.add_argument("--items", nargs="+", action="extend", required=True, metavar="ID",
                         help="ids of items; " + LIKE_OPTIONS.replace("users", "items"))  # fmt: skip

    explain = command("explain", "tell which items of a user's history a score comes from",
                      "explain model.safetensors --user 1 --item 3")  # fmt: skip
    _add_saved(explain)
    explain.add_argument("--user", required=True, metavar="ID", help="one that begins with a dash: --user=-x")
    explain.add_argument("--item", required=True, metavar="ID", help="likewise")

    evaluate = command("evaluate", "hold a part of a table out, and measure how well a model finds it",
                       "evaluate ratings.csv --user userId --item movieId --split leave-one-out -k 10")  # fmt: skip
    _add_table(evaluate)
    _add_model(evaluate)
    splits = ("random", "leave-one-out", "leave-last-out", "by-time", "new-users")
    evaluate.add_argument("--split", choices=splits, default="random", help="what is held out (default: random)")
    evaluate.add_argument("--fraction", type=float, metavar="X", help="how much, for random (0.2), by-time (0.2) and "
                          "new-users (0.1)")  # fmt: skip
    evaluate.add_argument("-k", nargs="+", type=_positive, metavar="K", help="lengths of lists (default: 10 20 100)")
    evaluate.add_argument("--metrics", nargs="+", metavar="NAME", help="such as ndcg recall auc (default: all)")
    evaluate.add_argument("--baseline", action="store_true", help="measure popularity, too")

    info = command("info", "tell what runs here (backend, threads, BLAS), or what a model file holds",
                   "info model.safetensors")  # fmt: skip
    info.add_argument("model_file", nargs="?", metavar="MODEL", help="a saved model")
    info.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="CSV, TSV (gzip or not) or Parquet")
    for role, what in (("user", "who"), ("item", "what"), ("value", "how much (default: 1)"), ("time", "when")):
        parser.add_argument(f"--{role}", required=role in ("user", "item"), metavar="COLUMN",
                            help=f"the column that says {what}, by name or, where none is called so, by position "
                            "from 0")  # fmt: skip
    parser.add_argument("--aggregate", choices=("sum", "max", "last", "mean", "error"),
                        help="what to make of several rows with one pair (default: the last one counts for models of "
                        f"ratings and likes, {' '.join(_of_last_words())}; else the sum)")  # fmt: skip
    _add_text(parser, "between fields", "the first line names the columns, or is data (default: by what it holds)")
    parser.add_argument("--decimal", choices=(".", ","), default=".", help="before decimals (default: a point)")


def _of_last_words() -> list[str]:
    return [name for name, model in MODELS.items() if model.traits.feedback != "implicit"]


def _add_text(parser: argparse.ArgumentParser, separator: str, header: str) -> None:
    parser.add_argument("--separator", metavar="CHARACTER", help=f"{separator} (default: by the file's name)")
    parser.add_argument("--header", action=argparse.BooleanOptionalAction, help=header)
    parser.add_argument("--quotes", action=argparse.BooleanOptionalAction, help="double quotes enclose fields, or are "
                        "part of them (default: they enclose fields, where that leaves no doubt)")  # fmt: skip


def _number_or_auto(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number or auto, got {text!r}") from None


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=tuple(MODELS), default="implicit-als", help="(default: implicit-als)")
    parser.add_argument("--factors", type=int, metavar="N")
    parser.add_argument("--iterations", type=int, metavar="N", help="iterations, or epochs")
    parser.add_argument("--regularization", type=_number_or_auto, metavar="X", help="a number or auto")
    parser.add_argument("--alpha", type=_number_or_auto, metavar="X", help="a number or auto")
    parser.add_argument("--random-state", type=int, metavar="N", help="seed")
    parser.add_argument("--num-threads", type=_positive, metavar="N", help="threads to use (default: all available)")
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="any other parameter of the model; a pair as 0.1,0.2"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _add_saved(parser: argparse.ArgumentParser, json_lines: str = "") -> None:
    parser.add_argument("model_file", metavar="MODEL", help="a saved model")
    parser.add_argument("-k", type=_positive, default=10, metavar="K",
                        help="length of the lists, at most all items (default: 10)")  # fmt: skip
    parser.add_argument("--titles", metavar="FILE", help="a table with what the items are called")
    parser.add_argument("--title-columns", nargs=2, metavar=("ID", "TITLE"),
                        help="its columns, by name or position (default: the first two)")  # fmt: skip
    _add_text(parser, "between its fields", "its first line names the columns, or is data (default: it is data where "
              "it begins with an item of the model)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help=f"print JSON{json_lines}")


def _add_users(parser: argparse.ArgumentParser) -> None:
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--users", nargs="+", action="extend", metavar="ID", help="ids of users; " + LIKE_OPTIONS)
    who.add_argument("--users-file", metavar="FILE", help="a file with one id a line, or /dev/stdin")
    who.add_argument("--all", action="store_true", help="all users of the fit")


def _run(arguments: argparse.Namespace) -> None:
    if arguments.command == "demo":
        _demo(arguments)
    elif arguments.command == "info" and arguments.model_file is None:
        _info(arguments)
    else:
        from . import commands  # after the arguments are known to be right: it takes a while

        name = {"info": "model_info", "evaluate": "evaluate_"}.get(arguments.command, arguments.command)
        getattr(commands, name)(arguments)


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
    print(f"alternant: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _in_options(error: Exception, arguments: argparse.Namespace) -> str:
    """Return an error's message with the options of this command in the place of the library's parameters."""
    options = {name: "-k" if name == "k" else f"--{name.replace('_', '-')}" for name in vars(arguments)}
    options |= {alias: options[name] for alias, name in ALIASES.items() if name in options}

    def named(parameter: Parameter) -> str:
        if parameter.name == "quote" and "quotes" in options:
            return "--no-quotes" if parameter.value == "None" else "--quotes"
        if parameter.name not in options:
            return str(parameter)
        if parameter.name == "header" and parameter.value is not None:
            return "--header" if parameter.value == "True" else "--no-header"
        return options[parameter.name] + ("" if parameter.value is None else f" {parameter.value}")

    return " ".join(message_of(error, named).split()) or type(error).__name__
