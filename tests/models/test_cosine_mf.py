"""CosineMF: swipes, learned from a matrix or event by event."""

import copy
import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from alternant import CosineMF, Interactions
from alternant.models import NotFittedError
from alternant.models.sgd import events as _events

M, N = 20, 15
rng = np.random.default_rng(0)
KNOWN = rng.random((M, N)) < 0.5
LIKED = (rng.random((M, N)) < 0.5).astype(float)
USERS, ITEMS = np.nonzero(KNOWN)
SWIPES = sp.coo_array((LIKED[KNOWN], (USERS, ITEMS)), shape=(M, N))  # stored zeros are dislikes


def fit(rows=SWIPES, **params):
    return CosineMF(**{"factors": 4, "epochs": 2, "random_state": 0} | params).fit(rows)


def bits(model):
    return model.user_factors.tobytes(), model.item_factors.tobytes()


def by_hand(users, items, **params):
    model = CosineMF(factors=np.shape(users)[1], **params)
    model.user_factors, model.item_factors = np.asarray(users), np.asarray(items)
    return model


def known(model):
    """What the model knows, as a dict."""
    rows = model.interactions_
    users = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    pairs = zip(users.tolist(), rows.indices.tolist(), strict=True)
    return dict(zip(pairs, rows.data.tolist(), strict=True))


# --- the worked example -----------------------------------------------------------------------------------------------

U = np.array([[0.87, 0.62, 0.16, 0.79, 0.92, 0.02, 0.01, 0.61, 0.57, 0.52]])
C = np.array([[0.54, 0.26, 0.52, 0.36, 0.71, 0.93, 0.6, 0.2, 0.89, 0.63]])


@pytest.mark.parametrize("way", ["event", "batch", "fit"])
def test_the_worked_example(kernels, monkeypatch, way):
    """One like at learning rate 0.1; digits as published."""
    monkeypatch.setattr(CosineMF, "_backend", lambda self: kernels)
    model = by_hand(U, C, learning_rate=0.1, dtype="float64", warm_start=True, epochs=1)
    assert model.predict(0, 0) == pytest.approx(0.719319229837224, abs=1e-15)
    if way == "event":
        model.update(0, 0, 1)
    elif way == "batch":
        model.update([0, 0], [0, 0], [1, np.nan])
    else:
        with pytest.warns(UserWarning, match="contain no dislikes"):
            model.fit([[1]])
    assert model.predict(0, 0) == pytest.approx(0.7339560594124371, abs=1e-14)
    assert model.user_factors[0, 0] == pytest.approx(0.86853641, abs=5e-9)
    assert model.item_factors[0, 0] == pytest.approx(0.54747484, abs=5e-9)
    # By the formula, in plain NumPy.
    u, c = U[0], C[0]
    nu, nc = np.linalg.norm(u), np.linalg.norm(c)
    cos = u @ c / nu / nc
    np.testing.assert_allclose(model.user_factors[0], u - 0.2 * (cos - 1) * (c / nu / nc - cos * u / nu**2), rtol=1e-14)
    np.testing.assert_allclose(model.item_factors[0], c - 0.2 * (cos - 1) * (u / nu / nc - cos * c / nc**2), rtol=1e-14)


# --- likes, dislikes, and what is neither -----------------------------------------------------------------------------


def test_values_other_than_one_and_zero_are_ignored():
    expected = bits(fit())
    for unknown in (2, -1, 0.5, np.nan):
        assert bits(fit(np.where(KNOWN, LIKED, unknown))) == expected
    stored = sp.coo_array((np.r_[SWIPES.data, 2, -1, np.nan],
                           (np.r_[USERS, np.nonzero(~KNOWN)[0][:3]], np.r_[ITEMS, np.nonzero(~KNOWN)[1][:3]])),
                          shape=(M, N))  # fmt: skip
    assert bits(fit(stored)) == expected
    model = fit()
    for unknown in (2, -1, 0.5, np.nan, np.inf, 1 + 1e-12):
        model.update(0, 0, unknown).update([0, M + 5], [N + 5, 1], [unknown, unknown])
        assert bits(model) == expected  # no new rows either
    assert known(model) == known(fit())


