"""A model fitted on Interactions takes and returns the ids of the user's own tables."""

import copy
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import every_model, small
from refusal import refuses

from alternant import BiasedMF, CosineMF, ExplicitALS, ImplicitALS, Interactions, Popularity

M, N = 20, 15
MODELS = every_model(factors=3)
LEARNING = [model for model in MODELS if hasattr(model, "partial_fit_users")]
OF_ITEMS = [model for model in LEARNING if hasattr(model, "partial_fit_items")]
STARTING_WARM = [model for model in MODELS if "warm_start" in model.get_params()]


def table(seed=0):
    rng = np.random.default_rng(seed)
    matrix = sp.random_array((M, N), density=0.4, rng=rng, format="csr",
                             data_sampler=lambda size: rng.integers(0, 2, size).astype(np.float64))  # fmt: skip
    matrix.data[0] = 1
    return matrix


def name(numbers, kind, text):
    return [f"{kind}{int(n):02}" if text else 1000 + 7 * int(n) for n in np.ravel(numbers)]


def interactions(text=True, seed=0):
    pairs = table(seed).tocoo()
    return Interactions.from_arrays(name(pairs.row, "u", text), name(pairs.col, "i", text), pairs.data).reindex(
        users=name(range(M), "u", text), items=name(range(N), "i", text)
    )


@pytest.fixture(params=[True, False], ids=["texts", "numbers"])
def text(request):
    return request.param


@pytest.fixture(params=MODELS, ids=lambda model: type(model).__name__)
def both(request, text):
    """The same model fitted with ids and without."""
    model = request.param
    make = type(model)
    return make(**model.get_params()).fit(interactions(text)), make(**model.get_params()).fit(table())


def test_results_do_not_depend_on_the_raw_ids(both, text):
    named, plain = both
    users = name([4, 2], "u", text)
    candidates = name(range(9), "i", text)
    ids, scores = named.recommend(users, 4, exclude_items=name([3], "i", text), candidate_items=candidates)
    numbers, same = plain.recommend([4, 2], 4, exclude_items=[3], candidate_items=range(9))
    np.testing.assert_array_equal(scores, same)
    assert [one for one, score in zip(ids.ravel(), scores.ravel(), strict=True) if np.isfinite(score)] == name(
        numbers[np.isfinite(same)], "i", text
    )
    padding = ids[~np.isfinite(scores)].tolist()
    assert set(padding) <= ({None} if text else {-1})
    assert named.predict(users[0], name([5], "i", text)[0]) == plain.predict(4, 5)
    grid = np.array(users, object if text else np.int64)[:, None]
    np.testing.assert_array_equal(named.predict(grid, name([1, 5], "i", text)), plain.predict([[4], [2]], [1, 5]))
    for method, kind, at in (("similar_items", "i", 6), ("similar_users", "u", 8)):
        found, cosines = getattr(named, method)(name([at], kind, text)[0], 3)
        numbers, same = getattr(plain, method)(at, 3)
        np.testing.assert_array_equal(cosines, same)
        assert found.tolist() == name(numbers, kind, text)
    assert named.cold_start(3)[0].tolist() == name(plain.cold_start(3)[0], "i", text)


def test_new_users_come_with_their_own_ids(both, text):
    named, plain = both
    pairs = ([0, 0, 1], [2, 5, 2])
    new = Interactions.from_arrays(name(np.add(pairs[0], 90), "u", text), name(pairs[1], "i", text), np.ones(3))
    matrix = sp.csr_array((np.ones(3), pairs), shape=(2, N))
    np.testing.assert_array_equal(named.fold_in_users(new), plain.fold_in_users(matrix))
    ids, _ = named.recommend(None, 2, user_items=new)
    assert ids.ravel().tolist() == name(plain.recommend(None, 2, user_items=matrix)[0], "i", text)
    np.testing.assert_array_equal(named.fold_in_users(matrix), plain.fold_in_users(matrix))  # rows by hand work too
    strange = Interactions.from_arrays([1], ["new" if text else -5], [1])
    with pytest.raises(ValueError, match=r"user_items must contain only items of the fit, got 1 others, .*reindex"):
        named.fold_in_users(strange)
    with pytest.raises(TypeError, match=r"pass user_items\.matrix, or fit the model on Interactions"):
        plain.fold_in_users(new)


