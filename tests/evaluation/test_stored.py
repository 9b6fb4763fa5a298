"""Interactions in stores: evaluations have the numbers of those in memory, to the bit; splits, all of their pairs."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import CosineMF, ExplicitALS, ImplicitALS, Interactions
from alternant._utils.lock import FolderLock
from alternant.data.store import StoreError
from alternant.evaluation import evaluate, leave_one_out, random_split

USERS, ITEMS, PAIRS = 60, 40, 900


def tables(seed=0):
    """Train and test, of different pairs: users, items and values; some test values are 0."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(USERS * ITEMS)[:PAIRS]
    values = rng.integers(0, 2, PAIRS).astype(float)
    users, items = np.divmod(pairs, ITEMS)
    test = np.arange(PAIRS) < 100
    return [(users[rows], items[rows], values[rows]) for rows in (~test, test)]


def stored(table, folder, names):
    users, items, values = table
    batch = names(users), items * 3 + 1, values
    return Interactions.from_batches([batch], store=folder, aggregate="last")


NAMES = {"numbers": lambda users: users * 2, "texts": lambda users: [f"u{user * 7 % 60:02}" for user in users.tolist()]}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("kind", [ImplicitALS, ExplicitALS, CosineMF])
@pytest.mark.parametrize("block", [5, 4096])
def test_the_numbers_are_those_in_memory(tmp_path, monkeypatch, kind, names, block):
    train, test = tables()
    if kind is ImplicitALS:
        train = tuple(column[train[2] > 0] for column in train)
        keep = np.isin(test[0], train[0]) & np.isin(test[1], train[1])
        test = tuple(column[keep] for column in test)
    inputs = [stored(table, tmp_path / str(part), NAMES[names]) for part, table in enumerate((train, test))]
    memory = [Interactions.from_arrays(NAMES[names](users), items * 3 + 1, values, aggregate="last")
              for users, items, values in (train, test)]  # fmt: skip
    steps = {"iterations": 2} if kind is not CosineMF else {"epochs": 2}
    models = [kind(factors=4, random_state=0, **steps).fit(one) for one in (inputs[0], memory[0])]
    monkeypatch.setattr("alternant.evaluation._held_out.BLOCK", block)
    for options in ({}, {"relevant_from": 1}, {"exclude_seen": False, "metrics": ["ndcg", "auc"]}):
        got, expected = (evaluate(model, part, k=[3, 5], **options)
                         for model, part in ((models[0], inputs[1]), (models[1], memory[1])))  # fmt: skip
        assert got.means == expected.means
        for name, values in expected.per_user.items():
            np.testing.assert_array_equal(got.per_user[name], values)
        assert got.users.tolist() == expected.users.tolist()
        assert (got.n_users_without_test, got.n_test_pairs) == (expected.n_users_without_test, expected.n_test_pairs)
        np.testing.assert_array_equal(got._breakdown.relevant, expected._breakdown.relevant)
    assert evaluate(models[1], inputs[1], k=3).means == evaluate(models[1], memory[1], k=3).means


def test_some_users_of_a_store_are_read_without_making_all_ids(tmp_path):
    train, _ = tables()
    given = stored(train, tmp_path / "store", NAMES["texts"])
    memory = Interactions.from_arrays(NAMES["texts"](train[0]), train[1] * 3 + 1, train[2])
    some, expected = given[[5, 2]], memory[[5, 2]]
    assert some.user_ids.tolist() == expected.user_ids.tolist()
    assert (some.matrix != expected.matrix).nnz == 0
    assert "_memory" not in given._users.__dict__


@pytest.mark.parametrize("names", NAMES)
def test_users_and_items_in_another_order(tmp_path, monkeypatch, names):
    """The test set has some of the users and items only, and the model numbers its own in another order."""
    train, test = tables()
    order = np.random.default_rng(1).permutation(len(train[0]))
    train = tuple(column[order] for column in train)
    memory = Interactions.from_arrays(NAMES[names](train[0]), train[1] * 3 + 1, train[2])
    shuffled = memory.reindex(users=memory.user_ids[np.random.default_rng(2).permutation(memory.shape[0])],
                              items=memory.item_ids[::-1])  # fmt: skip
    model = ExplicitALS(factors=4, iterations=2, random_state=0).fit(shuffled)
    monkeypatch.setattr("alternant.evaluation._held_out.BLOCK", 7)
    monkeypatch.setattr("alternant.evaluation._held_out.PART", 9)
    of_test = Interactions.from_arrays(NAMES[names](test[0]), test[1] * 3 + 1, test[2])
    rows = of_test.reindex(users=shuffled.user_ids, items=shuffled.item_ids)
    expected = evaluate(ExplicitALS(**model.get_params()).fit(shuffled.matrix), rows.matrix, k=4)
    for given in (of_test, rows, stored(test, tmp_path / "test", NAMES[names])):
        got = evaluate(model, given, k=4)
        assert got.means == expected.means
        assert got.users.tolist() == shuffled.user_ids[expected.users].tolist()