def test_likes_raise_the_cosine_and_dislikes_lower_it():
    model = fit(init_scale=0.3)
    for liked in (0, 1):
        before = model.predict(2, 3)
        model.update(2, 3, liked)
        assert (model.predict(2, 3) > before) == bool(liked)


def test_a_matrix_without_dislikes_warns_at_the_caller():
    with pytest.warns(UserWarning, match=r"interactions contain no dislikes, .*: add dislikes as zeros") as caught:
        fit(sp.csr_array(LIKED))
    assert len(caught) == 1
    assert not re.search(r"[.!] [A-Z]|\.$", str(caught[0].message))
    assert caught[0].filename == __file__


@pytest.mark.many_steps
def test_it_ranks_planted_likes_above_popularity():
    """AUC of held-out likes against held-out dislikes: at least 0.15 above the share of likes of an item."""
    rng = np.random.default_rng(2)
    utility = rng.standard_normal((300, 4)) @ rng.standard_normal((4, 150)) + 0.5 * rng.standard_normal(150)
    liked, part = (utility > 0).astype(float), rng.random(utility.shape)
    train, test = part < 0.3, part > 0.9
    model = CosineMF(factors=16, random_state=0).fit(np.where(train, liked, np.nan))
    share = np.where(train, liked, 0).sum(axis=0) / train.sum(axis=0)

    def auc(scores):
        found, rejected = scores[liked[test] == 1], scores[liked[test] == 0]
        return np.mean(found[:, None] > rejected) + np.mean(found[:, None] == rejected) / 2

    popular = auc(np.broadcast_to(share, utility.shape)[test])
    assert popular > 0.55
    assert auc(model.predict(*np.nonzero(test))) > popular + 0.15


# --- update -----------------------------------------------------------------------------------------------------------


