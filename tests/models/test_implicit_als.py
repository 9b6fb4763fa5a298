"""ImplicitALS learns: its half-sweeps and objective against dense formulas written here, and what a fit promises."""

import dataclasses
import io
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ImplicitALS, Popularity
from alternant.datasets import planted
from alternant.evaluation import leave_one_out, ranking_metrics
from alternant.kernels import active_backend
from alternant.models.als import basis as _basis
from alternant.models.als import half_sweep as _half_sweep
from alternant.models.als import implicit_objective as _implicit_objective
from alternant.models.als import trainer as _als
from alternant.models.als.problems import RowProblems
from alternant.models.als.solver import Solver

WEIGHTINGS = ["hu", "log", "proportional", "ials"]
SCALINGS = ["none", "count", "ials"]
EXACT = {"solver": "cholesky", "dtype": "float64"}
EXACT_CG = {"solver": "cg", "tol": 1e-14, "max_cg_steps": 200, "dtype": "float64"}
# How far the solution may be from numpy.linalg.solve's.
SOLVERS = [pytest.param(EXACT, 1e-10, id="cholesky"), pytest.param(EXACT_CG, 1e-8, id="cg")]
# Unlike the defaults, so that a test sees it when one is mixed up or not used.
HYPER = {
    "alpha": 3.0,
    "epsilon": 0.7,
    "unobserved_weight": 0.4,
    "regularization": (0.3, 0.5),
    "regularization_exponent": 0.8,
}


def feedback(n_users=13, n_items=9, seed=0):
    """A dense matrix of interactions: likes of many sizes, some dislikes, a user and an item with nothing."""
    rng = np.random.default_rng(seed)
    R = rng.poisson(0.8, (n_users, n_items)) * rng.uniform(0.2, 4, (n_users, n_items))
    R *= np.where(rng.random(R.shape) < 0.2, -1, 1)
    R[5] = 0
    R[:, 4] = 0
    return R


# --- the oracle: every pair of user and item in dense matrices, no eigenbasis, nothing of the library's ---------------


def dense_weights(R, weighting, alpha, epsilon, unobserved_weight, **_):
    """W and T of the row problem (Y^T diag(W_u) Y + lambda_u I) x_u = Y^T T_u, straight from the papers."""
    observed, preference, r = R != 0, (R > 0).astype(float), np.abs(R)
    if weighting == "ials":  # weight 1 on observed pairs with target p, plus alpha0 on all pairs with target 0
        return observed + unobserved_weight, preference
    c = {"hu": 1 + alpha * r, "log": 1 + alpha * np.log(1 + r / epsilon), "proportional": alpha * r}[weighting]
    C = np.where(observed, c, unobserved_weight)
    return C, C * preference


def dense_lambda(R, lam, scaling, unobserved_weight, regularization_exponent, **_):
    n = (R != 0).sum(axis=1)
    factor = {
        "none": np.ones(len(R)),
        "count": n,
        "ials": (n + unobserved_weight * R.shape[1]) ** regularization_exponent,
    }[scaling]
    return lam * factor


def dense_sweep(R, Y, lam, weighting, scaling, hyper):
    """Solve every row of R with the other side's factors Y fixed."""
    W, T = dense_weights(R, weighting, **hyper)
    lambdas = dense_lambda(R, lam, scaling, **hyper)
    X = np.zeros((len(R), Y.shape[1]))
    for u in np.flatnonzero((R != 0).any(axis=1)):
        X[u] = np.linalg.solve(Y.T @ (W[u][:, None] * Y) + lambdas[u] * np.eye(Y.shape[1]), Y.T @ T[u])
    return X


def dense_objective(R, X, Y, weighting, scaling, hyper):
    S, observed, P = X @ Y.T, R != 0, R > 0
    W, _ = dense_weights(R, weighting, **hyper)
    if weighting == "ials":
        error = (observed * (P - S) ** 2).sum() + hyper["unobserved_weight"] * (S**2).sum()
    else:
        error = (W * (P - S) ** 2).sum()
    lambda_x = dense_lambda(R, hyper["regularization"][0], scaling, **hyper)
    lambda_y = dense_lambda(R.T, hyper["regularization"][1], scaling, **hyper)
    return error + (lambda_x[:, None] * X**2).sum() + (lambda_y[:, None] * Y**2).sum()


def with_the_mean_user(X):
    """Solutions as the model holds them: user 5, of whom nothing is known, is like the mean of the others."""
    X[5] = np.delete(X, 5, axis=0).mean(axis=0)
    return X


def model_from(X, Y, **params):
    """A model that holds the factors given, and starts from them."""
    model = ImplicitALS(factors=Y.shape[1], warm_start=True, **params)
    model.user_factors, model.item_factors = X, Y
    return model


