"""Model files: what comes back is what was saved, a crash loses nothing, and no damaged file makes a model."""

import copy
import json
import os
import pickle
import re
import stat
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from alternant import ImplicitALS, Popularity
from alternant._utils import tensor_file
from alternant._utils.atomic import check_target, whole_file
from alternant.models import FactorModel, ModelFileError, _check_tensors, _storage

rng = np.random.default_rng(0)
R = sp.csr_array(rng.uniform(0.5, 4, (30, 20)) * (rng.random((30, 20)) < 0.25))
NEW = sp.csr_array(rng.uniform(0.5, 4, (3, 20)) * (rng.random((3, 20)) < 0.25))


def fitted(**params):
    return ImplicitALS(**{"factors": 5, "random_state": 0, "iterations": 3} | params).fit(R)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a whole model file."""
    path = tmp_path_factory.mktemp("whole") / "model.safetensors"
    fitted().save(path)
    return path.read_bytes()


def assert_same(loaded, model):
    """Equal in everything that a model is, to the bit."""
    assert type(loaded) is type(model)
    for name in ("user_factors", "item_factors"):
        got, expected = getattr(loaded, name), getattr(model, name)
        assert (got.dtype, got.shape, got.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
    for name in model._fitted_state:
        assert getattr(loaded, name) == getattr(model, name)
    for name in ("indptr", "indices", "data"):
        got, expected = getattr(loaded.interactions_, name), getattr(model.interactions_, name)
        assert (got.dtype, got.tobytes()) == (expected.dtype, expected.tobytes())
    assert loaded.interactions_.shape == model.interactions_.shape


# --- round trip -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factors", [1, 5, 33])
def test_a_loaded_model_is_the_saved_one_to_the_bit(tmp_path, mmap, dtype, factors):
    model = fitted(dtype=dtype, factors=factors)
    model.save(tmp_path / "m")
    loaded = ImplicitALS.load(tmp_path / "m", mmap=mmap)
    assert_same(loaded, model)
    assert loaded.get_params() == model.get_params()
    for array in (loaded.user_factors, loaded.item_factors):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


PARAMETERS = {
    "pair of regularizations": ({"regularization": (0.1, 0.2)}, {"regularization": (0.1, 0.2)}),
    "list of regularizations": ({"regularization": [0.1, 0.2]}, {"regularization": (0.1, 0.2)}),
    "NumPy numbers": (
        {"alpha": np.float32(0.5), "factors": np.int64(4), "warm_start": np.True_},
        {"alpha": 0.5, "factors": 4, "warm_start": True},
    ),
    "fractions": ({"alpha": Fraction(1, 2), "regularization": (Fraction(1, 4), 1)},
                  {"alpha": 0.5, "regularization": (0.25, 1)}),
    "whole numbers": ({"alpha": 2, "tol": 0, "early_stopping": 0}, {"alpha": 2, "tol": 0, "early_stopping": 0}),
    "dtype class": ({"dtype": np.float64}, {"dtype": "float64"}),
    "dtype object": ({"dtype": np.dtype("float32")}, {"dtype": "float32"}),
    "names": (
        {"solver": "cholesky", "weighting": "ials", "regularization_scaling": "ials", "backend": "numpy"},
        {"solver": "cholesky", "weighting": "ials", "regularization_scaling": "ials", "backend": "numpy"},
    ),
    "none": ({"random_state": None, "num_threads": None}, {"random_state": None, "num_threads": None}),
    "large seed": ({"random_state": 2**100}, {"random_state": 2**100}),
    "seed of several numbers": ({"random_state": [1, 2]}, {"random_state": (1, 2)}),
    "seed in an array": ({"random_state": np.array([1, 2])}, {"random_state": (1, 2)}),
    "generator, which is not kept": ({"random_state": np.random.default_rng(0)}, {"random_state": None}),
    "RandomState, which is not kept": ({"random_state": np.random.RandomState(0)}, {"random_state": None}),
}  # fmt: skip


@pytest.mark.parametrize("case", PARAMETERS)
def test_every_kind_of_parameter_comes_back(tmp_path, case):
    given_, expected = PARAMETERS[case]
    model = fitted(**given_)
    model.save(tmp_path / "m")
    loaded = ImplicitALS.load(tmp_path / "m")
    assert loaded.get_params() == model.get_params() | expected
    assert_same(loaded, model)


@pytest.mark.parametrize("mmap", [False, True])
def test_a_loaded_model_answers_as_the_saved_one(tmp_path, mmap):
    model = fitted()
    model.save(tmp_path / "m")
    loaded = ImplicitALS.load(tmp_path / "m", mmap=mmap)
    for call in (
        lambda m: m.recommend(np.arange(30), 6),
        lambda m: m.recommend(None, 6, user_items=NEW),
        lambda m: m.similar_items(np.arange(20), 5),
        lambda m: m.similar_users(3, 5),
        lambda m: m.explain(3, 4)[1:3],
        lambda m: (m.fold_in_users(NEW), m.fold_in_users(NEW), m.fold_in_items(sp.csr_array(R.T))),
        lambda m: (m.predict(np.arange(30), 3),),
    ):
        for got, expected in zip(call(loaded), call(model), strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("solver", ["cg", "cholesky"])
def test_a_loaded_model_fits_on_as_if_it_had_never_been_saved(tmp_path, mmap, solver):
    params = {"solver": solver, "acceleration": None, "tol": 0.01}  # the others treat the first iterations as such
    whole_fit = fitted(iterations=5, **params)
    model = fitted(iterations=3, warm_start=True, **params)
    model.save(tmp_path / "m")
    loaded = ImplicitALS.load(tmp_path / "m", mmap=mmap).set_params(iterations=2).fit(R)
    assert loaded.user_factors.tobytes() == whole_fit.user_factors.tobytes()
    assert loaded.item_factors.tobytes() == whole_fit.item_factors.tobytes()
    loaded.partial_fit_users([30, 1, 31], NEW)
    assert loaded.user_factors.shape == (32, 5)
    loaded.save(tmp_path / "m")  # over the file that may be mapped
    assert_same(ImplicitALS.load(tmp_path / "m"), loaded)


def test_a_mapped_model_reads_the_file_itself(tmp_path):
    fitted().save(tmp_path / "m")
    loaded = ImplicitALS.load(tmp_path / "m", mmap=True)
    owner = loaded.item_factors
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    assert isinstance(owner, np.memmap)
    assert Path(owner.filename) == tmp_path / "m"
    assert owner.mode == "r"


def test_without_interactions_a_loaded_model_asks_for_them(tmp_path):
    model = fitted()
    model.save(tmp_path / "with")
    model.save(tmp_path / "without", interactions=False)
    assert (tmp_path / "without").stat().st_size < (tmp_path / "with").stat().st_size - 8 * R.nnz
    loaded = ImplicitALS.load(tmp_path / "without")
    assert loaded.interactions_ is None
    with pytest.raises(ValueError, match="pass user_items, or exclude_seen=False"):
        loaded.recommend(3)
    with pytest.raises(ValueError, match="pass user_items, or exclude_seen=False"):
        loaded.explain(3, 4)
    for got, expected in zip(loaded.recommend([3], user_items=R[[3]]), model.recommend([3]), strict=True):
        np.testing.assert_array_equal(got, expected)
    loaded.partial_fit_users([30], NEW[[0]])
    loaded.save(tmp_path / "again")  # what is not there can't be kept
    assert ImplicitALS.load(tmp_path / "again").interactions_ is None


def test_factors_set_by_hand_can_be_saved(tmp_path):
    model = ImplicitALS(factors=2)
    model.user_factors, model.item_factors = np.asfortranarray(rng.random((4, 2))), rng.random((6, 4))[::2, ::2]
    model.save(tmp_path / "m")
    loaded = ImplicitALS.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.user_factors, model.user_factors)
    np.testing.assert_array_equal(loaded.item_factors, model.item_factors)
    assert not hasattr(loaded, "history_")


def test_interactions_without_an_entry_come_back(tmp_path):
    model = ImplicitALS(factors=2).fit(sp.csr_array((3, 4)))
    model.save(tmp_path / "m")
    for mmap in (False, True):
        assert_same(ImplicitALS.load(tmp_path / "m", mmap=mmap), model)


def test_popularity_is_saved_and_loaded_too(tmp_path):
    model = Popularity(weighted=True).fit(R)
    model.save(tmp_path / "m")
    loaded = Popularity.load(str(tmp_path / "m"), mmap=True)
    assert_same(loaded, model)
    np.testing.assert_array_equal(loaded.recommend([3, 4])[0], model.recommend([3, 4])[0])


def test_the_base_class_loads_any_model(tmp_path):
    fitted().save(tmp_path / "a")
    Popularity().fit(R).save(tmp_path / "b")
    assert isinstance(FactorModel.load(tmp_path / "a"), ImplicitALS)
    assert isinstance(FactorModel.load(tmp_path / "b"), Popularity)


def test_saving_does_not_change_the_model(tmp_path):
    model = fitted()
    before = copy.deepcopy(vars(model))
    model.save(tmp_path / "m")
    assert vars(model).keys() == before.keys()
    assert model.user_factors.tobytes() == before["user_factors"].tobytes()


def test_the_package_safetensors_reads_what_is_written_and_writes_what_is_read(tmp_path, whole):
    package = pytest.importorskip("safetensors.numpy", reason="it is compiled for some Pythons only")
    (tmp_path / "m").write_bytes(whole)
    strings, arrays = tensor_file.read(tmp_path / "m", mapped=lambda name: False)
    theirs = package.load(whole)
    assert arrays.keys() == theirs.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape, array.tobytes()) == (
            theirs[name].dtype, theirs[name].shape, theirs[name].tobytes()
        )  # fmt: skip
    package.save_file(theirs, tmp_path / "theirs", strings)
    (tmp_path / "ours").write_bytes(whole)
    assert_same(ImplicitALS.load(tmp_path / "theirs"), ImplicitALS.load(tmp_path / "ours"))
    package.save_file(theirs, tmp_path / "theirs")  # no strings at all
    refused(tmp_path / "theirs", "was not saved by alternant")


# --- atomic -----------------------------------------------------------------------------------------------------------


def files(folder):
    return [path.name for path in folder.iterdir()]


def disk_full(path, arrays, metadata):
    """Write half a file, then fail as a full disk does."""
    path.write_bytes(b"half")
    raise OSError(28, "No space left on device")


def interrupted(path, arrays, metadata):
    path.write_bytes(b"half")
    raise KeyboardInterrupt


@pytest.mark.parametrize(("crash", "error"), [(disk_full, OSError), (interrupted, KeyboardInterrupt)])
def test_a_crash_while_writing_leaves_the_old_file_whole_and_nothing_else(tmp_path, monkeypatch, crash, error):
    model = fitted()
    model.save(tmp_path / "m")
    old = (tmp_path / "m").read_bytes()
    model.fit(NEW)
    monkeypatch.setattr(tensor_file, "write", crash)
    with pytest.raises(error):
        model.save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == old
    assert files(tmp_path) == ["m"]
    with pytest.raises(error):
        model.save(tmp_path / "other")
    assert files(tmp_path) == ["m"]


def test_a_crash_while_renaming_leaves_the_old_file_whole_and_nothing_else(tmp_path, monkeypatch):
    model = fitted()
    model.save(tmp_path / "m")
    old = (tmp_path / "m").read_bytes()

    def refuse(self, target):
        raise PermissionError(13, "another process holds the file open")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        model.fit(NEW).save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == old
    assert files(tmp_path) == ["m"]


def test_the_error_of_a_full_disk_is_an_oserror_that_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_file, "write", disk_full)
    with pytest.raises(OSError, match=r"a model can't be written to .*m' \(No space left on device\): nothing"):
        fitted().save(tmp_path / "m")
    assert files(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(Path("folder", "real"))
    for factors in (2, 3):  # to what does not exist yet, and to what does
        fitted(factors=factors).save(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert ImplicitALS.load(tmp_path / "folder" / "real").factors == factors
        assert files(tmp_path / "folder") == ["real"]


@pytest.mark.skipif(os.name == "nt", reason="devices are files on POSIX")
def test_a_device_stays_one(tmp_path):
    (tmp_path / "null").symlink_to(os.devnull)
    fitted().save(tmp_path / "null")
    assert not Path(os.devnull).is_file()
    assert (tmp_path / "null").is_symlink()


def test_a_folder_that_takes_no_files_is_told_before_the_work(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", ".alternant-x")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(
        PermissionError, match=r"no file can be created in .* \(Permission denied\): choose another folder"
    ):
        check_target(tmp_path / "m", "a model")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX")
def test_a_process_killed_while_saving_leaves_the_old_file_whole(tmp_path):
    model = fitted()
    model.save(tmp_path / "m")
    old = (tmp_path / "m").read_bytes()
    code = f"""