def test_what_a_stored_test_set_is_refused_for(tmp_path):
    train, test = tables()
    memory = Interactions.from_arrays(train[0], train[1] * 3 + 1, train[2], aggregate="last")
    model = ExplicitALS(factors=3, iterations=1, random_state=0).fit(memory)
    both = tuple(np.concatenate([one, other[:2]]) for one, other in zip(test, train, strict=True))
    plain = Interactions.from_arrays(both[0], both[1] * 3 + 1, both[2])
    for given in (plain, stored(both, tmp_path / "leak", lambda users: users)):
        with pytest.raises(ValueError, match=r"no pair that the model has seen, got 2 of 102, such as row \d+, column"):
            evaluate(model, given, k=3)
    other = Interactions.from_batches([([0, 77], [1, 1], [1.0, 2.0])], store=tmp_path / "users")
    with pytest.raises(IndexError, match="test users must be user ids of the fit, got 77"):
        evaluate(model, other, k=3)
    other = Interactions.from_batches([([0, 1], [1, 2])], store=tmp_path / "items")
    with pytest.raises(ValueError, match="test must contain only items of the fit, got 1 others, such as 2"):
        evaluate(ImplicitALS(factors=2, iterations=1).fit(memory), other, k=3)


# Splits


def split(folder, batch, **options):
    stored = Interactions.from_batches([batch], store=folder / "all", aggregate=options.pop("aggregate", "sum"))
    return stored, random_split(stored, stores=(folder / "train", folder / "test"), **options)


def pairs_of(interactions):
    table = interactions.matrix.tocoo()
    times = interactions.times if interactions.times is not None else np.zeros(table.nnz)
    return {(u, i): (value, time) for u, i, value, time in zip(table.row, table.col, table.data, times, strict=True)}