def start(R, factors, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((R.shape[0], factors)), rng.standard_normal((R.shape[1], factors))


def assert_within(got, expected, tolerance):
    """Row by row, relative to the largest number of the row."""
    scale = np.abs(expected).max(axis=1, initial=0, keepdims=True)
    assert (np.abs(got - expected) <= tolerance * scale).all(), f"off by {(np.abs(got - expected)).max()}"


# --- against the oracle -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(("solver", "tolerance"), SOLVERS)
def test_folding_in_solves_the_dense_formula(weighting, scaling, solver, tolerance):
    R = feedback()
    X, Y = start(R, 4)
    model = model_from(X, Y, weighting=weighting, regularization_scaling=scaling, **HYPER, **solver)
    users, expected = model.fold_in_users(sp.csr_array(R)), dense_sweep(R, Y, 0.3, weighting, scaling, HYPER)
    expected[5] = X.mean(axis=0)  # nothing is known of user 5
    assert_within(users, expected, tolerance)
    items = model.fold_in_items(sp.csr_array(R.T))
    assert_within(items, dense_sweep(R.T, X, 0.5, weighting, scaling, HYPER), tolerance)
    assert (items[4] == 0).all()
    assert not np.signbit(items[4]).any()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(("solver", "tolerance"), SOLVERS)
def test_an_iteration_is_two_dense_half_sweeps_and_history_holds_their_objectives(
    weighting, scaling, solver, tolerance
):
    R = feedback()
    X, Y = start(R, 4)
    model = model_from(X, Y, weighting=weighting, regularization_scaling=scaling, iterations=1, **HYPER, **solver)
    model.fit(sp.csr_array(R))
    users = dense_sweep(R, Y, 0.3, weighting, scaling, HYPER)
    items = dense_sweep(R.T, users, 0.5, weighting, scaling, HYPER)
    assert_within(model.user_factors, with_the_mean_user(users.copy()), tolerance)
    assert_within(model.item_factors, items, tolerance)
    # The objective is that of the factors that came out, whatever the solver left.
    solved = model.user_factors.copy()
    solved[5] = 0
    middle = dense_objective(R, solved, Y, weighting, scaling, HYPER)
    after = dense_objective(R, solved, model.item_factors, weighting, scaling, HYPER)
    assert model.history_["user_sweep_objective"] == [pytest.approx(middle, rel=1e-9)]
    assert model.history_["objective"] == [pytest.approx(after, rel=1e-9)]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("tol", [0.5, 1e-2])
def test_the_objective_of_a_fit_with_loose_conjugate_gradients_is_the_dense_one(weighting, tol):
    R = feedback(40, 30)
    model = ImplicitALS(
        factors=6, weighting=weighting, regularization_scaling="count", tol=tol, max_cg_steps=2, dtype="float64",
        iterations=3, random_state=0, **HYPER,
    ).fit(sp.csr_array(R))  # fmt: skip
    solved = model.user_factors.copy()
    solved[5] = 0
    expected = dense_objective(R, solved, model.item_factors, weighting, "count", HYPER)
    assert model.history_["objective"][-1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-13), ("float32", 1e-6)])
def test_no_half_sweep_raises_the_objective(weighting, scaling, solver, dtype, rounding):
    R = feedback(40, 30)
    model = ImplicitALS(
        factors=8, weighting=weighting, regularization_scaling=scaling, solver=solver, dtype=dtype, iterations=8,
        random_state=0, acceleration=None, **HYPER,
    ).fit(sp.csr_array(R))  # fmt: skip
    halves = np.ravel([model.history_["user_sweep_objective"], model.history_["objective"]], order="F")
    assert (np.diff(halves) <= rounding * halves[:-1]).all()
    assert halves[-1] < halves[0]


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_float32_reaches_the_objective_of_float64(weighting, solver):
    R = sp.csr_array(feedback(60, 40))
    single, double = (
        ImplicitALS(
            factors=8, weighting=weighting, solver=solver, dtype=dtype, iterations=5, random_state=0, **HYPER
        ).fit(R)
        for dtype in ("float32", "float64")
    )
    assert single.item_factors.dtype == np.float32
    assert double.item_factors.dtype == np.float64
    np.testing.assert_allclose(single.history_["objective"], double.history_["objective"], rtol=1e-5)


@pytest.mark.parametrize("factors", [1, 30], ids=["one factor", "more factors than items"])
@pytest.mark.parametrize(("solver", "tolerance"), SOLVERS)
def test_any_number_of_factors_solves_the_dense_formula(factors, solver, tolerance):
    R = feedback()
    X, Y = start(R, factors)
    model = model_from(X, Y, weighting="hu", regularization_scaling="none", iterations=1, **HYPER, **solver)
    model.fit(sp.csr_array(R))
    users = dense_sweep(R, Y, 0.3, "hu", "none", HYPER)
    assert_within(model.user_factors, with_the_mean_user(users.copy()), tolerance)
    assert_within(model.item_factors, dense_sweep(R.T, users, 0.5, "hu", "none", HYPER), tolerance)


# --- what the interactions mean ---------------------------------------------------------------------------------------


def test_a_dislike_lowers_the_score_of_its_item_and_of_no_other_as_much():
    R = np.array([[1, 1, 0, 0], [1, 1, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]], float)
    params = {"factors": 3, "weighting": "hu", "alpha": 10, "regularization": 0.01, "random_state": 0} | EXACT
    params["regularization_scaling"] = "none"
    liked = ImplicitALS(**params).fit(sp.csr_array(R))
    disliked = R.copy()
    disliked[0, 3] = -5
    model = ImplicitALS(**params).fit(sp.csr_array(disliked))
    change = model.predict(0, np.arange(4)) - liked.predict(0, np.arange(4))
    assert change[3] < 0
    assert np.argmin(change) == 3
    assert abs(model.predict(0, 3)) < 0.05  # preference 0, with the confidence of 5


