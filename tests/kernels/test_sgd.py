"""Epochs of gradient descent: every implementation against the reference, and all against finite differences."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from alternant.kernels import Factors, Grid, cut, sgd_reference

# How far a factor, a sum of squares or a loss may be from the float64 reference after three epochs, relative to the
# largest of its array.
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-11}

LAMBDA = (0.1, 0.2, 0.3, 0.4)  # all different: a swapped pair shows

ONE_TASK = np.zeros((1, 1, 2), np.int64)  # the schedule of a grid of one block


@dataclass
class Problem:
    grid: Grid
    schedule: Any
    weight: Any
    target: Any
    negatives: Any
    factors: Factors
    squares: Factors

    def astype(self, dtype):
        return replace(
            self, weight=self.weight.astype(dtype), target=self.target.astype(dtype),
            factors=Factors(*(array.astype(dtype) for array in self.factors)),
            squares=Factors(*(array.astype(dtype) for array in self.squares)),
        )  # fmt: skip

    def cosine_factors(self):
        return self.factors.X, self.factors.Y


def problem(m=30, n=24, f=8, blocks=3, density=0.3, scale=1.0, full_row=False, seed=0):
    """Random entries on a grid; all numbers are float32 ones, so that both dtypes begin at the same point."""
    rng = np.random.default_rng(seed)
    dense = rng.random((m, n)) < density
    if full_row:
        dense[m // 2] = True
    matrix = sp.csr_array(dense)
    grid = cut(matrix.indptr.astype(np.int64), matrix.indices, n, blocks, rng).grid
    nnz, shapes = len(grid.rows), ((m, f), (n, f), (m,), (n,))

    def numbers(values):
        return np.asarray(values, np.float32).astype(np.float64)

    return Problem(
        grid, grid.diagonals(rng.permutation(blocks)), numbers(3 * rng.random(nnz)), numbers(rng.random(nnz)),
        4 * rng.random(m),
        Factors(*(numbers(scale * rng.standard_normal(shape) / f**0.25) for shape in shapes)),
        Factors(*(numbers(0.1 + rng.random(shape)) for shape in shapes)),
    )  # fmt: skip


def zeros_in(p, side, row):
    p.factors[side][row] = 0
    return p


def events(p):
    """Entries in any order, many of them twice, in one block."""
    chosen = np.random.default_rng(1).integers(0, len(p.grid.rows), 300)
    grid = Grid.whole(p.grid.rows[chosen], p.grid.columns[chosen], len(p.factors.X), len(p.factors.Y))
    return replace(p, grid=grid, schedule=ONE_TASK, weight=p.weight[chosen], target=p.target[chosen])


CASES = {
    "ordinary": lambda: problem(),
    "one factor": lambda: problem(f=1),
    "13 factors fill no vector": lambda: problem(f=13),
    "17 factors just overflow one": lambda: problem(f=17),
    "64 factors, a special case": lambda: problem(f=64),
    "128 factors, a special case": lambda: problem(f=128),
    "160 factors, no special case": lambda: problem(f=160),
    "blocks without entries": lambda: problem(blocks=7, density=0.03),
    "blocks of one row": lambda: problem(m=5, blocks=5, density=0.8),
    "blocks without rows": lambda: problem(m=2, n=3, blocks=6, density=0.8),
    "a row with every column": lambda: problem(density=0.1, full_row=True),
    "one entry": lambda: problem(m=1, n=1, blocks=1, density=1.0),
    "no entry": lambda: problem(density=0.0),
    "one row": lambda: problem(m=1, blocks=1),
    "one column": lambda: problem(n=1, blocks=1),
    "one block": lambda: problem(blocks=1),
    "events in any order, many of them twice": lambda: events(problem(m=12, n=9)),
    "16 blocks": lambda: problem(blocks=16),
    "a zero row": lambda: zeros_in(problem(), 0, 7),  # the cosine has no gradient there
    "a zero column": lambda: zeros_in(problem(), 1, 7),
}


def biased(backend, p, epoch, bounds, **options):
    return backend.biased_epoch(p.grid, p.schedule, p.target, p.factors, 0.3, bounds, 0.05, LAMBDA, **options)


def cosine(backend, p, epoch, **options):
    return backend.cosine_epoch(p.grid, p.schedule, p.target, *p.cosine_factors(), 0.05, **options)


def logistic(backend, p, epoch, negatives, squares, **options):
    p_negatives = {"full": None, "none": np.zeros_like(p.negatives), "sampled": p.negatives}[negatives]
    p_squares = p.squares if squares else None
    return backend.logistic_epoch(p.grid, p.schedule, p.weight, p.target, p_negatives, p.factors, p_squares, 0.05,
                                  LAMBDA, 2**64 - 1, epoch, **options)  # fmt: skip


KINDS = {
    "biased": (biased, {"bounds": (-np.inf, np.inf)}),
    "biased, one bound is none": (biased, {"bounds": (0.0, np.inf)}),
    "biased, sigmoid": (biased, {"bounds": (0.5, 5.0)}),
    "cosine": (cosine, {}),
    "logistic, all negatives": (logistic, {"negatives": "full", "squares": False}),
    "logistic, sampled negatives, Adagrad": (logistic, {"negatives": "sampled", "squares": True}),
    "logistic, no negatives, Adagrad": (logistic, {"negatives": "none", "squares": True}),
    "logistic, sampled negatives": (logistic, {"negatives": "sampled", "squares": False}),
}


def run(backend, p, kind, epochs=1, **options):
    """Return the losses of the tasks, the factors and the sums of squares, without touching the problem."""
    copies = replace(p, factors=Factors(*(array.copy() for array in p.factors)),
                     squares=Factors(*(array.copy() for array in p.squares)))  # fmt: skip
    function, more = KINDS[kind]
    if not options.get("update_columns", True):
        for array in (copies.factors.Y, copies.factors.column_bias, copies.squares.Y, copies.squares.column_bias):
            array.flags.writeable = False
    losses = np.array([function(backend, copies, epoch, **more, **options) for epoch in range(epochs)])
    return losses, *copies.factors, *copies.squares


@cache
def expected(case, kind, epochs, update_columns=True):
    return run(sgd_reference, CASES[case](), kind, epochs, update_columns=update_columns)


def assert_close(got, reference, dtype):
    for array, exact in zip(got, reference, strict=True):
        assert array.shape == exact.shape
        if exact.size:
            assert np.abs(array - exact).max() <= TOLERANCE[dtype] * np.abs(exact).max()


def assert_same_bits(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.against_numpy
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_epochs_equal_the_float64_reference(kernels, dtype, case, kind):
    p = CASES[case]().astype(dtype)
    for epochs in (1, 3):
        assert_close(run(kernels, p, kind, epochs), expected(case, kind, epochs), dtype)


@pytest.mark.against_numpy
@pytest.mark.parametrize("kind", ["biased", "biased, sigmoid"])
def test_rows_that_stay_in_registers_equal_the_reference_at_every_level(kernels, dtype, kind):
    for f in (4, 8, 16, 32, 64, 128):  # 2 to 16 vectors of 2 to 16 lanes
        p = problem(m=8, n=6, f=f, density=0.6)
        for columns in (True, False):
            exact = run(sgd_reference, p, kind, update_columns=columns)
            assert_close(run(kernels, p.astype(dtype), kind, update_columns=columns), exact, dtype)


FIXED = ["biased", "biased, sigmoid", "cosine", "logistic, all negatives", "logistic, sampled negatives, Adagrad"]


@pytest.mark.parametrize("kind", FIXED)
@pytest.mark.parametrize("case", ["ordinary", "13 factors fill no vector", "64 factors, a special case"])
def test_fixed_columns_are_only_read(kernels, dtype, case, kind):
    """They are read-only here, so that a write would raise or crash."""
    p = CASES[case]().astype(dtype)
    got = run(kernels, p, kind, 3, update_columns=False)
    assert_close(got, expected(case, kind, 3, update_columns=False), dtype)
    _, _, Y, _, column_bias, _, Y_squares, _, column_bias_squares = got
    assert_same_bits((Y, column_bias), (p.factors.Y, p.factors.column_bias))
    assert_same_bits((Y_squares, column_bias_squares), (p.squares.Y, p.squares.column_bias))


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_bit(kernels, dtype, kind):
    # The compiled kernels hand out 4096 steps on a diagonal or more; the reference has one thread and takes its time.
    m = 30 if kernels.name == "numpy" else 300
    for blocks in (3, 8):
        p = problem(m, 2 * m, 17, blocks, density=0.5, scale=0.3).astype(dtype)
        if kernels.name != "numpy":
            p.negatives[:] *= 100
            assert len(p.grid.rows) > 4096 * blocks
        one = run(kernels, p, kind, 2, num_threads=1)
        for threads in (2, 8, None):
            assert_same_bits(run(kernels, p, kind, 2, num_threads=threads), one)


@pytest.mark.parametrize("kind", ["biased", "cosine", "logistic, sampled negatives, Adagrad"])
def test_an_epoch_has_the_bits_of_parts_of_its_rounds_in_calls_of_their_own(kernels, dtype, kind):
    """The losses included: a fit from a store makes such calls."""
    p = CASES["16 blocks"]().astype(dtype)
    (whole,), *factors = run(kernels, p, kind)
    assert whole.shape == (16, 16)
    after = p
    for d in range(16):
        for part in (slice(0, 5), slice(5, 16)):
            (losses,), *arrays = run(kernels, replace(after, schedule=p.schedule[d : d + 1, part].copy()), kind)
            after = replace(after, factors=Factors(*arrays[:4]), squares=Factors(*arrays[4:]))
            np.testing.assert_array_equal(losses[0], whole[d, part])
    assert_same_bits(arrays, factors)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_may_be_read_only_memory_maps(kernels, dtype, kind, tmp_path):
    p = CASES["13 factors fill no vector"]().astype(dtype)
    one = run(kernels, p, kind)

    def mapped(name, array):
        array.tofile(tmp_path / name)
        return np.memmap(tmp_path / name, array.dtype, "r", shape=array.shape)

    inputs = {name: mapped(name, getattr(p, name)) for name in ("schedule", "weight", "target", "negatives")}
    grid = Grid(*(mapped(name, array) for name, array in p.grid._asdict().items()))
    assert_same_bits(run(kernels, replace(p, grid=grid, **inputs), kind), one)


def test_the_worked_example_of_the_cosine(kernels, dtype):
    """One swipe: the numbers of a course example, u and c and a learning rate of 0.1."""
    u = np.array([[0.87, 0.62, 0.16, 0.79, 0.92, 0.02, 0.01, 0.61, 0.57, 0.52]], dtype)
    c = np.array([[0.54, 0.26, 0.52, 0.36, 0.71, 0.93, 0.6, 0.2, 0.89, 0.63]], dtype)
    exact = dtype == np.float64
    loss = kernels.cosine_epoch(Grid.whole([0], [0], 1, 1), ONE_TASK, np.ones(1, dtype), u, c, 0.1)
    assert 1 - np.sqrt(loss.item()) == pytest.approx(0.719319229837224, abs=1e-14 if exact else 1e-6)
    after = (u @ c.T).item() / np.linalg.norm(u) / np.linalg.norm(c)
    assert after == pytest.approx(0.7339560594124371, abs=1e-14 if exact else 1e-6)
    assert [u[0, 0], c[0, 0]] == pytest.approx([0.86853641, 0.54747484], abs=5e-9 if exact else 1e-6)


# The oracle: losses written out, differentiated by central differences. It shares no code with the library.


def biased_loss(X, Y, b, c, rows, columns, weight, target, bounds):
    z = 0.3 + b[rows] + c[columns] + (X[rows] * Y[columns]).sum(1)
    low, high = bounds
    prediction = low + (high - low) / (1 + np.exp(-z)) if np.isfinite(high - low) else z
    return ((target - prediction) ** 2).sum() / 2 + penalty(X, Y, b, c, rows, columns)


def cosine_loss(X, Y, b, c, rows, columns, weight, target):
    x, y = X[rows], Y[columns]
    return (((x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1)) - target) ** 2).sum()


def logistic_loss(X, Y, b, c, rows, columns, weight, target):
    z = b[rows] + c[columns] + (X[rows] * Y[columns]).sum(1)
    return (weight * (np.log(1 + np.exp(z)) - target * z)).sum() + penalty(X, Y, b, c, rows, columns)


def penalty(X, Y, b, c, rows, columns):
    """Half the lambda terms of every step."""
    sums = (X[rows] ** 2).sum(), (Y[columns] ** 2).sum(), (b[rows] ** 2).sum(), (c[columns] ** 2).sum()
    return np.dot(LAMBDA, sums) / 2


def gradients(loss, factors, *entries, **options):
    """Central differences of the loss in every number."""
    found = []
    for side, array in enumerate(factors):
        gradient = np.empty_like(array)
        for at in np.ndindex(array.shape):
            values = []
            for h in (1e-5, -1e-5):
                moved = [other.copy() for other in factors]
                moved[side][at] += h
                values.append(loss(*moved, *entries, **options))
            gradient[at] = (values[0] - values[1]) / 2e-5
        found.append(gradient)
    return found


def small(seed=3):
    """One entry of a 3 x 4 matrix."""
    p = problem(3, 4, 5, 1, seed=seed)
    entry = np.array([1.7]), np.array([0.8])
    return replace(p, grid=Grid.whole([1], [2], 3, 4), weight=entry[0], target=entry[1])


def steps(kernels, p, kind, learning_rate):
    """Return how far each array moves in one epoch, for a learning rate of 1."""
    factors = Factors(*(array.copy() for array in p.factors))
    grid, schedule, w, t = p.grid, p.schedule, p.weight, p.target
    if kind is cosine_loss:
        kernels.cosine_epoch(grid, schedule, t, factors.X, factors.Y, learning_rate)
    elif kind is logistic_loss:
        kernels.logistic_epoch(grid, schedule, w, t, p.negatives, factors, None, learning_rate, LAMBDA)
    else:
        kernels.biased_epoch(grid, schedule, t, factors, 0.3, kind, learning_rate, LAMBDA)
    return [(after - before) / learning_rate for after, before in zip(factors, p.factors, strict=True)]


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (biased_loss, {"bounds": (-np.inf, np.inf)}),
        (biased_loss, {"bounds": (0.5, 5.0)}),
        (cosine_loss, {}),
        (logistic_loss, {}),
    ],
    ids=["biased", "sigmoid", "cosine", "logistic"],
)
def test_a_step_goes_along_the_negative_gradient(kernels, loss, options):
    p = small()
    p.negatives[:] = 0
    entries = p.grid.rows, p.grid.columns, p.weight, p.target
    gradient = gradients(loss, p.factors, *entries, **options)
    moved = steps(kernels, p, options.get("bounds", loss), 0.25)
    assert max(np.abs(array).max() for array in gradient) > 0.1
    for step, slope in zip(moved, gradient, strict=True):
        np.testing.assert_allclose(step, -slope, rtol=1e-6, atol=1e-8)


def test_all_negatives_go_along_the_gradient_of_the_loss_of_all_pairs(kernels):
    """With a step so short that none of them feels the one before it."""
    p = replace(small(), negatives=None)
    rows, columns = np.indices((3, 4)).reshape(2, -1)
    gradient = gradients(
        logistic_loss, p.factors, np.append(rows, 1), np.append(columns, 2), np.append(np.ones(12), p.weight),
        np.append(np.zeros(12), p.target),
    )  # fmt: skip
    for step, slope in zip(steps(kernels, p, logistic_loss, 1e-8), gradient, strict=True):
        np.testing.assert_allclose(step, -slope, rtol=1e-6, atol=3e-7)


def test_adagrad_divides_the_gradient_by_the_root_of_the_sum_of_squares(kernels):
    p = small()
    gradient = gradients(logistic_loss, p.factors, p.grid.rows, p.grid.columns, p.weight, p.target)
    factors, squares = (Factors(*(array.copy() for array in arrays)) for arrays in (p.factors, p.squares))
    kernels.logistic_epoch(p.grid, p.schedule, p.weight, p.target, np.zeros(3), factors, squares, 0.2, LAMBDA)
    for after, before, total, start, slope in zip(factors, p.factors, squares, p.squares, gradient, strict=True):
        np.testing.assert_allclose(total, start + slope**2, rtol=1e-7)
        np.testing.assert_allclose(after, before - 0.2 * slope / np.sqrt(start + slope**2), rtol=1e-7)


@pytest.mark.parametrize("loss", ["biased", "sigmoid", "cosine", "logistic"])
def test_the_returned_losses_are_the_sums_of_those_of_the_entries(kernels, dtype, loss):
    """At a learning rate of 0, where no step changes the next one's; lambda terms are not in it."""
    p = problem(30, 20, 8, 4).astype(dtype)
    factors, w, t = p.factors, p.weight.astype(np.float64), p.target.astype(np.float64)
    X, Y, b, c = (array.astype(np.float64) for array in factors)
    u, i = p.grid.rows, p.grid.columns
    before = [array.copy() for array in factors]
    cells = b[:, None] + c + X @ Y.T
    if loss == "cosine":
        got = kernels.cosine_epoch(p.grid, p.schedule, p.target, factors.X, factors.Y, 0.0)
        cos = X @ Y.T / np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(Y, axis=1))
        exact = ((cos[u, i] - t) ** 2).sum()
    elif loss == "logistic":
        got = kernels.logistic_epoch(p.grid, p.schedule, p.weight, p.target, None, factors, None, 0.0, LAMBDA)
        exact = (w * (np.log(1 + np.exp(cells[u, i])) - t * cells[u, i])).sum() + np.log(1 + np.exp(cells)).sum()
    else:
        low, high = bounds = (1.0, 5.0) if loss == "sigmoid" else (-np.inf, np.inf)
        got = kernels.biased_epoch(p.grid, p.schedule, p.target, factors, 0.3, bounds, 0.0, LAMBDA)
        z = 0.3 + cells[u, i]
        prediction = low + (high - low) / (1 + np.exp(-z)) if loss == "sigmoid" else z
        exact = ((t - prediction) ** 2).sum()
    assert got.dtype == np.float64
    assert got.sum() == pytest.approx(exact, rel=1e-6 if dtype == np.float32 else 1e-13)
    assert_same_bits(factors, before)


