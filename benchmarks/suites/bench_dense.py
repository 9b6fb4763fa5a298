"""pytest-benchmark: products of many rows with a small matrix, checked against NumPy before they are timed."""

from __future__ import annotations

import numpy as np
import pytest

from alternant.kernels import get_backend
from benchmarks.suites.inputs import THREADS, each, rows, sides

ROUNDING = {"float32": 1e-5, "float64": 1e-12}
TRIANGLES = {"full": np.array, "lower": np.tril, "upper": np.triu}


@each()
@pytest.mark.parametrize("shape", TRIANGLES)
def test_multiply(benchmark, shape, f, dtype, backend):
    """All users' factors times a matrix."""
    benchmark.group = f"multiply {shape}/{f}/{dtype}"
    X, _ = sides(rows(dtype).shape, f, dtype)
    matrix = TRIANGLES[shape](np.random.default_rng(0).standard_normal((f, f))).astype(dtype)
    out = np.empty_like(X)

    def run():
        get_backend(backend).multiply(X, matrix, out, shape, THREADS)

    run()
    expected = X.astype(np.float64) @ matrix
    np.testing.assert_allclose(out, expected, rtol=0, atol=ROUNDING[dtype] * np.abs(expected).max())
    benchmark(run)


@each()
def test_gramian(benchmark, f, dtype, backend):
    """Of all users' factors."""
    benchmark.group = f"gramian/{f}/{dtype}"
    X, _ = sides(rows(dtype).shape, f, dtype)
    out = np.empty((f, f))

    def run():
        get_backend(backend).gramian(X, out, THREADS)

    run()
    wide = X.astype(np.float64)
    expected = wide.T @ wide
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    benchmark(run)
