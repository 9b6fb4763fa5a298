"""What ImplicitALS chooses by itself: what its rules say, and that the lists are good on catalogues of many kinds."""

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ImplicitALS, Popularity, datasets
from alternant.data.validation import check_interactions
from alternant.evaluation import evaluate, random_split
from alternant.models.als import implicit_defaults as rules
from alternant.models.als.degrees import Degrees
from alternant.models.als.observed import Observed

AUTO = ("weighting", "alpha", "epsilon", "unobserved_weight", "regularization", "degree_normalization",
        "popularity_exponent")  # fmt: skip


def catalogue(n_users, n_items, density, *, zipf=1.0, signal=2.0, rank=12, counts=False, seed=0):
    """Users who choose by taste and by popularity, which falls off as the rank to the power of `zipf`."""
    rng = np.random.default_rng(seed)
    tastes, items = rng.standard_normal((n_users, rank)) / np.sqrt(rank), rng.standard_normal((n_items, rank))
    popular = -zipf * np.log(rng.permutation(n_items) + 3.0)
    activity = rng.lognormal(0, 1, n_users)
    activity = np.clip(activity / activity.sum() * n_users * n_items * density, 1, n_items // 2).astype(int)
    utility = signal * tastes @ items.T + popular + rng.gumbel(size=(n_users, n_items))
    chosen = [np.argpartition(-row, k)[:k] for row, k in zip(utility, activity, strict=True)]
    values = np.ceil(np.exp(rng.normal(0, 3, activity.sum()))) if counts else np.ones(activity.sum())
    indptr = np.concatenate([[0], np.cumsum(activity)])
    matrix = sp.csr_array((values, np.concatenate(chosen), indptr), shape=(n_users, n_items))
    matrix.sort_indices()
    return matrix


def ndcg(model, test):
    return evaluate(model, test, k=20, metrics=["ndcg"]).means["ndcg@20"]


# The least that the defaults reach, times what popularity does: about a twentieth less than measured.
CATALOGUES = {
    "few items, dense": (lambda: catalogue(1500, 200, 0.3, zipf=0.5), 2.7),
    "few items, blockbusters": (lambda: catalogue(3000, 200, 0.05, zipf=1.2), 1.3),
    "short histories": (lambda: catalogue(4000, 1500, 0.006), 1.3),
    "counts over five orders of magnitude": (lambda: catalogue(2500, 1000, 0.02, counts=True), 1.4),
    "few users, long histories": (lambda: catalogue(300, 2000, 0.1), 1.9),
    "sparse": (lambda: catalogue(3000, 6000, 0.001), 1.1),
}


@pytest.mark.nightly
@pytest.mark.many_steps
@pytest.mark.parametrize("name", CATALOGUES)
def test_defaults_beat_popularity_on_catalogues_of_many_kinds_with_few_and_with_many_factors(name):
    make, margin = CATALOGUES[name]
    train, test = random_split(make(), 0.2, random_state=0)
    popular = ndcg(Popularity().fit(train), test)
    few, many = (ndcg(ImplicitALS(factors=f, random_state=0).fit(train), test) for f in (32, 160))
    assert few >= margin * popular
    assert many >= 0.95 * few


@pytest.mark.nightly
@pytest.mark.many_steps
def test_defaults_are_close_to_the_best_of_nearby_values_on_page_visits():
    train, test = random_split(datasets.load_msweb().interactions, 0.2, random_state=0)
    own = ImplicitALS(factors=32, random_state=0).fit(train)
    tried = [ndcg(own, test)]
    for w0, lam in ((0.5, 1), (2, 0.5), (1, 0.5), (1, 1.5), (0.5, 2)):
        tried.append(ndcg(ImplicitALS(
            factors=32, random_state=0, unobserved_weight=w0 * own.unobserved_weight_,
            regularization=tuple(lam * value for value in own.regularization_),
        ).fit(train), test))  # fmt: skip
    assert tried[0] >= 0.97 * max(tried)
    assert tried[0] >= 1.2 * ndcg(Popularity().fit(train), test)


def test_chosen_values_are_stored_and_passing_them_gives_the_same_bits():
    R = catalogue(200, 100, 0.1, counts=True)
    model = ImplicitALS(factors=8, random_state=0).fit(R)
    assert model.weighting_ == "ials-log"
    assert model.epsilon_ == np.median(R.data)
    assert 1 / model.alpha_ == pytest.approx(np.log1p(R.data / model.epsilon_).mean())
    assert model.unobserved_weight_ == pytest.approx(2 * 75 * R.nnz / (200 * 100))  # of a mean confidence of 2
    given = ImplicitALS(factors=8, random_state=0, **{name: getattr(model, f"{name}_") for name in AUTO}).fit(R)
    for name in ("user_factors", "item_factors"):
        np.testing.assert_allclose(getattr(given, name), getattr(model, name), rtol=1e-5, atol=1e-7)
    ones = sp.csr_array((np.ones(R.nnz), R.indices, R.indptr), shape=R.shape)
    assert ImplicitALS(factors=8, random_state=0).fit(ones).weighting_ == "ials"


def evenly(n_users, n_items, length, hits=0):
    """Histories of `length` items, of which all users share the first `hits`; the others are taken equally often."""
    rest = hits + np.arange(n_users * (length - hits)) % (n_items - hits)
    items = np.hstack([np.tile(np.arange(hits), (n_users, 1)), rest.reshape(n_users, -1)])
    return sp.csr_array((np.ones(items.size), (np.repeat(np.arange(n_users), length), items.ravel())))


@pytest.mark.parametrize(
    ("R", "total", "b", "s"),
    [
        (evenly(2000, 1000, 20), 75, 0.2, 1 / 20),
        (evenly(1000, 1000, 5), 150, 0.3, 0.15 * 0.02 / 0.32),  # 1 / 5 is .02 above .18
        (evenly(2000, 1000, 2), 150, 0.3, 0.15),
        (evenly(2000, 1000, 5, hits=2), 75, 0.2, 0.6),
        (evenly(2495, 1000, 22, hits=2), 75, 0.65 * 54_890**2 / (1000 * (2 * 2495**2 + 998 * 50**2)), 1 / 22),
        (evenly(500, 2500, 5), 150, 0.2, 0.15 * 0.02 / 0.32),  # each item once
    ],
    ids=["long", "short", "two each", "short, of bestsellers", "long, of bestsellers", "short, of unknown items"],
)
def test_the_lengths_of_histories_and_the_share_of_bestsellers_choose_weights_and_exponents(R, total, b, s):
    model = ImplicitALS(factors=2, iterations=1, random_state=0).fit(R)
    assert model.unobserved_weight_ == pytest.approx(total * R.nnz / (R.shape[0] * R.shape[1]))
    assert model.degree_normalization_ == pytest.approx((0.25, b))
    assert model.popularity_exponent_ == pytest.approx(s)


@pytest.mark.parametrize(
    ("length", "bestsellers", "rare", "even", "b", "s", "scanty"),
    [  # length: mean of 1 / n_u, from .1 (long) to .18 (short)
        (0.14, 0.0, 0.0, 1.0, 0.25, 0.05, 0),
        (0.14, 0.5, 0.0, 0.2, (0.13 + 0.25) / 2, 0.6 * 0.5 * 0.5, 0.7),
        (0.18, 0.5, 0.0, 0.2, 0.25, 0.3, 0.9),
        (0.18, 0.0, 0.06, 0.2, 0.24, 0.0, 0),
        (0.05, 1.0, 0.06, 0.2, 0.13, 0.05, 0.5),
        (0.1, 1.0, 0.5, 0.01, 0.1, 0.1, 1),
        (0.4, 0.0, 0.5, 0.2, 0.2, 0.15 * 0.22 / 0.32, 0.5),
    ],
)
def test_rules_change_gradually(length, bestsellers, rare, even, b, s, scanty):
    histories = rules._Histories(length, bestsellers, rare, even)
    assert (histories.item_exponent(), histories.popularity_exponent()) == pytest.approx((b, s))
    assert histories.scanty == pytest.approx(scanty)


@pytest.mark.parametrize(
    ("n_items", "share", "expected"),
    [(100, 0.2, 0), (2000, 0.01, 0), (1000, 0.065, 0.5), (2000, 0.1, 1), (100, 0.35, 0.5), (100, 0.4, 1)],
    ids=["few equal items", "many equal items", "half-way", "bestsellers", "few, half-way", "few, bestsellers"],
)
def test_bestsellers_have_a_large_share_and_more_than_equal_items_would_have(n_items, share, expected):
    n_i = np.full(n_items, 100.0)
    n_i[:20] = share / (1 - share) * n_i[20:].sum() / 20
    assert rules._Histories.of(np.full(10, 5.0), n_i).bestsellers == pytest.approx(expected)


def test_items_of_up_to_three_interactions_are_rare():
    assert rules._Histories.of(np.array([5.0]), np.array([1.0, 2.0, 3.0, 4.0, 10.0])).rare == pytest.approx(6 / 20)


@pytest.mark.parametrize("weighting", ["hu", "log", "proportional"])
def test_a_named_weighting_means_the_objective_of_its_paper(weighting):
    model = ImplicitALS(factors=4, weighting=weighting, iterations=1).fit(catalogue(60, 40, 0.2, counts=True))
    assert model.unobserved_weight_ == 1
    assert model.degree_normalization_ == (0, 0)
    assert model.popularity_exponent_ == 0
    assert min(model.regularization_) > 0


@pytest.mark.parametrize("scaling", ["none", "count", "ials"])
def test_lambda_of_the_mean_row_is_the_same_with_every_scaling(scaling):
    R = catalogue(200, 100, 0.1)
    model = ImplicitALS(factors=4, regularization_scaling=scaling, random_state=0, iterations=1).fit(R)
    n_u, n_i = np.diff(R.indptr), np.bincount(R.indices, minlength=100)
    w0 = model.unobserved_weight_
    scales = {"none": (1, 1), "count": (n_u, n_i), "ials": (n_u + w0 * 100, n_i + w0 * 200)}[scaling]
    means = [lam * np.mean(scale) for lam, scale in zip(model.regularization_, scales, strict=True)]
    histories = rules._Histories.of(n_u.astype(float), n_i[n_i > 0].astype(float))
    threshold = rules._threshold(Observed.of(model.interactions_), model._degrees, histories)
    np.testing.assert_allclose(means, [threshold * n_u.mean(), threshold * n_i[n_i > 0].mean()], rtol=1e-6)


def test_lambda_is_higher_where_histories_say_little_and_items_co_occur_by_chance():
    rng = np.random.default_rng(0)
    n_u, n_i = np.full(600, 2.0), np.full(400, 3.0)
    little, more = rules._Histories(0.5, 0.0, 0.0, 1.0), rules._Histories(0.05, 0.0, 0.0, 1.0)
    by_chance = sp.csr_array(rng.random((600, 400)) < 0.005)
    in_groups = sp.csr_array(sp.block_diag([np.ones((12, 8))] * 50) * 1.0)  # more alike than by chance
    one_group = sp.csr_array(rng.random((60, 40)) < 0.6)  # less
    ratios = []
    for R in (by_chance.astype(np.float64), in_groups, one_group.astype(np.float64)):
        observed = Observed.of(check_interactions("R", R, np.dtype("float64")))
        degrees = Degrees.of(observed, (0.25, 0.2), 0.0)
        ratios.append(rules._threshold(observed, degrees, little) / rules._threshold(observed, degrees, more))
    assert ratios == pytest.approx([1.35, 1, 1])
    assert rules._Histories.of(n_u, n_i).scanty == 1


def test_the_fourth_powers_of_the_singular_values_are_estimated():
    R = catalogue(300, 200, 0.1)
    d, e = (np.random.default_rng(n).uniform(0.5, 1, n)[:, None] for n in R.shape)
    singular = np.linalg.svd(d * R.toarray() * e.T, compute_uv=False)
    got = rules._fourth_powers(Observed.of(check_interactions("R", R, np.dtype("float64"))), lambda _: d[:, 0], e)
    assert got == pytest.approx((singular[1:] ** 4).sum(), rel=0.15)


def test_rows_without_interactions_change_no_choice():
    R = catalogue(200, 100, 0.1)
    padded = sp.csr_array((R.data, R.indices, np.append(R.indptr, np.full(50, R.indptr[-1]))), shape=(250, 140))
    plain, more = (ImplicitALS(factors=4, random_state=0, iterations=1).fit(rows) for rows in (R, padded))
    for name in ("unobserved_weight_", "degree_normalization_", "popularity_exponent_"):
        assert getattr(more, name) == pytest.approx(getattr(plain, name), rel=1e-6)


@pytest.mark.parametrize("rows", [sp.csr_array((5, 4)), sp.csr_array(np.eye(5, 4)), sp.csr_array(np.ones((5, 4)))],
                         ids=["nothing", "one each", "everything"])  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_interactions_without_information_are_fitted(rows, dtype):
    model = ImplicitALS(factors=3, random_state=0, dtype=dtype).fit(rows)
    assert np.isfinite(model.user_factors).all()
    assert np.isfinite(model.item_factors).all()
    assert model.recommend([0, 1], k=2, exclude_seen=False)[0].shape == (2, 2)


def test_a_single_dislike_hardly_changes_the_chosen_values():
    R = catalogue(300, 60, 0.2)
    one = R.copy()
    one.data[0] = -1
    plain, disliked = (ImplicitALS(factors=8, random_state=0).fit(rows) for rows in (R, one))
    for name in ("unobserved_weight_", "regularization_", "popularity_exponent_"):
        assert getattr(disliked, name) == pytest.approx(getattr(plain, name), rel=1e-3)
    assert disliked.weighting_ == "ials"
