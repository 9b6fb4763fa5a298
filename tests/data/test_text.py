"""Delimited text: what was written is read, wherever it stands, and what can't be told is refused with its line."""

import csv
import gzip
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alternant import Interactions

pd = pytest.importorskip("pandas", reason="it writes files in its own ways")
pl = pytest.importorskip("polars", reason="it writes files in its own ways")
pytest.importorskip("pyarrow", reason="files are read with pyarrow")

FILLER = 80_000  # lines of 13 bytes: more than a block of pyarrow's
MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]


def read(folder, content, name="x.csv", **asked):
    path = folder / name
    path.write_bytes(content)
    return Interactions.from_file(path, **({"user": "u", "item": "i"} | asked))


def test_words_for_missing_entries_are_ids_among_strings_and_missing_among_numbers(tmp_path):
    names = read(tmp_path, b'u,i,v\n"NA",1,2\nNULL,2,NA\nnull,4,1\nNone,5,1\nnan,NA,1\na,3,1\n,3,1\n', value="v")
    assert names.user_ids.tolist() == ["NA", "None", "a", "null"]
    assert names.item_ids.tolist() == [1, 3, 4, 5]
    report = names.describe()
    assert (report.n_missing_ids, report.n_missing_values) == (2, 1)


# What is written by others is read as it was


texts = st.text(st.sampled_from([*'ab0 ,;\t|"\n.\'é']), min_size=1, max_size=8).filter(
    lambda text: text not in MISSING and text == text.strip()
)
tables = st.lists(st.tuples(texts, texts, st.integers(-9, 9)), min_size=1, max_size=6)


def by_csv(rows, separator, quoting, end):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerows([("u", "i", "v"), *rows])
    return out.getvalue()


def by_pandas(rows, separator, quoting, end):
    frame = pd.DataFrame(rows, columns=["u", "i", "v"])
    return frame.to_csv(sep=separator, quoting=quoting, lineterminator=end, index=False)


def by_polars(rows, separator, quoting, end):
    style = "always" if quoting == csv.QUOTE_ALL else "necessary"
    frame = pl.DataFrame(rows, schema={"u": pl.String, "i": pl.String, "v": pl.Int64}, orient="row")
    return frame.write_csv(separator=separator, quote_style=style, line_terminator=end)


@settings(deadline=None, max_examples=150)
@given(
    rows=tables, write=st.sampled_from([by_csv, by_pandas, by_polars]), separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans(), zipped=st.booleans(), trailing=st.booleans(),
    quote=st.sampled_from(["auto", '"']),
)  # fmt: skip
def test_what_others_write_is_read_as_it_was(
    tmp_path_factory, rows, write, separator, quoting, end, bom, zipped, trailing, quote
):
    text = write(rows, separator, quoting, end)
    content = (text if trailing else text.removesuffix(end)).encode("utf-8-sig" if bom else "utf-8")
    folder = tmp_path_factory.mktemp("text")
    name = "x.csv.gz" if zipped else "x.csv"
    content = gzip.compress(content, 1) if zipped else content
    refused = None
    try:
        found = read(folder, content, name, value="v", separator=separator, aggregate="last", quote=quote)
    except ValueError as error:
        refused = str(error)
    if refused is not None:  # a field with line breaks that might be several rows
        assert quote == "auto"
        assert "are one row if their quotes enclose a field" in refused
        assert any("\n" in field and separator in field for row in rows for field in row[:2])
        return
    expected = Interactions.from_arrays(*map(list, zip(*rows, strict=True)), aggregate="last")
    for kind in ("user_ids", "item_ids"):
        ids = [str(one) for one in getattr(found, kind).tolist()]  # "0" among whole numbers is 0
        assert sorted(ids) == sorted(getattr(expected, kind).tolist())
    assert found.matrix.sum() == expected.matrix.sum()


@pytest.mark.nightly
@pytest.mark.parametrize("width", [200_000, 3_000_000])
@pytest.mark.parametrize("form", ["{}", '"{}"', '"{}, and ""more"""'])
def test_a_field_may_be_of_any_length(tmp_path, width, form):
    long = form.format("x" * width).encode()
    for rows in (b"1,%b,2\n3,y,4\n", b"3,y,4\n1,%b,2\n"):
        found = read(tmp_path, b"u,text,i\n" + rows % long)
        assert (found.user_ids.tolist(), found.item_ids.tolist()) == ([1, 3], [2, 4])
    with pytest.raises(ValueError, match="line 3 has 2 fields, but the header has 3"):
        read(tmp_path, b"u,text,i\n1,%b,2\n3,4\n" % long)


