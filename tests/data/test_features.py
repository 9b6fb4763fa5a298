"""`Features`: kinds of columns, ids, scaling, files, and what is refused."""

import numpy as np
import pytest
from refusal import refuses

from alternant import Features

pytest.importorskip("pandas", reason="frames of pandas")


def movies():
    import pandas as pd

    return pd.DataFrame({
        "id": [30, 10, 20], "year": [1995.0, np.nan, 2005.0], "genres": ["Comedy|Drama", "Drama", None],
        "country": ["fr", "us", "fr"], "seen": [True, False, True],
    })  # fmt: skip


def test_columns_have_kinds_and_rows_are_sorted_by_id():
    features = Features.from_frame(movies(), id="id")
    assert features.ids.tolist() == [10, 20, 30]
    assert features.names == ["year", "genres=Comedy", "genres=Drama", "country=fr", "country=us", "seen"]
    np.testing.assert_array_equal(
        features.matrix.toarray(), [[0, 0, 1, 0, 1, 0], [2005, 0, 0, 1, 0, 1], [1995, 1, 1, 1, 0, 1]]
    )
    assert "year: number, 1 features, 1 rows without" in features.describe()
    assert "genres: tags, 2 features, 1 rows without" in features.describe()
    years = Features.from_frame(movies(), id=0, columns=["year"], kinds={"year": "category"})
    assert years.names == ["year=1995", "year=2005"]
    assert features.reindex([30, 10]).matrix.toarray().tolist() == features.matrix.toarray()[[2, 0]].tolist()


def test_lists_are_tags_and_libraries_agree():
    by_arrays = Features.from_arrays([30, 10, 20], {
        "year": [1995, None, 2005], "genres": [["Drama", "Comedy"], ["Drama"], []], "country": ["fr", "us", "fr"],
        "seen": [1, 0, 1],
    })  # fmt: skip
    pl = pytest.importorskip("polars")
    by_polars = Features.from_frame(pl.from_pandas(movies()), id="id")
    for one in (by_arrays, by_polars):
        np.testing.assert_array_equal(one.matrix.toarray(), Features.from_frame(movies(), id="id").matrix.toarray())


def test_a_fit_scales_numbers_and_leaves_out_what_tells_no_rows_apart():
    features = Features.from_frame(movies(), id="id")
    columns = features._scaling(np.arange(3))
    assert columns.names == ["year", "genres=Drama", "country=fr", "seen"]
    scaled = features._scaled(columns, np.dtype(np.float64), new=False).to_scipy().toarray()
    np.testing.assert_allclose(scaled[:, 0], [0, 1, -1])  # a missing number counts as the mean
    np.testing.assert_allclose(scaled[:, 1:3], [[1, 0], [0, 1], [1, 1]])


def test_files_are_read_like_frames(tmp_path):
    pytest.importorskip("pyarrow")
    movies().to_csv(tmp_path / "movies.csv", index=False)
    movies().to_parquet(tmp_path / "movies.parquet")
    expected = Features.from_frame(movies().drop(columns="seen"), id="id")
    columns = ["year", "genres", "country"]
    for file in ("movies.csv", "movies.parquet"):
        found = Features.from_file(tmp_path / file, id="id", columns=columns)
        assert found.names == expected.names
        np.testing.assert_array_equal(found.matrix.toarray(), expected.matrix.toarray())
    assert Features.from_file(tmp_path / "movies.csv", id=0).shape == (3, 7)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: Features.from_arrays([1, 1], {"x": [1, 2]}), ValueError, "ids must be distinct.* but 1 occurs in several"),
    (lambda: Features.from_arrays([1, None], {"x": [1, 2]}), ValueError, "ids must have an id in every row, got 1"),
    (lambda: Features.from_arrays([1, 2], {"x": [1]}), ValueError, "columns must have one entry for each of the 2 ids"),
    (lambda: Features.from_arrays([1, 2], {}), ValueError, "features must have at least one column besides the ids"),
    (lambda: Features.from_arrays([1, 2], [[1, 2]]), TypeError, "columns must be a mapping from names to lists"),
    (lambda: Features.from_arrays([1], {"x": [np.inf]}), ValueError, "column 'x' must hold finite numbers, got 1"),
    (lambda: Features.from_arrays([1], {"x": ["a"]}, kinds={"y": "tags"}), ValueError, "kinds must name columns"),
    (lambda: Features.from_arrays([1], {"x": ["a"]}, kinds={"x": "tag"}), ValueError, "kinds must be 'number'"),
    (lambda: Features.from_arrays("ab", {"x": [1]}), TypeError, "ids must be a list of ids, one for each row, got a"),
    (lambda: Features.from_arrays([1], {"x": [2j]}), TypeError, "column 'x' must hold numbers, texts .*, got complex"),
    (lambda: Features.from_arrays([1], {"x": [["a", {}]]}), TypeError, "column 'x' must hold numbers, .*, got dict {}"),
    (lambda: Features.from_frame([1, 2], id="a"), TypeError, "got list: pass such a frame, or arrays to Features.f"),
    (lambda: Features.from_frame(movies(), id="movie"), ValueError, "must be a column of the frame|columns"),
    (lambda: Features.from_arrays([1, 2], {"x": ["a", "b"]})._scaling(np.arange(2)), ValueError, "tell rows apart"),
])  # fmt: skip
def test_tables_that_make_no_features_are_refused(call, error, message):
    refuses(error, message, call)
