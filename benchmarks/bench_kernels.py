"""pytest-benchmark: each kernel on one shape, its result checked before it is timed.

Run it with:

    pytest benchmarks/bench_kernels.py --benchmark-group-by=group
"""

from __future__ import annotations

import numpy as np
import pytest
from shapes import shaped

from alternant.kernels import Factors, block_count, cut, get_backend

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


@pytest.fixture(scope="module")
def grid(rows):
    """ml1m cut into a grid, its values in the grid's order, and the order of the diagonals."""
    indptr, indices, values, _, shape = rows
    pieces = cut(indptr, indices, shape[1], block_count(*shape, len(indices)), np.random.default_rng(0))
    return pieces.grid, values[pieces.entries], np.arange(pieces.grid.blocks)


@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", ["biased", "biased, sigmoid", "cosine", "logistic", "logistic, Adagrad"])
def test_epoch(benchmark, rows, grid, backend, dtype, kernel):
    """One epoch of gradient descent, f = 64; the logistic ones with one negative for each entry."""
    benchmark.group = f"epoch {kernel} f=64 {dtype}"
    kernels = get_backend(backend)
    place, values, order = grid
    X, Y = sides(rows[-1], 64, dtype)
    factors = Factors(X, Y, np.zeros(len(X), dtype), np.zeros(len(Y), dtype))
    squares = Factors(*(np.ones_like(part) for part in factors)) if "Adagrad" in kernel else None
    target, liked = values.astype(dtype), (values > 3).astype(dtype)
    ones, negatives = np.ones_like(target), np.bincount(place.rows, minlength=len(X)).astype(np.float64)
    lambdas = (0.01, 0.01, 0.01, 0.01)

    def run(rate=1e-4):
        if kernel.startswith("biased"):
            bounds = (0.5, 5.5) if "sigmoid" in kernel else (-np.inf, np.inf)
            return kernels.biased_epoch(place, order, target, factors, 0.0, bounds, rate, lambdas, True, THREADS)
        if kernel == "cosine":
            return kernels.cosine_epoch(place, order, liked, X, Y, rate, True, THREADS)
        return kernels.logistic_epoch(
            place, order, ones, liked, negatives, factors, squares, rate, lambdas, 0, 0, True, THREADS
        )

    s = np.einsum("pf,pf->p", X[place.rows], Y[place.columns], dtype=np.float64)
    if kernel == "cosine":
        lengths = np.linalg.norm(X.astype(np.float64), axis=1)[place.rows] * np.linalg.norm(Y, axis=1)[place.columns]
        expected = ((s / lengths - liked) ** 2).sum()
    elif kernel == "biased":
        expected = ((target - s) ** 2).sum()
    elif kernel == "biased, sigmoid":
        expected = ((target - 0.5 - 5 / (1 + np.exp(-s))) ** 2).sum()
    else:  # a negative's score is near 0, as all are
        expected = (np.log1p(np.exp(s)) - liked * s).sum() + negatives.sum() * np.log(2)
    assert run(rate=0.0) == pytest.approx(expected, rel=1e-3 if "logistic" in kernel else 1e-6)
    benchmark(run)
