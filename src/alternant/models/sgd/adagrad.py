"""The sums of squared gradients of Adagrad, kept by a fit as one number per kind of parameter.

They grow by nearly the same amount for every interaction of a row, however many it has: a fit that continues later
starts from these means, times the numbers of interactions, instead of from an array as large as the factors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import blocked_sum, is_mapped, parts_of
from ..._utils.pool import Pool

# The initial value of the sums, so that no step is longer than a plain SGD step. With 0.01, where the first step has
# the length of the learning rate whatever the gradient, NDCG@10 of LogisticMF is 0.514 instead of 0.529 on msweb and
# 0.127 instead of 0.131 on lastfm.
FIRST_SQUARE = 1.0


def first_squares(part: NDArray[Any], pool: Pool | None = None) -> NDArray[Any]:
    """Return the initial sums of an array of parameters; from the pool if these are in a file."""
    squares = (pool or Pool()).array(part.shape, part.dtype) if is_mapped(part) else np.empty_like(part)
    for block in parts_of(squares):
        block.fill(FIRST_SQUARE)
    return squares


def mean_squares(squares: Any, counts: tuple[NDArray[Any], ...]) -> dict[str, Any]:
    """Return, as an attribute, what the sums have grown by for each interaction: of vectors and of biases."""
    if squares is None:
        return {}
    means = []
    for part, count in zip(squares, counts, strict=True):
        width = part.shape[1] if part.ndim == 2 else 1
        grown = blocked_sum(parts_of(part)) - FIRST_SQUARE * part.size
        means.append(max(0.0, grown) / max(1, width * int(count.sum())))
    return {"mean_squares_": tuple(means)}


def continue_squares(model: Any, squares: Any, counts: tuple[NDArray[Any], ...]) -> None:
    """Add to initial sums, in place, what those of the last fit had grown by."""
    for part, count, mean in zip(squares, counts, getattr(model, "mean_squares_", (0.0,) * len(squares)), strict=True):
        grown = (mean * count).astype(part.dtype)
        part += grown[:, None] if part.ndim == 2 else grown
