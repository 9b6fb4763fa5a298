"""Spark, in a JVM on this machine; its BLAS is a Java implementation unless a native one is installed."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import Library, Observer, Problem

if TYPE_CHECKING:
    from collections.abc import Callable


class Spark(Library):
    """Its ALS multiplies a row's lambda by its number of interactions, and has no biases."""

    name = "Spark ALS"
    package = "pyspark"
    module = "pyspark.ml.recommendation"
    rating_iterations = 10

    def fit_weighted(self, problem: Problem, observer: Observer, solver: str = "cholesky") -> None:  # noqa: ARG002
        """Run ALS with implicitPrefs: c = 1 + alpha r."""
        _fit(
            problem, observer, lambda model: _factors(model, problem), min(problem.iterations, problem.refits),
            regParam=problem.regularization, implicitPrefs=True, alpha=1.0,
        )  # fmt: skip

    def fit_ratings(self, problem: Problem, observer: Observer) -> None:
        """Run ALS."""

        def predictions(model: Any) -> np.ndarray:
            users, items = _factors(model, problem)
            return np.einsum("jf,jf->j", users[problem.test.row], items[problem.test.col])

        _fit(problem, observer, predictions, min(problem.iterations, self.rating_iterations))


def _fit(problem: Problem, observer: Observer, learned: Callable[[Any], Any], last: int, **params: Any) -> None:
    """Fit with increasing numbers of iterations; before timing, the JVM is up and the ratings are in its memory."""
    import pandas as pd
    from pyspark.ml.recommendation import ALS

    session = _session(problem.threads)
    entries = problem.train.tocoo()
    path = Path(_folder().name) / "ratings.parquet"  # faster than passing a frame
    frame = {"user": entries.row.astype(np.int32), "item": entries.col.astype(np.int32), "rating": entries.data}
    pd.DataFrame(frame).to_parquet(path)
    ratings = session.read.parquet(str(path)).repartition(problem.threads).cache()
    ratings.count()

    def fit(iterations: int) -> Callable[[], Any]:
        als = ALS(
            rank=problem.factors, maxIter=iterations, userCol="user", itemCol="item", ratingCol="rating", seed=0,
            numUserBlocks=problem.threads, numItemBlocks=problem.threads, **params,
        )  # fmt: skip
        model = als.fit(ratings)
        return lambda: learned(model)

    observer.refit(last, fit)
    ratings.unpersist()


def _factors(model: Any, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors as arrays; rows without ratings are 0."""
    users, items = (np.zeros((size, problem.factors), np.float32) for size in problem.train.shape)
    for side, rows in ((users, model.userFactors), (items, model.itemFactors)):
        frame = rows.toPandas()
        side[frame["id"].to_numpy()] = np.stack(frame["features"].to_numpy())
    return users, items


@functools.cache
def _session(threads: int) -> Any:
    from pyspark.sql import SparkSession

    settings = {
        "spark.driver.memory": "8g", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": str(threads), "spark.default.parallelism": str(threads),
    }  # fmt: skip
    builder = SparkSession.builder.master(f"local[{threads}]").appName("alternant-benchmark")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()
