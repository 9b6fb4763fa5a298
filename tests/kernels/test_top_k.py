"""top_k and score_pairs: every implementation against a full sort."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def rank(kernels, queries, items, k, exclude=None, candidates=None, num_threads=1):
    ids = np.full((len(queries), k), -7, np.int32)
    scores = np.full((len(queries), k), np.nan, queries.dtype)
    kernels.top_k(queries, items, k, exclude, candidates, ids, scores, num_threads)
    return ids, scores


def full_sort(queries, items, k, exclude=None, candidates=None):
    """Sort everything in plain Python: by score, then by id."""
    lists, values = [], []
    for u in range(len(queries)):
        left = set(range(len(items))) if candidates is None else set(candidates.tolist())
        if exclude is not None:
            left -= set(exclude[1][exclude[0][u] : exclude[0][u + 1]].tolist())
        scores = {i: float(np.dot(items[i].astype(np.float64), queries[u].astype(np.float64))) for i in left}
        best = sorted(left, key=lambda i: (-scores[i], i))[:k]
        lists.append(best + [-1] * (k - len(best)))
        values.append([scores[i] for i in best] + [-np.inf] * (k - len(best)))
    return np.array(lists).reshape(-1, k), np.array(values).reshape(-1, k)


def small_integers(shape, dtype, seed=0):
    """Factors whose products are exact in any order of summation, and tie often."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


def exclusions(m, n, density=0.2, index=np.int32):
    matrix = sp.random_array((m, n), density=density, format="csr", rng=np.random.default_rng(5))
    matrix.sort_indices()
    return matrix.indptr.astype(np.int64), matrix.indices.astype(index)


SHAPES = {  # (queries, items, factors): why
    "fewer items than a tile": (5, 40, 6),
    "items that overflow a tile by one": (9, 257, 7),
    "several tiles, several blocks of queries": (131, 700, 16),
    "one factor": (4, 100, 1),
    "one item": (3, 1, 4),
    "one query": (1, 300, 5),
    "no query": (0, 30, 5),
    "no item": (3, 0, 5),
}


@pytest.mark.parametrize("restricted", [False, True], ids=["all items", "candidates"])
@pytest.mark.parametrize("seen", [False, True], ids=["nothing excluded", "seen excluded"])
@pytest.mark.parametrize("shape", SHAPES)
def test_lists_equal_a_full_sort_with_ties_to_the_lower_id(kernels, dtype, shape, seen, restricted):
    m, n, f = SHAPES[shape]
    queries, items = small_integers((m, f), dtype), small_integers((n, f), dtype, 1)
    exclude = exclusions(m, n) if seen and m * n else None
    candidates = np.arange(n, dtype=np.int64)[1::3] if restricted else None
    for k in (1, 10, 300, 1000):
        ids, scores = rank(kernels, queries, items, k, exclude, candidates)
        expected = full_sort(queries, items, k, exclude, candidates)
        np.testing.assert_array_equal(ids, expected[0])
        np.testing.assert_array_equal(scores, expected[1])
        assert ids.dtype == np.int32


def test_threads_change_no_bit(kernels, dtype):
    rng = np.random.default_rng(0)
    queries, items = rng.standard_normal((150, 33)).astype(dtype), rng.standard_normal((900, 33)).astype(dtype)
    exclude = exclusions(150, 900)
    ids, scores = rank(kernels, queries, items, 20, exclude)
    for threads in (2, 8, 128, None):
        again = rank(kernels, queries, items, 20, exclude, num_threads=threads)
        np.testing.assert_array_equal(again[0], ids)
        np.testing.assert_array_equal(again[1], scores)


def test_equal_items_tie_to_the_bit_wherever_they_stand(kernels, dtype):
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((6, 33)).astype(dtype)
    items = np.repeat(rng.standard_normal((1, 33)), 600, axis=0).astype(dtype)
    ids, scores = rank(kernels, queries, items, 600)
    np.testing.assert_array_equal(ids, np.tile(np.arange(600), (6, 1)))
    assert (scores == scores[:, :1]).all()


