"""solve_rows: every implementation against the reference, the reference against the textbook."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from alternant.kernels import als_reference as reference

# How far a factor may be from the float64 reference, relative to the largest of its row: this plus the dtype's
# resolution times the condition number of the row. How far an objective may be, relative to the sum of its terms.
# Conjugate gradients run to a residual of 1e-6 or 1e-13: float32 resolves no less.
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-10}
OBJECTIVE_TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
CG_TOL = {np.float32: 1e-6, np.float64: 1e-13}


@dataclass
class Problem:
    indptr: Any
    indices: Any
    weight: Any
    target: Any
    Y: Any
    diagonal: Any
    regularization: Any
    X: Any
    linear: Any = None

    @property
    def inputs(self):
        return self.indptr, self.indices, self.weight, self.target, self.Y, self.diagonal, self.regularization

    def astype(self, dtype):
        floats = ("weight", "target", "Y", "diagonal", "regularization", "X")
        linear = None if self.linear is None else self.linear.astype(dtype)
        return replace(self, **{name: getattr(self, name).astype(dtype) for name in floats}, linear=linear)


def problem(lengths, n, f, *, alpha=40.0, regularization=0.1, g=1.0, seed=0, negative=False):
    """Rows of the given lengths over n columns: hu-weighted, with factors of the size that fits have."""
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = np.concatenate([rng.choice(n, length, replace=False) for length in lengths] or [[]]).astype(np.int32)
    weight = alpha * rng.random(len(indices))
    if negative:
        weight = -0.5 * rng.random(len(indices))
    return Problem(
        indptr, indices, weight, 1 + weight, rng.standard_normal((n, f)) / np.sqrt(f), g * rng.random(f) + g / 10,
        regularization * np.linspace(1, 2, len(lengths)), 0.1 * rng.standard_normal((len(lengths), f)),
    )  # fmt: skip


def twice_the_same_column(f):
    p = problem([6, 9], 20, f)
    p.indices[1] = p.indices[0]
    p.indices[8] = p.indices[7]
    return p


def with_linear_terms(lengths, n, f, **options):
    """Rows whose solutions are regularized towards vectors as long as those that the entries ask for."""
    p = problem(lengths, n, f, **options)
    return replace(p, linear=np.random.default_rng(7).standard_normal((len(lengths), f)))


def weights_of_zero(f):
    p = problem([5, 40, 3], 50, f)
    p.weight[::2] = 0
    return p


CASES = {
    "ordinary rows": lambda: problem([3, 8, 1, 20, 5], 30, 8),
    "empty rows first, last and between": lambda: problem([0, 4, 0, 0, 7, 0], 12, 5),
    "no entry at all": lambda: problem([0, 0, 0], 4, 3),
    "no row": lambda: problem([], 4, 3),
    "one factor": lambda: problem([1, 5, 12], 12, 1),
    "factors that fill no vector": lambda: problem([2, 40, 13, 14, 0], 60, 13),
    "factors that just overflow one": lambda: problem([2, 40, 17, 16], 60, 17),
    "the dual of a short row before a long row": lambda: problem([46, 60, 45, 70], 80, 47),
    "64 factors, short and long rows": lambda: problem([1, 63, 64, 65, 130, 300, 2], 400, 64, g=5.0),
    "128 factors": lambda: problem([3, 127, 128, 200], 300, 128, g=5.0),
    "160 factors, no special case": lambda: problem([3, 100, 200], 250, 160, g=5.0),
    "more factors than columns": lambda: problem([3, 5, 1], 5, 24),
    "one row with every column": lambda: problem([500, 1], 500, 16, g=5.0),
    "confidence 1e4": lambda: problem([5, 30, 4], 40, 16, alpha=1e4),
    "negative weights": lambda: problem([2, 6, 30], 40, 16, g=30.0, negative=True),
    "weights of zero": lambda: weights_of_zero(16),
    "a column twice in a row": lambda: twice_the_same_column(8),
    "no dense part, as in explicit ratings": lambda: replace(problem([3, 9, 30], 40, 8), diagonal=np.zeros(8)),
    "no regularization": lambda: problem([3, 9, 30], 40, 8, regularization=0.0),
    "linear terms, rows shorter and longer than f": lambda: with_linear_terms([3, 12, 13, 0, 40], 60, 13),
    "linear terms, negative weights": lambda: with_linear_terms([2, 6, 30], 40, 16, g=30.0, negative=True),
    "tiny scale": lambda: replace(problem([3, 9, 30], 40, 8), Y=1e-4 * problem([3, 9, 30], 40, 8).Y),
}


def solve(kernels, p, method="cg", num_threads=1, tol=None, max_steps=1000):
    """Return (status, X, steps, objective) without touching the problem."""
    X, steps, objective = p.X.copy(), np.full(len(p.X), -1, np.int32), np.full(len(p.X), np.nan)
    tol = CG_TOL[X.dtype.type] if tol is None else tol
    options = (method, tol, max_steps, num_threads, steps, objective, None, p.linear)
    status = kernels.solve_rows(*p.inputs, X, *options)
    return status, X, steps, objective


@pytest.mark.against_numpy
@pytest.mark.parametrize("method", ["cg", "cholesky"])
@pytest.mark.parametrize("case", CASES)
def test_rows_equal_the_float64_reference(kernels, dtype, case, method):
    p = CASES[case]().astype(dtype)
    expected = solve(reference, p.astype(np.float64), "cholesky")[1]
    status, X, steps, objective = solve(kernels, p, method)
    assert status == 0
    assert X.dtype == dtype
    for u in range(len(X)):
        allowed = TOLERANCE[dtype] + np.finfo(dtype).eps * np.linalg.cond(matrix(p, u))
        assert np.abs(X[u] - expected[u]).max() <= allowed * np.abs(expected[u]).max()
    empty = np.diff(p.indptr) == 0
    assert (X[empty] == 0).all()
    assert (steps[empty] == 0).all()
    if method == "cholesky":
        assert (steps == 0).all()
    for u in range(len(X)):
        terms = objective_terms(p, u, X[u].astype(np.float64))
        assert abs(objective[u] - terms.sum()) <= OBJECTIVE_TOLERANCE[dtype] * np.abs(terms).sum()


def matrix(p, u):
    """The dense matrix of a row, in float64."""
    entries = slice(p.indptr[u], p.indptr[u + 1])
    y = p.Y[p.indices[entries]].astype(np.float64)
    return np.diag(p.diagonal + p.regularization[u]) + (y.T * p.weight[entries]) @ y


def objective_terms(p, u, x):
    """The terms of a row's objective, in float64."""
    entries = slice(p.indptr[u], p.indptr[u + 1])
    s = p.Y[p.indices[entries]].astype(np.float64) @ x
    t, w = p.target[entries].astype(np.float64), p.weight[entries].astype(np.float64)
    d = p.diagonal.astype(np.float64) + float(p.regularization[u])
    linear = np.zeros_like(x) if p.linear is None else p.linear[u].astype(np.float64)
    return np.concatenate([d * x * x, w * s * s, -2 * t * s, -2 * linear * x])


