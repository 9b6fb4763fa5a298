r"""A prior of the factors of one side, learned from features: :math:`x_u \sim N(A^T f_u, 1 / \lambda_u)`.

In least squares, it replaces the term ``sum_u w_u |x_u|^2`` of an objective, in which ``w_u`` is the weight of a row
times its lambda, by

    sum_u w_u |x_u - A^T f_u|^2 + rho |A|^2,

with a constant as the last feature, which rho does not apply to; f may include products of features (`products`).
After every half-sweep A is the ridge regression of the factors on the features, which is the minimum for these factors:
the objective can only fall. Since A is a function of the factors, extrapolated factors have their own. Rows without
interactions have no weight.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..._utils.mapped import release
from ..._utils.messages import parameter, refusal
from ..._utils.threads import map_parallel, single_threaded_blas
from ...data.feature_columns import FeatureColumns
from .._checkpoint import Snapshot
from .products import pairs_of, with_products

BLOCK = 1 << 13  # rows multiplied at a time, in the dtype of the factors; their sums are in float64
# With more features than this, a regression is solved by conjugate gradients instead of from its Gram matrix.
MOST_DENSE = 2048
SINGULAR = 1e-12  # least squared pivot of that matrix, relative to its diagonal
CG_STEPS = 30
CG_TOL = 1e-4
# The ridge, relative to the mean diagonal entry of the Gram matrix of the features, is the largest of these that keeps
# KEPT of the best reduction of the error of held-out rows; at most CV_ROWS rows are used, in CV_FOLDS parts. If the
# best reduction is less than MIN_GAIN, the features are left out. If that of features alone is less than
# WITHOUT_PRODUCTS of that with products of features, these are used: it is 0.4 (items) and 0.8 (users) of it on planted
# choices, whose logarithms of probabilities are bilinear, and 0.87 on movies.
STRENGTHS = tuple(4.0**power for power in range(3, -4, -1))
KEPT = 0.99
MIN_GAIN = 0.005
WITHOUT_PRODUCTS = 0.8
CV_ROWS = 1 << 15
CV_FOLDS = 3


# From F^T W x, and where to start, to A and what is left of F^T W x.
Solve = Callable[[NDArray[np.float64], NDArray[np.float64] | None], tuple[Any, Any]]


@dataclass(frozen=True)
class Regression:
    """The regression of one side's factors on its features."""

    weights: NDArray[np.float64]  # A, with the constant as the last row
    products: NDArray[np.float64]  # F^T W x
    value: float  # sum w |x - A^T f|^2 + rho |A|^2, minus sum w |x|^2


