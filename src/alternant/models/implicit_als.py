"""Weighted alternating least squares on implicit feedback."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR
from ._fit_loop import Callback, FitOptions, is_frozen
from ._parameters import AUTO
from ._sklearn import check_unused
from ._traits import Traits
from .als.basis import Basis
from .als.degrees import Degrees
from .als.explanation import Explanation, break_down
from .als.half_sweep import half_sweep
from .als.implicit_defaults import (
    CHOSEN,
    WEIGHTINGS,
    choose_objective,
    chosen_values,
    fitted_objective,
    search_space,
)
from .als.implicit_objective import ImplicitObjective
from .als.solver import Solver
from .als.trainer import AlternatingLeastSquares


class ImplicitALS(AlternatingLeastSquares):
    r"""Matrix factorization of implicit feedback by weighted alternating least squares.

    Minimises, over all pairs of a user u and an item i, observed or not,

    .. math:: \sum_{u,i} v_{ui} c_{ui} (p_{ui} - x_u \cdot y_i)^2
              + \sum_u d_u^2 \lambda_u |x_u|^2 + \sum_i e_i^2 \lambda_i |y_i|^2,
              \qquad v_{ui} = d_u^2 e_i^2

    by solving for all users with the items fixed, then for all items with the users fixed. The preference p is 1 where
    the interaction r is positive and 0 elsewhere: a negative r is a dislike, held with the confidence of its absolute
    value. The confidence c of an observed pair follows from `weighting`, that of an unobserved one is
    `unobserved_weight`. Stored zeros count as unobserved. d and e are powers of the numbers of interactions of a user
    and of an item (`degree_normalization`; 0 makes them 1): they let users with long histories and popular items
    count for less. The same objective is that of factors ``d_u x_u`` and ``e_i y_i`` without v, with the preferences
    ``d_u e_i p_ui``; in this form the predictions are preferences, and the regularization of a row does not change
    with its degree.

    With the defaults, what fits the data at hand follows from the interactions: how many there are of all pairs, how
    they spread over users and items, and whether they have sizes. Attributes with a trailing underscore say what was
    chosen; a number overrides it. On seven data sets of 100 to 41,000 items the lists were within 4 % of the best NDCG
    that a search of 60 trials found, and well above popularity (benchmarks/results/defaults.md). Where users have two
    or three interactions each, they may fall below popularity: compare with `Popularity`, and raise `regularization`.

    A user of whom nothing is known, in the fit or folded in, gets the factors of the mean user.

    Parameters
    ----------
    factors : int
        Length of the vectors.
    alpha : float or "auto"
        Scale of the confidence; not used by ``weighting="ials"``. ``"auto"`` makes sizes half of the mean confidence,
        and is 1 for ``weighting="proportional"``.
    weighting : {"auto", "hu", "log", "proportional", "ials", "ials-log"}
        | ``"hu"``: ``c = 1 + alpha r`` (Hu, Koren and Volinsky 2008).
        | ``"log"``: ``c = 1 + alpha log(1 + r / epsilon)`` (same source).
        | ``"proportional"``: ``c = alpha r``, as the library implicit does.
        | ``"ials"``: weight 1 on the observed pairs, with preference p, plus `unobserved_weight` on all pairs, with
          preference 0 (Rendle et al. 2022); the size of r does not count.
        | ``"ials-log"``: as ``"ials"``, with weight ``1 + alpha log(1 + r / epsilon)`` on the observed pairs.
        | ``"auto"``: ``"ials"`` where all interactions are of one size, else ``"ials-log"``: sizes that span orders of
          magnitude, as hours and counts do, say something, but not in proportion. With another weighting, `"auto"` of
          `degree_normalization` is 0: the objective is that of its paper.
    epsilon : float or "auto"
        Scale of r in the weightings with a logarithm. ``"auto"``: the median of all sizes.
    unobserved_weight : float or "auto"
        w0, the confidence that an unobserved pair means no interest; in ``"ials"`` and ``"ials-log"`` the weight of all
        pairs. ``"auto"``: such that all pairs together weigh 75 times as much as the observed ones, since the weight
        that ranks best falls with the share of pairs that are observed; 1 in the other weightings.
    regularization : float, (float, float) or "auto"
        lambda, for both sides or as (users, items). ``"auto"``: such that directions are dropped whose singular value
        is a share of what chance alone brings about in a matrix with these numbers of interactions: from 0.4 of it,
        where many items go together beyond chance, to all of it, where hardly any do.
    regularization_scaling : {"none", "count", "ials"}
        | ``"none"``: ``lambda_u = lambda``.
        | ``"count"``: ``lambda_u = lambda n_u``, n_u the number of interactions of the row (ALS-WR).
        | ``"ials"``: ``lambda_u = lambda (n_u + w0 n)^nu``, n the size of the other side (Rendle et al. 2022).
    regularization_exponent : float
        nu in ``regularization_scaling="ials"``.
    degree_normalization : float, (float, float) or "auto"
        The exponents a of users and b of items, or one number for both: ``d_u ~ n_u^-a``, ``e_i ~ n_i^-b``, with a mean
        of d e of 1 over the observed pairs. ``"auto"``: a = 0.25, and b from 0.1 where few items have most of the
        interactions to 0.2 where these are spread out. The numbers n are those of the fit, and of their own for rows
        that are folded in; factors that were set by hand, without a fit, are taken as if a = b = 0. Of a fitted model,
        this and `popularity_exponent` are as the fit had them, whatever `set_params` says, until the next fit.
    popularity_exponent : float, "auto" or None
        s: lists are ranked by ``n_i^s (d_u x_u) . (e_i y_i)``. None: s = b, which ranks by predicted preference; less
        brings rarer items forward. `item_factors` hold it, and `predict` returns preferences times ``n_i^(s - b)``,
        scaled to a mean of 1 over the observed pairs. ``"auto"``: the mean of 1 / n_u over the users, at most 0.7: the
        shorter the histories, the more of a list is what everybody likes; with another weighting than "auto" it is b.
    solver : {"cg", "cholesky"}
        Conjugate gradients from the factors before, or exact; see `alternant.kernels.solve_rows`.
    tol : float
        Conjugate gradients leave a row when the distance from its solution is estimated to have fallen to this part of
        what the half-sweep began with, in the norm of the row's matrix (the square root of what the objective can still
        fall). Less makes iterations slower; it pays where confidences span many orders of magnitude.
    max_cg_steps : int
        Conjugate-gradient steps of a row in one half-sweep at most.
    iterations : int
        Iterations at most, each two half-sweeps.
    acceleration : {"nesterov", None}
        | ``"nesterov"``: each iteration starts from what lies beyond the last two in the direction of the last step
          (Mitchell, Ye and De Sterck 2020); one that raises the objective is dropped and done again plainly.
        | None: plain alternating least squares.
    early_stopping : float or None
        Stop when an iteration lowers the objective by no more than this fraction of it.
    warm_start : bool
        Start `fit` from the factors the model holds, from an earlier fit or set by hand. Users and items beyond them
        get new ones. The acceleration begins anew.
    init_scale : float
        The item factors are drawn from a normal distribution with standard deviation ``init_scale / sqrt(factors)``;
        user factors are solved first and need no initial value.
    dtype : {"float32", "float64"} or NumPy dtype
        Of the factors and of all arithmetic on them.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed of the start. With a number, equal input gives equal bits on any number of threads.
    num_threads : int or None
        None: all that the process may use.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors)
    item_factors : array, shape (n_items, factors)
    weighting_, alpha_, epsilon_, unobserved_weight_, regularization_, degree_normalization_, popularity_exponent_
        The parameters of these names that the fit used: as given, or what ``"auto"`` came to; `regularization_` and
        `degree_normalization_` as (users, items).
    n_iter_ : int
        Iterations done.
    history_ : dict of lists
        One entry an iteration: ``objective``, which never rises but for rounding; ``user_sweep_objective``, between its
        two half-sweeps (accelerated, with item factors that lie beyond the last, so that it may rise); ``seconds``
        since the fit began; ``user_cg_steps`` and ``item_cg_steps`` (mean of the rows; 0 where solved exactly). The
        objectives are the sum of all confidences of likes less what the factors explain of it, with the digits of
        `dtype` in that sum, and 1e-5 of it where rows are in 16 bits (`tol` from 0.05 on). float32 leaves fewer where
        confidences span many orders of magnitude.
    backend_ : str
        The backend that the fit used.
    interactions_ : CSR
        The interactions of the fit.

    References
    ----------
    Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.

    S. Rendle, W. Krichene, L. Zhang, Y. Koren, "Revisiting the Performance of iALS on Item Recommendation
    Benchmarks", RecSys 2022.

    G. Takács, I. Pilászy, D. Tikk, "Applications of the Conjugate Gradient Method for Implicit Feedback
    Collaborative Filtering", RecSys 2011.
    """

    traits = Traits(
        "implicit", "clicks, plays, purchases; dislikes as negative values", "weighted alternating least squares"
    )
    rescored_parameter = "popularity_exponent"
    _choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **AlternatingLeastSquares._choices,
        "weighting": (AUTO, *WEIGHTINGS),
        "regularization_scaling": ("none", "count", "ials"),
    }
    _automatic = CHOSEN
    _fitted_state = (*AlternatingLeastSquares._fitted_state, *(f"{name}_" for name in CHOSEN))
    _degrees: Degrees | None = None

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
        alpha: float | str = "auto",
        weighting: str = "auto",
        epsilon: float | str = "auto",
        unobserved_weight: float | str = "auto",
        regularization: float | tuple[float, float] | str = "auto",
        regularization_scaling: str = "ials",
        regularization_exponent: float = 1.0,
        degree_normalization: float | tuple[float, float] | str = "auto",
        popularity_exponent: float | str | None = "auto",
        solver: str = "cg",
        tol: float = 0.3,
        max_cg_steps: int = 10,
        iterations: int = 8,
        acceleration: str | None = "nesterov",
        early_stopping: float | None = None,
        warm_start: bool = False,
        init_scale: float = 0.1,
        dtype: Any = "float32",
        random_state: Any = None,
        num_threads: int | None = None,
        backend: str = "auto",
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
            raise ValueError(f"acceleration must be 'nesterov', or None (plain iterations), got {self.acceleration!r}")

    def fit(
        self,
        interactions: Any,
        y: Any = None,
        *,
        callback: Callback | None = None,
        callback_at: str = "iteration",
        show_progress: bool | None = None,
    ) -> Self:
        """Learn the factors.

        Parameters
        ----------
        interactions : Interactions, or sparse matrix or array, shape (n_users, n_items)
            r of every observed pair, in any SciPy format; duplicates are added up.
        y : None
            Not used; there because scikit-learn passes it.
        callback : callable, optional
            Called with a `FitState`; the fit ends with the iteration in which it returns True. What it raises ends the
            fit at the last whole iteration.
        callback_at : {"iteration", "half_sweep"}
            When: after each iteration, or after each of its two half-sweeps. Those of an accelerated iteration that
            raised the objective and is done again plainly are reported, too, though their factors are dropped.
        show_progress : bool, optional
            Whether to draw a progress bar on stderr. By default, where stderr is a terminal.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the input or a parameter is not as required; the model stays as it was.
        SingularRowError
            If a row has no unique solution (`regularization` is 0 or too small).
        OverflowError
            If confidences are too large for `dtype`.
        """
        self._check_params()
        check_unused(y)
        options = FitOptions(callback, callback_at, show_progress)
        matrix, ids = self._open(interactions)
        user_items = self._check_rows("interactions", matrix, np.dtype(self.dtype), copy=True)
        if 0 in user_items.shape:
            raise ValueError(f"interactions must have at least one user and one item, got shape {user_items.shape}")
        objective = choose_objective(self, user_items)
        degrees = objective.degrees
        assert degrees is not None
        sides = objective.of_fit(user_items)
        start = self._start(*user_items.shape)
        held = getattr(self, "item_factors", None) if self.warm_start else None
        drawn = slice(0 if held is None else len(held), None)
        start[1][drawn] = objective.finish_items(start[1][drawn], degrees.items[drawn])
        attributes = {**ids, **chosen_values(objective, degrees), "_degrees": degrees}
        return self._alternate(sides, user_items, start, attributes, options)

    def auto_parameters(self, rows: CSR) -> dict[str, Any]:
        """Return the values of what may be ``"auto"``, by name."""
        objective = choose_objective(self, rows)
        assert objective.degrees is not None
        return {name.removesuffix("_"): value for name, value in chosen_values(objective, objective.degrees).items()}

    def _accelerated(self) -> bool:
        return self.acceleration is not None

    def _truth(self, rows: CSR) -> NDArray[Any]:
        return (rows.data > 0).astype(rows.data.dtype)

    def _objective(self) -> ImplicitObjective:
        """Return the objective of the model as it stands: what is "auto" as the fit chose it."""
        return fitted_objective(self, self._degrees_of_factors())

    def _degrees_of_factors(self) -> Degrees | None:
        """Return the degrees that the fit counted, if they are those of the factors."""
        degrees, users, items = self._degrees, self.user_factors, self.item_factors
        if degrees is None or users is None or items is None:
            return None
        return degrees if (len(degrees.users), len(degrees.items)) == (len(users), len(items)) else None

    def _basis(self, fixed: NDArray[Any], kind: str, objective: ImplicitObjective, solver: Solver) -> Basis:
        """Return the basis of a side of the model, kept as long as nobody can have changed the side since.

        The key has all that a basis follows from, so that no answer depends on what was asked for before.
        """
        padded = solver.method == "cg"
        key = kind, objective.unobserved_weight, solver.method, padded, solver.backend.name
        kept: list[tuple[NDArray[Any], Any, Basis]] = self._guard.derived.get("bases", [])
        for side, made_with, basis in kept:
            if side is fixed and made_with[0] == key and made_with[1] is objective.degrees and is_frozen(fixed):
                return basis
        basis = Basis.of(objective.fixed_for_new_rows(fixed, kind), objective.unobserved_weight, solver, padded=padded)
        if any(fixed is getattr(self, name, None) for name in ("user_factors", "item_factors")) and is_frozen(fixed):
            self._guard.derived["bases"] = [*kept[-1:], (fixed, (key, objective.degrees), basis)]
        return basis

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None
    ) -> NDArray[Any]:
        objective, solver = self._objective(), self._solver(fold_in=True)
        problems = objective.problems(rows, kind, numbers)
        basis = self._basis(fixed, "item" if kind == "user" else "user", objective, solver)
        factors = half_sweep(problems, None, basis, solver).factors
        degrees = np.diff(rows.indptr)
        if kind == "item":
            return objective.finish_items(factors, degrees)
        if (degrees == 0).any():
            factors[degrees == 0] = self._mean_row("user")
        return factors

    def _mean_row(self, kind: str) -> NDArray[Any]:
        """Return the mean of those who have interactions, where that is known."""
        degrees = self._degrees_of_factors()
        if degrees is None:
            return super()._mean_row(kind)
        side, known = self._factors()[0 if kind == "user" else 1], degrees.of_kind(kind) > 0
        total: NDArray[Any] = side.sum(axis=0, dtype=np.float64, where=known[:, None])
        return (total / max(1, int(known.sum()))).astype(side.dtype)

    def _partial_state(self, kind: str, numbers: NDArray[np.int64], rows: CSR) -> dict[str, Any]:
        degrees = self._degrees_of_factors()
        return {"_degrees": None if degrees is None else degrees.replaced(kind, numbers, np.diff(rows.indptr))}

    def explain(self, user: Any, item: Any, *, user_items: Any = None) -> Explanation:
        r"""Break a score down into what each item of the user's history adds to it.

        With ``A`` the matrix of the user's row problem, the solution is ``A^-1 sum_j t_j y_j``, so that item j adds
        ``t_j y_i . A^-1 y_j`` to the score of item i (Hu, Koren and Volinsky 2008, section 5). A disliked item adds
        nothing; it lowers the others' parts through ``A``.

        Parameters
        ----------
        user : id or None
            A user of the fit; None for a new user, given by `user_items`.
        item : id
        user_items : sparse matrix, shape (1, n_items), or Interactions of one user, optional
            The user's interactions, instead of those of the fit.

        Returns
        -------
        Explanation
            With ``contributions.sum() == score == predict(user, item)`` up to rounding, unless nothing that the user
            likes is there to contribute: then the contributions are 0 and the score is all remainder.

        Raises
        ------
        NotFittedError, IndexError, ValueError
            As `recommend`.
        """
        users, items = self._factors()
        i = self._number("item", item, "item")
        if user is None:
            x, history = self._new_users(user_items)
            score = float(x[0].astype(np.float64) @ items[i]) if len(x) == 1 else np.nan
        else:
            u = self._number("user", user, "user")
            history = self._seen(np.array([u]), user_items)
            score = float(self._score(users, items, np.array([u]), np.array([i]))[0])
        if history.shape[0] != 1:
            raise ValueError(f"user_items must have 1 row, that of the user to explain, got {history.shape[0]}")
        objective = self._objective()
        basis = self._basis(items, "item", objective, self._solver(fold_in=True))
        return break_down(history, i, score, objective, basis, lambda numbers: self._raw(numbers, "item"))

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return ranges around what ``"auto"`` chooses for `rows`."""
        return search_space(self, rows)

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Return the work of an iteration."""
        f = self.factors
        return n_pairs * (32 + f) + (n_users + n_items) * f * f / 6

    def rescored(self, value: float) -> Self:
        """Return a view that ranks with another `popularity_exponent`."""
        _, items = self._factors()
        assert self.interactions_ is not None  # views are made in a search, which has just fitted
        degrees = np.maximum(np.bincount(self.interactions_.indices, minlength=len(items)), 1).astype(np.float64)
        by = degrees ** (value - self.popularity_exponent_)
        view = copy.copy(self)
        view.item_factors = items * by.astype(items.dtype)[:, None]
        return view
