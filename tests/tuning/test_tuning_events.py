"""`tune` on `Events`: weights and half-life are searched with the model, and held-out pairs don't leak."""

import numpy as np
import pytest
from refusal import refuses

from alternant import EASE, BiasedMF, Events, ImplicitALS
from alternant.evaluation import split_kind
from alternant.models import FactorModel
from alternant.tuning import tune
from alternant.tuning._events import Weighting, on_events

pytest.importorskip("optuna", reason="tune needs Optuna")


def shop(seed=0):
    """Purchases follow tastes of two kinds, views are of anything else."""
    rng = np.random.default_rng(seed)
    people, things = rng.integers(0, 80, 1500), rng.integers(0, 40, 1500)
    buys = people % 2 == things % 2
    return Events.from_arrays(people, things, np.where(buys, "buy", "view"), times=rng.integers(0, 90 * 86400, 1500))


MODEL = ImplicitALS(factors=4, iterations=2, random_state=0)


def test_weights_are_tuned_and_the_result_can_be_repeated():
    events = shop()
    space = {"weights.view": [100.0, 0.01]}
    found = tune(MODEL, events, space, kind="buy", weights={"view": 100, "buy": 1}, n_trials=4, metric="ndcg@5")
    assert found.best_events["weights"]["view"] == 0.01
    assert found.best_events["weights"]["buy"] == 1
    assert set(found.best_params) == {"iterations"}
    assert type(found.best_model) is ImplicitALS
    again = ImplicitALS(**MODEL.get_params() | found.best_params).fit(events.interactions(**found.best_events))
    np.testing.assert_array_equal(again.item_factors, found.best_model.item_factors)
    assert "weights={'buy': 1, 'view': " in str(found)
    assert found.trials[0].params["weights.view"] == 100


def test_models_are_loaded_as_what_they_were_while_a_search_on_events_goes_on(tmp_path):
    model = ImplicitALS(factors=2, random_state=0).fit(np.eye(4))
    model.save(tmp_path / "model")
    searched = on_events(ImplicitALS(), Weighting.of(shop(), "buy", None, None))  # of a class with the same name
    assert type(searched) is not ImplicitALS
    assert type(ImplicitALS.load(tmp_path / "model")) is ImplicitALS
    assert type(FactorModel.load(tmp_path / "model")) is ImplicitALS


def test_the_default_space_has_signs_and_half_lives():
    events = shop()
    found = tune(MODEL, events, kind="buy", weights={"view": -0.2, "buy": 1.0}, half_life="30d", n_trials=4)
    searched = set(found.trials[1].params)
    assert {"weights.view", "half_life", "regularization", "popularity_exponent"} <= searched
    assert "weights.buy" not in searched
    assert -0.8 <= found.best_events["weights"]["view"] <= -0.2 / 16
    assert 30 / 16 <= float(found.best_events["half_life"].removesuffix("d")) <= 30 * 16
    numbers = tune(MODEL, events, {"half_life": [86400.0]}, kind="buy", half_life=5.0, n_trials=2, refit=False)
    assert numbers.best_events == {"weights": {"buy": 1.0, "view": 1.0}, "half_life": 86400.0}


def test_weights_have_an_effect_on_a_given_split():
    split = split_kind(shop(), "buy", random_state=1)
    found = tune(MODEL, None, {"weights.view": [0.1, 3.0]}, kind="buy", n_trials=2, validation=split, refit=False,
                 metric="ndcg@5")  # fmt: skip
    assert sorted(trial.params["weights.view"] for trial in found.trials) == [0.1, 3.0]
    assert found.trials[0].value != found.trials[1].value
    assert found.best_model is None


def test_bad_arguments_are_refused():
    events = shop()
    refuses(ValueError, "kind must be the kind of event to predict, one of 'buy', 'view', got None",
            lambda: tune(MODEL, events))  # fmt: skip
    refuses(ValueError, "weights must be above 0 for the kind to predict, 'buy', got -1",
            lambda: tune(MODEL, events, kind="buy", weights={"buy": -1, "view": 1}))  # fmt: skip
    refuses(ValueError, "weights must have a weight for every kind",
            lambda: tune(MODEL, events, kind="buy", weights={"buy": 1}))  # fmt: skip
    refuses(ValueError, "kind needs interactions that are Events, got Interactions",
            lambda: tune(MODEL, events.of_kind("buy"), kind="buy"))  # fmt: skip
    refuses(ValueError, "train part of validation must be Events, like interactions, got Interactions", lambda: tune(
        MODEL, events, kind="buy", validation=(events.of_kind("view"), events.of_kind("buy"))))  # fmt: skip
    refuses(ValueError, "the best model is fitted on interactions, got None: pass them, or refit=False",
            lambda: tune(MODEL, None, kind="buy", validation=split_kind(events, "buy")))  # fmt: skip
    refuses(ValueError, "Events need a model that learns from sums of weights, got BiasedMF",
            lambda: tune(BiasedMF, events, kind="buy"))  # fmt: skip
    refuses(ValueError, "has no parameter 'weights.cart' to search; it has .*weights.view",
            lambda: tune(MODEL, events, {"weights.cart": (0.1, 1.0)}, kind="buy"))  # fmt: skip
    assert tune(EASE, events, {"weights.view": [0.1, 1.0]}, kind="buy", n_trials=2).best_model.item_factors is not None
