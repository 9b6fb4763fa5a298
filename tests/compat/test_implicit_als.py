"""`alternant.compat.implicit.als` against formulas in plain NumPy, and where implicit itself fails."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse

import alternant.compat.implicit as implicit
from alternant.compat.implicit.cpu import _als
from alternant.compat.implicit.cpu.als import calculate_loss, least_squares, least_squares_cg
from alternant.compat.implicit.recommender_base import ModelFitError
from alternant.compat.implicit.utils import ParameterWarning

Model = implicit.cpu.als.AlternatingLeastSquares


def interactions(users=30, items=20, seed=0, negative=True):
    rng = np.random.default_rng(seed)
    table = rng.integers(1, 6, (users, items)) * (rng.random((users, items)) < 0.3)
    if negative:
        table = table * rng.choice([1, 1, 1, -1], table.shape)
    table[3] = 0
    return sparse.csr_matrix(table.astype(np.float32))


R = interactions()


def fitted(matrix=R, **options):
    options = {"factors": 5, "regularization": 0.1, "alpha": 2.0, "iterations": 4, "random_state": 1} | options
    model = implicit.als.AlternatingLeastSquares(**options)
    model.fit(matrix, show_progress=False)
    return model


def row_by_formula(r, Y, regularization):
    """Solve one user's problem as Hu et al. write it, with dense matrices over all items."""
    c = np.where(r != 0, abs(r), 1.0)
    p = (r > 0).astype(float)
    return np.linalg.solve((Y.T * c) @ Y + regularization * np.eye(Y.shape[1]), (Y.T * c) @ p)


def loss_by_formula(r, X, Y, regularization):
    c, p = np.where(r != 0, abs(r), 1.0), (r > 0).astype(float)
    return ((c * (p - X @ Y.T) ** 2).sum() + regularization * ((X**2).sum() + (Y**2).sum())) / c.sum()


# Fits


def plain_steps(r, X, Y, regularization, steps):
    """Take this number of steps of conjugate gradients without a preconditioner in every row, as implicit does."""
    c = np.where(r > 0, r, 1.0)
    for row, weight in enumerate(c):
        A, b = (Y.T * weight) @ Y + regularization * np.eye(Y.shape[1]), Y.T @ (weight * (r[row] > 0))
        x, residual = X[row], b - A @ X[row]
        direction = residual.copy()
        for _ in range(steps):
            before = residual @ residual
            step = before / (direction @ A @ direction)
            x += step * direction
            residual = residual - step * (A @ direction)
            direction = residual + (residual @ residual) / before * direction


def test_heavy_confidences_cost_no_accuracy_against_as_many_plain_steps():
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, 201) ** 0.7
    chances = 0.1 * np.outer(rng.lognormal(-0.5, 1, 200), popularity / popularity.mean())
    matrix = sparse.csr_matrix((rng.integers(1, 6, (200, 200)) * (rng.random((200, 200)) < chances)).astype(np.float32))
    X, Y = 0.01 * rng.random((200, 32)), 0.01 * rng.random((200, 32))
    model = Model(factors=32, regularization=0.1, alpha=300.0, iterations=4, dtype=np.float64)
    model.user_factors, model.item_factors = X.copy(), Y.copy()
    model.fit(matrix, show_progress=False)
    r = 300.0 * matrix.toarray().astype(float)
    for _ in range(4):
        plain_steps(r, X, Y, 0.1, 3)
        plain_steps(r.T, Y, X, 0.1, 3)
    reached = loss_by_formula(r, model.user_factors, model.item_factors, 0.1)
    assert reached < 0.95 * loss_by_formula(r, X, Y, 0.1)


@pytest.mark.parametrize(("use_cg", "iterations"), [(False, 3), (True, 60)])
def test_factors_solve_the_rows_of_the_paper(use_cg, iterations):
    model = fitted(dtype=np.float64, use_cg=use_cg, iterations=iterations)
    X, Y, r = model.user_factors, model.item_factors, 2 * R.toarray().astype(float)
    expected = [row_by_formula(column, X, 0.1) for column in r.T]
    np.testing.assert_allclose(Y, expected, rtol=0, atol=1e-10 if not use_cg else 2e-3)


