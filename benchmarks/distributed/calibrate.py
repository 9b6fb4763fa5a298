"""What the kernels take on a worker: a module of its own, so that workers can import it."""

from __future__ import annotations

import time

import numpy as np

from alternant import kernels


def kernel_times(f: int, threads: int, seconds: float = 2.0) -> tuple[float, float]:
    """Return seconds for an interaction in a row's solution and in a product, on this worker while others do the same.

    Rows are read in a random order from more memory than the caches hold, as in a fit.
    """
    rng = np.random.default_rng(0)
    m, n, length = 4000, 40_000, 40
    indptr = np.arange(0, m * length + 1, length)
    indices = rng.integers(0, n, m * length).astype(np.int32)
    Y, X = (rng.normal(size=(rows, f)).astype(np.float32) / 8 for rows in (n, m))
    weight, out = np.ones(m * length, np.float32), np.empty_like(X)
    rows = indptr, indices, weight
    fixed = Y, np.full(f, 9, np.float32), np.ones(m, np.float32)
    times = []
    for call in (
        lambda: kernels.solve_rows(*rows, 0.0, *fixed, X, tol=0.3, num_threads=threads),
        lambda: kernels.normal_products(*rows, Y, X, out, threads),
    ):
        call()
        start, calls = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            call()
            calls += 1
        times.append((time.perf_counter() - start) / calls / len(indices))
    return times[0], times[1]
