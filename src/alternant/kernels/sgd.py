"""The contract of stochastic gradient descent: `biased_epoch`, `cosine_epoch`, `logistic_epoch` over a `Grid`.

Lock-free parallelism with bitwise reproducible results (Gemulla et al. 2011): the entries are partitioned into B x B
blocks of rows x columns, and a schedule assigns blocks to rounds. The blocks of a round share no rows and no columns,
so they run in parallel; within a block, entries are processed sequentially in their given order. Neither grid nor
schedule depends on the number of threads. `Grid.diagonals` returns the schedule of a full epoch; `cut` builds a grid
with `sort_into_blocks`. An epoch may be divided into calls of whole rounds: with one round each, the sum of their
losses has the bits of the loss of a single call, too.

R. Gemulla, E. Nijkamp, P. J. Haas, Y. Sismanis, "Large-Scale Matrix Factorization with Distributed Stochastic Gradient
Descent", KDD 2011.
"""

from __future__ import annotations

from itertools import combinations
from operator import index
from typing import TYPE_CHECKING

import numpy as np

from .._utils.threads import resolve_num_threads
from . import _checks as check
from ._grid import Factors, Grid, check_whole
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._typing import Integers, Reals

def biased_epoch(
    grid: Grid,
    schedule: NDArray[np.int64],
    target: Reals,
    factors: Factors,
    offset: float,
    bounds: tuple[float, float],
    learning_rate: float,
    regularization: tuple[float, float, float, float],
    update_columns: bool = True,
    num_threads: int | None = None,
) -> NDArray[np.float64]:
    r"""Take one gradient step per entry for biased matrix factorization, with or without a sigmoid.

    The prediction for an entry in row ``u`` and column ``i``, with target ``t``, is

    .. math:: z = \mu + b_u + c_i + x_u \cdot y_i, \qquad
              p = \mathrm{low} + (\mathrm{high} - \mathrm{low})\, \sigma(z)

    or ``p = z`` if a bound is infinite. The step follows the exact negative gradient of

    .. math:: \tfrac12 (t - p)^2 + \tfrac12 (\lambda_x |x_u|^2 + \lambda_y |y_i|^2 + \lambda_b b_u^2 + \lambda_c c_i^2)

    where the gradients of both sides are evaluated before either is updated.

    Parameters
    ----------
    grid : Grid
        The entries in blocks.
    schedule : int64 array, shape (rounds, tasks, 2)
        The block ``(row block, column block)`` of each task. The tasks of a round share no row blocks and no column
        blocks, and no block occurs twice.
    target : array, shape (nnz,)
        ``t`` of each entry.
    factors : Factors
        ``X`` (m, f), ``Y`` (n, f), ``row_bias`` (m,) and ``column_bias`` (n,), updated in place.
    offset : float
        The constant ``mu``.
    bounds : (float, float)
        ``low`` and ``high`` of the scaled sigmoid; ``(-inf, inf)`` for none.
    learning_rate : float
        The step size.
    regularization : (float, float, float, float)
        ``lambda`` of X, Y, row biases and column biases.
    update_columns : bool
        Whether to update `Y` and `column_bias` as well; otherwise they are only read.
    num_threads : int, optional
        Number of threads; by default, all available to the process.

    Returns
    -------
    float64 array, shape (rounds, tasks)
        The sum of ``(t - p)^2`` in each task, each term evaluated before its own step.

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
    losses: NDArray[np.float64] = active_backend().biased_epoch(
        grid, schedule, target, factors, offset, bounds, learning_rate, regularization, update_columns, threads
    )
    return losses


def cosine_epoch(
    grid: Grid,
    schedule: NDArray[np.int64],
    target: Reals,
    X: Reals,
    Y: Reals,
    learning_rate: float,
    update_columns: bool = True,
    num_threads: int | None = None,
) -> NDArray[np.float64]:
    r"""Take one gradient step per entry for cosine matrix factorization.

    The step for an entry with target ``t`` follows the exact negative gradient, including that of the norms, of

    .. math:: (\cos - t)^2, \qquad \cos = \frac{x_u \cdot y_i}{|x_u| |y_i|}

    where the gradients of both sides are evaluated before either is updated. If a vector is zero, the cosine counts as
    0 and nothing is updated. With a grid of one block, entries are processed in the given order.

    Parameters
    ----------
    grid, schedule, num_threads
        As for `biased_epoch`.
    target : array, shape (nnz,)
        ``t`` of each entry.
    X : array, shape (m, f)
        The factors of the rows, updated in place.
    Y : array, shape (n, f)
        The factors of the columns, updated in place if `update_columns`.
    learning_rate : float
        The step size.
    update_columns : bool
        Whether to update `Y` as well; otherwise it is only read.

    Returns
    -------
    float64 array, shape (rounds, tasks)
        The sum of ``(cos - t)^2`` in each task, each term evaluated before its own step.
    """
    check.floating("X", X)
    factors = Factors(X, Y, np.zeros(len(X), X.dtype), np.zeros(len(Y), X.dtype))
    _check(grid, schedule, factors, update_columns)
    _check_values("target", target, factors, grid)
    _check_rates(learning_rate)
    threads = resolve_num_threads(num_threads)
    losses: NDArray[np.float64] = active_backend().cosine_epoch(
        grid, schedule, target, X, Y, learning_rate, update_columns, threads
    )
    return losses


def logistic_epoch(
    grid: Grid,
    schedule: NDArray[np.int64],
    weight: Reals,
    target: Reals,
    negatives: NDArray[np.float64] | None,
    factors: Factors,
    squares: Factors | None,
    learning_rate: float,
    regularization: tuple[float, float, float, float],
    seed: int = 0,
    epoch: int = 0,
    update_columns: bool = True,
    num_threads: int | None = None,
    keys: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    r"""Take one gradient step per entry, and per negative, for logistic matrix factorization.

    An entry with weight ``w`` and target ``t`` has the score ``z = b_u + c_i + x_u . y_i``; its step follows the exact
    negative gradient of

    .. math:: w\, (\log(1 + e^z) - t z)
              + \tfrac12 (\lambda_x |x_u|^2 + \lambda_y |y_i|^2 + \lambda_b b_u^2 + \lambda_c c_i^2)

    where the gradients of both sides are evaluated before either is updated. After the entries of a block, each row of
    the block takes steps with ``w = 1``, ``t = 0`` for columns of the block: for all of them, or for a uniform sample
    (with replacement) whose expected size over all blocks is ``negatives[u]``. The sample depends only on (`seed`,
    `epoch`, row or its key, block), and is the same in every backend.

    Parameters
    ----------
    grid, schedule, factors, learning_rate, regularization, update_columns, num_threads
        As for `biased_epoch`.
    weight, target : arrays, shape (nnz,)
        ``w``, 0 or more, and ``t``, between 0 and 1, of each entry.
    negatives : float64 array, shape (m,), or None
        Expected number of sampled negatives per row, at most 2^31; None takes every pair of row and column.
    squares : Factors or None
        Positive sums of squared gradients, updated in place: each parameter then changes by
        ``learning_rate * gradient / sqrt(sum)`` (Adagrad). None takes plain steps.
    seed : int
        Seed of the sample, from 0 to 2^64 - 1.
    epoch : int
        Number of the epoch, from 0 to 2^64 - 1; each epoch has its own sample.
    keys : int64 array, shape (m,), optional
        From 0 to 2^48 - 1, instead of the numbers of the rows, on which the sample would otherwise depend.

    Returns
    -------
    float64 array, shape (rounds, tasks)
        The sum of the losses (without regularization) in each task, each term evaluated before its own step.

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
    if keys is not None:
        check.vector("keys", keys, np.int64, len(factors.X))
        if len(keys) and not 0 <= keys.min() <= keys.max() < 1 << 48:
            raise ValueError(f"keys must be from 0 to 2^48 - 1, got {keys.min()} to {keys.max()}")
    _check_rates(learning_rate, regularization)
    threads = resolve_num_threads(num_threads)
    losses: NDArray[np.float64] = active_backend().logistic_epoch(
        grid, schedule, weight, target, negatives, factors, squares, learning_rate, regularization, seed, epoch,
        update_columns, threads, keys,
    )  # fmt: skip
    return losses