def random_events(count, users=M + 4, items=N + 3, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(0, users, count), rng.integers(0, items, count), rng.integers(0, 2, count)


@pytest.mark.parametrize("update_items", [True, False])
def test_a_batch_gives_the_same_bits_as_its_events_one_by_one(kernels, monkeypatch, dtype, update_items):
    monkeypatch.setattr(CosineMF, "_backend", lambda self: kernels)
    batch, single = (fit(dtype=dtype, update_items=update_items) for _ in range(2))
    events = random_events(60, M, N)
    batch.update(*events)
    for event in zip(*events, strict=True):
        single.update(*event)
    assert bits(batch) == bits(single)
    assert known(batch) == known(single)


def test_one_event_may_be_numbers_numpy_scalars_lists_or_arrays():
    expected = bits(fit().update(1, 2, 1))
    for form in (np.int64, np.int32, np.uint8, lambda v: [v], lambda v: (v,), np.array, lambda v: np.array([v])):
        assert bits(fit().update(form(1), form(2), form(1))) == expected
    for liked in (True, np.True_, 1.0, np.float32(1), [True], np.array([1.0], np.float32)):
        assert bits(fit().update(1, 2, liked)) == expected
        assert bits(fit().update([1], np.array([2]), liked)) == expected


def test_one_value_broadcasts_to_many_events(dtype):
    expected = fit(dtype=dtype).update([1, 2, 3], [4, 5, 6], [1, 1, 1])
    for liked in (1, 1.0, True, dtype(1)):
        assert bits(fit(dtype=dtype).update([1, 2, 3], [4, 5, 6], liked)) == bits(expected)
    assert bits(fit().update([3, 3], [0, 1], [1, 0])) == bits(fit().update(3, [0, 1], [1, 0]))


def test_an_update_without_events_changes_nothing():
    model = CosineMF()
    model.update([], [], []).update(0, 0, 2)
    with pytest.raises(NotFittedError):
        model.recommend(0)


def test_new_users_start_as_the_mean_user_and_new_items_near_the_mean_item(dtype):
    model = fit(dtype=dtype, update_items=False, learning_rate=1e-30)
    mean_user = model.user_factors.mean(axis=0, dtype=float)
    mean_item = model.item_factors.mean(axis=0, dtype=float)
    old = bits(model)
    model.update(M + 2, 0, 1).update([M + 4], [N + 199], [0])  # M, M + 1, M + 3 and many items fill the gaps
    assert (model.user_factors.shape, model.item_factors.shape) == ((M + 5, 4), (N + 200, 4))
    np.testing.assert_array_equal(model.user_factors[M:], np.tile(mean_user.astype(dtype), (5, 1)))
    assert (model.user_factors[:M].tobytes(), model.item_factors[:N].tobytes()) == old
    new = model.item_factors[N:]
    assert len(np.unique(new, axis=0)) == 200
    spread = 0.7 * np.linalg.norm(mean_item) / 2  # init_scale, and the root of factors
    np.testing.assert_allclose(new.mean(axis=0), mean_item, atol=0.25 * spread)
    np.testing.assert_allclose(new.std(axis=0), spread, rtol=0.2)


@pytest.mark.parametrize("first", [(2, 3, 1), ([2, 0], [3, 1], [1, 0])])
def test_a_model_that_was_never_fitted_learns_from_its_first_events(first, dtype):
    model = CosineMF(factors=4, random_state=0, dtype=dtype).update(*first)
    assert model.user_factors.shape == (3, 4)
    assert model.item_factors.shape == (4, 4)
    assert model.user_factors.dtype == dtype
    assert len(np.unique(model.user_factors, axis=0)) == 3
    assert bits(CosineMF(factors=4, random_state=0, dtype=dtype).update(*first)) == bits(model)
    assert sorted(model.recommend(2, 5)[0].tolist()) == [-1, -1, 0, 1, 2]
    model.update(*random_events(300))
    assert np.isfinite(model.predict(np.arange(M)[:, None], np.arange(N))).all()


def test_items_do_not_change_without_update_items():
    model = fit(update_items=False)
    users, items = bits(model)
    model.update(*random_events(100, M, N)).update(0, 0, 1)
    assert model.item_factors.tobytes() == items
    assert model.user_factors.tobytes() != users


def test_zero_vectors_score_zero_and_do_not_change():
    model = by_hand(np.array([[0.0, 0], [1, 2]]), np.array([[3.0, 1], [0, 0]]))
    model.update(0, 0, 1).update([0, 1], [1, 1], [0, 1])
    assert model.predict([0, 0, 1], [0, 1, 1]).tolist() == [0, 0, 0]
    assert model.user_factors.tolist() == [[0, 0], [1, 2]]
    assert model.item_factors.tolist() == [[3, 1], [0, 0]]
    assert np.isfinite(model.recommend([0, 1], 2, exclude_seen=False)[1]).all()
    assert np.isfinite(model.similar_items(1, 1)[1]).all()
    model.update(2, 0, 1)  # a mean that is not zero
    assert np.linalg.norm(model.user_factors[2]) > 0
    zeros = by_hand(np.zeros((2, 2)), np.ones((1, 2)), random_state=0).update(2, 0, 1)
    assert np.linalg.norm(zeros.user_factors[2]) > 0  # as for a fit: the mean says nothing


@pytest.mark.parametrize("length", [1e-30, 1e30])
def test_cosines_do_not_depend_on_the_lengths_of_vectors(length):
    users, items = rng.standard_normal((2, 5, 3))
    model = by_hand((users * length).astype(np.float32), (items * length).astype(np.float32))
    expected = users @ items.T / np.outer(np.linalg.norm(users, axis=1), np.linalg.norm(items, axis=1))
    np.testing.assert_allclose(model.predict(np.arange(5)[:, None], np.arange(5)), expected, atol=1e-6)
    scores = model.recommend(np.arange(5), 5, exclude_seen=False)[1]
    np.testing.assert_allclose(scores, np.sort(expected)[:, ::-1], atol=1e-6)
    assert (np.abs(scores) <= 1).all()


def test_a_swiped_item_is_no_longer_recommended():
    model = fit()
    ids = model.recommend(3, N)[0]
    best = int(ids[0])
    model.update(3, best, 0)
    assert best not in model.recommend(3, N)[0]
    assert best in model.recommend(3, N, exclude_seen=False)[0]
    model.update(M + 1, [0, 5], [1, 1])
    for _ in range(2):  # waiting, and merged
        lists = model.recommend([M + 1, 3, M + 1, M], N)[0]
        assert set(lists[0]) == set(lists[2]) == {-1, *range(N)} - {0, 5}
        assert best not in lists[1]
        assert set(lists[3]) == set(range(N))
        assert model.interactions_.shape == (M + 2, N)


def test_returned_factors_are_read_only_and_never_change():
    model = fit()
    for _ in range(2):  # before the vectors are the model's own, and after
        before = model.user_factors
        kept = before.copy()
        model.update(4, 4, 1)
        np.testing.assert_array_equal(before, kept)
        assert (model.user_factors[4] != kept[4]).any()
        held = model.user_factors
        assert model.user_factors is held  # no copy as long as nothing has changed
    for array in (model.user_factors, model.item_factors, before):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_hundred_thousand_events_in_a_batch():
    users, items, liked = random_events(100_000, 500, 300)
    model = fit().update(users, items, liked)
    last = dict(zip(zip(users.tolist(), items.tolist(), strict=True), liked.tolist(), strict=True))
    assert known(model) == known(fit()) | last
    assert np.isfinite(model.user_factors).all()


@pytest.mark.parametrize(("users", "items", "liked", "error", "message"), [
    (-1, 0, 1, IndexError, "users must lie between 0 and 2147483646, got -1"),
    ([0, -1], [0, 0], [1, 1], IndexError, "users must lie between 0 and 2147483646, got -1 to 0"),
    (0, -5, 1, IndexError, "items must lie between"), (2**31 - 1, 0, 1, IndexError, "users must lie between"),
    (0, 2**80, 1, IndexError, "items must lie between"), ([0, 2**40], [0, 0], 1, IndexError, "users must lie between"),
    (np.uint64(2**63 + 1), 0, 1, IndexError, "users must lie between"),
    (0.0, 0, 1, TypeError, r"users must be whole numbers \(row numbers\), got 0\.0"),
    ([0.0], [0], [1], TypeError, "users must be whole numbers"), ([True], [0], [1], TypeError, "users must be whole"),
    (True, 0, 1, TypeError, "users must be whole numbers"), (None, 0, 1, TypeError, "users must be whole numbers"),
    ("3", 0, 1, TypeError, "users must be whole numbers"), (0, ["a"], 1, TypeError, "items must be whole numbers"),
    (0, 0, None, TypeError, r"liked must be 1 \(True\) or 0 \(False\), got None"),
    (0, 0, "1", TypeError, "liked must be 1"), (0, 0, 1j, TypeError, "liked must be 1"),
    ([0, 1], [0, 1], [1, None], TypeError, "liked must be 1"),
    ([0, 1], [0, 1, 2], [1, 1], ValueError, "must have the same length, one entry per event, got 2, 3 and 2"),
    ([0, 1], [0, 1], [1, 1, 1], ValueError, "the same length"), ([], [0, 1], [1, 1], ValueError, "the same length"),
    ([[0, 1]], [[0, 1]], [[1, 1]], ValueError, "must be one-dimensional, one entry per event, got 2 dimensions"),
    ([[0], [1, 2]], [0, 1], [1, 1], ValueError, "users must be a list of numbers, .* lists of unequal lengths"),
    ([0, 1], [0, 1], [[1], [0, 1]], ValueError, "liked must be a list of numbers, .* lists of unequal lengths"),
    (sp.csr_array((1, 1)), 0, 1, TypeError, r"users must be whole numbers \(row numbers\), got csr_array"),
    (np.ones(2000), 0, 1, TypeError, r"users must be whole numbers \(row numbers\), got ndarray of dtype float64"),
])  # fmt: skip
def test_invalid_events_are_refused_and_change_nothing(users, items, liked, error, message):
    model = fit().update(1, 1, 1)
    before, held = copy.deepcopy(bits(model)), known(model)
    fresh = CosineMF()
    for one in (model, fresh):
        with pytest.raises(error, match=message) as caught:
            one.update(users, items, liked)
        assert type(caught.value) is error
        assert not re.search(r"[.!] [A-Z]|\.$|\n", str(caught.value))
    assert bits(model) == before
    assert known(model) == held
    assert fresh.user_factors is None
    assert model.update(M, 0, 1).user_factors.shape == (M + 1, 4)


@pytest.mark.parametrize("event", [(10**6, 0, 1), (M, 10**6, 1), ([M], [10**6], [1])])
def test_row_numbers_too_large_for_memory_are_refused_and_change_nothing(event, monkeypatch):
    """Some systems promise any memory, so that this test has its own: room for a thousand vectors."""
    newcomers = CosineMF._newcomers

    def scarce(self, kind, side, count, means):
        if count > 1000:
            raise MemoryError("Unable to allocate")
        return newcomers(self, kind, side, count, means)

    monkeypatch.setattr(CosineMF, "_newcomers", scarce)
    model = fit()
    before = bits(model)
    for one in (model, CosineMF()):
        with pytest.raises(MemoryError, match=r"for .* users and .* items do not fit in memory: number both from 0"):
            one.update(*event)
        assert one.user_factors is None or bits(one) == before
    assert model.interactions_.shape == (M, N)


@pytest.mark.parametrize(("users", "items"), [
    (np.ones((2, 3)), np.ones((2, 4))), (np.ones((2, 3)), np.ones((2, 3), np.float32)), (np.ones((2, 3)), None),
])  # fmt: skip
def test_inconsistent_vectors_set_by_hand_are_refused(users, items):
    model = CosineMF()
    model.user_factors = users
    if items is not None:
        model.item_factors = items
    for event in ((0, 0, 1), ([0, 1], [0, 1], [1, 0]), (9, 9, 1)):
        with pytest.raises((TypeError, ValueError)):
            model.update(*event)
    np.testing.assert_array_equal(model.user_factors, users)


@pytest.mark.parametrize("wrong", [np.ones(3), np.ones((2, 3), int), "abc", None])
def test_vectors_set_by_hand_must_be_two_dimensional_and_floating(wrong):
    model = fit()
    before = bits(model)
    with pytest.raises(ValueError, match="user_factors must be a two-dimensional array of floating-point numbers, got"):
        model.user_factors = wrong
    assert bits(model) == before


def test_vectors_set_by_hand_keep_known_pairs_if_the_number_of_rows_is_unchanged():
    model = fit()
    known = model.recommend(np.arange(M), 3)[0]
    model.user_factors = model.user_factors.copy()
    np.testing.assert_array_equal(model.recommend(np.arange(M), 3)[0], known)
    model.user_factors = model.user_factors[:-1]
    with pytest.raises(ValueError, match="pass user_items"):
        model.recommend(0)


def test_events_that_create_rows_give_the_same_result_however_they_are_grouped():
    rng = np.random.default_rng(3)
    events = rng.integers(0, 4 * M, 300), rng.integers(0, 3 * N, 300), rng.integers(0, 2, 300)
    for start in (fit, lambda: CosineMF(factors=4, random_state=5)):
        whole, pieces, single = start(), start(), start()
        whole.update(*events)
        for part in np.array_split(np.arange(300), 7):
            pieces.update(*(column[part] for column in events))
        for user, item, liked in zip(*(column.tolist() for column in events), strict=True):
            single.update(user, item, liked)
        assert bits(whole) == bits(pieces) == bits(single)


def test_star_ratings_are_not_silently_taken_for_likes():
    with pytest.warns(UserWarning, match=r"values other than 0 .* and 1 .*, .* convert ratings to likes"):
        CosineMF(factors=2, epochs=1).fit(np.array([[1, 2, 3, 0], [4, 5, 1, 0]]))


# --- the log of events ------------------------------------------------------------------------------------------------

EVENT = st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([0, 1, 1, 2, np.nan]))
ACTION = st.one_of(
    st.tuples(st.just("one"), EVENT), st.tuples(st.just("batch"), st.lists(EVENT, min_size=1, max_size=8)),
    st.tuples(st.just("fit"), st.just(None)), st.tuples(st.just("read"), st.just(None)),
    st.tuples(st.just("recommend"), st.lists(st.integers(0, 5), min_size=1, max_size=4)),
)  # fmt: skip


