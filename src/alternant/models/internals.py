"""Internals of models used by the rest of the package: row numbers, id tables, checks, ranking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import release
from ..data.csr import CSR
from ..data.ids import Ids
from ..data.interactions import Interactions
from ._display import remember_quality as remember_quality  # re-exported
from ._display import telling as telling
from ._serving import SHARD_SIZE as SHARD_SIZE
from ._storage import pack_ids

PART = 1 << 18  # users whose interactions are counted at a time


def factors(model: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the factors of users and items, checked; raise if the model is not fitted."""
    users, items = model._factors()
    return users, items


def model_ids(model: Any, kind: str) -> Ids | None:
    """Return the raw ids of users or items by row; None if row numbers are their ids."""
    ids: Ids | None = model._ids_of(kind)
    return ids


def row_numbers(model: Any, name: str, ids: Any, kind: str) -> NDArray[np.int64]:
    """Return the row numbers of users or items, all of which must be known."""
    numbers: NDArray[np.int64] = model._numbers(name, ids, kind)
    return numbers


def known_rows(model: Any, name: str, ids: Any, kind: str) -> NDArray[np.int64]:
    """Return the row numbers of the users or items that the model knows."""
    numbers: NDArray[np.int64] = model._look_up(name, ids, kind, "empty")[0]
    return numbers[numbers >= 0]


def raw_ids(model: Any, numbers: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return the ids of rows: raw ids, or row numbers if these are the ids."""
    ids: NDArray[Any] = model._raw(numbers, kind)
    return ids


def seen(model: Any, users: NDArray[np.int64]) -> CSR:
    """Return the interactions of users in the fit, by row number."""
    rows: CSR = model._seen(users, None)
    return rows


def seen_counts(model: Any, users: Any) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield row numbers of users, some at a time, and how many interactions of the fit they have.

    `users` are all (None), those of a slice, or those of the ids that the model knows.
    """
    numbers = known_rows(model, "users", users, "user") if not isinstance(users, slice | None) else None
    indptr = model.interactions_.indptr
    chosen = range(len(indptr) - 1)[users or slice(None)] if numbers is None else range(len(numbers))
    for start in range(chosen.start, chosen.stop, PART):
        part = slice(start, min(start + PART, chosen.stop))
        rows = np.arange(part.start, part.stop) if numbers is None else numbers[part]
        yield rows, indptr[rows + 1] - indptr[rows]
        if numbers is None:
            release(indptr[part])


def library_of(model: Any) -> str | None:
    """Return the library of the frame that the model was fitted on, if any."""
    library: str | None = model._library
    return library


def check_values(model: Any, name: str, interactions: Interactions) -> None:
    """Refuse interactions that the model can't be fitted on: sums of ratings, or ratings without values."""
    model._check_values(name, interactions)


def check_can_be_saved(ids: Ids, kind: str) -> None:
    """Refuse ids that a model file can't hold."""
    pack_ids(ids, kind)


def known_columns(model: Any, name: str, rows: Any, items: NDArray[Any], n_users: int) -> CSR:
    """Return users' interactions in canonical form, with the items of the model as columns.

    `n_users` serves to recognize a transposed matrix; -1 disables this.
    """
    known: CSR = model._known_columns(name, rows, items, "item", n_users)
    return known


def refuse_unknown_items(model: Any, name: str, interactions: Interactions) -> None:
    """Raise if the interactions have items that the model does not know, or values that it can't be fitted on."""
    model._check_values(name, interactions)
    model._refuse_unknown(name, interactions, "item")


def all_seen(model: Any) -> CSR:
    """Return the interactions of all users in the fit."""
    model._seen(np.empty(0, np.int64), None)  # raises if the model does not have them
    rows: CSR = model.interactions_
    return rows


def refuse_absent(model: Any, name: str, interactions: Interactions, users: NDArray[Any]) -> None:
    """Raise if one of the users is not among the interactions."""
    model._refuse_absent(name, interactions, "user", users)


def rank(
    model: Any, queries: NDArray[Any], items: NDArray[Any], k: int, exclude: Any, candidates: Any
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return the row numbers of the best items for each query, and their predictions."""
    ids, scores = model._rank(queries, items, k, exclude, candidates)
    return ids, scores


def ranking_vectors(model: Any, vectors: NDArray[Any]) -> NDArray[Any]:
    """Return vectors of users or items whose inner products rank as the model does."""
    ranked: NDArray[Any] = model._ranked(vectors)
    return ranked


def vectors_to_count(model: Any, vectors: Any) -> Any:
    """Return what `count_above` takes for factors of users or items."""
    return model._vectors_to_count(vectors)


def predicted(
    model: Any, queries: NDArray[Any], items: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[Any]:
    """Return the predictions of pairs."""
    scores: NDArray[Any] = model._score(queries, items, rows, columns)
    return scores


def truth(model: Any, rows: CSR) -> NDArray[Any]:
    """Return the target values of the predictions of the observed pairs."""
    values: NDArray[Any] = model._truth(rows)
    return values


def latent(model: Any, vectors: NDArray[Any]) -> NDArray[Any]:
    """Return the columns that are compared for similarity: all but the biases."""
    columns: NDArray[Any] = model._latent(vectors)
    return columns


def count_above(
    model: Any, queries: NDArray[Any], items: NDArray[Any], seen: CSR | None, relevant: CSR
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for each relevant item, the numbers of items that rank above it and equal to it."""
    above, equal = model._count_above(queries, items, seen, relevant)
    return above, equal