def test_initial_factors_are_those_of_implicit():
    model = fitted(iterations=0, calculate_training_loss=True)
    rng = np.random.default_rng(1)
    users, items = rng.random((30, 5), dtype=np.float32) * 0.01, rng.random((20, 5), dtype=np.float32) * 0.01
    np.testing.assert_allclose(model.user_factors, users, rtol=1e-6)
    np.testing.assert_allclose(model.item_factors, items, rtol=1e-6)


def test_factors_are_the_same_bits_on_any_number_of_threads():
    one, three = (fitted(interactions(400, 300), factors=33, num_threads=threads) for threads in (1, 3))
    assert one.user_factors.tobytes() == three.user_factors.tobytes()
    assert one.item_factors.tobytes() == three.item_factors.tobytes()


def test_a_row_without_entries_is_zero():
    assert not fitted().user_factors[3].any()


def test_a_second_fit_continues_in_place():
    whole, model = fitted(iterations=4), fitted(iterations=2)
    users = model.user_factors
    model.fit(R, show_progress=False)
    assert model.user_factors is users
    np.testing.assert_array_equal(users, whole.user_factors)


def test_a_second_fit_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"^user_items has 31 users, but the model has factors for 30: set user_f"):
        fitted().fit(interactions(31), show_progress=False)


NOT_FINITE = sparse.csr_matrix(np.full((30, 20), np.nan))


@pytest.mark.parametrize(
    ("matrix", "options", "message"),
    [
        (NOT_FINITE, {}, "NaN or infinite"),
        (R, {"regularization": -1.0}, "regularization must be at least 0"),
        (R, {"num_threads": -1}, "num_threads must be"),
        (R, {"iterations": 2.5}, "integer"),
        (R, {"factors": 0}, "^factors must be at least 1, got 0"),
        (sparse.csr_matrix(np.ones((30, 20))), {"alpha": 0.0, "regularization": 0.0, "use_cg": False}, "singular"),
    ],
)
def test_a_failed_first_fit_leaves_a_model_that_takes_other_data(matrix, options, message):
    model = implicit.als.AlternatingLeastSquares(**{"factors": 5, "random_state": 1} | options)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(matrix, show_progress=False)
    assert model.user_factors is None
    assert model.item_factors is None


def test_factors_set_by_hand_have_one_width():
    model = fitted()
    model.item_factors = np.ones((20, 4), np.float32)
    with pytest.raises(ValueError, match=r"^user_factors has 5 columns, but item_factors has 4: set both"):
        model.fit(R, show_progress=False)
    with pytest.raises(ValueError, match=r"^query must have as many columns as items, 4, got 5"):
        model.recommend(0, R[:1])
    with pytest.raises(ValueError, match=r"^X and Y must have the same number of columns, got 5 and 4"):
        model.solver(R, model.user_factors, model.item_factors, 0.1)


def test_a_callback_sees_what_follows_from_the_factors_of_its_iteration():
    model, gaps = fitted(iterations=0), []
    model.iterations = 3

    def compare(*call):
        gaps.append(np.abs(model.YtY - model.item_factors.T.astype(float) @ model.item_factors).max())

    model.fit(R, show_progress=False, callback=compare)
    assert max(gaps) < 1e-5


def test_callbacks_get_iteration_seconds_and_loss():
    calls = []
    model = fitted(iterations=0, calculate_training_loss=True, dtype=np.float64)
    model.iterations = 2
    model.fit_callback = lambda *call: calls.append((*call, model.user_factors.copy(), model.item_factors.copy()))
    model.fit(R, show_progress=False)
    assert [call[0] for call in calls] == [0, 1]
    for _, seconds, loss, X, Y in calls:
        assert seconds > 0
        assert loss == pytest.approx(loss_by_formula(2 * R.toarray(), X, Y, 0.1))
    model.calculate_training_loss = False
    model.fit(R, show_progress=False, callback=lambda *call: calls.append(call))
    assert calls[-1][2] is None