def test_duplicates_add_up_and_stored_zeros_are_no_interactions():
    R = feedback()
    users, items = R.nonzero()
    values = R[users, items]
    everywhere = np.indices(R.shape).reshape(2, -1)
    messy = sp.coo_array(
        (
            np.concatenate([0.25 * values, 0.75 * values, np.zeros(R.size)]),
            (np.r_[users, users, everywhere[0]], np.r_[items, items, everywhere[1]]),
        ),
        shape=R.shape,
    )
    clean = ImplicitALS(factors=4, random_state=0, regularization_scaling="count", **EXACT).fit(sp.csr_array(R))
    model = ImplicitALS(factors=4, random_state=0, regularization_scaling="count", **EXACT).fit(messy)
    np.testing.assert_allclose(model.interactions_.to_scipy().toarray(), R, rtol=1e-15)
    assert len(model.interactions_.data) == len(values)
    np.testing.assert_allclose(model.item_factors, clean.item_factors, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.bool_])
@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_duplicates_of_a_narrow_dtype_add_up_without_overflow(dtype, layout):
    """100 + 100 is -56 in int8, a dislike; True + True is True."""
    values = np.full(4, dtype(100))
    narrow = sp.coo_array((values, ([0, 0, 1, 2], [1, 1, 0, 2])), shape=(3, 3))
    if layout == "csr":
        narrow = sp.csr_array((values, [1, 1, 0, 2], [0, 2, 3, 4]), shape=(3, 3))
    elif layout == "csc":
        narrow = sp.csc_array((values, [1, 0, 0, 2], [0, 1, 3, 4]), shape=(3, 3))
    assert narrow.nnz == 4
    assert narrow.dtype == dtype
    one = 1 if dtype == np.bool_ else 100
    model = ImplicitALS(factors=2).fit(narrow)
    np.testing.assert_array_equal(
        model.interactions_.to_scipy().toarray(), [[0, 2 * one, 0], [one, 0, 0], [0, 0, one]]
    )


def _with_int64_indices(R):
    csr = sp.csr_array(R)
    csr.indices, csr.indptr = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    return csr


def _with_unsorted_indices(R):
    csr = sp.csr_array(R)
    for u in range(len(R)):
        row = slice(csr.indptr[u], csr.indptr[u + 1])
        csr.indices[row], csr.data[row] = csr.indices[row][::-1].copy(), csr.data[row][::-1].copy()
    csr.has_canonical_format = True  # a lie that SciPy believes
    return csr


def _read_only(R):
    csr = sp.csr_array(R)
    for array in (csr.data, csr.indices, csr.indptr):
        array.flags.writeable = False
    return csr


