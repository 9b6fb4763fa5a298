"""An ingest that was interrupted goes on where it was, and ends with the same bytes."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alternant import Interactions
from alternant._utils import lock
from alternant.data.store import (
    StoreError,
    array_files,
    ingest,
    journal,
    merge_users,
    partitions,
    read_ids,
    read_rows,
    turn,
    work,
)

ASKED = {"user": "user", "item": "item", "value": "value", "time": "time", "aggregate": "last"}
SMALL = """
import sys
from alternant import Interactions
from alternant.data.store import journal, read_ids, work
journal.SECONDS, work.LEAST_ROWS, work.MOST_ROWS, read_ids.RECORD_SHARE = 0, 1_000, 1_000, 0
work.Work.rows_in_memory = lambda self, row, taken=0: 1_500
print("started", flush=True)
Interactions.from_parquet(*sys.argv[1:2], user="user", item="item", value="value", time="time", aggregate="last",
                          store=sys.argv[2])
"""


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(work, "LEAST_ROWS", 1_000)
    monkeypatch.setattr(work, "MOST_ROWS", 1_000)
    monkeypatch.setattr(work.Work, "rows_in_memory", lambda self, row, taken=0: 1_500)
    monkeypatch.setattr(journal, "SECONDS", 0)
    monkeypatch.setattr(read_ids, "RECORD_SHARE", 0)


@pytest.fixture(params=["numbers", "texts"])
def source(tmp_path, request):
    rng = np.random.default_rng(0)
    users = np.where(rng.random(6_000) < 1 / 3, 0, rng.integers(0, 150, 6_000))
    if request.param == "texts":
        users = np.array([f"u{number}" for number in users])
    table = pa.table({"user": users, "item": rng.integers(0, 80, 6_000), "value": rng.normal(size=6_000),
                      "time": rng.integers(0, 500, 6_000)})  # fmt: skip
    folder = tmp_path / "source"
    folder.mkdir()
    for part in range(2):
        pq.write_table(table.slice(part * 3_000, 3_000), folder / f"part-{part}.parquet", row_group_size=700)
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Stop(Exception):
    """Takes the place of a signal."""


class Counter:
    """Calls a function, but fails at one of the calls."""

    def __init__(self, function, error):
        self.function, self.error, self.calls, self.fails_at = function, error, 0, -1

    def __call__(self, *arguments, **options):
        self.calls += 1
        if self.calls == self.fails_at:
            if callable(self.error):
                raise self.error(self.function, *arguments)
            raise self.error
        return self.function(*arguments, **options)


def half_written(function, file, data):
    function(file, data[: len(data) // 2])
    return OSError(errno.ENOSPC, "No space left on device")


def replay(tmp_path, source, counter, calls):
    """Interrupt an ingest at some of the calls of a function, and repeat it; then compare with one that was not."""
    Interactions.from_parquet(source, **ASKED, store=tmp_path / "whole")
    total, expected = counter.calls, content(tmp_path / "whole")
    phases = set()
    for number, fails_at in enumerate(np.unique(np.geomspace(1, total, calls).astype(int)).tolist()):
        store = tmp_path / f"store-{number}"
        counter.calls, counter.fails_at = 0, fails_at
        with pytest.raises((Stop, OSError)) as error:
            Interactions.from_parquet(source, **ASKED, store=store)
        if error.type is OSError:
            assert "no space is left" in str(error.value)
        with pytest.raises(StoreError, match=r"unfinished store|no store"):
            Interactions.open(store)
        if (store / "journal.json").exists():
            phases.add(json.loads((store / "journal.json").read_text())["phase"])
        counter.fails_at = -1
        Interactions.from_parquet(source, **ASKED, store=store)
        assert content(store) == expected
    return phases


OFTEN = pytest.param(60, marks=pytest.mark.nightly)


@pytest.mark.parametrize("source", ["numbers", pytest.param("texts", marks=pytest.mark.nightly)], indirect=True)
@pytest.mark.parametrize("calls", [8, OFTEN])
def test_a_full_disk_at_any_write(tmp_path, source, monkeypatch, calls):
    counter = Counter(array_files.write_all, half_written)
    for module in (array_files, partitions):
        monkeypatch.setattr(module, "write_all", counter)
    assert replay(tmp_path, source, counter, calls) >= {"rows", "users", "items"}


@pytest.mark.parametrize("source", [pytest.param("numbers", marks=pytest.mark.nightly), "texts"], indirect=True)
@pytest.mark.parametrize("calls", [8, OFTEN])
def test_an_end_before_any_record_of_the_journal(tmp_path, source, monkeypatch, calls):
    counter = Counter(journal.Journal.record, Stop())
    monkeypatch.setattr(journal.Journal, "record", lambda *arguments, **options: counter(*arguments, **options))
    assert replay(tmp_path, source, counter, calls) >= {"ids", "rows", "users", "items"}


def kill_at_random(tmp_path, source, kills):
    """Kill an ingest again and again, at moments that are random, until one call ends."""
    seconds = time.monotonic()
    Interactions.from_parquet(source, **ASKED, store=tmp_path / "whole")
    seconds = time.monotonic() - seconds
    expected, rng = content(tmp_path / "whole"), np.random.default_rng()
    killed, number = 0, 0
    while killed < kills:
        number += 1
        code = None
        while code != 0:
            command = [sys.executable, "-c", SMALL, str(source), str(tmp_path / f"store-{number}")]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                process.stdout.readline()
                try:
                    code = process.wait(rng.uniform(0, seconds))
                except subprocess.TimeoutExpired:
                    process.kill()
                    code = process.wait()
                    killed += 1
            assert code in (0, -9)
            if killed >= kills and code != 0:
                Interactions.from_parquet(source, **ASKED, store=tmp_path / f"store-{number}")
                code = 0
        assert content(tmp_path / f"store-{number}") == expected


@pytest.mark.parametrize("source", ["texts"], indirect=True)
def test_a_killed_ingest(tmp_path, source):
    kill_at_random(tmp_path, source, 1)


@pytest.mark.nightly
def test_an_ingest_killed_twenty_times(tmp_path, source):
    kill_at_random(tmp_path, source, 20)


@pytest.mark.nightly
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the limit of a file's size is POSIX")
def test_a_limit_of_the_size_of_files(tmp_path, source):
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, -1))\n" + SMALL
    ended = subprocess.run([sys.executable, "-c", code, source, tmp_path / "store"], capture_output=True, text=True)
    assert "no space is left for the store" in ended.stderr
    Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")
    Interactions.from_parquet(source, **ASKED, store=tmp_path / "whole")
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_batches_that_are_interrupted_are_skipped(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    batches = [(rng.integers(0, 50, 900), rng.integers(0, 50, 900), rng.normal(size=900)) for _ in range(8)]
    for name, module in (("ids", read_ids), ("rows", ingest)):
        function = "_count" if name == "ids" else "read_rows"
        counter = Counter(getattr(module, function), Stop())
        counter.fails_at = 5 if name == "ids" else 1
        with monkeypatch.context() as patch:
            patch.setattr(module, function, counter)
            with pytest.raises(Stop):
                Interactions.from_batches(lambda: iter(batches), store=tmp_path / name)
        Interactions.from_batches(lambda: iter(batches), store=tmp_path / name)
    Interactions.from_batches(batches, store=tmp_path / "whole")
    assert content(tmp_path / "ids") == content(tmp_path / "rows") == content(tmp_path / "whole")


def half_done(tmp_path, source, monkeypatch, phase="merge_users"):
    with monkeypatch.context() as patch:
        patch.setattr(ingest, phase, Counter(getattr(ingest, phase), Stop()))
        getattr(ingest, phase).fails_at = 1
        with pytest.raises(Stop):
            Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")


def halve(path):
    os.truncate(path, path.stat().st_size // 2)


def zero_the_start(path):
    content = path.read_bytes()
    path.write_bytes(bytes(min(16, len(content))) + content[16:])


def zero_the_middle(path):
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[: middle - 4] + bytes(8) + content[middle + 4 :])


def steps(module, name, done):
    """Return a function that stops an ingest once so many partitions of a phase are done."""
    function = getattr(module, name)

    def stopping(one, *arguments):
        if one.done >= done:
            raise Stop
        return function(one, *arguments)

    return stopping


STOPS = {"ids": (read_ids, "_count", None), "rows": (read_rows, "chained", None),
         "users": (merge_users.UserRows, "append", 1), "items": (turn.ItemRows, "append", 1)}  # fmt: skip


ADVICE = "the unfinished store is damaged; repeat the call, which begins anew"


@pytest.mark.parametrize("phase", STOPS)
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("source", ["texts"], indirect=True)
def test_damaged_files_of_an_unfinished_store(tmp_path, source, monkeypatch, phase, every):
    place, function, done = STOPS[phase]
    stopping = Counter(getattr(place, function), Stop()) if done is None else steps(place, function, done)
    with monkeypatch.context() as patch:
        patch.setattr(place, function, stopping)
        if done is None:
            stopping.fails_at = 5
        with pytest.raises(Stop):
            Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")
    state = json.loads((tmp_path / "store" / "journal.json").read_text())
    assert state["phase"] == phase
    Interactions.from_parquet(source, **ASKED, store=tmp_path / "whole")
    expected, refused, messages = content(tmp_path / "whole"), set(), []
    names = sorted(path.name for path in (tmp_path / "store").iterdir() if path.stat().st_size > 8)
    names = [name for name in names if name not in ("journal.json", ".alternant.lock")]
    if not every:
        names = list({re.sub(r"-\d+", "-", name): name for name in names}.values())
    for name in names:
        chosen = (zero_the_middle,) if name.endswith(".part") or "_ids" in name else (halve,)
        for damage in (os.unlink, halve, zero_the_start, zero_the_middle) if every else chosen:
            copy = shutil.copytree(tmp_path / "store", tmp_path / f"{name}-{damage.__name__}")
            damage(copy / name)
            try:
                made = Interactions.from_parquet(source, **ASKED, store=copy)
            except StoreError as error:
                messages.append(str(error))
                refused.add(re.sub(r"-\d+", "-", name))
            else:  # a file that is not needed any more, or whose own checksum finds it
                if content(copy) != expected:
                    assert damage in (zero_the_start, zero_the_middle)
                    with pytest.raises(StoreError, match="has changed"):
                        made._store.verify()
                continue
            assert [path.name for path in copy.iterdir()] == [lock.NAME]
            if every:
                Interactions.from_parquet(source, **ASKED, store=copy)
                assert content(copy) == expected
    pattern = r".*(part|indptr|indices|data|times|summed|values|offsets|utf8)' (is missing|must have|has changed).*"
    assert all(re.fullmatch(f"{pattern}: {ADVICE}", message) for message in messages)
    assert refused >= {
        "ids": {"user-_ids.utf8", "item-_ids.values"}, "rows": {"user_ids.utf8", "item_ids.values", "rows-.part"},
        "users": {"user_ids.offsets", "users.indptr", "users.indices", "rows-.part", "pairs-.part"},
        "items": {"users.indptr", "users.times", "items.indptr", "items.indices", "pairs-.part"},
    }[phase]  # fmt: skip


@pytest.mark.parametrize("source", ["numbers"], indirect=True)
@pytest.mark.parametrize("finished", [False, True], ids=["unfinished", "finished"])
def test_another_source_or_other_parameters_are_refused(tmp_path, source, monkeypatch, finished):
    half_done(tmp_path, source, monkeypatch)
    if finished:
        Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")
    before = content(tmp_path / "store")
    for change, reason in (({"aggregate": "max"}, "another aggregate"), ({"value": None}, "other columns")):
        with pytest.raises(StoreError, match=reason):
            Interactions.from_parquet(source, **(ASKED | change), store=tmp_path / "store")
    with pytest.raises(StoreError, match="another source"):
        Interactions.from_parquet(source / "part-0.parquet", **ASKED, store=tmp_path / "store")
    with pytest.raises(StoreError, match="another source"):
        Interactions.from_batches([([1], [2])], store=tmp_path / "store", aggregate="last", **dict.fromkeys(
            ("user", "item", "value", "time")))  # fmt: skip
    assert content(tmp_path / "store") == before


@pytest.mark.parametrize("source", ["numbers"], indirect=True)
def test_a_finished_store_of_the_same_source_is_opened(tmp_path, source, monkeypatch):
    made = Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")
    monkeypatch.setattr(ingest, "read_ids", None)
    again = Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")
    assert again._store.digest == made._store.digest


def test_a_finished_store_of_the_same_batches_is_opened(tmp_path):
    batches = [(["a", "b"], [1, 2])]
    made = Interactions.from_batches(batches, store=tmp_path / "store")
    assert Interactions.from_batches(batches, store=tmp_path / "store")._store.digest == made._store.digest
    with pytest.raises(StoreError, match="another source"):
        Interactions.from_batches([(["a", "c"], [1, 2])], store=tmp_path / "store")


@pytest.mark.parametrize("source", ["numbers"], indirect=True)
def test_a_file_that_changes_meanwhile_is_named(tmp_path, source, monkeypatch):
    file = source / "part-1.parquet"

    def rewritten(*arguments):
        pq.write_table(pq.read_table(file).slice(1), file)
        return before(*arguments)

    before = ingest.read_rows
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "read_rows", rewritten)
        with pytest.raises(ValueError, match=r"part-1.parquet' has changed while it was read"):
            Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")
    assert Interactions.from_parquet(source, **ASKED, store=tmp_path / "store").describe().n_rows == 5_999


@pytest.mark.parametrize("source", ["numbers"], indirect=True)
def test_a_file_that_changes_though_its_size_and_time_do_not(tmp_path, source, monkeypatch):
    monkeypatch.setattr(read_rows, "_divide", Counter(read_rows._divide, read_rows.UnknownIdError()))
    read_rows._divide.fails_at = 3
    with pytest.raises(ValueError, match=r"the rows of the source are others than when its ids were read"):
        Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")


def test_batches_that_are_others_the_second_time(tmp_path):
    frames = [pd.DataFrame({"user": [1, 2], "item": [3, 4]}), pd.DataFrame({"user": [1, 2], "item": [4, 3]})]
    passes = iter([frames[:1], frames[1:], frames[:1], [], frames[:1], frames[:1]])
    for _ in range(2):
        with pytest.raises(ValueError, match="batches must be the same each time they are read"):
            Interactions.from_batches(lambda: next(passes), store=tmp_path / "store", user="user", item="item")
    assert Interactions.from_batches(lambda: next(passes), store=tmp_path / "store", user="user", item="item").nnz == 2


@pytest.mark.parametrize("source", ["numbers"], indirect=True)
def test_two_processes_do_not_write_to_the_same_folder(tmp_path, source, monkeypatch):
    half_done(tmp_path, source, monkeypatch)
    other = lock.FolderLock(tmp_path / "store", "{}")
    with pytest.raises(BlockingIOError, match="another process is writing the store"):
        Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")
    other.release()
    Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")


@pytest.mark.parametrize("source", ["numbers"], indirect=True)
def test_an_unfinished_store_from_before_a_restart_of_the_system_is_begun_anew(tmp_path, source, monkeypatch):
    half_done(tmp_path, source, monkeypatch)
    state = json.loads((tmp_path / "store" / "journal.json").read_text())
    (tmp_path / "store" / "journal.json").write_text(json.dumps({**state, "boot": "before"}))
    for path in (tmp_path / "store").glob("*.part"):
        path.write_bytes(b"")  # what the system had not yet written
    Interactions.from_parquet(source, **ASKED, store=tmp_path / "store")
    Interactions.from_parquet(source, **ASKED, store=tmp_path / "whole")
    assert content(tmp_path / "store") == content(tmp_path / "whole")
