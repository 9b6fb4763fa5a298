"""A value is the same id, number and time in whatever container it comes: lists, arrays, columns, frames, Parquet."""

import datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alternant import ImplicitALS, Interactions, Popularity

pd = pytest.importorskip("pandas", reason="one of the libraries of frames")
pl = pytest.importorskip("polars", reason="one of the libraries of frames")
pa = pytest.importorskip("pyarrow", reason="one of the libraries of frames")
pq = pytest.importorskip("pyarrow.parquet", reason="and Parquet")

BIG = 2**60

WHOLE = {  # whole numbers with gaps
    "list": list,
    "tuple": tuple,
    "objects": lambda ids: np.array([*ids, "end"], object)[:-1],
    "numpy scalars": lambda ids: [None if one is None else np.int64(one) for one in ids],
    "masked": lambda ids: np.ma.array([one or 0 for one in ids], np.int64, mask=[one is None for one in ids]),
    "Decimals": lambda ids: [None if one is None else Decimal(one) for one in ids],
    "pandas Int64": lambda ids: pd.array(ids, "Int64"),
    "pandas Series of Int64": lambda ids: pd.Series(ids, dtype="Int64"),
    "pandas Index of Int64": lambda ids: pd.Index(pd.array(ids, "Int64")),
    "pandas objects": lambda ids: pd.Series(ids, dtype=object),
    "pandas Series of int64[pyarrow]": lambda ids: pd.Series(ids, dtype="int64[pyarrow]"),
    "pandas array of int64[pyarrow]": lambda ids: pd.array(ids, "int64[pyarrow]"),
    "pandas category": lambda ids: pd.Series(pd.array(ids, "Int64")).astype("category"),
    "polars": lambda ids: pl.Series(ids, dtype=pl.Int64),
    "polars Decimal": lambda ids: pl.Series([None if x is None else Decimal(x) for x in ids], dtype=pl.Decimal(38, 0)),
    "pyarrow": lambda ids: pa.array(ids, pa.int64()),
    "pyarrow chunks": lambda ids: pa.chunked_array([ids[:1], ids[1:]], pa.int64()),
    "pyarrow decimal": lambda ids: pa.array(ids, pa.int64()).cast(pa.decimal128(38, 0)),
    "pyarrow dictionary": lambda ids: pa.array(ids, pa.int64()).dictionary_encode(),
}


numbers = st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(BIG, BIG + 3)), min_size=1)


@pytest.mark.parametrize("container", WHOLE)
@settings(deadline=None, max_examples=12)
@given(ids=numbers)
def test_whole_numbers_with_gaps_survive_in_any_container(container, ids):
    if all(one is None for one in ids):
        ids = [*ids, 1]
    column, known = WHOLE[container](ids), sorted({one for one in ids if one is not None})
    rows = list(range(len(ids)))
    found = Interactions.from_arrays(column, rows)
    assert found.user_ids.dtype == np.int64
    assert found.user_ids.tolist() == known
    assert found.describe().n_missing_ids == ids.count(None)
    assert Interactions.from_arrays(rows, column).item_ids.tolist() == known
    times = Interactions.from_arrays(rows, rows, times=column)
    assert times.times.tolist() == [one for one in ids if one is not None]
    values = Interactions.from_arrays(rows, rows, column)
    assert values.matrix.data.tolist() == [float(one) for one in ids if one is not None]
    present = WHOLE[container](known)
    assert found.reindex(users=present).user_ids.tolist() == known
    model = Popularity().fit(found)
    expected = model.recommend(known, 1, exclude_seen=False)[1]
    np.testing.assert_array_equal(model.recommend(present, 1, exclude_seen=False)[1], expected)
    with pytest.raises(IndexError, match=r"user ids of the fit, got (None|<NA>|nan)"):
        model.recommend(WHOLE[container]([*known, None]), 1)
    items = Popularity().fit(Interactions.from_arrays(rows, column))
    listed = items.recommend(items.user_ids_[0], len(known), candidate_items=present, exclude_seen=False)[0]
    assert sorted(listed.tolist()) == known


@pytest.mark.parametrize("container", [name for name in WHOLE if name.split()[0] in ("pandas", "polars", "pyarrow")])
def test_frames_and_parquet_give_the_ids_that_arrays_give(container, tmp_path):
    ids = [BIG, BIG + 1, None, BIG + 2]
    column = WHOLE[container](ids)
    library = container.split()[0]
    make = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}[library]
    frame = make({"u": column, "i": [*"abcd"]})
    roles = {"user": "u", "item": "i", "time": "u", "value": "u"}
    if "category" in container or "dictionary" in container:
        roles = {"user": "u", "item": "i"}
    whole = Interactions.from_frame(frame, **roles)
    assert whole.user_ids.tolist() == [BIG, BIG + 1, BIG + 2]
    assert whole.user_ids.dtype == np.int64
    if "time" in roles:
        assert whole.times.tolist() == [BIG, BIG + 1, BIG + 2]
    if library == "pyarrow":
        roles = {"user": "u", "item": "i"}
        pq.write_table(frame, tmp_path / "x.parquet")
        assert Interactions.from_file(tmp_path / "x.parquet", **roles).user_ids.tolist() == [BIG, BIG + 1, BIG + 2]
    model = Popularity().fit(whole)
    model.save(tmp_path / "model")
    assert Popularity.load(tmp_path / "model").user_ids_.tolist() == [BIG, BIG + 1, BIG + 2]


