"""Fits that read interactions from a store in parts, and keep factors in files, have the bits of those in memory."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import EASE, ExplicitALS, ImplicitALS, Interactions, Popularity
from alternant._utils import mapped, tensor_file
from alternant._utils.memory import parse_bytes
from alternant.data.store import StoreError
from alternant.models import _memory, _raw_ids
from alternant.models.als import explicit_objective, half_sweep, observed

EVENTS = 4000


def events(kind):
    """Users, items and values, some pairs of which repeat; one item is in a quarter of them."""
    rng = np.random.default_rng(0)
    users = (rng.random(EVENTS) ** 2 * 1500).astype(np.int64)
    items = np.where(rng.random(EVENTS) < 0.25, 7, rng.integers(0, 300, EVENTS))
    values = {"ones": None, "ratings": rng.integers(0, 6, EVENTS).astype(float),
              "signed": rng.lognormal(size=EVENTS) * np.where(rng.random(EVENTS) < 0.2, -1, 1)}[kind]  # fmt: skip
    return (users, items) if values is None else (users, items, values)


def both(kind, folder):
    """Return the same interactions in memory and in a store."""
    table = events(kind)
    batches = [tuple(column[start : start + 900] for column in table) for start in range(0, EVENTS, 900)]
    stored = Interactions.from_batches(batches, store=folder / "store", aggregate="max")
    return Interactions.from_arrays(*table, aggregate="max"), stored


@pytest.fixture
def small_parts(monkeypatch):
    """Let everything be read, solved and kept in many small parts."""
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 1 << 15)
    monkeypatch.setattr(mapped, "SMALLEST_FILE", 1)
    monkeypatch.setattr(half_sweep, "ENTRIES_PER_CALL", 500)
    monkeypatch.setattr(observed, "ENTRIES_PER_SUM", 700)
    for module in (mapped, explicit_objective):
        monkeypatch.setattr(module, "ENTRIES", 700)
    monkeypatch.setattr(tensor_file, "CHUNK", 1 << 10)


def in_files(monkeypatch, folder):
    """Let the next fits keep their factors in files, however small."""
    monkeypatch.setattr("alternant.models.als.trainer.pool_for", lambda *_: mapped.FilePool(folder))


def assert_same(one, other):
    for name in ("user_factors", "item_factors"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.history_ | {"seconds": 0} == other.history_ | {"seconds": 0}


@pytest.mark.parametrize(("kind", "dtype", "parameters"), [
    ("ones", "float32", {}),
    ("ones", "float64", {"weighting": "hu", "alpha": 3.0, "factors": 20, "solver": "cholesky"}),
    ("signed", "float32", {}),
    ("signed", "float64", {"weighting": "log", "regularization_scaling": "none"}),
    ("signed", "float32", {"weighting": "ials"}),
])  # fmt: skip
def test_implicit(tmp_path, monkeypatch, small_parts, kind, parameters, dtype):
    memory, stored = both(kind, tmp_path)
    model = ImplicitALS(**{"factors": 8, "iterations": 4, "dtype": dtype, "random_state": 0, **parameters})
    expected, streamed = model.fit(memory), type(model)(**model.get_params()).fit(stored)
    assert_same(streamed, expected)
    assert streamed.regularization_ == expected.regularization_
    assert (streamed.epsilon_, streamed.alpha_) == (expected.epsilon_, expected.alpha_)
    in_files(monkeypatch, tmp_path)
    assert_same(type(model)(**model.get_params()).fit(stored), expected)
    assert_same(type(model)(**model.get_params()).fit(memory), expected)
    lists = [fitted.recommend(memory.user_ids[:5], k=4)[1] for fitted in (streamed, expected)]
    np.testing.assert_array_equal(*lists)
    assert not list(tmp_path.glob(".alternant-*"))  # the files of the factors have no name


@pytest.mark.parametrize("parameters", [
    {}, {"dtype": "float64", "solver": "cg"}, {"biases": False}, {"biases": False, "nonnegative": True},
])  # fmt: skip
def test_explicit(tmp_path, monkeypatch, small_parts, parameters):
    memory, stored = both("ratings", tmp_path)
    assert stored._store.has_zeros  # a rating of 0
    model = ExplicitALS(factors=5, iterations=4, random_state=0, **parameters)
    expected, streamed = model.fit(memory), type(model)(**model.get_params()).fit(stored)
    assert_same(streamed, expected)
    assert getattr(streamed, "mean_", 0) == getattr(expected, "mean_", 0)
    in_files(monkeypatch, tmp_path)
    assert_same(type(model)(**model.get_params()).fit(stored), expected)
    assert_same(type(model)(**model.get_params()).fit(memory), expected)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_a_complete_table_in_blocks(monkeypatch, tmp_path, solver):
    """Which is solved with one factorization for all rows."""
    table = np.random.default_rng(0).integers(1, 6, (3000, 20)).astype(float)
    expected = ExplicitALS(factors=5, iterations=3, random_state=0, solver=solver).fit(table)
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 1 << 10)
    in_files(monkeypatch, tmp_path)
    assert_same(ExplicitALS(factors=5, iterations=3, random_state=0, solver=solver).fit(table), expected)


def test_ratings_of_more_digits_than_the_model_has(tmp_path):
    """They are rounded to the dtype of the model before anything is computed, as in memory."""
    ratings = sp.random_array((60, 40), density=0.2, rng=np.random.default_rng(0), format="csr")
    stored = Interactions.from_batches([ratings], store=tmp_path / "store")
    make = lambda: ExplicitALS(factors=3, iterations=3, random_state=0)  # noqa: E731
    expected, streamed = make().fit(ratings), make().fit(stored)
    assert_same(streamed, expected)
    assert streamed.mean_ == expected.mean_


def test_a_night_after_a_fit_from_a_store(tmp_path):
    memory, stored = both("signed", tmp_path)
    models = [ImplicitALS(factors=4, iterations=2, random_state=0).fit(one) for one in (memory, stored)]
    for model in models:
        model.partial_fit(([3, 9999], [7, 8], [1.0, 2.0]))
    np.testing.assert_array_equal(models[0].user_factors, models[1].user_factors)


def test_a_store_opened_by_a_relative_path(tmp_path, monkeypatch):
    both("ones", tmp_path)
    monkeypatch.chdir(tmp_path)
    stored = Interactions.open("store")
    monkeypatch.chdir("/")
    assert len(ImplicitALS(factors=2, iterations=1).fit(stored).user_factors) == stored.shape[0]


def test_blocks_of_usual_size_have_the_bits_of_small_ones(tmp_path, monkeypatch):
    """So that a row's result does not depend on the block it is in."""
    memory, _ = both("signed", tmp_path)
    usual = ImplicitALS(factors=16, iterations=3, random_state=0).fit(memory)
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(half_sweep, "ENTRIES_PER_CALL", 100)
    assert_same(ImplicitALS(factors=16, iterations=3, random_state=0).fit(memory), usual)