def test_without_regularization_the_solution_has_minimum_norm():
    table = np.kron(np.eye(2), np.ones((5, 4)))  # of rank 2
    model = fitted(sparse.csr_matrix(table), factors=8, regularization=0, alpha=1.0, iterations=10, dtype=np.float64)
    np.testing.assert_allclose(model.user_factors @ model.item_factors.T, table, atol=1e-6)
    Y = model.item_factors
    minimum = np.linalg.lstsq(Y, table[0], rcond=1e-8)[0]
    np.testing.assert_allclose(model.recalculate_user(0, sparse.csr_matrix(table[:1])), minimum, atol=1e-8)


@pytest.mark.parametrize("matrix", [sparse.csr_array(R), R.astype(np.int64), R.astype(np.float64)])
def test_csr_matrices_of_any_kind_are_fitted_alike(matrix):
    np.testing.assert_array_equal(fitted(matrix).user_factors, fitted().user_factors)


def test_index_arrays_of_two_types_are_accepted():
    mixed = R.copy()
    mixed.indptr = mixed.indptr.astype(np.int64)
    np.testing.assert_array_equal(fitted(mixed).user_factors, fitted().user_factors)


def test_other_formats_are_converted_with_a_warning():
    with pytest.warns(ParameterWarning, match=r"pass matrix.tocsr\(\)"):
        model = fitted(R.tocoo())
    np.testing.assert_array_equal(model.user_factors, fitted().user_factors)


def test_read_only_factors_are_replaced_by_a_fit():
    model, expected = fitted(), fitted(iterations=8)
    for factors in (model.user_factors, model.item_factors):
        factors.flags.writeable = False
    model.recalculate_user(0, R[:1])
    model.fit(R, show_progress=False)
    np.testing.assert_array_equal(model.user_factors, expected.user_factors)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_interactions_must_be_finite(value):
    matrix = R.copy()
    matrix.data[5] = value
    with pytest.raises(ModelFitError, match="NaN or infinite values: remove or replace them"):
        fitted(matrix)


def test_a_singular_row_is_named():
    zero = sparse.csr_matrix(np.ones((6, 6)))
    with pytest.raises(ModelFitError, match="the least-squares problem of row 0 is singular in float32: raise the reg"):
        fitted(zero, alpha=0.0, regularization=0, use_cg=False)


@pytest.mark.parametrize("options", [{"regularization": -1.0}, {"num_threads": -1}])
def test_negative_parameters_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name} must be a.*, got -1"):
        fitted(**options)


def test_float16_is_refused():
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got float16"):
        fitted(dtype=np.float16)


def test_a_gpu_is_refused():
    with pytest.raises(ValueError, match="alternant has no GPU models: pass use_gpu=False"):
        implicit.als.AlternatingLeastSquares(use_gpu=True)
    with pytest.raises(ValueError, match="no GPU models"):
        fitted().to_gpu()


# The solver, as RecTools calls it


@pytest.mark.parametrize("use_cg", [True, False])
def test_the_solver_overwrites_factors_of_any_width(use_cg):
    model = fitted(use_cg=use_cg, dtype=np.float64, iterations=1)
    rng = np.random.default_rng(2)
    X, Y = np.zeros((30, 7)), rng.random((20, 7))
    for _ in range(8 if use_cg else 1):  # conjugate gradients continue from X
        model.solver(2 * R, X, Y, 0.1, 2)
    expected = [row_by_formula(r, Y, 0.1) for r in 2 * R.toarray().astype(float)]
    np.testing.assert_allclose(X, expected, atol=1e-4 if use_cg else 1e-9)


def test_the_native_module_has_the_functions_of_the_solver():
    assert _als.least_squares is least_squares
    assert _als.least_squares_cg is least_squares_cg
    assert _als.calculate_loss is calculate_loss
    assert implicit.cpu.als._als is _als


@pytest.mark.parametrize("use_cg", [True, False])
def test_the_solver_ends_where_that_of_implicit_does(use_cg):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        real = pytest.importorskip("implicit.cpu.als", reason="implicit is not installed", exc_type=ImportError)
        theirs = real.AlternatingLeastSquares(factors=5, use_cg=use_cg).solver
    rng = np.random.default_rng(2)
    X, Y = np.zeros((30, 5), np.float32), rng.random((20, 5), dtype=np.float32)
    other = X.copy()
    for _ in range(10):
        fitted(use_cg=use_cg).solver(2 * R, X, Y, 0.1, 2)
        theirs(2 * R, other, Y, 0.1, 2)
    np.testing.assert_allclose(X, other, atol=2e-4)