@given(actions=st.lists(ACTION, max_size=12), most=st.sampled_from([0, 3, 1 << 22]))
def test_the_last_event_of_every_pair_counts(actions, most):
    """Against a plain dict, with the log merged at once, soon, or only when it is read."""
    model, words, users, items = CosineMF(factors=2, epochs=1, random_state=0), {}, 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_events, "MAX_PENDING", most)
        for action, argument in actions:
            if action in ("one", "batch"):
                events = [argument] if action == "one" else argument
                model.update(*(argument if action == "one" else zip(*argument, strict=True)))
                for u, i, liked in events:
                    if liked in (0, 1):
                        words[u, i] = liked
                        users, items = max(users, u + 1), max(items, i + 1)
            elif action == "fit":
                model.fit(SWIPES.tocsr()[:6, :6])
                words = known(fit(SWIPES.tocsr()[:6, :6]))
                users = items = 6
            elif users and action == "read":
                assert known(model) == words
            elif users:
                asked = [u for u in argument if u < users]
                for u, ids in zip(asked, model.recommend(np.array(asked, int), items)[0], strict=True):
                    assert set(ids[ids >= 0]) == set(range(items)) - {i for v, i in words if v == u}
        if users:
            assert known(model) == words
            assert model.interactions_.shape == (users, items)
            assert len(model.user_factors) == users


