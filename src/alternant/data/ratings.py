"""Checks of ratings: tables in which zeros are values, gaps are missing, and duplicate entries can't be summed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import entry_blocks
from .._utils.messages import parameter, refusal
from .csr import CSR
from .dense import dense_table
from .validation import check_real, check_structure, is_sparse, shape_of

if TYPE_CHECKING:
    from .ids import Ids
    from .interactions import Interactions
    from .pairs import Pairs


def check_ratings(
    name: str, table: Any, dtype: np.dtype[Any], missing_value: float = np.nan, copy: bool = False
) -> CSR:
    """Return the known entries of a sparse or dense table, including stored zeros.

    Zeros in blocks (BSR) are dropped, since they can't be told from padding. NaN and `missing_value` mark missing
    entries. `table` is not modified; with `copy`, the result shares no memory with it.
    """
    if is_sparse(table):
        csr = _whole_csr(name, table, dtype, missing_value, copy)
        if csr is not None:
            return csr
        shape, rows, columns, values = _sparse_entries(name, table)
    else:
        shape, rows, columns, values = _dense_entries(name, table)
    known = ~np.isnan(values)
    if not np.isnan(missing_value):
        known &= values != missing_value
    with np.errstate(over="ignore"):  # overflows are reported below
        narrow = values.astype(dtype, copy=copy)
    if not np.isfinite(narrow[known]).all():
        wrong = int(np.flatnonzero(known & ~np.isfinite(narrow))[0])
        raise ValueError(
            f"{name} must be finite in {dtype}, got {values[wrong]} at row {rows[wrong]}, column {columns[wrong]}: "
            "drop or replace it (NaN marks missing values)"
        )
    if not known.all():
        rows, columns, narrow = rows[known], columns[known], narrow[known]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    return CSR.of(indptr, np.array(columns) if copy else columns, narrow, shape)


def check_not_summed(name: str, interactions: Interactions) -> None:
    """Raise if some pairs of interactions hold the sum of several ratings (or likes), which is not a rating."""
    again = "make the Interactions" if interactions._store is None else "read the source into another store"
    refuse_sums(name, interactions._unverified, interactions._users, interactions._items, again)


def refuse_sums(name: str, pairs: Pairs, users: Ids, items: Ids, again: str) -> None:
    """Raise if some pairs hold sums; `again` is what to do again in another way."""
    if pairs.summed is None or not any(part.any() for part in entry_blocks(pairs.summed)):
        return
    first = int(np.argmax(pairs.summed))
    at = (numbers[[first]] for numbers in pairs.matrix.positions())
    user, item = (ids.raw(number).tolist()[0] for ids, number in zip((users, items), at, strict=True))
    raise refusal(
        ValueError,
        f"{name} must hold each pair once, since ratings can't be added up, but {int(pairs.summed.sum()):,} pairs are "
        f"sums of several rows, such as user {user!r} and item {item!r}: {again} with "
        f"{parameter('aggregate', 'last')}, or {parameter('aggregate', 'mean')}",
    )


def check_has_values(name: str, interactions: Interactions) -> None:
    """Raise if interactions used as ratings have no values: all ratings would be 1."""
    if not interactions._has_values:
        again = f"name their column with {parameter('value')}=, or pass values= to from_arrays"
        if interactions._store is not None:
            again = f"read the source into another store, with {parameter('value')}="
        raise refusal(
            ValueError,
            f"{name} must hold ratings, got Interactions made without values, so that each would be 1: {again}",
        )


def check_sample_weight(sample_weight: Any, ratings: Any, observed: CSR, missing_value: float) -> NDArray[Any]:
    """Return the weights of the observed ratings, in their order; `ratings` is the table that they come from.

    A list of numbers has one weight for each user.
    """
    name, at = "sample_weight", observed.positions()
    if of_users := not is_sparse(sample_weight) and len(shape_of(sample_weight)) == 1:
        sample_weight = np.asarray(sample_weight)[:, None]
    entries = _sparse_entries if is_sparse(sample_weight) else _dense_entries
    shape, rows, columns, values = entries(name, sample_weight)
    if of_users and shape[0] != observed.shape[0]:
        raise ValueError(f"{name} must have a weight for each of {observed.shape[0]} users, got {shape[0]} weights")
    if not of_users and tuple(shape) != observed.shape:
        raise ValueError(
            f"{name} must have the shape of the ratings, {observed.shape}, got {tuple(shape)}: give each rating a "
            "weight, or each user"
        )
    if of_users:
        values = values[at[0]]
    elif not is_sparse(sample_weight):  # weights of missing ratings are ignored
        values = values.reshape(shape)[at]
    elif not _same((rows, columns), at):
        _, *stored, ratings = _sparse_entries("ratings", ratings) if is_sparse(ratings) else (None, *at, observed.data)
        if not _same((rows, columns), stored):
            raise ValueError(
                f"{name} must store the same pairs as the ratings ({len(ratings)} of them), got {len(values)} weights "
                "or different positions: build both from the same rows and columns"
            )
        values = values[~np.isnan(ratings) & (ratings != missing_value)]
    with np.errstate(over="ignore"):  # reported below
        weight = values.astype(observed.data.dtype)
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{name} must be 0 or more and finite in {weight.dtype}, got {values[first]} at row {at[0][first]}, "
            f"column {at[1][first]}: drop or replace it"
        )
    if not weight.any():
        raise ValueError(f"{name} must have a weight above zero, got none: give the ratings that count a weight")
    return weight


def _same(pairs: Any, others: Any) -> bool:
    return all(map(np.array_equal, pairs, others))


def _whole_csr(name: str, table: Any, dtype: np.dtype[Any], missing_value: float, copy: bool) -> CSR | None:
    """Return a CSR matrix that is already canonical and has no missing values, at a tenth of the cost; else None."""
    if table.ndim != 2 or table.format != "csr" or table.dtype.kind != "f":
        return None
    check_structure(name, table)
    end = int(table.indptr[-1])
    indices, values = table.indices[:end], table.data[:end]
    rises = indices[1:] > indices[:-1]
    edges = table.indptr[1:-1]
    rises[edges[(edges > 0) & (edges < end)] - 1] = True
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype, copy=copy)
    if not (rises.all() and np.isfinite(narrow).all()) or (values == missing_value).any():
        return None
    if copy:
        return CSR.of(table.indptr.copy(), indices.copy(), narrow, table.shape)
    return CSR.of(table.indptr, indices, narrow, table.shape)


def _sparse_entries(
    name: str, table: Any
) -> tuple[tuple[int, int], NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Return the entries, sorted by row and column; raise if a pair is repeated."""
    if table.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions (users and items), got {table.ndim}")
    check_real(name, table.dtype)
    check_structure(name, table)
    try:
        coordinates = table.tocoo(copy=False)
    except (ArithmeticError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a valid matrix, but SciPy reports {str(error)!r}: rebuild it") from None
    check_structure(name, coordinates)
    rows, columns, values = coordinates.row.astype(np.int64), coordinates.col, coordinates.data
    if table.format == "bsr" and table.blocksize != (1, 1):
        rows, columns, values = rows[values != 0], columns[values != 0], values[values != 0]
    key = rows * max(table.shape[1], 1) + columns
    if (key[1:] <= key[:-1]).any():
        order = np.argsort(key, kind="stable")
        key, rows, columns, values = key[order], rows[order], columns[order], values[order]
        twice = key[1:] == key[:-1]
        if twice.any():
            at = int(np.argmax(twice))
            raise ValueError(
                f"{name} must hold each pair once, but row {rows[at]}, column {columns[at]} occurs "
                f"{int((key == key[at]).sum())} times: ratings can't be added up; keep one, such as the last"
            )
    return table.shape, rows, columns, np.asarray(values, np.float64) if values.dtype.kind != "f" else values


def _dense_entries(name: str, table: Any) -> tuple[tuple[int, int], NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Return all entries of a table of numbers."""
    array = dense_table(name, table, np.nan, "NaN for missing values")
    m, n = array.shape
    rows, columns = np.repeat(np.arange(m), n), np.tile(np.arange(n), m)
    values = array.reshape(-1) if array.dtype.kind == "f" else array.reshape(-1).astype(np.float64)
    return (m, n), rows, columns, values
