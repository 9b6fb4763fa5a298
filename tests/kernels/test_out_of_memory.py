"""Memory that runs out in any thread of any kernel: a MemoryError, and nothing is wrong afterwards."""

import re
from pathlib import Path

import numpy as np
import pytest

from alternant._utils.threads import map_parallel
from alternant.kernels import _registry

SIMD = Path(__file__).parents[2] / "src/alternant/kernels/simd"
ROWS = 40


def rows_problem(zero=False, dtype=np.float32):
    """Entries of ROWS rows; with `zero`, float32 cannot factor the first three, and float64 is tried."""
    rng = np.random.default_rng(0)
    indptr = np.arange(ROWS + 1) * 6
    indices = rng.integers(0, 30, indptr[-1]).astype(np.int32)
    weight, target = (rng.random(len(indices)).astype(dtype) + 1 for _ in range(2))
    Y = rng.standard_normal((30, 5)).astype(dtype)
    regularization = np.ones(ROWS, dtype)
    if zero:
        indices[:18] = np.repeat(np.arange(3), 6)
        regularization[:3] = 0
    return indptr, indices, weight, target, Y, np.zeros(5, dtype) if zero else np.ones(5, dtype), regularization


def solve_rows(kernels, threads, method="cg", zero=False):
    X = np.zeros((ROWS, 5), np.float32)
    return kernels.solve_rows(*rows_problem(zero), X, method, num_threads=threads), X


def nonnegative(kernels, threads):
    indptr, indices, weight, target, Y, _, regularization = rows_problem()
    X = np.ones((ROWS, 5), np.float32)
    G = np.zeros((5, 5), np.float32)
    status = kernels.solve_rows_nonnegative(
        indptr, indices, weight, target, Y, G, regularization, X, num_threads=threads
    )
    return status, X


def multiply(kernels, threads, out):
    rows = np.random.default_rng(0).standard_normal((2000, 5)).astype(np.float32)
    out = rows if out is None else np.empty((2000, 5), out)
    kernels.multiply(rows, np.eye(5, dtype=np.float32), out, num_threads=threads)
    return (out,)


def gramian(kernels, threads):
    out = np.empty((5, 5))
    kernels.gramian(np.random.default_rng(0).standard_normal((5000, 5)), out, threads)
    return (out,)


def top_k(kernels, threads, queries):
    rng = np.random.default_rng(0)
    items, exclude = rng.standard_normal((700, 5)), (np.arange(queries + 1), np.zeros(queries, np.int32))
    ids, scores = np.empty((queries, 4), np.int32), np.empty((queries, 4))
    kernels.top_k(rng.standard_normal((queries, 5)), items, 4, exclude, None, ids, scores, threads)
    return ids, scores


def count_above(kernels, threads):
    rng = np.random.default_rng(0)
    indptr, indices = np.arange(ROWS + 1), rng.integers(0, 300, ROWS)
    above, equal = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    exclude = indptr, np.zeros(ROWS, np.int64)
    queries, items = rng.standard_normal((ROWS, 5)), rng.standard_normal((300, 5))
    kernels.count_above(queries, items, exclude, indptr, indices, above, equal, threads)
    return above, equal


def score_all(kernels, threads):
    rng = np.random.default_rng(0)
    queries, items, out = rng.standard_normal((ROWS, 5)), rng.standard_normal((300, 5)), np.empty((ROWS, 300))
    kernels.score_all(queries, items, out, threads)
    return (out,)


def top_k_sparse(kernels, threads):
    indptr, indices, values = np.arange(ROWS + 1) * 2, np.tile(np.array([3, 20], np.int32), ROWS), None
    ids, best = np.empty((ROWS, 4), np.int32), np.empty((ROWS, 4))
    matrix = indptr, indices, values
    kernels.top_k_sparse(matrix, matrix, 30, 4, None, ids, best, num_threads=threads)
    return ids, best


CALLS = {
    "solve_rows, cg": lambda *given: solve_rows(*given),
    "solve_rows, cholesky": lambda *given: solve_rows(*given, "cholesky"),
    "solve_rows, in float64 after float32": lambda *given: solve_rows(*given, zero=True),
    "solve_rows_nonnegative": nonnegative,
    "multiply, in place": lambda *given: multiply(*given, None),
    "multiply, to float16": lambda *given: multiply(*given, np.float16),
    "gramian": gramian,
    "top_k, few queries": lambda *given: top_k(*given, 20),
    "top_k, many queries": lambda *given: top_k(*given, 300),
    "count_above": count_above,
    "score_all": score_all,
    "top_k_sparse": top_k_sparse,
}


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("level", _registry.SIMD_LEVELS)
def test_any_allocation_may_fail_in_any_thread(level, call, threads):
    """Of the compiled kernels; what NumPy and Numba allocate raises by itself."""
    if level not in _registry.built_levels():
        pytest.skip(f"the level {level} was not built")
    from alternant.kernels import _cpu  # only where there are compiled kernels

    if level not in _cpu.simd_levels():
        pytest.skip(f"this CPU does not support the level {level}")
    kernels, run = _registry.load_level(level), CALLS[call]
    fail = getattr(kernels, call.split(",")[0]).__self__._fail_allocation
    expected = run(kernels, threads)
    fail(1_000_000)
    run(kernels, threads)
    allocations = 1_000_000 - fail(0)
    assert allocations >= 1
    try:
        for n in range(1, allocations + 1):
            fail(n)
            with pytest.raises(MemoryError, match="no memory for the scratch space of"):
                run(kernels, threads)
            for got, right in zip(run(kernels, threads), expected, strict=True):
                np.testing.assert_array_equal(got, right)
    finally:
        fail(0)


def test_all_memory_of_the_kernels_comes_from_the_allocator_that_the_tests_make_fail():
    if not SIMD.exists():
        pytest.skip("the C sources are not beside the tests")
    for path in SIMD.iterdir():
        if path.name != "memory.c":
            assert not re.search(r"\b(malloc|calloc|realloc|aligned_alloc|free)\s*\(", path.read_text()), path.name
    for path in SIMD.parent.glob("*.p[yx][xd]"):
        assert "malloc" not in path.read_text(), path.name


def test_out_of_memory_in_a_thread_of_python_reaches_the_caller():
    numba = pytest.importorskip("numba")

    @numba.njit(nogil=True)
    def allocate(size):
        return np.zeros(size, np.uint8)[0]

    allocate(1)
    for threads in (1, 2, 8):
        with pytest.raises(MemoryError):
            map_parallel(allocate, [1, 1, 1 << 60, 1], threads)
