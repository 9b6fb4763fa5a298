"""`evaluate`: a fitted model against test interactions, block by block of users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.guard import snapshot_of
from .._utils.threads import resolve_num_threads
from .._utils.validation import check_boolean, check_integer, check_number
from ..data.csr import CSR
from ..data.interactions import Interactions
from ..data.validation import is_sparse
from ._report import Evaluation, Sums
from .metrics import LIST_METRICS, list_metrics

BLOCK = 4096  # users whose lists are made at a time
OF_ALL_USERS = ("coverage", "gini")
AT_K = (*LIST_METRICS, "novelty", *OF_ALL_USERS)
RATING_METRICS = ("rmse", "mae")
METRICS = (*AT_K, "auc", *RATING_METRICS)


@dataclass(frozen=True)
class Subjects:
    """The users to evaluate on: their factors, what they have seen, what they are to be found to like."""

    queries: NDArray[Any]
    items: NDArray[Any]
    seen: CSR | None
    test: CSR
    relevant: CSR
    candidates: CSR | None

    def blocks(self) -> Iterator[NDArray[np.int64]]:
        """Return the rows with relevant items, some at a time."""
        rows = np.flatnonzero(np.diff(self.relevant.indptr))
        for start in range(0, len(rows), BLOCK):
            yield rows[start : start + BLOCK]


def evaluate(
    model: Any,
    test: Any,
    *,
    k: int | Sequence[int] = (10, 20, 100),
    metrics: Sequence[str] | None = None,
    user_items: Any = None,
    candidates: Any = None,
    exclude_seen: bool = True,
    relevant_from: float | None = None,
) -> Evaluation:
    r"""Measure how well a fitted model ranks, or predicts, what was held out.

    Parameters
    ----------
    model : a fitted model
    test : as for the model's `fit`, shape (n_users, n_items), or Interactions
        What was held out, as a split returns it. Rows are those of the fit, or of `user_items` where that is given.
    k : int or sequence of int
        Lengths of the lists.
    metrics : sequence of str, optional
        Some of ``hit_rate``, ``precision``, ``recall``, ``truncated_recall``, ``ndcg``, ``map``, ``mrr``,
        ``novelty``, ``coverage``, ``gini`` (all at each k), ``auc``, ``rmse`` and ``mae``. By default all that apply:
        rmse and mae to models of ratings, and what looks at the whole catalogue where there are no `candidates`.
    user_items : as `test`, optional
        Of users whom the model has not seen: what to fold them in by, a row for each row of `test`.
    candidates : sparse matrix of the shape of `test`, optional
        The only items that are ranked for each user, as `sample_negatives` draws them: what is not 0 (or False), rows
        and columns in the order of `test`. Sampled metrics are too good,
        and may put models in the wrong order (Krichene and Rendle 2020).
    exclude_seen : bool
        Leave out of the lists, and of the negatives of the AUC, what users have interacted with in the fit (or in
        `user_items`). A test pair among these is then an error: the split leaks.
    relevant_from : float, optional
        A test interaction counts as relevant for the ranking from this value on. By default above 0.

    Returns
    -------
    Evaluation

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError, ValueError
        If the arguments are not as required, or a test pair is among what the model has seen.

    Notes
    -----
    `ranking_metrics` has the formulas of the metrics of lists. With N the items that are neither test items T nor
    excluded, :math:`n_i` the users of the fit who interacted with item i and m their number, :math:`e_i` the number of
    lists that item i is in, ascending in :math:`e_{(1)} \le e_{(2)} \le \dots`, and n the number of items (a list holds
    k, or as many as there are to list),

    .. math::

        \text{AUC} &= \frac{1}{|T| |N|} \sum_{i \in T, j \in N} [s_i > s_j] + \tfrac12 [s_i = s_j] \qquad
        \text{novelty} = \frac{1}{|\text{list}|} \sum_{i \in \text{list}} -\log_2 \frac{\max(n_i, 1)}{m} \\
        \text{coverage} &= \frac{|\{i : e_i > 0\}|}{n} \qquad
        \text{Gini} = \frac{\sum_i (2 i - n - 1) e_{(i)}}{n \sum_i e_i}

    No score matrix is held: lists come from the model's own `top_k` kernel for 4096 users at a time, and the AUC from
    counting the items above each test item; both are multi-threaded, with the same bits on any number of threads.

    References
    ----------
    W. Krichene, S. Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020. S. Vargas, P. Castells, "Rank and
    Relevance in Novelty and Diversity Metrics for Recommender Systems", RecSys 2011.
    """
    lengths = _check_lengths(k)
    names = _check_metrics(metrics, model, candidates is not None)
    check_boolean("exclude_seen", exclude_seen)
    if relevant_from is not None and relevant_from != -np.inf:
        check_number("relevant_from", relevant_from, -np.inf)
    model, test, user_items = (snapshot_of(one) for one in (model, test, user_items))
    subjects, users = _subjects(model, test, user_items, candidates, exclude_seen, relevant_from)
    tested = np.flatnonzero(np.diff(subjects.test.indptr))
    place = np.full(len(subjects.queries), -1)
    place[tested] = np.arange(len(tested))
    sums: dict[str, Sums] = {}
    means: dict[str, float] = {}
    if any(name in AT_K for name in names):
        _measure_lists(model, subjects, lengths, names, place, sums, means)
    if "auc" in names:
        sums["auc"] = _auc(model, subjects, place)
    if any(name in RATING_METRICS for name in names):
        sums |= {name: one for name, one in _errors(model, subjects, place).items() if name in names}
    means |= {name: one.mean() for name, one in sums.items()}
    order = [f"{name}@{length}" for name in names if name in AT_K for length in lengths]
    order += [name for name in names if name not in AT_K]
    return Evaluation(
        means={name: means[name] for name in order},
        per_user={name: sums[name].value(sums[name].sums, sums[name].weights) for name in order if name in sums},
        users=users[tested],
        n_users_evaluated=len(tested),
        n_users_without_test=len(subjects.queries) - len(tested),
        n_test_pairs=len(subjects.test.data),
        _sums={name: sums[name] for name in order if name in sums},
    )


def _check_lengths(k: Any) -> list[int]:
    lengths = list(k) if isinstance(k, (list, tuple, range, np.ndarray)) else [k]
    if not lengths:
        raise ValueError("k must be a length of lists or several, got none")
    return sorted({check_integer("k", one, 1) for one in lengths})


def _check_metrics(metrics: Any, model: Any, sampled: bool) -> list[str]:
    rates = bool(getattr(model, "_rates", False))
    if metrics is None:
        whole = (*OF_ALL_USERS, "novelty", "auc")
        wanted = [name for name in METRICS if not (sampled and name in whole) and (rates or name not in RATING_METRICS)]
    else:
        wanted = list(dict.fromkeys([metrics] if isinstance(metrics, str) else metrics))
    for name in wanted:
        if name not in METRICS:
            raise ValueError(f"metrics must be among {', '.join(METRICS)}, got {name!r}")
        if name in RATING_METRICS and not rates:
            raise ValueError(
                f"{name} measures predicted ratings, which {type(model).__name__} does not predict: use ExplicitALS or "
                "BiasedMF, or metrics of the ranking"
            )
        if sampled and name == "auc":
            raise ValueError("auc looks at the whole catalogue: leave it out, or leave out candidates")
    if not wanted:
        raise ValueError(f"metrics must name at least one of {', '.join(METRICS)}, got none")
    return wanted


def _subjects(
    model: Any, test: Any, user_items: Any, candidates: Any, exclude_seen: bool, relevant_from: float | None
) -> tuple[Subjects, NDArray[Any]]:
    """Return the users of the rows of the test, and what they are called."""
    users, items = model._factors()
    given, rows_of = test, test._users if isinstance(test, Interactions) else None
    if user_items is None:
        if isinstance(test, Interactions) and model._ids_of("user") is not None:
            model._numbers("test users", test.user_ids, "user")
            model._matrix("test", test, "item")  # refuses items that the model does not know
            rows_of = model._ids_of("user")
            test = test.reindex(users=rows_of, items=model._ids_of("item")).matrix
        held = model._known_columns("test", test, items, "item", len(users))
        if held.shape[0] != len(users):
            raise ValueError(
                f"test must have one row for each of the {len(users)} users of the fit, got {held.shape[0]}: give the "
                "split matrix the shape of the fit, or, for new users, pass user_items, what they are known by"
            )
        queries = users
        seen = model._seen(np.arange(len(users)), None) if exclude_seen else None
        names = model._raw(np.arange(len(users)), "user")
    else:
        if isinstance(user_items, Interactions) and isinstance(test, Interactions):
            model._refuse_absent("user_items", user_items, "user", test.user_ids)
            rows_of = user_items._users
            test = test.reindex(users=rows_of)
        known = model._known_columns("user_items", user_items, items, "item", -1)
        names = user_items.user_ids if isinstance(user_items, Interactions) else np.arange(known.shape[0])
        held = model._known_columns("test", test, items, "item", -1)
        if held.shape[0] != known.shape[0]:
            raise ValueError(
                f"test and user_items must have one row for each new user, got {held.shape[0]} and {known.shape[0]}"
            )
        queries = model.fold_in_users(known.to_scipy())
        seen = known if exclude_seen else None
    if seen is not None:
        _refuse_leaks(seen, held)
    relevant = held.data > 0 if relevant_from is None else held.data >= relevant_from
    chosen = CSR(np.concatenate([[0], np.cumsum(relevant)])[held.indptr], held.indices[relevant],
                 held.data[relevant], held.shape)  # fmt: skip
    rates = bool(getattr(model, "_rates", False))
    if candidates is not None:
        candidates = _check_candidates(candidates, given.shape)
        if isinstance(given, Interactions):
            candidates = _moved(candidates, given, rows_of, model._ids_of("item"))
    return Subjects(queries, items, seen, held if rates else chosen, chosen, candidates), names


def _refuse_leaks(seen: CSR, test: CSR) -> None:
    keys = [np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)) * rows.shape[1] + rows.indices
            for rows in (seen, test)]  # fmt: skip
    shared = np.isin(keys[1], keys[0], assume_unique=True)
    if shared.any():
        first = int(keys[1][np.argmax(shared)])
        raise ValueError(
            f"no test pair may be among those the model has seen, got {int(shared.sum())} of {len(shared)}, such as "
            f"row {first // test.shape[1]}, column {first % test.shape[1]}: the split leaks; fit on its train part, or "
            "pass exclude_seen=False"
        )


def _check_candidates(candidates: Any, shape: tuple[int, int]) -> CSR:
    if not is_sparse(candidates) or candidates.shape != shape:
        raise ValueError(f"candidates must be a sparse matrix of the shape of test, {shape}, as sample_negatives makes")
    matrix = candidates.tocsr().astype(bool)  # a copy
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return CSR.of(matrix.indptr, matrix.indices, matrix.data, shape)


def _moved(candidates: CSR, test: Interactions, users: Any, items: Any) -> CSR:
    """Return candidates, which have the rows and columns of the test, with these users and items in this order."""
    if test._users == users and test._items == items:
        return candidates
    rows, columns = candidates.positions()
    rows, columns = users.find(test.user_ids)[rows], items.find(test.item_ids)[columns]
    kept = (rows >= 0) & (columns >= 0)
    order = np.lexsort((columns[kept], rows[kept]))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=len(users)))])
    return CSR.of(indptr, columns[kept][order], candidates.data[kept][order], (len(users), len(items)))


def _measure_lists(
    model: Any, subjects: Subjects, lengths: list[int], names: list[str], place: NDArray[np.int64],
    sums: dict[str, Sums], means: dict[str, float],
) -> None:  # fmt: skip
    n_tested, n_items = int((place >= 0).sum()), len(subjects.items)
    wanted = [name for name in names if name in AT_K]
    values = {(name, k): np.zeros(n_tested) for name in wanted if name not in OF_ALL_USERS for k in lengths}
    counted = np.zeros(n_tested)
    shown = {k: np.zeros(n_items, np.int64) for k in lengths} if set(wanted) & set(OF_ALL_USERS) else {}
    surprise = _surprise(model, n_items) if "novelty" in wanted else None
    for rows in subjects.blocks():
        ids = _lists(model, subjects, rows, lengths[-1])
        hits, n_relevant = _hits(ids, subjects.relevant.take(rows))
        at = place[rows]
        counted[at] = 1
        for k in lengths:
            for name, of_users in list_metrics(hits[:, :k], n_relevant).items():
                if (name, k) in values:
                    values[name, k][at] = of_users
            part = ids[:, :k]
            if surprise is not None:
                found = part >= 0
                total = np.where(found, surprise[np.where(found, part, 0)], 0).sum(axis=1)
                values["novelty", k][at] = total / np.maximum(found.sum(axis=1), 1)
            if k in shown:
                shown[k] += np.bincount(part[part >= 0], minlength=n_items)
    for (name, k), of_users in values.items():
        sums[f"{name}@{k}"] = Sums(of_users, counted)
    for k, counts in shown.items():
        total = counts.sum()
        ranks = 2 * np.arange(1, n_items + 1) - n_items - 1
        means[f"coverage@{k}"] = float((counts > 0).mean())
        means[f"gini@{k}"] = float(ranks @ np.sort(counts) / (n_items * total)) if total else np.nan


def _surprise(model: Any, n_items: int) -> NDArray[np.float64]:
    """Return ``-log2`` of the share of users who have interacted with each item."""
    known = getattr(model, "interactions_", None)
    if known is None or known.shape[1] != n_items:
        raise ValueError(
            "novelty counts the interactions of the fit, which this model does not hold (it was saved without them, or "
            "its factors were set by hand): leave novelty out of metrics"
        )
    counts = np.bincount(known.indices, minlength=n_items)
    return np.asarray(-np.log2(np.maximum(counts, 1) / max(known.shape[0], 1)))


def _lists(model: Any, subjects: Subjects, rows: NDArray[np.int64], k: int) -> NDArray[np.int32]:
    seen = None if subjects.seen is None else subjects.seen.take(rows)
    exclude = None if seen is None else (seen.indptr, seen.indices)
    allowed = None
    if subjects.candidates is not None:
        part = subjects.candidates.take(rows)
        allowed = part.indptr, part.indices
    ids, _ = model._rank(subjects.queries[rows], subjects.items, k, exclude, allowed)
    return np.asarray(ids)


def _hits(ids: NDArray[np.int32], relevant: CSR) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    rows = np.arange(len(ids))
    n_relevant = np.diff(relevant.indptr)
    wanted = np.repeat(rows, n_relevant) * relevant.shape[1] + relevant.indices  # ascending
    keys = rows[:, None] * relevant.shape[1] + ids
    at = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    return (ids >= 0) & (wanted[at] == keys), n_relevant


def _auc(model: Any, subjects: Subjects, place: NDArray[np.int64]) -> Sums:
    n_tested, n_items = int((place >= 0).sum()), len(subjects.items)
    values, counted = np.zeros(n_tested), np.zeros(n_tested)
    threads = resolve_num_threads(model.num_threads)
    queries, items = model._ranked(subjects.queries), model._ranked(subjects.items)
    for rows in subjects.blocks():
        relevant = subjects.relevant.take(rows)
        seen = None if subjects.seen is None else subjects.seen.take(rows)
        above, equal = np.empty(len(relevant.indices), np.int64), np.empty(len(relevant.indices), np.int64)
        model._backend().count_above(
            np.ascontiguousarray(queries[rows]), items, None if seen is None else (seen.indptr, seen.indices),
            relevant.indptr, relevant.indices, above, equal, threads,
        )  # fmt: skip
        positives = np.diff(relevant.indptr)
        negatives = n_items - positives - (0 if seen is None else np.diff(seen.indptr))
        # Of two positives one is above the other, or they tie: all pairs of them together count as many.
        beaten = np.add.reduceat(above + equal / 2, relevant.indptr[:-1]) - positives * (positives - 1) / 2
        some = negatives > 0
        values[place[rows[some]]] = 1 - beaten[some] / (positives[some] * negatives[some])
        counted[place[rows[some]]] = 1
    return Sums(values, counted)


def _errors(model: Any, subjects: Subjects, place: NDArray[np.int64]) -> dict[str, Sums]:
    """Return the errors of the predicted ratings."""
    users, columns = subjects.test.positions()
    predicted = model._score(subjects.queries, subjects.items, users, columns.astype(np.int64))
    errors = predicted.astype(np.float64) - subjects.test.data
    n_tested = int((place >= 0).sum())
    owner = place[users]
    squares, absolute = (
        np.bincount(owner, one, minlength=n_tested).astype(np.float64) for one in (errors**2, np.abs(errors))
    )
    counts = np.bincount(owner, minlength=n_tested).astype(np.float64)
    return {"rmse": Sums(squares, counts, root=True), "mae": Sums(absolute, counts)}
