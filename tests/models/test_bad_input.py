"""Bad input gets one clear sentence and changes nothing: neither the model nor what was passed in."""

import copy
import re
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from refusal import refuses

from alternant import ImplicitALS
from alternant.kernels._registry import BackendUnavailableError, get_backend
from alternant.models import NotFittedError, SingularRowError

rng = np.random.default_rng(0)
R = sp.csr_array(rng.uniform(0.5, 4, (12, 8)) * (rng.random((12, 8)) < 0.4))
MODEL = ImplicitALS(factors=4, random_state=0, iterations=2).fit(R)


# --- parameters -------------------------------------------------------------------------------------------------------

WRONG_PARAMETERS = [
    ("factors", 0, ValueError, "factors must be at least 1, got 0"),
    ("factors", -3, ValueError, "factors must be at least 1, got -3"),
    ("factors", 2.0, TypeError, r"factors must be a whole number, got 2\.0"),
    ("factors", "8", TypeError, "factors must be a whole number, got '8'"),
    ("factors", True, TypeError, "factors must be a whole number, got True"),
    ("factors", None, TypeError, "factors must be a whole number, got None"),
    ("alpha", -1, ValueError, "alpha must be at least 0 and finite, got -1"),
    ("alpha", np.nan, ValueError, "alpha must be at least 0 and finite, got nan"),
    ("alpha", np.inf, ValueError, "alpha must be at least 0 and finite, got inf"),
    ("alpha", 10**400, ValueError, "alpha must be at least 0 and finite, got 10+$"),
    ("alpha", "1", TypeError, "alpha must be a number or 'auto', got '1'"),
    ("alpha", True, TypeError, "alpha must be a number, got True"),
    ("alpha", np.True_, TypeError, r"alpha must be a number, got (np\.True_|True)"),
    ("alpha", 1 + 0j, TypeError, r"alpha must be a number, got \(1\+0j\)"),
    ("alpha", np.complex64(1), TypeError, r"alpha must be a number, got (np\.complex64)?\(1\+0j\)"),
    ("alpha", [1.0], TypeError, r"alpha must be a number, got \[1\.0\]"),
    ("alpha", np.ones(2), TypeError, r"alpha must be a number, got array"),
    ("weighting", "spark", ValueError, "weighting must be one of 'auto', 'hu', .*, 'ials-log', got 'spark'"),
    ("weighting", None, ValueError, "weighting must be one of .*, got None"),
    ("weighting", ["hu"], ValueError, r"weighting must be one of .*, got \['hu'\]"),
    ("epsilon", 0, ValueError, "epsilon must be greater than 0 and finite, got 0"),
    ("epsilon", -1.0, ValueError, "epsilon must be greater than 0 and finite"),
    ("unobserved_weight", -0.1, ValueError, r"unobserved_weight must be at least 0 and finite, got -0\.1"),
    ("regularization", -0.01, ValueError, r"regularization must be at least 0 and finite, got -0\.01"),
    ("regularization", (0.1, -0.1), ValueError, "regularization must be at least 0 and finite"),
    ("regularization", (0.1, np.nan), ValueError, "regularization must be at least 0 and finite, got nan"),
    ("regularization", (0.1,), ValueError, r"regularization must be one number or a pair \(users, items\)"),
    ("regularization", [1, 2, 3], ValueError, r"regularization must be one number or a pair \(users, items\)"),
    ("regularization", "0.1", TypeError, "regularization must be a number, a pair .* or 'auto', got '0.1'"),
    ("regularization", (0.1, None), TypeError, "regularization must be a number, got None"),
    ("regularization_scaling", "spark", ValueError, "regularization_scaling must be one of 'none', 'count', 'ials'"),
    ("regularization_exponent", -1, ValueError, "regularization_exponent must be at least 0"),
    ("solver", "lu", ValueError, "solver must be one of 'cg', 'cholesky', got 'lu'"),
    ("tol", -1e-3, ValueError, "tol must be at least 0"),
    ("tol", np.nan, ValueError, "tol must be at least 0"),
    ("max_cg_steps", 0, ValueError, "max_cg_steps must be at least 1, got 0"),
    ("max_cg_steps", 2.5, TypeError, "max_cg_steps must be a whole number"),
    ("iterations", 0, ValueError, "iterations must be at least 1, got 0"),
    ("iterations", 1.5, TypeError, "iterations must be a whole number"),
    ("early_stopping", -1e-3, ValueError, "early_stopping must be at least 0"),
    ("early_stopping", True, TypeError, "early_stopping must be a number, got True"),
    ("warm_start", "no", TypeError, "warm_start must be True or False, got 'no'"),
    ("warm_start", 1, TypeError, "warm_start must be True or False, got 1"),
    ("init_scale", 0, ValueError, "init_scale must be greater than 0"),
    ("dtype", "float16", ValueError, "dtype must be float32 or float64, got 'float16'"),
    ("dtype", int, ValueError, "dtype must be float32 or float64, got <class 'int'>"),
    ("dtype", ">f4", ValueError, "dtype must be float32 or float64, got '>f4'"),
    ("dtype", "single precision", ValueError, "dtype must be float32 or float64, got 'single precision'"),
    ("dtype", {}, ValueError, "dtype must be float32 or float64, got {}"),
    ("dtype", None, ValueError, "dtype must be float32 or float64, got None"),
    ("random_state", "lucky", TypeError, r"random_state must be a whole number .*, got 'lucky'"),
    ("random_state", -1, ValueError, r"random_state must be a whole number of at least 0.*, got -1"),
    ("random_state", 1.5, TypeError, r"random_state must be a whole number .*, got 1\.5"),
    ("num_threads", 0, ValueError, "num_threads must be a whole number of at least 1, or None .*, got 0"),
    ("num_threads", -1, ValueError, "num_threads must be a whole number of at least 1, or None .*, got -1"),
    ("num_threads", 1.5, ValueError, r"num_threads must be a whole number .*, got 1\.5"),
    ("num_threads", True, ValueError, "num_threads must be a whole number .*, got True"),
    ("backend", "gpu", ValueError, "backend must be one of 'auto', 'cython', 'numba', 'numpy', got 'gpu'"),
    ("backend", None, ValueError, "backend must be one of .*, got None"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), WRONG_PARAMETERS)
