"""SplitMix64 (Steele, Lea, Flood 2014): pseudo-random numbers that are a function of a counter.

The Cython and Numba kernels have the same two functions in their own languages and take the constants from here or are
tested against it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio
FIRST = 0xBF58476D1CE4E5B9
SECOND = 0x94D049BB133111EB
MASK = (1 << 64) - 1


def mix(z: int) -> int:
    """Return the output for one counter."""
    z &= MASK
    z = (z ^ (z >> 30)) * FIRST & MASK
    z = (z ^ (z >> 27)) * SECOND & MASK
    return z ^ (z >> 31)


def mix_array(z: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the output for each counter, uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(FIRST)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(SECOND)
    return np.asarray(z ^ (z >> np.uint64(31)))
