"""The users of an evaluation: what is known of them, what is held out, and what may be recommended to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import release
from ..data.csr import CSR
from ..data.events import refuse_events
from ..data.features import Features
from ..data.interactions import Interactions
from ..data.internals import ids_of, release_rows
from ..data.validation import is_sparse
from ..models import internals
from ._held_out import HeldOut, Leaks, Rows, RowsByIds, RowsOfMatrix


@dataclass(frozen=True)
class EvaluationUsers:
    """The users of a test set: their factors, seen items, held-out interactions and candidates, a row each."""

    queries: NDArray[Any]
    items: NDArray[Any]
    seen: CSR | None
    held: HeldOut
    candidates: CSR | NDArray[np.int64] | None

    # Pages of memory maps are given back: else those of all users would add up.

    def factors(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the factors of some users."""
        chosen: NDArray[Any] = self.queries[rows]
        if isinstance(self.queries, np.ndarray):
            release(self.queries[rows[0] : rows[-1] + 1])
        return chosen

    def seen_by(self, rows: NDArray[np.int64]) -> CSR | None:
        """Return what some users have seen."""
        if self.seen is None:
            return None
        chosen = self.seen.take(rows)
        release_rows(self.seen, rows)
        return chosen


def evaluation_users(
    model: Any, test: Any, user_items: Any, user_features: Any, candidates: Any, exclude_seen: bool,
    relevant_from: float | None, least: int,
) -> tuple[EvaluationUsers, NDArray[Any]]:  # fmt: skip
    """Return the users of the rows of `test`, and the ids of those measured; `least` is the shortest list's length."""
    for name, given in (("test", test), ("user_items", user_items)):
        refuse_events(name, given)
    users, items = internals.factors(model)
    original, rows_of = test, ids_of(test, "user") if isinstance(test, Interactions) else None
    rows: Rows
    if user_items is None and user_features is None:
        rows, queries = _rows_of_fit(model, test, items, len(users)), users
        if isinstance(test, Interactions) and internals.model_ids(model, "user") is not None:
            rows_of = internals.model_ids(model, "user")
        seen = internals.all_seen(model) if exclude_seen else None
        ids = None
    else:
        held, known, queries, ids, rows_of = _new_users(model, test, user_items, user_features)
        rows, seen = RowsOfMatrix(held), known if exclude_seen else None
        if ids is not None and exclude_seen:
            _refuse_users_of_the_fit(model, ids, held, by_features=user_features is not None)
        ids = np.arange(len(queries)) if ids is None else ids
    counted = HeldOut(rows, predicts_ratings(model), relevant_from, seen)
    if candidates is not None and np.ndim(candidates) == 1:
        candidates = np.unique(internals.row_numbers(model, "candidates", candidates, "item"))
        if not len(candidates):
            raise ValueError("candidates must hold items to rank, got none: leave candidates out to rank all items")
        if len(candidates) <= least:
            raise ValueError(
                f"candidates must be more items than a list has, got {len(candidates)} for k={least}, so that every "
                "list would hold all of them: hold out more items, or pass a lower k"
            )
    elif candidates is not None:
        candidates = _check_candidates(candidates, original.shape)
        if isinstance(original, Interactions):
            candidates = _reindexed(candidates, original, rows_of, internals.model_ids(model, "item"))
    user_ids = internals.raw_ids(model, counted.users, "user") if ids is None else ids[counted.users]
    return EvaluationUsers(queries, items, seen, counted, candidates), user_ids


def _rows_of_fit(model: Any, test: Any, items: NDArray[Any], n_users: int) -> Rows:
    """Return the rows of test interactions of users of the fit."""
    if isinstance(test, Interactions) and internals.model_ids(model, "user") is not None:
        return RowsByIds(model, test)
    held = internals.known_columns(model, "test", test, items, n_users)
    if held.shape[0] != n_users:
        raise ValueError(
            f"test must have one row for each of the {n_users} users of the fit, got {held.shape[0]}: pass a test "
            "matrix with the rows of the fit, or, for new users, their known interactions as user_items"
        )
    return RowsOfMatrix(held)


