"""Splits and ranking metrics, against plain Python and against examples worked by hand."""

import math

import numpy as np
import pytest
from scipy import sparse

from alternant.datasets import load_msweb
from alternant.evaluation import RankingMetrics, leave_one_out, ranking_metrics

FORMATS = ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"]


def random_interactions(seed, n_users=60, n_items=25, density=0.1, dtype=np.float32):
    """Counts from 1 to 9; at this density, some users have no interactions, some one, most several."""
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 10, (n_users, n_items)) * (rng.random((n_users, n_items)) < density)
    return sparse.csr_array(dense.astype(dtype))


def pairs(matrix):
    """Return {(row, column): value} of the stored entries."""
    coo = sparse.coo_array(matrix)
    return {(int(u), int(i)): v for u, i, v in zip(coo.row, coo.col, coo.data.tolist(), strict=True)}


# --- leave_one_out ----------------------------------------------------------------------------------------------------


def test_leave_one_out_takes_one_interaction_of_users_with_at_least_two():
    interactions = random_interactions(0)
    train, test = leave_one_out(interactions, random_state=0)
    before = np.diff(interactions.indptr)
    assert {0, 1, 2} <= set(before.tolist())  # all cases occur
    np.testing.assert_array_equal(np.diff(test.indptr), before >= 2)
    np.testing.assert_array_equal(np.diff(train.indptr), before - (before >= 2))


def test_train_and_test_partition_the_interactions():
    interactions = random_interactions(1)
    train, test = leave_one_out(interactions, random_state=0)
    assert not pairs(train).keys() & pairs(test).keys()
    assert pairs(train) | pairs(test) == pairs(interactions)


def test_the_split_is_a_function_of_the_seed():
    interactions = random_interactions(2)
    first, again, other = (pairs(leave_one_out(interactions, random_state=seed)[1]) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert first == pairs(leave_one_out(interactions, random_state=np.random.default_rng(7))[1])


def test_the_split_of_a_seed_is_stable_between_versions():
    """Recipe: leave_one_out of 4 x 6 ones, random_state=0. A change here changes everyone's results."""
    _, test = leave_one_out(sparse.csr_array(np.ones((4, 6))), random_state=0)
    assert test.indices.tolist() == [5, 3, 3, 1]


def test_each_interaction_is_equally_likely_to_be_held_out():
    n_users, n_each = 20_000, 4
    interactions = sparse.csr_array(np.ones((n_users, n_each), dtype=np.float32))
    _, test = leave_one_out(interactions, random_state=0)
    counts = np.bincount(test.indices, minlength=n_each)
    standard_deviation = math.sqrt(n_users * 0.25 * 0.75)
    assert np.abs(counts - n_users / n_each).max() < 4 * standard_deviation


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_scipy_format_gives_the_same_split(form, kind):
    interactions = random_interactions(3)
    converted = getattr(sparse, f"{form}_{kind}")(interactions)
    for expected, got in zip(
        leave_one_out(interactions, random_state=0), leave_one_out(converted, random_state=0), strict=True
    ):
        assert isinstance(got, sparse.csr_array)
        assert pairs(got) == pairs(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_])
def test_the_dtype_and_the_shape_are_kept(dtype):
    interactions = random_interactions(4, dtype=dtype)
    for part in leave_one_out(interactions, random_state=0):
        assert part.dtype == dtype
        assert part.shape == interactions.shape


def test_int64_indices_are_accepted():
    narrow = random_interactions(5)
    wide = narrow.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    assert pairs(leave_one_out(wide, random_state=0)[1]) == pairs(leave_one_out(narrow, random_state=0)[1])


def test_duplicates_are_summed_before_the_split():
    # User 0 has item 3 twice: one interaction of value 2, so nothing can be held out. User 1 has items 0 and 1.
    interactions = sparse.coo_array(([1.0, 1.0, 1.0, 1.0], ([0, 0, 1, 1], [3, 3, 0, 1])), shape=(2, 4))
    train, test = leave_one_out(interactions, random_state=0)
    assert pairs(train)[0, 3] == 2
    assert np.diff(test.indptr).tolist() == [0, 1]


def test_explicit_zeros_are_kept_but_do_not_count_as_interactions():
    interactions = sparse.csr_array((np.array([0.0, 5.0, 1.0, 2.0, 0.0]), [0, 1, 0, 1, 2], [0, 2, 5]), shape=(2, 3))
    train, test = leave_one_out(interactions, random_state=0)
    assert pairs(train) | pairs(test) == {(0, 0): 0.0, (0, 1): 5.0, (1, 0): 1.0, (1, 1): 2.0, (1, 2): 0.0}
    assert np.diff(test.indptr).tolist() == [0, 1]


