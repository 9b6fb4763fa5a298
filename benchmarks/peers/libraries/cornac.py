"""cornac's MF and BPR: gradient descent on the ratings in the given order, and on random triples."""

from __future__ import annotations

import time
from collections import OrderedDict
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from .base import Library, Observer, PairwiseFit, Problem, SGDFit, Steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from cornac.data import Dataset


class Cornac(Library):
    """It does not stop between epochs. An epoch is one pass over the ratings, which its threads share without locks."""

    name = package = "cornac"
    module = "cornac.models"
    rating_iterations = 20

    def fit_ratings(self, problem: Problem, observer: Observer) -> None:
        """Run MF on ratings in a random order: if they are sorted by user, it learns less."""
        from cornac.models import MF

        entries = problem.train.tocoo()
        order = np.random.default_rng(0).permutation(entries.nnz)
        entries = sp.coo_array((entries.data[order], (entries.row[order], entries.col[order])), shape=entries.shape)
        data = _dataset(entries)

        def fit(epochs: int) -> Callable[[], np.ndarray]:
            model = MF(k=problem.factors, max_iter=epochs, num_threads=problem.threads, seed=0, verbose=False)
            model.fit(data)
            return lambda: _predict(model, problem.test.row, problem.test.col)

        observer.refit(min(problem.iterations, self.rating_iterations), fit)

    def fit_sgd(self, ratings: sp.coo_array, steps: Steps) -> SGDFit:
        """Run MF on the ratings in their order."""
        from cornac.models import MF
        from cornac.models.mf import backend_cpu

        passes, inner = [], backend_cpu.fit_sgd

        def timed(*args: object) -> None:
            start = time.perf_counter()
            inner(*args)
            passes.append(time.perf_counter() - start)

        data = _dataset(ratings)
        seed = 0 if steps.threads == 1 else None  # with a seed, it runs on one thread
        model = MF(
            k=steps.factors, max_iter=steps.epochs, num_threads=steps.threads, learning_rate=steps.learning_rate,
            lambda_reg=steps.regularization, use_bias=True, seed=seed, verbose=False,
        )  # fmt: skip
        backend_cpu.fit_sgd = timed
        start = time.perf_counter()
        try:
            model.fit(data)
        finally:
            seconds = time.perf_counter() - start
            backend_cpu.fit_sgd = inner
        return SGDFit(seconds, passes[0] / steps.epochs, lambda users, items: _predict(model, users, items))

    def fit_pairwise(self, train: sp.csr_array, steps: Steps, **params: Any) -> PairwiseFit:
        """Run BPR, whose negatives are uniform."""
        from cornac.models import BPR

        class Timed(BPR):
            def _fit_sgd(self, *args: object) -> tuple[int, int]:
                start = time.perf_counter()
                result = super()._fit_sgd(*args)
                epochs.append(time.perf_counter() - start)
                return result

        epochs: list[float] = []
        model = Timed(
            k=steps.factors, max_iter=steps.epochs, num_threads=steps.threads, learning_rate=steps.learning_rate,
            lambda_reg=steps.regularization, seed=0 if steps.threads == 1 else None, verbose=False, **params,
        )  # fmt: skip
        model.fit(_dataset(train.tocoo()))
        biases = model.i_biases[:, None]
        users = np.hstack([model.u_factors, np.ones((len(model.u_factors), 1), np.float32)])
        return PairwiseFit(median(epochs[1:]), (users, np.hstack([model.i_factors, biases])))


def _dataset(ratings: sp.coo_array) -> Dataset:
    """Wrap ratings whose ids are already row numbers."""
    from cornac.data import Dataset

    names = [OrderedDict((i, i) for i in range(n)) for n in ratings.shape]
    columns = ratings.row.astype(np.int64), ratings.col.astype(np.int64), ratings.data.astype(np.float64)
    return Dataset(*ratings.shape, *names, columns)


def _predict(model: Any, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the result of `MF.score` for every pair."""
    dots = np.einsum("jf,jf->j", model.u_factors[users], model.i_factors[items])
    return model.global_mean + model.u_biases[users] + model.i_biases[items] + dots
