"""One half-sweep of alternating least squares, for any model whose row problem is

    (diag(g) + lambda_u I + sum_j w_j y_j y_j^T) x_u = sum_j t_j y_j .

The dense part ``w0 Y^T Y = Q diag(g) Q^T`` of the normal equations is made diagonal by one small eigendecomposition;
rotating both sides by Q changes no prediction. See `alternant.kernels.solve_rows` for what the kernel does with it.
"""  # noqa: D400

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from .._threads import map_parallel, single_threaded_blas
from ..kernels._registry import Backend
from ..kernels.als_reference import SINGULAR

# Rows a thread multiplies at a time. Fixed, so that the bits of a product depend on no thread count.
BLOCK = 1024
CACHE_LINE = 64
COMPLETE_BLOCK = 256  # of a table without gaps, which is copied to float64 block by block
# Entries solved between two looks at Ctrl-C: about a quarter of a second at f = 64.
ENTRIES_PER_CALL = 1 << 22
# Entries times factors that are worth another thread, about 0.3 ms of work. Where other processes keep the cores busy,
# a parallel region ends only when its last thread gets one: measured 10 ms a half-sweep on 2 cores, however small.
WORK_PER_THREAD = 1 << 18


class SingularRowError(ArithmeticError):
    """The least-squares problem of a row has no unique solution."""


@dataclass(frozen=True)
class RowProblems:
    """The sparse part of every row's problem, and how to solve it."""

    indptr: NDArray[np.int64]
    indices: NDArray[Any]
    weight: NDArray[Any]
    target: NDArray[Any] | float  # a number: what is added to the weights to get the targets
    regularization: NDArray[Any]  # lambda_u
    kind: str  # what a row is, for messages: "user" or "item"
    numbers: NDArray[np.int64] | None = None  # what messages call the rows, if not 0, 1, ...
    complete: bool = False  # whether every row has every column, in order, with weight 1, and all one lambda
    too_large: str = "confidences (alpha) or unobserved_weight"  # what to lower where numbers overflow

    def targets(self) -> NDArray[Any]:
        """Return the target of every entry."""
        return self.weight + self.target if isinstance(self.target, float) else self.target

    def name(self, row: int) -> str:
        """Return what messages call a row."""
        return f"{self.kind} {row if self.numbers is None else self.numbers[row]}"


@dataclass(frozen=True)
class Solver:
    """How to solve the rows."""

    backend: Backend
    method: str  # "cg", "cholesky", or "nonnegative"
    tol: float
    max_steps: int
    num_threads: int


@dataclass(frozen=True)
class Solution:
    """The solved side of a half-sweep."""

    factors: NDArray[Any]
    objective: float  # of all rows, without the constant and the other side's lambda term
    mean_steps: float


@dataclass(frozen=True)
class HalfSweep:
    """What a half-sweep of a fit comes to: the solved side, and the whole objective."""

    factors: NDArray[Any]
    objective: float
    mean_steps: float
    state: dict[str, Any] = field(default_factory=dict)  # further attributes of the model


