"""The models of implicit that search by approximate indexes, here answered exactly.

So none of these packages is needed. Approximate indexes are built by `alternant.ImplicitALS.to_index`.
"""

from __future__ import annotations

from typing import Any

from .als import AlternatingLeastSquares
from .ann.annoy import AnnoyModel
from .ann.faiss import FaissModel
from .ann.nmslib import NMSLibModel


def NMSLibAlternatingLeastSquares(
    *args: Any,
    approximate_similar_items: bool = True,
    approximate_recommend: bool = True,
    method: str = "hnsw",
    index_params: Any = None,
    query_params: Any = None,
    use_gpu: bool = False,
    **kwargs: Any,
) -> NMSLibModel:
    """Return an exact model with the interface of implicit's, from the arguments of `AlternatingLeastSquares`."""
    model = AlternatingLeastSquares(*args, **{**kwargs, "use_gpu": use_gpu})
    return NMSLibModel(
        model, approximate_similar_items, approximate_recommend, method, index_params, query_params
    )  # fmt: skip


def AnnoyAlternatingLeastSquares(
    *args: Any,
    approximate_similar_items: bool = True,
    approximate_recommend: bool = True,
    n_trees: int = 50,
    search_k: int = -1,
    use_gpu: bool = False,
    **kwargs: Any,
) -> AnnoyModel:
    """Return an exact model with the interface of implicit's, from the arguments of `AlternatingLeastSquares`."""
    model = AlternatingLeastSquares(*args, **{**kwargs, "use_gpu": use_gpu})
    return AnnoyModel(model, approximate_similar_items, approximate_recommend, n_trees, search_k)


def FaissAlternatingLeastSquares(
    *args: Any,
    approximate_similar_items: bool = True,
    approximate_recommend: bool = True,
    nlist: int = 400,
    nprobe: int = 20,
    use_gpu: bool = False,
    **kwargs: Any,
) -> FaissModel:
    """Return an exact model with the interface of implicit's, from the arguments of `AlternatingLeastSquares`."""
    model = AlternatingLeastSquares(*args, **{**kwargs, "use_gpu": use_gpu})
    return FaissModel(model, approximate_similar_items, approximate_recommend, nlist, nprobe, use_gpu)