@pytest.mark.parametrize("score", [1e4, -1e4])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_extreme_scores_give_exact_losses_and_finite_steps(kernels, dtype, score, target):
    """The exponential of 1e4 overflows, and the logarithm of the sigmoid of -1e4 is minus infinity."""
    grid, schedule, t = Grid.whole([0], [0], 1, 1), ONE_TASK, np.array([target], dtype)

    def factors():
        return Factors(*(np.array(a, dtype) for a in ([[score, 0]], [[1, 0]], [0], [0])))

    moved, none = factors(), (0.0, 0.0, 0.0, 0.0)
    loss = kernels.logistic_epoch(grid, schedule, np.ones(1, dtype), t, np.zeros(1), moved, None, 1.0, none)
    wrong = (score > 0) != (target > 0)
    assert loss == (1e4 if wrong else 0)
    step = -np.sign(score) if wrong else 0.0  # the gradient is sigmoid - target, which is -1, 0 or 1
    np.testing.assert_array_equal(moved.row_bias, [step])
    np.testing.assert_array_equal(moved.X, [[score + step, 0]])
    moved = factors()
    loss = kernels.biased_epoch(grid, schedule, t, moved, 0.0, (0.0, 1.0), 1.0, none)
    assert loss == (1 if wrong else 0)
    assert_same_bits(moved, factors())  # the sigmoid is flat there