@pytest.mark.parametrize("model", LEARNING, ids=lambda model: type(model).__name__)
def test_partial_fit_appends_new_ids(model, text):
    named = copy.deepcopy(model).fit(interactions(text))
    new, old = name([90], "u", text)[0], name([3], "u", text)[0]
    events = Interactions.from_arrays([new, new, old], name([1, 2, 4], "i", text), [1, 1, 1])
    named.partial_fit_users([old, new], events)
    assert len(named.user_factors) == M + 1
    assert named.user_ids_[-1] == new
    assert not set(name([1, 2], "i", text)) & set(named.recommend(new, N - 2)[0].tolist())


@pytest.mark.parametrize("kind", [BiasedMF, ExplicitALS])
def test_interactions_without_values_are_no_ratings(kind, text):
    model = small(kind).fit(interactions(text))
    users, items = name([90, 90], "u", text), name([1, 2], "i", text)
    bare = Interactions.from_arrays(users, items)
    before = model.user_factors
    known = Interactions.from_arrays(name([3, 3], "u", text), items)
    calls = [
        lambda: model.fold_in_users(bare),
        lambda: model.partial_fit_users(users[:1], bare),
        lambda: model.recommend(user_items=bare),
        lambda: model.recommend(known.user_ids, user_items=known),
        lambda: model.cold_start(user_items=bare),
        lambda: model.query_vectors(user_items=bare),
    ]
    if hasattr(model, "fold_in_items"):
        calls += [
            lambda: model.fold_in_items(Interactions.from_arrays(name([1, 2], "u", text), name([90, 90], "i", text))),
            lambda: model.partial_fit_items(
                name([90], "i", text), Interactions.from_arrays(name([1], "u", text), name([90], "i", text))
            ),
        ]
    for call in calls:
        with pytest.raises(ValueError, match=r"(user_items|item_users) must hold ratings, got Interactions made witho"):
            call()
    if kind is BiasedMF:
        with pytest.raises(ValueError, match="validation must hold ratings"):
            model.fit(interactions(text), validation=known)
    assert model.user_factors is before


@pytest.mark.parametrize("model", OF_ITEMS, ids=lambda model: type(model).__name__)
def test_partial_fit_appends_new_ids_of_items(model, text):
    named = copy.deepcopy(model).fit(interactions(text))
    events = Interactions.from_arrays(name([1, 2], "u", text), name([90, 90], "i", text), [1, 1])
    named.partial_fit_items(name([90], "i", text), events)
    assert named.item_ids_[-1] == name([90], "i", text)[0]
    assert np.isfinite(named.predict(name([3], "u", text)[0], name([90], "i", text)[0]))


@pytest.mark.parametrize("model", STARTING_WARM, ids=lambda model: type(model).__name__)
def test_warm_start_matches_rows_by_raw_id(model, text):
    """With more data, read from scratch, users and items stand elsewhere; the factors go with their ids."""
    options = {"warm_start": True, **({"iterations": 1} if hasattr(model, "iterations") else {"epochs": 1})}
    named, plain = (copy.deepcopy(model).set_params(**options) for _ in range(2))
    named.fit(interactions(text))
    plain.fit(table())
    first = "a-first" if text else -1
    pairs = table().tocoo()
    named.fit(Interactions.from_arrays(
        [*name(pairs.row, "u", text), first], [*name(pairs.col, "i", text), first], [*pairs.data, 1.0]
    ))  # fmt: skip
    plain.fit(sp.csr_array(([*pairs.data, 1.0], ([*pairs.row, M], [*pairs.col, N])), shape=(M + 1, N + 1)))
    assert named.user_ids_.tolist() == [*name(range(M), "u", text), first]
    np.testing.assert_array_equal(named.user_factors, plain.user_factors)
    np.testing.assert_array_equal(named.item_factors, plain.item_factors)


def test_a_file_contains_the_ids(both, text, tmp_path):
    named, _ = both
    named.save(tmp_path / "m")
    for mmap in (False, True):
        loaded = type(named).load(tmp_path / "m", mmap=mmap)
        assert loaded.user_ids_.tolist() == named.user_ids_.tolist()
        assert loaded.item_ids_.dtype == named.item_ids_.dtype
        user = name([4], "u", text)[0]
        assert loaded.recommend(user, 3)[0].tolist() == named.recommend(user, 3)[0].tolist()
    for again in (pickle.loads(pickle.dumps(named)), copy.deepcopy(named), copy.copy(named)):
        assert again.recommend(user, 3)[0].tolist() == named.recommend(user, 3)[0].tolist()


