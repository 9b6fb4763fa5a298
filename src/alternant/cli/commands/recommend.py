"""``alternant recommend``: ranked lists for users of a saved model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...models.internals import factors, known_rows, raw_ids, seen
from ..inputs import add_new, load_model, read_features, read_titles, read_users, refuse_inputs_as_output, to_ids
from ..options import JSON_LINES, LIKE_OPTIONS, add_feature_id, add_features, add_saved
from ..printing import print_json, print_json_lists, print_lists

if TYPE_CHECKING:
    import argparse

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
    parser.add_argument("-o", "--output", metavar="FILE", help="write a .parquet or .csv file instead of printing")
    parser.add_argument("--keep-seen", action="store_true", help="also list items that the user has interacted with")
    parser.add_argument("--unknown", choices=("raise", "empty", "cold-start"), default="raise",
                        help="what to do with users that the model does not know: fail (default), list nothing, or "
                        "list what the mean user gets")  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Print or write ranked lists."""
    if arguments.output is not None and Path(arguments.output).suffix.lower() not in (".parquet", ".csv"):
        raise ValueError(f"--output must end in .parquet or .csv, got {arguments.output!r}")
    refuse_inputs_as_output(arguments)
    model = load_model(arguments)
    for kind in ("user", "item"):
        add_new(model, kind, read_features(arguments, kind))
    titles = read_titles(model, arguments)
    k = min(arguments.k, max(len(model.item_factors), 1))
    unknown = arguments.unknown.replace("-", "_")
    users = None if arguments.all else to_ids(model, _user_texts(arguments), "user", known_only=unknown == "raise")
    options = {"users": users, "exclude_seen": not arguments.keep_seen, "unknown": unknown}
    if arguments.output is not None:
        rows = model.recommend_all(k, to=arguments.output, titles=titles, **options)
        if arguments.json:
            print_json({"file": arguments.output, "rows": rows})
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


def _tell_of_empty(model: Any, users: Any) -> None:
    """Warn on stderr about users without any rows, because they have seen all items."""
    user_factors, item_factors = factors(model)
    rows = np.arange(len(user_factors)) if users is None else known_rows(model, "users", users, "user")
    empty = rows[np.diff(seen(model, rows).indptr) >= len(item_factors)]
    if len(empty):
        more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
        one = raw_ids(model, empty[:1], "user").tolist()[0]
        who = "all of whom have" if more else "who has"
        said = f"no items are left for user {one}{more}, {who} seen all of them: pass --keep-seen to include seen items"
        print(f"alternant: warning: {said}", file=sys.stderr)
