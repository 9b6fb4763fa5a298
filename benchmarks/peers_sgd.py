"""One adapter for each peer that the models trained by gradient descent are compared with."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse as sp

try:
    from cornac.data import Dataset
    from cornac.models import MF
    from implicit.cpu.lmf import LogisticMatrixFactorization
    from surprise import SVD, Trainset
except ImportError as error:
    sys.exit(f"this benchmark needs the peers ({error}): pip install 'alternant[peers]'")


def cornac_data(ratings: sp.coo_array) -> Dataset:
    """Wrap ratings whose ids are row numbers already."""
    names = [OrderedDict((i, i) for i in range(n)) for n in ratings.shape]
    columns = ratings.row.astype(np.int64), ratings.col.astype(np.int64), ratings.data.astype(np.float64)
    return Dataset(*ratings.shape, *names, columns)


def cornac_mf(data: Dataset, *, threads: int, seed: int | None = None, **params: float) -> tuple[MF, float, float]:
    """Fit cornac's MF; return it, the seconds of `fit`, and those of its passes over the ratings alone.

    An epoch of its CPU backend is one pass over the ratings in their order, which its threads share without locks.
    """
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


def surprise_svd(train: sp.coo_array, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Fit Surprise's SVD with its defaults; return its predictions, clipped to the scale as its `predict` does."""
    by_user: dict[int, list] = {}
    by_item: dict[int, list] = {}
    for u, i, r in zip(train.row.tolist(), train.col.tolist(), train.data.tolist(), strict=True):
        by_user.setdefault(u, []).append((i, r))
        by_item.setdefault(i, []).append((u, r))
    names = [{i: i for i in range(n)} for n in train.shape]
    scale = float(train.data.min()), float(train.data.max())
    model = SVD(random_state=0).fit(Trainset(by_user, by_item, *train.shape, train.nnz, scale, *names))
    predictions = [model.predict(u, i).est for u, i in zip(users.tolist(), items.tolist(), strict=True)]
    return np.array(predictions)


def implicit_lmf(train: sp.csr_matrix, users: np.ndarray, threads: int) -> np.ndarray:
    """Fit implicit's logistic factorization with its defaults; return the 10 items it recommends to each user."""
    model = LogisticMatrixFactorization(random_state=0, num_threads=threads)
    model.fit(train.astype(np.float32), show_progress=False)
    return model.recommend(users, train[users], N=10)[0]
