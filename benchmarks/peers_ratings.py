"""One adapter a library for explicit ratings; compare_peers.py runs them.

Each library has its defaults but for the number of factors and of threads: the objectives differ, the error on held-out
ratings is what they are compared by.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from peer_runs import Adapter, Problem, Recorder
from peers_als import lenskit_data, lenskit_threads, spark_als, spark_factors
from peers_sgd import cornac_data, cornac_mf, cornac_predict, surprise_predict, surprise_trainset

from alternant import BiasedMF, ExplicitALS


def alternant(kind: str, problem: Problem, recorder: Recorder) -> None:
    """Run ExplicitALS or BiasedMF."""
    model_class, length = {"als": (ExplicitALS, "iterations"), "sgd": (BiasedMF, "epochs")}[kind]
    params = {length: problem.iterations, "factors": problem.factors, "num_threads": problem.threads, "random_state": 0}
    model = model_class(**{**params, **problem.alternant_options})

    def note(state: Any) -> None:
        recorder.note(state.iteration, lambda: state.lesson.score(
            state.user_factors, state.item_factors, problem.test.row, problem.test.col, **state.state
        ))  # fmt: skip

    recorder.begin()
    model.fit(problem.train, callback=note, show_progress=False)


def cmfrec(problem: Problem, recorder: Recorder) -> None:
    """Run cmfrec's CMF: alternating least squares by conjugate gradients, the last iteration by Cholesky.

    It does not stop between iterations. It sets the threads of BLAS itself.
    """
    from cmfrec import CMF

    entries = problem.train.tocoo()
    entries = sp.coo_matrix((entries.data, (entries.row, entries.col)), shape=entries.shape)

    def fit(iterations: int) -> Any:
        model = CMF(
            k=problem.factors, niter=iterations, precompute_for_predictions=False, nthreads=problem.threads
        ).fit(entries)  # fmt: skip
        return lambda: model.predict(problem.test.row, problem.test.col)

    recorder.refit(min(problem.iterations, CMFREC), fit)


def surprise(problem: Problem, recorder: Recorder) -> None:
    """Run Surprise's SVD: one thread. It does not stop between epochs."""
    from surprise import SVD

    trainset = surprise_trainset(problem.train.tocoo())

    def fit(epochs: int) -> Any:
        model = SVD(n_factors=problem.factors, n_epochs=epochs, random_state=0).fit(trainset)
        return lambda: surprise_predict(model, problem.test.row, problem.test.col)

    recorder.refit(min(problem.iterations, SGD), fit)


def cornac(problem: Problem, recorder: Recorder) -> None:
    """Run cornac's MF, on ratings in a random order: sorted by user it learns less. It does not stop between epochs."""
    entries = problem.train.tocoo()
    order = np.random.default_rng(0).permutation(entries.nnz)
    entries = sp.coo_array((entries.data[order], (entries.row[order], entries.col[order])), shape=entries.shape)
    data = cornac_data(entries)

    def fit(epochs: int) -> Any:
        model = cornac_mf(data, threads=problem.threads, seed=0, k=problem.factors, max_iter=epochs)[0]
        return lambda: cornac_predict(model, problem.test.row, problem.test.col)

    recorder.refit(min(problem.iterations, SGD), fit)


def lenskit(problem: Problem, recorder: Recorder) -> None:
    """Run LensKit's BiasedMFScorer: alternating least squares on what its biases leave."""
    from lenskit.als import BiasedMFScorer
    from lenskit.training import TrainingOptions

    lenskit_threads(problem.threads)
    data = lenskit_data(problem.train.tocoo())
    scorer = BiasedMFScorer(embedding_size=problem.factors, epochs=problem.iterations)

    def learned() -> np.ndarray:
        users, items, bias = problem.test.row, problem.test.col, scorer.bias
        dots = np.einsum("jf,jf->j", scorer.user_embeddings[users], scorer.item_embeddings[items])
        return bias.global_bias + bias.user_biases[users] + bias.item_biases[items] + dots

    recorder.begin()
    trainer = scorer.create_trainer(data, TrainingOptions(rng=0))
    for iteration in range(1, problem.iterations + 1):
        trainer.train_epoch()
        recorder.note(iteration, learned)


def spark(problem: Problem, recorder: Recorder) -> None:
    """Run Spark's ALS, which has no biases."""

    def learned(model: Any) -> np.ndarray:
        users, items = spark_factors(model, problem.train.shape, problem.factors)
        return np.einsum("jf,jf->j", users[problem.test.row], items[problem.test.col])

    spark_als(problem, recorder, learned, min(problem.iterations, SPARK))


ALS, BIASED_MF = 15, 30  # the defaults of iterations or epochs: alternant's
CMFREC, LENSKIT, SPARK, SGD = 10, 10, 10, 20  # and the peers', SGD for both Surprise and cornac

RATINGS = tuple(
    Adapter(name, package, module, run, iterations, same_objective=False, same_start=False)
    for name, package, module, run, iterations in (
        ("alternant ExplicitALS", "alternant", "alternant", partial(alternant, "als"), ALS),
        ("alternant BiasedMF", "alternant", "alternant", partial(alternant, "sgd"), BIASED_MF),
        ("cmfrec CMF", "cmfrec", "cmfrec", cmfrec, CMFREC),
        ("Surprise SVD", "scikit-surprise", "surprise", surprise, SGD),
        ("cornac MF", "cornac", "cornac.models", cornac, SGD),
        ("LensKit BiasedMF", "lenskit", "lenskit.als", lenskit, LENSKIT),
        ("Spark ALS", "pyspark", "pyspark.ml.recommendation", spark, SPARK),
    )
)