def test_the_solver_checks_its_arrays():
    X, Y = np.zeros((30, 5)), np.zeros((20, 5))
    with pytest.raises(ValueError, match=r"Cui must have shape \(30, 20\), as X and Y have rows, got \(20, 30\)"):
        least_squares(R.T.tocsr(), X, Y, 0.1)
    with pytest.raises(ValueError, match="both be float32 or both float64, got float64 and float32"):
        least_squares_cg(R, X, Y.astype(np.float32), 0.1)


def test_the_loss_counts_every_pair():
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(30, 4)), rng.normal(size=(20, 4))
    assert calculate_loss(R, X, Y, 0.7) == pytest.approx(loss_by_formula(R.toarray().astype(float), X, Y, 0.7))


# Single rows


def test_recalculated_rows_are_exact():
    model = fitted(dtype=np.float64)
    r = 2 * R.toarray().astype(float)
    expected = [row_by_formula(r[u], model.item_factors, 0.1) for u in (4, 3)]
    np.testing.assert_allclose(model.recalculate_user([4, 3], R[[4, 3]]), expected, atol=1e-10)
    np.testing.assert_allclose(model.recalculate_user(4, R[4]), expected[0], atol=1e-10)
    by_items = row_by_formula(r[:, 6], model.user_factors, 0.1)
    np.testing.assert_allclose(model.recalculate_item(6, R.T.tocsr()[6]), by_items, atol=1e-10)


def test_rows_may_be_narrower_than_the_model_but_not_wider():
    model = fitted()
    wide = sparse.csr_matrix((np.ones(2, np.float32), ([0, 0], [1, 20])), shape=(1, 21))
    with pytest.raises(ValueError, match="has an entry in column 20, but the model has 20 items"):
        model.recalculate_user(0, wide)
    with pytest.raises(ValueError, match="has an entry in column 20"):
        model.partial_fit_users([0], wide)
    narrow = sparse.csr_matrix((np.ones(1, np.float32), ([0], [1])), shape=(1, 2))
    padded = sparse.csr_matrix((np.ones(1, np.float32), ([0], [1])), shape=(1, 20))
    np.testing.assert_array_equal(model.recalculate_user(0, narrow), model.recalculate_user(0, padded))


def test_partial_fits_store_rows_and_add_new_ones():
    model = fitted()
    before = model.similar_users(0)
    row = model.recalculate_user(4, R[4])
    model.partial_fit_users([33, 0], sparse.vstack([R[4], R[4]], format="csr"))
    assert model.user_factors.shape == (34, 5)
    np.testing.assert_array_equal(model.user_factors[[33, 0]], [row, row])
    assert not model.user_factors[30:33].any()
    assert set(model.similar_users(0, N=3)[0]) == {0, 4, 33} != set(before[0][:3])
    model.partial_fit_items([20], R.T.tocsr()[2])
    assert model.item_factors.shape == (21, 5)
    assert 20 in model.similar_items(2, N=2)[0]
    with pytest.raises(IndexError, match="userids has the id -1, but ids start at 0"):
        model.partial_fit_users([-1], R[0])


@pytest.mark.parametrize("rows", [R, R[4]], ids=["all rows", "the user's row"])
def test_an_explanation_adds_up_to_the_recalculated_score(rows):
    model = fitted(dtype=np.float64)
    item = 7
    total, contributions, weights = model.explain(4, rows, item, N=100)
    assert total == pytest.approx(model.recalculate_user(4, R[4]) @ model.item_factors[item])
    assert total == pytest.approx(sum(score for _, score in contributions))
    assert {i for i, _ in contributions} == set(np.flatnonzero(R[4].toarray()[0] > 0).tolist())
    scores = [score for _, score in contributions]
    assert scores == sorted(scores, reverse=True)
    assert model.explain(4, rows, item, user_weights=weights, N=2)[1] == contributions[:2]


