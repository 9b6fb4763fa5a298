from typing import Final, Self

from . import sparse as contract

class Kernels:
    """The kernels of one SIMD level, with the signatures of the contract."""

    def __new__(cls, level: str) -> Self: ...
    top_k_sparse: Final = staticmethod(contract.top_k_sparse)
    multiply_sparse: Final = staticmethod(contract.multiply_sparse)
    multiply_sparse_dense: Final = staticmethod(contract.multiply_sparse_dense)
