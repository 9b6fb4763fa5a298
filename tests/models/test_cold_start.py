"""Users of whom little or nothing is known: every method on every model beats random, and refuses what is wrong."""

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import BiasedMF, CosineMF, ExplicitALS, ImplicitALS, LogisticMF, Popularity
from alternant.datasets import planted
from alternant.models.als.degrees import like_new, like_new_exponent

N, K = 400, 10  # users to learn from (60 more are new), length of lists
WORLD = planted(N + 60, 150, 4, interactions_per_user=25, noise=0.2, random_state=0)
UTILITY = WORLD.user_factors @ WORLD.item_factors.T


def table(kind):
    """What users did, as a model of this kind takes it: people mostly look at what they like."""
    rng = np.random.default_rng(1)
    seen = (WORLD.interactions.toarray() > 0) | (rng.random(UTILITY.shape) < 0.05)
    if kind == "counts":
        return sp.csr_array(WORLD.interactions.toarray())
    values = np.clip(np.round(3 + 1.2 * UTILITY), 1, 5) if kind == "ratings" else (UTILITY > 0).astype(float)
    return sp.csr_array((values[seen], np.nonzero(seen)), shape=seen.shape)  # stored zeros stay


MODELS = {
    "ImplicitALS": (ImplicitALS(factors=8, random_state=0), "counts"),
    "LogisticMF": (LogisticMF(factors=8, epochs=8, random_state=0), "counts"),
    "Popularity": (Popularity(), "counts"),
    "ExplicitALS": (ExplicitALS(factors=8, random_state=0), "ratings"),
    "BiasedMF": (BiasedMF(factors=8, random_state=0), "ratings"),
    "BiasedMF in a range": (
        BiasedMF(factors=8, rating_range=(0.5, 5.5), learning_rate=0.05, random_state=0), "ratings",
    ),
    "CosineMF": (CosineMF(factors=8, random_state=0), "swipes"),
}


@pytest.fixture(scope="module", params=MODELS)
def fitted(request):
    """A model that knows the first N users, and the rows of all."""
    model, kind = MODELS[request.param]
    rows = table(kind)
    return model.fit(rows[:N]), rows


def gain(ids, users):
    """How much better for these users the items are than random ones, in standard deviations of an item's utility."""
    ids = np.broadcast_to(ids, (len(users), ids.shape[-1]))
    mine = UTILITY[users]
    listed = np.take_along_axis(mine, ids.astype(int), axis=1)
    return ((listed.mean(axis=1) - mine.mean(axis=1)) / mine.std(axis=1)).mean()


NEW = np.arange(N, N + 60)
FEATURES = WORLD.user_factors + 0.1 * np.random.default_rng(2).standard_normal(WORLD.user_factors.shape)


def test_the_mean_user_beats_random(fitted):
    model, _ = fitted
    ids, scores = model.cold_start(K)
    assert ids.shape == scores.shape == (K,)
    assert gain(ids, NEW) > 0.3
    np.testing.assert_array_equal(model.cold_start(K, method="mean")[0], ids)
    assert (np.diff(scores) <= 0).all()


def test_popularity_beats_random_and_counts_positive_interactions(fitted):
    model, rows = fitted
    ids, scores = model.cold_start(K, method="popularity")
    assert gain(ids, NEW) > 0.3
    counts = (rows[:N].toarray() > 0).sum(axis=0)
    np.testing.assert_array_equal(scores, counts[ids])
    np.testing.assert_array_equal(ids, np.argsort(-counts, kind="stable")[:K])


