"""A fit that was interrupted resumes from its checkpoint and ends with identical factors."""

import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.sparse as sp
from refusal import refuses

from alternant import BPR, BiasedMF, CosineMF, ExplicitALS, ImplicitALS, LogisticMF
from alternant._utils import tensor_file


def drawn(shape, share, seed):
    values = sp.random_array(shape, density=share, rng=np.random.default_rng(seed), format="csr")
    values.data = np.ceil(5 * values.data)
    return values


RATINGS = drawn((60, 40), 0.2, 0)
LIKES = RATINGS > 3
WITH_DISLIKES = sp.csr_array((LIKES.toarray()[RATINGS.nonzero()].astype(float), RATINGS.indices, RATINGS.indptr))
WITH_EMPTY_ROWS = sp.csr_array(RATINGS.toarray() * (np.arange(60) < 57)[:, None] * (np.arange(40) < 38))
OF_USERS, OF_ITEMS = drawn((60, 7), 0.4, 1), drawn((40, 5), 0.4, 2)
WEIGHTS = sp.csr_array((np.random.default_rng(3).random(RATINGS.nnz) + 0.5, RATINGS.indices, RATINGS.indptr))

CASES = {
    "implicit": (ImplicitALS, {"iterations": 9}, RATINGS, {}),
    "plain": (ImplicitALS, {"iterations": 30, "acceleration": None, "early_stopping": 1e-4}, RATINGS, {}),
    "features": (ImplicitALS, {"iterations": 6, "feature_regularization": 0.1}, RATINGS,
                 {"user_features": OF_USERS, "item_features": OF_ITEMS}),
    "ratings": (ExplicitALS, {"iterations": 6}, RATINGS, {"sample_weight": WEIGHTS}),
    "ratings, features": (ExplicitALS, {"iterations": 6, "feature_regularization": 0.1}, RATINGS,
                          {"user_features": OF_USERS}),
    "non-negative": (ExplicitALS, {"iterations": 6, "biases": False, "nonnegative": True}, RATINGS, {}),
    "biased": (BiasedMF, {"epochs": 6}, RATINGS, {}),
    "held out": (BiasedMF, {"epochs": 20, "validation_fraction": 0.2, "early_stopping": 0.01, "learning_rate": 0.1},
                 RATINGS, {}),
    "cosine": (CosineMF, {"epochs": 6}, WITH_DISLIKES, {}),
    "logistic": (LogisticMF, {"epochs": 6}, RATINGS, {}),
    "BPR": (BPR, {"epochs": 6}, RATINGS, {}),
    # With `warm_start`, the regressions begin in the first epoch.
    "ranking, features": (BPR, {"epochs": 12, "feature_regularization": 0.1, "warm_start": True}, WITH_EMPTY_ROWS,
                          {"user_features": OF_USERS, "item_features": OF_ITEMS}),
    "held out, features": (BPR, {"epochs": 12, "validation_fraction": 0.2, "early_stopping": 1e-3,
                                 "feature_regularization": 0.1, "warm_start": True}, WITH_EMPTY_ROWS,
                           {"item_features": OF_ITEMS}),
    "adaptive": (BPR, {"epochs": 6, "sampling": "adaptive", "optimizer": "sgd"}, RATINGS, {}),
}  # fmt: skip


class Interrupted(Exception):
    """Stands for a killed process: the model is lost."""


def interrupt(fit, iteration, **more):
    def now(state):
        if state.iteration == iteration:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(callback=now, **more)


def equal(one, other):
    np.testing.assert_array_equal(one.user_factors, other.user_factors)
    np.testing.assert_array_equal(one.item_factors, other.item_factors)
    histories = ({name: values for name, values in m.history_.items() if name != "seconds"} for m in (one, other))
    assert next(histories) == next(histories)
    for prior in ("_user_prior", "_item_prior"):
        if getattr(one, prior, None) is not None:
            np.testing.assert_array_equal(getattr(one, prior).weights, getattr(other, prior).weights)
    assert (np.diff(one.history_["seconds"]) > 0).all()


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_fit_ends_at_the_same_bits(case, tmp_path):
    cls, parameters, data, more = CASES[case]

    def fit(**options):
        model = cls(factors=5, random_state=0, num_threads=1, **parameters)
        return model.fit(data, show_progress=False, **more, **options)

    whole = fit()
    for iteration in (2, 4):  # the state before this one is saved; the second time, of a fit that was continued
        interrupt(fit, iteration, checkpoint=tmp_path)
    equal(fit(checkpoint=tmp_path), whole)
    seen = []
    equal(fit(checkpoint=tmp_path, callback=seen.append), whole)  # which has ended
    assert not seen
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.safetensors", ".alternant.lock"}


