"""One half-sweep of alternating least squares, for any model whose row problem is

    (diag(g) + lambda_u I + sum_j w_j y_j y_j^T) x_u = sum_j t_j y_j + l_u .

in the coordinates of `basis`, in which the dense part of the normal equations is diagonal. See
`alternant.kernels.solve_rows` for the kernel.
"""  # noqa: D400

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..._utils.mapped import blocks_of, longest_block, release, row_blocks
from ..._utils.threads import map_parallel, single_threaded_blas, weighted_sum
from ...kernels._thresholds import ALS_SINGULAR
from .basis import Basis, gramian
from .degrees import scaled
from .problems import RowProblems, SingularRowError
from .solver import Solver

COMPLETE_BLOCK = 256  # rows of a complete matrix converted to float64 at a time
# Entries solved between two checks for Ctrl-C: about a quarter of a second at f = 64.
ENTRIES_PER_CALL = 1 << 22
# Entries times factors for each further thread, about 0.3 ms of work. If other processes keep the cores busy, a
# parallel region ends only when its last thread is scheduled: measured 10 ms per half-sweep on 2 cores, however small.
WORK_PER_THREAD = 1 << 18


@dataclass(frozen=True)
class Solution:
    """The solved side of a half-sweep."""

    factors: NDArray[Any]
    objective: float  # of all rows, without the constant and the other side's lambda term
    mean_steps: float


def half_sweep(
    problems: RowProblems, X: NDArray[Any] | None, basis: Basis, solver: Solver,
    row_weight: NDArray[np.float64] | None = None, start_scale: NDArray[np.float64] | None = None,
) -> Solution:  # fmt: skip
    """Solve all rows, with conjugate gradients starting from `X` (None: from zero), which is not changed.

    Rows are solved in blocks, so that factors may be memory-mapped. They start from `X` multiplied by `start_scale`
    (None: 1), and the objective weights each row by the square of `row_weight` (None: 1).

    Raises
    ------
    SingularRowError
        If a row's matrix is singular; the message names the row.
    OverflowError
        If the numbers of a row are too large for the dtype.
    """
    m, columns, dtype = len(problems.indptr) - 1, len(basis.diagonal), basis.diagonal.dtype
    f = columns if basis.inverse is None else basis.inverse.width
    factors = solver.pool.array((m, f), dtype)
    steps, objective = np.zeros(m, np.int32), np.zeros(m)
    complete = problems.complete and solver.method != "nonnegative"  # ratings: there is no dense part
    kernel = (_complete if complete else _kernel)(problems, basis, steps, objective, solver)
    scratch = None if basis.inverse is None else np.empty((longest_block(m, columns, dtype), columns), dtype)
    for rows in row_blocks(m, columns, dtype.itemsize):
        rotated = factors[rows] if scratch is None else scratch[: rows.stop - rows.start]
        own, scale = (None if one is None else one[rows] for one in (X, start_scale))
        _start(rotated, own, scale, basis, solver)
        kernel(rows, rotated)
        _check_objective(problems, objective[rows], rows.start, dtype)
        if basis.inverse is None:
            rotated += 0  # turns -0.0 into 0.0
        else:
            basis.inverse(rotated, factors[rows], solver)
        release(factors[rows], own)
    total = float(objective.sum()) if row_weight is None else weighted_sum(row_weight**2, objective)
    return Solution(factors, total, float(steps.mean()) if m else 0.0)


def _start(
    rotated: NDArray[Any], X: NDArray[Any] | None, scale: NDArray[np.float64] | None, basis: Basis, solver: Solver
) -> None:
    """Write the rows to start from, in the coordinates of the basis."""
    if X is None:
        rotated[:] = 0
        return
    if scale is not None:
        X = scaled(X, scale)
    if basis.forward is None:
        rotated[:] = X
    else:
        basis.forward(X, rotated, solver)


def _check_objective(
    problems: RowProblems, objective: NDArray[np.float64], first: int, dtype: np.dtype[Any]
) -> None:
    if not np.isfinite(objective).all():
        raise OverflowError(
            f"the objective of {problems.name(first + int(np.isfinite(objective).argmin()))} overflows {dtype}: lower "
            f"its {problems.too_large}, or use dtype='float64'"
        )


