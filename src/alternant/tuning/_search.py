"""`tune`: trials that share one split, within the time of some fits, and a judgement of the best of them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from .._utils.validation import check_boolean, check_integer, check_number, check_share
from ..data.interactions import Interactions
from ..evaluation._evaluate import AT_K, METRICS
from ..models import FactorModel, Popularity
from ..models.internals import check_values
from . import _optuna
from ._defaults import default_aim, default_space, own_values, rescoring_of
from ._judgement import judge
from ._parts import split_parts
from ._result import Trial, TuneResult
from ._runner import LESS_IS_BETTER, LISTLESS, Limits, Runner, fit, with_params
from ._space import Space, read_space
from ._staged import search_staged
from ._study import StudySearch

BUDGET = 20
COMPARISON = 2  # fits of a budget that are kept for it


def tune(
    model: type[FactorModel] | FactorModel,
    interactions: Any,
    space: Any = None,
    *,
    metric: str | None = None,
    budget: float | None = None,
    n_trials: int | None = None,
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

    ``tune(model, interactions)`` is all that is needed: space, metric and split are chosen for the model. Every trial
    is fitted on the same part of the interactions, measured on the other part while it is fitted, and ended early
    where that goes worse than with others; its value is that after its best iteration.

    The search takes about as long as `budget` fits of the model. A third of that goes to many trials with a quarter of
    the factors and half of the iterations, the rest to those of full size that these make likely to be good. What the
    best of them is worth is then measured on users whom the search did not: where it is no better than the model's
    own parameters there, these are the result, unless the space leaves them out.

    Parameters
    ----------
    model : class or instance
        An instance gives the parameters that are not searched, `factors` among them; it is not changed.
    interactions : as for the model's `fit`
    space : dict, callable or None
        For each parameter ``(low, high)``, ``(low, high, "log")``, a list of choices or an Optuna distribution; two
        whole numbers are a range of whole numbers, and two pairs lead from one pair (users, items) to the other. Or a
        function of an Optuna trial that returns a dict of parameters. None: `default_space` of the model.
    metric : str, optional
        A metric of `alternant.evaluation.evaluate`, as ``"ndcg@10"``, ``"auc"`` or ``"rmse"``. By default rmse for
        models of ratings and ``"ndcg@20"`` for the others; for `CosineMF`, in lists of a user's test pairs alone, which
        say how well likes are told from dislikes.
    budget : float, optional
        Work to do, where that of a fit with the model's own parameters on the part to train on is 1. It is counted, not
        timed, so that a seed makes the result. By default 20 where `n_trials` is not given.
    n_trials : int, optional
        Number of trials at most. Given without a budget, all are of full size.
    timeout : float, optional
        Seconds after which no new trial begins.
    validation : (train, test), optional
        A split of one's own, as those of `alternant.evaluation`; by default `validation_fraction` at random.
    validation_fraction : float
        Between 0 and 1.
    refit : bool
        Fit the best parameters on all interactions in the end.
    random_state : int or None
        Of the split, the search and the models (those whose own is None): the same one gives the same result.
    sampler, pruner : Optuna's, optional
        To search by instead, with trials of full size only. These have TPE and the median of the trials before where
        nothing else is given.
    study : optuna.Study, optional
        To go on with, or to keep in a storage; it has its own sampler and pruner. All trials are of full size.
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
    Two thirds of the users of the validation part, at most 5000, are searched by. The best value is the best of many on
    these, and so a little better than what new data will give; the comparison is not, but has fewer users. To report a
    number, keep a test set out of `interactions`.

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
    limits = _check_limits(budget, n_trials, timeout)
    check_boolean("refit", refit)
    check_boolean("show_progress", show_progress)
    check_share("validation_fraction", validation_fraction)
    for given, what, kind in (
        (sampler, "sampler", optuna.samplers.BaseSampler), (pruner, "pruner", optuna.pruners.BasePruner),
        (study, "study", optuna.Study),
    ):  # fmt: skip
        if given is not None and not isinstance(given, kind):
            raise TypeError(f"{what} must be an optuna {kind.__name__}, got {given!r}")
    if space is not None:
        read_space(optuna, space, base)
    elif isinstance(base, Popularity):
        default_space(base)  # says that there is nothing to tune
    _check_values(base, interactions, validation)
    aim = default_aim(base, interactions, validation, metric)
    name, k = _check_metric(aim.metric, base)
    direction = "minimize" if name in LESS_IS_BETTER else "maximize"
    if study is not None:
        _check_study(study, sampler, pruner, aim.metric, direction)
    parts = split_parts(interactions, validation, validation_fraction, random_state, rated=name in LISTLESS, model=base)
    given = default_space(base, parts.train) if space is None else space
    drawn = read_space(optuna, given, base)
    own = own_values(base, parts.train)
    if isinstance(drawn, Space):
        own |= drawn.chosen_as_they_are(base.get_params())
    runner = Runner(base, parts, name, k, aim.among_rated)
    own_way = sampler is pruner is study is None and limits.budget is not None
    with _optuna.quiet(optuna):
        if study is None:
            study = _new_study(optuna, direction, sampler, pruner, random_state)
        if own_way and isinstance(drawn, Space):
            runner.rescoring = rescoring_of(base, given)
            trials = search_staged(runner, drawn, own, limits, study, optuna, random_state, show_progress)
        else:
            held = drawn.holding(own)
            if held and not study.trials:
                study.enqueue_trial(held)
            trials = StudySearch(runner, drawn, optuna, limits).search(study, show_progress=show_progress)
    # A space of one's own may leave the model's own parameters out.
    may_keep = space is None or (isinstance(drawn, Space) and len(drawn.holding(own)) == len(drawn.distributions))
    names = list(drawn.distributions) if isinstance(drawn, Space) and not may_keep else []
    left_out = {name: base.get_params()[name] for name in names}
    result = _judged(
        _best_of(trials, runner.sign, left_out), trials, study, runner, aim.metric, random_state, may_keep=may_keep
    )
    return replace(result, best_model=_fit_best(base, result.best_params, interactions)) if refit else result


def _check_values(model: FactorModel, interactions: Any, validation: Any) -> None:
    """Refuse what no trial could be fitted on, which would only fail one after the other."""
    parts = validation if isinstance(validation, (tuple, list)) else ()
    for name, one in (("interactions", interactions), *(("validation", part) for part in parts)):
        if isinstance(one, Interactions):
            check_values(model, name, one)


def _judged(
    best: Trial, trials: list[Trial], study: Any, runner: Runner, metric: str, random_state: Any, *, may_keep: bool
) -> TuneResult:
    """Return the best trial, or the model's own parameters where they do as well and may be kept."""
    base, defaults = runner.base, type(runner.base)().get_params()
    result = TuneResult(
        best.params, float(best.value), None, metric, trials, study,  # type: ignore[arg-type]
        less_is_better=runner.sign < 0, n_fits=sum(trial.fits for trial in trials),
        against="the defaults" if all(base.get_params()[name] == defaults[name] for name in best.params)
        else "the model's own parameters",
    )  # fmt: skip
    if all(base.get_params()[name] == value for name, value in best.params.items()):
        return replace(result, kept_own=True)
    judgement = judge(runner, best.params, random_state)
    if judgement is None:
        return result
    difference = runner.sign * judgement.comparison.difference.value
    result = replace(result, comparison=judgement.comparison, n_fits=result.n_fits + COMPARISON)
    if difference > 0 or not may_keep:
        return result
    params = {name: base.get_params()[name] for name in best.params}
    return replace(result, best_params=params, best_value=judgement.own_value, kept_own=True)


