"""LensKit, whose own threads do not call BLAS, so that BLAS may have as many."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import Library, Observer, Problem

if TYPE_CHECKING:
    import scipy.sparse as sp


class LensKit(Library):
    """ImplicitMFScorer, which solves each row by Cholesky, and BiasedMFScorer."""

    name = "LensKit"
    package = "lenskit"
    module = "lenskit.als"
    rating_iterations = 10

    def fit_weighted(self, problem: Problem, observer: Observer, solver: str = "cholesky") -> None:  # noqa: ARG002
        """Run ImplicitMFScorer: c = 1 + weight r."""
        self.fit_als(problem, observer, regularization=problem.regularization, weight=1.0)

    def fit_als(self, problem: Problem, observer: Observer, **params: Any) -> tuple[np.ndarray, np.ndarray]:
        """Run ImplicitMFScorer."""
        from lenskit.als import ImplicitMFScorer
        from lenskit.training import TrainingOptions

        _set_threads(problem.threads)
        data = _dataset(problem.train.tocoo())
        scorer = ImplicitMFScorer(embedding_size=problem.factors, epochs=problem.iterations, use_ratings=True, **params)
        observer.begin()
        trainer = scorer.create_trainer(data, TrainingOptions(rng=0))
        if problem.start is not None:
            users, items = (side.copy() for side in problem.start)
            trainer.load_parameters({"user_embeddings": users, "item_embeddings": items})

        def learned() -> tuple[np.ndarray, np.ndarray]:
            return np.asarray(scorer.user_embeddings), np.asarray(scorer.item_embeddings)

        for iteration in range(1, problem.iterations + 1):
            trainer.train_epoch()
            if observer.note(iteration, learned):
                break
        return learned()

    def fit_ratings(self, problem: Problem, observer: Observer) -> None:
        """Run BiasedMFScorer: ALS on the residuals of its biases."""
        from lenskit.als import BiasedMFScorer
        from lenskit.training import TrainingOptions

        _set_threads(problem.threads)
        data = _dataset(problem.train.tocoo())
        scorer = BiasedMFScorer(embedding_size=problem.factors, epochs=problem.iterations)

        def learned() -> np.ndarray:
            users, items, bias = problem.test.row, problem.test.col, scorer.bias
            dots = np.einsum("jf,jf->j", scorer.user_embeddings[users], scorer.item_embeddings[items])
            return bias.global_bias + bias.user_biases[users] + bias.item_biases[items] + dots

        observer.begin()
        trainer = scorer.create_trainer(data, TrainingOptions(rng=0))
        for iteration in range(1, problem.iterations + 1):
            trainer.train_epoch()
            if observer.note(iteration, learned):
                break


def _dataset(ratings: sp.coo_array) -> Any:
    """Wrap ratings whose ids are already row numbers."""
    import pandas as pd
    from lenskit.data import from_interactions_df

    logging.getLogger("lenskit").setLevel(logging.ERROR)
    frame = pd.DataFrame({"user_id": ratings.row, "item_id": ratings.col, "rating": ratings.data})
    return from_interactions_df(frame, users=np.arange(ratings.shape[0]), items=np.arange(ratings.shape[1]))


def _set_threads(threads: int) -> None:
    """Set the number of threads, which is possible only once per process."""
    from lenskit.parallel import initialize
    from lenskit.parallel.config import get_parallel_config

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        initialize(threads=threads, backend_threads=threads)
    if get_parallel_config().threads != threads:
        raise RuntimeError(f"LensKit can't change its threads from {get_parallel_config().threads} any more")
