"""Threads: how many by default, many at once, after a fork, and BLAS kept out of the way."""

import gc
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
import threadpoolctl

from alternant import ExplicitALS, ImplicitALS
from alternant._utils.threads import (
    _blas_libraries,
    default_num_threads,
    map_parallel,
    openmp_threads,
    resolve_num_threads,
    single_threaded_blas,
)
from alternant.kernels import Factors
from alternant.kernels._registry import BackendUnavailableError
from alternant.models.als import half_sweep as _half_sweep
from alternant.models.als.basis import Basis
from alternant.models.als.problems import RowProblems
from alternant.models.als.solver import Solver
from alternant.models.sgd import penalty as _biased


def interactions(seed=0, shape=(120, 60)):
    return sp.random_array(shape, density=0.1, format="csr", rng=np.random.default_rng(seed)).astype(np.float32)


def fitted(backend, num_threads=2, seed=0):
    model = ImplicitALS(factors=8, iterations=3, random_state=seed, num_threads=num_threads, backend=backend)
    model.fit(interactions(seed))
    return model


def same(a, b):
    return np.array_equal(a.user_factors, b.user_factors) and np.array_equal(a.item_factors, b.item_factors)


@pytest.mark.parametrize(("setting", "expected"), [({}, "10000"), ({"GOMP_SPINCOUNT": "77"}, "77")])
def test_waiting_threads_of_gnu_openmp_sleep_soon_unless_the_user_says_otherwise(setting, expected):
    code = "import os, alternant as a; before = dict(os.environ); a.backend_info(); assert os.environ == before"
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = clean | {"OMP_DISPLAY_ENV": "verbose"} | setting
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    if "GOMP" not in done.stderr:
        pytest.skip("only the Cython kernels use OpenMP, and these not that of GNU")
    assert f"GOMP_SPINCOUNT = '{expected}'" in done.stderr


@pytest.mark.nightly
def test_the_default_honours_affinity_and_omp_num_threads():
    code = "from alternant._utils.threads import default_num_threads; print(default_num_threads())"

    def ask(prefix="", **environment):
        clean = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        done = subprocess.run([sys.executable, "-c", prefix + code], env=clean | environment, capture_output=True,
                              text=True, check=True)  # fmt: skip
        return int(done.stdout)

    assert ask(OMP_NUM_THREADS="1") == 1
    assert ask(OMP_NUM_THREADS="1,4") == 1, "a list gives the number for each nesting level"
    assert ask(OMP_NUM_THREADS="nonsense") == ask(OMP_NUM_THREADS="0") == ask()
    if hasattr(os, "sched_setaffinity"):
        assert ask("import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n") == 1
    assert 1 <= default_num_threads() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True])
def test_a_wrong_number_of_threads_is_refused(wrong):
    with pytest.raises(ValueError, match="num_threads must be a whole number of at least 1, or None"):
        resolve_num_threads(wrong)


def test_eight_python_threads_at_once_get_what_one_gets(backend):
    expected = [fitted(backend, 1, seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda seed: fitted(backend, 2, seed), range(8)))
        assert all(map(same, models, expected))
        users = np.arange(120)
        lists = list(pool.map(lambda _: models[0].recommend(users, 5)[0], range(8)))
    assert all(np.array_equal(lists[0], other) for other in lists)


def in_child(backend, queue):
    queue.put(fitted(backend).user_factors)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_child_computes_the_same_as_its_parent_and_does_not_hang(backend):
    parent = fitted(backend)  # its OpenMP threads exist now, and do not in the child
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since 3.12 Python warns of forking beside threads
        child = context.Process(target=in_child, args=(backend, queue))
        child.start()
    try:
        assert np.array_equal(queue.get(timeout=60), parent.user_factors)
    finally:
        child.terminate()
        child.join()


def test_openmp_runs_one_thread_in_a_child_of_a_process_that_has_run_it(monkeypatch):
    assert openmp_threads(4, 10) == 4
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert openmp_threads(4, 10) == 1


def test_overlapping_limits_of_blas_are_lifted_by_the_last_one_out():
    def threads():  # of NumPy's and SciPy's; other tests may have loaded libraries that bring one of their own
        return [library.num_threads for library in _blas_libraries()]

    before = threads()
    first, second = single_threaded_blas(), single_threaded_blas()
    first.__enter__()
    second.__enter__()
    assert set(threads()) <= {1}
    first.__exit__(None, None, None)
    assert set(threads()) <= {1}
    second.__exit__(None, None, None)
    assert threads() == before


def test_the_limit_of_blas_is_lifted_after_an_error():
    before = threadpoolctl.threadpool_info()
    with pytest.raises(RuntimeError), single_threaded_blas():
        raise RuntimeError
    assert threadpoolctl.threadpool_info() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timer to interrupt with")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # where it lands in a destructor
