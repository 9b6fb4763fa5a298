from typing import Final, Self

from . import als as contract

class Kernels:
    """The kernels of one SIMD level, with the signatures of the contract."""

    def __new__(cls, level: str) -> Self: ...
    solve_rows: Final = staticmethod(contract.solve_rows)
    squared_error: Final = staticmethod(contract.squared_error)
    normal_products: Final = staticmethod(contract.normal_products)
