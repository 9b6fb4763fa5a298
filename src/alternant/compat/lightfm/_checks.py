"""Checks of arguments."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...data.validation import check_real, is_sparse


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Raise unless this is a whole number of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")


def check_params(params: dict[str, Any]) -> None:
    """Raise unless these parameters are in the ranges that LightFM asserts, and offered here."""
    if params["loss"] == "warp-kos":
        raise NotImplementedError("loss='warp-kos' is not offered here: use 'warp', or keep LightFM for it")
    if params["learning_schedule"] == "adadelta":
        raise NotImplementedError("learning_schedule='adadelta' is not offered here: use 'adagrad'")
    for name, choices in (("loss", ("logistic", "warp", "bpr")), ("learning_schedule", ("adagrad",))):
        if params[name] not in choices:
            raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {params[name]!r}")
    for name in ("no_components", "max_sampled"):
        check_count(name, params[name])
    for name in ("learning_rate", "item_alpha", "user_alpha", "epsilon", "k", "n", "rho"):
        value = params[name]
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            raise ValueError(f"{name} must be a number of at least 0, got {value!r}")


def random_state_of(seed: Any) -> np.random.RandomState:
    """Return a random state, or one with this seed."""
    if isinstance(seed, np.random.RandomState):
        return seed
    try:
        return np.random.RandomState(seed)
    except (TypeError, ValueError):
        raise ValueError(f"random_state must be a seed, a numpy.random.RandomState or None, got {seed!r}") from None


def checked_values(interactions: Any) -> tuple[Any, NDArray[np.float32]]:
    """Return the pairs as a COO matrix, and 1 for each like, 0 for each dislike."""
    if not is_sparse(interactions):
        raise ValueError(
            f"interactions must be a scipy.sparse matrix, got {type(interactions).__name__}: pass scipy.sparse."
            "coo_matrix(...) of it"
        )
    pairs = interactions.tocoo()
    check_real("interactions", pairs.dtype)
    if not np.isfinite(pairs.data).all():
        raise ValueError("interactions include NaN or infinite values: remove or replace them")
    return pairs, (pairs.data > 0).astype(np.float32)


def checked_weights(pairs: Any, sample_weight: Any) -> NDArray[np.float32]:
    """Return the weight of each pair."""
    if sample_weight is None:
        return np.ones(pairs.nnz, np.float32)
    if not is_sparse(sample_weight) or sample_weight.format != "coo":
        raise ValueError(
            f"sample_weight must be a COO matrix, got {type(sample_weight).__name__}: pass one with the rows and "
            "columns of interactions.tocoo()"
        )
    if sample_weight.shape != pairs.shape or not (
        np.array_equal(sample_weight.row, pairs.row) and np.array_equal(sample_weight.col, pairs.col)
    ):
        raise ValueError(
            "sample_weight must have the shape and the pairs of interactions, in the same order: pass a COO matrix "
            "with the rows and columns of interactions.tocoo()"
        )
    check_real("sample_weight", sample_weight.dtype)
    weight: NDArray[np.float32] = sample_weight.data.astype(np.float32)
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError("sample_weight must have finite weights of at least 0: remove or replace the others")
    return weight


def checked_ids(name: str, ids: Any, count: int) -> NDArray[np.int64]:
    """Return one id or a list of ids as an array, all of which must be known."""
    array = np.asarray(ids)
    if (array.size and array.dtype.kind not in "iu") or array.ndim > 1:
        raise ValueError(f"{name} must be a whole number or a list of them, got {ids!r:.60}")
    if array.size and not (array.min() >= 0 and array.max() < count):
        raise ValueError(
            f"{name} must be from 0 to {count - 1}, the rows of the fit, got {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)


def checked_matrix(name: str, matrix: Any, shape: tuple[int, int]) -> Any:
    """Return a copy of a sparse matrix in canonical CSR format."""
    if not is_sparse(matrix):
        raise ValueError(f"{name} must be a scipy.sparse matrix, got {type(matrix).__name__}")
    if matrix.shape != shape:
        raise ValueError(f"{name} must have the shape of the fit, {shape}, got {matrix.shape}")
    check_real(name, matrix.dtype)
    canonical = sparse.csr_matrix(matrix, copy=True)
    canonical.sum_duplicates()
    return canonical
