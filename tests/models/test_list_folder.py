"""Lists of many users in a folder: interrupted runs, refused folders, slices of the users, and what is not copied."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import BiasedMF, ImplicitALS, Interactions, ItemKNN
from alternant._utils.atomic import whole_file
from alternant.models import _list_folder

pa = pytest.importorskip("pyarrow", reason="the files of a folder are Parquet")
pq = pytest.importorskip("pyarrow.parquet", reason="the files of a folder are Parquet")

M, N = 95, 40
NAMES = {"rows": None, "numbers": lambda u: u * 10 + 7, "texts": lambda u: f"u{u:03}"}


def fitted(names="texts", kind=ImplicitALS, seed=0, **options):
    rng = np.random.default_rng(seed)
    table = sp.random_array((M, N), density=0.15, rng=rng, format="coo", data_sampler=lambda size: np.ones(size))
    model = kind(**{"factors": 4, "random_state": 0, **options} if kind is not ItemKNN else {})
    if NAMES[names] is None:
        return model.fit(table)
    users = [NAMES[names](u) for u in table.row.tolist()]
    return model.fit(Interactions.from_arrays(users, [f"i{i}" for i in table.col.tolist()], table.data))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("part-*.parquet")}


def stops_after(model, blocks, monkeypatch):
    """Let the model fail as if it were killed after it has ranked so many blocks."""
    rank, count = type(model)._rank, 0

    def failing(self, *arguments):
        nonlocal count
        count += 1
        if count > blocks:
            raise KeyboardInterrupt
        return rank(self, *arguments)

    monkeypatch.setattr(type(model), "_rank", failing)


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("kind", [ImplicitALS, BiasedMF, ItemKNN])
def test_a_folder_holds_what_the_file_does(tmp_path, names, kind):
    model = fitted(names, kind)
    rows = model.recommend_all(3, to=tmp_path / "lists", shard_size=30, block_size=7)
    assert rows == model.recommend_all(3, to=tmp_path / "lists.parquet")
    parts = [pq.read_table(tmp_path / "lists" / f"part-0000{number}.parquet") for number in range(4)]
    assert pa.concat_tables(parts).equals(pq.read_table(tmp_path / "lists.parquet"))
    assert pq.read_table(tmp_path / "lists").num_rows == rows  # other files of the folder do not disturb
    assert [len(set(part["user"].to_pylist())) for part in parts] == [30, 30, 30, 5]
    types = {"rows": ["int64", "int32"], "numbers": ["int64", "string"], "texts": ["string", "string"]}[names]
    assert [str(kind) for kind in parts[0].schema.types] == [*types, "float", "int64"]


@pytest.mark.parametrize("blocks", [0, 2, 3, 9])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch, blocks):
    model, options = fitted(), {"shard_size": 30, "block_size": 15, "titles": [f"t{i}" for i in range(N)]}
    rows = model.recommend_all(3, to=tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        stops_after(model, min(blocks, 6), patch)
        with pytest.raises(KeyboardInterrupt):
            model.recommend_all(3, to=tmp_path / "lists", **options)
    done = contents(tmp_path / "lists")
    assert len(done) == min(blocks, 6) // 2
    left = tmp_path / "lists" / ".alternant-of-a-killed-writer"
    left.mkdir()
    (left / "part-00002.parquet").write_bytes(b"half")
    with monkeypatch.context() as patch:
        stops_after(model, 7 - 2 * len(done), patch)  # it does not compute again what is there
        assert model.recommend_all(3, to=tmp_path / "lists", **options) == rows
        assert model.recommend_all(3, to=tmp_path / "lists", **options) == rows
    assert contents(tmp_path / "lists") == contents(tmp_path / "whole")
    assert not left.exists()


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_run_that_stops_after_the_first_file_and_before_its_record_goes_on(tmp_path, monkeypatch, fault):
    model, record = fitted(), _list_folder._record
    expected = model.recommend_all(3, to=tmp_path / "whole", shard_size=30)

    def failing(folder, run, done):
        if not done:
            return record(folder, run, done)
        with whole_file(folder / "_lists.json", "lists", _list_folder.GO_ON):
            raise fault

    with monkeypatch.context() as patch:
        patch.setattr(_list_folder, "_record", failing)
        with pytest.raises((KeyboardInterrupt, OSError)) as caught:
            model.recommend_all(3, to=tmp_path / "lists", shard_size=30)
    if isinstance(fault, OSError):
        assert "files that were complete remain; the same call goes on from there" in str(caught.value)
    assert len(contents(tmp_path / "lists")) == 1
    assert model.recommend_all(3, to=tmp_path / "lists", shard_size=30) == expected
    assert contents(tmp_path / "lists") == contents(tmp_path / "whole")


def test_a_folder_in_place_of_the_record_is_refused(tmp_path):
    (tmp_path / "lists" / "_lists.json").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"_lists.json' is damaged: delete"):
        fitted().recommend_all(3, to=tmp_path / "lists")


def test_blocks_do_not_change_the_bytes_of_files(tmp_path, monkeypatch):
    model = fitted()
    monkeypatch.setattr("alternant.data.io.list_files.ROWS", 60)  # 20 users to a row group
    for name, size in (("one", 7), ("other", 64)):
        model.recommend_all(3, to=tmp_path / name, shard_size=50, block_size=size)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert pq.ParquetFile(tmp_path / "one" / "part-00000.parquet").metadata.num_row_groups == 3


def test_a_saved_model_goes_on_where_the_fitted_one_was(tmp_path, monkeypatch):
    for kind in (ImplicitALS, BiasedMF):
        model, folder = fitted("numbers", kind), tmp_path / kind.__name__
        model.save(tmp_path / "model.safetensors")
        with monkeypatch.context() as patch:
            stops_after(model, 1, patch)
            with pytest.raises(KeyboardInterrupt):
                model.recommend_all(3, to=folder, shard_size=50)
        for mmap in (False, True):
            again = kind.load(tmp_path / "model.safetensors", mmap=mmap).set_params(num_threads=1)
            again.recommend_all(3, to=folder, shard_size=50)
        assert len(contents(folder)) == 2


def test_a_lost_file_is_written_again(tmp_path):
    model = fitted()
    model.recommend_all(3, to=tmp_path / "lists", shard_size=50)
    before = contents(tmp_path / "lists")
    (tmp_path / "lists" / "part-00000.parquet").unlink()
    (tmp_path / "lists" / "part-00001.parquet").write_bytes(b"cut")
    model.recommend_all(3, to=tmp_path / "lists", shard_size=50)
    assert contents(tmp_path / "lists") == before


OTHERS = {
    "k=3, not 4": {"k": 4}, "exclude_seen=True, not False": {"exclude_seen": False},
    "shard_size=50, not 60": {"shard_size": 60}, "other users": {"users": slice(0, 90)},
    "other titles": {"titles": ["u"] * N}, "other candidates": {"candidate_items": ["i1", "i2"]},
    "columns='user, item, score, rank, title', not 'who, ": {"columns": {"user": "who"}},
    "other interactions to exclude": {"user_items": sp.csr_array((M, N))},
}  # fmt: skip


@pytest.mark.parametrize(("message", "change"), OTHERS.items(), ids=list(OTHERS))
def test_a_folder_of_other_arguments_is_refused(tmp_path, message, change):
    model, options = fitted(), {"k": 3, "shard_size": 50, "titles": ["t"] * N}
    folder = tmp_path / "lists"
    model.recommend_all(to=folder, **options)
    before = contents(folder)
    with pytest.raises(ValueError, match=f"holds lists of a run with {message}"):
        model.recommend_all(to=folder, **options | change)
    assert contents(folder) == before


def test_a_folder_of_another_model_is_refused(tmp_path):
    model, folder = fitted(), tmp_path / "lists"
    model.recommend_all(3, to=folder)
    with pytest.raises(ValueError, match="a model of class ImplicitALS, not BiasedMF: name another folder, or delete"):
        fitted(kind=BiasedMF).recommend_all(3, to=folder)
    # Other factors, another item seen by a user, another name of a user, an attribute that scores depend on:
    same = ImplicitALS(factors=4, random_state=0)
    for others in (fitted(random_state=1), fitted(seed=1), fitted("numbers")):
        with pytest.raises(ValueError, match="holds lists of another model"):
            others.recommend_all(3, to=folder)
    same = fitted()
    same.recommend_all(3, to=folder)  # a fit with the same result
    rated = fitted(kind=BiasedMF)
    rated.recommend_all(3, to=tmp_path / "rated")
    rated.mean_ += 1
    with pytest.raises(ValueError, match="holds lists of another model"):
        rated.recommend_all(3, to=tmp_path / "rated")


def test_folders_of_other_things_are_refused(tmp_path):
    model, folder = fitted(), tmp_path / "lists"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"has files that are not of lists, such as 'notes\.txt'"):
        model.recommend_all(3, to=folder)
    (folder / "notes.txt").rename(folder / "part-00000.parquet")
    with pytest.raises(FileExistsError, match=r"has 'part-00000\.parquet', but no _lists\.json"):
        model.recommend_all(3, to=folder)
    assert (folder / "part-00000.parquet").read_text() == "mine"
    (folder / "part-00000.parquet").unlink()
    model.recommend_all(3, to=folder)
    state = json.loads((folder / "_lists.json").read_text())
    for broken, message in ((state | {"alternant": 9}, "format 9, not 1"), ({"alternant": 1}, "is damaged: delete")):
        (folder / "_lists.json").write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=message):
            model.recommend_all(3, to=folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file: name a"):
        model.recommend_all(3, to=tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        model.recommend_all(3, to=tmp_path / "no" / "lists")


def test_a_folder_has_one_writer(tmp_path):
    lock = pytest.importorskip("alternant._utils.lock")
    (tmp_path / "lists").mkdir()
    held = lock.FolderLock(tmp_path / "lists", "")
    with pytest.raises(BlockingIOError, match="another process writes lists to"):
        fitted().recommend_all(3, to=tmp_path / "lists")
    held.release()


@pytest.mark.parametrize("names", NAMES)
def test_slices_divide_the_users(tmp_path, names):
    model = fitted(names)
    whole = list(zip(*model.recommend_all(3), strict=True))
    cuts = slice(40), slice(40, 80), slice(80, None)
    parts = [block for cut in cuts for block in model.recommend_all(3, users=cut)]
    for one, other in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(one), np.concatenate(other))
    seen = sp.csr_array(np.eye(M, N))
    (block,) = model.recommend_all(N, users=slice(3, 5), user_items=seen)
    assert (block[2][:, -2] > -np.inf).all()
    assert (block[2][:, -1] == -np.inf).all()
    for users, error, message in ((slice(0, 9, 2), ValueError, "users must be a slice without a step"),
                                  (slice("a", "b"), TypeError, "users must be a slice of row numbers")):  # fmt: skip
        with pytest.raises(error, match=message):
            model.recommend_all(3, users=users)


def test_lists_from_an_index(tmp_path):
    pytest.importorskip("faiss", reason="the index is one of faiss")
    model = fitted()
    index = model.to_index("faiss")
    for options in ({}, {"exclude_seen": False}, {"users": slice(20, 60)}, {"users": ["u003", "u001"]}):
        for found, exact in zip(model.recommend_all(3, index=index, block_size=20, **options),
                                model.recommend_all(3, block_size=20, **options), strict=True):  # fmt: skip
            for one, other in zip(found, exact, strict=True):
                np.testing.assert_array_equal(one, other)
    model.recommend_all(3, index=index, to=tmp_path / "lists")
    model.recommend_all(3, index=index, to=tmp_path / "lists")
    with pytest.raises(ValueError, match="a run with other index"):
        model.recommend_all(3, to=tmp_path / "lists")
    with pytest.raises(TypeError, match=r"index must be the result of model\.to_index, got str"):
        model.recommend_all(3, index="faiss")
    with pytest.raises(ValueError, match="an index searches all of its items"):
        model.recommend_all(3, index=index, exclude_items=["i1"])
    with pytest.raises(ValueError, match="the model's items have changed since"):
        fitted(seed=1).recommend_all(3, index=index)


def test_ids_in_a_store_do_not_become_objects(tmp_path):
    rng = np.random.default_rng(0)
    users, items = [f"u{u:04}" for u in rng.integers(0, 500, 4000)], rng.integers(0, 30, 4000)
    stored = Interactions.from_batches([(users, items)], store=tmp_path / "store")
    model = ImplicitALS(factors=3, random_state=0).fit(stored)
    model.recommend_all(3, to=tmp_path / "lists", shard_size=200)
    model.recommend_all(3, to=tmp_path / "lists.parquet")
    assert "_memory" not in model._user_ids.__dict__
    memory = ImplicitALS(factors=3, random_state=0).fit(Interactions.from_arrays(users, items))
    memory.recommend_all(3, to=tmp_path / "lists", shard_size=200)  # the same model
    memory.recommend_all(3, to=tmp_path / "memory.parquet")
    assert (tmp_path / "memory.parquet").read_bytes() == (tmp_path / "lists.parquet").read_bytes()


def test_changes_of_a_private_map_survive(tmp_path):
    """Pages of a copy-on-write map are nowhere else: giving them back would undo what was written."""
    model = fitted("rows")
    np.save(tmp_path / "users.npy", model.user_factors)
    mapped = np.load(tmp_path / "users.npy", mmap_mode="c")
    mapped[:] = 1
    model.user_factors = mapped
    model.recommend_all(3, to=tmp_path / "lists")
    assert (mapped == 1).all()


PEAK = """
import sys
from pathlib import Path
from alternant import FactorModel

