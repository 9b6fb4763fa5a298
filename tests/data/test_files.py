"""Interactions.from_file: what it reads, and what it says of files that it can't."""

import gzip

import numpy as np
import pytest

from alternant import ImplicitALS, Interactions

pa = pytest.importorskip("pyarrow", reason="files are read with pyarrow")
parquet = pytest.importorskip("pyarrow.parquet", reason="files are read with pyarrow")

HEADER = b"u,i,v\n"
MANY = b"".join(b"%d,%d,1\n" % (row, row % 97) for row in range(200_000))  # more than one block


@pytest.fixture
def read(tmp_path):
    """Read bytes (or a pyarrow table) under a file name."""

    def from_bytes(content, name="x.csv", **asked):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            parquet.write_table(content, path)
        return Interactions.from_file(path, **({"user": "u", "item": "i"} | asked))

    return from_bytes


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", b"u,i,v\n3,a,1.5\n1,b,2\n"),
        ("bom.csv", b"\xef\xbb\xbfu,i,v\r\n3,a,1.5\r\n1,b,2"),
        ("quoted.csv", b'"u","i","v"\n"3","a","1.5"\n\n"1","b","2"\n'),
        ("x.tsv", b"u\ti\tv\n3\ta\t1.5\n1\tb\t2\n"),
        ("x.dat", b"u\ti\tv\r\n3\ta\t1.5\r\n1\tb\t2\r\n"),
        ("x.csv.gz", gzip.compress(b"u,i,v\n3,a,1.5\n1,b,2\n", mtime=0)),
        ("two.csv.gz", gzip.compress(b"u,i,v\n3,a,1.5\n", mtime=0) + gzip.compress(b"1,b,2\n", mtime=0)),
        ("x.parquet", pa.table({"u": [3, 1], "i": ["a", "b"], "v": [1.5, 2]})),
    ],
)
@pytest.mark.parametrize("columns", [("u", "i", "v"), (0, 1, 2)], ids=["names", "positions"])
def test_every_format_reads_the_same(read, name, content, columns):
    user, item, value = columns
    found = read(content, name, user=user, item=item, value=value)
    np.testing.assert_array_equal(found.user_ids, [1, 3])
    assert found.item_ids.tolist() == ["a", "b"]
    np.testing.assert_array_equal(found.matrix.toarray(), [[0, 2], [1.5, 0]])


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([b"9", b"-10"], [-10, 9]),
        ([b"007", b"8"], ["007", "8"]),
        ([b"18446744073709551615", b"8"], ["18446744073709551615", "8"]),
        ([b"7.0", b"", b"8.0"], [7, 8]),
        ([b"NA", b"8"], [8]),
        ([b"1.10", b"1.1"], ["1.1", "1.10"]),
    ],
    ids=str,
)
def test_ids_are_numbers_only_where_nothing_is_lost(read, ids, expected):
    assert read(HEADER + b"".join(one + b",2,1\n" for one in ids)).user_ids.tolist() == expected


def test_an_id_of_text_behind_a_block_of_numbers_makes_all_strings(read):
    found = read(HEADER + MANY + b"x,1,1\n")
    assert {type(one) for one in found.user_ids.tolist()} == {str}
    assert found.nnz == 200_001


@pytest.mark.parametrize(
    ("time", "dtype"),
    [(b"978300760", "int64"), (b"1.5", "float64"), (b"2020-01-02", "M8[us]"), (b"2020-01-02T03:04:05Z", "M8[us]")],
)
def test_times_are_numbers_or_iso_dates(read, time, dtype):
    assert read(b"u,i,t\n1,2," + time + b"\n", time="t").times.dtype == dtype


