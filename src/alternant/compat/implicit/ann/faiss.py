"""Stands in for implicit's models over faiss."""

from __future__ import annotations

from typing import Any

from ..gpu import NO_GPU
from ._exact import ExactModel


class FaissModel(ExactModel):
    """An exact model with the interface of implicit's over faiss, whose parameters are kept and not used."""

    def __init__(
        self,
        model: Any,
        approximate_similar_items: bool = True,
        approximate_recommend: bool = True,
        nlist: int = 400,
        nprobe: int = 20,
        use_gpu: bool = False,
    ) -> None:
        if use_gpu:
            raise ValueError(NO_GPU)
        super().__init__(model, approximate_similar_items, approximate_recommend)
        self.nlist = nlist
        self.nprobe = nprobe
        self.use_gpu = use_gpu
