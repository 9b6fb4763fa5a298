from typing import Final, Self

from . import topk as contract

class Kernels:
    """The kernels of one SIMD level, with the signatures of the contract."""

    def __new__(cls, level: str) -> Self: ...
    top_k: Final = staticmethod(contract.top_k)
    score_pairs: Final = staticmethod(contract.score_pairs)
