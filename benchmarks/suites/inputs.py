"""Shared by the suites: their inputs, and the f, dtypes and backends at which a kernel is timed.

Every benchmark is a function only of pytest-benchmark's fixture and of plain parameters, so that `count_calls` can call
it without pytest.
"""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple

import numpy as np
import pytest

from benchmarks.common.shapes import shaped

TINY = os.environ.get("ALTERNANT_BENCHMARKS_TINY") == "1"  # to count instructions: small inputs, one thread
THREADS = 1 if TINY else 2
FACTORS = (32, 64, 128)
DTYPES = ("float32", "float64")


def each(
    *more_factors: int, factors: tuple[int, ...] = FACTORS, dtypes: tuple[str, ...] = DTYPES
) -> pytest.MarkDecorator:
    """Parametrize a benchmark: Cython at each f in each dtype (`more_factors` only in float32), Numba once."""
    places = [(f, dtype, "cython") for f in factors for dtype in dtypes]
    places += [(f, "float32", "cython") for f in more_factors]
    return pytest.mark.parametrize(("f", "dtype", "backend"), [*places, (64, "float32", "numba")])


class Rows(NamedTuple):
    """Interactions by user, with the weighting "hu" and alpha 1; values are 1 to 5."""

    indptr: Any
    indices: Any
    weight: Any
    target: Any
    shape: tuple[int, int]

    def first(self, m: int) -> Rows:
        """Return the first m users."""
        return self._replace(indptr=self.indptr[: m + 1], shape=(m, self.shape[1]))


@functools.cache
def rows(dtype: str) -> Rows:
    """Return the interactions that the kernels are timed on."""
    entries = matrix()
    weight = entries.data.astype(dtype)
    return Rows(entries.indptr.astype(np.int64), entries.indices, weight, weight + 1, entries.shape)


@functools.cache
def matrix() -> Any:
    """Return the interactions that models are fitted to."""
    return shaped("suites-tiny" if TINY else "suites")


def sides(shape: tuple[int, int], f: int, dtype: str) -> tuple[Any, Any]:
    """Return factors of the same magnitude as in fits."""
    rng = np.random.default_rng(0)
    X, Y = ((rng.standard_normal((n, f)) / f).astype(dtype) for n in shape)
    return X, Y


def exact_sides(shape: tuple[int, int], f: int, dtype: str) -> tuple[Any, Any]:
    """Return normal factors in steps of 1/64: float32 holds their products exactly, whatever the order of the sum."""
    rng = np.random.default_rng(0)
    X, Y = ((np.round(rng.standard_normal((n, f)) * 64) / 64).astype(dtype) for n in shape)
    return X, Y


def assert_close(got: Any, expected: Any, tolerance: float) -> None:
    """Compare with the reference, relative to its largest number."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())
