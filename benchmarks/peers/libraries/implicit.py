"""The library implicit, whose own threads call BLAS, so that it asks its users to limit that to one thread."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from .base import Library, Observer, PairwiseFit, Problem, Steps

if TYPE_CHECKING:
    from collections.abc import Callable


class _Stopped(Exception):
    """Ends a fit that can't be ended in another way."""


class Implicit(Library):
    """AlternatingLeastSquares (3 steps of conjugate gradients per row, or Cholesky), LogisticMatrixFactorization."""

    name = package = "implicit"
    module = "implicit.cpu.als"
    blas = 1

    def fit_weighted(self, problem: Problem, observer: Observer, solver: str = "cg") -> None:
        """Run AlternatingLeastSquares, whose input values are the confidences."""
        rows = problem.train.copy()
        rows.data = rows.data + 1
        params = {"regularization": problem.regularization, "alpha": 1.0, "use_cg": solver == "cg"}
        self.fit_als(replace(problem, train=rows), observer, **params)

    def fit_als(self, problem: Problem, observer: Observer, **params: Any) -> tuple[np.ndarray, np.ndarray]:
        """Run AlternatingLeastSquares."""
        from implicit.cpu.als import AlternatingLeastSquares

        rows = sp.csr_matrix(problem.train)
        model = AlternatingLeastSquares(
            factors=problem.factors, iterations=problem.iterations, num_threads=problem.threads, random_state=0,
            **params,
        )  # fmt: skip
        if problem.start is not None:
            model.user_factors, model.item_factors = (side.copy() for side in problem.start)

        def note(iteration: int, _seconds: float, _loss: float) -> None:
            if observer.note(iteration + 1, lambda: (model.user_factors, model.item_factors)):
                raise _Stopped

        with self.limited(problem.threads), contextlib.suppress(_Stopped):
            observer.begin()
            model.fit(rows, show_progress=False, callback=note)
        return model.user_factors, model.item_factors

    def fit_pairwise(self, train: sp.csr_array, steps: Steps, **params: Any) -> PairwiseFit:
        """Run BayesianPersonalizedRanking, whose negatives are as frequent as their interactions."""
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        model = BayesianPersonalizedRanking(
            factors=steps.factors, iterations=steps.epochs, num_threads=steps.threads, random_state=0,
            learning_rate=steps.learning_rate, regularization=steps.regularization, **params,
        )  # fmt: skip
        epochs: list[float] = []
        rows = sp.csr_matrix(train).astype(np.float32)
        model.fit(rows, show_progress=False, callback=lambda _epoch, seconds, *_: epochs.append(seconds))
        return PairwiseFit(median(epochs[1:]), (model.user_factors, model.item_factors))

    def fit_logistic(self, train: sp.csr_array, users: np.ndarray, threads: int) -> np.ndarray:
        """Run LogisticMatrixFactorization."""
        from implicit.cpu.lmf import LogisticMatrixFactorization

        rows = sp.csr_matrix(train).astype(np.float32)
        model = LogisticMatrixFactorization(random_state=0, num_threads=threads)
        model.fit(rows, show_progress=False)
        return model.recommend(users, rows[users], N=10)[0]

    def ranker(self, X: np.ndarray, Y: np.ndarray, k: int, threads: int) -> Callable[[sp.csr_matrix | None], Any]:
        """Run `recommend`."""
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(factors=X.shape[1], num_threads=threads)
        model.user_factors, model.item_factors = X, Y
        users, nothing = np.arange(len(X)), sp.csr_matrix((len(X), len(Y)), dtype=np.float32)

        def rank(seen: sp.csr_matrix | None) -> Any:
            with self.limited(threads):
                liked = nothing if seen is None else seen
                return model.recommend(users, liked, N=k, filter_already_liked_items=seen is not None)

        return rank