def test_the_median_is_that_of_numpy(tmp_path, small_parts):
    for kind in ("signed", "ratings"):
        (tmp_path / kind).mkdir()
        _, stored = both(kind, tmp_path / kind)
        store = stored._store
        for dtype in ("float32", "float64"):
            found = observed.Observed.of_store("interactions", store, np.dtype(dtype), 1, zeros=True).median()
            assert found == np.median(np.abs(np.asarray(store.users.data).astype(dtype)))


def stop(state):
    if state.iteration == 3:
        raise KeyboardInterrupt


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
@pytest.mark.parametrize("from_store", [True, False])
def test_a_checkpoint_is_that_of_the_same_interactions_wherever_they_are(
    tmp_path, monkeypatch, small_parts, cls, from_store
):
    memory, stored = both("signed", tmp_path)
    make = lambda: cls(factors=8, iterations=5, random_state=0)  # noqa: E731
    expected = make().fit(memory)
    in_files(monkeypatch, tmp_path)
    first, second = (stored, memory) if from_store else (memory, stored)
    with pytest.raises(KeyboardInterrupt):
        make().fit(first, checkpoint=tmp_path / "state", callback=stop)
    for again in (second, Interactions.open(tmp_path / "store")):  # which is finished the second time
        assert_same(make().fit(again, checkpoint=tmp_path / "state"), expected)
    other = memory.reindex(users=memory.user_ids[:-1])
    with pytest.raises(ValueError, match="belongs to a fit to other data"):
        make().fit(other, checkpoint=tmp_path / "state")


