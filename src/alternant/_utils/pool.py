"""A pool that recycles large arrays."""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

CACHE_LINE = 64


class Pool:
    """Allocates arrays and reuses the memory of those that are no longer referenced, for arrays of the same size.

    The operating system clears the pages of new memory, which can take longer than multiplying factors of 64 columns.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[NDArray[np.uint8]]] = defaultdict(list)

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an uninitialized array, aligned to a cache line."""
        size = math.prod(shape) * dtype.itemsize + CACHE_LINE
        try:
            memory = self._free[size].pop()
        except IndexError:  # not checked beforehand: another thread may take the last one in between
            memory = np.empty(size, np.uint8)
        loan = _Loan(memory)
        weakref.finalize(loan, _return, weakref.ref(self), memory).atexit = False
        start = -memory.ctypes.data % CACHE_LINE
        return np.asarray(loan)[start : start + size - CACHE_LINE].view(dtype).reshape(shape)

    def fixed_side(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array that is read in no order."""
        return self.array(shape, dtype)

    def take_back(self, memory: NDArray[np.uint8]) -> None:
        """Keep memory for the next array of the same size."""
        self._free[len(memory)].append(memory)


class _Loan:
    """The base of all views of an array from a pool: it is finalized when the last of them is gone."""

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self.__array_interface__ = memory.__array_interface__


def _return(pool: weakref.ref[Pool], memory: NDArray[np.uint8]) -> None:
    if (living := pool()) is not None:
        living.take_back(memory)
