"""Measure the machine's limits for alternating least squares, and what part of them the kernels reach, in one run.

    pip install ".[bench]"
    python -m benchmarks roofline --shape ml20m --factors 64 128

Three limits: reading the rows of the fixed side in the order in which a half-sweep needs them (`gather`, the best of
several prefetch distances); the fused pass of conjugate gradients over rows that are in cache; multiply-adds in
registers (`peak`). The first and the last are plain C (roofline.c), compiled here by the machine's own C compiler.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from alternant import ImplicitALS, backend_info
from alternant.kernels import solve_rows

from ..common.command_line import exit_status, parser
from ..common.results import Report
from ..common.shapes import shaped
from ..common.timing import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAGS = {"avx512": ["-mavx2", "-mfma", "-mavx512f"], "avx2": ["-mavx2", "-mfma"]}
AHEAD = (4, 8, 16, 32)  # prefetch distances tried, in rows


class Machine:
    """The C functions that measure the machine."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        compiler = shlex.split(os.environ.get("CC", "cc"))
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "roofline.so"
            source = Path(__file__).with_name("roofline.c")
            flags = ["-O3", "-shared", "-fPIC", "-fopenmp", *FLAGS.get(str(backend_info()["simd"]), [])]
            try:
                subprocess.run([*compiler, *flags, str(source), "-o", str(library)], check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                sys.exit(f"this benchmark needs a C compiler with OpenMP: {error}; name one in CC")
            self._functions = ctypes.CDLL(str(library))
        self._functions.gather.restype = self._functions.peak.restype = ctypes.c_double

    def gather(self, indptr: np.ndarray, indices: np.ndarray, Y: np.ndarray, ahead: int) -> None:
        """Read the rows of Y in the order of the entries."""
        self._functions.gather(
            ctypes.c_int64(len(indptr) - 1), pointer(indptr), pointer(indices), pointer(Y),
            ctypes.c_int64(Y.shape[1]), ctypes.c_int64(ahead), self.threads,
        )  # fmt: skip

    def peak(self) -> float:
        """Return floating-point operations per second."""
        out = np.zeros(2, np.float32)
        begin = time.perf_counter()
        operations = self._functions.peak(ctypes.c_int64(20_000_000), self.threads, pointer(out))
        return float(operations / (time.perf_counter() - begin))


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """Return the address of an array."""
    return ctypes.c_void_p(array.ctypes.data)


def step_from_cache(f: int, threads: int) -> float:
    """Return the seconds per entry of a step of conjugate gradients if everything is in the L2 cache.

    It is a difference of two medians: on a busy machine, it may be 0 or less.
    """
    rows, entries, columns = 64 * threads, 512, 256
    rng = np.random.default_rng(0)
    indptr = np.arange(rows + 1, dtype=np.int64) * entries
    indices = rng.integers(0, columns, rows * entries).astype(np.int32)
    weight = np.exp(2 * rng.standard_normal(rows * entries)).astype(np.float32)
    # Columns of very different sizes, which the diagonal does not reflect: no row is solved in 12 steps.
    Y = (rng.standard_normal((columns, f)) * np.logspace(0, -3, f)).astype(np.float32)

    def run(steps: int) -> tuple[float, int]:
        X, done = np.zeros((rows, f), np.float32), np.zeros(rows, np.int32)
        duration = seconds(lambda: solve_rows(
            indptr, indices, weight, weight, Y, np.full(f, 1e-3, np.float32), np.zeros(rows, np.float32), X, "cg", 0.0,
            steps, threads, row_steps=done,
        ))  # fmt: skip
        return duration, int(done.sum())

    few, many = ([run(steps) for _ in range(9)] for steps in (4, 12))
    more = median(duration for duration, _ in many) - median(duration for duration, _ in few)
    return more / (entries * (many[0][1] - few[0][1]))


def main(arguments: Sequence[str]) -> int:
    """Measure; exit 1 below the given fraction of the gather limit."""
    made = parser("roofline", __doc__, shape="ml1m", factors=[64, 128], threads=2, rounds=3, at_least=None)
    options = made.parse_args(arguments)
    if any(f % 16 for f in options.factors):
        made.error("--factors must be multiples of 16, as roofline.c reads rows")
    report = Report("roofline", arguments, options.threads)
    machine = Machine(options.threads)
    peak = median(machine.peak() for _ in range(5))
    steps_table = report.table(
        f"Peak: {peak / 1e9:.1f} GFLOP/s in float32 on {options.threads} threads",
        "f", "a step from cache, an entry", "GFLOP/s", "of the peak",
    )  # fmt: skip
    for f in options.factors:
        step = step_from_cache(f, options.threads)
        if step <= 0:
            steps_table.row(f, "too noisy to tell", "", "")
            continue
        rate = 4 * f / step
        steps_table.row(f, f"{step * 1e9:.2f} ns", f"{rate / 1e9:.1f}", f"{rate / peak:.0%}")

    matrix = shaped(options.shape)
    matrix.data += 1
    table = report.table(
        f"{options.shape}: {matrix.shape[0]:,} x {matrix.shape[1]:,}, {matrix.nnz:,} interactions, float32, median of "
        f"{options.rounds} rounds",
        "f", "gather users' items", "gather items' users", "an iteration", "steps", "of the gather limit",
    )  # fmt: skip
    missed = []
    for f in options.factors:
        users, items, iteration, steps = measure(machine, matrix, f, options.rounds)
        part = (users + items) / iteration
        rates = [f"{s:.3f} s ({4 * f * matrix.nnz / s / 1e9:.1f} GB/s)" for s in (users, items)]
        table.row(f, *rates, f"{iteration:.3f} s", f"{steps:.2f}", f"{part:.0%}")
        if options.at_least is not None and part < options.at_least:
            missed.append(f"an iteration at f = {f} reaches {part:.3f} of the gather limit, not {options.at_least:g}")
    report.write(options.json)
    return exit_status(missed)


def measure(machine: Machine, matrix: object, f: int, rounds: int) -> tuple[float, float, float, float]:
    """Return the seconds of gathering for each side and of an iteration, taking turns, and the mean steps of a row."""
    model = ImplicitALS(
        factors=f, weighting="proportional", alpha=1.0, regularization=0.01, regularization_scaling="none",
        iterations=4, random_state=0, num_threads=machine.threads,
    )  # fmt: skip
    sides = []
    for side in (matrix.tocsr(), matrix.T.tocsr()):
        Y = np.ones((side.shape[1], f), np.float32)
        sides.append((side.indptr.astype(np.int64), side.indices.astype(np.int32), Y))
    gathers, iterations, steps = [], [], []
    for _ in range(rounds):
        gathers.append([min(seconds(lambda a=a, s=s: machine.gather(*s, a)) for a in AHEAD) for s in sides])
        history = model.fit(matrix, show_progress=False).history_
        iterations += np.diff(history["seconds"]).tolist()  # without the first, which includes the preparation
        steps += [(u + i) / 2 for u, i in zip(history["user_cg_steps"], history["item_cg_steps"], strict=True)][1:]
    users, items = (median(side) for side in zip(*gathers, strict=True))
    return users, items, median(iterations), median(steps)
