"""``alternant plan``: the memory, disk space and time of a fit, before there are data."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ...planning import plan
from ..inputs import make_model
from ..options import add_model, positive
from ..printing import print_json

if TYPE_CHECKING:
    import argparse

HELP = "estimate the memory, disk space and time of a fit on this machine"
EXAMPLE = "plan --users 2_000_000 --items 500_000 --interactions 100_000_000"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    for name in ("users", "items", "interactions"):
        what = "pairs of a user and an item" if name == "interactions" else name
        parser.add_argument(f"--{name}", type=positive, required=True, metavar="N", help=f"the number of {what}")
    parser.add_argument("--values", action="store_true", default=None, help="interactions have values other than 1 "
                        "(default: if the model learns from ratings or likes)")  # fmt: skip
    parser.add_argument("--no-time", action="store_true", help="do not time a small fit, which takes some seconds")
    add_model(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the plan."""
    found = plan(
        make_model(arguments), arguments.users, arguments.items, arguments.interactions, values=arguments.values,
        timed=not arguments.no_time,
    )  # fmt: skip
    if arguments.json:
        print_json(dataclasses.asdict(found))
    else:
        print(found)
