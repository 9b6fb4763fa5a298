"""`half_sweep`: the alternation of a fit, built from its parts."""

import numpy as np
import pytest
import scipy.sparse as sp
from refusal import refuses

from alternant import ExplicitALS, ImplicitALS

OBJECTIVE = {
    "weighting": "hu", "alpha": 3, "unobserved_weight": 0.5, "regularization": (0.2, 0.4), "acceleration": None,
}  # fmt: skip


def data():
    R = sp.random_array((40, 15), density=0.2, format="csr", rng=np.random.default_rng(0))
    R.data = 1 + np.floor(4 * R.data)
    return R


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize("model", [
    ImplicitALS(factors=5, **OBJECTIVE),
    ExplicitALS(factors=5, biases=False, regularization=(0.1, 0.3)),
    ExplicitALS(factors=5, biases=False, nonnegative=True),
], ids=["implicit", "explicit", "nonnegative"])  # fmt: skip
def test_half_sweeps_by_hand_are_a_fit(model, solver):
    R = data()
    model.set_params(solver=solver, iterations=3, random_state=0)
    seen = []
    model.fit(R, callback=lambda state: seen.append((state.user_factors.copy(), state.item_factors.copy())))
    (X, Y), last = (seen[0][0].copy(), seen[0][1].copy()), seen[-1]
    for _ in range(2):
        unfitted = type(model)(**model.get_params())
        unfitted.half_sweep(R, X, Y)
        unfitted.half_sweep(R.T, Y, X, kind="item")
    known = np.diff(R.indptr) > 0  # a fit gives the others the mean user's factors
    np.testing.assert_array_equal(X[known], last[0][known])
    np.testing.assert_array_equal(Y, last[1])


def test_the_biases_and_mean_of_the_model_are_used():
    R = data()
    model = ExplicitALS(factors=5, solver="cholesky", random_state=0).fit(R)
    X = np.zeros_like(model.user_factors)
    model.half_sweep(R, X, model.item_factors)
    np.testing.assert_allclose(X, model.fold_in_users(R), atol=1e-5)


def test_only_a_writable_array_that_fits_is_overwritten():
    R, X, Y = data(), np.ones((40, 5)), np.ones((15, 5))
    model = ImplicitALS(**OBJECTIVE)
    part = np.ones((40, 2, 5))
    model.half_sweep(R, part[:, 1], Y)  # a view whose rows are apart
    whole = X.copy()
    model.half_sweep(R, whole, Y)
    np.testing.assert_array_equal(part[:, 1], whole)
    assert (part[:, 0] == 1).all()
    frozen = X.copy()
    frozen.flags.writeable = False
    for error, message, arguments in (
        (ValueError, "read-only: pass a copy", (R, frozen, Y)),
        (ValueError, r"one column for each row of fixed, \(40, 15\), got shape \(15, 40\)", (R.T, X, Y)),
        (ValueError, "one dtype and the same number of columns", (R, X, Y.astype(np.float32))),
        (ValueError, "fixed must be finite", (R, X, np.full_like(Y, np.nan))),
        (TypeError, "factors must be a float32 or float64 array", (R, X.tolist(), Y)),
    ):
        refuses(error, message, lambda a=arguments: model.half_sweep(*a), model, X, Y)
    refuses(ValueError, "kind must be one of 'user', 'item'", lambda: model.half_sweep(R, X, Y, kind="items"), X)
    normalized = ImplicitALS(**OBJECTIVE, degree_normalization=0.3)
    refuses(ValueError, "without degree normalization", lambda: normalized.half_sweep(R, X, Y), X)
    automatic = ImplicitALS()
    for message, params in (
        ("weighting='auto', alpha='auto', regularization='auto': call set_params.weighting='hu', alpha=1.0, reg", {}),
        ("has chosen unobserved_weight='auto': call", {"weighting": "ials", "regularization": 0.1}),
    ):
        automatic.set_params(**params)
        refuses(ValueError, message, lambda: automatic.half_sweep(R, X, Y), X)
    automatic.set_params(unobserved_weight=0.1).half_sweep(R, X.copy(), Y)