model = FactorModel.load(sys.argv[1], mmap=True)
model.recommend_all(10, to=sys.argv[2] + ".parquet", users=slice(0, 100))  # loads the libraries, and the items
Path("/proc/self/clear_refs").write_text("5")
before = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
model.recommend_all(10, to=sys.argv[2], users=slice(0, int(sys.argv[3])), shard_size=200_000)
peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(peak * 1024 - before)
"""


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_number_of_users(tmp_path):
    """The million has 256 MB of factors, 64 MB of interactions and, in lists, 240 MB."""
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc, which only Linux has")
    rng, users, items, each = np.random.default_rng(0), 1_000_000, 500, 5
    indices = np.sort(rng.integers(0, items // each, (users, each)) * each + np.arange(each))
    seen = sp.csr_array((np.ones(indices.size), indices.ravel(), np.arange(users + 1) * each), shape=(users, items))
    ImplicitALS(factors=64, iterations=1, random_state=0).fit(seen).save(tmp_path / "model.safetensors")

    def peak(count):
        command = [sys.executable, "-c", PEAK, tmp_path / "model.safetensors", tmp_path / f"lists{count}", str(count)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    few, many = peak(200_000), peak(users)
    assert few < 60_000_000
    assert many - few < 10_000_000


KILLED = """
import sys
from alternant import ImplicitALS
ImplicitALS.load(sys.argv[1]).recommend_all(3, to=sys.argv[2], shard_size=2000)
"""


@pytest.mark.nightly
def test_a_run_that_was_killed_goes_on(tmp_path):
    rng = np.random.default_rng(0)
    table = sp.random_array((60_000, 300), density=0.01, rng=rng)
    model = ImplicitALS(factors=8, iterations=1, random_state=0).fit(table)
    model.save(tmp_path / "model.safetensors")
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "model.safetensors", tmp_path / "lists"])
    while not (tmp_path / "lists" / "part-00003.parquet").exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert len(contents(tmp_path / "lists")) < 30
    for name in ("lists", "whole"):
        model.recommend_all(3, to=tmp_path / name, shard_size=2000)
    assert contents(tmp_path / "lists") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "lists")) == 30
