"""Write the tables of benchmarks/results/NAME.json into benchmarks/RESULTS.md, between the lines that ask for them.

    python -m benchmarks als --shape ml1m --rounds 3 --json benchmarks/results/als-ml1m.json
    python -m benchmarks render               # into RESULTS.md
    python -m benchmarks render als-ml1m      # to the screen

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``; what is outside of them is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .results import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parents[1] / "results"
PAGE = RESULTS.parent / "RESULTS.md"
PLACE = re.compile(r"<!-- table (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)


def read(name: str) -> str:
    """Return the tables of a record."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RESULTS.glob("*.json")))
        sys.exit(f"no record is called {name!r}: choose from {known}")
    return markdown(json.loads(path.read_text(encoding="utf-8")))


def rendered(page: str) -> str:
    """Return a page with its tables as they are in the records."""
    return PLACE.sub(lambda found: f"<!-- table {found['name']} -->\n\n{read(found['name'])}\n\n<!-- end -->", page)


def main(arguments: Sequence[str]) -> int:
    """Render the page, or the records that are named."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks render", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="print these records instead")
    options = parser.parse_args(arguments)
    for name in options.names:
        print(read(name))
    if not options.names:
        PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0
