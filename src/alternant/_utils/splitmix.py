"""SplitMix64 (Steele, Lea, Flood 2014): pseudo-random numbers that are a function of a counter.

The Cython and Numba kernels have their own implementations, which take the constants from here or are tested against
this module.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio
FIRST = 0xBF58476D1CE4E5B9
SECOND = 0x94D049BB133111EB
MASK = (1 << 64) - 1

AT_A_TIME = 16


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


def hashed_normal(seed: int, stream: int, rows: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Return normal deviates, each a function of seed, stream, row and column (Box and Muller 1958)."""
    start = mix(mix(seed) + GOLDEN * (stream + 1))
    index = np.uint64(2) * (rows.astype(np.uint64)[:, None] * np.uint64(width) + np.arange(width, dtype=np.uint64))
    first, second = _hash(np.uint64(start) + np.uint64(GOLDEN) * (index + np.array([[[1]], [[2]]], np.uint64)))
    return np.asarray(np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second))


def hashed_row(seed: int, stream: int, row: int, width: int) -> NDArray[np.float64]:
    """Return one row of `hashed_normal`, computed and cached in blocks: several take little longer than one."""
    return np.asarray(_hashed_rows(seed, stream, row // AT_A_TIME, width)[row % AT_A_TIME])


@functools.lru_cache(maxsize=8)
def _hashed_rows(seed: int, stream: int, block: int, width: int) -> NDArray[np.float64]:
    return hashed_normal(seed, stream, np.arange(block * AT_A_TIME, (block + 1) * AT_A_TIME), width)


def _hash(z: NDArray[Any]) -> NDArray[Any]:
    """Return `mix` of each number, scaled to the half-open interval [0, 1)."""
    return np.asarray((mix_array(z) >> np.uint64(11)) * 2.0**-53)