def test_the_input_is_not_modified_even_if_unsorted_or_read_only():
    matrix = sparse.csr_array((np.array([1.0, 2.0, 3.0, 0.0]), np.array([2, 0, 0, 1]), np.array([0, 4])), shape=(1, 3))
    arrays = (matrix.data, matrix.indices, matrix.indptr)
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    train, test = leave_one_out(matrix, random_state=0)
    assert pairs(train) | pairs(test) == {(0, 0): 5.0, (0, 1): 0.0, (0, 2): 1.0}
    for array, expected in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0), (3, 5)])
def test_an_empty_matrix_splits_into_two_empty_ones(shape):
    train, test = leave_one_out(sparse.csr_array(shape, dtype=np.float32))
    assert train.shape == test.shape == shape
    assert train.nnz == test.nnz == 0


def test_the_parts_are_valid_csr_with_ascending_columns():
    for part in leave_one_out(load_msweb().interactions, random_state=0):
        part.check_format(full_check=True)
        assert part.has_canonical_format


def test_dense_input_is_rejected_with_advice():
    with pytest.raises(TypeError, match="interactions must be a SciPy sparse matrix or array, got ndarray: pass"):
        leave_one_out(np.eye(3))


# --- ranking_metrics --------------------------------------------------------------------------------------------------


def slow_ranking_metrics(ids, test):
    """The formulas in plain Python, by user and rank."""
    wanted = {}
    for (u, i), value in pairs(test).items():
        if value > 0:
            wanted.setdefault(u, set()).add(i)
    hit_rates, ndcgs = [], []
    for u, row in enumerate(ids.tolist()):
        if u not in wanted:
            continue
        dcg = 0.0
        for place, item in enumerate(row, start=1):
            if item in wanted[u]:
                dcg += 1 / math.log2(place + 1)
        ideal = 0.0
        for place in range(1, min(len(row), len(wanted[u])) + 1):
            ideal += 1 / math.log2(place + 1)
        hit_rates.append(1.0 if dcg > 0 else 0.0)
        ndcgs.append(dcg / ideal)
    return math.fsum(hit_rates) / len(hit_rates), math.fsum(ndcgs) / len(ndcgs), len(hit_rates)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_metrics_match_plain_python(seed, k, dtype):
    test = random_interactions(seed, n_users=40, n_items=15, density=0.1 + 0.05 * seed)
    rng = np.random.default_rng(seed)
    ids = np.array([rng.permutation(15)[:k] for _ in range(40)], dtype=dtype)
    ids[np.arange(k) >= rng.integers(0, k + 1, 40)[:, None]] = -1  # lists of every length, none included
    got = ranking_metrics(ids, test)
    hit_rate, ndcg, n_users = slow_ranking_metrics(ids, test)
    assert got.hit_rate == pytest.approx(hit_rate, abs=1e-12)
    assert got.ndcg == pytest.approx(ndcg, abs=1e-12)
    assert (got.k, got.n_users_evaluated, got.n_users_without_test) == (k, n_users, 40 - n_users)


def test_worked_example_with_one_held_out_item_each():
    # Hits at rank 1 (gain 1), at rank 3 (gain 1 / log2 4 = 0.5) and none; the fourth user has no test items.
    test = sparse.csr_array(([1, 1, 1], ([0, 1, 2], [4, 2, 0])), shape=(4, 5))
    ids = np.array([[4, 0, 1], [3, 1, 2], [3, 1, 2], [0, 1, 2]])
    assert ranking_metrics(ids, test) == RankingMetrics(
        hit_rate=pytest.approx(2 / 3), precision=pytest.approx(2 / 9), recall=pytest.approx(2 / 3),
        truncated_recall=pytest.approx(2 / 3), ndcg=0.5, map=pytest.approx(4 / 9), mrr=pytest.approx(4 / 9), k=3,
        n_users_evaluated=3, n_users_without_test=1,
    )  # fmt: skip


