"""What a fitted ImplicitALS answers: recommendations, scores, neighbours, explanations, new users; and its copies."""

import copy
import inspect
import pickle
from functools import partial

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from refusal import refuses

from alternant import ImplicitALS
from alternant.models import FactorModel


def feedback(n_users=30, n_items=20, seed=0, density=0.25):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 4, (n_users, n_items)) * (rng.random((n_users, n_items)) < density)


R = feedback()
R[0, 0], R[0, 1] = -2, 3  # user 0 dislikes item 0
R[7] = 0  # user 7 has nothing
R[:, 6] = 0  # nobody has item 6


@pytest.fixture(params=["float32", "float64"])
def model(request):
    return ImplicitALS(factors=5, random_state=0, dtype=request.param).fit(sp.csr_array(R))


@pytest.fixture
def exact():
    return ImplicitALS(
        factors=5, weighting="hu", alpha=3, regularization=0.02, regularization_scaling="none", unobserved_weight=0.5,
        solver="cholesky", dtype="float64", random_state=0,
    ).fit(sp.csr_array(R))  # fmt: skip


def plain_ranking(model, users, k, forbidden):
    """Lists by a full sort of dense scores; `forbidden` is a boolean (user, item) mask."""
    scores = model.user_factors[users].astype(float) @ model.item_factors.astype(float).T
    scores[forbidden] = -np.inf
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, ids, axis=1)
    return np.where(best > -np.inf, ids, -1), best


def assert_ranks(got, expected):
    np.testing.assert_array_equal(got[0], expected[0])
    assert got[0].dtype == np.int32
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-5, atol=1e-6)


# --- recommend --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("users", [[3], [4, 0, 4, 29], range(30), np.array([2, 1], np.uint8), []], ids=str)
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recommend_is_a_full_sort_of_the_scores_without_what_users_have_seen(model, users, exclude_seen):
    users = np.asarray(users, int if len(users) == 0 else None)
    seen = (R != 0)[users] & exclude_seen
    got = model.recommend(users, 6, exclude_seen=exclude_seen)
    assert got[0].shape == got[1].shape == (len(users), 6)
    assert got[1].dtype == model.item_factors.dtype
    assert_ranks(got, plain_ranking(model, users, 6, seen))


@pytest.mark.parametrize("user", [3, np.int32(3), np.array(3)], ids=["int", "numpy int", "array of no dimension"])
def test_a_single_user_gets_a_single_list(model, user):
    ids, scores = model.recommend(user, 4)
    assert ids.shape == scores.shape == (4,)
    several = model.recommend([3], 4)
    np.testing.assert_array_equal(ids, several[0][0])
    np.testing.assert_array_equal(scores, several[1][0])


def test_a_two_dimensional_array_of_users_gives_an_array_of_lists(model):
    ids, scores = model.recommend([[0, 1, 2], [3, 4, 5]], 4)
    assert ids.shape == scores.shape == (2, 3, 4)
    np.testing.assert_array_equal(ids.reshape(6, 4), model.recommend(np.arange(6), 4)[0])


def test_a_disliked_item_is_seen_and_not_recommended(model):
    assert 0 not in model.recommend(0, 20)[0]
    assert 0 in model.recommend(0, 20, exclude_seen=False)[0]


def test_unfilled_positions_are_padded_with_minus_1_and_minus_infinity(model):
    ids, scores = model.recommend([1, 7], 50)
    for row, user in enumerate((1, 7)):
        left = 20 - (R[user] != 0).sum()
        assert sorted(ids[row, :left]) == list(np.flatnonzero(R[user] == 0))
        assert (ids[row, left:] == -1).all()
        assert (scores[row, left:] == -np.inf).all()
        assert np.isfinite(scores[row, :left]).all()
    assert (model.recommend(1, 5, candidate_items=[])[0] == -1).all()


def test_ties_are_broken_by_the_lower_row_number(model):
    model.user_factors = np.zeros_like(model.user_factors)
    ids, scores = model.recommend(7, 20, exclude_seen=False)
    np.testing.assert_array_equal(ids, np.arange(20))
    np.testing.assert_array_equal(scores, 0)


def test_excluded_items_are_never_returned_and_candidates_are_the_only_ones(model):
    users = np.arange(30)
    mask = R != 0
    without = mask | np.isin(np.arange(20), [2, 5, 11])
    assert_ranks(model.recommend(users, 8, exclude_items=[11, 2, 5, 2]), plain_ranking(model, users, 8, without))
    only = mask | ~np.isin(np.arange(20), [3, 5, 11, 19])
    candidates = np.array([19, 3, 11, 5], np.uint16)
    assert_ranks(model.recommend(users, 8, candidate_items=candidates), plain_ranking(model, users, 8, only))
    both = only | (np.arange(20) == 5)
    got = model.recommend(users, 8, candidate_items=candidates, exclude_items=[5])
    assert_ranks(got, plain_ranking(model, users, 8, both))


