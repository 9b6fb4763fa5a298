"""Lists of `alternant.compat.implicit`: `topk`, `recommend`, `similar_items`, `similar_users`."""

import numpy as np
import pytest
from scipy import sparse

import alternant.compat.implicit as implicit
from alternant.compat.implicit.cpu.matrix_factorization_base import _filter_items_from_sparse_matrix
from alternant.compat.implicit.cpu.topk import topk

LOWEST = np.finfo(np.float32).min
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(9, 4)).astype(np.float32)
LIKED = sparse.csr_matrix((rng.random((6, 9)) < 0.3).astype(np.float32))


@pytest.fixture
def model():
    model = implicit.cpu.als.AlternatingLeastSquares(factors=4)
    model.user_factors, model.item_factors = X.copy(), Y.copy()
    return model


def sorted_by_formula(scores, allowed):
    """Rank the allowed columns of one row of scores."""
    return [int(i) for i in np.argsort(-scores, kind="stable") if i in allowed]


@pytest.mark.parametrize("query", [X, sparse.csr_matrix(X), X.astype(np.float64)], ids=["dense", "sparse", "float64"])
@pytest.mark.parametrize("norms", [None, np.linalg.norm(Y, axis=1)], ids=["dot", "cosine"])
def test_topk_is_a_full_sort(query, norms):
    ids, scores = topk(items=Y, query=query, k=3, item_norms=norms, filter_query_items=LIKED, filter_items=[1, 8])
    full = X @ Y.T if norms is None else X @ Y.T / norms
    assert (ids.dtype, scores.dtype) == (np.int32, query.dtype)
    for u in range(6):
        allowed = set(range(9)) - {1, 8} - set(LIKED[u].indices)
        assert ids[u].tolist() == sorted_by_formula(full[u], allowed)[:3]
        np.testing.assert_allclose(scores[u], full[u, ids[u]], rtol=1e-5, atol=1e-6)


def test_topk_of_one_query_has_one_row():
    assert topk(Y, X[0], 2)[0].shape == (1, 2)


def test_long_lists_end_with_what_was_left_out_and_then_minus_one(model):
    ids, scores = model.recommend(1, LIKED[1], N=12)
    liked = LIKED[1].indices.tolist()
    left = 9 - len(liked)
    assert liked
    assert ids[:left].tolist() == sorted_by_formula(Y @ X[1], set(range(9)) - set(liked))
    assert ids[left:].tolist() == [*liked, -1, -1, -1]
    assert (scores[left:] == LOWEST).all()


def test_lists_are_the_same_for_one_user_and_several(model):
    ids, scores = model.recommend([4, 2], LIKED[[4, 2]], N=3)
    for row, user in enumerate((4, np.int64(2))):
        one = model.recommend(user, LIKED[user], N=3)
        np.testing.assert_array_equal(one[0], ids[row])
        np.testing.assert_array_equal(one[1], scores[row])


def test_user_items_may_be_none_if_they_are_not_needed(model):
    ids, _ = model.recommend(0, None, N=9, filter_already_liked_items=False)
    assert ids.tolist() == sorted_by_formula(Y @ X[0], range(9))


def test_csr_arrays_are_rows_too(model):
    expected = model.recommend([0, 1], LIKED[:2])
    rows = sparse.csr_array(LIKED)
    np.testing.assert_array_equal(model.recommend([0, 1], rows[:2])[0], expected[0])
    np.testing.assert_array_equal(model.recommend(1, rows[1])[0], expected[0][1])


@pytest.mark.parametrize("rows", [LIKED.tocoo(), LIKED.tocsc(), LIKED.toarray(), None])
def test_other_rows_are_refused(model, rows):
    with pytest.raises(ValueError, match="user_items needs to be a CSR sparse matrix"):
        model.recommend(np.arange(6), rows)


def test_one_row_is_needed_for_each_user(model):
    with pytest.raises(ValueError, match=r"user_items must have one row for each id, 1, got 6 rows: pass user_items"):
        model.recommend(0, LIKED)


def test_items_limits_the_list_in_any_order(model):
    ids, scores = model.recommend(1, LIKED[1], items=[7, 2, 5, 0], N=10)
    liked = sorted({0, 2, 5, 7} & set(LIKED[1].indices.tolist()))
    assert ids.tolist() == [*sorted_by_formula(Y @ X[1], {0, 2, 5, 7} - set(liked)), *liked]
    assert len(scores) == 4


@pytest.mark.parametrize("filter_items", [[1], np.array([1])])
def test_items_and_filter_items_exclude_each_other(model, filter_items):
    with pytest.raises(ValueError, match="pass items= or filter_items=, not both"):
        model.recommend(0, LIKED[0], items=[0, 2], filter_items=filter_items)
    with pytest.raises(ValueError, match="not both"):
        model.similar_items(0, items=[0, 2], filter_items=filter_items)
    with pytest.raises(ValueError, match="pass users= or filter_users=, not both"):
        model.similar_users(0, users=[0, 2], filter_users=filter_items)