@pytest.mark.parametrize("header", [b'"u","i","v"\n', b'u,"i",v\n', b'"u",i,v\r\n'])
@pytest.mark.parametrize("asked", [("u", "i"), (0, 1)], ids=["names", "positions"])
def test_a_byte_order_mark_may_stand_before_a_quoted_header(tmp_path, header, asked):
    found = read(tmp_path, b"\xef\xbb\xbf" + header + b'"1","2","3"\n', user=asked[0], item=asked[1])
    assert found.user_ids.tolist() == [1]
    found = read(tmp_path, b'\xef\xbb\xbf"1","2"\n"3","4"\n', user=0, item=1, header=False)
    assert found.user_ids.tolist() == [1, 3]


# Rows that can't be read, or in two ways: the same outcome wherever they stand

ROW = "\t".join(["plain", "item", "1"])


def at_places(row, header="u\ti\tv", far=False):
    """The row first, in the middle and last, with the number of its line; if `far`, beyond the first block, too."""
    yield [header, row, ROW, ROW], 2
    yield [header, ROW, row, ROW], 3
    yield [header, ROW, ROW, row], 4
    if far:
        yield [header, *[ROW] * FILLER, row, *[ROW] * 9], FILLER + 2


BAD = {
    'a\t"weird al" yankovic\t3': "a quote on or shortly after line {} is never closed, or .*: pass quote=None",
    '"a" b\tx\t3': "a quote on or shortly after line {}",
    'a\t"never closed\t3': "a quote on or shortly after line {}",
    'a\t"x"y"\t3': "a quote on or shortly after line {}",
    'a\t"foo\t3\nb\tbar"\t4': "line {} and the 1 after it are one row .*, but 2 rows if .*: pass quote='\"' or ",
    'a\t"foo\t3\nb\tbar\t4"': "line {} has 2 fields, but the header has 3, since a quoted field .*: pass quote=None",
    '"a\tfoo\t3\nb\tbar\t4\nc"\tbar\t4': "line {} and the 2 after it are one row",
    'a\t"foo\t3\n\nb\tx\t3\n\n\nc\tbar"\t4': "line {} and the 2 after it are one row",
    'a\t"foo\tbar"': "line {} has 2 fields, but the header has 3",
}


@pytest.mark.parametrize("row", BAD, ids=range(len(BAD)))
def test_quotes_that_enclose_no_field_are_refused_with_their_line(tmp_path, row):
    for lines, number in at_places(row, far=row.startswith('a\t"')):
        with pytest.raises(ValueError, match=BAD[row].format(f"{number:,}")) as caught:
            read(tmp_path, "\n".join(lines).encode() + b"\n", "x.tsv")
        assert "x.tsv" in str(caught.value)
        assert not re.search(r"[.!] [A-Z]|\n", str(caught.value))


@pytest.mark.parametrize("row", list(BAD)[:5], ids=range(5))
def test_without_quotes_they_are_part_of_ids_wherever_they_stand(tmp_path, row):
    fields = [line.split("\t") for line in row.split("\n")]
    for lines, _ in at_places(row, far=True):
        found = read(tmp_path, "\n".join(lines).encode() + b"\n", "x.tsv", value="v", quote=None)
        assert set(found.user_ids.tolist()) == {"plain", *(line[0] for line in fields)}
        assert set(found.item_ids.tolist()) == {"item", *(line[1] for line in fields)}


def test_lines_that_quotes_hold_together_are_one_row_if_the_caller_says_so(tmp_path):
    content = b'u\ti\tv\na\t"foo\t3\nb\tbar"\t4\n'
    found = read(tmp_path, content, "x.tsv", value="v", quote='"')
    assert (found.user_ids.tolist(), found.item_ids.tolist()) == (["a"], ["foo\t3\nb\tbar"])
    assert read(tmp_path, content, "x.tsv", value="v", quote=None).item_ids.tolist() == ['"foo', 'bar"']


@pytest.mark.parametrize("row", ['a\t5" disc\t1', 'a\tsay "hi"\t1', 'a\tit""s\t1', 'a\tx"\t1', 'a\t "x"\t1'])
def test_quotes_within_a_field_are_part_of_it_wherever_it_stands(tmp_path, row):
    for lines, _ in at_places(row):
        for quote in ("auto", None):
            found = read(tmp_path, "\n".join(lines).encode() + b"\n", "x.tsv", quote=quote)
            assert set(found.item_ids.tolist()) == {"item", row.split("\t")[1]}


