"""What the command line, `tune`, the tables of the documentation and the shared tests have to know of a model.

Each model states it in its own file, so that a new model is one file and a line in ``models/__init__.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from ..data.csr import CSR


@dataclass(frozen=True)
class Traits:
    """What a class of models learns from, and how.

    Parameters
    ----------
    feedback : {"implicit", "likes", "ratings"}
        | ``"implicit"``: events such as clicks and plays, which add up; what is absent is weak evidence against.
        | ``"likes"``: 1 for a like, 0 for a dislike; the last word on a pair counts.
        | ``"ratings"``: values to be predicted; a pair has one.
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
        """Return the space that `alternant.tuning.tune` searches unless it is given another.

        The parameters of the model that are texts (`weighting`, `regularization_scaling`) decide which ranges fit, and
        so may `rows`, the interactions to be fitted.
        """
        raise TypeError(f"there is no default space for {type(self).__name__}: pass space=")

    def auto_parameters(self, rows: CSR) -> dict[str, Any]:
        """Return the parameters that may be ``"auto"`` with the values that a fit of these rows would choose."""
        return {}

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Return what an iteration (or a fit without iterations) costs, in nanoseconds of one core, roughly.

        Counted and not timed, so that the number of trials of a search is a function of its seed. Only what it says
        about few factors against many matters.
        """
        return 40.0 * n_pairs

    # A parameter that only scales the scores of items, so that one fit serves a search for many values of it.
    rescored_parameter: ClassVar[str | None] = None

    def rescored(self, value: float) -> Any:
        """Return a view of this fitted model that ranks with another value of `rescored_parameter`."""
        raise TypeError(f"{type(self).__name__} has no parameter that scales scores alone, got {value!r}")
