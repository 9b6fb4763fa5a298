"""What the columns of a matrix of features stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FeatureColumns:
    """Names of the columns, and how numbers are scaled: ``(value - center) / scale``.

    Attributes
    ----------
    names : list of str
        A number's column is named after the column of the table, a category's ``column=category``.
    centers, scales : float64 arrays
        0 and 1 for categories.
    """

    names: list[str]
    centers: NDArray[np.float64]
    scales: NDArray[np.float64]

    def plain(self) -> list[Any]:
        """Return a form that JSON can hold."""
        return [self.names, self.centers.tolist(), self.scales.tolist()]

    @classmethod
    def of_plain(cls, plain: list[Any]) -> FeatureColumns:
        """Undo `plain`."""
        names, centers, scales = plain
        columns = cls([str(name) for name in names], np.array(centers, np.float64), np.array(scales, np.float64))
        if not (len(columns.names) == len(columns.centers) == len(columns.scales)):
            raise ValueError("names of features that do not fit their scales")
        return columns