def test_a_parameter_out_of_range_is_refused_by_every_way_to_set_it(name, value, error, message):
    refuses(error, message, lambda: ImplicitALS(**{name: value}))
    refuses(error, message, lambda: MODEL.set_params(**({"tol": 0.5, "alpha": 7} | {name: value})), MODEL)
    changed = ImplicitALS(factors=4)
    setattr(changed, name, value)
    refuses(error, message, lambda: changed.fit(R), changed, R)


def test_an_unknown_parameter_is_refused_with_the_valid_names():
    message = "ImplicitALS has no parameter 'depth'; it has factors, alpha, .*, backend"
    refuses(ValueError, message, lambda: MODEL.set_params(alpha=2, depth=3), MODEL)
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
        ImplicitALS(depth=3)


def test_a_named_backend_that_cannot_run_is_refused_with_the_reason(monkeypatch):
    import alternant.kernels._registry as registry

    monkeypatch.setattr(registry, "_load", lambda name: "no module named numba")
    model = ImplicitALS(factors=4, backend="numba")
    refuses(BackendUnavailableError, "the numba backend can't run here: no module", lambda: model.fit(R), model, R)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": 1e39, "weighting": "log"}, r"confidences must be finite in float32, but overflow with alpha=1e\+39"),
        (
            {"unobserved_weight": 1e39, "weighting": "hu"},
            r"confidences must be finite in float32, .*unobserved_weight=1e\+39",
        ),
        ({"unobserved_weight": 1e42, "weighting": "ials"}, "factors and the sums of their squares must be finite"),
        ({"regularization": 1e39}, r"every row's lambda must be finite in float32, but regularization=1e\+39"),
        (
            {"regularization": 1.0, "regularization_exponent": 900, "unobserved_weight": 1.0},
            "the scale of every row's lambda must be finite, .* regularization_exponent=900",
        ),
        ({"init_scale": 1e39}, "factors and .* must be finite .* lower init_scale"),
        ({"init_scale": 1e200, "dtype": "float64"}, "factors and .* must be finite .* lower init_scale"),
    ],
)  # fmt: skip
def test_parameters_too_large_for_the_dtype_are_refused_and_never_become_nan(params, message):
    model = ImplicitALS(factors=4, **params)
    refuses(ValueError, message, lambda: model.fit(R), model, R)