def test_partial_fits_take_ids_far_beyond_the_end_and_matrices_with_fewer_columns():
    model = fitted()
    model.partial_fit_users([100], R[4])
    assert model.user_factors.shape == (101, 5)
    assert not model.user_factors[30:100].any()
    np.testing.assert_array_equal(model.user_factors[100], model.recalculate_user(100, R[4]))
    by_item = R.T.tocsr()[2]
    narrow = by_item[:, : by_item.indices.max() + 1]
    assert narrow.shape[1] < 101
    model.partial_fit_items([25], narrow)
    assert model.item_factors.shape == (26, 5)
    np.testing.assert_array_equal(model.item_factors[25], model.recalculate_item(2, by_item))


def test_what_is_kept_between_calls_follows_changes():
    model = fitted()
    first, row = model.similar_items(2)[1], model.recalculate_user(4, R[4])
    model.regularization = 5.0
    assert np.linalg.norm(model.recalculate_user(4, R[4])) < 0.9 * np.linalg.norm(row)
    model.item_factors[7] = 3 * model.item_factors[2]
    model._item_norms = model._YtY = None  # as users of implicit do after writing into factors
    ids, scores = model.similar_items(2, N=2)
    assert set(ids) == {2, 7}
    np.testing.assert_allclose(scores, 1, rtol=1e-6)
    assert first[1] < 1
    again = copy.deepcopy(model)
    assert not [name for name in again.__dict__ if name.endswith(("_unit_rows", "_coordinates"))]
    np.testing.assert_array_equal(again.similar_items(2, N=2)[1], scores)


# Files and copies


def test_factors_are_plain_arrays_that_native_code_may_overwrite(tmp_path):
    model = fitted()
    model.save(tmp_path / "model")
    grown = fitted()
    grown.partial_fit_users([31], R[:1])
    read_only = fitted()
    read_only.user_factors.flags.writeable = False
    read_only.partial_fit_users([0], R[:1])
    copies = copy.deepcopy(model), pickle.loads(pickle.dumps(model)), Model.load(tmp_path / "model")
    for each in (model, grown, read_only, *copies):
        for factors in (each.user_factors, each.item_factors):
            assert type(factors) is np.ndarray
            assert factors.dtype == np.float32
            assert factors.flags.c_contiguous
            assert factors.flags.writeable
            assert factors.flags.aligned


@pytest.mark.parametrize("as_file", [True, False])
def test_files_keep_all_but_what_would_have_to_be_pickled(tmp_path, as_file):
    model = fitted(random_state=np.random.default_rng(0), use_cg=False, dtype=np.float64)
    where = io.BytesIO() if as_file else tmp_path / "model"
    model.save(where)
    if as_file:
        where.seek(0)
    loaded = Model.load(where)
    assert loaded.random_state is None
    for name, value in model.__dict__.items():
        if name not in ("random_state", "_YtY", "_XtX", "_user_norms", "_item_norms"):
            np.testing.assert_array_equal(getattr(loaded, name), value, err_msg=name)
    assert type(loaded.factors) is int
    assert type(loaded.use_cg) is bool


def test_files_have_the_keys_of_implicit(tmp_path):
    fitted().save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as data:
        assert set(data.files) == {
            "user_factors", "item_factors", "regularization", "factors", "num_threads", "iterations", "use_native",
            "use_cg", "cg_steps", "calculate_training_loss", "dtype", "random_state", "alpha",
        }  # fmt: skip
        assert str(data["dtype"]) == "float32"


def test_implicit_reads_and_writes_the_same_files(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        real = pytest.importorskip("implicit.cpu.als", reason="implicit is not installed", exc_type=ImportError)
        theirs = real.AlternatingLeastSquares(factors=5, random_state=1, alpha=2.0, iterations=1)
        theirs.fit(R, show_progress=False)
    theirs.save(tmp_path / "theirs.npz")
    ours = Model.load(tmp_path / "theirs")
    np.testing.assert_array_equal(ours.user_factors, theirs.user_factors)
    assert (ours.alpha, ours.factors, ours.dtype) == (2.0, 5, np.float32)
    ours.save(tmp_path / "ours.npz")
    np.testing.assert_array_equal(
        real.AlternatingLeastSquares.load(str(tmp_path / "ours")).item_factors, ours.item_factors
    )


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_recommend_alike(copied):
    model = fitted()
    model.similar_items(0)
    for one, other in zip(model.recommend([0, 1], R[:2]), copied(model).recommend([0, 1], R[:2]), strict=True):
        np.testing.assert_array_equal(one, other)
