"""One half-sweep of alternating least squares, for any model whose row problem is

    (diag(g) + lambda_u I + sum_j w_j y_j y_j^T) x_u = sum_j t_j y_j + l_u .

in the coordinates of `basis`, in which the dense part of the normal equations is diagonal. See
`alternant.kernels.solve_rows` for the kernel.
"""  # noqa: D400

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..._utils.threads import map_parallel, single_threaded_blas, weighted_sum
from ...kernels._thresholds import ALS_SINGULAR
from .basis import Basis, gramian
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
    row_weight: NDArray[np.float64] | None = None,
) -> Solution:  # fmt: skip
    """Solve all rows, with conjugate gradients starting from `X` (None: from zero), which is not changed.

    The objective weights each row by the square of `row_weight` (None: 1).

    Raises
    ------
    SingularRowError
        If a row's matrix is singular; the message names the row.
    OverflowError
        If the numbers of a row are too large for the dtype.
    """
    m, columns, dtype = len(problems.indptr) - 1, len(basis.diagonal), basis.diagonal.dtype
    rotated = solver.pool.array((m, columns), dtype)
    if X is None:
        rotated[:] = 0
    elif basis.forward is None:
        rotated[:] = X
    else:
        basis.forward(X, rotated, solver)
    linear = problems.linear
    if linear is not None and basis.outer is not None:
        linear = solver.pool.array((m, columns), dtype)
        basis.outer(np.ascontiguousarray(problems.linear), linear, solver)
    steps = np.zeros(m, np.int32)
    objective = np.zeros(m)
    if problems.complete and solver.method != "nonnegative":  # ratings: there is no dense part
        solve_complete(problems, basis.factors, rotated, objective, solver)
    else:
        _solve_by_kernel(problems, basis, rotated, linear, steps, objective, solver)
    if not np.isfinite(objective).all():
        raise OverflowError(
            f"the objective of {problems.name(int(np.isfinite(objective).argmin()))} overflows {dtype}: lower its "
            f"{problems.too_large}, or use dtype='float64'"
        )
    factors = rotated
    if basis.inverse is None:
        factors += 0  # turns -0.0 into 0.0
    else:
        f = len(basis.inverse.matrix)
        factors = rotated if columns == f else solver.pool.array((m, f), dtype)
        basis.inverse(rotated, factors, solver)
    total = float(objective.sum()) if row_weight is None else weighted_sum(row_weight**2, objective)
    return Solution(factors, total, float(steps.mean()) if m else 0.0)


def _solve_by_kernel(
    problems: RowProblems, basis: Basis, X: NDArray[Any], linear: NDArray[Any] | None, steps: NDArray[np.int32],
    objective: NDArray[np.float64], solver: Solver,
) -> None:  # fmt: skip
    Y, nonnegative = basis.factors, solver.method == "nonnegative"
    threads = min(solver.num_threads, 1 + int(problems.indptr[-1]) * Y.shape[1] // WORK_PER_THREAD)
    weight = problems.weight
    row_lambda = problems.regularization
    if basis.lambda_scale != 1:
        row_lambda = row_lambda * row_lambda.dtype.type(basis.lambda_scale)
    dense = np.zeros((Y.shape[1], Y.shape[1]), Y.dtype) if nonnegative else basis.diagonal
    target = problems.targets() if nonnegative else np.empty(0, Y.dtype)  # formed once for all calls
    if nonnegative and problems.complete:  # one Gramian for all rows
        weight, dense = np.zeros_like(weight), gramian(Y, solver).astype(Y.dtype)
    for first, last in _calls(problems.indptr):
        rows, indptr = slice(first, last), problems.indptr[first : last + 1]
        if nonnegative:
            status = solver.backend.solve_rows_nonnegative(
                indptr, problems.indices, weight, target, Y, dense, row_lambda[rows], X[rows],
                tol=solver.tol, max_steps=solver.max_steps, num_threads=threads, row_steps=steps[rows],
                row_objective=objective[rows],
            )  # fmt: skip
        else:
            status = solver.backend.solve_rows(
                indptr, problems.indices, weight, problems.target, Y, dense, row_lambda[rows], X[rows],
                method="cg" if solver.method == "cg" else "cholesky", tol=solver.tol, max_steps=solver.max_steps,
                num_threads=threads, row_steps=steps[rows], row_objective=objective[rows],
                target_scale=problems.target_scale, linear=None if linear is None else linear[rows],
            )  # fmt: skip
        if status:
            raise _singular(problems, first + status - 1)


def solve_complete(
    problems: RowProblems, Y: NDArray[Any], X: NDArray[Any], objective: NDArray[np.float64], solver: Solver
) -> None:
    """Solve ``(lambda I + Y^T Y) x_u = Y^T t_u + l_u`` for all rows into `X`: one factorization, all in float64."""
    m, n = len(X), len(Y)
    if m == 0 or n == 0:
        return
    wide = Y.astype(np.float64)
    table = problems.targets().reshape(m, n)
    with single_threaded_blas():
        A = gramian(Y, solver) + float(problems.regularization[0]) * np.eye(Y.shape[1])
        try:
            U = scipy.linalg.cholesky(A)
        except (scipy.linalg.LinAlgError, ValueError):  # ValueError: not finite
            raise _singular(problems, 0) from None
        if not np.diag(U).min() ** 2 > ALS_SINGULAR[Y.dtype] * np.diag(A).max():
            raise _singular(problems, 0)

        def solve(block: slice) -> None:
            b = table[block].astype(np.float64) @ wide
            if problems.linear is not None:
                b += problems.linear[block]
            with np.errstate(over="ignore"):  # seen in the objective
                X[block] = scipy.linalg.cho_solve((U, False), b.T, check_finite=False).T
            x = X[block].astype(np.float64)
            objective[block] = np.einsum("uf,uf->u", x, x @ A - 2 * b)

        blocks = [slice(start, start + COMPLETE_BLOCK) for start in range(0, m, COMPLETE_BLOCK)]
        map_parallel(solve, blocks, solver.num_threads)


def _singular(problems: RowProblems, row: int) -> SingularRowError:
    wider = ", or use dtype='float64', which is more precise" if problems.weight.itemsize < 8 else ""
    return SingularRowError(
        f"the least-squares problem of {problems.name(row)} is singular, so its solution is not unique: raise the "
        f"regularization{wider}"
    )


def penalty(problems: RowProblems, X: NDArray[Any], solver: Solver) -> float:
    """Sum ``lambda_u |x_u|^2`` in float64."""
    norms = np.empty(len(X))
    solver.backend.squared_norms(X, norms, solver.num_threads)
    return weighted_sum(problems.regularization, norms)


def _calls(indptr: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Split the rows into ranges of about `ENTRIES_PER_CALL` entries; signals are handled between kernel calls."""
    rows = len(indptr) - 1
    edges = np.arange(indptr[0], indptr[-1], ENTRIES_PER_CALL)[1:]
    cuts = [0, *np.unique(np.searchsorted(indptr, edges)).tolist(), rows]
    for first, last in pairwise(cuts):
        if last > first:
            yield first, last
