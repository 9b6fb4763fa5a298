"""`SVD` and `NMF` of Surprise (scikit-surprise 1.1.5), over the kernels of alternant: the same numbers, sooner.

Both are algorithms of Surprise: they work in its `cross_validate`, `GridSearchCV`, `dump` and so on, which come from
Surprise itself. With the same `random_state`, factors and biases are those of Surprise up to rounding, since they start
from the same values and the ratings are processed in the same order.
"""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .. import kernels
from .._utils.progress import progress_bar
from ..kernels import Factors, Grid

if TYPE_CHECKING:  # Surprise has no types

    class AlgoBase:
        """What all algorithms of Surprise have."""

        trainset: Any

        def fit(self, trainset: Any) -> Self: ...
        def predict(self, uid: Any, iid: Any, r_ui: Any = None, clip: bool = True, verbose: bool = False) -> Any: ...
        def default_prediction(self) -> float: ...
        def test(self, testset: Any, verbose: bool = False) -> list[Any]: ...

    class PredictionImpossible(Exception): ...

    Prediction: Any
    get_rng: Any
else:
    try:
        from surprise import AlgoBase, Prediction, PredictionImpossible
        from surprise.utils import get_rng
    except ImportError as _error:
        raise ImportError(
            "alternant.compat.surprise extends the algorithms of Surprise, which is not installed: pip install "
            "scikit-surprise"
        ) from _error

# The learning rate of the biases of an SVD without biases, relative to the others: small enough to change nothing, and
# a power of two, so that the scaling that it causes is exact.
NO_RATE = 2.0**-40
UNBOUNDED = -np.inf, np.inf  # predictions
IMPOSSIBLE = "User and item are unknown."  # as Surprise words it, if either is unknown


