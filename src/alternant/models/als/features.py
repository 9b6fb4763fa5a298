"""The priors of a fit with features, made from the row problems of both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.threads import resolve_num_threads
from ..priors.prior import Prior
from .problems import RowProblems

if TYPE_CHECKING:
    from .trainer import AlternatingLeastSquares

# Half-sweep of a side after which its regression begins: earlier factors stem from random ones. By those of the second,
# the ridge came out too large and products of features were left out on one of three sets of planted choices: new users
# were 5 % worse on average. By those of the fifth, new items of movies were 3 % worse.
FIRST_SWEEP = 3

# The row problems of one side, and the weights of its rows (None: 1).
Weighted = tuple[RowProblems, NDArray[np.float64] | None]


def priors_of_fit(
    model: AlternatingLeastSquares, given: tuple[Any, Any], shape: tuple[int, int], ids: dict[str, Any]
) -> Callable[[Weighted, Weighted], dict[str, Prior]] | None:  # fmt: skip
    """Check the features of users and items; return a function from their row problems to their priors."""
    checked, threads = model._checked_features(given, shape, ids), resolve_num_threads(model.num_threads)
    first = 1 if model.warm_start else FIRST_SWEEP

    def prior(kind: str, problems: RowProblems, weight: NDArray[np.float64] | None) -> Prior:
        features, known, columns = checked[kind]
        occupied, strength = np.diff(problems.indptr) > 0, model._strength(kind)
        return Prior(
            features.to_scipy(), problems.regularization, occupied, weight, strength, first, threads, known, columns
        )

    def priors(*sides: Weighted) -> dict[str, Prior]:
        return {kind: prior(kind, *side) for kind, side in zip(("user", "item"), sides, strict=True) if kind in checked}

    return priors if checked else None
