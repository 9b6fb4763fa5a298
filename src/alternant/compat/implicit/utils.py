"""Helpers that users of implicit import, and checks shared by the models."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..._utils.threads import default_num_threads, resolve_num_threads
from ...data.validation import check_structure

WORK_PER_THREAD = 1 << 18


class ParameterWarning(Warning):
    """An argument is usable, but had to be converted."""


def nonzeros(m: Any, row: int) -> Iterator[tuple[Any, Any]]:
    """Yield the pairs (column, value) that row `row` of the CSR matrix `m` stores, in the order of storage."""
    entries = slice(m.indptr[row], m.indptr[row + 1])
    yield from zip(m.indices[entries], m.data[entries], strict=True)


def check_blas_config() -> None:
    """Do nothing: BLAS is limited to one thread where it would compete with other threads, without any settings."""


def check_random_state(random_state: Any) -> np.random.Generator:
    """Return a Generator for a seed, None, a Generator (itself) or a RandomState, from which one number is drawn."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    return np.random.default_rng(random_state)


def augment_inner_product_matrix(factors: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
    """Add a column such that all rows have one norm: the nearest rows by angle are then those by inner product.

    A query gets a 0 in that column (Bachrach et al., "Speeding Up the Xbox Recommender System", RecSys 2014).

    Parameters
    ----------
    factors : array, shape (n, f)
        The rows.

    Returns
    -------
    norm : float
        The norm of all rows of the result, the largest one of `factors`.
    augmented : array, shape (n, f + 1)
    """
    squares = np.einsum("if,if->i", factors, factors)
    largest = squares.max()
    return np.sqrt(largest), np.column_stack([factors, np.sqrt(largest - squares)])


def is_sparse(matrix: Any) -> bool:
    """Whether an object is a matrix or array of scipy.sparse."""
    return bool(sparse.issparse(matrix))


def check_csr(user_items: Any) -> Any:
    """Return the sparse matrix in CSR format; warn with `ParameterWarning` if it had to be converted.

    Raises
    ------
    TypeError
        If it is no sparse matrix.
    ValueError
        If its arrays contradict each other or its shape, which SciPy and kernels would follow out of bounds.
    """
    if not is_sparse(user_items):
        raise TypeError(
            f"expected a scipy.sparse matrix, got {type(user_items).__name__}: pass scipy.sparse.csr_matrix(...) of it"
        )
    user_items = _two_dimensional(user_items)
    check_structure("matrix", user_items)
    if user_items.format != "csr":
        name = type(user_items).__name__
        warnings.warn(
            f"a CSR matrix is expected, and {name} had to be converted: pass matrix.tocsr()",
            ParameterWarning,
            stacklevel=3,
        )
        return user_items.tocsr()
    return user_items


def thread_count(num_threads: int | None, work: float = np.inf) -> int:
    """Return the number of threads for implicit's `num_threads`, in which 0 stands for all available.

    For `work` multiply-adds; a thread with less than `WORK_PER_THREAD` of them costs more time than it saves.
    """
    if num_threads is not None and num_threads < 0:
        raise ValueError(f"num_threads must be a number of threads, or 0 for all available, got {num_threads}")
    if work < WORK_PER_THREAD:
        return 1
    threads = default_num_threads() if num_threads in (0, None) else resolve_num_threads(num_threads)
    return int(min(threads, 1 + work // WORK_PER_THREAD))


def check_ids(name: str, ids: Any, count: int | None, kind: str) -> NDArray[np.int64]:
    """Return ids of users or items as an array of one or no dimension.

    Raises
    ------
    IndexError
        If an id is negative or, with `count`, not below it.
    TypeError
        If an id is not a whole number.
    """
    array = np.asarray(ids)
    if array.ndim > 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"{name} must be one whole number or a list of them, got {array.dtype} of shape {array.shape}")
    array = array.astype(np.int64)
    least, greatest = (array.min(initial=0), array.max(initial=-1)) if array.ndim else (array.item(),) * 2
    if least < 0:
        raise IndexError(f"{name} has the id {least}, but ids start at 0")
    if count is not None and greatest >= count:
        raise IndexError(
            f"{name} has the id {greatest}, but the model has {count} {kind}s, 0 to {count - 1}: pass known ids, or "
            "fit the model with the new ones"
        )
    return array


def list_length(k: Any) -> int:
    """Return the length of the lists; a float that is a whole number is one, as for implicit."""
    length = int(k)
    if length != k or length < 0:
        raise ValueError(
            f"the length of the lists must be a whole number of at least 0, got {k}: pass the number of results as N "
            "or k"
        )
    return length


def _two_dimensional(matrix: Any) -> Any:
    """Return a sparse vector, such as a row of a csr_array, as a CSR matrix with one row, and all else as it is."""
    return matrix.reshape(1, -1).tocsr() if matrix.ndim == 1 else matrix


def check_rows(name: str, matrix: Any, ids: NDArray[np.int64], count: int, kind: str) -> Any:
    """Return a CSR matrix that has one row for each id, and no entry beyond `count` columns.

    Raises
    ------
    ValueError
        If the matrix is not in CSR format or damaged, if the number of rows differs, or if there are such entries.
    """
    if is_sparse(matrix):
        matrix = _two_dimensional(matrix)
    if not (is_sparse(matrix) and matrix.format == "csr"):
        raise ValueError(f"{name} needs to be a CSR sparse matrix, got {type(matrix).__name__}: pass matrix.tocsr()")
    if matrix.shape[0] != ids.size:
        raise ValueError(
            f"{name} must have one row for each id, {ids.size}, got {matrix.shape[0]} rows: pass {name}[ids]"
        )
    check_structure(name, matrix)
    check_columns(name, matrix, count, kind)
    return matrix


def check_columns(name: str, matrix: Any, count: int, kind: str) -> None:
    """Raise ValueError if a CSR matrix has an entry beyond the first `count` columns."""
    if matrix.shape[1] > count and matrix.indices.size and matrix.indices.max() >= count:
        raise ValueError(
            f"{name} has an entry in column {matrix.indices.max()}, but the model has {count} {kind}s: pass the rows "
            "without it, or if the matrix is transposed, its transpose"
        )
