"""Stands in for implicit's models over nmslib."""

from __future__ import annotations

from typing import Any

from ._exact import ExactModel


class NMSLibModel(ExactModel):
    """An exact model with the interface of implicit's over nmslib, whose parameters are kept and not used."""

    def __init__(
        self,
        model: Any,
        approximate_similar_items: bool = True,
        approximate_recommend: bool = True,
        method: str = "hnsw",
        index_params: Any = None,
        query_params: Any = None,
    ) -> None:
        super().__init__(model, approximate_similar_items, approximate_recommend)
        self.method = method
        self.index_params = index_params
        self.query_params = query_params
