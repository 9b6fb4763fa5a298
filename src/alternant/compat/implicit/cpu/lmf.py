"""Logistic matrix factorization behind implicit's interface, by `alternant.LogisticMF`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....models import LogisticMF
from .._rows import check_finite
from ..recommender_base import write_npz
from ..utils import check_csr, check_random_state, thread_count
from .matrix_factorization_base import MatrixFactorizationBase

SAVED = (
    "user_factors", "item_factors", "regularization", "factors", "learning_rate", "neg_prop", "num_threads",
    "iterations", "random_state",
)  # fmt: skip
# The learning rate of LogisticMF that stands for implicit's default of 1: implicit takes one step for each row and
# iteration, LogisticMF one for each interaction.
UNIT_RATE = 0.3


class LogisticMatrixFactorization(MatrixFactorizationBase):
    """Logistic matrix factorization (Johnson 2014): models the probability of an interaction.

    The objective is that of the paper, with confidence r of stored pairs. It is minimized by `alternant.LogisticMF`,
    whose steps take single interactions, and whose negatives are drawn from all items.

    Parameters
    ----------
    factors : int
        Number of factors, without the two columns of biases.
    learning_rate : float
        Relative to the default.
    regularization : float
        lambda of each row.
    dtype : float32 or float64
        Data type of the factors.
    iterations : int
        Number of passes over the interactions.
    neg_prop : int
        Most negatives to draw for each interaction and pass. As in implicit, they are fewer where interactions are many
        compared with users, items and factors, but at least one.
    num_threads : int
        Number of threads, 0 for all that are available to the process. No result depends on it.
    random_state : int, Generator, RandomState or None
        Seed.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors + 2)
        Rows (x, 1, bias of the user).
    item_factors : array, shape (n_items, factors + 2)
        Rows (y, bias of the item, 1).
    """

    def __init__(
        self,
        factors: int = 30,
        learning_rate: float = 1.0,
        regularization: float = 0.6,
        dtype: Any = np.float32,
        iterations: int = 30,
        neg_prop: int = 30,
        num_threads: int = 0,
        random_state: Any = None,
    ) -> None:
        super().__init__(num_threads=num_threads)
        self.factors = factors
        self.learning_rate = learning_rate
        self.iterations = iterations
        self.regularization = regularization
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.neg_prop = neg_prop
        self.random_state = random_state

    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Fit the model; continue from its factors, if it has any.

        Parameters
        ----------
        user_items : CSR matrix, shape (n_users, n_items)
            The interactions; negative values are dislikes.
        show_progress : bool
            Whether to draw a progress bar.
        callback : callable, optional
            Called after each iteration with its number from 0 and its seconds.
        """
        user_items = check_csr(user_items)
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1 to fit the model, got {self.iterations}: set iterations")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be greater than 0, got {self.learning_rate}: set it before fit")
        if user_items.nnz == 0:
            raise ValueError("user_items has no interactions to learn from: pass a matrix that has some")
        check_finite(user_items.data)
        self._check_shape(user_items.shape)
        model = self._model(user_items)
        if self.user_factors is not None and self.item_factors is not None:
            model.user_factors, model.item_factors = _swapped(self.user_factors), _swapped(self.item_factors)
            model.warm_start = True
        start = time.perf_counter()

        def after_epoch(state: Any) -> None:
            nonlocal start
            now = time.perf_counter()
            callback(state.iteration - 1, now - start)
            start = now

        model.fit(user_items, callback=after_epoch if callback else None, show_progress=bool(show_progress))
        self.user_factors: NDArray[Any] = _swapped(model.user_factors)
        self.item_factors: NDArray[Any] = _swapped(model.item_factors)
        self._check_fit_errors()

    def _model(self, user_items: Any) -> LogisticMF:
        """Translate the parameters: lambda, which implicit adds once for each row, is spread over the row's steps."""
        # As many negatives as implicit draws, at most one for each column of each user's and item's factors.
        most = sum(user_items.shape) * (self.factors + 2) // (2 * user_items.nnz)
        negatives = min(self.neg_prop, max(1, most))
        steps = user_items.nnz * (1 + negatives)
        by_user, by_item = (self.regularization * count / steps for count in user_items.shape)
        return LogisticMF(
            factors=self.factors, alpha=1.0, weighting="proportional", negatives=negatives,
            learning_rate=UNIT_RATE * self.learning_rate, regularization=(by_user, by_item),
            bias_regularization=min(by_user, by_item), epochs=self.iterations, dtype=self.dtype,
            random_state=check_random_state(self.random_state), num_threads=thread_count(self.num_threads),
        )  # fmt: skip

    def save(self, fileobj_or_path: Any) -> None:
        """Save the model as implicit does: either library loads it. A random state that is no int is left out."""
        values = {name: getattr(self, name) for name in SAVED}
        write_npz(fileobj_or_path, values | {"dtype": self.dtype.name})


def _swapped(factors: Any) -> NDArray[Any]:
    """Return a copy with the last two columns swapped: the order of implicit from that of `LogisticMF`, or back."""
    columns = np.arange(factors.shape[1])
    columns[-2:] = columns[:-3:-1]
    return np.ascontiguousarray(factors[:, columns])
