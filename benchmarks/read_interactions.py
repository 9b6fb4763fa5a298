"""Time how ten million rows of events become `Interactions`, and measure the memory that takes.

    python benchmarks/read_interactions.py            # each case in a process of its own, since peaks don't go down

The input is a frame of pandas with users, items and values; the ids are whole numbers next to each other, whole numbers
spread over 2^60, or strings.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from machine import print_machine

from alternant import Interactions

ROWS = 10_000_000
CASES = ("compact", "spread", "strings")


def frame(case: str):
    """Make the input."""
    import pandas as pd

    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 300_000, ROWS), (rng.pareto(1.2, ROWS) * 100).astype(np.int64) % 50_000
    if case == "spread":
        users, items = (rng.integers(0, 2**60, 300_000)[numbers] for numbers in (users, items))
    elif case == "strings":
        users, items = (np.array([f"{kind}-{n:07d}" for n in range(300_000)], object)[numbers]
                        for kind, numbers in (("user", users), ("item", items)))  # fmt: skip
    return pd.DataFrame({"user": users, "item": items, "value": rng.random(ROWS)})


def resident() -> int:
    """Return the bytes in memory now; Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(case: str) -> None:
    """Print one row of the table."""
    table = frame(case)
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
    print(f"| {case} | {seconds:.1f} | {size / 1e6:.0f} | {1 + (peak - before) / size:.1f} | {found.nnz:,} |")


def main() -> None:
    """Run every case, or the one named."""
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    print_machine(None)
    print("\n| ids | seconds | MB of the input | peak of both, in inputs | pairs |\n|---|---|---|---|---|", flush=True)
    for case in CASES:
        subprocess.run([sys.executable, __file__, case], check=True)


if __name__ == "__main__":
    main()