def test_neighbours_by_features_beat_random_and_the_mean_user(fitted):
    model, _ = fitted
    ids, _ = model.cold_start(K, features=FEATURES[:N], new_features=FEATURES[NEW])
    assert ids.shape == (60, K)
    mean = gain(model.cold_start(K)[0], NEW)
    assert gain(ids, NEW) > (mean - 1e-9 if isinstance(model, Popularity) else mean + 0.2)
    one = model.cold_start(K, features=FEATURES[:N], new_features=FEATURES[NEW[0]])
    assert one[0].shape == (K,)
    np.testing.assert_array_equal(one[0], ids[0])
    sparse = model.cold_start(K, features=sp.csr_array(FEATURES[:N]), new_features=sp.csr_array(FEATURES[NEW]))
    np.testing.assert_array_equal(sparse[0], ids)


def test_fold_in_of_a_few_answers_beats_random_and_the_mean_user_and_excludes_them(fitted):
    model, rows = fitted
    answers = rows[NEW].tocoo()
    few = np.random.default_rng(3).random(answers.nnz) < 0.4
    asked = sp.csr_array((answers.data[few], (answers.row[few], answers.col[few])), shape=answers.shape)
    ids, _ = model.cold_start(K, user_items=asked)
    unasked = np.ones(asked.shape, bool)
    unasked[answers.row[few], answers.col[few]] = False
    assert np.take_along_axis(unasked, ids.astype(int), axis=1).all()
    mean = gain(model.cold_start(K)[0], NEW)
    assert gain(ids, NEW) > (0.2 if isinstance(model, Popularity) else mean)


def test_scores_are_those_of_the_average_of_the_nearest_users():
    model = ImplicitALS(factors=3, random_state=0).fit(table("counts")[:N])
    cosines = FEATURES[:N] @ FEATURES[N] / np.linalg.norm(FEATURES[:N], axis=1) / np.linalg.norm(FEATURES[N])
    nearest = np.argsort(-cosines)[:5]
    query = cosines[nearest] @ model.user_factors[nearest] / cosines[nearest].sum()
    ids, scores = model.cold_start(4, features=FEATURES[:N], new_features=FEATURES[N], n_neighbours=5)
    np.testing.assert_allclose(scores, np.sort(model.item_factors @ query)[::-1][:4], rtol=1e-5)
    assert ids[0] == np.argmax(model.item_factors @ query)


def test_a_user_without_similar_users_gets_the_mean_users_list(fitted):
    model, _ = fitted
    ids, _ = model.cold_start(K, features=FEATURES[:N], new_features=np.zeros(4))
    np.testing.assert_array_equal(ids, model.cold_start(K)[0])


def test_items_can_be_excluded_or_chosen_with_every_method(fitted):
    model, rows = fitted
    first = model.cold_start(K)[0]
    for options in (
        {}, {"method": "popularity"}, {"user_items": rows[NEW[:2]]},
        {"features": FEATURES[:N], "new_features": FEATURES[NEW[:2]]},
    ):  # fmt: skip
        assert not np.isin(model.cold_start(K, exclude_items=first, **options)[0], first).any()
        ids = model.cold_start(K, candidate_items=[3, 4], **options)[0]
        assert np.isin(ids, [3, 4, -1]).all()