@pytest.mark.parametrize(
    ("last", "unit"),
    [(b"2020-01-02 03:04", "us"), (b"9999-01-01T00:00:00Z", "us"), (b"2020-01-02T03:04:05.123456789", "ns")],
)
def test_dates_with_and_without_a_time_zone_stand_in_one_column(read, last, unit):
    rows = b"u,i,t\n1,1,2020-01-01\n1,2,2020-01-02T03:04:05Z\n1,3,2020-01-02T03:04:05.5+01:00\n2,1,\n1,4,"
    found = read(rows + last + b"\n", time="t")
    texts = ["2020-01-01", "2020-01-02T03:04:05", "2020-01-02T02:04:05.5", last.decode().strip("Z")]
    assert found.times.tolist() == np.array(texts, f"M8[{unit}]").tolist()
    with pytest.raises(ValueError, match="got '7' in line 7"):
        read(rows + last + b"\n1,5,7\n", time="t")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (HEADER, "a header and no rows"),
        (b"u,x,v\n1,2,3\n", r"item='i' must be a column: .* has 'u', 'x', 'v'"),
        (b"1,2,3\n4,5,6\n", "pass header=False"),
        (b"u;i;v\n1;2;3\n", "pass separator=';'"),
        (b"u,i,i,v\n1,2,3,4\n", "2 of that name: pass a position, such as item=1"),
        (HEADER + b"1,2\n", "line 2 has 2 fields, but the header has 3"),
        (HEADER + MANY + b"\n1,2,3,4\n" + MANY, "line 200,003 has 4 fields, but the header has 3"),
        (HEADER + MANY + b"1,2,x\n" + MANY, "got 'x' in line 200,002"),
        (HEADER + MANY + b"1,2,inf\n", "got 'inf' in line 200,002"),
        (HEADER + MANY + b"1,\xe9,1\n", "line 200,002 is not valid UTF-8"),
        (HEADER + b"1,2,3\na\0b,2,3\n", "NUL byte in line 3"),
        (HEADER + MANY + b'1,"2,3\n', "a quote on or shortly after line 200,002 is never closed"),
        ("u,i,v\n1,2,3\n".encode("utf-16"), "binary data"),
        (b'u,i,v,t\n1,2,3,"a\nb"\n1,2,x,c\n', "got 'x' in line 4"),
        (b'u,i,"v\n1,2,3\n', "a quote on or shortly after line 1 is never closed"),
        (b'u,i,v\n\n1,2,"3\n', "a quote on or shortly after line 2 is never closed"),
    ],
    ids=range(18),
)
def test_a_bad_file_gets_one_sentence_with_its_name_and_the_line(read, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(content, value="v")
    assert "x.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.nightly
@pytest.mark.parametrize("cut", [5, -2000, -4])
def test_truncated_gzip_is_told(read, cut):
    with pytest.raises(ValueError, match=r"(truncated or damaged gzip data|gzip data are truncated or damaged)"):
        read(gzip.compress(HEADER + MANY, mtime=0)[:cut], "x.csv.gz")


def test_bad_parquet_is_told(read):
    with pytest.raises(ValueError, match="is not a complete Parquet file"):
        read(b"PAR1 hello", "x.parquet")
    with pytest.raises(ValueError, match="is no Parquet file: rename it if it holds text"):
        read(b"hello world", "x.parquet")
    with pytest.raises(TypeError, match="plain values in the column user='u'"):
        read(pa.table({"u": [[1]], "i": [2]}), "x.parquet")
    twice = pa.table([[1], [2], [3]], names=["u", "i", "u"])
    with pytest.raises(ValueError, match="2 of that name"):
        read(twice, "x.parquet", user=2)


def test_no_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nope\.csv"):
        Interactions.from_file(tmp_path / "nope.csv", user=0, item=1)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        Interactions.from_file(tmp_path, user=0, item=1)
    with pytest.raises(TypeError, match="a file must be given by its path, got int: pass a str or a Path"):
        Interactions.from_file(3, user=0, item=1)


def test_a_path_in_place_of_data_is_told_who_reads_it():
    with pytest.raises(TypeError, match=r"frame must be a pandas, .* got str: from_file reads files"):
        Interactions.from_frame("plays.csv", user="u", item="i")
    with pytest.raises(TypeError, match=r"got str: Interactions\.from_file reads files"):
        ImplicitALS().fit("plays.csv")


def test_headerless_files_are_read_by_position_once_said_so(read):
    with pytest.raises(ValueError, match="pass header=False"):
        read(b"1,2\n3,4\n", user=0, item=1)
    assert read(b"1,2\n3,4\n", user=0, item=1, header=False).nnz == 2


def test_a_million_columns_are_read(read):
    n = 1_000_000
    rows = [b",".join(b"c%d" % at for at in range(n)), b",".join([b"1"] * n)]
    assert read(b"\n".join(rows), user="c5", item="c999999").nnz == 1


TWO = pa.table({"u": [1, 2], "i": [3, 4], "v": [5, 6]})


@pytest.mark.parametrize("content", [b"u,i,v\n1,3,5\n2,4,6\n", TWO], ids=["text", "parquet"])
@pytest.mark.parametrize("asked", [{"item": "u"}, {"item": 0}, {"value": "i"}, {"value": "v", "time": 2}], ids=str)
def test_one_column_for_two_things_is_refused(read, content, asked):
    with pytest.raises(ValueError, match=r"must be a different column of .* than (user|item|value)="):
        read(content, "x.parquet" if content is TWO else "x.csv", **asked)


def test_messages_call_a_column_of_parquet_as_the_file_does(read):
    table = pa.table({"u": [1], "i": [3], "how much": ["x"]})
    with pytest.raises(TypeError, match=r"x.parquet': value='how much' must hold numbers"):
        read(table, "x.parquet", value="how much")
    with pytest.raises(TypeError, match=r"time='how much'|ISO dates in time"):
        read(table.set_column(2, "how much", pa.array([True])), "x.parquet", time="how much")


def test_no_column_of_users_is_told(read):
    with pytest.raises(TypeError, match="user must be a column's name or position, got None"):
        read(HEADER + b"1,2,3\n", user=None)
