"""Bayesian personalized ranking, which is refused: there is no such model yet."""

from __future__ import annotations

from typing import Any

from .matrix_factorization_base import MatrixFactorizationBase


class BayesianPersonalizedRanking(MatrixFactorizationBase):
    """Can be imported, so that libraries which import it work, but not constructed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "alternant has no BPR model yet: use als.AlternatingLeastSquares, or for probabilities "
            "lmf.LogisticMatrixFactorization"
        )

    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Never called."""
        raise NotImplementedError

    def save(self, fileobj_or_path: Any) -> None:
        """Never called."""
        raise NotImplementedError