def test_where_a_vector_is_zero_the_cosine_counts_as_zero_and_nothing_moves(kernels, dtype):
    X, Y = np.array([[0, 0, 0], [1, 2, 3]], dtype), np.array([[4, 5, 6], [0, 0, 0]], dtype)
    before = X.copy(), Y.copy()
    grid = Grid.whole([0, 1, 0], [0, 1, 1], 2, 2)
    loss = kernels.cosine_epoch(grid, ONE_TASK, np.array([1, 0.5, -1], dtype), X, Y, 0.1)
    assert loss == 1 + 0.25 + 1
    assert_same_bits((X, Y), before)


@pytest.mark.parametrize("scale", [1e-25, 1e-22, 1e18, 1e25])
@pytest.mark.parametrize("sides", [(0,), (1,), (0, 1)], ids=["row", "column", "both"])
def test_vectors_whose_squares_float32_cannot_hold_have_a_cosine_all_the_same(kernels, dtype, scale, sides):
    p = problem(1, 1, 13, 1, density=1.0)
    for side in sides:
        p.cosine_factors()[side][:] *= scale
    p = p.astype(dtype)
    X, Y = p.cosine_factors()
    x, y = X[0].astype(np.float64), Y[0].astype(np.float64)
    cos = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    loss = kernels.cosine_epoch(p.grid, p.schedule, p.target, X, Y, 0.0)
    assert loss.item() == pytest.approx((cos - float(p.target[0])) ** 2, rel=1e-5)