def test_a_row_whose_objective_overflows_is_named_instead_of_becoming_nan(monkeypatch):
    """When they do depends on the kernel, so that this one does it by itself."""

    def overflow(*_, row_objective, **__):
        row_objective[3:5] = np.inf, np.nan
        return 0

    numpy = get_backend("numpy")
    backend = copy.copy(numpy)
    backend.solve_rows = overflow
    monkeypatch.setattr(ImplicitALS, "_backend", lambda self: backend)
    message = "the objective of user 3 overflows float32: lower its confidences .*, or use dtype='float64'"
    refuses(OverflowError, message, lambda: MODEL.fit(R), MODEL, R)
    message = "the objective of user 8 overflows"
    refuses(OverflowError, message, lambda: MODEL.partial_fit_users([0, 1, 2, 8, 9], R[:5]), MODEL, R)


# --- matrices ---------------------------------------------------------------------------------------------------------


def matrices(matrix):
    """Each call that takes interactions, with the name it gives them."""
    by_users = matrix
    by_items = matrix.T if hasattr(matrix, "T") else [*zip(*matrix, strict=True)] if type(matrix) is list else matrix
    fresh = ImplicitALS(factors=4)
    return [
        ("interactions", lambda: fresh.fit(by_users), fresh),
        ("interactions", lambda: MODEL.fit(by_users), MODEL),
        ("user_items", lambda: MODEL.fold_in_users(by_users), MODEL),
        ("item_users", lambda: MODEL.fold_in_items(by_items), MODEL),
        ("user_items", lambda: MODEL.recommend(None, user_items=by_users), MODEL),
        ("user_items", lambda: MODEL.recommend([0], user_items=by_users), MODEL),
        ("user_items", lambda: MODEL.explain(0, 1, user_items=by_users), MODEL),
        ("user_items", lambda: MODEL.partial_fit_users(np.arange(12), by_users), MODEL),
        ("item_users", lambda: MODEL.partial_fit_items(np.arange(8), by_items), MODEL),
    ]


def with_value(value, dtype=np.float64):
    matrix = R.astype(dtype)
    matrix.data[5] = value
    return matrix


FIFTH = (int(np.searchsorted(R.indptr, 5, "right")) - 1, int(R.indices[5]))


@pytest.mark.parametrize("which", range(9))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -1e300])
def test_a_value_that_is_not_finite_in_the_models_dtype_is_refused_with_its_position(which, value):
    matrix = with_value(value)
    name, call, model = matrices(matrix)[which]
    row, column = FIFTH if name != "item_users" else FIFTH[::-1]
    found = "NaN" if np.isnan(value) else re.escape(str(value))
    message = rf"^{name} must be finite in float32, got {found} at row {row}, column {column} \(1 such"
    refuses(ValueError, message, call, model, matrix)


def test_a_large_value_is_accepted_in_float64():
    matrix = with_value(1e39)
    assert np.isfinite(ImplicitALS(factors=4, dtype="float64").fit(matrix).user_factors).all()


@pytest.mark.parametrize("which", range(9))
@pytest.mark.parametrize("dtype", [complex, np.complex64])
def test_complex_numbers_are_refused(which, dtype):
    matrix = R.astype(dtype)
    name, call, model = matrices(matrix)[which]
    refuses(ValueError, f"{name} must hold real numbers, got dtype complex", call, model, matrix)


@pytest.mark.parametrize("dtype", [object, "U3", "datetime64[s]"])
def test_values_that_are_not_numbers_are_refused(dtype):
    matrix = R.astype(np.float32)
    matrix.data = np.ones(R.nnz, int).astype(dtype)  # SciPy itself refuses most of it earlier
    for name, call, model in matrices(matrix):
        refuses(TypeError, rf"{name} must hold real numbers, got dtype {re.escape(str(np.dtype(dtype)))}", call, model)


@pytest.mark.parametrize(("table", "found"), [(None, "NoneType"), ({0: [1]}, "dict"), ([["1"]], "list")])
def test_what_is_no_matrix_is_refused_with_what_to_pass(table, found):
    calls = matrices(table)
    if table is None:
        del calls[2:]  # there it means that interactions are not given
    if found == "list":
        del calls[2:]  # they report its shape
    for name, call, model in calls:
        message = rf"^{name} must be a SciPy sparse matrix or a table of numbers, got {found} of .*: pass users x items"
        refuses(TypeError, message, call, model)


