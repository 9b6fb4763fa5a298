"""`tune`: a hyper-parameter search on one split, and a holdout comparison of its best trial."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .._utils.validation import check_boolean, check_choice, check_integer, check_number, check_share
from ..data.events import Duration, Events
from ..data.interactions import Interactions
from ..evaluation._evaluate import AT_K, METRICS, RATING_METRICS
from ..models import FactorModel, Popularity
from ..models._feature_model import FeatureModel
from ..models.internals import check_values
from . import _optuna
from ._comparison import compare_on_holdout
from ._defaults import default_space, objective_metric, own_values, rescoring_of
from ._events import Weighting, on_events, plain
from ._result import Trial, TuneResult
from ._runner import MINIMIZED, Limits, TrialRunner, fit, with_params
from ._space import Space, read_space
from ._split import split_for_search
from ._staged import search_staged
from ._study import StudySearch

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as OptunaTrial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from .._typing import Featured, Rated

Model = TypeVar("Model", bound=FactorModel)

BUDGET = 20  # fits
COMPARISON_COST = 2  # fits


def tune(
    model: type[Model] | Model,
    interactions: Rated | Events,
    space: Mapping[str, Any] | Callable[[OptunaTrial], Mapping[str, Any]] | None = None,
    *,
    kind: Any = None,
    weights: Mapping[Any, float] | None = None,
    half_life: Duration | None = None,
    metric: str | None = None,
    budget: float | None = None,
    n_trials: int | None = None,
    timeout: float | None = None,
    validation: tuple[Rated | Events, Rated] | None = None,
    validation_fraction: float = 0.2,
    user_features: Featured | None = None,
    item_features: Featured | None = None,
    hold_out: Literal["interactions", "users", "items"] = "interactions",
    refit: bool = True,
    random_state: int | None = 0,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    study: Study | None = None,
    show_progress: bool = False,
) -> TuneResult[Model]:
    """Search for hyper-parameters that do well on held-out interactions.

    ``tune(model, interactions)`` chooses space, metric and split for the model. Every trial is fitted on the same
    training interactions, measured on validation users during the fit, and pruned if it falls behind other trials. Its
    value is that after its best iteration.

    The search costs about as much as `budget` fits of the model. A third of the budget goes to many trials with a
    quarter of the factors and half of the iterations, the rest to the most promising trials of full size. The best
    trial is then compared with the model's own parameters on holdout users that the search never measured. If it is no
    better, the model's own parameters are the result, unless the space excludes them.

    Parameters
    ----------
    model : class or instance
        An instance sets the parameters that are not searched, such as `factors`; it is not modified.
    interactions : as for the model's `fit`, or Events
        With `Events`, `kind` is predicted, and their weights and half-life are searched together with the model's
        parameters.
    space : dict, callable or None
        For each parameter ``(low, high)``, ``(low, high, "log")``, a list of choices or an Optuna distribution.
        Integer bounds give a range of integers, and two pairs (users, items) the range from one pair to the other.
        Alternatively, a function of an Optuna trial that returns a dict of parameters. By default `default_space`.
    kind : a kind of the events
        The kind to predict. The default split is `split_kind`, so that the events of held-out pairs, of whatever kind,
        are not in the training data.
    weights, half_life
        The weighting of the events that the search starts from, as for `Events.interactions`. By default, all weights
        are 1. In a space, the parameter ``"weights.view"`` is the absolute value of the weight of ``view``, whose sign
        is that of the given weight, and ``"half_life"`` is in days if it is given as a duration. The default space
        has weights from 1/16 to 4 times the given ones, without the predicted kind and those of weight 0, and, if one
        is given, half-lives from 1/16 to 16 times it.
    metric : str, optional
        A metric of `alternant.evaluation.evaluate`, such as ``"ndcg@10"``, ``"auc"`` or ``"rmse"``. By default
        ``"rmse"`` for rating models and ``"ndcg@20"`` for the others; for `CosineMF`, only each user's test items are
        ranked, which measures how well likes are separated from dislikes.
    budget : float, optional
        Cost of the search, in fits of the model's own parameters on the training interactions. Costs are estimated,
        not timed, so that results are reproducible. By default 20 if `n_trials` is not given.
    n_trials : int, optional
        Maximum number of trials. Without a budget, all trials are of full size.
    timeout : float, optional
        Seconds after which no new trial starts.
    validation : (train, test), optional
        A split, as from `alternant.evaluation` (of `Events`, from `split_kind`); by default a random one with
        `validation_fraction`.
    validation_fraction : float
        Between 0 and 1.
    user_features, item_features : as for the model's `fit`, optional
        Features for every fit, of a model that learns from them. The default space then has `feature_regularization`,
        too.
    hold_out : {"interactions", "users", "items"}
        What the default split holds out: random interactions; or all interactions of random items (users), to find what
        is best for items (users) that are known by their features alone, as `hold_out_items` does. Only held-out items
        are then ranked.
    refit : bool
        Fit the best parameters on all interactions at the end.
    random_state : int or None
        Seed of the split, the search and the models whose own seed is None; the same seed gives the same result.
    sampler, pruner : Optuna sampler and pruner, optional
        Run an Optuna search, with trials of full size only. If only one is given, the other is the TPE sampler or the
        median pruner.
    study : optuna.Study, optional
        A study to continue, or to keep in a storage, with its own sampler and pruner. All trials are of full size.
    show_progress : bool
        Whether to show a progress bar on stderr.

    Returns
    -------
    TuneResult

    Raises
    ------
    ImportError
        If Optuna is not installed: ``pip install 'alternant[tune]'``.
    TypeError, ValueError
        If an argument is invalid, before anything is fitted, or if every trial failed.

    Notes
    -----
    A trial that diverges, or whose combination of parameters the model rejects, fails, and the search continues. Two
    thirds of the test users of the split, at most 5000, are the validation users. The best value is the best of many
    trials on these users and so slightly optimistic; the comparison is unbiased, but on fewer users. To report a
    result, keep a separate test set out of `interactions`.

    References
    ----------
    T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama, "Optuna: A Next-generation Hyperparameter Optimization
    Framework", KDD 2019. D. R. Jones, M. Schonlau, W. J. Welch, "Efficient Global Optimization of Expensive Black-Box
    Functions", Journal of Global Optimization 1998.
    """
    optuna = _optuna.load()
    if random_state is not None:
        check_integer("random_state", random_state, 0)
    base = _base_model(model, random_state)
    weighting = _weighting(base, interactions, kind, weights, half_life, validation)
    if weighting is not None:
        base = on_events(base, weighting)
    limits = _check_limits(budget, n_trials, timeout)
    check_boolean("refit", refit)
    if refit and interactions is None:
        raise ValueError("the best model is fitted on interactions, got None: pass them, or refit=False")
    check_boolean("show_progress", show_progress)
    check_share("validation_fraction", validation_fraction)
    features = _check_features(base, user_features, item_features, hold_out, validation, weighting)
    for option, what, cls in (
        (sampler, "sampler", optuna.samplers.BaseSampler), (pruner, "pruner", optuna.pruners.BasePruner),
        (study, "study", optuna.Study),
    ):  # fmt: skip
        if option is not None and not isinstance(option, cls):
            raise TypeError(f"{what} must be an optuna {cls.__name__}, got {option!r}")
    if space is not None:
        read_space(optuna, space, base)
    elif isinstance(base, Popularity):
        default_space(base)  # raises, since there is nothing to tune
    _check_values(base, interactions, validation)
    objective = objective_metric(base, interactions, validation, metric)
    name, k = _check_metric(objective.metric, base)
    direction = "minimize" if name in MINIMIZED else "maximize"
    if study is not None:
        _check_study(study, sampler, pruner, objective.metric, direction)
    split = split_for_search(
        interactions, validation, validation_fraction, random_state, rated=name in RATING_METRICS, model=base,
        held_out=hold_out, kind=kind, weighting=weighting, k=k,
    )  # fmt: skip
    given = default_space(base, split.rows, features=bool(features)) if space is None else space
    drawn = read_space(optuna, given, base)
    own = own_values(base, split.rows)
    if isinstance(drawn, Space):
        own |= drawn.listed(base.get_params())
    runner = TrialRunner(base, split, name, k, objective.among_rated, features=features)
    staged = sampler is None and pruner is None and study is None and limits.budget is not None
    with _optuna.quiet(optuna):
        if study is None:
            study = _new_study(optuna, direction, sampler, pruner, random_state)
        if staged and isinstance(drawn, Space):
            runner.rescoring = rescoring_of(base, given)
            trials = search_staged(runner, drawn, own, limits, study, optuna, random_state, show_progress)
        else:
            initial = drawn.stored(own)
            if initial and not study.trials:
                study.enqueue_trial(initial)
            trials = StudySearch(runner, drawn, optuna, limits).search(study, show_progress=show_progress)
    # A given space may exclude the model's own parameters.
    may_keep = space is None or (isinstance(drawn, Space) and len(drawn.stored(own)) == len(drawn.distributions))
    names = list(drawn.distributions) if isinstance(drawn, Space) and not may_keep else []
    excluded = {name: base.get_params()[name] for name in names}
    best = _best_of(trials, runner.sign, excluded)
    result = _compared(best, trials, study, runner, objective.metric, random_state, may_keep=may_keep)
    data: Any = interactions
    if weighting is not None:
        data = weighting.interactions(interactions, result.best_params)
        base, result = _of_events(base, weighting, result)
    if not refit:
        return result
    return replace(result, best_model=_fit_best(base, result.best_params, data, features))


def _weighting(
    model: FactorModel, interactions: Any, kind: Any, weights: Any, half_life: Any, validation: Any
) -> Weighting | None:
    """Return the weighting that a search starts from; None if it is not one on events."""
    train = validation[0] if interactions is None and isinstance(validation, tuple) and validation else interactions
    if not isinstance(train, Events):
        for name, given in (("kind", kind), ("weights", weights), ("half_life", half_life)):
            if given is not None:
                raise ValueError(f"{name} needs interactions that are Events, got {type(train).__name__}")
        return None
    if isinstance(validation, tuple) and validation and not isinstance(validation[0], Events):
        raise ValueError(
            f"the train part of validation must be Events, like interactions, got {type(validation[0]).__name__}: else "
            "no weight would have an effect"
        )
    if model.traits.feedback != "implicit":
        raise ValueError(
            f"Events need a model that learns from sums of weights, got {type(model).__name__}: use ImplicitALS, or "
            "pass Interactions"
        )
    return Weighting.of(train, kind, weights, half_life)


def _of_events(
    base: FactorModel, weighting: Weighting, result: TuneResult[Any]
) -> tuple[FactorModel, TuneResult[Any]]:
    """Return the model without the weighting, and the result with the weighting apart from its parameters."""
    base, params = plain(base, result.best_params)
    arguments = weighting.arguments(result.best_params)
    against = f"{result.against} and the given weights"
    return base, replace(result, best_params=params, best_events=arguments, against=against)


def _check_features(
    model: FactorModel, user_features: Any, item_features: Any, hold_out: str, validation: Any,
    weighting: Weighting | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the features that are given as arguments of `fit`."""
    check_choice("hold_out", hold_out, ("interactions", "users", "items"))
    given = {"user_features": user_features, "item_features": item_features}
    given = {name: features for name, features in given.items() if features is not None}
    if given and not isinstance(model, FeatureModel):
        raise TypeError(
            f"{next(iter(given))} need a model that learns from features, got {type(model).__name__}: use ImplicitALS, "
            "ExplicitALS or BPR, or leave them out"
        )
    if hold_out != "interactions" and f"{hold_out[:-1]}_features" not in given:
        raise ValueError(
            f"hold_out={hold_out!r} needs {hold_out[:-1]}_features, as nothing else is known of {hold_out} without "
            "interactions: pass them, or hold_out='interactions'"
        )
    if hold_out != "interactions" and validation is not None:
        raise ValueError(f"a split is given by validation or by hold_out={hold_out!r}, got both: leave out one of them")
    if hold_out != "interactions" and weighting is not None:
        raise ValueError(
            f"hold_out={hold_out!r} needs Interactions, got Events, of which pairs of one kind are held out: pass "
            "events.interactions(...)"
        )
    return given


