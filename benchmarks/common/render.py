"""Write the tables of benchmarks/results/NAME.json into the pages of results, between the markers for them.

    python -m benchmarks als --shape ml1m --rounds 3 --json benchmarks/results/als-ml1m.json
    python -m benchmarks render               # into RESULTS.md and results/*.md
    python -m benchmarks render als-ml1m      # to the screen
    python -m benchmarks render --picture     # draws accuracy.png, the picture whose record has all of its numbers

A record's tables and notes go between ``<!-- table NAME -->`` and ``<!-- end -->``; ``<!-- table NAME brief -->``
leaves out the notes, ``<!-- table NAME notes -->`` the tables. Everything outside is written by hand.
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
PLACE = re.compile(r"(?P<begin><!-- table (?P<name>[\w-]+)(?: (?P<part>brief|notes))? -->\n).*?<!-- end -->", re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that hold tables."""
    moving = RESULTS.parents[1] / "docs" / "moving" / "implicit.md"
    return [RESULTS.parent / "RESULTS.md", *sorted(RESULTS.glob("*.md")), moving]


def read(name: str, part: str | None = None) -> str:
    """Return the tables and the notes of a record, or one of both."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RESULTS.glob("*.json")))
        sys.exit(f"no record is called {name!r}: choose from {known}")
    record = json.loads(path.read_text(encoding="utf-8"))
    left_out = {"brief": {"notes": []}, "notes": {"tables": []}}.get(part or "", {})
    return markdown(record | left_out)


def rendered(page: str) -> str:
    """Return a page with its tables taken from the records."""
    return PLACE.sub(
        lambda found: f"{found['begin']}\n{read(found['name'], found['part'])}\n\n<!-- end -->", page
    )


def main(arguments: Sequence[str]) -> int:
    """Render the pages, or print the named records."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks render", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="print these records instead")
    parser.add_argument("--picture", action="store_true", help="draw accuracy.png instead")
    options = parser.parse_args(arguments)
    if options.picture:
        from ..accuracy.report import PUBLISHED, draw

        record = json.loads((RESULTS / "accuracy.json").read_text(encoding="utf-8"))
        draw(record["data"], PUBLISHED, RESULTS / "accuracy.png")
        return 0
    for name in options.names:
        print(read(name))
    for page in [] if options.names else pages():
        page.write_text(rendered(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0
