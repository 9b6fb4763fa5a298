"""Popularity, against counting in plain Python and against an example worked by hand."""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse

import alternant
from alternant import Popularity
from alternant.datasets import load_msweb
from alternant.evaluation import leave_one_out

# Users x items. Item 0 has 2 interactions (sum 2), item 1 has 3 (sum 6), item 2 has 1 (sum 9), item 3 has none, item 4
# has 2 (sum 3). User 3 has none.
EXAMPLE = sparse.csr_array(
    np.array(
        [
            [1, 2, 0, 0, 0],
            [0, 2, 9, 0, 1],
            [1, 2, 0, 0, 2],
            [0, 0, 0, 0, 0],
        ],
        dtype=np.float32,
    )
)


def slow_ranking(dense, user, k, weighted, exclude_seen=True):
    """Count every column, drop what the user has, sort by (-popularity, item), pad."""
    n_items = len(dense[0])
    popularity = []
    for item in range(n_items):
        column = [row[item] for row in dense]
        popularity.append(float(sum(column)) if weighted else float(sum(1 for value in column if value != 0)))
    left = [item for item in range(n_items) if not (exclude_seen and dense[user][item] != 0)]
    best = sorted(left, key=lambda item: (-popularity[item], item))[:k]
    padding = k - len(best)
    return best + [-1] * padding, [popularity[item] for item in best] + [-np.inf] * padding


def test_worked_example():
    model = Popularity().fit(EXAMPLE)
    assert model.item_factors.ravel().tolist() == [2, 3, 1, 0, 2]
    ids, scores = model.recommend([0, 3], k=4)
    # User 0 has seen 0 and 1. User 3 has seen nothing; items 0 and 4 tie, the lower number comes first.
    assert ids.tolist() == [[4, 2, 3, -1], [1, 0, 4, 2]]
    assert scores.tolist() == [[2, 1, 0, -np.inf], [3, 2, 2, 1]]


def test_worked_example_weighted():
    model = Popularity(weighted=True).fit(EXAMPLE)
    assert model.item_factors.ravel().tolist() == [2, 6, 9, 0, 3]
    ids, scores = model.recommend(3, k=3)
    assert ids.tolist() == [2, 1, 4]
    assert scores.tolist() == [9, 6, 3]


@pytest.mark.parametrize(
    "backend", [name for name, reason in alternant.kernels.available_backends().items() if not reason]
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_the_ranking_equals_counting_in_plain_python(backend, weighted, exclude_seen):
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 6, (40, 15)) * (rng.random((40, 15)) < 0.3)
    model = Popularity(weighted=weighted, backend=backend).fit(sparse.csr_array(dense))
    ids, scores = model.recommend(np.arange(40), k=14, exclude_seen=exclude_seen)
    assert ids.dtype == np.int32
    for user in range(40):
        expected_ids, expected_scores = slow_ranking(dense.tolist(), user, 14, weighted, exclude_seen)
        assert ids[user].tolist() == expected_ids
        assert scores[user].tolist() == expected_scores
    assert model.backend_ == backend


def test_duplicates_are_one_interaction_and_explicit_zeros_none():
    # Item 0: one pair stored three times. Item 1: two users. Item 2: a stored zero.
    interactions = sparse.coo_array(
        ([1.0, 1.0, 1.0, 1.0, 1.0, 0.0], ([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 2])), shape=(2, 3)
    )
    assert Popularity().fit(interactions).item_factors.ravel().tolist() == [1, 2, 0]
    assert Popularity(weighted=True).fit(interactions).item_factors.ravel().tolist() == [3, 2, 0]


