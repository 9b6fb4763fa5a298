"""Logistic matrix factorization of implicit feedback by stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .._utils.validation import check_choice, check_integer, check_number, check_pair
from ..data.csr import CSR
from ..kernels import Factors
from ..kernels._grid import column_counts
from .sgd import biases
from .sgd.trainer import StochasticModel, Task

# Adagrad's sums start here, so that no step is longer than a plain one. From 0.01, where any first gradient makes a
# step of the learning rate's length, NDCG@10 is 0.514 instead of 0.529 on msweb, 0.127 instead of 0.131 on lastfm.
FIRST_SQUARE = 1.0
# init_scale="auto": the greatest start, for rows of so many interactions or more, and the least one of a number (not of
# init_scale: with few factors, the scores at the start would be larger).
FULL_SCALE, FULL_COUNT, LEAST_START = 0.5, 8.0, 1 / 160
# regularization="auto": lambda where an interaction has so much company or more, and the greatest one.
LAMBDA, FULL_COMPANY, MOST_LAMBDA = 0.01, 50.0, 0.04


class LogisticMF(StochasticModel):
    r"""Matrix factorization of implicit feedback by the probability of an interaction.

    .. math:: P(u \text{ interacts with } i) = \sigma(z_{ui}), \qquad z_{ui} = b_u + c_i + x_u \cdot y_i

    Minimises the cross-entropy of the observed pairs, held with a confidence c, and of negatives, each with weight 1
    (Johnson 2014):

    .. math:: \sum_{\text{observed}} c_{ui}\, H(p_{ui}, z_{ui}) + \sum_{\text{negatives}} H(0, z_{ui})
              + \tfrac12 \lambda (\ldots), \qquad H(p, z) = \log(1 + e^z) - p z

    with preference p = 1 where r is positive and 0 where it is negative, a dislike. Negatives are all pairs, or a
    sample: so many for each observed pair of a user, every item as likely as any other. Each step pays its lambda, so
    that the sums of squares count once for each step of a row.

    Parameters
    ----------
    factors : int
        Length of the vectors.
    alpha : float
        Scale of the confidence of the observed pairs.
    weighting : {"log", "proportional"}
        ``"log"``: ``c = alpha log(1 + |r| / epsilon)``; ``"proportional"``: ``c = alpha |r|`` (both Johnson 2014). One
        step can't follow a count of thousands, which the logarithm tames.
    epsilon : float
        Scale of r in ``weighting="log"``.
    negatives : int or "full"
        Negatives sampled for each observed pair of a user, in each epoch anew; "full" takes all pairs, which costs
        ``n_users * n_items`` steps an epoch. The sample is drawn by row number, also where users are folded in: there
        it depends on a user's place among those folded in together.
    optimizer : {"adagrad", "sgd"}
        Steps divided by the root of the sum of the squared gradients of each number so far (Duchi et al. 2011), or
        plain ones.
    learning_rate : float
        Length of the steps in the first epoch.
    learning_rate_decay : float
        What it is multiplied by after each epoch.
    regularization : float, (float, float) or "auto"
        lambda of the vectors, for both sides or as (users, items). "auto": ``0.01 sqrt(50 / g)``, between 0.01 and
        0.04, where g is the geometric mean of two numbers: how many other interactions its user has, and its item,
        on average over the interactions. Tastes show only where interactions come together; where they hardly do,
        what vectors learn is noise, and the biases, which rank by popularity, are better left alone.
    bias_regularization : float
        lambda of the biases.
    epochs : int
        Passes over the interactions at most.
    early_stopping : float or None
        Stop when the loss of the held-out interactions (without any, the objective) has not fallen by more than this
        fraction of its least value for `patience` epochs.
    patience : int
        See `early_stopping`.
    validation_fraction : float
        Part of the interactions held out at random to measure each epoch, along with as many negatives, drawn once.
        With held-out interactions the model ends with the factors of its best epoch.
    warm_start : bool
        Start `fit` from the factors the model holds. Users and items beyond them get new ones.
    init_scale : float or "auto"
        The vectors start as normal numbers with standard deviation ``init_scale / sqrt(factors)``, biases as 0.
        "auto": ``0.5 (d / 8)^3``, between ``sqrt(factors) / 160`` and 0.5, for d interactions on average of the rows of
        the longer side, users or items (without those that have none). A vector that takes few steps stays near its
        start, which is noise: where d is 1.5, that noise alone can bring the lists below popularity, most of all with
        few factors. Where d is 8 or more, it is forgotten, and lists are slightly better for it.
    dtype : {"float32", "float64"} or NumPy dtype
        Of the factors.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed of the start, the grid, the negatives and the split. With a number, equal input gives equal bits on any
        number of threads.
    num_threads : int or None
        None: all that the process may use.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors + 2)
        Rows ``(x_u, b_u, 1)``.
    item_factors : array, shape (n_items, factors + 2)
        Rows ``(y_i, 1, c_i)``: the dot product of the two is z.
    n_iter_ : int
        Epochs done.
    history_ : dict of lists
        One entry an epoch: ``objective``, and ``train_log_loss`` for each observed pair, summed up while the factors
        moved; ``validation_log_loss`` where interactions are held out; ``learning_rate``, and ``seconds``.
    backend_ : str
        The backend that the fit used.
    mean_item_count_ : float
        Interactions of an item on average.
    init_scale_ : float
        The `init_scale` of the fit: as given, or as "auto" chose it.
    regularization_ : (float, float)
        The same of lambda, of users and items.
    interactions_ : CSR
        The interactions of the fit.

    References
    ----------
    C. C. Johnson, "Logistic Matrix Factorization for Implicit Feedback Data", NIPS 2014 workshop on distributed
    machine learning and matrix computations.

    J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization",
    JMLR 12, 2011.
    """

    _fitted_state = ("n_iter_", "history_", "backend_", "mean_item_count_", "init_scale_", "regularization_")
    _loss_name = "log_loss"
    _fact_names = ("mean_item_count_", "regularization_")
    _chooses_scale = True

    mean_item_count_: float
    init_scale_: float
    regularization_: tuple[float, float]

    def __init__(
        self,
        *,
        factors: int = 64,
        alpha: float = 0.2,
        weighting: str = "log",
        epsilon: float = 0.1,
        negatives: int | str = 10,
        optimizer: str = "adagrad",
        learning_rate: float = 0.3,
        learning_rate_decay: float = 0.95,
        regularization: float | tuple[float, float] | str = "auto",
        bias_regularization: float = 0.01,
        epochs: int = 30,
        early_stopping: float | None = None,
        patience: int = 3,
        validation_fraction: float = 0.0,
        warm_start: bool = False,
        init_scale: float | str = "auto",
        dtype: Any = "float32",
        random_state: Any = None,
        num_threads: int | None = None,
        backend: str = "auto",
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
        for name, what in (("init_scale", "a number"), ("regularization", "a number, a pair of numbers")):
            value = getattr(self, name)
            if isinstance(value, str) and value != "auto":
                raise ValueError(f"{name} must be {what} or 'auto', got {value!r}")
        super()._check_params()
        check_number("alpha", self.alpha, 0)
        check_choice("weighting", self.weighting, ("log", "proportional"))
        check_number("epsilon", self.epsilon, 0, above=True)
        if isinstance(self.negatives, str):
            if self.negatives != "full":
                raise ValueError(f"negatives must be a whole number of at least 0 or 'full', got {self.negatives!r}")
        else:
            check_integer("negatives", self.negatives, 0)
        check_choice("optimizer", self.optimizer, ("adagrad", "sgd"))
        self._lambdas({})
        check_number("bias_regularization", self.bias_regularization, 0)

    def _truth(self, rows: CSR) -> NDArray[Any]:
        return (rows.data > 0).astype(rows.data.dtype)

    def _squares(self, factors: Factors) -> Factors | None:
        if self.optimizer == "sgd":
            return None
        return Factors(*(np.full_like(part, FIRST_SQUARE) for part in factors))

    def _epoch(self, task: Task) -> float:
        users, items = self._lambdas(task.facts)
        rows, columns = (users, items) if task.kind == "user" else (items, users)
        bias = float(self.bias_regularization)
        r = np.abs(task.values)
        r = np.log1p(r / self.epsilon) if self.weighting == "log" else r
        with np.errstate(over="ignore"):
            confidence = np.asarray(self.alpha * r, task.values.dtype)
        if not np.isfinite(confidence).all():
            raise ValueError(
                f"confidences must be finite in {confidence.dtype}, but alpha={self.alpha!r} and "
                f"epsilon={self.epsilon!r} make them larger: lower alpha or raise epsilon"
            )
        total: float = self._backend().logistic_epoch(
            task.grid, task.order, confidence, (task.values > 0).astype(confidence.dtype), self._samples(task),
            task.factors, task.squares, task.rate, (rows, columns, bias, bias), task.seed, task.epoch,
            task.update_columns, task.num_threads,
        )  # fmt: skip
        return total

    def _samples(self, task: Task) -> NDArray[np.float64] | None:
        """Return the expected number of negatives of each row."""
        if isinstance(self.negatives, str):
            return None
        if task.kind == "item":  # negatives are drawn for users: every item gets as many
            if "mean_item_count_" not in task.facts:
                raise ValueError("items can't be folded in before a fit, which counts interactions: call fit first")
            return np.full(len(task.factors.X), self.negatives * task.facts["mean_item_count_"])
        return self.negatives * np.bincount(task.grid.rows, minlength=len(task.factors.X)).astype(np.float64)

    def _facts(self, rows: CSR) -> dict[str, Any]:
        counts = np.diff(rows.indptr), column_counts(rows.indices, rows.shape[1])
        n_users, n_items = (np.count_nonzero(each) for each in counts)  # rows without interactions change nothing
        scale, lambdas = self.init_scale, self.regularization
        if isinstance(scale, str):
            share = min(1.0, len(rows.data) / max(n_users, n_items) / FULL_COUNT)
            scale = min(FULL_SCALE, max(LEAST_START * np.sqrt(self.factors), FULL_SCALE * share**3))
        if isinstance(lambdas, str):
            company = np.sqrt(_others(counts[0]) * _others(counts[1]))
            lambdas = min(MOST_LAMBDA, LAMBDA * np.sqrt(max(1.0, FULL_COMPANY / max(company, 1.0))))
        return {
            "mean_item_count_": len(rows.data) / rows.shape[1], "init_scale_": float(scale),
            "regularization_": check_pair("regularization", lambdas, ("users", "items")),
        }  # fmt: skip

    def _chosen(self, rows: CSR) -> dict[str, Any]:
        facts = self._facts(rows)
        return {"init_scale": facts["init_scale_"], "regularization": facts["regularization_"][0]}

    def _lambdas(self, facts: Mapping[str, Any]) -> tuple[float, float]:
        """Return lambda of users and items; of factors set by hand, "auto" has nothing to go by."""
        chosen = facts.get("regularization_", LAMBDA) if isinstance(self.regularization, str) else self.regularization
        return check_pair("regularization", chosen, ("users", "items"))

    def _penalty(
        self, factors: Factors, facts: Mapping[str, Any], row_counts: NDArray[np.int64],
        column_counts: NDArray[np.int64],
    ) -> float:  # fmt: skip
        m, n = len(row_counts), len(column_counts)
        if isinstance(self.negatives, str):
            row_steps, column_steps = row_counts + n, column_counts + m
        else:
            row_steps = row_counts * (1 + self.negatives)
            column_steps = column_counts + self.negatives * row_counts.sum() / n
        lambdas = self._lambdas(facts)
        return biases.penalty(factors, row_steps, column_steps, *lambdas, float(self.bias_regularization)) / 2

    def _loss(self, total: float, count: int) -> float:
        return total / count

    def _held_out_pairs(
        self, held_out: CSR, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        """Add as many negatives as there are pairs."""
        users, items, truth = super()._held_out_pairs(held_out, rng)
        others = rng.integers(0, held_out.shape[1], len(items))
        return np.concatenate([users, users]), np.concatenate([items, others]), np.concatenate([truth, 0 * truth])

    def _validation_loss(
        self, X: NDArray[Any], Y: NDArray[Any], facts: dict[str, Any], users: NDArray[np.int64],  # noqa: ARG002
        items: NDArray[np.int64], truth: NDArray[Any],
    ) -> float:  # fmt: skip
        z = self._products(X, Y, users, items).astype(np.float64)  # of a probability near 1, float32 has lost the rest
        return float(np.mean(np.logaddexp(0, z) - truth * z))

    def _parts(self, factors: Factors) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return biases.parts(factors)

    def _unpack(self, users: NDArray[Any], items: NDArray[Any]) -> Factors:
        return biases.unpack(users, items)

    def _latent(self, factors: NDArray[Any]) -> NDArray[Any]:
        return biases.latent(factors)

    def _link(self, scores: NDArray[Any], **facts: Any) -> NDArray[Any]:  # noqa: ARG002
        return np.asarray(expit(scores), scores.dtype)


def _others(counts: NDArray[np.int64]) -> float:
    """Return how many other entries the row of an entry has, on average over the entries."""
    return float((counts * (counts - 1.0)).sum() / counts.sum())
