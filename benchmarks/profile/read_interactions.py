"""Measure the time and memory for converting ten million rows of events to `Interactions`.

    python -m benchmarks read            # each case in a process of its own, since peaks don't go down

The input is a pandas frame with users, items and values; the ids are contiguous whole numbers, whole numbers spread
over 2^60, or strings.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from alternant import Interactions

from ..common.command_line import at_least, parser
from ..common.memory import resident
from ..common.results import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

CASES = ("compact", "spread", "strings")


def frame(case: str, rows: int) -> pd.DataFrame:
    """Make the input."""
    import pandas as pd

    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 300_000, rows), (rng.pareto(1.2, rows) * 100).astype(np.int64) % 50_000
    if case == "spread":
        users, items = (rng.integers(0, 2**60, 300_000)[numbers] for numbers in (users, items))
    elif case == "strings":
        users, items = (np.array([f"{kind}-{n:07d}" for n in range(300_000)], object)[numbers]
                        for kind, numbers in (("user", users), ("item", items)))  # fmt: skip
    return pd.DataFrame({"user": users, "item": items, "value": rng.random(rows)})


def measure(case: str, rows: int) -> list[str]:
    """Return a row of the table."""
    table = frame(case, rows)
    size = table.memory_usage(deep=True).sum()
    before = peak = resident()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    found = Interactions.from_frame(table, user="user", item="item", value="value")
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    memory = f"{size / 1e6:.0f}", f"{1 + (peak - before) / size:.1f}"
    return [case, f"{seconds:.1f}", *memory, f"{found.nnz:,}"]


def main(arguments: Sequence[str]) -> int:
    """Run every case, or the one named."""
    made = parser("read", __doc__)
    made.add_argument("--rows", type=at_least(1), default=10_000_000)
    made.add_argument("--case", choices=CASES, help="measure this one here, and print it as JSON")
    options = made.parse_args(arguments)
    if options.case:
        print(json.dumps(measure(options.case, options.rows)))
        return 0
    report = Report("read", arguments)
    table = report.table(
        f"{options.rows:,} rows of a pandas frame",
        "ids", "seconds", "MB of the input", "peak of both, in inputs", "pairs",
    )  # fmt: skip
    for case in CASES:
        command = [sys.executable, "-m", "benchmarks", "read", "--rows", str(options.rows), "--case", case]
        table.row(*json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    report.write(options.json)
    return 0
