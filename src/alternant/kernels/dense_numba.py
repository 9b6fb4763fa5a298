"""Products of many rows with a small matrix: NumPy's, which are BLAS's, on Python's threads, as Numba's kernels are."""

from .dense_reference import gramian, multiply, squared_norms

__all__ = ["gramian", "multiply", "squared_norms"]
