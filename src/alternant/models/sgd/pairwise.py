"""The state of a fit by pairwise steps: triples of a user, an item of the user, and another item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..._utils.mapped import column_counts
from ..._utils.threads import resolve_num_threads, weighted_sum
from ...data.csr import CSR
from ...kernels import Adaptive, Factors, Sides, tournament
from ...kernels._grid import deal
from .._checkpoint import Snapshot
from .._fit_loop import Iteration
from .adagrad import FIRST_SQUARE, continue_squares, mean_squares
from .epochs import all_finite, concatenate_columns, warn_without_negatives
from .trainer import WORK_PER_THREAD

if TYPE_CHECKING:
    from ...kernels import Rounds, Triples
    from ...kernels._registry import Backend
    from .._partial_fit import Change
    from ..bpr import BPR

MOST_BLOCKS = 32
ROUND_TRIPLES = 1 << 15  # at least, on average: threads wait for each other between rounds
# Negatives that depend on the factors are drawn for one of so many parts of the interactions at a time.
PARTS = 4
# Times that an epoch of a night takes the step of a new event of a known user; how much longer all of them make it, and
# how many more steps of an item they are, relative to the number of its interactions, at most.
REPEATS = 8
LONGER = 0.1
PER_ITEM = 0.25



class PairwiseTraining:
    """The state of a fit, with factors in the order of the blocks, so that the rows of a block are contiguous."""

    backend: Backend
    model: BPR
    seed: int
    parts: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    rounds: Rounds
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    sides: Sides
    squares: Sides | None
    counts: tuple[NDArray[Any], NDArray[Any]]
    num_threads: int
    age: int
    held_out: tuple[NDArray[np.int64], ...] | None
    inverse_orders: tuple[NDArray[np.int64], NDArray[np.int64]]

    def __init__(
        self, model: BPR, train: CSR, held_out: CSR | None, rng: np.random.Generator, start: Factors | None = None
    ) -> None:
        self.model, self.backend = model, model._backend()
        positives = train.filter(train.data > 0)
        (m, n), nnz = train.shape, len(positives.data)
        if nnz == 0:
            raise ValueError("interactions must contain at least one value above 0, got none: only these are ranked")
        continued = start is not None
        start = model._start(train.shape, rng, {}) if start is None else start
        self.seed = int(rng.integers(1 << 63))
        counts = np.diff(positives.indptr), column_counts(positives.indices, n)
        if model.verify_negatives:
            warn_without_negatives(counts[0], n, "factors remain random")
        if not continued:
            new = np.arange(m) >= model._previous_users()
            start.X[new & (counts[0] == 0)] = 0  # such users take no steps, and would be given random lists
        searched = model._rank_weights(n) is not None
        self.parts = PARTS if searched or model.sampling == "adaptive" else 1
        blocks = block_count(m, n, nnz // self.parts)
        row_block, self.rows, _ = deal(counts[0], max(1, blocks // 2), rng)
        # Half of a column's steps are those of negatives, which are spread over all columns.
        column_block, self.columns, _ = deal(counts[1] + -(-nnz // n), blocks, rng)
        self.rounds = tournament(row_block[self.rows], column_block[self.columns], blocks)
        self.indptr, self.indices = _reordered(positives, self.rows, self.columns)
        self.sides = Sides(start.X[self.rows], start.Y[self.columns], start.column_bias[self.columns])
        self.counts = counts[0][self.rows], counts[1][self.columns]
        self.squares = model._initial_squares(self.sides)
        if continued and self.squares is not None:
            continue_squares(model, self.squares, (*self.counts, self.counts[1]))
        worth = nnz * start.X.shape[1] // (self.parts * self.rounds.number * WORK_PER_THREAD)
        self.num_threads = min(resolve_num_threads(model.num_threads), 1 + worth)
        self.adaptive: Adaptive | None = None
        self.age = 0  # of the adaptive distribution, in triples
        self.held_out = None if held_out is None else model._held_out_pairs(held_out, rng)
        self.inverse_orders = np.argsort(self.rows), np.argsort(self.columns)

    def forget(self, known: tuple[int, int]) -> None:
        """Begin anew with the sums of squares of rows that no fit has trained: their steps are long."""
        if self.squares is not None:
            self.squares.X[self.rows >= known[0]] = FIRST_SQUARE
            for part in (self.squares.Y, self.squares.column_bias):
                part[self.columns >= known[1]] = FIRST_SQUARE

    def step(self, epoch: int) -> Iteration:
        """Run one epoch."""
        model, rate = self.model, self.model._learning_rate_at(epoch)
        rng = np.random.default_rng([self.seed, epoch])
        total, correct, count = 0.0, 0, 0
        for part in range(self.parts):
            rounds = self.rounds.reordered(rng.permutation(self.rounds.number))
            triples = self._draw(rounds, part, epoch)
            loss, right = self.backend.pairwise_epoch(
                triples, rounds, self.sides, self.squares, model._kernel_loss, rate, model._lambdas(), True,
                self.num_threads,
            )  # fmt: skip
            total, correct, count = total + loss, correct + right, count + len(triples.rows)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            objective = total + self._penalty()
        # Losses are those before each step, so that an overflow in the last steps does not show in them.
        if not (np.isfinite(objective) and all(map(all_finite, self.sides))):
            raise OverflowError(
                f"{type(model).__name__} diverges in epoch {epoch}: lower learning_rate, got {model.learning_rate!r}"
            )
        X, Y, bias = self.sides
        parts = model._pack(Factors(X, Y, np.zeros(0), bias))
        users, items = (
            concatenate_columns(columns, order, self.num_threads)
            for columns, order in zip(parts, self.inverse_orders, strict=True)
        )
        record = {
            "objective": objective, "train_loss": total / len(self.indices), "train_auc": correct / max(1, count),
            "triples": count,
        }  # fmt: skip
        if self.held_out is not None:
            record["validation_loss"] = model._validation_loss(users, items, *self.held_out)
        state = mean_squares(self.squares, (*self.counts, self.counts[1]))
        return Iteration(users, items, record | {"learning_rate": rate}, state)

    def snapshot(self) -> Snapshot:
        """Return Adagrad's sums, and the adaptive distribution, which is that of earlier factors."""
        arrays: dict[str, NDArray[Any]] = {}
        if self.squares is not None:
            arrays |= {f"{name}_squares": part for name, part in self.squares._asdict().items()}
        if self.adaptive is not None:
            arrays |= {"adaptive_order": self.adaptive.order, "adaptive_spread": self.adaptive.spread}
        return Snapshot(arrays, {"age": self.age})

    def restore(self, saved: Snapshot) -> None:
        """Continue as saved."""
        arrays, self.age = saved.arrays, saved.values["age"]
        X, Y, _, bias = self.model._unpack(arrays["user_factors"], arrays["item_factors"])
        self.sides = Sides(X[self.rows], Y[self.columns], bias[self.columns])
        if self.squares is not None:
            self.squares = Sides(*(arrays[f"{name}_squares"] for name in Sides._fields))
        if "adaptive_order" in arrays:
            rate = float(self.model.adaptive_rate)
            self.adaptive = Adaptive(arrays["adaptive_order"], arrays["adaptive_spread"], rate)

    def _draw(self, rounds: Rounds, part: int, epoch: int) -> Triples:
        model, pool = self.model, None
        n = len(self.sides.Y)
        if model.sampling == "popularity":
            pool = self.indices
        elif model.sampling == "adaptive":
            if self.adaptive is None or self.age >= n * np.log(n):  # as in the paper
                self.adaptive, self.age = Adaptive.of(*self.sides[1:], model.adaptive_rate, self.num_threads), 0
            self.age += len(self.indices) // self.parts
        triples = self.backend.draw_triples(
            self.indptr, self.indices, rounds, self.sides, pool, self.adaptive, model._rank_weights(n),
            model.verify_negatives, (part, self.parts), self.seed, epoch, self.num_threads,
        )  # fmt: skip
        return model._weighted(triples)

    def _penalty(self) -> float:
        """Return the regularization terms of all steps; negatives count as if drawn uniformly."""
        model, (rows, columns), negatives = self.model, self.counts, len(self.indices) / len(self.sides.Y)
        by_user, by_positive, by_negative, by_bias = model._lambdas()
        (X, Y, bias), steps = self.sides, columns + negatives
        x, y = (np.einsum("uf,uf->u", side, side, dtype=np.float64) for side in (X, Y))
        total = by_user * weighted_sum(rows, x) + by_bias * weighted_sum(steps, np.square(bias, dtype=np.float64))
        return (total + weighted_sum(by_positive * columns + by_negative * negatives, y)) / 2


