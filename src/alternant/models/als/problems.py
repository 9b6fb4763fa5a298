"""The row problems of one side, as defined by the objectives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import prefetch, release
from ..._utils.messages import parameter, refusal

# From the values of entries and their columns to the weights and the targets.
Form = Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], "NDArray[Any] | float"]]


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

    def part(self, first: int, last: int) -> Part:
        """Return the entries of consecutive rows."""
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        target = self.target if isinstance(self.target, float) else self.target[begin:end]
        return Part(
            self.indptr[first : last + 1] - begin, self.indices[begin:end], self.weight[begin:end], target
        )

    def release(self, first: int, last: int) -> None:
        """Give back the memory of a part that has been solved."""

    def prefetch(self, first: int, last: int) -> None:
        """Start to read a part that will be solved next."""

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


@dataclass(frozen=True)
class Part:
    """The sparse part of the problems of consecutive rows."""

    indptr: NDArray[np.int64]  # from 0
    indices: NDArray[Any]
    weight: NDArray[Any]
    target: NDArray[Any] | float

    def targets(self) -> NDArray[Any]:
        """Return the target of every entry."""
        return self.weight + self.target if isinstance(self.target, float) else self.target


@dataclass(frozen=True)
class FormedProblems(RowProblems):
    """Row problems whose weights and targets are formed a part at a time, from values that may be on disk.

    `weight` is empty, and of the dtype of the arithmetic.
    """

    values: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    form: Form = field(default=lambda values, _: (values, 0.0))

    def part(self, first: int, last: int) -> Part:
        """Return the entries of consecutive rows."""
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        indices = self.indices[begin:end]
        weight, target = self.form(self.values[begin:end], indices)
        return Part(self.indptr[first : last + 1] - begin, indices, weight, target)

    def release(self, first: int, last: int) -> None:
        """Give back the pages of a part that has been solved."""
        entries = slice(self.indptr[first], self.indptr[last])
        release(self.indices[entries], self.values[entries])

    def prefetch(self, first: int, last: int) -> None:
        """Start to read a part that will be solved next."""
        entries = slice(self.indptr[first], self.indptr[last])
        prefetch(self.indices[entries], self.values[entries])


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
