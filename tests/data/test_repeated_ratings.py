"""A pair that was rated, or liked, twice: models of ratings and likes never learn the sum, models of events do."""

import pickle

import numpy as np
import pytest
from every_model import small

from alternant import Interactions
from alternant.evaluation import evaluate, k_fold, random_split
from alternant.models import MODELS
from alternant.tuning import tune

OF_EVENTS = [name for name, model in MODELS.items() if model.traits.feedback == "implicit"]
OF_VALUES = [name for name in MODELS if name not in OF_EVENTS]
USERS = ["ann", "ann", "ann", "bob", "bob", "cid", "cid", "dot"]
ITEMS = [1, 2, 1, 1, 2, 2, 3, 3]
VALUES = [1, 0, 1, 0, 1, 1, 0, 1]
REFUSED = r"must hold each pair once, .*, such as user 'ann' and item 1: make the Interactions with aggregate='last'"


def twice(**options):
    return Interactions.from_arrays(USERS, ITEMS, VALUES, **options)


def once():
    return Interactions.from_arrays(USERS[1:], ITEMS[1:], VALUES[1:])


@pytest.fixture(params=OF_VALUES)
def model(request):
    return small(MODELS[request.param], factors=2, num_threads=1)


def test_a_fit_refuses_sums_and_leaves_the_model_as_it_was(model):
    for data in (twice(), once().append(twice()), pickle.loads(pickle.dumps(twice())), twice()[:3]):
        with pytest.raises(ValueError, match=REFUSED):
            model.fit(data)
    assert getattr(model, "user_factors", None) is None


def test_another_aggregate_or_no_repeated_pair_is_fine(model):
    for aggregate in ("last", "max", "mean"):
        np.testing.assert_array_equal(
            model.fit(twice(aggregate=aggregate)).user_factors, model.fit(once()).user_factors
        )
    # What is left of a table once its sums are left out holds none.
    assert model.fit(twice().reindex(users=["bob", "cid", "dot"])).user_factors.shape[0] == 3
    assert model.fit(twice().reindex(items=[2, 3])).user_factors.shape[0] == 4


def test_whatever_else_takes_ratings_refuses_sums(model):
    fitted = model.fit(once())
    calls = [
        lambda: fitted.fold_in_users(twice()),
        lambda: fitted.fold_in_items(twice()),
        lambda: fitted.partial_fit_users(["ann"], twice()),
        lambda: fitted.partial_fit_items([1], twice()),
        lambda: fitted.recommend(user_items=twice(), k=1),
        lambda: fitted.recommend(["ann", "bob", "cid", "dot"], k=1, user_items=twice()),
        lambda: fitted.recommend_all(1, user_items=twice()),
        lambda: fitted.cold_start(user_items=twice()),
        lambda: fitted.query_vectors(user_items=twice()),
        lambda: fitted.score(twice()),
        lambda: evaluate(fitted, twice(), exclude_seen=False),
        lambda: evaluate(fitted, twice(), user_items=once(), exclude_seen=False),
        lambda: evaluate(fitted, once(), user_items=twice(), exclude_seen=False),
    ]
    if hasattr(fitted, "validation_fraction"):
        calls.append(lambda: fitted.fit(once(), validation=twice()))
    if hasattr(fitted, "warm_start"):
        calls.append(lambda: fitted.set_params(warm_start=True).fit(twice()))
    before = fitted.user_factors.copy(), fitted.item_factors.copy()
    for call in calls:
        with pytest.raises(ValueError, match=REFUSED):
            call()
    np.testing.assert_array_equal(fitted.user_factors, before[0])
    np.testing.assert_array_equal(fitted.item_factors, before[1])


def test_parts_of_a_split_know_which_pairs_are_sums(model):
    for train, test in (random_split(twice(), 0.4, random_state=1), *k_fold(twice(), 2, random_state=0)):
        for part in (train, test):
            value = part.reindex(users=["ann"], items=[1]).matrix.toarray()
            if value[0, 0] == 2:
                with pytest.raises(ValueError, match=REFUSED):
                    model.fit(part)
            else:
                model.fit(part)


def test_what_is_appended_is_not_added_to_a_rating(model):
    data = once()
    model.fit(data)
    data.append(Interactions.from_arrays(["ann"], [1], [1.0]))
    with pytest.raises(ValueError, match=REFUSED):
        model.fit(data)
    newest = Interactions.from_arrays(USERS, ITEMS, VALUES, aggregate="last")
    model.fit(newest.append(once()))
    with pytest.raises(ValueError, match=REFUSED):  # sums made before they were appended
        model.fit(newest.append(twice()))


@pytest.mark.parametrize("name", OF_EVENTS)
def test_events_are_added_up(name):
    data = twice()
    assert small(MODELS[name]).fit(data).user_factors is not None
    assert data.matrix.toarray()[0, 0] == 2


@pytest.mark.parametrize("name", [name for name in OF_VALUES if MODELS[name].traits.feedback == "ratings"])
def test_ratings_are_not_taken_to_be_one(name):
    model = small(MODELS[name], factors=2)
    data = Interactions.from_arrays(USERS[1:], ITEMS[1:])
    for one in (data, data[:2], Interactions.from_arrays(USERS, ITEMS, aggregate="last")):
        with pytest.raises(ValueError, match="must hold ratings, got Interactions made without values"):
            model.fit(one)
    with pytest.raises(ValueError, match="must hold ratings, got Interactions made without values"):
        model.fit(once().append(Interactions.from_arrays(["eve"], [1])))


def test_tune_refuses_sums_and_interactions_without_ratings(model):
    pytest.importorskip("optuna", reason="tune is Optuna's")
    for data, options in ((twice(), {}), (once(), {"validation": (twice(), twice())})):
        with pytest.raises(ValueError, match=REFUSED):
            tune(model, data, **options)
    if model.traits.feedback == "ratings":
        with pytest.raises(ValueError, match="must hold ratings, got Interactions made without values"):
            tune(model, Interactions.from_arrays(USERS[1:], ITEMS[1:]))