class Prior:
    """The prior of one side during a fit: inactive, that is 0, until its ridge is known."""

    features: Any
    columns: FeatureColumns | None
    known: NDArray[np.bool_]
    extended: Any
    row_weight: NDArray[np.float64]
    regularization: NDArray[Any]
    empty: NDArray[np.bool_] | None
    strength: float | str

    def __init__(
        self, features: Any, regularization: NDArray[Any], occupied: NDArray[np.bool_],
        row_weight: NDArray[np.float64] | None, strength: float | str, first: int, num_threads: int,
        of_rows: NDArray[np.bool_] | None = None, columns: FeatureColumns | None = None, may_multiply: bool = True,
        kept: float = KEPT,
    ) -> None:  # fmt: skip
        self.features = features  # csr_array, in the dtype of the factors
        self.columns = columns
        self.known = np.ones(features.shape[0], bool) if of_rows is None else of_rows  # whose features are known
        self.products: NDArray[np.int32] | None = None  # pairs of features
        self.extended = with_constant(features)
        self.row_weight = regularization.astype(np.float64) * occupied  # of rows with interactions
        if row_weight is not None:
            self.row_weight *= row_weight**2
        self.regularization = regularization
        self.empty = None if occupied.all() else ~occupied
        self.strength = strength
        self._may_multiply = may_multiply  # features with each other
        self._kept = kept
        self.ended = False  # whether the fit has, so that `finish_prior` begins it for new rows
        self.chosen: float | None = None  # the ridge relative to the scale of the features; inf: leave them out
        self._left = first
        self._num_threads = num_threads
        self._solve: Solve | None = None
        self._given: Solve | None = None
        if not isinstance(strength, str):  # now, so that errors come before the first iteration
            self._given = self._solver(float(strength))
        self._known: list[tuple[weakref.ref[NDArray[Any]], Regression]] = []

    @property
    def active(self) -> bool:
        """Whether the prior has an effect."""
        return self._solve is not None

    def of(self, factors: NDArray[Any] | None, unknowns: NDArray[Any] | None) -> Regression | None:
        """Return the regression of `factors`, whose unknowns are `unknowns`; None if the prior is 0."""
        if factors is None or unknowns is None or self._solve is None:
            return None
        for known, regression in self._known:
            if known() is factors:
                return regression
        regression = self._regress(unknowns)
        self.remember(factors, regression)
        return regression

    def after(self, unknowns: NDArray[Any]) -> Regression | None:
        """Return the regression of the unknowns that a half-sweep solved for, whose ridge the first one chooses."""
        self._left -= 1
        if self.chosen is None and self._left <= 0:
            self.begin(unknowns)
        return self._regress(unknowns) if self.active else None

    def begin(self, unknowns: NDArray[Any]) -> None:
        """Choose the ridge for these factors."""
        if not isinstance(self.strength, str):
            self.chosen, self._solve = float(self.strength), self._given
            return
        self.chosen, gain = self._choose(self.extended, unknowns)
        pairs = pairs_of(self.features, self.row_weight > 0) if self._may_multiply else None
        if pairs is not None:
            extended = with_constant(with_products(self.features, pairs))
            strength, most = self._choose(extended, unknowns)
            if np.isfinite(strength) and gain < WITHOUT_PRODUCTS * most:
                self.chosen, self.extended, self.products = strength, extended, pairs
        if np.isfinite(self.chosen):
            self._solve = self._solver(self.chosen)

    def _choose(self, extended: Any, unknowns: NDArray[Any]) -> tuple[float, float]:
        F, w = extended.astype(np.float64), self.row_weight
        with single_threaded_blas():
            return choose_strength(F, w, unknowns, ridge_scale(F, w), self._num_threads, self._kept)

    def _solver(self, strength: float) -> Solve:
        F, w = self.extended.astype(np.float64), self.row_weight
        with single_threaded_blas():
            return solver_of(F, w, strength * ridge_scale(F, w), self._num_threads)

    def remember(self, factors: NDArray[Any], regression: Regression | None) -> None:
        """Keep the regression of an array of factors for as long as the array lives."""
        if regression is not None:
            alive = [one for one in self._known if one[0]() is not None]
            self._known = [(weakref.ref(factors), regression), *alive[:3]]

    def snapshot(self) -> Snapshot:
        """Return what `restore` needs."""
        own = Snapshot({}, {"chosen": self.chosen, "left": self._left})
        if self.products is not None:
            own.arrays["pairs"] = self.products
        if self._known:
            last = self._known[0][1]
            own.arrays.update(weights=last.weights, products=last.products)
            own.values["value"] = last.value
        return own

    def restore(self, saved: Snapshot, factors: NDArray[Any]) -> None:
        """Continue as saved, with these factors."""
        self.chosen, self._left = saved.values["chosen"], saved.values["left"]
        if "pairs" in saved.arrays:
            self.products = saved.arrays["pairs"]
            self.extended = with_constant(with_products(self.features, self.products))
        if self.chosen is not None and np.isfinite(self.chosen):
            self._solve = self._given or self._solver(self.chosen)
        if "weights" in saved.arrays:
            weights, products = saved.arrays["weights"], saved.arrays["products"]
            self.remember(factors, Regression(weights, products, saved.values["value"]))

    def linear(self, regression: Regression) -> NDArray[Any]:
        """Return ``lambda_u A^T f_u``, the linear terms of the row problems."""
        means = product(self.extended, regression.weights, self._num_threads)
        means *= self.regularization[:, None]
        return means

    def gain(self, before: Regression | None, after: Regression | None) -> float:
        """Return what to add to the objective of rows solved with the prior `before`, for that with `after`."""
        if after is None:
            return 0.0
        moved = 0.0 if before is None else 2 * float(np.vdot(before.weights, after.products))
        return moved + after.value

    def _regress(self, unknowns: NDArray[Any]) -> Regression:
        assert self._solve is not None
        start = self._known[0][1].weights if self._known else None
        products = transposed_product(self.extended, self.row_weight, unknowns, self._num_threads)
        with single_threaded_blas():
            weights, residual = self._solve(products, start)
            value = -float(np.vdot(weights, products + residual))
        return Regression(weights, products, value)