@pytest.mark.parametrize(("cls", "dtype"), [(ImplicitALS, "float32"), (ExplicitALS, "float64")])
def test_a_warm_start_from_factors_in_files(tmp_path, monkeypatch, small_parts, cls, dtype):
    """From a loaded model, of fewer users and items, and perhaps of another dtype."""
    users, items, values = events("signed")
    matrix = sp.csr_array((values, (users, items)), shape=(1500, 300))
    stored = Interactions.from_batches([matrix], store=tmp_path / "store")
    cls(factors=6, iterations=2, random_state=0).fit(matrix[:1400, :290]).save(tmp_path / "model")

    def warm():
        loaded = cls.load(tmp_path / "model", mmap=True)
        return loaded.set_params(warm_start=True, dtype=dtype)

    expected = warm().fit(matrix)
    in_files(monkeypatch, tmp_path)
    assert_same(warm().fit(stored), expected)


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
def test_one_side_at_a_time_is_in_memory(tmp_path, monkeypatch, cls):
    """In fits that begin anew, from earlier factors, and from a checkpoint: another copy of a side would be seen."""
    for name, value in {"ALIGNED": 64, "BLOCK_BYTES": 1 << 16, "SMALLEST_FILE": 1}.items():
        monkeypatch.setattr(mapped, name, value)
    monkeypatch.setattr(tensor_file, "CHUNK", 1 << 16)
    users = np.repeat(np.arange(10_000), 2)
    items = np.random.default_rng(0).integers(0, 500, len(users))
    stored = Interactions.from_batches([(users, items, 1.0 + items % 5)], store=tmp_path / "store", aggregate="max")
    model = cls(factors=60, random_state=0, regularization=0.1)
    needed, side = model.fit_memory(*stored.shape, stored.nnz), len(stored.user_ids) * 60 * 4
    in_files(monkeypatch, tmp_path)
    for iterations, warm in ((1, False), (1, True), (2, False)):
        model.set_params(warm_start=warm, iterations=iterations)
        tracemalloc.start()  # which does not count memory maps
        model.fit(stored, checkpoint=None if warm else tmp_path / "state")
        assert tracemalloc.get_traced_memory()[1] < needed.fixed + needed.vectors + side / 2
        tracemalloc.stop()


def test_a_changed_byte_is_found_before_the_fit(tmp_path):
    both("ones", tmp_path)
    file = tmp_path / "store" / "items.indices"
    content = bytearray(file.read_bytes())
    content[100] ^= 4
    file.write_bytes(content)
    model = ImplicitALS(factors=4)
    with pytest.raises(StoreError, match="checksum"):
        model.fit(Interactions.open(tmp_path / "store"))
    assert not hasattr(model, "user_factors")
    with pytest.raises(StoreError, match="checksum"):
        EASE().fit(Interactions.open(tmp_path / "store"))


def test_a_model_fitted_from_a_store_is_saved_whole(tmp_path, small_parts):
    memory, stored = both("ones", tmp_path)
    ImplicitALS(factors=4, iterations=2, random_state=0).fit(stored).save(tmp_path / "stored.safetensors")
    ImplicitALS(factors=4, iterations=2, random_state=0).fit(memory).save(tmp_path / "memory.safetensors")
    one, other = (ImplicitALS.load(tmp_path / f"{name}.safetensors") for name in ("stored", "memory"))
    assert (one.interactions_.to_scipy() != other.interactions_.to_scipy()).nnz == 0
    np.testing.assert_array_equal(one.user_ids_, other.user_ids_)


