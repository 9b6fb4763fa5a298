"""`check_ratings`: a zero is a value, a gap is missing, and of two entries for a pair none can be guessed."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from alternant.data.ratings import check_ratings

F32 = np.dtype(np.float32)
NAN = np.nan
TABLE = np.array([[5, NAN, 1, 0.5], [NAN, NAN, NAN, NAN], [2, 3, NAN, 4]])
ENTRIES = [(0, 0, 5), (0, 2, 1), (0, 3, 0.5), (2, 0, 2), (2, 1, 3), (2, 3, 4)]
USERS, ITEMS, RATINGS = map(np.array, zip(*ENTRIES, strict=True))
SPARSE = sp.coo_array((RATINGS, (USERS, ITEMS)), shape=(3, 4))
FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


def entries(csr):
    rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
    return list(zip(rows.tolist(), csr.indices.tolist(), csr.data.tolist(), strict=True))


def assert_canonical(csr, shape, dtype=np.float32):
    assert csr.shape == shape
    assert (csr.indptr.dtype, csr.indices.dtype, csr.data.dtype) == (np.int64, np.int32, dtype)
    assert all(array.flags.c_contiguous for array in (csr.indptr, csr.indices, csr.data))
    assert entries(csr) == sorted(entries(csr))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_sparse_format_gives_the_same_entries(form, kind):
    matrix = getattr(sp, f"{form}_{kind}")(SPARSE)
    csr = check_ratings("r", matrix, F32)
    assert_canonical(csr, (3, 4))
    assert entries(csr) == ENTRIES


def test_what_fills_up_the_blocks_of_bsr_is_no_rating():
    matrix = sp.bsr_array(SPARSE.toarray()[:2], blocksize=(2, 2))
    assert (matrix.data == 0).any()
    assert entries(check_ratings("r", matrix, F32)) == ENTRIES[:3]
    stored = sp.bsr_array(sp.csr_array(([0.0, 1], [0, 1], [0, 2]), shape=(1, 2)), blocksize=(1, 1))
    assert entries(check_ratings("r", stored, F32)) == [(0, 0, 0), (0, 1, 1)]


@pytest.mark.parametrize("table", [TABLE, TABLE.tolist(), TABLE.astype(np.float32), TABLE[:, ::-1][:, ::-1],
                                   np.asfortranarray(TABLE), np.ma.masked_invalid(TABLE),
                                   np.ma.array(np.nan_to_num(TABLE, nan=7), mask=np.isnan(TABLE))],
                         ids=["array", "list", "float32", "strided", "F", "masked", "mask"])  # fmt: skip
def test_a_dense_table_gives_the_entries_that_are_not_missing(table):
    csr = check_ratings("r", table, F32)
    assert_canonical(csr, (3, 4))
    assert entries(csr) == ENTRIES


@pytest.mark.parametrize("form", ["coo", "csc", "csr", "dok", "lil"])
def test_stored_zeros_are_ratings_in_every_format_that_can_hold_them(form):
    matrix = sp.coo_array(([0.0, 3, 0], ([0, 0, 1], [1, 0, 1])), shape=(2, 3)).asformat(form)
    assert entries(check_ratings("r", matrix, F32)) == [(0, 0, 3), (0, 1, 0), (1, 1, 0)]


def test_nan_is_missing_whatever_the_marker_and_the_marker_is_missing_too():
    table = np.array([[0, 2, NAN], [3, 0, 2]])
    assert entries(check_ratings("r", table, F32)) == [(0, 0, 0), (0, 1, 2), (1, 0, 3), (1, 1, 0), (1, 2, 2)]
    assert entries(check_ratings("r", table, F32, 0)) == [(0, 1, 2), (1, 0, 3), (1, 2, 2)]
    assert entries(check_ratings("r", table, F32, 2)) == [(0, 0, 0), (1, 0, 3), (1, 1, 0)]
    stored = sp.coo_array(([0.0, 2, NAN], ([0, 0, 0], [0, 1, 2])))
    assert entries(check_ratings("r", stored, F32, 0)) == [(0, 1, 2)]
    assert entries(check_ratings("r", np.array([[np.inf, 1]]), F32, np.inf)) == [(0, 1, 1)]


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int32, np.int64, np.uint64, np.longdouble])
def test_every_real_dtype_is_taken(dtype):
    expected = [(u, i, float(np.dtype(dtype).type(r))) for u, i, r in ENTRIES]
    assert entries(check_ratings("r", SPARSE.astype(dtype), F32)) == expected
    full = np.array([[1, 0], [1, 1]], dtype)
    assert entries(check_ratings("r", full, F32)) == [(0, 0, 1), (0, 1, 0), (1, 0, 1), (1, 1, 1)]


def test_int64_indices_unsorted_indices_and_read_only_arrays_are_taken_and_left_alone():
    matrix = sp.csr_array((np.array([3.0, 1, 2]), np.array([2, 0, 1]), np.array([0, 2, 3])), shape=(2, 3))
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    csr = check_ratings("r", matrix, F32)
    assert_canonical(csr, (2, 3))
    assert entries(csr) == [(0, 0, 1), (0, 2, 3), (1, 1, 2)]
    assert matrix.indices.tolist() == [2, 0, 1]


@pytest.mark.parametrize("form", ["coo", "csc", "csr"])
def test_a_copy_shares_no_memory_with_the_input(form, dtype):
    for table in (SPARSE.astype(dtype).asformat(form), np.arange(6, dtype=dtype).reshape(2, 3)):
        csr = check_ratings("r", table, np.dtype(dtype), copy=True)
        held = [getattr(table, name) for name in ("data", "row", "col", "indices", "indptr") if sp.issparse(table)
                and hasattr(table, name)] or [table]  # fmt: skip
        for array in (csr.indptr, csr.indices, csr.data):
            assert not any(np.shares_memory(array, other) for other in held)


@pytest.mark.parametrize("form", ["coo", "csr", "csc"])
def test_a_pair_that_stands_there_twice_is_refused_and_named(form):
    if form == "coo":
        matrix = sp.coo_array(([1.0, 2, 3], ([1, 0, 1], [2, 0, 2])), shape=(2, 3))
    elif form == "csr":
        matrix = sp.csr_array(([2.0, 1, 3], [0, 2, 2], [0, 1, 3]), shape=(2, 3))
    else:
        matrix = sp.csc_array(([2.0, 1, 3], [0, 1, 1], [0, 1, 1, 3]), shape=(2, 3))
    with pytest.raises(ValueError, match=r"r must hold each pair once, but row 1, column 2 occurs 2 times: .*"):
        check_ratings("r", matrix, F32)


class Frame:
    """What makes a data frame one."""

    columns = ("user", "item", "rating")
    shape = (3, 3)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (Frame(), TypeError, r"got Frame: pass alternant\.Interactions\.from_frame\(\.\.\.\) of .*to_numpy"),
        ([[1, 2], [3]], ValueError, "rows of equal length, got lists of different lengths: write NaN for missing"),
        ([[1, {}]], TypeError, r"table of numbers, but NumPy reports .float\(\) argument must be a string or a real"),
        ([["5", "4"]], TypeError, "table of numbers, got list of dtype <U1"),
        (None, TypeError, "table of numbers, got NoneType of dtype object"),
        ({0: 1}, TypeError, "table of numbers, got dict of dtype object"),
        ("ratings.csv", TypeError, "table of numbers, got str"),
        (np.ones(3), ValueError, "2 dimensions .*, got 1"),
        (np.ones((1, 2, 3)), ValueError, "2 dimensions .*, got 3"),
        (5.0, ValueError, "2 dimensions .*, got 0"),
        ([], ValueError, "2 dimensions .*, got 1"),
        (sp.coo_array(np.ones(3)), ValueError, "2 dimensions .*, got 1"),
        (np.ones((1, 2), complex), ValueError, "real numbers, got dtype complex128"),
        (SPARSE.astype(complex), ValueError, "real numbers, got dtype complex128"),
        (np.array([[1, np.inf]]), ValueError, "finite in float32, got inf at row 0, column 1"),
        (np.array([[NAN, NAN], [1, -1e39]]), ValueError, r"finite in float32, got -1e\+39 at row 1, column 1"),
        (sp.coo_array(([1, np.inf], ([2, 1], [0, 3]))), ValueError, "got inf at row 1, column 3"),
    ],
    ids=lambda value: None if isinstance(value, type) else "",
)  # fmt: skip
def test_what_is_no_table_of_ratings_is_refused_with_one_sentence(table, error, message):
    with pytest.raises(error, match=message) as caught:
        check_ratings("r", table, F32)
    assert type(caught.value) is error
    assert not re.search(r"[.!] [A-Z]|\.$|\n", str(caught.value))


@pytest.mark.parametrize("part", ["indptr", "indices", "row"])
def test_a_damaged_matrix_is_refused(part):
    matrix = SPARSE.copy() if part == "row" else sp.csr_array(SPARSE)
    array = matrix.row if part == "row" else getattr(matrix, part)
    array[1] = 99 if part != "indptr" else -1
    with pytest.raises(ValueError, match=rf"r\.{part} must "):
        check_ratings("r", matrix, F32)


def test_a_table_without_entries_or_without_rows_is_an_empty_one():
    for table in (np.full((2, 3), NAN), sp.csr_array((2, 3)), sp.coo_array((2, 3)), np.empty((2, 0)), np.empty((0, 3))):
        csr = check_ratings("r", table, F32)
        assert csr.shape == table.shape
        assert entries(csr) == []


@given(st.data())
def test_any_sparse_matrix_is_the_dense_table_with_gaps(data):
    m, n = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    pairs = data.draw(st.lists(st.tuples(st.integers(0, m - 1), st.integers(0, n - 1)), unique=True))
    values = data.draw(st.lists(st.sampled_from([0, 1, 2.5, -3, NAN]), min_size=len(pairs), max_size=len(pairs)))
    marker = data.draw(st.sampled_from([NAN, 0, 2.5]))
    table = np.full((m, n), NAN)
    for (u, i), value in zip(pairs, values, strict=True):
        table[u, i] = value
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    sparse = sp.coo_array((np.array(values, float), (rows, columns)), shape=(m, n))
    form = data.draw(st.sampled_from(["coo", "csr", "csc", "lil", "dok"]))
    expected = check_ratings("r", table, F32, marker)
    got = check_ratings("r", sparse.asformat(form), F32, marker)
    assert entries(got) == entries(expected)
    assert_canonical(got, (m, n))
