"""Stores beyond 2^31 interactions, users or items, and the memory that reading takes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alternant import Interactions
from alternant.data.store import journal, merge_users, turn, work
from alternant.data.store.collect import WholeNumbers
from alternant.data.store.partitions import Rows
from alternant.data.store.work import Plan, Work, index_dtype, range_bits
from benchmarks.large import make

BEYOND = 1 << 33


@pytest.fixture
def empty_work(tmp_path):
    return Work(None, tmp_path, "sum", journal.Journal(tmp_path), 1 << 40, 0)


def test_numbers_are_int32_as_long_as_they_fit():
    assert index_dtype(2**31 - 1) == np.int32
    assert index_dtype(2**31) == np.int64


def test_items_beyond_int32(empty_work):
    plan = Plan((6, BEYOND), 4, "<f8", None, (2, 29))
    items = np.array([BEYOND - 1, 7, 2**31, BEYOND - 1])
    rows = Rows(np.array([1, 0, 1, 1], np.uint8), items, np.array([1.0, 2.0, 3.0, 4.0]), None)
    merged = merge_users._merge(empty_work, plan, 1, rows)  # users 4 and 5
    assert merged.lengths.tolist() == [1, 2]
    assert merged.pairs.matrix.indices.dtype == np.int64
    assert merged.pairs.matrix.indices.tolist() == [7, 2**31, BEYOND - 1]
    assert merged.turned.others.tolist() == [4, 5, 5]
    assert merged.turned.keys.tolist() == [7, 0, (1 << 29) - 1]
    assert merged.ends.tolist() == [1] * 4 + [2] * 11 + [3]


def test_users_beyond_int32():
    plan = Plan((BEYOND, 6), 3, None, None, (20, 2))
    pairs = Rows(np.array([1, 0, 1], np.uint8), np.array([3, BEYOND - 2, BEYOND - 1]), None, None)
    lengths, users, values = turn._rows(pairs, 2, plan, True)
    assert users.dtype == np.int64
    assert (lengths.tolist(), users.tolist(), values) == ([1, 2], [BEYOND - 2, 3, BEYOND - 1], None)


def test_interactions_beyond_int32(empty_work):
    plan = Plan((4, 4), 1 << 40, None, None, (2, 2))
    users, items = merge_users.UserRows(empty_work, plan), turn.ItemRows(empty_work, True)
    users.nnz = 2**31 + 3
    items._nnz = 2**31
    users.end(np.array([1, 2]))
    items.end(np.array([1, 2]))
    for side, ends in (("users", [0, 2**31 + 1, 2**31 + 3]), ("items", [0, 2**31 + 1, 2**31 + 3])):
        assert np.fromfile(empty_work.folder / f"{side}.indptr", "<i8").tolist() == ends


def test_distinct_whole_numbers_in_any_order_and_range():
    rng = np.random.default_rng(0)
    for _ in range(50):
        collected, parts = WholeNumbers(int(rng.integers(1, 3_000))), [np.empty(0, np.int64)]
        for _ in range(8):
            low = int(rng.integers(-500, 500)) * int(rng.choice([1, 1, 1, 1, 10**12]))
            parts.append(np.unique(rng.integers(low, low + rng.integers(1, 900), rng.integers(0, 50))))
            collected.add(parts[-1])
        np.testing.assert_array_equal(collected.settle(), np.unique(np.concatenate(parts)))


def test_ranges_of_users_fit_in_memory():
    assert range_bits(1_000, 1_000, 10**9) == 10  # one partition
    for count, rows, at_once in ((20_000_000, 10**9, 5_000_000), (2**33, 10**6, 1 << 24), (3, 10**9, 10**6)):
        bits = range_bits(count, rows, at_once)
        assert max(rows, count) * (1 << bits) / count <= at_once / 2 or bits == 0 or (
            -(-count >> bits) > work.MOST_PARTITIONS // 2
        )


def test_a_pair_with_more_events_than_fit_in_memory_is_refused_and_goes_on(tmp_path, monkeypatch):
    batches = [(np.array([5] * 900 + [6]), np.array([7] * 900 + [8]))]
    with monkeypatch.context() as patch:
        patch.setattr(Work, "rows_in_memory", lambda self, row, taken=0: 500)
        with pytest.raises(ValueError, match=r"memory_limit must be at least .*: one user and item have 900 events"):
            Interactions.from_batches(batches, store=tmp_path / "store")
    assert Interactions.from_batches(batches, store=tmp_path / "store").matrix.data.tolist() == [900, 1]


def test_a_memory_limit_below_what_the_process_has(tmp_path):
    pattern = r"memory_limit is 1 MB, but 67.1 MB are needed for any source, in addition to the .*: raise it to \S+ .B$"
    with pytest.raises(ValueError, match=pattern) as caught:
        Interactions.from_batches([([1], [2])], store=tmp_path / "store", memory_limit="1MB")
    advice = str(caught.value).partition("raise it to ")[2]
    Interactions.from_batches([([1], [2])], store=tmp_path / "store", memory_limit=advice)


def test_planted_interactions_depend_on_the_seed_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "ROWS_PER_FILE", 3_000)
    monkeypatch.setattr(make, "ROWS_PER_GROUP", 1_000)
    written = []
    for name, threads in (("one", 1), ("two", 2)):
        monkeypatch.setattr(make.os, "cpu_count", lambda threads=threads: threads)
        (tmp_path / name).mkdir()
        make.write(tmp_path / name, 500, 200, 7_500, seed=3, values=True)
        written.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert written[0] == written[1]
    data = Interactions.from_parquet(tmp_path / "one", user="user", item="item", value="value", aggregate="last")
    assert data.describe().n_rows == 7_500
    assert data.describe().value_range[::2] == (1, 5)
    per_user = np.sort(np.diff(data.matrix.indptr))
    assert per_user[-10:].mean() > 3 * per_user.mean()


MEASURED = """
import sys
from pathlib import Path
from alternant import Interactions
Interactions.from_parquet(sys.argv[1], user="user", item="item", value="value", store=sys.argv[2],
                          memory_limit=sys.argv[3], aggregate=sys.argv[4]).describe()
print([line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line][0].split()[1])
"""


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process's memory")
@pytest.mark.parametrize("limit", [300, 500])
def test_the_memory_limit_is_kept(tmp_path, limit):
    (tmp_path / "source").mkdir()
    make.write(tmp_path / "source", 300_000, 50_000, 12_000_000, seed=0, values=True)
    command = [sys.executable, "-c", MEASURED, tmp_path / "source", tmp_path / "store", f"{limit}MB", "last"]
    peak = int(subprocess.run(command, capture_output=True, check=True).stdout) * 1024 / 1e6
    assert peak < limit
    assert sum(path.stat().st_size for path in Path(tmp_path / "store").iterdir()) > 150e6