@pytest.mark.parametrize("ids", [["ü", "\ud800", "a\nb", ""], [1, "one"], [0.5, 2.5]])
def test_unusual_strings_and_mixed_ids_survive_a_file(ids, tmp_path):
    model = ImplicitALS(factors=2, iterations=1).fit(Interactions.from_arrays(ids, ids))
    model.save(tmp_path / "m")
    assert ImplicitALS.load(tmp_path / "m").user_ids_.tolist() == model.user_ids_.tolist()


TYPED = [
    UUID(int=2**100 + 1), date(2024, 2, 29), datetime(2024, 2, 29, 1, 2, 3, 4),
    datetime(2024, 2, 29, 1, tzinfo=timezone(-timedelta(minutes=90))), datetime(2024, 2, 29, tzinfo=UTC), "a", 1,
]  # fmt: skip


@pytest.mark.parametrize("ids", [TYPED[:1], TYPED[1:2], TYPED[2:5], TYPED], ids=["uuid", "date", "datetime", "mixed"])
def test_uuids_and_dates_survive_a_file_exactly(ids, tmp_path):
    model = Popularity().fit(Interactions.from_arrays(ids, ids[::-1]))
    model.save(tmp_path / "m")
    loaded = Popularity.load(tmp_path / "m")
    for kept, own in ((loaded.user_ids_, ids), (loaded.item_ids_, ids[::-1])):
        assert [(type(one), repr(one)) for one in kept] == [(type(one), repr(one)) for one in own]
    assert loaded.recommend(ids[0], 1)[0].tolist() == model.recommend(ids[0], 1)[0].tolist()


def test_only_files_with_such_ids_need_a_version_that_reads_them(tmp_path):
    for ids, version in ((["a"], b'"alternant":"2"'), (TYPED[:1], b'"alternant":"4"')):
        Popularity().fit(Interactions.from_arrays(ids, ["x"])).save(tmp_path / "m")
        assert version in (tmp_path / "m").read_bytes()[:1000].replace(b": ", b":")


class Color(Enum):
    RED = 1


class Shape(StrEnum):
    ROUND = "round"