@pytest.mark.parametrize("which", range(2, 9))
def test_a_transposed_matrix_is_recognized(which):
    matrix = R.T.tocsr()
    name, call, model = matrices(matrix)[which]
    columns, kind = (8, "item") if name == "user_items" else (12, "user")
    message = (
        rf"^{name} must have {columns} columns \(the model was fitted on {columns} {kind}s\), got {20 - columns}: "
        rf"it looks transposed; pass {name}\.T$"
    )
    refuses(ValueError, message, call, model, matrix)


@pytest.mark.parametrize("width", [0, 7, 9, 200])
def test_a_wrong_number_of_columns_is_refused(width):
    matrix = sp.csr_array((3, width))
    for call in (
        lambda: MODEL.fold_in_users(matrix),
        lambda: MODEL.recommend(None, user_items=matrix),
        lambda: MODEL.recommend([0, 1, 2], user_items=matrix),
        lambda: MODEL.partial_fit_users([0, 1, 2], matrix),
    ):
        message = rf"user_items must have 8 columns .*, got {width}: pass one column per item of the fit"
        refuses(ValueError, message, call, MODEL)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_a_fit_without_users_or_items_is_refused(shape):
    what = "sample" if shape[0] == 0 else "feature"
    message = rf"interactions must not be empty, got 0 {what}\(s\) \(shape=\({shape[0]}, {shape[1]}\)\)"
    refuses(ValueError, message, lambda: MODEL.fit(sp.csr_array(shape)), MODEL)


def test_a_one_dimensional_array_is_refused():
    flat = sp.coo_array(np.ones(8))
    refuses(ValueError, r"must have 2 dimensions .*, got 1", lambda: MODEL.fit(flat), MODEL)
    refuses(ValueError, r"must have 2 dimensions .*, got 1", lambda: MODEL.fold_in_users(flat), MODEL)


@pytest.mark.parametrize("rows", [0, 1, 3, 11, 13])
def test_a_wrong_number_of_rows_is_refused(rows):
    matrix = sp.csr_array((rows, 8))
    message = rf"user_items must have one row for each of the 2 users, or for each of the 12 .*, got {rows} rows: pass"
    refuses(ValueError, message, lambda: MODEL.recommend([3, 4], user_items=matrix), MODEL)
    message = rf"user_items must have one row for each of the 2 users, got {rows} rows"
    refuses(ValueError, message, lambda: MODEL.partial_fit_users([3, 4], matrix), MODEL)


# --- broken matrices: SciPy accepts them, and reads out of bounds -----------------------------------------------------


def broken(part, change, layout="csr"):
    matrix = R.astype(np.float32).asformat(layout)
    setattr(matrix, part, change(getattr(matrix, part).copy()))
    return matrix


def put(place, value):
    def change(array):
        array[place] = value
        return array

    return change


