"""LogisticMF: the probability of an interaction, from confidences and negatives."""

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import LogisticMF, Popularity
from alternant.data.csr import CSR
from alternant.datasets import load_msweb, planted
from alternant.evaluation import leave_one_out, random_split, ranking_metrics
from alternant.models.sgd import held_out

M, N = 12, 9
rng = np.random.default_rng(0)
COUNTS = sp.csr_array(rng.integers(1, 9, (M, N)) * (rng.random((M, N)) < 0.4) * 1.0)
WITH_DISLIKES = COUNTS.copy()
WITH_DISLIKES.data[::3] *= -1
STILL = {"learning_rate": 1e-13, "optimizer": "sgd", "epochs": 1, "dtype": "float64"}  # factors do not move


def fit(rows=COUNTS, **params):
    return LogisticMF(**{"factors": 4, "epochs": 3, "random_state": 0} | params).fit(rows)


def scores(model):
    return model.user_factors.astype(float) @ model.item_factors.T.astype(float)


def cross_entropy(p, z):
    return -p * np.log(1 / (1 + np.exp(-z))) - (1 - p) * np.log(1 / (1 + np.exp(z)))


# --- planted interactions ---------------------------------------------------------------------------------------------


@pytest.mark.many_steps
@pytest.mark.parametrize("params", [{}, {"weighting": "proportional"}, {"negatives": "full"}], ids=str)
def test_it_beats_popularity_on_planted_interactions(params):
    """NDCG@10 of one held-out interaction per user at least 1.5 times that of the popularity ranking."""
    train, test = leave_one_out(planted(400, 150, 4, random_state=0).interactions, random_state=0)
    models = Popularity().fit(train), LogisticMF(factors=8, random_state=0, **params).fit(train)
    popular, ours = (ranking_metrics(model.recommend(np.arange(400))[0], test).ndcg for model in models)
    assert ours > 1.5 * popular


@pytest.mark.nightly
@pytest.mark.many_steps
def test_few_interactions_do_not_bring_it_below_popularity_with_few_factors_either():
    """Of msweb, a quarter of the visits, 1.4 a visitor; with init_scale=0.5, 8 factors were 7 % below popularity."""
    thin = random_split(load_msweb().interactions, 0.25, random_state=0)[1]
    train, test = random_split(thin, 0.2, random_state=0)
    users = np.flatnonzero((np.diff(test.indptr) > 0) & (np.diff(train.indptr) > 0))

    def ndcg(model):
        return ranking_metrics(model.fit(train).recommend(users, k=20)[0], test[users]).ndcg

    popular, few, many = map(ndcg, (Popularity(), *(LogisticMF(factors=f, random_state=0) for f in (8, 32))))
    assert few > 1.03 * popular
    assert many > 0.98 * few


