"""alternant itself, through its public interface."""

from __future__ import annotations

import time
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from alternant import BPR, BiasedMF, ExplicitALS, ImplicitALS, LogisticMF, kernels

from .base import Library, Observer, PairwiseFit, Problem, SGDFit, Steps

if TYPE_CHECKING:
    import scipy.sparse as sp


class Alternant(Library):
    """It limits BLAS itself where both would compete for the cores."""

    name = package = module = "alternant"
    rating_iterations = 15

    def fit_weighted(self, problem: Problem, observer: Observer, solver: str = "cg") -> None:
        """Run ImplicitALS."""
        params = {
            "weighting": "hu", "alpha": 1.0, "regularization": problem.regularization,
            "regularization_scaling": "none", "solver": solver,
        }  # fmt: skip
        self.fit_als(problem, observer, **{**params, **problem.alternant_options})

    def fit_als(self, problem: Problem, observer: Observer, **params: Any) -> tuple[np.ndarray, np.ndarray]:
        """Run ImplicitALS."""
        common = {"factors": problem.factors, "iterations": problem.iterations, "num_threads": problem.threads}
        model = ImplicitALS(**{**common, "random_state": 0, "warm_start": problem.start is not None, **params})
        if problem.start is not None:
            model.user_factors, model.item_factors = (side.copy() for side in problem.start)
        observer.begin()
        model.fit(
            problem.train, show_progress=False,
            callback=lambda now: observer.note(now.iteration, lambda: (now.user_factors, now.item_factors)),
        )  # fmt: skip
        return model.user_factors, model.item_factors

    def fit_ratings(self, problem: Problem, observer: Observer) -> None:
        """Run ExplicitALS."""
        self._fit_ratings(ExplicitALS, "iterations", problem, observer)

    def fit_biased(self, problem: Problem, observer: Observer) -> None:
        """Run BiasedMF."""
        self._fit_ratings(BiasedMF, "epochs", problem, observer)

    def _fit_ratings(self, cls: type, length: str, problem: Problem, observer: Observer) -> None:
        common = {"factors": problem.factors, "num_threads": problem.threads, "random_state": 0}
        common |= problem.alternant_options
        predictor = cls(**{**common, length: 1}).fit(problem.train, show_progress=False)

        def note(now: Any) -> bool:
            def predictions() -> np.ndarray:
                learned = {"user_factors": now.user_factors, "item_factors": now.item_factors, **now.state}
                for name, value in learned.items():
                    setattr(predictor, name, value)
                return predictor.predict(problem.test.row, problem.test.col)

            return observer.note(now.iteration, predictions)

        model = cls(**{length: problem.iterations, **common})
        observer.begin()
        model.fit(problem.train, callback=note, show_progress=False)

    def fit_sgd(self, ratings: sp.coo_array, steps: Steps) -> SGDFit:
        """Run BiasedMF; its steps are those for ratings with a standard deviation of 1."""
        model = BiasedMF(
            factors=steps.factors, epochs=steps.epochs, num_threads=steps.threads, learning_rate=steps.learning_rate,
            learning_rate_decay=1.0, regularization=steps.regularization, bias_regularization=steps.regularization,
            init_scale=0.01 * np.sqrt(steps.factors), random_state=0,
        )  # fmt: skip
        start = time.perf_counter()
        model.fit(ratings, show_progress=False)
        seconds = time.perf_counter() - start
        return SGDFit(seconds, median(b - a for a, b in pairwise(model.history_["seconds"])), model.predict)

    def fit_pairwise(self, train: sp.csr_array, steps: Steps, **params: Any) -> PairwiseFit:
        """Run BPR with one negative for each interaction, from the peers' distribution of factors."""
        model = BPR(
            factors=steps.factors, epochs=steps.epochs, num_threads=steps.threads, learning_rate=steps.learning_rate,
            learning_rate_decay=1.0, regularization=steps.regularization, bias_regularization=steps.regularization,
            optimizer="sgd", max_sampled=1, random_state=0, init_scale=1 / np.sqrt(12 * steps.factors), **params,
        )  # fmt: skip
        model.fit(train, show_progress=False)
        epoch = median(b - a for a, b in pairwise(model.history_["seconds"]))
        return PairwiseFit(epoch, (model.user_factors, model.item_factors))

    def fit_logistic(self, train: sp.csr_array, users: np.ndarray, threads: int) -> np.ndarray:
        """Run LogisticMF."""
        model = LogisticMF(random_state=0, num_threads=threads).fit(train, show_progress=False)
        return model.recommend(users, k=10)[0]

    def ranker(self, X: np.ndarray, Y: np.ndarray, k: int, threads: int) -> Any:
        """Call the kernel; the result is lists and scores."""
        ids, scores = np.empty((len(X), k), np.int32), np.empty((len(X), k), X.dtype)

        def rank(seen: sp.csr_matrix | None) -> tuple[np.ndarray, np.ndarray]:
            exclude = None if seen is None else (seen.indptr.astype(np.int64), seen.indices.astype(np.int32))
            kernels.top_k(X, Y, k, exclude, None, ids, scores, threads)
            return ids, scores

        return rank
