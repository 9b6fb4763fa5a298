"""What the command line, `tune`, the tables of the documentation and the shared tests need to know about a model.

Each model declares it in its own file, so that a new model is one file and a line in ``models/__init__.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ._memory import PER_ROW, FitMemory

if TYPE_CHECKING:
    from ..data.csr import CSR

FACTORS = 4.8  # times the factors that a fit keeps in memory, on average over the models


@dataclass(frozen=True)
class Traits:
    """The data that a model learns from, and its method.

    Parameters
    ----------
    feedback : {"implicit", "likes", "ratings"}
        | ``"implicit"``: events such as clicks and plays, which are summed; a missing pair is weak negative evidence.
        | ``"likes"``: 1 for a like, 0 for a dislike; the last event of a pair counts.
        | ``"ratings"``: values to predict, one for each pair.
    learns_from, method : str
        The cells of the table of models in the README.
    """

    feedback: Literal["implicit", "likes", "ratings"]
    learns_from: str
    method: str


class DescribedModel:
    """A model with traits, a search space and an estimate of its work."""

    traits: ClassVar[Traits]

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return the default search space of `alternant.tuning.tune`.

        It may depend on the string parameters of the model (`weighting`, `regularization_scaling`) and on `rows`, the
        interactions to be fitted.
        """
        raise TypeError(f"there is no default space for {type(self).__name__}: pass space=")

    def auto_parameters(self, rows: CSR) -> dict[str, Any]:
        """Return the parameters that may be ``"auto"`` with the values that a fit of these rows would choose."""
        return {}

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Estimate the cost of an iteration (or of a fit without iterations), in nanoseconds of one core.

        It is computed rather than measured, so that the number of trials of a search is a function of its seed. Only
        the ratio between different numbers of factors matters.
        """
        return 40.0 * n_pairs

    bytes_per_pair: ClassVar[int] = 28  # of a fit from a matrix of float32 in memory, that matrix included

    def fit_memory(self, n_users: int, n_items: int, n_pairs: int) -> FitMemory:
        """Estimate the memory of a fit from a matrix in memory."""
        numbers = (n_users + n_items) * getattr(self, "factors", 0)
        factors = int(FACTORS * numbers * np.dtype(getattr(self, "dtype", "float32")).itemsize)
        return FitMemory(
            entries=self.bytes_per_pair * n_pairs, vectors=PER_ROW * (n_users + n_items), factors=factors
        )

    # A parameter that only scales the scores of items, so that a search tries many values of it with one fit.
    rescored_parameter: ClassVar[str | None] = None

    def rescored(self, value: float) -> Any:
        """Return a view of this fitted model that ranks with another value of `rescored_parameter`."""
        raise TypeError(f"{type(self).__name__} has no parameter that only scales scores, got {value!r}")