def with_constant(features: Any) -> Any:
    """Return features with a column of ones appended."""
    ones = np.ones((features.shape[0], 1), features.dtype)
    parts: Any = [features, scipy.sparse.csr_array(ones)]
    return scipy.sparse.csr_array(scipy.sparse.hstack(parts, format="csr"))


def product(features: Any, weights: NDArray[np.float64], num_threads: int) -> NDArray[Any]:
    """Return ``features @ weights`` in the dtype of the features."""
    narrow = np.ascontiguousarray(weights, features.dtype)
    out = np.empty((features.shape[0], weights.shape[1]), features.dtype)

    def multiply(block: slice) -> None:
        out[block] = row_block(features, block) @ narrow

    map_parallel(multiply, blocks(len(out)), num_threads)
    return out


def transposed_product(
    features: Any, row_weight: NDArray[np.float64], factors: NDArray[Any], num_threads: int
) -> NDArray[np.float64]:
    """Return ``F^T W x``, the sum over blocks in a fixed order."""

    def multiply(block: slice) -> NDArray[np.float64]:
        weighted = factors[block] * row_weight[block, None].astype(factors.dtype)
        release(factors[block])
        return np.asarray(row_block(features, block).T @ weighted, np.float64)

    return sum_of_blocks(multiply, len(factors), (features.shape[1], factors.shape[1]), num_threads)


def row_block(F: Any, rows: slice) -> Any:
    """Return a slice of rows that shares memory."""
    indptr = F.indptr[rows.start : rows.stop + 1]
    entries = slice(indptr[0], indptr[-1])
    shape = rows.stop - rows.start, F.shape[1]
    return scipy.sparse.csr_array((F.data[entries], F.indices[entries], indptr - indptr[0]), shape=shape)


def blocks(rows: int) -> list[slice]:
    """Return slices of `BLOCK` rows."""
    return [slice(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK)]


def ridge_scale(F: Any, w: NDArray[np.float64]) -> float:
    """Return the mean diagonal entry of ``F^T W F``, without the constant."""
    squares = (F.multiply(F)).T @ w
    return float(np.mean(squares[:-1])) if len(squares) > 1 else 0.0


def solver_of(
    F: Any, w: NDArray[np.float64], ridge: float, num_threads: int
) -> Solve:  # fmt: skip
    """Return a function that solves ``(F^T W F + ridge) A = products`` and returns A and what is left of products."""
    penalties = np.full(F.shape[1], ridge)
    penalties[-1] = 0
    if F.shape[1] - 1 > MOST_DENSE:
        return partial(conjugate_gradients, F, w, penalties)
    M = gram(F, w, num_threads) + np.diag(penalties)
    try:
        factor = scipy.linalg.cho_factor(M)
        unique = bool((np.diag(factor[0]) ** 2 > SINGULAR * np.diag(M)).all())
    except (scipy.linalg.LinAlgError, ValueError):  # ValueError: not finite
        unique = False
    if not unique:
        raise refusal(
            ValueError,
            f"the regression on the features has no unique solution with {parameter('feature_regularization')} so low: "
            "raise it, or scale the features alike",
        )

    def solve(products: NDArray[np.float64], start: NDArray[np.float64] | None) -> tuple[Any, Any]:  # noqa: ARG001
        return scipy.linalg.cho_solve(factor, products), 0.0

    return solve


def gram(F: Any, w: NDArray[np.float64], num_threads: int) -> NDArray[np.float64]:
    """Return ``F^T W F``, the sum over blocks in a fixed order."""

    def multiply(rows: slice) -> Any:
        block = row_block(F, rows)
        weights = np.repeat(w[rows], np.diff(block.indptr))
        weighted = scipy.sparse.csr_array((block.data * weights, block.indices, block.indptr), shape=block.shape)
        return block.T @ weighted

    return sum_of_blocks(multiply, len(w), (F.shape[1], F.shape[1]), num_threads)


def sum_of_blocks(
    product_of: Callable[[slice], Any], rows: int, shape: tuple[int, int], num_threads: int
) -> NDArray[np.float64]:
    """Add up sparse or dense products of blocks of rows, a few at a time, in order."""
    total, every = np.zeros(shape), blocks(rows)
    for at in range(0, len(every), num_threads):
        for part in map_parallel(product_of, every[at : at + num_threads], num_threads):
            total += part
    return total


