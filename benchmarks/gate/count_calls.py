"""Make N and 2 N calls of each of some benchmarks, for valgrind to count: see `compare_runs`.

Usage: python -m benchmarks.gate.count_calls CASES, a JSON file with a list of [file, function, parameters]. Each number
of calls is made in a child that is forked when all is ready and checked, and prints a line [case, calls, process].
callgrind writes the total of every process, which includes that of its parent up to the fork: two children differ only
by the calls.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

CALLS = (2, 4)


class Fixture:
    """Replaces that of pytest-benchmark: remembers the function to be called."""

    group = ""

    def __call__(self, function: Any, *arguments: Any, **options: Any) -> None:
        """Take the function that a benchmark passes to be timed."""
        self.call = lambda: function(*arguments, **options)


def main() -> None:
    """Make the calls of all cases; those that fail are left out."""
    for case, (file, function, parameters) in enumerate(json.loads(Path(sys.argv[1]).read_text())):
        fixture = Fixture()
        try:
            module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
            getattr(module, function)(fixture, **parameters)
        except Exception:
            traceback.print_exc()  # base may not have the kernel
            continue
        for calls in CALLS:
            child = os.fork()
            if child == 0:
                for _ in range(calls):
                    fixture.call()
                os._exit(0)
            os.waitpid(child, 0)
            print(json.dumps([case, calls, child]), flush=True)


if __name__ == "__main__":
    main()
