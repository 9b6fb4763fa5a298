"""Types of arguments and results, for type checkers: no module imports this one at run time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from os import PathLike
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import scipy.sparse
from numpy.typing import DTypeLike, NDArray

from .data.features import Features
from .data.interactions import Interactions

# What a fit takes, shape (n_users, n_items); in a dense table, 0 or (of ratings and likes) NaN marks what is missing.
Sparse: TypeAlias = "scipy.sparse.sparray | scipy.sparse.spmatrix"
Dense: TypeAlias = "NDArray[Any] | Sequence[Sequence[float] | NDArray[Any]]"
Observed: TypeAlias = "Interactions | Sparse"
Rated: TypeAlias = "Interactions | Sparse | Dense"

Featured: TypeAlias = "Features | Sparse | Dense"  # shape (n, d)

Part = TypeVar("Part")
Split: TypeAlias = tuple[Part, Part]  # train, test
Stores: TypeAlias = "tuple[str | PathLike[str], str | PathLike[str]]"  # their folders

Auto: TypeAlias = Literal["auto"]
BackendName: TypeAlias = Literal["auto", "cython", "numba", "numpy"]
Aggregate: TypeAlias = Literal["sum", "max", "last", "mean", "error"]
Unknown: TypeAlias = Literal["raise", "empty", "cold_start"]
DType: TypeAlias = DTypeLike
Seed: TypeAlias = "int | np.integer[Any] | np.random.Generator | np.random.RandomState | None"

# Row numbers of items, or their raw ids, of any type; and scores, float32 or float64.
Lists: TypeAlias = tuple[NDArray[Any], "Reals"]
Reals: TypeAlias = "NDArray[np.floating[Any]]"
Integers: TypeAlias = "NDArray[np.integer[Any]]"

# An id, or a row number; a list of such. Other ids (any hashable) and other lists (such as a column) are neither.
Scalar: TypeAlias = "int | str | np.integer[Any]"
Many: TypeAlias = "list[Any] | range | NDArray[Any]"


class Names(Sized, Iterable[Any], Protocol):
    """Names in the order of the rows: a list, an array, a column of a frame."""


# None in cases that the caller knows, as in typeshed: it need not be ruled out before every use.
MaybeNone: TypeAlias = Any
