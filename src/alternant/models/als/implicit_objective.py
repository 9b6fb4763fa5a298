"""The objective of `ImplicitALS` in numbers: from interactions to row problems, and from their solutions to factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.messages import parameter, refusal
from ..._utils.threads import weighted_sum
from ...data.csr import CSR
from .._fit_loop import HalfSweep
from .basis import Basis
from .degrees import Degrees, scaled
from .half_sweep import RowProblems, half_sweep, penalty, row_lambdas
from .solver import Solver


@dataclass(frozen=True)
class ImplicitObjective:
    """What `ImplicitALS` minimises, once its parameters are numbers."""

    weighting: str
    alpha: float
    epsilon: float
    unobserved_weight: float
    regularization: tuple[float, float]
    regularization_scaling: str
    regularization_exponent: float
    degrees: Degrees | None

    # Row problems

    def problems(self, rows: CSR, kind: str, numbers: NDArray[np.int64] | None = None) -> RowProblems:
        """Return ``w = c - w0``, ``t = c p e`` and ``lambda_u``, of rows that need not be those of the fit."""
        weight, target = self._weight_and_target(rows.data)
        other = None if self.degrees is None else self._weights("item" if kind == "user" else "user")
        scale = None if other is None else other.astype(rows.data.dtype)
        return RowProblems(
            rows.indptr, rows.indices, weight, target, self._row_lambda(rows, kind), kind, numbers, target_scale=scale
        )

    def constant(self, rows: CSR, problems: RowProblems) -> float:
        """Return the objective of factors of 0: ``sum v c p^2``, where p is 0 or 1, over the users' rows."""
        target = problems.target
        if self._weights("user") is None and self._weights("item") is None:
            if isinstance(target, float):
                return float(problems.weight.sum(dtype=np.float64)) + target * len(problems.weight)
            return float(target.sum(dtype=np.float64))
        liked = CSR(rows.indptr, rows.indices, problems.plain_targets(), rows.shape).to_scipy()
        of_items = np.ones(rows.shape[1]) if (e := self._weights("item")) is None else e**2
        of_users = np.ones(rows.shape[0]) if (d := self._weights("user")) is None else d**2
        return weighted_sum(of_users, liked @ of_items)

    def _weights(self, kind: str) -> NDArray[np.float64] | None:
        if self.degrees is None:
            return None
        return self.degrees.user_weights if kind == "user" else self.degrees.item_weights

    def _weight_and_target(self, r: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | float]:
        """Return w, and c p or, to save its memory, what c p is more than w.

        That takes preferences of 1, and confidences of at least w0: else w + w0 would have lost digits of c.
        """
        disliked = r.min(initial=0) < 0
        w0 = self.unobserved_weight
        if self.weighting == "ials":
            return np.ones_like(r), (r > 0).astype(r.dtype) if disliked else 0.0
        size = np.abs(r) if disliked else r
        if self.weighting == "ials-log":
            w0 = 0.0  # it is on all pairs
        with np.errstate(over="ignore", invalid="ignore"):
            if not np.isfinite(self._confidence(size.max(initial=0, keepdims=True)) - np.asarray(w0, r.dtype)).all():
                raise refusal(
                    ValueError,
                    f"confidences must be finite in {r.dtype}, but {parameter('alpha', self.alpha)}, "
                    f"unobserved_weight={w0!r}, epsilon={self.epsilon!r} and an interaction of {size.max():g} "
                    "overflow: lower the largest of them, or raise epsilon",
                )
        if self.weighting == "hu" and self.alpha == w0 == 1 and not disliked:
            return r, w0
        c = self._confidence(size)
        t = c * (r > 0) if disliked or c.min(initial=np.inf) < w0 else w0
        c -= np.asarray(w0, r.dtype)
        return c, t

    def mean_confidence(self, r: NDArray[Any]) -> float:
        """Return the mean weight of what is observed."""
        if self.weighting == "ials":
            return 1.0
        with np.errstate(over="ignore"):  # `problems` reports it
            return float(self._confidence(np.abs(r)).mean(dtype=np.float64))

    def _confidence(self, r: NDArray[Any]) -> NDArray[Any]:
        alpha = float(self.alpha)  # the arrays keep their dtype
        if self.weighting in ("log", "ials-log"):
            c = np.log1p(r / float(self.epsilon))
            c *= alpha
        else:
            c = alpha * r
        if self.weighting != "proportional":
            c += 1
        return c

    def _row_lambda(self, rows: CSR, kind: str) -> NDArray[Any]:
        own = self.regularization[0 if kind == "user" else 1]
        scale = self.lambda_scale(np.diff(rows.indptr).astype(np.float64), rows.shape[1])
        if not np.isfinite(scale).all():
            raise ValueError(
                "what scales every row's lambda must be finite, but regularization_exponent="
                f"{self.regularization_exponent!r} overflows with unobserved_weight={self.unobserved_weight!r}: lower "
                "it"
            )
        return row_lambdas(own, scale, rows.data.dtype, self.regularization_scaling)

    def lambda_scale(self, counts: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
        """Return what lambda is multiplied by in rows of so many entries, of so many possible ones."""
        if self.regularization_scaling == "none":
            return np.ones_like(counts)
        if self.regularization_scaling == "count":
            return counts
        with np.errstate(over="ignore"):  # `row_lambdas` reports it
            scale: NDArray[np.float64] = (counts + self.unobserved_weight * columns) ** self.regularization_exponent
        return scale

    # Factors: those of the model, and those that a half-sweep fixes or starts from

    def fixed(self, factors: NDArray[Any], kind: str, solver: Solver | None = None) -> NDArray[Any]:
        """Return ``d_u x_u`` or ``e_i y_i`` of the model's factors, as the other side is solved with them."""
        by = self._weights(kind)
        if kind == "item" and self.degrees is not None and self.degrees.item_scores is not None:
            by = (1 if by is None else by) / self.degrees.item_scores
        out = None if by is None or solver is None else solver.pool.array(factors.shape, factors.dtype)
        return scaled(factors, by, out)

    def start(self, factors: NDArray[Any] | None, kind: str) -> NDArray[Any] | None:
        """Return the unknowns of the row problems of the fit, x_u or y_i, of the model's factors."""
        scores = self.degrees.item_scores if self.degrees is not None and kind == "item" else None
        return factors if factors is None or scores is None else scaled(factors, 1 / scores)

    def score_scale(self, item: int) -> float:
        """Return what an item's factors in the model are, of those that `fixed` returns."""
        e, m = self._weights("item"), None if self.degrees is None else self.degrees.item_scores
        return float((1 if m is None else m[item]) / (1 if e is None else e[item]))

    def finish_items(self, factors: NDArray[Any], degrees: NDArray[np.int64]) -> NDArray[Any]:
        """Make solutions for items with these degrees the model's item factors, in place."""
        return factors if self.degrees is None else scaled(factors, self.degrees.scores_of(degrees), factors)

    def finish_users(self, factors: NDArray[Any]) -> None:
        """Give the users of a fit of whom nothing is known, and whose factors are 0, those of the mean user."""
        unknown = None if self.degrees is None else self.degrees.unknown_users
        if unknown is not None:
            factors[unknown] = factors.sum(axis=0, dtype=np.float64) / max(1, len(unknown) - unknown.sum())

    def fixed_for_new_rows(self, factors: NDArray[Any], kind: str) -> NDArray[Any]:
        """Return `fixed` of a fitted side: users that `finish_users` made must not count among those that are known."""
        fixed = self.fixed(factors, kind)
        unknown = None if self.degrees is None or kind == "item" else self.degrees.unknown_users
        return fixed if unknown is None else np.where(unknown[:, None], fixed.dtype.type(0), fixed)

    def of_fit(self, user_items: CSR) -> ImplicitSides:
        """Return the row problems of both sides of a fit."""
        users = self.problems(user_items, "user")
        items = self.problems(user_items.transpose(), "item")
        return ImplicitSides(self, users, items, self.constant(user_items, users))


@dataclass(frozen=True)
class ImplicitSides:
    """The row problems of both sides of a fit, and the objective of factors of 0."""

    objective: ImplicitObjective
    users: RowProblems
    items: RowProblems
    constant: float

    def half_sweep(self, kind: str, own: NDArray[Any] | None, fixed: NDArray[Any], solver: Solver) -> HalfSweep:
        """Solve one side with the other side's factors fixed, and evaluate the whole objective."""
        problems, other = (self.users, self.items) if kind == "user" else (self.items, self.users)
        by, conjugate = self.objective, solver.method == "cg"
        Y = by.fixed(fixed, other.kind, solver)
        basis = Basis.of(Y, by.unobserved_weight, solver, problems if conjugate else None, padded=conjugate)
        solved = half_sweep(problems, by.start(own, kind), basis, solver, by._weights(kind))
        total = solved.objective + penalty(other, Y, solver) + self.constant
        factors = solved.factors if kind == "user" else by.finish_items(solved.factors, np.diff(problems.indptr))
        return HalfSweep(factors, total, solved.mean_steps)

    def finish_users(self, factors: NDArray[Any]) -> None:
        """Give users without interactions the mean user's factors."""
        self.objective.finish_users(factors)
