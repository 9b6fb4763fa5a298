"""What the kernels take on a worker: a module of its own, so that workers can import it."""

from __future__ import annotations

import time

import numpy as np

from alternant import kernels
from alternant.distributed import _conjugate


def kernel_times(f: int, threads: int, seconds: float = 1.0) -> tuple[float, float, float]:
    """Return seconds for an interaction in a row's solution and in a product, and for a number in a step of the items.

    All workers do this at the same time.

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
        while not calls or time.perf_counter() - start < seconds:
            call()
            calls += 1
        times.append((time.perf_counter() - start) / calls / len(indices))
    state = _conjugate.start(Y[: n // 8], np.stack([Y, Y])[:, : n // 8], np.ones(f), np.ones(n // 8), 0.0, 2)
    start, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - start < seconds:
        _conjugate.step(state, _conjugate.direction(state)[1])
        calls += 1
    return times[0], times[1], (time.perf_counter() - start) / calls / (n // 8 * f)