BROKEN = {
    "an indptr that falls by more than 32 bits hold": (
        lambda: broken("indptr", lambda a: np.r_[0, 2**31 - 1, -5, a[3:]].astype(np.int32)), "rise from 0 to at most"
    ),
    "an index beyond the columns": (lambda: broken("indices", put(3, 8)), r"indices must lie between 0 and 7, got 8"),
    "a negative index": (lambda: broken("indices", put(3, -1)), r"indices must lie between 0 and 7, got -1"),
    "a huge index": (lambda: broken("indices", lambda a: put(3, 2**40)(a.astype(np.int64))), "got 1099511627776"),
    "a falling indptr": (lambda: broken("indptr", put(3, 0)), "indptr must have 13 entries .* and never fall"),
    "an indptr that rises too far": (lambda: broken("indptr", put(-1, R.nnz + 1)), f"rise from 0 to at most {R.nnz} "),
    "an indptr that starts late": (lambda: broken("indptr", put(0, 1)), "that rise from 0"),
    "a negative indptr": (lambda: broken("indptr", put(0, -4)), "that rise from 0"),
    "an indptr too short": (lambda: broken("indptr", lambda a: a[:-1]), "indptr must have 13 entries"),
    "an indptr too long": (lambda: broken("indptr", lambda a: np.append(a, a[-1])), "indptr must have 13 entries"),
    "an empty indptr": (lambda: broken("indptr", lambda a: a[:0]), "indptr must have 13 entries"),
    "an unsigned indptr that falls": (
        lambda: broken("indptr", lambda a: put(3, 0)(a.astype(np.uint64))),
        "indptr must be int32 or int64, got dtype uint64",
    ),
    "indices of floats": (lambda: broken("indices", lambda a: a.astype(float)), "indices must be int32 or int64"),
    "too few values": (lambda: broken("data", lambda a: a[:-1]), f"data must have {R.nnz} entries, got {R.nnz - 1}"),
    "values in two dimensions": (lambda: broken("data", lambda a: np.stack([a, a], 1)), "interactions must be a valid"),
    "too few indices": (lambda: broken("indices", lambda a: a[:-1]), f"rise from 0 to at most {R.nnz - 1} "),
    "a row beyond the users, by columns": (lambda: broken("indices", put(3, 12), "csc"), "must lie between 0 and 11"),
    "a row beyond the users, by coordinates": (lambda: broken("row", put(3, 12), "coo"), "row must lie .*, got 12"),
    "a column of -1, by coordinates": (lambda: broken("col", put(3, -1), "coo"), "col must lie between 0 and 7, got"),
    "fewer coordinates than values": (lambda: broken("row", lambda a: a[:-1], "coo"), "interactions must be a valid"),
    "a block beyond the columns": (lambda: broken("indices", put(0, 99), "bsr"), "indices must lie between"),
    "a column beyond the items, by lists": (lambda: broken("rows", put(0, [0, 8]), "lil"), "must lie between 0 and 7"),
    "lists of two lengths": (lambda: broken("rows", put(0, list(range(6))), "lil"), "as many columns as values in row"),
    "a huge column, by lists": (
        lambda: broken("rows", lambda a: put(0, [2**40] * len(a[0]))(a), "lil"), "interactions must be a valid matrix"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_an_invalid_matrix_is_refused_before_it_is_read(case):
    make, message = BROKEN[case]
    matrix = make()
    refuses(ValueError, message, lambda: MODEL.fit(matrix), MODEL, matrix)
    message = message.replace("interactions", "user_items")
    refuses(ValueError, message, lambda: MODEL.fold_in_users(matrix), MODEL, matrix)
    refuses(ValueError, message, lambda: MODEL.partial_fit_users(np.arange(12), matrix), MODEL, matrix)


def is_whole(matrix):
    """Whether a CSR matrix is one, by the letter of the format, entry by entry in plain Python."""
    indptr, indices = matrix.indptr.tolist(), matrix.indices.tolist()
    rows, columns = matrix.shape
    if len(indptr) != rows + 1 or indptr[0] != 0 or indptr[-1] > len(indices):
        return False
    if len(indices) != len(matrix.data):
        return False
    if any(low > high for low, high in pairwise(indptr)):
        return False
    return all(0 <= column < columns for column in indices[: indptr[-1]])


def plain_reading(matrix):
    """What a whole CSR matrix says, read entry by entry."""
    dense = np.zeros(matrix.shape)
    for row in range(matrix.shape[0]):
        for entry in range(matrix.indptr[row], matrix.indptr[row + 1]):
            dense[row, matrix.indices[entry]] += matrix.data[entry]
    return dense


@st.composite
def damaged_matrices(draw):
    """A small matrix of whole numbers, then up to three changes to its arrays."""
    index = draw(st.sampled_from([np.int32, np.int64]))
    dense = draw(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=3, max_size=3))
    matrix = sp.csr_array(np.array(dense, np.float32))
    matrix.indptr, matrix.indices = matrix.indptr.astype(index), matrix.indices.astype(index)
    for _ in range(draw(st.integers(0, 3))):
        part = draw(st.sampled_from(["indptr", "indices", "data"]))
        array = getattr(matrix, part)
        action = draw(st.sampled_from(["set", "set", "set", "cut", "grow"]))
        if action == "cut":
            array = array[: draw(st.integers(0, len(array)))]
        elif action == "grow":
            array = np.append(array, array[-1:] if draw(st.booleans()) else array[:1])
        elif len(array):
            limits = np.iinfo(np.int32)
            value = draw(st.one_of(st.integers(-2, 14), st.integers(limits.min, limits.max)))
            array = array.copy()
            array[draw(st.integers(0, len(array) - 1))] = value if part != "data" else draw(st.integers(-3, 3))
        setattr(matrix, part, array)
    return matrix


@given(damaged_matrices())
def test_a_damaged_matrix_is_refused_or_read_as_it_is(matrix):
    model = ImplicitALS(factors=2, iterations=1, random_state=0)
    if is_whole(matrix):
        expected = plain_reading(matrix)
        model.fit(matrix)
        np.testing.assert_array_equal(model.interactions_.to_scipy().toarray(), expected)
        assert model.interactions_.data.all()
    else:
        refuses(ValueError, "^interactions", lambda: model.fit(matrix), model, matrix)


# --- ids and lengths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "k must be at least 1, got 0"),
        (-1, ValueError, "k must be at least 1, got -1"),
        (True, TypeError, "k must be a whole number, got True"),
        (2.5, TypeError, r"k must be a whole number, got 2\.5"),
        (np.float32(2), TypeError, "k must be a whole number, got"),
        ("3", TypeError, "k must be a whole number, got '3'"),
        (None, TypeError, "k must be a whole number, got None"),
        ([3], TypeError, r"k must be a whole number, got \[3\]"),
    ],
)
def test_k_must_be_a_whole_number_of_at_least_one(k, error, message):
    for call in (
        lambda: MODEL.recommend(0, k),
        lambda: MODEL.recommend(None, k, user_items=R),
        lambda: MODEL.similar_items(0, k),
        lambda: MODEL.similar_users(0, k),
    ):
        refuses(error, message, call, MODEL)


