"""Models made from factors that were learned elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.messages import refusal
from .._utils.validation import all_finite, check_number
from ..data.ids import Ids, distinct_ids
from ..data.interactions import Interactions
from ._bias_columns import bias_column, constant_column

EMPTY = Ids(np.empty(0, np.int64))  # ids are read as whole numbers if all are


def from_factors(
    cls: Any, users: Any, items: Any, biases: tuple[Any, Any], mean: Any, ids: tuple[Any, Any], interactions: Any,
    params: dict[str, Any],
) -> Any:  # fmt: skip
    """Make a model of class `cls`; see `FoldInModel.from_factors`."""
    X, Y = _pair("factors", (users, items), 2)
    for name in ("factors", "dtype"):
        if name in params:
            raise ValueError(f"{name} is that of the arrays passed: leave out {name}={params[name]!r}")
    if X.shape[1] != Y.shape[1] or not X.shape[1]:
        raise ValueError(
            "user_factors and item_factors must have the same number of columns, at least one, got shapes "
            f"{X.shape} and {Y.shape}: pass one row for each user and for each item"
        )
    model = cls(**params, factors=X.shape[1], dtype=X.dtype.name)
    state: dict[str, Any] = {"user_factors": X, "item_factors": Y, "interactions_": None}
    mean = check_number("mean", mean, -np.inf)
    if model._has_biases():
        b, c = _pair("biases", biases, 1, X, Y)
        state |= {"user_factors": _packed(X, b, "user"), "item_factors": _packed(Y, c, "item")}
    elif any(bias is not None for bias in biases):
        raise _refused(model, "user_biases and item_biases", "biases")
    if "mean_" in model._fitted_state and model._has_biases():
        state["mean_"] = mean
    elif mean:
        raise _refused(model, "mean", "mean")
    if isinstance(interactions, Interactions):
        interactions = interactions._snapshot()
        model._check_values("interactions", interactions)
        ids = tuple(
            given if given is not None else own
            for given, own in zip(ids, (interactions._users, interactions._items), strict=True)
        )
        state["_library"] = interactions._library
    for kind, given, factors in (("user", ids[0], X), ("item", ids[1], Y)):
        state[f"_{kind}_ids"] = None if given is None else _checked_ids(kind, given, len(factors))
    if interactions is not None:
        state["interactions_"] = _histories(model, interactions, state)
    model._assign(**state)
    return model


def _pair(
    what: str, given: tuple[Any, Any], ndim: int, X: NDArray[Any] | None = None, Y: NDArray[Any] | None = None
) -> list[NDArray[Any]]:
    """Return copies of the arrays of both sides, checked, in their common dtype or in that of the factors."""
    arrays = [
        np.zeros(len(factors)) if array is None and factors is not None else np.asarray(array)
        for array, factors in zip(given, (X, Y), strict=True)
    ]
    for kind, array, factors in zip(("user", "item"), arrays, (X, Y), strict=True):
        name = f"{kind}_{what}"
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
        if array.ndim != ndim or (factors is not None and len(array) != len(factors)):
            shape = f"(n_{kind}s, factors)" if factors is None else f"({len(factors)},), one for each {kind}"
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    dtype = np.result_type(*arrays) if X is None else X.dtype
    dtype = np.dtype(np.float32 if dtype in (np.float16, np.float32) else np.float64)
    with np.errstate(over="ignore"):  # reported here
        arrays = [np.array(array, dtype, order="C") for array in arrays]
    for kind, array in zip(("user", "item"), arrays, strict=True):
        if not all_finite(array):
            raise ValueError(f"{kind}_{what} must be finite in {dtype}, got NaN or infinite values: replace them")
    return arrays


def _packed(latent: NDArray[Any], bias: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return the rows ``(x_u, b_u, 1)`` or ``(y_i, 1, b_i)``."""
    packed = np.empty((len(latent), latent.shape[1] + 2), latent.dtype)
    packed[:, :-2] = latent
    packed[:, bias_column(kind)] = bias
    packed[:, constant_column(kind)] = 1
    return packed


def _refused(model: Any, given: str, what: str) -> Exception:
    if hasattr(model, "biases"):
        return refusal(ValueError, f"{given}: the model has none with biases={model.biases!r}: pass biases=True")
    return ValueError(f"{type(model).__name__} has no {what}: leave out {given}, or use another model")


def _checked_ids(kind: str, given: Any, count: int) -> Ids:
    ids = distinct_ids(f"{kind}_ids", given, EMPTY)
    if len(ids) != count:
        raise ValueError(
            f"{kind}_ids must have one id for each of the {count} rows of {kind}_factors, got {len(ids)}"
        )
    return ids


def _histories(model: Any, interactions: Any, state: dict[str, Any]) -> Any:
    """Return the interactions in canonical form, their rows and columns those of the factors."""
    users, items = state["_user_ids"], state["_item_ids"]
    if isinstance(interactions, Interactions):
        interactions = interactions.reindex(users=users, items=items).matrix
    rows = model._check_rows("interactions", interactions, np.dtype(model.dtype), copy=True)
    shape = len(state["user_factors"]), len(state["item_factors"])
    if rows.shape != shape:
        raise ValueError(f"interactions must have one row per user and one column per item, {shape}, got {rows.shape}")
    return rows