def test_worked_example_with_several_test_items():
    # Test items 1 and 2 are at ranks 1 and 3: (1 + 1/2) / (1 + 1/log2 3) = 1.5 / 1.63093 = 0.91972.
    test = sparse.csr_array([[0, 1, 1, 0, 0]])
    got = ranking_metrics([[1, 0, 2]], test)
    assert got.ndcg == pytest.approx(0.91972, abs=5e-6)
    assert got.hit_rate == 1


def test_ndcg_of_a_list_of_test_items_is_one():
    test = sparse.csr_array(np.ones((1, 10)))
    assert ranking_metrics([[7, 3]], test).ndcg == 1


def test_padding_is_never_a_hit():
    # Row 1, item -1 would be row 0, item 2 if padding took part in the arithmetic.
    test = sparse.csr_array([[0, 0, 1], [1, 0, 0]])
    got = ranking_metrics(np.full((2, 4), -1), test)
    assert (got.hit_rate, got.ndcg) == (0, 0)


def test_only_positive_test_values_are_relevant():
    test = sparse.csr_array((np.array([0.5, 0.0, -2.0, 9.0]), ([0, 1, 2, 3], [0, 0, 0, 0])), shape=(4, 2))
    got = ranking_metrics(np.zeros((4, 1), dtype=np.int32), test)
    assert (got.hit_rate, got.n_users_evaluated, got.n_users_without_test) == (1, 2, 2)


def test_duplicates_in_the_test_matrix_count_once():
    test = sparse.coo_array(([1.0, 1.0], ([0, 0], [2, 2])), shape=(1, 3))
    assert ranking_metrics([[2, 1]], test).ndcg == 1


@pytest.mark.parametrize("form", FORMATS)
def test_the_test_matrix_may_have_any_format(form):
    test = random_interactions(6)
    ids = np.arange(60)[:, None] % 25
    assert ranking_metrics(ids, test.asformat(form)) == ranking_metrics(ids, test)


@pytest.mark.parametrize("n_rows", [0, 3])
def test_means_are_nan_without_test_items(n_rows):
    got = ranking_metrics(np.tile([0, 1], (n_rows, 1)), sparse.csr_array((n_rows, 5)))
    assert math.isnan(got.hit_rate)
    assert math.isnan(got.ndcg)
    assert (got.n_users_evaluated, got.n_users_without_test) == (0, n_rows)


def test_row_and_item_numbers_beyond_32_bits_do_not_collide():
    # 70,000 rows x 70,000 items: row * n_items + item passes 2^32.
    size = 70_000
    test = sparse.csr_array(([1.0, 1.0], ([0, size - 1], [1, 5])), shape=(size, size))
    ids = np.full((size, 1), 5, dtype=np.int32)
    got = ranking_metrics(ids, test)
    assert (got.hit_rate, got.n_users_evaluated) == (0.5, 2)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([[0.0, 1.0]], TypeError, "ids must be an array of whole numbers"),
        ([0, 1], ValueError, r"ids must have shape \(n_rows, k\) with k at least 1, got \(2,\)"),
        (np.empty((1, 0), dtype=int), ValueError, "k at least 1"),
        ([[0], [1]], ValueError, "one row per user, got 2 and 1; pass test"),
        ([[0, 3]], ValueError, r"between -1 \(padding\) and 2, got 0 to 3"),
        ([[0, -2]], ValueError, "got -2 to 0"),
        ([[1, 0, 1]], ValueError, "row 0 of ids has item 1 twice"),
    ],
)
def test_invalid_lists_are_rejected(ids, error, message):
    with pytest.raises(error, match=message):
        ranking_metrics(ids, sparse.csr_array([[1, 0, 0]]))


def test_a_dense_test_matrix_is_rejected_with_advice():
    with pytest.raises(TypeError, match="test must be a SciPy sparse matrix or array, got ndarray: pass"):
        ranking_metrics([[0]], np.eye(1))


def test_duplicates_that_overflow_a_narrow_dtype_are_summed_in_a_wide_one():
    events = sparse.coo_array((np.array([100, 100, 3], np.int8), ([0, 0, 0], [0, 0, 1])), shape=(1, 2))
    train, test = leave_one_out(events, random_state=0)
    assert (train + test).toarray().tolist() == [[200, 3]]


def test_held_out_entries_are_positive():
    votes = sparse.csr_array(np.array([[-1.0, 2, -3], [-1, -2, 0], [1, 1, -1]]))
    for seed in range(10):
        _, test = leave_one_out(votes, random_state=seed)
        assert (test.data > 0).all()
        assert np.diff(test.indptr).tolist() == [1, 0, 1]
