"""The contract of ranking by dot product: `top_k`, `score_pairs`."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.threads import resolve_num_threads
from . import _checks as check
from ._registry import active_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._typing import Integers, Reals


def top_k(
    queries: Reals,
    items: Reals,
    k: int,
    exclude: tuple[NDArray[np.int64], Integers] | None,
    candidates: Integers | tuple[NDArray[np.int64], Integers] | None,
    out_ids: NDArray[np.int32],
    out_scores: Reals,
    num_threads: int | None = None,
    scratch_bytes: int = 1 << 26,
) -> None:
    """Find the `k` items with the greatest dot products for each query.

    Ties are broken by the lower id. If fewer than `k` items are left, the list is padded with id -1 and score -inf;
    items with a NaN score are never returned. Results are bitwise identical for any number of threads and any amount of
    scratch memory.

    Parameters
    ----------
    queries : array, shape (m, f)
        One row per query.
    items : array, shape (n, f)
        One row per item.
    k : int
        Length of the lists.
    exclude : (indptr, indices) or None
        CSR: the items to exclude for query ``u``, sorted within each row.
    candidates : int32 or int64 array, (indptr, indices) or None
        The only items that may be returned, strictly ascending: one list for all queries, or CSR with one list per
        query. None allows all.
    out_ids : int32 array, shape (m, k)
        Receives the ids, best first.
    out_scores : array, shape (m, k)
        Receives their scores.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    scratch_bytes : int, optional
        Limit on the scratch memory per thread, 64 MiB by default. Items are processed in parts that fit, of at least
        256 items (about the size of 256 rows of `items`), for at most 128 queries at a time.
    """
    check.fits_int32(items=check.rows_of(items))
    dtype = check.floating("items", items)
    m, f = check.matrix("queries", queries, dtype).shape
    n = check.matrix("items", items, dtype, columns=f).shape[0]
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k!r}")
    check.output("out_ids", out_ids, np.int32, (m, k))
    check.output("out_scores", out_scores, dtype, (m, k))
    if exclude is not None:
        check.csr(*exclude, m, n, sorted_within_rows=True)
    if isinstance(candidates, tuple):
        check.csr(*candidates, m, n, sorted_within_rows=True, kind="candidate")
        _distinct_within_rows(*candidates)
    elif candidates is not None:
        check.ascending("candidates", candidates, n)
    number: Any = scratch_bytes
    if isinstance(number, bool) or not isinstance(number, Integral) or int(number) < 1:
        raise ValueError(f"scratch_bytes must be a whole number of at least 1, got {scratch_bytes!r}")
    threads = resolve_num_threads(num_threads)
    active_backend().top_k(queries, items, k, exclude, candidates, out_ids, out_scores, threads, scratch_bytes)


def _distinct_within_rows(indptr: NDArray[np.int64], indices: Integers) -> None:
    """Refuse duplicate items in the sorted list of a query."""
    again = np.flatnonzero(indices[1:] == indices[:-1]) + 1
    again = again[(again > indptr[0]) & (again < indptr[-1])]
    if len(again) and not np.isin(again, indptr).all():
        raise ValueError("the candidate indices must be distinct within each row; call sum_duplicates() on the matrix")


def score_pairs(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    X: Reals,
    Y: Reals,
    out: Reals,
    num_threads: int | None = None,
) -> None:
    """Compute ``out[p]``, the dot product of ``X[rows[p]]`` and ``Y[columns[p]]``, accumulated in float64.

    Parameters
    ----------
    rows, columns : int64 arrays, shape (p,)
        Rows of `X` and of `Y`.
    X, Y : arrays, shape (m, f) and (n, f)
        The factors.
    out : array, shape (p,)
        Receives the scores.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    dtype = check.floating("Y", Y)
    m, f = check.matrix("X", X, dtype).shape
    n = check.matrix("Y", Y, dtype, columns=f).shape[0]
    check.ids("rows", rows, m)
    check.ids("columns", columns, n)
    if len(rows) != len(columns):
        raise ValueError(f"rows and columns must have the same length, got {len(rows)} and {len(columns)}")
    check.output("out", out, dtype, (len(rows),))
    active_backend().score_pairs(rows, columns, X, Y, out, resolve_num_threads(num_threads))