@pytest.mark.parametrize(
    "convert",
    [
        sp.csr_matrix, sp.csc_array, sp.csc_matrix, sp.coo_array, sp.lil_array, sp.dok_array, sp.dia_array,
        sp.bsr_array, _with_int64_indices, _with_unsorted_indices, _read_only,
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_sparse_format_gives_the_same_bits_and_is_left_as_it_was(convert, dtype):
    R = np.round(feedback() * 4) / 4  # numbers that are the same in both dtypes
    expected = ImplicitALS(factors=4, random_state=0).fit(sp.csr_array(R))
    matrix = convert(R.astype(dtype))
    before = _arrays(matrix)
    model = ImplicitALS(factors=4, random_state=0).fit(matrix)
    assert _arrays(matrix) == before
    assert model.user_factors.tobytes() == expected.user_factors.tobytes()
    assert model.item_factors.tobytes() == expected.item_factors.tobytes()


def _arrays(matrix):
    """Everything a sparse matrix holds, by bytes."""
    return {
        name: value.tobytes() if isinstance(value, np.ndarray) and value.dtype != object else repr(value)
        for name, value in vars(matrix).items()
        if name not in ("_has_canonical_format", "_has_sorted_indices")
    }


@pytest.mark.parametrize("layout", ["csr", "coo"])
def test_changing_the_matrix_after_the_fit_changes_nothing_in_the_model(layout):
    """`eliminate_zeros` moves entries inside the matrix's own arrays, which the model must not share."""
    matrix = sp.csr_array(feedback(), dtype=np.float32).asformat(layout)
    model = ImplicitALS(factors=4, random_state=0).fit(matrix)
    before = model.interactions_.to_scipy().toarray()
    expected = model.recommend(np.arange(13), 9)
    matrix.data[::2] = 0
    matrix.eliminate_zeros()
    np.testing.assert_array_equal(model.interactions_.to_scipy().toarray(), before)
    for got, was in zip(model.recommend(np.arange(13), 9), expected, strict=True):
        np.testing.assert_array_equal(got, was)


# --- reproducible to the bit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solver", "dtype"), [("cg", "float32"), ("cholesky", "float64")])
def test_the_number_of_threads_changes_no_bit(solver, dtype, monkeypatch):
    monkeypatch.setattr("alternant.models.als.half_sweep.WORK_PER_THREAD", 1)  # threads even for so little
    rng = np.random.default_rng(0)
    # More rows than a BLAS block, so that blocks are shared out among threads.
    R = sp.csr_array((np.ones(27_000), rng.integers(0, 60, 27_000), np.arange(0, 27_001, 3)), shape=(9000, 60))
    results = []
    for threads in (1, 2, 8):
        model = ImplicitALS(
            factors=10, solver=solver, dtype=dtype, iterations=2, random_state=0, num_threads=threads
        ).fit(R)
        history = {name: values for name, values in model.history_.items() if name != "seconds"}
        fold_in = model.fold_in_users(R[:50])
        results.append((model.user_factors.tobytes(), model.item_factors.tobytes(), fold_in.tobytes(), history))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    "random_state",
    [
        lambda: 7, lambda: np.int64(7), lambda: [1, 2], lambda: np.random.default_rng(7),
        lambda: np.random.RandomState(7),
    ],
    ids=["int", "numpy int", "list", "Generator", "RandomState"],
)  # fmt: skip
def test_a_seed_gives_the_same_bits_every_time(random_state):
    R = sp.csr_array(feedback())
    first, second = (ImplicitALS(factors=4, random_state=random_state()).fit(R) for _ in range(2))
    assert first.item_factors.tobytes() == second.item_factors.tobytes()
    other = ImplicitALS(factors=4, random_state=8).fit(R)
    assert first.item_factors.tobytes() != other.item_factors.tobytes()


def test_a_random_generator_is_advanced_by_fits_only():
    seeds = np.random.RandomState(0)
    position = seeds.get_state()[2]
    model = ImplicitALS(factors=4, random_state=seeds)
    model.set_params(iterations=1)
    with pytest.raises(ValueError, match="finite"):
        model.fit(sp.csr_array([[np.nan]]))
    assert seeds.get_state()[2] == position
    first = model.fit(sp.csr_array(feedback())).item_factors
    assert first.tobytes() != model.fit(sp.csr_array(feedback())).item_factors.tobytes()


def test_both_dtypes_start_at_the_same_place():
    single, double = (ImplicitALS(factors=3, dtype=d, random_state=0)._start(9, 5)[1] for d in ("float32", "float64"))
    np.testing.assert_array_equal(single, double.astype(np.float32))
    assert np.std(double * np.sqrt(3)) == pytest.approx(0.1, rel=0.5)  # init_scale


# --- quality ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
def test_the_defaults_beat_popularity_threefold_on_planted_data(solver):
    """Measured: NDCG@10 of held-out items 0.48 against 0.11, hit rate 0.69 against 0.20 (best possible: 1)."""
    interactions = planted(400, 200, 6, interactions_per_user=20, random_state=0).interactions
    train, test = leave_one_out(interactions, random_state=0)
    users = np.arange(400)
    popular = ranking_metrics(Popularity().fit(train).recommend(users, 10)[0], test)
    model = ImplicitALS(factors=8, solver=solver, random_state=0).fit(train)
    ours = ranking_metrics(model.recommend(users, 10)[0], test)
    assert ours.ndcg > 3 * popular.ndcg
    assert ours.hit_rate > 2 * popular.hit_rate


# --- the fit loop -----------------------------------------------------------------------------------------------------


def test_history_has_one_entry_an_iteration_and_seconds_rise():
    model = ImplicitALS(factors=4, iterations=6, random_state=0).fit(sp.csr_array(feedback()))
    assert model.n_iter_ == 6
    assert set(model.history_) == {"objective", "user_sweep_objective", "user_cg_steps", "item_cg_steps", "seconds"}
    assert {len(values) for values in model.history_.values()} == {6}
    assert (np.diff(model.history_["seconds"]) >= 0).all()
    assert min(model.history_["user_cg_steps"]) > 0
    exact = ImplicitALS(factors=4, iterations=2, solver="cholesky").fit(sp.csr_array(feedback()))
    assert exact.history_["user_cg_steps"] == exact.history_["item_cg_steps"] == [0, 0]


def test_early_stopping_ends_the_fit_when_an_iteration_gains_too_little():
    R = sp.csr_array(feedback(40, 30))
    full = ImplicitALS(factors=4, iterations=60, random_state=0, **EXACT).fit(R)
    objective = np.array(full.history_["objective"])
    gains = 1 - objective[1:] / objective[:-1]
    expected = 2 + int(np.argmax(gains <= 1e-3))
    assert 2 < expected < 60
    model = ImplicitALS(factors=4, iterations=60, early_stopping=1e-3, random_state=0, **EXACT).fit(R)
    assert model.n_iter_ == expected
    assert model.history_["objective"] == full.history_["objective"][:expected]


@pytest.mark.parametrize("true", [True, np.True_])
def test_a_callback_that_returns_true_stops_the_fit_after_its_iteration(true):
    R = sp.csr_array(feedback())
    model = ImplicitALS(factors=4, iterations=9, random_state=0)
    model.fit(R, callback=lambda state: true if state.iteration == 3 else None)
    assert model.n_iter_ == 3
    short = ImplicitALS(factors=4, iterations=3, random_state=0).fit(R)
    assert model.item_factors.tobytes() == short.item_factors.tobytes()


@pytest.mark.parametrize("answer", [None, False, 1, "go on"])
def test_a_callback_that_returns_anything_else_lets_the_fit_go_on(answer):
    model = ImplicitALS(factors=4, iterations=3).fit(sp.csr_array(feedback()), callback=lambda state: answer)
    assert model.n_iter_ == 3


def test_a_callback_sees_each_complete_iteration_in_read_only_views():
    states = []
    model = ImplicitALS(factors=4, iterations=3, random_state=0)

    def look(state):
        states.append(state)
        assert state.user_factors.tobytes() == model.user_factors.tobytes()
        assert state.item_factors.tobytes() == model.item_factors.tobytes()
        assert state.history == model.history_
        assert model.n_iter_ == state.iteration
        for array in (state.user_factors, state.item_factors):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.flags.writeable = True
        state.history.clear()  # a copy

    model.fit(sp.csr_array(feedback()), callback=look)
    assert [state.iteration for state in states] == [1, 2, 3]
    assert [state.objective for state in states] == model.history_["objective"]
    assert [state.seconds for state in states] == model.history_["seconds"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("the user's own")])
