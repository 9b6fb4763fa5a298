"""pytest-benchmark: lists, ranks and single scores, checked against the reference before they are timed."""

from __future__ import annotations

import numpy as np
import pytest

from alternant.kernels import get_backend
from benchmarks.suites.inputs import THREADS, assert_close, each, exact_sides, rows, sides

QUERIES = 1_000  # at most
REFERENCE = get_backend("numpy")
CHECKED = 20  # queries


@each(256)
@pytest.mark.parametrize("exclude", ["all", "unseen"])
def test_top_k(benchmark, exclude, f, dtype, backend):
    """The ten best items for each query, with and without those it has seen."""
    benchmark.group = f"top_k {exclude}/{f}/{dtype}"
    kernels = get_backend(backend)
    indptr, indices, _, _, (m, n) = rows(dtype).first(min(QUERIES, rows(dtype).shape[0]))
    queries, items = exact_sides((m, n), f, dtype)
    seen = (indptr, indices[: indptr[-1]]) if exclude == "unseen" else None
    ids, scores = np.empty((m, 10), np.int32), np.empty((m, 10), dtype)

    def run():
        kernels.top_k(queries, items, 10, seen, None, ids, scores, THREADS)

    run()
    expected = np.empty((CHECKED, 10), np.int32), np.empty((CHECKED, 10), dtype)
    few = None if seen is None else (indptr[: CHECKED + 1], seen[1])
    REFERENCE.top_k(queries[:CHECKED], items, 10, few, None, *expected)
    np.testing.assert_array_equal(ids[:CHECKED], expected[0])
    np.testing.assert_array_equal(scores[:CHECKED], expected[1])
    benchmark(run)


@each()
def test_count_above(benchmark, f, dtype, backend):
    """The ranks of the items that each query has seen."""
    benchmark.group = f"count_above/{f}/{dtype}"
    kernels = get_backend(backend)
    indptr, indices, _, _, (m, n) = rows(dtype).first(min(QUERIES, rows(dtype).shape[0]))
    indices = indices[: indptr[-1]]
    queries, items = exact_sides((m, n), f, dtype)
    above, equal = np.empty(len(indices), np.int64), np.empty(len(indices), np.int64)

    def run():
        kernels.count_above(queries, items, (indptr, indices), indptr, indices, above, equal, THREADS)

    run()
    few, known = indptr[: CHECKED + 1], slice(indptr[CHECKED])
    expected = np.empty(indptr[CHECKED], np.int64), np.empty(indptr[CHECKED], np.int64)
    REFERENCE.count_above(queries[:CHECKED], items, (few, indices), few, indices, *expected)
    np.testing.assert_array_equal(above[known], expected[0])
    np.testing.assert_array_equal(equal[known], expected[1])
    benchmark(run)


@each()
def test_score_pairs(benchmark, f, dtype, backend):
    """The score of every known pair."""
    benchmark.group = f"score_pairs/{f}/{dtype}"
    kernels = get_backend(backend)
    indptr, indices, _, _, shape = rows(dtype)
    X, Y = sides(shape, f, dtype)
    users, items = np.repeat(np.arange(shape[0]), np.diff(indptr)), indices.astype(np.int64)
    out, expected = np.empty(len(items), dtype), np.empty(1_000, dtype)
    kernels.score_pairs(users, items, X, Y, out, THREADS)
    REFERENCE.score_pairs(users[:1_000], items[:1_000], X, Y, expected)
    assert_close(out[:1_000], expected, {"float32": 1e-5, "float64": 1e-12}[dtype])
    benchmark(kernels.score_pairs, users, items, X, Y, out, THREADS)
