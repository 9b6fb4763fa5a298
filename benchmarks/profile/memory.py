"""Compare the memory that a fit of ImplicitALS adds to its process with the minimum that it must hold.

    python -m benchmarks memory --shape ml20m --at-most 1.3

The minimum is the factors, one copy of the larger side in the layout of the kernels, and the interactions by users and
by items (column and value). The input matrix and the libraries are loaded before. Linux only.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from alternant import ImplicitALS

from ..common.command_line import exit_status, parser
from ..common.memory import forget_peak, peak
from ..common.results import Report
from ..common.shapes import shaped

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = ("data", "indices", "indptr")


def measure(folder: str, shape: tuple[int, int], factors: int, iterations: int, threads: int) -> float:
    """Fit in a process that holds only the matrix and the libraries so far; return the MB added."""
    matrix = sp.csr_array(tuple(np.load(Path(folder) / f"{name}.npy") for name in PARTS), shape=shape)
    common = {"weighting": "hu", "alpha": 1.0, "num_threads": threads}
    ImplicitALS(factors=8, iterations=1, **common).fit(matrix[:100], show_progress=False)
    forget_peak()
    before = peak()
    ImplicitALS(factors=factors, iterations=iterations, **common).fit(matrix, show_progress=False)
    return peak() - before


def main(arguments: Sequence[str]) -> int:
    """Fit and compare; exit 1 above the given ratio."""
    made = parser("memory", __doc__, shape="ml1m", factors=64, iterations=3, threads=2, at_most=None)
    options = made.parse_args(arguments)
    matrix = shaped(options.shape)
    with TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as process:
        for name in PARTS:
            np.save(Path(folder) / f"{name}.npy", getattr(matrix, name))
        settings = folder, matrix.shape, options.factors, options.iterations, options.threads
        added = process.submit(measure, *settings).result()
    sides = [n * options.factors * 4 / 1e6 for n in matrix.shape]
    least = sum(sides) + max(sides) + 2 * matrix.nnz * 8 / 1e6
    report = Report("memory", arguments, options.threads)
    table = report.table(
        f"{options.shape}, f = {options.factors}, float32", "a fit adds", "the least it must hold", "ratio"
    )
    table.row(f"{added:.0f} MB", f"{least:.0f} MB", f"{added / least:.2f}")
    report.write(options.json)
    if options.at_most is None or added <= options.at_most * least:
        return exit_status([])
    return exit_status([f"the fit adds {added / least:.3f} times the least, not at most {options.at_most:g}"])
