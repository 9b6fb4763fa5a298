"""The row problems of one side, as defined by the objectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.messages import parameter, refusal


class SingularRowError(ArithmeticError):
    """The least-squares problem of a row has no unique solution."""


@dataclass(frozen=True)
class RowProblems:
    """The sparse part of every row's problem."""

    indptr: NDArray[np.int64]
    indices: NDArray[Any]
    weight: NDArray[Any]
    target: NDArray[Any] | float  # a number: targets are the weights plus this
    regularization: NDArray[Any]  # lambda_u
    kind: str  # of the rows, for messages: "user" or "item"
    numbers: NDArray[np.int64] | None = None  # of the rows in messages, if not 0, 1, ...
    complete: bool = False  # whether every row has every column, in order, with weight 1, and all have the same lambda
    too_large: str = "confidences (alpha) or unobserved_weight"  # what to lower on overflow, for messages
    target_scale: NDArray[Any] | None = None  # factor of the targets of each column
    linear: NDArray[Any] | None = None  # added to the right-hand side of each row

    def targets(self) -> NDArray[Any]:
        """Return the target of every entry."""
        plain = self.plain_targets()
        return plain if self.target_scale is None else plain * self.target_scale[self.indices]

    def plain_targets(self) -> NDArray[Any]:
        """Return the target of every entry without its column's scale."""
        return self.weight + self.target if isinstance(self.target, float) else self.target

    def lambdas(self) -> tuple[float, float]:
        """Return the minimum and maximum lambda of all rows."""
        return float(self.regularization.min(initial=np.inf)), float(self.regularization.max(initial=0))

    def name(self, row: int) -> str:
        """Return the name of a row in messages."""
        return f"{self.kind} {row if self.numbers is None else self.numbers[row]}"


def row_lambdas(
    regularization: float, scale: NDArray[np.float64], dtype: np.dtype[Any], scaling: str
) -> NDArray[Any]:
    """Return ``regularization * scale`` for every row."""
    with np.errstate(over="ignore", invalid="ignore"):
        lambdas = (regularization * scale).astype(dtype)
    if not np.isfinite(lambdas).all():
        raise refusal(
            ValueError,
            f"every row's lambda must be finite in {dtype}, but {parameter('regularization', regularization)} "
            f"overflows with {parameter('regularization_scaling', scaling)}: lower it",
        )
    return lambdas