import os, signal
from alternant import ImplicitALS
from alternant._utils import tensor_file
model = ImplicitALS.load({str(tmp_path / "m")!r})
def die(path, arrays, metadata):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
tensor_file.write = die
model.save({str(tmp_path / "m")!r})
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == -9, result.stderr
    assert (tmp_path / "m").read_bytes() == old


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_model_file_has_the_permissions_of_any_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        fitted().save(tmp_path / "m")
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    (tmp_path / "m").chmod(0o640)
    fitted().save(tmp_path / "m")
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*gone' to save a model in"):
        fitted().save(tmp_path / "gone" / "m")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        fitted().save(tmp_path)
    for call in (lambda: fitted().save(None), lambda: ImplicitALS.load(3)):
        with pytest.raises(TypeError, match=r"a file must be given by its path, got (NoneType|int): pass a str"):
            call()
    assert files(tmp_path) == []


# --- files that are no models -----------------------------------------------------------------------------------------


def refused(path, fragment=""):
    """Loading is refused in one sentence that names the file, with and without a map."""
    for mmap in (False, True):
        with pytest.raises(ModelFileError) as caught:
            ImplicitALS.load(path, mmap=mmap)
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        assert re.search(fragment, message), message
        assert caught.value.__cause__ is None


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    for path in (tmp_path / "m", tmp_path):
        with pytest.raises(FileNotFoundError, match=re.escape(f"there is no model file {str(path)!r}")):
            ImplicitALS.load(path)


