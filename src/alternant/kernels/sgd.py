"""The contract of stochastic gradient descent: `biased_epoch`, `cosine_epoch`, `logistic_epoch` over a `Grid`.

Parallel without locks and reproducible to the bit (Gemulla et al. 2011): the entries are cut into B x B blocks of rows
x columns, and a schedule says in which rounds the blocks are processed. The blocks of one round share no row and no
column, so that they run in parallel; within a block the entries are processed one after the other, in their order.
Neither grid nor schedule depends on the number of threads. `Grid.diagonals` is the schedule of a whole epoch,
`sort_into_blocks` is how `cut` makes a grid.

R. Gemulla, E. Nijkamp, P. J. Haas, Y. Sismanis, "Large-Scale Matrix Factorization with Distributed Stochastic Gradient
Descent", KDD 2011.
"""

from __future__ import annotations

from itertools import combinations
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.threads import resolve_num_threads
from . import _checks as check
from ._grid import Factors, Grid, check_whole
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

def biased_epoch(
    grid: Grid,
    schedule: NDArray[np.int64],
    target: NDArray[Any],
    factors: Factors,
    offset: float,
    bounds: tuple[float, float],
    learning_rate: float,
    regularization: tuple[float, float, float, float],
    update_columns: bool = True,
    num_threads: int | None = None,
) -> float:
    r"""Take one gradient step for every entry of biased matrix factorization, with or without a sigmoid.

    Entry ``j`` in row ``u`` and column ``i``, of target ``t``, is predicted by

    .. math:: z = \mu + b_u + c_i + x_u \cdot y_i, \qquad
              p = \mathrm{low} + (\mathrm{high} - \mathrm{low})\, \sigma(z)

    or ``p = z`` where a bound is infinite. The step goes along the exact negative gradient of

    .. math:: \tfrac12 (t - p)^2 + \tfrac12 (\lambda_x |x_u|^2 + \lambda_y |y_i|^2 + \lambda_b b_u^2 + \lambda_c c_i^2)

    with the gradients of both sides taken before either moves.

    Parameters
    ----------
    grid : Grid
        The entries in blocks.
    schedule : int64 array, shape (rounds, tasks, 2)
        The block ``(row block, column block)`` of each task. The tasks of a round share no row block and no column
        block, and no block comes twice.
    target : array, shape (nnz,)
        ``t`` of every entry.
    factors : Factors
        ``X`` (m, f), ``Y`` (n, f), ``row_bias`` (m,) and ``column_bias`` (n,), overwritten.
    offset : float
        The constant ``mu``.
    bounds : (float, float)
        ``low`` and ``high`` of the scaled sigmoid; ``(-inf, inf)`` for none.
    learning_rate : float
        Length of a step along the gradient.
    regularization : (float, float, float, float)
        ``lambda`` of X, Y, row biases and column biases.
    update_columns : bool
        Whether `Y` and `column_bias` move too; else they are only read.
    num_threads : int, optional
        Number of threads; all that the process may use by default.

    Returns
    -------
    float
        The sum of ``(t - p)^2``, each before its own step, in float64.

    References
    ----------
    Y. Koren, R. Bell, C. Volinsky, "Matrix Factorization Techniques for Recommender Systems", Computer 42(8), 2009.
    """
    _check(grid, schedule, factors, update_columns)
    _check_values("target", target, factors, grid)
    if not bounds[0] < bounds[1]:
        raise ValueError(f"bounds must be (low, high) with low below high, got {bounds}")
    if not np.isfinite(offset):
        raise ValueError(f"offset must be finite, got {offset!r}")
    _check_rates(learning_rate, regularization)
    threads = resolve_num_threads(num_threads)
    loss: float = active_backend().biased_epoch(
        grid, schedule, target, factors, offset, bounds, learning_rate, regularization, update_columns, threads
    )
    return loss


def cosine_epoch(
    grid: Grid,
    schedule: NDArray[np.int64],
    target: NDArray[Any],
    X: NDArray[Any],
    Y: NDArray[Any],
    learning_rate: float,
    update_columns: bool = True,
    num_threads: int | None = None,
) -> float:
    r"""Take one gradient step for every entry of cosine matrix factorization.

    The step of an entry of target ``t`` goes along the exact negative gradient, through the norms, of

    .. math:: (\cos - t)^2, \qquad \cos = \frac{x_u \cdot y_i}{|x_u| |y_i|}

    with the gradients of both sides taken before either moves. Where a vector is zero, the cosine counts as 0 and
    nothing moves. A grid of one block takes the entries in the order they have.

    Parameters
    ----------
    grid, schedule, num_threads
        As for `biased_epoch`.
    target : array, shape (nnz,)
        ``t`` of every entry.
    X : array, shape (m, f)
        The rows' side, overwritten.
    Y : array, shape (n, f)
        The columns' side, overwritten where `update_columns`.
    learning_rate : float
        Length of a step along the gradient.
    update_columns : bool
        Whether `Y` moves too; else it is only read.

    Returns
    -------
    float
        The sum of ``(cos - t)^2``, each before its own step, in float64.
    """
    check.floating("X", X)
    factors = Factors(X, Y, np.zeros(len(X), X.dtype), np.zeros(len(Y), X.dtype))
    _check(grid, schedule, factors, update_columns)
    _check_values("target", target, factors, grid)
    _check_rates(learning_rate)
    threads = resolve_num_threads(num_threads)
    loss: float = active_backend().cosine_epoch(grid, schedule, target, X, Y, learning_rate, update_columns, threads)
    return loss


