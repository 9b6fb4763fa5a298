"""top_k and score_pairs: every implementation against a full sort."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import alternant


def rank(kernels, queries, items, k, exclude=None, candidates=None, num_threads=1):
    ids = np.full((len(queries), k), -7, np.int32)
    scores = np.full((len(queries), k), np.nan, queries.dtype)
    kernels.top_k(queries, items, k, exclude, candidates, ids, scores, num_threads)
    return ids, scores


def full_sort(queries, items, k, exclude=None, candidates=None):
    """Sort everything: by score in float64, then by id."""
    scores = queries.astype(np.float64) @ items.astype(np.float64).T
    lists, values = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf)
    for u in range(len(queries)):
        left = np.arange(len(items)) if candidates is None else candidates
        if exclude is not None:
            left = np.setdiff1d(left, exclude[1][exclude[0][u] : exclude[0][u + 1]])
        best = left[np.lexsort((left, -scores[u, left]))][:k]
        lists[u, : len(best)], values[u, : len(best)] = best, scores[u, best]
    return lists, values


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


@pytest.mark.parametrize("f", [7, 33, 64])
def test_one_query_gets_the_same_list_as_among_others(kernels, dtype, f):
    rng = np.random.default_rng(2)
    queries, items = rng.standard_normal((4, f)).astype(dtype), rng.standard_normal((700, f)).astype(dtype)
    near = np.resize(queries, (600, f)) * (1 + 4 * np.finfo(dtype).eps * rng.standard_normal((600, f))).astype(dtype)
    large = np.finfo(dtype).max / 16
    for table in (items, near, items * dtype(large**0.5), items * dtype(large), items / dtype(large)):
        exclude = exclusions(4, len(table))
        ids, scores = rank(kernels, queries, table, 20, exclude)
        for u in range(4):
            row = exclude[0][u : u + 2] - exclude[0][u], exclude[1][exclude[0][u] : exclude[0][u + 1]]
            one = rank(kernels, queries[u : u + 1], table, 20, row)
            np.testing.assert_array_equal(one[0][0], ids[u])
            np.testing.assert_array_equal(one[1][0], scores[u])


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


@pytest.mark.compiles_anew
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

def heavy_tailed(shape, dtype, seed=0):
    """Normal factors whose rows' norms span orders of magnitude, the small ones first."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * np.sort(rng.lognormal(0, 1.5, (shape[0], 1)), axis=0)).astype(dtype)


def assert_ranks(kernels, queries, items, k, exclude=None, candidates=None, **options):
    """Lists equal a full sort in float64, but for items whose scores are equal up to rounding."""
    ids = np.full((len(queries), k), -7, np.int32)
    scores = np.full((len(queries), k), np.nan, queries.dtype)
    kernels.top_k(queries, items, k, exclude, candidates, ids, scores, **options)
    exact = queries.astype(np.float64) @ items.astype(np.float64).T
    sizes = np.abs(queries).astype(np.float64) @ np.abs(items).astype(np.float64).T
    rounding = 2 * queries.shape[1] * np.finfo(queries.dtype).eps * sizes
    expected = full_sort(queries, items, k, exclude, candidates)
    for u in range(len(queries)):
        places = ids[u] >= 0
        np.testing.assert_array_equal(places, expected[0][u] >= 0)
        own = exact[u, ids[u][places]]
        slack = rounding[u, ids[u][places]]
        assert len(set(ids[u][places])) == places.sum()
        assert set(ids[u][places]) <= set(np.arange(len(items))) - excluded_of(exclude, u)
        assert (np.abs(scores[u][places] - own) <= slack + np.finfo(queries.dtype).tiny * queries.shape[1]).all()
        worst = np.maximum(slack, rounding[u, expected[0][u][places]])
        assert (np.abs(own - expected[1][u][places]) <= worst + np.finfo(queries.dtype).tiny * queries.shape[1]).all()
        order = list(zip(-scores[u][places], ids[u][places], strict=True))
        assert order == sorted(order)
    return ids, scores


def excluded_of(exclude, u):
    return set() if exclude is None else set(exclude[1][exclude[0][u] : exclude[0][u + 1]].tolist())


MANY = 130  # queries from which on the native kernel orders the items by norm and looks at bytes first


@pytest.mark.parametrize("f", [1, 3, 64, 65, 130, 1000])
def test_many_queries_rank_items_of_any_norm_as_a_full_sort_does(kernels, dtype, f):
    queries, items = heavy_tailed((MANY, f), dtype), heavy_tailed((700, f), dtype, 1)
    assert_ranks(kernels, queries, items, 10)


