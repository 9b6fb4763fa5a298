"""The workers of one fit: where the shards are, sums over them by a fixed tree, and the replacement of lost workers.

Work is done in attempts (`Cluster.attempt`): if a worker is lost meanwhile, its shards are made again on other workers,
and the attempt is repeated from its beginning. It depends only on the shards and on what the driver holds, so that it
ends with the same bits.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from itertools import count
from typing import Any, Protocol, TypeVar

import numpy as np
from distributed import wait
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from . import _shard
from ._shard import ShardMissingError

T = TypeVar("T")

POLL = 1.0  # seconds between two looks at which workers are left
PATIENCE = 60  # seconds to wait for a worker if none is left
SMALL = 1 << 15  # bytes
PLAIN = (int, float, str, tuple, type(None))
MOST_LOSSES = 20  # of one attempt


class WorkersLostError(RuntimeError):
    """Workers were lost, and there are none left to replace them, or they are lost again and again."""


class SchedulerLostError(ConnectionError):
    """Dask's scheduler was lost; a fit with a checkpoint resumes on another cluster."""


class _Lost(Exception):
    """A worker with shards is gone."""


LOST = (_Lost, ShardMissingError, KilledWorker, CancelledError, FutureCancelledError, CommClosedError, TimeoutError)


class Source(Protocol):
    """Where shards come from."""

    def create(self, cluster: Cluster, number: int, address: str) -> Any:
        """Return a future of making a shard on a worker."""


