"""The state of a fit on unit vectors: batches of users, each with one sample of items as negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import FilePool, blocks_of, column_counts, release, scatter_rows
from ..._utils.pool import Pool
from ..._utils.threads import resolve_num_threads
from ...data.csr import CSR
from ...kernels import Factors
from .._checkpoint import Snapshot
from .._fit_loop import Iteration
from .batches import Call, Cost, InFiles, InMemory, Positives, gather, put_back
from .epochs import all_finite, warn_without_negatives
from .stored import positive_pairs

if TYPE_CHECKING:
    from ...kernels._registry import Backend
    from ..contrastive_mf import ContrastiveMF

# Multiply-adds of a batch for each further thread: about 0.1 ms of work.
BATCH_WORK_PER_THREAD = 1 << 21


class ContrastiveTraining:
    """The state of a fit, with the users of a batch next to each other. Users without interactions are in none."""

    backend: Backend
    model: ContrastiveMF
    pool: FilePool | None
    users: NDArray[np.int64]
    places: NDArray[np.int64] | None  # of the users, if their vectors are in files
    positives: Positives
    X: NDArray[Any]  # in a file if the model's factors are
    Y: NDArray[Any]
    squares: tuple[NDArray[np.float64], NDArray[np.float64]]
    counts: NDArray[np.int64]  # interactions of each item
    weight: NDArray[np.float64]
    kept: NDArray[np.int64]  # users without interactions who have vectors of an earlier fit
    kept_vectors: NDArray[Any]
    unknown: NDArray[np.int64]  # the others without interactions
    held_out: HeldOutPositives | None
    num_threads: int
    seed: int
    sampled: int

    def __init__(
        self, model: ContrastiveMF, train: CSR, held_out: CSR | None, rng: np.random.Generator,
        given: Factors | None = None, pool: Pool | None = None, files: FilePool | None = None,
    ) -> None:  # fmt: skip
        self.model, self.backend = model, model._backend()
        self.pool = pool if isinstance(pool, FilePool) else None
        positives = positive_pairs(train, np.dtype(model.dtype), files)
        if len(positives.indices) == 0:
            raise ValueError("interactions must contain at least one value above 0, got none: only these are ranked")
        start = model._start(train.shape, rng, {}, self.pool) if given is None else given
        self.seed = int(rng.integers(1 << 63))
        counts = np.diff(positives.indptr)
        warn_without_negatives(counts, train.shape[1], "items differ by chance alone")
        self.users = rng.permutation(np.flatnonzero(counts))
        self.places = None if self.pool is None else _inverse(self.users, len(counts))
        known = model._previous_users() if given is None else len(counts)
        silent = np.flatnonzero(counts == 0)
        self.kept, self.unknown = np.split(silent, [np.searchsorted(silent, known)])
        self.kept_vectors = start.X[self.kept]
        size = min(int(model.batch_size), len(self.users))
        in_parts = files is not None or self.pool is not None
        self.positives = (
            InFiles(positives, self.users, size, files or Pool()) if in_parts else InMemory(positives, self.users, size)
        )
        self.X, self.Y = self._in_order(start.X), np.array(start.Y)
        self.squares = np.zeros(len(self.X)), np.zeros(len(self.Y))
        self.weight = model._user_weights(np.diff(self.positives.indptr))
        self.sampled = min(int(model.negatives), train.shape[1])
        work = size * self.sampled * self.X.shape[1]
        self.num_threads = min(resolve_num_threads(model.num_threads), 1 + work // BATCH_WORK_PER_THREAD)
        self.held_out = None if held_out is None else HeldOutPositives(self, held_out, rng, files)
        self.counts = column_counts(positives.indices, train.shape[1])
        if model.warm_start or given is not None:  # steps stay as short as at the end of the last fit
            of_users, of_items = getattr(model, "mean_squares_", (0.0, 0.0))
            self.squares[0][:] = of_users
            self.squares[1][:] = of_items * self.counts

    def forget(self, known: tuple[int, int]) -> None:
        """Begin anew with the sums of squares of rows that no fit has trained: their steps are long."""
        self.squares[0][self.users >= known[0]] = 0
        self.squares[1][known[1] :] = 0

    def _in_order(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Return the vectors of the users with interactions, in the order of the batches."""
        if self.pool is None or self.places is None:
            return np.ascontiguousarray(vectors[self.users])
        out = self.pool.array((len(self.users), vectors.shape[1]), vectors.dtype)
        scatter_rows(vectors, self.places, out, self.users)
        return out

    def _of_all_users(self) -> NDArray[Any]:
        """Return the vectors of all users, in the order of their numbers."""
        shape = (len(self.users) + len(self.kept) + len(self.unknown), self.X.shape[1])
        if self.pool is None or self.places is None:
            out = np.empty(shape, self.X.dtype)
            out[self.users] = self.X
        else:
            out = self.pool.array(shape, self.X.dtype)
            scatter_rows(self.X, self.users, out, self.places)
        mean = unit(_sum_of_rows(self.X)[None] / len(self.X))
        means = np.broadcast_to(mean, (len(self.unknown), shape[1]))
        for rows in blocks_of(out):
            for silent, vectors in ((self.kept, self.kept_vectors), (self.unknown, means)):
                part = slice(*np.searchsorted(silent, (rows.start, rows.stop)))
                out[silent[part]] = vectors[part]
            release(out[rows])
        return out

    def cost(self) -> Cost:
        """Return what users and batches add to a call of the kernel."""
        f = self.X.shape[1]
        return Cost(self.sampled * f, f * self.X.itemsize + 4 * 8, self.sampled * 4)

    def _run(self, epoch: int, rate: float) -> float:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.positives.row_edges) - 1)
        samples, total = Samples(rng, len(self.Y), self.sampled), 0.0
        for call in self.positives.calls(order, self.cost()):
            negatives = samples.take(len(call.order))
            if call.rows is None:
                total += self.losses(call, negatives, self.X, self.squares[0], self.weight, rate)
                continue
            X, squares, weight = (gather(part, call.rows) for part in (self.X, self.squares[0], self.weight))
            total += self.losses(call, negatives, X, squares, weight, rate)
            put_back(self.X, call.rows, X)
            put_back(self.squares[0], call.rows, squares)
        return total

    def losses(
        self, call: Call, negatives: NDArray[np.int32], X: NDArray[Any], squares: NDArray[np.float64],
        weight: NDArray[np.float64], rate: float, update: bool = True,
    ) -> float:  # fmt: skip
        """Take the steps of a call, those of items only with `update`, and return the sum of the losses before them."""
        total: float = self.backend.contrastive_epoch(
            *call[:4], negatives, X, self.Y, squares, self.squares[1], weight, self.model._ranking(), rate, update,
            self.num_threads,
        )  # fmt: skip
        return total

    def step(self, epoch: int) -> Iteration:
        """Run one epoch."""
        model, rate = self.model, self.model._learning_rate_at(epoch)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            total = self._run(epoch, rate)
        if not (np.isfinite(total) and all_finite(self.X) and all_finite(self.Y)):
            raise OverflowError(f"{type(model).__name__} overflows in epoch {epoch}: {model._remedy()}")
        users = self._of_all_users()
        items = np.empty_like(self.Y) if self.pool is None else self.pool.array(self.Y.shape, self.Y.dtype)
        items[:] = self.Y
        release(items)
        record = {"objective": total, "train_loss": total / int(self.positives.indptr[-1])}
        if self.held_out is not None:
            record["validation_loss"] = self.held_out.loss(self, users)
        # A user takes one step in an epoch, whereas an item takes part in those of all its users.
        means = float(self.squares[0].mean()), float(self.squares[1].sum() / self.counts.sum())
        return Iteration(users, items, record | {"learning_rate": rate}, {"mean_squares_": means})

    def snapshot(self) -> Snapshot:
        """Return Adagrad's sums."""
        return Snapshot(dict(zip(("X_squares", "Y_squares"), self.squares, strict=True)), {})

    def restore(self, saved: Snapshot) -> None:
        """Continue as saved."""
        arrays = saved.arrays
        self.X, self.Y = self._in_order(arrays["user_factors"]), np.array(arrays["item_factors"])
        self.squares = np.array(arrays["X_squares"]), np.array(arrays["Y_squares"])


