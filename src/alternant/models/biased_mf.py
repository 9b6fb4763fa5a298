"""Biased matrix factorization of ratings by stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._utils.validation import check_pair, check_range
from ..data.csr import CSR
from ..data.ratings import check_ratings
from ..kernels import Factors
from . import _bias_columns as bias_columns
from ._traits import Traits
from .sgd.penalty import mean_and_deviation, penalty
from .sgd.stored import distinct_values
from .sgd.trainer import EpochInputs, StochasticModel

if TYPE_CHECKING:
    from .._typing import BackendName, DType, Seed


class BiasedMF(StochasticModel):
    r"""Matrix factorization of ratings with biases, by stochastic gradient descent.

    Predicts a rating as :math:`p_{ui} = \mu + s (b_u + c_i + x_u \cdot y_i)`, with the mean mu and the standard
    deviation s of the ratings, clipped to `rating_range` if that is given. Minimizes, over the observed ratings,

    .. math:: \sum_{(u,i)} (r_{ui} - p_{ui})^2 + s^2 (\lambda_x |x_u|^2 + \lambda_y |y_i|^2
              + \lambda_b (b_u^2 + c_i^2))

    with one step per rating and epoch along the negative gradient of half of it, divided by s squared. The steps are
    thus those for ratings with standard deviation 1, so that the same parameters suit ratings from 1 to 5 and from -10
    to 10. Missing ratings are ignored.

    Epochs run in parallel on a fixed grid (Gemulla et al. 2011): results are bit-identical on any number of threads.

    Parameters
    ----------
    factors : int
        Number of factors: the length of the vectors x and y.
    rating_range : (float, float) or None
        Clip predictions to this range, which must cover all ratings; the error is never higher than without. (A sigmoid
        would fit worse: it reaches the ends of the range, which are possible ratings, only at infinite scores.) Factors
        and the order of recommendations are the same as without a range.
    learning_rate : float
        Learning rate in the first epoch.
    learning_rate_decay : float
        Factor by which the learning rate is multiplied after each epoch.
    regularization : float or (float, float)
        lambda of the vectors, for both sides or as (users, items).
    bias_regularization : float
        lambda of the biases.
    epochs : int
        Maximum number of passes over the ratings.
    early_stopping : float or None
        Stop when the error on the held-out ratings (without any, the objective) has not fallen by more than this
        fraction of its lowest value for `patience` epochs.
    patience : int
        See `early_stopping`.
    validation_fraction : float
        Fraction of the ratings held out at random to measure the error after each epoch. With held-out ratings, the
        model ends with the factors of the best epoch.
    missing_value : float
        Marks a missing rating, in addition to NaN: 0, for example, in a table where 0 means not rated.
    warm_start : bool
        Start `fit` from the model's factors. Users and items that are not among them are initialized as in a first fit.
    init_scale : float
        The vectors are drawn from a normal distribution with standard deviation ``init_scale / sqrt(factors)``; biases
        start at 0.
    dtype : {"float32", "float64"} or NumPy dtype
        Data type of the factors.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed of the initial factors, the grid and the split. With an int, fits of equal input are bit-identical on any
        number of threads.
    num_threads : int or None
        Number of threads; None uses all that are available to the process.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors + 2)
        Rows ``(x_u, b_u, 1)``, whose dot product with an item's row is the score without mu.
    item_factors : array, shape (n_items, factors + 2)
        Rows ``(y_i, 1, c_i)``.
    mean_ : float
        mu: the mean rating.
    deviation_ : float
        s: the standard deviation of the ratings. If all ratings are equal, it is 0 and treated as 1.
    n_iter_ : int
        Number of epochs run.
    history_ : dict of lists
        One entry per epoch: ``objective`` and ``train_rmse``, accumulated during the epoch, without clipping;
        ``validation_rmse`` if ratings are held out, with clipping; ``learning_rate``, and ``seconds`` since the fit
        began.
    backend_ : str
        The backend that the fit used.
    interactions_ : CSR
        The ratings of the fit.

    References
    ----------
    Y. Koren, R. Bell, C. Volinsky, "Matrix Factorization Techniques for Recommender Systems", Computer 42(8), 2009.

    R. Gemulla, E. Nijkamp, P. J. Haas, Y. Sismanis, "Large-Scale Matrix Factorization with Distributed Stochastic
    Gradient Descent", KDD 2011.
    """

    traits: ClassVar[Traits] = Traits("ratings", "ratings, within a range or not", "stochastic gradient descent")
    _fitted_state = ("n_iter_", "history_", "backend_", "mean_", "deviation_")
    _min_count = 20

    mean_: float
    deviation_: float

    def __init__(
        self,
        *,
        factors: int = 64,
        rating_range: tuple[float, float] | None = None,
        learning_rate: float = 0.02,
        learning_rate_decay: float = 0.95,
        regularization: float | tuple[float, float] = 0.04,
        bias_regularization: float = 0.04,
        epochs: int = 30,
        early_stopping: float | None = None,
        patience: int = 3,
        validation_fraction: float = 0.0,
        missing_value: float = np.nan,
        warm_start: bool = False,
        init_scale: float = 0.1,
        dtype: DType = "float32",
        random_state: Seed = None,
        num_threads: int | None = None,
        backend: BackendName = "auto",
    ) -> None:
        self.factors = factors
        self.rating_range = rating_range
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.regularization = regularization
        self.bias_regularization = bias_regularization
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.missing_value = missing_value
        self.warm_start = warm_start
        self.init_scale = init_scale
        self.dtype = dtype
        self.random_state = random_state
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    def _bounds(self) -> tuple[float, float]:
        """Return `rating_range`, infinite if it is None."""
        return (-np.inf, np.inf) if self.rating_range is None else check_range("rating_range", self.rating_range)

    def _check_rows(self, name: str, rows: Any, dtype: np.dtype[Any], copy: bool = False) -> CSR:
        ratings = check_ratings(name, rows, dtype, self.missing_value, copy)
        if len(ratings.data):
            self._check_range(name, ratings.data.min(), ratings.data.max())
        return ratings

    def _check_range(self, name: str, least: Any, greatest: Any) -> None:
        """Raise unless the range covers the ratings."""
        low, high = np.asarray(self._bounds(), least.dtype)  # else NumPy 1 would compare in float64
        if not (low <= least and greatest <= high):
            raise ValueError(
                f"rating_range must cover the ratings, but {name} range from {least:g} to {greatest:g}: widen "
                f"rating_range={self.rating_range!r}, or set it to None"
            )

    def _are_known(self, values: NDArray[Any]) -> NDArray[np.bool_] | None:
        return None if np.isnan(self.missing_value) else values != self.missing_value

    def _check_stored(self, name: str, least: Any, greatest: Any, others: NDArray[Any]) -> None:
        self._check_range(name, least, greatest)

    def _data_state(self, rows: CSR) -> dict[str, Any]:
        mean, deviation = mean_and_deviation(distinct_values(rows.data), np.dtype(self.dtype))
        return {"mean_": mean, "deviation_": deviation}

    def _scale(self, state: Mapping[str, Any]) -> float:
        """Return s."""
        return float(state.get("deviation_", getattr(self, "deviation_", 0.0))) or 1.0

    def _targets(self, values: NDArray[Any], state: Mapping[str, Any]) -> NDArray[Any]:
        return np.asarray(values / self._scale(state), values.dtype)

    def _epoch(self, inputs: EpochInputs) -> NDArray[np.float64]:
        users, items = check_pair("regularization", self.regularization, ("users", "items"))
        rows, columns = (users, items) if inputs.kind == "user" else (items, users)
        bias = float(self.bias_regularization)
        mean = inputs.state.get("mean_", 0.0) / self._scale(inputs.state)
        losses: NDArray[np.float64] = self._backend().biased_epoch(
            inputs.grid, inputs.schedule, inputs.values, inputs.factors, mean, (-np.inf, np.inf), inputs.learning_rate,
            (rows, columns, bias, bias), inputs.update_columns, inputs.num_threads,
        )  # fmt: skip
        return losses

    def _data_term(self, total: float, state: Mapping[str, Any]) -> float:
        return self._scale(state) ** 2 * total

    def _penalty(
        self, factors: Factors, state: Mapping[str, Any], row_counts: NDArray[np.int64],
        column_counts: NDArray[np.int64],
    ) -> float:  # fmt: skip
        users, items = check_pair("regularization", self.regularization, ("users", "items"))
        bias = float(self.bias_regularization)
        return self._scale(state) ** 2 * penalty(factors, row_counts, column_counts, users, items, bias)

    def _pack(self, factors: Factors) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return bias_columns.pack(factors)

    def _unpack(self, users: NDArray[Any], items: NDArray[Any]) -> Factors:
        return bias_columns.unpack(users, items)

    def _has_biases(self) -> bool:
        return True

    def _latent(self, factors: NDArray[Any]) -> NDArray[Any]:
        return bias_columns.latent(factors)

    def _link(self, scores: NDArray[Any], **state: Any) -> NDArray[Any]:
        mean = scores.dtype.type(state.get("mean_", getattr(self, "mean_", 0.0)))
        ratings = np.asarray(mean + scores.dtype.type(self._scale(state)) * scores)
        return ratings if self.rating_range is None else _clip(ratings, *self._bounds())

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return ranges for ratings on any scale, since steps are relative to their standard deviation."""
        return {
            "learning_rate": (0.003, 0.06, "log"),
            "learning_rate_decay": (0.9, 1.0),
            "regularization": (0.01, 0.3, "log"),
            "bias_regularization": (0.001, 0.1, "log"),
            "init_scale": (0.03, 1.0, "log"),
        }


def _clip(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Clip to the range; an end that the dtype can't represent is rounded inwards."""
    ends = np.array([low, high], values.dtype)
    inside = np.nextafter(ends, ends[::-1])
    minimum = ends[0] if float(ends[0]) >= low else inside[0]
    maximum = ends[1] if float(ends[1]) <= high else inside[1]
    return np.asarray(np.clip(values, minimum, maximum))
