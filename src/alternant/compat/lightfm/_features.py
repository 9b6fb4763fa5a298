"""Rows as sums of the embeddings of their features, and what a step of rows means for the embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...data.validation import is_sparse
from ...kernels import Factors
from ...models.priors.prior import conjugate_gradients

RIDGE = 0.1  # relative to the mean diagonal entry of F^T F


class FeatureMap:
    """The features F of one side, shape (rows, features); None stands for the identity.

    The representation of a row is the sum of the embeddings of its features, ``F E``. An epoch moves representations by
    D, and the embeddings then by the ridge regression of D on F: by the shortest move that explains it.
    """

    def __init__(self, kind: str, features: Any, count: int | None, width: int | None) -> None:
        self.features: Any = None
        self.count: Any = count
        self.width: Any = width if width is not None else count
        if features is None:
            return
        name = f"{kind}_features"
        if not is_sparse(features):
            raise ValueError(
                f"{name} must be a scipy.sparse matrix, got {type(features).__name__}: pass scipy.sparse.csr_matrix("
                "...) of it"
            )
        F = sparse.csr_array(features, dtype=np.float64)
        F.sum_duplicates()
        if not np.isfinite(F.data).all():
            raise ValueError(f"{name} include NaN or infinite values: remove or replace them")
        if count is not None and F.shape[0] < count:
            raise ValueError(f"{name} must have a row for each of the {count} {kind}s, got {F.shape[0]}")
        if width is not None and F.shape[1] != width:
            raise ValueError(f"{name} must have the {width} columns of the first fit, got {F.shape[1]}")
        if count is not None:
            F = F[:count]
        self.count, self.width = F.shape
        if not _is_identity(F):
            self.features = F

    def rows(self, embeddings: NDArray[Any], biases: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the representations and the biases of the rows."""
        if self.features is None:
            return embeddings, biases
        return (self.features @ embeddings).astype(np.float32), (self.features @ biases).astype(np.float32)

    def moved(
        self, parts: tuple[NDArray[Any], NDArray[Any]], before: tuple[NDArray[Any], NDArray[Any]],
        after: tuple[NDArray[Any], NDArray[Any]],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
        """Return embeddings and biases after an epoch that moved the rows from `before` to `after`."""
        if self.features is None:
            return after
        F = self.features
        E, D = np.column_stack(parts), np.column_stack(after) - np.column_stack(before)
        scale = (F.data**2).sum() / F.shape[1]
        step, _ = conjugate_gradients(F, np.ones(F.shape[0]), np.full(F.shape[1], RIDGE * scale), F.T @ D, None)
        E = (E + step).astype(np.float32)
        return np.ascontiguousarray(E[:, :-1]), np.ascontiguousarray(E[:, -1])


def _is_identity(F: Any) -> bool:
    n = F.shape[0]
    return F.shape == (n, n) and F.nnz == n and bool((F.diagonal() == 1).all())


def run_epochs(
    runs: Any, embeddings: Factors, squares: Factors, maps: tuple[FeatureMap, FeatureMap], epochs: int,
    learning_rate: float, alpha: tuple[float, float], progress: Any,
) -> tuple[Factors, Factors]:  # fmt: skip
    """Return embeddings and Adagrad's sums, which are those of the rows, after some epochs."""
    of_users, of_items = maps
    if of_users.features is None and of_items.features is None:
        return runs.run(embeddings, squares, epochs, learning_rate, alpha, progress)  # type: ignore[no-any-return]
    for _ in range(epochs):
        (X, b), (Y, c) = represented(embeddings, maps)
        moved, squares = runs.run(Factors(X, Y, b, c), squares, 1, learning_rate, alpha, progress)
        E, bias = of_users.moved((embeddings.X, embeddings.row_bias), (X, b), (moved.X, moved.row_bias))
        G, column = of_items.moved((embeddings.Y, embeddings.column_bias), (Y, c), (moved.Y, moved.column_bias))
        embeddings = Factors(E, G, bias, column)
    return embeddings, squares


def represented(embeddings: Factors, maps: tuple[FeatureMap, FeatureMap]) -> tuple[Any, Any]:
    """Return the representations and biases of users and of items."""
    users, items = maps
    return users.rows(embeddings.X, embeddings.row_bias), items.rows(embeddings.Y, embeddings.column_bias)
