"""`ImplicitALS` without regularization: where the data do not determine a row, the solution of minimum norm."""

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ImplicitALS

WEIGHTINGS = ["hu", "proportional", "ials", "ials-log"]
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}


def data(seed=0, shape=(30, 12)):
    R = sp.random_array(shape, density=0.3, format="csr", rng=np.random.default_rng(seed))
    R.data = 1 + np.floor(5 * R.data)
    return R


def model_of(weighting="hu", **params):
    exact = {"tol": 1e-8, "max_cg_steps": 200, "acceleration": None}
    return ImplicitALS(
        weighting=weighting, alpha=2.0, epsilon=1.0, unobserved_weight=0.4, regularization=0, degree_normalization=0,
        popularity_exponent=None, random_state=0, **(exact | params),
    )  # fmt: skip


def minimum_norm(R, Y, weighting):
    """Solve the normal equations of every row by the pseudo-inverse, in float64."""
    R, Y = R.toarray(), Y.astype(np.float64)
    c = {
        "hu": 1 + 2 * R, "proportional": 2 * R, "ials": 1.4 * (R > 0), "ials-log": 1.4 + 2 * np.log1p(R)
    }[weighting]  # fmt: skip
    t = c - 0.4 if weighting in ("ials", "ials-log") else c  # w0 is on all pairs, with preference 0
    c, t = np.where(R > 0, c, 0.4), np.where(R > 0, t, 0)
    return np.stack([np.linalg.pinv(Y.T @ (w[:, None] * Y), 1e-10, hermitian=True) @ Y.T @ b for w, b in zip(c, t)])  # noqa: B905


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_rows_are_solved_as_by_the_pseudo_inverse(weighting, solver, dtype):
    R = data()
    model = model_of(weighting, factors=20, solver=solver, dtype=dtype, iterations=2).fit(R)
    assert np.linalg.matrix_rank(model.user_factors, 1e-3) < 20  # the 12 items leave directions open
    np.testing.assert_allclose(
        model.item_factors, minimum_norm(R.T.tocsr(), model.user_factors, weighting), atol=TOLERANCE[dtype]
    )
    expected = minimum_norm(R, model.item_factors, weighting)
    np.testing.assert_allclose(model.fold_in_users(R), expected, atol=TOLERANCE[dtype])


def test_a_starting_point_outside_the_span_of_the_other_side_is_forgotten():
    R, rng = data(), np.random.default_rng(1)
    X, Y = rng.standard_normal((30, 20)), rng.standard_normal((12, 20))
    model_of().half_sweep(R, X, Y)
    np.testing.assert_allclose(X, minimum_norm(R, Y, "hu"), atol=1e-9)


def test_the_objective_never_rises_and_is_that_of_an_infinitesimal_regularization():
    R = data(shape=(60, 25))
    few = model_of(factors=8, dtype="float64", iterations=10, acceleration="nesterov").fit(R)
    history = np.array(few.history_["objective"])
    assert (np.diff(history) <= 1e-9 * history[0]).all()
    free, regularized = (model_of(factors=40, dtype="float64", solver="cholesky", iterations=3) for _ in range(2))
    free.fit(R)
    regularized.set_params(regularization=1e-10).fit(R)
    np.testing.assert_allclose(free.item_factors, regularized.item_factors, atol=1e-5)


def test_items_that_nobody_has_leave_all_other_rows_as_they_are():
    R = data()
    empty = sp.hstack([R, sp.csr_array((30, 3))]).tocsr()
    params = {"factors": 20, "dtype": "float64", "solver": "cholesky", "iterations": 1}
    model = model_of(**params).fit(empty)
    assert (model.item_factors[12:] == 0).all()
    assert np.isfinite(model.user_factors).all()
