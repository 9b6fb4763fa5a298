"""One adapter a library for weighted ALS on implicit feedback; compare_peers.py runs them.

All get r and minimise, where `same_objective` says so, the sum over all pairs of c (p - x . y)^2 with c = 1 + r, plus
lambda times the squares of all factors.
"""

from __future__ import annotations

import functools
import logging
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from peer_runs import Adapter, Problem, Recorder

from alternant import ImplicitALS, kernels
from alternant.evaluation import ranking_metrics


def objective(rows: sp.csr_array, X: np.ndarray, Y: np.ndarray, regularization: float) -> float:
    """Sum over all pairs, in float64."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    r = rows.data.astype(np.float64)
    zeros = np.zeros(X.shape[1])
    data = kernels.squared_error(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), r, 1 + r, X, Y, zeros)
    dense = float(np.sum((X.T @ X) * (Y.T @ Y)))
    return data + dense + (1 + r).sum() + regularization * ((X**2).sum() + (Y**2).sum())


MOST_LISTS = 20_000


def ndcg(problem: Problem, X: np.ndarray, Y: np.ndarray, k: int = 10) -> float:
    """Rank what each user has not interacted with, and look for the held-out interactions.

    Of many users only every so many-th is asked: all lists of all libraries after each iteration would take longer than
    the fits.
    """
    some = slice(None, None, -(-len(X) // MOST_LISTS))
    train, test = problem.train[some], problem.test.tocsr()[some]
    X, Y = (np.ascontiguousarray(side, np.float32) for side in (X[some], Y))
    ids, scores = np.empty((len(X), k), np.int32), np.empty((len(X), k), np.float32)
    seen = train.indptr.astype(np.int64), train.indices.astype(np.int32)
    kernels.top_k(X, Y, k, seen, None, ids, scores, problem.threads)
    return ranking_metrics(ids, test).ndcg


def alternant(solver: str, problem: Problem, recorder: Recorder) -> None:
    """Run ImplicitALS; it limits BLAS itself where both would take the cores."""
    params = {
        "factors": problem.factors, "weighting": "hu", "alpha": 1.0, "regularization": problem.regularization,
        "regularization_scaling": "none", "solver": solver, "iterations": problem.iterations, "warm_start": True,
        "num_threads": problem.threads,
    }  # fmt: skip
    model = ImplicitALS(**{**params, **problem.alternant_options})
    model.user_factors, model.item_factors = (side.copy() for side in problem.start)
    recorder.begin()
    model.fit(
        problem.train, show_progress=False,
        callback=lambda state: recorder.note(state.iteration, lambda: (state.user_factors, state.item_factors)),
    )  # fmt: skip


def implicit(use_cg: bool, problem: Problem, recorder: Recorder) -> None:
    """Run implicit's AlternatingLeastSquares: c is what it is given; 3 steps of conjugate gradients a row.

    It warns unless BLAS is limited to one thread, since its own threads call BLAS.
    """
    from implicit.cpu.als import AlternatingLeastSquares

    rows = sp.csr_matrix(problem.train)
    rows.data = rows.data + 1
    model = AlternatingLeastSquares(
        factors=problem.factors, regularization=problem.regularization, alpha=1.0, iterations=problem.iterations,
        use_cg=use_cg, num_threads=problem.threads,
    )  # fmt: skip
    model.user_factors, model.item_factors = (side.copy() for side in problem.start)

    def note(iteration: int, _seconds: float, _loss: float) -> None:
        recorder.note(iteration + 1, lambda: (model.user_factors, model.item_factors))

    recorder.begin()
    model.fit(rows, show_progress=False, callback=note)


def cmfrec(use_cg: bool, problem: Problem, recorder: Recorder) -> None:
    """Run cmfrec's CMF_implicit: c = 1 + alpha r; 3 steps of conjugate gradients a row.

    Its conjugate gradients (`factors_implicit_cg` in 3.5.1) begin with the residual of weights r + 1 and right side r,
    and go on with weights r: only its Cholesky ends where the others do.

    It takes no start and does not stop between iterations. It sets the threads of BLAS itself: one in its parallel
    loops, its own number outside. Its documentation names the parameters for speed that are set here.
    """
    from cmfrec import CMF_implicit

    entries = problem.train.tocoo()
    entries = sp.coo_matrix((entries.data, (entries.row, entries.col)), shape=entries.shape)

    def fit(iterations: int) -> Any:
        model = CMF_implicit(
            k=problem.factors, lambda_=problem.regularization, alpha=1.0, niter=iterations, use_cg=use_cg,
            finalize_chol=False, use_float=True, precompute_for_predictions=False, random_state=1,
            nthreads=problem.threads,
        ).fit(entries)  # fmt: skip
        return lambda: (model.A_, model.B_)

    recorder.refit(min(problem.iterations, problem.refits), fit)


def irspack(solver: str, problem: Problem, recorder: Recorder) -> None:
    """Run irspack's iALS with the original loss: c = alpha0 + r; nu = 0 leaves lambda as it is.

    It has its own threads and calls no BLAS. Conjugate gradients take 3 steps a row.
    """
    from irspack.recommenders.ials import IALSTrainer, LossType, SolverType

    rows = sp.csr_matrix(problem.train)
    recorder.begin()
    trainer = IALSTrainer(
        rows, n_components=problem.factors, alpha0=1.0, reg=problem.regularization, nu=0.0, init_std=0.1,
        solver_type=getattr(SolverType, solver), max_cg_steps=3, ialspp_subspace_dimension=64,
        loss_type=LossType.ORIGINAL, random_seed=0, n_threads=problem.threads, prediction_time_max_cg_steps=5,
        prediction_time_ialspp_iteration=7,
    )  # fmt: skip
    core = trainer.core_trainer
    core.user, core.item = (side.copy() for side in problem.start)
    for iteration in range(1, problem.iterations + 1):
        trainer.run_epoch()
        recorder.note(iteration, lambda: (core.user, core.item))


def lenskit_data(ratings: sp.coo_array) -> Any:
    """Wrap ratings whose ids are row numbers already."""
    import pandas as pd
    from lenskit.data import from_interactions_df

    logging.getLogger("lenskit").setLevel(logging.ERROR)
    frame = pd.DataFrame({"user_id": ratings.row, "item_id": ratings.col, "rating": ratings.data})
    return from_interactions_df(frame, users=np.arange(ratings.shape[0]), items=np.arange(ratings.shape[1]))


def lenskit_threads(threads: int) -> None:
    """Set LensKit's threads, once a process; its own threads call no BLAS, so that BLAS may have as many."""
    from lenskit.parallel import initialize
    from lenskit.parallel.config import get_parallel_config

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        initialize(threads=threads, backend_threads=threads)
    if get_parallel_config().threads != threads:
        raise RuntimeError(f"LensKit can't change its threads from {get_parallel_config().threads} any more")