def test_an_unseeded_fit_continues_with_its_own_random_numbers(tmp_path):
    def fit(**options):
        return BiasedMF(factors=4, epochs=4, validation_fraction=0.3).fit(RATINGS, show_progress=False, **options)

    interrupt(fit, 3, checkpoint=tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    equal(fit(checkpoint=tmp_path / "first"), fit(checkpoint=tmp_path / "second"))


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_any_generator_of_numpy_is_restored(bits, tmp_path):
    def fit(**options):
        model = BPR(factors=4, epochs=3, random_state=np.random.Generator(bits(5)))
        return model.fit(RATINGS, show_progress=False, **options)

    interrupt(fit, 2, checkpoint=tmp_path)
    equal(fit(checkpoint=tmp_path), fit())
    other = BPR(factors=4, epochs=3, random_state=np.random.Generator(bits(6)))
    refuses(ValueError, r"a fit with random_state='a generator \(.*\)', not 'a generator \(",
            lambda: other.fit(RATINGS, checkpoint=tmp_path))  # fmt: skip


@pytest.mark.parametrize("model", [ImplicitALS, BiasedMF, BPR])
@pytest.mark.parametrize("generator", [np.random.default_rng, np.random.RandomState])
def test_a_generator_is_advanced_as_without_a_checkpoint(model, generator, tmp_path):
    fits = []
    for options in ({}, {"checkpoint": tmp_path}):
        shared = generator(3)
        model(factors=3, random_state=shared).fit(RATINGS, show_progress=False, **options)
        fits.append(model(factors=3, random_state=shared).fit(RATINGS, show_progress=False))
    equal(*fits)


@pytest.mark.parametrize("case", ["implicit", "ratings", "held out", "BPR"])
def test_more_iterations_continue_an_ended_fit(case, tmp_path):
    cls, parameters, data, more = CASES[case]
    length = "iterations" if "iterations" in parameters else "epochs"

    def fit(count, **options):
        model = cls(factors=5, random_state=0, **parameters | {length: count, "early_stopping": None})
        return model.fit(data, show_progress=False, **more, **options)

    fit(3, checkpoint=tmp_path)
    equal(fit(7, checkpoint=tmp_path), fit(7))
    refuses(ValueError, "is of 7 iterations, and this fit has only 5: pass at least as many",
            lambda: fit(5, checkpoint=tmp_path))  # fmt: skip


def test_a_fit_that_a_callback_stopped_can_be_resumed(tmp_path):
    model = ImplicitALS(factors=3, iterations=6, random_state=0)
    model.fit(RATINGS, checkpoint=tmp_path, callback=lambda state: state.iteration == 2)
    assert model.n_iter_ == 2
    equal(model.fit(RATINGS, checkpoint=tmp_path), ImplicitALS(factors=3, iterations=6, random_state=0).fit(RATINGS))


def test_a_warm_start_belongs_to_its_factors(tmp_path):
    def started():
        return BPR(factors=3, epochs=4, random_state=0).fit(RATINGS).set_params(warm_start=True)

    interrupt(started().fit, 3, interactions=RATINGS, checkpoint=tmp_path)
    resumed = started().fit(RATINGS, checkpoint=tmp_path)
    equal(resumed, started().fit(RATINGS))
    refuses(ValueError, "to other data, or with warm_start from other factors",
            lambda: resumed.fit(RATINGS, checkpoint=tmp_path), resumed)  # fmt: skip


def test_two_fits_do_not_share_a_folder(tmp_path):
    refused = []

    def second(state):
        if state.iteration == 2:  # the folder is created after the first
            refuses(BlockingIOError, "another fit saves its checkpoints in .*: pass another folder",
                    lambda: BPR(factors=3, random_state=0).fit(RATINGS, checkpoint=tmp_path / "one"))  # fmt: skip
            refused.append(True)

    BPR(factors=3, random_state=0, epochs=3).fit(RATINGS, checkpoint=tmp_path / "one", callback=second)
    assert refused


def test_a_checkpoint_is_written_every_few_iterations_and_at_the_end(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(tensor_file, "write", lambda path, arrays, strings: written.append(strings["loop"]))
    ImplicitALS(factors=2, iterations=5, random_state=0).fit(RATINGS, checkpoint=tmp_path, every=2)
    assert [loop[:12] for loop in written] == [f'{{"number": {number}' for number in (2, 4, 5)]


FIT = """
import sys
import numpy as np
import scipy.sparse as sp
from alternant import {model}
rng = np.random.default_rng(0)
data = sp.random_array((400, 300), density=0.05, rng=rng, format="csr")
print("fits", flush=True)
{model}(factors=8, {length}=60, random_state=0, num_threads=2).fit(
    data, checkpoint=sys.argv[1], show_progress=False).save(sys.argv[2])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("model", "kills"),
    [("ImplicitALS", 1), *(pytest.param(name, 50, marks=pytest.mark.nightly) for name in ("ImplicitALS", "BPR"))],
)
def test_a_killed_process_goes_on(model, kills, tmp_path):
    code = FIT.format(model=model, length="iterations" if model == "ImplicitALS" else "epochs")

    def started(folder):
        arguments = [sys.executable, "-c", code, str(tmp_path / folder), str(tmp_path / f"{folder}.model")]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        process.stdout.read(4)
        return process

    rng = np.random.default_rng(1)
    with started("whole") as process:
        start = time.perf_counter()
        assert process.wait(60) == 0
        seconds = time.perf_counter() - start
    killed = 0
    while killed < kills and not (tmp_path / "killed.model").exists():
        with started("killed") as process:
            time.sleep(rng.uniform(0, seconds / kills))
            process.send_signal(signal.SIGKILL)
            killed += process.wait(60) == -signal.SIGKILL
    with started("killed") as process:
        assert process.wait(60) == 0
    assert killed
    whole, continued = (tensor_file.read(tmp_path / f"{name}.model", lambda _: False) for name in ("whole", "killed"))
    for name, array in whole[1].items():
        np.testing.assert_array_equal(continued[1][name], array)


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    model = ImplicitALS(factors=4, iterations=2, random_state=0).fit(RATINGS, checkpoint=tmp_path)
    other = ImplicitALS(factors=5, iterations=2, random_state=0)
    folder = "delete checkpoint.safetensors in it to start over"
    refuses(ValueError, f"belongs to a fit with factors=4, not 5: .*{folder}",
            lambda: other.fit(RATINGS, checkpoint=tmp_path), other)  # fmt: skip
    wider = sp.csr_array((RATINGS.data, RATINGS.indices, RATINGS.indptr), shape=(60, 45))
    square, features = RATINGS[:40], {"user_features": OF_ITEMS}
    for data, given in ((2 * RATINGS, {}), (wider, {}), (RATINGS, {"user_features": OF_USERS})):
        refuses(ValueError, "belongs to a fit to other data, ",
                lambda data=data, given=given: model.fit(data, checkpoint=tmp_path, **given), model)  # fmt: skip
    model.fit(square, checkpoint=tmp_path / "square", **features)
    refuses(ValueError, "belongs to a fit to other data, ",
            lambda: model.fit(square, checkpoint=tmp_path / "square", item_features=OF_ITEMS), model)  # fmt: skip
    refuses(ValueError, "belongs to a fit of ImplicitALS, not BPR: ",
            lambda: BPR(factors=4).fit(RATINGS, checkpoint=tmp_path))  # fmt: skip


def test_a_damaged_checkpoint_is_refused(tmp_path):
    model = ImplicitALS(factors=4, iterations=2, random_state=0).fit(RATINGS, checkpoint=tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-1] ^= 1
    model.save(tmp_path / "model")
    header = content.replace(b'{\\"number\\": 2', b'{\\"number\\": 1')
    assert header != content
    for damaged in (content[:-1], bytes(flipped), header, b"", (tmp_path / "model").read_bytes()):
        path.write_bytes(damaged)
        refuses(ValueError, "is not a complete checkpoint of alternant: delete it to start over",
                lambda: model.fit(RATINGS, checkpoint=tmp_path), model)  # fmt: skip


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    def fit(**options):
        return ImplicitALS(factors=4, iterations=5, random_state=0).fit(RATINGS, checkpoint=tmp_path, **options)

    def full(path, arrays, strings):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tensor_file, "write", full)
        with pytest.raises(OSError, match=r"can.t be written to .*\(No space left on device\): nothing was saved"):
            fit()
    interrupt(fit, 3)
    with monkeypatch.context() as patched:
        patched.setattr(tensor_file, "write", full)
        with pytest.raises(OSError, match="the one before is kept, from which the same call resumes"):
            fit()
    equal(fit(), ImplicitALS(factors=4, iterations=5, random_state=0).fit(RATINGS))


def test_what_a_killed_writer_left_is_removed(tmp_path):
    for folder, name in ((".alternant-left", "checkpoint.safetensors"), (".alternant-other", "model.safetensors")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    ImplicitALS(factors=2, iterations=1).fit(RATINGS, checkpoint=tmp_path)
    assert [path.name for path in tmp_path.glob(".alternant-*")] == [".alternant-other"]


def test_a_refused_fit_leaves_no_folder(tmp_path):
    refuses(ValueError, "at least one value above 0", lambda: BPR().fit(-RATINGS, checkpoint=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_wrong_arguments_are_refused(tmp_path):
    model = BPR(factors=4)
    (tmp_path / "file").touch()
    for error, pattern, options in [
        (TypeError, "checkpoint must be the path of a folder, got True", {"checkpoint": True}),
        (TypeError, "checkpoint must be the path of a folder, got ''", {"checkpoint": ""}),
        (NotADirectoryError, "but .*file' is not one", {"checkpoint": tmp_path / "file"}),
        (FileNotFoundError, "there is no folder .*no' to create 'such' in", {"checkpoint": tmp_path / "no" / "such"}),
        (ValueError, "every must be at least 1, got 0", {"checkpoint": tmp_path, "every": 0}),
    ]:
        refuses(error, pattern, lambda options=options: model.fit(RATINGS, **options), model)


def test_a_finished_checkpoint_has_the_factors_of_users_without_interactions(tmp_path):
    """They are those of the mean user, which would not be the mean of all users if these counted, too."""
    rows = sp.random_array((30, 20), density=0.2, rng=np.random.default_rng(0), format="lil")
    rows[5:9] = 0
    first, again = (
        ImplicitALS(factors=4, iterations=2, random_state=0).fit(rows.tocsr(), checkpoint=tmp_path / "state")
        for _ in range(2)
    )
    np.testing.assert_array_equal(again.user_factors, first.user_factors)
