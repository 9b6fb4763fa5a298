"""``alternant recommend``: ranked lists for users of a saved model."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from ...data.io.export import destination
from ...models.internals import SHARD_SIZE, factors, raw_ids, seen_counts
from ..inputs import add_new, load_model, read_features, read_titles, read_users, refuse_inputs_as_output, to_ids
from ..options import JSON_LINES, LIKE_OPTIONS, add_feature_id, add_features, add_saved, positive
from ..printing import print_json, print_json_lists, print_lists

HELP = "print or write ranked lists for users of a saved model"
EXAMPLE = "recommend model.safetensors --users 1 2 -k 5"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_saved(parser, JSON_LINES.format("user"))
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--users", nargs="+", action="extend", metavar="ID", help="user ids; " + LIKE_OPTIONS)
    who.add_argument("--users-file", metavar="FILE", help="a file with one user id per line, or /dev/stdin")
    who.add_argument("--all", action="store_true", help="every user of the fit")
    for kind in ("user", "item"):
        add_features(parser, kind, "; those that the model does not know are added to it")
        add_feature_id(parser, kind)
    parser.add_argument("--part", type=_part, metavar="I/N", help="with --all: only the users of the I-th of N parts, "
                        "to divide them among processes or machines, each with an output of its own")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="PATH", help="write a .parquet or .csv file instead of printing or, "
                        "for many users, a folder of Parquet files, which the same command, run again after it was "
                        "killed, completes")  # fmt: skip
    parser.add_argument("--shard-size", type=positive, default=SHARD_SIZE, metavar="N",
                        help="the number of users in each file of a folder (default: 500,000)")  # fmt: skip
    parser.add_argument("--keep-seen", action="store_true", help="also list items that the user has interacted with")
    parser.add_argument("--unknown", choices=("raise", "empty", "cold-start"), default="raise",
                        help="what to do with users that the model does not know: fail (default), list nothing, or "
                        "list what the mean user gets")  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Print or write ranked lists."""
    output = None if arguments.output is None else destination(arguments.output, "--output")
    if arguments.part is not None and not arguments.all:
        raise ValueError("--part is a part of the users of the fit: pass --all with it")
    refuse_inputs_as_output(arguments)
    model = load_model(arguments)
    for kind in ("user", "item"):
        add_new(model, kind, read_features(arguments, kind))
    titles = read_titles(model, arguments)
    k = min(arguments.k, max(len(model.item_factors), 1))
    unknown = arguments.unknown.replace("-", "_")
    users = _all(model, arguments) if arguments.all else (
        to_ids(model, _user_texts(arguments), "user", known_only=unknown == "raise")
    )  # fmt: skip
    options = {"users": users, "exclude_seen": not arguments.keep_seen, "unknown": unknown}
    if arguments.output is not None:
        rows = model.recommend_all(
            k, to=arguments.output, titles=titles, shard_size=arguments.shard_size, **options
        )
        if arguments.json:
            print_json({"folder" if output == "folder" else "file": arguments.output, "rows": rows})
        else:
            print(f"{rows:,} rows in {arguments.output}")
    elif arguments.json:
        print_json_lists(model.recommend_all(k, **options), titles, "user", "items")
        return
    else:
        print_lists(model.recommend_all(k, **options), titles, "user", "item")
    if not arguments.keep_seen:
        _tell_of_empty(model, users)


def _user_texts(arguments: argparse.Namespace) -> list[str]:
    return list(arguments.users) if arguments.users is not None else read_users(arguments.users_file)


def _part(text: str) -> tuple[int, int]:
    """Return which of how many parts of the users are meant."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"must be a part and the number of parts, such as 1/4, got {text!r}")
    return int(number), int(count)


def _all(model: Any, arguments: argparse.Namespace) -> slice | None:
    """Return the users of the fit that are meant by row; None: all of them."""
    if arguments.part is None:
        return None
    (number, parts), count = arguments.part, len(factors(model)[0])
    return slice(count * (number - 1) // parts, count * number // parts)


def _tell_of_empty(model: Any, users: Any) -> None:
    """Warn on stderr about users without any rows, because they have seen all items."""
    n_items, empty, first = len(factors(model)[1]), 0, None
    for rows, lengths in seen_counts(model, users):
        full = np.flatnonzero(lengths >= n_items)
        first = int(rows[full[0]]) if first is None and len(full) else first
        empty += len(full)
    if first is not None:
        more = f" and {empty - 1:,} more" if empty > 1 else ""
        one = raw_ids(model, np.array([first]), "user").tolist()[0]
        who = "all of whom have" if more else "who has"
        said = f"no items are left for user {one}{more}, {who} seen all of them: pass --keep-seen to include seen items"
        print(f"alternant: warning: {said}", file=sys.stderr)
