"""Dense tables of users x items, for every model."""

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import every_model, feedback, name_of, small

from alternant import EASE, ExplicitALS

M, N = 40, 25
rng = np.random.default_rng(0)
UTILITY = rng.standard_normal((M, 3)) @ rng.standard_normal((3, N))
KNOWN = rng.random((M, N)) < 0.5


def rows_for(model):
    return feedback(UTILITY, KNOWN, model.traits.feedback)


@pytest.fixture(params=every_model(), ids=name_of)
def fitted(request):
    return type(request.param)(**request.param.get_params()).fit(rows_for(request.param))


def bits(model):
    return model.user_factors.tobytes(), model.item_factors.tobytes()


def test_a_dense_table_is_the_sparse_matrix_of_its_entries(fitted):
    rows = rows_for(fitted)
    gap = 0 if fitted.traits.feedback == "implicit" else np.nan
    table = np.where(KNOWN, rows.toarray(), gap)
    masked = np.ma.masked_array(rows.toarray() + ~KNOWN, ~KNOWN)
    for dense in (table, table.tolist(), table.astype(object), table.astype(np.float16), masked):
        assert bits(type(fitted)(**fitted.get_params()).fit(dense)) == bits(fitted)
        for got, expected in zip(
            fitted.recommend(user_items=dense[:3], k=4), fitted.recommend(user_items=rows[:3], k=4), strict=True
        ):
            np.testing.assert_array_equal(got, expected)


def test_nan_in_a_dense_table_of_implicit_feedback_is_refused():
    table = np.where(KNOWN, rows_for(small(EASE)).toarray(), 0)
    table[2, 3] = np.nan
    with pytest.raises(ValueError, match="interactions must be finite in float32, got NaN at row 2, column 3"):
        small(EASE).fit(table)


@pytest.mark.parametrize("cls", [EASE, ExplicitALS])
def test_a_frame_is_refused_with_two_ways_to_pass_it(cls):
    frame = pytest.importorskip("pandas").DataFrame({"user": [1, 2], "item": [3, 4], "value": [1.0, 2.0]})
    with pytest.raises(TypeError, match=r"got DataFrame: pass alternant\.Interactions\.from_frame.*or .*to_numpy\(\)"):
        small(cls).fit(frame)


def test_one_weight_for_each_user_is_that_of_each_of_the_ratings():
    rows, weights = rows_for(small(ExplicitALS)), 1.0 + np.arange(M)
    each = sp.csr_array((np.repeat(weights, np.diff(rows.indptr)), rows.indices, rows.indptr), shape=rows.shape)
    expected = bits(small(ExplicitALS).fit(rows, sample_weight=each))
    for given in (weights, weights.tolist()):
        assert bits(small(ExplicitALS).fit(rows, sample_weight=given)) == expected
    with pytest.raises(ValueError, match="sample_weight must have a weight for each of 40 users, got 39 weights"):
        small(ExplicitALS).fit(rows, sample_weight=weights[1:])
    with pytest.raises(ValueError, match="sample_weight must be 0 or more and finite in float32, got -1"):
        small(ExplicitALS).fit(rows, sample_weight=-weights)
