"""`tune(model, interactions)` with its default space, metric, split and budget, and the line that it prints."""

import re

import numpy as np
import pytest

from alternant import BiasedMF, CosineMF, ExplicitALS, ImplicitALS, Interactions, LogisticMF, Popularity, datasets
from alternant.evaluation import evaluate, random_split
from alternant.tuning import default_space, tune
from alternant.tuning._split import split_for_search
from alternant.tuning._surrogate import Surrogate

pytest.importorskip("optuna", reason="tune needs Optuna")

VISITS = datasets.load_msweb().interactions[:1500]


def likes():
    """Likes and dislikes of users who like either the even or the odd items, for a random part of the pairs."""
    rng = np.random.default_rng(0)
    data = VISITS[:0]
    shown = rng.random((200, 40)) < 0.4
    data = type(data)(shown.astype(np.float32))
    users, items = data.nonzero()
    data.data = ((users + items) % 2 == 0).astype(np.float32)
    return data


@pytest.mark.parametrize(("model", "metric"), [
    (ImplicitALS(factors=4, iterations=2), "ndcg@20"), (LogisticMF(factors=2, epochs=2), "ndcg@20"),
    (ExplicitALS(factors=2, iterations=2), "rmse"), (BiasedMF(factors=2, epochs=2), "rmse"),
    (CosineMF(factors=2, epochs=2), "ndcg@20"),
], ids=lambda one: type(one).__name__ if not isinstance(one, str) else one)  # fmt: skip
def test_every_model_is_tuned_by_default(model, metric):
    result = tune(model, likes(), budget=6)
    assert result.metric == metric
    assert result.best_model.get_params()["factors"] == model.factors
    assert 4 <= sum(trial.fits for trial in result.trials) <= result.n_fits < 12
    line = str(result)
    assert "\n" not in line
    assert re.fullmatch(rf"{metric} \d\.\d{{4}} with .*: .*\d+ trials .*in [\d.]+ fits' worth of time", line), line


@pytest.mark.nightly
def test_most_trials_are_reduced_and_the_best_is_of_full_size():
    result = tune(ImplicitALS(factors=64, iterations=12), VISITS, refit=False)
    small = [trial for trial in result.trials if trial.factors is not None]
    whole = [trial for trial in result.trials if trial.factors is None]
    assert len(small) > len(whole) > 2
    assert {trial.factors for trial in small} == {16}
    assert max(trial.steps[-1] for trial in small) == 6
    assert sum(trial.fits for trial in small) < sum(trial.fits for trial in whole)
    assert 18 <= result.n_fits <= 22
    assert result.best_value <= max(trial.value for trial in whole if trial.state == "complete")
    assert len(result.study.trials) == len(whole)
    assert "pruned" in {trial.state for trial in result.trials}


def test_the_comparison_is_on_holdout_users_that_the_search_never_measured():
    model = ImplicitALS(factors=16, iterations=4, popularity_exponent=-2.0)  # popular items rank last
    result = tune(model, VISITS, budget=10)
    compared = result.comparison
    split = split_for_search(VISITS, None, 0.2, 0, rated=False)
    own, found = (evaluate(model.set_params(random_state=0, **params).fit(split.train), split.holdout, k=20)
                  for params in ({}, result.best_params))  # fmt: skip
    assert (compared.own, compared.found) == (own.means["ndcg@20"], found.means["ndcg@20"])
    assert compared.difference == found.difference(own, "ndcg@20")
    assert compared.difference.low > 0
    percent = 100 * compared.difference.value / compared.own
    assert f"{percent:.1f} % better than the model's own parameters (95 % interval " in str(result)
    validation, holdout = (set(part.nonzero()[0]) for part in (split.validation, split.holdout))
    assert not validation & holdout
    assert len(holdout) == compared.n_users == (len(validation) + len(holdout)) // 3


def test_the_models_own_parameters_are_kept_if_no_trial_is_better():
    result = tune(ImplicitALS(factors=16), VISITS, {"regularization": [0.01, 1e6]}, budget=8, n_trials=5)
    assert not result.kept_own  # "auto" is neither of the two
    model = ImplicitALS(factors=16, iterations=4, regularization=0.01)
    result = tune(model, VISITS, {"regularization": [0.01, 1e6]}, budget=8)
    assert result.kept_own
    assert result.best_params == {"regularization": 0.01, "iterations": 4}
    assert "with the model's own parameters, since no trial was better: " in str(result)


def test_the_models_own_parameters_are_kept_if_nothing_is_better_on_the_holdout_users(monkeypatch):
    """In the comparison, the best parameters of the search rank popular items last."""
    model = ImplicitALS(factors=8, iterations=3, regularization=10.0)
    fit = ImplicitALS.fit

    def fit_worse(self, interactions, *, callback=None, **options):
        if callback is None and self.regularization != 10.0:
            self.set_params(popularity_exponent=-3.0)
        return fit(self, interactions, callback=callback, **options)

    monkeypatch.setattr(ImplicitALS, "fit", fit_worse)
    result = tune(model, VISITS, {"regularization": (0.001, 10.0, "log")}, budget=8)
    assert result.kept_own
    assert result.best_params == {"regularization": 10.0, "iterations": 3}
    assert result.best_model.regularization == 10.0
    assert result.best_value == next(trial for trial in result.trials if trial.factors is None).value
    assert re.search(r"own parameters, kept because the best trial is \d+\.\d % worse \(95 % interval -", str(result))