def lenskit(problem: Problem, recorder: Recorder) -> None:
    """Run LensKit's ImplicitMFScorer: c = 1 + weight r; each row is solved by Cholesky."""
    from lenskit.als import ImplicitMFScorer
    from lenskit.training import TrainingOptions

    lenskit_threads(problem.threads)
    data = lenskit_data(problem.train.tocoo())
    scorer = ImplicitMFScorer(
        embedding_size=problem.factors, epochs=problem.iterations, regularization=problem.regularization, weight=1.0,
        use_ratings=True,
    )  # fmt: skip
    recorder.begin()
    trainer = scorer.create_trainer(data, TrainingOptions(rng=0))
    users, items = (side.copy() for side in problem.start)
    trainer.load_parameters({"user_embeddings": users, "item_embeddings": items})
    for iteration in range(1, problem.iterations + 1):
        trainer.train_epoch()
        recorder.note(iteration, lambda: (scorer.user_embeddings, scorer.item_embeddings))


def lightfm(problem: Problem, recorder: Recorder) -> None:
    """Run LightFM with the loss WARP, on which interactions there are: another objective. It calls no BLAS."""
    from lightfm import LightFM

    entries = sp.coo_matrix(problem.train)
    entries.data = np.ones_like(entries.data)
    model = LightFM(no_components=problem.factors, loss="warp", random_state=0)

    def learned() -> tuple[np.ndarray, np.ndarray]:
        ones = np.ones(len(model.user_embeddings), np.float32)
        users = np.column_stack([model.user_embeddings, ones])
        return users, np.column_stack([model.item_embeddings, model.item_biases])

    recorder.begin()
    for iteration in range(1, problem.iterations + 1):
        model.fit_partial(entries, epochs=1, num_threads=problem.threads)
        recorder.note(iteration, learned)


@functools.cache
def spark_session(threads: int) -> Any:
    """Start Spark in a JVM of this machine."""
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
def _spark_folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()


