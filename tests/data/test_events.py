"""`Events`: weights by kind and by age, shared ids, duplicates, and what is refused."""

import pickle
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from refusal import refuses

from alternant import Events, ImplicitALS, Interactions

USERS, ITEMS = list("aaabbc"), list("xxyxyz")
KINDS = ["view", "buy", "view", "dislike", "view", "view"]
TIMES = [100, 200, 300, 300, 400, 0]
WEIGHTS = {"view": 0.25, "buy": 1, "dislike": -2}


def events(times=TIMES, values=None):
    return Events.from_arrays(USERS, ITEMS, KINDS, values, times)


def dense(interactions):
    return interactions.matrix.toarray()


def test_weights_of_a_pair_are_added_up():
    made = events().interactions(WEIGHTS)
    np.testing.assert_array_equal(dense(made), [[1.25, 0.25, 0], [-2, 0.25, 0], [0, 0, 0.25]])
    assert made.matrix.dtype == np.float32
    assert made.times.tolist() == [200, 300, 300, 400, 0]  # of the latest event
    assert dense(events().interactions())[0].tolist() == [2, 1, 0]  # all weights are 1


def test_values_multiply_weights_and_missing_ones_count_one():
    made = events(values=[3, np.nan, 0.5, 2, 1, 1]).interactions(WEIGHTS)
    np.testing.assert_array_equal(dense(made), [[1.75, 0.125, 0], [-4, 0.25, 0], [0, 0, 0.25]])
    assert made.matrix.dtype == np.float64


def test_all_interactions_share_ids_whatever_the_kind_and_the_weight():
    table = events()
    without_views = table.interactions({"view": 0, "buy": 1, "dislike": -1})
    assert dense(without_views).tolist() == [[1, 0, 0], [-1, 0, 0], [0, 0, 0]]
    assert without_views.nnz == 2  # pairs with views alone are not stored as zeros
    purchases = table.of_kind("buy")
    for made in (without_views, purchases):
        assert made.user_ids.tolist() == ["a", "b", "c"]
        assert made.item_ids.tolist() == ["x", "y", "z"]
    assert dense(purchases)[0].tolist() == [1, 0, 0]
    assert table.counts() == {"buy": 1, "dislike": 1, "view": 4}
    assert dense(table.without(purchases).interactions(WEIGHTS))[0].tolist() == [0, 0.25, 0]


@pytest.mark.parametrize(("half_life", "now"), [(100, None), (timedelta(seconds=100), 400), ("100s", 400.0),
                                                (np.timedelta64(100, "s"), None)])  # fmt: skip
def test_half_life_halves_weights_by_age(half_life, now):
    made = events().interactions(WEIGHTS, half_life=half_life, now=now)
    np.testing.assert_allclose(dense(made)[:2], [[0.25 / 8 + 1 / 4, 0.25 / 2, 0], [-2 / 2, 0.25, 0]], rtol=1e-6)
    for at in (500, 200):  # a time before some of the events, too
        later = events().interactions(WEIGHTS, half_life=100, now=at)
        np.testing.assert_allclose(dense(later), dense(made) * 2 ** (4 - at / 100), rtol=1e-6)


