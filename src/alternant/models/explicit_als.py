"""Alternating least squares on explicit ratings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.validation import check_pair
from ..data.csr import CSR
from ..data.ratings import check_ratings, check_sample_weight
from ..data.store import Store
from ._bias_columns import latent
from ._fit_loop import Callback, FitOptions
from ._sklearn import check_unused
from ._traits import Traits
from .als.explicit_objective import ExplicitObjective, ExplicitSides
from .als.features import priors_of_fit
from .als.observed import Observed
from .als.solver import Solver
from .als.trainer import AlternatingLeastSquares

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from .._typing import Auto, BackendName, Dense, DType, Featured, Rated, Seed, Sparse

# Non-negative rows are solved until their gradient has fallen to this fraction, or for at most this many sweeps.
NONNEGATIVE_TOL, NONNEGATIVE_SWEEPS = 1e-9, 1000


class ExplicitALS(AlternatingLeastSquares):
    r"""Matrix factorization of ratings by alternating least squares.

    Minimizes, over the observed ratings r of user u for item i with weight w,

    .. math:: \sum w_{ui} (r_{ui} - \mu - b_u - b_i - x_u \cdot y_i)^2
              + \sum_u \lambda_u (|x_u|^2 + b_u^2) + \sum_i \lambda_i (|y_i|^2 + b_i^2)

    by solving for all users (factors and bias jointly) with the items fixed, then for all items with the users fixed.
    After each half-sweep, the weighted mean of the biases is moved to mu, which minimizes the penalty. With
    ``biases=False`` there are neither biases nor mean. Predictions are not clipped to the range of the ratings.

    The defaults give a root mean squared error of 0.851 on held-out ratings of MovieLens latest-small (mean of five
    random splits, 80 : 20).

    With features of users or items, factors and biases are regularized towards what the features predict, as in
    `ImplicitALS`; the constant among the features then takes the place of the common bias.

    A complete matrix without weights is solved in closed form, with one factorization per half-sweep for all rows.

    Parameters
    ----------
    factors : int
        Number of factors: the length of the vectors x and y.
    regularization : float or (float, float)
        lambda, for both sides or as (users, items).
    regularization_scaling : {"none", "count"}
        | ``"none"``: ``lambda_u = lambda``.
        | ``"count"``: ``lambda_u = lambda n_u``, n_u the number of ratings of the row (ALS-WR, Zhou et al. 2008).
    biases : bool
        Whether to learn mu, b_u and b_i.
    nonnegative : bool
        Constrain all factors to be at least 0. Each row is solved by non-negative least squares; `solver` is ignored.
        Requires ``biases=False``. Ratings may be negative.
    missing_value : float
        Marks a missing rating, in addition to NaN, in dense and in sparse ratings.
    solver : {"cg", "cholesky"}
        Conjugate gradients, started from the previous factors, or an exact solution, which takes 1.2 to 2.5 times as
        long for the same error; see `alternant.kernels.solve_rows`.
    tol : float
        Conjugate gradients stop when the estimated distance of a row from its solution, in the norm of the row's
        matrix, has fallen to this fraction of its value at the start of the half-sweep.
    max_cg_steps : int
        Maximum number of conjugate-gradient steps for a row in one half-sweep.
    feature_regularization : float, "auto", or a pair (users, items)
        rho, relative to the weighted sum of squares of the average feature; used by fits with features only.
        ``"auto"``: chosen by held-out rows, as in `ImplicitALS`.
    iterations : int
        Maximum number of iterations, of two half-sweeps each.
    early_stopping : float or None
        Stop when an iteration lowers the objective by no more than this fraction of it.
    warm_start : bool
        Start `fit` from the model's factors (and mean), from an earlier fit or set by hand. Users and items that are
        not among them are initialized as in a first fit.
    init_scale : float
        The item factors are drawn from a normal distribution with standard deviation ``init_scale / sqrt(factors)``
        (with `nonnegative`, its absolute values); user factors are solved first and need no initial value.
    dtype : {"float32", "float64"} or NumPy dtype
        Data type of the factors and of the arithmetic on them.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed of the initial factors. With an int, fits of equal input are bit-identical on any number of threads.
    num_threads : int or None
        Number of threads; None uses all that are available to the process.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors + 2)
        Rows ``(x_u, b_u, 1)``, so that a score is mu plus a dot product; ``(n_users, factors)`` without biases.
    item_factors : array, shape (n_items, factors + 2)
        Rows ``(y_i, 1, b_i)``.
    mean_ : float
        mu; 0 without biases.
    n_iter_ : int
        Number of iterations run.
    history_ : dict of lists
        One entry per iteration: ``objective``, ``user_sweep_objective`` (between the two half-sweeps), ``seconds``
        since the fit began, ``user_cg_steps`` and ``item_cg_steps`` (mean over the rows; 0 for exact solutions; with
        `nonnegative`, sweeps).
    feature_regularization_ : tuple
        rho of users and items; None without features, infinite if ``"auto"`` left them out.
    backend_ : str
        The backend that the fit used.
    interactions_ : CSR
        The ratings of the fit; a stored zero is a rating.

    References
    ----------
    Y. Zhou, D. Wilkinson, R. Schreiber, R. Pan, "Large-Scale Parallel Collaborative Filtering for the Netflix Prize",
    AAIM 2008.

    Y. Koren, R. Bell, C. Volinsky, "Matrix Factorization Techniques for Recommender Systems", IEEE Computer 2009.
    """

    traits: ClassVar[Traits] = Traits(
        "ratings", "ratings with gaps or without, weights; non-negative factors", "alternating least squares"
    )
    _fitted_state = (*AlternatingLeastSquares._fitted_state, "mean_")
    bytes_per_pair: ClassVar[int] = 32
    _learns_zeros = True
    _padded = False
    _choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **AlternatingLeastSquares._choices,
        "regularization_scaling": ("none", "count"),
    }
    _min_count = 20

    mean_: float

    def __init__(
        self,
        *,
        factors: int = 32,
        regularization: float | tuple[float, float] = 0.12,
        regularization_scaling: Literal["none", "count"] = "count",
        biases: bool = True,
        nonnegative: bool = False,
        missing_value: float = np.nan,
        solver: Literal["cg", "cholesky"] = "cg",
        tol: float = 0.01,
        max_cg_steps: int = 10,
        feature_regularization: float | tuple[float | Auto, float | Auto] | Auto = "auto",
        iterations: int = 15,
        early_stopping: float | None = None,
        warm_start: bool = False,
        init_scale: float = 0.1,
        dtype: DType = "float32",
        random_state: Seed = None,
        num_threads: int | None = None,
        backend: BackendName = "auto",
    ) -> None:
        self.factors = factors
        self.regularization = regularization
        self.regularization_scaling = regularization_scaling
        self.biases = biases
        self.nonnegative = nonnegative
        self.missing_value = missing_value
        self.solver = solver
        self.tol = tol
        self.max_cg_steps = max_cg_steps
        self.feature_regularization = feature_regularization
        self.iterations = iterations
        self.early_stopping = early_stopping
        self.warm_start = warm_start
        self.init_scale = init_scale
        self.dtype = dtype
        self.random_state = random_state
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    def fit(
        self,
        ratings: Rated,
        y: Any = None,
        *,
        sample_weight: Sparse | Dense | Sequence[float] | None = None,
        user_features: Featured | None = None,
        item_features: Featured | None = None,
        callback: Callback | None = None,
        callback_at: Literal["iteration", "half_sweep"] = "iteration",
        show_progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 1,
        memory_limit: int | str | None = None,
    ) -> Self:
        """Learn the factors, biases and mean.

        Parameters
        ----------
        ratings : Interactions, or sparse matrix or array, or dense array, shape (n_users, n_items)
            Sparse in any SciPy format: every stored value is a rating, including 0 (but not zeros in the blocks of the
            format bsr, which are taken for padding). Dense, including lists of lists and masked arrays: NaN marks a
            missing rating. So does `missing_value` in both.
        y : None
            Not used; present for compatibility with scikit-learn.
        sample_weight : like `ratings`, or list of numbers, shape (n_users,), optional
            Non-negative weights of the ratings: sparse with the same stored pairs, or dense of the same shape. A list
            has one weight for each user, that of all of the user's ratings.
        user_features, item_features : Features, or sparse matrix or array, or dense array, shape (n, d), optional
            As for `ImplicitALS.fit`.
        callback : callable, optional
            Called with a `FitState`; the fit stops after the iteration in which it returns True.
        callback_at : {"iteration", "half_sweep"}
            Whether to call it after each iteration, or after each of its two half-sweeps.
        show_progress : bool, optional
            Whether to show a progress bar on stderr. By default, only on a terminal.
        checkpoint : path, optional
            A folder in which the state of the fit is saved after each iteration, which takes as long as saving the
            model. If it contains the state of a fit with the same parameters to the same data, this fit resumes from
            there, and ends with factors identical to those of an uninterrupted one; if all iterations are done, it
            returns them.
        every : int
            With `checkpoint`: save it after this many iterations, and at the end.
        memory_limit : int or str, optional
            As for `ImplicitALS.fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the input or a parameter is invalid (a pair rated twice, for example, since ratings are not summed); the
            model is left unchanged.
        SingularRowError
            If a row has no unique solution (`regularization` is 0 or too small).
        OverflowError
            If ratings or weights are too large for `dtype`.
        """
        self._check_params()
        check_unused(y)
        options = FitOptions(callback, callback_at, show_progress, checkpoint, every)
        ratings, ids = self._matrix_and_ids(ratings)
        observed = self._observed("ratings", ratings)
        if not observed.nnz:
            raise ValueError(f"ratings must contain at least one rating, got none in shape {observed.shape}")
        weight = None
        if sample_weight is not None and observed.on_disk:
            raise ValueError("sample_weight needs ratings in memory, but these are in a store: leave it out")
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, ratings, observed.users, float(self.missing_value))
        pool = self._pool(observed, memory_limit)
        start = self._start(*observed.shape, pool)
        mean = 0.0
        if self.biases:
            with np.errstate(over="ignore", invalid="ignore"):  # the first half-sweep reports it
                mean = observed.mean_value(weight)
            mean = float(getattr(self, "mean_", mean)) if start[0] is not None else mean
        prior_of = priors_of_fit(self, (user_features, item_features), observed.shape, ids)
        if prior_of is not None and self.nonnegative:
            raise ValueError(
                "features need factors of any sign, got nonnegative=True: leave them out, or pass nonnegative=False"
            )
        sides = ExplicitSides(self._objective(), observed, weight, mean, prior_of)
        return self._alternate(sides, observed, start, ids, options, pool)

    # Internals

    def _check_params(self) -> None:
        super()._check_params()
        if self.nonnegative and self.biases:
            raise ValueError("nonnegative=True requires biases=False, got biases=True: pass biases=False")

    def _observed(self, name: str, matrix: Any) -> Observed:
        if isinstance(matrix, Store):
            if not np.isnan(float(self.missing_value)):
                raise ValueError(
                    f"missing_value must be NaN if {name} are in a store, got {self.missing_value!r}: leave missing "
                    "ratings out when they are read into the store"
                )
            if matrix.nnz == matrix.shape[0] * matrix.shape[1]:  # solved as a dense table
                matrix = matrix.users.to_scipy()
        return super()._observed(name, matrix)

    def _check_rows(self, name: str, rows: Any, dtype: np.dtype[Any], copy: bool = False) -> CSR:
        return check_ratings(name, rows, dtype, float(self.missing_value), copy)

    def _link(self, scores: NDArray[Any], **state: Any) -> NDArray[Any]:
        mean = state.get("mean_", getattr(self, "mean_", 0.0))
        return np.asarray(scores + scores.dtype.type(mean))

    def _has_biases(self) -> bool:
        return self.biases

    def _latent(self, factors: NDArray[Any]) -> NDArray[Any]:
        return latent(factors) if self.biases else factors

    def _solver(self, fold_in: bool = False) -> Solver:
        solver = super()._solver(fold_in)
        if not self.nonnegative:
            return solver
        return Solver(solver.backend, "nonnegative", NONNEGATIVE_TOL, NONNEGATIVE_SWEEPS, solver.num_threads)

    def _objective(self) -> ExplicitObjective:
        regularization = check_pair("regularization", self.regularization, ("users", "items"))
        return ExplicitObjective(regularization, self.regularization_scaling, self.biases)

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None, given: Any = None,
        own: NDArray[Any] | None = None,
    ) -> NDArray[Any]:  # fmt: skip
        objective, mean = self._objective(), float(getattr(self, "mean_", 0.0)) if self.biases else 0.0
        problems = objective.problems(rows, None, kind, numbers)
        means = self._means(kind, rows.shape[0], fixed.dtype, numbers, given)
        if means is not None:
            problems = replace(problems, linear=problems.regularization[:, None] * means)
        factors = objective.solve(problems, own, fixed, mean, self._solver(fold_in=own is None)).factors
        if means is not None:
            unrated = np.diff(rows.indptr) == 0
            factors[unrated] = objective.with_constant(means[unrated], kind)
        return factors

    def _solve_side(self, rows: CSR, own: NDArray[Any], fixed: NDArray[Any], kind: str) -> NDArray[Any]:
        objective, mean = self._objective(), float(getattr(self, "mean_", 0.0)) if self.biases else 0.0
        problems = objective.problems(rows, None, kind)
        return objective.solve(problems, own, fixed, mean, self._solver()).factors

    def _new_rows(self, latent: NDArray[Any], kind: str) -> NDArray[Any]:
        if self.nonnegative:
            latent = np.abs(latent)
        return self._objective().with_constant(np.pad(latent, ((0, 0), (0, 1))), kind) if self.biases else latent

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return the search range of lambda."""
        low, high = (0.01, 1.0) if self.regularization_scaling == "count" else (0.1, 100.0)
        return {"regularization": (low, high, "log")}

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Estimate the cost of an iteration."""
        return float(n_pairs * (64 + 5 * self.factors))