class HeldOutPositives:
    """Held-out interactions, in the order of their users, with negatives that are drawn once."""

    users: NDArray[np.int64]
    positives: InFiles
    weight: NDArray[np.float64]
    negatives: NDArray[np.int32]

    def __init__(
        self, training: ContrastiveTraining, rows: CSR, rng: np.random.Generator, files: FilePool | None
    ) -> None:
        model = training.model
        own = positive_pairs(rows, np.dtype(model.dtype), files)
        if not len(own.indices):
            raise ValueError("validation must contain at least one value above 0, got none: only these are ranked")
        self.users, pool = np.flatnonzero(np.diff(own.indptr)), files or Pool()
        self.positives = InFiles(own, self.users, min(int(model.batch_size), len(self.users)), pool)
        self.weight = model._user_weights(np.diff(self.positives.indptr))
        count = len(self.positives.row_edges) - 1
        self.negatives = pool.array((count, training.sampled), np.dtype(np.int32))
        samples = Samples(rng, rows.shape[1], training.sampled)
        for part in blocks_of(self.negatives):
            self.negatives[part] = samples.take(part.stop - part.start)
            release(self.negatives[part])

    def loss(self, training: ContrastiveTraining, vectors: NDArray[Any]) -> float:
        """Return the mean loss, given the vectors of all users."""
        order, first, total = np.arange(len(self.negatives)), 0, 0.0
        for call in self.positives.calls(order, training.cost()):
            assert call.rows is not None
            rows = slice(call.rows[0].start, call.rows[-1].stop)
            users, negatives = self.users[rows], self.negatives[first : first + len(call.order)]
            X = vectors[users]
            release(vectors[users[0] : users[-1] + 1])
            total += training.losses(call, negatives, X, np.zeros(len(X)), self.weight[rows], 0.0, False)
            release(negatives)
            first += len(call.order)
        return total / int(self.positives.indptr[-1])