def conjugate_gradients(
    F: Any, w: NDArray[np.float64], penalties: NDArray[np.float64], b: NDArray[np.float64],
    start: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Solve for all columns at once, preconditioned by the diagonal, from `start`; also return the residuals."""
    d = ((F.multiply(F)).T @ w + penalties)[:, None]
    d[d == 0] = 1
    x = np.zeros_like(b) if start is None else start.copy()
    r = b - (F.T @ (w[:, None] * (F @ x)) + penalties[:, None] * x)
    p = r / d
    rz = np.einsum("df,df->f", r, p)
    enough = CG_TOL**2 * np.einsum("df,df->f", b, b / d)
    for _ in range(CG_STEPS):
        if (rz <= enough).all():
            break
        q = F.T @ (w[:, None] * (F @ p)) + penalties[:, None] * p
        curvature = np.einsum("df,df->f", p, q)
        step = np.where(curvature > 0, rz / np.where(curvature > 0, curvature, 1), 0)
        x += step * p
        r -= step * q
        z = r / d
        previous, rz = rz, np.einsum("df,df->f", r, z)
        p = z + np.where(previous > 0, rz / np.where(previous > 0, previous, 1), 0) * p
    return x, r


def choose_strength(
    F: Any, w: NDArray[np.float64], x: NDArray[Any], scale: float, num_threads: int, kept: float = KEPT
) -> tuple[float, float]:  # fmt: skip
    """Return the relative ridge by cross-validation over rows, and the part of the error that the best one removes.

    It is the largest that keeps the share `kept` of this part; infinite if the features predict no factors.
    """
    rows = np.flatnonzero(w > 0)
    order = np.random.default_rng(0).permutation(len(rows))[:CV_ROWS]
    folds = [rows[order[fold::CV_FOLDS]] for fold in range(CV_FOLDS)]
    if min(map(len, folds)) == 0 or scale == 0:
        return float("inf"), 0.0
    parts = [(F[fold], w[fold], x[fold].astype(np.float64)) for fold in folds]
    dense = F.shape[1] - 1 <= MOST_DENSE
    grams: list[Any] = [gram(Fk, wk, num_threads) if dense else None for Fk, wk, _ in parts]
    errors = np.zeros(len(STRENGTHS) + 1)
    for held_out in range(CV_FOLDS if dense else 1):
        others = [part for part in range(CV_FOLDS) if part != held_out]
        F_held, w_held, x_held = parts[held_out]
        b = sum(parts[part][0].T @ (parts[part][1][:, None] * parts[part][2]) for part in others)
        mean = b[-1] / sum(float(parts[part][1].sum()) for part in others)
        errors[-1] += np.einsum("u,uf->", w_held, (x_held - mean) ** 2)
        if dense:
            M: Any = sum(grams[part] for part in others)
            solutions = _ridges(M, b, scale)
        else:
            train = [(parts[part][0], parts[part][1]) for part in others]
            solutions = _ridges_by_cg(train, b, scale)
        for at, A in enumerate(solutions):
            errors[at] += np.einsum("u,uf->", w_held, (x_held - F_held @ A) ** 2)
    gains = 1 - errors[:-1] / errors[-1] if errors[-1] > 0 else np.zeros(len(STRENGTHS))
    best = float(gains.max())
    if not best >= MIN_GAIN:
        return float("inf"), 0.0
    return STRENGTHS[int(np.argmax(gains >= kept * best))], best


def _ridges(M: NDArray[np.float64], b: NDArray[np.float64], scale: float) -> Iterator[NDArray[np.float64]]:
    """Yield the solutions for all strengths, from the Gram matrix."""
    for strength in STRENGTHS:
        ridged = M.copy()
        ridged[np.diag_indices(len(M) - 1)] += strength * scale
        yield scipy.linalg.cho_solve(scipy.linalg.cho_factor(ridged, overwrite_a=True), b)


def _ridges_by_cg(train: list[tuple[Any, Any]], b: NDArray[np.float64], scale: float) -> Iterator[NDArray[np.float64]]:
    """Yield the solutions for all strengths, each of which starts from the one before."""
    F = scipy.sparse.csr_array(scipy.sparse.vstack([Fk for Fk, _ in train], format="csr"))
    w = np.concatenate([wk for _, wk in train])
    A = None
    for strength in STRENGTHS:
        penalties = np.full(F.shape[1], strength * scale)
        penalties[-1] = 0
        A, _ = conjugate_gradients(F, w, penalties, b, A)
        yield A
