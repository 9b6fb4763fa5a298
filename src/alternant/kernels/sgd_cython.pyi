from typing import Final, Self

from . import sgd as contract

class Kernels:
    """The kernels of one SIMD level, with the signatures of the contract."""

    def __new__(cls, level: str) -> Self: ...
    biased_epoch: Final = staticmethod(contract.biased_epoch)
    cosine_epoch: Final = staticmethod(contract.cosine_epoch)
    logistic_epoch: Final = staticmethod(contract.logistic_epoch)
    sort_into_blocks: Final = staticmethod(contract.sort_into_blocks)
