"""solve_rows_nonnegative: every implementation against the reference, the reference against scipy.optimize.nnls."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from alternant import kernels as public
from alternant.kernels import nnls_reference as reference

# How far an unknown may be from the reference's, relative to the largest of its row: this plus the resolution of the
# dtype times the condition number of the row, since all arithmetic is float64 but the result is not.
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-11}


@dataclass
class Problem:
    indptr: Any
    indices: Any
    weight: Any
    target: Any
    Y: Any
    gramian: Any
    regularization: Any
    X: Any

    @property
    def inputs(self):
        return self.indptr, self.indices, self.weight, self.target, self.Y, self.gramian, self.regularization

    def astype(self, dtype):
        floats = ("weight", "target", "Y", "gramian", "regularization", "X")
        return replace(self, **{name: getattr(self, name).astype(dtype) for name in floats})


def problem(lengths, n, f, *, regularization=0.1, g=0.0, seed=0, positive=False):
    """Rows of ratings 1 to 5 of the given lengths over n columns, started at 0 and at random numbers in turn."""
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = np.concatenate([rng.choice(n, length, replace=False) for length in lengths] or [[]]).astype(np.int32)
    weight = rng.uniform(0.2, 2, len(indices))
    Y = rng.standard_normal((n, f)) / np.sqrt(f)
    X = rng.standard_normal((len(lengths), f))
    X[::2] = 0
    return Problem(
        indptr, indices, weight, weight * rng.integers(1, 6, len(indices)), np.abs(Y) if positive else Y,
        g * Y.T @ Y, regularization * np.linspace(1, 2, len(lengths)), X,
    )  # fmt: skip


def dense_table(m, n, f):
    """A table without gaps: all of the weight is in the Gramian."""
    p = problem([n] * m, n, f)
    p.target /= p.weight
    p.weight[:] = 0
    return replace(p, gramian=p.Y.T @ p.Y)


def nothing_known_of_one_factor(f):
    p = problem([6, 9], 20, f, regularization=0.0)
    p.Y[:, 2] = 0
    return p


CASES = {
    "ordinary rows": lambda: problem([3, 8, 1, 20, 5], 30, 8),
    "non-negative Y, as in a fit": lambda: problem([3, 8, 1, 20, 50], 60, 12, positive=True),
    "empty rows first, last and between": lambda: problem([0, 4, 0, 0, 7, 0], 12, 5),
    "no entry at all": lambda: problem([0, 0, 0], 4, 3),
    "no row": lambda: problem([], 4, 3),
    "one factor": lambda: problem([1, 5, 12], 12, 1),
    "factors that fill no vector": lambda: problem([2, 40, 13, 14, 0], 60, 13, positive=True),
    "factors that just overflow one": lambda: problem([2, 40, 17, 16], 60, 17),
    "64 factors, short and long rows": lambda: problem([1, 63, 64, 65, 130, 300, 2], 400, 64, positive=True),
    "more factors than columns": lambda: problem([3, 5, 1], 5, 24),
    "one row with every column": lambda: problem([500, 1], 500, 16),
    "a dense part": lambda: problem([3, 9, 30], 40, 8, g=2.0),
    "a dense part alone, weights of zero": lambda: dense_table(5, 40, 8),
    "no regularization": lambda: problem([30, 25, 40], 40, 8, regularization=0.0, positive=True),
    "a factor of no weight": lambda: nothing_known_of_one_factor(6),
    "tiny scale": lambda: replace(problem([30, 20], 40, 8), Y=1e-4 * problem([30, 20], 40, 8).Y),
}


def solve(kernels, p, num_threads=1, tol=1e-14, max_steps=1000):
    """Return (status, X, steps, objective) without touching the problem."""
    X, steps, objective = p.X.copy(), np.full(len(p.X), -1, np.int32), np.full(len(p.X), np.nan)
    status = kernels.solve_rows_nonnegative(*p.inputs, X, tol, max_steps, num_threads, steps, objective)
    return status, X, steps, objective


def system(p, u):
    """The dense A and b of a row in float64, entry by entry."""
    A = p.gramian.astype(np.float64) + float(p.regularization[u]) * np.eye(len(p.gramian))
    b = np.zeros(len(A))
    for e in range(p.indptr[u], p.indptr[u + 1]):
        y = p.Y[p.indices[e]].astype(np.float64)
        A += float(p.weight[e]) * np.outer(y, y)
        b += float(p.target[e]) * y
    return A, b


def value(A, b, x):
    x = x.astype(np.float64)
    return x @ A @ x - 2 * b @ x


@pytest.mark.against_numpy
@pytest.mark.parametrize("case", CASES)
def test_rows_equal_the_float64_reference(kernels, dtype, case):
    p = CASES[case]().astype(dtype)
    expected = solve(reference, p.astype(np.float64))[1]
    status, X, steps, objective = solve(kernels, p)
    assert status == 0
    assert X.dtype == dtype
    assert (X >= 0).all()
    for u in range(len(X)):
        A, b = system(p, u)
        known = np.diag(A) > 0
        allowed = TOLERANCE[dtype] + 1e-14 * np.linalg.cond(A[np.ix_(known, known)])
        assert np.abs(X[u] - expected[u]).max() <= allowed * max(np.abs(expected[u]).max(), 1e-300)
        assert abs(objective[u] - value(A, b, expected[u])) <= 1e-9 * (abs(value(A, b, expected[u])) + np.abs(b).sum())
    empty = np.diff(p.indptr) == 0
    assert (X[empty] == 0).all()
    assert (steps[empty] == 0).all()
    assert (objective[empty] == 0).all()
    assert (steps < 1000).all()


@pytest.mark.parametrize("case", [name for name in CASES if name not in ("a dense part", "a factor of no weight")])
def test_the_reference_reaches_the_error_of_scipy_nnls(case):
    """An oracle that shares no code: it takes least squares, not normal equations."""
    p = CASES[case]()
    X = solve(reference, p)[1]
    for u in range(len(X)):
        entries = slice(p.indptr[u], p.indptr[u + 1])
        if case == "a dense part alone, weights of zero":
            w, t = np.ones(entries.stop - entries.start), p.target[entries]
        else:
            w, t = p.weight[entries], p.target[entries]
        ridge = np.sqrt(p.regularization[u]) * np.eye(X.shape[1])
        M = np.vstack([np.sqrt(w)[:, None] * p.Y[p.indices[entries]], ridge])
        r = np.concatenate([t / np.sqrt(w), np.zeros(X.shape[1])])
        expected = scipy.optimize.nnls(M, r)[0]
        np.testing.assert_allclose(X[u], expected, atol=1e-8 * max(expected.max(), 1e-12))
        assert ((M @ X[u] - r) ** 2).sum() <= ((M @ expected - r) ** 2).sum() + 1e-12 * (r @ r)


@pytest.mark.parametrize("case", CASES)
def test_the_conditions_of_karush_kuhn_and_tucker_hold_to_the_tolerance(kernels, case):
    p = CASES[case]()
    for tol in (1e-3, 1e-10):
        X = solve(kernels, p, tol=tol)[1]
        for u in np.flatnonzero(np.diff(p.indptr)):
            A, b = system(p, u)
            gradient, allowed = A @ X[u] - b, (tol + 1e-12) * np.abs(b).max()
            assert (np.abs(gradient[X[u] > 0]) <= allowed).all()
            assert (gradient[X[u] == 0] >= -allowed).all()


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(1, 20), rows=st.integers(1, 5), positive=st.booleans())
def test_no_direction_that_stays_non_negative_lowers_the_objective(kernels, seed, f, rows, positive):
    rng = np.random.default_rng(seed)
    p = problem(rng.integers(1, 30, rows), 30, f, seed=seed, positive=positive)
    X = solve(kernels, p)[1]
    for u in range(rows):
        A, b = system(p, u)
        least, scale = value(A, b, X[u]), np.abs(b) @ X[u] + 1e-12
        for step in (1e-3, 1e-1, 10.0):
            moved = np.maximum(X[u] + step * rng.standard_normal(f), 0)
            assert value(A, b, moved) >= least - 1e-10 * scale


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 12))
def test_the_objective_never_rises_however_few_the_sweeps(kernels, seed, steps):
    p = problem(np.random.default_rng(seed).integers(1, 30, 6), 30, 12, seed=seed, positive=True)
    p.X = np.abs(p.X)
    _, X, taken, objective = solve(kernels, p, max_steps=steps)
    assert (taken <= steps).all()
    for u in range(len(X)):
        A, b = system(p, u)
        before = value(A, b, p.X[u])
        assert value(A, b, X[u]) <= before + 1e-12 * (abs(before) + np.abs(b).sum())
        assert objective[u] == pytest.approx(value(A, b, X[u]), abs=1e-11 * np.abs(b).sum())


def test_a_start_at_the_solution_takes_no_sweep(kernels):
    p = CASES["64 factors, short and long rows"]()
    X = solve(kernels, p)[1]
    _, again, steps, _ = solve(kernels, replace(p, X=X), tol=1e-9)
    assert (steps == 0).all()
    np.testing.assert_array_equal(again, X)


def test_negative_numbers_in_the_start_count_as_zero(kernels):
    p = CASES["ordinary rows"]()
    cut = replace(p, X=np.maximum(p.X, 0))
    assert (cut.X != p.X).any()
    for a, b in zip(solve(kernels, p), solve(kernels, cut), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", ["64 factors, short and long rows", "factors that fill no vector", "ordinary rows"])
def test_threads_change_no_bit(kernels, dtype, case):
    p = CASES[case]().astype(dtype)
    one, *others = (solve(kernels, p, threads, max_steps=4) for threads in (1, 2, 8, None))
    for other in others:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_many_rows_on_many_threads_change_no_bit(kernels, dtype):
    lengths = np.random.default_rng(1).integers(0, 40, 200)
    p = problem(lengths, 50, 12, positive=True).astype(dtype)
    one = solve(kernels, p, 1)
    for threads in (2, 3, 8):
        for a, b in zip(one, solve(kernels, p, threads), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.compiles_anew
def test_inputs_may_be_read_only_maps_and_indices_int64(kernels, dtype, tmp_path):
    p = CASES["factors that fill no vector"]().astype(dtype)
    expected = solve(kernels, p)[1]
    mapped = {}
    for name in ("indptr", "indices", "weight", "target", "Y", "gramian", "regularization"):
        array = getattr(p, name)
        array = array.astype(np.int64) if name == "indices" else array
        array.tofile(tmp_path / name)
        mapped[name] = np.memmap(tmp_path / name, array.dtype, "r", shape=array.shape)
    # Numba compiles a function of its own for int64, and each compilation may add up in another order: `FAST`.
    tolerance = {np.float32: 1e-6, np.float64: 1e-12}[dtype] if kernels.name == "numba" else 0
    np.testing.assert_allclose(solve(kernels, replace(p, **mapped))[1], expected, rtol=tolerance)


def test_a_slice_of_indptr_solves_a_range_of_rows(kernels, dtype):
    p = CASES["factors that fill no vector"]().astype(dtype)
    expected = solve(kernels, p)[1]
    part = replace(p, indptr=p.indptr[1:4], regularization=p.regularization[1:3], X=p.X[1:3])
    np.testing.assert_array_equal(solve(kernels, part)[1], expected[1:3])


def test_only_the_upper_triangle_of_the_gramian_is_read(kernels):
    p = CASES["a dense part"]()
    upper = replace(p, gramian=np.ascontiguousarray(np.triu(p.gramian)))
    np.testing.assert_array_equal(solve(kernels, upper)[1], solve(kernels, p)[1])


def test_a_row_without_a_positive_target_becomes_exactly_zero(kernels, dtype):
    p = problem([4, 3], 20, 6, positive=True).astype(dtype)
    p.target[:4] = 0
    p.target[4:] *= -1
    status, X, _, objective = solve(kernels, p)
    assert status == 0
    assert (X == 0).all()
    assert (objective == 0).all()


def test_a_factor_of_no_weight_becomes_zero_or_its_row_is_named(kernels, dtype):
    p = problem([6, 9, 7], 20, 5, regularization=0.0).astype(dtype)
    p.Y[:, 2] = 0
    status, X, _, _ = solve(kernels, p)
    assert status == 0
    assert (X[:, 2] == 0).all()
    p.Y[p.indices[6]] = [0, 0, 1, 0, 0]
    p.weight[6] = 0  # all that is known of factor 2 in row 1 is a target, of no weight: the more, the better
    p.indices[7:] = np.where(p.indices[7:] == p.indices[6], (p.indices[6] + 1) % 20, p.indices[7:])
    status, X, _, _ = solve(kernels, p, 2)
    assert status == 2
    np.testing.assert_array_equal(X[1], p.X[1])
    assert (X[[0, 2]] >= 0).all()
    p.target[6] *= -1
    status, X, _, _ = solve(kernels, p)
    assert status == 0
    assert X[1, 2] == 0


def test_negative_weights_are_solved_as_long_as_the_matrix_is_positive_definite(kernels, dtype):
    p = problem([6, 9, 5], 20, 6, regularization=20.0).astype(dtype)
    p.weight[p.indptr[1] :] *= -0.2
    status, X, _, _ = solve(kernels, p)
    assert status == 0
    for u in range(3):
        A, b = system(p, u)
        gradient = A @ X[u].astype(np.float64) - b
        allowed = (1e-6 if dtype == np.float32 else 1e-12) * np.abs(b).max()
        assert (np.where(X[u] > 0, np.abs(gradient), -gradient) <= allowed).all()
    p.weight[p.indptr[2] :] = -1000
    status, X, _, _ = solve(kernels, p, 2)
    assert status == 3
    np.testing.assert_array_equal(X[2], p.X[2])


def test_an_indefinite_matrix_is_named_although_its_diagonal_is_positive(kernels, dtype):
    """``1.5 I - y y^T`` with y = (1, 1): the objective falls for ever along y."""
    inputs = [np.array([0, 1]), np.array([0], np.int32), *(np.array(x, dtype) for x in (
        [-1], [1], [[1, 1]], np.zeros((2, 2)), [1.5],
    ))]  # fmt: skip
    X = np.zeros((1, 2), dtype)
    assert kernels.solve_rows_nonnegative(*inputs, X, 1e-6, 100, 1) == 1
    assert (X == 0).all()
    inputs[-1][:] = 2.5  # definite
    assert kernels.solve_rows_nonnegative(*inputs, X, 1e-6, 100, 1) == 0
    np.testing.assert_allclose(X, 2, rtol=1e-5)


def test_numbers_that_overflow_name_their_row_instead_of_becoming_infinite(kernels):
    p = problem([3, 3], 20, 4)
    p.indices[:] = [0, 1, 2, 1, 2, 3]
    p.Y[3] = 1e100
    p.weight[5] = p.target[5] = 1e200
    status, X, _, _ = solve(kernels, p)
    assert status == 2
    np.testing.assert_array_equal(X[1], p.X[1])
    assert np.isfinite(X).all()
    single = problem([5], 20, 4, regularization=1e-30).astype(np.float32)
    single.weight[:], single.target[:] = 0, 1e10  # 1e40 float32 can't hold
    single.Y[:] = np.abs(single.Y)
    status, X, _, _ = solve(kernels, single)
    assert status == 1
    np.testing.assert_array_equal(X, single.X)


def test_equal_factors_without_regularization_still_reach_the_least_objective(kernels):
    """A singular matrix: no Cholesky, many solutions, one least value."""
    p = problem([30, 20], 40, 6, regularization=0.0, positive=True)
    p.Y[:, 5] = p.Y[:, 4]
    status, _, _, objective = solve(kernels, p)
    assert status == 0
    for u in range(2):
        entries = slice(p.indptr[u], p.indptr[u + 1])
        root = np.sqrt(p.weight[entries])
        A, b = system(p, u)
        expected = scipy.optimize.nnls(root[:, None] * p.Y[p.indices[entries]], p.target[entries] / root)[0]
        assert objective[u] == pytest.approx(value(A, b, expected), rel=1e-10)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"gramian": np.eye(3)}, ValueError, "gramian must have 2 columns"),
        ({"gramian": np.ones((3, 2))}, ValueError, r"gramian must have shape \(2, 2\), got \(3, 2\)"),
        ({"gramian": np.full((2, 2), np.nan)}, ValueError, "gramian must be finite, got 4 values"),
        ({"gramian": np.eye(2, dtype=np.float32)}, TypeError, "gramian must be a float64 array"),
        ({"target": np.ones(2)}, ValueError, "target must have length 3, got 2"),
        ({"indices": np.array([0, 3, 1], np.int32)}, ValueError, "indices must lie between 0 and 2, got 0 to 3"),
        ({"tol": -1.0}, ValueError, "tol must be at least 0 and finite"),
        ({"tol": np.nan}, ValueError, "tol must be at least 0 and finite"),
        ({"max_steps": 0}, ValueError, "max_steps must be at least 1"),
        ({"num_threads": 0}, ValueError, "num_threads must be a whole number of at least 1"),
        ({"row_steps": np.zeros(2, np.int64)}, TypeError, "row_steps must be an int32 array"),
    ],
)
def test_the_public_function_refuses_what_would_crash_a_kernel(change, error, message):
    given_ = {
        "indptr": np.array([0, 2, 3]), "indices": np.array([0, 2, 1], np.int32), "weight": np.ones(3),
        "target": np.ones(3), "Y": np.ones((3, 2)), "gramian": np.zeros((2, 2)), "regularization": np.ones(2),
        "X": np.zeros((2, 2)),
    }  # fmt: skip
    assert public.solve_rows_nonnegative(**given_) == 0
    # (lambda + n y y^T) x = n y by symmetry: x = n / (1 + 2 n) in both components
    np.testing.assert_allclose(given_["X"], [[2 / 5, 2 / 5], [1 / 3, 1 / 3]], rtol=1e-12)
    before = given_["X"].copy()
    with pytest.raises(error, match=message):
        public.solve_rows_nonnegative(**{**given_, **change})
    with pytest.raises(ValueError, match="the two share memory: pass a copy"):
        public.solve_rows_nonnegative(**{**given_, "X": given_["Y"][:2]})
    np.testing.assert_array_equal(given_["X"], before)
