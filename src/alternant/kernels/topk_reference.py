"""The greatest dot products of each query in plain NumPy: scores of all items, then a full stable sort.

Cost of a query: ``n f`` for the scores and ``n log n`` for the sort.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._checks import fits_int32

if TYPE_CHECKING:
    from numpy.typing import NDArray


def top_k(
    queries: NDArray[Any],
    items: NDArray[Any],
    k: int,
    exclude: tuple[NDArray[np.int64], NDArray[Any]] | None,
    candidates: NDArray[Any] | tuple[NDArray[np.int64], NDArray[Any]] | None,
    out_ids: NDArray[np.int32],
    out_scores: NDArray[Any],
    num_threads: int | None = None,  # noqa: ARG001 - one thread; the signature is the contract's
    scratch_bytes: int = 1 << 26,
) -> None:
    """See `alternant.kernels.top_k`."""
    fits_int32(items=len(items))
    block = max(1, scratch_bytes // (items.shape[1] * items.itemsize))  # limits the size of the gathered copies
    for u in range(len(queries)):
        allowed = np.arange(len(items)) if candidates is None else candidates
        if isinstance(candidates, tuple):
            allowed = candidates[1][candidates[0][u] : candidates[0][u + 1]]
        # einsum sums in the same order for every item, so that identical items tie exactly; BLAS may not.
        scores = np.empty(len(allowed), items.dtype)
        for start in range(0, len(allowed), block):
            part = slice(start, start + block)
            np.einsum("if,f->i", items[allowed[part]], queries[u], out=scores[part])
        rank = ~np.isnan(scores)
        if exclude is not None:
            indptr, indices = exclude
            rank &= ~np.isin(allowed, indices[indptr[u] : indptr[u + 1]])
        scores, ids = scores[rank], allowed[rank]
        best = np.argsort(-scores, kind="stable")[:k]
        out_ids[u] = -1
        out_scores[u] = -np.inf
        out_ids[u, : len(best)] = ids[best]
        out_scores[u, : len(best)] = scores[best]


def score_pairs(
    rows: NDArray[Any],
    columns: NDArray[Any],
    X: NDArray[Any],
    Y: NDArray[Any],
    out: NDArray[Any],
    num_threads: int | None = None,  # noqa: ARG001
) -> None:
    """See `alternant.kernels.score_pairs`."""
    block = 1 << 14  # limits the size of the gathered copies
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        out[part] = np.einsum("pf,pf->p", X[rows[part]], Y[columns[part]], dtype=np.float64)
