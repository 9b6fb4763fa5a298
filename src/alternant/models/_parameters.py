"""Hyper-parameters in scikit-learn's manner: keyword-only, stored as given, read and set by name."""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np

from .._utils.guard import Guarded


class Parameters(Guarded):
    """`get_params`, `set_params` and a repr from the signature of ``__init__``."""

    @classmethod
    def _parameter_defaults(cls) -> dict[str, Any]:
        signature = inspect.signature(cls.__init__)
        return {name: p.default for name, p in signature.parameters.items() if name != "self"}

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - scikit-learn's signature
        """Return all hyper-parameters by name."""
        return {name: getattr(self, name) for name in self._parameter_defaults()}

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters by name; all of them, or none if one is refused.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown or a value is not allowed.
        """
        known = self._parameter_defaults()
        for name in params:
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}")
        twin = self._snapshot()  # which nobody else sees, in case a value is refused
        try:
            twin.__dict__.update(params)
            twin._check_params()
        finally:
            twin._release()
        self._commit(params)
        return self

    def _check_params(self) -> None:
        """Raise if a hyper-parameter has a value that is not allowed."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._restore_nan()

    def _restore_nan(self) -> None:
        """Make NaN among the parameters numpy.nan again, which equals itself in comparisons of `get_params`."""
        for name, value in self.get_params().items():
            if isinstance(value, float) and np.isnan(value):
                self.__dict__[name] = np.nan

    def __repr__(self) -> str:
        defaults = self._parameter_defaults()
        changed = {name: value for name, value in self.get_params().items() if value is not defaults[name]}
        shown = ", ".join(f"{name}={value!r}" for name, value in changed.items() if not _same(value, defaults[name]))
        return f"{type(self).__name__}({shown})"


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and repr(value) == repr(default)  # NaN is not equal to NaN