@pytest.mark.parametrize("kind", ["ones", "values", "times", "sums", "means"])
def test_a_split_divides_the_pairs_of_a_store(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("alternant.data.store.divide.ENTRIES", 70)  # fewer than the longest row has
    rng = np.random.default_rng(0)
    users, items = (rng.random(2000) ** 3 * 300).astype(int), rng.integers(0, 90, 2000)
    columns = {"values": (rng.integers(-1, 5, 2000),), "times": (rng.random(2000), rng.integers(0, 9, 2000)),
               "sums": (np.ones(2000),), "means": (np.ones(2000),)}.get(kind, ())  # fmt: skip
    aggregate = {"ones": "max", "means": "mean"}.get(kind, "sum")
    names = [f"u{user:03}" for user in users.tolist()]
    stored, parts = split(tmp_path, (names, items, *columns), fraction=0.3, random_state=1, aggregate=aggregate)
    train, test = map(pairs_of, parts)
    assert not train.keys() & test.keys()
    assert train | test == pairs_of(stored)
    assert 0.25 < len(test) / stored.nnz < 0.35
    for part in parts:
        store = part._store
        store.verify()
        assert part.user_ids.tolist() == stored.user_ids.tolist()
        assert (store.items.to_scipy() != part.matrix.T).nnz == 0
        again = Interactions.open(store.path)
        assert (again.describe().value_range[0], again.describe().value_range[2]) == (store.least, store.greatest)
        assert store.has_zeros == (not part.matrix.data.all())
        assert not list(tmp_path.glob(".alternant-*"))


def test_a_repeated_split_opens_what_is_there(tmp_path, monkeypatch):
    batch = np.arange(200) % 20, np.arange(200) // 5
    stored, parts = split(tmp_path, batch, fraction=0.2, random_state=3)
    stores = tmp_path / "train", tmp_path / "test"
    shutil.rmtree(tmp_path / "test")  # as after a kill between the two
    again = random_split(stored, 0.2, random_state=3, stores=stores)
    assert [part._store.digest for part in again] == [part._store.digest for part in parts]
    monkeypatch.setattr("alternant.data.store.divide._write", lambda *_: pytest.fail("written again"))
    random_split(stored, 0.2, random_state=3, stores=stores)
    for other in ({"fraction": 0.3, "random_state": 3}, {"fraction": 0.2, "random_state": 4}):
        with pytest.raises(StoreError, match="is there and holds something else than this part: name a new folder"):
            random_split(stored, stores=stores, **other)


def test_splits_of_stores_that_are_refused(tmp_path, monkeypatch):
    stored = Interactions.from_batches([([1, 2], [3, 4])], store=tmp_path / "all")
    stores = tmp_path / "train", tmp_path / "test"
    memory = Interactions.from_arrays([1, 2], [3, 4])
    for given, options, error, message in (
        (memory, {"stores": stores}, TypeError, "stores are for Interactions in a store, got Interactions in memory"),
        (memory.matrix, {"stores": stores}, TypeError, "got csr_array in memory: leave out stores"),
        (stored, {"stores": "train"}, TypeError, "stores must be two paths, of train and of test, got 'train'"),
        (stored, {"stores": stores[:1] * 2}, ValueError, "stores must be two different paths"),
        (stored, {"stores": stores, "fraction": 2}, ValueError, "fraction must be between 0 and 1"),
        (stored, {"stores": stores, "fraction": 1e-9}, ValueError, "must both have pairs, got 2 and 0: pass another"),
        (stored, {"stores": (tmp_path / "no" / "a", stores[1])}, FileNotFoundError, "there is no folder"),
    ):
        with pytest.raises(error, match=message):
            random_split(given, random_state=0, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all"]
    monkeypatch.setattr("alternant.evaluation._table.available_bytes", lambda: 100)
    with pytest.raises(MemoryError, match=r"a split of 2 pairs would take .*stores=\(train, test\), or split some"):
        leave_one_out(stored)


def test_a_full_disk_leaves_nothing_of_a_split(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    stored = Interactions.from_batches([(np.arange(90) % 9, np.arange(90) // 9)], store=tmp_path / "all")
    monkeypatch.setattr("alternant.data.store.array_files.write_all", full)
    with pytest.raises(OSError, match=r"the parts of a split can't be written .* \(No space left on device\): not"):
        random_split(stored, random_state=0, stores=(tmp_path / "train", tmp_path / "test"))
    assert [path.name for path in tmp_path.iterdir()] == ["all"]


def test_a_split_cleans_what_a_killed_one_has_left(tmp_path):
    left = tmp_path / ".alternant-train"
    (left / "store").mkdir(parents=True)
    (left / "store" / "users.indptr").write_bytes(b"half")
    batch = np.arange(200) % 20, np.arange(200) // 5
    stored, _ = split(tmp_path, batch, fraction=0.2, random_state=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "test", "train"]
    stores = tmp_path / "{0}", tmp_path / "other"
    left = tmp_path / ".alternant-{0}"
    left.mkdir()
    held = FolderLock(left, "{}")  # as of another process
    with pytest.raises(BlockingIOError, match=r"another process is writing the store '.*\{0\}': wait until it has"):
        random_split(stored, 0.2, random_state=3, stores=stores)
    held.release()
    random_split(stored, 0.2, random_state=3, stores=stores)
    assert not list(tmp_path.glob(".alternant-*"))


def test_a_lock_whose_file_was_deleted_does_not_count(tmp_path):
    held = FolderLock(tmp_path, "{}")
    assert held.is_in(tmp_path)
    (tmp_path / ".alternant.lock").unlink()
    (tmp_path / ".alternant.lock").touch()
    assert not held.is_in(tmp_path)


def test_a_split_is_not_written_to_a_folder_that_can_only_be_read(tmp_path, monkeypatch):
    def refused(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    stored = Interactions.from_batches([(np.arange(90) % 9, np.arange(90) // 9)], store=tmp_path / "all")
    monkeypatch.setattr("pathlib.Path.mkdir", refused)
    with pytest.raises(OSError, match=r"the parts of a split can't be written .* \(Permission denied\): nothing was"):
        random_split(stored, random_state=0, stores=(tmp_path / "train", tmp_path / "test"))


PEAK = """
import sys
from pathlib import Path
from alternant import ImplicitALS, Interactions
from alternant.evaluation import evaluate, random_split

def peak(run):
    Path("/proc/self/clear_refs").write_text("5")
    before = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    run()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if "VmHWM" in line) * 1024 - before

folder = Path(sys.argv[1])
stored = Interactions.open(folder / "all")
stores = folder / "train", folder / "test"
print(peak(lambda: random_split(stored, 0.1, random_state=0, stores=stores)))
train, test = map(Interactions.open, stores)
model = ImplicitALS(factors=8, iterations=1, random_state=0).fit(train, memory_limit="2GB")
print(peak(lambda: evaluate(model, test, k=10, metrics="ndcg")))
"""


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_number_of_pairs(tmp_path):
    """Ten million pairs of 100,000 users would take 80 MB in one orientation, and several times that to be split."""
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc, which only Linux has")
    rows, each, columns = 20_000, 100, 2_000

    def batches():
        rng = np.random.default_rng(0)
        for _ in range(5):
            indices = np.sort(rng.integers(0, columns // each, (rows, each)) * each + np.arange(each))
            indptr = np.arange(rows + 1) * each
            yield sp.csr_array((np.ones(indices.size), indices.reshape(-1), indptr), shape=(rows, columns))

    Interactions.from_batches(batches, store=tmp_path / "all")
    done = subprocess.run([sys.executable, "-c", PEAK, tmp_path], capture_output=True, text=True, check=True)
    split, evaluation = map(int, done.stdout.split())
    assert split < 100_000_000
    assert evaluation < 50_000_000