@pytest.mark.parametrize(("name", "value", "error", "message"), [
    ("learning_rate", float("nan"), ValueError, "learning_rate must be greater than 0 and finite, got nan"),
    ("learning_rate", -1, ValueError, "learning_rate must be greater than 0 and finite, got -1"),
    ("learning_rate", "fast", TypeError, "learning_rate must be a number, got 'fast'"),
    ("learning_rate", 1e300, OverflowError, r"CosineMF diverges in update: lower learning_rate, got 1e\+300"),
    ("init_scale", float("nan"), ValueError, "init_scale must be greater than 0 and finite, got nan"),
])  # fmt: skip
@pytest.mark.parametrize("events", [(0, 3, 1), (0, 9, 0), ([0, 9], [0, 9], [1, 0])])
def test_an_update_with_a_bad_parameter_set_by_hand_changes_nothing(name, value, error, message, events):
    model = CosineMF(factors=4, random_state=0).update(list(range(4)), list(range(4)), [1, 0, 1, 0])
    before = pickle.dumps(model)
    setattr(model, name, value)
    if name == "init_scale" and events[1] == 3:  # no new item
        model.update(*events)
        return
    with pytest.raises(error, match=message):
        model.update(*events)
    setattr(model, name, getattr(CosineMF(), name))
    assert pickle.dumps(model) == before


