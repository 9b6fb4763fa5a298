"""The libraries that `accuracy` tunes and fits, and their search spaces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alternant import ImplicitALS

from ..peers.libraries import Alternant, Implicit, Irspack, LensKit, Library
from .search import Range

if TYPE_CHECKING:
    from collections.abc import Callable

    import scipy.sparse as sp

    from .search import Setting


@dataclass(frozen=True)
class Contender:
    """A library whose `fit_als` gets the parameters that `resolve` makes from the interactions and a setting.

    An empty setting stands for `start`. If `popularity` is true, items may be multiplied by powers of their numbers of
    interactions after the fit, and the power is searched without refitting.
    """

    library: Library
    space: dict[str, Range]
    start: Setting
    resolve: Callable[[sp.csr_array, Setting], dict[str, Any]] = lambda _train, setting: dict(setting)
    popularity: bool = False
    iterations: int = 16
    most_factors: float = math.inf

    @property
    def name(self) -> str:
        """The library's name."""
        return self.library.name


def relative(train: sp.csr_array, setting: Setting) -> dict[str, Any]:
    """Turn multiples of the values that "auto" chooses into numbers, by fitting a model with one factor.

    The regularization is a multiple of the automatic one at this unobserved weight and normalization.
    """
    a, b = setting["a"], setting["b"]
    params = {"degree_normalization": (a, b), "popularity_exponent": setting["s"]}
    probe = ImplicitALS(factors=1, iterations=1, random_state=0, **params).fit(train, show_progress=False)
    params["unobserved_weight"] = probe.unobserved_weight_ * setting["unobserved_weight"]
    probe.set_params(**params).fit(train, show_progress=False)
    params["regularization"] = tuple(value * setting["regularization"] for value in probe.regularization_)
    return params


OURS = Contender(
    Alternant(), resolve=relative, popularity=True, iterations=10,
    space={
        "unobserved_weight": Range(2**-1.5, 10, 1.5), "regularization": Range(2**-3, 4, 1.5),
        "a": Range(0, 0.5, 0.08, logarithmic=False), "b": Range(0, 0.5, 0.08, logarithmic=False),
    },
    start={"unobserved_weight": 1.0, "regularization": 1.0, "a": 0.25, "b": 0.2, "s": 0.1},
)  # fmt: skip
PEERS = (
    Contender(
        Implicit(), start={"alpha": 10.0, "regularization": 1.0},
        space={"alpha": Range(1, 200, 1.6), "regularization": Range(1e-3, 100, 2)},
    ),
    Contender(
        Irspack(), start={"alpha0": 0.05, "reg": 0.003},
        space={"alpha0": Range(3e-3, 1, 1.6), "reg": Range(1e-4, 0.1, 1.6)},
    ),
    Contender(
        LensKit(), start={"weight": 40.0, "regularization": 0.1}, most_factors=64,  # its cost is cubic in them
        space={"weight": Range(1, 200, 1.6), "regularization": Range(1e-3, 100, 2)},
    ),
)  # fmt: skip
