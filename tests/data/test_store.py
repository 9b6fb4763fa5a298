"""Interactions in a store are those that are read into memory, to the bit."""

import datetime
import decimal
import json
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

from alternant import Interactions
from alternant.cli import app as cli
from alternant.data.store import Store, work

N = 6_000


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """Read 1,000 rows at a time, and hold 1,500 in memory: several parts, partitions, and partitions too large."""
    monkeypatch.setattr(work, "LEAST_ROWS", 1_000)
    monkeypatch.setattr(work, "MOST_ROWS", 1_000)
    monkeypatch.setattr(work.Work, "rows_in_memory", lambda self, row, taken=0: 1_500)


@pytest.fixture(scope="module")
def events():
    """Users of very different activity: the first has a third of all events. Some pairs repeat."""
    rng = np.random.default_rng(0)
    users = np.where(rng.random(N) < 1 / 3, 0, rng.integers(0, 150, N))
    items = (rng.random(N) ** 2 * 90).astype(np.int64)
    values = rng.normal(size=N).astype(np.float32)
    return {"user": users, "item": items, "value": values, "time": rng.integers(0, 500, N)}


def assert_same(stored, expected):
    store = stored._store
    assert isinstance(store, Store)
    for ours, theirs in ((store.users, expected._pairs.matrix), (store.items, expected._pairs.matrix.transpose())):
        assert ours.shape == theirs.shape
        for part in ("indptr", "indices", "data"):
            ours_, theirs_ = getattr(ours, part), getattr(theirs, part)
            assert ours_.dtype == theirs_.dtype
            assert not ours_.flags.writeable
            np.testing.assert_array_equal(ours_, theirs_)
    for part in ("times", "counts", "summed"):
        ours, theirs = getattr(stored._pairs, part), getattr(expected._pairs, part)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in ((stored._users, expected._users), (stored._items, expected._items)):
        assert ours.values.dtype == theirs.values.dtype
        assert ours.values.tolist() == theirs.values.tolist()
        assert ours.types == theirs.types
    assert stored.describe() == expected.describe()
    assert (stored.aggregate, stored._has_values) == (expected.aggregate, expected._has_values)
    values = expected._pairs.matrix.data
    assert (store.least, store.greatest, store.has_zeros) == (values.min(), values.max(), not values.all())
    store.verify()


