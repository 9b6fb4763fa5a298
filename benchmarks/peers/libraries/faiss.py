"""faiss, with its exact index of inner products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Library

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


class Faiss(Library):
    """It excludes no items from its lists."""

    name = "faiss"
    package = "faiss-cpu"
    module = "faiss"

    def ranker(self, X: np.ndarray, Y: np.ndarray, k: int, threads: int) -> Callable[[None], Any]:
        """Run IndexFlatIP."""
        import faiss

        index = faiss.IndexFlatIP(X.shape[1])
        index.add(Y)
        faiss.omp_set_num_threads(threads)
        return lambda _nothing_left_out: index.search(X, k)
