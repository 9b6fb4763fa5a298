"""The split of a search: training interactions, validation users for the trials, holdout users for the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.messages import parameter, refusal
from .._utils.validation import random_generator
from ..evaluation import random_split, split_kind
from ..evaluation._side_splits import hold_out_side
from ..evaluation._table import Table
from ..models import FactorModel
from ._events import Weighting
from ._work import Size, users_to_measure

MAX_USERS = 5000  # validation users: measuring them takes some hundredths of a second, with an error of about 1 %
HOLDOUT_ONE_IN = 3  # users: a third is held out for the comparison


@dataclass(frozen=True)
class SearchSplit:
    """Training interactions, and test interactions of validation users and of holdout users."""

    train: Any
    validation: Any
    holdout: Any  # None if there are too few users
    n_validation: int
    size: Size  # of the training interactions
    rows: Any  # the training interactions; if `train` is events, with the weights that the search starts from
    candidates: NDArray[Any] | None = None  # ids of the only items to be ranked: those held out


def split_for_search(
    interactions: Any, validation: tuple[Any, Any] | None, fraction: float, random_state: Any, *, rated: bool,
    model: FactorModel | None = None, held_out: str = "interactions", kind: Any = None,
    weighting: Weighting | None = None, k: int | None = None,
) -> SearchSplit:  # fmt: skip
    """Split the interactions, or take a given split, and divide the users of its test part.

    A third of the users is held out to compare the best trial with the model's own parameters, since the best value of
    many trials is optimistic, most of all for few users. At most 5000 of the others measure the trials, and no more
    than keep measuring cheap against a fit of `model`. With `rated`, users without a positive test interaction count.

    `held_out` are random interactions, or all those of random items (users), which the features of a fit alone tell
    about. Such items must be more than `k`, the length of the lists. Training and test interactions have the shape of
    `interactions` in any case. Of `Events`, with their weighting, pairs of one kind are held out.
    """
    candidates = None
    if validation is None and weighting is not None:
        train, test = split_kind(interactions, kind, fraction=fraction, random_state=random_state)
    elif validation is None and held_out != "interactions":
        table = Table(interactions)
        marked, chosen = hold_out_side(table, held_out[:-1], fraction, random_state, "validation_fraction")
        train, test = table.split(marked)
        if held_out == "items":
            candidates = chosen if table.source is None else table.source.item_ids[chosen]
            if len(chosen) <= (k or 0):
                raise refusal(
                    ValueError,
                    f"{parameter('validation_fraction')} must hold out more items than a list of {k} has, got "
                    f"{len(chosen)}, so that every list would hold all of them: raise it, or pass a metric with a "
                    "lower k",
                )
    elif validation is None:
        train, test = random_split(interactions, fraction, random_state=random_state)
    elif isinstance(validation, tuple) and len(validation) == 2:
        train, test = validation
    else:
        raise TypeError(f"validation must be a pair (train, test), got {type(validation).__name__}")
    tested = Table(test, name="the test part of validation")
    rows = train if weighting is None else weighting.interactions(train, {})
    fitted = Table(rows, name="the train part of validation")
    users = np.unique(tested.owner if rated else tested.owner[tested.rows.data > 0])
    if len(users) == 0:
        raise ValueError("the test part of validation must have test items, got none: hold out more")
    users = random_generator(random_state).permutation(users)
    n_holdout = len(users) // HOLDOUT_ONE_IN
    size = Size(*fitted.rows.shape, len(fitted.rows.data))
    limit = MAX_USERS if model is None else min(MAX_USERS, users_to_measure(model, size, lists=not rated))
    holdout_users, validation_users = users[:n_holdout][: 2 * MAX_USERS], users[n_holdout:][:limit]
    holdout = _of_users(tested, holdout_users) if len(holdout_users) > 1 else None
    searched = _of_users(tested, validation_users)
    return SearchSplit(train, searched, holdout, len(validation_users), size, rows, candidates)


def _of_users(table: Table, users: NDArray[np.int64]) -> Any:
    """Return the entries of some users, zeros included."""
    chosen = np.zeros(table.rows.shape[0], bool)
    chosen[users] = True
    return table.part(chosen[table.owner])
