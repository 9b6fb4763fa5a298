"""Measure what a fit of ImplicitALS adds to the memory of its process, against the least that it must hold.

    python benchmarks/memory.py --shape ml20m --at-most 1.3

The least is: the factors, one copy of the larger side as the kernels read it, and the interactions by users and by
items (column and value). The matrix given to the fit, and the libraries, are there before. Linux only.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy.sparse as sp
from command_line import at_least, exit_status
from machine import print_machine
from peer_runs import forget_peak, peak
from shapes import SHAPES, shaped

from alternant import ImplicitALS

PARTS = ("data", "indices", "indptr")


def measure(folder: str, shape: tuple[int, int], factors: int, iterations: int, threads: int) -> float:
    """Fit in a process whose memory holds nothing yet but the matrix and the libraries; return the MB added."""
    matrix = sp.csr_array(tuple(np.load(Path(folder) / f"{name}.npy") for name in PARTS), shape=shape)
    common = {"weighting": "hu", "alpha": 1.0, "num_threads": threads}
    ImplicitALS(factors=8, iterations=1, **common).fit(matrix[:100], show_progress=False)
    forget_peak()
    before = peak()
    ImplicitALS(factors=factors, iterations=iterations, **common).fit(matrix, show_progress=False)
    return peak() - before


def main() -> int:
    """Fit and compare; exit 1 above the given ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="ml1m")
    parser.add_argument("--factors", type=at_least(1), default=64)
    parser.add_argument("--iterations", type=at_least(1), default=3)
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--at-most", type=float, help="exit 1 above this ratio")
    options = parser.parse_args()
    matrix = shaped(options.shape)
    with TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as process:
        for name in PARTS:
            np.save(Path(folder) / f"{name}.npy", getattr(matrix, name))
        arguments = (folder, matrix.shape, options.factors, options.iterations, options.threads)
        added = process.submit(measure, *arguments).result()
    sides = [n * options.factors * 4 / 1e6 for n in matrix.shape]
    least = sum(sides) + max(sides) + 2 * matrix.nnz * 8 / 1e6
    print_machine(options.threads)
    print(f"{options.shape}, f = {options.factors}, float32: {added:.0f} MB, {added / least:.2f} times the least of "
          f"{least:.0f} MB")  # fmt: skip
    if options.at_most is None or added <= options.at_most * least:
        return exit_status([])
    return exit_status([f"the fit adds {added / least:.3f} times the least, not at most {options.at_most:g}"])


if __name__ == "__main__":
    sys.exit(main())
