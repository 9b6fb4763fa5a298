"""``alternant similar``: the items of a saved model that are most similar to given ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..inputs import load_model, read_titles, to_ids
from ..options import JSON_LINES, LIKE_OPTIONS, add_saved
from ..printing import print_json_lists, print_lists

if TYPE_CHECKING:
    import argparse

HELP = "print the items most similar to given items of a saved model"
EXAMPLE = "similar model.safetensors --items 1 -k 5"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_saved(parser, JSON_LINES.format("item"))
    parser.add_argument("--items", nargs="+", action="extend", required=True, metavar="ID",
                        help="item ids; " + LIKE_OPTIONS.replace("users", "items"))  # fmt: skip
    parser.add_argument("--shrinkage", type=float, metavar="X",
                        help="how much items with few interactions count less (default: 10)")  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Print the neighbours of items."""
    model = load_model(arguments)
    titles = read_titles(model, arguments)
    items = to_ids(model, arguments.items, "item")
    k = min(arguments.k, len(model.item_factors))
    found = [(items, *model.similar_items(items, k, shrinkage=arguments.shrinkage))]
    (print_json_lists if arguments.json else print_lists)(found, titles, "item", "similar")
