from typing import Final, Self

from . import dense as contract

class Kernels:
    """The kernels of one SIMD level, with the signatures of the contract."""

    def __new__(cls, level: str) -> Self: ...
    multiply: Final = staticmethod(contract.multiply)
    gramian: Final = staticmethod(contract.gramian)
    squared_norms: Final = staticmethod(contract.squared_norms)
