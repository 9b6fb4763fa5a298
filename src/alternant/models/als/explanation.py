"""Why a user gets a score for an item: the parts that the interactions of the user have in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.csr import CSR
from .basis import Basis
from .implicit_objective import ImplicitObjective


class Explanation(NamedTuple):
    """Why a user gets a score for an item.

    Attributes
    ----------
    score : float
        The predicted score.
    items : int64 array
        What the user has interacted with, greatest contribution first.
    contributions : float64 array
        What each of these items adds to the score; they add up to it.
    remainder : float
        The part of the score that comes from the factors not solving the user's problem exactly (the solver's
        tolerance, and item factors newer than the user's), spread over `contributions` in proportion to their size. Of
        `EASE`, what everybody gets, which is not spread.
    """

    score: float
    items: NDArray[np.int64]
    contributions: NDArray[np.float64]
    remainder: float


def break_down(
    history: CSR, item: int, score: float, objective: ImplicitObjective, basis: Basis,
    raw: Callable[[NDArray[np.int64]], NDArray[Any]],
) -> Explanation:  # fmt: skip
    """Break a score down into what each item of a user's history adds to it; `raw` says what items are called."""
    problem = objective.problems(history, "user")
    y = basis.factors[history.indices].astype(np.float64)
    A = np.diag(basis.diagonal.astype(np.float64) + float(problem.regularization[0]))
    A += (y.T * problem.weight) @ y
    influence = np.linalg.lstsq(A, basis.factors[item].astype(np.float64))[0] * objective.score_scale(item)
    contributions = problem.targets() * (y @ influence)
    remainder = score - contributions.sum()
    size = np.abs(contributions)
    if size.any():
        contributions += remainder * (size / size.sum())
    order = np.argsort(-contributions, kind="stable")
    return Explanation(score, raw(history.indices[order].astype(np.int64)), contributions[order], float(remainder))