def test_where_all_norms_are_equal_no_tile_is_passed_over(kernels, dtype):
    """The best items of a query are in its very direction: their scores are all that the norms allow."""
    queries, items = heavy_tailed((MANY, 2), np.float64), heavy_tailed((700, 2), np.float64, 1)
    queries, items = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, items))
    assert_ranks(kernels, queries.astype(dtype), items.astype(dtype), 10)


@pytest.mark.nightly
def test_many_queries_leave_out_thousands_of_seen_items(kernels, dtype):
    queries, items = heavy_tailed((MANY, 8), dtype), heavy_tailed((3000, 8), dtype, 1)
    assert_ranks(kernels, queries, items, 5, exclusions(MANY, 3000, density=0.9))
    everything = np.arange(MANY + 1) * 3000, np.tile(np.arange(3000, dtype=np.int32), MANY)
    ids, scores = rank(kernels, queries, items, 5, everything)
    assert (ids == -1).all()
    assert (scores == -np.inf).all()


def test_equal_items_tie_across_tiles_and_panels(kernels, dtype):
    rng = np.random.default_rng(0)
    base = rng.standard_normal((40, 33)).astype(dtype)
    items = np.tile(base, (40, 1))  # every item 40 times, 40 places apart
    queries = rng.standard_normal((MANY, 33)).astype(dtype)
    for scratch in (1, 1 << 26):
        ids = np.empty((MANY, 100), np.int32)
        scores = np.empty((MANY, 100), dtype)
        kernels.top_k(queries, items, 100, None, None, ids, scores, 2, scratch)
        best = np.argsort(-(queries @ base.T), axis=1)[:, :3]
        np.testing.assert_array_equal(ids[:, :40], best[:, :1] + 40 * np.arange(40))
        np.testing.assert_array_equal(ids[:, 40:80], best[:, 1:2] + 40 * np.arange(40))
        assert (scores[:, :40] == scores[:, :1]).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-5, 1e15], ids=str)
def test_scale_does_not_matter_until_products_underflow(kernels, dtype, scale):
    queries, items = heavy_tailed((MANY, 16), np.float64), heavy_tailed((600, 16), np.float64, 1)
    assert_ranks(kernels, (queries * scale).astype(dtype), (items * scale).astype(dtype), 10)


def test_scores_that_overflow_rank_first_and_a_tie_of_infinities_goes_to_the_lower_id(kernels, dtype):
    huge = np.finfo(dtype).max / 2
    items = np.ones((600, 2), dtype)
    items[[7, 500]] = huge
    items[300] = -huge
    queries = np.full((MANY, 2), 100, dtype)
    ids, scores = rank(kernels, queries, items, 600)
    np.testing.assert_array_equal(ids[:, :2], np.tile([7, 500], (MANY, 1)))
    assert (scores[:, :2] == np.inf).all()
    assert (ids[:, -1] == 300).all()
    assert (scores[:, -1] == -np.inf).all()


def test_an_item_a_million_times_the_others_size_costs_no_accuracy(kernels, dtype):
    rng = np.random.default_rng(0)
    queries, items = rng.standard_normal((MANY, 20)).astype(dtype), rng.standard_normal((800, 20)).astype(dtype)
    items[777] *= 1e6
    items[:, 3] *= 1e-3
    assert_ranks(kernels, queries, items, 10)


def test_negative_scores_alone_rank_as_well(kernels, dtype):
    rng = np.random.default_rng(0)
    assert_ranks(kernels, rng.random((MANY, 12)).astype(dtype), -rng.random((600, 12)).astype(dtype), 10)


