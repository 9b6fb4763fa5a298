"""Scores of all items, and how many are higher than those of given targets, in plain NumPy, a query at a time.

Cost of a query with t targets: ``n f`` for the scores and ``n t`` for the comparisons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def count_above(
    queries: NDArray[Any],
    items: NDArray[Any],
    exclude: tuple[NDArray[np.int64], NDArray[Any]] | None,
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    out_above: NDArray[np.int64],
    out_equal: NDArray[np.int64],
    num_threads: int | None = None,  # noqa: ARG001 - one thread; the signature is the contract's
) -> None:
    """See `alternant.kernels.count_above`."""
    for u in range(len(queries)):
        part = slice(indptr[u], indptr[u + 1])
        if part.start == part.stop:
            continue
        # einsum sums in the same order for every item, so that identical items tie exactly; BLAS may not.
        scores = np.einsum("if,f->i", items, queries[u])
        scores = np.where(np.isnan(scores), -np.inf, scores)
        counted = np.ones(len(items), bool)
        if exclude is not None:
            counted[exclude[1][exclude[0][u] : exclude[0][u + 1]]] = False
        targets = indices[part]
        others = scores[counted]
        for e, target in enumerate(targets, part.start):
            out_above[e] = (others > scores[target]).sum()
            out_equal[e] = (others == scores[target]).sum() - counted[target]


def score_all(
    queries: NDArray[Any], items: NDArray[Any], out: NDArray[Any], num_threads: int | None = None  # noqa: ARG001
) -> None:
    """See `alternant.kernels.score_all`."""
    for u in range(len(queries)):
        np.einsum("if,f->i", items, queries[u], out=out[u])
