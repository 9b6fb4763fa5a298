"""The half-sweeps of a fit whose users are divided into shards.

Users never move: a half-sweep of the users is one of each shard, with the items' factors on every worker. In a
half-sweep of the items, all rows are solved at once by conjugate gradients (`_conjugate`), whose products are summed
over the shards. Items are divided into blocks; the state of a block is on the worker of one shard.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR
from ..models._fit_loop import HalfSweep
from ..models.als.problems import RowProblems, SingularRowError
from ..models.als.solver import Solver
from ..models.priors.fitted_prior import Finished, fitted_state
from ..models.priors.prior import Prior
from . import _conjugate
from ._cluster import Cluster, total
from ._rows import Shards
from ._shard import write_factors
from ._users import Swept

BLOCK_BYTES = 1 << 21  # of a block of items; smaller ones would take longer to schedule than to send
MOST_BLOCKS = 32
EXACT_TOL = 1e-5  # with solver="cholesky", which has no tolerance


class UserFactors:
    """The factors of all users after a half-sweep, in the shards; converted to an array, they are gathered.

    A shard that is lost gets its factors by the half-sweeps from `base` on, whose arguments are in `chain`. If rows are
    solved exactly, the last one is enough.
    """

    def __init__(
        self, version: int, base: NDArray[Any] | None, first: int, chain: tuple[tuple[int, tuple[Any, ...]], ...],
        sides: ShardedSides,
    ) -> None:  # fmt: skip
        self.version, self.base, self.first, self.chain, self.sides = version, base, first, chain, sides
        self.gramian: NDArray[np.float64] | float = 0.0
        self.penalty = 0.0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        gathered: NDArray[Any] = self.sides.gather(self)
        return gathered if dtype is None else gathered.astype(dtype)


class ItemProblems(NamedTuple):
    """The problems of the items in a half-sweep, in coordinates in which their dense part is diagonal."""

    start: NDArray[Any]  # x, shape (n_items, f)
    diagonal: NDArray[np.float64]  # g
    outer: NDArray[np.float64] | None  # from the users that are fixed to these coordinates; None: they are these
    mean: float = 0.0


class ShardedSides(ABC):
    """The row problems of both sides of one fit, those of the users in the shards of a cluster.

    Parameters
    ----------
    cluster : Cluster
    bounds : list of int
        The row numbers at which the shards begin, and the number of users.
    degrees : array
        The numbers of interactions of the items.
    lambdas : array
        Those of the items.
    dtype : dtype
        Of the factors.
    """

    sample_weight: None = None
    mean: float = 0.0
    constant: float = 0.0  # the objective at factors of 0, unless the half-sweeps return it

    def __init__(
        self, cluster: Cluster, bounds: list[int], degrees: NDArray[np.int64], lambdas: NDArray[Any],
        dtype: np.dtype[Any],
    ) -> None:  # fmt: skip
        self.cluster, self.bounds, self.degrees, self.dtype = cluster, bounds, degrees, dtype
        self.priors: dict[str, Prior] = {}  # there are none
        self._present: list[set[int]] = [set() for _ in range(cluster.shards)]  # versions of the users of each shard
        self._versions = itertools.count(1)
        empty = np.empty(0, dtype)
        self.items = RowProblems(np.zeros(1, np.int64), empty.astype(np.int32), empty, empty, lambdas, "item")

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after an iteration with this state."""
        self.mean = state.get("mean_", self.mean)

    def state(self) -> dict[str, Any]:
        """Return further attributes of the model."""
        return {}

    def finish(self, users: Any, items: NDArray[Any]) -> Finished:
        """Return the model's factors."""
        return Finished(np.asarray(users), items, fitted_state(None, None))

    # What depends on the model

    @abstractmethod
    def fixed(self, items: NDArray[Any]) -> tuple[Any, ...]:
        """Return the arguments of a half-sweep of the users: the items as it fixes them, and others."""

    @abstractmethod
    def penalty(self, items: NDArray[Any], solver: Solver) -> float:
        """Return the items' lambda term; `items` are the first of `fixed`."""

    def settle(self, version: int, swept: Sequence[Swept]) -> tuple[Any, ...]:
        """End a half-sweep of the users, on the workers alone; return what more its repetition needs."""
        return ()

    def settled(self, users: UserFactors, swept: Sequence[Swept]) -> float:
        """Note what has changed after `settle`; return what it adds to the objective."""
        return 0.0

    @abstractmethod
    def problems(self, own: NDArray[Any], users: UserFactors, solver: Solver) -> ItemProblems:
        """Return the problems of the items, to start from their factors `own`."""

    @abstractmethod
    def solved(
        self, x: NDArray[Any], values: NDArray[np.float64], of: ItemProblems, solver: Solver
    ) -> tuple[NDArray[Any], float]:
        """Return the items' factors, and the objective of their rows, from their solutions."""

    def unknown_users(self, held: UserFactors) -> NDArray[Any] | None:
        """Return the factors that are written for users without interactions; None: their own."""
        return None

    # Users

    def half_sweep(self, kind: str, own: Any, fixed: Any, solver: Solver) -> HalfSweep:
        """Solve one side with the other side's factors fixed, and evaluate the whole objective."""
        return self._solve_users(own, fixed, solver) if kind == "user" else self._solve_items(own, fixed, solver)

    def _solve_users(self, own: Any, items: NDArray[Any], solver: Solver) -> HalfSweep:
        before = own if isinstance(own, UserFactors) else self._begin(own)
        fixed = self.fixed(items)
        version = next(self._versions)
        known = () if solver.method == "cholesky" else before.chain
        base, first = (None, 0) if solver.method == "cholesky" else (before.base, before.first)
        source = before.version if solver.method == "cg" else 0

        def work() -> tuple[list[Swept], tuple[Any, ...]]:
            sent = [self.cluster.share(one) for one in fixed]
            swept = self.cluster.every("solve_users", self.cluster.key, source, version, *sent)
            return swept, self.settle(version, swept)

        swept, more = self.cluster.attempt(work, lambda *shard: self._ensure(before, *shard))
        self._present = [{source, version} for _ in swept]
        after = UserFactors(version, base, first, (*known, (version, (*fixed, *more))), self)
        after.gramian = total([one.gramian for one in swept])
        after.penalty = total([one.penalty for one in swept])
        value = total([one.objective for one in swept]) + self.penalty(fixed[0], solver) + self.constant
        value += self.settled(after, swept)
        steps = total([one.steps for one in swept]) / max(1, self.bounds[-1])
        return HalfSweep(after, value, steps, self.state())  # type: ignore[arg-type]

    def _begin(self, base: NDArray[Any] | None) -> UserFactors:
        """Return factors to begin with: those of a checkpoint, or (None) zeros."""
        version = 0 if base is None else next(self._versions)
        return UserFactors(version, base, version, (), self)

    def _ensure(self, wanted: UserFactors, number: int, address: str) -> None:
        """Bring the factors of one shard to a version, if it is not there."""
        present = self._present[number]
        if self.cluster.is_new(number):
            present.clear()
        if wanted.version == 0 or wanted.version in present:
            return
        versions = [wanted.first, *(version for version, _ in wanted.chain)]
        at = max((at for at, version in enumerate(versions) if version in present), default=-1)
        if at < 0:
            at = 0
            if wanted.base is not None:
                rows = self.cluster.share(wanted.base[self.bounds[number] : self.bounds[number + 1]], address)
                self.cluster.results([self.cluster.call(number, "set_users", wanted.first, rows)])
                present.add(wanted.first)
        for source, (version, given) in zip(versions[at:], wanted.chain[at:], strict=False):
            sent = [self.cluster.share(one, address) for one in given]
            self.cluster.results([
                self.cluster.call(number, "solve_users", self.cluster.key, source, version, *sent)
            ])  # fmt: skip
            present.clear()
            present.update((source, version))

    def gather(self, users: UserFactors) -> NDArray[Any]:
        """Return the factors of all users."""
        return np.concatenate(
            self.cluster.attempt(
                lambda: self.cluster.every("get_users", users.version), lambda *shard: self._ensure(users, *shard)
            )
        )

    def write(
        self, users: Any, items: NDArray[Any], divided: Shards, folder: Path, k: int | None, exclude_seen: bool
    ) -> None:
        """Write the factors of both sides and, with `k`, the lists of all users, by shards."""
        cluster = self.cluster
        held = users if isinstance(users, UserFactors) else self._begin(users)

        def ensure(number: int, address: str) -> None:
            self._ensure(held, number, address)

        mean = self.unknown_users(held)
        ids = divided.item_ids()
        for name in ("user_factors", "item_factors", *(["lists"] if k else [])):
            (folder / name).mkdir(parents=True)
        write_factors(str(folder / "item_factors" / "part-00000.parquet"), ids, items)

        def work() -> None:
            paths = [f"part-{number:05}.parquet" for number in range(cluster.shards)]
            written = [cluster.call(number, "write_users", held.version, mean, str(folder / "user_factors" / path))
                       for number, path in enumerate(paths)]  # fmt: skip
            if k:
                shared = cluster.share(items), cluster.share(ids)
                written += [
                    cluster.call(number, "write_lists", held.version, mean, *shared, k, exclude_seen,
                                 self.mean, str(folder / "lists" / path))
                    for number, path in enumerate(paths)
                ]  # fmt: skip
            cluster.results(written)

        cluster.attempt(work, ensure)

    # Items

    def _solve_items(self, own: NDArray[Any], users: UserFactors, solver: Solver) -> HalfSweep:
        of = self.problems(own, users, solver)
        n, f = of.start.shape
        tol, most = (solver.tol, solver.max_steps) if solver.method == "cg" else (EXACT_TOL, 8 * f)
        blocks = self._blocks(n, f)

        def work() -> tuple[list[Any], float]:
            return self._conjugate_gradients(users.version, of, blocks, tol, most)

        blockwise, constant = self.cluster.attempt(work, lambda *shard: self._ensure(users, *shard))
        for (first, _), (_, _, _, singular) in zip(blocks, blockwise, strict=True):
            if singular >= 0:
                raise singular_row(self.items.name(first + singular))
        x, values = np.concatenate([one[0] for one in blockwise]), np.concatenate([one[1] for one in blockwise])
        if not np.isfinite(values).all():
            raise OverflowError(
                f"the objective of item {int(np.isfinite(values).argmin())} overflows {self.dtype}: lower its "
                f"{self.items.too_large}, or use dtype='float64'"
            )
        factors, value = self.solved(x, values, of, solver)
        steps = sum(one[2] for one in blockwise) / max(1, n)
        return HalfSweep(factors, value + users.penalty + constant + self.constant, steps, self.state())

    def _blocks(self, n: int, f: int) -> list[tuple[int, int]]:
        count = int(np.clip(n * f * self.dtype.itemsize // BLOCK_BYTES, 1, min(MOST_BLOCKS, max(1, n))))
        edges = [n * at // count for at in range(count + 1)]
        return list(itertools.pairwise(edges))

    def _conjugate_gradients(
        self, version: int, of: ItemProblems, blocks: list[tuple[int, int]], tol: float, most: int
    ) -> tuple[list[Any], float]:
        """Solve all blocks, a step of all of them at a time; also return the objective at factors of 0."""
        cluster, numbers = self.cluster, range(self.cluster.shards)
        roots = [at * cluster.shards // len(blocks) for at in range(len(blocks))]
        outer, states = cluster.share(of.outer), []
        fixed = [cluster.call(one, "fix_users", version, outer, of.mean) for one in numbers]
        for rows, root in zip(blocks, roots, strict=True):
            first = cluster.share(of.start[slice(*rows)])
            parts = [cluster.call(one, "start_items", version, rows, first, fixed[one]) for one in numbers]
            sums = cluster.tree(parts, root)
            lambdas = self.items.regularization[slice(*rows)]
            states.append(cluster.near(root, _conjugate.start, first, sums, of.diagonal, lambdas, tol, most))
        left = list(range(len(blocks)))
        while left:
            counts = cluster.results([cluster.near(roots[at], _conjugate.count, states[at]) for at in left])
            left = [at for at, active in zip(left, counts, strict=True) if active]
            for at in left:
                vectors = cluster.near(roots[at], _conjugate.direction, states[at])
                parts = [cluster.call(one, "multiply_items", version, blocks[at], vectors) for one in numbers]
                states[at] = cluster.near(roots[at], _conjugate.step, states[at], cluster.tree(parts, roots[at]))
        solved = [cluster.near(root, _conjugate.result, state) for root, state in zip(roots, states, strict=True)]
        return cluster.results(solved), float(total(cluster.results(fixed)))


def item_rows(counts: NDArray[np.int64], users: int) -> CSR:
    """Return the rows of items as far as their lambdas depend on them: how many entries they have."""
    none = np.empty(0)
    return CSR(np.concatenate([[0], np.cumsum(counts)]), none, none, (len(counts), users))


def singular_row(name: str) -> SingularRowError:
    return SingularRowError(
        f"the least-squares problem of {name} is singular, so its solution is not unique: raise the regularization"
    )