def id_calls(ids):
    """Each call that takes row numbers: what it calls them, and how many rows there are."""
    one = ids[0] if isinstance(ids, list) else ids
    return [
        ("users", 12, lambda: MODEL.recommend(ids)),
        ("users", 12, lambda: MODEL.predict(ids, 0)),
        ("items", 8, lambda: MODEL.predict(0, ids)),
        ("items", 8, lambda: MODEL.similar_items(ids)),
        ("users", 12, lambda: MODEL.similar_users(ids)),
        ("user", 12, lambda: MODEL.explain(one, 0)),
        ("item", 8, lambda: MODEL.explain(0, one)),
        ("exclude_items", 8, lambda: MODEL.recommend(0, exclude_items=np.atleast_1d(ids))),
        ("candidate_items", 8, lambda: MODEL.recommend(0, candidate_items=np.atleast_1d(ids))),
        ("candidate_users", 12, lambda: MODEL.similar_users(0, candidate_users=np.atleast_1d(ids))),
        ("exclude_items", 8, lambda: MODEL.similar_items(0, exclude_items=np.atleast_1d(ids))),
    ]


@pytest.mark.parametrize("ids", [-1, 12, [12], [-3, 0], np.array([2**31]), np.uint64(2**63), [[99], [0]]], ids=str)
def test_an_unknown_row_is_refused_with_the_valid_range(ids):
    wrong = np.asarray(ids).flat[0]
    for name, count, call in id_calls(ids):
        if np.ndim(ids) == 2 and ("exclude" in name or "candidate" in name or name in ("user", "item")):
            continue
        kind = name.split("_")[-1].rstrip("s")
        message = rf"^{name} must lie between 0 and {count - 1} \(the model knows {count} {kind}s\), got {wrong}$"
        refuses(IndexError, message, call, MODEL)


@pytest.mark.parametrize(
    "ids", [1.0, [1.5], np.array([1.0]), "1", ["anna"], True, [True], None, [None], 10**30, 1j, {1}, b"1"], ids=str
)
def test_row_numbers_must_be_whole_numbers(ids):
    for name, _, call in id_calls(ids):
        if (ids is None and name == "users") or (ids in (None, [None]) and name == "user"):  # a new user
            continue
        if ids == {1} and name.startswith(("candidate", "exclude")):  # where order means nothing
            continue
        refuses(TypeError, rf"^{name} must be whole numbers \(\w+ row numbers\), got ", call, MODEL)


def test_ragged_lists_of_rows_are_refused():
    with pytest.raises(TypeError, match="got lists of different lengths"):
        MODEL.recommend([[0], [1, 2]])