def test_an_exception_in_a_callback_leaves_the_last_complete_iteration(error):
    R = sp.csr_array(feedback())

    def interrupt(state):
        if state.iteration == 2:
            raise error

    model = ImplicitALS(factors=4, iterations=9, random_state=0)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        model.fit(R, callback=interrupt)
    assert_is_the_iteration_it_says(model, R, 2)


@pytest.mark.many_steps
@pytest.mark.parametrize("alpha", [1.0, 40.0])
def test_conjugate_gradients_do_not_stall_on_counts_over_five_orders_of_magnitude(alpha):
    """Against the right-hand side alone, rows of great weights count as solved and never move again."""
    rng = np.random.default_rng(0)
    R = sp.random_array((300, 200), density=0.1, format="csr", rng=rng)
    R.data = np.exp(rng.normal(5, 2.5, R.nnz))
    common = {"factors": 16, "alpha": alpha, "weighting": "proportional", "regularization": 0.01, "random_state": 0,
              "regularization_scaling": "none", "iterations": 15}  # fmt: skip
    exact = ImplicitALS(**common, solver="cholesky", dtype="float64", acceleration=None).fit(R)
    for dtype in ("float32", "float64"):
        default = ImplicitALS(**common, dtype=dtype).fit(R)
        assert default.history_["objective"][-1] <= 1.5 * exact.history_["objective"][-1]
        assert default.history_["item_cg_steps"][-1] >= 1


def test_folding_in_great_weights_finds_the_optimum_by_default():
    rng = np.random.default_rng(0)
    Y, R = rng.standard_normal((40, 8)), sp.random_array((10, 40), density=0.3, format="csr", rng=rng)
    R.data = np.exp(rng.normal(5, 2.5, R.nnz))
    model = ImplicitALS(factors=8, dtype="float64", weighting="hu", alpha=40, regularization=0.01)
    model.user_factors, model.item_factors = np.zeros((10, 8)), Y
    exact = model.set_params(solver="cholesky").fold_in_users(R)
    np.testing.assert_allclose(model.set_params(solver="cg").fold_in_users(R), exact, rtol=1e-3, atol=1e-4)


def test_confidences_far_below_the_unobserved_weight_keep_their_digits_in_float32():
    """Targets are not formed as (c - w0) + w0 there."""
    rng = np.random.default_rng(0)
    R = sp.random_array((10, 40), density=0.3, format="csr", rng=rng)
    params = {"factors": 8, "weighting": "proportional", "alpha": 1e-4, "regularization": 30.0, "solver": "cholesky"}
    Y = rng.standard_normal((40, 8)).astype(np.float32)
    folded = []
    for dtype in ("float32", "float64"):
        model = ImplicitALS(dtype=dtype, **params)
        model.user_factors, model.item_factors = np.zeros((10, 8), dtype), Y.astype(dtype)
        folded.append(model.fold_in_users(R))
    np.testing.assert_allclose(folded[0], folded[1], rtol=1e-4, atol=1e-6 * np.abs(folded[1]).max())


def test_the_objective_of_rows_kept_in_16_bits_is_theirs():
    """3,500 users of 20 items: the items' rows are long, and so few that their rounding does not average out."""
    rng = np.random.default_rng(0)
    R = sp.csr_array(np.where(rng.random((3500, 20)) < 0.75, rng.uniform(1, 3, (3500, 20)), 0))
    params = {"weighting": "hu", "alpha": 1.0, "regularization": 0.4, "regularization_scaling": "none"}
    whole = []

    def look(state):
        X, Y = state.user_factors.astype(np.float64), state.item_factors.astype(np.float64)
        scores = X @ Y.T
        confidence = 1 + R.toarray()
        errors = confidence * ((R.toarray() > 0) - scores) ** 2
        whole.append(errors.sum() + 0.4 * ((X**2).sum() + (Y**2).sum()))

    model = ImplicitALS(factors=64, iterations=6, random_state=0, **params).fit(R, callback=look)
    np.testing.assert_allclose(model.history_["objective"][1:], whole[1:], rtol=1e-5)  # 6e-6 at the baseline level
    np.testing.assert_allclose(model.history_["objective"][0], whole[0], rtol=1e-3)