def test_a_file_cut_short_anywhere_is_refused(tmp_path, whole):
    (header,) = struct.unpack("<Q", whole[:8])
    lengths = {0, 1, 7, 8, 9, header // 2, header + 7, header + 8, header + 9, len(whole) // 2, len(whole) - 1}
    for length in sorted(lengths):
        (tmp_path / "m").write_bytes(whole[:length])
        refused(tmp_path / "m", "not a complete alternant model")


def test_a_file_with_something_behind_it_is_refused(tmp_path, whole):
    (tmp_path / "m").write_bytes(whole + b"\0")
    refused(tmp_path / "m", "not a complete alternant model")


@pytest.mark.parametrize(
    "content",
    [b"", b"user,item,rating\n1,2,3\n", b"\x93NUMPY" + bytes(200), b"PK\x03\x04" + bytes(200), bytes(64), b"\xff" * 64,
     pickle.dumps({"model": 1}) * 10],
    ids=["empty", "csv", "npy", "npz", "zeros", "ones", "pickle"],
)  # fmt: skip
def test_garbage_is_refused(tmp_path, content):
    (tmp_path / "m").write_bytes(content)
    refused(tmp_path / "m", "not a complete alternant model")


ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


@pytest.mark.parametrize(
    ("entries", "size", "fragment"),
    [
        ({"a": ENTRY | {"data_offsets": [0, 20]}}, 20, "header is invalid"),
        ({"a": ENTRY | {"shape": [-2, -3]}}, 24, "header is invalid"),
        ({"a": ENTRY | {"shape": [2.0, 3]}}, 24, "header is invalid"),
        ({"a": ENTRY | {"dtype": "C64"}}, 24, "header is invalid"),
        ({"a": [1]}, 24, "header is invalid"),
        ({"__metadata__": {"alternant": 2}}, 0, "header is invalid"),
        ({"a": ENTRY, "b": ENTRY}, 24, "overlap or have gaps"),
        ({"a": ENTRY | {"data_offsets": [8, 32]}}, 32, "overlap or have gaps"),
        ({"a": ENTRY}, 23, "has .* bytes, but its header says"),
        ({"a": ENTRY}, 25, "has .* bytes, but its header says"),
    ],
)
def test_a_header_that_does_not_fit_the_file_is_refused(tmp_path, entries, size, fragment):
    header = json.dumps(entries).encode()
    (tmp_path / "m").write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    refused(tmp_path / "m", fragment)


def test_arrays_at_odd_places_are_read_instead_of_mapped(tmp_path, whole):
    (length,) = struct.unpack("<Q", whole[:8])
    (tmp_path / "m").write_bytes(struct.pack("<Q", length + 1) + whole[8 : 8 + length] + b" " + whole[8 + length :])
    (tmp_path / "whole").write_bytes(whole)
    loaded, right = ImplicitALS.load(tmp_path / "m", mmap=True), ImplicitALS.load(tmp_path / "whole")
    assert_same(loaded, right)
    np.testing.assert_array_equal(loaded.recommend([0, 1], 3)[0], right.recommend([0, 1], 3)[0])


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}, {"alternant": "first"}, {"alternant": "-1"}])
def test_the_safetensors_file_of_another_program_is_refused(tmp_path, metadata):
    tensor_file.write(tmp_path / "m", {"weight": np.ones((3, 2))}, metadata)
    refused(tmp_path / "m", "was not saved by alternant")