def test_ids_that_are_texts_go_from_a_store_to_a_file_and_back(tmp_path):
    """Without a Python object for each of them, in one file with ids that are numbers."""
    users, items = [f"u{number}é" for number in (11, 2, 33, 2)], [3, 4, 5, 5]
    stored = Interactions.from_batches([(users, items)], store=tmp_path / "store")
    model = ImplicitALS(factors=2, random_state=0).fit(stored)
    model.save(tmp_path / "m")
    for mmap in (False, True):
        loaded = ImplicitALS.load(tmp_path / "m", mmap=mmap)
        loaded.save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()
        assert loaded.recommend("u2é", 1)[0] == model.recommend("u2é", 1)[0]
        assert not any("_memory" in one._user_ids.__dict__ for one in (loaded, model))
        assert loaded.user_ids_.tolist() == sorted(set(users))
        assert loaded.partial_fit((["new"], [3])).user_ids_.tolist() == [*sorted(set(users)), "new"]
        loaded.save(tmp_path / "again")
        assert ImplicitALS.load(tmp_path / "again").user_ids_.tolist() == loaded.user_ids_.tolist()


def test_other_models_learn_from_a_store_if_it_fits_in_memory(tmp_path, monkeypatch):
    memory, stored = both("ones", tmp_path)
    lists = [EASE().fit(one).recommend(memory.user_ids, 4) for one in (stored, memory)]
    np.testing.assert_array_equal(*(scores for _, scores in lists))
    expected = Popularity(weighted=True).fit(memory)
    monkeypatch.setattr(_raw_ids, "available_bytes", lambda: 100)
    np.testing.assert_array_equal(Popularity(weighted=True).fit(stored).item_factors, expected.item_factors)
    with pytest.raises(MemoryError, match=r"learns from interactions in memory.* reads the store in parts \(Implicit"):
        EASE().fit(stored)


@pytest.mark.parametrize(("limit", "message"), [
    ("2 apples", "memory_limit must be a number of bytes, or a string such as"),
    ("4i", "memory_limit must be a number of bytes"),
    (True, "memory_limit must be a number of bytes"),
    (0, "memory_limit must be a number of bytes"),
    ("50M", r"memory_limit is 50 MB, but this fit needs \d+ MB: raise it, or lower factors"),
])  # fmt: skip
def test_limits_that_cannot_be_kept(tmp_path, limit, message):
    _, stored = both("ones", tmp_path)
    with pytest.raises(ValueError, match=message):
        ImplicitALS(factors=4).fit(stored, memory_limit=limit)


def test_the_limit_that_an_error_names_is_enough(tmp_path):
    for vectors in (0, 300_000, 894_700_000):  # which round up, down, and to the next unit
        needed = _memory.FitMemory(entries=0, vectors=vectors, factors=10**13, files=True)
        with pytest.raises(ValueError, match="this fit needs") as caught:
            _memory.pool_for(10**8, needed, tmp_path)
        named = str(caught.value).partition("needs ")[2].partition(":")[0]
        assert isinstance(_memory.pool_for(parse_bytes("memory_limit", named), needed, tmp_path), mapped.FilePool)


