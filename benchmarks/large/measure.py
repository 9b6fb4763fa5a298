"""Fit ImplicitALS on a store under a memory limit, save it, and write a list for every user; log seconds and memory.

    python -m benchmarks large events.store --factors 64 --memory-limit 8GB --lists lists.parquet

Seconds are by the clock, and of the processor's cores together. With --in-memory, the interactions are read into memory
first: the seconds of an iteration are those that a fit from the store is compared with.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scipy.sparse

import alternant

from ..common.command_line import at_least
from ..common.memory import peak, resident

if TYPE_CHECKING:
    from collections.abc import Sequence


class Log:
    """Lines with what happened, the seconds since the last line, and the memory."""

    def __init__(self) -> None:
        self.begun = self.wall = time.perf_counter()
        self.cpu = time.process_time()

    def __call__(self, what: str) -> None:
        """Print a line."""
        wall, cpu = time.perf_counter(), time.process_time()
        print(
            f"{wall - self.begun:8.1f} s  {what:32} {wall - self.wall:8.1f} s, {cpu - self.cpu:8.1f} s of cores; "
            f"{resident() / 1e9:.2f} GB, at most {peak() / 1e3:.2f} GB", flush=True,
        )  # fmt: skip
        self.wall, self.cpu = wall, cpu


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks large", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path, help="written by alternant ingest")
    parser.add_argument("--factors", type=at_least(1), default=64, metavar="F")
    parser.add_argument("--iterations", type=at_least(1), metavar="N")
    parser.add_argument("--memory-limit", metavar="SIZE")
    parser.add_argument("--in-memory", action="store_true", help="read the interactions into memory first")
    parser.add_argument("--model", type=Path, metavar="FILE", help="save the model")
    parser.add_argument("--lists", type=Path, metavar="FILE", help="write ten items for every user")
    options = parser.parse_args(arguments)
    log = Log()
    stored: Any = alternant.Interactions.open(options.store)
    if options.in_memory:
        rows = stored.matrix
        stored = scipy.sparse.csr_array((rows.data.copy(), rows.indices.copy(), rows.indptr.copy()), rows.shape)
    log("opened")
    given = {} if options.iterations is None else {"iterations": options.iterations}
    model = alternant.ImplicitALS(factors=options.factors, random_state=0, **given)
    model.fit(
        stored, memory_limit=options.memory_limit,
        callback=lambda state: log(f"iteration {state.iteration}, {state.objective:.6e}"),
    )  # fmt: skip
    log("fitted")
    if options.model is not None:
        model.save(options.model)
        log("saved")
    if options.lists is not None:
        rows = model.recommend_all(10, to=options.lists, show_progress=False)
        log(f"{rows:,} rows of lists")
    return 0


if __name__ == "__main__":
    sys.exit(main())
