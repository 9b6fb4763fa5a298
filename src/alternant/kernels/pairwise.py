"""The contract of pairwise learning to rank: `draw_triples` and `pairwise_epoch` over a schedule of `Rounds`.

A step moves a row, a positive and a negative column, so that two steps conflict if they share one of the three. Rows
and columns are divided into blocks, and a schedule assigns each triple to a task by the blocks of the three: the tasks
of a round share no rows and no columns, so that they run in parallel; within a task, triples are processed in their
order. `tournament` makes such a schedule.

Negatives are drawn before the steps, independently of blocks and tasks, so that they come from all columns, with
exactly the requested distribution. Nothing depends on the number of threads.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Literal

import numpy as np

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_choice
from . import _checks as check
from ._registry import active_backend
from ._rounds import Adaptive, Popular, Rounds, Sides, Triples

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw_triples(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    rounds: Rounds,
    sides: Sides,
    popular: Popular | None = None,
    adaptive: Adaptive | None = None,
    rank_weight: NDArray[np.float64] | None = None,
    verify: bool = True,
    part: tuple[int, int] = (0, 1),
    seed: int = 0,
    epoch: int = 0,
    num_threads: int | None = None,
    keys: NDArray[np.int64] | None = None,
) -> Triples:
    r"""Draw a negative for each entry of a sparse matrix, and group the triples by task.

    Candidates are drawn for each entry, from all columns: uniformly, or from the `popular` or the `adaptive`
    distribution. The first that is accepted becomes the negative; an entry is left out if none of 100 is. Refused are
    the entry's own column and, with `verify`, all columns of its row; with `rank_weight`, also those that the factors
    rank below the entry by a margin of 1 or more. The k-th candidate is then accepted only if

    .. math:: c_i + x_u \cdot y_i < 1 + c_j + x_u \cdot y_j

    and gives the triple the weight ``rank_weight[k - 1]`` (Weston et al. 2011). The candidates depend only on `seed`,
    `epoch`, row or key, place in the row and, if adaptive, the factors.

    Parameters
    ----------
    indptr : int64 array, shape (m + 1,)
        Row pointers, from 0 to nnz.
    indices : int32 array, shape (nnz,)
        Column numbers, sorted within each row.
    rounds : Rounds
        The schedule.
    sides : Sides
        ``X`` (m, f), ``Y`` (n, f) and ``column_bias`` (n,), which are only read.
    popular : Popular, optional
        Draw columns in proportion to their popularity.
    adaptive : Adaptive, optional
        Draw from this distribution, which depends on the factors of the row. Not with `popular`.
    rank_weight : float64 array, shape (most candidates,), optional
        Search for a negative that violates the margin, among so many candidates; the weight by how many it took.
    verify : bool
        Whether to refuse the columns of the row.
    part : (int, int)
        Process only the entries ``first, first + step, ...``.
    seed, epoch : int
        From 0 to 2^64 - 1; each combination has its own candidates.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    keys : int64 array, shape (m,), optional
        Numbers from 0 on which the candidates depend instead of the numbers of the rows.

    Returns
    -------
    Triples
        In each task, in the order of the entries.

    References
    ----------
    S. Rendle, C. Freudenthaler, "Improving Pairwise Learning for Item Recommendation from Implicit Feedback", WSDM
    2014.

    J. Weston, S. Bengio, N. Usunier, "WSABIE: Scaling Up to Large Vocabulary Image Annotation", IJCAI 2011.
    """
    dtype = check.floating("X", sides.X)
    m, f = check.matrix("X", sides.X, dtype).shape
    n = check.matrix("Y", sides.Y, dtype, columns=f).shape[0]
    check.vector("column_bias", sides.column_bias, dtype, n)
    rounds.check(m, n)
    check.vector("indices", indices, np.int32, len(indices))
    check.csr(indptr, indices, m, n, sorted_within_rows=True, kind="positive")
    if indptr[0] != 0 or indptr[-1] != len(indices):
        raise ValueError(f"indptr must rise from 0 to {len(indices)} (the number of entries), got {indptr[[0, -1]]}")
    if popular is not None and adaptive is not None:
        raise ValueError("negatives are drawn from the popular or from the adaptive distribution: pass only one")
    if popular is not None:
        popular.check(n)
    if adaptive is not None:
        _check_adaptive(adaptive, f, n)
    if rank_weight is not None:
        check.vector("rank_weight", rank_weight, np.float64, len(rank_weight))
        check.finite(rank_weight=rank_weight)
        if not len(rank_weight):
            raise ValueError("rank_weight must have at least 1 number: the weight of the first candidate")
    if not (part[1] >= 1 and 0 <= part[0] < part[1]):
        raise ValueError(f"part must be (first, step) with first from 0 to step - 1, got {part}")
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= index(value) < 1 << 64:
            raise ValueError(f"{name} must be from 0 to 2^64 - 1, got {value}")
    if keys is not None:
        check.vector("keys", keys, np.int64, m)
        check.not_negative("keys", keys)
    drawn: Triples = active_backend().draw_triples(
        indptr, indices, rounds, sides, popular, adaptive, rank_weight, verify, part, seed, epoch,
        resolve_num_threads(num_threads), keys,
    )  # fmt: skip
    return drawn


def pairwise_epoch(
    triples: Triples,
    rounds: Rounds,
    sides: Sides,
    squares: Sides | None,
    loss: Literal["logistic", "hinge"],
    learning_rate: float,
    regularization: tuple[float, float, float, float],
    update_columns: bool = True,
    num_threads: int | None = None,
) -> tuple[NDArray[np.float64], int]:
    r"""Take one gradient step per triple that ranks its positive column higher.

    The step for a triple of row ``u``, positive ``i`` and negative ``j`` with weight ``w`` follows the exact negative
    gradient of

    .. math:: w\, \ell(d) + \tfrac12 (\lambda_x |x_u|^2 + \lambda_p |y_i|^2 + \lambda_n |y_j|^2
              + \lambda_c (c_i^2 + c_j^2)), \qquad d = c_i - c_j + x_u \cdot (y_i - y_j)

    with ``log(1 + exp(-d))`` (Rendle et al. 2009) or ``max(0, 1 - d)`` (Weston et al. 2011) for the loss; the
    gradients of all three are evaluated before any is updated. A triple whose hinge loss is 0 takes no step.

    Parameters
    ----------
    triples : Triples
        The triples, as `draw_triples` returns them.
    rounds : Rounds
        Their schedule.
    sides : Sides
        ``X`` (m, f), ``Y`` (n, f) and ``column_bias`` (n,), updated in place.
    squares : Sides or None
        Positive sums of squared gradients, updated in place: each parameter then changes by
        ``learning_rate * gradient / sqrt(sum)`` (Adagrad). None takes plain steps.
    loss : {"logistic", "hinge"}
        The loss.
    learning_rate : float
        The step size.
    regularization : (float, float, float, float)
        ``lambda`` of X, of positives and of negatives in Y, and of the biases.
    update_columns : bool
        Whether to update `Y` and `column_bias` as well; otherwise they are only read.
    num_threads : int, optional
        Number of threads; by default, all available to the process.

    Returns
    -------
    losses : float64 array, shape (rounds * tasks,)
        The sum of the losses (without regularization) in each task, each term evaluated before its own step.
    correct : int
        The number of triples whose ``d`` was positive before the step.

    References
    ----------
    S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit
    Feedback", UAI 2009.
    """
    dtype = check.floating("X", sides.X)
    m, f = check.matrix("X", sides.X, dtype, writeable=True).shape
    n = check.matrix("Y", sides.Y, dtype, columns=f, writeable=update_columns).shape[0]
    check.vector("column_bias", sides.column_bias, dtype, n)
    if update_columns:
        check.output("column_bias", sides.column_bias, dtype, (n,))
    arrays = sides._asdict()
    if squares is not None:
        for name, array, like in zip(Sides._fields, squares, sides, strict=True):
            check.output(f"squares.{name}", array, dtype, like.shape)
            arrays[f"squares.{name}"] = array
    check.separate(arrays, {"weight": triples.weight})
    rounds.check(m, n)
    triples.check(rounds, dtype)
    check_choice("loss", loss, ("logistic", "hinge"))
    if not (np.isfinite(learning_rate) and learning_rate >= 0):
        raise ValueError(f"learning_rate must be finite and 0 or more, got {learning_rate!r}")
    if len(regularization) != 4 or not all(np.isfinite(value) and value >= 0 for value in regularization):
        raise ValueError(
            "regularization must have 4 finite numbers of 0 or more (of X, positives, negatives and biases), got "
            f"{regularization!r}"
        )
    losses, correct = active_backend().pairwise_epoch(
        triples, rounds, sides, squares, loss, learning_rate, regularization, update_columns,
        resolve_num_threads(num_threads),
    )  # fmt: skip
    return losses, correct


def _check_adaptive(adaptive: Adaptive, f: int, n: int) -> None:
    order, spread, rate = adaptive
    if not isinstance(order, np.ndarray) or order.dtype != np.int32 or order.shape != (f + 1, n):
        raise ValueError(f"adaptive.order must be an int32 array of shape ({f + 1}, {n}): pass Adaptive.of(...)")
    if not order.flags.c_contiguous or (order.size and not 0 <= order.min() <= order.max() < n):
        raise ValueError(f"adaptive.order must have columns from 0 to {n - 1} in C order: pass Adaptive.of(...)")
    check.vector("adaptive.spread", spread, np.float64, f + 1)
    check.not_negative("adaptive.spread", spread)
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"adaptive.rate must be finite and above 0, got {rate!r}")
