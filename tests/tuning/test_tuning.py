"""Hyper-parameter search: its result, pruning and errors."""

import functools
import sys

import numpy as np
import pytest
from scipy import sparse

from alternant import BiasedMF, CosineMF, ExplicitALS, ImplicitALS, Interactions, LogisticMF, datasets
from alternant.evaluation import evaluate, leave_one_out, random_split
from alternant.tuning import default_space, tune
from alternant.tuning._split import split_for_search

optuna = pytest.importorskip("optuna", reason="tune needs Optuna")

VISITS = datasets.load_msweb().interactions[:1500]
MODELS = [
    ImplicitALS(factors=4, iterations=2), ExplicitALS(factors=2, iterations=2), BiasedMF(factors=2, epochs=2),
    CosineMF(factors=2, epochs=2), LogisticMF(factors=2, epochs=2),
]  # fmt: skip


def ratings():
    data = VISITS[:300].copy().astype(np.float32)
    data.data = np.random.default_rng(0).integers(0, 2, data.nnz).astype(np.float32)
    return data


def test_the_better_of_two_choices_is_found():
    """The larger of the two regularizations shrinks all factors to 0."""
    model = ImplicitALS(factors=8, iterations=3, regularization=1e6)
    result = tune(model, VISITS, {"regularization": [1e6, 1.0]}, n_trials=4)
    assert result.best_params["regularization"] == 1.0
    assert result.trials[0].params["regularization"] == 1e6  # the first trial has the model's own parameters
    assert result.best_value > result.trials[0].value
    assert result.best_model.regularization == 1.0
    assert result.best_model.user_factors.shape == (1500, 8)


def test_the_best_value_is_that_of_evaluate_after_the_best_iteration():
    split = leave_one_out(VISITS, random_state=0)
    result = tune(ImplicitALS(random_state=3), None, {"alpha": (0.1, 10.0, "log")}, n_trials=3, validation=split,
                  metric="recall@5", refit=False)  # fmt: skip
    assert result.best_model is None
    model = ImplicitALS(random_state=3).set_params(**result.best_params).fit(split[0])
    searched = split_for_search(None, split, 0.2, 0, rated=False).validation
    assert evaluate(model, searched, k=5).means["recall@5"] == result.best_value
    best = max(result.trials, key=lambda trial: trial.value)
    assert best.params["iterations"] == int(np.argmax(best.values)) + 1


def test_the_result_is_reproducible():
    one, again = (tune(ImplicitALS(factors=4), VISITS, n_trials=5, random_state=7, refit=False) for _ in range(2))
    assert [trial.params for trial in one.trials] == [trial.params for trial in again.trials]
    assert [trial.values for trial in one.trials] == [trial.values for trial in again.trials]


def test_bad_trials_are_pruned_early():
    """Five good trials, then one whose factors are shrunk to 0."""
    space = {"regularization": (1.0, 1e6)}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0),
                                pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1))  # fmt: skip
    for value in (1.0, 1.1, 1.2, 1.3, 1.4, 1e6):
        study.enqueue_trial({"regularization": value})
    result = tune(ImplicitALS(factors=4, iterations=8), VISITS, space, n_trials=6, study=study, refit=False)
    assert [trial.state for trial in result.trials] == ["complete"] * 5 + ["pruned"]
    assert len(result.trials[-1].values) <= 2  # not after the first, where a model that learns is not yet ahead
    assert len(result.trials[0].values) == 8


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_every_model_has_a_default_space(model):
    space = default_space(model, ratings())
    assert set(space) <= set(model.get_params()) - {"factors", "iterations", "epochs"}
    result = tune(model, ratings(), n_trials=2, metric="ndcg@5")
    assert 0 <= result.best_value <= 1
    assert type(result.best_model) is type(model)
    assert "ndcg@5" in str(result)


def test_rating_errors_are_minimised_and_diverging_trials_fail():
    space = {"learning_rate": (1e-3, 1e9, "log")}
    result = tune(BiasedMF(factors=2, epochs=3), ratings(), space, metric="rmse", n_trials=8, random_state=1)
    states = [trial.state for trial in result.trials]
    assert "failed" in states
    assert result.best_value == min(trial.value for trial in result.trials if trial.state == "complete")
    with pytest.raises(ValueError, match=r"no trial of 2 succeeded \(BiasedMF diverges"):
        tune(BiasedMF(factors=2, learning_rate=1e8), ratings(), {"learning_rate": (1e8, 1e9)}, metric="mae", n_trials=2)


