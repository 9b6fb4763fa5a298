"""Blend: the scores of several models, added with weights that held-out interactions choose."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.messages import parameter, refusal
from .._utils.threads import map_parallel, resolve_num_threads
from .._utils.validation import check_number, random_generator
from ..data.csr import CSR
from ._blend_weights import REPEATS, SCALED, USERS, hold_out, ndcg_sums, simplex, spread_sums
from ._blended import BlendedModel, dtype_of, scorers, share
from ._memory import BLOCKS, FitMemory, refuse_if_too_large
from ._parameters import AUTO, Rule
from ._sklearn import check_unused
from ._traits import Traits
from .ease import EASE
from .implicit_als import ImplicitALS
from .item_knn import ItemKNN
from .popularity import Popularity

if TYPE_CHECKING:
    from .._typing import Auto, BackendName, Rated, Seed
    from ._base import FactorModel

EASE_ITEMS = 5000  # of a catalogue for which EASE takes seconds
MOST_MODELS = 4
BLOCK = 1 << 21  # scores that are computed at a time to choose weights
ALIKE = 1e-6  # deviation, relative to the largest score, that is rounding in float32
SHARED = ("random_state", "num_threads", "backend")  # by models that say nothing else


class Blend(BlendedModel):
    r"""The scores of several models, added with weights that held-out interactions choose.

    With :math:`s_m(u, i)` the score by which model m ranks (of `LogisticMF`, the log-odds) and :math:`\sigma_m` the
    standard deviation of these scores among a user's 200 best items that the user has not seen, averaged over up to
    512 users, the score of a pair is

    .. math:: \sum_m w_m \frac{s_m(u, i)}{\sigma_m}, \qquad w_m \ge 0, \quad \sum_m w_m = 1

    Models err on different items: factors know what many users have in common, weights between items know which two
    items go together, and where little is known, the popular items are the best guess. On held-out parts of
    seven data sets with whole histories, NDCG@20 was between .6 % below and 7 % above that of the best model
    (docs/models/blend.md).

    A fit holds out a fifth of the interactions of up to 2,000 users, fits the models on the rest, chooses the weights
    with the best NDCG@20 on what was held out, and fits the models again on all interactions. It takes twice the time
    of the models (up to five times, if fewer than 2,000 users have something held out: it is then done again), and that
    of ranking the best items of each model by 11, 66 or 286 choices of weights of two, three or four models. Fits of
    equal input with the same `random_state` are bit-identical on any number of threads.

    Similar items and users are those of the first model with a weight, `Popularity` aside.

    Parameters
    ----------
    models : list of 2 to 4 models of implicit feedback, or "auto"
        The models to blend. They are copied, not fitted themselves. ``"auto"``: an `ImplicitALS`, `Popularity`, and an
        `EASE` if there are up to 5,000 items, else an `ItemKNN`.
    weights : "auto" or sequence of floats
        w, one for each model, 0 or more; they are scaled to a sum of 1.
    factors : int
        Factors of the `ImplicitALS`, if `models` is "auto".
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed of what is held out, and of models that have none of their own.
    num_threads : int or None
        Number of threads, also used by models that do not set their own; None uses all that are available to the
        process.
    backend : {"auto", "cython", "numba", "numpy"}
        Also used by models that do not set their own; ``"auto"`` follows `alternant.set_backend` and
        ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    models_ : tuple of models
        The fitted models, without ids of their own. Change none of them: the blend would not notice.
    weights_ : tuple of float
        w of the fit.
    scales_ : tuple of float
        The standard deviations.
    user_factors, item_factors : Stack
        The factors of the models side by side. `numpy.asarray` returns vectors whose inner products are the scores.
    interactions_ : CSR
        The interactions of the fit.
    backend_ : str
        The backend selected during the fit.

    References
    ----------
    A. Töscher, M. Jahrer, R. Bell, "The BigChaos Solution to the Netflix Grand Prize", 2009. Y. Shen et al., "How
    Powerful is Graph Convolution for Recommendation?", CIKM 2021, which adds the cosines of items to a low-rank filter.

    Examples
    --------
    >>> from alternant import BPR, Blend, ImplicitALS, ItemKNN
    >>> model = Blend([ImplicitALS(factors=256), ItemKNN(neighbours=200), BPR()], random_state=0)
    """

    traits: ClassVar[Traits] = Traits(
        "implicit", "clicks, plays, purchases: usually the best lists, for a longer fit", "weighted sum of other models"
    )
    _rules: ClassVar[dict[str, Rule]] = {
        "models": lambda name, value: _check_models(name, value),
        "weights": lambda name, value: _check_weights(name, value),
    }
    _fitted_state = ("weights_", "scales_", "backend_")

    backend_: str

    def __init__(
        self,
        models: Sequence[FactorModel] | Auto = "auto",
        *,
        weights: Sequence[float] | Auto = "auto",
        factors: int = 64,
        random_state: Seed = None,
        num_threads: int | None = None,
        backend: BackendName = "auto",
    ) -> None:
        self.models = models
        self.weights = weights
        self.factors = factors
        self.random_state = random_state
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        count = 3 if isinstance(self.models, str) else len(self.models)
        if not isinstance(self.weights, str) and len(self.weights) != count:
            raise refusal(
                ValueError,
                f"{parameter('weights')} must have one number for each of {count} models, got {len(self.weights)}",
            )

    def fit(self, interactions: Rated, y: Any = None, *, show_progress: bool | None = None) -> Self:
        """Fit the models and choose their weights.

        Parameters
        ----------
        interactions : Interactions, or sparse matrix or array, or dense array, shape (n_users, n_items)
            The value r of every observed pair. Sparse in any SciPy format, whose duplicates are summed and stored zeros
            ignored; dense, including lists of lists, with 0 where there is no interaction.
        y : None
            Not used; present for compatibility with scikit-learn.
        show_progress : bool, optional
            Whether models fitted by iterations show a progress bar on stderr. By default, only on a terminal.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, OverflowError, MemoryError
            If the input or a parameter is invalid, or a model can't be fitted; the blend is left unchanged.
        """
        self._check_params()
        check_unused(y)
        backend = self._backend().name
        matrix, ids = self._matrix_and_ids(interactions)
        unfitted = self._unfitted(np.shape(matrix)[1] if np.ndim(matrix) == 2 else 0)
        rows = self._check_rows("interactions", matrix, dtype_of(unfitted), copy=True)
        for model in unfitted:  # before a model that could keep its factors in files proposes that
            needed = model.fit_memory(*rows.shape, len(rows.data))
            if needed.files:
                refuse_if_too_large(replace(needed, files=False))
        generator = random_generator(self.random_state)
        chosen = self.weights
        if isinstance(chosen, str):
            chosen = self._chosen_weights(unfitted, rows, generator, show_progress)
        shares = np.array([float(one) for one in chosen])
        if not sum(shares.tolist()) < np.inf:
            shares /= shares.max()
        fitted = _fit(unfitted, rows, show_progress)
        users = np.sort(generator.permutation(np.flatnonzero(np.diff(rows.indptr)))[:SCALED])
        scales = self._scales(fitted, users, rows.take(users))
        self._assign(
            models_=fitted, weights_=tuple((shares / shares.sum()).tolist()), scales_=scales, backend_=backend,
            interactions_=rows, **ids,
        )  # fmt: skip
        return self

    def set_params(self, **params: Any) -> Self:
        """Set hyperparameters by name; threads and backend also of fitted models that have those of the blend.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown or a value is invalid.
        """
        before = {name: getattr(self, name) for name in ("num_threads", "backend") if name in params}
        super().set_params(**params)
        fitted: tuple[Any, ...] | None = getattr(self, "models_", None)
        if before and fitted is not None:
            changed = []
            for model in fitted:
                own = {name: params[name] for name, old in before.items() if getattr(model, name) == old}
                changed.append(copy.copy(model).set_params(**own) if own else model)
            self._commit({"models_": tuple(changed)})
        return self

    def _unfitted(self, n_items: int) -> tuple[Any, ...]:
        """Return the models to fit, with the seed, threads and backend of the blend where they have none."""
        given: Any = self.models
        if isinstance(given, str):
            of_items = EASE() if n_items <= EASE_ITEMS else ItemKNN()
            given = ImplicitALS(factors=self.factors), of_items, Popularity()
        models = []
        for model in given:
            params = model.get_params()
            own = {name: getattr(self, name) for name, value in params.items() if name in SHARED and _is_unset(value)}
            models.append(type(model)(**params | own))
        return tuple(models)

    # The weights

    def _chosen_weights(
        self, unfitted: tuple[Any, ...], rows: CSR, generator: np.random.Generator, show_progress: bool | None
    ) -> tuple[float, ...]:
        """Return the weights whose lists find most of the interactions that are held out of a fit of the models."""
        choices = simplex(len(unfitted))
        total, measured = np.zeros(len(choices)), 0
        for _ in range(REPEATS):
            held_out, users = hold_out(rows, generator)
            train, wanted = rows.filter(~held_out), rows.filter(held_out).take(users)
            if not len(users) or not (train.data > 0).any():
                continue
            fitted = _fit(unfitted, train, show_progress)
            total += self._quality(fitted, choices, users, train.take(users), wanted)
            del fitted  # before the next ones need memory
            measured += len(users)
            if measured >= USERS:
                break
        if not measured:  # too few likes
            return (1.0,) * len(unfitted)
        return tuple(choices[int(total.argmax())].tolist())

    def _quality(
        self, fitted: tuple[Any, ...], choices: NDArray[Any], users: NDArray[np.int64], known: CSR, wanted: CSR
    ) -> NDArray[np.float64]:
        """Return the sum of the NDCG of users' lists, for each choice of weights."""
        some = np.arange(0, len(users), -(-len(users) // SCALED))
        coefficients = choices / np.array(self._scales(fitted, users[some], known.take(some)))
        measure = partial(ndcg_sums, coefficients, known, wanted, self._backend().top_k, scorers(fitted, users))
        return np.asarray(sum(self._by_blocks(measure, fitted, users)))

    def _scales(self, fitted: tuple[Any, ...], users: NDArray[np.int64], known: CSR) -> tuple[float, ...]:
        """Return the standard deviation of each model's best scores of unseen items, averaged over these users.

        Of a model whose scores are all alike, which says nothing, it is their size, so that they drown no others.
        """
        parts = self._by_blocks(partial(spread_sums, known, scorers(fitted, users)), fitted, users)
        spread, size = sum(parts, np.zeros((2, len(fitted)))) / max(1, len(users))
        alike = ~(spread > ALIKE * size)
        return tuple(np.where(alike, np.where(size > 0, size, 1.0), spread).tolist())

    def _by_blocks(
        self, measure: Callable[[slice], NDArray[np.float64]], fitted: tuple[Any, ...], users: NDArray[np.int64]
    ) -> list[NDArray[np.float64]]:
        """Return what a function returns for blocks of users, on all threads."""
        height = int(np.clip(BLOCK // (len(fitted[0]._side("item")) * len(fitted)), 1, 64))
        blocks = [slice(start, min(start + height, len(users))) for start in range(0, len(users), height)]
        return map_parallel(measure, blocks, resolve_num_threads(self.num_threads))

    # What others ask of a model

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Refuse: the fit chooses the weights, and models are tuned one by one."""
        raise ValueError("Blend has nothing to tune, as fit chooses the weights: tune its models, one by one")

    def fit_memory(self, n_users: int, n_items: int, n_pairs: int) -> FitMemory:
        """Estimate the memory of a fit: that of the models, and copies of the interactions."""
        parts = [model.fit_memory(n_users, n_items, n_pairs) for model in self._unfitted(n_items)]
        return FitMemory(
            entries=max(part.entries + (BLOCKS if part.streams else 0) for part in parts) + 24 * n_pairs,
            **{name: sum(getattr(part, name) for part in parts) for name in ("vectors", "factors", "fixed")},
            largest=max(part.largest for part in parts),
        )

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Return the work of a fit."""
        models = self._unfitted(n_items)
        works = (model.iteration_work(n_users, n_items, n_pairs) * _iterations(model) for model in models)
        repeats = min(REPEATS, -(-USERS // max(1, n_users))) if isinstance(self.weights, str) else 0
        return float((1 + repeats) * sum(works))


def _check_models(name: str, value: Any) -> None:
    from ._base import FactorModel

    if isinstance(value, str) and value == AUTO:
        return
    known = isinstance(value, (list, tuple)) and all(isinstance(one, FactorModel) for one in value)
    if not known:
        example = "[ImplicitALS(), ItemKNN()]"
        message = f"{parameter(name)} must be 'auto' or, in Python, a list of models, such as {example}, got {value!r}"
        raise refusal(TypeError, message)
    if not 2 <= len(value) <= MOST_MODELS:
        raise refusal(ValueError, f"{parameter(name)} must be 2 to {MOST_MODELS} models, got {len(value)}")
    for one in value:
        if one.traits.feedback != "implicit" or isinstance(one, Blend):
            what = type(one).__name__ + (f", of {one.traits.feedback}" if one.traits.feedback != "implicit" else "")
            way = "pass the models that it contains" if isinstance(one, Blend) else "leave it out"
            message = f"{parameter(name)} must be models of implicit feedback other than Blend, got {what}: {way}"
            raise refusal(ValueError, message)


def _check_weights(name: str, value: Any) -> None:
    if isinstance(value, str) and value == AUTO:
        return
    if isinstance(value, str) or not isinstance(value, (list, tuple, np.ndarray)):
        raise refusal(TypeError, f"{parameter(name)} must be 'auto' or a list of numbers, got {value!r}")
    for one in value:
        check_number(name, one, 0)
    if not sum(value) > 0:
        raise refusal(ValueError, f"{parameter(name)} must not all be 0, got {value!r}")


def _is_unset(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value == AUTO)


def _iterations(model: Any) -> int:
    return int(getattr(model, "iterations", getattr(model, "epochs", 1)))


def _fit(unfitted: tuple[Any, ...], rows: CSR, show_progress: bool | None) -> tuple[Any, ...]:
    """Return fitted models that share the interactions."""
    models, matrix = [], rows.to_scipy()
    for one in unfitted:
        model: Any = type(one)(**one.get_params())
        shows = "show_progress" in inspect.signature(model.fit).parameters
        model.fit(matrix, **{"show_progress": show_progress} if shows else {})
        share([model], rows)
        models.append(model)
    return tuple(models)