@pytest.mark.many_steps
@pytest.mark.parametrize("scaling", ["none", "ials"])
@pytest.mark.parametrize("weighting", ["hu", "ials"])
def test_a_fit_on_a_fixed_side_in_float16_goes_the_same_way(monkeypatch, scaling, weighting):
    """Large fixed sides are kept in 16 bits; a few rows stop a step earlier or later than they would."""
    R = sp.random_array((900, 400), density=0.05, format="csr", rng=np.random.default_rng(0))
    R.data = np.ceil(9 * R.data**4)
    params = {"factors": 32, "iterations": 8, "weighting": weighting, "regularization_scaling": scaling}
    plain = ImplicitALS(random_state=0, **params).fit(R)
    seen = []
    half_sweep = _implicit_objective.half_sweep

    def spy(problems, own, basis, *others):
        seen.append(basis.factors.dtype)
        return half_sweep(problems, own, basis, *others)

    monkeypatch.setattr(_implicit_objective, "half_sweep", spy)
    monkeypatch.setattr(_basis, "NARROW_BYTES", 0)
    monkeypatch.setattr(_basis, "NARROW_ENTRIES", 0)
    monkeypatch.setattr(_als, "NARROW_GAIN", -np.inf)
    narrow = ImplicitALS(random_state=0, **params).fit(R)
    monkeypatch.setattr(_basis, "NARROW_ENTRIES", R.nnz + 1)
    few = len(seen)
    ImplicitALS(random_state=0, **params | {"iterations": 1}).fit(R)  # too few interactions
    assert set(seen[few:]) == {np.dtype(np.float32)}
    monkeypatch.setattr(_basis, "NARROW_ENTRIES", R.nnz)
    del seen[few:]
    expected = np.float16 if active_backend().name == "cython" else np.float32  # the others would widen them again
    assert set(seen) == {np.dtype(expected)}
    np.testing.assert_allclose(narrow.history_["objective"], plain.history_["objective"], rtol=1e-4)
    np.testing.assert_allclose(narrow.history_["user_cg_steps"], plain.history_["user_cg_steps"], atol=0.01)
    distance = np.linalg.norm(narrow.user_factors - plain.user_factors)
    assert distance < 0.01 * np.linalg.norm(plain.user_factors)
    seen.clear()
    monkeypatch.setattr(_als, "NARROW_GAIN", 1e-4)
    begun = ImplicitALS(random_state=0, **params | {"iterations": 1}).fit(R)
    begun.set_params(warm_start=True, iterations=2).fit(R)  # far from the end, which it does not know at first
    assert seen == 2 * [np.dtype(expected)] + 2 * [np.dtype(np.float32)] + 2 * [np.dtype(expected)]
    seen.clear()
    for tol, dtype in ((0.01, "float32"), (0.3, "float64")):  # not where more digits are asked for
        ImplicitALS(random_state=0, tol=tol, dtype=dtype, **params | {"iterations": 1}).fit(R)
    narrow.recommend(None, user_items=R[:1])
    assert np.dtype(np.float16) not in seen
    fresh = ImplicitALS(random_state=0, **params).fit(R)
    fresh.explain(3, 5)
    assert [basis.factors.dtype for _, _, basis in fresh._guard.derived["bases"]] == [np.float32]
    no_bound = {"regularization_scaling": "count", "unobserved_weight": 0.0}
    for weak in ({"unobserved_weight": 1e-3}, {"factors": 31}, no_bound):
        seen.clear()
        ImplicitALS(random_state=0, **params | weak | {"iterations": 1}).fit(R)
        assert np.dtype(np.float16) not in seen


@pytest.mark.many_steps
@pytest.mark.parametrize("acceleration", ["nesterov", None])
@pytest.mark.parametrize(("weighting", "scaling"), [("log", "ials"), ("hu", "none"), ("hu", "count")])
def test_the_objective_never_rises_with_a_fixed_side_in_float16(monkeypatch, acceleration, weighting, scaling):
    """Nor from a warm start; what it is rounded to may hide what the last iterations gain."""
    R = sp.random_array((900, 400), density=0.05, format="csr", rng=np.random.default_rng(0))
    R.data = np.ceil(9 * R.data**4)
    monkeypatch.setattr(_basis, "NARROW_BYTES", 0)
    monkeypatch.setattr(_basis, "NARROW_ENTRIES", 0)
    model = ImplicitALS(
        factors=32, weighting=weighting, regularization=3.0, regularization_scaling=scaling, acceleration=acceleration,
        iterations=60, random_state=0,
    )  # fmt: skip
    first = model.fit(R).history_["objective"]
    again = model.set_params(warm_start=True, iterations=5).fit(R).history_["objective"]
    objective = np.array(first + again)
    assert (np.diff(objective) <= 1e-7 * objective[1:]).all()


def test_factors_much_smaller_than_lambda_are_not_rounded_to_zero(monkeypatch):
    R = sp.random_array((900, 400), density=0.05, format="csr", rng=np.random.default_rng(0))
    params = {"factors": 32, "regularization_scaling": "none", "regularization": 1.0, "init_scale": 1e-12}
    usual = ImplicitALS(iterations=5, random_state=0, **params).fit(R)
    monkeypatch.setattr(_basis, "NARROW_BYTES", 0)
    monkeypatch.setattr(_basis, "NARROW_ENTRIES", 0)
    monkeypatch.setattr(_als, "NARROW_GAIN", -np.inf)
    tiny = ImplicitALS(iterations=5, random_state=0, **params).fit(R)
    np.testing.assert_allclose(tiny.history_["objective"], usual.history_["objective"], rtol=1e-3)


