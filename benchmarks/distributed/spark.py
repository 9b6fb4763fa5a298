"""Spark's ALS and ours on Dask, on the same files with the same objective, in turn: time until Spark's objective.

    pip install ".[dask]" pyspark pandas
    python -m benchmarks.distributed.spark --interactions 20000000 --users 138000 --items 27000

Both have two threads on this machine, local[2] and two workers of Dask, and read the same Parquet files; the times do
not include starting the JVM or the cluster. The objective, recomputed in float64 for both, is that of Hu, Koren and
Volinsky with ``c = 1 + r`` and a lambda times the number of interactions of a row, as Spark's. Memory is the sum of the
largest resident sets of all processes, ``cpu`` their CPU seconds, which matter on a machine with other work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from alternant import ImplicitALS, kernels

from .measure import plays, write

LAMBDA = 0.01


def objective(rows: sp.csr_array, X: np.ndarray, Y: np.ndarray) -> float:
    """Return the objective, in float64."""
    X, Y, r = X.astype(np.float64), Y.astype(np.float64), rows.data.astype(np.float64)
    n_u, n_i = np.diff(rows.indptr), np.bincount(rows.indices, minlength=rows.shape[1])
    zeros = np.zeros(X.shape[1])
    data = kernels.squared_error(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), r, 1 + r, X, Y, zeros)
    squares = n_u @ (X**2).sum(axis=1) + n_i @ (Y**2).sum(axis=1)
    return float(data + np.sum((X.T @ X) * (Y.T @ Y)) + (1 + r).sum() + LAMBDA * squares)


def used() -> tuple[int, float]:
    """Return the largest resident sets, in bytes, and the CPU seconds of this process and of all below it."""
    children: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        seconds[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    memory, cpu, pending = 0, 0.0, [os.getpid()]
    while pending:
        one = pending.pop()
        pending += children.get(one, [])
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
        except OSError:
            continue
        cpu += seconds.get(one, 0)
        memory += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    return memory, cpu


def by_dask(folder: str, matrix: sp.csr_array, factors: int, iterations: int) -> dict[str, Any]:
    """Fit on two workers."""
    from distributed import Client, LocalCluster

    from alternant.distributed import Parquet, fit

    model = ImplicitALS(
        factors=factors, iterations=iterations, weighting="hu", alpha=1.0, regularization=LAMBDA,
        regularization_scaling="count", random_state=0,
    )  # fmt: skip
    with LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        source = Parquet(folder, user="user", item="item", value="rating")
        start, (_, before) = time.perf_counter(), used()
        fit(model, source, client, shards=4, show_progress=False)
        seconds, (memory, cpu) = time.perf_counter() - start, used()
    X, Y = (np.zeros((n, factors), np.float32) for n in matrix.shape)  # an id may have no interactions
    X[model.user_ids_], Y[model.item_ids_] = model.user_factors, model.item_factors
    history = model.history_
    return {
        "seconds": seconds, "cpu": cpu - before, "memory": memory, "objective": objective(matrix, X, Y),
        "reached": history["objective"], "at": [seconds - history["seconds"][-1] + at for at in history["seconds"]],
    }  # fmt: skip


def by_spark(folder: str, matrix: sp.csr_array, factors: int, iterations: int) -> dict[str, Any]:
    """Fit in a JVM with two threads."""
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]")
    for name, value in {
        "spark.driver.memory": "6g", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
        "spark.ui.showConsoleProgress": "false",
    }.items():  # fmt: skip
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    session.range(1000).count()
    als = ALS(rank=factors, maxIter=iterations, regParam=LAMBDA, implicitPrefs=True, alpha=1.0, userCol="user",
              itemCol="item", ratingCol="rating", seed=0, numUserBlocks=2, numItemBlocks=2)  # fmt: skip
    start, (_, before) = time.perf_counter(), used()
    model = als.fit(session.read.parquet(folder))
    model.userFactors.count(), model.itemFactors.count()
    seconds, (memory, cpu) = time.perf_counter() - start, used()
    X, Y = (np.zeros((n, factors), np.float32) for n in matrix.shape)
    for side, rows in ((X, model.userFactors), (Y, model.itemFactors)):
        table = rows.toArrow()
        side[table["id"].to_numpy()] = np.array(table["features"].to_pylist(), np.float32)
    session.stop()
    return {"seconds": seconds, "cpu": cpu - before, "memory": memory, "objective": objective(matrix, X, Y)}


def main() -> None:
    """Run each in a process of its own, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--interactions", type=int, default=2_000_000)
    parser.add_argument("--users", type=int, default=46_000)
    parser.add_argument("--items", type=int, default=9_000)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=5, help="of Spark; ours may take three more")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", nargs=2, metavar=("WHO", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    matrix = plays(options.interactions, options.users, options.items)
    if options.only:
        who, folder = options.only
        fitted = by_dask if who == "dask" else by_spark
        more = 3 if who == "dask" else 0
        print("RESULT" + json.dumps(fitted(folder, matrix, options.factors, options.iterations + more)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(matrix, Path(folder))
        for _ in range(options.repeats):
            found = {}
            for who in ("dask", "spark"):
                command = [sys.executable, "-m", "benchmarks.distributed.spark", *sys.argv[1:], "--only", who, folder]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
                if not lines:
                    raise SystemExit(done.stderr[-3000:])
                found[who] = json.loads(lines[0][6:]) | {"load": os.getloadavg()[0]}
                print(json.dumps({who: found[who]}), flush=True)
            ours, theirs = found["dask"], found["spark"]
            there = [at for at, reached in zip(ours["at"], ours["reached"], strict=True)
                     if reached <= theirs["objective"]]  # fmt: skip
            print(json.dumps({"times_as_fast": theirs["seconds"] / there[0] if there else None}), flush=True)


if __name__ == "__main__":
    main()