def _check_values(model: FactorModel, interactions: Any, validation: Any) -> None:
    """Reject values that every trial would reject."""
    parts = validation if isinstance(validation, (tuple, list)) else ()
    for name, rows in (("interactions", interactions), *(("validation", part) for part in parts)):
        if isinstance(rows, Interactions):
            check_values(model, name, rows)


def _compared(
    best: Trial, trials: list[Trial], study: Any, runner: TrialRunner, metric: str, random_state: Any, *, may_keep: bool
) -> TuneResult[Any]:
    """Return the result: the best trial, or the model's own parameters if no worse on the holdout users."""
    base, defaults = runner.base, type(runner.base)().get_params()
    result: TuneResult[Any] = TuneResult(
        best.params, float(best.value), None, metric, trials, study,  # type: ignore[arg-type]
        less_is_better=runner.sign < 0, n_fits=sum(trial.fits for trial in trials),
        against="the defaults" if all(base.get_params()[name] == defaults[name] for name in best.params)
        else "the model's own parameters",
    )  # fmt: skip
    if all(base.get_params()[name] == value for name, value in best.params.items()):
        return replace(result, kept_own=True)
    holdout = compare_on_holdout(runner, best.params, random_state)
    if holdout is None:
        return result
    difference = runner.sign * holdout.comparison.difference.value
    result = replace(result, comparison=holdout.comparison, n_fits=result.n_fits + COMPARISON_COST)
    if difference > 0 or not may_keep:
        return result
    params = {name: base.get_params()[name] for name in best.params}
    return replace(result, best_params=params, best_value=holdout.own_value, kept_own=True)