@pytest.mark.parametrize("lambdas", [(0.1, 0.1), (0.1, 30.0)], ids=["one lambda", "many"])
@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("w0", [0.02, 1.0, 50.0])
def test_a_fixed_side_in_float16_moves_the_objective_of_a_half_sweep_by_1e_7(monkeypatch, lambdas, size, w0):
    """Columns with variances over five orders of magnitude, rows over nine; of any size."""
    if active_backend().name != "cython":
        pytest.skip("only the Cython kernels read float16")
    rng = np.random.default_rng(0)
    f, m, n = 40, 300, 4000
    Y = rng.standard_normal((n, f)) * np.logspace(0, -2.5, f) * 10 ** rng.uniform(-4, 0.5, (n, 1)) * size
    Y = Y.astype(np.float32)
    rows = sp.random_array((m, n), density=0.01, format="csr", rng=rng, dtype=np.float32)
    lam = (np.geomspace(*lambdas, m) * w0 * size**2).astype(np.float32)
    weight, indices = 5 * rows.data, rows.indices
    problems = RowProblems(rows.indptr.astype(np.int64), indices, weight, w0, lam, "user")
    gram, wide = w0 * Y.T.astype(np.float64) @ Y, Y.astype(np.float64)

    def solve(narrow_bytes):
        monkeypatch.setattr(_basis, "NARROW_BYTES", narrow_bytes)
        monkeypatch.setattr(_basis, "NARROW_ENTRIES", 0)
        loose = Solver(active_backend(), "cg", 0.3, 200, 2)
        basis = _basis.Basis.of(Y, w0, loose, problems, padded=True)
        solution = _half_sweep.half_sweep(problems, None, basis, dataclasses.replace(loose, tol=1e-5))
        X = solution.factors.astype(np.float64)
        scores = np.einsum("ef,ef->e", np.repeat(X, np.diff(rows.indptr), axis=0), wide[indices])
        objective = np.einsum("uf,fg,ug", X, gram, X) + (lam * (X**2).sum(axis=1)).sum()
        objective += ((weight * scores - 2 * (weight + w0)) * scores).sum()
        return basis, objective, solution.objective

    (basis, moved, recorded), (plain, exact, _) = solve(0), solve(1 << 40)
    assert (basis.factors.dtype, plain.factors.dtype) == (np.float16, np.float32)
    assert 2.0**8 < np.abs(basis.factors).max() <= 2.0**15
    assert abs(moved - exact) < 1e-7 * abs(exact)
    assert abs(recorded - exact) < 1e-4 * abs(exact)


@pytest.mark.parametrize("acceleration", ["nesterov", None])
@pytest.mark.parametrize(("users", "items"), [(1.0, 1e6), (1e4, 1e4), (1.0, 1e8), (1e7, 1.0)])
def test_a_warm_start_from_factors_much_too_large_knows_its_objective(acceleration, users, items):
    """Rows start at 0 where that is better: nothing of the sums is lost to what the start had been."""
    R = sp.random_array((300, 120), density=0.1, format="csr", rng=np.random.default_rng(0))
    model = ImplicitALS(
        factors=8, weighting="hu", alpha=1.0, regularization=0.5, regularization_scaling="none", iterations=2,
        acceleration=acceleration, random_state=0,
    ).fit(R)  # fmt: skip
    model.user_factors, model.item_factors = model.user_factors * np.float32(users), model.item_factors * items
    dense, whole = R.toarray(), []

    def look(state):
        X, Y = state.user_factors.astype(np.float64), state.item_factors.astype(np.float64)
        errors = (1 + dense) * ((dense > 0) - X @ Y.T) ** 2
        whole.append(errors.sum() + 0.5 * ((X**2).sum() + (Y**2).sum()))

    model.set_params(warm_start=True, iterations=4).fit(R, callback=look)
    np.testing.assert_allclose(model.history_["objective"], whole, rtol=1e-4)


def test_cutting_a_half_sweep_into_calls_changes_no_bit(monkeypatch):
    """Between two calls Ctrl-C is heard."""
    R = sp.random_array((200, 80), density=0.1, format="csr", rng=np.random.default_rng(0))
    whole = ImplicitALS(factors=8, iterations=2, random_state=0).fit(R)
    calls = []
    cut = _half_sweep._calls
    monkeypatch.setattr(_half_sweep, "ENTRIES_PER_CALL", 100)
    monkeypatch.setattr(_half_sweep, "_calls", lambda indptr: calls.append(list(cut(indptr))) or calls[-1])
    parts = ImplicitALS(factors=8, iterations=2, random_state=0).fit(R)
    assert min(map(len, calls)) > 10
    assert parts.user_factors.tobytes() == whole.user_factors.tobytes()
    assert parts.item_factors.tobytes() == whole.item_factors.tobytes()


