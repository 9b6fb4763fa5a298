"""Lists as frames and files: ids and titles of every type stand there, or one sentence says why they can't."""

import datetime

import numpy as np
import pytest

from alternant import Interactions, Popularity

HASHES = [2**63 + 1, 2**63 + 2, 3, 4]
MIXED = ["a", "b", 1, 2]
LIBRARIES = ["pandas", "polars", "pyarrow"]


def model_of(ids):
    return Popularity().fit(Interactions.from_arrays(ids, ids[::-1]))


def column(frame, name):
    return frame[name].to_pylist() if hasattr(frame[name], "to_pylist") else frame[name].to_list()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("ids", [HASHES, [1, 2, 3, 4], ["a", "b", "c", "d"], [b"a", b"b", b"c", b"d"]])
def test_ids_of_one_type_stand_in_every_frame(ids, library):
    pytest.importorskip(library, reason="the frame is one of it")
    model = model_of(ids)
    frame = model.recommend_frame(ids[:2], 4, library=library, exclude_seen=False)
    assert column(frame, "user") == [ids[0]] * 4 + [ids[1]] * 4
    data = Interactions.from_arrays(ids, ids[::-1])
    assert sorted(column(data.to_frame(library), "item")) == sorted(ids)


@pytest.mark.parametrize("ids", [MIXED, [("a", 1), ("b", 2)], [-(2**70), 1], [2**63, -1]])
def test_ids_that_no_column_takes_are_refused_in_one_sentence(ids, tmp_path):
    pytest.importorskip("polars", reason="refused by polars, taken by pandas")
    pytest.importorskip("pandas", reason="refused by polars, taken by pandas")
    pytest.importorskip("pyarrow", reason="and refused by Parquet")
    model, data = model_of(ids), Interactions.from_arrays(ids, ids[::-1])
    for call in (lambda: model.recommend_frame(ids, library="pyarrow", exclude_seen=False),
                 lambda: data.to_frame("polars"),
                 lambda: model.recommend_all(2, to=list, library="pyarrow", exclude_seen=False)):  # fmt: skip
        with pytest.raises(TypeError, match=r"frame must be of one type, .* pass library='pandas'") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert sorted(map(str, column(data.to_frame("pandas"), "user"))) == sorted(map(str, ids))
    with pytest.raises(TypeError, match=r"users must be of one type, .*: write a \.csv file, or pass a function"):
        model.recommend_all(2, to=tmp_path / "lists.parquet")
    assert model.recommend_all(2, to=tmp_path / "lists.csv", exclude_seen=False) == len(ids) * min(len(ids), 2)


def test_a_parquet_file_holds_unsigned_ids(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="the file is Parquet")
    assert model_of(HASHES).recommend_all(4, to=tmp_path / "lists.parquet", exclude_seen=False) == 16
    assert set(pq.read_table(tmp_path / "lists.parquet")["item"].to_pylist()) == set(HASHES)


def test_bytes_are_text_in_a_csv_file(tmp_path):
    model_of([b"a", b"\xff"]).recommend_all(1, to=tmp_path / "lists.csv")
    assert (tmp_path / "lists.csv").read_text().splitlines()[1:] == ["a,a,1.0,1", r"\xff,\xff,1.0,1"]


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
@pytest.mark.parametrize("missing", [float("nan"), None, "NA"])
def test_items_without_a_title_get_none(library, missing, tmp_path):
    pytest.importorskip(library, reason="the frame is one of it")
    pd = pytest.importorskip("pandas", reason="titles that are missing in its ways")
    pq = pytest.importorskip("pyarrow.parquet", reason="and in a file")
    texts = ["x", pd.NA if missing == "NA" else missing, "z"]
    titles = pd.DataFrame({"item": [1, 2, 3], "title": pd.Series(texts, dtype=object)})
    model = model_of([1, 2, 3])
    frame = model.recommend_frame([1], 3, titles=titles, library=library, exclude_seen=False)
    assert column(frame, "title") == ["x", None, "z"]
    model.recommend_all(3, to=tmp_path / "lists.parquet", titles=titles, exclude_seen=False)
    assert set(pq.read_table(tmp_path / "lists.parquet")["title"].to_pylist()) == {"x", None, "z"}


def test_a_frame_with_more_columns_says_which_two_to_keep():
    pd = pytest.importorskip("pandas", reason="the frame is one of it")
    movies = pd.DataFrame({"movieId": [1, 2, 3], "genres": list("xyz"), "title": list("abc")})
    model = model_of([1, 2, 3])
    with pytest.raises(ValueError, match=r"got the columns .*: keep two, as in frame\[\['movieId', 'title'\]\]"):
        model.recommend_frame([1], titles=movies)
    with pytest.raises(ValueError, match=r"frame\.reset_index\(\) has the index as a column"):
        model.recommend_frame([1], titles=movies.set_index("movieId")[["title"]])
    frame = model.recommend_frame([1], titles=movies.rename(columns={"movieId": "item"}), exclude_seen=False)
    assert dict(zip(frame["item"], frame["title"], strict=True)) == {1: "a", 2: "b", 3: "c"}


def test_titles_of_two_types_are_refused_where_a_column_has_one(tmp_path):
    pytest.importorskip("pyarrow", reason="a frame, and a file")
    model = model_of([1, 2, 3])
    with pytest.raises(TypeError, match="got titles of int and str: pass library='pandas'"):
        model.recommend_frame([2], 3, titles={1: "a", 3: 7}, library="pyarrow", exclude_seen=False)
    with pytest.raises(TypeError, match="titles must be of one type"):
        model.recommend_all(3, titles={1: "a", 3: 7}, to=tmp_path / "lists.parquet")


def test_dates_as_ids_are_found_in_lists_of_numpy_s():
    days = [np.datetime64("2020-01-01"), np.datetime64("2020-01-02")]
    ids, _ = model_of(days).recommend(days, 1)
    assert ids[:, 0].tolist() == [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)]