def test_rows_without_negatives_and_entries_keep_every_bit(kernels, dtype):
    p = problem(density=0.0).astype(dtype)
    got = run(kernels, p, "logistic, no negatives, Adagrad", 2)
    assert_same_bits(got, (np.zeros((2, *p.schedule.shape[:2])), *p.factors, *p.squares))


@pytest.mark.parametrize("f", [3, 64])
def test_a_sigmoid_keeps_the_digits_of_its_score_beside_large_ratings(kernels, dtype, f):
    """The score is summed up by itself: found as the target less what is left of it, it would lose all digits."""
    rng = np.random.default_rng(0)
    m, nnz = 5, 40
    grid = Grid.whole(np.sort(rng.integers(0, m, nnz)), rng.integers(0, m, nnz), m, m)
    target = rng.uniform(4e5, 6e5, nnz).astype(dtype)
    factors = Factors(*(rng.standard_normal(shape).astype(dtype) / 4 for shape in ((m, f), (m, f), m, m)))
    exact = Factors(*(array.astype(np.float64) for array in factors))
    given = 0.25, (0.0, 1e6), 0.0, (0.0,) * 4
    schedule = ONE_TASK
    loss = kernels.biased_epoch(grid, schedule, target, factors, *given)
    expected = sgd_reference.biased_epoch(grid, schedule, target.astype(np.float64), exact, *given)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
