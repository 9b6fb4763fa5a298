"""Arguments of any type: what can be meant is taken, all else is refused in one sentence that names it."""

import datetime

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ImplicitALS, Interactions
from alternant.evaluation import (
    blocked_split,
    evaluate,
    hold_out_users,
    k_fold,
    leave_k_out,
    leave_one_out,
    random_split,
    sample_negatives,
    split_by_time,
)

DATA = sp.csr_array((np.random.default_rng(0).random((20, 12)) < 0.4).astype(float))
PLAIN = ImplicitALS(factors=3, iterations=2, random_state=0).fit(DATA)
NAMED = ImplicitALS(factors=3, iterations=2, random_state=0).fit(Interactions.from_arrays(*DATA.nonzero()))
ROW = DATA[[0]]
RESULT = evaluate(PLAIN, DATA, exclude_seen=False, k=2)


@pytest.mark.parametrize("split", [
    leave_one_out, leave_k_out, random_split, blocked_split, k_fold, hold_out_users,
    lambda data, **seed: sample_negatives(data, data, **seed),
])  # fmt: skip
@pytest.mark.parametrize("seed", ["a", -1, 1.5, True])
def test_a_seed_that_is_none_is_refused_by_every_split(split, seed):
    with pytest.raises((TypeError, ValueError), match="random_state must be a whole number of at least 0, a numpy"):
        split(DATA, random_state=seed)


def test_a_random_state_of_old_is_a_seed_for_splits_too():
    one, other = (random_split(DATA, random_state=np.random.RandomState(3))[1].toarray() for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: evaluate(PLAIN, [["a"] * 12], user_items=ROW), TypeError, "test must be a SciPy sparse matrix"),
    (lambda: evaluate(PLAIN, ROW, user_items=[["a"] * 12]), TypeError, "user_items must be a SciPy sparse matrix"),
    (lambda: evaluate(PLAIN, DATA, relevant_from="a"), TypeError, "relevant_from must be a number, got 'a'"),
    (lambda: evaluate(PLAIN, DATA, relevant_from=np.nan), ValueError, "relevant_from must be finite, got nan"),
    (lambda: evaluate(PLAIN, DATA, exclude_seen="no"), TypeError, "exclude_seen must be True or False, got 'no'"),
    (lambda: RESULT.interval("auc", "x"), ValueError, "confidence must be betw"),
    (lambda: RESULT.interval("auc", random_state="x"), TypeError, "random_state"),
    (lambda: hold_out_users(DATA, fold_in_fraction="x"), ValueError, "fold_in_fraction must be between 0 and 1"),
    (lambda: PLAIN.partial_fit_users([1, [2]], ROW), TypeError, r"users must be .* lists of different lengths"),
    (lambda: NAMED.partial_fit_users([[1]], ROW), TypeError, r"users must be ids, which can be hashed .*, got \[1\]"),
    (lambda: PLAIN.recommend(u for u in [1]), TypeError, r"got generator: pass list\(users\)"),
    (lambda: NAMED.recommend(u for u in [1]), TypeError, r"got generator: pass list\(users\)"),
    (lambda: NAMED.recommend(1, candidate_items=map(int, [1])), TypeError, r"got map: pass list\(candidate_items\)"),
    (lambda: PLAIN.recommend(1, exclude_seen="no"), TypeError, "exclude_seen must be True or False, got 'no'"),
    (lambda: PLAIN.recommend_all(exclude_seen=1), TypeError, "exclude_seen must be True or False, got 1"),
    (lambda: PLAIN.recommend_frame(exclude_seen=None), TypeError, "exclude_seen must be True or False, got None"),
    (lambda: PLAIN.save("x", interactions="no"), TypeError, "interactions must be True or False, got 'no'"),
    (lambda: ImplicitALS.load("x", mmap="no"), TypeError, "mmap must be True or False, got 'no'"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_every_test_interaction_counts_from_minus_infinity_on():
    _, test = random_split(DATA, random_state=0)
    assert evaluate(PLAIN, -test, exclude_seen=False, relevant_from=-np.inf).means["ndcg@10"] > 0


@pytest.mark.parametrize("model", [PLAIN, NAMED], ids=["row numbers", "raw ids"])
def test_lists_of_candidates_may_be_columns_or_sets(model):
    pd = pytest.importorskip("pandas", reason="columns of a frame")
    expected = model.recommend([0, 1], 3, candidate_items=[[1, 2, 5], [3]], exclude_seen=False)[0]
    for lists in ([pd.Series([1, 2, 5]), pd.Series([3])], [{1, 2, 5}, {3}], [np.array([1, 2, 5]), np.array([3])]):
        found = model.recommend([0, 1], 3, candidate_items=lists, exclude_seen=False)[0]
        np.testing.assert_array_equal(found, expected)


def test_a_moment_with_a_time_zone_is_taken_in_utc_without_a_word():
    hours = [datetime.datetime(2020, 1, 1, hour) for hour in range(6)]
    data = Interactions.from_arrays(range(6), range(6), times=hours)
    zone = datetime.timezone(datetime.timedelta(hours=1))
    for at in (datetime.datetime(2020, 1, 1, 4, tzinfo=zone), "2020-01-01T04:00:00+01:00", "2020-01-01T03:00:00Z",
               "2020-01-01T03", np.datetime64("2020-01-01T03")):  # fmt: skip
        assert split_by_time(data, at=at)[1].nnz == 3
    with pytest.raises(ValueError, match="at must be a date, like the times, got 'x'"):
        split_by_time(data, at="x")
