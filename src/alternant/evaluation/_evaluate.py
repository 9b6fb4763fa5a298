"""`evaluate`: metrics of a fitted model on test interactions, computed in blocks of users."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._utils.guard import snapshot_of
from .._utils.messages import parameter, refusal
from .._utils.validation import check_boolean, check_integer, check_number
from ..data.csr import CSR
from ..models import internals
from ._breakdown import Breakdown
from ._report import Evaluation, Sums
from ._users import EvaluationUsers, evaluation_users, predicts_ratings
from .metrics import LIST_METRICS, list_metrics

if TYPE_CHECKING:
    from .._typing import Featured, Many, Rated, Sparse
    from ..models import FactorModel

log = logging.getLogger("alternant.evaluation")
CATALOGUE_METRICS = ("coverage", "gini")
AT_K = (*LIST_METRICS, "novelty", *CATALOGUE_METRICS)
RATING_METRICS = ("rmse", "mae")
METRICS = (*AT_K, "auc", *RATING_METRICS)


def evaluate(
    model: FactorModel,
    test: Rated,
    *,
    k: int | Sequence[int] | NDArray[np.integer[Any]] = (10, 20, 100),
    metrics: str | Sequence[str] | None = None,
    user_items: Rated | None = None,
    user_features: Featured | None = None,
    candidates: Sparse | Many | None = None,
    exclude_seen: bool = True,
    relevant_from: float | None = None,
) -> Evaluation:
    r"""Compute ranking and rating metrics of a fitted model on held-out interactions.

    Parameters
    ----------
    model : fitted model
    test : as for the model's `fit`, shape (n_users, n_items)
        Held-out interactions, as a split returns them. Its rows are those of the fit, or of `user_items` or
        `user_features` if given.
    k : int or sequence of int
        List lengths.
    metrics : sequence of str, optional
        Any of ``hit_rate``, ``precision``, ``recall``, ``truncated_recall``, ``ndcg``, ``map``, ``mrr``,
        ``novelty``, ``coverage``, ``gini`` (all at each k), ``auc``, ``rmse`` and ``mae``. By default all that apply:
        rmse and mae need a rating model; coverage, gini, novelty and auc are left out if `candidates` are given.
    user_items : as `test`, optional
        Interactions from which to fold in users unseen at training, one row for each row of `test`.
    user_features : as for the model's `fit`, optional
        Features of users unseen at training, one row for each row of `test`, beside `user_items` or in place of them;
        `Features` are matched by id. Users with interactions in the fit are refused, as far as ids tell: their lists
        would be those of users whom the model knows.
    candidates : sparse matrix of the shape of `test`, or list of item ids, optional
        The only items ranked. Of a matrix, those are the non-zero entries of each user, as drawn by `sample_negatives`;
        rows and columns are in the order of `test`. Sampled metrics are too high and may order models wrongly
        (Krichene and Rendle 2020). A list of ids is the same for all users, such as the items of `hold_out_items`, and
        must be longer than the shortest list.
    exclude_seen : bool
        Exclude each user's interactions of the fit (or of `user_items`) from the lists and from the negatives of the
        AUC. A test pair among them is then an error, since the split leaks; so is one of the fit, as far as ids tell.
    relevant_from : float, optional
        Test interactions with at least this value are relevant to the ranking. By default those above 0.

    Returns
    -------
    Evaluation

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError, ValueError
        If an argument is invalid, or the model was trained on a test pair.

    Notes
    -----
    `ranking_metrics` gives the formulas of the metrics at k. Let T be a user's test items and N the items that are
    neither in T nor excluded; :math:`n_i` the number of training users who interacted with item i and m the number of
    training users; :math:`e_i` the number of lists that contain item i, sorted as
    :math:`e_{(1)} \le e_{(2)} \le \dots`; and n the number of items. Then, over lists of k items (fewer if the
    catalogue has fewer),

    .. math::

        \text{AUC} &= \frac{1}{|T| |N|} \sum_{i \in T, j \in N} [s_i > s_j] + \tfrac12 [s_i = s_j] \qquad
        \text{novelty} = \frac{1}{|\text{list}|} \sum_{i \in \text{list}} -\log_2 \frac{\max(n_i, 1)}{m} \\
        \text{coverage} &= \frac{|\{i : e_i > 0\}|}{n} \qquad
        \text{Gini} = \frac{\sum_i (2 i - n - 1) e_{(i)}}{n \sum_i e_i}

    The score matrix is never stored: the `top_k` kernel ranks 4096 users at a time, and the AUC counts the items above
    each test item. Both are multi-threaded and bit-identical for any number of threads. Test interactions in a store
    and memory-mapped factors and interactions of the model are read in the same blocks; the results take memory for
    each user with test items.

    References
    ----------
    W. Krichene, S. Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020. S. Vargas, P. Castells, "Rank and
    Relevance in Novelty and Diversity Metrics for Recommender Systems", RecSys 2011.
    """
    _check_model(model)
    lengths = _check_lengths(k)
    names = _check_metrics(metrics, model, candidates is not None)
    check_boolean("exclude_seen", exclude_seen)
    if relevant_from is not None and relevant_from != -np.inf:
        check_number("relevant_from", relevant_from, -np.inf)
    model, test, user_items = (snapshot_of(one) for one in (model, test, user_items))
    users, user_ids = evaluation_users(
        model, test, user_items, user_features, candidates, exclude_seen, relevant_from, lengths[0]
    )
    tested = users.held.users
    sums: dict[str, Sums] = {}
    means: dict[str, float] = {}
    found: dict[int, NDArray[np.int64]] = {}
    if any(name in AT_K for name in names):
        _measure_lists(model, users, lengths, names, sums, means, found)
    if "auc" in names:
        sums["auc"] = _auc(model, users)
    if any(name in RATING_METRICS for name in names):
        sums |= {name: total for name, total in _rating_errors(model, users).items() if name in names}
    means |= {name: total.mean() for name, total in sums.items()}
    order = [f"{name}@{length}" for name in names if name in AT_K for length in lengths]
    order += [name for name in names if name not in AT_K]
    result = Evaluation(
        means={name: means[name] for name in order},
        per_user={name: sums[name].value(sums[name].sums, sums[name].weights) for name in order if name in sums},
        users=user_ids,
        n_users_evaluated=len(tested),
        n_users_without_test=len(users.queries) - len(tested),
        n_test_pairs=users.held.n_pairs,
        _sums={name: sums[name] for name in order if name in sums},
        _breakdown=Breakdown.of(model, users.seen, tested, users.held.by_item, found),
    )
    internals.remember_quality(model, result.means, len(tested))
    log.info("%s: %r", type(model).__name__, result)
    return result


def _check_model(model: Any) -> None:
    if isinstance(model, type) or not hasattr(model, "_factors"):
        kind = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(f"model must be a fitted alternant model, got {kind}: pass the model itself")


def _check_lengths(k: Any) -> list[int]:
    lengths = list(k) if isinstance(k, (list, tuple, range, np.ndarray)) else [k]
    if not lengths:
        raise refusal(ValueError, f"{parameter('k')} must hold at least one list length, got none")
    return sorted({check_integer("k", length, 1) for length in lengths})


def _check_metrics(metrics: Any, model: Any, sampled: bool) -> list[str]:
    rates = predicts_ratings(model)
    if metrics is None:
        whole = (*CATALOGUE_METRICS, "novelty", "auc")
        wanted = [
            name for name in METRICS
            if not (sampled and name in whole) and (rates or name not in RATING_METRICS)
        ]  # fmt: skip
    else:
        wanted = list(dict.fromkeys([metrics] if isinstance(metrics, str) else metrics))
    for name in wanted:
        if name not in METRICS:
            raise refusal(ValueError, f"{parameter('metrics')} must be among {', '.join(METRICS)}, got {name!r}")
        if name in RATING_METRICS and not rates:
            raise ValueError(
                f"{name} measures predicted ratings, which {type(model).__name__} does not predict: use ExplicitALS or "
                "BiasedMF, or a ranking metric"
            )
        if sampled and name == "auc":
            raise ValueError("auc ranks the whole catalogue: leave it out of metrics, or pass no candidates")
    if not wanted:
        raise refusal(ValueError, f"{parameter('metrics')} must name at least one of {', '.join(METRICS)}, got none")
    return wanted


def _measure_lists(
    model: Any, users: EvaluationUsers, lengths: list[int], names: list[str], sums: dict[str, Sums],
    means: dict[str, float], hits_by_item: dict[int, NDArray[np.int64]],
) -> None:  # fmt: skip
    held, n_tested, n_items = users.held, len(users.held.users), len(users.items)
    wanted = [name for name in names if name in AT_K]
    values = {(name, k): np.zeros(n_tested) for name in wanted if name not in CATALOGUE_METRICS for k in lengths}
    counted = np.zeros(n_tested)
    hits_by_item |= {k: np.zeros(n_items, np.int64) for k in lengths}
    exposure = {k: np.zeros(n_items, np.int64) for k in lengths} if set(wanted) & set(CATALOGUE_METRICS) else {}
    information = _self_information(model, n_items) if "novelty" in wanted else None
    for rows in held.blocks(held.ranked):
        ids = _top_k_lists(model, users, rows, lengths[-1])
        hits, n_relevant = _hits(ids, held.relevant(rows))
        at = np.searchsorted(held.users, rows)
        counted[at] = 1
        for k in lengths:
            for name, per_user in list_metrics(hits[:, :k], n_relevant).items():
                if (name, k) in values:
                    values[name, k][at] = per_user
            part = ids[:, :k]
            hits_by_item[k] += np.bincount(part[hits[:, :k]], minlength=n_items)
            if information is not None:
                found = part >= 0
                total = np.where(found, information[np.where(found, part, 0)], 0).sum(axis=1)
                values["novelty", k][at] = total / np.maximum(found.sum(axis=1), 1)
            if k in exposure:
                exposure[k] += np.bincount(part[part >= 0], minlength=n_items)
    for (name, k), per_user in values.items():
        sums[f"{name}@{k}"] = Sums(per_user, counted)
    for k, counts in exposure.items():
        total = counts.sum()
        ranks = 2 * np.arange(1, n_items + 1) - n_items - 1
        means[f"coverage@{k}"] = float((counts > 0).mean())
        means[f"gini@{k}"] = float(ranks @ np.sort(counts) / (n_items * total)) if total else np.nan


def _self_information(model: Any, n_items: int) -> NDArray[np.float64]:
    """Return each item's self-information: ``-log2`` of the share of users who interacted with it."""
    known = getattr(model, "interactions_", None)
    if known is None or known.shape[1] != n_items:
        raise ValueError(
            "novelty needs the interactions of the fit, which this model does not hold (it was saved without them, or "
            "its factors were set by hand): leave novelty out of metrics"
        )
    counts = known.column_counts()
    return np.asarray(-np.log2(np.maximum(counts, 1) / max(known.shape[0], 1)))