@pytest.mark.parametrize(("one", "message"), [
    (("a", 1), "user ids must be strings, numbers, UUIDs, dates or datetimes to be saved, got tuple: convert them"),
    (Color.RED, r"user ids must not be members of an Enum to be saved, got Color.RED: fit on their values"),
    (Shape.ROUND, r"user ids must not be members of an Enum to be saved, got Shape.ROUND: fit on their values"),
    (datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC")), "to be saved, got datetime with a named time zone"),
])  # fmt: skip
def test_ids_that_a_file_cannot_represent_are_refused_before_anything_is_written(one, message, tmp_path):
    model = ImplicitALS(factors=2, iterations=1).fit(Interactions.from_arrays([one], [2]))
    refuses(TypeError, message, lambda: model.save(tmp_path / "m"))
    assert list(tmp_path.iterdir()) == []
    assert model.recommend(one, 1, exclude_seen=False)[0].tolist() == [2]


def test_a_tuple_is_a_single_id():
    model = ImplicitALS(factors=2, iterations=1).fit(Interactions.from_arrays([("a", 1)], [2]))
    assert model.recommend(("a", 1), 1, exclude_seen=False)[0].tolist() == [2]


@pytest.mark.parametrize("form", ["array", "objects", "tuple", "pandas", "polars", "pyarrow"])
def test_a_model_without_fit_starts_with_texts_in_any_container(form):
    library = pytest.importorskip(form, reason="frames") if form in ("pandas", "polars", "pyarrow") else None
    make = {
        "array": np.array, "objects": lambda ids: np.array(ids, object), "tuple": tuple,
        "pandas": lambda ids: library.Series(ids), "polars": lambda ids: library.Series(ids),
        "pyarrow": lambda ids: library.array(ids),
    }[form]  # fmt: skip
    model = CosineMF(factors=2, random_state=0).update(make(["bob", "ann"]), make(["go", "chess"]), [0, 1])
    listed = CosineMF(factors=2, random_state=0).update(["bob", "ann"], ["go", "chess"], [0, 1])
    assert model.user_ids_.tolist() == ["bob", "ann"]
    assert model.item_ids_.tolist() == ["go", "chess"]
    np.testing.assert_array_equal(model.user_factors, listed.user_factors)
    with pytest.raises(TypeError, match="whole numbers"):
        CosineMF(factors=2).update(make(["bob", "ann"]), [1, 2], [0, 1])


def test_an_unknown_id_is_named(both, text):
    named, _ = both
    unknown = "zoe" if text else 5
    with pytest.raises(IndexError, match=rf"users must be user ids of the fit, got {unknown!r}.*to fold them in"):
        named.recommend([unknown])
    with pytest.raises(IndexError, match="items must be item ids of the fit"):
        named.similar_items(unknown)
    if hasattr(named, "explain"):
        with pytest.raises(IndexError, match=rf"user must be a user id of the fit, got {unknown!r}: pass .* user=None"):
            named.explain(unknown, named.item_ids_[0])
    wrong = 3 if text else "u03"
    with pytest.raises(IndexError, match=f"ids here are of type {'str' if text else 'int'}, such as"):
        named.recommend(wrong)
    with pytest.raises((TypeError, IndexError), match="users must be user ids"):
        named.recommend([[1, 2], [3]])


def test_ids_are_replaced_by_each_fit(text):
    model = ImplicitALS(factors=3, random_state=0).fit(interactions(text))
    model.fit(table())
    assert model.user_ids_ is None
    assert model.recommend(3, 2)[0].dtype == np.int32
    model.fit(interactions(text))
    with pytest.raises(ValueError, match="at least one user"):
        model.fit(sp.csr_array((0, 3)))
    assert len(model.user_ids_) == M


def test_explain_names_the_history(text):
    model = ImplicitALS(factors=3, random_state=0).fit(interactions(text))
    user, item = name([4], "u", text)[0], name([5], "i", text)[0]
    found = model.explain(user, item)
    history = table()[[4]]
    assert sorted(found.items.tolist()) == name(sorted(history.indices[history.data > 0]), "i", text)
    assert found.contributions.sum() == pytest.approx(model.predict(user, item), rel=1e-5)


def test_update_takes_raw_ids_one_at_a_time_and_in_batches(text):
    one, many = (CosineMF(factors=3, random_state=0).fit(interactions(text)) for _ in range(2))
    users, items, liked = name([3, 90, 91, 90], "u", text), name([1, 2, 90, 90], "i", text), [1, 0, 1, 1]
    for event in zip(users, items, liked, strict=True):
        one.update(*event)
    many.update(users, items, liked)
    for model in (one, many):
        assert model.user_ids_.tolist()[M:] == name([90, 91], "u", text)
        assert model.item_ids_.tolist()[N:] == name([90], "i", text)
        assert name([90], "i", text)[0] not in model.recommend(users[1], N)[0].tolist()
    np.testing.assert_array_equal(one.user_factors, many.user_factors)
    np.testing.assert_array_equal(one.item_factors, many.item_factors)
    before = many.user_ids_.tolist()
    many.update(name([95], "u", text), name([1], "i", text), [float("nan")])  # unknown: nobody is created
    assert many.user_ids_.tolist() == before
    with pytest.raises(TypeError, match="liked must be"):
        many.update(name([95], "u", text)[0], name([1], "i", text)[0], "yes")
    with pytest.raises(ValueError, match="got None"):
        many.update(None, name([1], "i", text)[0], 1)
    assert many.user_ids_.tolist() == before


def test_update_takes_string_ids_before_any_fit():
    model = CosineMF(factors=4, random_state=0)
    model.update("ann", "go", 1).update(["bob", "ann"], ["go", "chess"], [0, 1])
    assert (model.user_ids_.tolist(), model.item_ids_.tolist()) == (["ann", "bob"], ["go", "chess"])
    assert model.recommend("bob", 2)[0].tolist() == ["chess", None]


def test_the_interactions_do_not_change_with_the_model(text):
    data = interactions(text)
    model = CosineMF(factors=3, random_state=0).fit(data)
    model.update(name([90], "u", text)[0], name([1], "i", text)[0], 1)
    assert len(data.user_ids) == M
    data.append(Interactions.from_arrays(name([91], "u", text), name([1], "i", text), [1.0]))
    assert len(model.user_ids_) == M + 1
    assert name([91], "u", text)[0] not in model.user_ids_.tolist()


def test_validation_interactions_are_matched_by_raw_id(text):
    pairs = table().tocoo()
    train = interactions(text)
    held = Interactions.from_arrays(name(pairs.row[:5], "u", text), name(pairs.col[:5], "i", text), pairs.data[:5])
    plain = sp.csr_array((pairs.data[:5], (pairs.row[:5], pairs.col[:5])), shape=(M, N))
    named, numbered = (BiasedMF(factors=2, epochs=3, random_state=0) for _ in range(2))
    named.fit(train, validation=held)
    numbered.fit(table(), validation=plain)
    assert named.history_["validation_rmse"] == numbered.history_["validation_rmse"]


def twins(model, data, ids):
    """Every way in which ids come to a model that would take those of another type for new ones."""
    other = Interactions.from_arrays(ids(data.user_ids), ids(data.item_ids)[np.arange(len(data.user_ids)) % 9])
    user, item = ids(data.user_ids[:1]).tolist()[0], ids(data.item_ids[:1]).tolist()[0]
    known = data.user_ids[1], data.item_ids[1]
    row = data.matrix[[0]]
    yield "user", lambda: model.partial_fit_users([user], row)
    yield "user", lambda: model.partial_fit_users(np.array([known[0], user], object), data.matrix[[0, 1]])
    yield "item", lambda: model.partial_fit_items([item], data.matrix.T[[0]])
    yield "item", lambda: model.fold_in_users(other)
    yield "user", lambda: model.fold_in_items(other)
    yield "item", lambda: model.recommend(user_items=other)
    yield "user", lambda: copy.deepcopy(model).set_params(warm_start=True).fit(other)
    yield "user", lambda: data.append(other)
    yield "user", lambda: data.reindex(users=[user])
    yield "item", lambda: data.reindex(items=[item])
    if isinstance(model, CosineMF):
        for events in ((user, item, 1), ([user], [item], [0]), ([known[0], user], [known[1], item], 1)):
            yield "user", lambda events=events: model.update(*events)
        yield "item", lambda: model.update(known[0], item, 1)
        yield "item", lambda: model.update([known[0]], [item], 1)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("cls", [ImplicitALS, CosineMF])
def test_ids_of_another_type_are_not_taken_for_new_ids(cls, text):
    """1 and "1" are never two users, whichever way they come."""
    users, items = np.repeat(np.arange(12), 3) + 1, np.arange(36) % 9 + 1
    as_text = lambda ids: np.array([str(one) for one in ids.tolist()], object)  # noqa: E731
    as_numbers = lambda ids: np.array([int(one) for one in ids.tolist()])  # noqa: E731
    here, there = (as_text, as_numbers) if text else (as_numbers, as_text)
    data = Interactions.from_arrays(here(users), here(items), np.arange(36.0) % 2)
    model = cls(factors=2, random_state=0).fit(data)
    before = pickle.dumps((model.user_factors, model.item_factors, model.user_ids_, data.user_ids, data.shape))
    known, found = ("str", "int") if text else ("int", "str")
    for kind, call in twins(model, data, there):
        message = rf"must have {kind} ids of the known type, {known} \(such as '?1'?\), got {found} \(such as '?1'?\)"
        with pytest.raises(TypeError, match=message):
            call()
    now = pickle.dumps((model.user_factors, model.item_factors, model.user_ids_, data.user_ids, data.shape))
    assert now == before


def test_ids_of_several_types_stay_allowed_where_the_fit_has_them():
    data = Interactions.from_arrays([1, "a", (2, 3)] * 4, np.arange(12) % 5)
    model = ImplicitALS(factors=2, random_state=0).fit(data)
    model.partial_fit_users(["b", 7], data.matrix[[0, 1]])
    assert model.user_ids_.tolist()[-2:] == ["b", 7]
    with pytest.raises(TypeError, match=r"int or str or tuple \(such as 1\), got float \(such as 1\.5\)"):
        model.partial_fit_users([1.5], data.matrix[[0]])
