"""The state of a fit on unit vectors: batches of users, each with one sample of items as negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.threads import resolve_num_threads
from ...data.csr import CSR
from ...kernels import Batches, Factors
from .._checkpoint import Snapshot
from .._fit_loop import Iteration
from .epochs import all_finite, warn_without_negatives

if TYPE_CHECKING:
    from ...kernels._registry import Backend
    from ..contrastive_mf import ContrastiveMF

# Multiply-adds between two checks for Ctrl-C: some tenths of a second.
WORK_PER_CALL = 1 << 32
# Multiply-adds of a batch for each further thread: about 0.1 ms of work.
BATCH_WORK_PER_THREAD = 1 << 21


class ContrastiveTraining:
    """The state of a fit, with the users of a batch next to each other. Users without interactions are in none."""

    backend: Backend
    model: ContrastiveMF
    users: NDArray[np.int64]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    batches: Batches
    X: NDArray[Any]
    Y: NDArray[Any]
    squares: tuple[NDArray[np.float64], NDArray[np.float64]]
    counts: NDArray[np.int64]  # interactions of each item
    weight: NDArray[np.float64]
    all_users: NDArray[Any]
    unknown: NDArray[np.bool_]  # users without interactions and without vectors of an earlier fit
    held_out: tuple[Any, ...] | None
    num_threads: int
    seed: int
    shape: tuple[int, int]
    sampled: int

    def __init__(
        self,
        model: ContrastiveMF,
        train: CSR,
        held_out: CSR | None,
        rng: np.random.Generator,
        given: Factors | None = None,
    ) -> None:
        self.model, self.backend = model, model._backend()
        positives = train.filter(train.data > 0)
        if len(positives.data) == 0:
            raise ValueError("interactions must contain at least one value above 0, got none: only these are ranked")
        start = model._start(train.shape, rng, {}) if given is None else given
        self.seed = int(rng.integers(1 << 63))
        self.shape = train.shape
        counts = np.diff(positives.indptr)
        warn_without_negatives(counts, train.shape[1], "items differ by chance alone")
        self.users = rng.permutation(np.flatnonzero(counts))
        self.all_users = start.X
        known = model._previous_users() if given is None else len(counts)
        self.unknown = (counts == 0) & (np.arange(len(counts)) >= known)
        self.indptr, self.indices = _rows(positives, self.users)
        self.batches = Batches.of(self.indptr, self.indices, min(int(model.batch_size), len(self.users)))
        self.X, self.Y = np.ascontiguousarray(start.X[self.users]), np.array(start.Y)
        self.squares = np.zeros(len(self.X)), np.zeros(len(self.Y))
        self.weight = model._user_weights(np.diff(self.indptr))
        self.sampled = min(int(model.negatives), train.shape[1])
        work = self.batches.longest(self.indptr)[0] * self.sampled * self.X.shape[1]
        self.num_threads = min(resolve_num_threads(model.num_threads), 1 + work // BATCH_WORK_PER_THREAD)
        self.held_out = None
        if held_out is not None:
            own = held_out.filter(held_out.data > 0)
            if not len(own.data):
                raise ValueError("validation must contain at least one value above 0, got none: only these are ranked")
            users = np.flatnonzero(np.diff(own.indptr))
            indptr, indices = _rows(own, users)
            batches = Batches.of(indptr, indices, min(int(model.batch_size), len(users)))
            samples = draw_samples(rng, batches.number, train.shape[1], self.sampled)
            self.held_out = users, indptr, indices, batches, samples, model._user_weights(np.diff(indptr))
        self.counts = np.bincount(self.indices, minlength=train.shape[1])
        if model.warm_start or given is not None:  # steps stay as short as at the end of the last fit
            of_users, of_items = getattr(model, "mean_squares_", (0.0, 0.0))
            self.squares[0][:] = of_users
            self.squares[1][:] = of_items * self.counts

    def forget(self, known: tuple[int, int]) -> None:
        """Begin anew with the sums of squares of rows that no fit has trained: their steps are long."""
        self.squares[0][self.users >= known[0]] = 0
        self.squares[1][known[1] :] = 0

    def _run(self, epoch: int, rate: float) -> float:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.batches.number)
        samples = draw_samples(rng, len(order), self.shape[1], self.sampled)
        work = self.batches.longest(self.indptr)[0] * self.sampled * self.X.shape[1]
        step, total = max(1, WORK_PER_CALL // max(1, work)), 0.0
        for start in range(0, len(order), step):
            part = slice(start, start + step)
            total += self.backend.contrastive_epoch(
                self.indptr, self.indices, self.batches, order[part], samples[part], self.X, self.Y, *self.squares,
                self.weight, self.model._ranking(), rate, True, self.num_threads,
            )  # fmt: skip
        return total

    def step(self, epoch: int) -> Iteration:
        """Run one epoch."""
        model, rate = self.model, self.model._learning_rate_at(epoch)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            total = self._run(epoch, rate)
        if not (np.isfinite(total) and all_finite(self.X) and all_finite(self.Y)):
            raise OverflowError(f"{type(model).__name__} overflows in epoch {epoch}: {model._remedy()}")
        users = self.all_users.copy()
        users[self.unknown] = unit(self.X.mean(axis=0, dtype=np.float64)[None])
        users[self.users] = self.X
        record = {"objective": total, "train_loss": total / len(self.indices)}
        if self.held_out is not None:
            record["validation_loss"] = self._validation_loss(users)
        # A user takes one step in an epoch, whereas an item takes part in those of all its users.
        means = float(self.squares[0].mean()), float(self.squares[1].sum() / self.counts.sum())
        return Iteration(users, self.Y.copy(), record | {"learning_rate": rate}, {"mean_squares_": means})

    def snapshot(self) -> Snapshot:
        """Return Adagrad's sums."""
        return Snapshot(dict(zip(("X_squares", "Y_squares"), self.squares, strict=True)), {})

    def restore(self, saved: Snapshot) -> None:
        """Continue as saved."""
        arrays = saved.arrays
        self.X, self.Y = np.array(arrays["user_factors"][self.users]), np.array(arrays["item_factors"])
        self.squares = np.array(arrays["X_squares"]), np.array(arrays["Y_squares"])

    def _validation_loss(self, vectors: NDArray[Any]) -> float:
        """Return the mean loss of the held-out interactions, with negatives that were drawn once."""
        assert self.held_out is not None
        users, indptr, indices, batches, samples, weight = self.held_out
        total = self.backend.contrastive_epoch(
            indptr, indices, batches, np.arange(batches.number), samples, vectors[users], self.Y, np.zeros(len(users)),
            self.squares[1], weight, self.model._ranking(), 0.0, False, self.num_threads,
        )  # fmt: skip
        return total / len(indices)


def draw_samples(rng: np.random.Generator, count: int, n: int, size: int) -> NDArray[np.int32]:
    """Draw samples of `size` different items, ascending. In turn: only when fewer are left, all can be drawn again."""
    each = n // size
    rounds = [rng.permutation(n)[: each * size].reshape(each, size) for _ in range(-(-count // each))]
    samples = np.concatenate(rounds)[:count] if rounds else np.empty((0, size))
    return np.ascontiguousarray(np.sort(samples, axis=1), np.int32)


def unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return vectors of length 1, in float64; a zero vector stays zero."""
    lengths = np.sqrt(np.einsum("if,if->i", vectors, vectors, dtype=np.float64))
    scaled: NDArray[np.float64] = vectors / np.where(lengths > 0, lengths, 1)[:, None]
    return scaled


def _rows(matrix: CSR, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    taken = matrix.take(rows)
    return np.ascontiguousarray(taken.indptr, np.int64), np.ascontiguousarray(taken.indices, np.int32)
