"""One adapter for each peer that the models trained by gradient descent are compared with."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse as sp
    from cornac.data import Dataset
    from cornac.models import MF
    from surprise import SVD, Trainset


def cornac_data(ratings: sp.coo_array) -> Dataset:
    """Wrap ratings whose ids are row numbers already."""
    from cornac.data import Dataset

    names = [OrderedDict((i, i) for i in range(n)) for n in ratings.shape]
    columns = ratings.row.astype(np.int64), ratings.col.astype(np.int64), ratings.data.astype(np.float64)
    return Dataset(*ratings.shape, *names, columns)


def cornac_mf(data: Dataset, *, threads: int, seed: int | None = None, **params: float) -> tuple[MF, float, float]:
    """Fit cornac's MF; return it, the seconds of `fit`, and those of its passes over the ratings alone.

    An epoch of its CPU backend is one pass over the ratings in their order, which its threads share without locks.
    """
    from cornac.models import MF
    from cornac.models.mf import backend_cpu

    passes, inner = [], backend_cpu.fit_sgd

    def timed(*args: object) -> None:
        start = time.perf_counter()
        inner(*args)
        passes.append(time.perf_counter() - start)

    model = MF(use_bias=True, num_threads=threads, seed=seed, verbose=False, **params)
    backend_cpu.fit_sgd = timed
    start = time.perf_counter()
    try:
        model.fit(data)
    finally:
        seconds = time.perf_counter() - start
        backend_cpu.fit_sgd = inner
    return model, seconds, passes[0]


def cornac_predict(model: MF, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return what `MF.score` gives for every pair."""
    dots = np.einsum("jf,jf->j", model.u_factors[users], model.i_factors[items])
    return model.global_mean + model.u_biases[users] + model.i_biases[items] + dots


def surprise_trainset(train: sp.coo_array) -> Trainset:
    """Wrap ratings whose ids are row numbers already."""
    from surprise import Trainset

    by_user: dict[int, list] = {}
    by_item: dict[int, list] = {}
    for u, i, r in zip(train.row.tolist(), train.col.tolist(), train.data.tolist(), strict=True):
        by_user.setdefault(u, []).append((i, r))
        by_item.setdefault(i, []).append((u, r))
    names = [{i: i for i in range(n)} for n in train.shape]
    scale = float(train.data.min()), float(train.data.max())
    return Trainset(by_user, by_item, *train.shape, train.nnz, scale, *names)


def surprise_predict(model: SVD, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return what `SVD.predict` gives for every pair: clipped to the scale; of whom it knows no rating, no factors."""
    known_users, known_items = (
        np.array([i in ratings for i in range(n)])
        for ratings, n in ((model.trainset.ur, model.trainset.n_users), (model.trainset.ir, model.trainset.n_items))
    )
    dots = np.einsum("jf,jf->j", model.pu[users], model.qi[items]) * (known_users[users] & known_items[items])
    biases = model.bu[users] * known_users[users] + model.bi[items] * known_items[items]
    return np.clip(model.trainset.global_mean + biases + dots, *model.trainset.rating_scale)


def surprise_svd(train: sp.coo_array, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Fit Surprise's SVD with its defaults; return its predictions."""
    from surprise import SVD

    return surprise_predict(SVD(random_state=0).fit(surprise_trainset(train)), users, items)


def implicit_lmf(train: sp.csr_matrix, users: np.ndarray, threads: int) -> np.ndarray:
    """Fit implicit's logistic factorization with its defaults; return the 10 items it recommends to each user."""
    from implicit.cpu.lmf import LogisticMatrixFactorization

    model = LogisticMatrixFactorization(random_state=0, num_threads=threads)
    model.fit(train.astype(np.float32), show_progress=False)
    return model.recommend(users, train[users], N=10)[0]
