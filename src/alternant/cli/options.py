"""Options that several commands have."""

from __future__ import annotations

import argparse

from ..models import MODELS

JSON_LINES = " Lines: for each {} a line"
LIKE_OPTIONS = "one that begins with a dash: --users=-x, for each anew"


def add_table(parser: argparse.ArgumentParser) -> None:
    """Declare a table of interactions, its columns, and how it is written."""
    parser.add_argument("file", metavar="FILE", help="CSV, TSV (gzip or not) or Parquet")
    for role, what in (("user", "who"), ("item", "what"), ("value", "how much (default: 1)"), ("time", "when")):
        parser.add_argument(f"--{role}", required=role in ("user", "item"), metavar="COLUMN",
                            help=f"the column that says {what}, by name or, where none is called so, by position "
                            "from 0")  # fmt: skip
    parser.add_argument("--aggregate", choices=("sum", "max", "last", "mean", "error"),
                        help="what to make of several rows with one pair (default: the last one counts for models of "
                        f"ratings and likes, {' '.join(_of_last_words())}; else the sum)")  # fmt: skip
    add_text(parser, "between fields", "the first line names the columns, or is data (default: by what it holds)")
    parser.add_argument("--decimal", choices=(".", ","), default=".", help="before decimals (default: a point)")


def _of_last_words() -> list[str]:
    return [name for name, model in MODELS.items() if model.traits.feedback != "implicit"]


def add_text(parser: argparse.ArgumentParser, separator: str, header: str) -> None:
    """Declare how a table is written; the texts say what is between fields and what the first line may be."""
    parser.add_argument("--separator", metavar="CHARACTER", help=f"{separator} (default: by the file's name)")
    parser.add_argument("--header", action=argparse.BooleanOptionalAction, help=header)
    parser.add_argument("--quotes", action=argparse.BooleanOptionalAction, help="double quotes enclose fields, or are "
                        "part of them (default: they enclose fields, where that leaves no doubt)")  # fmt: skip


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare a model to be fitted and its parameters."""
    parser.add_argument("--model", choices=tuple(MODELS), default="implicit-als", help="(default: implicit-als)")
    parser.add_argument("--factors", type=int, metavar="N")
    parser.add_argument("--iterations", type=int, metavar="N", help="iterations, or epochs")
    parser.add_argument("--regularization", type=_number_or_auto, metavar="X", help="a number or auto")
    parser.add_argument("--alpha", type=_number_or_auto, metavar="X", help="a number or auto")
    parser.add_argument("--random-state", type=int, metavar="N", help="seed")
    parser.add_argument("--num-threads", type=positive, metavar="N", help="threads to use (default: all available)")
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="any other parameter of the model; a pair as 0.1,0.2"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def add_saved(parser: argparse.ArgumentParser, json_lines: str = "") -> None:
    """Declare a saved model that makes lists, and titles to print in them."""
    parser.add_argument("model_file", metavar="MODEL", help="a saved model")
    parser.add_argument("-k", type=positive, default=10, metavar="K",
                        help="length of the lists, at most all items (default: 10)")  # fmt: skip
    parser.add_argument("--titles", metavar="FILE", help="a table with what the items are called")
    parser.add_argument("--title-columns", nargs=2, metavar=("ID", "TITLE"),
                        help="its columns, by name or position (default: the first two)")  # fmt: skip
    add_text(parser, "between its fields", "its first line names the columns, or is data (default: it is data where "
             "it begins with an item of the model)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help=f"print JSON{json_lines}")


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _number_or_auto(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number or auto, got {text!r}") from None
