"""The parts of the interactions that a search has: one to fit, one to measure trials on, one to judge the best by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.validation import random_generator
from ..evaluation import random_split
from ..evaluation.splits import Table
from ..models import FactorModel
from ._work import Size, users_to_measure

MOST_USERS = 5000  # measured with each trial: a few hundredths of a second, with an error of about 1 %
JUDGES = 3  # one of so many users is kept for the judgement


@dataclass(frozen=True)
class Parts:
    """The train part, and test parts of other users each."""

    train: Any
    search: Any
    judgement: Any  # None where there are too few users
    n_search: int
    n_judgement: int
    size: Size  # of the train part


def split_parts(
    interactions: Any, validation: tuple[Any, Any] | None, fraction: float, random_state: Any, *, rated: bool,
    model: FactorModel | None = None,
) -> Parts:  # fmt: skip
    """Split the interactions, or take a split, and deal the users of its test part out.

    A third of them judges what the search has found on the others: the best of many values is better than it would be
    on new users, most of all where there are few to measure. The others are at most 5000, and no more than a fit of
    `model` is worth. With `rated`, users without a positive test interaction count, too.
    """
    if validation is None:
        train, test = random_split(interactions, fraction, random_state=random_state)
    elif isinstance(validation, tuple) and len(validation) == 2:
        train, test = validation
    else:
        raise TypeError(f"validation must be a pair (train, test), got {type(validation).__name__}")
    held, fitted = Table(test, name="the test part of validation"), Table(train, name="the train part of validation")
    counted = held.owner if rated else held.owner[held.rows.data > 0]
    users = np.unique(counted)
    if len(users) == 0:
        raise ValueError("the validation part must have test items, got none: hold out more")
    users = random_generator(random_state).permutation(users)
    n_judges = len(users) // JUDGES
    size = Size(*fitted.rows.shape, len(fitted.rows.data))
    most = MOST_USERS if model is None else min(MOST_USERS, users_to_measure(model, size, lists=not rated))
    judges, searched = users[:n_judges][: 2 * MOST_USERS], users[n_judges:][:most]
    judgement = _of_users(held, judges) if len(judges) > 1 else None
    return Parts(train, _of_users(held, searched), judgement, len(searched), len(judges), size)


def _of_users(table: Table, users: NDArray[np.int64]) -> Any:
    """Return the entries of some users, zeros among them, the others' left out."""
    chosen = np.zeros(table.rows.shape[0], bool)
    chosen[users] = True
    return table.part(chosen[table.owner])
