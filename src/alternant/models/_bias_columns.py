"""Biases as columns of the factors, so that the score of a pair stays a dot product.

A user's factors are ``(x_u, b_u, 1)``, an item's ``(y_i, 1, b_i)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import Factors


def bias_column(kind: str) -> int:
    """Return the column of the biases of a side, "user" or "item"."""
    return -2 if kind == "user" else -1


def constant_column(kind: str) -> int:
    """Return the column of ones."""
    return -1 if kind == "user" else -2


def without_constant(factors: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return ``(x_u, b_u)`` or ``(y_i, b_i)``, the learned columns."""
    return np.delete(factors, constant_column(kind), axis=1)


def with_constant(learned: NDArray[Any], kind: str) -> NDArray[Any]:
    """Undo `without_constant`."""
    return np.insert(learned, learned.shape[1] - (kind == "item"), 1, axis=1)


class WithoutConstant:
    """Copies rows of a side without their constant: the map from factors to the `width` unknowns of a half-sweep."""

    def __init__(self, kind: str, width: int) -> None:
        self.kind, self.width = kind, width

    def __call__(self, rows: NDArray[Any], out: NDArray[Any], solver: Any) -> None:
        """Write the columns that are learned to `out`."""
        at = self.width + 1 + constant_column(self.kind)
        out[:, :at], out[:, at:] = rows[:, :at], rows[:, at + 1 :]


class WithConstant:
    """Undoes `WithoutConstant`, with `width` numbers in a row of factors; -0.0 becomes 0.0."""

    def __init__(self, kind: str, width: int) -> None:
        self.kind, self.width = kind, width

    def __call__(self, rows: NDArray[Any], out: NDArray[Any], solver: Any) -> None:
        """Write the rows and their constant to `out`."""
        at = self.width + constant_column(self.kind)
        np.add(rows[:, :at], 0, out=out[:, :at])
        np.add(rows[:, at:], 0, out=out[:, at + 1 :])
        out[:, at] = 1


def latent(factors: NDArray[Any]) -> NDArray[Any]:
    """Return the columns that are not biases."""
    return factors[:, :-2]


def pack(factors: Factors) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the columns of user factors and of item factors."""
    X, Y, b, c = factors
    return (X, b, 1), (Y, 1, c)


def unpack(users: NDArray[Any], items: NDArray[Any]) -> Factors:
    """Undo `pack`."""
    return Factors(latent(users), latent(items), users[:, bias_column("user")], items[:, bias_column("item")])
