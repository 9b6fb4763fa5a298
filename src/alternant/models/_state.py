"""The fitted state of a model: factors that are checked, replaced atomically, and read-only."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.guard import Fitted, Guarded
from ._fit_loop import freeze, is_frozen


class NotFittedError(ValueError, AttributeError):
    """The model has no factors yet; where scikit-learn is loaded, also its error of that name."""

    def __new__(cls, *args: Any) -> Self:
        """Return an error that ``except sklearn.exceptions.NotFittedError`` catches."""
        both: Any = cls
        if theirs := getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", None):
            both = _of_both(both, theirs)
        error: Self = super().__new__(both, *args)
        return error

    def __reduce__(self) -> Any:
        return NotFittedError, self.args, vars(self)


@functools.cache
def _of_both(ours: Any, theirs: Any) -> Any:
    """Return a subclass of both; code that has not loaded scikit-learn can't catch its error, and need not load it."""
    return ours if issubclass(ours, theirs) else type(ours.__name__, (ours, theirs), {"__module__": ours.__module__})


class State(Guarded):
    """The part of a model that holds its factors."""

    # JSON-serializable attributes that `save` writes in addition to the parameters, the factors and the interactions.
    _fitted_state: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Hide the attributes that a fit sets from other threads until the fit has finished."""
        super().__init_subclass__(**options)
        for name in ("user_factors", "item_factors", "interactions_", "partial_share_", *cls._fitted_state):
            if not hasattr(cls, name):
                attribute = Fitted()
                attribute.__set_name__(cls, name)
                setattr(cls, name, attribute)

    def _factors(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the factors of both sides as contiguous arrays, for kernels."""
        users, items = getattr(self, "user_factors", None), getattr(self, "item_factors", None)
        self._check_factors(users, items)
        return np.ascontiguousarray(users), np.ascontiguousarray(items)

    def _check_factors(self, users: Any, items: Any) -> None:
        """Raise unless these are valid factors."""
        if users is None or items is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit(interactions) first")
        shapes = np.shape(users), np.shape(items)
        if not len(shapes[0]) == len(shapes[1]) == 2 or shapes[0][1] != shapes[1][1] or users.dtype != items.dtype:
            raise ValueError(
                "user_factors and item_factors must have 2 dimensions, the same number of columns and one dtype, "
                f"got shapes {shapes[0]} and {shapes[1]}, dtypes {users.dtype} and {items.dtype}"
            )
        if users.dtype not in (np.float32, np.float64):
            raise TypeError(f"user_factors and item_factors must be float32 or float64, got {users.dtype}")

    # What a model may override to avoid copying all factors of a side

    def _check_fitted(self) -> None:
        self._factors()

    def _count(self, kind: str) -> int | None:
        """Return the number of users or of items; None before the fit."""
        factors = getattr(self, f"{kind}_factors", None)
        return None if factors is None else int(np.shape(factors)[0])  # SciPy's sparse arrays have no length

    def _side(self, kind: str) -> NDArray[Any]:
        """Return the factors of one side."""
        return self._factors()[0 if kind == "user" else 1]

    def _take(self, kind: str, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return the factors of some rows of a side."""
        return np.asarray(self._side(kind)[numbers])

    def _version(self, kind: str) -> tuple[object, int] | None:
        """Return a version that tells whether the rows of a side have changed: an object, and its number of changes.

        None if that can't be known, because the factors are writable. Appending rows need not change the version.
        """
        factors = getattr(self, f"{kind}_factors", None)
        return (factors, 0) if factors is not None and is_frozen(factors) else None

    # Changes, and values cached until the next one

    def _assign(self, **state: Any) -> None:
        """Set fitted attributes in one step that neither a reader nor a signal can split; factors become read-only."""
        for name in ("user_factors", "item_factors"):
            if name in state:
                freeze(state[name])
        self._commit({"partial_share_": 0.0} | state)

    def _derived(self, name: str, source: NDArray[Any], derive: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
        """Return `derive` of an array of the model, cached as long as the array is read-only and in use."""
        cached = self._guard.derived.get(name)
        if cached is not None and cached[0] is source and is_frozen(source):
            return np.asarray(cached[1])
        result = derive(source)
        if is_frozen(source):
            self._guard.derived[name] = source, result
        return result