def write_parquet(folder, table, parts=3, **options):
    folder.mkdir()
    step = -(-len(table) // parts)
    for part in range(parts):
        pq.write_table(table.slice(part * step, step), folder / f"part-{part}.parquet", **options)
    return folder


@pytest.mark.parametrize("aggregate", ["sum", "max", "last", "mean"])
@pytest.mark.parametrize("columns", [(), ("value",), ("value", "time")], ids=["ones", "values", "values and times"])
def test_parquet_into_a_store_as_into_memory(tmp_path, events, aggregate, columns):
    source = write_parquet(tmp_path / "source", pa.table(events), row_group_size=700)
    asked = {name: name for name in ("user", "item", *columns)}
    expected = Interactions.from_parquet(source, **asked, aggregate=aggregate)
    made = Interactions.from_parquet(source, **asked, aggregate=aggregate, store=tmp_path / "store")
    assert_same(made, expected)
    assert_same(Interactions.open(tmp_path / "store"), expected)
    assert_same(pickle.loads(pickle.dumps(made)), expected)


def test_row_groups_larger_than_the_rows_at_a_time(tmp_path, events):
    source = write_parquet(tmp_path / "source", pa.table(events))
    asked = {"user": "user", "item": "item", "value": "value", "time": "time"}
    made = Interactions.from_parquet(source, **asked, store=tmp_path / "store")
    assert_same(made, Interactions.from_parquet(source, **asked))


def some_missing(values, kind=None):
    return pa.array([None if number % 11 == 0 else value for number, value in enumerate(values)], kind)


PARQUET_IDS = {
    "texts with missing ones": lambda ids: some_missing(["é" * (number % 4) + f"{number}" for number in ids.tolist()]),
    "categories": lambda ids: pa.array([f"c{number}" for number in ids.tolist()]).dictionary_encode(),
    "int32 with missing ones": lambda ids: some_missing(ids.tolist(), pa.int32()),
    "far apart": lambda ids: pa.array(ids * 10**14 - 10**15),
    "floats with missing ones": lambda ids: some_missing((ids * 1.0).tolist()),
    "beyond int64": lambda ids: pa.array(ids.astype(np.uint64) + np.uint64(2**63 - 50)),
    "dates": lambda ids: pa.array([datetime.date(2020, 1, 1) + datetime.timedelta(number) for number in ids.tolist()]),
}


@pytest.mark.parametrize("kind", PARQUET_IDS)
def test_ids_of_any_type_of_parquet(tmp_path, events, kind):
    missing = events["value"].astype(float)
    missing[::13] = np.nan  # rows that are dropped must not leave their ids
    table = pa.table({"user": PARQUET_IDS[kind](events["user"]), "item": PARQUET_IDS[kind](events["item"]),
                      "value": missing, "time": some_missing(events["time"].tolist())})  # fmt: skip
    source = write_parquet(tmp_path / "source", table)
    asked = {"user": "user", "item": "item", "value": "value", "time": "time", "aggregate": "last"}
    expected = Interactions.from_parquet(source, **asked)
    made = Interactions.from_parquet(source, **asked, store=tmp_path / "store")
    assert_same(made, expected)
    known = expected.user_ids
    assert made._users.find(known).tolist() == list(range(len(known)))
    assert made._users.find(np.array(["unknown", -1, None], object)).tolist() == [-1] * 3
    numbers = np.array([[2, -1], [0, 2]])
    assert made._users.raw(numbers).tolist() == expected._users.raw(numbers).tolist()
    assert pickle.loads(pickle.dumps(made._users)) == expected._users


@pytest.mark.parametrize("ids", [[b"a", b"b"], [decimal.Decimal("0.5"), decimal.Decimal(2)], [(1, 2), (2, 3)]],
                         ids=["bytes", "decimals", "tuples"])  # fmt: skip
def test_ids_that_no_model_could_save_are_refused(tmp_path, ids):
    frame = pd.DataFrame({"user": pd.Series(ids, dtype=object), "item": [1, 2]})
    with pytest.raises(TypeError, match=r"users must hold ids of the types str, .*, got .*: convert them to strings"):
        Interactions.from_batches([frame], user="user", item="item", store=tmp_path / "store")


def test_objects_beyond_int64(tmp_path):
    frame = pd.DataFrame({"user": pd.Series([2**70, 3], dtype=object), "item": [1, 2]})
    expected = Interactions.from_frame(frame, user="user", item="item")
    assert_same(Interactions.from_batches([frame], user="user", item="item", store=tmp_path / "store"), expected)


LISTS = {
    "texts and numbers": lambda ids: [f"s{number}" if number % 2 else number for number in ids],
    "texts after numbers": lambda ids: [f"s{number}" if row > N // 2 else number for row, number in enumerate(ids)],
    "half a surrogate pair": lambda ids: [f"s{number}" if number else "\udc80" for number in ids],
    "missing at first": lambda ids: [None if row < N // 2 else f"s{number}" for row, number in enumerate(ids)],
    "fractions": lambda ids: [number / 2 for number in ids],
}


@pytest.mark.parametrize("kind", LISTS)
def test_ids_of_any_type_in_tuples(tmp_path, events, kind):
    users = LISTS[kind](events["user"].tolist())
    whole = users, events["item"], events["value"]
    batches = [tuple(column[start : start + 800] for column in whole) for start in range(0, N, 800)]
    assert_same(Interactions.from_batches(batches, store=tmp_path / "store"), Interactions.from_arrays(*whole))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_batches_of_frames_from_a_function(tmp_path, events, frame):
    whole = frame({**events, "user": [f"u{number}" for number in events["user"]]})
    asked = {"user": "user", "item": 1, "value": "value", "time": "time", "aggregate": "last"}
    made = Interactions.from_batches(
        lambda: (whole[start : start + 1_700] for start in range(0, N, 1_700)), store=tmp_path / "store", **asked
    )
    assert_same(made, Interactions.from_frame(whole, **asked))
    assert isinstance(made.to_frame(), frame)


@pytest.mark.parametrize("kind", ["texts and numbers", "texts after numbers"])
def test_frames_with_ids_of_several_types(tmp_path, events, kind):
    """A column of objects, which pyarrow does not convert."""
    whole = pd.DataFrame({**events, "user": np.array(LISTS[kind](events["user"].tolist()), object)})
    asked = {"user": "user", "item": "item", "value": "value"}
    batches = [whole[start : start + 1_700] for start in range(0, N, 1_700)]
    assert_same(Interactions.from_batches(batches, store=tmp_path / "store", **asked),
                Interactions.from_frame(whole, **asked))  # fmt: skip


USERS, ITEMS = np.array([1, 2]), np.array([3, 4])
A_LIST, A_BATCH = "batches must be a list of batches, or a function that returns an iterator of them, got ", (
    r"batch 0 must be a frame, a tuple of arrays \(users, items\[, values\[, times\]\]\) or a sparse matrix, got "
)


@pytest.mark.parametrize(("batches", "message"), [
    (np.ones((3, 4)), A_LIST + r"ndarray: pass a list, such as \[\(users, items, values\)\]"),
    (None, A_LIST + "NoneType: pass a list"),
    (pd.DataFrame({"user": [1]}), A_LIST + "DataFrame: pass a list of one"),
    (lambda: sp.csr_array((2, 2)), A_LIST + "a function that returns csr_array: pass a list of one"),
    (lambda: None, A_LIST + "a function that returns NoneType: pass a list"),
    ((USERS, ITEMS), A_BATCH + r"ndarray: pass a list of batches, such as \[\(users, items, values\)\]"),
    (([1, 2], [3, 4]), A_BATCH + "list of int: pass a list of batches"),
    ((["ann", "bob"], [3, 4]), A_BATCH + "list of str: pass a list of batches"),
    (lambda: (USERS, ITEMS), A_BATCH + "ndarray: pass a list of batches"),
    ([{"user": USERS}], A_BATCH + "dict: pass a list of batches"),
])  # fmt: skip
def test_what_is_no_list_of_batches(tmp_path, batches, message):
    with pytest.raises(TypeError, match=message):
        Interactions.from_batches(batches, store=tmp_path / "store")


def test_batches_of_matrices_keep_empty_rows_and_columns(tmp_path, events):
    values = np.abs(events["value"]) + 1
    matrix = sp.coo_array((values, (events["user"], events["item"])), shape=(200, 100)).tocsr()
    batches = [matrix[:70], matrix[70:71].tocoo(), matrix[71:].tocsc()]
    made = Interactions.from_batches(batches, store=tmp_path / "store")
    assert made.shape == matrix.shape
    assert abs(made.matrix - matrix).nnz == 0
    assert made.user_ids.tolist() == list(range(200))
    assert made.item_ids.tolist() == list(range(100))


def test_ones_take_no_space(tmp_path, events):
    matrix = sp.coo_array((np.ones(N, bool), (events["user"], events["item"])), shape=(150, 90)).tocsr()
    made = Interactions.from_batches([matrix[:60], matrix[60:]], store=tmp_path / "store", aggregate="max")
    store = made._store
    assert store.users.data.strides == store.items.data.strides == (0,)
    assert not list((tmp_path / "store").glob("*.data"))
    assert (made.matrix @ np.arange(90) == matrix.astype(float) @ np.arange(90)).all()
    assert (store.least, store.greatest, store.has_zeros) == (1, 1, False)


def test_values_that_are_not_ones_from_some_user_on(tmp_path):
    users, items = np.arange(4_000), np.arange(4_000) % 2  # of which each has more users than fit in memory
    values = np.where(users < 3_000, 1.0, 0.0)
    made = Interactions.from_batches([(users, items, values)], store=tmp_path / "store")
    assert_same(made, Interactions.from_arrays(users, items, values))


def test_files_are_read_in_the_order_of_their_names_also_in_sub_folders(tmp_path, events):
    source = write_parquet(tmp_path / "source", pa.table(events))
    (source / "more").mkdir()
    (source / "part-2.parquet").rename(source / "more" / "a.parquet")
    (source / "notes.txt").write_text("not a table")
    order = [source / "more" / "a.parquet", source / "part-0.parquet", source / "part-1.parquet"]
    asked = {"user": "user", "item": "item", "value": "value", "aggregate": "last"}
    of_folder = Interactions.from_parquet(source, **asked, store=tmp_path / "folder")
    of_list = Interactions.from_parquet(order, **asked, store=tmp_path / "list")
    assert of_folder._store.digest == of_list._store.digest
    assert_same(of_folder, Interactions.from_parquet([str(file) for file in order], **asked))


def test_parts_of_a_store_are_those_in_memory(tmp_path, events):
    columns = events["user"], events["item"], events["value"], events["time"]
    expected = Interactions.from_arrays(*columns)
    made = Interactions.from_batches([columns], store=tmp_path / "store")
    for part in (
        lambda data: data[:5], lambda data: data[np.array([70, 3])], lambda data: data.reindex(users=[3, 999, 0]),
        lambda data: data.reindex(items=[5, 4]),
    ):  # fmt: skip
        ours, theirs = part(made), part(expected)
        assert ours._store is None
        assert (ours.matrix != theirs.matrix).nnz == 0
        np.testing.assert_array_equal(ours.times, theirs.times)
        np.testing.assert_array_equal(ours.user_ids, theirs.user_ids)
    with pytest.raises(TypeError, match="a store can't be changed"):
        made.append(expected)
    assert "150 users x 90 items" in repr(made)


def test_the_command_ingest(tmp_path, events, capsys):
    source = write_parquet(tmp_path / "source", pa.table(events))
    command = ["ingest", str(source), "--user", "user", "--item", "1", "--value", "value", "--aggregate", "max",
               "-o", str(tmp_path / "store"), "--memory-limit", "4GB"]  # fmt: skip
    assert cli.main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    expected = Interactions.from_parquet(source, user="user", item="item", value="value", aggregate="max")
    assert printed["data"]["n_interactions"] == expected.nnz
    assert_same(Interactions.open(tmp_path / "store"), expected)
    assert cli.main(command) == 0
    assert "stored in" in capsys.readouterr().out
    assert cli.main([*command, "--time", "time"]) == 1
    assert "holds a store of other columns" in capsys.readouterr().err


def test_rows_of_ones_are_taken_without_making_all_of_them(tmp_path):
    """Values that are all 1 take no space: NumPy would fill an array of 400 kB to take four of them."""
    stored = Interactions.from_batches([(np.arange(100_000) // 4, np.arange(100_000) % 5)], store=tmp_path / "store")
    rows = stored._store.users
    assert rows.data.strides == (0,)
    tracemalloc.start()
    taken = rows.take(np.array([7]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken.data.tolist() == [1] * 4
    assert peak < 100_000


def test_the_command_line_tells_a_store_that_can_t_be_fitted_to_be_written_anew(tmp_path, capsys):
    rows = pa.table({"user": [1, 1, 2], "item": [3, 3, 4], "stars": [1.0, 5.0, 2.0]})
    source = str(write_parquet(tmp_path / "source", rows))
    store, model = str(tmp_path / "store"), str(tmp_path / "model.safetensors")
    command = ["ingest", source, "--user", "user", "--item", "item", "-o"]
    assert cli.main([*command, store, "--value", "stars"]) == 0
    assert cli.main([*command, f"{store}-2", "--aggregate", "max"]) == 0
    text = tmp_path / "rows.csv"
    text.write_text("user,item\n1,3\n")
    assert cli.main(["ingest", str(text), "--user", "user", "--item", "item", "-o", f"{store}-3"]) == 1
    assert "is no Parquet file: from_file reads CSV and TSV files" in capsys.readouterr().err
    for chosen, message in (
        ([store, "--aggregate", "last"], "is a store, but --aggregate is for files: leave it out, or call alternant"),
        ([store, "--half-life", "3d"], "is a store, but --half-life is for files: leave it out\n"),
        ([store, "--model", "explicit-als"], "read the source into another store with --aggregate 'last'"),
        ([f"{store}-2", "--model", "explicit-als"], "read the source into another store, with --value="),
    ):
        assert cli.main(["fit", *chosen, "-o", model]) == 1
        assert message in capsys.readouterr().err


def test_missing_values_of_matrices_are_counted(tmp_path):
    matrix = sp.csr_array(([1.0, np.nan, 2.0], ([0, 0, 1], [0, 1, 2])), shape=(2, 3))
    made = Interactions.from_batches([matrix, matrix], store=tmp_path / "store")
    assert (made.describe().n_missing_values, made.describe().n_rows, made.nnz) == (2, 6, 4)
