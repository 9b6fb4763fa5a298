"""The published example of weighted ALS on watch times, worked out from a fixed start.

Three users and three videos, watch times as given below, 10 factors, lambda 0.01, alpha 40, confidence
c = 1 + alpha r (Hu, Koren and Volinsky 2008). One half-sweep solves, for every user u, A x_u = b with

    A = Y^T C_u Y + lambda I        b = Y^T C_u p_u

over all videos, watched or not. The item factors to start from are ``default_rng(0).standard_normal((3, 10)) * 0.1``.
"""

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

# Printed by
#   R = np.zeros((3, 3)); R[USERS, ITEMS] = WATCH_TIME
#   Y, lam, alpha = START, 0.01, 40
#   for r in R:
#       C, p = np.diag(1 + alpha * r), (r > 0).astype(float)
#       print(np.linalg.solve(Y.T @ C @ Y + lam * np.eye(10), Y.T @ C @ p))
# and then the same with R.T and the users just found: once through, that is an iteration.
USER_FACTORS = np.array([
    [-1.2712585783651, 1.7028513394524, -4.2862724514102, 0.4514270657683, -4.1450411349909,
     -0.1658291300988, 3.1213371891324, 1.8644985277391, -2.7455276885628, -2.4916286934100],
    [-0.7799060335119, 5.7017448238240, -2.9015996128130, 1.8661195884325, -0.1725193399883,
     1.2965439501592, 2.4350178889269, 0.1085378983475, -5.1282700160965, -4.0019959926519],
    [-1.0693368451516, 3.7444483616931, -4.1587511323354, 0.9062970498967, -0.4653727020304,
     -0.0848330663676, -0.1937764534606, -1.1257597746897, -2.2047771472147, -0.4683717459750],
])  # fmt: skip
ITEM_FACTORS = np.array([
    [0.0040282238979, 0.0016561688302, 0.0289088467601, 0.0108500570227, -0.0526833776518,
     0.0267089155309, 0.1067059360339, 0.0745623671656, -0.0647933482712, -0.1033017651736],
    [-0.0592047833612, 0.0118856680438, -0.2209964520952, -0.0178640917944, -0.1157214251646,
     -0.0666741882698, -0.0484338897713, -0.0301316435558, 0.0318132459066, 0.0925958161586],
    [-0.0159813024177, 0.1275703960263, -0.0758042724887, 0.0320401004620, 0.0712511705847,
     0.0057539942042, -0.0645724439154, -0.0821005011765, -0.0448279264552, 0.0196136662511],
])  # fmt: skip


def dense_half_sweep(R, Y):
    """Solve A x = b for every row, to the letter."""
    X = np.empty((len(R), Y.shape[1]))
    for u, r in enumerate(R):
        C, p = np.diag(1 + 40 * r), (r > 0).astype(float)
        X[u] = np.linalg.solve(Y.T @ C @ Y + 0.01 * np.eye(Y.shape[1]), Y.T @ C @ p)
    return X


@pytest.fixture
def model(kernels, monkeypatch):
    """Make models of the example that hold the start and run on each implementation of the kernels."""
    monkeypatch.setattr(ImplicitALS, "_backend", lambda self: kernels)

    def make(**params):
        model = ImplicitALS(**EXAMPLE, **params)
        model.user_factors, model.item_factors = np.zeros((3, 10)), START
        return model

    return make


def assert_equal_to_1e_10(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)


def test_the_golden_numbers_are_those_of_the_dense_formula():
    R = INTERACTIONS.toarray()
    assert_equal_to_1e_10(USER_FACTORS, dense_half_sweep(R, START))
    assert_equal_to_1e_10(ITEM_FACTORS, dense_half_sweep(R.T, USER_FACTORS))


@pytest.mark.parametrize("solver", SOLVERS, ids=["cholesky", "cg"])
def test_a_half_sweep_of_every_backend_equals_the_dense_formula(model, solver):
    users = model(**solver).fold_in_users(INTERACTIONS)
    assert_equal_to_1e_10(users, dense_half_sweep(INTERACTIONS.toarray(), START))
    assert_equal_to_1e_10(users, USER_FACTORS)


@pytest.mark.parametrize("solver", SOLVERS, ids=["cholesky", "cg"])
def test_an_iteration_of_a_fit_is_the_two_dense_half_sweeps(model, solver):
    fitted = model(warm_start=True, iterations=1, **solver).fit(INTERACTIONS)
    assert_equal_to_1e_10(fitted.user_factors, USER_FACTORS)
    assert_equal_to_1e_10(fitted.item_factors, ITEM_FACTORS)


def test_the_iteration_scores_what_was_watched_near_1_and_the_rest_near_0(model):
    fitted = model(warm_start=True, iterations=1, solver="cholesky").fit(INTERACTIONS)
    scores = fitted.predict(np.arange(3)[:, None], np.arange(3))
    watched = INTERACTIONS.toarray() > 0
    assert (np.abs(scores[watched] - 1) < 1e-3).all()
    assert (np.abs(scores[~watched]) < 1e-3).all()
    # What is left to recommend is the one video a user has not watched.
    ids, _ = fitted.recommend(np.arange(3), 2)
    assert ids.tolist() == [[2, -1], [1, -1], [0, -1]]