@pytest.mark.parametrize("form", ["coo", "csc", "csr", "dok", "lil"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_scipy_format_is_accepted(form, kind):
    converted = getattr(sparse, f"{form}_{kind}")(EXAMPLE)
    np.testing.assert_array_equal(Popularity().fit(converted).item_factors, Popularity().fit(EXAMPLE).item_factors)


def test_int64_indices_are_accepted():
    wide = EXAMPLE.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    np.testing.assert_array_equal(Popularity().fit(wide).item_factors, Popularity().fit(EXAMPLE).item_factors)


def test_sums_beyond_the_precision_of_float32_are_exact():
    big = sparse.csr_array(np.array([[2.0**24 + 1, 2.0**24], [2.0, 0.0]]))
    model = Popularity(weighted=True).fit(big)
    assert model.predict(0, 0) == 2**24 + 3
    assert model.predict(0, 1) == 2**24


def test_a_matrix_without_interactions_ranks_by_item_number():
    ids, scores = Popularity().fit(sparse.csr_array((2, 3), dtype=np.float32)).recommend([0, 1], k=4)
    assert ids.tolist() == [[0, 1, 2, -1]] * 2
    assert scores.tolist() == [[0, 0, 0, -np.inf]] * 2


def test_candidates_and_excluded_items_bound_the_ranking():
    model = Popularity().fit(EXAMPLE)
    assert model.recommend(3, k=2, candidate_items=[2, 3, 4])[0].tolist() == [4, 2]
    assert model.recommend(3, k=2, exclude_items=[1])[0].tolist() == [0, 4]


def test_user_items_replace_what_the_user_has_seen():
    seen = sparse.csr_array(np.array([[0, 1, 0, 0, 1]], dtype=np.float32))
    assert Popularity().fit(EXAMPLE).recommend([0], k=2, user_items=seen)[0].tolist() == [[0, 2]]


def test_a_new_user_gets_the_popular_items_not_seen():
    model = Popularity().fit(EXAMPLE)
    new = sparse.csr_array(np.array([[0, 7, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=np.float32))
    assert model.recommend(user_items=new, k=2)[0].tolist() == [[0, 4], [1, 0]]
    with pytest.raises(ValueError, match=r"it looks transposed; pass user_items\.T"):
        model.recommend(user_items=EXAMPLE.T, k=2)


def test_predict_is_the_popularity_of_the_item_whoever_the_user_is():
    model = Popularity().fit(EXAMPLE)
    assert model.predict([0, 1, 2, 3], 1).tolist() == [3, 3, 3, 3]
    assert model.predict(2, [0, 1, 2, 3, 4]).tolist() == [2, 3, 1, 0, 2]


def test_on_real_data_the_top_item_is_the_most_visited_one():
    data = load_msweb()
    train, _ = leave_one_out(data.interactions, random_state=0)
    ids, scores = Popularity().fit(train).recommend(0, k=285, exclude_seen=False)
    counts = np.bincount(train.indices, minlength=285)
    np.testing.assert_array_equal(ids, np.lexsort([np.arange(285), -counts]))
    np.testing.assert_array_equal(scores, counts[ids])


def test_parameters_are_stored_as_given_and_read_and_set_by_name():
    model = Popularity(weighted=True, num_threads=1)
    assert model.get_params() == {"weighted": True, "num_threads": 1, "backend": "auto"}
    assert model.set_params(weighted=False).weighted is False
    assert repr(model) == "Popularity(num_threads=1)"
    with pytest.raises(TypeError, match="positional"):
        Popularity(True)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"weighted": "yes"}, TypeError, "weighted must be True or False, got 'yes'"),
        ({"num_threads": 0}, ValueError, "num_threads must be a whole number of at least 1"),
        (
            {"backend": "fortran"},
            ValueError,
            "backend must be one of 'auto', 'cython', 'numba', 'numpy', got 'fortran'",
        ),
    ],
)
def test_a_bad_parameter_is_refused_by_name(parameters, error, message):
    with pytest.raises(error, match=message):
        Popularity(**parameters)


@pytest.mark.parametrize(
    ("interactions", "error", "message"),
    [
        ("plays.csv", TypeError, "interactions must be a SciPy sparse matrix or a table of numbers, got str"),
        (sparse.csr_array(np.array([[1.0, np.nan]])), ValueError, "interactions must be finite"),
        (sparse.csr_array((0, 3)), ValueError, "interactions must not be empty"),
    ],
)
def test_bad_interactions_are_refused_and_leave_the_model_as_it_was(interactions, error, message):
    model = Popularity().fit(EXAMPLE)
    before = pickle.dumps(model)
    with pytest.raises(error, match=message):
        model.fit(interactions)
    assert pickle.dumps(model) == before


def test_an_unfitted_model_says_so():
    with pytest.raises(alternant.models.NotFittedError, match="this Popularity is not fitted yet: call fit"):
        Popularity().recommend(0)


def test_a_model_survives_saving_pickling_and_copying(tmp_path):
    model = Popularity(weighted=True).fit(EXAMPLE)
    model.save(tmp_path / "popularity.safetensors")
    for other in (
        Popularity.load(tmp_path / "popularity.safetensors"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        assert other.get_params() == model.get_params()
        assert other.backend_ == model.backend_
        for mine, theirs in zip(model.recommend([0, 3], k=3), other.recommend([0, 3], k=3), strict=True):
            np.testing.assert_array_equal(mine, theirs)