def spark_als(problem: Problem, recorder: Recorder, learned: Any, last: int, **params: Any) -> None:
    """Fit Spark's ALS with more and more iterations; `learned` maps the model to what is evaluated.

    The JVM is up and the ratings are in Spark's memory before the clock starts. Spark calls BLAS in the JVM, through
    its own Java implementation unless a native one is installed.
    """
    import pandas as pd
    from pyspark.ml.recommendation import ALS

    session = spark_session(problem.threads)
    entries = problem.train.tocoo()
    path = Path(_spark_folder().name) / "ratings.parquet"  # quicker than handing a frame over
    frame = {"user": entries.row.astype(np.int32), "item": entries.col.astype(np.int32), "rating": entries.data}
    pd.DataFrame(frame).to_parquet(path)
    ratings = session.read.parquet(str(path)).repartition(problem.threads).cache()
    ratings.count()

    def fit(iterations: int) -> Any:
        als = ALS(
            rank=problem.factors, maxIter=iterations, userCol="user", itemCol="item", ratingCol="rating", seed=0,
            numUserBlocks=problem.threads, numItemBlocks=problem.threads, **params,
        )  # fmt: skip
        model = als.fit(ratings)
        return lambda: learned(model)

    recorder.refit(last, fit)
    ratings.unpersist()


def spark_factors(model: Any, shape: tuple[int, int], factors: int) -> list[np.ndarray]:
    """Return Spark's factors as arrays; rows without ratings are 0."""
    sides = []
    for rows, size in zip((model.userFactors, model.itemFactors), shape, strict=True):
        frame = rows.toPandas()
        side = np.zeros((size, factors), np.float32)
        side[frame["id"].to_numpy()] = np.stack(frame["features"].to_numpy())
        sides.append(side)
    return sides


def spark(problem: Problem, recorder: Recorder) -> None:
    """Run Spark's ALS with implicitPrefs: c = 1 + alpha r, but a row's lambda is times its number of interactions."""
    spark_als(
        problem, recorder, lambda model: spark_factors(model, problem.train.shape, problem.factors),
        min(problem.iterations, problem.refits), regParam=problem.regularization, implicitPrefs=True, alpha=1.0,
    )  # fmt: skip


def other_objective(threads: int, adapter: Adapter) -> str | None:
    """Return what is wrong if a library ends elsewhere than ours on a small matrix, with a lambda that matters."""
    if not adapter.same_objective:
        return None
    rng = np.random.default_rng(0)
    train = sp.random_array((300, 200), density=0.1, format="csr", dtype=np.float32, rng=rng)
    train.data[:] = rng.integers(1, 6, train.nnz)
    start = tuple(rng.random((n, 8), dtype=np.float32) * 0.1 for n in train.shape)
    problem = Problem(train, None, start, factors=8, regularization=4.0, iterations=60, refits=60, threads=threads)
    ours, theirs = (
        Recorder(lambda sides: {"objective": objective(train, *map(np.asarray, sides), problem.regularization)})
        for _ in range(2)
    )
    alternant("cholesky", problem, ours)
    adapter.run(problem, theirs)
    least, reached = (min(quality["objective"] for quality in r.quality.values()) for r in (ours, theirs))
    if abs(reached - least) <= 1e-3 * least:
        return None
    return f"does not minimise this objective: it reaches {reached:.6g} on a small matrix, alternant {least:.6g}"


OTHER_LAMBDA = "lambda times a row's interactions"
WEIGHTED = (
    Adapter("alternant", "alternant", "alternant", partial(alternant, "cg")),
    Adapter("alternant Cholesky", "alternant", "alternant", partial(alternant, "cholesky"), defaults=False),
    Adapter("implicit", "implicit", "implicit.cpu.als", partial(implicit, True), blas=1),
    Adapter("implicit Cholesky", "implicit", "implicit.cpu.als", partial(implicit, False), blas=1, defaults=False),
    Adapter(
        "cmfrec", "cmfrec", "cmfrec", partial(cmfrec, True), same_objective=False, same_start=False,
        remark="its first residual belongs to other weights than its steps",
    ),
    Adapter("cmfrec Cholesky", "cmfrec", "cmfrec", partial(cmfrec, False), same_start=False, defaults=False),
    Adapter("irspack", "irspack", "irspack.recommenders.ials", partial(irspack, "CG")),
    Adapter("irspack Cholesky", "irspack", "irspack.recommenders.ials", partial(irspack, "CHOLESKY"), defaults=False),
    Adapter("LensKit Cholesky", "lenskit", "lenskit.als", lenskit),
    Adapter(
        "Spark ALS", "pyspark", "pyspark.ml.recommendation", spark, same_objective=False, same_start=False,
        remark=OTHER_LAMBDA,
    ),
    Adapter("LightFM", "lightfm", "lightfm", lightfm, same_objective=False, same_start=False, remark="WARP"),
)  # fmt: skip
