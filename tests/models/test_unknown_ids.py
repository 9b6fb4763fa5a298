"""Batches in which some ids are unknown: an error for all, or an answer for the rest."""

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import every_model, name_of

from alternant import ImplicitALS, Interactions

rng = np.random.default_rng(0)
TABLE = sp.csr_array(np.where(rng.random((20, 15)) < 0.4, rng.integers(0, 2, (20, 15)) + 1.0, 0))
MODELS = {name_of(model): model for model in every_model(factors=3)}
KINDS = ["rows", "numbers", "text"]


@pytest.fixture(params=[(name, kind) for name in MODELS for kind in KINDS], ids="-".join)
def case(request):
    """A model, some users it knows and some it does not, an item likewise."""
    name, kind = request.param
    values = (TABLE.tocoo().data == 2).astype(float) if name == "CosineMF" else TABLE.tocoo().data
    if kind == "rows":
        matrix = sp.csr_array((values, TABLE.nonzero()), shape=TABLE.shape)
        return MODELS[name].fit(matrix), [3, 5], [20, 77], (4, 15)
    change = (lambda kind, one: 7 * one) if kind == "numbers" else (lambda kind, one: f"{kind}{one}")
    rows, columns = TABLE.nonzero()
    users, items = [change("u", one) for one in rows.tolist()], [change("i", one) for one in columns.tolist()]
    model = MODELS[name].fit(Interactions.from_arrays(users, items, values))
    known, new = [change("u", 3), change("u", 5)], [change("u", 50), change("u", 77)]
    return model, known, new, (change("i", 4), change("i", 50))


def same(got, expected):
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_with_unknown_users_is_refused_unless_unknown_allows_it(case):
    model, (a, b), (new, newer), _ = case
    users = [new, a, newer, b]
    for call in (model.recommend, model.recommend_frame, model.similar_users,
                 lambda users: model.recommend_all(users=users)):  # fmt: skip
        with pytest.raises(IndexError):
            call(users)
    right = model.recommend([a, b], 4)
    ids, scores = model.recommend(users, 4, unknown="empty")
    same((ids[[1, 3]], scores[[1, 3]]), right)
    assert np.isneginf(scores[[0, 2]]).all()
    assert set(ids[[0, 2]].ravel().tolist()) <= {-1, None}
    ids, scores = model.recommend(users, 4, unknown="cold_start")
    same((ids[[1, 3]], scores[[1, 3]]), right)
    for at in (0, 2):
        same((ids[at], scores[at]), model.cold_start(4))
    same(model.recommend(new, 4, unknown="cold_start"), model.cold_start(4))
    same(model.recommend([a, b], 4, unknown="cold_start"), right)


def test_bulk_lists_treat_unknown_users_the_same(case):
    model, (a, b), (new, newer), _ = case
    users = [new, a, newer, b]
    expected = model.recommend(users, 4, unknown="cold_start")
    for size in (1, 3, 9):
        blocks = list(model.recommend_all(4, users=users, unknown="cold_start", block_size=size))
        assert [user for block in blocks for user in block[0].tolist()] == users
        same((np.concatenate([block[1] for block in blocks]), np.concatenate([block[2] for block in blocks])), expected)
    frame = model.recommend_frame(users, 4, unknown="cold_start", library="pandas")
    assert frame["user"].drop_duplicates().tolist() == users
    frame = model.recommend_frame(users, 4, unknown="empty", library="pandas")
    assert frame["user"].drop_duplicates().tolist() == [a, b]


def test_lists_of_unknown_users_exclude_items(case):
    model, (a, _), (new, _), _ = case
    first = model.recommend(new, 2, unknown="cold_start")[0]
    ids, _ = model.recommend([new, a], 4, unknown="cold_start", exclude_items=first)
    assert not set(first.tolist()) & set(ids.ravel().tolist())
    ids, scores = model.recommend([new, a], 4, unknown="cold_start", exclude_seen=False, candidate_items=first)
    assert set(ids[0].tolist()) - {-1, None} == set(first.tolist())
    assert np.isneginf(scores[0, 2:]).all()