def _kernel(
    problems: RowProblems, basis: Basis, steps: NDArray[np.int32], objective: NDArray[np.float64], solver: Solver
) -> Callable[[slice, NDArray[Any]], None]:
    """Return a function that solves a block of rows into an array, starting from it."""
    Y, nonnegative = basis.factors, solver.method == "nonnegative"
    threads = min(solver.num_threads, 1 + int(problems.indptr[-1]) * Y.shape[1] // WORK_PER_THREAD)
    row_lambda = problems.regularization
    if basis.lambda_scale != 1:
        row_lambda = row_lambda * row_lambda.dtype.type(basis.lambda_scale)
    dense = np.zeros((Y.shape[1], Y.shape[1]), Y.dtype) if nonnegative else basis.diagonal
    if nonnegative and problems.complete:  # one Gramian for all rows
        problems = replace(problems, weight=np.zeros_like(problems.weight))
        dense = gramian(Y, solver).astype(Y.dtype)

    def solve(block: slice, X: NDArray[Any]) -> None:
        calls = list(_calls(problems.indptr[block.start : block.stop + 1]))
        linear = _linear(problems, block, basis, solver)
        for number, (first, last) in enumerate(calls):
            if number + 1 < len(calls):
                problems.prefetch(*(block.start + row for row in calls[number + 1]))
            part = problems.part(block.start + first, block.start + last)
            rows, own = slice(block.start + first, block.start + last), X[first:last]
            given = {"row_steps": steps[rows], "row_objective": objective[rows], "num_threads": threads}
            given |= {"tol": solver.tol, "max_steps": solver.max_steps}
            if nonnegative:
                status = solver.backend.solve_rows_nonnegative(
                    part.indptr, part.indices, part.weight, part.targets(), Y, dense, row_lambda[rows], own, **given
                )
            else:
                status = solver.backend.solve_rows(
                    part.indptr, part.indices, part.weight, part.target, Y, dense, row_lambda[rows], own,
                    method="cg" if solver.method == "cg" else "cholesky", target_scale=problems.target_scale,
                    linear=None if linear is None else linear[first:last], **given,
                )  # fmt: skip
            if status:
                raise _singular(problems, rows.start + status - 1)
            problems.release(rows.start, rows.stop)

    return solve


def _linear(problems: RowProblems, rows: slice, basis: Basis, solver: Solver) -> NDArray[Any] | None:
    """Return the linear terms of some rows in the coordinates of the basis."""
    if problems.linear is None or basis.outer is None:
        return None if problems.linear is None else problems.linear[rows]
    out = solver.pool.array((rows.stop - rows.start, len(basis.diagonal)), basis.diagonal.dtype)
    basis.outer(np.ascontiguousarray(problems.linear[rows]), out, solver)
    return out


def _complete(
    problems: RowProblems, basis: Basis, _: NDArray[np.int32], objective: NDArray[np.float64], solver: Solver
) -> Callable[[slice, NDArray[Any]], None]:
    """Return a function that solves ``(lambda I + Y^T Y) x_u = Y^T t_u + l_u`` for a block of rows into an array.

    There is one factorization for all rows, and all is in float64.
    """
    Y, m = basis.factors, len(problems.indptr) - 1
    if m == 0 or len(Y) == 0:
        return lambda _rows, _X: None
    wide = Y.astype(np.float64)
    table = problems.targets().reshape(m, len(Y))
    with single_threaded_blas():
        A = gramian(Y, solver) + float(problems.regularization[0]) * np.eye(Y.shape[1])
        try:
            U = scipy.linalg.cholesky(A)
        except (scipy.linalg.LinAlgError, ValueError):  # ValueError: not finite
            raise _singular(problems, 0) from None
    if not np.diag(U).min() ** 2 > ALS_SINGULAR[Y.dtype] * np.diag(A).max():
        raise _singular(problems, 0)

    def solve(rows: slice, X: NDArray[Any]) -> None:
        def part(first: int) -> None:
            own, block = (slice(begin, begin + COMPLETE_BLOCK) for begin in (first, rows.start + first))
            block = slice(block.start, min(block.stop, rows.stop))
            b = table[block].astype(np.float64) @ wide
            if problems.linear is not None:
                b += problems.linear[block]
            with np.errstate(over="ignore"):  # seen in the objective
                X[own] = scipy.linalg.cho_solve((U, False), b.T, check_finite=False).T
            x = X[own].astype(np.float64)
            objective[block] = np.einsum("uf,uf->u", x, x @ A - 2 * b)

        with single_threaded_blas():
            map_parallel(part, range(0, len(X), COMPLETE_BLOCK), solver.num_threads)

    return solve


def _singular(problems: RowProblems, row: int) -> SingularRowError:
    wider = ", or use dtype='float64', which is more precise" if problems.weight.itemsize < 8 else ""
    return SingularRowError(
        f"the least-squares problem of {problems.name(row)} is singular, so its solution is not unique: raise the "
        f"regularization{wider}"
    )


def penalty(
    problems: RowProblems, X: NDArray[Any], solver: Solver,
    unknowns: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> float:  # fmt: skip
    """Sum ``lambda_u |x_u|^2`` in float64; `unknowns` returns the x of a block of factors (None: these themselves)."""
    norms = np.empty(len(X))
    for rows in blocks_of(X):
        x = X[rows] if unknowns is None else unknowns(X[rows])
        solver.backend.squared_norms(x, norms[rows], solver.num_threads)
        release(X[rows])
    return weighted_sum(problems.regularization, norms)


def _calls(indptr: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Split the rows into ranges of about `ENTRIES_PER_CALL` entries; signals are handled between kernel calls."""
    rows = len(indptr) - 1
    edges = np.arange(indptr[0], indptr[-1], ENTRIES_PER_CALL)[1:]
    cuts = [0, *np.unique(np.searchsorted(indptr, edges)).tolist(), rows]
    for first, last in pairwise(cuts):
        if last > first:
            yield first, last
