from typing import Final, Self

from . import pairwise as contract

class Kernels:
    """The kernels of one SIMD level, with the signatures of the contract."""

    def __new__(cls, level: str) -> Self: ...
    draw_triples: Final = staticmethod(contract.draw_triples)
    pairwise_epoch: Final = staticmethod(contract.pairwise_epoch)
