"""The common interface of all libraries: the problem, the observer of a fit, and the methods they may have."""

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
    """The input of every library; libraries that are refitted get at most `refits` iterations."""

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
    """Watches a fit; this one only keeps the last result.

    A library calls `begin` once its input has been converted, then `note` after each iteration, or `refit` if it does
    not stop in between.
    """

    def __init__(self) -> None:
        self.last: Any = None

    def begin(self) -> None:
        """Note that the fit begins now."""

    def note(self, iteration: int, learned: Callable[[], Any]) -> bool:  # noqa: ARG002
        """Note an iteration; `learned` returns factors or predictions. True ends the fit if the library can."""
        self.last = learned
        return False

    def refit(self, last: int, fit: Callable[[int], Callable[[], Any]]) -> None:
        """Fit with the numbers of iterations that this observer wants; `fit` returns the `learned` of `note`."""
        self.begin()
        self.note(last, fit(last))


class Library:
    """A library; each subclass overrides the methods that its library supports.

    Parameters are the library's defaults unless a method says otherwise. `blas` is the number of threads of BLAS (None:
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
        """Return a context in which BLAS has the number of threads that is best for the library."""
        return threadpoolctl.threadpool_limits(self.blas or threads, "blas")

    def has(self, task: str) -> bool:
        """Whether the library supports the method of this name."""
        return getattr(type(self), task) is not getattr(Library, task)

    def fit_weighted(self, problem: Problem, observer: Observer, solver: str = "cg") -> None:
        """Fit implicit feedback r with confidence 1 + r and one lambda, or what comes closest to this."""
        raise NotImplementedError

    def fit_als(self, problem: Problem, observer: Observer, **params: Any) -> Factors:
        """Fit ALS on implicit feedback, with the library's own parameter names; return the factors."""
        raise NotImplementedError

    def fit_ratings(self, problem: Problem, observer: Observer) -> None:
        """Fit ratings with the given number of factors; the result is predictions for the test pairs."""
        raise NotImplementedError

    def fit_sgd(self, ratings: sp.coo_array, steps: Steps) -> SGDFit:
        """Fit biases and factors to ratings by plain gradient steps."""
        raise NotImplementedError

    def fit_pairwise(self, train: sp.csr_array, steps: Steps, **params: Any) -> PairwiseFit:
        """Fit BPR by plain gradient steps, one for each interaction in an epoch, with the library's own parameters."""
        raise NotImplementedError

    def fit_logistic(self, train: sp.csr_array, users: np.ndarray, threads: int) -> np.ndarray:
        """Fit logistic matrix factorization; return 10 recommended items for each user."""
        raise NotImplementedError

    def ranker(self, X: np.ndarray, Y: np.ndarray, k: int, threads: int) -> Callable[[sp.csr_matrix | None], Any]:
        """Return a function that makes lists of k items for every row of X, without those in a matrix, if given."""
        raise NotImplementedError


@dataclass(frozen=True)
class Steps:
    """Parameters of steps that two libraries can take alike; the defaults are cornac's."""

    factors: int
    epochs: int
    threads: int
    learning_rate: float = 0.01
    regularization: float = 0.02


@dataclass(frozen=True)
class SGDFit:
    """The result of `Library.fit_sgd`: seconds of the fit and of one epoch alone, and a function of users and items."""

    seconds: float
    epoch: float
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PairwiseFit:
    """The result of `Library.fit_pairwise`: seconds of one epoch, and factors whose dot products rank the items."""

    epoch: float
    factors: Factors


def installed(package: str) -> str | None:
    """Return a package's version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