def test_user_items_may_be_one_row_per_user_or_the_whole_matrix(model):
    users = np.array([9, 3])
    newer = R.copy()
    newer[users] = feedback(seed=5)[users]
    expected = plain_ranking(model, users, 6, newer[users] != 0)
    assert_ranks(model.recommend(users, 6, user_items=sp.csr_array(newer[users])), expected)
    assert_ranks(model.recommend(users, 6, user_items=sp.csr_array(newer)), expected)
    everybody = np.arange(30)
    assert_ranks(
        model.recommend(everybody, 6, user_items=sp.csr_array(newer)), plain_ranking(model, everybody, 6, newer != 0)
    )
    assert_ranks(model.recommend(3, 6, user_items=sp.csr_array(newer[[3]])), (expected[0][1], expected[1][1]))


def test_ambiguous_user_items_are_refused(model):
    with pytest.raises(ValueError, match=r"user_items is ambiguous: .* pass users=numpy\.arange"):
        model.recommend(np.arange(30)[::-1], 6, user_items=sp.csr_array(R))


def test_new_users_are_folded_in_from_their_interactions(model):
    new = feedback(4, seed=9)
    ids, scores = model.recommend(None, 6, user_items=sp.csr_array(new))
    stand_in = copy.deepcopy(model)
    stand_in.user_factors = model.fold_in_users(sp.csr_array(new))
    assert_ranks((ids, scores), plain_ranking(stand_in, np.arange(4), 6, new != 0))
    with_seen = model.recommend(None, 20, user_items=sp.csr_array(new), exclude_seen=False)[0]
    assert (np.sort(with_seen, axis=1) == np.arange(20)).all()
    assert model.recommend(None, 3, user_items=sp.csr_array((0, 20)))[0].shape == (0, 3)


# --- predict ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "items"),
    [
        ([0, 3], [5, 1]),
        (2, [5, 1, 1]),
        ([0, 3, 4], 5),
        (np.arange(30)[:, None], np.arange(20)),
        (np.zeros((2, 1, 3), int), np.zeros((4, 1), int)),
        ([], []),
        ([], 3),
    ],
    ids=["pairs", "one user", "one item", "all pairs", "three dimensions", "none", "none and one"],
)
def test_predict_broadcasts_users_against_items(model, users, items):
    got = model.predict(users, items)
    u, i = np.broadcast_arrays(np.asarray(users, int), np.asarray(items, int))
    expected = (model.user_factors[u].astype(float) * model.item_factors[i].astype(float)).sum(axis=-1)
    assert got.shape == u.shape
    assert got.dtype == model.item_factors.dtype
    np.testing.assert_allclose(got, expected, rtol=np.finfo(got.dtype).eps, atol=1e-15)


def test_predict_of_one_pair_is_a_float_and_the_score_that_recommend_gives(model):
    ids, scores = model.recommend(3, 5)
    for i, score in zip(ids, scores, strict=True):
        got = model.predict(3, i)
        assert isinstance(got, float)
        assert got == pytest.approx(score, rel=1e-5)


# --- neighbours -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["item", "user"])
def test_neighbours_are_ranked_by_cosine_without_the_row_itself(model, kind):
    similar = {"item": partial(model.similar_items, shrinkage=0), "user": model.similar_users}[kind]
    factors = {"item": model.item_factors, "user": model.user_factors}[kind].astype(float)
    n, empty = len(factors), {"item": [6], "user": []}[kind]  # user 7, with nothing, is like the mean user
    norms = np.linalg.norm(factors, axis=1)
    norms[empty] = 1
    cosines = (factors / norms[:, None]) @ (factors / norms[:, None]).T
    np.fill_diagonal(cosines, -np.inf)
    ids, got = similar(np.arange(n), n)
    for row in range(n):
        assert set(ids[row, :-1]) == set(range(n)) - {row}
        np.testing.assert_allclose(got[row, :-1], np.sort(cosines[row])[::-1][:-1], atol=1e-6)
        np.testing.assert_allclose(got[row, :-1], cosines[row, ids[row, :-1]], atol=1e-6)
    assert (ids[:, -1] == -1).all()
    assert (got[:, -1] == -np.inf).all()
    assert (got[empty, :-1] == 0).all()  # nothing is like a row of zeros


