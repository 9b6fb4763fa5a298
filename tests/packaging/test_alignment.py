"""Interactions that hold the same users and items in other orders: found by their ids, or refused."""

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import CosineMF, ImplicitALS, Interactions, Popularity
from alternant.evaluation import evaluate, hold_out_users, leave_one_out, sample_negatives

M, N = 30, 25


def _parts():
    """Return a split, and its train part with users and items in another order."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((M, N)) < 0.3)
    names = np.array([f"i{i:02}" for i in range(N)], object)
    train, test = leave_one_out(Interactions.from_arrays(users, names[items]), random_state=0)
    mixed = train.reindex(users=rng.permutation(train.user_ids), items=rng.permutation(train.item_ids))
    return train, mixed, test


def test_negatives_are_neither_in_train_nor_in_test_whatever_the_order():
    train, mixed, test = _parts()
    drawn = sample_negatives(mixed, test, 9, random_state=0)
    np.testing.assert_array_equal(drawn.toarray(), sample_negatives(train, test, 9, random_state=0).toarray())
    assert not (drawn.toarray() & (train.matrix.toarray() != 0)).any()
    strange = mixed.reindex(users=[*mixed.user_ids[1:], 99])
    with pytest.raises(ValueError, match="the same users, but 1 of train's are not in test, such as 99"):
        sample_negatives(strange, test)
    with pytest.raises(ValueError, match="the same shape"):
        sample_negatives(mixed.reindex(users=[1, 2]), test)


@pytest.mark.parametrize("stored", [True, False], ids=["only candidates", "False stored for others"])
def test_candidates_go_with_the_test_and_not_with_the_model(stored):
    train, mixed, test = _parts()
    drawn = sample_negatives(train, test, 9, random_state=0)
    model = ImplicitALS(factors=4, random_state=0, dtype="float64").fit(mixed)
    aligned = test.reindex(users=mixed.user_ids, items=mixed.item_ids)
    rows, columns = (np.argsort(np.argsort(ids)) for ids in (mixed.user_ids, mixed.item_ids))  # ids were ascending
    expected = evaluate(model, aligned, k=3, candidates=sp.csr_array(drawn.toarray()[rows][:, columns]))
    if not stored:
        drawn = drawn.toarray()
        drawn = sp.csr_array((drawn.ravel(), np.tile(np.arange(N), M), np.arange(0, M * N + 1, N)), shape=(M, N))
    got = evaluate(model, test, k=3, candidates=drawn)
    assert got.means == expected.means
    assert 0 < got.means["hit_rate@3"] < 1
    few = test.reindex(users=test.user_ids[:10])
    some = evaluate(model, few, k=3, candidates=drawn[:10])
    assert some.n_users_evaluated == (np.diff(few.matrix.indptr) > 0).sum()
    np.testing.assert_array_equal(
        some.per_user["ndcg@3"], got.per_user["ndcg@3"][np.isin(got.users, few.user_ids)]
    )
    with pytest.raises(ValueError, match="candidates must be a sparse matrix of the shape of test"):
        evaluate(model, few, k=3, candidates=drawn)


def test_candidates_of_new_users_go_with_the_test():
    _, mixed, _ = _parts()
    parts = hold_out_users(mixed, 8, random_state=0)
    model = ImplicitALS(factors=4, random_state=0, dtype="float64").fit(parts.train)
    drawn = sample_negatives(parts.fold_in, parts.test, 9, random_state=0)
    expected = evaluate(model, parts.test, user_items=parts.fold_in, k=3, candidates=drawn)
    backwards = parts.test.reindex(users=parts.users[::-1])
    got = evaluate(model, backwards, user_items=parts.fold_in, k=3, candidates=drawn[::-1])
    assert got.means == expected.means


def test_candidates_of_a_matrix_are_what_it_does_not_hold_as_zero():
    _, mixed, _ = _parts()
    model = Popularity().fit(mixed.matrix)
    allowed = sp.csr_array((np.array([True, False]), np.array([3, 5]), np.array([0, 2])), shape=(1, N))
    ids, _ = model.recommend([0], 2, candidate_items=allowed, exclude_seen=False)
    assert ids.tolist() == [[3, -1]]


def test_what_is_left_out_is_found_by_its_ids():
    train, mixed, _ = _parts()
    model = ImplicitALS(factors=4, random_state=0).fit(mixed)
    asked = model.user_ids_[[3, 1, 3]]
    expected, _ = model.recommend(asked, 5)
    few = train.reindex(users=sorted(set(asked.tolist())))
    np.testing.assert_array_equal(model.recommend(asked, 5, user_items=few)[0], expected)
    backwards = model.user_ids_[::-1]  # as many as there are users of the fit
    np.testing.assert_array_equal(model.recommend(backwards, 5, user_items=train)[0], model.recommend(backwards, 5)[0])
    blocks = list(model.recommend_all(5, user_items=train, block_size=7))
    np.testing.assert_array_equal(np.concatenate([block[1] for block in blocks]), model.recommend(mixed.user_ids, 5)[0])


def test_users_and_items_that_are_not_there_are_refused():
    _, mixed, _ = _parts()
    model = ImplicitALS(factors=4, random_state=0).fit(mixed)
    user, item = mixed.user_ids[0], mixed.item_ids[0]
    stranger = Interactions.from_arrays([99], [item])
    in_bulk = lambda users, **rest: model.recommend_all(users=users, **rest)  # noqa: E731
    for call in (model.recommend, model.recommend_frame, in_bulk):
        with pytest.raises(ValueError, match=f"must contain all users passed, but 1 are missing, such as {user}: "):
            call([user], user_items=stranger)
        with pytest.raises(ValueError, match="must contain only items of the fit, got 1 others, such as 'zz'"):
            call([user], user_items=Interactions.from_arrays([user], ["zz"]))
    with pytest.raises(ValueError, match="user_items must contain all users passed, but 1 are missing, such as 'typo'"):
        model.partial_fit_users(["typo"], mixed)
    before = model.user_factors.copy()
    with pytest.raises(ValueError, match=f"must contain all users passed, but 1 are missing, such as {user}: "):
        model.partial_fit_users(user, stranger)
    with pytest.raises(ValueError, match="item_users must contain all items passed, but 1 are missing, such as 'typo'"):
        model.partial_fit_items(["typo"], mixed)
    np.testing.assert_array_equal(model.user_factors, before)
    model.partial_fit_users([98], mixed.reindex(users=[98]))  # asked for on purpose
    assert model.user_ids_[-1] == 98


@pytest.mark.parametrize("missing", [None, float("nan"), np.datetime64("NaT")])
def test_what_is_missing_becomes_no_user(missing):
    known = Interactions.from_arrays(["a", "a", "b"], [1, 2, 1], [1, 0, 1])
    model = ImplicitALS(factors=2, iterations=1).fit(known)
    with pytest.raises(ValueError, match=r"users must be ids, got .*, which is a missing value"):
        model.partial_fit_users([missing], sp.csr_array(np.ones((1, 2))))
    events = CosineMF(factors=2, epochs=1).fit(known)
    with pytest.raises(ValueError, match="users must be ids, got "):
        events.update(missing, 1, True)
    with pytest.raises(ValueError, match="items must be ids, got "):
        events.update("a", missing, True)
    assert events.user_ids_.tolist() == model.user_ids_.tolist() == ["a", "b"]


def test_padding_is_told_from_an_item_called_minus_one_by_its_score():
    model = Popularity().fit(Interactions.from_arrays([1, 2], [-1, 5]))
    ids, scores = model.recommend(1, 2, exclude_seen=True)
    assert ids.tolist() == [5, -1]
    assert np.isneginf(scores).tolist() == [False, True]
    ids, scores = model.recommend(2, 2, exclude_seen=True)
    assert ids.tolist() == [-1, -1]
    assert np.isneginf(scores).tolist() == [False, True]


def test_users_of_the_test_of_whom_nothing_is_known_are_not_left_out_in_silence():
    train, _, _ = _parts()
    parts = hold_out_users(train, 5, random_state=0)
    model = ImplicitALS(factors=4, random_state=0).fit(parts.train)
    few = parts.fold_in.reindex(users=parts.fold_in.user_ids[1:])
    with pytest.raises(ValueError, match="user_items must contain all users passed, but"):
        evaluate(model, parts.test, user_items=few, k=3)
