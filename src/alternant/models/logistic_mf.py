"""Logistic matrix factorization of implicit feedback by stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from .._utils.mapped import column_counts
from .._utils.messages import parameter, refusal
from .._utils.pool import Pool
from .._utils.validation import check_integer, check_pair
from ..data.csr import CSR
from ..data.hold_out import row_keys
from ..kernels import Factors
from . import _bias_columns as bias_columns
from ._traits import Traits
from .sgd.adagrad import first_squares
from .sgd.held_out import HeldOut, Pairs
from .sgd.penalty import penalty
from .sgd.trainer import EpochInputs, StochasticModel

if TYPE_CHECKING:
    from .._typing import Auto, BackendName, DType, Seed

# init_scale="auto": the maximum, reached at an average of FULL_COUNT interactions per row, and the minimum standard
# deviation of an initial number (rather than of init_scale: with few factors, initial scores would be larger).
FULL_SCALE, FULL_COUNT, MIN_DEVIATION = 0.5, 8.0, 1 / 160
# regularization="auto": the minimum, reached at FULL_OVERLAP other interactions of the same user and item, and the
# maximum.
MIN_LAMBDA, FULL_OVERLAP, MAX_LAMBDA = 0.01, 50.0, 0.04


class LogisticMF(StochasticModel):
    r"""Logistic matrix factorization of implicit feedback: models the probability of an interaction.

    .. math:: P(u \text{ interacts with } i) = \sigma(z_{ui}), \qquad z_{ui} = b_u + c_i + x_u \cdot y_i

    Minimizes the cross-entropy of the observed pairs, weighted by a confidence c, and of negatives, with weight 1
    (Johnson 2014):

    .. math:: \sum_{\text{observed}} c_{ui}\, H(p_{ui}, z_{ui}) + \sum_{\text{negatives}} H(0, z_{ui})
              + \tfrac12 \lambda (\ldots), \qquad H(p, z) = \log(1 + e^z) - p z

    with preference p = 1 if r is positive and 0 if it is negative (a dislike). Negatives are all pairs, or a sample: a
    fixed number for each observed pair of a user, drawn uniformly from all items. Each step is regularized, so that the
    squared norm of a row counts once for each of its steps.

    Parameters
    ----------
    factors : int
        Number of factors: the length of the vectors x and y.
    alpha : float
        Scale of the confidence of the observed pairs.
    weighting : {"log", "proportional"}
        ``"log"``: ``c = alpha log(1 + |r| / epsilon)``; ``"proportional"``: ``c = alpha |r|`` (both Johnson 2014). The
        logarithm keeps steps stable if values are in the thousands.
    epsilon : float
        Scale of r in ``weighting="log"``.
    negatives : int or "full"
        Number of negatives sampled for each observed pair of a user, anew in each epoch; "full" uses all pairs, which
        costs ``n_users * n_items`` steps per epoch. When users are folded in, the sample of each depends only on
        which items the user has.
    optimizer : {"adagrad", "sgd"}
        Adagrad (Duchi et al. 2011), or plain SGD steps.
    learning_rate : float
        Learning rate in the first epoch.
    learning_rate_decay : float
        Factor by which the learning rate is multiplied after each epoch.
    regularization : float, (float, float) or "auto"
        lambda of the vectors, for both sides or as (users, items). "auto": ``0.01 sqrt(50 / g)``, between 0.01 and
        0.04. g is the geometric mean of the numbers of other interactions of an interaction's user and of its item,
        each averaged over all interactions. If users and items share few interactions, vectors mostly fit noise, and
        ranking by the biases, that is by popularity, is better.
    bias_regularization : float
        lambda of the biases.
    epochs : int
        Maximum number of passes over the interactions.
    early_stopping : float or None
        Stop when the loss of the held-out interactions (without any, the objective) has not fallen by more than this
        fraction of its lowest value for `patience` epochs.
    patience : int
        See `early_stopping`.
    validation_fraction : float
        Fraction of the interactions held out at random to measure the loss after each epoch, with an equal number of
        negatives, drawn once. With held-out interactions, the model ends with the factors of the best epoch.
    warm_start : bool
        Start `fit` from the model's factors. Users and items that are not among them are initialized as in a first fit.
    init_scale : float or "auto"
        The vectors are drawn from a normal distribution with standard deviation ``init_scale / sqrt(factors)``; biases
        start at 0. "auto": ``0.5 (d / 8)^3``, between ``sqrt(factors) / 160`` and 0.5, where d is the average number of
        interactions per user or per item, whichever is lower (of those that have any). A vector that takes few steps
        stays near its random initial value: if d is 1.5, this noise alone can make lists worse than popularity,
        especially with few factors. If d is 8 or more, the initial value has little influence, and larger ones are
        slightly better.
    dtype : {"float32", "float64"} or NumPy dtype
        Data type of the factors.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed of the initial factors, the grid, the negatives and the split. With an int, fits of equal input are
        bit-identical on any number of threads.
    num_threads : int or None
        Number of threads; None uses all that are available to the process.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors + 2)
        Rows ``(x_u, b_u, 1)``.
    item_factors : array, shape (n_items, factors + 2)
        Rows ``(y_i, 1, c_i)``: the dot product of the two is z.
    n_iter_ : int
        Number of epochs run.
    history_ : dict of lists
        One entry per epoch: ``objective``, and ``train_log_loss`` per observed pair, accumulated during the epoch;
        ``validation_log_loss`` if interactions are held out; ``learning_rate``, and ``seconds`` since the fit began.
    backend_ : str
        The backend that the fit used.
    mean_item_count_ : float
        Average number of interactions per item.
    init_scale_ : float
        The value of `init_scale` in the fit, given or chosen by "auto".
    regularization_ : (float, float)
        The values of `regularization` in the fit, of users and items.
    mean_squares_ : tuple of float
        What Adagrad's sums grew by for each interaction: of the vectors of users and items, and their biases.
    interactions_ : CSR
        The interactions of the fit.

    References
    ----------
    C. C. Johnson, "Logistic Matrix Factorization for Implicit Feedback Data", NIPS 2014 workshop on distributed
    machine learning and matrix computations.

    J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization",
    JMLR 12, 2011.
    """

    traits: ClassVar[Traits] = Traits(
        "implicit", "clicks, plays, purchases, as probabilities", "stochastic gradient descent"
    )
    _fitted_state = ("n_iter_", "history_", "backend_", "mean_item_count_", "init_scale_", "regularization_",
                     "mean_squares_")  # fmt: skip
    _loss_name = "log_loss"
    _choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "weighting": ("log", "proportional"),
        "optimizer": ("adagrad", "sgd"),
    }
    _automatic = ("init_scale", "regularization")

    mean_item_count_: float
    init_scale_: float
    regularization_: tuple[float, float]

    def __init__(
        self,
        *,
        factors: int = 64,
        alpha: float = 0.2,
        weighting: Literal["log", "proportional"] = "log",
        epsilon: float = 0.1,
        negatives: int | Literal["full"] = 10,
        optimizer: Literal["adagrad", "sgd"] = "adagrad",
        learning_rate: float = 0.3,
        learning_rate_decay: float = 0.95,
        regularization: float | tuple[float, float] | Auto = "auto",
        bias_regularization: float = 0.01,
        epochs: int = 30,
        early_stopping: float | None = None,
        patience: int = 3,
        validation_fraction: float = 0.0,
        warm_start: bool = False,
        init_scale: float | Auto = "auto",
        dtype: DType = "float32",
        random_state: Seed = None,
        num_threads: int | None = None,
        backend: BackendName = "auto",
    ) -> None:
        self.factors = factors
        self.alpha = alpha
        self.weighting = weighting
        self.epsilon = epsilon
        self.negatives = negatives
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.regularization = regularization
        self.bias_regularization = bias_regularization
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.init_scale = init_scale
        self.dtype = dtype
        self.random_state = random_state
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not isinstance(self.negatives, str):
            check_integer("negatives", self.negatives, 0)
        elif self.negatives != "full":
            raise refusal(
                ValueError,
                f"{parameter('negatives')} must be a whole number of at least 0, or 'full', got {self.negatives!r}",
            )

    def _truth(self, rows: CSR) -> NDArray[Any]:
        return (rows.data > 0).astype(rows.data.dtype)

    def _initial_squares(self, factors: Factors, pool: Pool | None = None) -> Factors | None:
        return None if self.optimizer == "sgd" else Factors(*(first_squares(part, pool) for part in factors))

    def _epoch(self, inputs: EpochInputs) -> NDArray[np.float64]:
        users, items = self._lambdas(inputs.state)
        rows, columns = (users, items) if inputs.kind == "user" else (items, users)
        bias = float(self.bias_regularization)
        preference = (~np.signbit(inputs.values)).astype(inputs.values.dtype)
        losses: NDArray[np.float64] = self._backend().logistic_epoch(
            inputs.grid, inputs.schedule, np.abs(inputs.values), preference, inputs.negatives, inputs.factors,
            inputs.squares, inputs.learning_rate, (rows, columns, bias, bias), inputs.seed, inputs.epoch,
            inputs.update_columns, inputs.num_threads, inputs.keys,
        )  # fmt: skip
        return losses

    def _targets(self, values: NDArray[Any], state: Mapping[str, Any]) -> NDArray[Any]:
        """Return the confidences, with the sign of the values."""
        r = np.abs(values)
        with np.errstate(over="ignore"):  # reported below
            r = np.log1p(r / self.epsilon) if self.weighting == "log" else r
            confidence = np.asarray(self.alpha * r, values.dtype)
        if not np.isfinite(confidence).all():
            raise refusal(
                ValueError,
                f"confidences must be finite in {confidence.dtype}, but overflow with "
                f"{parameter('alpha', self.alpha)} and epsilon={self.epsilon!r}: lower {parameter('alpha')} or raise "
                "epsilon",
            )
        return np.asarray(np.copysign(confidence, values))

    def _are_known(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            return np.asarray(np.asarray(values, self.dtype) != 0)

    def _row_keys(self, rows: CSR) -> NDArray[np.int64] | None:
        return None if isinstance(self.negatives, str) else (row_keys(rows) >> np.uint64(16)).astype(np.int64)

    def _samples(self, counts: NDArray[np.int64], state: Mapping[str, Any], kind: str) -> NDArray[np.float64] | None:
        if isinstance(self.negatives, str):
            return None
        if kind == "item":  # negatives are sampled per user, uniformly over the items
            if "mean_item_count_" not in state:
                raise ValueError(
                    "folding in items needs the number of interactions per item, which fit counts: call fit first"
                )
            return np.full(len(counts), self.negatives * state["mean_item_count_"])
        return np.asarray(self.negatives * counts.astype(np.float64))

    def _data_state(self, rows: CSR) -> dict[str, Any]:
        counts = np.diff(rows.indptr), column_counts(rows.indices, rows.shape[1])
        n_users, n_items = (np.count_nonzero(each) for each in counts)  # rows without interactions do not count
        scale, lambdas = self.init_scale, self.regularization
        if isinstance(scale, str):
            share = min(1.0, len(rows.indices) / max(n_users, n_items) / FULL_COUNT)
            scale = min(FULL_SCALE, max(MIN_DEVIATION * np.sqrt(self.factors), FULL_SCALE * share**3))
        if isinstance(lambdas, str):
            overlap = np.sqrt(_others(counts[0]) * _others(counts[1]))
            lambdas = min(MAX_LAMBDA, MIN_LAMBDA * np.sqrt(max(1.0, FULL_OVERLAP / max(overlap, 1.0))))
        return {
            "mean_item_count_": len(rows.indices) / rows.shape[1], "init_scale_": float(scale),
            "regularization_": check_pair("regularization", lambdas, ("users", "items")),
        }  # fmt: skip

    def auto_parameters(self, rows: CSR) -> dict[str, Any]:
        """Return the values of the parameters that may be ``"auto"``, by name."""
        state = self._data_state(rows)
        return {"init_scale": state["init_scale_"], "regularization": state["regularization_"][0]}

    def _lambdas(self, state: Mapping[str, Any]) -> tuple[float, float]:
        """Return lambda of users and of items; "auto" is `MIN_LAMBDA` for factors set by hand, without a fit."""
        automatic = isinstance(self.regularization, str)
        value = state.get("regularization_", MIN_LAMBDA) if automatic else self.regularization
        return check_pair("regularization", value, ("users", "items"))

    def _penalty(
        self, factors: Factors, state: Mapping[str, Any], row_counts: NDArray[np.int64],
        column_counts: NDArray[np.int64],
    ) -> float:  # fmt: skip
        m, n = len(row_counts), len(column_counts)
        if isinstance(self.negatives, str):
            row_steps, column_steps = row_counts + n, column_counts + m
        else:
            row_steps = row_counts * (1 + self.negatives)
            column_steps = column_counts + self.negatives * row_counts.sum() / n
        lambdas = self._lambdas(state)
        return penalty(factors, row_steps, column_steps, *lambdas, float(self.bias_regularization)) / 2

    def _loss(self, total: float, count: int) -> float:
        return total / max(1, count)

    def _held_out(self, rows: CSR, rng: np.random.Generator, pool: Pool) -> HeldOut:
        """Add an equal number of negatives."""
        return HeldOut.with_others(rows, rng, pool)

    def _losses(self, X: NDArray[Any], Y: NDArray[Any], state: dict[str, Any], pairs: Pairs) -> NDArray[np.float64]:
        assert pairs.others is not None
        # float32 would lose 1 - p near p = 1.
        z, others = (self._products(X, Y, pairs.users, items).astype(float) for items in (pairs.items, pairs.others))
        losses = np.logaddexp(0, z) - self._truth(pairs.rows) * z
        return np.concatenate([losses, np.logaddexp(0, others)])

    def _pack(self, factors: Factors) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return bias_columns.pack(factors)

    def _unpack(self, users: NDArray[Any], items: NDArray[Any]) -> Factors:
        return bias_columns.unpack(users, items)

    def _has_biases(self) -> bool:
        return True

    def _latent(self, factors: NDArray[Any]) -> NDArray[Any]:
        return bias_columns.latent(factors)

    def _link(self, scores: NDArray[Any], **state: Any) -> NDArray[Any]:
        return np.asarray(scipy.special.expit(scores), scores.dtype)

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return ranges for the optimizer, the weighting and the kind of negatives of this model."""
        space: dict[str, Any] = {
            "alpha": (0.15, 3.0, "log"),
            "learning_rate": (0.08, 0.6, "log") if self.optimizer == "adagrad" else (0.001, 0.1, "log"),
            "regularization": (0.003, 0.06, "log"),
            "bias_regularization": (0.0001, 0.01, "log"),
            "init_scale": (0.01, 1.0, "log"),
        }
        if self.weighting == "log":
            space["epsilon"] = [0.1, 1.0, 10.0]
        return space if isinstance(self.negatives, str) else space | {"negatives": [4, 6, 10]}

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Estimate the cost of an epoch, negatives included."""
        steps = n_users * n_items if isinstance(self.negatives, str) else n_pairs * (1 + self.negatives)
        return steps * (40 + self.factors / 2)


def _others(counts: NDArray[np.int64]) -> float:
    """Return the number of other entries in the row of an entry, on average over the entries."""
    return float((counts * (counts - 1.0)).sum() / counts.sum())