def test_one_user_and_one_item_are_explained_at_a_time():
    refuses(ValueError, "user must be one user, got 2: pass one at a time", lambda: MODEL.explain([0, 1], 0), MODEL)
    refuses(ValueError, "item must be one item, got 2: pass one at a time", lambda: MODEL.explain(0, [0, 1]), MODEL)
    message = "user_items must have 1 row, that of the user, got 2"
    refuses(ValueError, message, lambda: MODEL.explain(None, 0, user_items=R[:2]), MODEL)


def test_lists_of_items_must_be_one_dimensional():
    message = "exclude_items must be a one-dimensional list of items, got 2 dimensions"
    refuses(ValueError, message, lambda: MODEL.recommend(0, exclude_items=[[1, 2]]), MODEL)
    message = "candidate_items must be a one-dimensional list of items, got 0 dimensions"
    refuses(ValueError, message, lambda: MODEL.recommend(0, candidate_items=3), MODEL)


def test_users_and_items_that_do_not_broadcast_are_refused():
    message = r"users and items must broadcast against each other, got shapes \(2,\) and \(3,\): pass"
    refuses(ValueError, message, lambda: MODEL.predict([0, 1], [0, 1, 2]), MODEL)


def test_new_users_need_interactions():
    message = "user_items must hold the interactions of new users, got None: pass them, or ids of users of the fit"
    refuses(ValueError, message, lambda: MODEL.recommend(), MODEL)
    refuses(ValueError, message, lambda: MODEL.explain(None, 0), MODEL)


@pytest.mark.parametrize(
    ("ids", "rows", "error", "message"),
    [
        ([13], 1, IndexError, r"between 0 and 12 \(the model knows 12 users, new ones follow without a gap\), got 13"),
        ([12, 14], 2, IndexError, "users must lie between 0 and 13 .*, got 14"),
        ([0, 13], 2, IndexError, "users to append must be numbered from 12 without gaps, got 13"),
        ([-1], 1, IndexError, "users must lie between 0 and 12 .*, got -1"),
        ([2**31], 1, IndexError, "users must lie between 0 and 12 .*, got 2147483648"),
        ([3, 3], 2, ValueError, "users must be distinct, got 1 duplicates"),
        ([1.0], 1, TypeError, "users must be whole numbers"),
        (True, 1, TypeError, "users must be whole numbers"),
        ([3], 2, ValueError, "user_items must have one row for each of the 1 users, got 2 rows"),
        ([[3, 4]], 2, ValueError, "users must be a list of user row numbers, got 2 dimensions"),
    ],
)
def test_a_partial_fit_with_gaps_or_duplicates_is_refused(ids, rows, error, message):
    refuses(error, message, lambda: MODEL.partial_fit_users(ids, R[:rows]), MODEL)


# --- models that are not ready ----------------------------------------------------------------------------------------


def test_every_method_of_an_unfitted_model_raises_not_fitted_error(tmp_path):
    model = ImplicitALS(factors=4)
    for call in (
        lambda: model.recommend(0),
        lambda: model.recommend(None, user_items=R),
        lambda: model.predict(0, 0),
        lambda: model.similar_items(0),
        lambda: model.similar_users(0),
        lambda: model.explain(0, 0),
        lambda: model.fold_in_users(R),
        lambda: model.fold_in_items(R.T),
        lambda: model.partial_fit_users([0], R[:1]),
        lambda: model.partial_fit_items([0], R.T[:1]),
        lambda: model.save(tmp_path / "m"),
    ):
        refuses(NotFittedError, r"this ImplicitALS is not fitted yet: call fit\(interactions\) first", call, model)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("users", "items", "error", "message"),
    [
        (np.ones((12, 4)), np.ones((8, 3)), ValueError, r"number of columns .*, got shapes \(12, 4\) and \(8, 3\)"),
        (np.ones((12, 4)), np.ones((8, 4), np.float32), ValueError, "one dtype, got .* dtypes float64 and float32"),
        (np.ones(12), np.ones((8, 1)), ValueError, "must have 2 dimensions"),
        (np.ones((12, 4), int), np.ones((8, 4), int), TypeError, "must be float32 or float64, got int64"),
        (np.ones((12, 4), "f2"), np.ones((8, 4), "f2"), TypeError, "must be float32 or float64, got float16"),
    ],
)
def test_inconsistent_factors_set_by_hand_are_refused(users, items, error, message):
    model = ImplicitALS(factors=4)
    model.user_factors, model.item_factors = users, items
    for call in (
        lambda: model.recommend(0, exclude_seen=False),
        lambda: model.predict(0, 0),
        lambda: model.similar_items(0),
        lambda: model.fold_in_users(R),
    ):
        refuses(error, message, call, model)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_factors_set_by_hand_must_be_finite_to_solve_with(value):
    model = ImplicitALS(factors=4, warm_start=True, weighting="hu", alpha=1.0, regularization=1.0)
    model.user_factors, model.item_factors = np.ones((12, 4)), np.ones((8, 4))
    model.item_factors[3, 2] = value
    message = "factors and .* must be finite .* or set finite factors"
    refuses(ValueError, message, lambda: model.fold_in_users(R), model)
    message = "warm_start needs finite item_factors with 4 columns"
    refuses(ValueError, message, lambda: model.fit(R), model)


