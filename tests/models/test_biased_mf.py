"""BiasedMF: ratings with biases, in a range or not; what is missing never enters."""

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import BiasedMF

M, N = 30, 20
rng = np.random.default_rng(0)
KNOWN = rng.random((M, N)) < 0.5
TABLE = np.where(KNOWN, rng.integers(1, 6, (M, N)), np.nan)
RATINGS = sp.coo_array((TABLE[KNOWN], np.nonzero(KNOWN)), shape=(M, N))


def fit(rows=RATINGS, **params):
    return BiasedMF(**{"factors": 4, "epochs": 3, "random_state": 0} | params).fit(rows)


def bits(model):
    return model.user_factors.tobytes(), model.item_factors.tobytes()


def everything(model):
    return model.predict(np.arange(M)[:, None], np.arange(N))


# --- planted ratings --------------------------------------------------------------------------------------------------


def planted_ratings():
    """300 x 200 ratings of known biases, rank 3 and noise 0.3: a quarter to learn from, a tenth to test."""
    rng = np.random.default_rng(1)
    m, n = 300, 200
    truth = 3 + 0.4 * rng.standard_normal((m, 1)) + 0.4 * rng.standard_normal(n)
    truth = truth + rng.standard_normal((m, 3)) @ rng.standard_normal((3, n)) / np.sqrt(3)
    ratings = np.clip(truth + 0.3 * rng.standard_normal((m, n)), 0.5, 5.5)
    part = rng.random((m, n))
    return ratings, part < 0.25, part > 0.9


def mean_and_biases(ratings, train):
    """The least-squares mean, user and item biases, ridge 1: what there is to beat."""
    mean = ratings[train].mean()
    b, c = np.zeros(len(ratings)), np.zeros(ratings.shape[1])
    for _ in range(20):
        b = np.where(train, ratings - mean - c, 0).sum(axis=1) / (1 + train.sum(axis=1))
        c = np.where(train, ratings - mean - b[:, None], 0).sum(axis=0) / (1 + train.sum(axis=0))
    return mean + b[:, None] + c


@pytest.mark.many_steps
@pytest.mark.parametrize("params", [{}, {"rating_range": (0, 6), "learning_rate": 0.02}], ids=["dot", "range"])
def test_it_beats_mean_and_biases_on_planted_ratings(params):
    """RMSE on held-out ratings at most 0.6 of that of the biases."""
    ratings, train, test = planted_ratings()
    baseline = np.sqrt(np.mean((mean_and_biases(ratings, train) - ratings)[test] ** 2))
    model = BiasedMF(factors=8, epochs=80, learning_rate_decay=0.99, random_state=0, **params)
    model.fit(np.where(train, ratings, np.nan))
    rmse = np.sqrt(np.mean((model.predict(*np.nonzero(test)) - ratings[test]) ** 2))
    assert rmse < 0.6 * baseline


@pytest.mark.many_steps
def test_held_out_ratings_stop_it_before_it_overfits():
    ratings, train, test = planted_ratings()
    params = {"factors": 8, "epochs": 150, "regularization": 0, "bias_regularization": 0, "learning_rate": 0.05,
              "learning_rate_decay": 1.0, "random_state": 0}  # fmt: skip
    rows = np.where(train, ratings, np.nan)
    stopped = BiasedMF(validation_fraction=0.1, early_stopping=0.0, **params).fit(rows)
    losses = stopped.history_["validation_rmse"]
    assert stopped.n_iter_ < 150
    assert losses[-4] == min(losses)

    def error(model):
        return np.sqrt(np.mean((model.predict(*np.nonzero(test)) - ratings[test]) ** 2))

    assert error(stopped) < 0.95 * error(BiasedMF(**params).fit(rows))


# --- factors and predictions ------------------------------------------------------------------------------------------


def test_the_factors_hold_the_biases_as_columns(dtype):
    model = fit(dtype=dtype)
    assert model.mean_ == pytest.approx(np.nanmean(TABLE), rel=1e-12)
    assert (model.user_factors.shape, model.item_factors.shape) == ((M, 6), (N, 6))
    assert (model.user_factors[:, 5] == 1).all()
    assert (model.item_factors[:, 4] == 1).all()
    x, y = model.user_factors[:, :4].astype(float), model.item_factors[:, :4].astype(float)
    b, c = model.user_factors[:, 4].astype(float), model.item_factors[:, 5].astype(float)
    assert 0 < np.abs(b).max() < 1
    scores = b[:, None] + c + x @ y.T
    np.testing.assert_allclose(everything(model), model.mean_ + model.deviation_ * scores, rtol=2e-6)


