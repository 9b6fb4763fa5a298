"""Validated data of models for `alternant.plotting`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..data.validation import check_ids, is_sparse
from ..models import FactorModel, NotFittedError, internals


def factors_of(model: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the user and item factors of a fitted model."""
    if not isinstance(model, FactorModel):
        raise TypeError(f"model must be an alternant model, got {type(model).__name__}: pass the fitted model itself")
    users, items = getattr(model, "user_factors", None), getattr(model, "item_factors", None)
    if users is None or items is None:
        raise NotFittedError(f"this {type(model).__name__} is not fitted yet: call fit(interactions) first")
    return users, items


def labelled_models(models: Any, labels: Iterable[str] | None) -> dict[str, FactorModel]:
    """Return the models by their labels in the legend."""
    if isinstance(models, Mapping):
        if labels is not None:
            raise ValueError("labels must be None if models is a dict, whose keys are the labels: pass one of them")
        several, given = list(models.values()), [str(name) for name in models]
    else:
        several = list(models) if isinstance(models, Iterable) else [models]
        given = [] if labels is None else [str(label) for label in labels]
    for model in several:
        factors_of(model)
        if not getattr(model, "history_", None):
            raise ValueError(
                f"models must have a history_ to plot, got {type(model).__name__}, which is not fitted by iterations: "
                "leave it out"
            )
    if not several:
        raise ValueError("models must hold at least one model, got none: pass a fitted model")
    if labels is None and not isinstance(models, Mapping):
        given = _default_names(several)
    if len(given) != len(several) or len(set(given)) < len(given):
        raise ValueError(f"labels must be {len(several)} different names, one per model, got {given}")
    return dict(zip(given, several, strict=True))


def _default_names(models: list[Any]) -> list[str]:
    """Name models by their classes or, if these are not unique, by the parameters in which they differ."""
    classes = [type(model).__name__ for model in models]
    if len(set(classes)) == len(classes):
        return classes
    names = []
    for model in models:
        others = [other for other in models if type(other) is type(model) and other is not model]
        if not others:
            names.append(type(model).__name__)
            continue
        parameters = {
            name: value for name, value in model.get_params().items()
            if any(repr(other.get_params()[name]) != repr(value) for other in others)
        }  # fmt: skip
        shown = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
        names.append(f"{type(model).__name__}({shown})" if len(set(classes)) > 1 or not shown else shown)
    if len(set(names)) < len(names):
        names = [f"{name} {number}" for number, name in enumerate(classes, 1)]
    return names


def counts_of(model: FactorModel, kind: str) -> NDArray[np.int64]:
    """Return the number of interactions of each item (or user); zeros if the model does not hold them."""
    users, items = factors_of(model)
    known = getattr(model, "interactions_", None)
    if known is None or known.shape != (len(users), len(items)):
        return np.zeros(len(users if kind == "user" else items), np.int64)
    counts: NDArray[np.int64] = np.diff(known.indptr)
    return counts if kind == "user" else np.bincount(known.indices, minlength=len(items))


def most_popular(counts: NDArray[Any], k: int) -> NDArray[np.int64]:
    """Return the positions of the k largest counts; ties go to the lower position."""
    return np.argsort(-counts, kind="stable")[:k]


def chosen_rows(name: str, rows: Any, counts: NDArray[np.int64], kind: str, k: int) -> NDArray[np.int64]:
    """Return the given row numbers in order or, by default, those of the k largest counts."""
    if rows is None:
        return most_popular(counts, k)
    numbers = np.atleast_1d(check_ids(name, rows, len(counts), kind))
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"{name} must be a list of at least one {kind} row number, got shape {numbers.shape}")
    return numbers


def distinct_items(name: str, items: Any, count: int) -> NDArray[np.int64]:
    """Return the distinct item numbers in ascending order."""
    return np.unique(check_ids(name, items, count, "item"))


def table(
    model: FactorModel, truth: Any, users: Any, items: Any, most_shown: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the users and items to show, and their actual values, NaN where unknown."""
    user_factors, item_factors = factors_of(model)
    shape = (len(user_factors), len(item_factors))
    if truth is None:
        known = getattr(model, "interactions_", None)
        if known is None or known.shape != shape:
            raise ValueError(
                "truth is required, since the model does not hold the interactions of its users (it was saved without "
                "them, or its factors were set by hand): pass a matrix of users x items"
            )
        truth = replace(known, data=internals.truth(model, known)).to_scipy()
    elif not is_sparse(truth):
        truth = np.asarray(truth)
    if truth.dtype.kind not in "buif":
        raise TypeError(f"truth must be a table of numbers, got dtype {truth.dtype}: mark unknown values with NaN")
    if truth.shape != shape:
        transposed = truth.shape == shape[::-1]
        advice = "it looks transposed; pass truth.T" if transposed else "pass one row per user of the fit"
        raise ValueError(f"truth must have the model's shape of users x items, {shape}, got {truth.shape}: {advice}")
    if is_sparse(truth):
        stored = scipy.sparse.csr_array(truth)
        known = scipy.sparse.csr_array((np.ones(stored.nnz), stored.indices, stored.indptr), shape=shape)
    else:
        stored, known = truth, (~np.isnan(truth)).astype(np.float64)
    rows = chosen_rows("users", users, np.asarray(known.sum(axis=1)), "user", most_shown)
    rows = np.sort(rows) if users is None else rows
    columns = chosen_rows("items", items, np.asarray(known[rows].sum(axis=0)), "item", most_shown)
    columns = np.sort(columns) if items is None else columns
    return rows, columns, _block(stored, rows, columns)


def _block(truth: Any, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a dense block of a dense or sparse matrix, NaN where a sparse one stores nothing."""
    if not is_sparse(truth):
        return np.asarray(truth[np.ix_(rows, columns)], np.float64)
    entries = truth[rows][:, columns].tocoo()
    block = np.full(entries.shape, np.nan)
    block[entries.row, entries.col] = entries.data
    return block
