"""What the rules of ``"auto"`` read of interactions that are in shards: sums of what the shards return."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.als.observed import OfCounts, Statistics
from ._cluster import Cluster


class ShardedStatistics(Statistics):
    """The interactions in the shards of a cluster; `counts` are those of all users and items."""

    def __init__(self, cluster: Cluster, counts: tuple[NDArray[np.int64], NDArray[np.int64]], dtype: np.dtype[Any]):
        self._cluster, self._counts, self.dtype = cluster, counts, dtype

    @property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of entries of the users and of the items."""
        return self._counts

    @cached_property
    def range(self) -> tuple[float, float, bool]:
        """The smallest and the largest absolute value, and whether any value is negative."""
        ranges = self._cluster.attempt(lambda: self._cluster.every("statistic", "range"))
        least, greatest, negative = zip(*ranges, strict=True)
        return min(least), max(greatest), any(negative)

    def sum_of_sizes(self, of: Callable[[NDArray[Any]], NDArray[Any]]) -> float:
        """Return the sum of a function of the absolute values."""
        return float(self._cluster.sum("statistic", "sum_of_sizes", of))

    def sum_of_values(self) -> float:
        """Return the sum of the values."""
        return float(self._cluster.sum("statistic", "sum_of_values"))

    def digits(self, shift: int, known: int) -> NDArray[np.int64]:
        """Count the absolute values by some of their bits."""
        return np.asarray(self._cluster.sum("statistic", "digits", shift, known))

    def joint(self, d: OfCounts, e: NDArray[np.float64]) -> float:
        """Return ``sum d_u e_i`` over the entries."""
        return float(self._cluster.sum("statistic", "joint", d, e))

    def noise(self, d: OfCounts, e: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return sums for the threshold of the regularization."""
        sums, of_items = self._cluster.sum("statistic", "noise", d, e)
        return sums, of_items

    def squared(self, d: OfCounts, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``A^T diag(d^2) A v``."""
        return np.asarray(self._cluster.sum("statistic", "squared", d, v))