def test_ctrl_c_at_any_moment_lifts_the_limit_of_blas():
    def interrupt(*_):
        raise KeyboardInterrupt

    before = [(pool["filepath"], pool["num_threads"]) for pool in threadpoolctl.threadpool_info()]
    matrix, rng, interrupted = interactions(), np.random.default_rng(0), 0
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-4, 5e-3))
                ImplicitALS(factors=4, iterations=50, random_state=0, backend="cython").fit(matrix)
            except KeyboardInterrupt:
                interrupted += 1
    except BackendUnavailableError as error:
        pytest.skip(str(error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert interrupted > 100
    gc.collect()
    assert [(pool["filepath"], pool["num_threads"]) for pool in threadpoolctl.threadpool_info()] == before


def test_changes_of_basis_have_the_same_bits_whatever_the_threads_of_blas_and_of_ours(kernels, dtype):
    Y = np.random.default_rng(0).standard_normal((10_000, 40)).astype(dtype)
    for lambdas in (None, [0.1, 0.1], [0.1, 0.2]):
        problems = lambdas and RowProblems(*[np.array([0, 1 << 20])] * 4, np.array(lambdas, dtype), "user")
        one = Basis.of(Y, 1.0, solver(kernels, 1), problems)
        assert (one.lambda_scale == 0) == (lambdas == [0.1, 0.1])
        for ours in (2, 8):
            for blas in (1, 2):
                with threadpoolctl.threadpool_limits(blas):
                    other = Basis.of(Y, 1.0, solver(kernels, ours), problems)
                np.testing.assert_array_equal(one.factors, other.factors)
                np.testing.assert_array_equal(one.diagonal, other.diagonal)
                np.testing.assert_array_equal(one.forward.matrix, other.forward.matrix)


def test_sums_over_many_rows_have_the_same_bits_whatever_the_threads_of_blas(kernels):
    """Of more than 10,000 numbers, OpenBLAS takes a product of vectors on all of its threads."""
    rng = np.random.default_rng(0)
    X, b, lambdas, counts = rng.random((20_001, 2)), rng.random(20_001), rng.random(20_001), rng.integers(1, 9, 20_001)
    problems = RowProblems(*[np.zeros(0)] * 4, lambdas, "user")
    found = []
    for blas in (1, 2, 3):
        with threadpoolctl.threadpool_limits(blas):
            of_least_squares = _half_sweep.penalty(problems, X, solver(kernels, 2))
            found.append((of_least_squares, _biased.penalty(Factors(X, X, b, b), counts, counts, 0.1, 0.2, 0.3)))
    assert found[0] == found[1] == found[2]
    np.testing.assert_allclose(found[0][0], (lambdas[:, None] * X**2).sum(), rtol=1e-12)


def test_a_fit_records_the_same_bits_whatever_the_threads_of_blas():
    rng = np.random.default_rng(0)
    indptr = np.arange(0, 60_001, 3)
    R = sp.csr_array((rng.integers(1, 6, 60_000).astype(np.float64), rng.integers(0, 5, 60_000), indptr))
    R.sum_duplicates()
    objectives = []
    for blas in (1, 2, 3):
        with threadpoolctl.threadpool_limits(blas):
            fit = ExplicitALS(factors=2, iterations=8, random_state=0, dtype="float64").fit(R)
        objectives.append(fit.history_["objective"])
    assert objectives[0] == objectives[1] == objectives[2]


def solver(kernels, num_threads):
    return Solver(kernels, "cg", 0.1, 10, num_threads)


def test_more_threads_than_one_are_used(kernels):
    """A wheel whose OpenMP is dead computes the right thing on one thread, and nobody notices."""
    if kernels.name != "cython":
        pytest.skip("only the Cython kernels use OpenMP; the others' threads are Python's")
    if not importlib.import_module("alternant.kernels._cpu").build_info()["openmp"]:
        pytest.skip("these kernels were built without OpenMP")
    code = f"""
import os, numpy as np
os.environ["ALTERNANT_SIMD"] = {kernels.simd!r}
from alternant import kernels
kernels.get_backend("cython")  # SciPy's BLAS starts a thread of its own
before = len(os.listdir("/proc/self/task"))
m, n = 2000, 50
kernels.solve_rows(np.arange(m + 1), np.zeros(m, np.int32), np.ones(m), np.ones(m), np.ones((n, 8)), np.ones(8),
                   np.ones(m), np.zeros((m, 8)), num_threads=3)
print(len(os.listdir("/proc/self/task")) - before)
"""
    if not os.path.isdir("/proc/self/task"):  # noqa: PTH112
        pytest.skip("only Linux lists a process's threads")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 2, "two threads beside the first one"


def test_parallel_calls_keep_their_order_may_nest_and_end_with_the_first_error():
    def square(i):
        return i * i

    def nested(i):
        return map_parallel(square, range(i), 3)

    assert map_parallel(nested, range(40), 3) == [[j * j for j in range(i)] for i in range(40)]
    called = []

    def fail(i):
        called.append(i)
        time.sleep(0.001)
        if i >= 5:
            raise ValueError(f"no {i}")

    with pytest.raises(ValueError, match="no 5"):
        map_parallel(fail, range(1000), 3)
    assert len(called) < 1000
    assert map_parallel(square, range(5), 3) == [0, 1, 4, 9, 16]


def test_many_more_threads_than_cores_change_no_bit_and_are_not_started(backend):
    assert 8 <= openmp_threads(128, 1000) <= max(8, 4 * os.cpu_count())
    assert same(fitted(backend, 128), fitted(backend, 1))