@pytest.mark.parametrize("bounds", [(1, 5), (-3, -0.8), (-0.3, 1.1), (0, 1e6)])
def test_predictions_never_leave_the_range(bounds, dtype):
    low, high = bounds
    rows = RATINGS.copy()
    rows.data[:2] = low, high  # the ends themselves are ratings
    rows.data[2:] = np.clip(rows.data[2:], low, high)
    model = fit(rows, rating_range=bounds, dtype=dtype, learning_rate=1e-3)
    model.user_factors = model.user_factors * np.array(1e9, dtype)  # scores far beyond what the sigmoid tells apart
    predictions = everything(model)
    assert ((predictions >= low) & (predictions <= high)).all()
    ids, best = model.recommend(np.arange(M), N, exclude_seen=False)
    assert (ids >= 0).all()
    assert ((best >= low) & (best <= high)).all()
    assert (np.minimum(predictions - low, high - predictions) <= 1e-6 * (high - low)).all()  # at its very ends
    assert ((predictions.astype(float) >= low) & (predictions.astype(float) <= high)).all()  # float32 has no 1.1
    folded = model.recommend(None, 3, user_items=rows)[1]
    assert ((folded >= low) & (folded <= high)).all()


def test_without_a_range_predictions_are_the_score_itself_and_a_range_cuts_them_off():
    model, bounded = fit(dtype="float64"), fit(dtype="float64", rating_range=(1, 5))
    assert bits(bounded) == bits(model)
    assert bounded.mean_ == pytest.approx(np.nanmean(TABLE))
    scores = model.mean_ + model.deviation_ * (model.user_factors @ model.item_factors.T)
    np.testing.assert_allclose(everything(model), scores, rtol=1e-12)
    np.testing.assert_allclose(everything(bounded), np.clip(scores, 1, 5), rtol=1e-12)
    for one in (model, bounded):
        one.user_factors = 9 * one.user_factors
    assert (everything(model) > 5).any()
    assert (everything(model) < 1).any()
    np.testing.assert_array_equal(  # by what lies behind, where ends are equal
        bounded.recommend(np.arange(M), N)[0], model.recommend(np.arange(M), N)[0]
    )


@pytest.mark.many_steps
@pytest.mark.parametrize("bounds", [(1, 5), (0.5, 5.5), (-100, 100)], ids=str)
def test_a_range_never_costs_accuracy(bounds):
    """On stars from 1 to 5: a sigmoid between the two, which its ends can never reach, costs a third here."""
    ratings, train, test = planted_ratings()
    stars = np.clip(np.round(3.5 + 1.3 * (ratings - 3)), 1, 5)
    rows = np.where(train, stars, np.nan)

    def rmse(rating_range):
        model = BiasedMF(factors=8, random_state=0, rating_range=rating_range).fit(rows)
        return np.sqrt(np.mean((model.predict(*np.nonzero(test)) - stars[test]) ** 2))

    assert rmse(bounds) <= rmse(None) * (1 + 1e-6)


def test_ratings_at_one_end_of_the_range_alone_are_learned_without_infinities():
    model = fit(np.full((6, 5), 5.0), rating_range=(1, 5), epochs=30)
    predictions = model.predict(np.arange(6)[:, None], np.arange(5))
    assert (predictions > 4.9).all()
    assert (predictions <= 5).all()


