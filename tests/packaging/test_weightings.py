"""docs/weightings.md: each row of its tables is the objective of the library it names, written here in plain NumPy."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from alternant import ExplicitALS, ImplicitALS

PAGE = Path(__file__).parents[2] / "docs" / "weightings.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests (a wheel's test run)")
NUMBERS = {"a": 1.7, "l": 0.31, "w0": 0.23, "nu": 0.8, "epsilon": 0.6}
M, N = 13, 9
RNG = np.random.default_rng(0)
SEEN = (RNG.random((M, N)) < 0.4) | np.eye(M, N, dtype=bool)
COUNTS = np.where(SEEN, RNG.integers(1, 6, (M, N)), 0.0)
DISLIKED = np.where(RNG.random((M, N)) < 0.8, COUNTS, -COUNTS)


def penalty(X, Y, users, items):
    return (users * (X**2).sum(axis=1)).sum() + (items * (Y**2).sum(axis=1)).sum()


def weighted(confidence, unobserved, regularization):
    """Return the objective of a library whose confidence is a function of r, and lambda one of (n_u, n)."""

    def objective(R, X, Y):
        seen = R != 0
        c = np.where(seen, confidence(np.abs(R)), unobserved)
        sides = (regularization(seen.sum(axis=1), N), regularization(seen.sum(axis=0), M))
        return (c * ((R > 0) - X @ Y.T) ** 2).sum() + penalty(X, Y, *sides)

    return objective


def ials(R, X, Y):
    seen, scores = R != 0, X @ Y.T
    sides = [(seen.sum(axis=k) + w0 * n) ** nu for k, n in ((1, N), (0, M))]
    return ((1 - scores[seen]) ** 2).sum() + w0 * (scores**2).sum() + lam * penalty(X, Y, *sides)


def ratings(scaling, biases=False):
    """Return the objective of rating models, whose factors have the columns of `ExplicitALS`; mu is in `mean`."""

    def objective(R, X, Y, mean=0.0):
        seen = R != 0
        counts = [seen.sum(axis=1), seen.sum(axis=0)] if scaling == "count" else [1.0, 1.0]
        free = (np.delete(X, -1, axis=1), np.delete(Y, -2, axis=1)) if biases else (X, Y)  # without the ones
        return ((R - mean - X @ Y.T)[seen] ** 2).sum() + lam * penalty(*free, *counts)

    return objective


a, lam, w0, nu, epsilon = NUMBERS.values()
HU = weighted(lambda r: 1 + a * r, 1, lambda count, n: lam)
# The beginning of a row, its objective, its interactions, and what alternant's objective is multiplied by.
ROWS = {
    "Hu, Koren, Volinsky 2008, linear": (HU, DISLIKED, 1),
    "Hu, Koren, Volinsky 2008, logarithmic": (
        weighted(lambda r: 1 + a * np.log(1 + r / epsilon), 1, lambda count, n: lam), DISLIKED, 1
    ),
    "Rendle et al. 2022 (iALS)": (ials, COUNTS, 1),
    "implicit: `AlternatingLeastSquares": (weighted(lambda r: a * r, 1, lambda count, n: lam), DISLIKED, 1),
    "Spark: `ALS(implicitPrefs=True": (weighted(lambda r: 1 + a * r, 1, lambda count, n: lam * count), COUNTS, 1),
    "irspack: `IALSRecommender(alpha0=w0": (ials, SEEN.astype(float), 1),
    'irspack: `IALSRecommender(loss_type="ORIGINAL"': (
        weighted(lambda r: w0 + r, w0, lambda count, n: lam), COUNTS, w0
    ),
    "cmfrec: `CMF_implicit": (HU, COUNTS, 1),
    "LensKit: `ImplicitMFScorer": (HU, COUNTS, 1),
    "Spark: `ALS(regParam": (ratings("count"), COUNTS, 1),
    "cmfrec: `CMF(lambda_=l, user_bias": (ratings("none"), COUNTS, 1),
    "cmfrec: `CMF(lambda_=l, scale_lam": (ratings("count"), COUNTS, 1),
    "Surprise: `SVD(reg_all": (ratings("count", biases=True), COUNTS, 1),
}  # fmt: skip


def _rows():
    text = PAGE.read_text(encoding="utf-8").partition("## Not least squares")[0] if PAGE.exists() else ""
    return re.findall(r"^\| (.*?) \|.*\| `(\w+ALS\(.*\))` \|$", text, re.MULTILINE)


def test_every_row_has_a_formula():
    for start in ROWS:
        assert sum(name.startswith(start) for name, _ in _rows()) == 1, start
    assert len(_rows()) == len(ROWS)


@pytest.mark.parametrize(("name", "call"), _rows(), ids=[name for name, _ in _rows()])
def test_the_parameters_of_a_row_minimize_the_objective_of_the_library(name, call):
    (objective, interactions, times), = (row for start, row in ROWS.items() if name.startswith(start))
    model = eval(call, {"ImplicitALS": ImplicitALS, "ExplicitALS": ExplicitALS, **NUMBERS})
    model.set_params(factors=3, iterations=30, solver="cholesky", dtype="float64", random_state=0)
    model.fit(sparse.csr_array(interactions))
    X, Y = model.user_factors, model.item_factors
    mean = {"mean": model.mean_} if getattr(model, "biases", False) else {}

    value = objective(interactions, X, Y, **mean)
    assert times * model.history_["objective"][-1] == pytest.approx(value, rel=1e-9)
    # The items were solved last: along any direction the objective is a parabola, with its lowest point here.
    for seed in range(3):
        step = np.random.default_rng(seed).standard_normal(Y.shape)
        step[:, 3:] = 0  # of biases, only mu makes the others optimal
        up, down = (objective(interactions, X, Y + sign * step, **mean) - value for sign in (1, -1))
        assert up > 0
        assert up == pytest.approx(down, rel=1e-6)
