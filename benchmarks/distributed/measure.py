"""Time fits on a cluster and compare them with the formula of `cost`, whose constants are measured just before.

    python -m benchmarks.distributed.measure --workers 2 --shards 4 --interactions 2000000
    python -m benchmarks.distributed.measure --scheduler tcp://10.9.0.1:8786 --bandwidth 1.25e8 ...

Prints a line of JSON for each fit. Without a scheduler, it starts a cluster of processes on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from alternant import ImplicitALS
from alternant.distributed import Parquet, fit

from ..common import shapes
from .calibrate import kernel_times
from .cost import Fit, Machine


def plays(interactions: int, users: int, items: int) -> sp.csr_array:
    """Return random interactions with the shape of ml20m, scaled."""
    shapes.SHAPES["scaled"] = users, items, interactions
    return shapes.shaped("scaled")


def write(matrix: sp.csr_array, folder: Path, files: int = 8) -> None:
    """Write Parquet files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    entries = matrix.tocoo()
    for number, rows in enumerate(np.array_split(np.random.default_rng(0).permutation(matrix.nnz), files)):
        columns = {"user": entries.row[rows], "item": entries.col[rows], "rating": entries.data[rows]}
        pq.write_table(pa.table(columns), folder / f"part-{number:02}.parquet")


def scheduler_times(client: Any, tasks: int = 300) -> tuple[float, float]:
    """Return seconds for a small task among many, and for the answer of a single one."""
    client.gather(client.map(abs, range(50), pure=False))
    start = time.perf_counter()
    client.gather([client.submit(abs, number, pure=False) for number in range(tasks)])
    many = (time.perf_counter() - start) / tasks
    start = time.perf_counter()
    for number in range(20):
        client.submit(abs, number, pure=False).result()
    return many, (time.perf_counter() - start) / 20


def bandwidth(client: Any, answer: float, delay: float) -> float:
    """Return bytes a second from one worker to the next, for arrays as large as a block; the median of five.

    Over a connection that is there already, as in a fit. The delay of the request and of the array is left out, but
    what TCP waits for until it sends at full rate is not.
    """
    addresses, times = sorted(client.nthreads()), []
    for number in range(5):
        here, there = addresses[number % len(addresses)], addresses[(number + 1) % len(addresses)]
        for _ in ("connects", "counts"):
            made = client.submit(np.zeros, 1 << 18, workers=[here], pure=False)
            client.submit(len, made, workers=[here], pure=False).result()
            start = time.perf_counter()
            client.submit(len, made, workers=[there], pure=False).result()
            seconds = time.perf_counter() - start
        times.append(max(seconds - answer - 2 * delay, 1e-6))
    return (1 << 21) / float(np.median(times))


def received(interfaces: list[str]) -> np.ndarray:
    """Return the bytes and the packets that workers have received through their interfaces."""
    sums = np.zeros(2, np.int64)
    for name in interfaces:
        process, _, interface = name.rpartition("/")
        for line in Path(f"/proc/{process or 'self'}/net/dev").read_text().splitlines()[2:]:
            found, _, numbers = line.partition(":")
            if found.strip() == interface:
                sums += np.array(numbers.split()[:2], np.int64)
    return sums


@contextlib.contextmanager
def connected(options: argparse.Namespace) -> Iterator[Any]:
    """Yield a client."""
    from distributed import Client, LocalCluster

    if options.scheduler:
        with Client(options.scheduler) as client:
            client.wait_for_workers(options.workers, timeout=120)
            yield client
    else:
        local = LocalCluster(options.workers, threads_per_worker=1, dashboard_address=":0")
        with local as cluster, Client(cluster) as client:
            yield client


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scheduler")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--interactions", type=int, default=2_000_000)
    parser.add_argument("--users", type=int, default=46_000)
    parser.add_argument("--items", type=int, default=9_000)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--bandwidth", type=float, default=1e9, help="bytes a second of a link; loopback by default")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds from one worker to another, one-way")
    parser.add_argument("--network", nargs="*", default=["lo"],
                        help="interfaces whose received bytes are counted: lo, or eth0 of process 123 as 123/eth0")
    options = parser.parse_args()
    matrix = plays(options.interactions, options.users, options.items)
    with tempfile.TemporaryDirectory() as folder, connected(options) as client:
        write(matrix, Path(folder))
        source = Parquet(folder, user="user", item="item", value="rating")
        for _ in range(options.repeats):
            for least in (0.0, 1.0):  # first what they import, so that then all are busy at the same time
                timed = [client.submit(kernel_times, options.factors, threads, least, workers=[address], pure=False)
                         for address, threads in client.nthreads().items()]  # fmt: skip
                per_entry = np.array(client.gather(timed)).mean(axis=0)
            task, answer = scheduler_times(client)
            rate = min(options.bandwidth, bandwidth(client, answer, options.delay))
            machine = Machine(*per_entry, rate, task, answer, options.delay)
            model = ImplicitALS(factors=options.factors, iterations=options.iterations, random_state=0)
            before, start = received(options.network), time.perf_counter()
            fit(model, source, client, shards=options.shards, show_progress=False)
            whole, sent = time.perf_counter() - start, received(options.network) - before
            seconds = np.diff(model.history_["seconds"])
            steps = float(np.mean(model.history_["item_cg_steps"]))
            size = Fit(*matrix.shape, matrix.nnz, options.factors, options.workers, options.shards, steps,
                       rounds=int(steps) + 1)  # fmt: skip
            print(json.dumps({
                "workers": options.workers, "shards": options.shards, "interactions": matrix.nnz,
                "factors": options.factors, "iteration": float(np.median(seconds)),
                "predicted": size.seconds(machine), "compute": size.seconds_of_compute(machine),
                "network": size.seconds_on_the_network(machine), "delayed": size.messages() * options.delay,
                "messages": size.messages(), "tasks": size.tasks(), "task": task,
                "answer": answer, "user_entry": per_entry[0], "item_entry": per_entry[1],
                "number": per_entry[2], "bandwidth": machine.bandwidth, "steps": steps,
                "whole": whole, "received": int(sent[0]), "packets": int(sent[1]),
                "predicted_bytes": size.bytes() * options.iterations,
                "iterations": seconds.tolist(), "load": os.getloadavg()[0],
            }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