@pytest.mark.parametrize("value", [0.4, 5.6, -1, 1e30])
def test_ratings_outside_the_range_are_refused(value):
    model = fit(rating_range=(0.5, 5.5))
    before, wrong = bits(model), TABLE.copy()
    wrong[3, 4] = value
    message = r"rating_range must cover the ratings, but {} range from .*: widen rating_range=\(0\.5, 5\.5\), or set"
    for name, call in (
        ("interactions", lambda: model.fit(wrong)), ("validation", lambda: model.fit(TABLE, validation=wrong)),
        ("user_items", lambda: model.fold_in_users(wrong)), ("item_users", lambda: model.fold_in_items(wrong.T)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message.format(name)):
            call()
        assert bits(model) == before


@pytest.mark.parametrize("value", [(1,), (1, 2, 3), 5, "15", (5, 1), (1, 1), (1, np.inf), (np.nan, 5), ("1", "5")])
def test_a_range_that_is_none_is_refused(value):
    with pytest.raises((TypeError, ValueError), match=r"^rating_range must be "):
        BiasedMF(rating_range=value)


# --- what is missing --------------------------------------------------------------------------------------------------


def test_changing_what_is_missing_changes_nothing():
    """NaN, or any marker; and a sparse table of what is known."""
    expected = bits(fit())
    assert bits(fit(TABLE)) == expected
    for marker in (0, -1, 99, np.inf):
        marked = np.where(KNOWN, TABLE, marker)
        marked[0, ~KNOWN[0]] = np.nan  # NaN is missing with every marker
        assert bits(fit(marked, missing_value=marker)) == expected
    payload = TABLE.copy()
    payload[~KNOWN] = np.frombuffer(np.int64(-1).tobytes(), float)[0]  # another NaN
    assert bits(fit(payload)) == expected


def test_a_stored_zero_is_a_rating_unless_zero_marks_what_is_missing():
    rows = sp.csr_array(([4.0, 0, 5, 0], ([0, 0, 1, 2], [0, 1, 1, 0])), shape=(3, 2))
    assert fit(rows).mean_ == 2.25
    assert fit(rows).interactions_.data.tolist() == [4, 0, 5, 0]
    assert fit(rows, missing_value=0).mean_ == 4.5
    model = fit(rows, learning_rate=0.1, epochs=60)
    assert model.predict(0, 1) < 1.5 < model.predict(0, 0)
    ids, _ = model.recommend([0, 1, 2], 2)
    assert ids.tolist() == [[-1, -1], [0, -1], [1, -1]]


def test_a_table_of_zeros_marked_missing_has_nothing_to_learn_from():
    with pytest.raises(ValueError, match=r"must contain at least one known pair, got none in shape \(3, 2\)"):
        fit(np.zeros((3, 2)), missing_value=0)


def test_a_pair_rated_twice_is_refused():
    rows = sp.coo_array(([4.0, 5], ([1, 1], [0, 0])), shape=(2, 2))
    with pytest.raises(ValueError, match=r"must hold each pair once, but row 1, column 0 occurs 2 times"):
        fit(rows)


@pytest.mark.parametrize("value", [None, "0", True, [0]])
def test_a_marker_that_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="missing_value must be a number or NaN, got "):
        BiasedMF(missing_value=value)


# --- terms of the objective -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [None, (0, 6)])
def test_the_objective_is_the_papers(bounds):
    """Of factors that hardly move while it is summed up."""
    params = {"regularization": (0.3, 0.7), "bias_regularization": 0.2, "learning_rate": 1e-13, "dtype": "float64"}
    model = fit(rating_range=bounds, epochs=1, warm_start=True)
    model.set_params(**params, epochs=1).fit(RATINGS)
    x, y = model.user_factors[:, :4], model.item_factors[:, :4]
    b, c = model.user_factors[:, 4], model.item_factors[:, 5]
    squares = np.add.outer(0.3 * (x**2).sum(axis=1) + 0.2 * b**2, 0.7 * (y**2).sum(axis=1) + 0.2 * c**2)
    errors = (everything(model) - TABLE)[KNOWN]
    assert model.history_["objective"] == pytest.approx(
        [(errors**2).sum() + model.deviation_**2 * squares[KNOWN].sum()], rel=1e-9
    )
    assert model.history_["train_rmse"] == pytest.approx([np.sqrt(np.mean(errors**2))], rel=1e-9)


def test_regularization_of_one_side_shrinks_that_side():
    def norms(**params):
        model = fit(epochs=30, learning_rate=0.05, **params)
        return [np.linalg.norm(side[:, :4]) for side in (model.user_factors, model.item_factors)]

    users, items = norms(regularization=(1.0, 0.0)), norms(regularization=(0.0, 1.0))
    assert users[0] < 0.7 * items[0]
    assert items[1] < 0.7 * users[1]
    biases = [np.std(fit(epochs=30, bias_regularization=value).user_factors[:, 4]) for value in (0, 10)]
    assert biases[1] < 0.3 * biases[0]


def test_factors_set_by_hand_predict_and_fold_in():
    model = BiasedMF(factors=2, epochs=3000, learning_rate_decay=1, regularization=0, bias_regularization=0)
    model.user_factors = np.array([[1.0, 0, 3, 1], [0, 1, 4, 1]])
    model.item_factors = np.array([[1.0, 0, 1, 0.5], [0, -1, 1, 0], [0.5, 0.5, 1, -0.5]])
    expected = model.user_factors @ model.item_factors.T
    np.testing.assert_allclose(model.predict([[0], [1]], [0, 1, 2]), expected)
    folded = model.fold_in_users(expected)
    np.testing.assert_allclose(folded @ model.item_factors.T, expected, atol=0.1)
