"""Checks of ids, row numbers and matrices passed by users; `alternant._utils.validation` checks other arguments."""

from __future__ import annotations

from collections.abc import Iterator, Set, ValuesView
from typing import Any, TypeGuard

import numpy as np
import scipy
from numpy.typing import NDArray

from .csr import CSR

MOST_ROLES = 4  # columns of users, items, values and times; a frame with more is a table of users x items


def refuse_iterator(name: str, ids: Any, what: str = "an id or a list of ids") -> None:
    """Raise for an iterator, which can be read only once, and for a set, as results follow the order of the ids."""
    if isinstance(ids, Iterator):
        raise TypeError(f"{name} must be an id or a list of ids, got {type(ids).__name__}: pass list({name})")
    if isinstance(ids, Set):
        raise TypeError(
            f"{name} must be {what}, got a {type(ids).__name__}, which has no order for the results: pass "
            f"sorted({name})"
        )


def unordered(ids: Any) -> Any:
    """Return ids whose order does not matter: a set or a view of a dict as a list, anything else unchanged."""
    return list(ids) if isinstance(ids, (Set, ValuesView)) else ids


def row_numbers(name: str, ids: Any, kind: str) -> NDArray[Any]:
    """Convert row numbers to an array of integers."""
    refuse_iterator(name, ids, f"whole numbers ({kind} row numbers)")
    refuse_boolean_rows(name, ids, f"whole numbers ({kind} row numbers)")
    try:
        array = np.asarray(ids)
    except ValueError:
        raise TypeError(f"{name} must be whole numbers ({kind} row numbers), got lists of different lengths") from None
    if array.size == 0 and array.dtype == np.float64:  # an empty list
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be whole numbers ({kind} row numbers), got {_dtype_or_type(ids, array)}")
    return array


def refuse_boolean_rows(name: str, ids: Any, what: str = "whole numbers (row numbers)") -> None:
    """Raise for a list that contains a boolean, which NumPy would convert to row number 0 or 1."""
    if isinstance(ids, (list, tuple)):
        for one in ids:
            if isinstance(one, (list, tuple)):
                refuse_boolean_rows(name, one, what)
            elif isinstance(one, (bool, np.bool_)):
                raise TypeError(f"{name} must be {what}, got a boolean ({one}) among them: pass row numbers")


def check_ids(name: str, ids: Any, count: int, kind: str, new: int = 0) -> NDArray[np.int64]:
    """Return row numbers as int64, in the same shape; all must exist, or be among the next `new` ones."""
    array = row_numbers(name, ids, kind)
    wrong = array[(array < 0) | (array >= count + new)]
    if wrong.size:
        raise IndexError(
            f"{name} must lie between 0 and {count + new - 1} (the model knows {count} {kind}s"
            f"{', new ones follow without a gap' if new else ''}), got {wrong.flat[0]}"
        )
    return array.astype(np.int64, order="C", copy=False)


def check_interactions(
    name: str, matrix: Any, dtype: np.dtype[Any], copy: bool = False, zeros: bool = False
) -> CSR:
    """Return interactions in canonical form (sorted, duplicates summed, no stored zeros unless `zeros`).

    `matrix` is not changed; with `copy` the result shares no memory with it.
    """
    if not is_sparse(matrix):
        way = way_from_frame(name, matrix) if hasattr(matrix, "columns") else f"scipy.sparse.csr_array({name})"
        raise TypeError(
            f"{name} must be a SciPy sparse matrix or array, got {type(matrix).__name__}: pass {way}"
        )
    if matrix.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions (users and items), got {matrix.ndim}")
    check_real(name, matrix.dtype)
    # Duplicates are summed in a dtype that holds the sum: 100 + 100 is -56 in int8, and True + True is True.
    csr = _to_csr(name, matrix, np.promote_types(matrix.dtype, dtype), copy)
    data = csr.data
    with np.errstate(over="ignore"):  # what overflows the dtype is reported below
        data = data.astype(dtype, copy=False)
    _check_finite(name, csr, data)
    if not zeros and not data.all():
        csr = scipy.sparse.csr_array((data, csr.indices, csr.indptr), shape=csr.shape, copy=True)
        csr.eliminate_zeros()
        data = csr.data
    return CSR.of(csr.indptr, csr.indices, data, csr.shape)


def way_from_frame(name: str, frame: Any) -> str:
    """Return the code to suggest in place of a frame, which may hold one row per pair or a table of users x items."""
    kinds = [str(kind) for kind in getattr(frame, "dtypes", [])]
    numbers = [kind.lower().startswith(("int", "uint", "float", "bool")) for kind in kinds]
    pandas, polars = hasattr(frame, "melt") and hasattr(frame, "index"), hasattr(frame, "unpivot")
    roles = "user='user', item='item', value='value'"
    if pandas and all(numbers):
        labelled = frame.columns.name is not None or not all(isinstance(label, str) for label in frame.columns)
        if labelled or frame.index.name is not None or len(kinds) > MOST_ROLES:
            long = f"{name}.melt(ignore_index=False, var_name='item', value_name='value')"
            return f"alternant.Interactions.from_frame({long}.rename_axis('user').reset_index(), {roles})"
    if polars and not pandas and len(kinds) > MOST_ROLES and all(numbers[1:]):
        first = frame.columns[0]
        long = f"{name}.unpivot(index={first!r}, variable_name='item', value_name='value')"
        return f"alternant.Interactions.from_frame({long}, user={first!r}, item='item', value='value')"
    return "alternant.Interactions.from_frame(...) of its columns"