def rewrite(whole, path, tensors=None, drop=(), **metadata):
    """Write the file again with some tensors and some of the header's entries replaced (None: left out)."""
    path.write_bytes(whole)
    strings, arrays = tensor_file.read(path, mapped=lambda name: False)
    arrays |= tensors or {}
    strings |= metadata
    tensor_file.write(
        path,
        {name: array for name, array in arrays.items() if name not in drop},
        {name: value for name, value in strings.items() if value is not None},
    )


def test_rewriting_alone_does_no_harm(tmp_path, whole):
    """Else the refusals below would prove nothing."""
    (tmp_path / "whole").write_bytes(whole)
    rewrite(whole, tmp_path / "m")
    assert_same(ImplicitALS.load(tmp_path / "m", mmap=True), ImplicitALS.load(tmp_path / "whole"))


@pytest.mark.parametrize("version", ["7", "10", "9" * 30])
def test_a_newer_format_is_refused_with_the_advice_to_upgrade(tmp_path, whole, version):
    rewrite(whole, tmp_path / "m", alternant=version)
    refused(tmp_path / "m", f"has format {version}, but this version of alternant reads formats up to 6: upgrade")


def test_a_model_of_another_class_is_refused_with_the_right_one(tmp_path, whole):
    Popularity().fit(R).save(tmp_path / "m")
    refused(tmp_path / "m", r"holds a model of class Popularity, not ImplicitALS: call Popularity\.load")
    rewrite(whole, tmp_path / "m", model="Unheard")
    refused(tmp_path / "m", "class Unheard")


