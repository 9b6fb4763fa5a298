from typing import Final, Self

from . import ranks as contract

class Kernels:
    """The kernels of one SIMD level, with the signatures of the contract."""

    def __new__(cls, level: str) -> Self: ...
    count_above: Final = staticmethod(contract.count_above)
    score_all: Final = staticmethod(contract.score_all)
