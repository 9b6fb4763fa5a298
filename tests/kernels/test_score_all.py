"""Scores of all items: every implementation against exact sums, and against the scores that `top_k` returns."""

import re

import numpy as np
import pytest

from alternant import kernels as contract


def scores(kernels, X, Y, threads=2):
    out = np.full((len(X), len(Y)), 7, X.dtype)
    kernels.score_all(X, Y, out, threads)
    return out


@pytest.mark.parametrize("f", [1, 3, 17, 64])
@pytest.mark.parametrize("n", [1, 7, 256, 700])
def test_scores_are_dot_products(kernels, dtype, f, n):
    rng = np.random.default_rng(n + f)
    for m in (1, 3, 4, 70):  # alone, in a group, and in several blocks
        X, Y = (rng.integers(-3, 4, (rows, f)).astype(dtype) for rows in (m, n))
        np.testing.assert_array_equal(scores(kernels, X, Y), X @ Y.T)  # integers are exact


def test_a_score_has_the_same_bits_in_any_company_and_in_top_k(kernels, dtype):
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((rows, 37)).astype(dtype) for rows in (70, 300))
    together = scores(kernels, X, Y)
    for threads in (1, 8):
        assert scores(kernels, X, Y, threads).tobytes() == together.tobytes()
    alone = np.vstack([scores(kernels, X[u : u + 1], Y) for u in range(len(X))])
    assert alone.tobytes() == together.tobytes()
    assert scores(kernels, X, Y[:100]).tobytes() == np.ascontiguousarray(together[:, :100]).tobytes()
    ids, best = np.empty((len(X), 5), np.int32), np.empty((len(X), 5), dtype)
    kernels.top_k(X, Y, 5, None, None, ids, best, 2)
    if kernels.name != "numba":  # whose top_k adds four products at a time
        assert best.tobytes() == np.take_along_axis(together, ids, axis=1).tobytes()


def test_what_is_not_a_number_stays_so(kernels, dtype):
    X, Y = np.array([[1, np.nan], [np.inf, 0]], dtype), np.array([[0, 1], [1, 0]], dtype)
    out = scores(kernels, X, Y)
    assert np.isnan(out).tolist() == [[True, True], [True, False]]
    assert out[1, 1] == np.inf
    assert scores(kernels, X[:0], Y).shape == (0, 2)


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"queries": np.zeros((2, 4))}, ValueError, "items must have 4 columns (the number of factors), got 3"),
    ({"queries": np.zeros((2, 3), np.float32)}, TypeError, "queries must be a float64 array"),
    ({"out": np.zeros((2, 4))}, ValueError, "out must have shape (2, 5), got (2, 4)"),
    ({"out": np.zeros((2, 10))[:, ::2]}, ValueError, "out must be in C order"),
])  # fmt: skip
def test_what_would_crash_a_kernel_is_refused(change, error, message):
    given = {"queries": np.ones((2, 3)), "items": np.ones((5, 3)), "out": np.zeros((2, 5))}
    contract.score_all(**given)
    assert (given["out"] == 3).all()
    with pytest.raises(error, match=re.escape(message)):
        contract.score_all(**given | change)
