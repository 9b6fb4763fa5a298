"""Steps with many negatives: every implementation against the reference, and the reference against textbooks."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import kernels as public
from alternant.kernels import Batches, Ranking, contrastive_reference

TOLERANCE = {np.float32: 3e-5, np.float64: 1e-11}  # of unit vectors after three epochs; relative for sums
RATE = 0.5
SOFTMAX, CONTRASTIVE = Ranking("softmax", temperature=0.2), Ranking("contrastive", margin=0.2, weight=7.0)


@dataclass
class Problem:
    matrix: Any
    size: int
    order: Any
    negatives: Any
    X: Any
    Y: Any
    ranking: Ranking = SOFTMAX
    row_squares: Any = None
    column_squares: Any = None
    row_weight: Any = None

    def astype(self, dtype):
        squares = (0.5 + np.arange(len(side), dtype=float) % 3 for side in (self.X, self.Y))
        weight = 0.5 + np.arange(len(self.X)) % 2
        return replace(self, row_weight=weight, **dict(zip(("row_squares", "column_squares"), squares, strict=True)),
                       X=self.X.astype(dtype), Y=self.Y.astype(dtype))  # fmt: skip

    def arguments(self):
        indptr, indices = self.matrix.indptr.astype(np.int64), self.matrix.indices.astype(np.int32)
        return (
            indptr, indices, Batches.of(indptr, indices, self.size), self.order, self.negatives, self.X, self.Y,
            self.row_squares, self.column_squares, self.row_weight, self.ranking,
        )  # fmt: skip

    def step(self, kernels, rate=RATE, update_columns=True, num_threads=1):
        return kernels.contrastive_epoch(*self.arguments(), rate, update_columns, num_threads)


def unit(vectors):
    """Unit vectors that both dtypes hold exactly enough: those of float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)


