"""The published example of weighted ALS on watch times, worked out from a fixed start.

Three users and three videos, watch times as given below, 10 factors, lambda 0.01, alpha 40, confidence
c = 1 + alpha r (Hu, Koren and Volinsky 2008). One half-sweep solves, for every user u, A x_u = b with

    A = Y^T C_u Y + lambda I        b = Y^T C_u p_u

over all videos, watched or not. The factors to start from are ``default_rng(0).standard_normal((3, 10)) * 0.1``.
"""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ImplicitALS

USERS = [0, 0, 1, 1, 2, 2]
ITEMS = [0, 1, 0, 2, 1, 2]
WATCH_TIME = [120, 80, 95, 150, 200, 45]
INTERACTIONS = sp.coo_array((np.array(WATCH_TIME, float), (USERS, ITEMS)), shape=(3, 3))
START = np.random.default_rng(0).standard_normal((3, 10)) * 0.1

EXAMPLE = {
    "factors": 10, "regularization": 0.01, "regularization_scaling": "none", "alpha": 40, "weighting": "hu",
    "unobserved_weight": 1, "dtype": "float64",
}  # fmt: skip
SOLVERS = [{"solver": "cholesky"}, {"solver": "cg", "tol": 1e-14, "max_cg_steps": 100}]

# Printed by `exact_half_sweep(INTERACTIONS.toarray(), START)` below, in rational arithmetic, and then by
# `exact_half_sweep(INTERACTIONS.toarray().T, USER_FACTORS)`: the two half-sweeps of one iteration.
USER_FACTORS = np.array([
    [-1.27125857836481, 1.70285133945427, -4.28627245140791, 0.45142706576643, -4.14504113499439,
     -0.16582913009870, 3.12133718913231, 1.86449852773627, -2.74552768856074, -2.49162869341091],
    [-0.77990603351345, 5.70174482382028, -2.90159961281420, 1.86611958843788, -0.17251933998608,
     1.29654395016324, 2.43501788893247, 0.10853789834407, -5.12827001609661, -4.00199599264834],
    [-1.06933684516003, 3.74444836169417, -4.15875113233186, 0.90629704989571, -0.46537270202640,
     -0.08483306638445, -0.19377645346296, -1.12575977468801, -2.20477714721290, -0.46837174598084],
])  # fmt: skip
ITEM_FACTORS = np.array([
    [0.00402822394990, 0.00165616905889, 0.02890884675693, 0.01085005690011, -0.05268337761467,
     0.02670891556234, 0.10670593617663, 0.07456236728977, -0.06479334805559, -0.10330176509026],
    [-0.05920478318503, 0.01188566814524, -0.22099645199758, -0.01786409188534, -0.11572142536331,
     -0.06667418829798, -0.04843388996655, -0.03013164354451, 0.03181324583191, 0.09259581613215],
    [-0.01598130241162, 0.12757039620666, -0.07580427245732, 0.03204010042993, 0.07125117050741,
     0.00575399422576, -0.06457244387287, -0.08210050123213, -0.04482792615647, 0.01961366612107],
])  # fmt: skip


def dense_half_sweep(R, Y):
    """Solve A x = b for every row, to the letter."""
    X = np.empty((len(R), Y.shape[1]))
    for u, r in enumerate(R):
        C, p = np.diag(1 + 40 * r), (r > 0).astype(float)
        X[u] = np.linalg.solve(Y.T @ C @ Y + 0.01 * np.eye(Y.shape[1]), Y.T @ C @ p)
    return X


def exact_half_sweep(R, Y):
    """Solve A x = b for every row without any rounding, by Gaussian elimination on fractions."""
    Y = [[Fraction(number) for number in row] for row in Y.tolist()]
    X = []
    for r in R.tolist():
        c, p = [1 + 40 * Fraction(number) for number in r], [int(number > 0) for number in r]
        weighted = [[c[i] * y for y in Y[i]] for i in range(len(r))]
        rows = [
            [sum(weighted[i][j] * Y[i][k] for i in range(len(r))) + Fraction(0.01) * (j == k) for k in range(10)]
            + [sum(weighted[i][j] * p[i] for i in range(len(r)))]
            for j in range(10)
        ]
        for j in range(10):  # A is positive definite: no pivot is 0
            rows[j] = [number / rows[j][j] for number in rows[j]]
            for k in range(10):
                if k != j:
                    rows[k] = [a - rows[k][j] * b for a, b in zip(rows[k], rows[j], strict=True)]
        X.append([float(row[-1]) for row in rows])
    return np.array(X)


@pytest.fixture
def model(kernels, monkeypatch):
    """Make models of the example that hold the start and run on each implementation of the kernels."""
    monkeypatch.setattr(ImplicitALS, "_backend", lambda self: kernels)

    def make(**params):
        model = ImplicitALS(**EXAMPLE, **params)
        model.user_factors = model.item_factors = START  # each side is used where the other is solved
        return model

    return make


def assert_equal_to_1e_10(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)


def test_the_golden_numbers_are_what_the_recipe_gives():
    R = INTERACTIONS.toarray()
    np.testing.assert_allclose(USER_FACTORS, exact_half_sweep(R, START), rtol=0, atol=1e-13)
    np.testing.assert_allclose(ITEM_FACTORS, exact_half_sweep(R.T, USER_FACTORS), rtol=0, atol=1e-13)


@pytest.mark.parametrize("solver", SOLVERS, ids=["cholesky", "cg"])
def test_a_half_sweep_of_every_backend_equals_the_dense_formula(model, solver):
    R = INTERACTIONS.toarray()
    users = model(**solver).fold_in_users(INTERACTIONS)
    assert_equal_to_1e_10(users, dense_half_sweep(R, START))
    assert_equal_to_1e_10(users, USER_FACTORS)
    items = model(**solver).fold_in_items(INTERACTIONS.T)
    assert_equal_to_1e_10(items, dense_half_sweep(R.T, START))


@pytest.mark.parametrize("solver", SOLVERS, ids=["cholesky", "cg"])
def test_an_iteration_of_a_fit_is_the_two_half_sweeps(model, solver):
    """Exact to 1e-10, where the dense formula itself, at a condition number of 6e7, is off by 4e-10."""
    fitted = model(warm_start=True, iterations=1, **solver).fit(INTERACTIONS)
    assert_equal_to_1e_10(fitted.user_factors, USER_FACTORS)
    assert_equal_to_1e_10(fitted.item_factors, ITEM_FACTORS)


def test_the_iteration_scores_what_was_watched_near_1_and_the_rest_near_0(model):
    fitted = model(warm_start=True, iterations=1, solver="cholesky").fit(INTERACTIONS)
    scores = fitted.predict(np.arange(3)[:, None], np.arange(3))
    np.testing.assert_allclose(scores, INTERACTIONS.toarray() > 0, rtol=0, atol=1e-3)
    # What is left to recommend is the one video a user has not watched.
    ids, _ = fitted.recommend(np.arange(3), 2)
    assert ids.tolist() == [[2, -1], [1, -1], [0, -1]]