def _fit_best(base: FactorModel, params: dict[str, Any], interactions: Any, features: dict[str, Any]) -> Any:
    try:
        return fit(with_params(base, params), interactions, None, features)
    except ArithmeticError as error:  # do not lose the result of the search
        warnings.warn(
            f"the fit of the best parameters on all interactions failed ({error}): best_model is None",
            RuntimeWarning,
            stacklevel=3,
        )
        return None


def _best_of(trials: list[Trial], sign: int, excluded: dict[str, Any]) -> Trial:
    """Return the best complete trial of full size, other than one with the `excluded` parameters."""
    complete = [
        trial
        for trial in trials
        if trial.state == "complete" and trial.value is not None and not trial.factors
        and not (excluded and all(trial.params.get(name) == value for name, value in excluded.items()))
    ]  # fmt: skip
    if not complete:
        errors = [trial.error for trial in trials if trial.error]
        raise ValueError(
            f"no trial of {len(trials)} succeeded ({errors[-1] if errors else 'all were pruned'}): narrow the space, "
            "raise its regularization or lower its learning_rate"
        )
    return max(complete, key=lambda trial: sign * float(trial.value))  # type: ignore[arg-type]


def _base_model(model: Any, random_state: Any) -> FactorModel:
    if isinstance(model, type) and issubclass(model, FactorModel):
        model = model()
    if not isinstance(model, FactorModel):
        raise TypeError(f"model must be a model class or instance, got {model!r}")
    params = model.get_params()
    if params.get("random_state", 0) is None:
        params["random_state"] = random_state
    return type(model)(**params)


