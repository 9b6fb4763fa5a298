"""The libraries that accuracy.py tunes and fits: what is searched for each, and how each is run."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import threadpoolctl
from peers_als import lenskit_data, lenskit_threads

from alternant import ImplicitALS

if TYPE_CHECKING:
    from collections.abc import Callable

    from search import Setting

    Look = Callable[[int, np.ndarray, np.ndarray], bool]


@dataclass(frozen=True)
class Task:
    """What is fitted; `look` is shown both sides after each iteration, and ends the fit by returning True."""

    train: sp.csr_array
    factors: int
    iterations: int
    threads: int
    look: Look | None = None

    def ends(self, iteration: int, X: np.ndarray, Y: np.ndarray) -> bool:
        """Show the factors to who wants to look."""
        return self.look is not None and self.look(iteration, X, Y)


@dataclass(frozen=True)
class Range:
    """Where a number is searched; a step is a factor where the range is logarithmic."""

    low: float
    high: float
    step: float
    logarithmic: bool = True

    def draw(self, rng: np.random.Generator) -> float:
        """Draw from the range."""
        low, high = self._on_scale(self.low), self._on_scale(self.high)
        return self._rounded(rng.uniform(low, high))

    def moved(self, value: float, steps: float) -> float:
        """Return a value so many steps away, within the range."""
        return self._rounded(self._on_scale(value) + steps * self._on_scale(self.step))

    def _on_scale(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value

    def _rounded(self, on_scale: float) -> float:
        value = math.exp(on_scale) if self.logarithmic else on_scale
        return float(f"{min(max(value, self.low), self.high):.3g}")


@dataclass(frozen=True)
class Contender:
    """A library: `fit` takes a `Task` and parameters, which `resolve` makes of a setting and the interactions.

    A setting without entries stands for `start`. Where `popularity` is true, items may be multiplied by powers of
    their numbers of interactions after the fit, and the power is searched without fitting anew.
    """

    name: str
    package: str
    fit: Callable[[Task, dict[str, Any]], tuple[np.ndarray, np.ndarray]]
    space: dict[str, Range]
    start: Setting
    resolve: Callable[[sp.csr_array, Setting], dict[str, Any]] = lambda _train, setting: dict(setting)
    popularity: bool = False
    iterations: int = 16
    most_factors: float = math.inf

    def installed(self) -> str | None:
        """Return the version, or None."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None

    def draw(self, rng: np.random.Generator) -> Setting:
        """Return a setting from anywhere in the space."""
        return {name: one.draw(rng) for name, one in self.space.items()}

    def vary(self, setting: Setting, rng: np.random.Generator) -> Setting:
        """Return a setting near another."""
        near = self.start | setting
        return {name: one.moved(near[name], rng.normal()) for name, one in self.space.items()}


# alternant


def relative(train: sp.csr_array, setting: Setting) -> dict[str, Any]:
    """Turn multiples of what "auto" chooses into numbers; a model of one factor says what that is.

    The regularization is a multiple of the automatic one at this unobserved weight and normalization.
    """
    a, b = setting["a"], setting["b"]
    params = {"degree_normalization": (a, b), "popularity_exponent": setting["s"]}
    probe = ImplicitALS(factors=1, iterations=1, random_state=0, **params).fit(train, show_progress=False)
    params["unobserved_weight"] = probe.unobserved_weight_ * setting["unobserved_weight"]
    probe.set_params(**params).fit(train, show_progress=False)
    params["regularization"] = tuple(value * setting["regularization"] for value in probe.regularization_)
    return params


def alternant(task: Task, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Fit ImplicitALS."""
    model = ImplicitALS(
        factors=task.factors, iterations=task.iterations, num_threads=task.threads, random_state=0, **params
    )
    model.fit(
        task.train, show_progress=False,
        callback=lambda state: task.ends(state.iteration, state.user_factors, state.item_factors),
    )  # fmt: skip
    return model.user_factors, model.item_factors


# The others


class _Enough(Exception):
    """Ends a fit that can't be ended otherwise."""


def implicit(task: Task, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Fit implicit's AlternatingLeastSquares, as its documentation asks for: BLAS has one thread."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=task.factors, iterations=task.iterations, num_threads=task.threads, random_state=0, **params
    )

    def note(iteration: int, _seconds: float, _loss: float) -> None:
        if task.ends(iteration + 1, model.user_factors, model.item_factors):
            raise _Enough

    with threadpoolctl.threadpool_limits(1, "blas"), contextlib.suppress(_Enough):
        model.fit(sp.csr_matrix(task.train), show_progress=False, callback=note)
    return model.user_factors, model.item_factors


def irspack(task: Task, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Fit irspack's iALS, with its defaults but for what is searched."""
    from irspack.recommenders.ials import IALSTrainer, LossType, SolverType

    trainer = IALSTrainer(
        sp.csr_matrix(task.train), n_components=task.factors, nu=1.0, init_std=0.1, solver_type=SolverType.CG,
        max_cg_steps=3, ialspp_subspace_dimension=64, loss_type=LossType.IALSPP, random_seed=0,
        n_threads=task.threads, prediction_time_max_cg_steps=5, prediction_time_ialspp_iteration=7, **params,
    )  # fmt: skip
    core = trainer.core_trainer
    for iteration in range(1, task.iterations + 1):
        trainer.run_epoch()
        if task.ends(iteration, core.user, core.item):
            break
    return core.user, core.item


def lenskit(task: Task, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Fit LensKit's ImplicitMFScorer."""
    from lenskit.als import ImplicitMFScorer
    from lenskit.training import TrainingOptions

    lenskit_threads(task.threads)
    scorer = ImplicitMFScorer(embedding_size=task.factors, epochs=task.iterations, use_ratings=True, **params)
    trainer = scorer.create_trainer(lenskit_data(task.train.tocoo()), TrainingOptions(rng=0))
    for iteration in range(1, task.iterations + 1):
        trainer.train_epoch()
        if task.ends(iteration, np.asarray(scorer.user_embeddings), np.asarray(scorer.item_embeddings)):
            break
    return np.asarray(scorer.user_embeddings), np.asarray(scorer.item_embeddings)


OURS = Contender(
    "alternant", "alternant", alternant, resolve=relative, popularity=True, iterations=10,
    space={
        "unobserved_weight": Range(2**-1.5, 10, 1.5), "regularization": Range(2**-3, 4, 1.5),
        "a": Range(0, 0.5, 0.08, logarithmic=False), "b": Range(0, 0.5, 0.08, logarithmic=False),
    },
    start={"unobserved_weight": 1.0, "regularization": 1.0, "a": 0.25, "b": 0.2, "s": 0.1},
)  # fmt: skip
PEERS = (
    Contender(
        "implicit", "implicit", implicit,
        space={"alpha": Range(1, 200, 1.6), "regularization": Range(1e-3, 100, 2)},
        start={"alpha": 10.0, "regularization": 1.0},
    ),
    Contender(
        "irspack", "irspack", irspack,
        space={"alpha0": Range(3e-3, 1, 1.6), "reg": Range(1e-4, 0.1, 1.6)},
        start={"alpha0": 0.05, "reg": 0.003},
    ),
    Contender(
        "LensKit", "lenskit", lenskit, most_factors=64,  # what it does is cubic in them
        space={"weight": Range(1, 200, 1.6), "regularization": Range(1e-3, 100, 2)},
        start={"weight": 40.0, "regularization": 0.1},
    ),
)  # fmt: skip
