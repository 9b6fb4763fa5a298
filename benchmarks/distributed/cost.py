"""What an iteration of `alternant.distributed.fit` costs: the formula of docs/distributed.md.

    python -m benchmarks.distributed.cost

Without arguments, it prints what large fits would take.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Machine:
    """One of W equal workers, and the scheduler.

    Attributes
    ----------
    user_entry, item_entry : float
        Seconds for an interaction in the users' half-sweep, and in one product of the items', of the whole worker.
    number : float
        Seconds for a number of the items' vectors in a step of conjugate gradients.
    bandwidth : float
        Bytes a second from the memory of one worker to that of another.
    task : float
        Seconds for a task of the scheduler.
    answer : float
        Seconds until the driver knows that a round of tasks has ended, besides their own time.
    delay : float
        Seconds that a message is on its way, one-way.
    """

    user_entry: float
    item_entry: float
    number: float
    bandwidth: float
    task: float
    answer: float
    delay: float = 0.0


@dataclass(frozen=True)
class Fit:
    """The size of a fit; `steps` is the mean number of conjugate-gradient steps of an item."""

    users: int
    items: int
    interactions: int
    factors: int
    workers: int
    shards: int
    steps: float
    rounds: int = 4  # steps of the slowest item
    itemsize: int = 4

    @property
    def vector(self) -> float:
        """Bytes of the item factors: n f b."""
        return self.items * self.factors * self.itemsize

    @property
    def blocks(self) -> int:
        """Blocks of items."""
        return int(min(max(1, self.vector // (1 << 21)), 32))

    def bytes(self) -> float:
        """Bytes that all workers and the driver receive in an iteration."""
        W, k = self.workers, self.steps
        # Y to all; x to all, two sums by a tree; each step: directions to all, a sum; the solution to the driver.
        return self.vector * (W + (W + 2 * (W - 1)) + k * ((W - 1) + (W - 1)) + 1)

    def seconds_on_the_network(self, machine: Machine) -> float:
        """Seconds in which the busiest link is busy: trees have log2 W levels, a block is sent by its root."""
        W, k, once = self.workers, self.steps, self.vector / machine.bandwidth
        levels = math.ceil(math.log2(W)) if W > 1 else 0
        fan_out = (W - 1) / min(self.blocks, W)
        return once * ((1 + levels) + (1 + levels + 2 * levels) + k * (fan_out + levels) + 1)

    def seconds_of_compute(self, machine: Machine) -> float:
        """Seconds in the kernels (users, right-hand sides, products) and in the steps of conjugate gradients."""
        own, roots = self.interactions / self.workers, min(self.blocks, self.workers)
        vectors = self.items * self.factors / roots * (1 + self.steps) * machine.number
        return own * (machine.user_entry + (2 + self.steps) * machine.item_entry) + vectors

    def messages(self) -> int:
        """Messages of an iteration that wait for each other, besides those of the answers.

        A task that follows another waits for two, to the scheduler and from it; two more, a request and its answer, if
        what it needs is on another worker.
        """
        W, S = self.workers, self.shards
        levels = math.ceil(math.log2(W)) if W > 1 else 0
        tree = 2 * math.ceil(math.log2(S)) + 2 * levels if S > 1 else 0
        copies = 1  # Dask's broadcast: each copy makes two more
        broadcast = 2
        while copies < W:
            copies, broadcast = 3 * copies, broadcast + 4
        # Y to all, each block of x to all; two sums, the start; each round: directions to all, products, a sum, a step
        return (1 + self.blocks) * broadcast + (2 + tree + 2) + self.rounds * (2 + 4 + tree + 2)

    def tasks(self) -> int:
        """Tasks of an iteration."""
        S = self.shards
        return 2 * S + self.blocks * (2 * S + 2 + self.rounds * (2 * S + 2))

    def seconds(self, machine: Machine) -> float:
        """Seconds of an iteration."""
        scheduled = self.tasks() * machine.task + (self.rounds + 3) * machine.answer
        delayed = self.messages() * machine.delay
        return self.seconds_of_compute(machine) + self.seconds_on_the_network(machine) + scheduled + delayed

    def worker_memory(self) -> float:
        """Bytes of a worker: its interactions in both orders, three copies of its users, three of all items."""
        own = 20 * self.interactions / self.workers + 3 * self.users * self.factors * self.itemsize / self.workers
        return own + 3 * self.vector


def needed_items(items: int, interactions: float, exponent: float = 0.9) -> float:
    """Return the share of all items that a shard has, if their popularity follows Zipf's law."""
    popularity = 1 / np.arange(1, items + 1) ** exponent
    return float((1 - np.exp(-interactions * popularity / popularity.sum())).mean())


def main() -> None:
    """Print what 1e9 to 1e11 interactions take, and how many items a shard needs."""
    # 32 cores, 10 Gbit/s, 0.1 ms
    machine = Machine(user_entry=2e-9, item_entry=1e-9, number=5e-8, bandwidth=1.25e9, task=5e-4, answer=0.02,
                      delay=1e-4)  # fmt: skip
    print(f"{'interactions':>12} {'machines':>8} {'GB sent':>8} {'compute s':>9} {'network s':>9} {'tasks s':>8} "
          f"{'iteration s':>11} {'GB each':>8}")  # fmt: skip
    for interactions, users, items, workers in ((1e9, 2e7, 2e6, 10), (1e10, 1e8, 5e6, 30), (1e11, 1e9, 1e7, 100)):
        fit = Fit(int(users), int(items), int(interactions), 64, workers, workers, steps=2.5)
        parts = fit.seconds_of_compute(machine), fit.seconds_on_the_network(machine), fit.tasks() * machine.task
        print(f"{interactions:12.0e} {workers:8} {fit.bytes() / 1e9:8.0f} {parts[0]:9.1f} {parts[1]:9.1f} "
              f"{parts[2]:8.1f} {fit.seconds(machine):11.1f} {fit.worker_memory() / 1e9:8.1f}")  # fmt: skip
    for interactions in (1e7, 1e8, 1e9):
        share = needed_items(10_000_000, interactions)
        print(f"a shard of {interactions:.0e} interactions has {share:.0%} of 10 million items")


if __name__ == "__main__":
    main()
