"""Pairwise steps: every implementation against the reference, and the reference against textbook formulas."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import kernels as public
from alternant._utils.splitmix import GOLDEN, mix
from alternant.kernels import (
    Adaptive,
    Popular,
    Rounds,
    Sides,
    Triples,
    active_backend,
    pairwise_reference,
    tournament,
)

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-11}  # relative to the largest number of an array, after an epoch
COUNTS = np.bincount([3, 3, 3, 7, 11, 12], minlength=24)
FIRST_20 = np.arange(24) < 20
LAMBDA = (0.1, 0.2, 0.3, 0.4)  # all different: a swapped pair shows


@dataclass
class Problem:
    matrix: Any
    rounds: Rounds
    sides: Sides
    squares: Sides
    drawing: dict[str, Any]

    def astype(self, dtype):
        sides, squares = (Sides(*(array.astype(dtype) for array in part)) for part in (self.sides, self.squares))
        return replace(self, sides=sides, squares=squares)

    def draw(self, kernels, **options):
        indptr, indices = self.matrix.indptr.astype(np.int64), self.matrix.indices.astype(np.int32)
        return kernels.draw_triples(indptr, indices, self.rounds, self.sides, **(self.drawing | options))

    def step(self, kernels, triples, loss="logistic", squares=False, update_columns=True, num_threads=1):
        return kernels.pairwise_epoch(
            triples, self.rounds, self.sides, self.squares if squares else None, loss, 0.05, LAMBDA, update_columns,
            num_threads,
        )  # fmt: skip


def problem(m=30, n=24, f=8, blocks=4, density=0.3, seed=0, **drawing):
    """Random entries; all numbers are float32 ones, so that both dtypes begin at the same point."""
    rng = np.random.default_rng(seed)
    matrix = sp.csr_array(rng.random((m, n)) < density)
    half = max(1, blocks // 2)
    rounds = tournament(rng.integers(0, half, m).astype(np.uint8), rng.integers(0, blocks, n).astype(np.uint8), blocks)
    shapes = (m, f), (n, f), (n,)

    def numbers(values):
        return np.asarray(values, np.float32).astype(np.float64)

    sides = Sides(*(numbers(rng.standard_normal(shape) / f**0.25) for shape in shapes))
    squares = Sides(*(numbers(0.1 + rng.random(shape)) for shape in shapes))
    return Problem(matrix, rounds.reordered(rng.permutation(rounds.number)), sides, squares, drawing)


def adaptive(biases=1):
    p = problem(n=200)
    p.sides.column_bias[:] *= biases
    return replace(p, drawing={"adaptive": Adaptive.of(*p.sides[1:], 0.05)})


CASES = {
    "uniform": lambda: problem(),
    "13 factors fill no vector, one block": lambda: problem(f=13, blocks=1),
    "16 factors, popular columns": lambda: problem(f=16, popular=Popular.of(COUNTS)),
    "a search for violations": lambda: problem(rank_weight=np.array([3.0, 1.5, 0.5])),
    "adaptive": adaptive,
    "a zero row draws by the biases": lambda: zero_row(adaptive()),
    "a zero row without biases draws uniformly": lambda: zero_row(adaptive(biases=0)),
    "every third entry": lambda: problem(part=(1, 3)),
    "keys": lambda: problem(keys=np.arange(1000, 1030)),
    "own columns are allowed": lambda: problem(density=0.9, verify=False),
    "a row with all columns, and an empty one": lambda: full_row(problem(popular=Popular.of(FIRST_20))),
    "more blocks than columns": lambda: problem(m=3, n=3, blocks=8),
}


def zero_row(p):
    p.sides.X[3] = 0
    return p


def full_row(p):
    dense = p.matrix.toarray()
    dense[4], dense[5] = True, False
    return replace(p, matrix=sp.csr_array(dense))


@cache
def expected(case, loss, squares):
    p = CASES[case]()
    triples = p.draw(pairwise_reference)
    return triples, p.step(pairwise_reference, triples, loss, squares), p


@pytest.mark.against_numpy
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("loss", "squares"), [("logistic", False), ("logistic", True), ("hinge", False)])
def test_an_epoch_equals_the_reference(kernels, dtype, case, loss, squares):
    p = CASES[case]().astype(dtype)
    triples, (total, correct), after = expected(case, loss, squares)
    drawn = p.draw(kernels)
    for name in ("indptr", "rows", "positives", "negatives"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(triples, name), err_msg=name)
    assert (drawn.weight is None) == (triples.weight is None)
    if drawn.weight is not None:
        np.testing.assert_allclose(drawn.weight, triples.weight, rtol=1e-6)
    found, right = p.step(kernels, drawn, loss, squares)
    assert right == correct
    np.testing.assert_allclose(found.sum(), total.sum(), rtol=TOLERANCE[dtype])
    for name, mine, theirs in zip(
        (*Sides._fields, *Sides._fields), (*p.sides, *p.squares), (*after.sides, *after.squares), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=TOLERANCE[dtype] * np.abs(theirs).max(), rtol=0, err_msg=name)


@pytest.mark.against_numpy
def test_bits_do_not_depend_on_the_number_of_threads(kernels, dtype):
    """Large enough for several parts of the entries, and for Numba to use its threads."""
    states = []
    for threads in (1, 2, 8):
        p = problem(m=600, n=400, f=16, blocks=16, density=0.3, rank_weight=np.arange(3.0, 0, -1)).astype(dtype)
        triples = p.draw(kernels, num_threads=threads)
        losses, correct = p.step(kernels, triples, "logistic", True, num_threads=threads)
        states.append([array.tobytes() for array in (*triples, *p.sides, *p.squares, losses)] + [correct])
    assert states[0] == states[1] == states[2]


@pytest.mark.against_numpy
def test_an_epoch_has_the_bits_of_parts_of_its_rounds_in_calls_of_their_own(kernels, dtype):
    """The losses included: a fit from a store makes such calls."""
    whole, apart = (problem(m=60, n=40, f=5, blocks=8, rank_weight=np.ones(3)).astype(dtype) for _ in range(2))
    triples = whole.draw(kernels)
    tasks, (losses, correct) = whole.rounds.tasks, whole.step(kernels, triples)
    assert len(losses) == whole.rounds.number * tasks
    for first in range(0, len(losses), tasks):
        for start, end in ((first, first + 1), (first + 1, first + tasks)):
            some = replace(apart, rounds=whole.rounds._replace(tasks=end - start))
            of_tasks, right = some.step(kernels, triples.of_tasks(start, end))
            np.testing.assert_array_equal(of_tasks, losses[start:end])
            correct -= right
    assert correct == 0
    for one, other in zip(whole.sides, apart.sides, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("counts", [[3, 0, 1, 0, 2, 0], [0, 2**45, 1, 2**46 - 7, 0], np.arange(300) % 7 // 5])
def test_popular_columns_are_those_of_a_list_with_each_as_often_as_it_counts(counts):
    thresholds, guide = Popular.of(np.array(counts))
    ends, shift = np.cumsum(counts).tolist(), 33 - (len(guide) - 1).bit_length()
    numbers = np.random.default_rng(0).integers(0, 1 << 32, 1000).tolist()
    for number in [0, (1 << 32) - 1, *numbers, *(t + k for t in thresholds[1:-1].tolist() for k in (-1, 0))]:
        if 0 <= number < 1 << 32:
            place = number * ends[-1] >> 32  # in the list
            column = next(j for j, end in enumerate(ends) if place < end)
            assert thresholds[column] <= number < thresholds[column + 1]
            assert guide[number >> shift] <= column <= guide[(number >> shift) + 1]


def objective(loss, w, x, p, n, c, d):
    """The textbook objective of one triple."""
    margin = c - d + x @ p - x @ n
    value = np.log(1 + np.exp(-margin)) if loss == "logistic" else max(0.0, 1 - margin)
    a, b, e, g = LAMBDA
    return w * value + (a * x @ x + b * p @ p + e * n @ n + g * (c * c + d * d)) / 2


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_a_step_follows_the_negative_gradient_of_the_textbook_objective(loss):
    p = problem(m=1, n=2, blocks=1)
    one = np.zeros(1, np.int32)
    triples = Triples(np.array([0, 1]), one, one, one + 1, np.array([1.7]))
    x, (y, z), (c, d) = p.sides.X[0].copy(), p.sides.Y.copy(), p.sides.column_bias.copy()
    start = [x, y, z, np.array([c]), np.array([d])]

    def value(*parts):
        return objective(loss, 1.7, *parts[:3], *(part.item() for part in parts[3:]))

    total, _ = p.step(pairwise_reference, triples, loss)
    moved = [p.sides.X[0], *p.sides.Y, *np.split(p.sides.column_bias, 2)]
    for k, (before, after) in enumerate(zip(start, moved, strict=True)):
        for at in range(len(before)):
            change = np.zeros_like(before)
            change[at] = 1e-6
            sides = [value(*(part + sign * change if q == k else part for q, part in enumerate(start)))
                     for sign in (1, -1)]  # fmt: skip
            gradient = (sides[0] - sides[1]) / 2e-6
            np.testing.assert_allclose(after[at] - before[at], -0.05 * gradient, atol=1e-8)
    np.testing.assert_allclose(total + objective(loss, 0, *start[:3], c, d), value(*start))


def test_columns_that_are_not_updated_stay(kernels):
    p, moved = problem(), problem()
    triples = p.draw(kernels)
    before = p.sides.Y.copy(), p.sides.column_bias.copy()
    for array in (p.sides.Y, p.sides.column_bias):
        array.flags.writeable = False
    p.step(kernels, triples, update_columns=False)
    moved.step(kernels, Triples(*(part[:1] if k else np.minimum(part, 1) for k, part in enumerate(triples[:4])), None))
    np.testing.assert_array_equal(p.sides.Y, before[0])
    np.testing.assert_array_equal(p.sides.column_bias, before[1])
    assert (moved.sides.X[triples.rows[0]] != problem().sides.X[triples.rows[0]]).all()


@pytest.mark.parametrize("blocks", [1, 2, 4, 16, 64])
def test_in_a_tournament_each_row_block_meets_each_pair_of_column_blocks_once_and_rounds_share_none(blocks):
    half = max(1, blocks // 2)
    task = tournament(np.zeros(1, np.uint8), np.zeros(1, np.uint8), blocks).task
    rounds, players = {}, {}
    for (a, b, c), number in np.ndenumerate(task):
        assert number == task[a, c, b]
        players.setdefault(number, set()).update([b, c])
        rounds.setdefault(number // half, {}).setdefault(number, (a, players[number]))
    for tasks in rounds.values():
        assert len({a for a, _ in tasks.values()}) == len(tasks) == half
        assert sum(len(columns) for _, columns in tasks.values()) == blocks
    assert len(players) == max(1, half * half * (blocks - 1))


def test_negatives_are_exactly_uniform_over_all_columns_that_the_row_does_not_have():
    """Over many epochs, each count is within five standard deviations of what a fair draw gives."""
    p = problem(m=4, n=12, density=0.4, blocks=4, seed=1)
    counts, epochs = np.zeros((4, 12, 12)), 3000
    for epoch in range(epochs):
        triples = p.draw(active_backend(), epoch=epoch)
        np.add.at(counts, (triples.rows, triples.positives, triples.negatives), 1)
    known = p.matrix.toarray()
    for u, i in zip(*np.nonzero(known), strict=True):
        free = ~known[u]
        share = 1 / free.sum()
        assert counts[u, i, ~free].sum() == 0
        assert np.abs(counts[u, i, free] - epochs * share).max() < 5 * np.sqrt(epochs * share * (1 - share))


def test_parts_take_every_entry_once_and_draw_what_the_whole_does(kernels):
    p = problem()
    whole = p.draw(kernels)
    parts = [p.draw(kernels, part=(first, 7)) for first in range(7)]

    def sets(triples):
        return sorted(zip(*(array.tolist() for array in triples[1:4]), strict=True))

    assert sorted(triple for part in parts for triple in sets(part)) == sets(whole)


def test_a_search_takes_the_first_violation_and_its_weight(kernels):
    """Against the rule itself: candidates by their hash, scores by dense products."""
    p = problem(rank_weight=np.array([4.0, 3.0, 2.0, 1.0]))
    known, (X, Y, bias) = p.matrix.toarray(), p.sides
    scores = X @ Y.T + bias
    triples = p.draw(kernels, seed=5, epoch=2)
    found = {(u, i): (j, w) for u, i, j, w in zip(*(part.tolist() for part in triples[1:]), strict=True)}
    state = mix(5 + GOLDEN * 3)
    for u in range(30):
        for place, i in enumerate(np.flatnonzero(known[u]).tolist()):
            key = mix(mix(state + GOLDEN * (u + 1)) + GOLDEN * (place + 1))
            drawn = [(mix(key + GOLDEN * (k + 1)) >> 32) * 24 >> 32 for k in range(4)]
            taken = [(j, 4.0 - k) for k, j in enumerate(drawn) if not known[u, j] and scores[u, i] < 1 + scores[u, j]]
            assert found.get((u, i)) == (taken[0] if taken else None)


def test_adaptive_negatives_have_high_factors_where_the_row_is_positive_and_low_ones_where_it_is_negative():
    rng = np.random.default_rng(0)
    m, n, rate = 2000, 50, 0.2
    Y, X = rng.standard_normal((n, 1)), np.repeat([[1.0], [-1.0]], m // 2, axis=0)
    indptr, indices = np.arange(m + 1), np.full(m, 7, np.int32)
    triples = public.draw_triples(
        indptr, indices, Rounds.one(m, n), Sides(X, Y, np.zeros(n)), adaptive=Adaptive.of(Y, np.zeros(n), rate)
    )
    for side, direction in ((triples.rows < m // 2, -1), (triples.rows >= m // 2, 1)):
        place = np.argsort(np.argsort(direction * Y[:, 0]))
        counts = np.bincount(place[triples.negatives[side]], minlength=n) / (m // 2)
        share = np.exp(-rate * np.arange(n))
        share[place[7]] = 0  # the entry itself
        np.testing.assert_allclose(counts, share / share.sum(), atol=0.03)


def test_adaptive_negatives_have_high_biases_in_proportion_to_their_spread():
    """A third of them: the standard deviation of the biases is half that of the only factor, times 1 for |x|."""
    rng = np.random.default_rng(0)
    m, n, rate = 4000, 50, 0.2
    column = rng.standard_normal(n)
    Y, bias = column[:, None], -column / 2
    indptr, indices = np.arange(m + 1), np.full(m, 7, np.int32)
    triples = public.draw_triples(
        indptr, indices, Rounds.one(m, n), Sides(np.ones((m, 1)), Y, bias), adaptive=Adaptive.of(Y, bias, rate)
    )
    place = np.argsort(np.argsort(column))
    by_bias = place[triples.negatives] < n // 2  # the highest biases are at the lowest factors
    assert np.mean(by_bias) == pytest.approx(1 / 3, abs=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": "same row"}, "the tasks of a round must not share row blocks"),
        ({"rounds": "same column"}, "the tasks of a round must not share column blocks"),
        ({"triples": "moved"}, "triples must be grouped by task"),
        ({"triples": "equal"}, "triples must have different positive and negative columns"),
        ({"triples": "outside"}, "triples.negatives must lie between 0 and 23, got -1"),
        ({"loss": "square"}, "loss must be one of 'logistic', 'hinge'"),
        ({"regularization": (0.1, 0.1, 0.1)}, "regularization must have 4 finite numbers"),
        ({"squares": "shared"}, "share memory"),
    ],
)
def test_an_epoch_refuses_what_would_crash_or_race(change, message):
    p = problem()
    triples, rounds = p.draw(public), p.rounds
    task = rounds.task.copy()
    if change.get("rounds") == "same row":
        task[0, :, :] = np.arange(16).reshape(4, 4) % 2
    elif change.get("rounds") == "same column":
        task[:, :, :] = np.arange(2)[:, None, None]
    if change.get("triples") == "moved":
        triples = triples._replace(indptr=np.minimum(triples.indptr + (triples.indptr > 0), len(triples.rows)))
    elif change.get("triples") == "equal":
        triples = triples._replace(negatives=triples.positives)
    elif change.get("triples") == "outside":
        triples = triples._replace(negatives=triples.negatives * 0 - 1)
    squares = p.sides if change.get("squares") else None
    with pytest.raises(ValueError, match=message):
        public.pairwise_epoch(
            triples, rounds._replace(task=task), p.sides, squares, change.get("loss", "logistic"), 0.1,
            change.get("regularization", LAMBDA),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"popular": Popular.of(COUNTS)._replace(thresholds=np.arange(25))}, r"must rise from 0 to 2\^32"),
        ({"popular": Popular.of(COUNTS[1:])}, "popular.thresholds must have length 25, got 24"),
        ({"popular": Popular.of(COUNTS)._replace(guide=np.arange(33, dtype=np.int32))}, "popular.guide must be that"),
        ({"popular": Popular.of(COUNTS), "adaptive": True}, "pass only one"),
        ({"adaptive": Adaptive(np.zeros((9, 24), np.int32), np.ones(9), 0.0)}, "adaptive.rate must be finite"),
        ({"adaptive": Adaptive(np.zeros((8, 24), np.int32), np.ones(8), 0.1)}, "adaptive.order must be an int32 array"),
        ({"rank_weight": np.empty(0)}, "rank_weight must have at least 1 number"),
        ({"part": (2, 2)}, r"part must be \(first, step\)"),
        ({"seed": -1}, "seed must be from 0 to 2\\^64 - 1"),
        ({"keys": np.full(30, -1)}, "keys must be 0 or more"),
    ],
)
def test_a_draw_refuses_what_would_crash(change, message):
    with pytest.raises(ValueError, match=message):
        problem().draw(public, **change)
