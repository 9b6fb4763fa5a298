"""`alternant.distributed.fit` on a local cluster: the same bits on any number of workers, and whoever is killed."""

import copy
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy import sparse

pd = pytest.importorskip("pandas", reason="pandas is not installed")
pytest.importorskip("pyarrow", reason="pyarrow is not installed")
distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")

from alternant import BiasedMF, ExplicitALS, ImplicitALS, Interactions  # noqa: E402
from alternant.data.csr import CSR  # noqa: E402
from alternant.distributed import Parquet, SchedulerLostError, WorkersLostError, _cluster, _parquet, fit, fit_to_parquet  # noqa: E402
from alternant.distributed._shard import Shard  # noqa: E402
from alternant.models.als.degrees import like_new_exponent  # noqa: E402

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="workers are killed by signals of POSIX"),
    # Of dask.distributed, when a cluster ends or a worker is killed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

PARAMS = {"factors": 8, "iterations": 3, "random_state": 0}
SHARDS = 5


def start(workers):
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    )


@pytest.fixture(scope="module")
def cluster():
    with start(1) as made:
        yield made


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as made:
        yield made


def scaled(cluster, client, workers):
    cluster.scale(workers)
    while len(client.nthreads()) != workers:
        time.sleep(0.05)
    return client


def same(a, b):
    alike = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("user_factors", "item_factors"))
    return alike and a.history_["objective"] == b.history_["objective"]