def problem(m=23, n=90, f=8, size=6, sampled=11, density=0.1, seed=0, matrix=None, **fields):
    rng = np.random.default_rng(seed)
    matrix = sp.csr_array(rng.random((m, n)) < density) if matrix is None else matrix
    batches = -(-m // size)
    order = np.concatenate([rng.permutation(batches) for _ in range(3)])
    negatives = np.sort([rng.choice(n, sampled, replace=False) for _ in order], axis=1).astype(np.int32)
    X, Y = (unit(rng.standard_normal((count, f))) for count in (m, n))
    return Problem(matrix, size, order, negatives, X, Y, **fields)


def with_full_and_empty_rows():
    """The first batch has no entries; in the second, one row has every column and one has none."""
    dense = np.zeros((23, 90), bool)
    dense[6:] = np.random.default_rng(1).random((17, 90)) < 0.1
    dense[7], dense[8] = True, False
    return problem(matrix=sp.csr_array(dense))


CASES = {
    "softmax": lambda: problem(),
    "contrastive": lambda: problem(ranking=CONTRASTIVE),
    "13 factors and 70 negatives fill neither a vector nor a panel": lambda: problem(f=13, sampled=70),
    "64 factors, all columns are negatives, contrastive": lambda: problem(f=64, sampled=90, ranking=CONTRASTIVE),
    "a temperature at which exponentials overflow": lambda: problem(ranking=Ranking("softmax", temperature=1e-3)),
    "full and empty rows, and an empty batch": with_full_and_empty_rows,
    "one negative, one row in a batch": lambda: problem(size=1, sampled=1),
    "an odd batch larger than the matrix": lambda: problem(size=99, density=0.6),
}


@cache
def expected(case):
    p = CASES[case]().astype(np.float64)
    return p.step(contrastive_reference), p


@pytest.mark.against_numpy
@pytest.mark.parametrize("case", CASES)
def test_an_epoch_equals_the_reference(kernels, dtype, case):
    p = CASES[case]().astype(dtype)
    total, after = expected(case)
    scale = 50 if "overflow" in case else 1  # errors of scores are divided by the temperature
    np.testing.assert_allclose(p.step(kernels), total, rtol=TOLERANCE[dtype])
    for name in ("X", "Y"):
        np.testing.assert_allclose(getattr(p, name), getattr(after, name), atol=scale * TOLERANCE[dtype], err_msg=name)
    for name in ("row_squares", "column_squares"):
        mine, theirs = getattr(p, name), getattr(after, name)
        np.testing.assert_allclose(mine, theirs, rtol=10 * scale * TOLERANCE[dtype], err_msg=name)


@pytest.mark.against_numpy
def test_bits_do_not_depend_on_the_number_of_threads(kernels, dtype):
    states = []
    for threads in (1, 2, 8):
        p = problem(m=150, n=120, size=70, sampled=50, f=16).astype(dtype)
        total = p.step(kernels, num_threads=threads)
        states.append([part.tobytes() for part in (p.X, p.Y, p.row_squares, p.column_squares)] + [total])
    assert states[0] == states[1] == states[2]


def objective(p, X, Y):
    """The textbook sum of the losses of the first batch, of the directions of vectors of any length."""
    cosines = (X / np.linalg.norm(X, axis=1, keepdims=True)) @ (Y / np.linalg.norm(Y, axis=1, keepdims=True)).T
    begin = p.order[0] * p.size
    total = 0.0
    for u, i in zip(*(part.tolist() for part in p.matrix[begin : begin + p.size].nonzero()), strict=True):
        w, s, others = p.row_weight[begin + u], cosines[begin + u, i], cosines[begin + u, p.negatives[0]]
        if p.ranking.loss == "softmax":
            shares = np.exp(np.append(s, others) / p.ranking.temperature)
            total -= w * np.log(shares[0] / shares.sum())
        else:
            total += w * (1 - s + p.ranking.weight * np.maximum(0, others - p.ranking.margin).mean())
    return total


@pytest.mark.parametrize("ranking", [SOFTMAX, CONTRASTIVE], ids=lambda one: one.loss)
def test_a_step_follows_the_negative_gradient_of_the_textbook_objective(ranking):
    p = problem(m=9, n=14, f=3, size=4, sampled=5, density=0.4, ranking=ranking).astype(np.float64)
    p.order, p.negatives = p.order[:1], p.negatives[:1]
    before = {"X": p.X.copy(), "Y": p.Y.copy()}
    squares = {"X": p.row_squares.copy(), "Y": p.column_squares.copy()}
    assert p.step(contrastive_reference) == pytest.approx(objective(p, **before))
    for name, after, sums in (("X", p.X, p.row_squares), ("Y", p.Y, p.column_squares)):
        gradient = np.zeros_like(after)
        for at in np.ndindex(*after.shape):
            sides = []
            for sign in (1, -1):
                moved = {side: vectors.copy() for side, vectors in before.items()}
                moved[name][at] += sign * 1e-6
                sides.append(objective(p, **moved))
            gradient[at] = (sides[0] - sides[1]) / 2e-6
        lengths = squares[name] + (gradient**2).sum(axis=1)
        np.testing.assert_allclose(sums, lengths, rtol=1e-6)
        stepped = before[name] - RATE * gradient / np.sqrt(lengths)[:, None]
        np.testing.assert_allclose(after, stepped / np.linalg.norm(stepped, axis=1, keepdims=True), atol=1e-7)


def test_a_rate_of_0_only_adds_to_the_sums_and_columns_that_are_not_updated_stay(kernels):
    p, q, still = (problem().astype(np.float32) for _ in range(3))
    loss = p.step(kernels, rate=0.0)
    assert (p.row_squares > still.row_squares).any()
    assert (p.column_squares > still.column_squares).any()
    for array in (q.Y, q.column_squares):
        array.flags.writeable = False
    q.order, q.negatives = q.order[:1], q.negatives[:1]
    assert 0 < q.step(kernels, update_columns=False) < loss
    assert (q.X != still.X).any()
    for vectors in ((p.X, still.X), (p.Y, still.Y), (q.Y, still.Y), (q.column_squares, still.column_squares)):
        np.testing.assert_array_equal(*vectors)


def test_batches_hold_each_entry_once_by_column():
    matrix = with_full_and_empty_rows().matrix
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    batches = Batches.of(indptr, indices, 6)
    assert batches.row_edges.tolist() == [0, 6, 12, 18, 23]
    np.testing.assert_array_equal(np.sort(batches.entries), np.arange(len(indices)))
    for b in range(4):
        own = slice(*batches.column_edges[b : b + 2])
        dense = matrix[batches.row_edges[b] : batches.row_edges[b + 1]].toarray()
        np.testing.assert_array_equal(batches.columns[own], np.flatnonzero(dense.any(axis=0)))
        for place in range(own.start, own.stop):
            at = slice(*batches.starts[place : place + 2])
            assert (indices[batches.entries[at]] == batches.columns[place]).all()
            rows = batches.row_edges[b] + np.flatnonzero(dense[:, batches.columns[place]])
            np.testing.assert_array_equal(batches.rows[at], rows)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("order", np.array([4]), "order must lie between 0 and 3, got 4 to 4"),
        ("negatives", np.zeros((1, 3), np.int32), "negatives must be distinct and ascending"),
        ("negatives", np.full((1, 1), 90, np.int32), "negatives must lie between 0 and 89"),
        ("negatives", np.zeros((2, 1), np.int32), "negatives must have 1 rows"),
        ("negatives", np.zeros((1, 1)), "negatives must be an int32 array"),
        ("batches", problem(seed=1), "batches must be those of indptr and indices"),
        ("X", "Y", "share memory"),
        ("row_squares", np.full(23, -1.0), "row_squares must be 0 or more"),
        ("ranking", Ranking("hinge"), "ranking.loss must be one of 'softmax', 'contrastive'"),
        ("ranking", Ranking("softmax", temperature=0.0), "ranking must have a temperature above 0"),
    ],
)
def test_an_epoch_refuses_what_would_crash_or_race(name, value, message):
    names = ("indptr", "indices", "batches", "order", "negatives", "X", "Y", "row_squares", "column_squares",
             "row_weight", "ranking")  # fmt: skip
    p = problem().astype(np.float64)
    given = dict(zip(names, p.arguments(), strict=True))
    given |= {"order": given["order"][:1], "negatives": given["negatives"][:1]}
    if name == "batches":
        value = value.arguments()[2]
    given[name] = given["Y"][:23] if name == "X" else value
    with pytest.raises((TypeError, ValueError), match=message):
        public.contrastive_epoch(**given, learning_rate=0.1)
