from typing import Final, Self

from . import contrastive as contract

class Kernels:
    """The kernels of one SIMD level, with the signatures of the contract."""

    def __new__(cls, level: str) -> Self: ...
    contrastive_epoch: Final = staticmethod(contract.contrastive_epoch)
