"""Splits that hold out all interactions of some items or users, which are then known by their features alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from .._utils.messages import parameter, refusal
from .._utils.validation import check_integer, check_share, random_generator
from ._table import Table

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from .._typing import Seed, Sparse
    from ..data.interactions import Interactions

Part = TypeVar("Part")


class HeldOutItems(NamedTuple, Generic[Part]):
    """The result of `hold_out_items`."""

    train: Part
    test: Part
    items: NDArray[Any]


@overload
def hold_out_items(
    interactions: Interactions, n_items: float = 0.1, *, random_state: Seed = None
) -> HeldOutItems[Interactions]: ...
@overload
def hold_out_items(
    interactions: Sparse, n_items: float = 0.1, *, random_state: Seed = None
) -> HeldOutItems[csr_array]: ...
def hold_out_items(
    interactions: Any, n_items: int | float = 0.1, *, random_state: Any = None
) -> HeldOutItems[Any]:
    """Hold out all interactions of some items, which are then as new as those that come tomorrow.

    ``evaluate(model.fit(train, item_features=features), test, candidates=items)`` ranks the held-out items by their
    features alone: they remain items of `train`, without interactions.

    Parameters
    ----------
    interactions : as for `leave_one_out`
    n_items : int or float
        Number of items to hold out, or a fraction of those with a positive interaction.
    random_state : as for `leave_one_out`

    Returns
    -------
    HeldOutItems
        ``train`` and ``test``, both of the shape of `interactions`; ``items``, the column numbers (for `Interactions`,
        ids) of the held-out items.
    """
    table = Table(interactions)
    held_out, items = hold_out_side(table, "item", n_items, random_state, "n_items")
    train, test = table.split(held_out)
    return HeldOutItems(train, test, items if table.source is None else table.source.item_ids[items])


def hold_out_side(
    table: Table, kind: str, wanted: Any, random_state: Any, name: str
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Mark all entries of random users or items; return the marks and the row (column) numbers."""
    owner = table.owner if kind == "user" else table.rows.indices
    count = table.rows.shape[0 if kind == "user" else 1]
    eligible = np.flatnonzero(np.bincount(owner[table.rows.data > 0], minlength=count))
    if isinstance(wanted, (float, np.floating)):
        wanted = min(max(round(check_share(name, wanted) * len(eligible)), 1), len(eligible) - 1)
    else:
        wanted = check_integer(name, wanted, 1)
    if not 0 < wanted < len(eligible):
        raise refusal(
            ValueError,
            f"{parameter(name)} must leave {kind}s to train on, got {wanted} of {len(eligible)} with positive "
            "interactions",
        )
    chosen = np.sort(random_generator(random_state).permutation(eligible)[:wanted])
    return np.isin(owner, chosen), chosen.astype(np.int64)