@dataclass(frozen=True)
class Eigenbasis:
    """The fixed side in the basis that makes its Gramian diagonal; or as it is, where there is no dense part.

    For conjugate gradients each row is filled up with zeros to whole cache lines, so that they read it where it is.
    Solutions are 0 there, whatever g is.
    """

    factors: NDArray[Any]  # Y Q
    vectors: NDArray[Any] | None  # Q, float64; None for the identity
    diagonal: NDArray[Any]  # g

    @classmethod
    def without_dense_part(cls, Y: NDArray[Any]) -> Eigenbasis:
        """Take the fixed side as it is."""
        return cls(_aligned(Y), None, np.zeros(Y.shape[1], Y.dtype))

    @classmethod
    def of(cls, Y: NDArray[Any], unobserved_weight: float, num_threads: int, padded: bool = False) -> Eigenbasis:
        """Decompose ``unobserved_weight * Y^T Y``; the Gramian is accumulated in float64."""
        f = Y.shape[1]
        with single_threaded_blas():
            total = gramian(Y, num_threads)
            if not unobserved_weight * np.trace(total) <= np.finfo(Y.dtype).max:  # NaN included
                raise ValueError(
                    f"factors must be finite, and the sums of their squares too in {Y.dtype}: lower init_scale or "
                    "unobserved_weight, or set finite factors"
                )
            g, Q = scipy.linalg.eigh(unobserved_weight * total, driver="evd")
        g[g < f * np.finfo(np.float64).eps * max(g.max(initial=0), 0)] = 0  # rank-deficient: rounding, not data
        columns = f + (-f % (CACHE_LINE // Y.dtype.itemsize) if padded else 0)
        diagonal = np.full(columns, g.max(initial=0) or 1, Y.dtype)
        diagonal[:f] = g
        return cls(rotate(Y, Q, num_threads, columns), Q, diagonal)


def gramian(Y: NDArray[Any], num_threads: int) -> NDArray[np.float64]:
    """Return ``Y^T Y``, accumulated in float64."""

    def part(block: slice) -> NDArray[np.float64]:
        rows = Y[block].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the result
            return rows.T @ rows

    total = np.zeros((Y.shape[1], Y.shape[1]))
    with single_threaded_blas():
        for summand in map_parallel(part, _blocks(len(Y)), num_threads):
            total += summand
    return total


def rotate(Y: NDArray[Any], Q: NDArray[Any], num_threads: int, columns: int) -> NDArray[Any]:
    """Return ``Y Q``, its rows filled up with zeros to so many columns.

    It is aligned to cache lines: a row of 64 float32 then spans four of them, not five.
    """
    f = Q.shape[1]
    out = aligned_empty((len(Y), columns), Y.dtype)
    Q = np.ascontiguousarray(Q, dtype=Y.dtype)

    def product(block: slice) -> None:
        np.matmul(Y[block], Q, out=out[block, :f])
        out[block, f:] = 0

    with single_threaded_blas():
        map_parallel(product, _blocks(len(Y)), num_threads)
    return out


def rotate_back(Y: NDArray[Any], Q: NDArray[Any], num_threads: int) -> NDArray[Any]:
    """Return ``Y Q^T`` for what `rotate` made: in its memory, unless it is padded."""
    f = len(Q)
    out = Y if Y.shape[1] == f else aligned_empty((len(Y), f), Y.dtype)
    back = np.ascontiguousarray(Q.T, dtype=Y.dtype)

    def product(block: slice) -> None:
        out[block] = Y[block, :f] @ back

    with single_threaded_blas():
        map_parallel(product, _blocks(len(Y)), num_threads)
    return out


def half_sweep(problems: RowProblems, X: NDArray[Any] | None, basis: Eigenbasis, solver: Solver) -> Solution:
    """Solve all rows, with conjugate gradients starting from `X` (None: from zero); `X` is not changed.

    Raises
    ------
    SingularRowError
        If a row's matrix is singular; the message names the row.
    OverflowError
        If the numbers of a row are too large for the dtype.
    """
    m, columns = len(problems.indptr) - 1, len(basis.diagonal)
    if X is None:
        rotated = np.zeros((m, columns), basis.factors.dtype)
    else:
        rotated = _aligned(X) if basis.vectors is None else rotate(X, basis.vectors, solver.num_threads, columns)
    steps = np.zeros(m, np.int32)
    objective = np.zeros(m)
    if problems.complete and solver.method != "nonnegative":
        solve_complete(problems, basis.factors, rotated, objective, solver.num_threads)
    else:
        _solve_by_kernel(problems, basis, rotated, steps, objective, solver)
    if not np.isfinite(objective).all():
        raise OverflowError(
            f"the numbers of {problems.name(int(np.isfinite(objective).argmin()))} overflow {rotated.dtype}: lower its "
            f"{problems.too_large}, or use dtype='float64'"
        )
    factors = rotated if basis.vectors is None else rotate_back(rotated, basis.vectors, solver.num_threads)
    # Q turns an exact zero into an exact zero, but for its sign.
    factors += 0
    return Solution(factors, float(objective.sum()), float(steps.mean()) if m else 0.0)


def _solve_by_kernel(
    problems: RowProblems, basis: Eigenbasis, X: NDArray[Any], steps: NDArray[np.int32],
    objective: NDArray[np.float64], solver: Solver,
) -> None:  # fmt: skip
    f = len(basis.diagonal)
    threads = min(solver.num_threads, 1 + int(problems.indptr[-1]) * f // WORK_PER_THREAD)
    weight = problems.weight
    target = problems.targets() if solver.method == "nonnegative" else problems.target
    if solver.method == "nonnegative":
        dense = np.zeros((f, f), X.dtype)
        if problems.complete:  # one Gramian for all rows, instead of one each
            weight, dense = np.zeros_like(weight), gramian(basis.factors, solver.num_threads).astype(X.dtype)
    for first, last in _calls(problems.indptr):
        rows = problems.indptr[first : last + 1], problems.indices, weight, target, basis.factors
        own = problems.regularization[first:last], X[first:last]
        out = threads, steps[first:last], objective[first:last]
        if solver.method == "nonnegative":
            status = solver.backend.solve_rows_nonnegative(*rows, dense, *own, solver.tol, solver.max_steps, *out)
        else:
            status = solver.backend.solve_rows(
                *rows, basis.diagonal, *own, solver.method, solver.tol, solver.max_steps, *out
            )
        if status:
            raise _singular(problems, first + status - 1)


def solve_complete(
    problems: RowProblems, Y: NDArray[Any], X: NDArray[Any], objective: NDArray[np.float64], num_threads: int
) -> None:
    """Solve ``(lambda I + Y^T Y) x_u = Y^T t_u`` for all rows into `X`: one factorization, all in float64."""
    m, n = len(X), len(Y)
    if m == 0 or n == 0:
        return
    wide = Y.astype(np.float64)
    table = problems.targets().reshape(m, n)
    with single_threaded_blas():
        A = gramian(Y, num_threads) + float(problems.regularization[0]) * np.eye(Y.shape[1])
        try:
            U = scipy.linalg.cholesky(A)
        except (scipy.linalg.LinAlgError, ValueError):  # ValueError: not finite
            raise _singular(problems, 0) from None
        if not np.diag(U).min() ** 2 > SINGULAR[Y.dtype] * np.diag(A).max():
            raise _singular(problems, 0)

        def solve(block: slice) -> None:
            b = table[block].astype(np.float64) @ wide
            with np.errstate(over="ignore"):  # the objective tells
                X[block] = scipy.linalg.cho_solve((U, False), b.T, check_finite=False).T
            x = X[block].astype(np.float64)
            objective[block] = np.einsum("uf,uf->u", x, x @ A - 2 * b)

        map_parallel(solve, _blocks(m, COMPLETE_BLOCK), num_threads)


def _singular(problems: RowProblems, row: int) -> SingularRowError:
    return SingularRowError(
        f"the least-squares problem of {problems.name(row)} is singular: its solution is not unique; "
        "raise the regularization"
    )


def squared_norms(X: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``|x_u|^2`` of every row, in float64."""
    norms: NDArray[np.float64] = np.einsum("uf,uf->u", X, X, dtype=np.float64)
    return norms


def _blocks(rows: int, size: int = BLOCK) -> list[slice]:
    return [slice(start, start + size) for start in range(0, rows, size)]


def _calls(indptr: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut the rows into ranges of about `ENTRIES_PER_CALL` entries: signals are handled between two kernel calls."""
    rows = len(indptr) - 1
    edges = np.arange(indptr[0], indptr[-1], ENTRIES_PER_CALL)[1:]
    cuts = [0, *np.unique(np.searchsorted(indptr, edges)).tolist(), rows]
    for first, last in pairwise(cuts):
        if last > first:
            yield first, last


def _aligned(Y: NDArray[Any]) -> NDArray[Any]:
    out = aligned_empty((len(Y), Y.shape[1]), Y.dtype)
    out[:] = Y
    return out


def aligned_empty(shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array that begins at a cache line."""
    size = shape[0] * shape[1] * dtype.itemsize
    buffer = np.empty(size + CACHE_LINE, np.uint8)
    start = -buffer.ctypes.data % CACHE_LINE
    return buffer[start : start + size].view(dtype).reshape(shape)
