"""ExplicitALS: half-sweeps and objective against dense formulas written here, and what ratings and a fit mean."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from alternant import ExplicitALS
from alternant.models import NotFittedError, SingularRowError

EXACT = {"solver": "cholesky", "dtype": "float64"}
EXACT_CG = {"solver": "cg", "tol": 1e-15, "max_cg_steps": 300, "dtype": "float64"}
SOLVERS = [pytest.param(EXACT, id="cholesky"), pytest.param(EXACT_CG, id="cg")]
SCALINGS = ["none", "count"]
LAMBDA = (0.3, 0.5)
TABLE = np.random.default_rng(5).integers(1, 6, (50, 200)).astype(float)  # the course example: random ratings 1 to 5


def rated(n_users=13, n_items=9, seed=0, share=0.6):
    """Ratings 1 to 5 with NaN for what is missing; a user and an item without any; some ratings are 0."""
    rng = np.random.default_rng(seed)
    R = rng.integers(0, 6, (n_users, n_items)).astype(float)
    R[rng.random(R.shape) > share] = np.nan
    R[5], R[:, 4] = np.nan, np.nan
    return R


def sparse(R, layout="csr"):
    users, items = np.nonzero(~np.isnan(R))
    return sp.coo_array((R[users, items], (users, items)), shape=R.shape).asformat(layout)


def weights(R, seed=3):
    return np.random.default_rng(seed).uniform(0.2, 3, R.shape)


# --- the oracle: dense, one row at a time, nothing of the library's ---------------------------------------------------


def oracle_lambda(R, lam, scaling):
    return lam * (~np.isnan(R)).sum(axis=1) if scaling == "count" else np.full(len(R), lam)


def oracle_sweep(R, W, Y, other_bias, mean, lam, scaling, biases):
    """Solve every row of R; returns factors, biases, and the mean after it took its part of them."""
    lambdas, f = oracle_lambda(R, lam, scaling), Y.shape[1]
    X, b = np.zeros((len(R), f)), np.zeros(len(R))
    for u in range(len(R)):
        seen = ~np.isnan(R[u])
        if not seen.any():
            continue
        M = np.column_stack([Y[seen], np.ones(seen.sum())]) if biases else Y[seen]
        e = R[u, seen] - mean - other_bias[seen]
        w = W[u, seen]
        z = np.linalg.solve(M.T @ (w[:, None] * M) + lambdas[u] * np.eye(M.shape[1]), M.T @ (w * e))
        X[u], b[u] = z[:f], z[f] if biases else 0
    seen = (~np.isnan(R)).any(axis=1)
    shift = (lambdas[seen] @ b[seen]) / lambdas[seen].sum() if biases else 0.0
    b[seen] -= shift
    return X, b, mean + shift


def oracle_iteration(R, W, Y, bi, mean, scaling, biases, lam=LAMBDA):
    X, bu, mean = oracle_sweep(R, W, Y, bi, mean, lam[0], scaling, biases)
    middle = oracle_objective(R, W, X, bu, Y, bi, mean, scaling, lam)
    Y, bi, mean = oracle_sweep(R.T, W.T, X, bu, mean, lam[1], scaling, biases)
    return X, bu, Y, bi, mean, middle, oracle_objective(R, W, X, bu, Y, bi, mean, scaling, lam)


def oracle_scores(X, bu, Y, bi, mean):
    return mean + bu[:, None] + bi[None, :] + X @ Y.T


def oracle_objective(R, W, X, bu, Y, bi, mean, scaling, lam=LAMBDA):
    error = np.where(np.isnan(R), 0, W * (np.nan_to_num(R) - oracle_scores(X, bu, Y, bi, mean)) ** 2).sum()
    by_users = oracle_lambda(R, lam[0], scaling) @ ((X**2).sum(axis=1) + bu**2)
    return error + by_users + oracle_lambda(R.T, lam[1], scaling) @ ((Y**2).sum(axis=1) + bi**2)


def parts(model):
    """(X, b_u, Y, b_i, mean) of a model."""
    X, Y = model.user_factors, model.item_factors
    if not model.biases:
        return X, np.zeros(len(X)), Y, np.zeros(len(Y)), 0.0
    assert (X[:, -1] == 1).all()
    assert (Y[:, -2] == 1).all()
    return X[:, :-2], X[:, -2], Y[:, :-2], Y[:, -1], model.mean_


def model_from(R, factors, biases, seed=1, **params):
    """A model that holds random factors, biases and mean, and starts from them."""
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((R.shape[0], factors)), rng.standard_normal((R.shape[1], factors))
    if biases:
        X = np.column_stack([X, rng.standard_normal(len(X)), np.ones(len(X))])
        Y = np.column_stack([Y, np.ones(len(Y)), rng.standard_normal(len(Y))])
    model = ExplicitALS(factors=factors, biases=biases, warm_start=True, iterations=1, regularization=LAMBDA, **params)
    model.user_factors, model.item_factors, model.mean_ = X, Y, 2.5 if biases else 0.0
    return model


# --- against the oracle -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("kind", ["sparse", "dense", "dense without gaps"])
def test_an_iteration_is_two_half_sweeps_of_the_dense_formula(kind, weighted, biases, scaling, solver):
    R = TABLE[:13, :9] if kind == "dense without gaps" else rated()
    W = weights(R) if weighted else np.ones(R.shape)
    model = model_from(R, 4, biases, regularization_scaling=scaling, **solver)
    _, _, Y, bi, mean = parts(model)
    X, bu, Y, bi, mean, middle, after = oracle_iteration(R, W, Y, bi, mean, scaling, biases)
    given_ = sparse(R) if kind == "sparse" else R
    sample_weight = None
    if weighted:
        sample_weight = sparse(np.where(np.isnan(R), np.nan, W)) if kind == "sparse" else W
    model.fit(given_, sample_weight=sample_weight)
    tolerance = 1e-12 if solver is EXACT else 1e-9  # conjugate gradients stop at a residual of 1e-13
    for got, expected in zip(parts(model), (X, bu, Y, bi, mean), strict=True):
        np.testing.assert_allclose(got, expected, atol=tolerance * max(np.abs(expected).max(), 1), rtol=0)
    assert model.history_["user_sweep_objective"] == [pytest.approx(middle, rel=1e-10)]
    assert model.history_["objective"] == [pytest.approx(after, rel=1e-10)]
    users, items = np.indices(R.shape)
    np.testing.assert_allclose(model.predict(users, items), oracle_scores(X, bu, Y, bi, mean), atol=1e-8)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("kind", ["sparse", "dense", "dense without gaps"])
def test_folding_in_solves_the_dense_formula_with_the_mean_as_it_is(kind, biases):
    R = TABLE[:13, :9] if kind == "dense without gaps" else rated()
    model = model_from(R, 4, biases, regularization_scaling="count", **EXACT)
    X, bu, Y, bi, mean = parts(model)
    given_ = sparse(R) if kind == "sparse" else R
    W = np.ones(R.shape)
    x, b, after = oracle_sweep(R, W, Y, bi, mean, LAMBDA[0], "count", biases)
    b[(~np.isnan(R)).any(axis=1)] += after - mean  # the mean stays
    users = model.fold_in_users(given_)
    np.testing.assert_allclose(users[:, :4], x, atol=1e-12)
    y, c, after = oracle_sweep(R.T, W.T, X, bu, mean, LAMBDA[1], "count", biases)
    c[(~np.isnan(R)).any(axis=0)] += after - mean
    items = model.fold_in_items(given_.T)
    np.testing.assert_allclose(items[:, :4], y, atol=1e-12)
    if biases:
        np.testing.assert_allclose(users[:, 4:], np.column_stack([b, np.ones(13)]), atol=1e-12)
        np.testing.assert_allclose(items[:, 4:], np.column_stack([np.ones(9), c]), atol=1e-12)


@pytest.mark.nightly
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_converged_fit_is_stationary_in_every_unknown_the_mean_included(biases, scaling):
    R, W = rated(), weights(rated())
    model = ExplicitALS(factors=2, biases=biases, regularization=LAMBDA, regularization_scaling=scaling,
                        iterations=2000, random_state=0, **EXACT)  # fmt: skip
    model.fit(R, sample_weight=W)
    X, bu, Y, bi, mean = parts(model)
    E = np.where(np.isnan(R), 0, W * (np.nan_to_num(R) - oracle_scores(X, bu, Y, bi, mean)))
    lu, li = oracle_lambda(R, LAMBDA[0], scaling), oracle_lambda(R.T, LAMBDA[1], scaling)
    gradients = [lu[:, None] * X - E @ Y, li[:, None] * Y - E.T @ X]
    if biases:
        gradients += [lu * bu - E.sum(axis=1), li * bi - E.sum(axis=0), np.array([E.sum()])]
    assert max(np.abs(g).max() for g in gradients) < 1e-6 * np.abs(R[~np.isnan(R)]).sum()


def test_without_regularization_a_dense_fit_reaches_the_error_of_the_truncated_svd():
    """Eckart and Young 1936: no matrix of rank 2 is nearer."""
    model = ExplicitALS(factors=2, biases=False, regularization=0, iterations=500, random_state=0, dtype="float64")
    model.fit(TABLE)
    singular_values = np.linalg.svd(TABLE, compute_uv=False)
    error = ((TABLE - model.user_factors @ model.item_factors.T) ** 2).sum()
    assert error == pytest.approx((singular_values[2:] ** 2).sum(), rel=1e-6)
    assert model.history_["objective"][-1] == pytest.approx(error, rel=1e-9)


@pytest.mark.many_steps
def test_non_negative_factors_reach_the_error_of_scikit_learn_s_nmf():
    decomposition = pytest.importorskip("sklearn.decomposition", reason="the test extra has scikit-learn")
    model = ExplicitALS(factors=2, biases=False, nonnegative=True, regularization=0, iterations=300, random_state=0,
                        dtype="float64").fit(TABLE)  # fmt: skip
    assert (model.user_factors >= 0).all()
    assert (model.item_factors >= 0).all()
    nmf = decomposition.NMF(2, init="nndsvda", max_iter=5000, tol=1e-9, random_state=0)
    expected = np.linalg.norm(TABLE - nmf.fit_transform(TABLE) @ nmf.components_)
    ours = np.linalg.norm(TABLE - model.user_factors @ model.item_factors.T)
    assert ours <= 1.001 * expected


@pytest.mark.parametrize("complete", [True, False])
def test_non_negative_rows_satisfy_the_conditions_of_karush_kuhn_and_tucker(complete):
    R = TABLE[:13, :9].copy() - 2  # ratings may be negative
    if not complete:
        R[np.isnan(rated())] = np.nan
    model = ExplicitALS(factors=4, biases=False, nonnegative=True, regularization=LAMBDA, iterations=3, random_state=0,
                        dtype="float64", regularization_scaling="none").fit(R)  # fmt: skip
    X, Y = model.user_factors, model.item_factors
    G = LAMBDA[1] * Y - np.where(np.isnan(R), 0, np.nan_to_num(R) - X @ Y.T).T @ X  # of the side solved last
    assert (X >= 0).all()
    assert (Y >= 0).all()
    assert (np.abs(G[Y > 0]) < 1e-7).all()
    assert (G[Y == 0] > -1e-7).all()


OPTIONS = {
    "biases": {},
    "no biases": {"biases": False},
    "non-negative": {"biases": False, "nonnegative": True},
    "conjugate gradients": {"solver": "cg"},
    "few steps": {"solver": "cg", "max_cg_steps": 1, "tol": 0.5},
    "lambda not scaled": {"regularization_scaling": "none", "regularization": (0.2, 2.0)},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-12), ("float32", 2e-6)])
def test_no_half_sweep_raises_the_objective_which_is_the_dense_one(options, weighted, complete, dtype, rounding):
    R = TABLE[:40, :30] if complete else rated(40, 30)
    W = weights(R) if weighted else np.ones(R.shape)
    params = {"regularization": 0.1, "regularization_scaling": "count"} | OPTIONS[options]
    model = ExplicitALS(factors=8, dtype=dtype, iterations=8, random_state=0, **params)
    model.fit(R, sample_weight=W if weighted else None)
    halves = np.ravel([model.history_["user_sweep_objective"], model.history_["objective"]], order="F")
    assert (np.diff(halves) <= rounding * halves[:-1]).all()
    assert halves[-1] < halves[0]
    lam = params["regularization"]
    lam = lam if isinstance(lam, tuple) else (lam, lam)
    X, bu, Y, bi, mean = (np.asarray(part, np.float64) for part in parts(model))
    expected = oracle_objective(R, W, X, bu, Y, bi, mean, params["regularization_scaling"], lam)
    assert halves[-1] == pytest.approx(expected, rel=1e-10 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize("options", OPTIONS)
def test_float32_reaches_the_objective_of_float64(options):
    single, double = (
        ExplicitALS(factors=6, iterations=5, random_state=0, dtype=dtype, **OPTIONS[options]).fit(rated(60, 40))
        for dtype in ("float32", "float64")
    )
    assert single.user_factors.dtype == np.float32
    np.testing.assert_allclose(single.history_["objective"], double.history_["objective"], rtol=1e-4)


@pytest.mark.against_numpy
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("complete", [True, False])
def test_backends_agree(kernels, options, complete, monkeypatch):
    R = TABLE[:20, :15] if complete else rated(20, 15)
    params = {"factors": 5, "iterations": 3, "random_state": 0, "dtype": "float64"} | OPTIONS[options]
    expected = ExplicitALS(backend="numpy", **params).fit(R)
    monkeypatch.setattr(ExplicitALS, "_backend", lambda self: kernels)
    model = ExplicitALS(**params).fit(R)
    users, items = np.indices(R.shape)
    np.testing.assert_allclose(model.predict(users, items), expected.predict(users, items), atol=1e-7)
    np.testing.assert_allclose(model.history_["objective"], expected.history_["objective"], rtol=1e-9)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("complete", [True, False])
def test_the_number_of_threads_changes_no_bit(options, complete, monkeypatch):
    monkeypatch.setattr("alternant.models.als.half_sweep.WORK_PER_THREAD", 1)  # threads even for so little
    R = np.tile(TABLE, (14, 1)) if complete else rated(700, 30, share=0.2)  # more rows than a block
    results = []
    for threads in (1, 2, 8):
        model = ExplicitALS(factors=6, iterations=2, random_state=0, num_threads=threads, **OPTIONS[options]).fit(R)
        folded = model.fold_in_users(R[:50])
        results.append((model.user_factors.tobytes(), model.item_factors.tobytes(), folded.tobytes(), model.mean_))
    assert results[0] == results[1] == results[2]


# --- what ratings mean ------------------------------------------------------------------------------------------------


def fitted(R, **params):
    sample_weight = params.pop("sample_weight", None)
    params = {"factors": 3, "iterations": 3, "random_state": 0} | params
    return ExplicitALS(**params).fit(R, sample_weight=sample_weight)


def same(a, b):
    return a.user_factors.tobytes() == b.user_factors.tobytes() and a.mean_ == b.mean_


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "lil"])
def test_sparse_and_dense_ratings_give_the_same_bits(layout):
    R = rated()
    expected = fitted(R)
    matrix = sparse(R, layout)
    assert same(fitted(matrix), expected)
    assert same(fitted(R.tolist()), expected)
    assert same(fitted(np.ma.masked_invalid(R)), expected)
    assert same(fitted(np.asfortranarray(R)), expected)
    np.testing.assert_array_equal(expected.interactions_.to_scipy().toarray(), np.nan_to_num(R))


def test_a_stored_zero_is_a_rating_of_zero_and_unsorted_entries_are_sorted():
    R = rated()
    matrix = sparse(R)
    assert (matrix.data == 0).any()
    model = fitted(matrix)
    assert len(model.interactions_.data) == (~np.isnan(R)).sum()
    shuffled = np.random.default_rng(0).permutation(matrix.nnz)
    coo = matrix.tocoo()
    coo = sp.coo_array((coo.data[shuffled], (coo.row[shuffled], coo.col[shuffled])), shape=R.shape)
    assert same(fitted(coo), model)
    csr = sparse(R)
    for u in range(len(R)):
        row = slice(csr.indptr[u], csr.indptr[u + 1])
        csr.indices[row], csr.data[row] = csr.indices[row][::-1].copy(), csr.data[row][::-1].copy()
    csr.has_canonical_format = True  # a lie that SciPy believes
    before = csr.indices.copy()
    assert same(fitted(csr), model)
    np.testing.assert_array_equal(csr.indices, before)


@pytest.mark.parametrize("marker", [0, 2, -1, 99.5])
def test_a_marker_says_what_is_missing_in_dense_and_in_sparse_ratings(marker):
    R = rated()
    R[marker == R] = np.nan
    expected = fitted(R)
    marked = np.where(np.isnan(R), marker, R)
    assert same(fitted(marked, missing_value=marker), expected)
    assert same(fitted(sparse(marked), missing_value=marker), expected)
    marked[0, 0] = np.nan  # NaN is missing all the same
    R[0, 0] = np.nan
    assert same(fitted(marked, missing_value=marker), fitted(R))
    if marker != 99.5:
        whole = np.where(np.isnan(R), marker, R).astype(int)
        assert same(fitted(whole, missing_value=marker), fitted(R))


def test_a_pair_rated_twice_is_refused_by_name_since_ratings_do_not_add_up():
    coo = sp.coo_array(([4.0, 3.0, 5.0], ([0, 1, 1], [2, 0, 0])), shape=(2, 3))
    csr = sp.csr_array(([4.0, 3.0, 5.0], [2, 0, 0], [0, 1, 3]), shape=(2, 3))
    for matrix in (coo, csr, sp.csc_array(([3.0, 5.0, 4.0], [1, 1, 0], [0, 2, 2, 3]), shape=(2, 3))):
        with pytest.raises(ValueError, match="each pair once, but row 1, column 0 occurs 2 times"):
            ExplicitALS().fit(matrix)


def test_an_integer_weight_counts_as_so_many_copies_of_the_rating():
    """Two users who rated alike are, to the items, one user of weight 2."""
    R = rated(12, 8, seed=2)
    params = {"factors": 2, "regularization": (0.0, 0.3), "regularization_scaling": "none", "biases": False}
    params |= {"iterations": 3, "dtype": "float64", "random_state": 0}
    R[5], R[:, 4] = [1, 2, 3, 4, 5, 1, 2, 3], rated(12, 8, seed=4)[:, 3]
    W = np.ones(R.shape)
    W[5] = 2
    doubled = ExplicitALS(**params).fit(np.vstack([R, R[5:6]]))
    model = ExplicitALS(**params).fit(R, sample_weight=W)
    np.testing.assert_allclose(model.item_factors, doubled.item_factors, atol=1e-9)


def test_sparse_weights_may_be_stored_in_any_order_and_zero_weights_do_not_count():
    R, W = rated(), weights(rated())
    expected = fitted(R, sample_weight=W)
    pairs = sparse(np.where(np.isnan(R), np.nan, W)).tocoo()
    order = np.random.default_rng(0).permutation(pairs.nnz)
    shuffled = sp.coo_array((pairs.data[order], (pairs.row[order], pairs.col[order])), shape=R.shape)
    assert same(fitted(sparse(R), sample_weight=shuffled), expected)
    assert same(fitted(sparse(R), sample_weight=np.where(np.isnan(R), np.nan, W)), expected)
    marked = np.where(np.isnan(R) & (np.random.default_rng(1).random(R.shape) < 0.5), 99, R)
    pairs = sparse(np.where(np.isnan(marked), np.nan, W))  # for each stored rating, a missing one too
    assert same(fitted(sparse(marked), sample_weight=pairs, missing_value=99), expected)
    W[0] = 0  # a user of no weight: nothing is learned from and about them
    model = fitted(R, sample_weight=W)
    assert (model.user_factors[0, :3] == 0).all()
    other = R.copy()
    other[0] = np.where(np.isnan(R[0]), np.nan, 1 + R[0])
    assert same(fitted(other, sample_weight=W), model)


def test_users_and_items_without_ratings_have_the_bias_and_factors_zero():
    model = fitted(rated())
    np.testing.assert_array_equal(model.user_factors[5], [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(model.item_factors[4], [0, 0, 0, 1, 0])
    assert model.predict(5, 4) == pytest.approx(model.mean_)


# --- bad input --------------------------------------------------------------------------------------------------------

GOOD = sparse(rated())
MODEL = fitted(GOOD)
SPARSE_WEIGHT = sparse(np.where(np.isnan(rated()), np.nan, 1.0))


def put(matrix, value):
    matrix = matrix.copy()
    matrix.data[3] = value
    return matrix


REFUSED = {
    "infinite": (put(GOOD, np.inf), None, ValueError, "ratings must be finite in float32, got inf at row"),
    "too large for float32": (put(GOOD, 1e39), None, ValueError, r"ratings must be finite in float32, got 1e\+39"),
    "complex": (GOOD.astype(complex), None, ValueError, "ratings must hold real numbers, got dtype complex128"),
    "text": ([["a", "b"]], None, TypeError, "ratings must be a SciPy sparse matrix or a table of numbers, got list"),
    "uneven lists": ([[1, 2], [3]], None, ValueError, "ratings must have rows of equal length"),
    "None": (None, None, TypeError, "ratings must be .*, got NoneType"),
    "one dimension": (np.ones(4), None, ValueError, "ratings must have 2 dimensions .*, got 1"),
    "three dimensions": (np.ones((2, 2, 2)), None, ValueError, "ratings must have 2 dimensions .*, got 3"),
    "nothing rated": (np.full((3, 3), np.nan), None, ValueError, "ratings must contain at least one rating"),
    "no user": (np.ones((0, 3)), None, ValueError, r"must not be empty, got 0 sample\(s\) \(shape=\(0, 3\)\)"),
    "weights of another shape": (GOOD, np.ones((2, 2)), ValueError, "sample_weight must have the shape of the ratings"),
    "a weight missing": (GOOD, SPARSE_WEIGHT[:, ::-1].tocsr(), ValueError, "sample_weight must store the same pairs"),
    "a negative weight": (GOOD, put(SPARSE_WEIGHT, -1), ValueError, "sample_weight must be 0 or more .*, got -1"),
    "an infinite weight": (GOOD, put(SPARSE_WEIGHT, np.inf), ValueError, "sample_weight must be 0 or more .*, got inf"),
    "a weight of NaN": (GOOD, put(SPARSE_WEIGHT, np.nan), ValueError, "sample_weight must be 0 or more .*, got nan"),
    "no weight": (GOOD, 0 * SPARSE_WEIGHT, ValueError, "sample_weight must have a weight above zero, got none"),
}  # fmt: skip


def refuses(error, message, call, model):
    before = {name: repr(value) for name, value in vars(model).items()}
    bits = model.user_factors.tobytes()
    with pytest.raises(error, match=message) as caught:
        call()
    assert not re.search(r"[.!] [A-Z]|\.$|\n", str(caught.value)), f"more than one sentence: {caught.value}"
    assert {name: repr(value) for name, value in vars(model).items()} == before
    assert model.user_factors.tobytes() == bits


@pytest.mark.parametrize("case", REFUSED)
def test_bad_ratings_and_weights_are_refused_with_one_sentence_and_change_nothing(case):
    ratings, sample_weight, error, message = REFUSED[case]
    refuses(error, message, lambda: MODEL.fit(ratings, sample_weight=sample_weight), MODEL)


def test_a_frame_of_columns_is_refused_with_the_way_to_make_a_matrix_of_it():
    class Frame:
        columns = ("user", "item", "rating")

    refuses(TypeError, r"got Frame: pass alternant\.Interactions\.from_frame", lambda: MODEL.fit(Frame()), MODEL)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"nonnegative": True}, ValueError, "nonnegative=True requires biases=False, .*: pass biases=False"),
        ({"biases": 1}, TypeError, "biases must be True or False, got 1"),
        ({"nonnegative": "yes"}, TypeError, "nonnegative must be True or False, got 'yes'"),
        ({"missing_value": "?"}, TypeError, "missing_value must be a number or NaN, got '?'"),
        ({"missing_value": None}, TypeError, "missing_value must be a number or NaN, got None"),
        ({"regularization_scaling": "ials"}, ValueError, "regularization_scaling must be one of 'none', 'count', got"),
        ({"regularization": (1, -1)}, ValueError, "regularization must be at least 0"),
        ({"factors": 0}, ValueError, "factors must be at least 1"),
    ],
)
def test_wrong_parameters_are_refused_by_the_constructor_and_by_set_params(params, error, message):
    with pytest.raises(error, match=message.replace("'?'", r"'\?'")):
        ExplicitALS(**params)
    refuses(error, message.replace("'?'", r"'\?'"), lambda: MODEL.set_params(**params), MODEL)


@pytest.mark.parametrize("dense", [True, False])
def test_new_rows_of_another_width_are_refused_dense_or_sparse(dense):
    R = rated()
    wrong = R.T if dense else sparse(R.T)
    for call in (
        lambda: MODEL.fold_in_users(wrong),
        lambda: MODEL.recommend(None, user_items=wrong),
        lambda: MODEL.recommend([0], user_items=wrong),
        lambda: MODEL.partial_fit_users(np.arange(9), wrong),
    ):
        refuses(ValueError, r"user_items must have 9 columns .*, got 13: it looks transposed; pass user_items\.T", call,
                MODEL)  # fmt: skip
    refuses(ValueError, "user_items must have 2 dimensions .*, got 1", lambda: MODEL.fold_in_users(R[0]), MODEL)


def test_a_singular_row_is_named_and_the_advice_is_to_regularize():
    R = rated()
    refuses(SingularRowError, "user 0 is singular, .*: raise the regularization",
            lambda: fitted(R, factors=20, regularization=0, biases=False), MODEL)  # fmt: skip
    refuses(SingularRowError, "is singular, .*: raise the regularization",
            lambda: fitted(TABLE[:10, :5], factors=8, regularization=0, biases=False), MODEL)  # fmt: skip


@pytest.mark.parametrize("params", [{}, {"dtype": "float64"}, {"biases": False, "nonnegative": True}])
def test_numbers_that_overflow_are_refused_and_never_become_nan(params):
    R = rated()
    R[0, :4] = 1e38 if params.get("dtype") != "float64" else 1e300
    with pytest.raises((OverflowError, SingularRowError)):
        fitted(R, sample_weight=np.full(R.shape, 1e10), **params)


@given(
    st.lists(st.lists(st.sampled_from([np.nan, 0.0, 1.0, 5.0, -3.0, np.inf]), min_size=3, max_size=3), min_size=1,
             max_size=4),
    st.sampled_from([np.nan, 0, 5]),
)  # fmt: skip
def test_any_small_table_is_fitted_to_finite_factors_or_refused(table, marker):
    R = np.array(table)
    known = ~(np.isnan(R) | (marker == R))
    model = ExplicitALS(factors=2, iterations=2, missing_value=marker, random_state=0)
    if np.isinf(R).any() or not known.any():
        with pytest.raises(ValueError, match=r"^ratings must"):
            model.fit(R)
        with pytest.raises(NotFittedError):
            model.recommend(0)
    else:
        model.fit(R)
        np.testing.assert_array_equal(model.interactions_.data, R[known])
        assert np.isfinite(model.user_factors).all()
        assert np.isfinite(model.mean_)


# --- serving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", [True, False])
def test_recommendations_are_the_unrated_items_by_predicted_rating(biases):
    R = rated()
    model = fitted(R, biases=biases, dtype="float64")
    S = oracle_scores(*parts(model))
    ids, scores = model.recommend(np.arange(13), 3)
    for u in range(13):
        order = [i for i in np.argsort(-S[u], kind="stable") if np.isnan(R[u, i])][:3]
        np.testing.assert_array_equal(ids[u][ids[u] >= 0], order)
        np.testing.assert_allclose(scores[u][ids[u] >= 0], S[u, order], rtol=1e-12)
    new_ids, new_scores = model.recommend(None, 3, user_items=R[:2])
    x = model.fold_in_users(R[:2])
    expected = np.where(np.isnan(R[:2]), x @ model.item_factors.T + model.mean_, -np.inf)
    np.testing.assert_array_equal(new_ids, np.argsort(-expected, axis=1, kind="stable")[:, :3])
    np.testing.assert_allclose(new_scores, np.take_along_axis(expected, new_ids, 1), rtol=1e-12)


def test_neighbours_are_alike_in_their_factors_whatever_their_biases():
    model = fitted(rated(), dtype="float64")
    Y = model.item_factors[:, :-2]
    ids, cosines = model.similar_items(0, 3, shrinkage=0)
    for i, cosine in zip(ids, cosines, strict=True):
        assert cosine == pytest.approx(Y[0] @ Y[i] / np.linalg.norm(Y[0]) / np.linalg.norm(Y[i]))


def test_partial_fits_fold_in_and_remember_the_ratings():
    R = rated()
    model = fitted(R, dtype="float64")
    expected, mean = model.fold_in_users(R[:2]), model.mean_
    model.partial_fit_users([13, 3], R[:2])
    np.testing.assert_array_equal(model.user_factors[[13, 3]], expected)
    assert model.mean_ == mean
    assert model.interactions_.shape == (14, 9)
    np.testing.assert_array_equal(model.interactions_.to_scipy().toarray()[13], np.nan_to_num(R[0]))
    column = np.vstack([R, R[:1]])[:, :1].T
    items = model.fold_in_items(column)
    model.partial_fit_items(9, sparse(column))
    np.testing.assert_array_equal(model.item_factors[[9]], items)
    assert model.predict(0, 9) == pytest.approx(model.user_factors[0] @ items[0] + mean)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("mmap", [True, False])
def test_a_loaded_model_is_the_saved_one(tmp_path, options, mmap):
    R = rated()
    model = fitted(R, missing_value=99, **OPTIONS[options])
    model.save(tmp_path / "m")
    loaded = ExplicitALS.load(tmp_path / "m", mmap=mmap)
    assert same(loaded, model)
    assert loaded.get_params() == model.get_params()
    users, items = np.indices(R.shape)
    np.testing.assert_array_equal(loaded.predict(users, items), model.predict(users, items))
    np.testing.assert_array_equal(loaded.fold_in_users(R), model.fold_in_users(R))
    for got, expected in zip(loaded.recommend(np.arange(13), 4), model.recommend(np.arange(13), 4), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_nan_as_the_marker_survives_a_file(tmp_path):
    MODEL.save(tmp_path / "m")
    assert np.isnan(ExplicitALS.load(tmp_path / "m").missing_value)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_warm_start_continues_as_if_the_fit_had_never_stopped(options):
    R = rated(30, 20)
    whole = fitted(R, iterations=5, **OPTIONS[options])
    model = fitted(R, iterations=2, warm_start=True, **OPTIONS[options])
    model.set_params(iterations=3).fit(R)
    assert same(model, whole)
    assert model.item_factors.tobytes() == whole.item_factors.tobytes()


def test_a_warm_start_keeps_known_rows_and_adds_new_ones():
    R = rated(30, 20)
    model = fitted(R[:25, :15], warm_start=True)
    X, Y = model._start(30, 20)
    assert X[:25].tobytes() == model.user_factors.tobytes()
    np.testing.assert_array_equal(X[25:], np.tile([0, 0, 0, 0, 1], (5, 1)))
    assert Y[:15].tobytes() == model.item_factors.tobytes()
    np.testing.assert_array_equal(Y[15:, 3:], np.tile([1, 0], (5, 1)))
    assert model.fit(R).user_factors.shape == (30, 5)


# --- callbacks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", [True, False])
def test_after_each_half_sweep_a_callback_sees_predictions_and_errors_that_are_right(biases):
    R = rated()
    model = model_from(R, 3, biases, regularization_scaling="count", **EXACT).set_params(iterations=3)
    _, _, Y, bi, mean = parts(model)
    expected, W, seen = [], np.ones(R.shape), ~np.isnan(R)
    for _ in range(3):
        X, bu, mean = oracle_sweep(R, W, Y, bi, mean, LAMBDA[0], "count", biases)
        expected.append((oracle_scores(X, bu, Y, bi, mean), oracle_objective(R, W, X, bu, Y, bi, mean, "count")))
        Y, bi, mean = oracle_sweep(R.T, W.T, X, bu, mean, LAMBDA[1], "count", biases)
        expected.append((oracle_scores(X, bu, Y, bi, mean), oracle_objective(R, W, X, bu, Y, bi, mean, "count")))
    states = []
    model.fit(R, callback=states.append, callback_at="half_sweep")
    assert [state.solved for state in states] == ["users", "items"] * 3
    for state, (scores, objective) in zip(states, expected, strict=True):
        np.testing.assert_allclose(state.predictions, scores[seen], atol=1e-10)
        np.testing.assert_allclose(state.errors, (R - scores)[seen], atol=1e-10)
        assert state.objective == pytest.approx(objective, rel=1e-10)
        np.testing.assert_array_equal(R[state.users, state.items], R[seen])
    assert states[-1].state["mean_"] == model.mean_


def test_an_exception_in_a_callback_leaves_the_last_complete_iteration_mean_included():
    R = rated()

    def interrupt(state):
        if state.iteration == 3 and state.solved == "users":
            raise KeyboardInterrupt

    model = ExplicitALS(factors=3, iterations=9, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(R, callback=interrupt, callback_at="half_sweep")
    assert same(model, fitted(R, iterations=2))
    assert model.n_iter_ == 2


# --- quality ----------------------------------------------------------------------------------------------------------


def test_the_factors_beat_mean_and_biases_on_planted_ratings():
    """Measured: RMSE of held-out ratings 0.34 against 0.90 of mean and biases alone; the noise itself is 0.3."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((300, 3)), rng.standard_normal((120, 3)) / 2
    S = 3.5 + rng.normal(0, 0.4, (300, 1)) + rng.normal(0, 0.5, (1, 120)) + X @ Y.T
    R = S + rng.normal(0, 0.3, S.shape)
    train, test = rng.random(S.shape) < 0.3, rng.random(S.shape) < 0.1
    test &= ~train
    users, items = np.nonzero(test)

    def rmse(model):
        return np.sqrt(((model.predict(users, items) - R[test]) ** 2).mean())

    train_ratings = np.where(train, R, np.nan)
    params = {"regularization": 0.05, "random_state": 0, "iterations": 30}
    ours = rmse(ExplicitALS(factors=3, **params).fit(train_ratings))
    # A single factor regularized away: mean and biases are left.
    alone = ExplicitALS(factors=1, init_scale=1e-30, iterations=1, regularization=0.05, random_state=0)
    assert ours < 0.45 * rmse(alone.fit(train_ratings))
    assert ours < 0.38
    # Conjugate gradients, the default, stop late enough for the error of exact solutions.
    params["iterations"] = 2
    models = ExplicitALS(factors=16, **params), ExplicitALS(factors=16, solver="cholesky", **params)
    near, exact = (rmse(model.fit(train_ratings)) for model in models)
    assert near == pytest.approx(exact, rel=1e-3)


def test_the_objective_of_items_kept_in_16_bits_is_theirs():
    """With biases, rows of 65 numbers are padded; items of 2,500 ratings take more than 512 KiB."""
    rng = np.random.default_rng(0)
    R = sp.csr_array(np.where(rng.random((3000, 12)) < 0.85, rng.integers(1, 6, (3000, 12)), 0).astype(np.float64))
    narrow, wide = (
        ExplicitALS(factors=63, iterations=3, random_state=0, solver="cg", tol=0.1, dtype=dtype).fit(R).history_
        for dtype in ("float32", "float64")
    )
    assert narrow["item_cg_steps"][0] > 1
    np.testing.assert_allclose(narrow["objective"], wide["objective"], rtol=5e-6)
