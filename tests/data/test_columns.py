"""Interactions: ids, values and times of unusual dtypes, and what is refused of them."""

import datetime

import numpy as np
import pytest

from alternant import ImplicitALS, Interactions

UTC = datetime.UTC
BIG = 1_600_000_000_000_000_001  # float64 would lose its last digit


def _model(users):
    known = Interactions.from_arrays(users, np.arange(len(users)) % 3)
    return ImplicitALS(factors=2, iterations=2, random_state=0).fit(known)


def test_unsigned_ids_are_found_beyond_the_whole_numbers_of_float64():
    users = 2**60 + np.arange(6)
    model = _model(users)
    same = model.recommend(users.astype(np.uint64), 2)
    np.testing.assert_array_equal(same[0], model.recommend(users, 2)[0])
    with pytest.raises(IndexError, match="got 18446744073709551615"):
        model.recommend(np.array([2**64 - 1], np.uint64))


@pytest.mark.parametrize("unit", ["ns", "us", "s", "D"])
def test_dates_that_are_ids_stay_dates(unit):
    days = np.array(["2020-01-01", "2020-01-02", "NaT"], f"M8[{unit}]")
    found = Interactions.from_arrays(days, [1, 2, 3])
    first = found.user_ids[0]
    assert [first.year, first.month, first.day] == [2020, 1, 1]
    assert found.describe().n_missing_ids == 1
    model = ImplicitALS(factors=2, iterations=1).fit(found)
    assert model.recommend(days[:2], 1)[0].shape == (2, 1)
    assert model.recommend(days[0], 1)[0].shape == (1,)


def test_dates_finer_than_python_s_are_refused_as_ids():
    with pytest.raises(TypeError, match="users must be dates of whole microseconds"):
        Interactions.from_arrays(np.array([1, 2], "M8[ns]"), [1, 2])


def test_what_an_array_masks_is_missing():
    mask = [False, True, False]
    ids = np.ma.array([1, 2, 3], mask=mask)
    for values in (np.ma.array([1.0, 2, 3], mask=mask), np.ma.array([1, 2, 3], mask=mask)):
        assert Interactions.from_arrays([1, 2, 3], ids, values).user_ids.tolist() == [1, 3]
        report = Interactions.from_arrays([1, 2, 3], [1, 2, 3], values).describe()
        assert report.n_missing_values == 1
    assert Interactions.from_arrays(ids, [1, 2, 3]).user_ids.tolist() == [1, 3]
    for times in (np.ma.array([BIG, 2, 3], mask=mask), np.ma.array(["2020", "2021", "2022"], "M8[s]", mask=mask)):
        found = Interactions.from_arrays([1, 2, 3], [1, 2, 3], times=times)
        assert found.describe().n_missing_times == 1
        assert found.times[0] == times[0]
    with pytest.raises(IndexError, match="got None"):
        _model([1, 2, 3]).recommend(ids)


def test_whole_times_keep_all_digits_beside_missing_ones():
    for times in ([BIG, None, BIG + 1], np.array([BIG, None, BIG + 1], object)):
        found = Interactions.from_arrays([1, 1, 1], [1, 2, 3], times=times)
        assert found.times.tolist() == [BIG, BIG + 1]
    pl = pytest.importorskip("polars", reason="a frame with missing whole numbers")
    pd = pytest.importorskip("pandas", reason="a frame with missing whole numbers")
    columns = {"u": [1, 1, 1], "i": [1, 2, 3], "t": [BIG, None, BIG + 1]}
    for frame in (pl.DataFrame(columns), pd.DataFrame(columns).astype({"t": "Int64"}),
                  pd.DataFrame(columns | {"t": pd.array(columns["t"], "Int64")})):  # fmt: skip
        exact = frame["t"].drop_nulls().to_list() if hasattr(frame["t"], "drop_nulls") else frame["t"].dropna().tolist()
        assert Interactions.from_frame(frame, user="u", item="i", time="t").times.tolist() == exact


