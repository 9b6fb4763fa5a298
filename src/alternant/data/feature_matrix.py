"""Features of users and items as matrices: those of a fit, and those of new rows in the columns of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from .._utils.warn import warn_caller
from .csr import CSR
from .feature_columns import FeatureColumns
from .features import Features
from .ids import Ids
from .validation import check_real, check_structure, is_sparse

Known = NDArray[np.bool_]
# Of a feature: squares, and their sums over rows, remain numbers.
LARGEST = {np.dtype(np.float32): 1e12, np.dtype(np.float64): 1e100}


def check_features(
    name: str, given: Any, count: int, ids: Ids | None, kind: str, dtype: np.dtype[Any]
) -> tuple[CSR, Known, FeatureColumns | None]:
    """Return the features of all users or items of a fit, whose features are known, and what the columns mean."""
    if not isinstance(given, Features):
        matrix = _matrix(name, given, dtype)
        if matrix.shape[0] != count:
            _refuse_flat(name, given, kind, count)
            raise ValueError(
                f"{name} must have one row for each of the {count} {kind}s of the fit, got {matrix.shape[0]}: pass "
                f"alternant.Features, which are matched by id, or the rows in the order of the {kind}s"
            )
        return matrix, np.ones(count, bool), None
    rows = _rows_of(name, given, ids, kind)
    if not (rows >= 0).any():
        raise ValueError(
            f"{name} must have ids of the {kind}s of the fit, got ids such as {given.ids[:1].tolist()[0]!r} and {kind}s"
            f" such as {ids.values[:1].tolist()[0] if ids is not None else 0!r}: pass the same ids in both"
        )
    _tell_missing(name, ids, rows, kind)
    columns = given._scaling(rows[rows >= 0])
    matrix = given._scaled(columns, dtype, new=False)
    return _taken(matrix, rows), rows >= 0, columns


def encode(
    name: str, given: Any, columns: FeatureColumns | None, width: int, count: int | None, wanted: Any, kind: str,
    dtype: np.dtype[Any],
) -> tuple[CSR, Known]:  # fmt: skip
    """Return features of new rows in the columns of the fit, and whose features are known."""
    if columns is None:
        if isinstance(given, Features):
            raise TypeError(f"{name} must be a matrix, as in the fit, got Features: pass {name}.matrix")
        matrix = _matrix(name, given, dtype)
        if matrix.shape[1] != width == 1:
            _refuse_flat(name, given, kind, matrix.shape[1])
    else:
        if not isinstance(given, Features):
            raise TypeError(
                f"{name} must be alternant.Features, as in the fit, got {type(given).__name__}: pass "
                "Features.from_frame(...) or Features.from_arrays(...)"
            )
        matrix = given._scaled(columns, dtype, new=True)
        if wanted is not None:
            ids = wanted if isinstance(wanted, Ids) else Ids(np.asarray(wanted))
            rows = _rows_of(name, given, ids, kind)
            _tell_missing(name, ids, rows, kind)
            return _taken(matrix, rows), rows >= 0
    if matrix.shape[1] != width:
        raise ValueError(
            f"{name} must have the {width} columns of the fit, got {matrix.shape[1]}: pass the same features"
        )
    if count is not None and matrix.shape[0] != count:
        raise ValueError(f"{name} must have one row for each of the {count} {kind}s, got {matrix.shape[0]} rows")
    return matrix, np.ones(matrix.shape[0], bool)


def _refuse_flat(name: str, given: Any, kind: str, count: int) -> None:
    """Raise for a list of this many numbers, which is one row, if it was meant as one column."""
    if not is_sparse(given) and np.shape(given) == (count,):
        raise ValueError(
            f"{name} must have 2 dimensions (rows and features), got a list of {count} numbers: pass "
            f"numpy.reshape({name}, (-1, 1)) if they are one feature of {count} {kind}s"
        )


def _rows_of(name: str, features: Features, ids: Ids | None, kind: str) -> NDArray[np.int64]:
    """Return the row of each user or item in a table of features, -1 where it is missing."""
    if ids is None:
        raise TypeError(
            f"{name} must be a matrix, as the {kind}s are row numbers, got Features: pass {name}.matrix, or fit the "
            "model on Interactions, which have ids"
        )
    return np.asarray(features._ids.find(ids.values), np.int64)


def _tell_missing(name: str, ids: Ids | None, rows: NDArray[np.int64], kind: str) -> None:
    """Warn of users or items that a table of features does not have."""
    missing = np.flatnonzero(rows < 0)
    if len(missing) and ids is not None:
        warn_caller(
            f"{name} have no row for {len(missing):,} of {len(rows):,} {kind}s, such as "
            f"{ids.values[missing[:1]].tolist()[0]!r}: they count as average"
        )


def _taken(matrix: CSR, rows: NDArray[np.int64]) -> CSR:
    """Return rows of a matrix; empty ones for -1."""
    empty = CSR(np.zeros(len(rows) + 1, np.int64), np.empty(0, matrix.indices.dtype), np.empty(0, matrix.data.dtype),
                (len(rows), matrix.shape[1]))  # fmt: skip
    there = np.flatnonzero(rows >= 0)
    return empty.replace(there, matrix.take(rows[there])) if len(there) else empty


def _matrix(name: str, given: Any, dtype: np.dtype[Any]) -> CSR:
    """Return a sparse or dense matrix of finite numbers as canonical rows, which share no memory with it."""
    if hasattr(given, "columns"):
        raise TypeError(
            f"{name} must be a matrix or alternant.Features, got {type(given).__name__}: pass "
            f"alternant.Features.from_frame({name}, id=...), with the column of ids"
        )
    if is_sparse(given):
        if given.ndim != 2:
            raise ValueError(f"{name} must have 2 dimensions (rows and features), got {given.ndim}")
        check_real(name, given.dtype)
        check_structure(name, given)
        csr = given if given.format == "csr" else scipy.sparse.csr_array(given)
    else:
        try:
            array = np.asarray(given)
        except ValueError:
            raise ValueError(f"{name} must have rows of equal length, got lists of different lengths") from None
        if array.dtype.kind not in "buif":
            raise TypeError(
                f"{name} must be a matrix of numbers or alternant.Features, got {type(given).__name__} of dtype "
                f"{array.dtype}: encode categories with Features.from_frame or Features.from_arrays"
            )
        if array.ndim == 1:
            array = array[None]  # one row
        if array.ndim != 2:
            raise ValueError(f"{name} must have 2 dimensions (rows and features), got {array.ndim}")
        csr = scipy.sparse.csr_array(array.astype(np.promote_types(array.dtype, np.float32)))
    if not (csr.has_canonical_format and csr.data.all()):
        csr = csr.astype(np.promote_types(csr.dtype, dtype))  # a copy
        csr.sum_duplicates()
        csr.eliminate_zeros()
    with np.errstate(over="ignore"):  # reported below
        data = csr.data.astype(dtype)
    if not np.isfinite(data).all():
        raise ValueError(
            f"{name} must be finite in {dtype}, got {(~np.isfinite(data)).sum()} values that are not: replace them"
        )
    most, largest = LARGEST[np.dtype(dtype)], float(np.abs(data).max(initial=0))
    if largest > most:
        raise ValueError(
            f"{name} must be at most {most:g} in absolute value in {dtype}, got {largest:g}: scale the columns alike"
        )
    if csr.shape[1] == 0:
        raise ValueError(f"{name} must have at least one column, got shape {csr.shape}")
    return CSR.of(csr.indptr.copy(), csr.indices.copy(), data, csr.shape)
