"""TF-IDF and BM25 against their formulas, entry by entry."""

import math

import numpy as np
import pytest
import scipy.sparse as sp

from alternant.data import bm25_weight, tfidf_weight

X = np.array([[3.0, 0, 1], [0, 2, 4], [0, 0, 0], [5, 0, 2]])
COUNTS = [2, 1, 3]  # entries of the columns


def test_tfidf_is_the_root_of_a_count_times_the_logarithm_of_rarity():
    weights = tfidf_weight(X)
    assert weights.format == "csr"
    for i, j in np.argwhere(X == 0):
        assert weights[i, j] == 0
    for i, j in np.argwhere(X):
        assert weights[i, j] == pytest.approx(math.sqrt(X[i, j]) * math.log(4 / (1 + COUNTS[j])))


@pytest.mark.parametrize(("K1", "B"), [(1.2, 0.75), (100, 0.8), (0, 0.5), (2, 0)])
def test_bm25_saturates_by_count_and_by_length(K1, B):
    weights, lengths = bm25_weight(X, K1, B), X.sum(axis=1)
    for i, j in np.argwhere(X):
        damping = K1 * (1 - B + B * lengths[i] / lengths.mean())
        expected = X[i, j] * (K1 + 1) / (damping + X[i, j]) * math.log(4 / (1 + COUNTS[j]))
        assert weights[i, j] == pytest.approx(expected)


def test_the_input_may_have_any_format_and_is_not_changed():
    twice = sp.coo_matrix(([1.0, 2, 1, 0], ([0, 0, 1, 2], [0, 0, 2, 1])), shape=(4, 3))
    before = twice.data.copy()
    for weight in (tfidf_weight, bm25_weight):
        np.testing.assert_array_equal(weight(twice).toarray(), weight(twice.toarray()).toarray())
        assert weight(twice).nnz == 2
        assert weight(sp.csr_array((3, 2))).shape == (3, 2)
    np.testing.assert_array_equal(twice.data, before)


def test_bytes_are_summed_as_numbers_and_no_rows_are_no_error():
    twice = sp.coo_array((np.array([100, 100], np.int8), ([0, 0], [1, 1])), shape=(3, 2))
    assert tfidf_weight(twice)[0, 1] == pytest.approx(math.sqrt(200) * math.log(3 / 2))
    for weight in (tfidf_weight, bm25_weight):
        assert weight(sp.csr_array((0, 3))).shape == (0, 3)


def damaged():
    matrix = sp.csr_array(X)
    matrix.indices[0] = 50
    return matrix


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: tfidf_weight(-X), ValueError, "X must hold counts of at least 0, got -5"),
    (lambda: bm25_weight(np.array([[np.nan]])), ValueError, "X must be finite in float64, got NaN at row 0"),
    (lambda: bm25_weight(X, -1), ValueError, "K1 must be at least 0"),
    (lambda: bm25_weight(X, B=1.5), ValueError, "B must be at most 1, got 1.5"),
    (lambda: bm25_weight(X, B="1"), TypeError, "B must be a number, got '1'"),
    (lambda: tfidf_weight([1, 2]), ValueError, "X must have 2 dimensions"),
    (lambda: tfidf_weight(damaged()), ValueError, r"X\.indices must lie between 0 and 2, got 50"),
])  # fmt: skip
def test_what_is_no_matrix_of_counts_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
