"""Nesterov's extrapolation between the iterations of ImplicitALS."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ImplicitALS, datasets
from alternant._utils.pool import Pool
from alternant.models._fit_loop import Iteration
from alternant.models.als import momentum as _momentum
from alternant.models.als.momentum import Momentum

MSWEB = datasets.load_msweb().interactions
OBJECTIVES = {
    "log": {},
    "hu": {"weighting": "hu", "alpha": 10.0, "regularization": 1.0, "regularization_scaling": "none"},
    "proportional": {
        "weighting": "proportional", "alpha": 1.0, "regularization": 0.01, "regularization_scaling": "none",
    },
}  # fmt: skip


@pytest.mark.nightly
@pytest.mark.many_steps
@pytest.mark.parametrize("params", OBJECTIVES.values(), ids=OBJECTIVES)
def test_acceleration_needs_far_fewer_iterations_and_the_objective_never_rises(params):
    plain = ImplicitALS(factors=16, random_state=0, acceleration=None, **params).fit(MSWEB)
    fast = ImplicitALS(factors=16, random_state=0, iterations=30, **params).fit(MSWEB)
    objective = np.array(fast.history_["objective"])
    assert 1 + np.argmax(objective <= plain.history_["objective"][-1]) <= 11
    assert (np.diff(objective) <= 1e-7 * objective[1:]).all()


def test_the_first_two_iterations_are_plain():
    """The first has nothing to extrapolate from; the users' factors before it are none."""
    models = [
        ImplicitALS(factors=4, random_state=0, iterations=2, acceleration=acceleration).fit(MSWEB)
        for acceleration in (None, "nesterov")
    ]
    np.testing.assert_array_equal(*(model.item_factors for model in models))


def scalar_iteration(X, Y):
    """An iteration that halves the distance to 0, with the objective |Y|."""
    half = Y / 2
    return Iteration(half, half, {"objective": float(np.abs(half).sum())})


def step(momentum, iterate, X, Y):
    """What the fit does with it."""
    done = iterate(X, momentum.extrapolate(Y))
    if momentum.overshot(done):
        done = iterate(X, Y)
    momentum.accept(done, X, Y)
    return done


def test_extrapolation_continues_while_it_lowers_the_objective():
    momentum, X, Y = Momentum(Pool()), np.ones((1, 1)), np.ones((1, 1))
    values = []
    for _ in range(4):
        done = step(momentum, scalar_iteration, X, Y)
        X, Y = done.user_factors, done.item_factors
        values.append(float(Y[0, 0]))
    # Half of 1/2 + 1/2 (1/2 - 1), of 1/8 + 2/3 (1/8 - 1/2), and of -1/16: beyond it lies -13/64, which is too far.
    np.testing.assert_allclose(values, [1 / 2, 1 / 8, -1 / 16, -1 / 32])


def test_an_iteration_that_raises_the_objective_is_repeated_without_extrapolation():
    starts = []

    def iterate(X, Y):
        starts.append(float(Y[0, 0]))
        return Iteration(X, Y / 2, {"objective": 2.0 if len(starts) == 3 else float(Y[0, 0]) / 2})

    momentum, X = Momentum(Pool()), np.ones((1, 1))
    Y = np.full((1, 1), 8.0)
    for _ in range(2):
        Y = step(momentum, iterate, X, Y).item_factors
    assert starts == [8, 2]  # beyond 4: 4 + 1/2 (4 - 8)
    done = step(momentum, iterate, X, Y)
    assert starts[2:] == [-1, 1]  # beyond 1, dropped, and 1 itself
    assert done.record["objective"] == 0.5


@pytest.mark.parametrize("acceleration", ["momentum", True, 1])
def test_other_accelerations_are_refused(acceleration):
    with pytest.raises((TypeError, ValueError), match="acceleration must be 'nesterov' or None"):
        ImplicitALS(acceleration=acceleration)


def test_extrapolating_block_by_block_changes_no_bit(monkeypatch):
    R = sp.random_array((60, 90), density=0.2, format="csr", rng=np.random.default_rng(0))
    whole = ImplicitALS(factors=5, iterations=6, random_state=0).fit(R)
    monkeypatch.setattr(_momentum, "BLOCK", 35)
    blocks = ImplicitALS(factors=5, iterations=6, random_state=0).fit(R)
    np.testing.assert_array_equal(blocks.item_factors, whole.item_factors)