def test_a_rejected_combination_is_a_failed_trial():
    space = {"biases": [True, False], "nonnegative": [False, True]}
    sampler = optuna.samplers.GridSampler(space, seed=0)
    result = tune(ExplicitALS(factors=2, iterations=2), ratings(), space, metric="rmse", n_trials=4, sampler=sampler)
    states = {(trial.params["biases"], trial.params["nonnegative"]): trial.state for trial in result.trials}
    assert states.pop((True, True)) == "failed"
    assert "failed" not in states.values()


@pytest.mark.parametrize("space", [{"alpha": (0.1, 10.0, "log"), "regularization": [(0.1, 0.2), (0.4, 0.4), 0.4]},
                                   lambda trial: {"alpha": trial.suggest_float("alpha", 0.1, 10.0)}])  # fmt: skip
def test_a_study_is_continued_and_keeps_its_best_trial(space):
    model = ImplicitALS(factors=4, iterations=2)
    one = tune(model, VISITS, space, n_trials=6, refit=False)
    two = tune(model, VISITS, space, n_trials=1, study=one.study, refit=False)
    assert two.trials[:6] == one.trials
    assert len(two.trials) == 7
    assert two.best_value == max(trial.value for trial in two.trials if trial.state == "complete")
    best = min((trial for trial in two.trials if trial.value == two.best_value), key=two.trials.index)
    assert two.best_params == best.params


def test_the_result_survives_a_failing_refit(monkeypatch):
    fit = ImplicitALS.fit

    def diverge_on_all(self, interactions, **options):
        if interactions is VISITS:
            raise OverflowError("too large")
        return fit(self, interactions, **options)

    monkeypatch.setattr(ImplicitALS, "fit", diverge_on_all)
    with pytest.warns(RuntimeWarning, match=r"on all interactions failed \(too large\): best_model is None"):
        result = tune(ImplicitALS(factors=4, iterations=2), VISITS, {"alpha": (0.1, 1.0)}, n_trials=1)
    assert result.best_model is None
    assert result.best_value > 0


def test_any_integer_is_a_seed_and_optuna_s_verbosity_is_restored():
    before = optuna.logging.get_verbosity()
    tune(ImplicitALS(factors=4, iterations=1), VISITS, {"alpha": (0.1, 1.0)}, n_trials=2, random_state=2**40)
    assert optuna.logging.get_verbosity() == before


def test_interactions_keep_their_ids():
    pairs = VISITS.tocoo()
    data = Interactions.from_arrays([f"u{u}" for u in pairs.row], [f"i{i}" for i in pairs.col])
    result = tune(ImplicitALS(factors=4, iterations=2), data, {"alpha": (0.1, 1.0)}, n_trials=2)
    assert result.best_model.recommend("u0", 2)[0][0].startswith("i")


def test_many_users_are_sampled(monkeypatch):
    monkeypatch.setattr("alternant.tuning._split.MAX_USERS", 100)
    result = tune(ImplicitALS(factors=4, iterations=1), VISITS, {"alpha": [1.0, 2.0]}, n_trials=1, metric="hit_rate@5")
    assert (result.best_value * 100) == pytest.approx(round(result.best_value * 100))