def test_the_result_of_a_budget_is_reproducible():
    one, again = (tune(ImplicitALS(factors=8, iterations=4), VISITS, budget=6, random_state=7) for _ in range(2))
    assert [trial.values for trial in one.trials] == [trial.values for trial in again.trials]
    assert str(one) == str(again)


@pytest.mark.nightly
def test_a_budget_limits_cost_and_n_trials_the_trials():
    model = ImplicitALS(factors=64, iterations=8)
    more, less = (tune(model, VISITS, budget=budget, refit=False) for budget in (16, 6))
    assert sum(trial.fits for trial in more.trials) > 2 * sum(trial.fits for trial in less.trials)
    few = tune(model, VISITS, budget=16, n_trials=7, refit=False)
    assert len(few.trials) == 7
    assert few.trials[-1].factors is None


def test_failures_of_a_budget_are_harmless():
    space = {"learning_rate": (1e-3, 1e9, "log")}
    result = tune(BiasedMF(factors=16, epochs=4), likes(), space, budget=12)
    states = [trial.state for trial in result.trials]
    assert "failed" in states
    assert result.best_model.learning_rate < 10
    assert "failed)" in str(result)


def test_pairs_move_together():
    space = {"regularization": ((0.1, 0.01), (10.0, 100.0), "log")}
    result = tune(ImplicitALS(factors=4, iterations=2), VISITS, space, n_trials=4)
    for trial in result.trials[1:]:
        users, items = trial.params["regularization"]
        assert np.log(users / 0.1) / np.log(100) == pytest.approx(np.log(items / 0.01) / np.log(1e4))
    again = tune(ImplicitALS(factors=4, iterations=2), VISITS, space, n_trials=1, study=result.study)
    assert [trial.params for trial in again.trials[:4]] == [trial.params for trial in result.trials]
    with pytest.raises(ValueError, match=r"space\['regularization'\] must go from one pair of numbers to another"):
        tune(ImplicitALS, VISITS, {"regularization": ((0.0, 0.1), (1.0, 1.0), "log")})


def test_all_users_measure_ratings_and_zeros_are_kept():
    data = likes()
    split = split_for_search(data, None, 0.2, 0, rated=True)
    assert (split.validation.data == 0).any()
    tested = random_split(data, 0.2, random_state=0)[1]
    assert split.validation.nnz + split.holdout.nnz == tested.nnz


def test_cosine_models_are_measured_by_ranking_rated_items():
    """In rankings of all items, the liked ones would be lost among those never rated."""
    result = tune(CosineMF(factors=8, epochs=8, learning_rate=0.01), likes(), budget=10)
    assert result.best_value > 0.9
    liked = likes()
    liked.data[:] = 1
    with pytest.warns(UserWarning, match="no dislike"):
        assert tune(CosineMF(factors=2, epochs=2), liked, budget=4).metric == "auc"


@pytest.mark.parametrize("call", [lambda: tune(Popularity, VISITS), lambda: default_space(Popularity())])
def test_popularity_has_nothing_to_tune(call):
    with pytest.raises(ValueError, match=r"^Popularity has nothing to tune: fit it as it is, or pass space="):
        call()


def test_popularity_may_still_be_compared():
    result = tune(Popularity(), VISITS, {"weighted": [False, True]}, n_trials=2)
    assert result.best_model.item_factors is not None


def test_a_budget_must_be_above_0():
    with pytest.raises(ValueError, match="budget must be"):
        tune(ImplicitALS, VISITS, budget=0)


def test_the_surrogate_transfers_an_optimum_that_depends_on_the_size():
    """Many cheap values with an optimum at 0.3, and three of full size, predict the optimum of full size at 0.4."""
    rng = np.random.default_rng(0)
    x = np.r_[rng.random(30), 0.1, 0.5, 0.9]
    z = np.r_[np.zeros(30), np.ones(3)]
    y = -((x - 0.3 - 0.1 * z) ** 2)
    surrogate = Surrogate(1, rng)
    surrogate.fit(x[:, None], z, y)
    grid = np.linspace(0, 1, 101)[:, None]
    assert abs(grid[surrogate.predict(grid, 0.0)[0].argmax()].item() - 0.3) < 0.03
    assert abs(grid[surrogate.predict(grid, 1.0)[0].argmax()].item() - 0.4) < 0.05
    assert surrogate.expected_improvement(grid, 1.0, -0.01).argmax() == pytest.approx(40, abs=10)