def test_what_a_store_does_not_offer(tmp_path):
    _, zeros = both("ratings", tmp_path)
    with pytest.raises(ValueError, match="interactions must not contain zeros if they are in a store"):
        ImplicitALS(factors=4).fit(zeros)
    with pytest.raises(ValueError, match="sample_weight needs ratings in memory"):
        ExplicitALS(factors=4).fit(zeros, sample_weight=np.ones(zeros.shape[0]))
    with pytest.raises(ValueError, match="missing_value must be NaN if ratings are in a store"):
        ExplicitALS(factors=4, missing_value=0).fit(zeros)
    other = Interactions.from_batches([([1, 2], [3, 4])], store=tmp_path / "other")
    with pytest.raises(TypeError, match=r"got str: pass Interactions.open\('.*other'\), as it is a store"):
        ImplicitALS().fit(str(tmp_path / "other"))
    model = ImplicitALS(factors=2, iterations=1, warm_start=True).fit(other)
    more = Interactions.from_batches([([0, 1, 2], [3, 4, 4])], store=tmp_path / "more")
    with pytest.raises(ValueError, match="warm_start needs the users and items of the last fit"):
        model.fit(more)


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    _, stored = both("ones", tmp_path)
    in_files(monkeypatch, tmp_path)
    monkeypatch.setattr(mapped, "SMALLEST_FILE", 1)
    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    monkeypatch.setattr("os.truncate", full)
    if not hasattr(mapped.os, "posix_fallocate"):
        pytest.skip("this system reserves no space for files")
    with pytest.raises(OSError, match=r"factors of .* can't be kept in .* \(the disk is full\): free some space"):
        ImplicitALS(factors=4).fit(stored)


def test_no_space_for_temporary_files_is_no_fault_of_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "gone"))
    needed = _memory.FitMemory(entries=0, vectors=0, factors=10**9, files=True)
    for pool, what in ((_memory.pool_for(10**9, needed, tmp_path), "factors"),
                       (_memory.files_of_interactions(tmp_path), "interactions by block")):  # fmt: skip
        with pytest.raises(OSError, match=rf"{what} of 4 MB can't be kept in '.*gone' \(.*\): set TMPDIR to a folder"):
            pool.array((1000, 1000), np.dtype(np.float32))


MEASURED = """
import sys
from pathlib import Path
import alternant
from alternant import Interactions

folder, limit = Path(sys.argv[1]), int(sys.argv[3])
stored, cls = Interactions.open(folder / "store"), getattr(alternant, sys.argv[2])
cls(factors=4, iterations=1).fit(Interactions.from_arrays([1, 2], [1, 2], [3.0, 4.0]))  # loads the libraries
model = cls(factors=64, random_state=0, solver="cg")
for iterations, warm, checkpoint in ((2, False, "state"), (1, True, None), (3, False, "state")):
    Path("/proc/self/clear_refs").write_text("5")
    before = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    model.set_params(iterations=iterations, warm_start=warm)
    model.fit(stored, memory_limit=limit, checkpoint=checkpoint and folder / checkpoint)
    status = Path("/proc/self/status").read_text().splitlines()
    print(before, next(int(line.split()[1]) for line in status if "VmHWM" in line) * 1024)
print(model.fit_memory(*stored.shape, stored.nnz).least, limit)
"""


@pytest.mark.nightly
@pytest.mark.parametrize("cls", ["ImplicitALS", "ExplicitALS"])
def test_resident_memory_stays_below_the_limit(tmp_path, cls):
    """A million users with 256 MB of factors, which would take 1.1 GB in memory: anew, warm, and resumed."""
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc, which only Linux has")
    n_users, n_items, per_user = 1_000_000, 20_000, 4

    def batches():
        rng = np.random.default_rng(0)
        for _ in range(10):
            rows = n_users // 10
            indices = np.sort(rng.integers(0, n_items // per_user, (rows, per_user)) * per_user + np.arange(per_user))
            indptr = np.arange(rows + 1) * per_user
            yield sp.csr_array((rng.integers(1, 6, indices.size), indices.reshape(-1), indptr), shape=(rows, n_items))

    Interactions.from_batches(batches, store=tmp_path / "store")
    limit = 580_000_000
    command = [sys.executable, "-c", MEASURED, str(tmp_path), cls, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *measured, (estimated, limit) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert estimated < limit
    for before, peak in measured:
        assert before < peak < limit