def logistic_epoch(
    grid: Grid,
    schedule: NDArray[np.int64],
    weight: NDArray[Any],
    target: NDArray[Any],
    negatives: NDArray[np.float64] | None,
    factors: Factors,
    squares: Factors | None,
    learning_rate: float,
    regularization: tuple[float, float, float, float],
    seed: int = 0,
    epoch: int = 0,
    update_columns: bool = True,
    num_threads: int | None = None,
) -> float:
    r"""Take one gradient step for every entry of logistic matrix factorization, and for negatives.

    An entry of weight ``w`` and target ``t`` is scored by ``z = b_u + c_i + x_u . y_i``; its step goes along the exact
    negative gradient of

    .. math:: w\, (\log(1 + e^z) - t z)
              + \tfrac12 (\lambda_x |x_u|^2 + \lambda_y |y_i|^2 + \lambda_b b_u^2 + \lambda_c c_i^2)

    with the gradients of both sides taken before either moves. When the entries of a block are done, each row of the
    block takes steps with ``w = 1``, ``t = 0`` for columns of the block: for all of them, or for a sample whose
    expected size over all blocks is ``negatives[u]``, every column as likely as any other. The sample is a function of
    (`seed`, `epoch`, row, block) alone, and the same in every backend.

    Parameters
    ----------
    grid, schedule, factors, learning_rate, regularization, update_columns, num_threads
        As for `biased_epoch`.
    weight, target : arrays, shape (nnz,)
        ``w``, not negative, and ``t``, between 0 and 1, of every entry.
    negatives : float64 array, shape (m,), or None
        Expected number of sampled negatives of each row, at most 2^31; None takes every pair of row and column.
    squares : Factors or None
        Sums of squared gradients, positive, overwritten: with them each number moves by
        ``learning_rate * gradient / sqrt(sum)`` (Adagrad). None takes plain steps.
    seed : int
        Of the sample; from 0 to 2^64 - 1.
    epoch : int
        Number of the pass, which changes the sample.

    Returns
    -------
    float
        The sum of the losses (without the terms of lambda), each before its own step, in float64.

    References
    ----------
    C. C. Johnson, "Logistic Matrix Factorization for Implicit Feedback Data", NIPS 2014 workshop on distributed
    machine learning and matrix computations.

    J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization",
    JMLR 12, 2011.
    """
    _check(grid, schedule, factors, update_columns, squares)
    _check_values("weight", weight, factors, grid, minimum=0)
    _check_values("target", target, factors, grid, minimum=0, maximum=1)
    if negatives is not None:
        check.vector("negatives", negatives, np.float64, len(factors.X))
        check.samples(negatives)
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= index(value) < 1 << 64:
            raise ValueError(f"{name} must be from 0 to 2^64 - 1, got {value}")
    _check_rates(learning_rate, regularization)
    threads = resolve_num_threads(num_threads)
    loss: float = active_backend().logistic_epoch(
        grid, schedule, weight, target, negatives, factors, squares, learning_rate, regularization, seed, epoch,
        update_columns, threads,
    )  # fmt: skip
    return loss


