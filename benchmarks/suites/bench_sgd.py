"""pytest-benchmark: epochs of gradient descent and single updates, checked against the reference before timing."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pytest

from alternant import CosineMF
from alternant.kernels import Factors, Grid, block_count, cut, get_backend
from benchmarks.suites.inputs import THREADS, TINY, assert_close, each, rows, sides

REFERENCE = get_backend("numpy")
CHECKED = 10  # rows, with all their entries
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
LAMBDAS = (0.01, 0.02, 0.03, 0.04)
KINDS = ["biased", "biased, sigmoid", "cosine", "logistic", "logistic, Adagrad"]


class Problem(NamedTuple):
    """Entries on a grid, and their initial factors."""

    grid: Grid
    target: Any
    liked: Any
    factors: Factors
    squares: Factors

    def epoch(self, kernels: Any, kind: str, rate: float) -> Any:
        """Run one epoch; the logistic ones take one negative for each entry."""
        schedule = self.grid.diagonals(np.arange(self.grid.blocks))
        if kind.startswith("biased"):
            bounds = (0.5, 5.5) if "sigmoid" in kind else (-np.inf, np.inf)
            return kernels.biased_epoch(
                self.grid, schedule, self.target, self.factors, 0.0, bounds, rate, LAMBDAS, True, THREADS
            )
        if kind == "cosine":
            return kernels.cosine_epoch(self.grid, schedule, self.liked, *self.factors[:2], rate, True, THREADS)
        negatives = np.bincount(self.grid.rows, minlength=len(self.factors.X)).astype(np.float64)
        squares = self.squares if "Adagrad" in kind else None
        return kernels.logistic_epoch(
            self.grid, schedule, np.ones_like(self.liked), self.liked, negatives, self.factors, squares, rate, LAMBDAS,
            0, 0, True, THREADS,
        )  # fmt: skip


@functools.cache
def grid_of(m: int) -> tuple[Grid, Any]:
    """Cut the first m rows into a grid."""
    indptr, indices, weight, _, shape = rows("float64").first(m)
    nnz = indptr[-1]
    pieces = cut(indptr, indices[:nnz], shape[1], block_count(*shape, nnz), np.random.default_rng(0))
    return pieces.grid, weight[pieces.entries]


def problem(m: int, f: int, dtype: str) -> Problem:
    """Make the problem of the first m rows."""
    grid, values = grid_of(m)
    X, Y = sides((m, rows(dtype).shape[1]), f, dtype)
    factors = Factors(X, Y, np.zeros(len(X), dtype), np.zeros(len(Y), dtype))
    squares = Factors(*(np.ones_like(part) for part in factors))
    return Problem(grid, values.astype(dtype), (values > 3).astype(dtype), factors, squares)


def check_epoch(kernels: Any, kind: str, f: int, dtype: str) -> None:
    """Compare an epoch over the first rows with the reference's."""
    got, expected = problem(CHECKED, f, dtype), problem(CHECKED, f, "float64")
    losses = got.epoch(kernels, kind, 0.01), expected.epoch(REFERENCE, kind, 0.01)
    assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE[dtype])
    for part, exact in zip(got.factors[:2], expected.factors[:2], strict=True):
        assert_close(part, exact, TOLERANCE[dtype])


@each()
@pytest.mark.parametrize("kind", KINDS)
def test_epoch(benchmark, kind, f, dtype, backend):
    """One epoch over all entries."""
    benchmark.group = f"epoch {kind}/{f}/{dtype}"
    kernels = get_backend(backend)
    check_epoch(kernels, kind, f, dtype)
    whole = problem(rows(dtype).shape[0], f, dtype)
    benchmark(whole.epoch, kernels, kind, 1e-5)  # steps so small that each call starts from about the same factors


@each()
def test_update(benchmark, f, dtype, backend):
    """Events that a CosineMF learns one at a time."""
    benchmark.group = f"update/{f}/{dtype}"
    rng = np.random.default_rng(0)
    number = 100 if TINY else 2_000
    users, items, liked = rng.integers(0, 500, number), rng.integers(0, 1_000, number), rng.integers(0, 2, number)
    model = CosineMF(factors=f, dtype=dtype, random_state=0, backend=backend).update(users, items, liked)
    events = list(zip(users.tolist(), items.tolist(), liked.tolist(), strict=True))

    X, Y = model.user_factors.astype(np.float64), model.item_factors.astype(np.float64)
    for event in events[:50]:
        model.update(*event)
    grid = Grid.whole(users[:50], items[:50], len(X), len(Y))
    schedule = grid.diagonals(np.array([0]))
    REFERENCE.cosine_epoch(grid, schedule, liked[:50].astype(np.float64), X, Y, model.learning_rate)
    assert_close(model.user_factors, X, TOLERANCE[dtype])
    assert_close(model.item_factors, Y, TOLERANCE[dtype])

    def run():
        for event in events:
            model.update(*event)

    benchmark(run)