@pytest.mark.parametrize("case", CASES)
def test_the_reference_equals_the_textbook_formula(case):
    """Dense numpy.linalg.solve of the normal equations; shares no code with the library."""
    p = CASES[case]()
    for method in ("cg", "cholesky"):
        X = solve(reference, p, method)[1]
        for u in range(len(p.X)):
            A = np.diag(p.diagonal) + p.regularization[u] * np.eye(len(p.diagonal))
            empty = p.indptr[u] == p.indptr[u + 1]  # its linear term has no effect
            b = np.zeros(len(p.diagonal)) if p.linear is None or empty else p.linear[u].copy()
            for e in range(p.indptr[u], p.indptr[u + 1]):
                y = p.Y[p.indices[e]]
                A += p.weight[e] * np.outer(y, y)
                b += p.target[e] * y
            np.testing.assert_allclose(X[u], np.linalg.solve(A, b), rtol=1e-8, atol=1e-10 * np.abs(X[u]).max())


@pytest.mark.parametrize("method", ["cg", "cholesky"])
@pytest.mark.parametrize("case", ["64 factors, short and long rows", "factors that fill no vector", "ordinary rows"])
def test_threads_change_no_bit(kernels, dtype, case, method):
    p = CASES[case]().astype(dtype)
    one, *others = (solve(kernels, p, method, threads, max_steps=4) for threads in (1, 2, 8, None))
    for other in others:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", ["cg", "cholesky"])
