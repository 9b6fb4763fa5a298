"""Bayesian personalized ranking behind implicit's interface, by `alternant.BPR`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ....models import BPR
from ..recommender_base import ModelFitError, write_npz
from ..utils import check_csr, check_random_state, thread_count
from .matrix_factorization_base import MatrixFactorizationBase

SAVED = (
    "user_factors", "item_factors", "regularization", "factors", "learning_rate", "verify_negative_samples",
    "num_threads", "iterations", "random_state",
)  # fmt: skip


class BayesianPersonalizedRanking(MatrixFactorizationBase):
    """Bayesian personalized ranking (Rendle et al. 2009): ranks what users have stored above what they have not.

    The steps are those of implicit, from the same initial factors: negatives are drawn by popularity, and one lambda
    regularizes vectors and biases. They are taken by `alternant.BPR`, for every stored pair once in each pass, and with
    the same result on any number of threads.

    Parameters
    ----------
    factors : int
        Number of factors, without the column of biases.
    learning_rate : float
        Learning rate.
    regularization : float
        lambda of each step.
    dtype : float32 or float64
        Data type of the factors.
    iterations : int
        Number of passes over the interactions.
    num_threads : int
        Number of threads, 0 for all that are available to the process. No result depends on it.
    verify_negative_samples : bool
        Draw again if the user has the negative; implicit leaves such a step out.
    random_state : int, Generator, RandomState or None
        Seed.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors + 1)
        Rows (x, 1).
    item_factors : array, shape (n_items, factors + 1)
        Rows (y, bias).
    """

    def __init__(
        self,
        factors: int = 100,
        learning_rate: float = 0.01,
        regularization: float = 0.01,
        dtype: Any = np.float32,
        iterations: int = 100,
        num_threads: int = 0,
        verify_negative_samples: bool = True,
        random_state: Any = None,
    ) -> None:
        super().__init__(num_threads=num_threads)
        self.factors = factors
        self.learning_rate = learning_rate
        self.iterations = iterations
        self.regularization = regularization
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.verify_negative_samples = verify_negative_samples
        self.random_state = random_state

    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Fit the model; continue from its factors, if it has any.

        Parameters
        ----------
        user_items : CSR matrix, shape (n_users, n_items)
            The interactions; every stored value counts alike.
        show_progress : bool
            Whether to draw a progress bar.
        callback : callable, optional
            Called after each iteration with its number from 0, its seconds, the number of negatives that were ranked
            below their item before the step, and the number of interactions for which no negative was found.
        """
        given = check_csr(user_items)
        stored = sparse.csr_array((np.ones(given.nnz, self.dtype), given.indices, given.indptr), shape=given.shape)
        rng = check_random_state(self.random_state)
        users, items = self._start(stored, rng)
        if given.nnz and self.iterations:
            ones, biases_only = users[:, -1:], users.shape[1] == 1
            if biases_only:  # factors set by hand, as implicit takes them; a column of zeros remains so
                users, items = (np.hstack([np.zeros_like(side), side]) for side in (users, items))
            model = BPR(
                factors=users.shape[1] - 1, sampling="popularity", max_sampled=1, optimizer="sgd",
                verify_negatives=bool(self.verify_negative_samples), learning_rate=self.learning_rate,
                learning_rate_decay=1.0, regularization=self.regularization, bias_regularization=self.regularization,
                epochs=self.iterations, dtype=self.dtype, warm_start=True, random_state=int(rng.integers(1 << 31)),
                num_threads=thread_count(self.num_threads),
            )  # fmt: skip
            model.user_factors, model.item_factors = users, items
            start = time.perf_counter()

            def after_epoch(state: Any) -> None:
                nonlocal start
                now = time.perf_counter()
                taken = state.history["triples"][-1]
                callback(
                    state.iteration - 1, now - start, round(state.history["train_auc"][-1] * taken), stored.nnz - taken
                )
                start = now

            try:
                model.fit(stored, callback=after_epoch if callback else None, show_progress=bool(show_progress))
            except OverflowError as error:
                raise ModelFitError(str(error)) from None
            users = np.hstack([model.user_factors[:, biases_only:-1], ones])
            items = model.item_factors[:, biases_only:]
        self.user_factors: NDArray[Any] = np.array(users)  # of the model, they are read-only
        self.item_factors: NDArray[Any] = np.array(items)
        self._check_fit_errors()

    def _start(self, stored: Any, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the factors to start from: the model's, or those that implicit would draw."""
        sides = []
        counts = np.diff(stored.indptr), np.bincount(stored.indices, minlength=stored.shape[1])
        for kind, count in (("item", counts[1]), ("user", counts[0])):  # in this order
            factors = getattr(self, f"{kind}_factors")
            if factors is None:
                factors = (rng.random((len(count), self.factors + 1), dtype=self.dtype.type) - 0.5) / self.factors
                factors[count == 0] = 0
                if kind == "user":
                    factors[:, -1] = 1
            sides.append(np.asarray(factors, self.dtype))
        return sides[1], sides[0]

    def save(self, fileobj_or_path: Any) -> None:
        """Save the model as implicit does: either library loads it. A random state that is no int is left out."""
        values = {name: getattr(self, name) for name in SAVED}
        write_npz(fileobj_or_path, values | {"dtype": self.dtype.name})