@pytest.mark.parametrize("model", [ExplicitALS, BiasedMF])
def test_an_item_that_one_user_praised_does_not_lead_the_lists_of_rating_models(model):
    rows = table("ratings")[:N].toarray() * (np.arange(150) != 7)
    rows[3, 7] = 5  # all that is known of item 7
    model = model(factors=4, random_state=0).fit(sp.csr_array(rows))
    features = {"features": FEATURES[:N], "new_features": FEATURES[NEW]}
    for options in ({}, {"user_items": table("ratings")[NEW]}, features):
        assert 7 not in model.cold_start(K, **options)[0]
        assert 7 in model.cold_start(150, **options)[0], "but where the list is as long as the catalogue"
    assert 7 in model.cold_start(140, min_count=0)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"method": "best"}, "method must be one of 'auto', 'mean', 'popularity', 'neighbours', 'fold_in', got 'best'"),
        ({"method": None}, "method must be one of .*, got None"),
        ({"method": "fold_in"}, "must be given for method='fold_in' and for no other, .* user_items missing"),
        ({"method": "mean", "user_items": table("counts")[NEW]}, "got method='mean' and user_items given"),
        ({"features": FEATURES[:N]}, "must both be given for method='neighbours' .* got method='mean', features given"),
        ({"new_features": FEATURES[NEW]}, "features missing and new_features given"),
        ({"features": FEATURES, "new_features": FEATURES[NEW]}, "one row for each of the 400 users .*, got 460"),
        ({"features": FEATURES[:N], "new_features": FEATURES[NEW, :2]}, "same number of columns, .*, got 4 and 2"),
        ({"features": FEATURES[:N] * np.nan, "new_features": FEATURES[NEW]}, "features must be a finite table"),
        ({"features": [["a"]] * N, "new_features": [["b"]]}, "features must be a table of numbers, one row per user"),
        ({"features": FEATURES[:N], "new_features": FEATURES[NEW], "n_neighbours": 0}, "n_neighbours must be at least"),
        ({"min_count": -1}, "min_count must be at least 0, got -1"),
    ],
)  # fmt: skip
def test_inconsistent_arguments_are_refused(options, message):
    model = ImplicitALS(factors=3, random_state=0, iterations=1).fit(table("counts")[:N])
    with pytest.raises((TypeError, ValueError), match=message):
        model.cold_start(**options)


def test_popularity_without_interactions_is_refused_with_an_alternative(tmp_path):
    model = ImplicitALS(factors=3, random_state=0, iterations=1).fit(table("counts")[:N])
    model.save(tmp_path / "m", interactions=False)
    loaded = ImplicitALS.load(tmp_path / "m")
    with pytest.raises(ValueError, match=r"needs the interactions of the fit, .* use method='mean'"):
        loaded.cold_start(method="popularity")
    np.testing.assert_array_equal(loaded.cold_start(5)[0], model.cold_start(5)[0])


def test_a_cold_start_before_a_fit_raises_not_fitted_error():
    with pytest.raises(AttributeError, match="not fitted yet"):
        BiasedMF().cold_start()


def test_the_mean_user_of_implicit_als_is_like_users_with_short_histories():
    rng = np.random.default_rng(4)
    lengths = np.r_[np.ones(300, int), np.full(100, 9), np.zeros(5, int)]
    columns = np.concatenate([rng.choice(30, n, replace=False) for n in lengths])
    rows = sp.csr_array((np.ones(len(columns)), columns, np.r_[0, np.cumsum(lengths)]), shape=(405, 30))
    model = ImplicitALS(factors=3, iterations=2, random_state=0, dtype="float64").fit(rows)
    weights = np.r_[np.ones(300), np.full(100, 1 / 81), np.zeros(5)]
    expected = weights @ model.user_factors / weights.sum()
    np.testing.assert_allclose(model.user_factors[400:], np.tile(expected, (5, 1)), rtol=1e-9)
    np.testing.assert_allclose(model.fold_in_users(sp.csr_array((1, 30)))[0], expected, rtol=1e-9)
    ids, scores = model.cold_start(4)
    np.testing.assert_allclose(scores, model.item_factors[ids] @ expected, rtol=1e-9)


@pytest.mark.parametrize(("counts", "exponent"), [
    ([1] * 100, 2), ([1] * 99, 0), ([0] * 500 + [3] * 200, 2), ([], 0), ([0], 0),
    ([1] * 5 + [20] * 2000, 1),  # n^-2 would leave half of the weight to five users, n^-1 leaves them a twentieth
    ([1] + [10_000] * 500, 0),
])  # fmt: skip
def test_no_few_users_make_up_the_mean_user(counts, exponent):
    counts = np.array(counts, np.int64)
    assert like_new_exponent(counts) == exponent
    weights = like_new(counts, exponent)
    np.testing.assert_allclose(weights[counts > 0], counts[counts > 0] ** -float(exponent))
    assert not weights[counts == 0].any()
