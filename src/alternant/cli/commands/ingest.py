"""``alternant ingest``: from Parquet files, however large, to a store on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ..._utils.memory import human_bytes
from ...data.interactions import Interactions
from ...data.io.roles import NameOrPosition
from ...data.store import Store
from ..printing import plain, print_json

if TYPE_CHECKING:
    import argparse

HELP = "read Parquet files, however large, into a store on disk"
EXAMPLE = "ingest events/ --user user_id --item item_id --memory-limit 4GB -o events.store"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="Parquet files, or one folder: all *.parquet "
                        "files in it and its sub-folders")  # fmt: skip
    columns = {
        "user": "the users: its name or, unless a column has that name, its position from 0", "item": "the items",
        "value": "the values (default: every row counts as 1)", "time": "the times: numbers or dates",
    }  # fmt: skip
    for role, what in columns.items():
        parser.add_argument(
            f"--{role}", required=role in ("user", "item"), metavar="COLUMN", help=f"the column of {what}"
        )
    parser.add_argument("--aggregate", choices=("sum", "max", "last", "mean", "error"), default="sum",
                        help="how to combine several rows of one pair (default: sum)")  # fmt: skip
    parser.add_argument("--memory-limit", metavar="SIZE", help="the memory to use at most, such as 4GB (default: half "
                        "of what is available)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="the folder of the store: the same "
                        "command, run again after it was killed, goes on where it was")  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Read files into a store."""
    columns = {role: getattr(arguments, role) for role in ("user", "item", "value", "time")}
    asked = {
        role: NameOrPosition(column) if column is not None and column.isdecimal() else column
        for role, column in columns.items()
    }
    source = arguments.sources[0] if len(arguments.sources) == 1 else arguments.sources
    data = Interactions.from_parquet(
        source, **asked, aggregate=arguments.aggregate, store=arguments.output, memory_limit=arguments.memory_limit
    )
    report, size = data.describe(), Store(Path(arguments.output)).nbytes
    if arguments.json:
        print_json({"store": arguments.output, "bytes": size, "data": plain(dataclasses.asdict(report))})
        return
    print(f"{report}\n\nstored in {arguments.output} ({human_bytes(size)})")
