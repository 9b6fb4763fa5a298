"""``alternant explain``: what each item of a user's history adds to a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models import MODELS
from ..inputs import load_model, read_titles, to_ids
from ..options import add_saved
from ..printing import plain, print_json, print_table, short, title

if TYPE_CHECKING:
    import argparse

BASE_SHARE = 1e-4  # of a score: less is rounding error
HELP = "show which items of a user's history a score comes from"
EXAMPLE = "explain model.safetensors --user 1 --item 3"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_saved(parser)
    dash = "the user; write an id that begins with a dash as --user=-x"
    parser.add_argument("--user", required=True, metavar="ID", help=dash)
    parser.add_argument("--item", required=True, metavar="ID", help="the item whose score is explained")


def run(arguments: argparse.Namespace) -> None:
    """Print the contributions of a user's items, the largest first."""
    model = load_model(arguments)
    titles = read_titles(model, arguments)
    if not hasattr(model, "explain"):
        *others, last = (cls.__name__ for cls in MODELS.values() if hasattr(cls, "explain"))
        able = f"{', '.join(others)} and {last}"
        raise ValueError(
            f"{arguments.model_file!r} holds {type(model).__name__}, which can't explain scores: {able} can"
        )
    user, item = (to_ids(model, [text], kind)[0] for text, kind in ((arguments.user, "user"), (arguments.item, "item")))
    found = model.explain(user, item)
    pairs = zip(found.items[: arguments.k].tolist(), found.contributions[: arguments.k].tolist(), strict=True)
    parts = [{"item": one, "contribution": part, **title(titles, one)} for one, part in pairs]
    base = found.score - float(found.contributions.sum())  # the part common to all users, if any
    if arguments.json:
        print_json({
            "user": plain(user), "item": plain(item), "score": found.score, "base": base, "because_of": parts,
        })  # fmt: skip
        return
    print(f"score {short(float(found.score))}, of which")
    print_table(parts)
    if abs(base) > BASE_SHARE * abs(found.score):
        print(f"and {short(base)} for every user")
