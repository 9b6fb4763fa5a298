"""Options shared by several commands."""

from __future__ import annotations

import argparse

from ..models import MODELS

JSON_LINES = " Lines, one line per {}"
LIKE_OPTIONS = "write one that begins with a dash as --users=-x, repeating the option for each"


def add_table(parser: argparse.ArgumentParser, stores: bool = False) -> None:
    """Declare a table of interactions, its columns and its format; with `stores`, it may also be a store."""
    store = ", or a store that alternant ingest has written, without any of the options for columns" if stores else ""
    parser.add_argument("file", metavar="FILE", help=f"CSV, TSV (gzip or not) or Parquet{store}")
    columns = {
        "user": "the users: its name or, unless a column has that name, its position from 0",
        "item": "the items",
        "value": "the values: ratings, likes, counts (default: every row counts as 1; "
                 "required for models of ratings and likes)",
        "time": "the times: numbers or ISO dates",
    }
    for role, what in columns.items():
        required = role in ("user", "item") and not stores
        parser.add_argument(f"--{role}", required=required, metavar="COLUMN", help=f"the column of {what}")
    parser.add_argument("--kind", metavar="COLUMN", help="the column of kinds of events, such as view and purchase, "
                        "whose weights are added up")  # fmt: skip
    parser.add_argument("--weight", action="append", metavar="KIND=NUMBER", help="the weight of a kind, negative for "
                        "dislikes; repeat the option for each (default: 1 for all)")  # fmt: skip
    parser.add_argument("--half-life", metavar="DURATION", help="the age at which an event has half of its weight, "
                        "such as 30d, or a number in the unit of --time (default: age does not matter)")  # fmt: skip
    parser.add_argument("--aggregate", choices=("sum", "max", "last", "mean", "error"),
                        help="how to combine several rows of one pair (default: last for models of ratings and likes, "
                        f"{', '.join(_of_last_words())}; sum for the others)")  # fmt: skip
    add_text(parser, "the separator between fields", "whether the first line names the columns or is data (default: "
             "inferred from its content)")  # fmt: skip
    parser.add_argument("--decimal", choices=(".", ","), default=".", metavar="CHARACTER",
                        help="the decimal separator, a point or a comma (default: a point)")  # fmt: skip


def _of_last_words() -> list[str]:
    return [name for name, model in MODELS.items() if model.traits.feedback != "implicit"]


def add_text(parser: argparse.ArgumentParser, separator: str, header: str) -> None:
    """Declare the format of a table, with help texts for its separator and its header."""
    parser.add_argument("--separator", type=_separator, metavar="CHARACTER",
                        help=f"{separator}, such as ';' or '\\t' (default: inferred from the file)")  # fmt: skip
    parser.add_argument("--header", action=argparse.BooleanOptionalAction, help=header)
    parser.add_argument("--quotes", action=argparse.BooleanOptionalAction, help="whether double quotes enclose fields "
                        "or are part of them (default: they enclose fields; ambiguous "
                        "quotes are an error)")  # fmt: skip


def _separator(text: str) -> str:
    return "\t" if text == r"\t" else text  # the way messages write a tab; most shells leave it as it is


def add_features(parser: argparse._ActionsContainer, kind: str, purpose: str = "") -> None:
    """Declare a table of features of users or items."""
    parser.add_argument(f"--{kind}-features", metavar="FILE",
                        help=f"a table with features of {kind}s: numbers, categories, and tags separated by bars"
                        f"{purpose}")  # fmt: skip


def add_feature_id(parser: argparse.ArgumentParser, kind: str) -> None:
    """Declare the column of ids in a table of features."""
    parser.add_argument(f"--{kind}-feature-id", metavar="COLUMN",
                        help=f"the column of {kind} ids in --{kind}-features, by name or position (default: the first "
                        "one)")  # fmt: skip


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare the model to fit and its parameters."""
    parser.add_argument("--model", choices=tuple(MODELS), default="implicit-als", metavar="NAME",
                        help=f"{', '.join(MODELS)} (default: implicit-als)")  # fmt: skip
    parser.add_argument("--factors", type=int, metavar="N", help="number of factors")
    parser.add_argument("--iterations", type=int, metavar="N", help="number of iterations, or epochs")
    parser.add_argument("--regularization", type=_number_or_auto, metavar="X", help="a number, or auto")
    parser.add_argument("--alpha", type=_number_or_auto, metavar="X", help="a number, or auto")
    parser.add_argument("--random-state", type=int, metavar="N", help="the seed")
    parser.add_argument("--num-threads", type=positive, metavar="N", help="threads to use (default: all available)")
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="any other parameter of the model; write a pair as 0.1,0.2"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def add_memory_limit(parser: argparse.ArgumentParser) -> None:
    """Declare the memory that a fit may take."""
    parser.add_argument("--memory-limit", metavar="SIZE", help="the memory that the fit may take, such as 4GB: if "
                        "factors don't fit, they are kept in files (default: no limit)")  # fmt: skip


def add_saved(parser: argparse.ArgumentParser, json_lines: str = "") -> None:
    """Declare a saved model, the length of its lists, and titles to print in them."""
    parser.add_argument("model_file", metavar="MODEL", help="a saved model")
    parser.add_argument("-k", type=positive, default=10, metavar="K",
                        help="length of the lists, at most the number of items (default: 10)")  # fmt: skip
    add_titles(parser)
    parser.add_argument("--json", action="store_true", help=f"print JSON{json_lines}")


def add_titles(parser: argparse.ArgumentParser) -> None:
    """Declare a table of titles."""
    parser.add_argument("--titles", metavar="FILE", help="a table with item titles")
    parser.add_argument("--title-columns", nargs=2, metavar=("ID", "TITLE"),
                        help="the columns of ids and titles, by name or position (default: the first two)")  # fmt: skip
    add_text(parser, "the separator in the file of titles", "whether its first line names the "
             "columns or is data (default: it is data if it begins with an item of the model)")  # fmt: skip


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    digits = text.replace("_", "")
    if not digits.isdecimal() or int(digits) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(digits)


def _number_or_auto(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number or auto, got {text!r}") from None