class _MatrixFactorization(AlgoBase):
    """What both algorithms share: predictions ``mu + b_u + b_i + q_i . p_u``, or ``q_i . p_u`` without biases."""

    n_epochs: int
    biased: bool
    verbose: bool
    pu: NDArray[np.float64]
    qi: NDArray[np.float64]
    bu: NDArray[np.float64]
    bi: NDArray[np.float64]

    def _learn(self, *learned: NDArray[Any]) -> None:  # here, where their types are declared
        self.pu, self.qi, self.bu, self.bi = learned

    def estimate(self, u: Any, i: Any) -> float:
        """Return the prediction for a user and an item, by inner ids; any other id counts as unknown.

        Raises
        ------
        PredictionImpossible
            Without biases, if the user or the item is unknown.
        """
        knows_user, knows_item = self.trainset.knows_user(u), self.trainset.knows_item(i)
        if not (self.biased or (knows_user and knows_item)):
            raise PredictionImpossible(IMPOSSIBLE)
        estimate = self.qi[i] @ self.pu[u] if knows_user and knows_item else 0.0
        if self.biased:
            estimate += self.trainset.global_mean
            estimate += (self.bu[u] if knows_user else 0.0) + (self.bi[i] if knows_item else 0.0)
        return float(estimate)

    def test(self, testset: Any, verbose: bool = False) -> list[Any]:
        """Predict each ``(user, item, rating)`` of a test set, by raw ids, and return a list of `Prediction`.

        Like a call of `predict` for each, but for all at once.
        """
        own = all(getattr(type(self), name) is getattr(_MatrixFactorization, name) for name in ("estimate", "predict"))
        if verbose or not own:  # predictions are printed, or a subclass computes them
            return super().test(testset, verbose)
        testset = list(testset)
        users = _inner([user for user, _, _ in testset], self.trainset.to_inner_uid, self.trainset.knows_user)
        items = _inner([item for _, item, _ in testset], self.trainset.to_inner_iid, self.trainset.knows_item)
        estimates = self._estimates(users, items)
        impossible = np.zeros(len(testset), bool) if self.biased else (users < 0) | (items < 0)
        estimates[impossible] = self.default_prediction()
        low, high = self.trainset.rating_scale
        estimates = np.fmax(low, np.fmin(high, estimates))  # NaN becomes the highest rating, as in `predict`
        return [
            Prediction(*row, estimate, {"was_impossible": True, "reason": IMPOSSIBLE} if no else {"was_impossible": no})
            for row, estimate, no in zip(testset, estimates.tolist(), impossible.tolist(), strict=True)
        ]

    def _estimates(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return predictions for inner ids, -1 for unknown ones, whose biases and factors count as 0."""
        estimates = np.empty(len(users))
        factors = _widened(self.pu), _widened(self.qi)
        kernels.score_pairs(np.maximum(users, 0), np.maximum(items, 0), *factors, estimates, 1)
        estimates[(users < 0) | (items < 0)] = 0
        if self.biased:
            estimates += self.trainset.global_mean
            estimates += np.where(users < 0, 0, self.bu[users]) + np.where(items < 0, 0, self.bi[items])
        return estimates


class SVD(_MatrixFactorization):
    r"""Biased matrix factorization by stochastic gradient descent: `surprise.SVD`, with its parameters.

    Predicts :math:`\mu + b_u + b_i + q_i \cdot p_u` (without biases: :math:`q_i \cdot p_u`) and takes one step per
    rating and epoch, in the order of the training set, along the negative gradient of half of

    .. math:: (r_{ui} - \hat r_{ui})^2 + \lambda_{bu} b_u^2 + \lambda_{bi} b_i^2
              + \lambda_{pu} |p_u|^2 + \lambda_{qi} |q_i|^2

    Parameters
    ----------
    n_factors : int
        Number of factors; 0 learns biases only.
    n_epochs : int
        Number of passes over the ratings.
    biased : bool
        Whether to learn biases.
    init_mean, init_std_dev : float
        Mean and standard deviation of the initial factors, which are drawn from a normal distribution.
    lr_all, reg_all : float
        Learning rate and lambda of all parameters.
    lr_bu, lr_bi, lr_pu, lr_qi, reg_bu, reg_bi, reg_pu, reg_qi : float or None
        Those of one kind of parameters, instead of `lr_all` or `reg_all`. `lr_bu` and `lr_bi` must be equal, `lr_pu`
        and `lr_qi` positive.
    random_state : int, numpy.random.RandomState or None
        Seed; None: NumPy's global random state.
    verbose : bool
        Whether to show a progress bar.

    Attributes
    ----------
    pu, qi : float64 arrays, shapes (n_users, n_factors) and (n_items, n_factors)
        The factors, by inner id.
    bu, bi : float64 arrays, shapes (n_users,) and (n_items,)
        The biases.
    trainset : surprise.Trainset
        The training set.
    """

    def __init__(
        self,
        n_factors: int = 100,
        n_epochs: int = 20,
        biased: bool = True,
        init_mean: float = 0,
        init_std_dev: float = 0.1,
        lr_all: float = 0.005,
        reg_all: float = 0.02,
        lr_bu: float | None = None,
        lr_bi: float | None = None,
        lr_pu: float | None = None,
        lr_qi: float | None = None,
        reg_bu: float | None = None,
        reg_bi: float | None = None,
        reg_pu: float | None = None,
        reg_qi: float | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__()
        self.n_factors = n_factors
        self.n_epochs = n_epochs
        self.biased = biased
        self.init_mean = init_mean
        self.init_std_dev = init_std_dev
        self.lr_bu: float = lr_all if lr_bu is None else lr_bu
        self.lr_bi: float = lr_all if lr_bi is None else lr_bi
        self.lr_pu: float = lr_all if lr_pu is None else lr_pu
        self.lr_qi: float = lr_all if lr_qi is None else lr_qi
        self.reg_bu: float = reg_all if reg_bu is None else reg_bu
        self.reg_bi: float = reg_all if reg_bi is None else reg_bi
        self.reg_pu: float = reg_all if reg_pu is None else reg_pu
        self.reg_qi: float = reg_all if reg_qi is None else reg_qi
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, trainset: Any) -> Self:
        """Learn from a `surprise.Trainset` and return the algorithm.

        Raises
        ------
        ValueError
            If `lr_bu` and `lr_bi` differ, or `lr_pu` or `lr_qi` is not positive.

        Warns
        -----
        RuntimeWarning
            If the fit diverges: factors are then NaN, as in Surprise.
        """
        rate, scale, of_users, of_items = self._scales()
        super().fit(trainset)
        rng = get_rng(self.random_state)
        shapes = (trainset.n_users, self.n_factors), (trainset.n_items, self.n_factors)
        pu, qi = (_widened(rng.normal(self.init_mean, self.init_std_dev, size=shape)) for shape in shapes)
        users, items, ratings = _ratings(trainset)
        grid = Grid.whole(users, items, trainset.n_users, trainset.n_items)
        schedule = np.zeros((1, 1, 2), np.int64)
        factors = Factors(pu / of_users, qi / of_items, np.zeros(trainset.n_users), np.zeros(trainset.n_items))
        targets, mean = ratings / scale, trainset.global_mean / scale if self.biased else 0.0
        penalties = (self.reg_pu * self.lr_pu / rate, self.reg_qi * self.lr_qi / rate, self.reg_bu, self.reg_bi)
        with progress_bar(self.n_epochs, self.verbose, desc=type(self).__name__, unit=" epochs") as progress:
            for _ in range(self.n_epochs):
                kernels.biased_epoch(grid, schedule, targets, factors, mean, UNBOUNDED, rate, penalties, num_threads=1)
                progress.update()
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            n, of_biases = self.n_factors, scale if self.biased else 0.0
            learned = (factors.X * of_users)[:, :n], (factors.Y * of_items)[:, :n]
            self._learn(*learned, of_biases * factors.row_bias, of_biases * factors.column_bias)
        if not (np.isfinite(self.pu).all() and np.isfinite(self.qi).all()):
            warnings.warn("SVD diverges: lower lr_all, or lr_pu and lr_qi", RuntimeWarning, stacklevel=2)
        return self

    def _scales(self) -> tuple[float, float, float, float]:
        """Return the kernel's learning rate, and the scales of predictions, user factors and item factors.

        The kernel has one rate g for all parameters. With ratings r / s, biases b / s and factors p / a and q / c,
        where a c = s, its steps are those of the rates g for b, ``g (a / s)^2`` for p and ``g (c / s)^2`` for q.
        """
        if self.lr_bu != self.lr_bi:
            raise ValueError(f"lr_bu and lr_bi must be equal, got {self.lr_bu} and {self.lr_bi}: pass one for both")
        if not (self.lr_pu > 0 and self.lr_qi > 0):
            raise ValueError(f"lr_pu and lr_qi must be above 0, got {self.lr_pu} and {self.lr_qi}: raise them")
        of_factors = float(np.sqrt(self.lr_pu * self.lr_qi))
        rate = float(self.lr_bu) if self.biased and self.lr_bu > 0 else NO_RATE * of_factors
        scale = rate / of_factors
        return rate, scale, scale * float(np.sqrt(self.lr_pu / rate)), scale * float(np.sqrt(self.lr_qi / rate))


class NMF(_MatrixFactorization):
    r"""Non-negative matrix factorization by multiplicative updates: `surprise.NMF`, with its parameters.

    Predicts :math:`q_i \cdot p_u` with factors of at least 0, and lowers in each epoch, with :math:`I_u` the items of
    user u and :math:`U_i` the users of item i,

    .. math:: \sum (r_{ui} - q_i \cdot p_u)^2 + \lambda_{pu} \sum_u |I_u| |p_u|^2 + \lambda_{qi} \sum_i |U_i| |q_i|^2

    `alternant.ExplicitALS` with ``nonnegative=True, biases=False`` minimizes the same by least squares.

    Parameters
    ----------
    n_factors : int
        Number of factors.
    n_epochs : int
        Number of updates of all factors.
    biased : False
        Biases are not offered.
    reg_pu, reg_qi : float
        lambda of the users and of the items.
    reg_bu, reg_bi, lr_bu, lr_bi : float
        Of biases; not used.
    init_low, init_high : float
        The initial factors are drawn uniformly from this range, which must not be negative.
    random_state : int, numpy.random.RandomState or None
        Seed; None: NumPy's global random state.
    verbose : bool
        Whether to show a progress bar.

    Attributes
    ----------
    pu, qi, trainset
        As in `SVD`.
    bu, bi
        Zeros.

    Raises
    ------
    NotImplementedError
        If `biased` is set.
    ValueError
        If `init_low` is negative.

    References
    ----------
    X. Luo, M. Zhou, Y. Xia, Q. Zhu, "An Efficient Non-Negative Matrix-Factorization-Based Approach to Collaborative
    Filtering for Recommender Systems", IEEE Transactions on Industrial Informatics 10(2), 2014.
    """

    def __init__(
        self,
        n_factors: int = 15,
        n_epochs: int = 50,
        biased: bool = False,
        reg_pu: float = 0.06,
        reg_qi: float = 0.06,
        reg_bu: float = 0.02,
        reg_bi: float = 0.02,
        lr_bu: float = 0.005,
        lr_bi: float = 0.005,
        init_low: float = 0,
        init_high: float = 1,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        if biased:
            raise NotImplementedError("NMF(biased=True) is not offered here: use SVD, which has biases")
        if init_low < 0:
            raise ValueError(f"init_low must be at least 0, so that no factor is negative, got {init_low}")
        super().__init__()
        self.n_factors = n_factors
        self.n_epochs = n_epochs
        self.biased = False
        self.reg_pu = reg_pu
        self.reg_qi = reg_qi
        self.reg_bu = reg_bu
        self.reg_bi = reg_bi
        self.lr_bu = lr_bu
        self.lr_bi = lr_bi
        self.init_low = init_low
        self.init_high = init_high
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, trainset: Any) -> Self:
        """Learn from a `surprise.Trainset` and return the algorithm."""
        super().fit(trainset)
        m, n = trainset.n_users, trainset.n_items
        rng = get_rng(self.random_state)
        pu, qi = (rng.uniform(self.init_low, self.init_high, size=(count, self.n_factors)) for count in (m, n))
        users, items, ratings = _ratings(trainset)
        by_user, by_item = np.argsort(users, kind="stable"), np.argsort(items, kind="stable")
        of_users = _matrix(ratings[by_user], users[by_user], items[by_user], (m, n))
        of_items = _matrix(ratings[by_item], items[by_item], users[by_item], (n, m))
        user_weight, item_weight = self.reg_pu * np.diff(of_users.indptr), self.reg_qi * np.diff(of_items.indptr)
        predicted = np.empty(len(ratings))
        with progress_bar(self.n_epochs, self.verbose, desc=type(self).__name__, unit=" epochs") as progress:
            for _ in range(self.n_epochs):
                kernels.score_pairs(users, items, pu, qi, predicted, 1)
                pu, qi = (
                    _updated(pu, of_users, predicted[by_user], qi, user_weight),
                    _updated(qi, of_items, predicted[by_item], pu, item_weight),
                )
                progress.update()
        self._learn(pu, qi, np.zeros(m), np.zeros(n))
        return self


def _widened(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return factors, of n_factors=0 as one column of zeros: kernels need a column, and zeros stay zeros."""
    return factors if factors.shape[1] else np.zeros((len(factors), 1))


def _matrix(
    values: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]
) -> Any:
    """Return values in the order of rows as a CSR array, in which a pair that is rated twice has two entries."""
    return sparse.csr_array((values, columns, np.searchsorted(rows, np.arange(shape[0] + 1))), shape=shape)