@pytest.mark.parametrize(("shape", "count", "scale"), [
    ((40, 10), 320, 0.5), ((10, 40), 160, 0.0625), ((40, 40), 40, 0.05), ((10, 40), 400, 0.5),
])  # fmt: skip
def test_the_start_is_as_small_as_the_rows_of_the_longer_side_are_short(shape, count, scale):
    """0.5 (d / 8)^3 between sqrt(factors) / 160 and 0.5, for d interactions of a row."""
    m, n = shape
    pairs = [(j % m, (j % m + j // m) % n) if m >= n else ((j % n + j // n) % m, j % n) for j in range(count)]
    rows = sp.csr_array((np.ones(count), tuple(zip(*pairs, strict=True))), shape=shape)
    assert rows.nnz == count
    model = fit(rows, factors=64, **STILL)
    assert (model.init_scale, model.regularization) == ("auto", "auto")
    assert model.init_scale_ == pytest.approx(scale)
    assert np.std([*model.user_factors[:, :64], *model.item_factors[:, :64]]) == pytest.approx(scale / 8, rel=0.1)
    named = fit(rows, factors=64, init_scale=model.init_scale_, regularization=model.regularization_, **STILL)
    assert named.item_factors.tobytes() == model.item_factors.tobytes()
    rows.resize((3 * m, 3 * n))  # rows and columns without any change nothing
    padded = fit(rows, factors=64, **STILL)
    assert (padded.init_scale_, padded.regularization_) == (model.init_scale_, model.regularization_)
    assert fit(rows, init_scale=0.3, **STILL).init_scale_ == 0.3


@pytest.mark.parametrize(("rows", "expected"), [
    (np.ones((61, 51)), 0.01), (np.ones((9, 3)), 0.01 * (50 / 4) ** 0.5), (np.eye(9), 0.04), (np.ones((9, 1)), 0.04),
])  # fmt: skip
def test_lambda_grows_where_interactions_have_little_company(rows, expected):
    """0.01 sqrt(50 / g), between 0.01 and 0.04: in a full table, g^2 is (m - 1)(n - 1)."""
    model = fit(sp.csr_array(rows), **STILL)
    assert model.regularization_ == pytest.approx((expected, expected))
    assert fit(sp.csr_array(rows), regularization=(0.3, 0.7), **STILL).regularization_ == (0.3, 0.7)
    objective = fit(sp.csr_array(rows), regularization=expected, **STILL).history_["objective"]
    assert model.history_["objective"] == pytest.approx(objective, rel=1e-12)


def test_lambda_that_a_fit_chose_holds_for_who_is_folded_in():
    model, named = fit(), fit(regularization=0.02)
    assert model.regularization_ != named.regularization_
    named.set_params(regularization=model.regularization_)
    for one in (model, named):
        one.user_factors, one.item_factors = np.ones((M, 6)), np.ones((N, 6))
    np.testing.assert_array_equal(model.fold_in_users(COUNTS), named.fold_in_users(COUNTS))
    loose = LogisticMF(factors=4).set_params(regularization=0.01)
    for one in (bare := LogisticMF(factors=4), loose):  # no fit: 0.01
        one.user_factors, one.item_factors = np.ones((M, 6)), np.ones((N, 6))
    np.testing.assert_array_equal(bare.fold_in_users(COUNTS), loose.fold_in_users(COUNTS))


# --- probabilities ----------------------------------------------------------------------------------------------------


def test_probabilities_are_finite_and_right_at_extreme_scores(dtype):
    model = LogisticMF(factors=1)
    z = np.array([-1e4, -700, -80, -1, 0, 1, 80, 700, 1e4])
    model.user_factors = np.array([[1, 0, 1]], dtype)
    model.item_factors = np.column_stack([z / 2, np.ones(9), z / 2]).astype(dtype)
    p = model.predict(0, np.arange(9))
    expected = np.array([np.exp(x) / (1 + np.exp(x)) if x < 0 else 1 / (1 + np.exp(-x)) for x in z])
    np.testing.assert_allclose(p, expected, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-38)
    assert p[0] == 0
    assert p[-1] == 1
    ids, best = model.recommend(0, 9, exclude_seen=False)
    np.testing.assert_array_equal(ids, np.arange(9)[::-1])  # by the scores, where probabilities are equal
    np.testing.assert_array_equal(best, p[::-1])


@pytest.mark.parametrize("size", [1e4, 1e6])
def test_steps_from_extreme_scores_stay_finite(kernels, monkeypatch, dtype, size):
    monkeypatch.setattr(LogisticMF, "_backend", lambda self: kernels)
    for optimizer in ("adagrad", "sgd"):
        model = LogisticMF(
            factors=1, optimizer=optimizer, regularization=0, bias_regularization=0, warm_start=True, epochs=2,
            learning_rate=0.01, dtype=dtype, random_state=0, validation_fraction=0.3,
        )  # fmt: skip
        model.user_factors = np.array([[1, 0, 1], [-1, 0, 1]], dtype)
        model.item_factors = np.array([[size, 1, 0], [-size, 1, 0], [0, 1, 0]], dtype)
        model.fit(sp.csr_array([[1.0, 1, 1], [1, -1, 1]]))
        assert np.isfinite(model.user_factors).all()
        assert np.isfinite(model.item_factors).all()
        assert np.isfinite(model.history_["objective"]).all()
        assert np.isfinite(model.history_["validation_log_loss"]).all()


def test_factors_hold_the_biases_as_columns(dtype):
    model = fit(dtype=dtype)
    assert (model.user_factors.shape, model.item_factors.shape) == ((M, 6), (N, 6))
    assert (model.user_factors[:, 5] == 1).all()
    assert (model.item_factors[:, 4] == 1).all()
    predictions = model.predict(np.arange(M)[:, None], np.arange(N))
    np.testing.assert_allclose(predictions, 1 / (1 + np.exp(-scores(model))), rtol=1e-5)
    assert model.mean_item_count_ == COUNTS.nnz / N


# --- objective --------------------------------------------------------------------------------------------------------

WEIGHTINGS = [
    ({}, lambda r: 0.2 * np.log(1 + r / 0.1)), ({"alpha": 3, "epsilon": 0.5}, lambda r: 3 * np.log(1 + r / 0.5)),
    ({"weighting": "proportional", "alpha": 0.5}, lambda r: 0.5 * r),
]  # fmt: skip


def dense_objective(model, rows, confidence, negatives):
    """The docstring's formula, over all pairs; `negatives` is the weight of a pair of (user, item) as a negative."""
    z, r = scores(model), rows.toarray()
    observed = np.where(r != 0, confidence(np.abs(r)) * cross_entropy(np.float64(r > 0), z), 0)
    x, y = model.user_factors[:, :4], model.item_factors[:, :4]
    b, c = model.user_factors[:, 4], model.item_factors[:, 5]
    lam_x, lam_y, lam_b = 0.3, 0.7, 0.2
    squares = np.add.outer(lam_x * (x**2).sum(axis=1) + lam_b * b**2, lam_y * (y**2).sum(axis=1) + lam_b * c**2)
    steps = (r != 0) + negatives
    data = observed.sum() + (negatives * cross_entropy(0, z)).sum()
    return data, data + (steps * squares).sum() / 2


@pytest.mark.parametrize("rows", [COUNTS, WITH_DISLIKES], ids=["counts", "dislikes"])
@pytest.mark.parametrize(("params", "confidence"), WEIGHTINGS)
@pytest.mark.parametrize("negatives", ["full", 0])
def test_the_objective_is_the_dense_formula(rows, params, confidence, negatives):
    model = fit(rows, epochs=5, warm_start=True, negatives=negatives)
    model.set_params(**STILL, **params, regularization=(0.3, 0.7), bias_regularization=0.2).fit(rows)
    data, whole = dense_objective(model, rows, confidence, np.full((M, N), float(negatives == "full")))
    assert model.history_["objective"] == pytest.approx([whole], rel=1e-9)
    assert model.history_["train_log_loss"] == pytest.approx([data / rows.nnz], rel=1e-9)


def test_the_sampled_objective_is_that_of_its_expectation():
    """Over 300 epochs of factors that stay: within 4 standard errors of each pair's share of negatives."""
    model = fit(epochs=5, warm_start=True, init_scale=1)
    still = STILL | {"epochs": 300, "negatives": 3, "regularization": (0.3, 0.7), "bias_regularization": 0.2}
    model.set_params(**still).fit(COUNTS)
    share = 3 * np.diff(COUNTS.indptr)[:, None] / N * np.ones(N)
    expected = dense_objective(model, COUNTS, lambda r: 0.2 * np.log(1 + r / 0.1), share)[1]
    objective = np.array(model.history_["objective"])
    assert len(np.unique(objective)) > 290  # a new sample in each epoch
    assert abs(objective.mean() - expected) < 4 * objective.std() / np.sqrt(300)


def test_dislikes_have_preference_zero():
    rows = sp.csr_array(np.array([[4.0, -4], [4, -4], [4, -4]]))
    model = fit(rows, epochs=100, negatives=0, init_scale=0.5, regularization=0.01)
    p = model.predict([[0], [1], [2]], [0, 1])
    assert (p[:, 0] > 0.9).all()
    assert (p[:, 1] < 0.1).all()
    assert model._truth(model.interactions_).tolist() == [1, 0] * 3


def test_alpha_is_the_weight_of_what_was_observed():
    """Against one negative for each: at its optimum, p / (1 - p) of a pair is its confidence over its negatives."""
    rows = sp.csr_array(np.ones((3, 2)))
    for alpha in (0.5, 1, 4):
        model = fit(rows, alpha=alpha, weighting="proportional", negatives="full", optimizer="sgd", learning_rate=0.02,
                    learning_rate_decay=1.0, regularization=0, bias_regularization=0, epochs=1500)  # fmt: skip
        np.testing.assert_allclose(model.predict([[0], [1], [2]], [0, 1]), alpha / (1 + alpha), atol=0.02)


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
@pytest.mark.parametrize("negatives", [2, "full"])
def test_both_optimizers_bring_the_objective_down(optimizer, negatives):
    rate = 0.1 if optimizer == "adagrad" else 0.02
    model = fit(optimizer=optimizer, negatives=negatives, learning_rate=rate, epochs=60)
    assert model.history_["objective"][-1] < 0.95 * model.history_["objective"][0]


@pytest.mark.parametrize("params", [{"alpha": 1e39}, {"alpha": 1e38, "weighting": "proportional"}])
def test_confidences_beyond_the_dtype_are_refused(params):
    model = fit()
    before = model.user_factors.tobytes()
    message = r"confidences must be finite in float32, but overflow with alpha=1e\+3\d .*: lower alpha"
    with pytest.raises(ValueError, match=message):
        model.set_params(**params).fit(COUNTS)
    assert model.user_factors.tobytes() == before


@pytest.mark.parametrize(("name", "value"), [
    ("alpha", -1), ("epsilon", 0), ("weighting", "hu"), ("negatives", -1), ("negatives", "all"), ("negatives", 1.5),
    ("negatives", None), ("optimizer", "adam"), ("regularization", -1), ("regularization", (1, 2, 3)),
    ("bias_regularization", -1), ("bias_regularization", (1, 2)),
    ("regularization", "some"), ("init_scale", "some"), ("init_scale", 0), ("init_scale", None),
])  # fmt: skip
def test_wrong_parameters_are_refused_by_name(name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
        LogisticMF(**{name: value})


# --- held-out interactions --------------------------------------------------------------------------------------------


def test_the_validation_loss_is_the_log_loss_of_pairs_and_as_many_negatives(dtype, monkeypatch):
    pairs, of_fit = [], LogisticMF._held_out
    monkeypatch.setattr(LogisticMF, "_held_out", lambda *args: pairs.append(of_fit(*args)) or pairs[-1])
    monkeypatch.setattr(held_out, "NUMBERS", 40)  # in several blocks
    losses = []

    def measure(state):
        rows = pairs[0].rows
        users, items = rows.positions()
        z = state.user_factors.astype(float) @ state.item_factors.T.astype(float)
        of_pairs = cross_entropy((rows.data > 0) * 1, z[users, items]), cross_entropy(0, z[users, pairs[0].others])
        losses.append(np.concatenate(of_pairs).mean())

    model = LogisticMF(factors=4, epochs=5, random_state=0, dtype=dtype, validation_fraction=0.3)
    model.fit(WITH_DISLIKES, callback=measure)
    rows, others = pairs[0].rows, pairs[0].others
    assert len(rows.data) == len(others) == round(0.3 * COUNTS.nnz)
    np.testing.assert_array_equal(rows.data, WITH_DISLIKES.toarray().astype(dtype)[rows.positions()])
    assert {*others.tolist()} <= {*range(N)}
    assert len({*others.tolist()}) > N / 2
    np.testing.assert_allclose(model.history_["validation_log_loss"], losses, rtol=1e-6)


def test_the_validation_loss_is_exact_where_a_probability_rounds_to_one():
    model = LogisticMF(factors=1)
    X, Y = np.array([[1, 0, 1]], np.float32), np.array([[30, 1, 0], [-200, 1, 0]], np.float32)
    rows = CSR.of(np.array([0, 2]), np.array([0, 1]), np.ones(2), (1, 2))
    held = held_out.HeldOut(rows, np.array([0, 1], np.int32))
    assert model._validation_loss(X, Y, {}, held) == pytest.approx(230 / 4, rel=1e-12)


# --- fold-in ----------------------------------------------------------------------------------------------------------


def test_items_fold_in_only_after_a_fit():
    model = LogisticMF(factors=1)
    model.user_factors, model.item_factors = np.ones((M, 3)), np.ones((N, 3))
    assert model.fold_in_users(COUNTS).shape == (M, 3)
    with pytest.raises(ValueError, match=r"folding in items needs the number of interactions per item, .*: call fit"):
        model.fold_in_items(COUNTS.T)


def test_a_user_who_is_folded_in_draws_the_same_negatives_in_any_company():
    model = fit(COUNTS)
    users, items = model.fold_in_users(COUNTS), model.fold_in_items(COUNTS.T.tocsr())
    order = np.random.default_rng(3).permutation(M)[:7]
    np.testing.assert_array_equal(model.fold_in_users(COUNTS[order]), users[order])
    np.testing.assert_array_equal(model.fold_in_items(COUNTS.T.tocsr()[[5, 2]]), items[[5, 2]])


def test_a_zero_is_no_interaction_and_duplicates_add_up():
    rows = sp.coo_array(([1.0, 0, 2, 3], ([0, 0, 1, 1], [0, 1, 1, 1])), shape=(2, 2))
    model = fit(rows)
    assert model.interactions_.data.tolist() == [1, 5]
    assert model.mean_item_count_ == 1
    assert model.fit(rows.toarray()).interactions_.data.tolist() == [1, 5]