HEADERS = {
    "no class": {"model": None},
    "no parameters": {"parameters": None},
    "no state": {"state": None},
    "parameters that are no JSON": {"parameters": "{"},
    "parameters that are a list": {"parameters": "[1]"},
    "parameters without names": {"parameters": "null"},
    "an unknown parameter": {"parameters": '{"depth": 3}'},
    "a parameter out of range": {"parameters": '{"factors": 0}'},
    "a parameter of the wrong kind": {"parameters": '{"factors": "many"}'},
    "a parameter beyond all numbers": {"parameters": '{"alpha": 1' + "0" * 400 + "}"},
    "an infinite parameter": {"parameters": '{"alpha": Infinity}'},
    "a whole number of 5,000 digits": {"parameters": '{"factors": 1' + "0" * 5000 + "}"},
    "brackets nested too deep": {"parameters": "[" * 100_000},
    "a state that is a list": {"state": "[1]"},
    "a state that is no JSON": {"state": "history"},
    "a version of 5,000 digits": {"alternant": "1" + "0" * 5000},
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_damaged_header_is_refused(tmp_path, whole, case):
    rewrite(whole, tmp_path / "m", **HEADERS[case])
    refused(tmp_path / "m", "damaged model file")


def test_the_header_can_set_no_attribute_but_those_of_a_fit(tmp_path, whole):
    rewrite(whole, tmp_path / "m", state='{"n_iter_": 3, "user_factors": [[1]], "fit": 1, "__class__": 1}')
    loaded = ImplicitALS.load(tmp_path / "m")
    assert isinstance(loaded.user_factors, np.ndarray)
    assert callable(loaded.fit)
    assert loaded.n_iter_ == 3


def factors_with(value):
    factors = np.ones((20, 5), np.float32)
    factors[7, 3] = value
    return factors


def entries(indptr=None, indices=None, values=None):
    """The interactions of one row with a few entries, all other rows empty, so that one thing can be wrong."""
    return {
        "indptr": np.array([0] + [3] * 30) if indptr is None else indptr,
        "indices": np.array([1, 5, 7], np.int32) if indices is None else indices,
        "values": np.ones(3, np.float32) if values is None else values,
    }


def texts(change=None, offsets=None):
    """The ids of 30 users as texts, one of which is changed, or with other offsets."""
    words = [f"é{number:02}".encode() for number in range(30)]
    words[7] = words[7] if change is None else change
    ends = np.cumsum([0] + [len(word) for word in words]) if offsets is None else offsets
    return {"user_ids_offsets": ends, "user_ids_utf8": np.frombuffer(b"".join(words), np.uint8)}


TENSORS = {
    "items with other factors": {"item_factors": np.ones((20, 4), np.float32)},
    "items of another dtype": {"item_factors": np.ones((20, 5))},
    "factors in one dimension": {"item_factors": np.ones(20, np.float32)},
    "factors in three dimensions": {"item_factors": np.ones((20, 5, 1), np.float32)},
    "factors that are whole numbers": {
        "item_factors": np.ones((20, 5), np.int32), "user_factors": np.ones((30, 5), np.int32)
    },
    "factors in half precision": {
        "item_factors": np.ones((20, 5), np.float16), "user_factors": np.ones((30, 5), np.float16)
    },
    "NaN among the factors": {"item_factors": factors_with(np.nan)},
    "an infinite factor": {"item_factors": factors_with(-np.inf)},
    "more users than rows of interactions": {"user_factors": np.ones((31, 5), np.float32)},
    "fewer items than columns of interactions": {"item_factors": np.ones((19, 5), np.float32)},
    "another shape": {"shape": np.array([30, 21])},
    "a shape of three": {"shape": np.array([30, 20, 1])},
    "a shape without dimension": {"shape": np.array(600)},
    "an index that is too large": entries(indices=np.array([1, 5, 20], np.int32)),
    "a negative index": entries(indices=np.array([-1, 5, 7], np.int32)),
    "an index that falls": entries(indices=np.array([5, 1, 7], np.int32)),
    "an index twice": entries(indices=np.array([1, 5, 5], np.int32)),
    "indices of another dtype": entries(indices=np.array([1, 5, 7], np.float32)),
    "too few indices": entries(indices=np.array([1, 5], np.int32)),
    "too few values": entries(values=np.ones(2, np.float32)),
    "values in two dimensions": entries(values=np.ones((3, 1), np.float32)),
    "values that are whole numbers": entries(values=np.ones(3, np.int32)),
    "NaN among the values": entries(values=np.array([1, np.nan, 1], np.float32)),
    "a falling indptr": entries(indptr=np.array([0, 3, 2] + [3] * 28)),
    "an indptr that does not start at 0": entries(indptr=np.array([1] + [3] * 30)),
    "a negative indptr": entries(indptr=np.array([-1] + [3] * 30)),
    "an indptr beyond the entries": entries(indptr=np.array([0] + [3] * 29 + [4])),
    "an indptr that is too short": entries(indptr=np.array([0] + [3] * 29)),
    "an indptr without an entry": entries(indptr=np.array([], np.int64)),
    "ids that do not ascend": texts("é99".encode()),
    "an id twice": texts("é06".encode()),
    "ids that are not UTF-8": texts(b"\xc307"),
    "ids with falling offsets": texts(offsets=np.array([0, 4, 3] + [4 * n for n in range(3, 31)])),
    "ids beyond the text": texts(offsets=np.arange(31) * 4 + 1),
    "too few ids": texts(offsets=np.arange(30) * 4),
    "offsets without texts": {"user_ids_offsets": np.arange(31) * 4},
    "an indptr in 32 bits": entries(indptr=np.array([0] + [3] * 30, np.int32)),
}  # fmt: skip


def test_the_tensors_above_are_whole_but_for_what_is_wrong_with_them(tmp_path, whole, monkeypatch):
    rewrite(whole, tmp_path / "m", entries() | texts())
    for part in (1 << 20, 2):  # checked at a time
        monkeypatch.setattr(_check_tensors, "PIECE", part)
        monkeypatch.setattr(_check_tensors, "PART", part)
        loaded = ImplicitALS.load(tmp_path / "m")
        assert loaded.interactions_.to_scipy().nnz == 3
        assert loaded.user_ids_[[0, 29]].tolist() == ["é00", "é29"]
    rewrite(whole, tmp_path / "m")
    np.testing.assert_array_equal(ImplicitALS.load(tmp_path / "m").interactions_.indices, R.indices)


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_do_not_fit_each_other_are_refused(tmp_path, whole, case, monkeypatch):
    rewrite(whole, tmp_path / "m", TENSORS[case])
    for part in (1 << 20, 2):
        monkeypatch.setattr(_check_tensors, "PIECE", part)
        monkeypatch.setattr(_check_tensors, "PART", part)
        refused(tmp_path / "m", "damaged model file")


@pytest.mark.parametrize("name", ["user_factors", "item_factors", "indices", "values", "shape"])
def test_a_missing_tensor_is_refused(tmp_path, whole, name):
    rewrite(whole, tmp_path / "m", drop=[name])
    refused(tmp_path / "m", f"damaged model file .*{name}")


@given(data=st.data())
def test_no_change_of_bytes_does_worse_than_a_refusal_or_a_model(tmp_path, whole, data):
    """Whatever comes back can be asked, without reading out of bounds."""
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "m").write_bytes(damaged)
    try:
        model = ImplicitALS.load(tmp_path / "m", mmap=data.draw(st.booleans()))
    except ModelFileError:
        return
    ids, _ = model.recommend(np.arange(len(model.user_factors)), 3)
    assert ids.max(initial=-1) < len(model.item_factors)


def test_no_pickle_is_written_or_read(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a model file has nothing to do with pickle")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    fitted().save(tmp_path / "m")
    for mmap in (False, True):
        ImplicitALS.load(tmp_path / "m", mmap=mmap)
    source = Path(_storage.__file__).read_text() + Path(tensor_file.__file__).read_text()
    assert not re.search(r"^\s*(import|from) \w*(pickle|joblib|dill)", source, re.MULTILINE)
    assert "allow_pickle" not in source


def test_a_truncated_source_is_not_blamed_on_the_target(tmp_path):
    with (pytest.raises(OSError, match="mapped from a file that was truncated after it was opened: restore that file"),
          whole_file(tmp_path / "model.safetensors", "a model")):  # fmt: skip
        raise OSError(14, "Bad address")
    assert not list(tmp_path.iterdir())
