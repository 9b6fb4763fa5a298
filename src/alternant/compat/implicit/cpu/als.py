"""Alternating least squares with the semantics of implicit, over `alternant.kernels.solve_rows`."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from tqdm import tqdm

from ...._utils.pool import Pool
from ...._utils.threads import single_threaded_blas
from .._rows import Coordinates, Rows, Settings, check_regularization, gramian, solve_side, solve_some
from ..gpu import NO_GPU
from ..recommender_base import ModelFitError, write_npz
from ..utils import check_blas_config, check_columns, check_csr, check_ids, check_random_state, thread_count
from . import _als
from ._als import STEPS, calculate_loss, least_squares, least_squares_cg
from .matrix_factorization_base import MatrixFactorizationBase

log: logging.Logger = logging.getLogger("alternant")

SAVED = (
    "user_factors", "item_factors", "regularization", "factors", "num_threads", "iterations", "use_native", "use_cg",
    "cg_steps", "calculate_training_loss", "random_state", "alpha",
)  # fmt: skip


class AlternatingLeastSquares(MatrixFactorizationBase):
    """Matrix factorization of implicit feedback (Hu, Koren, Volinsky 2008).

    Minimizes ``sum c (p - x_u . y_i)^2 + regularization (|X|^2 + |Y|^2)`` over all pairs, with confidence
    ``c = alpha |r|`` for stored pairs and 1 for all others, and preference p = 1 for r > 0, else 0: a negative r is a
    dislike.

    Parameters
    ----------
    factors : int
        Number of factors.
    regularization : float
        lambda, of both sides. If it is 0, rows that the data do not determine get the solution of minimum norm.
    alpha : float
        Factor of r.
    dtype : float32 or float64
        Data type of the factors.
    use_native : bool
        Ignored: the fastest available backend of alternant is used.
    use_cg : bool
        Solve rows by preconditioned conjugate gradients, at most twice `cg_steps` steps, instead of exactly.
    iterations : int
        Number of iterations; with 0, `fit` draws the initial factors only.
    calculate_training_loss : bool
        Compute the loss after each iteration, for the callback and the progress bar.
    num_threads : int
        Number of threads, 0 for all that are available to the process. No result depends on it.
    random_state : int, Generator, RandomState or None
        Seed of the initial factors.

    Attributes
    ----------
    user_factors, item_factors : arrays, shapes (n_users, factors) and (n_items, factors)
        May be written to and replaced: another `fit` starts from them.
    cg_steps : int
        See `use_cg`; 3 by default.
    fit_callback : callable or None
        The callback of fits that are given none.
    """

    def __init__(
        self,
        factors: int = 100,
        regularization: float = 0.01,
        alpha: float = 1.0,
        dtype: Any = np.float32,
        use_native: bool = True,
        use_cg: bool = True,
        iterations: int = 15,
        calculate_training_loss: bool = False,
        num_threads: int = 0,
        random_state: Any = None,
    ) -> None:
        super().__init__(num_threads=num_threads)
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.use_native = use_native
        self.use_cg = use_cg
        self.iterations = iterations
        self.calculate_training_loss = calculate_training_loss
        self.fit_callback: Callable[[int, float, float | None], Any] | None = None
        self.cg_steps = 3
        self.random_state = random_state
        self._YtY: Any = None
        self._XtX: Any = None
        check_blas_config()

    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Factorize the matrix; continue from the model's factors, if it has any.

        Parameters
        ----------
        user_items : CSR matrix, shape (n_users, n_items)
            The interactions r.
        show_progress : bool
            Whether to draw a progress bar.
        callback : callable, optional
            Called after each iteration with its number from 0, its seconds, and the loss (None without
            `calculate_training_loss`). Its result is ignored.

        Raises
        ------
        ValueError
            If the model has factors for another number of users or items.
        TypeError
            If the dtype is neither float32 nor float64.
        ModelFitError
            If numbers are not finite, or the problem of a row is singular.
        """
        rng = check_random_state(self.random_state)
        user_items = check_csr(user_items)
        check_regularization(self.regularization)
        settings = Settings(thread_count(self.num_threads), STEPS * self.cg_steps if self.use_cg else None)
        iterations = range(self.iterations)
        users = Rows.of(user_items, self._checked_dtype(), self.alpha)
        items = Rows.of(user_items.T.tocsr(), self.dtype, self.alpha)
        before = self.user_factors, self.item_factors
        X, Y = self.user_factors, self.item_factors = self._starting_factors(user_items.shape, rng)
        try:
            self._alternate(users, items, X, Y, iterations, settings, show_progress, callback or self.fit_callback)
            self._check_fit_errors()
        except ModelFitError:  # a model without factors has none after it, either
            self.user_factors, self.item_factors = before
            raise

    def _alternate(
        self, users: Rows, items: Rows, X: NDArray[Any], Y: NDArray[Any], iterations: range, settings: Settings,
        show_progress: bool, callback: Any,
    ) -> None:  # fmt: skip
        """Overwrite X and Y by half-sweeps in turn."""
        loss = None
        with tqdm(total=len(iterations), disable=not show_progress) as progress:
            for iteration in iterations:
                start = time.perf_counter()
                self._forget()  # also what a callback has asked for
                solve_side(users, X, Y, self.regularization, settings)
                solve_side(items, Y, X, self.regularization, settings)
                progress.update(1)
                if self.calculate_training_loss:
                    loss = _als.loss(users, X, Y, self.regularization, settings.threads)
                    progress.set_postfix({"loss": loss})
                    log.debug("loss %.4f after iteration %d", loss, iteration)
                if callback:
                    callback(iteration, time.perf_counter() - start, loss)

    def _checked_dtype(self) -> np.dtype[Any]:
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, got {self.dtype}: create the model with one of these")
        return self.dtype

    def _starting_factors(self, shape: tuple[int, int], rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        """Draw factors that are missing, users first, and make the others plain arrays that can be written to."""
        self._check_shape(shape)
        sides = []
        for kind, count in zip(("user", "item"), shape, strict=True):
            factors = getattr(self, f"{kind}_factors")
            if factors is None:
                if self.factors < 1:
                    raise ValueError(f"factors must be at least 1, got {self.factors}: set it before fit")
                drawn = rng.random((count, self.factors), dtype=self.dtype)
                factors = np.multiply(drawn, self.dtype.type(0.01), out=Pool().array(drawn.shape, self.dtype))
            sides.append(np.require(factors, self.dtype, ["C", "W"]))
        X, Y = sides
        if X.shape[1] != Y.shape[1]:
            raise ValueError(
                f"user_factors has {X.shape[1]} columns, but item_factors has {Y.shape[1]}: set both to arrays with "
                "the same number, or both to None to fit from scratch"
            )
        return X, Y

    def _forget(self) -> None:
        """Forget what was computed from the factors, which are changed in place."""
        self._item_norms = self._user_norms = self._YtY = self._XtX = None

    def recalculate_user(self, userid: Any, user_items: Any) -> NDArray[Any]:
        """Compute the factors of users from their interactions, exactly, without storing them.

        Parameters
        ----------
        userid : int or array of m ints
            Only determines the shape of the result.
        user_items : CSR matrix, shape (m, n_items)
            The interactions, one row for each user. Entries beyond the model's items raise ValueError.

        Returns
        -------
        array, shape (factors,), or (m, factors) for several users
        """
        return self._recalculated("user", userid, user_items)

    def recalculate_item(self, itemid: Any, item_users: Any) -> NDArray[Any]:
        """Compute the factors of items from their users, as `recalculate_user` does for users."""
        return self._recalculated("item", itemid, item_users)

    def _recalculated(self, kind: str, numbers: Any, matrix: Any) -> NDArray[Any]:
        self._check_fitted()
        other, other_side, dense = ("item", self.item_factors, self.YtY) if kind == "user" else (
            "user", self.user_factors, self.XtX,
        )  # fmt: skip
        ids, matrix = np.asarray(numbers), check_csr(matrix)
        if matrix.shape[0] != ids.size:
            raise ValueError(
                f"{kind}_{other}s must have one row for each {kind}, {ids.size}, got {matrix.shape[0]}: pass the rows "
                "of these only"
            )
        check_columns(f"{kind}_{other}s", matrix, len(other_side), other)
        coordinates = self._coordinates(kind, dense, other_side.dtype)
        rows = Rows.of(matrix, other_side.dtype, self.alpha)
        factors = solve_some(rows, other_side, coordinates, thread_count(self.num_threads))
        one: NDArray[Any] = factors if ids.ndim else factors[0]
        return one

    def _coordinates(self, kind: str, dense: NDArray[np.float64], dtype: Any) -> Coordinates:
        """Return the coordinates to solve users or items in: kept as long as the dense part is the same array."""
        name, key = f"_{kind}_coordinates", (self.regularization, dtype)
        kept = self.__dict__.get(name)
        if kept is None or kept[0] is not dense or kept[1] != key:
            kept = dense, key, Coordinates.of(dense, self.regularization, dtype)
            self.__dict__[name] = kept
        coordinates: Coordinates = kept[2]
        return coordinates

    def partial_fit_users(self, userids: Any, user_items: Any) -> None:
        """Recalculate users from all their interactions, and store them; new ids add rows, of zeros in between.

        Parameters
        ----------
        userids : array of m ints
            The users.
        user_items : CSR matrix, shape (m, n_items)
            All interactions of each of them.
        """
        self._partial_fit("user", userids, user_items)

    def partial_fit_items(self, itemids: Any, item_users: Any) -> None:
        """Recalculate items from all their users, and store them, as `partial_fit_users` does for users."""
        self._partial_fit("item", itemids, item_users)

    def _partial_fit(self, kind: str, numbers: Any, matrix: Any) -> None:
        ids = np.atleast_1d(check_ids(f"{kind}ids", numbers, None, kind))
        rows = self._recalculated(kind, ids, matrix)
        name = f"{kind}_factors"
        factors = getattr(self, name)
        missing = int(ids.max(initial=-1)) + 1 - len(factors)
        if missing > 0:
            factors = np.concatenate([factors, np.zeros((missing, factors.shape[1]), factors.dtype)])
        factors = np.require(factors, requirements=["W"])
        factors[ids] = rows
        setattr(self, name, factors)  # also forgets what was computed from them

    def explain(
        self, userid: int, user_items: Any, itemid: int, user_weights: Any = None, N: int = 10
    ) -> tuple[float, list[tuple[int, float]], Any]:
        """Split the score of an item into contributions of what the user has liked (Hu et al. 2008, section 5).

        Parameters
        ----------
        userid : int
            The user.
        user_items : CSR matrix, shape (n_users, n_items), or (1, n_items) with the user's row only
            The interactions.
        itemid : int
            The item.
        user_weights : tuple, optional
            The third result of an earlier call for the same user, which saves most of the work.
        N : int
            The number of contributions to return.

        Returns
        -------
        total_score : float
            The sum of all contributions: the score of the user's recalculated factors.
        top_contributions : list of (itemid, score)
            The greatest contributions.
        user_weights : tuple
            For further calls.
        """
        self._check_fitted()
        user_items = check_csr(user_items)
        check_ids("itemid", itemid, len(self.item_factors), "item")
        row = 0 if user_items.shape[0] == 1 else int(check_ids("userid", userid, user_items.shape[0], "user"))
        one = user_items[[row]]
        check_columns("user_items", one, len(self.item_factors), "item")
        rows = Rows.of(one, np.float64, self.alpha)
        Y = self.item_factors[one.indices].astype(np.float64)
        liked = np.flatnonzero(one.data * self.alpha > 0)
        with single_threaded_blas():  # the products are small
            if user_weights is None:
                A = self.YtY + self.regularization * np.eye(Y.shape[1]) + (Y * rows.weight[:, None]).T @ Y
                try:
                    user_weights = scipy.linalg.cho_factor(A)
                except scipy.linalg.LinAlgError:
                    raise ModelFitError(
                        f"user {userid} cannot be explained, as the user's least-squares problem is singular: raise "
                        "the regularization"
                    ) from None
            weighted = scipy.linalg.cho_solve(user_weights, self.item_factors[itemid].astype(np.float64))
            contributions = (Y[liked] @ weighted) * (rows.weight[liked] + 1)
        pairs = zip(contributions.tolist(), one.indices[liked].tolist(), strict=True)
        best = [(item, score) for score, item in sorted(pairs, reverse=True)[:N]]
        return float(contributions.sum()), best, user_weights

    @property
    def solver(self) -> Callable[..., None]:
        """The function ``solver(Cui, X, Y, regularization, num_threads=0)``, which overwrites X."""
        if self.use_cg:
            return functools.partial(least_squares_cg, cg_steps=self.cg_steps)
        return least_squares

    @property
    def YtY(self) -> NDArray[np.float64]:
        """``Y^T Y`` of the items: kept until `_YtY` is set to None."""
        if self._YtY is None:
            self._YtY = gramian(self.item_factors, thread_count(self.num_threads))
        product: NDArray[np.float64] = self._YtY
        return product

    @property
    def XtX(self) -> NDArray[np.float64]:
        """``X^T X`` of the users: kept until `_XtX` is set to None."""
        if self._XtX is None:
            self._XtX = gramian(self.user_factors, thread_count(self.num_threads))
        product: NDArray[np.float64] = self._XtX
        return product

    def to_gpu(self) -> None:
        """Refuse: there are no models on a GPU."""
        raise ValueError(NO_GPU)

    def save(self, fileobj_or_path: Any) -> None:
        """Save the model as implicit does: either library loads it. A random state that is no int is left out."""
        values = {name: getattr(self, name) for name in SAVED}
        write_npz(fileobj_or_path, values | {"dtype": self.dtype.name})


__all__ = ["AlternatingLeastSquares", "calculate_loss", "least_squares", "least_squares_cg"]
