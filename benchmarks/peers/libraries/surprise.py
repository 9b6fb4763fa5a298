"""Surprise's SVD, on one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import Library, Observer, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    import scipy.sparse as sp
    from surprise import SVD, Trainset


class Surprise(Library):
    """It does not stop between epochs."""

    name = "Surprise"
    package = "scikit-surprise"
    module = "surprise"
    rating_iterations = 20
    rating_factors = 100  # its default

    def fit_ratings(self, problem: Problem, observer: Observer) -> None:
        """Run SVD."""
        from surprise import SVD

        trainset = _trainset(problem.train.tocoo())

        def fit(epochs: int) -> Callable[[], np.ndarray]:
            model = SVD(n_factors=problem.factors, n_epochs=epochs, random_state=0).fit(trainset)
            return lambda: _predict(model, problem.test.row, problem.test.col)

        observer.refit(min(problem.iterations, self.rating_iterations), fit)


def _trainset(train: sp.coo_array) -> Trainset:
    """Wrap ratings whose ids are already row numbers."""
    from surprise import Trainset

    by_user: dict[int, list] = {}
    by_item: dict[int, list] = {}
    for u, i, r in zip(train.row.tolist(), train.col.tolist(), train.data.tolist(), strict=True):
        by_user.setdefault(u, []).append((i, r))
        by_item.setdefault(i, []).append((u, r))
    names = [{i: i for i in range(n)} for n in train.shape]
    scale = float(train.data.min()), float(train.data.max())
    return Trainset(by_user, by_item, *train.shape, train.nnz, scale, *names)


def _predict(model: SVD, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return `SVD.predict` of every pair: clipped to the scale, without factors where it knows no ratings."""
    known_users, known_items = (
        np.array([i in ratings for i in range(n)])
        for ratings, n in ((model.trainset.ur, model.trainset.n_users), (model.trainset.ir, model.trainset.n_items))
    )
    dots = np.einsum("jf,jf->j", model.pu[users], model.qi[items]) * (known_users[users] & known_items[items])
    biases = model.bu[users] * known_users[users] + model.bi[items] * known_items[items]
    return np.clip(model.trainset.global_mean + biases + dots, *model.trainset.rating_scale)
