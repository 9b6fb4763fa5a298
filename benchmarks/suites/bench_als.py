"""pytest-benchmark: the kernels of alternating least squares, checked against the reference before they are timed."""

from __future__ import annotations

import numpy as np
import pytest

from alternant.kernels import get_backend
from benchmarks.suites.inputs import THREADS, assert_close, each, rows, sides

REFERENCE = get_backend("numpy")
CHECKED = 10  # rows


@each(256)
@pytest.mark.parametrize("method", ["cg", "cholesky"])
def test_solve_rows(benchmark, method, f, dtype, backend):
    """One half-sweep over the users."""
    benchmark.group = f"solve_rows {method}/{f}/{dtype}"
    kernels = get_backend(backend)
    indptr, indices, weight, target, shape = rows(dtype)
    X, Y = sides(shape, f, dtype)
    out, g, lam = X.copy(), np.ones(f, dtype), np.full(len(X), 0.1, dtype)

    def run():
        out[:] = X
        return kernels.solve_rows(indptr, indices, weight, target, Y, g, lam, out, method, 1e-3, 20, THREADS)

    assert run() == 0
    exact, few = X[:CHECKED].copy(), indptr[: CHECKED + 1]
    REFERENCE.solve_rows(few, indices, weight, target, Y, g, lam[:CHECKED], exact, "cholesky")
    assert_close(out[:CHECKED], exact, 1e-2 if method == "cg" else {"float32": 1e-4, "float64": 1e-9}[dtype])
    benchmark(run)


@each(256, dtypes=("float32",))
def test_solve_rows_of_a_side_in_float16(benchmark, f, dtype, backend):
    """One half-sweep over the users, which reads half as much of the items."""
    benchmark.group = f"solve_rows float16/{f}/{dtype}"
    kernels = get_backend(backend)
    indptr, indices, weight, target, shape = rows(dtype)
    X, Y = sides(shape, f, dtype)
    narrow = Y.astype(np.float16)
    out, g, lam = X.copy(), np.ones(f, dtype), np.full(len(X), 0.1, dtype)

    def run():
        out[:] = X
        return kernels.solve_rows(indptr, indices, weight, target, narrow, g, lam, out, "cg", 1e-3, 20, THREADS)

    assert run() == 0
    exact, few = X[:CHECKED].copy(), indptr[: CHECKED + 1]
    REFERENCE.solve_rows(few, indices, weight, target, Y, g, lam[:CHECKED], exact, "cholesky")
    assert_close(out[:CHECKED], exact, 1e-2)
    benchmark(run)


@each(256)
def test_squared_error(benchmark, f, dtype, backend):
    """The data term of the objective."""
    benchmark.group = f"squared_error/{f}/{dtype}"
    kernels = get_backend(backend)
    indptr, indices, weight, target, shape = rows(dtype)
    X, Y = sides(shape, f, dtype)
    g = np.ones(f, dtype)
    few = (indptr[: CHECKED + 1], indices, weight, target, X[:CHECKED], Y, g)
    assert kernels.squared_error(*few, THREADS) == pytest.approx(REFERENCE.squared_error(*few), rel=1e-5)
    benchmark(kernels.squared_error, indptr, indices, weight, target, X, Y, g, THREADS)


@each()
def test_solve_rows_nonnegative(benchmark, f, dtype, backend):
    """A few hundred rows of ratings."""
    benchmark.group = f"solve_rows_nonnegative/{f}/{dtype}"
    kernels = get_backend(backend)
    indptr, indices, weight, _, shape = rows(dtype).first(200)
    ones = np.ones_like(weight)
    X, Y = (np.abs(side) * f**0.5 for side in sides(shape, f, dtype))
    out, gramian, lam = np.zeros_like(X), np.zeros((f, f), dtype), np.full(len(X), 0.1, dtype)

    def run():
        out[:] = 0
        return kernels.solve_rows_nonnegative(
            indptr, indices, ones, weight, Y, gramian, lam, out, 1e-6, 1000, THREADS
        )  # fmt: skip

    assert run() == 0
    few, exact = slice(CHECKED // 2), np.zeros_like(X[: CHECKED // 2])
    REFERENCE.solve_rows_nonnegative(
        indptr[: CHECKED // 2 + 1], indices, ones, weight, Y, gramian, lam[few], exact
    )
    assert_close(out[few], exact, {"float32": 1e-3, "float64": 1e-4}[dtype])
    benchmark(run)