class Samples:
    """Samples of `size` of n items: different, ascending. In turn: only when fewer are left, all can be drawn again."""

    def __init__(self, rng: np.random.Generator, n: int, size: int) -> None:
        self._rng, self._n, self._left = rng, n, np.empty((0, size), np.int32)

    def take(self, count: int) -> NDArray[np.int32]:
        """Return the next samples."""
        size = self._left.shape[1]
        parts, found, each = [self._left], len(self._left), self._n // size
        while found < count:
            drawn = self._rng.permutation(self._n)[: each * size].reshape(each, size)
            parts.append(np.sort(drawn, axis=1).astype(np.int32))
            found += each
        samples = np.concatenate(parts)
        self._left = samples[count:]
        return samples[:count]


def draw_samples(rng: np.random.Generator, count: int, n: int, size: int) -> NDArray[np.int32]:
    """Draw `Samples`."""
    return Samples(rng, n, size).take(count)


def unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return vectors of length 1, in float64; a zero vector stays zero."""
    lengths = np.sqrt(np.einsum("if,if->i", vectors, vectors, dtype=np.float64))
    scaled: NDArray[np.float64] = vectors / np.where(lengths > 0, lengths, 1)[:, None]
    return scaled


def _inverse(users: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the place of each user among `users`, or -1."""
    places = np.full(count, -1)
    places[users] = np.arange(len(users))
    return places


def _sum_of_rows(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum in float64; in blocks, as the vectors may be in a file."""
    total = np.zeros(vectors.shape[1])
    for rows in blocks_of(vectors):
        total += vectors[rows].sum(axis=0, dtype=np.float64)
        release(vectors[rows])
    return total