@pytest.mark.parametrize("row", [b"1,2,caf\xe9\n", b'1,2,"caf\xe9"\n', b'1,2,a "caf\xe9"\n'])
def test_a_column_that_nobody_asked_for_may_be_in_another_encoding(tmp_path, row):
    assert read(tmp_path, b"u,i,text\n" + row).nnz == 1
    with pytest.raises(ValueError, match="line 2 is not valid UTF-8"):
        read(tmp_path, b"u,i,text\n" + row, item="text")


def test_another_quote(tmp_path):
    found = read(tmp_path, b"u,i\n'a,b',\"c\n'it''s',d\"\n", quote="'")
    assert found.user_ids.tolist() == ["a,b", "it's"]
    assert found.item_ids.tolist() == ['"c', 'd"']


@pytest.mark.parametrize(("options", "message"), [
    ({"quote": "''"}, "quote must be one ASCII character, 'auto' or None"),
    ({"quote": True}, "quote must be one ASCII character"),
    ({"decimal": ";"}, r"decimal must be '\.' or ','"),
    ({"separator": '"'}, "separator must be one ASCII character"),
    ({"separator": "'", "quote": "'"}, "separator must be one ASCII character"),
])  # fmt: skip
def test_options_that_are_none(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, b"u,i\n1,2\n", **options)


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"\n\n", b"\r\n"])
def test_a_file_with_no_row_is_empty(tmp_path, content):
    with pytest.raises(ValueError, match="is empty: it must hold a row for each interaction"):
        read(tmp_path, content)


# What a file is, where it is read wrongly


@pytest.mark.parametrize(("content", "asked", "message"), [
    (b"1\t2\t3\n4\t5\t6\n", {"user": 0, "item": 1}, r"pass separator='\\t'"),
    (b"u\ti\tv\n4\t5\t6\n", {"user": 0, "item": 1}, r"pass separator='\\t'"),
    (b"1;2;3\n4;5;6\n", {"user": 0, "item": 2, "header": False}, "pass separator=';'"),
    (b"1;2,5;3\n4;5,5;6\n", {"user": 0, "item": 2}, "pass separator=';'"),
    (b"u\ti\n4\t5\n", {}, r"pass separator='\\t'"),
])  # fmt: skip
def test_another_separator_is_advised_before_a_header(tmp_path, content, asked, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, content, **asked)
    assert "header" not in str(caught.value)


@pytest.mark.parametrize(("content", "options", "message"), [
    (b"1 2 3\n4 5 6\n", {}, "pass separator=' ' if spaces separate its fields"),
    (b"1   2  3\n4 5 6\n", {}, r"replace the spaces between fields with tabs \(sed"),
    (b"1 2 3\n4  5 6\n", {"separator": " "}, r"line 2 has 4 fields, but the first line has 3, since there are several"),
    (b"123\n", {}, "pass separator="),
])  # fmt: skip
def test_spaces_between_fields_are_called_so(tmp_path, content, options, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content, "x.txt", user=0, item=1, header=False, **options)
    assert read(tmp_path, b"1 2 3\n4 5 6\n", "x.txt", user=0, item=1, header=False, separator=" ").nnz == 2


def test_decimal_commas(tmp_path):
    content = b"u;i;v;t\n1;2;2,5;1,5\n1;3;-1;2\n"
    with pytest.raises(ValueError, match=r"got '2,5' in line 2: pass decimal=',' if commas separate decimals"):
        read(tmp_path, content, value="v", separator=";")
    found = read(tmp_path, content, value="v", time="t", separator=";", decimal=",")
    assert found.matrix.toarray().tolist() == [[2.5, -1]]
    assert found.times.tolist() == [1.5, 2]
    with pytest.raises(ValueError, match=r"got '2.5' in line 3: correct"):
        read(tmp_path, content.replace(b"-1", b"2.5"), value="v", separator=";", decimal=",")
    assert read(tmp_path, b'u,i,v\n1,2,"2,5"\n', value="v", decimal=",").matrix.data.tolist() == [2.5]


def test_plain_numbers_are_read_alike_with_and_without_quotes(tmp_path):
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 500, (60_000, 2))
    plain = "u,i\n" + "\n".join(f"{u},{i}" for u, i in pairs)
    quoted = re.sub(r"[^,\n]+", r'"\g<0>"', plain)
    one, other = (read(tmp_path, text.encode()) for text in (plain, quoted))
    assert (one.matrix != other.matrix).nnz == 0
    assert one.user_ids.tolist() == other.user_ids.tolist()