def table(n=6000, seed=0):
    """Plays of two groups of users, who like different songs; some pairs are repeated, and some rows incomplete."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, 400, n)
    songs = (rng.zipf(1.4, n) % 40) + 40 * (users % 2)
    names, plays = [f"user {u:04d}" for u in users], rng.integers(1, 6, n).astype(float)
    frame = pd.DataFrame({"who": names, "song": songs * 7 - 100, "plays": plays})
    frame.loc[[5, 17], "plays"] = np.nan
    frame.loc[8, "who"] = None
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, frame = tmp_path_factory.mktemp("plays"), table()
    for part, first in enumerate(range(0, len(frame), 2500)):
        frame[first : first + 2500].to_parquet(folder / f"part-{part}.parquet", row_group_size=1000)
    return folder


@pytest.fixture(scope="module")
def source(folder):
    return Parquet(folder, user="who", item="song", value="plays")


@pytest.fixture(scope="module")
def expected(cluster, source):
    """The fit on one worker."""
    with distributed.Client(cluster) as client:
        return fit(ImplicitALS(**PARAMS), source, client, shards=SHARDS)


@pytest.fixture(scope="module")
def local():
    return ImplicitALS(**PARAMS).fit(Interactions.from_frame(table(), user="who", item="song", value="plays"))


def test_a_model_is_as_if_it_had_been_fitted_here(expected, local, tmp_path):
    assert vars(expected).keys() == vars(local).keys()
    for name in ("user_ids_", "item_ids_"):
        np.testing.assert_array_equal(getattr(expected, name), getattr(local, name))
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(expected.interactions_, name), getattr(local.interactions_, name))
    for name in ("alpha_", "epsilon_", "unobserved_weight_", "regularization_", "popularity_exponent_"):
        assert getattr(expected, name) == pytest.approx(getattr(local, name), rel=1e-6)
    assert expected.weighting_ == local.weighting_ == "ials-log"
    np.testing.assert_allclose(expected.history_["objective"], local.history_["objective"], rtol=1e-6)
    np.testing.assert_allclose(expected.item_factors, local.item_factors, atol=1e-4)
    expected.save(tmp_path / "model")
    loaded = ImplicitALS.load(tmp_path / "model")
    assert loaded.recommend("user 0007", k=5)[0].tolist() == local.recommend("user 0007", k=5)[0].tolist()
    new = Interactions.from_arrays(["new"] * 3, local.item_ids_[:3])
    np.testing.assert_allclose(expected.fold_in_users(new), local.fold_in_users(new), atol=1e-4)


def test_the_bits_are_the_same_on_any_number_of_workers(cluster, client, source, expected):
    for workers in (2, 3):
        scaled(cluster, client, workers)
        assert same(fit(ImplicitALS(**PARAMS), source, client, shards=SHARDS), expected)
    other = fit(ImplicitALS(**PARAMS), source, client, shards=2)
    assert not np.array_equal(other.user_factors, expected.user_factors), "they do depend on the shards"
    np.testing.assert_allclose(other.history_["objective"], expected.history_["objective"], rtol=1e-6)


@pytest.mark.parametrize(
    "params",
    [
        {"solver": "cholesky"},
        {"weighting": "hu", "alpha": 3.0, "regularization": 0.2, "dtype": "float64", "acceleration": None},
    ],
    ids=lambda params: next(iter(params.values())),
)
def test_the_objective_is_that_of_one_machine(client, params):
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((90, 30)) < 0.3, rng.integers(1, 5, (90, 30)), 0)
    dense[rng.random(dense.shape) < 0.02] *= -1  # dislikes
    dense[4], dense[:, 7] = 0, 0  # a user and an item without interactions
    matrix = sparse.csr_array(dense)
    here, there = (ImplicitALS(**PARAMS | params) for _ in range(2))
    here.fit(matrix)
    fit(there, matrix, client, shards=3)
    np.testing.assert_allclose(there.history_["objective"], here.history_["objective"], rtol=1e-6)
    np.testing.assert_allclose(there.user_factors[4], here.user_factors[4], atol=1e-4)
    assert not there.item_factors[7].any()


@pytest.mark.parametrize("params", [
    {"solver": "cg", "tol": 1e-3, "dtype": "float64", "regularization_scaling": "none", "regularization": 3.0},
    {"biases": False},
], ids=["cg", "no biases"])  # fmt: skip
def test_ratings(client, params):
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((90, 30)) < 0.4, rng.integers(0, 6, (90, 30)), np.nan)  # 0 is a rating
    dense[4], dense[:, 7] = np.nan, np.nan
    known = ~np.isnan(dense)
    matrix = sparse.coo_array((dense[known], np.nonzero(known)), shape=dense.shape).tocsr()
    make = lambda: ExplicitALS(**{"factors": 4, "iterations": 4, "random_state": 0} | params)  # noqa: E731
    here, there = make().fit(matrix), fit(make(), matrix, client, shards=3)
    for name in ("objective", "user_sweep_objective"):
        np.testing.assert_allclose(there.history_[name], here.history_[name], rtol=1e-6)
    assert there.mean_ == pytest.approx(here.mean_, rel=1e-5) if params.get("biases", True) else there.mean_ == 0
    np.testing.assert_allclose(there.predict([4, 5, 6], [3, 7, 9]), here.predict([4, 5, 6], [3, 7, 9]), atol=1e-3)
    assert vars(there).keys() == vars(here).keys()


@pytest.fixture(scope="module")
def rated(folder):
    return Parquet(folder, user="who", item="song", value="plays", aggregate="last")


RATED = {"factors": 4, "iterations": 2, "random_state": 0}


def test_ratings_of_a_folder_resumed_from_a_checkpoint_and_left_with_the_workers(client, rated, tmp_path):
    expected = fit(ExplicitALS(**RATED), rated, client, shards=SHARDS)
    here = ExplicitALS(**RATED).fit(
        Interactions.from_frame(table(), user="who", item="song", value="plays", aggregate="last")
    )
    np.testing.assert_allclose(expected.history_["objective"], here.history_["objective"], rtol=1e-6)
    fit(ExplicitALS(**RATED | {"iterations": 1}), rated, client, shards=SHARDS, checkpoint=tmp_path / "saved")
    resumed = fit(ExplicitALS(**RATED), rated, client, shards=SHARDS, checkpoint=tmp_path / "saved")
    assert same(resumed, expected)
    assert resumed.mean_ == expected.mean_
    fit_to_parquet(ExplicitALS(**RATED), rated, client, tmp_path / "fitted", k=3, shards=SHARDS)
    lists = expected.recommend_frame(expected.user_ids_, k=3, library="pandas")
    np.testing.assert_allclose(pd.read_parquet(tmp_path / "fitted" / "lists")["score"], lists["score"], rtol=1e-6)


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
def test_a_warm_start_goes_on_from_the_factors_of_the_same_ids(client, rated, cls):
    frame = table().drop_duplicates(["who", "song"], keep="last")
    early = Interactions.from_frame(frame[:4000].iloc[::-1], user="who", item="song", value="plays", aggregate="last")
    everything = Interactions.from_frame(frame, user="who", item="song", value="plays", aggregate="last")
    known = early.reindex(users=early.user_ids[early.user_ids != "user 0100"], items=early.item_ids[1:])
    first = cls(**RATED).fit(known)

    def warm():
        return copy.deepcopy(first).set_params(warm_start=True)

    here, there = warm().fit(everything), fit(warm(), everything, client, shards=2)
    named = fit(warm(), rated, client, shards=2)
    assert here.user_ids_[-1] == "user 0100"  # new users come last; in a folder, all are in ascending order
    assert named.user_ids_.tolist() == sorted(here.user_ids_)
    np.testing.assert_array_equal(there.user_ids_, here.user_ids_)
    for other, rtol in ((there, 1e-6), (named, 1e-3)):  # whose new item has the random numbers of another row
        for name in ("objective", "user_sweep_objective"):
            np.testing.assert_allclose(other.history_[name], here.history_[name], rtol=rtol)
    with pytest.raises(ValueError, match=r"warm_start needs finite user_factors with \d columns"):
        fit(warm().set_params(factors=5), rated, client)


def test_factors_and_lists_may_stay_with_the_workers(client, source, expected, tmp_path):
    folder = tmp_path / "fitted"
    history = fit_to_parquet(ImplicitALS(**PARAMS), source, client, folder, k=3, shards=SHARDS)
    assert history["objective"] == expected.history_["objective"]
    assert len(list((folder / "lists").iterdir())) == SHARDS
    for kind in ("user", "item"):
        table = pd.read_parquet(folder / f"{kind}_factors")
        assert table["id"].tolist() == getattr(expected, f"{kind}_ids_").tolist()
        np.testing.assert_array_equal(np.stack(table["features"]), getattr(expected, f"{kind}_factors"))
    lists = expected.recommend_frame(expected.user_ids_, k=3, library="pandas")
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "lists"), lists[["user", "item", "rank", "score"]],
                                  check_dtype=False)  # fmt: skip
    with pytest.raises(FileExistsError, match="exists: choose another folder, or delete it"):
        fit_to_parquet(ImplicitALS(), source, client, folder)


def kill(client, address):
    """Kill the process of a worker."""
    os.kill(client.run(os.getpid, workers=[address])[address], signal.SIGKILL)


@pytest.fixture
def killing(monkeypatch):
    """Kill the worker of a shard just after a task has been submitted: the nth call of a method of a cluster."""

    def arrange(client, method, task, numbers):
        calls, original = [], getattr(_cluster.Cluster, method)

        def replaced(self, *args, **options):
            future = original(self, *args, **options)
            if task is None or args[1] == task:
                calls.append(None)
                if len(calls) in numbers:
                    kill(client, self._places[len(calls) % self.shards])
            return future

        monkeypatch.setattr(_cluster.Cluster, method, replaced)
        return calls

    return arrange


def test_a_killed_worker_is_replaced_and_the_bits_are_the_same(cluster, client, source, expected, killing):
    scaled(cluster, client, 2)
    calls = killing(client, "call", "solve_users", {SHARDS + 2})
    assert same(fit(ImplicitALS(**PARAMS), source, client, shards=SHARDS), expected)
    assert len(calls) > SHARDS * PARAMS["iterations"], "some half-sweeps were repeated"


@pytest.mark.nightly
@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize(
    ("method", "task", "numbers"),
    [
        ("call", "prepare", {3}),
        ("call", "fix_users", {3}),
        ("call", "start_items", {2}),
        ("call", "multiply_items", {4, 19}),
        ("tree", None, {7}),
        ("tree", None, {6, 9, 10}),
        ("call", "solve_users", {4, 9, 13}),
        ("call", "interactions", {1}),
    ],
)
def test_workers_are_killed_at_any_point(cluster, client, source, killing, method, task, numbers, solver):
    scaled(cluster, client, 2)
    params = PARAMS | {"solver": solver, "iterations": 5}
    whole = fit(ImplicitALS(**params), source, client, shards=SHARDS)
    calls = killing(client, method, task, numbers)
    assert same(fit(ImplicitALS(**params), source, client, shards=SHARDS), whole)
    assert len(calls) >= max(numbers)


@pytest.mark.nightly
@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize(("task", "numbers"), [("shift_users", {2, SHARDS + 3}), ("solve_users", {4, 9, 13})])
def test_workers_are_killed_in_a_fit_of_ratings(cluster, client, rated, killing, task, numbers, solver):
    scaled(cluster, client, 2)
    params = RATED | {"solver": solver, "iterations": 4}
    whole = fit(ExplicitALS(**params), rated, client, shards=SHARDS)
    calls = killing(client, "call", task, numbers)
    killed = fit(ExplicitALS(**params), rated, client, shards=SHARDS)
    assert same(killed, whole)
    assert killed.mean_ == whole.mean_
    assert len(calls) >= max(numbers)


KILLED = """
import os, signal, sys
import distributed
from alternant import ImplicitALS
from alternant.distributed import Parquet, fit
from alternant.models import _checkpoint