def _new_users(
    model: Any, test: Any, user_items: Any, user_features: Any
) -> tuple[CSR, CSR, NDArray[Any], NDArray[Any] | None, Any]:
    """Return the test and the known interactions of users unseen at training, their factors, ids and id table.

    They have no ids if they are rows of matrices.
    """
    items, rows_of, ids = internals.factors(model)[1], None, None
    if user_items is not None:
        if isinstance(user_items, Interactions) and isinstance(test, Interactions):
            internals.refuse_absent(model, "user_items", user_items, test.user_ids)
            rows_of = ids_of(user_items, "user")
            test = test.reindex(users=rows_of)
        known = internals.known_columns(model, "user_items", user_items, items, -1)
        ids = user_items.user_ids if isinstance(user_items, Interactions) else None
    elif isinstance(user_features, Features):
        if isinstance(test, Interactions):
            rows_of = ids_of(test, "user")
            user_features = user_features.reindex(rows_of)
        ids = user_features.ids
    held = internals.known_columns(model, "test", test, items, -1)
    if user_features is not None:
        queries = model.fold_in_users(user_items, user_features=user_features)
    if user_items is None:
        nothing = np.zeros(len(queries) + 1, np.int64), np.empty(0, np.int32), np.empty(0, queries.dtype)
        known = CSR(*nothing, (len(queries), len(items)))
    if held.shape[0] != known.shape[0]:
        given = "user_features" if user_items is None else "user_items"
        raise ValueError(
            f"test and {given} must have one row for each new user, got {held.shape[0]} and {known.shape[0]}"
        )
    if user_features is None:
        queries = model.fold_in_users(known.to_scipy())
    return held, known, queries, ids, rows_of


def _refuse_users_of_the_fit(model: Any, ids: NDArray[Any], test: CSR, by_features: bool) -> None:
    """Raise if a test pair of new users is one of the fit or, as users known by features only, if a user is.

    Users without interactions in the fit, such as those of `split_kind`, are new.
    """
    of_fit = internals.model_ids(model, "user")
    if of_fit is None or getattr(model, "interactions_", None) is None:
        return
    numbers = of_fit.find(ids)
    rows = np.flatnonzero(numbers >= 0)
    seen = internals.seen(model, numbers[rows])
    known = np.flatnonzero(np.diff(seen.indptr))
    if by_features and len(known):
        raise ValueError(
            f"user_features must be of users that the model was not fitted on, got {len(known)} of {len(ids)} that it "
            f"was, such as {ids[rows[known[:1]]].tolist()[0]!r}: fit on the train part of hold_out_users, or leave "
            "user_features out"
        )
    leaks = Leaks()
    leaks.count(test.take(rows), np.arange(len(rows)), seen)
    leaks.refuse()


def _check_candidates(candidates: Any, shape: tuple[int, int]) -> CSR:
    if not is_sparse(candidates) or candidates.shape != shape:
        found = candidates.shape if is_sparse(candidates) else type(candidates).__name__
        raise ValueError(
            f"candidates must be a sparse matrix of the shape of test, {shape}, got {found}: pass what "
            "sample_negatives returns"
        )
    matrix = candidates.tocsr().astype(bool)  # a copy
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if not matrix.nnz:
        raise ValueError("candidates must hold items to rank, got none: pass what sample_negatives returns")
    return CSR.of(matrix.indptr, matrix.indices, matrix.data, shape)


def _reindexed(candidates: CSR, test: Interactions, users: Any, items: Any) -> CSR:
    """Return candidates, given in the order of `test`, in the order of `users` and `items`."""
    if ids_of(test, "user") == users and ids_of(test, "item") == items:
        return candidates
    rows, columns = candidates.positions()
    rows, columns = users.find(test.user_ids)[rows], items.find(test.item_ids)[columns]
    kept = (rows >= 0) & (columns >= 0)
    order = np.lexsort((columns[kept], rows[kept]))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=len(users)))])
    return CSR.of(indptr, columns[kept][order], candidates.data[kept][order], (len(users), len(items)))


def predicts_ratings(model: Any) -> bool:
    """Return whether a model predicts ratings; third-party models may have no traits."""
    return getattr(getattr(model, "traits", None), "feedback", None) == "ratings"
