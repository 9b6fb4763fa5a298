"""Priors learned from features, in model files; see `models._storage`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.validation import all_finite
from ...data.csr import CSR
from ...data.feature_columns import FeatureColumns
from .fitted_prior import FittedPrior

PARTS = ("weights", "mean", "known", "indptr", "indices", "values")


def names_of(kind: str) -> set[str]:
    """Return the names of the tensors of one side's prior."""
    return {f"{kind}_features_{part}" for part in PARTS}


def pack_priors(model: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the tensors of a model's priors, and what the header says of each."""
    tensors: dict[str, NDArray[Any]] = {}
    header = {}
    for kind in ("user", "item"):
        prior: FittedPrior | None = model._prior(kind) if hasattr(model, "_prior") else None
        if prior is None:
            continue
        F = prior.features
        known = prior.known.astype(np.uint8)
        parts: tuple[NDArray[Any], ...] = (prior.weights, prior.mean, known, F.indptr, F.indices, F.data)
        tensors |= {f"{kind}_features_{part}": array for part, array in zip(PARTS, parts, strict=True)}
        header[kind] = [prior.strength, None if prior.columns is None else prior.columns.plain()]
        if prior.products is not None:
            header[kind].append(prior.products.tolist())
    return tensors, header


def unpack_prior(
    kind: str, tensors: dict[str, NDArray[Any]], metadata: dict[str, str], factors: NDArray[Any]
) -> FittedPrior:
    """Undo `pack_priors` for one side, refusing what does not fit the factors."""
    weights, mean, known, indptr, indices, values = (tensors[f"{kind}_features_{part}"] for part in PARTS)
    strength, plain, *more = json.loads(metadata["features"])[kind]
    products = np.array(more[0], np.int32) if more else None
    width = len(weights) - 1 - (0 if products is None else len(products))
    columns = None if plain is None else FeatureColumns.of_plain(plain)
    features = CSR(indptr, indices, values, (len(factors), width))
    unknowns = weights.shape[1] if weights.ndim == 2 else 0
    valid = (
        weights.dtype == mean.dtype == np.float64
        and mean.shape == (unknowns,)
        and factors.shape[1] - 1 <= unknowns <= factors.shape[1]
        and all_finite(weights)
        and all_finite(mean)
        and known.dtype == np.uint8
        and known.shape == (len(factors),)
        and values.dtype == factors.dtype
        and float(strength) > 0
        and (columns is None or len(columns.names) == width)
        and (products is None or (products.shape[1:] == (2,) and products.min() >= 0 and products.max() < width))
    )
    if not valid:
        raise ValueError("features that do not fit the factors")
    return FittedPrior(weights, mean, features, known.astype(bool), float(strength), columns, products)
