"""Weighted alternating least squares on implicit feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from .._utils.threads import resolve_num_threads
from ..data.csr import CSR
from ._fit_loop import Callback, FitOptions
from ._parameters import AUTO
from ._sklearn import check_unused
from ._traits import Traits
from .als.explanation import Explanation, explain
from .als.features import priors_of_fit
from .als.implicit_defaults import CHOSEN, WEIGHTINGS, choose_objective, chosen_values, search_space
from .als.implicit_model import ImplicitModel
from .als.observed import Observed
from .als.trainer import AlternatingLeastSquares

if TYPE_CHECKING:
    import os

    from .._typing import Auto, BackendName, DType, Featured, Rated, Seed


class ImplicitALS(ImplicitModel):
    r"""Matrix factorization of implicit feedback by weighted alternating least squares.

    Minimizes, over all pairs of a user u and an item i, observed or not,

    .. math:: \sum_{u,i} v_{ui} c_{ui} (p_{ui} - x_u \cdot y_i)^2
              + \sum_u d_u^2 \lambda_u |x_u|^2 + \sum_i e_i^2 \lambda_i |y_i|^2,
              \qquad v_{ui} = d_u^2 e_i^2

    by solving for all users with the items fixed, then for all items with the users fixed. The preference p is 1 if the
    interaction r is positive, else 0; a negative r is a dislike whose confidence is that of its absolute value. The
    confidence c of an observed pair is given by `weighting`, that of an unobserved pair is `unobserved_weight`. Stored
    zeros count as unobserved. d and e are powers of the numbers of interactions of a user and of an item
    (`degree_normalization`; with 0 they are 1), which reduce the weight of users with long histories and of popular
    items. The objective equals that of factors ``d_u x_u`` and ``e_i y_i`` without v, with preferences ``d_u e_i
    p_ui``; in the form above, predictions are preferences, and the regularization of a row does not change with its
    degree.

    The defaults are derived from the interactions: their density, their distribution over users and items, and
    whether their values differ. Attributes with a trailing underscore hold the values chosen; a number overrides them.
    On 19 data sets of 100 to 41,000 items, NDCG was mostly within 5 % of the best that a search of 60 trials found, and
    above that of popularity (benchmarks/results/defaults.md). With two interactions per user, mostly with bestsellers,
    it may be lower than that of popularity: compare with `Popularity`, or fit a `Blend`.

    A user without interactions, in the fit or folded in, gets the factors of the mean user, in which users with n_u
    interactions have the weight n_u^-2 (n_u^-1 or 1, if fewer than 100 would make up most of it).

    With features of users or items, the factors are regularized towards what the features predict: x_u in the terms
    above becomes ``x_u - A^T f_u``, y_i becomes ``y_i - B^T h_i``, and ``rho |A|^2`` and ``rho |B|^2`` are added. f and
    h end in a constant, to which rho does not apply. A and B are ridge regressions of the factors on the features after
    each half-sweep, from the second iteration on. Users or items with features alone get the factors ``A^T f`` or
    ``B^T h``.

    Parameters
    ----------
    factors : int
        Number of factors: the length of the vectors x and y.
    alpha : float or "auto"
        Scale of the confidence; ignored by ``weighting="ials"``. ``"auto"``: such that half of the mean confidence
        comes from the values r; 1 for ``weighting="proportional"``.
    weighting : {"auto", "hu", "log", "proportional", "ials", "ials-log"}
        | ``"hu"``: ``c = 1 + alpha r`` (Hu, Koren and Volinsky 2008).
        | ``"log"``: ``c = 1 + alpha log(1 + r / epsilon)`` (same source).
        | ``"proportional"``: ``c = alpha r``, as in the library implicit (whose objective is that with
          ``regularization_scaling="none"``).
        | ``"ials"``: weight 1 on the observed pairs, with preference p, plus `unobserved_weight` on all pairs, with
          preference 0 (Rendle et al. 2022); the size of r is ignored.
        | ``"ials-log"``: as ``"ials"``, with weight ``1 + alpha log(1 + r / epsilon)`` on the observed pairs.
        | ``"auto"``: ``"ials"`` if all interactions have the same absolute value, else ``"ials-log"``, as values that
          span orders of magnitude, such as hours or counts, are informative, but not in proportion. With any other
          weighting, `degree_normalization` ``"auto"`` is 0, so that the objective is that of the paper.
    epsilon : float or "auto"
        Scale of r in the logarithmic weightings. ``"auto"``: the median of the absolute values.
    unobserved_weight : float or "auto"
        w0, the confidence that an unobserved pair means no interest; in ``"ials"`` and ``"ials-log"``, the weight of
        all pairs. ``"auto"``: such that the total weight of all pairs is 75 times that of the observed ones, since the
        best weight is lower for sparser data, and up to 150 times with short histories without bestsellers (see
        `popularity_exponent`). 1 in the other weightings.
    regularization : float, (float, float) or "auto"
        lambda, for both sides or as (users, items). ``"auto"``: such that singular directions are dropped below a
        threshold relative to the largest singular value of a random matrix with the same numbers of interactions: from
        0.4 times that value, if many items co-occur more often than by chance, to 1 times, if hardly any do; 1.35 times
        that, if histories of two or three items, or of bestsellers, say little, too. With 0, where the interactions do
        not determine a row, the solution of minimum norm; an error if `unobserved_weight` is 0, too.
    regularization_scaling : {"none", "count", "ials"}
        | ``"none"``: ``lambda_u = lambda``.
        | ``"count"``: ``lambda_u = lambda n_u``, with n_u the number of interactions of the row (ALS-WR).
        | ``"ials"``: ``lambda_u = lambda (n_u + w0 n)^nu``, with n the size of the other side (Rendle et al. 2022).
    regularization_exponent : float
        nu in ``regularization_scaling="ials"``.
    degree_normalization : float, (float, float) or "auto"
        Exponents a of users and b of items, or one number for both: ``d_u ~ n_u^-a``, ``e_i ~ n_i^-b``, scaled such
        that d e has mean 1 over the observed pairs. ``"auto"``: a = 0.25, and b between 0.1, if few items have most of
        the interactions, and 0.2, if they are spread evenly; with short histories (see `popularity_exponent`) 0.2 with
        and 0.3 without bestsellers, less the share of interactions with items of up to three, at most 0.1. The counts n
        are those of the fit, dislikes included, for folded-in rows their own; factors set by hand, without a fit, imply
        a = b = 0. Changing this parameter or `popularity_exponent` by `set_params` has no effect until the next fit.
    popularity_exponent : float, "auto" or None
        s: lists are ranked by ``n_i^s (d_u x_u) . (e_i y_i)``. None: s = b, which ranks by predicted preference; lower
        values favour rarer items. It is part of `item_factors`; `predict` returns preferences times ``n_i^(s - b)``,
        scaled to a mean of 1 over the observed pairs. ``"auto"``: the mean of 1 / n_u with long histories (up to 0.1);
        with short ones (from 0.18), 0, and up to 0.15 with very short ones (0.5); but up to 0.6 with short histories of
        bestsellers, that is, if the 20 most popular items have 0.03 to 0.1 of the interactions, and 1.5 to 2 times as
        many as equal items would have. b if `weighting` is not "auto".
    solver : {"cg", "cholesky"}
        Conjugate gradients, started from the previous factors, or an exact solution; see
        `alternant.kernels.solve_rows`.
    tol : float
        Conjugate gradients stop when the estimated distance of a row from its solution, in the norm of the row's matrix
        (the square root of how far the objective can still fall), has fallen to this fraction of its value at the start
        of the half-sweep. Lower values are slower; they pay off if confidences span many orders of magnitude.
    max_cg_steps : int
        Maximum number of conjugate-gradient steps for a row in one half-sweep.
    feature_regularization : float, "auto", or a pair (users, items)
        rho, relative to the weighted sum of squares of the average feature; used by fits with features only.
        ``"auto"``: the largest of 1/64 to 64 that keeps 99 % of the best reduction of the error in predicting factors
        of held-out rows; if the features don't predict them, they are left out, and the fit is that without features.
        If products of pairs of features (of up to 256 features) predict a quarter more, they are features, too; with
        a number, they never are.
    iterations : int
        Maximum number of iterations, of two half-sweeps each.
    acceleration : {"nesterov", None}
        | ``"nesterov"``: start each iteration from an extrapolation of the last two (Mitchell, Ye and De Sterck 2020);
          an iteration that raises the objective is repeated without it.
        | None: plain alternating least squares.
    early_stopping : float or None
        Stop when an iteration lowers the objective by no more than this fraction of it.
    warm_start : bool
        Start `fit` from the model's factors, from an earlier fit or set by hand. Users and items that are not among
        them are initialized as in a first fit. The acceleration restarts.
    init_scale : float
        The item factors are drawn from a normal distribution with standard deviation ``init_scale / sqrt(factors)``;
        user factors are solved first and need no initial value.
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
    user_factors : array, shape (n_users, factors)
    item_factors : array, shape (n_items, factors)
    weighting_, alpha_, epsilon_, unobserved_weight_, regularization_, degree_normalization_, popularity_exponent_
        The values of these parameters in the fit, given or chosen by ``"auto"``; `regularization_` and
        `degree_normalization_` as (users, items).
    n_iter_ : int
        Number of iterations run.
    history_ : dict of lists
        One entry per iteration: ``objective``, which never rises except by rounding; ``user_sweep_objective``, between
        the two half-sweeps (with acceleration, for the extrapolated item factors, so that it may rise); ``seconds``
        since the fit began; ``user_cg_steps`` and ``item_cg_steps`` (mean over the rows; 0 for exact solutions). The
        objectives are the sum of the confidences of all likes minus the part that the factors explain. Their error,
        relative to that sum, is the rounding error of `dtype`, or 1e-5 with rows in float16 (`tol` of at least 0.05);
        in float32 it is larger if confidences span many orders of magnitude.
    feature_regularization_ : tuple
        rho of users and items; None without features, infinite if ``"auto"`` left them out.
    backend_ : str
        The backend that the fit used.
    interactions_ : CSR
        The interactions of the fit.

    References
    ----------
    Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.

    S. Rendle, W. Krichene, L. Zhang, Y. Koren, "Revisiting the Performance of iALS on Item Recommendation
    Benchmarks", RecSys 2022.

    D. Agarwal, B.-C. Chen, "Regression-based Latent Factor Models", KDD 2009 (the prior learned from features).

    G. Takács, I. Pilászy, D. Tikk, "Applications of the Conjugate Gradient Method for Implicit Feedback
    Collaborative Filtering", RecSys 2011.
    """

    traits: ClassVar[Traits] = Traits(
        "implicit", "clicks, plays, purchases; dislikes as negative values", "weighted alternating least squares"
    )
    rescored_parameter: ClassVar[str | None] = "popularity_exponent"
    _choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **AlternatingLeastSquares._choices,
        "weighting": (AUTO, *WEIGHTINGS),
        "regularization_scaling": ("none", "count", "ials"),
    }
    _automatic = CHOSEN
    _fitted_state = (*AlternatingLeastSquares._fitted_state, *(f"{name}_" for name in CHOSEN))

    weighting_: str
    alpha_: float
    epsilon_: float
    unobserved_weight_: float
    regularization_: tuple[float, float]
    degree_normalization_: tuple[float, float]
    popularity_exponent_: float

    def __init__(
        self,
        *,
        factors: int = 64,
        alpha: float | Auto = "auto",
        weighting: Literal["auto", "hu", "log", "proportional", "ials", "ials-log"] = "auto",
        epsilon: float | Auto = "auto",
        unobserved_weight: float | Auto = "auto",
        regularization: float | tuple[float, float] | Auto = "auto",
        regularization_scaling: Literal["none", "count", "ials"] = "ials",
        regularization_exponent: float = 1.0,
        degree_normalization: float | tuple[float, float] | Auto = "auto",
        popularity_exponent: float | Auto | None = "auto",
        solver: Literal["cg", "cholesky"] = "cg",
        tol: float = 0.3,
        max_cg_steps: int = 10,
        feature_regularization: float | tuple[float | Auto, float | Auto] | Auto = "auto",
        iterations: int = 8,
        acceleration: Literal["nesterov"] | None = "nesterov",
        early_stopping: float | None = None,
        warm_start: bool = False,
        init_scale: float = 0.1,
        dtype: DType = "float32",
        random_state: Seed = None,
        num_threads: int | None = None,
        backend: BackendName = "auto",
    ) -> None:
        self.factors = factors
        self.alpha = alpha
        self.weighting = weighting
        self.epsilon = epsilon
        self.unobserved_weight = unobserved_weight
        self.regularization = regularization
        self.regularization_scaling = regularization_scaling
        self.regularization_exponent = regularization_exponent
        self.degree_normalization = degree_normalization
        self.popularity_exponent = popularity_exponent
        self.solver = solver
        self.tol = tol
        self.max_cg_steps = max_cg_steps
        self.feature_regularization = feature_regularization
        self.iterations = iterations
        self.acceleration = acceleration
        self.early_stopping = early_stopping
        self.warm_start = warm_start
        self.init_scale = init_scale
        self.dtype = dtype
        self.random_state = random_state
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        known = self.acceleration is None or (isinstance(self.acceleration, str) and self.acceleration == "nesterov")
        if not known:
            raise ValueError(f"acceleration must be 'nesterov' or None (plain iterations), got {self.acceleration!r}")

    def fit(
        self,
        interactions: Rated,
        y: Any = None,
        *,
        user_features: Featured | None = None,
        item_features: Featured | None = None,
        callback: Callback | None = None,
        callback_at: Literal["iteration", "half_sweep"] = "iteration",
        show_progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 1,
        memory_limit: int | str | None = None,
    ) -> Self:
        """Learn the factors.

        Parameters
        ----------
        interactions : Interactions, or sparse matrix or array, or dense array, shape (n_users, n_items)
            The value r of every observed pair. Sparse in any SciPy format, whose duplicates are summed; dense (lists of
            lists, too) with 0 where there is no interaction.
        y : None
            Not used; present for compatibility with scikit-learn.
        user_features, item_features : Features, or sparse matrix or array, or dense array, shape (n, d), optional
            Features of the users and of the items. `Features` are matched by id, and need `Interactions`; rows of a
            matrix are in the order of the users (items), its columns should be on similar scales.
        callback : callable, optional
            Called with a `FitState`; the fit stops after the iteration in which it returns True. An exception leaves
            the model of the last complete iteration.
        callback_at : {"iteration", "half_sweep"}
            Whether to call it after each iteration, or after each of its two half-sweeps, including those of an
            accelerated iteration that raised the objective and is repeated.
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
            The resident memory that the fit may take, in bytes or as a string such as "4GB" or "500M". If the factors
            do not fit, they are kept in files, in the folder of the store or of temporary files; a limit that is too
            low for the fixed side of a half-sweep is refused. The factors do not depend on it. Interactions take no
            memory if they are in a store (`Interactions.from_parquet`).

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the input or a parameter is invalid; the model is left unchanged.
        SingularRowError
            If a row has no unique solution (`regularization` and `unobserved_weight` are 0 or too small).
        OverflowError
            If confidences are too large for `dtype`.
        """
        self._check_params()
        check_unused(y)
        options = FitOptions(callback, callback_at, show_progress, checkpoint, every)
        matrix, ids = self._matrix_and_ids(interactions)
        observed = self._observed("interactions", matrix)
        pool = self._pool(observed, memory_limit)
        objective = choose_objective(self, observed)
        degrees = objective.degrees
        assert degrees is not None
        features = user_features, item_features
        sides = objective.of_fit(observed, priors_of_fit(self, features, observed.shape, ids))
        start = self._start(*observed.shape, pool)
        previous = getattr(self, "item_factors", None) if self.warm_start else None
        drawn = slice(0 if previous is None else len(previous), None)
        objective.finish_items(start[1][drawn], degrees.items[drawn])
        attributes = {**ids, **chosen_values(objective, degrees), "_degrees": degrees}
        return self._alternate(sides, observed, start, attributes, options, pool)

    def auto_parameters(self, rows: CSR) -> dict[str, Any]:
        """Return the values of the parameters that may be ``"auto"``, by name."""
        objective = choose_objective(self, Observed.of(rows, resolve_num_threads(self.num_threads)))
        assert objective.degrees is not None
        return {name.removesuffix("_"): value for name, value in chosen_values(objective, objective.degrees).items()}

    def _accelerated(self) -> bool:
        return self.acceleration is not None

    def explain(
        self, user: Any, item: Any, *, user_items: Rated | None = None, user_features: Featured | None = None
    ) -> Explanation:
        """Break a score down into the contributions of the items in the user's history.

        With ``A`` the matrix of the user's row problem, the solution is ``A^-1 sum_j t_j y_j``, so that item j
        contributes ``t_j y_i . A^-1 y_j`` to the score of item i (Hu, Koren and Volinsky 2008, section 5). A disliked
        item contributes 0; it affects the other contributions through ``A``.

        Parameters
        ----------
        user : id or None
            A user of the fit; None for a new user, folded in from `user_items`.
        item : id
        user_items : sparse matrix, shape (1, n_items), or Interactions of one user, optional
            The user's interactions, instead of those of the fit.
        user_features : as for `recommend`, one row, optional
            With ``user=None``: the features of the new user.

        Returns
        -------
        Explanation
            With ``contributions.sum() + features == score == predict(user, item)`` up to rounding. For a user without
            likes, the contributions are 0 and `remainder` is the score, less the share of the features.

        Raises
        ------
        NotFittedError, IndexError, ValueError
            As `recommend`.
        """
        return explain(self, user, item, user_items, user_features)

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return ranges around what ``"auto"`` chooses for `rows`."""
        return search_space(self, rows)