def block_count(m: int, n: int, triples: int) -> int:
    """Return the number of column blocks: 1, or the power of 2 for the most tasks that `triples` triples justify."""
    blocks = 1
    while 2 * blocks <= min(MOST_BLOCKS, n, max(2, 2 * m)) and triples >= ROUND_TRIPLES * blocks * (2 * blocks - 1):
        blocks *= 2
    return blocks


def with_repeats(change: Change) -> CSR:
    """Return the interactions with new events of known users several times; fewer times if they or their items are new.

    An event of the last nights takes two steps in each, one of the fit took fifty. Ten nights then end at NDCG@20 of
    0.4 % above a fit on msweb, and 1.6 % below it on steam-200k, 0.6 % on Gowalla and 2.7 % on Yelp2018, instead of
    0.9, 2.5, 1.3 and 3.3 % below. If items of few interactions take all of these steps, too, it is 1.3 and 3.6 % below
    on the latter two. New users have been folded in: if their events are repeated, lists of ml-latest-small, where most
    events are theirs, are worse.
    """
    rows, at = change.rows, change.at
    items = rows.indices[at]
    counts, new = column_counts(rows.indices, rows.shape[1]), column_counts(items, rows.shape[1])
    most = min(REPEATS - 1, int(LONGER * len(rows.data) / max(1, len(at))))
    more = np.minimum(most, (PER_ITEM * counts[items] / new[items]).astype(np.int64))
    more[np.searchsorted(rows.indptr, at, side="right") > change.before[0]] = 0
    times = np.ones(len(rows.data), np.int64)
    times[at] += more
    ends = np.concatenate([[0], np.cumsum(times)])
    return CSR(ends[rows.indptr], np.repeat(rows.indices, times), np.repeat(rows.data, times), rows.shape)


def _reordered(
    matrix: CSR, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the row pointers and the columns, sorted in each row, of a matrix in a new order of rows and columns."""
    position = np.empty(len(columns), np.int32)
    position[columns] = np.arange(len(columns), dtype=np.int32)
    taken = matrix.take(rows)
    ones = np.empty(len(taken.indices), np.bool_)
    ordered = scipy.sparse.csr_array((ones, position[taken.indices], taken.indptr), shape=taken.shape)
    ordered.sort_indices()
    return taken.indptr, np.ascontiguousarray(ordered.indices, np.int32)