@pytest.mark.parametrize("wrong", [-1, 9])
def test_unknown_ids_are_refused(model, wrong):
    for call in (
        lambda: model.recommend(0, LIKED[0], items=[0, wrong]),
        lambda: model.recommend(0, LIKED[0], filter_items=[wrong]),
        lambda: model.recommend(wrong, LIKED[0]),
        lambda: model.similar_items([0, wrong]),
        lambda: model.similar_users(wrong),
    ):
        with pytest.raises(IndexError, match=f"has the id {wrong}, but"):
            call()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64])
def test_ids_may_be_unsigned(model, dtype):
    users, some = np.array([1, 3], dtype), np.array([2, 5, 7], dtype)
    expected = model.recommend([1, 3], LIKED[[1, 3]], items=[2, 5, 7])
    for got, same in zip(model.recommend(users, LIKED[users], items=some), expected, strict=True):
        np.testing.assert_array_equal(got, same)
    assert not np.isin(model.similar_items(users, 3, filter_items=some)[0], some).any()


def test_lengths_of_lists_are_whole_numbers(model):
    np.testing.assert_array_equal(model.recommend(0, LIKED[0], N=3.0)[0], model.recommend(0, LIKED[0], N=3)[0])
    with pytest.raises(ValueError, match=r"^the length of the lists must be a whole number of at least 0, got 2.5"):
        model.recommend(0, LIKED[0], N=2.5)


@pytest.mark.parametrize("query", [X[:, :3], sparse.csr_matrix(X[:, :3])])
def test_queries_of_another_width_are_refused(query):
    with pytest.raises(ValueError, match=r"^query must have as many columns as items, 4, got 3"):
        topk(Y, query, 2)


def test_a_transposed_matrix_is_refused(model):
    with pytest.raises(ValueError, match="has an entry in column 11, but the model has 9 items"):
        model.recommend(0, sparse.csr_matrix(np.eye(12, dtype=np.float32)[11:]))


@pytest.mark.parametrize("itemid", [2, [2, 0]])
def test_similar_items_rank_by_cosine(model, itemid):
    cosine = (Y / np.linalg.norm(Y, axis=1)[:, None]) @ (Y / np.linalg.norm(Y, axis=1)[:, None]).T
    ids, scores = (np.atleast_2d(array) for array in model.similar_items(itemid, N=4, filter_items=[1]))
    for row, item in enumerate(np.ravel(itemid)):
        assert ids[row].tolist() == sorted_by_formula(cosine[item], set(range(9)) - {1})[:4]
        np.testing.assert_allclose(scores[row], cosine[item, ids[row]], rtol=1e-5)


def test_similar_users_of_some(model):
    ids, scores = model.similar_users(3, N=5, users=[5, 3, 1])
    assert ids[0] == 3
    assert set(ids[:3]) == {1, 3, 5}
    assert ids[3:].tolist() == [-1, -1]
    assert (scores[3:] == LOWEST).all()


def test_norms_follow_factors_that_are_replaced(model):
    assert model.similar_items(0, N=1)[0] == 0
    model.item_factors = np.ones((3, 4), np.float32)
    np.testing.assert_array_equal(model.item_norms, [2, 2, 2])
    np.testing.assert_allclose(model.similar_items(1)[1][:3], 1)


def test_a_zero_vector_is_similar_to_nothing(model):
    model.item_factors[4] = 0
    model._item_norms = None
    _, scores = model.similar_items(4, N=3)
    assert not scores.any()


def test_rows_to_filter_may_be_of_any_format():
    expected = topk(Y, X, 3, filter_query_items=LIKED)[0]
    np.testing.assert_array_equal(topk(Y, X, 3, filter_query_items=LIKED.tocoo())[0], expected)


def test_topk_checks_the_rows_to_filter(model):
    with pytest.raises(ValueError, match="filter_query_items must have one row for each query, 2, got 6 rows"):
        topk(model.item_factors, model.user_factors[:2], 3, filter_query_items=LIKED)


def test_one_user_gets_the_list_of_a_batch(model):
    ids, scores = model.recommend(np.arange(6), LIKED, N=4)
    for user in range(6):
        one = model.recommend(user, LIKED[user], N=4)
        np.testing.assert_array_equal(one[0], ids[user])
        np.testing.assert_array_equal(one[1], scores[user])


def test_deprecated_calls_still_work(model):
    with pytest.warns(DeprecationWarning, match="recommend_all is deprecated"):
        ids = model.recommend_all(LIKED[2:5], N=2, users_items_offset=2)
    np.testing.assert_array_equal(ids, model.recommend([2, 3, 4], LIKED[2:5], N=2)[0])
    with pytest.warns(DeprecationWarning, match="rank_items is deprecated"):
        assert set(model.rank_items(0, LIKED[0], [1, 2, 3])[0]) == {1, 2, 3}


def test_columns_are_selected_for_rectools():
    few = _filter_items_from_sparse_matrix(np.array([2, 5, 11]), LIKED)
    np.testing.assert_array_equal(few.toarray()[:, :2], LIKED.toarray()[:, [2, 5]])
    assert few.shape == (6, 3)


def test_an_unfitted_model_says_so():
    with pytest.raises(ValueError, match="no factors yet: call fit"):
        implicit.als.AlternatingLeastSquares().recommend(0, LIKED[0])
