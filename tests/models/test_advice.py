"""What people pass in place of ids and matrices: taken where it can only mean one thing, else what to type instead."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import every_model

import alternant
from alternant import BiasedMF, CosineMF, ExplicitALS, ImplicitALS, Interactions, Popularity
from alternant.evaluation import leave_one_out

USERS, ITEMS = zip(*[(u, i) for u in range(12) for i in range(9) if (u * 7 + i * 5) % 3], strict=True)
MODELS = every_model(factors=2)


def fitted(model, kind):
    values = (np.arange(len(USERS)) % 2).astype(float) + (not isinstance(model, CosineMF))
    if kind == "rows":
        return model.fit(sp.csr_array((values, (USERS, ITEMS))))
    name = (lambda letter, one: f"{letter}{one}") if kind == "text" else (lambda letter, one: 10 * one)
    users, items = ([name(letter, one) for one in ids] for letter, ids in (("u", USERS), ("i", ITEMS)))
    return model.fit(Interactions.from_arrays(users, items, values))


@pytest.fixture(params=MODELS, ids=lambda model: type(model).__name__)
def any_model(request):
    return request.param


def typed(message, **names):
    """What a message says to pass, as Python evaluates it."""
    return eval(message.split("pass ", 1)[1].split(", where")[0].split(", or ")[0],
                {"alternant": alternant, "scipy": __import__("scipy.sparse"), **names})  # fmt: skip


def refused(call, *arguments):
    with pytest.raises(TypeError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Sets


FORMS = {
    "set": set,
    "frozenset": frozenset,
    "keys": lambda ids: dict.fromkeys(ids).keys(),
    "values": lambda ids: dict(enumerate(ids)).values(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["rows", "numbers", "text"])
def test_a_set_is_accepted_where_order_does_not_matter(any_model, kind, form):
    model, form = fitted(any_model, kind), FORMS[form]
    items = model._raw(np.array([0, 5, 2]), "item").tolist()
    users = model._raw(np.array([3, 7]), "user").tolist()
    calls = [
        lambda ids, _: model.recommend(users, 4, exclude_items=ids),
        lambda ids, _: model.recommend(users[0], 4, candidate_items=ids, exclude_seen=False),
        lambda ids, _: model.recommend(users, 2, candidate_items=[ids, ids], exclude_seen=False),
        lambda ids, _: model.similar_items(items[0], 2, exclude_items=ids),
        lambda ids, _: model.similar_items(items[0], 2, candidate_items=ids),
        lambda _, ids: model.similar_users(users[0], 2, exclude_users=ids),
        lambda _, ids: model.similar_users(users[0], 1, candidate_users=ids),
        lambda ids, _: model.cold_start(3, exclude_items=ids, candidate_items=ids if ids is None else None),
        lambda ids, _: model.cold_start(2, candidate_items=ids),
        lambda ids, _: next(iter(model.recommend_all(3, exclude_items=ids)))[1:],
    ]
    for call in calls:
        for got, expected in zip(call(form(items), form(users)), call(items, users), strict=True):
            np.testing.assert_array_equal(got, expected)
    frame = model.recommend_frame(users, 4, exclude_items=form(items), library="pandas")
    assert not set(frame["item"]) & set(items)


@pytest.mark.parametrize("kind", ["rows", "numbers", "text"])
def test_a_set_is_refused_where_results_are_in_the_order_of_the_ids(kind):
    model = fitted(MODELS[0], kind)
    users, items = set(model._raw(np.arange(3), "user").tolist()), set(model._raw(np.arange(3), "item").tolist())
    rows = sp.csr_array((3, 9))
    one_user, one_item = next(iter(users)), next(iter(items))
    for name, ids, call in [
        ("users", users, model.recommend), ("users", users, model.recommend_frame),
        ("users", users, model.similar_users), ("users", users, model.query_vectors),
        ("users", users, lambda users: model.recommend_all(users=users)),
        ("users", users, lambda users: model.predict(users, one_item)),
        ("items", items, lambda items: model.predict(one_user, items)), ("items", items, model.similar_items),
        ("users", users, lambda users: model.partial_fit_users(users, rows)),
        ("users", users, lambda users: model.recommend(users, unknown="empty")),
    ]:  # fmt: skip
        message = refused(call, ids)
        assert f"got a set, which has no order for the results: pass sorted({name})" in message
        if call == model.recommend:
            call(typed(message, users=ids, sorted=sorted))


def test_an_id_that_is_a_frozenset_stays_one_id():
    pairs = [frozenset({"a", "b"}), frozenset({"c"})]
    ids = np.empty(4, object)
    ids[:] = [pairs[0], pairs[1], pairs[0], pairs[1]]
    model = Popularity().fit(Interactions.from_arrays(["x", "x", "y", "z"], ids))
    found, _ = model.recommend("x", 2, exclude_items=[pairs[0]], exclude_seen=False)
    assert found.tolist() == [pairs[1], None]
    assert model.similar_items(pairs[0], 1)[0].shape == (1,)


# Ids in place of a matrix


@pytest.mark.parametrize("form", [list, tuple, np.array, set])
@pytest.mark.parametrize("kind", ["numbers", "text"])
def test_a_list_of_ids_in_place_of_interactions_is_refused_with_the_way_to_convert_it(any_model, kind, form):
    model = fitted(any_model, kind)
    items = form(model._raw(np.array([0, 5, 2]), "item").tolist())
    if kind == "numbers" and model.traits.feedback == "ratings":
        return  # which may be a row of ratings
    for call in (lambda rows: model.recommend(user_items=rows), lambda rows: model.fold_in_users(rows),
                 lambda rows: model.cold_start(user_items=rows)):  # fmt: skip
        message = refused(call, items)
        assert "user_items must be a matrix with one row for each user, got a" in message
        call(typed(message, user_items=items, who="somebody", ratings=[4.0, 1, 5]))
    if not hasattr(model, "fold_in_items"):
        return
    users = form(model._raw(np.array([0, 5, 2]), "user").tolist())
    message = refused(lambda: model.fold_in_items(users))
    model.fold_in_items(typed(message, item_users=users, what="something", ratings=[4.0, 1, 5]))


@pytest.mark.parametrize("form", [list, tuple, np.array, set])
def test_row_numbers_in_place_of_a_matrix_are_refused_with_the_way_to_convert_them(any_model, form):
    model = fitted(any_model, "rows")
    message = refused(lambda: model.recommend(user_items=["x", "y"]))
    assert "of ids, such as 'x': pass fit the model on" not in message
    assert "fit the model on alternant.Interactions, which have ids" in message
    if model.traits.feedback != "ratings":
        items = form([0, 5, 2])
        message = refused(lambda: model.recommend(user_items=items))
        model.recommend(user_items=typed(message, user_items=items))


# Frames in place of a matrix


def pivots():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"who": [f"u{u}" for u in USERS], "what": [f"i{i}" for i in ITEMS],
                              "stars": 1.0 + np.arange(len(USERS)) % 5})  # fmt: skip
    yield frame.pivot(index="who", columns="what", values="stars")
    yield frame.pivot_table(index="who", columns="what", values="stars", fill_value=0)
    yield pandas.DataFrame(np.arange(12.0).reshape(4, 3))  # rows and columns without names
    polars = pytest.importorskip("polars")
    yield polars.from_pandas(frame).pivot(on="what", index="who", values="stars")


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("cls", [ImplicitALS, Popularity, ExplicitALS, BiasedMF])
def test_a_pivot_table_is_refused_with_the_way_to_convert_it(cls, at):
    frame = list(pivots())[at]
    name = "ratings" if cls is ExplicitALS else "interactions"
    model = cls() if cls is Popularity else cls(factors=2)
    message = refused(lambda: model.fit(frame))
    assert "alternant.Interactions.from_frame(" in message
    advice = re.search(r"pass (alternant\..*?'value'\))(, or |$)", message)[1]
    data = eval(advice, {"alternant": alternant, name: frame})
    model.fit(data)
    assert len(model.user_ids_) == len(frame)
    if at < 2:
        assert model.user_ids_.tolist() == frame.index.tolist()
        assert model.item_ids_.tolist() == frame.columns.tolist()
        known = frame.fillna(0).to_numpy()
        np.testing.assert_array_equal(model.interactions_.to_scipy().toarray(), known)


def test_a_table_of_interactions_is_refused_with_the_advice_to_name_its_columns():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"user": [1, 2], "item": [3, 4], "value": [1.0, 2.0]})
    for model in (ImplicitALS(), BiasedMF()):
        assert "pass alternant.Interactions.from_frame(...) of its columns" in refused(model.fit, table)


def test_splits_give_the_same_advice():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"from_frame\(\.\.\.\) of its columns"):
        leave_one_out(pandas.DataFrame({"user": [1, 2], "item": [3, 4]}))
