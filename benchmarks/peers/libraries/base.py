"""The one interface of all libraries: what they are given, who watches them, and what they may be able to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import threadpoolctl

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import scipy.sparse as sp

    Factors = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """What every library is given; libraries that are fitted anew get `refits` iterations at most."""

    train: sp.csr_array
    test: sp.coo_array | None = None
    start: Factors | None = None
    factors: int = 64
    regularization: float = 0.01
    iterations: int = 20
    refits: int = 15
    threads: int = 2
    alternant_options: dict[str, Any] = field(default_factory=dict)


class Observer:
    """Watches a fit; this one only keeps what is learned last.

    A library calls `begin` once its input has the form that it takes, then `note` after each iteration, or `refit`
    where it does not stop in between.
    """

    def __init__(self) -> None:
        self.last: Any = None

    def begin(self) -> None:
        """Learn that the fit begins now."""

    def note(self, iteration: int, learned: Callable[[], Any]) -> bool:  # noqa: ARG002
        """See an iteration; `learned` returns factors or predictions. True ends the fit where the library can."""
        self.last = learned
        return False

    def refit(self, last: int, fit: Callable[[int], Callable[[], Any]]) -> None:
        """Fit with as many iterations as this observer wants to see; `fit` returns what `learned` is for `note`."""
        self.begin()
        self.note(last, fit(last))


class Library:
    """A library and what it can do: each subclass overrides what its library has.

    Parameters are the library's defaults unless a method says otherwise. `blas` is how many threads BLAS gets (None:
    as many as the library), `rating_iterations` the default number of iterations or epochs of `fit_ratings`.
    """

    name: str
    package: str
    module: str
    blas: int | None = None
    rating_iterations: int

    def installed(self) -> str | None:
        """Return the version, or None."""
        return installed(self.package)

    def limited(self, threads: int) -> Any:
        """Return a context in which BLAS has the threads that serve the library best."""
        return threadpoolctl.threadpool_limits(self.blas or threads, "blas")

    def has(self, task: str) -> bool:
        """Whether the library does what the method of this name does."""
        return getattr(type(self), task) is not getattr(Library, task)

    def fit_weighted(self, problem: Problem, observer: Observer, solver: str = "cg") -> None:
        """Fit implicit feedback r: confidence 1 + r and one lambda, or what comes nearest to it."""
        raise NotImplementedError

    def fit_als(self, problem: Problem, observer: Observer, **params: Any) -> Factors:
        """Fit ALS on implicit feedback with parameters as the library calls them; return the factors."""
        raise NotImplementedError

    def fit_ratings(self, problem: Problem, observer: Observer) -> None:
        """Fit ratings with the number of factors that is given; what is learned are predictions for the test pairs."""
        raise NotImplementedError

    def fit_sgd(self, ratings: sp.coo_array, steps: Steps) -> SGDFit:
        """Fit biases and factors to ratings by plain steps of gradient descent."""
        raise NotImplementedError

    def fit_logistic(self, train: sp.csr_array, users: np.ndarray, threads: int) -> np.ndarray:
        """Fit logistic matrix factorization; return the 10 items it recommends to each user."""
        raise NotImplementedError

    def ranker(self, X: np.ndarray, Y: np.ndarray, k: int, threads: int) -> Callable[[sp.csr_matrix | None], Any]:
        """Return what makes lists of k items for every row of X, without those in a matrix, if one is given."""
        raise NotImplementedError


@dataclass(frozen=True)
class Steps:
    """The steps that two libraries can take alike; the defaults are cornac's."""

    factors: int
    epochs: int
    threads: int
    learning_rate: float = 0.01
    regularization: float = 0.02


@dataclass(frozen=True)
class SGDFit:
    """What `Library.fit_sgd` returns: seconds of the fit and of one epoch alone, and a function of users and items."""

    seconds: float
    epoch: float
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray]


def installed(package: str) -> str | None:
    """Return a package's version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
