"""The objective of `ImplicitALS`: from interactions to row problems, and from their solutions to factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import blocks_of, release
from ..._utils.messages import parameter, refusal
from ..._utils.threads import weighted_sum
from ...data.csr import CSR
from .._fit_loop import HalfSweep, is_frozen
from ..priors.fitted_prior import Finished, finish_prior, fitted_state
from ..priors.prior import Prior
from .basis import Basis
from .degrees import Degrees, scaled
from .half_sweep import half_sweep, penalty
from .observed import Observed, Statistics, row_sums
from .problems import Form, FormedProblems, RowProblems, row_lambdas
from .solver import Solver

NIGHT_ROWS = 1 << 13  # rows of a side whose Gramian is computed at a time, as they are read
NIGHT_ENTRIES = 4  # for each of these rows, with which all are transformed


@dataclass(frozen=True)
class ImplicitObjective:
    """The objective of `ImplicitALS`, with all parameters resolved to numbers."""

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
        """Return ``w = c - w0``, ``t = c p e`` and ``lambda_u`` of rows, which may be new ones."""
        r = rows.data
        size = np.abs(r)
        form = self._form(float(size.min(initial=np.inf)), float(size.max(initial=0)), r.min(initial=0) < 0, r.dtype)
        weight, target = form(r, rows.indices)
        return RowProblems(
            rows.indptr, rows.indices, weight, target, self._row_lambda(rows, kind, r.dtype), kind, numbers,
            target_scale=self._target_scale(kind, r.dtype),
        )  # fmt: skip

    def around(self, problems: RowProblems, means: NDArray[Any], nightly: bool = False) -> RowProblems:
        """Return the problems of rows with these prior means; `nightly`: of rows that new events have changed.

        What a row lacks that is new since the fit says little: with n of the entries of a typical row it has had,
        roughly, that share of the chances. Its unobserved pairs have the same share of w0; with all of it, one
        interaction would take the row further from what its features say than from 0. Matrix and right-hand side are
        divided by the share, since the dense part is that of all rows.

        An item that has few interactions after some nights may also be one that few like: its share is the root. On
        planted choices, NDCG@20 after ten nights is that of a fit; with n / N it was 1.2 % below, as new items were 6 %
        of the lists instead of 1.3 %. Users keep n / N, since `explain` knows their interactions and no more.
        """
        problems = replace(problems, linear=problems.regularization[:, None] * means)
        if self.degrees is None:
            return problems
        n = np.diff(problems.indptr)
        share = self.degrees.chances(problems.kind, problems.numbers, n, nightly)
        if (share == 1).all():
            return problems
        share = share.astype(means.dtype)
        of_entries = np.repeat(share, n)
        dense = means.dtype.type(0 if self.weighting in ("ials", "ials-log") else self.unobserved_weight)
        weight = np.where(of_entries < 1, (problems.weight + dense) / of_entries - dense, problems.weight)
        assert problems.linear is not None
        return replace(
            problems, weight=weight, target=problems.plain_targets() / of_entries,
            regularization=problems.regularization / share, linear=problems.linear / share[:, None],
        )  # fmt: skip

    def problems_of_fit(self, observed: Observed, kind: str) -> RowProblems:
        """Return the row problems of a side of a fit; weights are formed when they are needed if that saves memory."""
        rows = observed.users if kind == "user" else observed.items
        if not observed.on_disk and self.weighting != "ials":
            return self.problems(rows, kind)
        dtype = observed.dtype
        form = self._form(*observed.range, dtype)
        return FormedProblems(
            rows.indptr, rows.indices, np.empty(0, dtype), 0.0, self._row_lambda(rows, kind, dtype), kind,
            target_scale=self._target_scale(kind, dtype), values=rows.data, form=form,
        )  # fmt: skip

    def constant(self, observed: Observed, problems: RowProblems) -> float:
        """Return the objective at factors of 0, ``sum v c p^2`` (p is 0 or 1), from the users' rows."""

        def liked(first: int, last: int) -> NDArray[np.float64]:
            """Return c p of the entries of some rows."""
            part = problems.part(first, last)
            if isinstance(part.target, float):
                return np.asarray(part.weight.astype(np.float64) + part.target)
            return part.target.astype(np.float64)

        d, e = (
            np.ones(count) if weights is None else weights**2
            for count, weights in zip(observed.shape, (self._weights("user"), self._weights("item")), strict=True)
        )
        return weighted_sum(d, row_sums(observed.users, e, observed.num_threads, liked))

    def _target_scale(self, kind: str, dtype: np.dtype[Any]) -> NDArray[Any] | None:
        other = None if self.degrees is None else self._weights("item" if kind == "user" else "user")
        return None if other is None else other.astype(dtype)

    def _weights(self, kind: str) -> NDArray[np.float64] | None:
        if self.degrees is None:
            return None
        return self.degrees.user_weights if kind == "user" else self.degrees.item_weights

    def _form(self, smallest: float, largest: float, disliked: bool, dtype: np.dtype[Any]) -> Form:
        """Return the function from values to w and to c p or, to save memory, the constant c p - w.

        The values are between the smallest and the largest in absolute value. A constant requires that all preferences
        are 1 and all confidences at least w0: otherwise, w + w0 would have lost digits of c.
        """
        if self.weighting == "ials":
            return _alike(disliked, dtype)
        w0 = 0.0 if self.weighting == "ials-log" else self.unobserved_weight  # the former has it on all pairs
        with np.errstate(over="ignore", invalid="ignore"):
            least, greatest = (self._confidence(np.full(1, size, dtype))[0] for size in (smallest, largest))
            if not np.isfinite(greatest - np.asarray(w0, dtype)):
                raise refusal(
                    ValueError,
                    f"confidences must be finite in {dtype}, but overflow with {parameter('alpha', self.alpha)}, "
                    f"unobserved_weight={w0!r}, epsilon={self.epsilon!r} and an interaction of {largest:g}: lower "
                    "the largest of them, or raise epsilon",
                )
        if self.weighting == "hu" and self.alpha == w0 == 1 and not disliked:
            return lambda r, _: (r.astype(dtype, copy=False), w0)
        varied = disliked or least < w0

        def form(r: NDArray[Any], _: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | float]:
            r = r.astype(dtype, copy=False)
            c = self._confidence(np.abs(r) if disliked else r)
            t = c * (r > 0) if disliked else c.copy() if varied else w0
            c -= np.asarray(w0, dtype)
            return c, t

        return form

    def mean_confidence(self, observed: Statistics) -> float:
        """Return the mean weight of the observed pairs."""
        if self.weighting == "ials":
            return 1.0
        with np.errstate(over="ignore"):  # `problems` reports it
            return observed.mean(replace(self, degrees=None)._confidence)  # small enough to be sent to other machines

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

    def _row_lambda(self, rows: CSR, kind: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        own = self.regularization[0 if kind == "user" else 1]
        scale = self.lambda_scale(np.diff(rows.indptr).astype(np.float64), rows.shape[1])
        if not np.isfinite(scale).all():
            raise ValueError(
                "the scale of every row's lambda must be finite, but overflows with regularization_exponent="
                f"{self.regularization_exponent!r} and unobserved_weight={self.unobserved_weight!r}: lower one of them"
            )
        return row_lambdas(own, scale, dtype, self.regularization_scaling)

    def lambda_scale(self, counts: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
        """Return the factor of lambda for rows with these numbers of entries, out of `columns`."""
        if self.regularization_scaling == "none":
            return np.ones_like(counts)
        if self.regularization_scaling == "count":
            return counts
        with np.errstate(over="ignore"):  # `row_lambdas` reports it
            scale: NDArray[np.float64] = (counts + self.unobserved_weight * columns) ** self.regularization_exponent
        return scale

    def basis(self, Y: NDArray[Any], problems: RowProblems, solver: Solver) -> Basis:
        """Return the basis in which a half-sweep solves these problems, with the other side fixed at Y."""
        conjugate = solver.method == "cg"
        return Basis.of(Y, self.unobserved_weight, solver, problems if conjugate else None, padded=conjugate)

    def solve(self, rows: CSR, own: NDArray[Any], fixed: NDArray[Any], kind: str, solver: Solver) -> NDArray[Any]:
        """Return the solved side of a half-sweep without degree normalization."""
        problems = self.problems(rows, kind)
        return half_sweep(problems, own, self.basis(fixed, problems, solver), solver).factors

    # Conversion between the factors of the model and those that a half-sweep fixes or starts from

    def fixed(self, factors: NDArray[Any], kind: str, solver: Solver | None = None) -> NDArray[Any]:
        """Return ``d_u x_u`` or ``e_i y_i``, the fixed side of a half-sweep, from the model's factors."""
        by = self._fixed_scale(kind)
        out = None if by is None or solver is None else solver.pool.array(factors.shape, factors.dtype)
        return scaled(factors, by, out)

    def _fixed_scale(self, kind: str) -> NDArray[np.float64] | None:
        """Return what `fixed` multiplies the model's factors by; None: by 1."""
        by = self._weights(kind)
        if kind == "item" and self.degrees is not None and self.degrees.item_scores is not None:
            by = (1 if by is None else by) / self.degrees.item_scores
        return by

    def start(self, factors: NDArray[Any] | None, kind: str) -> NDArray[Any] | None:
        """Return x_u or y_i, the unknowns of the row problems, from the model's factors."""
        return None if factors is None else scaled(factors, self.start_scale(kind))

    def start_scale(self, kind: str) -> NDArray[np.float64] | None:
        """Return what `start` multiplies the model's factors by; None: by 1."""
        scores = self.degrees.item_scores if self.degrees is not None and kind == "item" else None
        return None if scores is None else 1 / scores

    def start_rows(self, factors: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None) -> NDArray[Any]:
        """Return `start` of some rows of the model."""
        scores = self.degrees.item_scores if self.degrees is not None and kind == "item" else None
        return factors if scores is None or numbers is None else scaled(factors, 1 / scores[numbers])

    def score_scale(self, item: int) -> float:
        """Return the ratio of an item's factors in the model to those that `fixed` returns."""
        e, m = self._weights("item"), None if self.degrees is None else self.degrees.item_scores
        return float((1 if m is None else m[item]) / (1 if e is None else e[item]))

    def finish_items(self, factors: NDArray[Any], degrees: NDArray[np.int64]) -> NDArray[Any]:
        """Turn solutions for items with these degrees into the model's item factors, in place."""
        return factors if self.degrees is None else scaled(factors, self.degrees.scores_of(degrees), factors)

    def finish_users(self, factors: NDArray[Any]) -> None:
        """Replace the factors of users without interactions, which are 0, by those of the mean user."""
        unknown = None if self.degrees is None else self.degrees.unknown_users
        if unknown is None:
            return
        assert self.degrees is not None
        weights, total = self.degrees.like_new, np.zeros(factors.shape[1])
        for rows in blocks_of(factors):
            factors[rows][unknown[rows]] = 0  # as they are, unless these are the finished ones of a checkpoint
            weighted = weights[rows, None] * factors[rows]
            total = np.vstack([total, weighted]).sum(axis=0)  # row by row, whatever the blocks are
            release(factors[rows])
        for rows in blocks_of(factors):
            factors[rows][unknown[rows]] = total / (weights.sum() or 1.0)
            release(factors[rows])

    def scale_for_new_rows(self, kind: str, prior: bool) -> NDArray[np.float64] | None:
        """Return what makes a fitted side `fixed`, with the rows without interactions at 0 again, as in the fit.

        Those are users and, with a prior learned from features, items.
        """
        by = self._fixed_scale(kind)
        unknown = None if self.degrees is None or not (kind == "user" or prior) else self.degrees.unknown(kind)
        return by if unknown is None else np.where(unknown, 0.0, 1.0 if by is None else by)

    def of_fit(self, observed: Observed, prior_of: Callable[..., dict[str, Prior]] | None = None) -> ImplicitSides:
        """Return the row problems of both sides of a fit, with the priors that `prior_of` makes of them."""
        users, items = self.problems_of_fit(observed, "user"), self.problems_of_fit(observed, "item")
        priors = {} if prior_of is None else prior_of((users, self._weights("user")), (items, self._weights("item")))
        return ImplicitSides(self, users, items, self.constant(observed, users), priors)


def _alike(disliked: bool, dtype: np.dtype[Any]) -> Form:
    """Return the function from values to weights of 1 and their targets."""
    ones = np.ones(0, dtype)

    def form(r: NDArray[Any], _: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | float]:
        nonlocal ones
        weight = ones
        if len(weight) < len(r):
            weight = ones = np.ones(len(r), dtype)
        return weight[: len(r)], (r > 0).astype(dtype) if disliked else 0.0

    return form


@dataclass(frozen=True)
class ImplicitSides:
    """The row problems of both sides of a fit, and the objective at factors of 0."""

    objective: ImplicitObjective
    users: RowProblems
    items: RowProblems
    constant: float
    priors: dict[str, Prior] = field(default_factory=dict)
    sample_weight: None = None

    def restore(self, state: dict[str, Any]) -> None:
        """Do nothing: an iteration leaves no more than its factors."""

    def half_sweep(self, kind: str, own: NDArray[Any] | None, fixed: NDArray[Any], solver: Solver) -> HalfSweep:
        """Solve one side with the other side's factors fixed, and evaluate the whole objective."""
        problems, other = (self.users, self.items) if kind == "user" else (self.items, self.users)
        by = self.objective
        Y = by.fixed(fixed, other.kind, solver)
        prior, prior_of_other = self.priors.get(kind), self.priors.get(other.kind)
        start, scale = (own, by.start_scale(kind)) if prior is None else (by.start(own, kind), None)
        before = None if prior is None else prior.of(own, start)
        if prior is not None and before is not None:
            problems = replace(problems, linear=prior.linear(before))
        solved = half_sweep(problems, start, by.basis(Y, problems, solver), solver, by._weights(kind), scale)
        total = solved.objective + penalty(other, Y, solver) + self.constant
        if prior_of_other is not None:
            fixed_by = prior_of_other.of(fixed, by.start(fixed, other.kind))
            total += 0.0 if fixed_by is None else fixed_by.value
        after = None if prior is None else prior.after(solved.factors)
        factors = solved.factors if kind == "user" else by.finish_items(solved.factors, np.diff(problems.indptr))
        if prior is not None:
            total += prior.gain(before, after)
            prior.remember(factors, after)
        return HalfSweep(factors, total, solved.mean_steps)

    def finish(self, users: NDArray[Any], items: NDArray[Any]) -> Finished:
        """Give users without interactions the factors of the mean user or, as items, those their features imply."""
        of_users = finish_prior(self.priors.get("user"), users, users)
        of_items = None
        if "item" in self.priors:
            of_items = finish_prior(self.priors["item"], items, self.objective.start(items, "item"))
        if of_users is None or not of_users.active:
            self.objective.finish_users(users)
        elif (empty := self.priors["user"].empty) is not None:
            users[empty] = of_users.of_rows(np.flatnonzero(empty), users.dtype)
        if of_items is not None and of_items.active and (empty := self.priors["item"].empty) is not None:
            means = of_items.of_rows(np.flatnonzero(empty), items.dtype)
            items = items.copy()  # the next iteration starts from factors of 0
            items[empty] = self.objective.finish_items(means, np.zeros(len(means), np.int64))
        return Finished(users, items, fitted_state(of_users, of_items))


def cached_basis(
    model: Any, fixed: NDArray[Any], kind: str, objective: ImplicitObjective, solver: Solver
) -> Basis:
    """Return the basis of a side of a model, cached while the side is read-only and belongs to the model.

    The key contains everything that a basis depends on, so that results do not depend on earlier calls.
    """
    padded = solver.method == "cg"
    key = kind, objective.unobserved_weight, solver.method, padded, solver.backend.name
    cached: list[tuple[NDArray[Any], Any, Basis]] = model._guard.derived.get("bases", [])
    for side, made_with, basis in cached:
        if side is fixed and made_with[0] == key and made_with[1] is objective.degrees and is_frozen(fixed):
            return basis
    in_fit = scaled(fixed, _scale_for_new_rows(model, kind, objective))
    basis = Basis.of(in_fit, objective.unobserved_weight, solver, padded=padded)
    if any(fixed is getattr(model, name, None) for name in ("user_factors", "item_factors")) and is_frozen(fixed):
        model._guard.derived["bases"] = [*cached[-1:], (fixed, (key, objective.degrees), basis)]
    return basis


def basis_of_entries(
    model: Any, fixed: NDArray[Any], kind: str, objective: ImplicitObjective, solver: Solver, problems: RowProblems
) -> tuple[Basis, RowProblems]:
    """Return the basis of a side with no rows but those that some problems read, and the problems with their numbers.

    The coordinates are those of `cached_basis`. A night of 1 % of msweb, whose users are many, takes 9 ms instead of 15
    since few of them are copied and transformed. With many entries for each row, all are read anyway.
    """
    if len(problems.indices) >= NIGHT_ENTRIES * len(fixed):
        return cached_basis(model, fixed, kind, objective, solver), problems
    read = np.zeros(len(fixed), np.bool_)
    read[problems.indices] = True
    numbers = np.flatnonzero(read)
    place = np.cumsum(read, dtype=problems.indices.dtype)
    place -= 1
    by = _scale_for_new_rows(model, kind, objective)
    of_rows = np.empty((len(numbers), fixed.shape[1]), fixed.dtype)
    total, part = np.zeros((2, fixed.shape[1], fixed.shape[1]))
    for start in range(0, len(fixed), NIGHT_ROWS):
        block = slice(start, start + NIGHT_ROWS)
        rows = scaled(fixed[block], None if by is None else by[block])
        solver.backend.gramian(rows, part, solver.num_threads)
        total += part
        first, last = np.searchsorted(numbers, (start, start + NIGHT_ROWS))
        np.take(rows, numbers[first:last] - start, axis=0, out=of_rows[first:last], mode="clip")
    basis = Basis.of(of_rows, objective.unobserved_weight, solver, padded=solver.method == "cg", whole=total)
    scale = problems.target_scale
    return basis, replace(
        problems, indices=place[problems.indices], target_scale=None if scale is None else scale[numbers]
    )


def _scale_for_new_rows(model: Any, kind: str, objective: ImplicitObjective) -> NDArray[np.float64] | None:
    return objective.scale_for_new_rows(kind, getattr(model, f"_{kind}_prior", None) is not None)