def _check_limits(budget: Any, n_trials: Any, timeout: Any) -> Limits:
    if budget is None and n_trials is None:
        budget = BUDGET
    if budget is not None:
        check_number("budget", budget, 0, above=True)
    if n_trials is not None:
        check_integer("n_trials", n_trials, 1)
    if timeout is not None:
        check_number("timeout", timeout, 0, above=True)
    return Limits(budget, n_trials, timeout)


def _new_study(optuna: Any, direction: str, sampler: Any, pruner: Any, random_state: int | None) -> Any:
    seed = None if random_state is None else random_state % 2**32  # the sampler takes 32 bits
    return optuna.create_study(
        direction=direction,
        sampler=sampler if sampler is not None else optuna.samplers.TPESampler(seed=seed),
        pruner=pruner if pruner is not None else optuna.pruners.MedianPruner(n_warmup_steps=2),
    )


def _check_metric(metric: Any, model: FactorModel) -> tuple[str, int]:
    name, _, length = metric.partition("@") if isinstance(metric, str) else (None, "", "")
    if name not in METRICS or bool(length) != (name in AT_K) or (length and not (length.isdecimal() and int(length))):
        raise ValueError(f"metric must be a metric of evaluate, such as 'ndcg@10', 'auc' or 'rmse', got {metric!r}")
    if name in RATING_METRICS and model.traits.feedback != "ratings":
        raise ValueError(f"metric={metric!r} needs a rating model, got {type(model).__name__}: use 'ndcg@10'")
    return name, int(length or 1)


def _check_study(study: Any, sampler: Any, pruner: Any, metric: str, direction: str) -> None:
    """Reject a study with a different objective."""
    if sampler is not None or pruner is not None:
        raise ValueError(
            "study already has a sampler and a pruner: set study.sampler or study.pruner instead of passing another one"
        )
    found = [each.name.lower() for each in study.directions]
    if found != [direction]:
        raise ValueError(
            f"study must {direction} one value for metric={metric!r}, got {' and '.join(found)}: use "
            f"optuna.create_study(direction={direction!r})"
        )
