"""BiasedMF learns ratings on any scale with one learning rate and one regularization."""

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import BiasedMF


def ratings():
    """Ratings from 1 to 5 with a deviation near 1 that two planted factors explain in part."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(60, 2)), rng.normal(size=(40, 2))
    table = np.clip(3 + 0.7 * users @ items.T + 0.3 * rng.normal(size=(60, 40)), 1, 5)
    return sp.coo_array(np.where(rng.random(table.shape) < 0.5, table, 0)).astype(np.float64)


def predictions(matrix, **params):
    model = BiasedMF(factors=4, dtype="float64", random_state=0, **params).fit(matrix)
    return model.predict(matrix.row, matrix.col)


@pytest.mark.parametrize("rating_range", [None, (0, 6)])
def test_four_times_the_ratings_give_four_times_the_predictions(rating_range):
    """A power of 2 scales every number of the fit without rounding."""
    wide_range = None if rating_range is None else (0, 24)
    wide = predictions(4 * ratings(), rating_range=wide_range)
    np.testing.assert_array_equal(wide, 4 * predictions(ratings(), rating_range=rating_range))


def test_the_history_is_in_units_of_the_ratings():
    narrow, wide = (BiasedMF(random_state=0).fit(scale * ratings()).history_ for scale in (1, 4))
    np.testing.assert_allclose(wide["train_rmse"], 4 * np.array(narrow["train_rmse"]), rtol=1e-6)
    np.testing.assert_allclose(wide["objective"], 16 * np.array(narrow["objective"]), rtol=1e-6)


def test_a_user_folded_in_has_the_same_factors_on_every_scale():
    matrix = ratings().tocsr()
    narrow, wide = (
        BiasedMF(random_state=0).fit(scale * matrix[1:]).fold_in_users(scale * matrix[:1]) for scale in (1, 4)
    )
    np.testing.assert_array_equal(wide, narrow)
    assert (narrow[:, :-1] != 0).all()


def test_equal_ratings_are_fitted_although_their_deviation_is_zero():
    matrix = sp.coo_array(np.full((3, 3), 4.0))
    model = BiasedMF(random_state=0).fit(matrix)
    assert model.deviation_ == 0
    np.testing.assert_allclose(model.predict(matrix.row, matrix.col), 4, atol=0.01)