def test_a_first_update_checks_all_parameters():
    model = CosineMF()
    model.factors = -1
    with pytest.raises(ValueError, match="factors must be at least 1, got -1"):
        model.update(0, 0, 1)


@pytest.mark.parametrize("text", [True, False])
def test_new_ids_one_at_a_time_and_in_a_batch_make_the_same_model(text):
    """One at a time they take a shorter way."""
    rng = np.random.default_rng(0)
    users, items, liked = rng.integers(0, 40, 300).tolist(), rng.integers(0, 60, 300).tolist(), rng.integers(0, 3, 300)
    if text:
        users, items = [f"u{user}" for user in users], [f"i{item}" for item in items]
    first = Interactions.from_arrays(users[:20], items[:20], liked[:20] % 2, aggregate="last")
    one_by_one, at_once = (CosineMF(factors=5, epochs=1, random_state=3).fit(first) for _ in range(2))
    for user, item, value in zip(users, items, liked.tolist(), strict=True):
        one_by_one.update(user, item, value)  # 2 is ignored, its ids too
    at_once.update(users, items, liked)
    for name in ("user_ids_", "item_ids_", "user_factors", "item_factors"):
        np.testing.assert_array_equal(getattr(one_by_one, name), getattr(at_once, name))
    before, wrong = one_by_one.user_factors, 1 if text else "u1"
    for event in ((wrong, items[0]), ("new" if text else 1000, wrong), (users[0], wrong)):
        with pytest.raises(TypeError, match="ids of the known type"):
            one_by_one.update(*event, 1)
    assert one_by_one.user_factors.tobytes() == before.tobytes()
    assert ("new" if text else 1000) not in one_by_one.user_ids_.tolist()
