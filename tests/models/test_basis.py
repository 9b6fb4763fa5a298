"""The coordinates that make the dense part of the row problems diagonal."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ImplicitALS
from alternant.kernels import active_backend
from alternant.models.als import basis as _basis
from alternant.models.als.basis import Basis
from alternant.models.als.half_sweep import half_sweep
from alternant.models.als.problems import RowProblems
from alternant.models.als.solver import Solver

TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}


def factors(rows, f, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, f)).astype(dtype)


def rows_of(common_lambda):
    """Two rows of one lambda, or any rows."""
    if common_lambda is None:
        return None
    nothing = np.zeros(0)
    return RowProblems(np.zeros(3, np.int64), nothing, nothing, nothing, np.full(2, common_lambda), "user")


def solver(num_threads=2):
    return Solver(active_backend(), "cg", 0.1, 10, num_threads)


@pytest.mark.parametrize("f", [3, 16, 70])
@pytest.mark.parametrize("common_lambda", [None, 0.5])
@pytest.mark.parametrize("padded", [False, True])
def test_predictions_do_not_change_and_the_dense_part_is_diagonal(f, common_lambda, padded, dtype):
    X, Y = factors(300, f, dtype), factors(500, f, dtype, seed=1)
    basis = Basis.of(Y, 0.25, solver(), rows_of(common_lambda), padded=padded)
    assert (basis.lambda_scale == 0) == (common_lambda is not None)
    columns = len(basis.diagonal)
    assert columns == (f if not padded else -(-f * dtype(0).itemsize // 64) * 64 // dtype(0).itemsize)
    rotated, back = np.empty((300, columns), dtype), np.empty_like(X)
    basis.forward(X, rotated, solver())
    basis.inverse(rotated, back, solver())
    tolerance = TOLERANCE[np.dtype(dtype)]
    np.testing.assert_allclose(back, X, rtol=0, atol=tolerance)
    wide = X.astype(np.float64)
    scores = wide @ Y.T
    np.testing.assert_allclose(rotated @ basis.factors.T, scores, rtol=0, atol=f * tolerance)
    quadratic = 0.25 * (scores**2).sum(1) + (common_lambda or 0) * (wide**2).sum(1)
    np.testing.assert_allclose((rotated.astype(np.float64) ** 2) @ basis.diagonal, quadratic, rtol=10 * tolerance)


def test_a_cholesky_factor_that_would_lose_digits_is_not_used():
    Y = factors(400, 8, np.float32) * np.logspace(0, -6, 8, dtype=np.float32)
    for fixed, common_lambda, used in (
        (Y, 1e-9, False),
        (Y.astype(np.float64), 1e-9, True),
        (Y, 1.0, True),
        (np.repeat(factors(400, 4), 2, axis=1), 0.0, False),  # singular
        (np.zeros((5, 3)), 0.0, False),
    ):
        basis = Basis.of(fixed, 1.0, solver(), rows_of(common_lambda))
        assert (basis.lambda_scale == 0) == used


def test_a_cholesky_factor_of_many_columns_is_used_and_as_accurate_as_eigenvectors(monkeypatch):
    """Its condition number by norms of columns grows with f, whatever the digits."""
    rng = np.random.default_rng(0)
    f = 256
    spread = np.logspace(0, -2.5, f) * np.linalg.qr(rng.standard_normal((f, f)))[0].T
    Y = factors(600, f) @ spread.T
    R = sp.random_array((60, 600), density=0.05, format="csr", rng=rng)
    exact = Solver(active_backend(), "cg", 1e-7, 400, 2)

    def scores(dtype, used):
        row_lambda = np.full(60, 1e-3, dtype)
        problems = RowProblems(R.indptr.astype(np.int64), R.indices, R.data.astype(dtype), 1.0, row_lambda, "user")
        basis = Basis.of(Y.astype(dtype), 1.0, exact, problems, padded=True)
        assert (basis.lambda_scale == 0) == used
        return half_sweep(problems, None, basis, exact).factors @ Y.T

    by_cholesky = scores(np.float32, used=True)
    monkeypatch.setattr(_basis, "_cholesky", lambda *_: None)
    truth, by_eigenvectors = scores(np.float64, used=False), scores(np.float32, used=False)
    error = np.abs(by_cholesky - truth).max()
    assert error < 2e-5
    assert error < 1.5 * np.abs(by_eigenvectors - truth).max()


def test_a_fit_takes_the_same_steps_to_the_same_factors_in_either_basis(monkeypatch, dtype):
    R = sp.random_array((300, 120), density=0.1, format="csr", rng=np.random.default_rng(0))
    params = {"factors": 20, "iterations": 4, "regularization": 0.3, "regularization_scaling": "none", "dtype": dtype}
    cholesky = ImplicitALS(random_state=0, **params).fit(R)
    used = []
    monkeypatch.setattr(_basis, "_cholesky", lambda *_: used.append(1))
    eigen = ImplicitALS(random_state=0, **params).fit(R)
    assert len(used) >= 8
    for name in ("user_cg_steps", "item_cg_steps"):
        np.testing.assert_allclose(cholesky.history_[name], eigen.history_[name], atol=0.02)
    np.testing.assert_allclose(cholesky.history_["objective"], eigen.history_["objective"], rtol=1e-4)
    scores = (cholesky.user_factors @ cholesky.item_factors.T, eigen.user_factors @ eigen.item_factors.T)
    np.testing.assert_allclose(*scores, atol=1e-3)


CHANGES = [
    {"solver": "cholesky"}, {"solver": "cg"}, {"tol": 1e-9}, {"max_cg_steps": 1}, {"backend": "numpy"},
    {"backend": "auto"}, {"unobserved_weight": 0.5}, {"regularization": 0.7},
    {"weighting": "log", "alpha": 3.0, "epsilon": 1.0}, {"num_threads": 2},
]  # fmt: skip


@pytest.mark.parametrize("same_sides", [False, True], ids=["", "users are items"])
def test_results_do_not_depend_on_earlier_calls(same_sides):
    """What is kept between calls has all in its key that it follows from."""
    rng = np.random.default_rng(1)
    R = sp.csr_array(np.where(rng.random((30, 30)) < 0.3, rng.integers(1, 9, (30, 30)), 0).astype(float))
    model = ImplicitALS(factors=9, random_state=0, iterations=2).fit(R)  # 9: padded to whole cache lines, or not
    if same_sides:
        factors = np.array(model.item_factors)
        factors.flags.writeable = False
        model.user_factors = model.item_factors = factors
    for change in CHANGES * 2:
        model.set_params(**change)
        fresh = copy.deepcopy(model)
        for new, asked in ((R[:5], "users"), (sp.csr_array(R.T)[:5], "items")):
            got, expected = (getattr(one, f"fold_in_{asked}")(new) for one in (model, fresh))
            np.testing.assert_array_equal(got, expected)
            got, expected = (one.explain(3, 4).contributions for one in (model, fresh))
            np.testing.assert_array_equal(got, expected)