def test_lists_of_unknown_users_leave_out_what_user_items_has_for_them(case):
    """By row or, in `Interactions`, by id; users of neither the model nor the interactions get the whole list."""
    model, (a, _), (new, newer), _ = case
    first = model.recommend(new, 2, unknown="cold_start", exclude_seen=False)[0].tolist()
    users = [new, a, new, newer]
    if model.item_ids_ is None:
        columns = [first[0], first[1], first[0], first[1]]
        user_items = sp.csr_array((np.ones(4), ([0, 1, 2, 3], columns)), shape=(4, TABLE.shape[1]))
    else:
        user_items = Interactions.from_arrays([new, a, "other"], [first[0], first[1], first[1]], [1.0, 1.0, 1.0])
    options = {"user_items": user_items, "unknown": "cold_start"}
    ids, scores = model.recommend(users, 15, **options)
    excluded = [first[0], first[1], first[0], first[1] if model.item_ids_ is None else None]
    whole = model.cold_start(15)
    for at in (0, 2, 3):
        kept = [i for i in range(15) if whole[0][i] != excluded[at]]
        same((ids[at, : len(kept)], scores[at, : len(kept)]), (whole[0][kept], whole[1][kept]))
        assert np.isneginf(scores[at, len(kept) :]).all()
    for size in (1, 3, 9):
        blocks = list(model.recommend_all(15, users=users, block_size=size, **options))
        same((np.concatenate([block[1] for block in blocks]), np.concatenate([block[2] for block in blocks])),
             (ids, scores))  # fmt: skip
    empty, _ = model.recommend(users, 3, user_items=user_items, unknown="empty")
    assert set(empty[[0, 2, 3]].ravel().tolist()) <= {-1, None}
    same(model.recommend(users, 15, exclude_seen=False, **options)[0][0], whole[0])


def test_pairs_of_unknown_ids_are_predicted_as_nan_on_request(case):
    model, (a, b), (new, _), (item, new_item) = case
    with pytest.raises(IndexError):
        model.predict([a, new], item)
    with pytest.raises(IndexError):
        model.predict([a, b], new_item)
    got = model.predict(np.array([[a], [new], [b]], object if isinstance(a, str) else None), [item, new_item],
                        unknown="nan")  # fmt: skip
    assert np.isnan(got).tolist() == [[False, True], [True, True], [False, True]]
    same(got[[0, 2], 0], model.predict([a, b], item))
    assert np.isnan(model.predict(new, item, unknown="nan"))
    assert model.predict(a, item, unknown="nan") == model.predict(a, item)


def test_unknown_rows_have_empty_lists_of_neighbours_on_request(case):
    model, (a, b), (new, _), (item, new_item) = case
    ids, cosines = model.similar_users([new, a, b], 3, unknown="empty")
    same((ids[1:], cosines[1:]), model.similar_users([a, b], 3))
    assert np.isneginf(cosines[0]).all()
    ids, cosines = model.similar_items([item, new_item], 3, unknown="empty")
    same((ids[0], cosines[0]), model.similar_items(item, 3))
    assert np.isneginf(cosines[1]).all()
    with pytest.raises(IndexError):
        model.similar_items([item, new_item])


def test_an_invalid_choice_is_refused_with_the_valid_ones(case):
    model, (a, _), _, (item, _) = case
    for call in (model.recommend, model.recommend_frame, lambda users, unknown: model.recommend_all(unknown=unknown)):
        with pytest.raises(ValueError, match="unknown must be one of 'raise', 'empty', 'cold_start', got 'skip'"):
            call(a, unknown="skip")
    with pytest.raises(ValueError, match="unknown must be one of 'raise', 'nan', got 'skip'"):
        model.predict(a, item, unknown="skip")
    with pytest.raises(ValueError, match="unknown must be one of 'raise', 'empty', got 'skip'"):
        model.similar_items(item, unknown="skip")


@pytest.mark.parametrize("unknown", ["empty", "cold_start"])
def test_ids_of_another_type_are_refused_rather_than_unknown(unknown):
    data = Interactions.from_arrays([1, 2, 3], [1, 2, 3])
    model = ImplicitALS(factors=2, random_state=0).fit(data)
    with pytest.raises(TypeError, match=r"users must have user ids of the known type, int \(such as 1\), got str"):
        model.recommend(["1", "2"], unknown=unknown)
    with pytest.raises(TypeError, match="users must be user ids, which can be hashed"):
        model.recommend([[1], [2]], unknown=unknown)