def _top_k_lists(model: Any, users: EvaluationUsers, rows: NDArray[np.int64], k: int) -> NDArray[np.int32]:
    seen = users.seen_by(rows)
    exclude = None if seen is None else (seen.indptr, seen.indices)
    allowed: Any = users.candidates
    if isinstance(users.candidates, CSR):
        part = users.candidates.take(rows)
        allowed = part.indptr, part.indices
    ids, _ = internals.rank(model, users.factors(rows), users.items, k, exclude, allowed)
    return np.asarray(ids)


def _hits(ids: NDArray[np.int32], relevant: CSR) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    rows = np.arange(len(ids))
    n_relevant = np.diff(relevant.indptr)
    wanted = np.repeat(rows, n_relevant) * relevant.shape[1] + relevant.indices  # ascending
    keys = rows[:, None] * relevant.shape[1] + ids
    at = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    return (ids >= 0) & (wanted[at] == keys), n_relevant


def _auc(model: Any, users: EvaluationUsers) -> Sums:
    held, n_items = users.held, len(users.items)
    values, counted = np.zeros((2, len(held.users)))
    items = internals.vectors_to_count(model, users.items)
    for rows in held.blocks(held.ranked):
        relevant = held.relevant(rows)
        seen, vectors = users.seen_by(rows), internals.vectors_to_count(model, users.factors(rows))
        above, equal = internals.count_above(model, vectors, items, seen, relevant)
        positives = np.diff(relevant.indptr)
        negatives = n_items - positives - (0 if seen is None else np.diff(seen.indptr))
        # Every pair of positives contributes 1 to the sum (one is above the other, or each counts half): subtract.
        beaten = np.add.reduceat(above + equal / 2, relevant.indptr[:-1]) - positives * (positives - 1) / 2
        defined = negatives > 0
        at = np.searchsorted(held.users, rows[defined])
        values[at] = 1 - beaten[defined] / (positives[defined] * negatives[defined])
        counted[at] = 1
    return Sums(values, counted)


def _rating_errors(model: Any, users: EvaluationUsers) -> dict[str, Sums]:
    """Return the sums of squared and absolute errors of the predicted ratings."""
    held = users.held
    squares, absolute, counts = np.zeros((3, len(held.users)))
    for rows in held.blocks(held.users):
        first = int(np.searchsorted(held.users, rows[0]))
        test, part = held.take(rows), slice(first, first + len(rows))
        owner, columns = test.positions()
        predicted = internals.predicted(model, users.factors(rows), users.items, owner, columns.astype(np.int64))
        errors = predicted.astype(np.float64) - test.data
        squares[part] = np.bincount(owner, errors**2, minlength=len(rows))
        absolute[part] = np.bincount(owner, np.abs(errors), minlength=len(rows))
        counts[part] = np.diff(test.indptr)
    return {"rmse": Sums(squares, counts, root=True), "mae": Sums(absolute, counts)}