def test_scores_are_close_to_float64_products(kernels, dtype):
    rng = np.random.default_rng(0)
    queries, items = rng.standard_normal((20, 100)).astype(dtype), rng.standard_normal((400, 100)).astype(dtype)
    ids, scores = rank(kernels, queries, items, 50)
    exact = np.take_along_axis(queries.astype(np.float64) @ items.astype(np.float64).T, ids.astype(int), axis=1)
    np.testing.assert_allclose(scores, exact, atol=2e-5 if dtype == np.float32 else 1e-12)


def test_nan_never_ranks_and_minus_infinity_ranks_last_but_before_the_padding(kernels, dtype):
    items = np.ones((5, 1), dtype)
    items[1], items[3] = np.nan, -np.inf
    ids, scores = rank(kernels, np.ones((1, 1), dtype), items, 6)
    np.testing.assert_array_equal(ids, [[0, 2, 4, 3, -1, -1]])
    np.testing.assert_array_equal(scores, [[1, 1, 1, -np.inf, -np.inf, -np.inf]])


def test_a_user_who_has_seen_everything_gets_padding_only(kernels, dtype):
    exclude = (np.array([0, 4, 4]), np.arange(4, dtype=np.int32))
    ids, scores = rank(kernels, np.ones((2, 2), dtype), np.ones((4, 2), dtype), 3, exclude)
    np.testing.assert_array_equal(ids, [[-1, -1, -1], [0, 1, 2]])
    assert (scores[0] == -np.inf).all()


def test_no_candidate_gives_padding_only(kernels, dtype):
    ids, scores = rank(kernels, np.ones((2, 2), dtype), np.ones((4, 2), dtype), 3, candidates=np.array([], np.int64))
    assert (ids == -1).all()
    assert (scores == -np.inf).all()


def test_inputs_may_be_read_only_and_of_either_index_dtype(kernels, dtype):
    queries, items = small_integers((9, 5), dtype), small_integers((300, 5), dtype, 1)
    expected = full_sort(queries, items, 7, exclusions(9, 300), np.arange(0, 300, 2))[0]
    for array in (queries, items):
        array.flags.writeable = False
    for index in (np.int32, np.int64):
        for other in (np.int32, np.int64):
            exclude, candidates = exclusions(9, 300, index=index), np.arange(0, 300, 2, dtype=other)
            for array in (*exclude, candidates):
                array.flags.writeable = False
            np.testing.assert_array_equal(rank(kernels, queries, items, 7, exclude, candidates)[0], expected)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1), m=st.integers(1, 12), n=st.integers(1, 600), f=st.integers(1, 9),
    k=st.integers(1, 40),
)  # fmt: skip
def test_any_lists_equal_a_full_sort(kernels, seed, m, n, f, k):
    queries, items = small_integers((m, f), np.float32, seed), small_integers((n, f), np.float32, seed + 1)
    exclude = exclusions(m, n, density=0.5)
    ids, scores = rank(kernels, queries, items, k, exclude)
    expected = full_sort(queries, items, k, exclude)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_array_equal(scores, expected[1])


@pytest.mark.parametrize("pairs", [0, 1, 5000, 40_000])
def test_pair_scores_are_dot_products_in_float64(kernels, dtype, pairs):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((50, 17)).astype(dtype), rng.standard_normal((70, 17)).astype(dtype)
    rows, columns = rng.integers(0, 50, pairs), rng.integers(0, 70, pairs)
    out = np.full(pairs, np.nan, dtype)
    kernels.score_pairs(rows, columns, X, Y, out, 1)
    exact = (X.astype(np.float64) @ Y.astype(np.float64).T)[rows, columns]
    sizes = (np.abs(X).astype(np.float64) @ np.abs(Y).astype(np.float64).T)[rows, columns]  # of the sums' terms
    rounding = np.finfo(dtype).eps if dtype == np.float32 else 17 * np.finfo(dtype).eps
    assert (np.abs(out - exact) <= rounding * sizes).all()
    for threads in (2, 8):
        again = np.empty_like(out)
        kernels.score_pairs(rows, columns, X, Y, again, threads)
        np.testing.assert_array_equal(again, out)