def refuse_empty(interactions: Any) -> None:
    """Raise, in scikit-learn's words, if there is no row or no column; what is no matrix is left to later checks."""
    shape = shape_of(interactions)
    if len(shape) == 2 and 0 in shape:
        what = "sample" if shape[0] == 0 else "feature"
        raise ValueError(
            f"interactions must not be empty, got 0 {what}(s) (shape={shape}) while a minimum of 1 is required: a fit "
            "needs at least one user and one item"
        )


def check_columns(name: str, matrix: Any, columns: int, kind: str, rows: int) -> None:
    """Raise if a matrix does not have the model's number of columns, and say if it looks transposed.

    Anything that is not a matrix is left to later checks.
    """
    shape = shape_of(matrix)
    if len(shape) != 2 or shape[1] == columns or hasattr(matrix, "columns"):
        return
    looks_transposed = shape[0] == columns or shape[1] == rows
    advice = f"it looks transposed; pass {name}.T" if looks_transposed else f"pass one column per {kind} of the fit"
    raise ValueError(
        f"{name} must have {columns} columns (the model was fitted on {columns} {kind}s), "
        f"got {shape[1]}: {advice}"
    )


def shape_of(matrix: Any) -> tuple[int, ...]:
    """Return the shape of a matrix, frame, array or list; () for anything else, and for lists of different lengths."""
    if hasattr(matrix, "shape"):
        return tuple(matrix.shape)
    try:
        return np.asarray(matrix).shape
    except ValueError:
        return ()


def check_real(name: str, dtype: np.dtype[Any]) -> None:
    """Raise unless a dtype is of real numbers."""
    if dtype.kind == "c":
        raise ValueError(f"{name} must hold real numbers, got dtype {dtype}: Complex data not supported")
    if dtype.kind not in "buif":
        raise TypeError(f"{name} must hold real numbers, got dtype {dtype}: pass {name}.astype(numpy.float32)")


def is_sparse(matrix: Any) -> TypeGuard[Any]:
    """Whether this is a SciPy sparse matrix or array of any format."""
    return scipy.sparse.issparse(matrix)


def _to_csr(name: str, matrix: Any, summed: np.dtype[Any], copy: bool) -> scipy.sparse.csr_array:
    """Return a sorted CSR array whose duplicates have been summed in dtype `summed`."""
    check_structure(name, matrix)
    try:
        if matrix.format != "csr":
            matrix, copy = matrix.astype(summed), False
        csr = scipy.sparse.csr_array(matrix, copy=copy)
    except (ArithmeticError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a valid matrix, but SciPy reports {str(error)!r}: rebuild it") from None
    if matrix.format != "csr":
        check_structure(name, csr)  # not all formats can be checked before conversion
    if not csr.has_canonical_format:
        csr = csr.astype(summed)  # a copy
        csr.sum_duplicates()
    return csr


def check_structure(name: str, matrix: Any) -> None:
    """Raise for invalid compressed or coordinate structures, which SciPy accepts and later reads out of bounds."""
    if matrix.format in ("csr", "csc", "bsr"):
        indptr, indices = matrix.indptr, matrix.indices
        block = matrix.blocksize if matrix.format == "bsr" else (1, 1)
        major, minor = matrix.shape if matrix.format != "csc" else matrix.shape[::-1]
        major, minor = major // block[0], minor // block[1]
        for part, array in (("indptr", indptr), ("indices", indices)):
            if array.dtype not in (np.int32, np.int64):
                raise ValueError(f"{name}.{part} must be int32 or int64, got dtype {array.dtype}: rebuild the matrix")
        if len(indptr) != major + 1 or indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any() or indptr[-1] > len(indices):
            raise ValueError(
                f"{name}.indptr must have {major + 1} entries that rise from 0 to at most {len(indices)} and never "
                f"fall: the matrix is damaged; rebuild it, for example from coordinates with scipy.sparse.coo_array"
            )
        if len(matrix.data) < indptr[-1]:
            raise ValueError(f"{name}.data must have {indptr[-1]} entries, got {len(matrix.data)}: rebuild the matrix")
        _check_within(name, "indices", indices[: indptr[-1]], minor)
    elif matrix.format == "coo":
        for axis, coordinates in enumerate((matrix.row, matrix.col)):
            _check_within(name, ("row", "col")[axis], coordinates, matrix.shape[axis])
    elif matrix.format == "lil":
        uneven = [row for row in range(len(matrix.rows)) if len(matrix.rows[row]) != len(matrix.data[row])]
        if uneven:  # SciPy would fill the gaps with uninitialized memory
            raise ValueError(f"{name} must have as many columns as values in row {uneven[0]}: rebuild the matrix")


def _check_within(name: str, part: str, indices: NDArray[Any], bound: int) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= bound):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise ValueError(
            f"{name}.{part} must lie between 0 and {bound - 1}, got {wrong}: give the matrix the shape its ids need"
        )


def _check_finite(name: str, csr: scipy.sparse.csr_array, data: NDArray[Any]) -> None:
    finite = np.isfinite(data)
    if not finite.all():
        entry = int(np.argmin(finite))
        row = int(np.searchsorted(csr.indptr, entry, side="right")) - 1
        found = "NaN" if np.isnan(csr.data[entry]) else csr.data[entry]
        raise ValueError(
            f"{name} must be finite in {data.dtype}, got {found} at row {row}, column {csr.indices[entry]} "
            f"({(~finite).sum()} such values): drop or replace them"
        )


def _dtype_or_type(value: Any, array: NDArray[Any]) -> str:
    return f"dtype {array.dtype}" if isinstance(value, (np.ndarray, list, tuple)) else repr(value)