def test_items_with_few_interactions_are_less_similar(model, tmp_path):
    counts = np.bincount(model.interactions_.indices, minlength=len(model.item_factors))
    every = np.arange(len(counts))
    cosines = np.zeros((len(every), len(every)))
    np.put_along_axis(cosines, *model.similar_items(every, len(every) - 1, shrinkage=0), axis=1)
    for shrinkage, given in ((10.0, {}), (2.5, {"shrinkage": 2.5})):
        expected = cosines * (counts / (counts + shrinkage))
        np.fill_diagonal(expected, -np.inf)
        ids, got = model.similar_items(every, len(every) - 1, **given)
        np.testing.assert_allclose(got, -np.sort(-expected, axis=1)[:, :-1], atol=1e-6)
        np.testing.assert_allclose(got, np.take_along_axis(expected, ids, 1), atol=1e-6)
    model.save(tmp_path / "without", interactions=False)  # the counts are kept
    loaded = type(model).load(tmp_path / "without")
    for found, again in zip(model.similar_items(every), loaded.similar_items(every), strict=True):
        np.testing.assert_array_equal(found, again)
    refuses(ValueError, "shrinkage must be at least 0 and finite, got -1",
            lambda: model.similar_items(0, shrinkage=-1), model)  # fmt: skip


def test_neighbours_have_the_shape_of_the_ids(model):
    ids, cosines = model.similar_items(3, 4)
    assert ids.shape == cosines.shape == (4,)
    table, _ = model.similar_items([[3, 4], [5, 3]], 4)
    assert table.shape == (2, 2, 4)
    np.testing.assert_array_equal(table[0, 0], ids)
    np.testing.assert_array_equal(table[1, 1], ids)


def test_cosines_are_at_most_one():
    """Equal rows of float32 have a dot product of 1.0000001 after normalization."""
    rng = np.random.default_rng(0)
    model = ImplicitALS(factors=7)
    half = rng.standard_normal((200, 7)).astype(np.float32)
    model.user_factors = model.item_factors = np.concatenate([half, half])
    ids, cosines = model.similar_items(np.arange(400), 1)
    np.testing.assert_array_equal(ids[:, 0], (np.arange(400) + 200) % 400)
    assert cosines.max() == 1
    assert cosines.min() > 1 - 1e-6


def test_neighbours_come_from_the_candidates_that_are_not_excluded(model):
    ids, _ = model.similar_items([2, 3], 5, candidate_items=[2, 3, 4, 9], exclude_items=[4])
    assert [sorted(row) for row in ids.tolist()] == [[-1, -1, -1, 3, 9], [-1, -1, -1, 2, 9]]
    ids, _ = model.similar_users(2, 2, candidate_users=[8, 2], exclude_users=[1])
    assert ids.tolist() == [8, -1]


# --- explain ----------------------------------------------------------------------------------------------------------


def test_an_explanation_equals_the_dense_formula_if_the_user_was_just_solved(exact):
    """Contribution of item j to item i: y_i . A^-1 y_j t_j (Hu, Koren and Volinsky 2008, section 5)."""
    exact.partial_fit_users(np.arange(30), sp.csr_array(R))
    Y = exact.item_factors
    C = np.where(R != 0, 1 + 3 * np.abs(R), 0.5)
    T = C * (R > 0)
    for u in (0, 3, 29):
        A = Y.T @ (C[u][:, None] * Y) + 0.02 * np.eye(5)
        for i in (0, 4, 19):
            got = exact.explain(u, i)
            history = np.flatnonzero(R[u])
            assert sorted(got.items) == list(history)
            expected = T[u] * (Y @ np.linalg.solve(A, Y[i]))
            np.testing.assert_allclose(got.contributions, expected[got.items], rtol=0, atol=1e-10)
            assert (np.diff(got.contributions) <= 0).all()
            assert got.score == exact.predict(u, i)
            assert abs(got.remainder) < 1e-12
    dislike = list(exact.explain(0, 4).items).index(0)
    assert exact.explain(0, 4).contributions[dislike] == 0