def test_ctrl_c_at_any_moment_leaves_the_last_complete_iteration():
    R = sp.random_array((2000, 300), density=0.05, format="csr", rng=np.random.default_rng(0))
    model = ImplicitALS(factors=8, iterations=5000, random_state=0)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it

    def press(state):
        if state.iteration == 2:
            threading.Thread(target=_sigint_after, args=(0.05,)).start()

    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(R, callback=press)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert_is_the_iteration_it_says(model, R, 2)
    model.set_params(iterations=1).fit(R)  # and the model still fits
    assert model.n_iter_ == 1


def _sigint_after(seconds):
    time.sleep(seconds)
    if os.name == "nt":  # os.kill would end the process
        signal.raise_signal(signal.SIGINT)
    else:
        os.kill(os.getpid(), signal.SIGINT)


def assert_is_the_iteration_it_says(model, R, least):
    """The model is what a fit of `n_iter_` iterations would have left, in every attribute."""
    assert model.n_iter_ >= least
    whole = ImplicitALS(factors=model.factors, iterations=model.n_iter_, random_state=0).fit(R)
    assert model.user_factors.tobytes() == whole.user_factors.tobytes()
    assert model.item_factors.tobytes() == whole.item_factors.tobytes()
    assert model.history_["objective"] == whole.history_["objective"]
    assert len(model.history_["seconds"]) == model.n_iter_
    assert model.interactions_.shape == R.shape
    assert model.backend_ == whole.backend_


def test_an_interrupted_first_iteration_leaves_the_model_unfitted(monkeypatch):
    monkeypatch.setattr("alternant.models.als.implicit_objective.half_sweep", _raise_interrupt)
    model = ImplicitALS(factors=4)
    with pytest.raises(KeyboardInterrupt):
        model.fit(sp.csr_array(feedback()))
    assert vars(model) == vars(ImplicitALS(factors=4))


def _raise_interrupt(*_):
    raise KeyboardInterrupt


def test_the_progress_bar_shows_the_objective(capsys):
    R = sp.csr_array(feedback())
    model = ImplicitALS(factors=4, iterations=2, random_state=0).fit(R, show_progress=True)
    shown = capsys.readouterr().err
    assert "ImplicitALS" in shown
    assert "2/2" in shown
    assert f"objective={model.history_['objective'][-1]:.6g}" in shown
    model.fit(R)  # not a terminal
    model.fit(R, show_progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("stream", ["None", "closed", "object with a method write", "terminal that goes away"])
def test_no_progress_bar_ends_a_fit(monkeypatch, stream):
    class Terminal(io.StringIO):
        left = 1

        def isatty(self):
            return True

        def write(self, text):
            self.left -= 1
            if self.left < 0:
                raise BrokenPipeError
            return super().write(text)

    class Writer:
        def write(self, text):
            pass

    streams = {
        "None": None, "closed": io.StringIO(), "object with a method write": Writer(),
        "terminal that goes away": Terminal(),
    }  # fmt: skip
    streams["closed"].close()
    monkeypatch.setattr(sys, "stderr", streams[stream])
    for show in (None, True, False):
        model = ImplicitALS(factors=4, iterations=3, random_state=0).fit(sp.csr_array(feedback()), show_progress=show)
        assert model.n_iter_ == 3
        assert len(list(model.recommend_all(3, show_progress=show))) == 1


# --- warm start -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_warm_start_continues_as_if_the_fit_had_never_stopped(solver, dtype):
    R = sp.csr_array(feedback(40, 30))
    params = {"factors": 6, "solver": solver, "dtype": dtype, "random_state": 0, "acceleration": None, "tol": 0.01}
    whole = ImplicitALS(iterations=5, **params).fit(R)
    parts = ImplicitALS(iterations=2, warm_start=True, **params).fit(R)
    first = parts.history_["objective"]
    parts.set_params(iterations=3).fit(R)
    assert parts.user_factors.tobytes() == whole.user_factors.tobytes()
    assert parts.item_factors.tobytes() == whole.item_factors.tobytes()
    assert first + parts.history_["objective"] == whole.history_["objective"]
    assert parts.n_iter_ == 3


def test_a_warm_start_keeps_known_rows_and_draws_new_ones():
    R = feedback(40, 30)
    model = ImplicitALS(factors=6, warm_start=True, random_state=0, iterations=20).fit(sp.csr_array(R[:35, :25]))
    known = model.item_factors
    X, Y = model._start(40, 30)
    assert X[:35].tobytes() == model.user_factors.tobytes()
    assert (X[35:] == 0).all()
    assert Y[:25].tobytes() == known.tobytes()
    assert (Y[25:] != 0).all()
    model.fit(sp.csr_array(R))
    assert model.user_factors.shape == (40, 6)
    assert model.interactions_.shape == (40, 30)


def test_without_warm_start_a_second_fit_forgets_the_first():
    R = sp.csr_array(feedback())
    model = ImplicitALS(factors=4, random_state=0).fit(sp.csr_array(feedback(20, 15, seed=3)))
    model.fit(R)
    assert model.item_factors.tobytes() == ImplicitALS(factors=4, random_state=0).fit(R).item_factors.tobytes()
    assert model.user_factors.shape == (13, 4)


def test_a_warm_start_may_change_the_dtype():
    R = sp.csr_array(feedback())
    model = ImplicitALS(factors=4, random_state=0, warm_start=True).fit(R)
    model.set_params(dtype="float64").fit(R)
    assert model.user_factors.dtype == model.item_factors.dtype == np.float64