@pytest.mark.parametrize(
    ("factors", "shape"), [(5, (12, 8)), (4, (11, 8)), (4, (12, 7))], ids=["factors", "users", "items"]
)
def test_a_warm_start_from_other_shapes_is_refused_before_random_numbers_are_drawn(factors, shape):
    generator = np.random.default_rng(0)
    model = ImplicitALS(factors=4, iterations=1, random_state=generator).fit(R)
    model.set_params(factors=factors, warm_start=True)
    state = generator.bit_generator.state
    message = r"warm_start needs finite (user|item)_factors with \d columns .* set warm_start=False, or pass interact"
    smaller = R[: shape[0], : shape[1]]
    refuses(ValueError, message, lambda: model.fit(smaller), model, smaller)
    assert generator.bit_generator.state == state


# --- singular rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_singular_row_is_named_with_the_advice_to_regularize(solver, dtype):
    """Without regularization and w0, a user with fewer interactions than factors has many solutions."""
    matrix = sp.csr_array(np.ones((4, 9)))
    matrix[[2], 2:] = 0
    matrix.eliminate_zeros()
    model = ImplicitALS(
        factors=4, regularization=0, unobserved_weight=0, solver=solver, dtype=dtype, random_state=0
    )
    message = "the least-squares problem of user 2 is singular, .* not unique: raise the regularization"
    message += ", or use dtype='float64'" if dtype == "float32" else "$"
    refuses(SingularRowError, message, lambda: model.fit(matrix), model, matrix)

    other = ImplicitALS(factors=4, random_state=0, dtype=dtype).fit(sp.csr_array(np.ones((4, 9))))
    other.item_factors = np.random.default_rng(0).standard_normal((9, 4)).astype(dtype)
    other.set_params(regularization=0, unobserved_weight=0, solver=solver)
    refuses(SingularRowError, "user 2 is singular", lambda: other.fold_in_users(matrix), other, matrix)
    # Where rows have numbers, the message takes those.
    call = lambda: other.partial_fit_users([3, 4, 1, 0], matrix)  # noqa: E731
    refuses(SingularRowError, "user 1 is singular", call, other, matrix)
    assert np.isfinite(other.fold_in_users(matrix[[0, 1, 3]])).all()


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
def test_a_singular_item_is_called_an_item(solver):
    dense = np.random.default_rng(0).uniform(1, 3, (9, 5))
    dense[np.arange(9), np.arange(9) % 5] = 0
    dense[2:, 3] = 0
    matrix = sp.csr_array(dense)
    model = ImplicitALS(factors=4, regularization=(0.1, 0), unobserved_weight=0, solver=solver, random_state=0)
    refuses(SingularRowError, "problem of item 3 is singular", lambda: model.fit(matrix), model, matrix)


@pytest.mark.parametrize("k", [10**12, 10**18, 2**63])
def test_lists_that_do_not_fit_in_memory_are_refused(k):
    for call in (lambda: MODEL.recommend(0, k), lambda: MODEL.similar_items(0, k), lambda: MODEL.cold_start(k)):
        refuses(ValueError, f"k must be at most 8, the number of items, .* got {k}: pass a smaller one", call)
