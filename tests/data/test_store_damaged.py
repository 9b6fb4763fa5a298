"""A store that is damaged, incomplete or of another version is refused in a sentence that names the file."""

import errno
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from alternant import ImplicitALS, Interactions
from alternant.data.store import Store, StoreError, array_files, ingest
from alternant.data.store.store import digest_of
from alternant.evaluation import evaluate, random_split


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores") / "whole"
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 900, 9_000), rng.integers(0, 300, 9_000)
    names = np.array([f"u{number}" for number in users])
    times = rng.integers(0, 99, 9_000)
    Interactions.from_batches([(names, items, rng.normal(size=9_000), times)], store=folder)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


FILES = ["user_ids.offsets", "user_ids.utf8", "item_ids.values", "users.indptr", "users.indices", "users.data",
         "users.times", "users.summed", "items.indptr", "items.indices", "items.data"]  # fmt: skip


def test_the_files_of_a_store(whole):
    assert sorted([*FILES, "manifest.json", ".alternant.lock"]) == sorted(path.name for path in whole.iterdir())


@pytest.mark.parametrize("name", FILES)
def test_a_missing_truncated_or_changed_file(copy, name):
    content = bytearray((copy / name).read_bytes())
    (copy / name).unlink()
    with pytest.raises(StoreError, match=rf"{name}' is missing: the store is damaged"):
        Interactions.open(copy)
    (copy / name).write_bytes(content[:-1])
    with pytest.raises(StoreError, match=rf"{name}' must have {len(content):,} bytes, got {len(content) - 1:,}"):
        Interactions.open(copy)
    content[len(content) // 2] ^= 16
    (copy / name).write_bytes(content)
    store = Store(copy)  # whose size is right
    with pytest.raises(StoreError, match=rf"{name}' has changed between bytes 0 and {len(content):,}"):
        store.verify()


USES = {
    "some users": lambda given, _: given[:50], "reindex": lambda given, _: given.reindex(items=[1, 2]),
    "matrix": lambda given, _: given.matrix, "times": lambda given, _: given.times,
    "frame": lambda given, _: given.to_frame(), "describe": lambda given, _: given.describe(),
    "evaluate": lambda given, model: evaluate(model, given, exclude_seen=False),
    "partial_fit": lambda given, model: model.partial_fit(given),
    "rows of a model": lambda given, model: model.fold_in_users(given),
    "split": lambda given, _: random_split(given, random_state=0), "fit": lambda given, model: model.fit(given),
}  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_whatever_reads_a_store_verifies_it_once(whole, copy, monkeypatch, use):
    monkeypatch.setattr(ImplicitALS, "_check_values", lambda *_: None)  # the store holds sums
    model = ImplicitALS(factors=2, iterations=1, random_state=0).fit(Interactions.open(whole)[:])
    for name in ("users.indices", "user_ids.utf8"):
        shutil.copyfile(whole / "users.indices", copy / "users.indices")
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 128
        (copy / name).write_bytes(content)
        with pytest.raises(StoreError, match=rf"{name}' has changed between bytes"):
            USES[use](Interactions.open(copy), model)
    calls = []
    verify = Store.verify
    monkeypatch.setattr(Store, "verify", lambda store: (calls.append(store.path), verify(store))[1])
    given = Interactions.open(whole)
    assert given.shape == (len(given.user_ids), 300)
    assert not calls, "only values are verified"
    for _ in range(2):
        USES[use](given, model)
    assert len(calls) == (2 if use == "fit" else 1)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are mapped into memory")
def test_a_store_that_is_deleted_after_it_was_opened(copy):
    made = Interactions.open(copy)
    store = made._store
    (copy / "items.data").unlink()
    with pytest.raises(StoreError, match=r"items\.data' is missing: the store is damaged"):
        store.verify()
    shutil.rmtree(copy)
    for use in (store.verify, lambda: list(store.pieces("users.data")), made.describe):
        with pytest.raises(StoreError, match="copy' was deleted or moved after it was opened: open it where it is now"):
            use()


def test_the_chunk_that_has_changed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "CHUNK", 1_000)
    monkeypatch.setattr("alternant.data.store.store.CHUNK", 1_000)
    made = Interactions.from_batches([(np.arange(900), np.arange(900) % 7)], store=tmp_path / "store")
    made._store.verify()
    file = tmp_path / "store" / "users.indices"
    content = bytearray(file.read_bytes())
    content[2_345] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"users.indices' has changed between bytes 2,000 and 3,000"):
        made._store.verify()


def test_a_damaged_manifest(copy):
    file = copy / "manifest.json"
    content = file.read_text()
    for wrong in (content[:-20], content.replace('"nnz": ', '"nnz": 1'), "", "[]", content.replace("format", "kind")):
        file.write_text(wrong)
        with pytest.raises(StoreError, match=r"manifest.json' is damaged: copy the store again"):
            Store(copy)


def test_a_newer_version(copy):
    file = copy / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["version"] = 2
    manifest["digest"] = digest_of(manifest)
    file.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match=r"is of version 2 of the format.*update alternant"):
        Store(copy)


def test_no_store(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        Interactions.open(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"is no store: it has no manifest.json"):
        Interactions.open(tmp_path / "empty")


def test_a_store_that_was_replaced_is_not_that_which_was_pickled(copy):
    state = Interactions.open(copy)._store.__reduce__()
    shutil.rmtree(copy)
    Interactions.from_batches([([1], [2])], store=copy)
    with pytest.raises(StoreError, match="holds another store than when it was pickled"):
        state[0](*state[1])


@pytest.mark.parametrize(("name", "reason"), [("missing/store", "there is no folder"), ("file", "is a file")])
def test_where_no_store_can_be_written(tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=reason):
        Interactions.from_batches([([1], [2])], store=tmp_path / name)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("text")
    (tmp_path / "journal.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"files that are not of a store, such as 'thesis.tex'"):
        Interactions.from_batches([([1], [2])], store=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.json", "thesis.tex"]


@pytest.mark.parametrize("place", ["mkdir", "lock"])
def test_a_folder_that_is_read_only(tmp_path, monkeypatch, place):
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    if place == "mkdir":
        monkeypatch.setattr(Path, "mkdir", refuse)
    else:
        monkeypatch.setattr(ingest.lock, "FolderLock", refuse)
    with pytest.raises(PermissionError, match=r"store' can't be written \(Permission denied\): name a folder that can"):
        Interactions.from_batches([([1], [2])], store=tmp_path / "store")


@pytest.mark.parametrize("store", [None, 5])
def test_what_is_no_path(store):
    for use in (Interactions.open, lambda store: Interactions.from_batches([([1], [2])], store=store)):
        with pytest.raises(TypeError, match=f"store must be the path of a folder, got {type(store).__name__}"):
            use(store)
