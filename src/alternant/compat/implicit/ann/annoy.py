"""Stands in for implicit's models over annoy."""

from __future__ import annotations

from typing import Any

from ._exact import ExactModel


class AnnoyModel(ExactModel):
    """An exact model with the interface of implicit's over annoy, whose parameters are kept and not used."""

    def __init__(
        self,
        model: Any,
        approximate_similar_items: bool = True,
        approximate_recommend: bool = True,
        n_trees: int = 50,
        search_k: int = -1,
    ) -> None:
        super().__init__(model, approximate_similar_items, approximate_recommend)
        self.n_trees = n_trees
        self.search_k = search_k
