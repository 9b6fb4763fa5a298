"""From tables to matrices: numbering, aggregation, what is left out, and adding events without renumbering."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alternant import Interactions

LIBRARIES = ["pandas", "polars", "pyarrow"]


def frame_of(library, columns):
    module = pytest.importorskip(library, reason=f"frames of {library}")
    return module.table(columns) if library == "pyarrow" else module.DataFrame(columns)


COLUMNS = {
    "who": [30, 10, 10, 70, 30, 10], "what": ["b", "a", "b", "c", "b", "b"],
    "much": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "when": [9, 1, 5, 3, 2, 4],
}  # fmt: skip
ROLES = {"user": "who", "item": "what", "value": "much", "time": "when"}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("aggregate", "values"), [
    ("sum", [2, 9, 6, 4]), ("max", [2, 6, 5, 4]), ("last", [2, 3, 1, 4]), ("mean", [2, 4.5, 3, 4]),
])  # fmt: skip
def test_one_entry_for_every_pair(library, aggregate, values):
    found = Interactions.from_frame(frame_of(library, COLUMNS), **ROLES, aggregate=aggregate)
    assert found.user_ids.tolist() == [10, 30, 70]
    assert found.item_ids.tolist() == ["a", "b", "c"]
    assert found.matrix.indptr.tolist() == [0, 2, 3, 4]
    assert found.matrix.indices.tolist() == [0, 1, 1, 2]
    assert found.matrix.data.tolist() == values
    assert found.times.tolist() == [1, 5, 9, 3]  # the latest event of each pair
    assert found.describe().n_merged == 2
    back = found.to_frame()
    assert type(back) is type(frame_of(library, COLUMNS))
    assert list(getattr(back, "column_names", getattr(back, "columns", None))) == ["user", "item", "value", "time"]


def test_without_times_the_last_row_counts_and_without_values_every_row_counts_one():
    users, items = [1, 1, 2], [5, 5, 5]
    assert Interactions.from_arrays(users, items, [3, 4, 7], aggregate="last").matrix.data.tolist() == [4, 7]
    assert Interactions.from_arrays(users, items).matrix.data.tolist() == [2, 1]
    assert Interactions.from_arrays(users, items, aggregate="max").matrix.data.tolist() == [1, 1]


def test_a_repeated_pair_can_be_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"user 'ann' and item 3 occur in several rows \(2 rows repeat a pair\)"):
        Interactions.from_arrays(["ann", "ann", "ann", "bob"], [3, 3, 3, 3], aggregate="error")


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_order_of_rows_changes_nothing(library):
    order = np.random.default_rng(0).permutation(6)
    moved = {name: [column[at] for at in order] for name, column in COLUMNS.items()}
    one, other = (Interactions.from_frame(frame_of(library, columns), **ROLES) for columns in (COLUMNS, moved))
    assert (one.matrix != other.matrix).nnz == 0
    assert one.item_ids.tolist() == other.item_ids.tolist()
    assert one.times.tolist() == other.times.tolist()


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_missing_is_left_out_and_counted(library):
    frame = frame_of(library, {
        "who": ["ann", None, "bob", "cid", "dot"], "what": ["x", "x", None, "y", "z"],
        "much": [1.0, 2.0, 3.0, float("nan"), 5.0], "when": [1.0, 2.0, 3.0, 4.0, None],
    })  # fmt: skip
    found = Interactions.from_frame(frame, **ROLES)
    report = found.describe()
    assert (report.n_rows, report.n_missing_ids, report.n_missing_values, report.n_missing_times) == (5, 2, 1, 1)
    assert found.user_ids.tolist() == ["ann"]  # who has nothing left has no row
    assert "without id      2, left out" in str(report)
    with pytest.raises(ValueError, match="got 1 rows, of which 1 have no id"):
        Interactions.from_arrays([None], [1])


@pytest.mark.parametrize("ids", [
    [2**63 - 1, -(2**63), 0], [2**64 - 1, 5], [1.0, 2.0, 7.0], ["b", "a", "ü"], [("a", 1), ("a", 2)],
    [1, "one"], [0.5, 0.25], [b"x", b"y"], np.array([3, 1, 2], np.uint8), np.array(["q", "p"]),
    np.array([2**60, 5, 2**61, 7]),
])  # fmt: skip
def test_any_hashable_id_comes_back_as_it_was(ids):
    ids = list(ids.tolist()) if isinstance(ids, np.ndarray) else ids
    found = Interactions.from_arrays(ids, ids)
    assert sorted(map(repr, found.user_ids.tolist())) == sorted(
        repr(int(one)) if isinstance(one, float) and one.is_integer() else repr(one) for one in ids
    )
    assert found.matrix.diagonal().tolist() == [1] * len(ids)
    try:
        assert found.user_ids.tolist() == sorted(ids)
    except TypeError:  # can't be compared: in order of appearance
        assert found.user_ids.tolist() == ids


pairs = st.lists(st.tuples(st.integers(-3, 3), st.sampled_from(["x", "y", "z"]), st.integers(-4, 4), st.integers(0, 5)),
                 min_size=1, max_size=30)  # fmt: skip


@given(rows=pairs, more=pairs, aggregate=st.sampled_from(["sum", "max", "last", "mean"]))
def test_any_events_agree_with_a_dictionary_and_appending_with_reading_all(rows, more, aggregate):
    def build(events):
        return Interactions.from_arrays(*map(list, zip(*events, strict=True)), aggregate=aggregate)

    def expected(events):
        by_pair = {}
        for user, item, value, time in events:
            by_pair.setdefault((user, item), []).append((time, value))
        pick = {"sum": lambda found: sum(value for _, value in found), "max": lambda found: max(v for _, v in found),
                "mean": lambda found: sum(value for _, value in found) / len(found),
                "last": lambda found: [v for t, v in found if t == max(found)[0]][-1]}  # fmt: skip
        latest = {pair: max(time for time, _ in found) for pair, found in by_pair.items()}
        return {pair: (pytest.approx(pick[aggregate](found)), latest[pair]) for pair, found in by_pair.items()}

    def entries(found):
        table = found.matrix.tocoo()
        return {(found.user_ids[u], found.item_ids[i]): (value, time)
                for u, i, value, time in zip(table.row, table.col, table.data, found.times, strict=True)}  # fmt: skip

    found = build(rows)
    assert entries(found) == expected(rows)
    before = found.user_ids.tolist(), found.item_ids.tolist()
    assert found.append(build(more)) is found
    assert entries(found) == expected(rows + more)
    for ids, old in zip((found.user_ids.tolist(), found.item_ids.tolist()), before, strict=True):
        assert ids[: len(old)] == old  # nobody is renumbered


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_frame_with_the_same_columns_is_appended(library):
    found = Interactions.from_frame(frame_of(library, COLUMNS), **ROLES)
    new = {"who": [5, 30], "what": ["b", "d"], "much": [1.0, 2.0], "when": [1, 2]}
    found.append(frame_of(library, new))
    assert found.user_ids.tolist() == [10, 30, 70, 5]
    assert found.item_ids.tolist() == ["a", "b", "c", "d"]
    assert found.describe().n_rows == 8
    with pytest.raises(ValueError, match="value='much' must be a column"):
        found.append(frame_of(library, {"who": [1], "what": ["a"], "when": [1]}))
    assert found.nnz == 6


def test_what_cannot_be_appended_changes_nothing():
    found = Interactions.from_arrays(["a", "b"], [1, 2], aggregate="error")
    with pytest.raises(ValueError, match=r"user .b. and item 2 are known already .*: nothing was"):
        found.append(Interactions.from_arrays(["c", "b"], [1, 2]))
    with pytest.raises(ValueError, match="events must have no times"):
        found.append(Interactions.from_arrays(["c"], [1], times=[3]))
    with pytest.raises(ValueError, match="events must have aggregate='mean'"):
        Interactions.from_arrays([1], [1], aggregate="mean").append(Interactions.from_arrays([1, 1], [1, 1]))
    with pytest.raises(TypeError, match="events must be Interactions, got list"):
        found.append([1, 2])
    assert (found.shape, found.nnz, found.describe().n_rows) == ((2, 2), 2, 2)


def test_reindex_takes_these_users_and_items_in_this_order():
    found = Interactions.from_arrays(["a", "b", "b"], [1, 2, 1], [5.0, 6.0, 7.0])
    moved = found.reindex(users=["b", "new", "a"], items=[2, 3])
    assert moved.matrix.toarray().tolist() == [[6, 0], [0, 0], [0, 0]]
    assert moved.user_ids.tolist() == ["b", "new", "a"]
    assert np.shares_memory(found.reindex().matrix.data, found.matrix.data)  # nothing to change, nothing to copy
    with pytest.raises(ValueError, match="users must be distinct ids"):
        found.reindex(users=["a", "a"])


def test_dates_are_times_in_utc():
    pd = pytest.importorskip("pandas", reason="dates with time zones are pandas' here")
    when = pd.to_datetime(["2024-01-01 12:00", None]).tz_localize("Europe/Berlin")
    found = Interactions.from_frame(pd.DataFrame({"u": [1, 2], "i": [1, 2], "t": when}), user="u", item="i", time="t")
    assert found.times.astype("datetime64[s]").tolist() == [np.datetime64("2024-01-01T11:00:00").item()]
    assert found.describe().n_missing_times == 1


def test_stored_zeros_are_kept_and_float32_stays():
    found = Interactions.from_arrays([1, 2], [1, 2], np.array([0, 1], np.float32))
    assert found.matrix.nnz == 2
    assert found.matrix.dtype == np.float32


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: Interactions.from_arrays([1, 2], [1]), ValueError, "one element per event, got 2 users, 1 items"),
    (lambda: Interactions.from_arrays([1], [1], ["x"]), TypeError, "values must hold numbers"),
    (lambda: Interactions.from_arrays([1], [1], [np.inf]), ValueError, "must hold finite numbers, got inf in row 0"),
    (lambda: Interactions.from_arrays([[1]], [1]), TypeError, "must hold ids that can be hashed .*, got list in row 0"),
    (lambda: Interactions.from_arrays(np.ones((2, 2)), [1]), ValueError, "users must be a list of ids, got 2 dim"),
    (lambda: Interactions.from_arrays([], []), ValueError, "at least one row with a user and an item, got 0 rows"),
    (lambda: Interactions.from_arrays([1], [1], aggregate="first"), ValueError, "aggregate must be one of 'sum'"),
    (lambda: Interactions.from_frame([1], user="u", item="i"), TypeError, "frame must be a pandas, polars or pyarrow"),
])  # fmt: skip
def test_bad_tables_are_refused_in_one_sentence(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert not re.search(r"[.!] [A-Z]|\.$|\n", str(caught.value))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("change", "error", "message"), [
    ({"user": "nobody"}, ValueError, "user='nobody' must be a column: the frame has the columns 'who', 'what'"),
    ({"user": 9}, ValueError, "user=9 must be a column's name or its position from 0 to 3"),
    ({"value": "what"}, TypeError, "value='what' must hold numbers, got a column of type"),
    ({"time": "what"}, TypeError, "time='what' must hold numbers or dates"),
])  # fmt: skip
def test_bad_columns_are_refused_by_name(library, change, error, message):
    with pytest.raises(error, match=message):
        Interactions.from_frame(frame_of(library, COLUMNS), **ROLES | change)


@pytest.mark.parametrize("library", LIBRARIES)
def test_columns_by_position(library):
    by_name = Interactions.from_frame(frame_of(library, COLUMNS), **ROLES)
    by_place = Interactions.from_frame(frame_of(library, COLUMNS), user=0, item=1, value=2, time=3)
    assert (by_name.matrix != by_place.matrix).nnz == 0


def test_columns_that_pandas_calls_by_number_or_twice():
    pd = pytest.importorskip("pandas", reason="other frames have no such names")
    found = Interactions.from_frame(pd.DataFrame({1: [5, 6], 0: ["a", "b"]}), user=1, item=0)
    assert (found.user_ids.tolist(), found.item_ids.tolist()) == ([5, 6], ["a", "b"])
    with pytest.raises(ValueError, match="with distinct column names, got 'u' 2 times: rename one of them"):
        Interactions.from_frame(pd.DataFrame([[1, 2, 3]], columns=["u", "u", "i"]), user="u", item="i")
    with pytest.raises(ValueError, match="user and item must be different columns, got 'u' for both"):
        Interactions.from_frame(pd.DataFrame({"u": [1]}), user="u", item=0)


@pytest.mark.parametrize("spread", [1, 2**40])
def test_a_million_events_agree_with_numpy(spread):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 5000, 10**6) * spread - 7, rng.integers(0, 300, 10**6)
    found = Interactions.from_arrays(users, items)
    keys, counts = np.unique((users + 7) // spread * 300 + items, return_counts=True)
    assert found.matrix.data.tolist() == counts.tolist()
    assert found.matrix.nnz == len(keys)
    assert found.user_ids.tolist() == np.unique(users).tolist()