def test_dates_of_any_library_and_zone_are_numbers_of_seconds():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    days = [datetime(2024, 1, 1 + at // 100, tzinfo=UTC) for at in TIMES]
    expected = dense(events().interactions(WEIGHTS, half_life=100))
    columns = {"u": USERS, "i": ITEMS, "k": KINDS, "t": days}
    zoned = pd.DataFrame(columns).assign(t=lambda frame: frame["t"].dt.tz_convert("Asia/Tokyo"))
    for frame in (pl.DataFrame(columns), zoned, pl.DataFrame(columns).to_arrow(),
                  pd.DataFrame(columns).astype({"k": "category"})):  # fmt: skip
        table = Events.from_frame(frame, user="u", item="i", kind="k", time="t")
        for half_life in ("1d", "24h", pd.Timedelta(days=1)):
            made = table.interactions(WEIGHTS, half_life=half_life, now="2024-01-05T09:00+09:00")
            np.testing.assert_allclose(dense(made), expected, rtol=1e-6)
    assert type(made.to_frame()) is pd.DataFrame


def test_the_oldest_events_do_not_vanish():
    made = events().interactions(half_life=1e-3)
    assert made.matrix.data.min() == np.float32(2.0**-60)
    assert made.nnz == 5


def test_rows_without_an_id_a_kind_or_a_time_are_dropped_and_counted():
    table = Events.from_arrays(["a", None, "b", "c", "d"], [1, 1, 2, 3, 3], ["buy", "buy", None, "view", "view"],
                               times=[1.0, 1.0, 1.0, np.nan, 2.0])  # fmt: skip
    assert table.user_ids.tolist() == ["a", "d"]
    assert len(table) == 2
    report = table.describe()
    assert "rows read: 5\n  without id or kind: 2, left out\n  without time: 1, left out\n" in report
    assert "buy: 1 events, 1 users, 1 items, 1 pairs" in report


def test_events_without_kinds_are_of_one_kind():
    table = Events.from_arrays(USERS, ITEMS, times=TIMES)
    assert table.kinds == ["event"]
    np.testing.assert_allclose(dense(table.interactions(half_life=100))[0], [0.375, 0.5, 0])
    again = pickle.loads(pickle.dumps(table))
    assert dense(again.interactions()).tolist() == dense(table.interactions()).tolist()


def test_files_have_kinds_and_numbers_may_be_kinds(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "events.csv").write_text("u,i,k,v\na,x,1,\na,y,2,3\nb,x,1,2\n")
    table = Events.from_file(tmp_path / "events.csv", user="u", item="i", kind="k", value="v")
    assert table.kinds == [1, 2]
    assert dense(table.interactions({1: 1, 2: -1})).tolist() == [[1, -3], [2, 0]]
    refuses(ValueError, "kind='c' must be a column: .*events.csv' has 'u', 'i'", lambda: Events.from_file(
        tmp_path / "events.csv", user="u", item="i", kind="c"))  # fmt: skip


def test_models_take_dislikes_and_new_users_of_several_kinds():
    rng = np.random.default_rng(0)
    people, things = rng.integers(0, 40, 900), rng.integers(0, 20, 900)
    alike = people % 2 == things % 2
    kinds = np.where(alike, np.where(rng.random(900) < 0.3, "buy", "view"), "dislike")
    table = Events.from_arrays(people, things, kinds)
    model = ImplicitALS(factors=2, random_state=0).fit(table.interactions(WEIGHTS))
    new = Events.from_arrays([99, 99], [0, 1], ["view", "dislike"]).interactions({"view": 0.25, "dislike": -2})
    ids, _ = model.recommend(user_items=new, k=5)
    assert (ids % 2 == 0).all()
    weights = {kind: 10 * weight for kind, weight in WEIGHTS.items()}  # only ratios matter
    scaled = ImplicitALS(factors=2, random_state=0).fit(table.interactions(weights))
    np.testing.assert_allclose(scaled.predict(3, range(20)), model.predict(3, range(20)), atol=1e-4)
    # Items of other kinds than purchases may be recommended again.
    purchases = table.of_kind("buy")
    ids, _ = model.recommend(3, k=20, user_items=purchases)
    assert set(ids.tolist()) - {-1} == set(range(20)) - set(purchases.matrix[[3]].indices.tolist())


@pytest.mark.parametrize(("error", "message", "arguments"), [
    (ValueError, "weights must have a weight for every kind, but has none for 'view': pass 0 to leave it out",
     {"weights": {"veiw": 1, "buy": 1, "dislike": -1}}),
    (ValueError, "weights must have a weight for every kind, but has none for 'dislike': pass 0 to leave it out",
     {"weights": {"view": 1, "buy": 1}}),
    (TypeError, r"weights\['view'\] must be a number, got None", {"weights": WEIGHTS | {"view": None}}),
    (ValueError, r"weights\['view'\] must be finite, got nan", {"weights": WEIGHTS | {"view": np.nan}}),
    (TypeError, "weights must be a mapping from kinds to numbers, such as {'buy': 1.0}, got 3", {"weights": 3}),
    (ValueError, "weights must leave some events, got a weight of 0 for", {"weights": dict.fromkeys(WEIGHTS, 0)}),
    (ValueError, "half_life must be greater than 0 and finite, got -1", {"half_life": -1}),
    (ValueError, "half_life must be greater than 0 and finite, got '0d'", {"half_life": "0d"}),
    (ValueError, "half_life must be greater than 0 and finite, got '-5d'", {"half_life": "-5d"}),
    (ValueError, r"half_life must be greater than 0 and finite, got np.timedelta64\('NaT','s'\)",
     {"half_life": np.timedelta64("NaT", "s")}),
    (ValueError, "half_life must have a unit from nanoseconds to weeks", {"half_life": np.timedelta64(1, "M")}),
    (ValueError, r"half_life must be a number and a unit \(s, min, h, d, w\), such as '30d', got '3 months'",
     {"half_life": "3 months"}),
    (TypeError, "half_life must be a number, a duration such as '30d' or None, got True", {"half_life": True}),
    (ValueError, "now must be at most 10 half-lives before the last event, got 389 with events until 400: leave later",
     {"half_life": 1, "now": 389}),
    (ValueError, "now must be a finite number, like the times, got '2024'", {"half_life": 1, "now": "2024"}),
    (ValueError, "now needs half_life, got None: pass both", {"now": 500}),
])  # fmt: skip
def test_bad_arguments_are_refused(error, message, arguments):
    table = events()
    refuses(error, message, lambda: table.interactions(**arguments))


def test_bad_tables_are_refused():
    table = Events.from_arrays(USERS, ITEMS, KINDS)
    refuses(ValueError, "half_life needs times, and these events have none", lambda: table.interactions(half_life=1))
    dated = Events.from_arrays(["a"], ["x"], ["view"], times=np.array(["2024-01-01"], "datetime64[s]"))
    refuses(TypeError, "must have a unit, since times are dates: pass '3d'", lambda: dated.interactions(half_life=3))
    refuses(ValueError, "must be greater than 0 and finite, got -3", lambda: dated.interactions(half_life=-3))
    endless = Events.from_arrays(["a", "b"], ["x", "y"], times=[np.inf, 1])
    refuses(ValueError, "times must be finite to have an age, got inf", lambda: endless.interactions(half_life=1))
    refuses(ValueError, "now must be a date", lambda: dated.interactions(half_life="1d", now="soon"))
    refuses(ValueError, "kind must be a kind of these events, .* got 'cart'", lambda: table.of_kind("cart"))
    refuses(ValueError, "kind must be a kind of these events, .* got \\[\\]", lambda: table.of_kind([]))
    refuses(TypeError, "interactions must be Interactions, got list", lambda: table.without([]))
    refuses(ValueError, "one element per event, got 1 users, 1 items, 2 kinds",
            lambda: Events.from_arrays(["a"], ["x"], ["view", "buy"]))  # fmt: skip
    refuses(ValueError, "at least one row with a user, an item and a kind, got 1 rows",
            lambda: Events.from_arrays(["a"], ["x"], [None]))  # fmt: skip
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"u": USERS, "i": ITEMS})
    refuses(ValueError, "item and kind must be different columns, got 'i' for both",
            lambda: Events.from_frame(frame, user="u", item="i", kind="i"))  # fmt: skip
    assert Interactions.from_frame(frame, user="u", item="i").nnz == 5


def test_events_are_no_interactions_and_stay_as_they_are():
    events = Events.from_arrays([1, 2], [3, 4], ["view", "buy"], times=[5, 6])
    refuses(TypeError, r"got Events: pass events.interactions\(weights\)", lambda: ImplicitALS().fit(events))
    with pytest.raises(ValueError, match="read-only"):
        events.times[0] = 9
    new = Events.from_arrays([9], [4], ["view"], times=[4])  # who has not bought yet
    assert new.interactions({"view": 0.2, "buy": 1.0}).matrix.data.tolist() == [np.float32(0.2)]
    assert "0 events" in events.without(events.interactions()).describe()
