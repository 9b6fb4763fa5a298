"""The half-sweeps of a fit whose users are divided into shards.

Users never move: a half-sweep of the users is one of each shard, with the items' factors on every worker. In a
half-sweep of the items, all rows are solved at once by conjugate gradients (`_conjugate`), whose products are summed
over the shards. Items are divided into blocks; the state of a block is on the worker of one shard.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from .._utils.threads import single_threaded_blas
from ..data.csr import CSR
from ..kernels._thresholds import ALS_SINGULAR
from ..models._fit_loop import HalfSweep
from ..models.als.basis import Product, _of_minimum_norm
from ..models.als.fitted_prior import Finished, fitted_state
from ..models.als.half_sweep import penalty
from ..models.als.implicit_objective import ImplicitObjective
from ..models.als.prior import Prior
from ..models.als.problems import RowProblems, SingularRowError
from ..models.als.solver import Solver
from . import _conjugate
from ._cluster import Cluster, total
from ._rows import Shards
from ._shard import write_factors

BLOCK_BYTES = 1 << 21  # of a block of items; smaller ones would take longer to schedule than to send
MOST_BLOCKS = 32
EXACT_TOL = 1e-5  # with solver="cholesky", which has no tolerance


class UserFactors:
    """The factors of all users after a half-sweep, in the shards; converted to an array, they are gathered.

    A shard that is lost gets its factors by the half-sweeps from `base` on. If rows are solved exactly, the last one
    is enough.
    """

    def __init__(
        self, version: int, base: NDArray[Any] | None, first: int, chain: tuple[tuple[int, NDArray[Any]], ...],
        sides: ShardedSides,
    ) -> None:  # fmt: skip
        self.version, self.base, self.first, self.chain, self.sides = version, base, first, chain, sides
        self.gramian: NDArray[np.float64] | None = None
        self.penalty = 0.0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        gathered: NDArray[Any] = self.sides.gather(self)
        return gathered if dtype is None else gathered.astype(dtype)


@dataclass
class ShardedSides:
    """The row problems of both sides of one fit, those of the users in the shards of a cluster.

    Parameters
    ----------
    cluster : Cluster
    objective : ImplicitObjective
        With the degrees of all users and items.
    bounds : list of int
        The row numbers at which the shards begin, and the number of users.
    constant : float
        The objective at factors of 0.
    dtype : dtype
        Of the factors.
    """

    cluster: Cluster
    objective: ImplicitObjective
    bounds: list[int]
    constant: float
    dtype: np.dtype[Any]
    sample_weight: None = None
    priors: dict[str, Prior] = field(default_factory=dict)  # there are none
    _present: list[set[int]] = field(init=False)  # versions of the users' factors in each shard
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        """Make the items' lambdas."""
        degrees = self.objective.degrees
        assert degrees is not None
        self._present = [set() for _ in range(self.cluster.shards)]
        empty = np.empty(0, self.dtype)
        indptr = np.concatenate([[0], np.cumsum(degrees.items)])
        counted = CSR(indptr, empty, empty, (len(degrees.items), self.bounds[-1]))
        lambdas = self.objective._row_lambda(counted, "item", self.dtype)
        self.items = RowProblems(np.zeros(1, np.int64), empty.astype(np.int32), empty, empty, lambdas, "item")

    def restore(self, state: dict[str, Any]) -> None:
        """Do nothing: an iteration leaves no more than its factors."""

    def finish(self, users: Any, items: NDArray[Any]) -> Finished:
        """Return the model's factors."""
        gathered = np.asarray(users)
        self.objective.finish_users(gathered)
        return Finished(gathered, items, fitted_state(None, None))

    def half_sweep(self, kind: str, own: Any, fixed: Any, solver: Solver) -> HalfSweep:
        """Solve one side with the other side's factors fixed, and evaluate the whole objective."""
        return self._solve_users(own, fixed, solver) if kind == "user" else self._solve_items(own, fixed, solver)

    # Users

    def _solve_users(self, own: Any, items: NDArray[Any], solver: Solver) -> HalfSweep:
        before = own if isinstance(own, UserFactors) else self._begin(own)
        fixed = self.objective.fixed(items, "item")
        version = next(self._versions)
        known = () if solver.method == "cholesky" else before.chain
        base, first = (None, 0) if solver.method == "cholesky" else (before.base, before.first)
        after = UserFactors(version, base, first, (*known, (version, fixed)), self)
        source = before.version if solver.method == "cg" else 0

        def work() -> list[Any]:
            return self.cluster.every("solve_users", self.cluster.key, source, version, self.cluster.share(fixed))

        swept = self.cluster.attempt(work, lambda *shard: self._ensure(before, *shard))
        self._present = [{source, version} for _ in swept]
        after.gramian = total([one.gramian for one in swept])
        after.penalty = total([one.penalty for one in swept])
        value = total([one.objective for one in swept]) + penalty(self.items, fixed, solver) + self.constant
        return HalfSweep(after, value, total([one.steps for one in swept]) / max(1, self.bounds[-1]))  # type: ignore[arg-type]

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
        for source, (version, fixed) in zip(versions[at:], wanted.chain[at:], strict=False):
            sent = self.cluster.share(fixed, address)
            self.cluster.results([
                self.cluster.call(number, "solve_users", self.cluster.key, source, version, sent)
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
        cluster, degrees = self.cluster, self.objective.degrees
        assert degrees is not None
        held = users if isinstance(users, UserFactors) else self._begin(users)

        def ensure(number: int, address: str) -> None:
            self._ensure(held, number, address)

        sums = cluster.attempt(lambda: cluster.every("user_sum", held.version), ensure)
        mean = (total(sums) / max(1, int((degrees.users > 0).sum()))).astype(self.dtype)
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
                                 str(folder / "lists" / path))
                    for number, path in enumerate(paths)
                ]  # fmt: skip
            cluster.results(written)

        cluster.attempt(work, ensure)

    # Items

    def _solve_items(self, own: NDArray[Any], users: UserFactors, solver: Solver) -> HalfSweep:
        start = self.objective.start(own, "item")
        assert start is not None
        assert users.gramian is not None
        g, Q = self._coordinates(users.gramian)
        x = np.empty(start.shape, self.dtype)
        Product(Q, self.dtype)(np.ascontiguousarray(start), x, solver)  # as T is Q, its inverse is Q^T
        tol, most = (solver.tol, solver.max_steps) if solver.method == "cg" else (EXACT_TOL, 8 * len(g))
        blocks = self._blocks(len(x), x.shape[1])

        def work() -> list[Any]:
            return self._conjugate_gradients(users.version, x, blocks, g, Q, tol, most)

        solved = self.cluster.attempt(work, lambda *shard: self._ensure(users, *shard))
        for (first, _), (_, _, _, singular) in zip(blocks, solved, strict=True):
            if singular >= 0:
                raise _singular(self.items.name(first + singular))
        rotated, values = np.concatenate([one[0] for one in solved]), np.concatenate([one[1] for one in solved])
        if not np.isfinite(values).all():
            raise OverflowError(
                f"the objective of item {int(np.isfinite(values).argmin())} overflows {self.dtype}: lower its "
                f"{self.items.too_large}, or use dtype='float64'"
            )
        factors = np.empty_like(rotated)
        Product(Q.T, self.dtype)(rotated, factors, solver)
        weights, degrees = self.objective._weights("item"), self.objective.degrees
        assert degrees is not None
        value = float((values if weights is None else weights**2 * values).sum()) + users.penalty + self.constant
        steps = sum(one[2] for one in solved) / max(1, len(x))
        return HalfSweep(self.objective.finish_items(factors, degrees.items), value, steps)

    def _coordinates(self, gramian: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the eigenvalues of the dense part of the items' problems, and its eigenvectors as columns."""
        w0 = self.objective.unobserved_weight
        if not w0 * np.trace(gramian) <= np.finfo(self.dtype).max:  # NaN included
            raise ValueError(
                f"factors and the sums of their squares must be finite in {self.dtype}: lower init_scale or "
                "unobserved_weight"
            )
        with single_threaded_blas():
            g, Q = scipy.linalg.eigh(w0 * gramian, driver="evd")
        if w0 > 0:
            g, Q = _of_minimum_norm(g, Q, self.dtype)
        lambdas = self.items.regularization
        least, greatest = float(g.min()), float(g.max())
        doubtful = ~(least + lambdas > ALS_SINGULAR[self.dtype] * (greatest + lambdas))
        if doubtful.any():
            raise _singular(self.items.name(int(doubtful.argmax())))
        return g, Q

    def _blocks(self, n: int, f: int) -> list[tuple[int, int]]:
        count = int(np.clip(n * f * self.dtype.itemsize // BLOCK_BYTES, 1, min(MOST_BLOCKS, max(1, n))))
        edges = [n * at // count for at in range(count + 1)]
        return list(itertools.pairwise(edges))

    def _conjugate_gradients(
        self, version: int, x: NDArray[Any], blocks: list[tuple[int, int]], g: NDArray[np.float64],
        Q: NDArray[np.float64], tol: float, most: int,
    ) -> list[Any]:  # fmt: skip
        """Solve all blocks, a step of all of them at a time."""
        cluster, numbers = self.cluster, range(self.cluster.shards)
        roots = [at * cluster.shards // len(blocks) for at in range(len(blocks))]
        outer, states = cluster.share(Q), []
        for rows, root in zip(blocks, roots, strict=True):
            first = cluster.share(x[slice(*rows)])
            parts = [cluster.call(one, "start_items", version, outer, rows, first) for one in numbers]
            sums = cluster.tree(parts, root)
            lambdas = self.items.regularization[slice(*rows)]
            states.append(cluster.near(root, _conjugate.start, first, sums, g, lambdas, tol, most))
        left = list(range(len(blocks)))
        while left:
            counts = cluster.results([cluster.near(roots[at], _conjugate.count, states[at]) for at in left])
            left = [at for at, active in zip(left, counts, strict=True) if active]
            for at in left:
                vectors = cluster.near(roots[at], _conjugate.direction, states[at])
                parts = [cluster.call(one, "multiply_items", version, blocks[at], vectors) for one in numbers]
                states[at] = cluster.near(roots[at], _conjugate.step, states[at], cluster.tree(parts, roots[at]))
        solved = [cluster.near(root, _conjugate.result, state) for root, state in zip(roots, states, strict=True)]
        return cluster.results(solved)


def _singular(name: str) -> SingularRowError:
    return SingularRowError(
        f"the least-squares problem of {name} is singular, so its solution is not unique: raise the regularization"
    )

