"""`tune`: trials that share one split, are pruned by how they do on its test part, and end at their best iteration."""

from __future__ import annotations

import inspect
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._validation import check_boolean, check_integer, check_number, random_generator
from ..evaluation import evaluate, random_split
from ..evaluation._evaluate import AT_K, METRICS
from ..interactions import Interactions
from ..models import FactorModel
from . import _optuna
from ._space import FunctionSpace, Space, read_space

LESS_IS_BETTER = ("rmse", "mae", "gini")
MOST_USERS = 5000  # measured after each iteration: a few hundredths of a second, with an error of about 1 %


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes
    ----------
    params : dict
        What was drawn, and as ``iterations`` or ``epochs`` how many of them were best.
    value : float or None
        The metric after that many; None for a trial that failed.
    values : list of float
        The metric after each iteration.
    state : {"complete", "pruned", "failed"}
    seconds : float
    """

    params: dict[str, Any]
    value: float | None
    values: list[float]
    state: str
    seconds: float


@dataclass(frozen=True)
class TuneResult:
    """What `tune` found.

    Attributes
    ----------
    best_params : dict
        Parameters of the best trial, with the number of iterations or epochs that were best.
    best_value : float
        Its metric on the validation part.
    best_model : fitted model or None
        Fitted with these on all interactions, where `refit` is on and the fit does not diverge.
    metric : str
    trials : list of Trial
        In their order, those of a study that was gone on with included.
    study : optuna.Study
        For Optuna's own tables, plots and storage.
    """

    best_params: dict[str, Any]
    best_value: float
    best_model: Any
    metric: str
    trials: list[Trial]
    study: Any

    def __str__(self) -> str:
        states = [trial.state for trial in self.trials]
        shown = ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value!r}"
            for name, value in self.best_params.items()
        )
        return (
            f"{self.metric} {self.best_value:.4f} with {shown}\n{len(states)} trials, {states.count('pruned')} of them "
            f"pruned and {states.count('failed')} failed, {sum(trial.seconds for trial in self.trials):.0f} s"
        )


def tune(
    model: type[FactorModel] | FactorModel,
    interactions: Any,
    space: Any = None,
    *,
    metric: str = "ndcg@10",
    n_trials: int = 50,
    timeout: float | None = None,
    validation: tuple[Any, Any] | None = None,
    validation_fraction: float = 0.2,
    refit: bool = True,
    random_state: int | None = 0,
    sampler: Any = None,
    pruner: Any = None,
    study: Any = None,
    show_progress: bool = False,
) -> TuneResult:
    """Search for hyper-parameters that do well on held-out interactions.

    Every trial is fitted on the same part of the interactions. After each iteration or epoch it is measured on the
    other part (on 5000 of its users, where there are more), and ended early where that goes worse than with others;
    its value is that after its best iteration. The first trial has the model's own parameters, so that the result is
    not worse than they are.

    Parameters
    ----------
    model : class or instance
        An instance gives the parameters that are not searched; it is not changed.
    interactions : as for the model's `fit`
    space : dict, callable or None
        For each parameter ``(low, high)``, ``(low, high, "log")``, a list of choices or an Optuna distribution; two
        whole numbers are a range of whole numbers. Or a function of an Optuna trial that returns a dict of
        parameters. None: `default_space` of the model.
    metric : str
        A metric of `alternant.evaluation.evaluate`, as ``"ndcg@10"``, ``"auc"`` or ``"rmse"``.
    n_trials : int
        Number of trials.
    timeout : float, optional
        Seconds after which no new trial begins.
    validation : (train, test), optional
        A split of one's own, as those of `alternant.evaluation`; by default `validation_fraction` at random.
    validation_fraction : float
        Between 0 and 1.
    refit : bool
        Fit the best parameters on all interactions in the end.
    random_state : int or None
        Of the split, the sampler and the models (those whose own is None): the same one gives the same result.
    sampler, pruner : Optuna's, optional
        By default TPE, and the median of the trials before.
    study : optuna.Study, optional
        To go on with, or to keep in a storage; it has its own sampler and pruner.
    show_progress : bool
        Whether to draw a progress bar on stderr.

    Returns
    -------
    TuneResult

    Raises
    ------
    ImportError
        Without Optuna: ``pip install 'alternant[tune]'``.
    TypeError, ValueError
        If the arguments are not as required, before anything is fitted; or if every trial failed.

    Notes
    -----
    A trial that diverges, or whose parameters the model refuses in this combination, fails, and the search goes on.
    The best value is the best of many on the same pairs, and so a little better than what new data will give: to
    report a number, keep a test set out of `interactions`.

    References
    ----------
    T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama, "Optuna: A Next-generation Hyperparameter Optimization
    Framework", KDD 2019.
    """
    optuna = _optuna.load()
    if random_state is not None:
        check_integer("random_state", random_state, 0)
    base = _base_model(model, random_state)
    drawn = read_space(optuna, space, base)
    name, k = _check_metric(metric, base)
    check_integer("n_trials", n_trials, 1)
    if timeout is not None:
        check_number("timeout", timeout, 0, above=True)
    check_boolean("refit", refit)
    direction = "minimize" if name in LESS_IS_BETTER else "maximize"
    if study is not None:
        _check_study(study, sampler, pruner, metric, direction)
    train, test = _split(interactions, validation, validation_fraction, random_state)
    search = _Search(base, drawn, train, _few_users(test, random_state), name, k, optuna)
    with _optuna.quiet(optuna):
        if study is None:
            seed = None if random_state is None else random_state % 2**32  # all that the sampler takes
            study = optuna.create_study(
                direction=direction,
                sampler=sampler if sampler is not None else optuna.samplers.TPESampler(seed=seed),
                pruner=pruner if pruner is not None else optuna.pruners.MedianPruner(n_warmup_steps=2),
            )
        own = drawn.holding(base.get_params())
        if own and not study.trials:
            study.enqueue_trial(own)
        study.optimize(
            search.run, n_trials, timeout=timeout, catch=(ArithmeticError, CombinationError),
            show_progress_bar=show_progress,
        )  # fmt: skip
    trials = [search.describe(trial) for trial in study.trials if trial.state.is_finished()]
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        raise ValueError(
            f"no trial of {len(trials)} succeeded ({search.last_error}): narrow the space, or raise regularization or "
            "lower learning_rate in it"
        )
    sign = 1 if name in LESS_IS_BETTER else -1
    best = min(complete, key=lambda trial: sign * float(trial.value))  # type: ignore[arg-type]
    best_model = None
    if refit:
        try:
            best_model = _fit(_with(base, best.params), interactions, None)
        except ArithmeticError as error:  # what the search found must not be lost
            warnings.warn(
                f"the best parameters can't be fitted on all interactions ({error}): best_model is None",
                RuntimeWarning,
                stacklevel=2,
            )
    return TuneResult(best.params, float(best.value), best_model, metric, trials, study)  # type: ignore[arg-type]


class CombinationError(Exception):
    """The model refuses parameters that each alone it takes."""


class _Search:
    """The objective of the study."""

    def __init__(
        self, base: FactorModel, space: Space | FunctionSpace, train: Any, test: Any, metric: str, k: int, optuna: Any
    ) -> None:
        self.base, self.space, self.optuna = base, space, optuna
        self.train, self.test = train, test
        self.metric, self.k = metric, k
        self.drawn: dict[int, dict[str, Any]] = {}
        self.last_error: BaseException | None = None

    def run(self, trial: Any) -> float:
        """Fit, measure after each iteration, and return the best value."""
        start = time.perf_counter()
        params = self.drawn[trial.number] = self.space.draw(trial)
        try:
            model = _with(self.base, params)
        except (TypeError, ValueError) as error:
            self.last_error = error
            raise CombinationError(str(error)) from error
        values: list[float] = []

        def measure(*_: Any) -> bool:
            value = self._value(model)
            if np.isnan(value):
                raise ValueError("the validation part must have test items, got none: hold out more")
            values.append(value)
            trial.report(value, len(values))
            return bool(trial.should_prune())

        try:
            _fit(model, self.train, measure)
            if not values:  # a model without iterations
                measure()
        except ArithmeticError as error:
            self.last_error = error
            raise
        finally:
            seconds = time.perf_counter() - start
            steps = _steps_name(self.base)
            at = int(np.argmin(values) if self.metric in LESS_IS_BETTER else np.argmax(values)) if values else 0
            trial.set_user_attr("alternant", {"values": values, "seconds": seconds, "steps": at + 1 if steps else None})
        if trial.should_prune():
            raise self.optuna.TrialPruned
        return values[at]

    def _value(self, model: FactorModel) -> float:
        result = evaluate(model, self.test, k=self.k, metrics=(self.metric,))
        (value,) = result.means.values()
        return value

    def describe(self, trial: Any) -> Trial:
        """Return a finished trial of the study."""
        noted = trial.user_attrs.get("alternant", {"values": [], "seconds": 0.0, "steps": None})
        drawn = self.drawn.get(trial.number)  # None: by an earlier search of the study
        params = dict(self.space.decode(trial.params) if drawn is None else drawn)
        steps = _steps_name(self.base)
        if steps and noted["values"]:
            params[steps] = noted["steps"]
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
        value = None
        if noted["values"] and state != "failed":
            value = (min if self.metric in LESS_IS_BETTER else max)(noted["values"])
        return Trial(params, value, noted["values"], state, noted["seconds"])


def _base_model(model: Any, random_state: Any) -> FactorModel:
    if isinstance(model, type) and issubclass(model, FactorModel):
        model = model()
    if not isinstance(model, FactorModel):
        raise TypeError(f"model must be a class of model or an instance, got {model!r}")
    params = model.get_params()
    if params.get("random_state", 0) is None:
        params["random_state"] = random_state
    return type(model)(**params)


def _with(base: FactorModel, params: dict[str, Any]) -> FactorModel:
    return type(base)(**{**base.get_params(), **params})


def _steps_name(model: FactorModel) -> str | None:
    """Return what the model calls its iterations."""
    return next((name for name in ("iterations", "epochs") if name in model.get_params()), None)


def _fit(model: Any, interactions: Any, callback: Any) -> Any:
    accepted = inspect.signature(model.fit).parameters
    options = {"callback": callback, "show_progress": False}
    return model.fit(interactions, **{name: value for name, value in options.items() if name in accepted})


def _check_metric(metric: Any, model: FactorModel) -> tuple[str, int]:
    name, _, length = metric.partition("@") if isinstance(metric, str) else (None, "", "")
    if name not in METRICS or bool(length) != (name in AT_K) or (length and not (length.isdecimal() and int(length))):
        raise ValueError(f"metric must be a metric of evaluate, such as 'ndcg@10', 'auc' or 'rmse', got {metric!r}")
    if name in ("rmse", "mae") and not model._rates:
        raise ValueError(f"metric={metric!r} needs a model of ratings, got {type(model).__name__}: use 'ndcg@10'")
    return name, int(length or 1)


def _check_study(study: Any, sampler: Any, pruner: Any, metric: str, direction: str) -> None:
    """Refuse a study that would search for something else."""
    if sampler is not None or pruner is not None:
        raise ValueError(
            "study has a sampler and a pruner of its own, got another beside it: set study.sampler or study.pruner"
        )
    found = [way.name.lower() for way in study.directions]
    if found != [direction]:
        raise ValueError(
            f"study must {direction} one value for metric={metric!r}, got {' and '.join(found)}: use "
            f"optuna.create_study(direction={direction!r})"
        )


def _split(interactions: Any, validation: Any, fraction: float, random_state: Any) -> tuple[Any, Any]:
    if validation is None:
        return random_split(interactions, fraction, random_state=random_state)
    if not isinstance(validation, tuple) or len(validation) != 2:
        raise TypeError(f"validation must be a pair (train, test), got {type(validation).__name__}")
    return validation


def _few_users(test: Any, random_state: Any) -> Any:
    """Return the test part of some users, the others' left out, where there are many."""
    matrix = test.matrix if isinstance(test, Interactions) else test.tocsr()
    counts = np.diff(matrix.indptr)
    users = np.flatnonzero(counts)
    if len(users) <= MOST_USERS:
        return test
    chosen = np.zeros(len(counts), bool)
    chosen[random_generator(random_state).permutation(users)[:MOST_USERS]] = True
    keep = np.repeat(chosen, counts)
    if isinstance(test, Interactions):
        return test._select(keep)
    matrix = matrix.copy()
    matrix.data = np.where(keep, matrix.data, 0)
    matrix.eliminate_zeros()
    return matrix