def _fit_best(base: FactorModel, params: dict[str, Any], interactions: Any) -> Any:
    try:
        return fit(with_params(base, params), interactions, None)
    except ArithmeticError as error:  # what the search found must not be lost
        warnings.warn(
            f"the best parameters can't be fitted on all interactions ({error}): best_model is None",
            RuntimeWarning,
            stacklevel=3,
        )
        return None


def _best_of(trials: list[Trial], sign: int, left_out: dict[str, Any]) -> Trial:
    """Return the best complete trial of full size, the model's own parameters where these are not `left_out`."""
    complete = [
        trial
        for trial in trials
        if trial.state == "complete" and trial.value is not None and not trial.factors
        and not (left_out and all(trial.params.get(name) == value for name, value in left_out.items()))
    ]  # fmt: skip
    if not complete:
        errors = [trial.error for trial in trials if trial.error]
        raise ValueError(
            f"no trial of {len(trials)} succeeded ({errors[-1] if errors else 'all were ended early'}): narrow the "
            "space, or raise regularization or lower learning_rate in it"
        )
    return max(complete, key=lambda trial: sign * float(trial.value))  # type: ignore[arg-type]


def _base_model(model: Any, random_state: Any) -> FactorModel:
    if isinstance(model, type) and issubclass(model, FactorModel):
        model = model()
    if not isinstance(model, FactorModel):
        raise TypeError(f"model must be a class of model or an instance, got {model!r}")
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
    seed = None if random_state is None else random_state % 2**32  # all that the sampler takes
    return optuna.create_study(
        direction=direction,
        sampler=sampler if sampler is not None else optuna.samplers.TPESampler(seed=seed),
        pruner=pruner if pruner is not None else optuna.pruners.MedianPruner(n_warmup_steps=2),
    )


def _check_metric(metric: Any, model: FactorModel) -> tuple[str, int]:
    name, _, length = metric.partition("@") if isinstance(metric, str) else (None, "", "")
    if name not in METRICS or bool(length) != (name in AT_K) or (length and not (length.isdecimal() and int(length))):
        raise ValueError(f"metric must be a metric of evaluate, such as 'ndcg@10', 'auc' or 'rmse', got {metric!r}")
    if name in ("rmse", "mae") and model.traits.feedback != "ratings":
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
