"""One half-sweep of alternating least squares, for any model whose row problem is

    (diag(g) + lambda_u I + sum_j w_j y_j y_j^T) x_u = sum_j t_j y_j .

The dense part ``w0 Y^T Y = Q diag(g) Q^T`` of the normal equations is made diagonal by one small eigendecomposition;
rotating both sides by Q changes no prediction. See `alternant.kernels.solve_rows` for what the kernel does with it.
"""  # noqa: D400

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from .._threads import map_parallel, single_threaded_blas
from ..kernels._registry import Backend

# Rows a BLAS call takes at a time. Fixed, so that the bits of a product depend on no thread count.
BLOCK = 4096
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
    target: NDArray[Any]
    regularization: NDArray[Any]  # lambda_u
    kind: str  # what a row is, for messages: "user" or "item"
    numbers: NDArray[np.int64] | None = None  # what messages call the rows, if not 0, 1, ...

    def name(self, row: int) -> str:
        """Return what messages call a row."""
        return f"{self.kind} {row if self.numbers is None else self.numbers[row]}"


@dataclass(frozen=True)
class Solver:
    """How to solve the rows."""

    backend: Backend
    method: str
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
class Eigenbasis:
    """The fixed side in the basis that makes its Gramian diagonal."""

    factors: NDArray[Any]  # Y Q
    vectors: NDArray[Any]  # Q, float64
    diagonal: NDArray[Any]  # g

    @classmethod
    def of(cls, Y: NDArray[Any], unobserved_weight: float, num_threads: int) -> Eigenbasis:
        """Decompose ``unobserved_weight * Y^T Y``; the Gramian is accumulated in float64."""
        f = Y.shape[1]

        def gramian(block: slice) -> NDArray[np.float64]:
            rows = Y[block].astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):  # reported below
                return rows.T @ rows

        with single_threaded_blas():
            total = np.zeros((f, f))
            for part in map_parallel(gramian, _blocks(len(Y)), num_threads):
                total += part
            if not unobserved_weight * np.trace(total) <= np.finfo(Y.dtype).max:  # NaN included
                raise ValueError(
                    f"factors must be finite, and the sums of their squares too in {Y.dtype}: lower init_scale or "
                    "unobserved_weight, or set finite factors"
                )
            g, Q = scipy.linalg.eigh(unobserved_weight * total)
        g[g < f * np.finfo(np.float64).eps * max(g.max(initial=0), 0)] = 0  # rank-deficient: rounding, not data
        return cls(rotate(Y, Q, num_threads), Q, g.astype(Y.dtype))


def rotate(Y: NDArray[Any], Q: NDArray[Any], num_threads: int) -> NDArray[Any]:
    """Return ``Y Q``, aligned to cache lines (a row of 64 float32 then spans four of them, not five)."""
    out = aligned_empty((len(Y), Q.shape[1]), Y.dtype)
    Q = np.ascontiguousarray(Q, dtype=Y.dtype)

    def product(block: slice) -> None:
        np.matmul(Y[block], Q, out=out[block])

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
    m, f = len(problems.indptr) - 1, len(basis.diagonal)
    rotated = np.zeros((m, f), basis.factors.dtype) if X is None else rotate(X, basis.vectors, solver.num_threads)
    steps = np.zeros(m, np.int32)
    objective = np.zeros(m)
    threads = min(solver.num_threads, 1 + int(problems.indptr[-1]) * f // WORK_PER_THREAD)
    for first, last in _calls(problems.indptr):
        status = solver.backend.solve_rows(
            problems.indptr[first : last + 1], problems.indices, problems.weight, problems.target, basis.factors,
            basis.diagonal, problems.regularization[first:last], rotated[first:last], solver.method, solver.tol,
            solver.max_steps, threads, steps[first:last], objective[first:last],
        )  # fmt: skip
        if status:
            raise SingularRowError(
                f"the least-squares problem of {problems.name(first + status - 1)} is singular: "
                f"its solution is not unique; raise the regularization"
            )
    if not np.isfinite(objective).all():
        raise OverflowError(
            f"the numbers of {problems.name(int(np.isfinite(objective).argmin()))} overflow {rotated.dtype}: lower its "
            "confidences (alpha) or unobserved_weight, or use dtype='float64'"
        )
    factors = rotate(rotated, basis.vectors.T, solver.num_threads)
    # Q turns an exact zero into an exact zero, but for its sign.
    factors += 0
    return Solution(factors, float(objective.sum()), float(steps.mean()) if m else 0.0)


def squared_norms(X: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``|x_u|^2`` of every row, in float64."""
    norms: NDArray[np.float64] = np.einsum("uf,uf->u", X, X, dtype=np.float64)
    return norms


def _blocks(rows: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, rows, BLOCK)]


def _calls(indptr: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut the rows into ranges of about `ENTRIES_PER_CALL` entries: signals are handled between two kernel calls."""
    rows = len(indptr) - 1
    edges = np.arange(indptr[0], indptr[-1], ENTRIES_PER_CALL)[1:]
    cuts = [0, *np.unique(np.searchsorted(indptr, edges)).tolist(), rows]
    for first, last in pairwise(cuts):
        if last > first:
            yield first, last


def aligned_empty(shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array that begins at a cache line."""
    size = shape[0] * shape[1] * dtype.itemsize
    buffer = np.empty(size + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size].view(dtype).reshape(shape)