def test_many_rows_on_many_threads_change_no_bit(kernels, dtype, method):
    lengths = np.random.default_rng(1).integers(0, 40, 300)
    p = problem(lengths, 50, 24).astype(dtype)
    one = solve(kernels, p, method, 1, max_steps=3)
    for threads in (2, 3, 8, 128):
        for a, b in zip(one, solve(kernels, p, method, threads, max_steps=3), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.compiles_anew
@pytest.mark.parametrize("method", ["cg", "cholesky"])
def test_inputs_may_be_read_only_maps_and_indices_int64(kernels, dtype, method, tmp_path):
    p = CASES["factors that fill no vector"]().astype(dtype)
    expected = solve(kernels, p, method)[1]
    mapped = {}
    for name in ("indptr", "indices", "weight", "target", "Y", "diagonal", "regularization"):
        array = getattr(p, name)
        file = tmp_path / name
        (array.astype(np.int64) if name == "indices" else array).tofile(file)
        mapped[name] = np.memmap(file, np.int64 if name == "indices" else array.dtype, "r", shape=array.shape)
    # Numba compiles a function of its own for int64, and each compilation may add up in another order: `FAST`.
    tolerance = {np.float32: 1e-5, np.float64: 1e-12}[dtype] if kernels.name == "numba" else 0
    np.testing.assert_allclose(solve(kernels, replace(p, **mapped), method)[1], expected, rtol=tolerance)


@pytest.mark.parametrize("method", ["cg", "cholesky"])
def test_a_slice_of_indptr_solves_a_range_of_rows(kernels, dtype, method):
    p = CASES["factors that fill no vector"]().astype(dtype)
    expected = solve(kernels, p, method)[1]
    part = replace(p, indptr=p.indptr[1:4], regularization=p.regularization[1:3], X=p.X[1:3])
    np.testing.assert_array_equal(solve(kernels, part, method)[1], expected[1:3])


@pytest.mark.parametrize("method", ["cg", "cholesky"])
def test_the_first_singular_row_is_named_and_left_alone_and_the_others_are_solved(kernels, dtype, method):
    p = problem([30, 20, 30, 25], 60, 6, regularization=0.0).astype(dtype)
    p.diagonal[:] = 0
    p.Y[:, 5] = p.Y[:, 4]  # two equal factors: every row is singular ...
    p.regularization[[0, 2]] = 1  # ... but where the regularization helps
    status, X, _, _ = solve(kernels, p, method, 2)
    assert status == 2
    np.testing.assert_array_equal(X[[1, 3]], p.X[[1, 3]])
    expected = solve(reference, p.astype(np.float64), method)[1]
    np.testing.assert_allclose(X[[0, 2]], expected[[0, 2]], rtol=1e-3 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize("method", ["cg", "cholesky"])
@pytest.mark.parametrize("added", [1.0, 0, -0.25])
def test_a_number_for_the_target_is_added_to_each_weight(kernels, dtype, method, added):
    p = problem([3, 0, 10, 40, 80], 100, 24).astype(dtype)
    whole = replace(p, target=p.weight + dtype(added))
    for a, b in zip(solve(kernels, replace(p, target=added), method), solve(kernels, whole, method), strict=True):
        np.testing.assert_array_equal(a, b)
    part = slice(2, 5)  # rows of a larger indptr
    inputs = (p.indptr[2:], p.indices, p.weight, added, p.Y, p.diagonal, p.regularization[part])
    X = p.X[part].copy()
    assert kernels.solve_rows(*inputs, X, method, CG_TOL[dtype], 1000, 2) == 0
    np.testing.assert_array_equal(X, solve(kernels, whole, method)[1][part])
    errors = [kernels.squared_error(*p.inputs[:3], t, p.X, p.Y, p.diagonal, 2) for t in (added, whole.target)]
    assert errors[0] == errors[1]


def distance(p, u, x):
    """The square of a row's distance from its solution in the norm of its matrix: what its objective can still fall."""
    A = matrix(p, u)
    entries = slice(p.indptr[u], p.indptr[u + 1])
    e = x - np.linalg.solve(A, p.Y[p.indices[entries]].astype(np.float64).T @ p.target[entries])
    return e @ A @ e


@pytest.mark.parametrize("method", ["cg", "cholesky"])
@pytest.mark.parametrize("target", ["array", 1.0])
def test_targets_are_scaled_by_the_column_of_their_entry(kernels, dtype, method, target):
    p = problem([3, 0, 10, 40, 80], 100, 24).astype(dtype)
    scale = np.random.default_rng(3).uniform(0.1, 2, 100).astype(dtype)
    scale.flags.writeable = False
    given = p.target if target == "array" else target
    whole = replace(p, target=(p.target if target == "array" else p.weight + dtype(target)) * scale[p.indices])
    part = slice(2, 5)  # rows of a larger indptr
    inputs = (p.indptr[2:], p.indices.astype(np.int64), p.weight, given, p.Y, p.diagonal, p.regularization[part])
    expected = solve(kernels, whole, method)
    for threads in (1, 2, 8):
        X, objective = p.X[part].copy(), np.empty(3)
        options = (method, CG_TOL[dtype], 1000, threads, None, objective, scale)
        assert kernels.solve_rows(*inputs, X, *options) == 0
        if kernels.name == "numba":  # compiled anew for int64 indices, maybe with sums in another order
            rtol = 1e-4 if dtype == np.float32 else 1e-11
            np.testing.assert_allclose(X, expected[1][part], rtol, rtol * np.abs(X).max())
            np.testing.assert_allclose(objective, expected[3][part], rtol)
        else:
            np.testing.assert_array_equal(X, expected[1][part])
            np.testing.assert_array_equal(objective, expected[3][part])


@pytest.mark.parametrize("weights", ["alike", "over four orders of magnitude"])
@pytest.mark.parametrize("tol", [0.5, 0.1, 0.01])
def test_rows_stop_about_where_tol_says_in_the_norm_of_their_matrix(kernels, weights, tol):
    """The residual alone would call rows of great weights solved that have hardly moved."""
    p = problem([3, 10, 40, 80, 150], 300, 24, g=0.3)
    if weights != "alike":
        p.weight[:] = 10.0 ** np.random.default_rng(5).uniform(-1, 3, len(p.weight))
        p.target[:] = p.weight + 1
    steps = np.zeros((2, 5), np.int32)
    for i, start in enumerate([np.zeros_like(p.X), p.X]):
        q = replace(p, X=start)
        _, X, steps[i], _ = solve(kernels, q, tol=tol)
        before, after = (np.array([distance(q, u, x) for u, x in enumerate(side)]) for side in (start, X))
        # An estimate, of rows that may converge in leaps: some end early, none far from where they should.
        assert (after <= 30 * tol**2 * before).all()
        assert np.exp(np.mean(np.log(after / before))) <= 1.5 * tol**2
    assert (steps.sum(axis=1) < solve(kernels, p, tol=1e-7)[2].sum()).all()


def test_a_start_far_worse_than_zero_does_not_loosen_the_tolerance(kernels):
    p = problem([3, 10, 40, 80, 150], 300, 24, g=0.3)
    p.X[:] *= 1e6
    X = solve(kernels, p, tol=0.1)[1]
    for u in range(len(X)):
        assert distance(p, u, X[u]) <= 0.3 * distance(p, u, np.zeros(24))


def test_a_matrix_that_is_not_positive_definite_is_named(kernels, dtype):
    p = problem([5, 5], 20, 6).astype(dtype)
    p.weight[p.indptr[1] :] = -1000
    for method in ("cg", "cholesky"):
        assert solve(kernels, p, method)[0] == 2


@pytest.mark.parametrize("confidence", [1e4, 1e6, 1e8, 1e10])
def test_equal_items_of_great_confidence_are_solved_whatever_float32_can_tell(kernels, dtype, confidence):
    """Rows shorter than f, whose dual has two equal rows but for 1 in 1e10."""
    p = problem([12, 12], 40, 64, regularization=0.01, g=0.01)
    p.indices[6:12], p.indices[18:] = p.indices[:6], p.indices[12:18]
    p.weight[:] = confidence
    p.target[:] = confidence + 1
    p = p.astype(dtype)
    status, X, _, _ = solve(kernels, p, "cholesky")
    assert status == 0
    for u in range(2):  # the fit of what was observed, which the matrix hardly depends on
        np.testing.assert_allclose(p.Y[p.indices[p.indptr[u] : p.indptr[u + 1]]] @ X[u], 1, rtol=1e-3)


def test_a_row_without_anything_liked_becomes_zero(kernels, dtype):
    p = problem([4, 3], 20, 6).astype(dtype)
    p.target[:] = 0
    for method in ("cg", "cholesky"):
        assert (solve(kernels, p, method)[1] == 0).all()


@pytest.mark.parametrize("exponent", [-38, -40, -44, -150, -165, -320])
def test_a_row_that_shrinks_into_underflow_is_not_called_singular(kernels, dtype, exponent):
    """Strong regularization does that to an item which one user knows who knows nothing else."""
    p = problem([1, 1, 2], 5, 6, regularization=300.0).astype(dtype)
    p.Y[:] *= 10.0**exponent
    p.X[:] *= 10.0**exponent
    status, X, _, _ = solve(kernels, p, "cg", tol=1e-2)
    assert status == 0
    assert np.isfinite(X).all()


@pytest.mark.nightly
def test_a_row_longer_than_the_packed_copy_is_solved_all_the_same(kernels):
    """Beyond 12 MiB the Cython kernel gathers a row again in every step; 40,000 entries of 128 float32 are 20 MiB."""
    p = problem([40_000, 10], 40_000, 128, g=5.0).astype(np.float32)
    expected = solve(reference, p.astype(np.float64), "cholesky")[1]
    _, X, _, objective = solve(kernels, p, "cg")
    np.testing.assert_allclose(X, expected, atol=2e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(X, solve(kernels, p, "cg", 2)[1])
    assert np.isfinite(objective).all()


@cache
def long_rows(n, f, tol):
    """Return a problem in float32, in float64, and what the reference makes of that."""
    p = problem([n, 30, n + 3], n + 10, f, g=0.3).astype(np.float32)
    wide = p.astype(np.float64)
    return p, wide, *solve(reference, wide, tol=tol)[1:3]


@pytest.mark.nightly
@pytest.mark.against_numpy
@pytest.mark.parametrize(("n", "f", "tol"), [
    (8_200, 16, 0.05), (2_800, 48, 0.3), (2_100, 64, 0.05), (1_100, 128, 0.3), (600, 256, 0.05), (26_000, 128, 0.3),
    (1_100, 130, 0.3), (1_100, 150, 0.3),
])  # fmt: skip
def test_rows_that_are_kept_in_16_bits_are_solved_as_others_are(kernels, n, f, tol):
    """The Cython kernel does that beyond 512 KiB; an objective may be off by a small part of its decrease."""
    p, wide, expected, expected_steps = long_rows(n, f, tol)
    _, X, steps, objective = solve(kernels, p, tol=tol)
    np.testing.assert_array_equal(steps, expected_steps)
    for u in range(3):
        before, after, reached = (distance(wide, u, x) for x in (wide.X[u], X[u], expected[u]))
        assert after <= 1.01 * reached + 1e-5 * before
        terms = objective_terms(p, u, X[u].astype(np.float64))
        allowed = OBJECTIVE_TOLERANCE[np.float32] * np.abs(terms).sum() + 5e-4 * (before - after)
        assert abs(objective[u] - terms.sum()) <= allowed
    for threads in (2, 8):
        np.testing.assert_array_equal(X, solve(kernels, p, "cg", threads, tol=tol)[1])


@pytest.mark.nightly
@pytest.mark.parametrize("method", ["cg", "cholesky"])
@pytest.mark.parametrize("case", CASES)
def test_a_fixed_side_in_float16_is_what_it_stands_for(kernels, case, method):
    p = in_float16(CASES[case]())
    expected = solve(kernels, replace(p, Y=p.Y.astype(np.float32)), method)
    got = solve(kernels, p, method)
    assert got[0] == expected[0] == 0
    for u in range(len(p.X)):
        allowed = TOLERANCE[np.float32] + np.finfo(np.float32).eps * np.linalg.cond(matrix(p, u))
        assert np.abs(got[1][u] - expected[1][u]).max() <= allowed * np.abs(expected[1][u]).max()
        terms = objective_terms(p, u, got[1][u].astype(np.float64))
        assert abs(got[3][u] - terms.sum()) <= OBJECTIVE_TOLERANCE[np.float32] * np.abs(terms).sum()


@pytest.mark.nightly
@pytest.mark.parametrize(("n", "f", "tol"), [
    (40_000, 128, 1e-6), (8_200, 16, 0.3), (2_100, 64, 0.05), (1_100, 130, 0.3), (130, 1024, 0.3), (140, 1024, 1e-6),
])  # fmt: skip
def test_long_rows_in_float16_are_solved_as_others_are(kernels, n, f, tol):
    """Kept in 16 bits, kept in 32, and too long to be kept; each with entries beyond the last full four."""
    p = in_float16(problem([n, 30, n + 3], n + 10, f, g=0.3))
    expected = solve(kernels, replace(p, Y=p.Y.astype(np.float32)), tol=tol, max_steps=30)
    got = solve(kernels, p, tol=tol, max_steps=30)
    for result, same in zip(got, expected, strict=True):
        np.testing.assert_array_equal(result, same)
    for threads in (2, 8):
        other = solve(kernels, p, num_threads=threads, tol=tol, max_steps=30)
        np.testing.assert_array_equal(got[1], other[1])


@pytest.mark.parametrize("f", [32, 35, 64, 96])
def test_every_float16_is_read_as_what_it_is(kernels, f):
    """x = t y / g, up to the rounding of weights that are nearly 0; all exponents, those below 6e-5 included."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    numbers = bits[np.isfinite(bits.view(np.float16))].view(np.float16)
    Y = np.append(numbers, np.ones(-len(numbers) % f, np.float16)).reshape(-1, f)
    n = len(Y)
    X = np.zeros((n, f), np.float32)
    ones, nothing = np.ones(n, np.float32), np.full(n, 1e-30, np.float32)
    status = kernels.solve_rows(
        np.arange(n + 1), np.arange(n), nothing, ones, Y, np.ones(f, np.float32), np.zeros(n, np.float32), X, "cg", 1e-9
    )
    assert status == 0
    np.testing.assert_array_equal(X, Y.astype(np.float32))


def test_rows_solved_exactly_although_others_are_not_read_float16(kernels):
    """A row's preconditioner may be singular; at the limit, what decides must be one formula."""
    p = problem([40, 30, 50], 60, 8)
    p.diagonal[:] = 0
    p.regularization[1] = 0
    p = replace(in_float16(p), indices=p.indices.astype(np.int64), target=1.0)
    p.Y.flags.writeable = p.weight.flags.writeable = False
    expected = solve(kernels, replace(p, Y=p.Y.astype(np.float32)))
    assert expected[2][1] == 0
    for result, same in zip(solve(kernels, p), expected, strict=True):
        np.testing.assert_array_equal(result, same)
    u = np.float32(2.0**-67)
    limit = replace(
        problem([1], 3, 2).astype(np.float32), diagonal=np.array([14757399 * u, 1 + 3 * 2.0**-23], np.float32),
        regularization=np.array([np.float32(1.52) * u]), Y=np.ones((3, 2), np.float16),
    )  # fmt: skip
    assert solve(kernels, limit)[0] == 0


def in_float16(p):
    """A problem in float32 whose fixed side is in float16."""
    p = p.astype(np.float32)
    return replace(p, Y=p.Y.astype(np.float16))


@pytest.mark.parametrize("length", [150_000, 200_000], ids=["kept packed", "gathered in every step"])
def test_sums_over_long_rows_keep_their_digits_in_float32(kernels, length):
    """So many terms added one by one in float32 would be off by about 1e-4."""
    p = problem([length], length, 4, alpha=1.0, g=1.0)
    p.Y[:] = np.abs(p.Y) + 1  # all of one sign: errors of rounding do not average out
    expected = solve(reference, p, "cholesky")[1]
    for method, tolerance in (("cg", 1e-4), ("cholesky", 2e-3)):  # the condition number is 1e6
        X = solve(kernels, p.astype(np.float32), method)[1]
        np.testing.assert_allclose(X, expected, rtol=tolerance)
        exact, got = objective_terms(p, 0, expected[0]).sum(), objective_terms(p, 0, X[0].astype(np.float64)).sum()
        assert abs(got - exact) <= 1e-6 * abs(exact)


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(1, 20), rows=st.integers(1, 6))
def test_a_solved_row_has_no_gradient_and_no_direction_lowers_the_objective(kernels, seed, f, rows):
    rng = np.random.default_rng(seed)
    p = problem(rng.integers(1, 30, rows), 30, f, seed=seed)
    for method in ("cg", "cholesky"):
        X = solve(kernels, p, method)[1]
        for u in range(rows):
            least = objective_terms(p, u, X[u])
            for step in (1e-3, 1e-1, 10.0):
                direction = rng.standard_normal(f)
                moved = objective_terms(p, u, X[u] + step * direction)
                assert moved.sum() > least.sum() - 1e-12 * np.abs(least).sum()


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 5))
def test_conjugate_gradients_never_raise_the_objective_however_few_the_steps(kernels, seed, steps):
    p = problem(np.random.default_rng(seed).integers(1, 30, 5), 30, 12, seed=seed)
    _, X, taken, _ = solve(kernels, p, "cg", max_steps=steps)
    assert (taken <= steps).all()
    for u in range(len(X)):
        before, after = objective_terms(p, u, p.X[u]), objective_terms(p, u, X[u])
        assert after.sum() <= before.sum() + 1e-12 * np.abs(before).sum()