def test_a_space_may_be_a_function():
    model = ImplicitALS(factors=4, iterations=2)
    result = tune(model, VISITS, lambda trial: {"alpha": trial.suggest_float("any", 1, 2)}, n_trials=2)
    assert 1 <= result.best_model.alpha <= 2


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"model": int}, TypeError, "model must be a model class or instance"),
    ({"space": {"alhpa": (1, 2)}}, ValueError, "ImplicitALS has no parameter 'alhpa' to search; it has factors"),
    ({"space": {}}, ValueError, "space must name at least one parameter"),
    ({"space": {"alpha": (2, 1)}}, ValueError, r"space\['alpha'\] must have low below high"),
    ({"space": {"alpha": 3}}, TypeError, r"space\['alpha'\] must be \(low, high\)"),
    ({"space": {"factors": (0, 5)}}, ValueError, r"space\['factors'\] holds 0, which ImplicitALS rejects"),
    ({"metric": "ndcg"}, ValueError, "metric must be a metric of evaluate, such as 'ndcg@10'"),
    ({"metric": "auc@5"}, ValueError, "metric must be a metric of evaluate"),
    ({"metric": "rmse"}, ValueError, "needs a rating model, got ImplicitALS"),
    ({"n_trials": 0}, ValueError, "n_trials must be at least 1"),
    ({"validation": VISITS}, TypeError, r"validation must be a pair \(train, test\)"),
    ({"validation_fraction": 2}, ValueError, "fraction must be between 0 and 1"),
    ({"random_state": np.random.default_rng(0)}, TypeError, "random_state must be a whole number, got Generator"),
    ({"model": LogisticMF, "item_features": np.eye(285)}, TypeError,
     "item_features need a model that learns from features, got LogisticMF"),
    ({"hold_out": "items"}, ValueError, "hold_out='items' needs item_features, as nothing else is known of items"),
    ({"hold_out": "users", "user_features": np.eye(1500), "validation": (VISITS, VISITS)}, ValueError,
     "a split is given by validation or by hold_out='users', got both"),
    ({"hold_out": "items", "item_features": np.eye(285), "validation_fraction": 0.01}, ValueError,
     "validation_fraction must hold out more items than a list of 20 has, got 2, so that every list would hold all"),
    ({"study": optuna.create_study()}, ValueError, r"study must maximize one value for metric='ndcg@20', got minimize"),
    ({"study": optuna.create_study(direction="maximize"), "sampler": optuna.samplers.RandomSampler()}, ValueError,
     "study already has a sampler and a pruner"),
])  # fmt: skip
def test_invalid_arguments_are_rejected_before_any_fit(change, error, message, monkeypatch):
    monkeypatch.setattr(ImplicitALS, "fit", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(error, match=message):
        tune(**{"model": ImplicitALS, "interactions": VISITS, "n_trials": 1} | change)


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'alternant\[tune\]'"):
        tune(ImplicitALS, VISITS)


@pytest.mark.parametrize("held_out", ["interactions", "users", "items"])
def test_features_are_part_of_every_fit_and_held_out_rows_have_no_interactions(held_out, monkeypatch):
    rng = np.random.default_rng(0)
    F, H = (rng.integers(0, 2, (n, 5)).astype(float) for n in (120, 80))
    utility = (F @ rng.standard_normal((5, 3))) @ (H @ rng.standard_normal((5, 3))).T
    utility += rng.gumbel(size=utility.shape)
    chosen = sparse.csr_array((utility > np.quantile(utility, 0.85)) * 1.0)
    fits, fit = [], ImplicitALS.fit

    @functools.wraps(fit)
    def noted(self, interactions, **options):
        fits.append((interactions, options["user_features"] is F and options["item_features"] is H))
        return fit(self, interactions, **options)

    monkeypatch.setattr(ImplicitALS, "fit", noted)
    found = tune(ImplicitALS(factors=3, iterations=3), chosen, metric="ndcg@5", budget=4, hold_out=held_out,
                 user_features=F, item_features=H)  # fmt: skip
    assert all(had for _, had in fits)
    assert {"feature_regularization", "regularization"} <= set(found.trials[-1].params)
    *trials, last = (each for each, _ in fits)
    assert all(each.shape == chosen.shape for each in trials)
    assert last is chosen
    if held_out != "interactions":
        axis = 0 if held_out == "items" else 1
        train, whole = (np.asarray((each > 0).sum(axis=axis)) for each in (trials[0], chosen))
        emptied = (train == 0) & (whole > 0)
        assert emptied.sum() == round(0.2 * (whole > 0).sum())
        assert (train[~emptied] == whole[~emptied]).all()
        candidates = split_for_search(chosen, None, 0.2, 0, rated=False, held_out=held_out).candidates
        assert (candidates is None) == (held_out == "users")
        if candidates is not None:
            np.testing.assert_array_equal(candidates, np.flatnonzero(emptied))
    assert found.best_value > 0.3  # at random: 0.1 to 0.2


def test_a_split_of_ratings_may_be_given():
    train, test = random_split(ratings(), 0.3, random_state=0)
    result = tune(ExplicitALS(factors=2, iterations=2), None, {"regularization": (0.1, 1.0)}, metric="mae", n_trials=2,
                  validation=(train, test), refit=False)  # fmt: skip
    assert 0 < result.best_value < 1
