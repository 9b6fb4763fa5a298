"""The contract of scores of all items, and of ranks without sorting: `score_all`, `count_above`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._utils.threads import resolve_num_threads
from . import _checks as check
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._typing import Integers, Reals


def count_above(
    queries: Reals,
    items: Reals,
    exclude: tuple[NDArray[np.int64], Integers] | None,
    indptr: NDArray[np.int64],
    indices: Integers,
    out_above: NDArray[np.int64],
    out_equal: NDArray[np.int64],
    num_threads: int | None = None,
) -> None:
    """Count, for each target item of each query, the items with a greater dot product, and those with an equal one.

    This gives the rank of any item, and thus the AUC, without sorting or storing all scores. A NaN score counts as
    -inf.

    Parameters
    ----------
    queries : array, shape (m, f)
        One row per query.
    items : array, shape (n, f)
        One row per item.
    exclude : (indptr, indices) or None
        CSR: the items excluded from the counts of query ``u``, sorted within each row.
    indptr, indices : int64 array, shape (m + 1,), and int32 or int64 array
        CSR: the target items, sorted within each row; they may be excluded items.
    out_above, out_equal : int64 arrays, shape (len(indices),)
        Receive, for each target, how many items that are not excluded score higher, and how many others score the same.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    dtype = check.floating("items", items)
    m, f = check.matrix("queries", queries, dtype).shape
    n = check.matrix("items", items, dtype, columns=f).shape[0]
    if exclude is not None:
        check.csr(*exclude, m, n, sorted_within_rows=True)
    check.csr(indptr, indices, m, n, sorted_within_rows=True)
    check.output("out_above", out_above, np.int64, (len(indices),))
    check.output("out_equal", out_equal, np.int64, (len(indices),))
    active_backend().count_above(
        queries, items, exclude, indptr, indices, out_above, out_equal, resolve_num_threads(num_threads)
    )


def score_all(queries: Reals, items: Reals, out: Reals, num_threads: int | None = None) -> None:
    """Compute the dot products of all queries with all items.

    A score is summed in the dtype, in the order of the factors: bitwise identical for any number of threads and of
    queries and, except in numba, whose `top_k` adds four products at a time, to what `top_k` returns.

    Parameters
    ----------
    queries : array, shape (m, f)
        One row per query.
    items : array, shape (n, f)
        One row per item.
    out : array, shape (m, n)
        Receives the scores.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    dtype = check.floating("items", items)
    m, f = check.matrix("queries", queries, dtype).shape
    n = check.matrix("items", items, dtype, columns=f).shape[0]
    check.output("out", out, dtype, (m, n))
    active_backend().score_all(queries, items, out, resolve_num_threads(num_threads))