@pytest.mark.parametrize("make", [
    pd.Series, pl.Series, pa.array, list, lambda values: pd.Series(values, dtype=object),
], ids=["pandas", "polars", "pyarrow", "list", "objects"])  # fmt: skip
def test_decimals_and_dates_are_taken_by_every_way_in(make):
    money, days = [Decimal("2.5"), None, Decimal("3")], [datetime.date(2024, 1, 2), None, datetime.date(2024, 1, 1)]
    columns = {"u": [1, 2, 3], "i": [1, 1, 1], "v": make(money), "t": make(days)}
    ways = [Interactions.from_arrays(columns["u"], columns["i"], columns["v"], columns["t"])]
    if make is not pa.array:
        frame = pl.DataFrame if make is pl.Series else pd.DataFrame
        ways.append(Interactions.from_frame(frame(columns), user="u", item="i", value="v", time="t"))
    else:
        ways.append(Interactions.from_frame(pa.table(columns), user="u", item="i", value="v", time="t"))
    for found in ways:
        assert found.matrix.data.tolist() == [2.5, 3]
        assert found.times.astype("M8[D]").tolist() == [days[0], days[2]]
        assert found.describe().n_missing_values == 1


@pytest.mark.parametrize("values", [[1, None, 2.5], [True, None, False], [None, None, 3], [np.float32(1), None, 2]])
def test_numbers_with_none_among_them_are_taken_from_frames_as_from_arrays(values):
    frame = pd.DataFrame({"u": [1, 2, 3], "i": [1, 1, 1], "v": pd.Series(values, dtype=object)})
    by_frame = Interactions.from_frame(frame, user="u", item="i", value="v")
    by_arrays = Interactions.from_arrays([1, 2, 3], [1, 1, 1], values)
    expected = [float(value) for value in values if value is not None]
    assert by_frame.matrix.data.tolist() == by_arrays.matrix.data.tolist() == expected


@pytest.mark.parametrize("values", [["1", None], [1, "x"], [datetime.date.max, 1]])
def test_what_is_no_number_is_refused_by_every_way_in(values):
    frame = pd.DataFrame({"u": [1, 2], "i": [1, 1], "v": pd.Series(values, dtype=object)})
    with pytest.raises(TypeError, match="value='v' must hold numbers"):
        Interactions.from_frame(frame, user="u", item="i", value="v")
    with pytest.raises(TypeError, match="values must hold numbers"):
        Interactions.from_arrays([1, 2], [1, 1], np.array([*values, None], object)[:2])


@pytest.mark.parametrize("ids", [
    [Decimal("7"), 7, 7.0, np.float64(7), np.int8(7)],
    [datetime.datetime(2024, 1, 1), pd.Timestamp("2024-01-01"), np.datetime64("2024-01-01T00:00:00")],
    ["a", np.str_("a")],
], ids=["numbers", "dates", "strings"])  # fmt: skip
def test_equal_values_are_one_id_of_one_type(ids):
    for order in (ids, ids[::-1]):
        found = Interactions.from_arrays(order, list(range(len(order))))
        assert len(found.user_ids) == 1
        assert type(found.user_ids.tolist()[0]) in (int, datetime.datetime, str)
        model = ImplicitALS(factors=1, iterations=1).fit(found)
        for one in ids:
            assert model.recommend(one, 1)[0].shape == (1,)


def test_new_ids_of_a_partial_fit_are_whole_numbers_too():
    model = ImplicitALS(factors=1, iterations=1).fit(Interactions.from_arrays([1, 2], [1, 2]))
    more = Interactions.from_arrays(pd.Series([3.0, None]), [1, 2])
    model.partial_fit_users(pd.Series([3.0]), more)
    assert model.user_ids_.dtype == np.int64
    assert model.user_ids_.tolist() == [1, 2, 3]


def test_decimals_that_are_no_whole_numbers_stay_apart():
    found = Interactions.from_arrays([Decimal("0.1"), Decimal("0.10"), Decimal("0.2"), Decimal("NaN")], [1, 2, 3, 4])
    assert found.user_ids.tolist() == [Decimal("0.1"), Decimal("0.2")]
    assert found.describe().n_missing_ids == 1