def _updated(
    factors: NDArray[np.float64], ratings: Any, predicted: NDArray[np.float64], fixed: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """Return the factors of one side after the multiplicative update."""
    predictions = sparse.csr_array((predicted, ratings.indices, ratings.indptr), shape=ratings.shape)
    found = predictions @ fixed + weight[:, None] * factors
    ratio = np.divide(ratings @ fixed, found, out=np.ones_like(found), where=found != 0)
    return np.asarray(factors * ratio)


def _ratings(trainset: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the inner ids and the ratings of a training set, in the order of its `all_ratings`."""
    counts = np.fromiter(map(len, trainset.ur.values()), np.int64, len(trainset.ur))
    users = np.repeat(np.fromiter(trainset.ur, np.int64, len(trainset.ur)), counts)
    chain = itertools.chain.from_iterable
    pairs = np.fromiter(chain(chain(trainset.ur.values())), np.float64, 2 * len(users)).reshape(-1, 2)
    return users, pairs[:, 0].astype(np.int64), np.ascontiguousarray(pairs[:, 1])


def _inner(raw: list[Any], to_inner: Any, knows: Any) -> NDArray[np.int64]:
    """Return the inner ids of raw ones, -1 for those of which the training set has no ratings."""

    def number(one: Any) -> int:
        try:
            inner = int(to_inner(one))
        except ValueError:
            return -1
        return inner if knows(inner) else -1

    numbers = {one: number(one) for one in set(raw)}
    return np.array([numbers[one] for one in raw], np.int64)


__all__ = ["NMF", "SVD"]