def test_times_beyond_64_bits_are_refused():
    with pytest.raises(ValueError, match="times must fit in int64, got 9223372036854775813"):
        Interactions.from_arrays([1], [1], times=np.array([2**63 + 5], np.uint64))
    pl = pytest.importorskip("polars", reason="a frame of unsigned numbers")
    frame = pl.DataFrame({"u": [1], "i": [1], "t": pl.Series([2**63 + 5], dtype=pl.UInt64)})
    with pytest.raises(ValueError, match="time='t' must fit in int64"):
        Interactions.from_frame(frame, user="u", item="i", time="t")


def test_times_with_a_zone_are_taken_in_utc_without_a_word():
    zone = datetime.timezone(datetime.timedelta(hours=2))
    times = [datetime.datetime(2020, 1, 1, 1, tzinfo=zone), datetime.datetime(2020, 1, 1, tzinfo=UTC), None]
    found = Interactions.from_arrays([1, 2, 3], [1, 2, 3], times=times)
    assert found.times.tolist() == [datetime.datetime(2019, 12, 31, 23), datetime.datetime(2020, 1, 1)]


@pytest.mark.parametrize("aggregate", ["sum", "mean"])
def test_values_that_add_up_to_infinity_are_refused(aggregate):
    values = np.array([1.5e308, 1.5e308])
    with pytest.raises(ValueError, match="values of one pair must add up to a finite number in float64, but 1 sums"):
        Interactions.from_arrays([1, 1], [1, 1], values, aggregate=aggregate)
    known = Interactions.from_arrays([1], [1], np.float32([3e38]))
    with pytest.raises(ValueError, match="finite number in float32"):
        known.append(Interactions.from_arrays([1], [1], np.float32([3e38])))
    assert known.matrix.data.tolist() == np.float32([3e38]).tolist()
    assert Interactions.from_arrays([1, 1], [1, 1], values, aggregate="max").matrix.data.tolist() == [1.5e308]


def test_an_infinite_value_counts_only_in_a_row_that_counts():
    assert Interactions.from_arrays([1, None], [1, 2], [1, np.inf]).nnz == 1
    with pytest.raises(ValueError, match="got inf in row 1"):
        Interactions.from_arrays([1, 2], [1, 2], [1, np.inf])


@pytest.mark.parametrize(("known", "new"), [([1, 2], ["1", "guest"]), (["a", "1"], [1]), ([1], [datetime.date.max])])
def test_ids_of_another_type_are_not_appended(known, new):
    old = Interactions.from_arrays(known, ["x"] * len(known))
    with pytest.raises(TypeError, match="events must have user ids of the known type"):
        old.append(Interactions.from_arrays(new, ["x"] * len(new)))
    assert old.user_ids.tolist() == sorted(known)
    with pytest.raises(TypeError, match="item ids of the known type"):
        Interactions.from_arrays(["x"], known[:1]).append(Interactions.from_arrays(["x"], new[:1]))


def test_new_ids_among_known_ones_may_be_of_another_type():
    old = Interactions.from_arrays([1, 2], ["x", "y"]).append(Interactions.from_arrays([2, "guest"], ["x", "y"]))
    assert old.user_ids.tolist() == [1, 2, "guest"]


def test_numbers_are_not_appended_to_dates():
    old = Interactions.from_arrays([1], [1], times=np.array(["2020"], "M8[s]"))
    with pytest.raises(TypeError, match=r"events must have times that are dates, .* got numbers"):
        old.append(Interactions.from_arrays([1], [2], times=[5]))


def test_no_column_of_ids_is_refused_by_its_role():
    pd = pytest.importorskip("pandas", reason="a frame")
    frame = pd.DataFrame({"u": [1], "i": [1]})
    with pytest.raises(ValueError, match="user=None must be a column: the frame has the columns 'u', 'i'"):
        Interactions.from_frame(frame, user=None, item="i")


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_what_is_missing_is_no_id_to_reindex_by(missing):
    with pytest.raises(ValueError, match=r"users must be ids, got (None|nan)"):
        Interactions.from_arrays(["a"], [1]).reindex(users=["a", missing])
