"""The contract of learning from one positive and many negatives: `contrastive_epoch` over `Batches` of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_choice
from . import _checks as check
from ._batches import Batches, Ranking
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray


def contrastive_epoch(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    batches: Batches,
    order: NDArray[np.int64],
    negatives: NDArray[np.int32],
    X: NDArray[Any],
    Y: NDArray[Any],
    row_squares: NDArray[np.float64],
    column_squares: NDArray[np.float64],
    row_weight: NDArray[np.float64],
    ranking: Ranking,
    learning_rate: float,
    update_columns: bool = True,
    num_threads: int | None = None,
) -> float:
    r"""Take one step per batch on unit vectors, which scores the entries of its rows above a sample of columns.

    The rows of `X` and `Y` are unit vectors, and the score of a pair is their dot product, the cosine. A batch lowers
    the sum, over the entries (u, i) of its rows, of the weight of the row times one of

    .. math:: \log \Big( 1 + \sum_{j \in N} \exp \frac{x_u \cdot y_j - x_u \cdot y_i}{t} \Big), \qquad
              1 - x_u \cdot y_i + \frac{w}{|N|} \sum_{j \in N} \max(0, x_u \cdot y_j - m)

    where N is the sample of the batch. All gradients are evaluated before any vector is updated. With g the part of a
    gradient that is orthogonal to its vector x, and h the sum of the squared lengths of all g of the vector so far,

    .. math:: x \leftarrow \frac{x - \eta\, g / \sqrt h}{|x - \eta\, g / \sqrt h|}

    so that the first step has length :math:`\eta`. A vector whose g is 0 stays as it is.

    Parameters
    ----------
    indptr : int64 array, shape (m + 1,)
        Row pointers, from 0 to nnz.
    indices : int32 array, shape (nnz,)
        Column numbers, sorted within each row.
    batches : Batches
        The batches, as ``Batches.of(indptr, indices, size)`` returns them.
    order : int64 array, shape (k,)
        The numbers of the batches to process, in this order.
    negatives : int32 array, shape (k, sampled)
        The sample of each of them: distinct columns, ascending.
    X : array, shape (m, f)
        Unit vectors, updated in place.
    Y : array, shape (n, f)
        Likewise.
    row_squares : float64 array, shape (m,)
        h of the rows of X, updated in place.
    column_squares : float64 array, shape (n,)
        h of the rows of Y, likewise.
    row_weight : float64 array, shape (m,)
        Weight of the losses of each row.
    ranking : Ranking
        The loss: t, or m and w.
    learning_rate : float
        The rate eta; 0 only updates the sums.
    update_columns : bool
        Whether to update `Y` and `column_squares` as well; otherwise they are only read.
    num_threads : int, optional
        Number of threads; by default, all available to the process.

    Returns
    -------
    loss : float
        The weighted sum of the losses in float64, each evaluated before the step of its batch.

    References
    ----------
    J. Wu, X. Wang, X. Gao, J. Chen, H. Fu, T. Qiu, "On the Effectiveness of Sampled Softmax Loss for Item
    Recommendation", ACM Transactions on Information Systems, 2024.

    K. Mao, J. Zhu, J. Wang, Q. Dai, Z. Dong, X. Xiao, X. He, "SimpleX: A Simple and Strong Baseline for Collaborative
    Filtering", CIKM 2021.
    """
    dtype = check.floating("X", X)
    m, f = check.matrix("X", X, dtype, writeable=True).shape
    n = check.matrix("Y", Y, dtype, columns=f, writeable=update_columns).shape[0]
    check.fits_int32(rows=m, columns=n)
    check.vector("indices", indices, np.int32, len(indices))
    check.csr(indptr, indices, m, n, sorted_within_rows=True, kind="positive")
    if indptr[0] != 0 or indptr[-1] != len(indices):
        raise ValueError(f"indptr must rise from 0 to {len(indices)} (the number of entries), got {indptr[[0, -1]]}")
    batches.check(indptr, indices)
    check.ids("order", order, batches.number)
    _check_negatives(negatives, len(order), n)
    check.output("row_squares", row_squares, np.float64, (m,))
    check.vector("column_squares", column_squares, np.float64, n)
    if update_columns:
        check.output("column_squares", column_squares, np.float64, (n,))
    check.vector("row_weight", row_weight, np.float64, m)
    arrays = {"row_squares": row_squares, "column_squares": column_squares, "row_weight": row_weight}
    for name, array in arrays.items():
        check.finite(**{name: array})
        check.not_negative(name, array)
    check.separate(
        {"X": X, "Y": Y, "row_squares": row_squares, "column_squares": column_squares}, {"row_weight": row_weight}
    )
    check_choice("ranking.loss", ranking.loss, ("softmax", "contrastive"))
    check.finite(temperature=ranking.temperature, margin=ranking.margin, weight=ranking.weight)
    if not (ranking.temperature > 0 and ranking.weight >= 0):
        raise ValueError(f"ranking must have a temperature above 0 and a weight of 0 or more, got {ranking}")
    if not (np.isfinite(learning_rate) and learning_rate >= 0):
        raise ValueError(f"learning_rate must be finite and 0 or more, got {learning_rate!r}")
    loss: float = active_backend().contrastive_epoch(
        indptr, indices, batches, order, negatives, X, Y, row_squares, column_squares, row_weight, ranking,
        learning_rate, update_columns, resolve_num_threads(num_threads),
    )  # fmt: skip
    return loss


def _check_negatives(negatives: NDArray[np.int32], count: int, n: int) -> None:
    if not isinstance(negatives, np.ndarray) or negatives.dtype != np.int32 or negatives.ndim != 2:
        raise TypeError("negatives must be an int32 array with one row for each batch of order")
    if len(negatives) != count or not negatives.shape[1] or not negatives.flags.c_contiguous:
        raise ValueError(
            f"negatives must have {count} rows (one for each batch of order) of at least 1 column in C order, got "
            f"shape {negatives.shape}"
        )
    if negatives.size and not 0 <= negatives.min() <= negatives.max() < n:
        raise ValueError(f"negatives must lie between 0 and {n - 1}, got {negatives.min()} to {negatives.max()}")
    if (negatives[:, 1:] <= negatives[:, :-1]).any():
        raise ValueError("negatives must be distinct and ascending in each row: sort them")