@pytest.mark.parametrize("weighting", ["hu", "log", "proportional", "ials"])
@pytest.mark.parametrize("tol", [0.5, 1e-6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_contributions_add_up_to_the_predicted_score_however_loose_the_fit(weighting, tol, dtype):
    model = ImplicitALS(
        factors=5, weighting=weighting, alpha=2.0, tol=tol, max_cg_steps=2, iterations=2, dtype=dtype, random_state=0,
    ).fit(sp.csr_array(R))  # fmt: skip
    for u in range(30):
        for i in (0, 6, 13) if u != 7 else ():
            got = model.explain(u, i)
            assert got.score == model.predict(u, i)
            scale = max(abs(got.score), np.abs(got.contributions).sum())
            assert abs(got.contributions.sum() - got.score) <= 1e-12 * scale


def test_a_new_user_can_be_explained_from_interactions(exact):
    row = sp.csr_array(feedback(1, seed=4))
    got = exact.explain(None, 12, user_items=row)
    assert got.score == pytest.approx(float(exact.fold_in_users(row)[0] @ exact.item_factors[12]), rel=1e-12)
    assert got.contributions.sum() == pytest.approx(got.score, rel=1e-12)
    assert sorted(got.items) == sorted(row.indices)
    assert abs(got.remainder) < 1e-12


def test_the_score_of_a_user_without_likes_is_all_remainder(model):
    got = model.explain(7, 3)
    assert len(got.items) == len(got.contributions) == 0
    assert got.remainder == got.score == model.predict(7, 3)


# --- partial fit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["user", "item"])
def test_a_partial_fit_replaces_and_appends_rows_and_touches_nothing_else(model, kind):
    n, width = (30, 20) if kind == "user" else (20, 30)
    side, other = f"{kind}_factors", "item_factors" if kind == "user" else "user_factors"
    ids = np.array([n + 1, 3, n, 12])
    new = feedback(4, width, seed=8)
    before, fixed = getattr(model, side).copy(), getattr(model, other).tobytes()
    expected = getattr(model, f"fold_in_{kind}s")(sp.csr_array(new))
    history, iterations = copy.deepcopy(model.history_), model.n_iter_

    assert getattr(model, f"partial_fit_{kind}s")(ids, sp.csr_array(new)) is model
    got = getattr(model, side)
    assert got.shape == (n + 2, 5)
    assert got[ids].tobytes() == expected.tobytes()
    others = np.setdiff1d(np.arange(n), ids)
    assert got[others].tobytes() == before[others].tobytes()
    assert getattr(model, other).tobytes() == fixed
    assert (model.history_, model.n_iter_) == (history, iterations)

    known = np.zeros((n + 2, width))
    known[:n] = R if kind == "user" else R.T
    known[ids] = new
    known = (known if kind == "user" else known.T).astype(got.dtype)
    np.testing.assert_array_equal(model.interactions_.to_scipy().toarray(), known)
    everybody = np.arange(len(model.user_factors))
    assert_ranks(model.recommend(everybody, 6), plain_ranking(model, everybody, 6, known != 0))


def test_a_partial_fit_of_a_known_user_with_the_same_interactions_is_a_fold_in(exact):
    before = exact.recommend(3, 5)
    exact.partial_fit_users(3, sp.csr_array(R[[3]]))
    np.testing.assert_allclose(exact.user_factors[3], exact.fold_in_users(sp.csr_array(R[[3]]))[0], rtol=1e-12)
    np.testing.assert_array_equal(exact.recommend(3, 5)[0], before[0])


def test_a_partial_fit_without_rows_changes_nothing(model):
    before = model.user_factors.tobytes()
    model.partial_fit_users([], sp.csr_array((0, 20)))
    assert model.user_factors.tobytes() == before
    np.testing.assert_array_equal(model.interactions_.to_scipy().toarray(), R.astype(model.user_factors.dtype))


def test_a_partial_fit_does_not_change_arrays_returned_before(model):
    """Arrays handed out before are not written to."""
    held, history = model.user_factors, model.interactions_
    before = held.tobytes(), history.data.tobytes()
    model.partial_fit_users([0], sp.csr_array(R[[1]]))
    assert (held.tobytes(), history.data.tobytes()) == before


def test_a_partial_fit_of_factors_set_by_hand_does_not_invent_interactions(model):
    """The interactions of the fit say nothing about more users than it had."""
    more = ImplicitALS(factors=5, dtype=model.dtype).set_params(**model.get_params()).fit(sp.csr_array(R))
    more.user_factors = np.concatenate([model.user_factors, model.user_factors])
    more.partial_fit_users([60], sp.csr_array(R[[1]]))
    assert more.user_factors.shape == (61, 5)
    assert more.interactions_ is None
    with pytest.raises(ValueError, match="pass user_items, or exclude_seen=False"):
        more.recommend(60)


def test_factors_changed_by_hand_are_used(exact):
    """Fold-in keeps the eigenbasis of the item factors between calls, but never that of others."""
    row = sp.csr_array(R[[3]])
    exact.fold_in_users(row)
    writeable = exact.item_factors * 2
    exact.item_factors = writeable.view()
    exact.item_factors.flags.writeable = False  # as a view into shared memory may be
    for scale in (1, 3):
        writeable *= scale
        fresh = copy.deepcopy(exact).fold_in_users(row)
        np.testing.assert_array_equal(exact.fold_in_users(row), fresh)
        np.testing.assert_array_equal(exact.fold_in_users(row), fresh)
    assert not np.array_equal(fresh, exact.set_params(unobserved_weight=0.7).fold_in_users(row))


# --- parameters and copies --------------------------------------------------------------------------------------------

SET = {
    "factors": 3, "alpha": 2.5, "weighting": "hu", "epsilon": 0.5, "unobserved_weight": 0.1,
    "regularization": (0.1, 0.2), "regularization_scaling": "ials", "regularization_exponent": 0.5,
    "degree_normalization": (0.2, 0.3), "popularity_exponent": 0.1, "solver": "cholesky", "tol": 1e-3,
    "max_cg_steps": 4, "feature_regularization": 2.0, "iterations": 2, "acceleration": None, "early_stopping": 1e-4,
    "warm_start": True, "init_scale": 0.3, "dtype": np.float64, "random_state": 5, "num_threads": 1, "backend": "numpy",
}  # fmt: skip


def test_parameters_are_stored_as_given_and_read_by_name():
    model = ImplicitALS(**SET)
    assert model.get_params() == SET
    assert all(model.get_params()[name] is SET[name] for name in SET)
    assert list(inspect.signature(ImplicitALS.__init__).parameters)[1:] == list(SET)  # none is missing here
    fresh = ImplicitALS().set_params(**SET)
    assert fresh.get_params(deep=False) == SET


def test_a_clone_has_the_parameters_but_no_factors(model):
    clone = type(model)(**model.get_params())
    assert clone.get_params() == model.get_params()
    assert not hasattr(clone, "n_iter_")
    clone.fit(sp.csr_array(R))
    assert clone.item_factors.tobytes() == model.item_factors.tobytes()


def test_the_repr_shows_parameters_that_differ_from_the_defaults_and_evaluates_to_the_model():
    assert repr(ImplicitALS()) == "ImplicitALS()"
    model = ImplicitALS(factors=8, regularization=(0.1, 0.2), weighting="ials", random_state=0)
    assert repr(model) == "ImplicitALS(factors=8, weighting='ials', regularization=(0.1, 0.2), random_state=0)"
    assert eval(repr(model)).get_params() == model.get_params()


def test_parameters_can_only_be_given_by_name():
    with pytest.raises(TypeError, match="positional"):
        ImplicitALS(64)


def through_joblib(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib")


def through_a_joblib_map(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib", mmap_mode="r")


COPIES = {
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "pickle protocol 2": lambda model, _: pickle.loads(pickle.dumps(model, protocol=2)),
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "copy": lambda model, _: copy.copy(model),
    "joblib": through_joblib,
    "joblib, mapped": through_a_joblib_map,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_gives_the_same_results_and_is_independent(model, way, tmp_path):
    model.explain(3, 4)  # fills the cache, which is not copied
    twin = COPIES[way](model, tmp_path)
    assert twin.get_params() == model.get_params()
    assert twin.history_ == model.history_
    new = sp.csr_array(feedback(3, seed=2))
    for call in (
        lambda m: m.recommend(np.arange(30), 5),
        lambda m: m.similar_items(np.arange(20), 5),
        lambda m: m.explain(3, 4)[1:3],
        lambda m: (m.fold_in_users(new), m.predict(2, np.arange(20))),
    ):
        for ours, theirs in zip(call(model), call(twin), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    before = model.user_factors.tobytes(), model.item_factors.tobytes(), model.interactions_.data.tobytes()
    twin.partial_fit_users([0], sp.csr_array(R[[1]]))
    twin.set_params(warm_start=True, iterations=1).fit(sp.csr_array(R))
    assert (model.user_factors.tobytes(), model.item_factors.tobytes(), model.interactions_.data.tobytes()) == before


def test_an_unfitted_model_can_be_copied(tmp_path):
    for way in COPIES.values():
        assert way(ImplicitALS(factors=3), tmp_path).get_params()["factors"] == 3


def test_a_model_without_fold_in_raises_type_error():
    class Fixed(FactorModel):
        num_threads, backend = None, "auto"

    model = Fixed()
    model.user_factors = model.item_factors = np.ones((3, 2))
    with pytest.raises(TypeError, match="Fixed cannot fold in new users"):
        model.recommend(None, user_items=sp.csr_array((1, 3)))
