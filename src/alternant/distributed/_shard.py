"""A shard: some of the users, with their interactions and factors, in the memory of the worker that it lives on.

Shards are not Dask's data, which it could move or write to disk: they are objects of the worker's process, and tasks
that are restricted to the worker call their methods. What such a task returns is Dask's.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.atomic import whole_file
from .._utils.pool import Pool
from ..data.csr import CSR
from ..kernels import get_backend
from ..models._checkpoint import digest
from ..models.als.basis import Basis, Product
from ..models.als.degrees import like_new
from ..models.als.explicit_objective import ExplicitObjective
from ..models.als.implicit_objective import ImplicitObjective
from ..models.als.observed import Observed
from ..models.als.solver import Solver
from ._users import ExplicitUsers, ImplicitUsers, Swept

LISTS = 1 << 14  # users ranked at a time

_shards: dict[tuple[str, int], Shard] = {}
_bases: dict[str, tuple[int, Basis]] = {}  # of the last fixed items of each fit: all shards of a worker share it
_computing = threading.RLock()  # one shard at a time has all threads of the worker


class ShardMissingError(RuntimeError):
    """The worker does not hold the shard, or not these factors; the second argument is the number of the shard."""


@dataclass(frozen=True)
class Settings:
    """How the workers solve rows."""

    backend: str
    method: str
    tol: float
    max_steps: int
    num_threads: int | None  # None: as many as Dask gives the worker

    def solver(self) -> Solver:
        """Return the solver of this worker; Dask's nanny sets ``OMP_NUM_THREADS=1``, so the number is explicit."""
        threads = _threads_of_worker() if self.num_threads is None else self.num_threads
        return Solver(get_backend(self.backend), self.method, self.tol, self.max_steps, threads, narrow=False)