class Cluster:
    """The shards of one fit on the workers of a client; closed, it frees their memory."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.key = uuid.uuid4().hex[:12]
        self.losses = 0
        self.source: Source | None = None
        self.shards = 0
        self._places: dict[int, str] = {}
        self._after: list[tuple[str, tuple[Any, ...]]] = []  # calls on every shard that is made
        self._restore: Callable[[int, str], None] | None = None
        self._shared: dict[str, Any] = {}

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._shared.clear()
        with contextlib.suppress(OSError, ValueError, CancelledError):  # the cluster is gone, and the memory with it
            self.client.run(_shard.forget, self.key, on_error="ignore")

    def distribute(self, source: Source, shards: int) -> None:
        """Make the shards."""
        self.source, self.shards = source, shards
        self.attempt(lambda: None)

    def after_making(self, method: str, *args: Any) -> list[Any]:
        """Call a method of every shard, now and whenever one is made again; return the results."""
        results = self.attempt(lambda: self._call_after_making(method, args, range(self.shards)))
        self._after.append((method, args))
        return results

    def _call_after_making(self, method: str, args: tuple[Any, ...], numbers: Sequence[int]) -> list[Any]:
        shared = [self.shared(f"{method} {at}", arg) for at, arg in enumerate(args)]
        return self.results([self.call(number, method, *shared) for number in numbers])

    # Futures

    def call(self, number: int, method: str, *args: Any) -> Any:
        """Return a future of a method of a shard; it runs on the worker of the shard and nowhere else."""
        return self.client.submit(
            _shard.call, self.key, number, self.losses, method, *args, workers=[self._places[number]], pure=False,
            key=f"{method}-{number}-{uuid.uuid4().hex}",
        )  # fmt: skip

    def near(self, number: int, function: Callable[..., Any], *args: Any) -> Any:
        """Return a future of a function, preferably on the worker of a shard."""
        return self.client.submit(
            function, *args, workers=[self._places[number]], allow_other_workers=True, pure=False
        )

    def tree(self, parts: Sequence[Any], root: int = 0) -> Any:
        """Return a future of the sum of futures: the sums of pairs, then of pairs of sums, and so on.

        The order depends on the number of parts alone. Neighbours add theirs first, as they may share a worker; the
        last sum is on the worker of the shard `root`.
        """
        while len(parts) > 1:
            pairs = [parts[at : at + 2] for at in range(0, len(parts), 2)]
            last = len(pairs) == 1
            parts = [
                pair[0] if len(pair) == 1
                else self.near(root, add, *pair) if last else self.client.submit(add, *pair, pure=False)
                for pair in pairs
            ]  # fmt: skip
        return parts[0]

    def share(self, value: Any, address: str | None = None) -> Any:
        """Return a future of a value on every worker, or on one; small values travel with the tasks themselves."""
        small = value.nbytes <= SMALL if isinstance(value, np.ndarray) else isinstance(value, PLAIN)
        if small:
            return value
        if address is not None:
            return self.client.scatter(value, workers=[address], hash=False)
        return self.client.scatter(value, broadcast=True, hash=False)

    def shared(self, name: str, value: Any) -> Any:
        """Return a future of a value on every worker that is kept, and sent again after a loss."""
        if name not in self._shared:
            self._shared[name] = self.share(value)
        return self._shared[name]

    def results(self, futures: Sequence[Any]) -> list[Any]:
        """Return the results, or raise what a task has raised, or that a worker is gone."""
        while True:
            try:
                wait(futures, timeout=POLL)
                break
            except TimeoutError:
                self._check()
        return list(self.client.gather(list(futures)))

    def every(self, method: str, *args: Any) -> list[Any]:
        """Return the results of a method of every shard; part of an attempt."""
        return self.results([self.call(number, method, *args) for number in range(self.shards)])

    def sum(self, method: str, *args: Any) -> Any:
        """Return the sum of the results of a method of every shard, which are large if an argument is."""

        def work() -> Any:
            shared = [self.share(arg) for arg in args]
            futures = [self.call(number, method, *shared) for number in range(self.shards)]
            if any(isinstance(arg, np.ndarray) and arg.nbytes > SMALL for arg in args):
                futures = [self.tree(futures)]
            return total(self.results(futures))

        return self.attempt(work)

    # Losses

    def attempt(self, work: Callable[[], T], restore: Callable[[int, str], None] | None = None) -> T:
        """Do some work on all shards, again if a worker is lost meanwhile.

        Parameters
        ----------
        work : function
            Submits tasks and returns their results. It must not change what it starts from.
        restore : function of a shard's number and the address of its worker, optional
            Called before, for every shard: brings it into the state that the work starts from.
        """
        for losses in count(1):
            try:
                self._complete()
                for number in range(self.shards):
                    if restore is not None:
                        restore(number, self._places[number])
                return work()
            except LOST as error:
                if losses == MOST_LOSSES:
                    raise WorkersLostError(
                        f"workers were lost {losses} times during one step of the fit: raise their memory, or pass "
                        "more shards, and see their logs"
                    ) from error
                self._recover(error)
        raise AssertionError

    def is_new(self, number: int) -> bool:
        """Whether a shard has been made since the last call."""
        new, self._new = number in self._new, self._new - {number}
        return new

    _new: frozenset[int] = frozenset()

    def workers(self) -> dict[str, int]:
        """Return the workers that are there, with their numbers of threads."""
        try:
            return dict(self.client.nthreads())
        except (OSError, ValueError, CancelledError, TimeoutError) as error:
            raise SchedulerLostError(
                "the connection to Dask's scheduler was lost: start the cluster again and call fit with the same "
                "checkpoint folder, to resume from the last one"
            ) from error

    def _complete(self) -> None:
        """Make the shards that no worker holds, on the workers that hold the fewest."""
        missing = [number for number in range(self.shards) if number not in self._places]
        if not missing or self.source is None:
            return
        addresses = sorted(self.workers())
        held = {address: sum(place == address for place in self._places.values()) for address in addresses}
        if len(missing) == self.shards:  # neighbours, whose sums are added first, on one worker
            places = {number: addresses[number * len(addresses) // self.shards] for number in missing}
        else:
            places = {}
            for number in missing:
                places[number] = min(addresses, key=lambda address: held[address])
                held[places[number]] += 1
        self._places |= places
        self._new |= set(missing)
        self.results([self.source.create(self, number, places[number]) for number in missing])
        for method, args in self._after:
            self._call_after_making(method, args, missing)

    def _check(self) -> None:
        alive = self.workers()
        if gone := sorted(set(self._places.values()) - alive.keys()):
            raise _Lost(f"no longer there: {', '.join(gone)}")

    def _recover(self, error: BaseException) -> None:
        """Forget the shards that are gone, and wait until there is a worker."""
        self.losses += 1
        if isinstance(error, ShardMissingError):
            self._new |= {error.args[1]}  # what it had is not certain
        self._shared.clear()
        alive = self.workers()
        if not alive:
            try:
                self.client.wait_for_workers(1, timeout=PATIENCE)
            except TimeoutError:
                raise WorkersLostError(
                    f"all workers were lost, and there has been none for {PATIENCE} seconds: start some, and call fit "
                    "with the same checkpoint folder, to resume from the last one"
                ) from error
            alive = self.workers()
        held = self.client.run(_shard.held, self.key, on_error="ignore")
        self._places = {
            number: address for number, address in self._places.items() if number in (held.get(address) or ())
        }


def add(left: Any, right: Any) -> Any:
    """Return a sum of numbers, of arrays, or of tuples of them."""
    if isinstance(left, tuple):
        return tuple(map(add, left, right))
    return left + right


def total(parts: Sequence[Any]) -> Any:
    """Return a sum in the order of `Cluster.tree`."""
    while len(parts) > 1:
        pairs = [parts[at : at + 2] for at in range(0, len(parts), 2)]
        parts = [add(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]
