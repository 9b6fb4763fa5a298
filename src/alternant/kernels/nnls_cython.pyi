from typing import Final, Self

from . import nnls as contract

class Kernels:
    """The kernels of one SIMD level, with the signatures of the contract."""

    def __new__(cls, level: str) -> Self: ...
    solve_rows_nonnegative: Final = staticmethod(contract.solve_rows_nonnegative)