def sort_into_blocks(
    indptr: NDArray[np.int64],
    indices: Integers,
    row_block: NDArray[np.uint8],
    column_block: NDArray[np.uint8],
    row_position: NDArray[np.int32],
    column_position: NDArray[np.int32],
    blocks: int,
    num_threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Sort the entries of a CSR matrix by block.

    The sort is stable: entries of the same block keep their order.

    Parameters
    ----------
    indptr : int64 array, shape (m + 1,)
        Row pointers, from 0 to nnz.
    indices : int32 or int64 array, shape (nnz,)
        Column numbers.
    row_block, column_block : uint8 arrays, shapes (m,) and (n,)
        An entry in row ``u`` and column ``i`` belongs to block ``row_block[u] * blocks + column_block[i]``.
    row_position, column_position : int32 arrays, shapes (m,) and (n,)
        The position of each row and column in the grid.
    blocks : int
        Blocks per side, from 1 to 64.
    num_threads : int, optional
        Number of threads; by default, all available to the process.

    Returns
    -------
    block_indptr : int64 array, shape (blocks * blocks + 1,)
        Block ``k`` owns entries ``block_indptr[k]:block_indptr[k + 1]`` of the following arrays.
    rows, columns : int32 arrays, shape (nnz,)
        ``row_position`` and ``column_position`` of each entry.
    entries : int64 array, shape (nnz,)
        Position in the matrix of each entry.
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
    """Refuse arguments that would make a kernel read out of bounds, or two threads write to the same memory."""
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
            raise ValueError(
                f"{a} and {b} are updated at the same time, but the two share memory: pass a copy of one of them"
            )
    grid.check(m, n)
    _check_schedule(schedule, grid.blocks)


def _check_schedule(schedule: NDArray[np.int64], blocks: int) -> None:
    """Refuse rounds whose tasks conflict, and blocks that occur twice."""
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
    name: str, values: Reals, factors: Factors, grid: Grid, minimum: float = -np.inf, maximum: float = np.inf
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
