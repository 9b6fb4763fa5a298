"""pytest-benchmark: each kernel on one shape, its result checked before it is timed.

Run it with:

    pytest benchmarks/bench_kernels.py --benchmark-group-by=group
"""

from __future__ import annotations

import numpy as np
import pytest
from shapes import shaped

from alternant.kernels import get_backend

THREADS = 2


@pytest.fixture(scope="module")
def rows():
    """ml1m, hu-weighted with alpha 1."""
    matrix = shaped("ml1m")
    return matrix.indptr.astype(np.int64), matrix.indices, matrix.data, matrix.data + 1, matrix.shape


def sides(shape, f, dtype):
    """Return factors of the size that fits have."""
    rng = np.random.default_rng(0)
    return tuple((rng.standard_normal((n, f)) / f).astype(dtype) for n in shape)


@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("f", [16, 64, 128])
@pytest.mark.parametrize("method", ["cg", "cholesky"])
def test_solve_rows(benchmark, rows, backend, dtype, f, method):
    """One half-sweep over the users."""
    benchmark.group = f"solve_rows {method} f={f} {dtype}"
    kernels = get_backend(backend)
    indptr, indices, weight, target, shape = rows
    weight, target = weight.astype(dtype), target.astype(dtype)
    X, Y = sides(shape, f, dtype)
    g, lam = np.ones(f, dtype), np.full(len(X), 0.1, dtype)

    def run():
        out = X.copy()
        assert kernels.solve_rows(indptr, indices, weight, target, Y, g, lam, out, method, 1e-3, 20, THREADS) == 0
        return out

    solved = run()
    for u in (0, 1000, 6000):
        y = Y[indices[indptr[u] : indptr[u + 1]]].astype(np.float64)
        w, t = weight[indptr[u] : indptr[u + 1]], target[indptr[u] : indptr[u + 1]]
        exact = np.linalg.solve(np.diag(g + lam[u]) + (y.T * w) @ y, y.T @ t)
        np.testing.assert_allclose(solved[u], exact, atol=1e-2 * np.abs(exact).max())
    benchmark(run)


@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("f", [16, 64])
def test_top_k(benchmark, backend, f):
    """The ten best of 10,000 items for 2,000 queries."""
    benchmark.group = f"top_k f={f} float32"
    kernels = get_backend(backend)
    queries, items = sides((2_000, 10_000), f, "float32")
    ids, scores = np.empty((2_000, 10), np.int32), np.empty((2_000, 10), np.float32)

    def run():
        kernels.top_k(queries, items, 10, None, None, ids, scores, THREADS)

    run()
    np.testing.assert_array_equal(ids[:50, 0], (queries[:50] @ items.T).argmax(axis=1))
    benchmark(run)


@pytest.mark.parametrize("backend", ["cython", "numba"])
def test_squared_error(benchmark, rows, backend):
    """The data term of the objective, f = 64."""
    benchmark.group = "squared_error f=64 float32"
    kernels = get_backend(backend)
    indptr, indices, weight, target, shape = rows
    X, Y = sides(shape, 64, "float32")
    g = np.ones(64, np.float32)
    arguments = (indptr, indices, weight, target.astype(np.float32), X, Y, g, THREADS)
    users = np.repeat(np.arange(shape[0]), np.diff(indptr))
    s = np.einsum("pf,pf->p", X[users], Y[indices], dtype=np.float64)
    expected = (X.astype(np.float64) ** 2).sum() + (weight * s * s - 2 * target * s).sum()
    assert kernels.squared_error(*arguments) == pytest.approx(expected, rel=1e-6)
    benchmark(kernels.squared_error, *arguments)