def test_permuting_rows_permutes_results(kernels, dtype):
    p = CASES["64 factors, short and long rows"]().astype(dtype)
    order = np.random.default_rng(0).permutation(len(p.X))
    permuted = sp.csr_array((np.arange(len(p.indices)) + 1, p.indices, p.indptr), shape=(len(p.X), len(p.Y)))[order]
    entries = permuted.data - 1
    q = replace(p, indptr=permuted.indptr.astype(np.int64), indices=p.indices[entries], weight=p.weight[entries],
                target=p.target[entries], X=p.X[order], regularization=p.regularization[order])  # fmt: skip
    for method in ("cg", "cholesky"):
        np.testing.assert_array_equal(solve(kernels, q, method)[1], solve(kernels, p, method)[1][order])


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("linear terms")])
def test_squared_error_equals_the_sum_over_all_pairs(kernels, dtype, case):
    p = CASES[case]().astype(dtype)
    expected = sum(
        objective_terms(replace(p, regularization=np.zeros_like(p.regularization)), u, p.X[u].astype(np.float64)).sum()
        for u in range(len(p.X))
    )
    got = [
        kernels.squared_error(p.indptr, p.indices, p.weight, p.target, p.X, p.Y, p.diagonal, threads)
        for threads in (1, 2, 8)
    ]
    assert got[0] == got[1] == got[2]
    assert got[0] == pytest.approx(expected, rel=1e-6 if dtype == np.float32 else 1e-12, abs=1e-12)


def test_the_squared_error_of_many_rows_is_the_same_on_any_number_of_threads(kernels, dtype):
    p = problem(np.random.default_rng(1).integers(0, 40, 300), 50, 24).astype(dtype)
    inputs = p.indptr, p.indices, p.weight, p.target, p.X, p.Y, p.diagonal
    assert len({kernels.squared_error(*inputs, threads) for threads in (1, 2, 3, 8)}) == 1