class Shard:
    """Some of the users.

    Parameters
    ----------
    rows : CSR, shape (m, n_items)
        Their interactions.
    first : int
        The row number of the first one in the whole matrix.
    ids : array, shape (m,), or None
        Their raw ids.
    """

    def __init__(self, rows: CSR, first: int, ids: NDArray[Any] | None = None) -> None:
        self.rows, self.first, self.ids = rows, first, ids
        self.versions: dict[int, NDArray[Any]] = {}  # factors after half-sweeps
        # A version in the coordinates of the items' problems, and the targets of these.
        self.begun: tuple[int, NDArray[Any], Any] | None = None
        self.number = self.attempt = 0

    # What the parameters are chosen from

    def degrees(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the numbers of interactions of the users, and of all items with these users."""
        return np.diff(self.rows.indptr), np.bincount(self.rows.indices, minlength=self.rows.shape[1])

    def digest(self) -> str:
        """Return a digest of the interactions."""
        return digest([self.first, self.rows.shape, self.rows.indptr, self.rows.indices, self.rows.data])

    def statistic(self, name: str, *args: Any) -> Any:
        """Return what these interactions add to a statistic: an attribute of `Statistics`."""
        found = getattr(self.observed, name)
        return found(*args) if callable(found) else found

    @cached_property
    def observed(self) -> Observed:
        """The interactions in both orientations."""
        return Observed.of(self.rows, _threads_of_worker())

    # The fit

    def prepare(self, objective: ImplicitObjective | ExplicitObjective, settings: Settings) -> float:
        """Make the row problems; return their `share`."""
        self.settings, self.solver = settings, settings.solver()
        made: Any = ImplicitUsers if isinstance(objective, ImplicitObjective) else ExplicitUsers
        self.problems: ImplicitUsers | ExplicitUsers = made(objective, self.observed, self.first, self.solver)
        del self.observed  # whose values are not needed any more
        return float(self.problems.share)

    def solve_users(
        self, fit: str, source: int, version: int, fixed: NDArray[Any], mean: float = 0.0, shift: float = 0.0
    ) -> Swept:
        """Run the users' half-sweep, starting from the factors of version `source` (0: from zeros).

        Only the two versions are kept. Without a version `source`, nothing is lost: the driver makes it again.
        """
        own = self.get_users(source) if source else None
        self.versions, self.begun = {} if own is None else {source: own}, None
        fixed = np.require(fixed, None, ["C", "A"])
        self.versions[version], swept = self.problems.solve(own, fixed, mean, partial(self._basis, fit, version))
        self.shift_users(version, shift)
        return swept

    def shift_users(self, version: int, shift: float) -> None:
        """Subtract a number from the biases of users with ratings."""
        if shift:
            self.problems.shift(self.get_users(version), shift)

    def _basis(
        self, fit: str, version: int, fixed: NDArray[Any], unobserved_weight: float, solver: Solver
    ) -> Basis:
        """Return the coordinates of the users' problems, for any users."""
        known = _bases.get(fit)
        if known is None or known[0] != version:
            made = Basis.of(fixed, unobserved_weight, solver, padded=self.settings.method == "cg")
            known = _bases[fit] = version, made
        return known[1]

    def set_users(self, version: int, factors: NDArray[Any]) -> None:
        """Continue from these factors."""
        self.versions = {version: np.require(factors, None, ["C", "A"])}

    def get_users(self, version: int) -> NDArray[Any]:
        """Return the factors of a version."""
        if version not in self.versions:
            raise ShardMissingError(f"shard {self.number} has no version {version}", self.number)
        return self.versions[version]

    def fix_users(self, version: int, outer: NDArray[np.float64] | None, mean: float) -> float:
        """Begin a half-sweep of the items; return the share of these users in its objective at factors of 0.

        `outer` transforms the users' factors to the coordinates of the items' problems (None: they are these).
        """
        factors = self.get_users(version)
        X = np.ascontiguousarray(self.problems.fixed(factors))
        if outer is not None:
            rotated = Pool().array(X.shape, X.dtype)
            Product(outer, X.dtype)(X, rotated, self.solver)
            X = rotated
        targets, constant = self.problems.targets(factors, mean)
        self.begun = version, X, targets
        return constant

    def start_items(
        self, version: int, rows: tuple[int, int], start: NDArray[Any], _after: float
    ) -> NDArray[Any]:
        """Return the right-hand sides of some items' problems, and the products of their matrices with `start`.

        Both are the shares of these users; `_after` is what `fix_users` has returned.

        Returns
        -------
        array, shape (2, items, f)
        """
        X, targets = self._begun(version)
        items = self.problems.items
        out = np.zeros((2, rows[1] - rows[0], X.shape[1]), X.dtype)
        indptr = items.indptr[rows[0] : rows[1] + 1]
        zero, one = np.zeros(len(items.indices), X.dtype), np.ones(X.shape[1], X.dtype)
        self.solver.backend.solve_rows(  # with weights of 0 and a diagonal of 1, the solution is the right-hand side
            indptr, items.indices, zero, targets, X, one, np.zeros(len(out[0]), X.dtype), out[0],
            tol=0.0, max_steps=1, num_threads=self.solver.num_threads,
        )  # fmt: skip
        self._multiply(rows, X, np.require(start, None, ["C", "A"]), out[1])
        return out

    def multiply_items(self, version: int, rows: tuple[int, int], direction: Any) -> NDArray[Any]:
        """Return the products of some items' matrices with vectors: the share of these users.

        Parameters
        ----------
        version : int
            Of the users' factors.
        rows : (int, int)
            The range of the items.
        direction : (array, array)
            Which of these items are wanted, by their position in the range; and their vectors.
        """
        X, _ = self._begun(version)
        active, vectors = direction
        P, out = (np.zeros((rows[1] - rows[0], X.shape[1]), X.dtype) for _ in range(2))
        P[active] = vectors
        self._multiply(rows, X, P, out)
        return np.asarray(out[active])

    def _begun(self, version: int) -> tuple[NDArray[Any], Any]:
        if self.begun is None or self.begun[0] != version:
            raise ShardMissingError(f"shard {self.number} has not begun with version {version}", self.number)
        return self.begun[1:]

    def _multiply(self, rows: tuple[int, int], X: NDArray[Any], P: NDArray[Any], out: NDArray[Any]) -> None:
        items = self.problems.items
        self.solver.backend.normal_products(
            items.indptr[rows[0] : rows[1] + 1], items.indices, items.weight, X, P, out,
            self.solver.num_threads,
        )  # fmt: skip

    # What is left of it

    def interactions(self) -> CSR:
        """Return the interactions."""
        return self.rows

    def user_sum(self, version: int, exponent: int) -> NDArray[np.float64]:
        """Return the sum of the factors, weighted as those of the mean user."""
        weights = like_new(np.diff(self.rows.indptr), exponent)
        return np.asarray(np.einsum("u,uf->f", weights, self.get_users(version), dtype=np.float64))

    def write_users(self, version: int, mean: NDArray[Any] | None, path: str) -> None:
        """Write the factors; users without interactions get `mean`, if given."""
        write_factors(path, self._names(), self._finished(version, mean))

    def write_lists(
        self, version: int, mean: NDArray[Any] | None, items: NDArray[Any], ids: NDArray[Any], k: int,
        exclude_seen: bool, added: float, path: str,
    ) -> None:  # fmt: skip
        """Rank items for the users, and write the lists, a part of them at a time; scores get `added`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        users, names = self._finished(version, mean), self._names()
        items = np.require(items, None, ["C", "A"])
        with whole_file(path, "a list") as temporary, contextlib.ExitStack() as stack:
            writer = None
            for start in range(0, max(1, len(users)), LISTS):
                block = slice(start, start + LISTS)
                seen = (self.rows.indptr[start : start + LISTS + 1], self.rows.indices) if exclude_seen else None
                best = np.empty((len(users[block]), k), np.int32)
                scores = np.empty(best.shape, users.dtype)
                self.solver.backend.top_k(
                    np.ascontiguousarray(users[block]), items, k, seen, None, best, scores, self.solver.num_threads
                )
                rows, places = np.nonzero(best >= 0)
                table = pa.table({
                    "user": _column(names[block][rows]), "item": _column(ids[best[rows, places]]),
                    "rank": pa.array(places + 1, pa.int32()),
                    "score": pa.array(scores[rows, places] + scores.dtype.type(added)),
                })  # fmt: skip
                if writer is None:
                    writer = stack.enter_context(pq.ParquetWriter(temporary, table.schema))
                writer.write_table(table)

    def _names(self) -> NDArray[Any]:
        return self.first + np.arange(self.rows.shape[0]) if self.ids is None else self.ids

    def _finished(self, version: int, mean: NDArray[Any] | None) -> NDArray[Any]:
        factors = self.get_users(version).copy()
        if mean is not None:
            factors[np.diff(self.rows.indptr) == 0] = mean
        return factors


def write_factors(path: str, ids: NDArray[Any], factors: NDArray[Any]) -> None:
    """Write a Parquet file with the columns ``id`` and ``features``, as Spark does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = pa.FixedSizeListArray.from_arrays(pa.array(factors.reshape(-1)), factors.shape[1])
    table = pa.table({"id": _column(ids), "features": features.cast(pa.list_(features.type.value_type))})
    with whole_file(path, "factors") as temporary:
        pq.write_table(table, temporary)


def _column(ids: NDArray[Any]) -> Any:
    import pyarrow as pa

    return pa.array(ids.tolist() if ids.dtype == object else ids)


# Tasks


def call(fit: str, number: int, attempt: int, method: str, *args: Any) -> Any:
    """Run a method of a shard on the worker that holds it.

    A task of an earlier attempt, which was still waiting when that was given up, must not change the shard any more.
    """
    with _computing:
        shard = _shards.get((fit, number))
        if shard is None or attempt < shard.attempt:
            raise ShardMissingError(f"shard {number} is not on this worker", number)
        shard.attempt = attempt
        return getattr(shard, method)(*args)


def create(fit: str, number: int, make: Callable[..., Shard], *args: Any) -> int:
    """Make a shard on this worker; return its number of users."""
    with _computing:
        shard = _shards[fit, number] = make(*args)
        shard.number = number
        return shard.rows.shape[0]


def of_rows(rows: CSR, first: int, ids: NDArray[Any] | None) -> Shard:
    """Make a shard of rows of a matrix."""
    return Shard(CSR.of(rows.indptr, rows.indices, rows.data, rows.shape), first, ids)


def held(fit: str) -> list[int]:
    """Return the numbers of the shards of a fit on this worker."""
    return [number for key, number in list(_shards) if key == fit]


def forget(fit: str) -> None:
    """Free the memory of a fit on this worker."""
    for key in [key for key in _shards if key[0] == fit]:
        del _shards[key]
    _bases.pop(fit, None)


def _threads_of_worker() -> int:
    from distributed import get_worker

    return int(get_worker().state.nthreads)


def describe(backend: str) -> str:
    """Return what the bits of results depend on."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("alternant")
    except PackageNotFoundError:  # run from its source
        found = "unknown"
    kernels = get_backend(backend)
    return f"alternant {found}, {kernels.name}" + (f" {kernels.simd}" if kernels.simd else "")
