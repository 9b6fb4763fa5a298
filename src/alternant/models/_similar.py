"""Similar items and users, by the cosine between factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import column_counts
from .._utils.validation import check_choice, check_integer, check_number
from ._raw_ids import RawIds

if TYPE_CHECKING:
    from .._typing import Lists

SHRINKAGE = 10.0  # of `similar_items`; see there


class Similar(RawIds):
    """The part of a model that finds similar items and users."""

    _top_k: Callable[..., tuple[NDArray[np.int32], NDArray[Any]]]

    def similar_items(
        self,
        items: Any,
        k: int = 10,
        *,
        shrinkage: float | None = None,
        exclude_items: Any = None,
        candidate_items: Any = None,
        unknown: Literal["raise", "empty"] = "raise",
    ) -> Lists:
        """Find the most similar items, by the cosine between factors; an item is not its own neighbour.

        Parameters
        ----------
        items : id or array of ids
        k : int
            Number of neighbours per item.
        shrinkage : float or None
            The cosine to an item with n interactions is multiplied by ``n / (n + shrinkage)``: little is known of items
            with few interactions, and lists would be led by those that a single user has. None: 10, or 0 if the model
            does not know how often each item occurs (its factors were set by hand).
        exclude_items, candidate_items : array of ids, optional
            Items never returned, and the only items that may be returned.
        unknown : {"raise", "empty"}
            How to treat items that the model does not know: raise an error, or return an empty list.

        Returns
        -------
        ids : array, shape (len(items), k), or (k,) for a single item
            As `recommend` returns them.
        similarities : array of the same shape
            Between -1 and 1; with ``shrinkage=0``, the cosines. -inf in unfilled positions. To an item without
            interactions, the similarity is 0: pass ``shrinkage=0`` to find new items by their features.
        """
        return self._similar(items, k, exclude_items, candidate_items, "item", unknown, shrinkage)

    def similar_users(
        self,
        users: Any,
        k: int = 10,
        *,
        exclude_users: Any = None,
        candidate_users: Any = None,
        unknown: Literal["raise", "empty"] = "raise",
    ) -> Lists:
        """Find the users of highest cosine similarity between factors; see `similar_items`, with ``shrinkage=0``."""
        return self._similar(users, k, exclude_users, candidate_users, "user", unknown)

    # For subclasses

    def _latent(self, factors: NDArray[Any]) -> NDArray[Any]:
        """Return the columns that are compared for similarity: all but the biases."""
        return factors

    # Internals

    def _similar(
        self, ids: Any, k: int, exclude: Any, candidates: Any, kind: str, unknown: str, shrinkage: float | None = 0.0
    ) -> Lists:
        factors = self._side(kind)
        check_choice("unknown", unknown, ("raise", "empty"))
        rows, _ = self._look_up(f"{kind}s", ids, kind, unknown)
        k = check_integer("k", k, 1)
        if shrinkage is not None:
            shrinkage = check_number("shrinkage", shrinkage, 0)
        allowed = self._allowed(exclude, candidates, kind, rows.size)
        best, cosines = self._neighbours(factors, np.maximum(rows, 0).reshape(-1), k, allowed, kind, shrinkage)
        np.clip(cosines, -1, 1, out=cosines, where=best >= 0)  # rounding
        absent = rows.reshape(-1) < 0
        best[absent], cosines[absent] = -1, -np.inf
        return self._raw(best.reshape(*rows.shape, k), kind), cosines.reshape(*rows.shape, k)

    def _neighbours(
        self, factors: NDArray[Any], rows: NDArray[np.int64], k: int, candidates: Any, kind: str,
        shrinkage: float | None,
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:  # fmt: skip
        """Return the rows of a side that are most similar to some of them, and their similarities."""
        if kind == "item" and shrinkage is None:  # cached, unlike users, who may be many more and are queried less
            columns = self._latent(factors).shape[1]  # depends on the parameter `biases`
            unit = self._derived(f"directions in {columns} columns", factors, self._shrunk_directions)
        else:
            unit = self._shrunk_directions(factors, shrinkage or 0.0)
        itself = (np.arange(len(rows) + 1), rows)
        return self._top_k(self._directions(factors[rows]), unit, k, itself, candidates)

    def _shrunk_directions(self, factors: NDArray[Any], shrinkage: float = SHRINKAGE) -> NDArray[Any]:
        """Return the factors without biases, each row scaled to length 1, or less if there are few interactions."""
        unit = self._directions(factors)
        counts = self._item_counts() if shrinkage else None
        if counts is not None:
            unit *= (counts / (counts + shrinkage)).astype(unit.dtype)[:, None]
        return unit

    def _item_counts(self) -> NDArray[np.int64] | None:
        """Return the number of interactions of each item; None if it is unknown."""
        rows, items = getattr(self, "interactions_", None), self._count("item")
        if rows is not None and rows.shape[1] == items:
            return column_counts(rows.indices, rows.shape[1])
        kept: NDArray[np.int64] | None = getattr(self, "_kept_item_counts", None)
        return kept if kept is not None and len(kept) == items else None

    def _directions(self, factors: NDArray[Any]) -> NDArray[Any]:
        """Return the factors without biases, each row scaled to length 1."""
        factors = self._latent(factors)
        norms = np.sqrt(np.einsum("if,if->i", factors, factors, dtype=np.float64))
        norms[norms == 0] = 1
        return np.asarray(factors / norms[:, None], factors.dtype)