def test_a_search_ends_when_all_choices_have_been_tried():
    space = {"biases": [True, False], "nonnegative": [False, True]}  # one of the four is rejected
    result = tune(ExplicitALS(factors=2, iterations=2), likes(), space, budget=50, refit=False)
    assert len(result.trials) == 4
    assert [trial.state for trial in result.trials].count("failed") == 1


def test_the_popularity_exponent_needs_no_fit_of_its_own():
    train, test = random_split(VISITS, 0.2, random_state=0)
    one, other = (ImplicitALS(factors=8, popularity_exponent=s, random_state=0).fit(train) for s in (0.1, 0.5))
    rescored = one.rescored(0.5)
    value, again = (evaluate(model, test, k=20, metrics=["ndcg"]).means["ndcg@20"] for model in (other, rescored))
    assert again == pytest.approx(value, abs=1e-3)
    assert one.popularity_exponent_ == 0.1
    model = ImplicitALS(factors=8, iterations=4, popularity_exponent=-2.0)
    result = tune(model, VISITS, {"popularity_exponent": (-2.0, 1.0), "regularization": (0.01, 0.02)}, budget=20)
    assert result.best_params["popularity_exponent"] >= 0  # reached by climbing
    again = ImplicitALS(factors=8, random_state=0).set_params(**result.best_params)
    split = split_for_search(VISITS, None, 0.2, 0, rated=False)
    value = evaluate(again.fit(split.train), split.validation, k=20, metrics=["ndcg"]).means["ndcg@20"]
    assert value == pytest.approx(result.best_value, abs=1e-3)


def test_the_space_of_implicit_als_lies_around_the_auto_values():
    model = ImplicitALS(factors=4).fit(VISITS)
    space = default_space(ImplicitALS, VISITS)
    low, high = space["unobserved_weight"][:2]
    assert low < model.unobserved_weight_ < high
    for side in range(2):
        assert space["regularization"][0][side] < model.regularization_[side] < space["regularization"][1][side]
    low, high = space["popularity_exponent"]
    assert low < 0 < model.popularity_exponent_ < high
    assert "degree_normalization" not in default_space(ImplicitALS(weighting="ials"), VISITS)  # as in its paper
    assert "alpha" in default_space(ImplicitALS(weighting="hu", regularization=0.0), VISITS)
    with pytest.raises(ValueError, match="pass the interactions"):
        default_space(ImplicitALS)


def test_diverging_own_parameters_do_not_stop_the_search():
    result = tune(BiasedMF(factors=16, epochs=4, learning_rate=1e8), likes(), budget=10)
    assert result.comparison is None
    assert result.best_model.learning_rate < 1
    assert result.trials[0].state == "failed"


@pytest.mark.parametrize("model", [ImplicitALS(factors=16, iterations=4), CosineMF(factors=16, epochs=4)])
def test_models_tuned_on_interactions_keep_their_ids(model):
    data = likes()
    users, items = (
        data.nonzero() if data.data.all() else (np.repeat(np.arange(200), np.diff(data.indptr)), data.indices)
    )
    table = Interactions.from_arrays([f"u{u}" for u in users], [f"i{i}" for i in items], data.data)
    result = tune(model, table, budget=5)
    assert result.best_model.recommend("u0", 2)[0][0].startswith("i")
    assert result.comparison is not None or result.kept_own


def test_a_timeout_ends_the_search_before_its_budget():
    result = tune(ImplicitALS(factors=64, iterations=12), VISITS, timeout=1e-9)
    assert [trial.factors for trial in result.trials] == [16, None, None]


@pytest.mark.parametrize(("model", "space"), [
    (ImplicitALS(factors=4), {"regularization": ["auto", 10.0]}),
    (LogisticMF(factors=4, epochs=2), {"regularization": ["auto", 10.0]}),
], ids=["ImplicitALS", "LogisticMF"])  # fmt: skip
@pytest.mark.parametrize("limit", [{"budget": 8}, {"n_trials": 3}], ids=["budget", "trials"])
def test_auto_may_be_a_choice(model, space, limit):
    result = tune(model, VISITS, space, metric="ndcg@20", **limit)
    assert result.best_params["regularization"] == "auto"


def test_a_space_of_the_popularity_exponent_alone_is_searched():
    model = ImplicitALS(factors=4, popularity_exponent=0.0)
    result = tune(model, VISITS, {"popularity_exponent": (0.0, 1.0)}, budget=8)
    assert len({trial.params["popularity_exponent"] for trial in result.trials}) >= 3
    assert max(result.trials, key=lambda trial: trial.value).params["popularity_exponent"] > 0.1


@pytest.mark.parametrize(("options", "message"), [
    ({"sampler": 3}, "sampler must be an optuna BaseSampler, got 3"),
    ({"pruner": "median"}, "pruner must be an optuna BasePruner, got 'median'"),
    ({"study": 3}, "study must be an optuna Study, got 3"),
    ({"show_progress": "x"}, "show_progress must be True or False"),
    ({"validation_fraction": 0}, "validation_fraction must be between 0 and 1"),
])  # fmt: skip
def test_invalid_options_are_rejected_before_any_fit(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        tune(ImplicitALS(factors=4), VISITS, **options)