if __name__ == "__main__":
    write = _checkpoint.Checkpoint.write
    def once(*args):
        write(*args)
        if args[1]["number"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)  # the driver, and with it the scheduler
    _checkpoint.Checkpoint.write = once
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        with distributed.Client(cluster) as client:
            source = Parquet(sys.argv[1], user="who", item="song", value="plays")
            fit(ImplicitALS(factors=8, iterations=3, random_state=0), source, client, shards=5, checkpoint=sys.argv[2])
"""


@pytest.mark.nightly
def test_a_fit_whose_scheduler_was_killed_resumes_from_its_checkpoint(client, source, folder, expected, tmp_path):
    (tmp_path / "script.py").write_text(KILLED)
    saved = str(tmp_path / "saved")
    done = subprocess.run([sys.executable, str(tmp_path / "script.py"), str(folder), saved], check=False, timeout=200)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(ValueError, match="belongs to a fit to other data"):
        fit(ImplicitALS(**PARAMS), source, client, shards=SHARDS - 1, checkpoint=saved)
    resumed = fit(ImplicitALS(**PARAMS), source, client, shards=SHARDS, checkpoint=saved)
    assert same(resumed, expected)
    assert resumed.n_iter_ == 3


def test_a_scheduler_that_is_lost_is_named(monkeypatch, client, source):
    cluster = _cluster.Cluster(client)
    monkeypatch.setattr(client, "nthreads", lambda: (_ for _ in ()).throw(OSError("Timed out")))
    with pytest.raises(SchedulerLostError, match="call fit with the same checkpoint folder, to resume from the last"):
        cluster.workers()
    monkeypatch.setattr(client, "nthreads", dict)
    monkeypatch.setattr(_cluster, "PATIENCE", 0)
    monkeypatch.setattr(client, "wait_for_workers", lambda *_, **__: (_ for _ in ()).throw(TimeoutError))
    with pytest.raises(WorkersLostError, match="all workers were lost, and there has been none for 0 seconds: start"):
        cluster._recover(TimeoutError())


# Bad input


def test_what_cannot_be_fitted_is_refused_and_nothing_changes(client, source, expected, tmp_path):
    before = expected.item_factors
    with pytest.raises(TypeError, match="only ImplicitALS and ExplicitALS can be fitted on a cluster, got BiasedMF"):
        fit(BiasedMF(), source, client)
    with pytest.raises(ValueError, match="gradients, got nonnegative=True: call the model's own fit"):
        fit(ExplicitALS(nonnegative=True, biases=False), source, client)
    with pytest.raises(ValueError, match=r"lambdas precondition, got regularization=\(0.1, 0\): raise it"):
        fit(ExplicitALS(regularization=(0.1, 0)), source, client)
    with pytest.raises(ValueError, match="source must hold ratings, got value=None, so that each would be 1"):
        fit(ExplicitALS(), Parquet(source.folder, user="who", item="song"), client)
    with pytest.raises(ValueError, match=r"each pair once.*such as user 'user .*: make a Parquet with aggregate="):
        fit(ExplicitALS(), source, client)
    with pytest.raises(ValueError, match="warm_start finds users in a Parquet by their ids, but the model has none"):
        fit(ImplicitALS(factors=2, iterations=1).fit(sparse.eye_array(9).tocsr()).set_params(warm_start=True), source,
            client)  # fmt: skip
    with pytest.raises(TypeError, match=r"got str: for a folder, pass alternant.distributed.Parquet\(folder, user="):
        fit(ImplicitALS(), "folder", client)
    stored = Interactions.from_batches([([1, 2], [1, 2])], store=tmp_path / "store")
    with pytest.raises(TypeError, match="source must not be in a store, which is on one machine: pass"):
        fit(ImplicitALS(), stored, client)
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client, got str: pass distributed\.Client"):
        fit(ImplicitALS(), source, "tcp://10.0.0.1:8786")
    with pytest.raises(ValueError, match="shards must be at least 1, got 0"):
        fit(ImplicitALS(), source, client, shards=0)
    with pytest.raises(ArithmeticError, match=r"problem of .* is singular, so its solution is not unique: raise"):
        fit(ImplicitALS(unobserved_weight=0, regularization=0, weighting="ials"), source, client, shards=2)
    assert expected.item_factors is before


def test_a_folder_is_checked(client, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        fit(ImplicitALS(), Parquet(tmp_path / "none", user="a", item="b"), client)
    with pytest.raises(FileNotFoundError, match=r"has no files whose names end in \.parquet: pass another folder"):
        fit(ImplicitALS(), Parquet(tmp_path, user="a", item="b"), client)
    frame = pd.DataFrame({"a": [1, 2], "b": [1, 2], "c": [1.0, np.inf], "d": [None, None]})
    frame.to_parquet(tmp_path / "0.parquet")
    with pytest.raises(ValueError, match=r"item='x' must be a column: .* has 'a', 'b', 'c', 'd'"):
        fit(ImplicitALS(), Parquet(tmp_path, user="a", item="x"), client)
    with pytest.raises(ValueError, match=r"0\.parquet': column 'c' must hold finite numbers, got inf: drop that row"):
        fit(ImplicitALS(), Parquet(tmp_path, user="a", item="b", value="c"), client)
    with pytest.raises(ValueError, match="has no row with a user and an item: pass another folder"):
        fit(ImplicitALS(), Parquet(tmp_path, user="a", item="d"), client)
    with pytest.raises(ValueError, match="each role must have a column of its own"):
        Parquet(tmp_path, user="a", item="a")
    with pytest.raises(TypeError, match="item must be the name of a column, got 1"):
        Parquet(tmp_path, user="a", item=1)
    frame.astype({"a": str}).to_parquet(tmp_path / "1.parquet")
    with pytest.raises(TypeError, match=r"column 'a' must have one type, got integers in .* and strings in .*1.par"):
        fit(ImplicitALS(), Parquet(tmp_path, user="a", item="b"), client)
    (tmp_path / "1.parquet").write_bytes((tmp_path / "0.parquet").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"1\.parquet' is not a complete Parquet file"):
        fit(ImplicitALS(), Parquet(tmp_path, user="a", item="b"), client)


def test_a_worker_that_does_not_see_the_folder_says_so():
    with pytest.raises(FileNotFoundError, match="a worker finds no file '/none': the folder must be on a file system"):
        _parquet.read("/none", (0,), {"user": "a", "item": "b"})


def test_without_dask_the_command_that_installs_it_is_named():
    code = "import sys; sys.modules['distributed'] = None; import alternant.distributed"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("dask.distributed, which is not installed: pip install \"alternant[dask]\"")


def test_shards_add_up_to_the_mean_user_in_which_short_histories_count_more():
    lengths = np.r_[np.ones(300, int), np.full(100, 9), 0]
    columns = np.concatenate([np.arange(n) for n in lengths])
    rows = CSR(np.r_[0, np.cumsum(lengths)], columns.astype(np.int32), np.ones(len(columns), np.float32), (401, 9))
    factors, exponent = np.random.default_rng(0).standard_normal((401, 3)), like_new_exponent(lengths)
    sums = 0
    for part in (np.arange(350), np.arange(350, 401)):
        shard = Shard(rows.take(part), part[0])
        shard.versions[1] = factors[part]
        sums += shard.user_sum(1, exponent)
    assert exponent == 2
    np.testing.assert_allclose(sums, np.r_[np.ones(300), np.full(100, 1 / 81), 0] @ factors)