def test_queries_and_items_of_zeros_tie(kernels, dtype):
    queries, items = heavy_tailed((MANY, 6), dtype), heavy_tailed((600, 6), dtype, 1)
    queries[::2] = 0
    items[::3] = 0
    ids, scores = assert_ranks(kernels, queries, items, 10)
    np.testing.assert_array_equal(ids[::2], np.tile(np.arange(10), (MANY // 2, 1)))
    assert (scores[::2] == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_values_that_are_not_finite_disturb_no_other_score(kernels, dtype, value):
    rng = np.random.default_rng(0)
    queries, items = rng.random((MANY, 5)).astype(dtype), rng.random((600, 5)).astype(dtype)
    clean = rank(kernels, queries, items, 600)
    items[400, 2] = value
    ids, scores = rank(kernels, queries, items, 600)
    place = {np.inf: 0, -np.inf: 599}.get(value)
    if place is None:
        assert (ids[:, -1] == -1).all()
        assert not (ids == 400).any()
    else:
        assert (ids[:, place] == 400).all()
        assert (scores[:, place] == value).all()
    others = clean[0] != 400
    np.testing.assert_array_equal(ids[(ids != 400) & (ids >= 0)], clean[0][others])
    queries[5, 1] = value
    again = rank(kernels, queries, items, 600)
    np.testing.assert_array_equal(np.delete(again[0], 5, 0), np.delete(ids, 5, 0))
    np.testing.assert_array_equal(np.delete(again[1], 5, 0), np.delete(scores, 5, 0))


@pytest.mark.parametrize("f", [1, 31, 64, 200])
def test_scratch_memory_threads_and_company_change_no_bit(kernels, dtype, f):
    m, n = (MANY, 3000) if kernels.name != "numpy" else (60, 300)  # which takes its time, and has no panels
    queries, items = heavy_tailed((m, f), dtype), heavy_tailed((n, f), dtype, 1)
    exclude, chosen = exclusions(m, n), np.arange(0, n, 2)
    for candidates in (None, chosen):
        expected = rank(kernels, queries, items, 20, exclude, candidates)
        for threads, scratch in ((1, 1), (2, 1), (8, 600_000), (2, 1 << 40)):
            ids, scores = np.empty((m, 20), np.int32), np.empty((m, 20), dtype)
            kernels.top_k(queries, items, 20, exclude, candidates, ids, scores, threads, scratch)
            np.testing.assert_array_equal(ids, expected[0])
            np.testing.assert_array_equal(scores, expected[1])
        for u in range(0, m, 50):  # few queries: no panels, no first look
            own = exclude[0][u : u + 2], exclude[1]
            ids, scores = rank(kernels, queries[u : u + 1], items, 20, own, candidates)
            np.testing.assert_array_equal(ids[0], expected[0][u])
            np.testing.assert_array_equal(scores[0], expected[1][u])


def test_lists_are_those_of_a_query_alone_if_it_takes_all_panels(kernels, dtype):
    """The native kernel orders and packs 16,384 items, then 131,072, then the rest; for a query alone, it does not."""
    n = 150_000 if kernels.name == "cython" else 3000
    rng = np.random.default_rng(0)
    queries = (rng.standard_normal((MANY, 3)) * 0.05 + [1, 0, 0]).astype(dtype)
    items = rng.standard_normal((n, 3))
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    items *= 1.5 - 0.4 * items[:, :1]  # the items that rank are the shortest, which come last
    items = items.astype(dtype)
    found = rank(kernels, queries, items, 20, num_threads=2)
    for u in range(0, MANY, 20):
        alone = rank(kernels, queries[u : u + 1], items, 20)
        np.testing.assert_array_equal(found[0][u], alone[0][0])
        np.testing.assert_array_equal(found[1][u], alone[1][0])


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("seen", [False, True], ids=["nothing excluded", "seen excluded"])
def test_each_query_may_have_its_own_list_of_candidates(kernels, dtype, seen, index):
    queries, items = small_integers((MANY, 7), dtype), small_integers((400, 7), dtype, 1)
    indptr, indices = exclusions(MANY, 400, density=0.1, index=index)
    indptr[5:] -= indptr[5] - indptr[4]  # the fifth list is empty
    indptr[5] = indptr[4]
    indices = np.concatenate([np.sort(np.unique(np.random.default_rng(u).integers(0, 400, n))) for u, n in
                              enumerate(np.diff(indptr))]).astype(index)  # fmt: skip
    indptr = np.concatenate([[0], np.cumsum([len(np.unique(np.random.default_rng(u).integers(0, 400, n))) for u, n in
                                             enumerate(np.diff(indptr))])])  # fmt: skip
    exclude = exclusions(MANY, 400) if seen else None
    for k in (1, 10, 60):
        ids, scores = rank(kernels, queries, items, k, exclude, (indptr, indices), num_threads=2)
        for u in range(MANY):
            own = None if exclude is None else (exclude[0][u : u + 2] - exclude[0][u],
                                                exclude[1][exclude[0][u] : exclude[0][u + 1]])  # fmt: skip
            expected = full_sort(queries[u : u + 1], items, k, own, indices[indptr[u] : indptr[u + 1]])
            np.testing.assert_array_equal(ids[u], expected[0][0])
            np.testing.assert_array_equal(scores[u], expected[1][0])


@given(
    seed=st.integers(0, 2**32 - 1), m=st.integers(128, 134), n=st.integers(1, 900), f=st.integers(1, 70),
    k=st.integers(1, 40), spread=st.floats(0, 5), sparse=st.booleans(),
)  # fmt: skip
def test_any_factors_rank_as_a_full_sort_does(kernels, seed, m, n, f, k, spread, sparse):
    rng = np.random.default_rng(seed)
    queries, items = (
        (rng.standard_normal((rows, f)) * rng.lognormal(0, spread, (rows, 1)) * rng.lognormal(0, spread, (1, f))
         ).astype(np.float32) for rows in (m, n)
    )  # fmt: skip
    if sparse:
        items *= rng.random(items.shape) < 0.2
    assert_ranks(kernels, queries, items, k)


@pytest.mark.nightly
def test_scratch_memory_is_bounded_whatever_the_catalogue():
    """The peak of a process's memory, measured by itself: panels of a catalogue of 70 MB within 4 MB a thread."""
    script = """if True:
        import resource, sys, numpy as np
        from alternant import kernels
        items = np.random.default_rng(0).standard_normal((560_000, 32), dtype=np.float32)
        queries = items[:200].copy()
        ids, scores = np.empty((200, 10), np.int32), np.empty((200, 10), np.float32)
        kernels.top_k(queries, items[:1000], 10, None, None, ids, scores, 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kernels.top_k(queries, items, 10, None, None, ids, scores, 2, int(sys.argv[1]))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    grown = [int(subprocess.run([sys.executable, "-c", script, str(scratch)], capture_output=True, text=True,
                                check=True).stdout) for scratch in (1 << 22, 1 << 26)]  # fmt: skip
    unit = 1 if sys.platform == "darwin" else 1024
    assert grown[0] * unit <= 2 * (1 << 22) + (1 << 21)  # and the allocator's slack
    assert grown[1] * unit <= 2 * (1 << 26)


@pytest.mark.parametrize("scratch", [0, -5, 1.5, "1", True, None])
def test_scratch_memory_that_is_no_positive_number_is_refused(scratch):
    ids, scores = np.full((1, 1), 5, np.int32), np.zeros((1, 1))
    with pytest.raises(ValueError, match="scratch_bytes must be a whole number of at least 1, got"):
        alternant.kernels.top_k(np.ones((1, 1)), np.ones((1, 1)), 1, None, None, ids, scores, 1, scratch)
    assert ids[0, 0] == 5


@pytest.mark.parametrize(
    ("indices", "message"),
    [([1, 0], "candidate indices must be sorted"), ([1, 1], "candidate indices must be distinct"), ([0, 9], "indices")],
)
def test_candidate_lists_that_are_not_ascending_are_refused(indices, message):
    ids, scores = np.full((1, 1), 5, np.int32), np.zeros((1, 1))
    candidates = np.array([0, 2]), np.array(indices)
    with pytest.raises(ValueError, match=message):
        alternant.kernels.top_k(np.ones((1, 1)), np.ones((2, 1)), 1, None, candidates, ids, scores)
    assert ids[0, 0] == 5


@pytest.mark.parametrize("pairs", [0, 1, 5000, 40_000])
def test_pair_scores_are_dot_products_in_float64(kernels, dtype, pairs):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((50, 17)).astype(dtype), rng.standard_normal((70, 17)).astype(dtype)
    rows, columns = rng.integers(0, 50, pairs), rng.integers(0, 70, pairs)
    out = np.full(pairs, np.nan, dtype)
    kernels.score_pairs(rows, columns, X, Y, out, 1)
    exact = (X.astype(np.float64) @ Y.astype(np.float64).T)[rows, columns]
    sizes = (np.abs(X).astype(np.float64) @ np.abs(Y).astype(np.float64).T)[rows, columns]  # of the sums' terms
    rounding = np.finfo(dtype).eps * np.abs(exact) + 17 * np.finfo(np.float64).eps * sizes  # of the result, of the sum
    assert (np.abs(out - exact) <= rounding).all()
    for threads in (2, 8):
        again = np.empty_like(out)
        kernels.score_pairs(rows, columns, X, Y, again, threads)
        np.testing.assert_array_equal(again, out)