def sort_into_blocks(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    row_block: NDArray[np.uint8],
    column_block: NDArray[np.uint8],
    row_position: NDArray[np.int32],
    column_position: NDArray[np.int32],
    blocks: int,
    num_threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Put the entries of a CSR matrix in the order of the blocks that they belong to.

    Entries of one block keep their order.

    Parameters
    ----------
    indptr : int64 array, shape (m + 1,)
        From 0 to nnz.
    indices : int32 or int64 array, shape (nnz,)
        Column numbers.
    row_block, column_block : uint8 arrays, shapes (m,) and (n,)
        The entries of row ``u`` in column ``i`` belong to block ``row_block[u] * blocks + column_block[i]``.
    row_position, column_position : int32 arrays, shapes (m,) and (n,)
        The numbers of rows and columns in the grid.
    blocks : int
        Blocks on a side, from 1 to 64.
    num_threads : int, optional
        Number of threads; all that the process may use by default.

    Returns
    -------
    block_indptr : int64 array, shape (blocks * blocks + 1,)
        Block ``k`` has the entries from ``block_indptr[k]`` up to ``block_indptr[k + 1]`` of what follows.
    rows, columns : int32 arrays, shape (nnz,)
        ``row_position`` and ``column_position`` of each entry.
    entries : int64 array, shape (nnz,)
        Which entry of the matrix it is.
    """
    check_whole(indptr, indices, len(row_block), len(column_block), blocks)
    for name, block, position in (("row", row_block, row_position), ("column", column_block, column_position)):
        check.vector(f"{name}_block", block, np.uint8, len(block))
        check.vector(f"{name}_position", position, np.int32, len(block))
        if block.max(initial=0) >= blocks:
            raise ValueError(f"{name}_block must be below {blocks} (the number of blocks), got {block.max()}")
    found: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]] = (
        active_backend().sort_into_blocks(
            indptr, indices, row_block, column_block, row_position, column_position, blocks,
            resolve_num_threads(num_threads),
        )
    )
    return found


def _check(
    grid: Grid,
    schedule: NDArray[np.int64],
    factors: Factors,
    update_columns: bool,
    squares: Factors | None = None,
) -> None:
    """Refuse what would make a kernel read out of bounds, or two threads write the same memory."""
    dtype = check.floating("X", factors.X)
    m, f = check.matrix("X", factors.X, dtype, writeable=True).shape
    n = check.matrix("Y", factors.Y, dtype, columns=f, writeable=update_columns).shape[0]
    check.output("row_bias", factors.row_bias, dtype, (m,))
    check.vector("column_bias", factors.column_bias, dtype, n)
    if update_columns:
        check.output("column_bias", factors.column_bias, dtype, (n,))
    arrays = factors._asdict()
    if squares is not None:
        for name, array, like in zip(Factors._fields, squares, factors, strict=True):
            if not isinstance(array, np.ndarray) or array.shape != like.shape or array.dtype != dtype:
                raise ValueError("squares must have the shapes and the dtype of factors: pass numpy.full_like of each")
            if not array.flags.c_contiguous:
                raise ValueError(f"squares.{name} must be in C order; pass numpy.ascontiguousarray of it")
            if not array.flags.writeable and (update_columns or name in ("X", "row_bias")):
                raise ValueError(f"squares.{name} is overwritten and must be writeable, got a read-only array")
            arrays[f"squares.{name}"] = array
    for (a, first), (b, second) in combinations(arrays.items(), 2):
        if np.may_share_memory(first, second):
            raise ValueError(f"{a} and {b} move at the same time, but the two share memory: pass a copy of one of them")
    grid.check(m, n)
    _check_schedule(schedule, grid.blocks)


def _check_schedule(schedule: NDArray[np.int64], blocks: int) -> None:
    """Refuse tasks that two threads could not take at the same time."""
    if not isinstance(schedule, np.ndarray) or schedule.dtype != np.int64:
        found = schedule.dtype if isinstance(schedule, np.ndarray) else type(schedule).__name__
        raise TypeError(f"schedule must be an int64 array, got {found}: pass grid.diagonals(order)")
    if schedule.ndim != 3 or schedule.shape[2] != 2 or not schedule.flags.c_contiguous:
        raise ValueError(
            f"schedule must have shape (rounds, tasks, 2) in C order, got {schedule.shape}: pass grid.diagonals(order)"
        )
    if schedule.size and not (schedule.min() >= 0 and schedule.max() < blocks):
        raise ValueError(
            f"schedule must name blocks from 0 to {blocks - 1}, got {schedule.min()} to {schedule.max()}"
        )
    for side, name in ((0, "row"), (1, "column")):
        in_order = np.sort(schedule[:, :, side], axis=1)
        if (in_order[:, 1:] == in_order[:, :-1]).any():
            raise ValueError(f"the tasks of a round in schedule must not share {name} blocks: give each round its own")
    numbers = (schedule[:, :, 0] * blocks + schedule[:, :, 1]).reshape(-1)
    if len(np.unique(numbers)) < len(numbers):
        raise ValueError("schedule must not process a block twice: leave the second one out")


def _check_values(
    name: str, values: NDArray[Any], factors: Factors, grid: Grid, minimum: float = -np.inf, maximum: float = np.inf
) -> None:
    check.vector(name, values, factors.X.dtype, len(grid.rows))
    check.finite(**{name: values})
    if len(values) and not (values.min() >= minimum and values.max() <= maximum):
        limits = f"between {minimum} and {maximum}" if maximum < np.inf else f"{minimum} or more"
        raise ValueError(f"{name} must be {limits}, got {values.min()} to {values.max()}")


def _check_rates(learning_rate: float, regularization: tuple[float, ...] | None = None) -> None:
    if not (np.isfinite(learning_rate) and learning_rate >= 0):
        raise ValueError(f"learning_rate must be finite and 0 or more, got {learning_rate!r}")
    if regularization is None:
        return
    if len(regularization) != 4:
        raise ValueError(
            f"regularization must have 4 numbers (of X, Y, row biases and column biases), got {len(regularization)}"
        )
    if not all(np.isfinite(value) and value >= 0 for value in regularization):
        raise ValueError(f"regularization must be finite and 0 or more, got {regularization!r}")
