"""What the rest of the package asks of a model and its users need not know: row numbers, ids as a table, checks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.csr import CSR
from ..data.ids import Ids
from ..data.interactions import Interactions
from ._storage import pack_ids


def factors(model: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the factors of users and items, checked; raise if the model is not fitted."""
    users, items = model._factors()
    return users, items


def model_ids(model: Any, kind: str) -> Ids | None:
    """Return the raw ids of users or items by row; None where row numbers are their ids."""
    ids: Ids | None = model._ids_of(kind)
    return ids


def row_numbers(model: Any, name: str, ids: Any, kind: str) -> NDArray[np.int64]:
    """Return the rows of users or items, all of which must be known."""
    numbers: NDArray[np.int64] = model._numbers(name, ids, kind)
    return numbers


def known_rows(model: Any, name: str, ids: Any, kind: str) -> NDArray[np.int64]:
    """Return the rows of those users or items that the model knows."""
    numbers: NDArray[np.int64] = model._asked(name, ids, kind, "empty")[0]
    return numbers[numbers >= 0]


def raw_ids(model: Any, numbers: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return what the rows of users or items are called outside."""
    ids: NDArray[Any] = model._raw(numbers, kind)
    return ids


def seen(model: Any, users: NDArray[np.int64]) -> CSR:
    """Return the interactions that the model knows of users, by row number."""
    rows: CSR = model._seen(users, None)
    return rows


def check_values(model: Any, name: str, interactions: Interactions) -> None:
    """Refuse interactions that the model can't be fitted on: sums of ratings, or ratings without values."""
    model._check_values(name, interactions, to_fit=True)


def check_can_be_saved(ids: Ids, kind: str) -> None:
    """Refuse ids that a model file can't hold."""
    pack_ids(ids, kind)
